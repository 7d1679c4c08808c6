//! What workers do with tasks: claim, release, finish, interrupt.

use std::cmp::Reverse;
use std::time::Duration;

use rusqlite::{Row, params};

use crate::error::Result;
use crate::json::Json;
use crate::model::task::{Progress, Status, Stop, label};
use crate::store::Store;
use crate::store::method::argv;
use crate::store::text::{text, text_or_null};
use crate::time::Timestamp;

/// A task that a worker has claimed: what it needs to do it.
#[derive(Debug)]
pub(crate) struct ClaimedTask {
    pub(crate) id: i64,
    /// Empty when it has a command of its own.
    pub(crate) method: String,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) params: Json,
    pub(crate) hidden_params: Option<Json>,
    /// Which attempt this claim is: 1 the first time, and after a restart again.
    pub(crate) attempt: u32,
    /// How often it may be tried again, if that is not up to its method.
    pub(crate) retries: Option<u32>,
    /// How long it may take, a duration, if that is not up to its method, and then to the setting.
    pub(crate) timeout: Option<String>,
    /// The task that it follows.
    pub(crate) after: Option<i64>,
    pub(crate) document: Option<i64>,
    /// The attachment whose level it is the method of.
    pub(crate) attachment: Option<i64>,
    /// How late it is counts from this: its time to run at, or else when it was made. The first attempt of a timer's task
    /// is due when its level is.
    pub(crate) due_at: Timestamp,
    /// Whether a file was given with it.
    pub(crate) has_file: bool,
    /// The number of its last log entry, of earlier attempts.
    pub(crate) last_log: i64,
}

impl ClaimedTask {
    pub(crate) fn label(&self) -> &str {
        label(&self.method, self.command.as_deref())
    }
}

/// An attempt, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) task: i64,
    pub(crate) number: u32,
    pub(crate) worker: i64,
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) struct TaskEnd {
    /// `COMPLETED`, `FAILED`, `INTERRUPTED` or `CANCELLED`.
    pub(crate) status: Status,
    /// The attachment whose level it is the method of: it is woken when the task is over for good.
    pub(crate) attachment: Option<i64>,
    /// When it is tried again, if it is.
    pub(crate) again_at: Option<Timestamp>,
    pub(crate) at: Timestamp,
    /// How long the handler ran, by the monotonic clock.
    pub(crate) lasted: Duration,
    /// What the handler's process ended with, if it came to an end of its own.
    pub(crate) exit_code: Option<i32>,
    pub(crate) progress: Option<Progress>,
    pub(crate) result: Option<Json>,
}

impl TaskEnd {
    /// An end without anything from a handler.
    pub(crate) fn new(status: Status, attachment: Option<i64>, at: Timestamp) -> Self {
        Self {
            status,
            attachment,
            again_at: None,
            at,
            lasted: Duration::ZERO,
            exit_code: None,
            progress: None,
            result: None,
        }
    }
}

/// Tasks of a level whose date has changed since are passed over: the next turn of the timers cancels or keeps them. So
/// are those of a paused timer.
pub(super) const READY: &str = "status = 'TO_RUN' AND deferred = 0
    AND (attachment_id IS NULL OR NOT EXISTS
         (SELECT 1 FROM attachment WHERE id = task.attachment_id AND task_id = task.id AND (needs_reschedule > 0 OR paused = 1)))";

const CLAIMED: &str =
    "id, method, command, params, hidden_params, min(attempt + 1, 4294967294) AS attempt, retries, timeout, after_id,
    document_id, attachment_id, coalesce(run_at, created_at) AS due_at,
    EXISTS (SELECT 1 FROM task_file WHERE task_id = task.id AND kind = 'input') AS has_file,
    (SELECT coalesce(max(seq), 0) FROM task_log WHERE task_id = task.id) AS last_log";

/// Whether anything is paused that a task can be of.
const ANY_PAUSED: &str = "SELECT 1 WHERE EXISTS (SELECT 1 FROM method WHERE paused = 1) OR EXISTS (SELECT 1 FROM timer WHERE paused = 1)";

