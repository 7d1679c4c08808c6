//! The levels of timers that were done or skipped.

use rusqlite::{Row, params};
use serde_json::Value;

use crate::error::{OrNotFound, Result};
use crate::firing::{Fired, FiringStatus};
use crate::json::Json;
use crate::store::Store;
use crate::store::text::{text, text_or_null};
use crate::time::Timestamp;

/// A level that has come to its end, to be inserted.
#[derive(Debug)]
#[allow(missing_docs, reason = "the columns of the table")]
pub struct FiringRow<'a> {
    pub timer: &'a str,
    pub document: i64,
    pub level: u32,
    pub due_at: Timestamp,
    pub status: FiringStatus,
    pub step: u8,
    pub sent: &'a [String],
    pub result: &'a str,
}

/// Which of them to list.
#[derive(Debug)]
pub struct FiringFilter<'a> {
    /// Those of this status.
    pub status: FiringStatus,
    /// Those of documents whose title has this in it.
    pub title: Option<&'a str>,
    /// So many at most, the newest.
    pub limit: Option<u32>,
}

const SHOWN: &str = "SELECT document.title AS title, firing.*
       FROM firing LEFT JOIN document ON document.id = firing.document_id";

impl Store {
    /// Notes that a level was done or skipped.
    ///
    /// # Errors
    /// SQLite's.
    pub fn insert_firing(&self, firing: &FiringRow<'_>, now: Timestamp) -> Result<()> {
        let sent = (!firing.sent.is_empty()).then(|| Value::from(firing.sent).to_string());
        self.execute(
            "INSERT INTO firing (timer, document_id, level, due_at, at, status, step, sent, result)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                firing.timer,
                firing.document,
                firing.level,
                firing.due_at,
                now,
                firing.status,
                firing.step,
                sent,
                firing.result
            ],
        )?;
        Ok(())
    }

    /// One of them, the first of its steps that was not done, and the templates whose mails were sent of that.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn firing(&self, id: i64) -> Result<(Fired, u8, Vec<String>)> {
        self.find(&format!("{SHOWN} WHERE firing.id = ?1"), [id], |row| {
            let sent: Option<Json> = row.get("sent")?;
            let sent = sent.and_then(|sent| serde_json::from_str(sent.text()).ok());
            Ok((firing(row)?, row.get("step")?, sent.unwrap_or_default()))
        })?
        .or_not_found("firing", id)
    }

    /// Those that the filter lets through, oldest first; the newest of them when there is a limit.
    ///
    /// # Errors
    /// SQLite's.
    pub fn firings(&self, filter: &FiringFilter<'_>) -> Result<Vec<Fired>> {
        self.know_titles()?;
        // The word itself, not a parameter, lets SQLite use the index of the skipped ones.
        let status = filter.status.word();
        let mut found = self.list(
            &format!(
                "{SHOWN}
                  WHERE firing.status = '{status}' AND (?1 IS NULL OR has_text(document.title, ?1))
                  ORDER BY firing.id DESC LIMIT ?2"
            ),
            params![filter.title, filter.limit.map_or(-1, i64::from)],
            firing,
        )?;
        found.reverse();
        Ok(found)
    }

    /// Marks a skipped one as done after all, at this time.
    ///
    /// # Errors
    /// SQLite's.
    pub fn finish_firing(&self, id: i64, result: &str, now: Timestamp) -> Result<()> {
        self.execute(
            "UPDATE firing SET status = 'done', at = ?3, result = ?2 WHERE id = ?1",
            params![id, result, now],
        )?;
        Ok(())
    }

    /// How many are older than a time.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_old_firings(&self, before: Timestamp) -> Result<i64> {
        let sql = "SELECT count(*) AS firings FROM firing WHERE at < ?1";
        Ok(self
            .find(sql, [before], |row| row.get("firings"))?
            .unwrap_or(0))
    }

    /// How many were skipped and not fired by hand.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_skipped(&self) -> Result<i64> {
        let sql = "SELECT count(*) AS firings FROM firing WHERE status = 'skipped'";
        Ok(self.find(sql, [], |row| row.get("firings"))?.unwrap_or(0))
    }
}

fn firing(row: &Row<'_>) -> rusqlite::Result<Fired> {
    Ok(Fired {
        id: row.get("id")?,
        timer: text(row, "timer")?,
        document: row.get("document_id")?,
        title: text_or_null(row, "title")?,
        level: row.get("level")?,
        due_at: row.get("due_at")?,
        at: row.get("at")?,
        status: row.get("status")?,
        result: text_or_null(row, "result")?,
    })
}
