//! The schedules.

use rusqlite::{Row, named_params, params};

use crate::error::{OrNotFound, Result};
use crate::json::Json;
use crate::model::schedule::Schedule;
use crate::store::Store;
use crate::store::text::{text, text_or_null};
use crate::time::Timestamp;

/// A file that is given to each task of a schedule.
pub(crate) struct ScheduleFile {
    pub name: String,
    pub content: Vec<u8>,
}

const COLUMNS: &str = "id, name, cron, every, first_at, zone, missed, \"limit\", overlap, method, params, hidden_params,
    file_name, owner, signature, is_unique, priority, retries, timeout, document_id, notify, paused, since_at, next_at, last_at,
    last_task, skipped_at, skipped_reason, error";

impl Store<'_> {
    /// All schedules, by name.
    pub(crate) fn schedules(&self) -> Result<Vec<Schedule>> {
        let sql = format!("SELECT {COLUMNS} FROM schedule ORDER BY name");
        self.list(&sql, [], schedule)
    }

    /// A schedule by its name, if there is one.
    pub(crate) fn find_schedule(&self, name: &str) -> Result<Option<Schedule>> {
        let sql = format!("SELECT {COLUMNS} FROM schedule WHERE name = ?1");
        self.find(&sql, [name], schedule)
    }

    /// A schedule by its name.
    pub(crate) fn schedule(&self, name: &str) -> Result<Schedule> {
        self.find_schedule(name)?.or_not_found("schedule", name)
    }

    /// The schedules whose next date has come, or is to be worked out; those that failed only on demand.
    pub(crate) fn due_schedules(&self, now: Timestamp, with_failed: bool) -> Result<Vec<Schedule>> {
        if self.is_paused()? {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM schedule
              WHERE paused = 0 AND (next_at IS NULL OR next_at <= ?1) AND (?2 OR error IS NULL) ORDER BY next_at, id"
        );
        self.list(&sql, params![now, with_failed], schedule)
    }

    /// Writes a schedule, in place of one of the same name. What its record says, and whether it is paused, stays.
    pub(crate) fn upsert_schedule(
        &self,
        schedule: &Schedule,
        file: Option<&ScheduleFile>,
    ) -> Result<()> {
        self.execute(
            "INSERT INTO schedule (name, cron, every, first_at, zone, missed, \"limit\", overlap, method, params,
                                   hidden_params, file_name, file, owner, signature, is_unique, priority, retries,
                                   timeout, document_id, notify, since_at, next_at)
             VALUES (:name, :cron, :every, :first_at, :zone, :missed, :limit, :overlap, :method, :params,
                     :hidden_params, :file_name, :file, :owner, :signature, :unique, :priority, :retries,
                     :timeout, :document, :notify, :since_at, :next_at)
             ON CONFLICT (name) DO UPDATE
             SET cron = excluded.cron, every = excluded.every, first_at = excluded.first_at, zone = excluded.zone,
                 missed = excluded.missed, \"limit\" = excluded.\"limit\", overlap = excluded.overlap,
                 method = excluded.method, params = excluded.params, hidden_params = excluded.hidden_params,
                 file_name = excluded.file_name, file = excluded.file, owner = excluded.owner,
                 signature = excluded.signature, is_unique = excluded.is_unique, priority = excluded.priority,
                 retries = excluded.retries, timeout = excluded.timeout, document_id = excluded.document_id,
                 notify = excluded.notify,
                 since_at = excluded.since_at, next_at = excluded.next_at, error = NULL",
            named_params! {
                ":name": schedule.name,
                ":cron": schedule.cron,
                ":every": schedule.every,
                ":first_at": schedule.first_at,
                ":zone": schedule.zone,
                ":missed": schedule.missed,
                ":limit": schedule.limit,
                ":overlap": schedule.overlap,
                ":method": schedule.method,
                ":params": Json::text(&schedule.params),
                ":hidden_params": schedule.hidden_params,
                ":file_name": file.map(|file| &file.name),
                ":file": file.map(|file| &file.content),
                ":owner": schedule.owner,
                ":notify": schedule.notify,
                ":signature": schedule.signature,
                ":unique": schedule.unique,
                ":priority": schedule.priority,
                ":retries": schedule.retries,
                ":timeout": schedule.timeout,
                ":document": schedule.document,
                ":since_at": schedule.since_at,
                ":next_at": schedule.next_at,
            },
        )
    }

    /// Writes what has become of a schedule: its next date and its record.
    pub(crate) fn update_schedule(&self, schedule: &Schedule) -> Result<()> {
        self.execute(
            "UPDATE schedule SET next_at = ?2, last_at = ?3, last_task = ?4, skipped_at = ?5, skipped_reason = ?6,
                                 error = ?7, since_at = ?8
              WHERE id = ?1",
            params![
                schedule.id,
                schedule.next_at,
                schedule.last_at,
                schedule.last_task,
                schedule.skipped_at,
                schedule.skipped_reason,
                schedule.error,
                schedule.since_at,
            ],
        )
    }

    /// Removes a schedule. Its tasks stay.
    pub(crate) fn delete_schedule(&self, name: &str) -> Result<()> {
        self.changes("DELETE FROM schedule WHERE name = ?1", [name])?
            .then_some(())
            .or_not_found("schedule", name)
    }

    /// A task of a schedule that is not over, if there is one.
    pub(crate) fn live_task_of_schedule(&self, name: &str) -> Result<Option<i64>> {
        let sql = "SELECT id FROM task INDEXED BY task_of_schedule
              WHERE schedule = ?1 AND (status = 'WAITING' OR status = 'TO_RUN' OR status = 'RUNNING') LIMIT 1";
        self.value(sql, [name])
    }

    /// A schedule whose tasks are of this method, if there is one.
    pub(crate) fn schedule_of_method(&self, method: &str) -> Result<Option<String>> {
        self.value(
            "SELECT name FROM schedule WHERE method = ?1 LIMIT 1",
            [method],
        )
    }

    /// Gives a task the file of its schedule, if that has one.
    pub(crate) fn copy_schedule_file(&self, schedule: i64, task: i64) -> Result<()> {
        self.execute(
            "INSERT INTO task_file (task_id, kind, name, content)
             SELECT ?2, 'input', file_name, coalesce(file, x'') FROM schedule WHERE id = ?1 AND file_name IS NOT NULL",
            [schedule, task],
        )
    }
}

