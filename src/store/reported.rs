//! The errors that somebody was told of and that persist.

use rusqlite::params;

use crate::error::Result;
use crate::store::Store;
use crate::store::text::text;
use crate::time::Timestamp;

impl Store {
    /// Whether any error is remembered.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_reported(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM reported LIMIT 1";
        Ok(self.find(sql, [], |_| Ok(()))?.is_some())
    }

    /// Whether somebody was told of an error: its subject, id and level.
    ///
    /// # Errors
    /// SQLite's.
    pub fn is_reported(&self, key: (&str, i64, u32)) -> Result<bool> {
        let sql = "SELECT 1 FROM reported WHERE subject = ?1 AND id = ?2 AND level = ?3";
        Ok(self.find(sql, key, |_| Ok(()))?.is_some())
    }

    /// Remembers that somebody was told of an error.
    ///
    /// # Errors
    /// SQLite's.
    pub fn remember_reported(&self, key: (&str, i64, u32), now: Timestamp) -> Result<()> {
        self.execute(
            "INSERT INTO reported (subject, id, level, since) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            params![key.0, key.1, key.2, now],
        )?;
        Ok(())
    }

    /// Forgets an error.
    ///
    /// # Errors
    /// SQLite's.
    pub fn forget_reported(&self, key: (&str, i64, u32)) -> Result<()> {
        self.execute(
            "DELETE FROM reported WHERE subject = ?1 AND id = ?2 AND level = ?3",
            key,
        )?;
        Ok(())
    }

    /// Forgets the errors of tasks, mails and levels that nothing more is tried about.
    ///
    /// # Errors
    /// SQLite's.
    pub fn forget_settled(&self) -> Result<()> {
        for sql in [
            "DELETE FROM reported WHERE subject = 'task' AND NOT EXISTS
                 (SELECT 1 FROM task WHERE id = reported.id AND status IN ('WAITING', 'TO_RUN', 'RUNNING'))",
            "DELETE FROM reported WHERE subject = 'mail' AND NOT EXISTS
                 (SELECT 1 FROM mail WHERE id = reported.id AND status IN ('queued', 'sending'))",
            "DELETE FROM reported WHERE subject = 'attachment' AND NOT EXISTS
                 (SELECT 1 FROM attachment
                   WHERE id = reported.id AND level = reported.level
                     AND (last_error IS NOT NULL OR EXISTS
                         (SELECT 1 FROM task WHERE task.id = attachment.task_id AND attempt > 0
                             AND status IN ('TO_RUN', 'RUNNING'))))",
        ] {
            self.execute(sql, [])?;
        }
        Ok(())
    }

    /// The remembered errors that are not about a task, a mail or a level.
    ///
    /// # Errors
    /// SQLite's.
    pub fn reported_runs(&self) -> Result<Vec<String>> {
        self.list(
            "SELECT subject FROM reported WHERE subject NOT IN ('task', 'mail', 'attachment')",
            [],
            |row| text(row, "subject"),
        )
    }

    /// The timer, the document and the due date of an attachment's level, as a sentence.
    ///
    /// # Errors
    /// SQLite's.
    pub fn describe_attachment(&self, attachment: i64) -> Result<Option<String>> {
        self.find(
            "SELECT 'timer ' || timer || ', level ' || level || ', on document ' || document_id || ' (' || title || ')'
                    || coalesce(', due at ' || due_at || ' UTC', '') AS sentence
               FROM timer_next WHERE id = ?1",
            [attachment],
            |row| text(row, "sentence"),
        )
    }
}
