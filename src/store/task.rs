//! The tasks: adding them, claiming them for a worker, ending them.

use std::slice;

use rusqlite::{Row, ToSql, params};
use serde_json::json;

use crate::error::{OrNotFound, Result};
use crate::json::Json;
use crate::model::schedule::{Missed, Overlap, Schedule};
use crate::model::task::{Notify, Progress, Status, Stop, Task};
use crate::store::method::argv;
use crate::store::text::{readable, text, text_or_null};
use crate::store::{Filter, Store};
use crate::time::Timestamp;

/// A task to be inserted, all checked.
#[derive(Debug, Default)]
pub(crate) struct TaskRow {
    /// Empty with a command of its own.
    pub method: String,
    pub command: Option<Vec<String>>,
    pub params: Option<Json>,
    pub hidden_params: Option<Json>,
    pub owner: Option<String>,
    pub notify: Option<Notify>,
    pub signature: Option<String>,
    pub after: Option<i64>,
    pub held: bool,
    pub run_at: Option<Timestamp>,
    pub priority: i64,
    pub retries: Option<u32>,
    pub timeout: Option<String>,
    pub document: Option<i64>,
    pub attachment: Option<i64>,
    pub schedule: Option<String>,
}

/// A task that waits for one that will never be completed, unless it is restarted.
#[derive(Debug)]
pub(crate) struct StuckTask {
    pub id: i64,
    /// That one with its status, if it is still there.
    pub before: Option<(i64, Status)>,
}

/// Which tasks to list.
#[derive(Debug, Default)]
pub(crate) struct TaskFilter<'a> {
    /// Those of one of these statuses.
    pub statuses: Option<Vec<Status>>,
    /// Those of this method.
    pub method: Option<&'a str>,
    /// Those about this.
    pub signature: Option<&'a str>,
    /// Those of this owner.
    pub owner: Option<&'a str>,
    /// Those that this schedule has added.
    pub schedule: Option<&'a str>,
    /// Those that are as they are since then or later.
    pub since: Option<Timestamp>,
    /// Those that are as they are since before then.
    pub until: Option<Timestamp>,
    /// Those that are held, or are not.
    pub held: Option<bool>,
    /// So many at most, the newest.
    pub limit: Option<u32>,
}

impl TaskFilter<'_> {
    fn conditions(&self) -> Filter<'_> {
        let statuses = self.statuses.as_ref().map(|all| json!(all).to_string());
        Filter::default()
            .and("status IN (SELECT value FROM json_each(?))", statuses)
            .and("method = ?", self.method)
            .and("signature = ?", self.signature)
            .and("owner = ?", self.owner)
            .and("schedule = ?", self.schedule)
            .and(&format!("{SINCE} >= ?"), self.since)
            .and(&format!("{SINCE} < ?"), self.until)
            .and("held = ?", self.held)
    }
}

impl TaskRow {
    /// A schedule that adds such tasks, but for when: its dates count from `now`.
    pub(crate) fn into_schedule(self, name: String, now: Timestamp) -> Schedule {
        Schedule {
            id: 0,
            name,
            cron: None,
            every: None,
            first_at: None,
            zone: None,
            missed: Missed::default(),
            limit: None,
            overlap: Overlap::default(),
            method: self.method,
            params: self.params.unwrap_or_else(|| Json::from(&json!({}))),
            hidden_params: self.hidden_params,
            file: None,
            owner: self.owner,
            notify: self.notify,
            signature: self.signature,
            unique: false,
            priority: self.priority,
            retries: self.retries,
            timeout: self.timeout,
            document: self.document,
            paused: false,
            next_at: None,
            last_at: None,
            last_task: None,
            skipped_at: None,
            skipped_reason: None,
            error: None,
            since_at: now,
        }
    }

    /// The task of an occurrence of a schedule.
    pub(crate) fn of_schedule(schedule: &Schedule, run_at: Option<Timestamp>) -> Self {
        let schedule = schedule.clone();
        Self {
            method: schedule.method,
            params: Some(schedule.params),
            hidden_params: schedule.hidden_params,
            owner: schedule.owner,
            notify: schedule.notify,
            signature: schedule.signature,
            run_at,
            priority: schedule.priority,
            retries: schedule.retries,
            timeout: schedule.timeout,
            document: schedule.document,
            schedule: Some(schedule.name),
            ..Self::default()
        }
    }
}

/// How many columns of a task are given when it is inserted.
const COLUMNS_INSERTED: usize = 17;

/// Since when a task is as it is: `Task::since`.
const SINCE: &str = "coalesce(ended_at, started_at, created_at)";

const COLUMNS: &str =
    "(SELECT name FROM task_file WHERE task_id = task.id AND kind = 'input') AS file,
    (SELECT name FROM task_file WHERE task_id = task.id AND kind = 'output') AS output, task.*";

