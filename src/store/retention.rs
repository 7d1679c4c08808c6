//! What is kept for so long and then dropped.

use rusqlite::params;

use crate::error::Result;
use crate::store::Store;
use crate::time::Timestamp;

/// How many of the oldest rows are looked at in any case: rows may be added out of order, with `--now` say.
const LOOKED_AT: u32 = 256;

/// A kind of rows that retention drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Tasks, from their end.
    Tasks,
    /// Entries of the history.
    History,
    /// Records of levels that were done or skipped.
    Firings,
    /// Mails that are over.
    Mails,
}

impl Kept {
    /// The table, and the column with the time that its rows were added at.
    fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Tasks => ("task", "created_at"),
            Self::History => ("history", "at"),
            Self::Firings => ("firing", "at"),
            Self::Mails => ("mail", "created_at"),
        }
    }

    /// Which rows up to an id, `?2`, can be dropped that are older than a time, `?1`.
    fn old(self) -> String {
        let (table, time) = self.table();
        let over = match self {
            Self::Tasks => {
                "ended_at < ?1 AND status IN ('COMPLETED', 'FAILED', 'INTERRUPTED', 'CANCELLED')"
                    .to_owned()
            }
            Self::Mails => format!("{time} < ?1 AND status IN ('sent', 'failed')"),
            Self::History | Self::Firings => format!("{time} < ?1"),
        };
        format!("FROM {table} WHERE id <= ?2 AND {over}")
    }
}

impl Store {
    /// Up to which id there are rows to be dropped that are older than a time; none when there are none. Looks no
    /// further than the first row that was added after it, or the oldest few hundred: the cost does not grow with the
    /// table.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_old(&self, kept: Kept, before: Timestamp) -> Result<Option<i64>> {
        let (table, time) = kept.table();
        let sql = format!(
            "SELECT max(coalesce((SELECT id - 1 FROM {table} WHERE {time} >= ?1 ORDER BY id LIMIT 1), ?3),
                        coalesce((SELECT id FROM {table} ORDER BY id LIMIT 1 OFFSET ?2), ?3)) AS last"
        );
        let last = self.find(&sql, params![before, LOOKED_AT - 1, i64::MAX], |row| {
            row.get("last")
        })?;
        let last: i64 = last.unwrap_or(i64::MAX);
        let sql = format!("SELECT 1 {} LIMIT 1", kept.old());
        let found = self.find(&sql, params![before, last], |_| Ok(()))?;
        Ok(found.map(|()| last))
    }

    /// Drops rows up to an id that are older than a time, from the oldest, so many at most; how many.
    ///
    /// # Errors
    /// SQLite's.
    pub fn drop_old(&self, kept: Kept, before: Timestamp, last: i64, most: u32) -> Result<usize> {
        let ((table, _), old) = (kept.table(), kept.old());
        self.execute(
            &format!("DELETE FROM {table} WHERE id IN (SELECT id {old} ORDER BY id LIMIT ?3)"),
            params![before, last, most],
        )
    }
}
