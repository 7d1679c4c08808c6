//! Whether there is anything to do, asked in one statement: to ask each table in turn would be a good part of what a
//! tick costs that finds nothing.

use crate::error::Result;
use crate::store::Store;
use crate::time::Timestamp;

/// What [`Store::is_anything_due`] asks: the first entries of partial indexes, whatever the tables hold. They are named
/// since SQLite would else weigh each index of a table against the others, which takes longer than to look.
const ANYTHING_DUE: &str = "SELECT EXISTS (SELECT 1 FROM worker)
     OR EXISTS (SELECT 1 FROM task INDEXED BY task_running WHERE status = 'RUNNING')
     OR EXISTS (SELECT 1 FROM mail INDEXED BY mail_sending WHERE status = 'sending')
     OR EXISTS (SELECT 1 FROM attachment INDEXED BY attachment_needs_reschedule WHERE needs_reschedule > 0)
     OR NOT EXISTS (SELECT 1 FROM setting WHERE key = 'paused') AND (
        EXISTS (SELECT 1 FROM task INDEXED BY task_ready WHERE status = 'TO_RUN' AND deferred = 0 AND limited_by IS NULL)
     OR EXISTS (SELECT 1 FROM task INDEXED BY task_limited
                 WHERE status = 'TO_RUN' AND deferred = 0 AND limited_by IS NOT NULL AND behind = 0)
     OR EXISTS (SELECT 1 FROM task INDEXED BY task_deferred WHERE deferred = 1 AND run_at <= ?1)
     OR EXISTS (SELECT 1 FROM mail INDEXED BY mail_queued
                 WHERE status = 'queued' AND paused = 0 AND (run_at IS NULL OR run_at <= ?1))
     OR EXISTS (SELECT 1 FROM schedule INDEXED BY schedule_due WHERE paused = 0 AND (next_at IS NULL OR next_at <= ?1))
     OR EXISTS (SELECT 1 FROM attachment INDEXED BY attachment_due WHERE paused = 0 AND due_at <= ?1)) AS due";

/// What [`Store::next_due`] asks: the first entries of indexes too, but for mails, of which few pause.
const NEXT_DUE: &str = "SELECT min(at) AS at FROM (
        SELECT min(run_at) AS at FROM task INDEXED BY task_deferred WHERE deferred = 1 AND run_at > ?1
        UNION ALL SELECT min(run_at) FROM mail INDEXED BY mail_queued 
                   WHERE status = 'queued' AND paused = 0 AND run_at > ?1
        UNION ALL SELECT min(next_at) FROM schedule INDEXED BY schedule_due WHERE paused = 0 AND next_at > ?1
        UNION ALL SELECT min(due_at) FROM attachment INDEXED BY attachment_due WHERE paused = 0 AND due_at > ?1)";

impl Store<'_> {
    /// Whether a tick would find anything: what workers left behind or have in hand, and schedules, levels of timers,
    /// mails and tasks that are not paused.
    pub(crate) fn is_anything_due(&self, now: Timestamp) -> Result<bool> {
        let due = self.find(ANYTHING_DUE, [now], |row| row.get("due"))?;
        Ok(due.unwrap_or(true))
    }

    /// A number that is another one once another program has written to the database.
    pub(crate) fn data_version(&self) -> Result<i64> {
        Ok(self.value("PRAGMA data_version", [])?.unwrap_or_default())
    }

    /// When something is due next, after a time if one is given, that waits for its time: a task, a mail that pauses, a
    /// schedule, a level of a timer.
    pub(crate) fn next_due(&self, after: Option<Timestamp>) -> Result<Option<Timestamp>> {
        if self.is_paused()? {
            return Ok(None);
        }
        let after = after.map_or(String::new(), Timestamp::to_sql);
        let next: Option<Option<Timestamp>> = self.value(NEXT_DUE, [after])?;
        Ok(next.flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::{ANYTHING_DUE, NEXT_DUE};
    use crate::store::Store;

    fn plan(sql: &str) -> String {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::create(&folder.path().join("runner.db")).unwrap();
        store.plan(sql).unwrap()
    }

    /// An index that was named by mistake, for a condition that it cannot serve, would be an error and no plan at all.
    #[test]
    fn a_tick_looks_at_the_first_entries_of_partial_indexes_alone_to_see_whether_anything_is_due() {
        let plan = plan(ANYTHING_DUE);
        for index in [
            "task_running",
            "task_ready",
            "task_limited",
            "task_deferred (run_at<?)",
            "mail_sending",
            "mail_queued (paused=?)",
            "attachment_needs_reschedule",
            "attachment_due (due_at<?)",
        ] {
            assert!(plan.contains(&format!("INDEX {index}")), "{index}\n{plan}");
        }
        let scanned: Vec<&str> = plan
            .lines()
            .filter(|step| step.starts_with("SCAN") && !step.contains("INDEX"))
            .collect();
        assert_eq!(scanned, ["SCAN CONSTANT ROW", "SCAN worker"]);
    }

    #[test]
    fn what_is_due_next_is_the_first_entry_of_an_index() {
        let plan = plan(NEXT_DUE);
        for step in [
            "SEARCH task USING COVERING INDEX task_deferred",
            "SEARCH mail USING COVERING INDEX mail_queued",
            "SEARCH attachment USING COVERING INDEX attachment_due",
        ] {
            assert!(plan.contains(step), "{step}\n{plan}");
        }
    }
}
