//! The tasks: adding them, claiming them for a worker, ending them.

use std::time::Duration;

use rusqlite::{Row, Statement, ToSql, params};

use crate::error::{OrNotFound, Result};
use crate::json::Json;
use crate::model::task::{Progress, Status, Stop, Task};
use crate::store::Store;
use crate::store::text::{readable, text, text_or_null};
use crate::time::Timestamp;

/// A task to be inserted, all checked.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the columns of the table")]
pub struct TaskRow<'a> {
    pub method: &'a str,
    pub params: Option<&'a Json>,
    pub hidden_params: Option<&'a Json>,
    pub owner: Option<&'a str>,
    pub signature: Option<&'a str>,
    pub after: Option<i64>,
    pub run_at: Option<Timestamp>,
    pub priority: i64,
    pub retries: Option<u32>,
    pub timeout: Option<&'a str>,
    pub document: Option<i64>,
    pub attachment: Option<i64>,
}

/// What a worker needs of a task that it has claimed.
#[derive(Debug)]
#[allow(missing_docs, reason = "the columns of the table")]
pub struct Claim {
    pub id: i64,
    pub method: String,
    pub params: Json,
    pub hidden_params: Option<Json>,
    /// Which attempt this claim is: 1 the first time, and after a restart again.
    pub attempt: u32,
    /// How often it may be tried again; none leaves that to its method.
    pub retries: Option<u32>,
    /// How long it may take, a duration; none leaves that to its method, and then to the setting.
    pub timeout: Option<String>,
    /// The document that it is about.
    pub document: Option<i64>,
    /// The timer's attachment that waits for it.
    pub attachment: Option<i64>,
    /// Its time to run at, or else when it was made: how late it is counts from this. The first attempt of a timer's task
    /// is due when its level is.
    pub due_at: Timestamp,
    /// Whether a file was given with it.
    pub has_file: bool,
}

/// How an attempt ended.
#[derive(Debug)]
pub struct Ending {
    /// `COMPLETED`, `FAILED`, `INTERRUPTED` or `CANCELLED`.
    pub status: Status,
    /// The attachment whose level it is the method of: it is woken when the task is over for good.
    pub attachment: Option<i64>,
    /// When it is tried again, if it is.
    pub again_at: Option<Timestamp>,
    /// When it ended.
    pub at: Timestamp,
    /// How long the handler ran, by a clock that nobody sets.
    pub lasted: Duration,
    /// What the handler's process ended with, if it came to an end of its own.
    pub exit_code: Option<i32>,
    /// How far it said it was.
    pub progress: Option<Progress>,
    /// What it handed back.
    pub result: Option<Json>,
}

/// Which tasks to list.
#[derive(Debug, Default)]
pub struct TaskFilter<'a> {
    /// Those of this status.
    pub status: Option<Status>,
    /// Those about this.
    pub signature: Option<&'a str>,
    /// Those of this method.
    pub method: Option<&'a str>,
    /// So many at most, the newest.
    pub limit: Option<u32>,
}

const COLUMNS: &str =
    "(SELECT name FROM task_file WHERE task_id = task.id AND kind = 'input') AS file,
    (SELECT name FROM task_file WHERE task_id = task.id AND kind = 'output') AS output, task.*";

const CLAIMED: &str =
    "id, method, params, hidden_params, min(attempt + 1, 4294967294) AS attempt, retries, timeout, document_id,
    attachment_id, coalesce(run_at, created_at) AS due_at,
    EXISTS (SELECT 1 FROM task_file WHERE task_id = task.id AND kind = 'input') AS has_file";

