//! What tasks logged.

use rusqlite::{Row, params};

use crate::error::Result;
use crate::model::task::LogEntry;
use crate::store::Store;
use crate::store::text::text;

impl Store {
    /// The log of a task, oldest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn task_logs(&self, task: i64) -> Result<Vec<LogEntry>> {
        self.list(
            "SELECT * FROM task_log WHERE task_id = ?1 ORDER BY seq",
            [task],
            entry,
        )
    }

    /// The last lines of a task's log, oldest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_logs(&self, task: i64, most: u32) -> Result<Vec<LogEntry>> {
        let sql = "SELECT * FROM task_log WHERE task_id = ?1 ORDER BY seq DESC LIMIT ?2";
        let mut last = self.list(sql, params![task, most], entry)?;
        last.reverse();
        Ok(last)
    }

    /// The number of a task's last log line; 0 when it has none.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_log_seq(&self, task: i64) -> Result<i64> {
        let sql = "SELECT coalesce(max(seq), 0) AS seq FROM task_log WHERE task_id = ?1";
        Ok(self.find(sql, [task], |row| row.get("seq"))?.unwrap_or(0))
    }

    /// Writes a line of a task's log, in place of what has its number; nothing when plain SQL has deleted the task.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_log(&self, task: (i64, u32), seq: i64, entry: &LogEntry) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO task_log (task_id, seq, attempt, at, level, message, details)
             SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM task WHERE id = ?1",
            params![
                task.0,
                seq,
                task.1,
                entry.at,
                entry.level,
                entry.message,
                entry.details
            ],
        )?;
        Ok(())
    }

    /// Adds a line to the log of a task that may be gone.
    ///
    /// # Errors
    /// SQLite's.
    pub fn note_on_task(&self, task: i64, entry: &LogEntry) -> Result<()> {
        self.execute(
            "INSERT INTO task_log (task_id, seq, attempt, at, level, message, details)
             SELECT id, (SELECT coalesce(max(seq), 0) + 1 FROM task_log WHERE task_id = task.id), attempt, ?2, ?3, ?4, ?5
               FROM task WHERE id = ?1",
            params![task, entry.at, entry.level, entry.message, entry.details],
        )?;
        Ok(())
    }

    /// Drops the lines of a task's log between two numbers, both included.
    ///
    /// # Errors
    /// SQLite's.
    pub fn drop_logs(&self, task: i64, from: i64, to: i64) -> Result<()> {
        self.execute(
            "DELETE FROM task_log WHERE task_id = ?1 AND seq BETWEEN ?2 AND ?3",
            [task, from, to],
        )?;
        Ok(())
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<LogEntry> {
    Ok(LogEntry {
        at: row.get("at")?,
        level: row.get("level")?,
        message: text(row, "message")?,
        details: row.get("details")?,
    })
}