/// Defers those of the next so many tasks whose handler or timer is paused. The handler is the method of the same name,
/// else the service with the longest name, as in [`Methods::find`](crate::model::method::Methods::find).
const DEFER_PAUSED: &str = "UPDATE task SET deferred = 2 WHERE id IN (
    SELECT id FROM (
        SELECT id,
               (SELECT paused FROM method
                 WHERE name = task.method
                    OR substr(name, -2) = ':*' AND substr(task.method, 1, length(name) - 1) = substr(name, 1, length(name) - 1)
                 ORDER BY name = task.method DESC, length(name) DESC LIMIT 1) = 1
               OR EXISTS (SELECT 1 FROM attachment WHERE id = task.attachment_id AND task_id = task.id AND paused = 1) AS paused
          FROM task INDEXED BY task_ready WHERE status = 'TO_RUN' AND deferred = 0 AND limited_by IS NULL
         ORDER BY priority DESC, id LIMIT ?1)
     WHERE paused)";

/// How many tasks a claim looks at in one go for being paused.
const PAUSED_BATCH: i64 = 100;

/// How many are deferred in one transaction: others can write in between.
const MAX_DEFERRED: i64 = 10_000;

impl Store<'_> {
    /// Defers paused tasks, however many, in short transactions. What comes after that is left to the claims.
    pub(crate) fn defer_paused_tasks(&self) -> Result<()> {
        let is_needed = || self.exists(ANY_PAUSED, []);
        let defer = |store: &Self| store.changes(DEFER_PAUSED, [MAX_DEFERRED]);
        while is_needed()? && self.transact(defer)? {}
        Ok(())
    }

    /// Claims the next tasks for a worker, the most urgent first, `max` at most.
    pub(crate) fn claim_tasks(
        &self,
        worker: i64,
        max: usize,
        now: Timestamp,
    ) -> Result<Vec<ClaimedTask>> {
        if self.is_paused()? {
            return Ok(Vec::new());
        }
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        self.defer_paused_among_next(max)?;
        let limited = self.limited_candidates(max)?;
        if limited.is_empty() {
            let next =
                format!("limited_by IS NULL AND {READY} ORDER BY priority DESC, id LIMIT ?1");
            return self.claim(&next, max, worker, now);
        }
        let mut candidates = self.candidates("limited_by IS NULL", params![max])?;
        candidates.extend(limited);
        candidates.sort_unstable_by_key(|task| (Reverse(task.priority), task.id));
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut claimed = Vec::new();
        for task in candidates.iter().take(max) {
            claimed.extend(self.claim("id = ?1", task.id, worker, now)?);
        }
        Ok(claimed)
    }

    /// Defers paused tasks until so many are next that are not, or all: each is looked at once, and not by each claim. The
    /// triggers of the schema undo it.
    fn defer_paused_among_next(&self, max: i64) -> Result<()> {
        if self.exists(ANY_PAUSED, [])? {
            while self.changes(DEFER_PAUSED, [max.max(PAUSED_BATCH)])? {}
        }
        Ok(())
    }

    /// Claims this task, in whatever state it is but running, unless its method is serial and another one of its signature
    /// runs.
    pub(crate) fn claim_task(
        &self,
        id: i64,
        worker: i64,
        now: Timestamp,
    ) -> Result<Option<ClaimedTask>> {
        // If it is over, its method may have got limits since.
        self.execute("UPDATE task SET method = method WHERE id = ?1", [id])?;
        if self.running_before(id)?.is_some() {
            return Ok(None);
        }
        let claimed = self.claim("id = ?1 AND status <> 'RUNNING'", id, worker, now)?;
        Ok(claimed.into_iter().next())
    }

    /// Two statements: SQLite takes longer over one UPDATE that finds its rows itself and returns them.
    fn claim(
        &self,
        wanted: &str,
        bound: i64,
        worker: i64,
        now: Timestamp,
    ) -> Result<Vec<ClaimedTask>> {
        let select = format!("SELECT {CLAIMED} FROM task WHERE {wanted}");
        let claimed = self.list(&select, [bound], claimed_task)?;
        let now = now.to_sql();
        let mut mark = self.sql(
            "UPDATE task SET status = 'RUNNING', deferred = 0, held = 0, worker_id = ?2, attempt = ?4, started_at = ?3,
                             ended_at = NULL, duration_ms = NULL, exit_code = NULL, progress = NULL, result = NULL
              WHERE id = ?1",
        )?;
        for task in &claimed {
            mark.execute(params![task.id, worker, now, task.attempt])?;
        }
        Ok(claimed)
    }

    /// Makes the tasks ready whose time has come.
    pub(crate) fn undefer_tasks(&self, now: Timestamp) -> Result<()> {
        self.execute(
            "UPDATE task SET deferred = 0 WHERE deferred = 1 AND run_at <= ?1",
            [now],
        )
    }

    /// Gives a claimed task back that was not started; one that somebody asked to end meanwhile is over.
    pub(crate) fn unclaim_task(&self, id: i64, worker: i64, now: Timestamp) -> Result<()> {
        let status: Option<Status> = self.value(
            "UPDATE task SET status = CASE WHEN stop_requested IS 'cancel' THEN 'CANCELLED'
                                           WHEN stop_requested IS 'stop' THEN 'INTERRUPTED' ELSE 'TO_RUN' END,
                             ended_at = iif(stop_requested IS NULL, NULL, ?3),
                             worker_id = NULL, stop_requested = NULL, attempt = attempt - 1, started_at = NULL
              WHERE id = ?1 AND worker_id = ?2 AND status = 'RUNNING' RETURNING status",
            params![id, worker, now],
        )?;
        match status {
            Some(status) if status.is_ended() => self.wake_attachment_of_task(id),
            _ => Ok(()),
        }
    }

    /// Ends an attempt, if it is still this worker's. Whether it was.
    pub(crate) fn finish_task(&self, attempt: Attempt, end: &TaskEnd) -> Result<bool> {
        let lasted = i64::try_from(end.lasted.as_millis()).unwrap_or(i64::MAX);
        let is_ours = self.changes(
            "UPDATE task SET status = ?4, deferred = ?5 IS NOT NULL, run_at = coalesce(?5, run_at), ended_at = ?6,
                             duration_ms = ?7, exit_code = ?8, progress = ?9, result = ?10,
                             worker_id = NULL, stop_requested = NULL
              WHERE id = ?1 AND attempt = ?2 AND worker_id = ?3 AND status = 'RUNNING'",
            params![
                attempt.task,
                attempt.number,
                attempt.worker,
                end.again_at.map_or(end.status, |_| Status::ToRun),
                end.again_at,
                end.at,
                lasted,
                end.exit_code,
                end.progress,
                end.result,
            ],
        )?;
        if let (true, None, Some(attachment)) = (is_ours, end.again_at, end.attachment) {
            self.wake_attachment(attachment)?;
        }
        Ok(is_ours)
    }

    /// Whether any task waits for another.
    pub(crate) fn has_waiting_task(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM task WHERE status = 'WAITING' LIMIT 1";
        self.exists(sql, [])
    }

    /// Makes the tasks ready that waited for this one.
    pub(crate) fn unblock_followers(&self, id: i64) -> Result<()> {
        self.execute(
            "UPDATE task SET status = 'TO_RUN' WHERE after_id = ?1 AND status = 'WAITING' AND held = 0",
            [id],
        )
    }

    /// Marks a running task whose worker is dead; one that was to be cancelled is that.
    pub(crate) fn interrupt_task(
        &self,
        id: i64,
        at: Timestamp,
        again_at: Option<Timestamp>,
    ) -> Result<()> {
        let status = again_at.map_or(Status::Interrupted, |_| Status::ToRun);
        self.execute(
            "UPDATE task SET status = iif(stop_requested IS 'cancel', 'CANCELLED', ?2), deferred = ?3 IS NOT NULL,
                             run_at = coalesce(?3, run_at), ended_at = ?4, worker_id = NULL, stop_requested = NULL
              WHERE id = ?1 AND status = 'RUNNING'",
            params![id, status, again_at, at],
        )?;
        match again_at {
            Some(_) => Ok(()),
            None => self.wake_attachment_of_task(id),
        }
    }

    /// Notes how far a running task is.
    pub(crate) fn set_progress(&self, attempt: Attempt, progress: &Progress) -> Result<()> {
        self.execute(
            "UPDATE task SET progress = ?4 WHERE id = ?1 AND attempt = ?2 AND worker_id = ?3 AND status = 'RUNNING'",
            params![attempt.task, attempt.number, attempt.worker, progress],
        )
    }

    /// Of a worker's running tasks, those that somebody asked to end.
    pub(crate) fn stop_requests(&self, worker: i64) -> Result<Vec<(i64, Stop)>> {
        self.list(
            "SELECT id, stop_requested FROM task WHERE status = 'RUNNING' AND worker_id = ?1 AND stop_requested IS NOT NULL",
            [worker],
            |row| Ok((row.get("id")?, row.get("stop_requested")?)),
        )
    }

    /// What somebody asked of the worker of a running task, if anything.
    pub(crate) fn stop_request(&self, id: i64) -> Result<Option<Stop>> {
        let sql = "SELECT stop_requested FROM task WHERE id = ?1 AND stop_requested IS NOT NULL";
        self.value(sql, [id])
    }
}