impl Store {
    /// Inserts a task; its id.
    pub fn insert_task(&self, task: &TaskRow<'_>, now: Timestamp) -> Result<i64> {
        self.execute(
            "INSERT INTO task (method, params, hidden_params, owner, signature, after_id, run_at, priority,
                               retries, timeout, document_id, attachment_id, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                task.method,
                task.params.map_or("{}", Json::text),
                task.hidden_params,
                task.owner,
                task.signature,
                task.after,
                task.run_at,
                task.priority,
                task.retries,
                task.timeout,
                task.document,
                task.attachment,
                now,
            ],
        )?;
        Ok(self.last_id())
    }

    /// A task by its id.
    ///
    /// # Errors
    /// When there is none.
    pub fn task(&self, id: i64) -> Result<Task> {
        self.find(
            &format!("SELECT {COLUMNS} FROM task WHERE id = ?1"),
            [id],
            task,
        )?
        .or_not_found("task", id)
    }

    /// The tasks that the filter lets through, by id; the newest of them when there is a limit.
    ///
    /// # Errors
    /// SQLite's.
    pub fn tasks(&self, filter: &TaskFilter<'_>) -> Result<Vec<Task>> {
        let mut wanted: Vec<&str> = Vec::new();
        let mut values: Vec<(&str, &dyn ToSql)> = Vec::new();
        if let Some(status) = &filter.status {
            wanted.push("status = :status");
            values.push((":status", status));
        }
        if let Some(signature) = &filter.signature {
            wanted.push("signature = :signature");
            values.push((":signature", signature));
        }
        if let Some(method) = &filter.method {
            wanted.push("method = :method");
            values.push((":method", method));
        }
        let limit = filter.limit.map_or(-1, i64::from);
        values.push((":limit", &limit));
        let wanted = if wanted.is_empty() {
            "1".to_owned()
        } else {
            wanted.join(" AND ")
        };
        let mut found = self.list(
            &format!("SELECT {COLUMNS} FROM task WHERE {wanted} ORDER BY id DESC LIMIT :limit"),
            values.as_slice(),
            task,
        )?;
        found.reverse();
        Ok(found)
    }

    /// Whether there is a task of this id.
    ///
    /// # Errors
    /// SQLite's.
    pub fn task_exists(&self, id: i64) -> Result<bool> {
        Ok(self
            .find("SELECT 1 FROM task WHERE id = ?1", [id], |_| Ok(()))?
            .is_some())
    }

    /// A live task with this signature, if there is one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn live_task_of(&self, signature: &str) -> Result<Option<i64>> {
        self.find(
            "SELECT id FROM task
              WHERE signature = ?1 AND status IN ('WAITING', 'TO_RUN', 'RUNNING') ORDER BY id LIMIT 1",
            [signature],
            |row| row.get("id"),
        )
    }

    /// Whether a task could be claimed now, or could be once its time is noticed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_ready_task(&self, now: Timestamp) -> Result<bool> {
        let ready = "SELECT 1 FROM task WHERE status = 'TO_RUN' AND deferred = 0 LIMIT 1";
        let deferred = "SELECT 1 FROM task WHERE deferred = 1 AND run_at <= ?1 LIMIT 1";
        Ok(self.find(ready, [], |_| Ok(()))?.is_some()
            || self.find(deferred, [now], |_| Ok(()))?.is_some())
    }

    /// The tasks that may run now with their methods, the most urgent first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn ready_tasks(&self, now: Timestamp) -> Result<Vec<(i64, String)>> {
        self.list(
            "SELECT id, method FROM task WHERE status = 'TO_RUN' AND (deferred = 0 OR run_at <= ?1)
              ORDER BY priority DESC, id",
            [now],
            |row| Ok((row.get("id")?, text(row, "method")?)),
        )
    }

    /// Lets go of the tasks whose time has come.
    ///
    /// # Errors
    /// SQLite's.
    pub fn release_held(&self, now: Timestamp) -> Result<usize> {
        self.execute(
            "UPDATE task SET deferred = 0 WHERE deferred = 1 AND run_at <= ?1",
            [now],
        )
    }

    /// Claims the next tasks for a worker, the most urgent first, inside a transaction.
    ///
    /// # Errors
    /// SQLite's.
    pub fn claim_tasks(&self, worker: i64, most: usize, now: Timestamp) -> Result<Vec<Claim>> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        // A timer's task is not started when the date that it was due by has changed: then it is about to be cancelled.
        let wanted = "status = 'TO_RUN' AND deferred = 0 AND (attachment_id IS NULL OR NOT EXISTS
                         (SELECT 1 FROM attachment WHERE id = task.attachment_id AND task_id = task.id AND needs_reschedule > 0))
                      ORDER BY priority DESC, id LIMIT ?1";
        self.claim(wanted, most, worker, now)
    }

    /// Claims this task, in whatever state it is but running, inside a transaction.
    ///
    /// # Errors
    /// SQLite's.
    pub fn claim_task(&self, id: i64, worker: i64, now: Timestamp) -> Result<Option<Claim>> {
        let claimed = self.claim("id = ?1 AND status <> 'RUNNING'", id, worker, now)?;
        Ok(claimed.into_iter().next())
    }

    /// Two statements: SQLite takes longer over one UPDATE that finds its rows itself and returns them.
    fn claim(&self, wanted: &str, bound: i64, worker: i64, now: Timestamp) -> Result<Vec<Claim>> {
        let mut select = self.sql(&format!("SELECT {CLAIMED} FROM task WHERE {wanted}"))?;
        let columns = ClaimColumns::of(&select)?;
        let rows = select.query_map([bound], |row| columns.claim(row))?;
        let claimed = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let now = now.to_sql();
        let mut mark = self.sql(
            "UPDATE task SET status = 'RUNNING', deferred = 0, worker_id = ?2, attempt = ?4, started_at = ?3,
                             ended_at = NULL, duration_ms = NULL, exit_code = NULL, progress = NULL, result = NULL
              WHERE id = ?1",
        )?;
        for claim in &claimed {
            mark.execute(params![claim.id, worker, now, claim.attempt])?;
        }
        Ok(claimed)
    }

    /// Gives a claimed task back that was not started; one that somebody asked to end meanwhile is over. What it is
    /// then, and the attachment whose level it is the method of; nothing when it was not the worker's any more.
    ///
    /// # Errors
    /// SQLite's.
    pub fn unclaim_task(
        &self,
        id: i64,
        worker: i64,
        now: Timestamp,
    ) -> Result<Option<(Status, Option<i64>)>> {
        let released: Option<(Status, Option<i64>)> = self.find(
            "UPDATE task SET status = CASE WHEN stop_requested IS 'cancel' THEN 'CANCELLED'
                                           WHEN stop_requested IS 'stop' THEN 'INTERRUPTED' ELSE 'TO_RUN' END,
                             ended_at = iif(stop_requested IS NULL, NULL, ?3),
                             worker_id = NULL, stop_requested = NULL, attempt = attempt - 1, started_at = NULL
              WHERE id = ?1 AND worker_id = ?2 AND status = 'RUNNING' RETURNING status, attachment_id",
            params![id, worker, now],
            |row| Ok((row.get("status")?, row.get("attachment_id")?)),
        )?;
        if let Some((status, Some(attachment))) = released
            && status.is_ended()
        {
            self.wake_attachment(attachment)?;
        }
        Ok(released)
    }

    /// Ends an attempt, if it is still this worker's. Whether it was.
    ///
    /// # Errors
    /// SQLite's.
    pub fn finish_task(&self, task: (i64, u32), worker: i64, end: &Ending) -> Result<bool> {
        let lasted = i64::try_from(end.lasted.as_millis()).unwrap_or(i64::MAX);
        let finished = match end {
            // Most ends are of this kind, and need not touch what only the others change.
            Ending {
                status: Status::Completed,
                progress: None,
                result: None,
                ..
            } => self.execute(
                "UPDATE task SET status = 'COMPLETED', ended_at = ?4, duration_ms = ?5, exit_code = ?6,
                                 worker_id = NULL, stop_requested = NULL
                  WHERE id = ?1 AND attempt = ?2 AND worker_id = ?3 AND status = 'RUNNING'",
                params![task.0, task.1, worker, end.at, lasted, end.exit_code],
            )?,
            _ => self.execute(
                "UPDATE task SET status = ?4, deferred = ?5 IS NOT NULL, run_at = coalesce(?5, run_at), ended_at = ?6,
                                 duration_ms = ?7, exit_code = ?8, progress = ?9, result = ?10,
                                 worker_id = NULL, stop_requested = NULL
                  WHERE id = ?1 AND attempt = ?2 AND worker_id = ?3 AND status = 'RUNNING'",
                params![
                    task.0,
                    task.1,
                    worker,
                    end.again_at.map_or(end.status, |_| Status::ToRun),
                    end.again_at,
                    end.at,
                    lasted,
                    end.exit_code,
                    end.progress,
                    end.result,
                ],
            )?,
        };
        if let (true, None, Some(attachment)) = (finished > 0, end.again_at, end.attachment) {
            self.wake_attachment(attachment)?;
        }
        Ok(finished > 0)
    }

    /// The status of a task, if there is one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn task_status(&self, id: i64) -> Result<Option<Status>> {
        self.find("SELECT status FROM task WHERE id = ?1", [id], |row| {
            row.get("status")
        })
    }

    /// Whether any task waits for another.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_waiting_task(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM task WHERE status = 'WAITING' LIMIT 1";
        Ok(self.find(sql, [], |_| Ok(()))?.is_some())
    }

    /// Marks a running task whose worker is dead; one that was to be cancelled is that.
    ///
    /// # Errors
    /// SQLite's.
    pub fn interrupt_task(
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
        self.wake_attachment_of_task(id)
    }

    /// Lets go of the tasks that waited for this one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn release_followers(&self, id: i64) -> Result<usize> {
        self.execute(
            "UPDATE task SET status = 'TO_RUN' WHERE after_id = ?1 AND status = 'WAITING'",
            [id],
        )
    }

    /// Notes how far a running task is.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_progress(&self, task: (i64, u32), worker: i64, progress: &Progress) -> Result<()> {
        self.execute(
            "UPDATE task SET progress = ?4 WHERE id = ?1 AND attempt = ?2 AND worker_id = ?3 AND status = 'RUNNING'",
            params![task.0, task.1, worker, progress],
        )?;
        Ok(())
    }

    /// Of a worker's running tasks, those that somebody asked to end.
    ///
    /// # Errors
    /// SQLite's.
    pub fn stops_asked(&self, worker: i64) -> Result<Vec<(i64, Stop)>> {
        self.list(
            "SELECT id, stop_requested FROM task WHERE status = 'RUNNING' AND worker_id = ?1 AND stop_requested IS NOT NULL",
            [worker],
            |row| Ok((row.get("id")?, row.get("stop_requested")?)),
        )
    }

    /// What somebody asked of the worker of a running task, if anything.
    ///
    /// # Errors
    /// SQLite's.
    pub fn stop_asked(&self, id: i64) -> Result<Option<Stop>> {
        let sql = "SELECT stop_requested FROM task WHERE id = ?1 AND stop_requested IS NOT NULL";
        self.find(sql, [id], |row| row.get("stop_requested"))
    }

    /// Asks the worker of a running task to end it. Whether it was running.
    ///
    /// # Errors
    /// SQLite's.
    pub fn ask_stop(&self, id: i64, stop: Stop) -> Result<bool> {
        let asked = self.execute(
            "UPDATE task SET stop_requested = ?2 WHERE id = ?1 AND status = 'RUNNING'",
            params![id, stop],
        )?;
        Ok(asked > 0)
    }

    /// Cancels a task that does not run yet. Whether there was something to cancel.
    ///
    /// # Errors
    /// SQLite's.
    pub fn cancel_task(&self, id: i64, now: Timestamp) -> Result<bool> {
        let cancelled = self.execute(
            "UPDATE task SET status = 'CANCELLED', deferred = 0, ended_at = ?2
              WHERE id = ?1 AND status IN ('WAITING', 'TO_RUN')",
            params![id, now],
        )?;
        if cancelled > 0 {
            self.wake_attachment_of_task(id)?;
        }
        Ok(cancelled > 0)
    }

    /// Cancels the tasks that wait for this one, which will never be completed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn cancel_followers(&self, id: i64, now: Timestamp) -> Result<usize> {
        self.execute(
            "UPDATE task SET status = 'CANCELLED', deferred = 0, ended_at = ?2 WHERE after_id = ?1 AND status = 'WAITING'",
            params![id, now],
        )
    }

    /// Takes an ended task back to `TO_RUN`, as if it had never run. Whether it was ended.
    ///
    /// # Errors
    /// SQLite's.
    pub fn restart_task(&self, id: i64) -> Result<bool> {
        let restarted = self.execute(
            "UPDATE task SET status = 'TO_RUN', deferred = 0, run_at = NULL, attempt = 0, started_at = NULL,
                             ended_at = NULL, duration_ms = NULL, exit_code = NULL, progress = NULL, result = NULL
              WHERE id = ?1 AND status IN ('COMPLETED', 'FAILED', 'INTERRUPTED', 'CANCELLED')",
            [id],
        )?;
        Ok(restarted > 0)
    }

    /// Deletes a task that does not run, with its logs and files. Whether it did not.
    ///
    /// # Errors
    /// SQLite's.
    pub fn delete_task(&self, id: i64) -> Result<bool> {
        Ok(self.execute(
            "DELETE FROM task WHERE id = ?1 AND status <> 'RUNNING'",
            [id],
        )? > 0)
    }

    /// How many tasks there are of each status that any has.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_tasks(&self) -> Result<Vec<(Status, i64)>> {
        self.list(
            "SELECT status, count(*) AS tasks FROM task GROUP BY status",
            [],
            |row| Ok((row.get("status")?, row.get("tasks")?)),
        )
    }
}

