//! A copy of the whole database, made while others write to it.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::check::damage_in;

/// How many pages are copied at once: 4 MB.
const PAGES: i32 = 1000;

impl Store<'_> {
    /// Copies the database as it is now into an empty file, which the caller syncs. `goes_on` gets how many pages of how
    /// many are done, and may end it. Whether it has come to its end.
    pub(crate) fn copy_into(
        &self,
        path: &Path,
        mut goes_on: impl FnMut(u64, u64) -> bool,
    ) -> Result<bool> {
        // All steps read the same snapshot: else the copy would begin anew whenever somebody writes.
        let snapshot = self.connection.unchecked_transaction()?;
        snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let mut copy = Connection::open(path)?;
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
        let backup = Backup::new(&snapshot, &mut copy)?;
        while backup.step(PAGES)? != StepResult::Done {
            let progress = backup.progress();
            let [all, left] = [progress.pagecount, progress.remaining].map(i32::unsigned_abs);
            if !goes_on((all - left).into(), all.into()) {
                return Ok(false);
            }
        }
        drop(backup);
        // A copy of a damaged database must not take the place of a good one.
        if damage_in(&copy)?.is_some() {
            let database = self.files().path().display().to_string();
            let reason =
                "the database is damaged: restore it from an earlier backup; no copy was kept";
            return Err(Error::invalid(database, reason));
        }
        Ok(true)
    }
}
