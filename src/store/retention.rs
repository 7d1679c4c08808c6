//! What is kept for so long and then dropped.

use rusqlite::params;

use crate::error::Result;
use crate::store::Store;
use crate::time::Timestamp;

/// How many of the oldest rows are looked at in any case: rows may be added out of order, with `--now` say.
pub const LOOKED_AT: u32 = 256;
/// How many old rows are dropped in one transaction: others can write in between.
pub const DROPPED_AT_ONCE: u32 = 1000;

/// How far to look for rows to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// At so many of the oldest rows.
    Oldest(u32),
    /// As far as the first row that was added after the time, and at the oldest few hundred in any case. Rows that are
    /// old and not over, such as tasks that are held for years, cost their time each time.
    Old,
}

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
    /// Up to which id there are rows to be dropped that are older than a time; none when there are none so far.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_old(&self, kept: Kept, before: Timestamp, reach: Reach) -> Result<Option<i64>> {
        let (table, time) = kept.table();
        let oldest = |count: u32| -> Result<i64> {
            let sql = format!("SELECT id FROM {table} ORDER BY id LIMIT 1 OFFSET ?1");
            let last = self.find(&sql, [count.saturating_sub(1)], |row| row.get("id"))?;
            Ok(last.unwrap_or(i64::MAX))
        };
        let last = match reach {
            Reach::Oldest(count) => oldest(count)?,
            Reach::Old => {
                let sql = format!("SELECT id FROM {table} WHERE {time} >= ?1 ORDER BY id LIMIT 1");
                let young: Option<i64> = self.find(&sql, [before], |row| row.get("id"))?;
                oldest(LOOKED_AT)?.max(young.map_or(i64::MAX, |id| id.saturating_sub(1)))
            }
        };
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
