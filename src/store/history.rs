//! What happened to documents.

use rusqlite::{Row, params};

use crate::error::Result;
use crate::model::document::HistoryEntry;
use crate::model::task::Severity;
use crate::store::Store;
use crate::store::text::{text, text_or_null};
use crate::time::Timestamp;

impl Store<'_> {
    /// Adds an entry to a document's history, of a timer's level if there is one. A document that is gone has none.
    pub(crate) fn insert_history(
        &self,
        document: i64,
        at: Timestamp,
        level: Severity,
        message: &str,
        timer: Option<(&str, u32)>,
    ) -> Result<()> {
        // A row given by its values needs nothing kept to undo it with, as one does that a SELECT finds.
        let inserted = self.execute(
            "INSERT INTO history (document_id, at, level, message, timer, timer_level) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                document,
                at,
                level,
                message,
                timer.map(|(name, _)| name),
                timer.map(|(_, level)| level)
            ],
        );
        match inserted {
            Err(error) if self.is_fatal(&error) || self.has_document(document)? => Err(error),
            _ => Ok(()),
        }
    }

    /// The history of a document, oldest first.
    pub(crate) fn history(&self, document: i64) -> Result<Vec<HistoryEntry>> {
        self.list(
            "SELECT * FROM history WHERE document_id = ?1 ORDER BY id",
            [document],
            entry,
        )
    }
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<HistoryEntry> {
    Ok(HistoryEntry {
        at: row.get("at")?,
        level: row.get("level")?,
        message: text(row, "message")?,
        timer: text_or_null(row, "timer")?,
        timer_level: row.get("timer_level")?,
    })
}
