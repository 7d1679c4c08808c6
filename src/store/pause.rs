//! What is paused: everything, or a method, a timer or a schedule (`docs/administration.md`, "Pausing").

use serde::Serialize;

use crate::error::{OrNotFound, Result};
use crate::model::pause::Pausable;
use crate::store::Store;
use crate::store::text::text;
use crate::time::Timestamp;

/// What is paused, by name.
#[derive(Debug, Serialize)]
pub(crate) struct Pauses {
    /// Whether everything is.
    pub(crate) everything: bool,
    pub(crate) methods: Vec<String>,
    pub(crate) timers: Vec<String>,
    pub(crate) schedules: Vec<String>,
}

impl Store<'_> {
    /// Whether everything is paused.
    pub(crate) fn is_paused(&self) -> Result<bool> {
        self.exists("SELECT 1 FROM setting WHERE key = 'paused'", [])
    }

    /// Pauses everything, if it is not paused yet.
    pub(crate) fn pause_everything(&self, now: Timestamp) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO setting (key, value) VALUES ('paused', ?1)";
        self.execute(sql, [now])
    }

    /// Lets everything go on that is not paused by itself.
    pub(crate) fn resume_everything(&self) -> Result<()> {
        self.unset_setting("paused")
    }

    /// Pauses a method, a timer or a schedule, or lets it go on.
    pub(crate) fn set_paused(&self, what: Pausable, name: &str, paused: bool) -> Result<()> {
        let table = what.as_str();
        let sql = format!("UPDATE {table} SET paused = ?2 WHERE name = ?1");
        self.changes(&sql, rusqlite::params![name, paused])?
            .then_some(())
            .or_not_found(table, format!("'{name}'"))
    }

    /// All that is paused.
    pub(crate) fn pauses(&self) -> Result<Pauses> {
        let names = |what: Pausable| {
            let table = what.as_str();
            let sql = format!("SELECT name FROM {table} WHERE paused = 1 ORDER BY name");
            self.list(&sql, [], |row| text(row, "name"))
        };
        Ok(Pauses {
            everything: self.is_paused()?,
            methods: names(Pausable::Method)?,
            timers: names(Pausable::Timer)?,
            schedules: names(Pausable::Schedule)?,
        })
    }
}
