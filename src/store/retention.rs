//! What is kept for so long and then dropped (`docs/administration.md`, “Retention”).

use rusqlite::params;

use crate::error::Result;
use crate::store::Store;
use crate::time::Timestamp;

/// How many rows are dropped in one transaction: others can write in between.
const BATCH: u32 = 1000;

/// A kind of rows that are dropped when they are old.
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
    /// How many rows are older than a time.
    pub(crate) fn count_old(&self, kept: Kept, before: Timestamp) -> Result<i64> {
        let count = format!("SELECT count(*) FROM {}", kept.old());
        Ok(self.value(&count, [before])?.unwrap_or(0))
    }

    /// Drops some of the rows that are older than a time; how many, and none when there are no more. Where there are
    /// none it waits for nobody's transaction.
    pub(crate) fn prune(&self, kept: Kept, before: Timestamp) -> Result<usize> {
        let (table, old) = (kept.table(), kept.old());
        if !self.exists(&format!("SELECT 1 FROM {old} LIMIT 1"), [before])? {
            return Ok(0);
        }
        let sql = format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {old} LIMIT ?2)");
        self.transact(|store| store.count_changes(&sql, params![before, BATCH]))
    }
}
