//! What is kept for so long and then dropped.

use rusqlite::params;

use crate::error::Result;
use crate::store::Store;
use crate::time::Timestamp;

/// How many old rows are dropped in one transaction: others can write in between.
pub(crate) const DROPPED_AT_ONCE: u32 = 1000;

/// A kind of rows that retention drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Tasks, from their end.
    Tasks,
    History,
    /// Records of levels that were done or skipped.
    Firings,
    /// Mails that are over.
    Mails,
}

impl Kept {
    fn table(self) -> &'static str {
        match self {
            Self::Tasks => "task",
            Self::History => "history",
            Self::Firings => "firing",
            Self::Mails => "mail",
        }
    }

    /// Which rows are older than a time, `?1`, and over: each has an index.
    fn old(self) -> &'static str {
        match self {
            Self::Tasks => {
                "task INDEXED BY task_ended WHERE ended_at < ?1
                   AND status IN ('COMPLETED', 'FAILED', 'INTERRUPTED', 'CANCELLED')"
            }
            Self::History => "history INDEXED BY history_at WHERE at < ?1",
            Self::Firings => "firing INDEXED BY firing_at WHERE at < ?1",
            Self::Mails => {
                "mail INDEXED BY mail_over WHERE created_at < ?1 AND (status = 'sent' OR status = 'failed')"
            }
        }
    }
}

impl Store<'_> {
    /// Whether there are rows to be dropped that are older than a time.
    pub(crate) fn has_old(&self, kept: Kept, before: Timestamp) -> Result<bool> {
        let sql = format!("SELECT 1 FROM {} LIMIT 1", kept.old());
        Ok(self.find(&sql, [before], |_| Ok(()))?.is_some())
    }

    /// Drops the oldest rows that are older than a time, so many at most; how many.
    pub(crate) fn drop_old(&self, kept: Kept, before: Timestamp, most: u32) -> Result<usize> {
        let (table, old) = (kept.table(), kept.old());
        let sql = format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {old} LIMIT ?2)");
        self.execute(&sql, params![before, most])
    }
}
