//! The levels of timers that were done or skipped.

use rusqlite::{Row, params};

use crate::error::{OrNotFound, Result};
use crate::json::Json;
use crate::model::firing::{Firing, FiringFilter, NewFiring};
use crate::store::Store;
use crate::store::text::{text, text_or_null};
use crate::time::Timestamp;

const SHOWN: &str = "SELECT document.title AS title, firing.*
       FROM firing LEFT JOIN document ON document.id = firing.document_id";

impl Store<'_> {
    /// Records that a level was done or skipped.
    pub(crate) fn insert_firing(&self, new: &NewFiring<'_>) -> Result<()> {
        let sent = match new.sent {
            [] => None,
            sent => Some(serde_json::Value::from(sent).to_string()),
        };
        self.execute(
            "INSERT INTO firing (timer, document_id, level, due_at, at, status, step, sent, result)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                new.timer,
                new.document,
                new.level,
                new.due_at,
                new.at,
                new.status,
                new.step,
                sent,
                new.result
            ],
        )?;
        Ok(())
    }

    /// A firing by its id.
    pub(crate) fn firing(&self, id: i64) -> Result<Firing> {
        self.find(&format!("{SHOWN} WHERE firing.id = ?1"), [id], firing)?
            .or_not_found("firing", id)
    }

    /// Those that the filter lets through, oldest first; the newest of them when there is a limit.
    pub(crate) fn firings(&self, filter: &FiringFilter<'_>) -> Result<Vec<Firing>> {
        // The word itself, not a parameter, lets SQLite use the index of the skipped ones.
        let status = filter.status.as_str();
        let sql = format!(
            "{SHOWN} WHERE firing.status = '{status}' AND (?1 IS NULL OR has_text(document.title, ?1))
              ORDER BY firing.id DESC LIMIT ?2"
        );
        let limit = filter.limit.map_or(-1, i64::from);
        let mut found = self.list(&sql, params![filter.title, limit], firing)?;
        found.reverse();
        Ok(found)
    }

    /// Marks a skipped one as done after all, at this time.
    pub(crate) fn finish_firing(&self, id: i64, result: &str, now: Timestamp) -> Result<()> {
        self.execute(
            "UPDATE firing SET status = 'done', at = ?3, result = ?2 WHERE id = ?1",
            params![id, result, now],
        )?;
        Ok(())
    }
}

fn firing(row: &Row<'_>) -> rusqlite::Result<Firing> {
    let sent: Option<Json> = row.get("sent")?;
    let sent = sent.and_then(|sent| serde_json::from_str(sent.text()).ok());
    Ok(Firing {
        id: row.get("id")?,
        timer: text(row, "timer")?,
        document: row.get("document_id")?,
        title: text_or_null(row, "title")?,
        level: row.get("level")?,
        due_at: row.get("due_at")?,
        at: row.get("at")?,
        status: row.get("status")?,
        result: text_or_null(row, "result")?,
        step: row.get("step")?,
        sent: sent.unwrap_or_default(),
    })
}
