//! What tasks logged.

use rusqlite::{Row, params};

use crate::error::Result;
use crate::model::task::{LogEntry, Severity, StoredEntry};
use crate::store::Store;
use crate::store::text::text;
use crate::time::Timestamp;

/// Entries of a log with their numbers, to be written in place of what has these numbers.
#[derive(Debug, Default)]
pub(crate) struct LogBatch {
    pub(crate) entries: Vec<(i64, LogEntry)>,
    pub(crate) cut: Option<Cut>,
}

/// What was cut out of the middle of a log.
#[derive(Debug)]
pub(crate) struct Cut {
    /// The number of the entry that stands for it.
    pub(crate) seq: i64,
    /// The number of the first entry that is kept after it.
    pub(crate) first_kept: i64,
    pub(crate) at: Timestamp,
    /// How many entries were cut, and how many bytes of them.
    pub(crate) entries: i64,
    pub(crate) bytes: usize,
}

impl Store<'_> {
    /// The log of a task from the entry after this number on, oldest first.
    pub(crate) fn task_logs(&self, task: i64, after: i64) -> Result<Vec<StoredEntry>> {
        let sql = "SELECT * FROM task_log WHERE task_id = ?1 AND seq > ?2 ORDER BY seq";
        self.list(sql, [task, after], |row| {
            Ok(StoredEntry {
                seq: row.get("seq")?,
                attempt: row.get("attempt")?,
                entry: entry(row)?,
            })
        })
    }

    /// The last entries of a task's log, oldest first.
    pub(crate) fn last_logs(&self, task: i64, max: u32) -> Result<Vec<LogEntry>> {
        let sql = "SELECT * FROM task_log WHERE task_id = ?1 ORDER BY seq DESC LIMIT ?2";
        let mut last = self.list(sql, params![task, max], entry)?;
        last.reverse();
        Ok(last)
    }

    /// Writes what an attempt has logged; nothing when plain SQL has deleted the task.
    pub(crate) fn write_logs(&self, task: i64, attempt: u32, batch: &LogBatch) -> Result<()> {
        if let Some(cut) = &batch.cut {
            self.execute(
                "DELETE FROM task_log WHERE task_id = ?1 AND seq > ?2 AND seq < ?3",
                [task, cut.seq, cut.first_kept],
            )?;
            let message = format!(
                "[{} log entries ({} bytes) were cut here: the first and the last are kept]",
                cut.entries, cut.bytes
            );
            let entry = LogEntry {
                at: cut.at,
                level: Severity::Warning,
                message,
                details: None,
            };
            self.put_log((task, attempt), cut.seq, &entry)?;
        }
        let mut entries = batch.entries.iter();
        entries.try_for_each(|(seq, entry)| self.put_log((task, attempt), *seq, entry))
    }

    /// Adds an entry to the log of an attempt; nothing when plain SQL has deleted the task.
    pub(crate) fn append_log(&self, task: i64, attempt: u32, entry: &LogEntry) -> Result<()> {
        let sql = "SELECT coalesce(max(seq), 0) FROM task_log WHERE task_id = ?1";
        let last: i64 = self.value(sql, [task])?.unwrap_or(0);
        self.put_log((task, attempt), last + 1, entry)
    }

    fn put_log(&self, (task, attempt): (i64, u32), seq: i64, entry: &LogEntry) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO task_log (task_id, seq, attempt, at, level, message, details)
             SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM task WHERE id = ?1",
            params![
                task,
                seq,
                attempt,
                entry.at,
                entry.level,
                entry.message,
                entry.details
            ],
        )
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
