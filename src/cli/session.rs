//! What a command works with: the options that go with every command, and an open database.

use std::path::PathBuf;

use serde_json::json;

use super::output::Output;
use crate::clock::Clock;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::functions::Functions;
use crate::model::settings::Settings;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::file::Files;
use crate::store::trust;
use crate::time::{Timestamp, When, Zone};

/// The options that go with every command.
pub(super) struct Invocation {
    pub(super) db: PathBuf,
    pub(super) now: Option<String>,
    pub(super) trusted: bool,
    pub(super) quiet: bool,
    pub(super) out: Output,
    pub(super) functions: Functions,
}

/// An open database, and what a command works with on it.
pub(super) struct Session<'a> {
    pub(super) store: Store<'static>,
    pub(super) settings: Settings,
    pub(super) zone: Zone,
    pub(super) clock: Clock,
    pub(super) functions: &'a Functions,
    pub(super) shutdown: Shutdown,
}

impl Session<'_> {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn when(&self) -> When {
        When {
            zone: self.zone,
            now: self.now(),
        }
    }

    /// What effects work with.
    pub(super) fn context(&self) -> Context<'_> {
        Context {
            store: &self.store,
            clock: &self.clock,
            settings: &self.settings,
            functions: self.functions,
            shutdown: &self.shutdown,
        }
    }

    /// A time that was given for an option.
    pub(super) fn time(&self, option: &str, given: Option<&str>) -> Result<Option<Timestamp>> {
        let time = given.map(|text| self.when().time(text)).transpose();
        time.map_err(|error| Error::usage(option, error))
    }
}

impl Invocation {
    pub(super) fn store(&self) -> Result<Store<'static>> {
        self.check_side_files()?;
        Store::open(&self.db)
    }

    pub(super) fn store_to_read(&self) -> Result<Store<'static>> {
        self.check_side_files()?;
        Store::open_to_read(&self.db)
    }

    pub(super) fn open(&self) -> Result<Session<'_>> {
        self.session(self.store()?)
    }

    pub(super) fn open_to_read(&self) -> Result<Session<'_>> {
        self.session(self.store_to_read()?)
    }

    /// For commands that run what is in the database.
    pub(super) fn open_to_run(&self) -> Result<Session<'_>> {
        self.files_to_run()?;
        self.session(Store::open(&self.db)?)
    }

    fn session(&self, store: Store<'static>) -> Result<Session<'_>> {
        let settings = store.settings()?;
        let zone = settings.zone()?;
        self.session_in(zone, store, settings)
    }

    pub(super) fn session_in(
        &self,
        zone: Zone,
        store: Store<'static>,
        settings: Settings,
    ) -> Result<Session<'_>> {
        Ok(Session {
            clock: self.clock(&zone)?,
            store,
            settings,
            zone,
            functions: &self.functions,
            shutdown: Shutdown::default(),
        })
    }

    /// The files of a database whose commands may be run.
    pub(super) fn files_to_run(&self) -> Result<Files> {
        let files = Files::of(&self.db);
        files.check_names()?;
        if !self.trusted {
            trust::check(&files)?;
        }
        Ok(files)
    }

    fn check_side_files(&self) -> Result<()> {
        if self.trusted {
            return Ok(());
        }
        trust::check_side_files(&Files::of(&self.db))
    }

    /// Prints on a terminal what was done, and what to type next.
    pub(super) fn suggest(&self, done: &str, next: &str) -> Result<()> {
        if self.out.json || self.quiet || !self.out.is_terminal() {
            return Ok(());
        }
        let program = std::env::args().next().unwrap_or_default();
        let db = self.db.display();
        self.out
            .line(format!("{done}; next: {program} --db {db} {next}"))
    }

    /// Prints the id of what was made.
    pub(super) fn id(&self, id: i64) -> Result<()> {
        self.out.show(&json!({"id": id}), || self.out.line(id))
    }

    /// Prints the ids of all that was made, a line each.
    pub(super) fn ids(&self, ids: &[i64]) -> Result<()> {
        self.out.show(&json!({"ids": ids}), || {
            ids.iter()
                .try_for_each(|id| self.out.text(&format!("{id}\n")))
        })
    }

    /// Prints how many there were of what was done.
    pub(super) fn count(&self, done: &str, count: u64) -> Result<()> {
        self.out
            .show(&json!({done: count}), || self.out.line(count))
    }

    pub(super) fn clock(&self, zone: &Zone) -> Result<Clock> {
        let system = Clock::system();
        let Some(text) = &self.now else {
            return Ok(system);
        };
        let time = zone.parse_words(text, system.start());
        Ok(Clock::fixed(
            time.map_err(|error| Error::usage("--now", error))?,
        ))
    }
}