fn task(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        id: row.get("id")?,
        method: text(row, "method")?,
        params: row.get("params")?,
        hidden_params: row.get("hidden_params")?,
        file: text_or_null(row, "file")?,
        owner: text_or_null(row, "owner")?,
        signature: text_or_null(row, "signature")?,
        status: row.get("status")?,
        priority: row.get("priority")?,
        run_at: row.get("run_at")?,
        after: row.get("after_id")?,
        attempt: row.get("attempt")?,
        retries: row.get("retries")?,
        timeout: text_or_null(row, "timeout")?,
        document: row.get("document_id")?,
        attachment: row.get("attachment_id")?,
        created_at: row.get("created_at")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
        duration_ms: row.get("duration_ms")?,
        exit_code: row.get("exit_code")?,
        progress: row.get("progress")?,
        result: row.get("result")?,
        output: text_or_null(row, "output")?,
    })
}

/// Where the columns of a claim are, looked up once for all of its rows.
struct ClaimColumns {
    id: usize,
    method: usize,
    params: usize,
    hidden_params: usize,
    attempt: usize,
    retries: usize,
    timeout: usize,
    document: usize,
    attachment: usize,
    due_at: usize,
    has_file: usize,
}

impl ClaimColumns {
    fn of(statement: &Statement<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: statement.column_index("id")?,
            method: statement.column_index("method")?,
            params: statement.column_index("params")?,
            hidden_params: statement.column_index("hidden_params")?,
            attempt: statement.column_index("attempt")?,
            retries: statement.column_index("retries")?,
            timeout: statement.column_index("timeout")?,
            document: statement.column_index("document_id")?,
            attachment: statement.column_index("attachment_id")?,
            due_at: statement.column_index("due_at")?,
            has_file: statement.column_index("has_file")?,
        })
    }

    fn claim(&self, row: &Row<'_>) -> rusqlite::Result<Claim> {
        Ok(Claim {
            id: row.get(self.id)?,
            method: text(row, self.method)?,
            params: row.get(self.params)?,
            hidden_params: row.get(self.hidden_params)?,
            attempt: row.get(self.attempt)?,
            retries: row.get(self.retries)?,
            timeout: text_or_null(row, self.timeout)?,
            document: row.get(self.document)?,
            attachment: row.get(self.attachment)?,
            due_at: row.get(self.due_at)?,
            has_file: row.get(self.has_file)?,
        })
    }
}

impl ToSql for Progress {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        serde_json::to_string(self)
            .map(Into::into)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

impl rusqlite::types::FromSql for Progress {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        // Plain SQL may have put anything there that is JSON: what is no progress shows none.
        Ok(serde_json::from_str(&readable(value)?).unwrap_or_default())
    }
}