fn claimed_task(row: &Row<'_>) -> rusqlite::Result<ClaimedTask> {
    Ok(ClaimedTask {
        id: row.get("id")?,
        method: text(row, "method")?,
        command: text_or_null(row, "command")?.map(|command| argv(&command)),
        params: row.get("params")?,
        hidden_params: row.get("hidden_params")?,
        attempt: row.get("attempt")?,
        retries: row.get("retries")?,
        timeout: text_or_null(row, "timeout")?,
        after: row.get("after_id")?,
        document: row.get("document_id")?,
        attachment: row.get("attachment_id")?,
        due_at: row.get("due_at")?,
        has_file: row.get("has_file")?,
        last_log: row.get("last_log")?,
    })
}

#[cfg(test)]
mod tests {
    use super::{DEFER_PAUSED, READY};
    use crate::store::Store;
    use crate::time::Timestamp;

    fn store(folder: &tempfile::TempDir) -> Store<'static> {
        Store::create(&folder.path().join("runner.db")).unwrap()
    }

    /// However many tasks are pending, a claim reads the first entries of one index.
    #[test]
    fn the_next_tasks_and_the_paused_ones_among_them_are_found_by_index() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(&folder);
        let claim = format!(
            "SELECT id FROM task WHERE limited_by IS NULL AND {READY} ORDER BY priority DESC, id LIMIT 1"
        );
        for sql in [&claim, DEFER_PAUSED] {
            let plan = store.plan(sql).unwrap();
            assert!(plan.contains("task USING INDEX task_ready"), "{plan}");
            let sorts = plan.lines().filter(|step| step.contains("TEMP B-TREE"));
            // The few methods that a task may be of are sorted.
            assert!(sorts.count() <= 1, "{plan}");
        }
        let resume = "UPDATE task SET deferred = 0 WHERE deferred = 2";
        let plan = store.plan(resume).unwrap();
        assert!(plan.contains("INDEX task_paused"), "{plan}");
    }

    /// What is paused is looked at by one claim, and by no later one.
    #[test]
    fn a_claim_puts_all_paused_tasks_aside_that_are_before_those_that_it_finds() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(&folder);
        let connection = rusqlite::Connection::open(store.files().path()).unwrap();
        let script = "INSERT INTO method (name, command, paused) VALUES ('p:*', '[\"true\"]', 1);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO task (method) SELECT iif(i % 250 = 0, 'm', 'p:' || i) FROM n";
        connection.execute_batch(script).unwrap();
        let claim = |max| {
            let now = Timestamp::from_unix(0).unwrap();
            let claimed = store.transact(|store| store.claim_tasks(1, max, now));
            claimed
                .unwrap()
                .iter()
                .map(|task| task.id)
                .collect::<Vec<_>>()
        };
        let aside = || -> i64 {
            let sql = "SELECT count(*) FROM task WHERE deferred = 2";
            connection.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        assert_eq!(claim(2), [250, 500]);
        assert_eq!(aside(), 996);
        assert_eq!(claim(9), [750, 1000]);
        connection
            .execute_batch("UPDATE method SET paused = 0")
            .unwrap();
        assert_eq!((aside(), claim(2)), (0, vec![1, 2]));
    }
}