fn schedule(row: &Row<'_>) -> rusqlite::Result<Schedule> {
    Ok(Schedule {
        id: row.get("id")?,
        name: text(row, "name")?,
        cron: text_or_null(row, "cron")?,
        every: text_or_null(row, "every")?,
        first_at: row.get("first_at")?,
        zone: text_or_null(row, "zone")?,
        missed: row.get("missed")?,
        limit: text_or_null(row, "limit")?,
        overlap: row.get("overlap")?,
        method: text(row, "method")?,
        params: row.get("params")?,
        hidden_params: row.get("hidden_params")?,
        file: text_or_null(row, "file_name")?,
        owner: text_or_null(row, "owner")?,
        notify: row.get("notify")?,
        signature: text_or_null(row, "signature")?,
        unique: row.get("is_unique")?,
        priority: row.get("priority")?,
        retries: row.get("retries")?,
        timeout: text_or_null(row, "timeout")?,
        document: row.get("document_id")?,
        paused: row.get("paused")?,
        since_at: row.get("since_at")?,
        next_at: row.get("next_at")?,
        last_at: row.get("last_at")?,
        last_task: row.get("last_task")?,
        skipped_at: row.get("skipped_at")?,
        skipped_reason: text_or_null(row, "skipped_reason")?,
        error: text_or_null(row, "error")?,
    })
}
