//! What happened to documents.

use rusqlite::{Row, params};

use crate::document::HistoryEntry;
use crate::error::Result;
use crate::store::Store;
use crate::task::Level;
use crate::time::Timestamp;

impl Store {
    /// Adds an entry to a document's history, of a timer's level if there is one. A document that is gone has none.
    ///
    /// # Errors
    /// SQLite's.
    pub fn insert_history(
        &self,
        document: i64,
        at: Timestamp,
        level: Level,
        message: &str,
        timer: Option<(&str, u32)>,
    ) -> Result<()> {
        self.execute(
            "INSERT INTO history (document_id, at, level, message, timer, timer_level)
             SELECT id, ?2, ?3, ?4, ?5, ?6 FROM document WHERE id = ?1",
            params![
                document,
                at,
                level,
                message,
                timer.map(|(name, _)| name),
                timer.map(|(_, level)| level)
            ],
        )?;
        Ok(())
    }

    /// The history of a document, oldest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn history(&self, document: i64) -> Result<Vec<HistoryEntry>> {
        self.list(
            "SELECT * FROM history WHERE document_id = ?1 ORDER BY id",
            [document],
            entry,
        )
    }

    /// The id of the newest entry; 0 when there is none.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_history(&self) -> Result<i64> {
        let sql = "SELECT coalesce(max(id), 0) AS id FROM history";
        Ok(self.find(sql, [], |row| row.get("id"))?.unwrap_or(0))
    }

    /// The entries after this one, oldest first, each with its document's id.
    ///
    /// # Errors
    /// SQLite's.
    pub fn history_after(&self, id: i64) -> Result<Vec<(i64, HistoryEntry)>> {
        self.list(
            "SELECT * FROM history WHERE id > ?1 ORDER BY id",
            [id],
            |row| Ok((row.get("document_id")?, entry(row)?)),
        )
    }

    /// Deletes the oldest entries and firings up to a time, so many of each at most; how many. Walks no further than
    /// the first of each that is newer.
    ///
    /// # Errors
    /// SQLite's.
    pub fn drop_history(&self, before: Timestamp, most: u32) -> Result<usize> {
        let mut dropped = 0;
        for table in ["history", "firing"] {
            dropped += self.execute(
                &format!(
                    "DELETE FROM {table} WHERE id IN (
                         SELECT id FROM {table}
                          WHERE id < coalesce((SELECT id FROM {table} WHERE at >= ?1 ORDER BY id LIMIT 1), 9e18)
                          ORDER BY id LIMIT ?2)"
                ),
                params![before, most],
            )?;
        }
        Ok(dropped)
    }

    /// Whether [`Store::drop_history`] would find something.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_old_history(&self, before: Timestamp) -> Result<bool> {
        let sql = "SELECT coalesce((SELECT at FROM history ORDER BY id LIMIT 1) < ?1, 0)
                       OR coalesce((SELECT at FROM firing ORDER BY id LIMIT 1) < ?1, 0) AS old";
        Ok(self
            .find(sql, [before], |row| row.get("old"))?
            .unwrap_or(false))
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<HistoryEntry> {
    Ok(HistoryEntry {
        at: row.get("at")?,
        level: row.get("level")?,
        message: row.get("message")?,
        timer: row.get("timer")?,
        timer_level: row.get("timer_level")?,
    })
}