impl Store<'_> {
    /// Inserts a task; its id.
    pub(crate) fn insert_task(&self, task: &TaskRow, now: Timestamp) -> Result<i64> {
        Ok(self.insert_tasks(slice::from_ref(task), now)?[0])
    }

    /// Inserts tasks by one statement, which shares what a statement and the triggers cost; their ids, in order.
    pub(crate) fn insert_tasks(&self, tasks: &[TaskRow], now: Timestamp) -> Result<Vec<i64>> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let row = format!("({})", ["?"; COLUMNS_INSERTED].join(", "));
        let rows = vec![row; tasks.len()].join(", ");
        let mut statement = self.sql(&format!(
            "INSERT INTO task (method, command, params, hidden_params, owner, notify, signature, after_id, held, run_at,
                               priority, retries, timeout, document_id, attachment_id, schedule, created_at)
             VALUES {rows} RETURNING id"
        ))?;
        let now = now.to_sql();
        let mut place = 0;
        for task in tasks {
            let values: [&dyn ToSql; COLUMNS_INSERTED] = [
                &task.method,
                &task.command.as_ref().map(|argv| json!(argv).to_string()),
                &task.params.as_ref().map_or("{}", Json::text),
                &task.hidden_params,
                &task.owner,
                &task.notify,
                &task.signature,
                &task.after,
                &task.held,
                &task.run_at,
                &task.priority,
                &task.retries,
                &task.timeout,
                &task.document,
                &task.attachment,
                &task.schedule,
                &now,
            ];
            for value in values {
                place += 1;
                statement.raw_bind_parameter(place, value)?;
            }
        }
        let ids = statement.raw_query().mapped(|row| row.get("id"));
        Ok(ids.collect::<rusqlite::Result<_>>()?)
    }

    /// A task by its id.
    pub(crate) fn task(&self, id: i64) -> Result<Task> {
        self.find(
            &format!("SELECT {COLUMNS} FROM task WHERE id = ?1"),
            [id],
            task,
        )?
        .or_not_found("task", id)
    }

    /// The tasks that the filter lets through, by id; the newest of them when there is a limit.
    pub(crate) fn tasks(&self, filter: &TaskFilter<'_>) -> Result<Vec<Task>> {
        let sql = format!("SELECT {COLUMNS} FROM task");
        self.list_last(&sql, filter.conditions(), filter.limit, task)
    }

    /// The ids of the same.
    pub(crate) fn task_ids(&self, filter: &TaskFilter<'_>) -> Result<Vec<i64>> {
        let sql = "SELECT id FROM task";
        self.list_last(sql, filter.conditions(), filter.limit, |row| row.get("id"))
    }

    /// Whether there is a task of this id.
    pub(crate) fn task_exists(&self, id: i64) -> Result<bool> {
        self.exists("SELECT 1 FROM task WHERE id = ?1", [id])
    }

    /// A live task with this signature, if there is one.
    pub(crate) fn live_task_of(&self, signature: &str) -> Result<Option<i64>> {
        let sql = "SELECT id FROM task
              WHERE signature = ?1 AND status IN ('WAITING', 'TO_RUN', 'RUNNING') ORDER BY id LIMIT 1";
        self.value(sql, [signature])
    }

    /// Whether a task could be claimed now, or could be once its time is noticed.
    pub(crate) fn has_ready_task(&self, now: Timestamp) -> Result<bool> {
        let ready = "SELECT 1 FROM task WHERE status = 'TO_RUN' AND deferred = 0 AND limited_by IS NULL LIMIT 1";
        let limited = "SELECT 1 FROM task
              WHERE status = 'TO_RUN' AND deferred = 0 AND limited_by IS NOT NULL AND behind = 0 LIMIT 1";
        let deferred = "SELECT 1 FROM task WHERE deferred = 1 AND run_at <= ?1 LIMIT 1";
        let has_any =
            self.exists(ready, [])? || self.exists(limited, [])? || self.exists(deferred, [now])?;
        Ok(has_any && !self.is_paused()?)
    }

    /// The result of a task, if there is such a task and it has one.
    pub(crate) fn task_result(&self, id: i64) -> Result<Option<Json>> {
        let sql = "SELECT result FROM task WHERE id = ?1 AND result IS NOT NULL";
        self.value(sql, [id])
    }

    /// The status of a task, if there is one.
    pub(crate) fn task_status(&self, id: i64) -> Result<Option<Status>> {
        self.value("SELECT status FROM task WHERE id = ?1", [id])
    }

    /// Asks the worker of a running task to end it. Whether it was running.
    pub(crate) fn ask_stop(&self, id: i64, stop: Stop) -> Result<bool> {
        self.changes(
            "UPDATE task SET stop_requested = ?2 WHERE id = ?1 AND status = 'RUNNING'",
            params![id, stop],
        )
    }

    /// Cancels a task that does not run yet. Whether there was something to cancel.
    pub(crate) fn cancel_task(&self, id: i64, now: Timestamp) -> Result<bool> {
        let is_cancelled = self.changes(
            "UPDATE task SET status = 'CANCELLED', deferred = 0, ended_at = ?2
              WHERE id = ?1 AND status IN ('WAITING', 'TO_RUN')",
            params![id, now],
        )?;
        if is_cancelled {
            self.wake_attachment_of_task(id)?;
        }
        Ok(is_cancelled)
    }

    /// Releases a held task, which still waits for the task before it and for its time. Whether it was held.
    pub(crate) fn release_task(&self, id: i64) -> Result<bool> {
        self.changes(
            "UPDATE task SET held = 0 WHERE id = ?1 AND held = 1 AND status = 'WAITING'",
            [id],
        )
    }

    /// Writes what may be changed of a task that does not run yet. Whether it does not.
    pub(crate) fn update_pending_task(&self, task: &Task) -> Result<bool> {
        self.changes(
            "UPDATE task SET params = ?2, hidden_params = ?3, owner = ?4, signature = ?5, priority = ?6, retries = ?7,
                             timeout = ?8, document_id = ?9, run_at = ?10, notify = ?11,
                             deferred = iif(run_at IS ?10, deferred, ?10 IS NOT NULL)
              WHERE id = ?1 AND status IN ('WAITING', 'TO_RUN')",
            params![
                task.id,
                task.params,
                task.hidden_params,
                task.owner,
                task.signature,
                task.priority,
                task.retries,
                task.timeout,
                task.document,
                task.run_at,
                task.notify,
            ],
        )
    }

    /// Cancels the tasks that wait for this one, which will never be completed if it is not by now.
    pub(crate) fn cancel_followers(&self, id: i64, now: Timestamp) -> Result<()> {
        self.execute(
            "UPDATE task SET status = 'CANCELLED', deferred = 0, ended_at = ?2
              WHERE after_id = ?1 AND status = 'WAITING' AND (SELECT status FROM task WHERE id = ?1) <> 'COMPLETED'",
            params![id, now],
        )
    }

    /// Takes an ended task back to `TO_RUN`, as if it had never run. Whether it was ended.
    pub(crate) fn restart_task(&self, id: i64) -> Result<bool> {
        self.changes(
            "UPDATE task SET status = 'TO_RUN', deferred = 0, held = 0, run_at = NULL, attempt = 0, started_at = NULL,
                             ended_at = NULL, duration_ms = NULL, exit_code = NULL, progress = NULL, result = NULL
              WHERE id = ?1 AND status IN ('COMPLETED', 'FAILED', 'INTERRUPTED', 'CANCELLED')",
            [id],
        )
    }

    /// Deletes a task that does not run, with its logs and files. Whether it did not.
    pub(crate) fn delete_task(&self, id: i64) -> Result<bool> {
        self.changes(
            "DELETE FROM task WHERE id = ?1 AND status <> 'RUNNING'",
            [id],
        )
    }

    /// Tasks that wait for one that is over and not completed, or gone, with that one and its status.
    pub(crate) fn stuck_tasks(&self) -> Result<Vec<StuckTask>> {
        self.list(
            "SELECT task.id, before.id AS before_id, before.status
               FROM task LEFT JOIN task AS before ON before.id = task.after_id
              WHERE task.status = 'WAITING'
                AND (before.status IN ('FAILED', 'INTERRUPTED', 'CANCELLED')
                     OR before.id IS NULL AND (task.held = 0 OR task.after_id IS NOT NULL))
              ORDER BY task.id",
            [],
            |row| {
                let before: Option<i64> = row.get("before_id")?;
                Ok(StuckTask {
                    id: row.get("id")?,
                    before: before.zip(row.get("status")?),
                })
            },
        )
    }

    /// How many tasks there are of each status that any has.
    pub(crate) fn count_tasks(&self) -> Result<Vec<(Status, i64)>> {
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
        command: text_or_null(row, "command")?.map(|command| argv(&command)),
        params: row.get("params")?,
        hidden_params: row.get("hidden_params")?,
        file: text_or_null(row, "file")?,
        owner: text_or_null(row, "owner")?,
        signature: text_or_null(row, "signature")?,
        status: row.get("status")?,
        priority: row.get("priority")?,
        run_at: row.get("run_at")?,
        after: row.get("after_id")?,
        held: row.get("held")?,
        notify: row.get("notify")?,
        attempt: row.get("attempt")?,
        retries: row.get("retries")?,
        timeout: text_or_null(row, "timeout")?,
        document: row.get("document_id")?,
        attachment: row.get("attachment_id")?,
        schedule: text_or_null(row, "schedule")?,
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
