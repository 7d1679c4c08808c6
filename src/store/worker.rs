//! The workers: who has claimed what. Whether one lives is decided by the lock on its file.

use crate::error::Result;
use crate::store::Store;
use crate::time::Timestamp;

impl Store<'_> {
    /// Makes a row for a new worker; its id.
    pub(crate) fn insert_worker(&self, pid: u32, now: Timestamp) -> Result<i64> {
        self.execute(
            "INSERT INTO worker (pid, started_at) VALUES (?1, ?2)",
            rusqlite::params![pid, now],
        )?;
        Ok(self.last_id())
    }

    /// The workers that have not signed off, living or dead.
    pub(crate) fn workers(&self) -> Result<Vec<i64>> {
        self.list("SELECT id FROM worker", [], |row| row.get("id"))
    }

    /// Takes a worker off the list, when nothing is claimed by it any more.
    pub(crate) fn delete_worker(&self, id: i64) -> Result<()> {
        self.execute("DELETE FROM worker WHERE id = ?1", [id])
    }

    /// How many of the places for handlers that `task.max_running` allows over all runs the other workers use, living or
    /// dead.
    pub(crate) fn slots_of_others(&self, worker: i64) -> Result<usize> {
        let sql = "SELECT coalesce(sum(slots), 0) AS slots FROM worker WHERE id <> ?1";
        let slots: Option<i64> = self.value(sql, [worker])?;
        Ok(slots
            .and_then(|slots| usize::try_from(slots).ok())
            .unwrap_or(0))
    }

    /// Notes how many of the places that `task.max_running` allows a worker uses: for what is under way, and for what it has
    /// claimed to start next.
    pub(crate) fn set_slots(&self, worker: i64, slots: usize) -> Result<()> {
        let slots = i64::try_from(slots).unwrap_or(i64::MAX);
        self.execute(
            "UPDATE worker SET slots = ?2 WHERE id = ?1",
            [worker, slots],
        )
    }

    /// The running tasks of a worker with their attempts.
    pub(crate) fn tasks_of_worker(&self, worker: i64) -> Result<Vec<(i64, u32)>> {
        self.list(
            "SELECT id, attempt FROM task WHERE status = 'RUNNING' AND worker_id = ?1 ORDER BY id",
            [worker],
            |row| Ok((row.get("id")?, row.get("attempt")?)),
        )
    }

    /// Running tasks whose worker is not on the list: plain SQL has taken it off, or set them to running.
    pub(crate) fn orphaned_tasks(&self) -> Result<Vec<(i64, u32)>> {
        self.list(
            "SELECT id, attempt FROM task
              WHERE status = 'RUNNING' AND (worker_id IS NULL OR worker_id NOT IN (SELECT id FROM worker)) ORDER BY id",
            [],
            |row| Ok((row.get("id")?, row.get("attempt")?)),
        )
    }
}
