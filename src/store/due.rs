//! Whether there is anything to do, asked in one statement: to ask each table in turn would be a good part of what a
//! tick costs that finds nothing.

use crate::error::Result;
use crate::store::Store;
use crate::time::Timestamp;

/// What [`Store::is_anything_due`] asks: the first entries of partial indexes, whatever the tables hold. They are named
/// since SQLite would else weigh each index of a table against the others, which takes longer than to look.
#[doc(hidden)]
pub const ANYTHING_DUE: &str = "SELECT EXISTS (SELECT 1 FROM worker)
     OR EXISTS (SELECT 1 FROM task INDEXED BY task_running WHERE status = 'RUNNING')
     OR EXISTS (SELECT 1 FROM task INDEXED BY task_ready WHERE status = 'TO_RUN' AND deferred = 0)
     OR EXISTS (SELECT 1 FROM task INDEXED BY task_deferred WHERE deferred = 1 AND run_at <= ?1)
     OR EXISTS (SELECT 1 FROM mail INDEXED BY mail_sending WHERE status = 'sending')
     OR EXISTS (SELECT 1 FROM mail INDEXED BY mail_queued WHERE status = 'queued' AND (run_at IS NULL OR run_at <= ?1))
     OR EXISTS (SELECT 1 FROM attachment INDEXED BY attachment_needs_reschedule WHERE needs_reschedule > 0)
     OR EXISTS (SELECT 1 FROM attachment INDEXED BY attachment_due WHERE due_at <= ?1) AS due";

/// What [`Store::next_due`] asks: the first entries of indexes too, but for mails, of which few pause.
#[doc(hidden)]
pub const NEXT_DUE: &str = "SELECT min(at) AS at FROM (
        SELECT min(run_at) AS at FROM task INDEXED BY task_deferred WHERE deferred = 1
        UNION ALL SELECT min(run_at) FROM mail INDEXED BY mail_queued WHERE status = 'queued'
        UNION ALL SELECT min(due_at) FROM attachment INDEXED BY attachment_due WHERE due_at IS NOT NULL)";

impl Store {
    /// Whether a tick would find anything: what workers left behind or have in hand, levels of timers, mails, tasks.
    ///
    /// # Errors
    /// SQLite's.
    pub fn is_anything_due(&self, now: Timestamp) -> Result<bool> {
        let due = self.find(ANYTHING_DUE, [now], |row| row.get("due"))?;
        Ok(due.unwrap_or(true))
    }

    /// When something is due next that waits for its time: a task, a mail that pauses, a level of a timer.
    ///
    /// # Errors
    /// SQLite's.
    pub fn next_due(&self) -> Result<Option<Timestamp>> {
        let next: Option<Option<Timestamp>> = self.find(NEXT_DUE, [], |row| row.get("at"))?;
        Ok(next.flatten())
    }
}
