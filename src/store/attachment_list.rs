//! Lists and counts of what hangs on documents.

use rusqlite::{Row, params};

use crate::error::Result;
use crate::firing::attach::AttachmentView;
use crate::store::Store;
use crate::store::attachment::{Attachment, hanging, select_hanging};
use crate::store::text::{text, text_or_null};

const SHOWN: &str = "SELECT coalesce(timer.name, '#' || attachment.timer_id) AS name, coalesce(timer.delta, '0') AS delta,
            coalesce(document.title, '') AS title, attachment.*
       FROM attachment
       LEFT JOIN timer ON timer.id = attachment.timer_id
       LEFT JOIN document ON document.id = attachment.document_id";

/// How many of one kind there are.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// All.
    pub attached: i64,
    /// Those that wait for a date.
    pub waiting: i64,
    /// Those whose level has failed and is tried again.
    pub failing: i64,
}

const MATCHING: &str =
    "JOIN document ON document.id = attachment.document_id WHERE has_text(document.title, ?1)";

impl Store {
    /// What hangs on a document, as it is shown.
    ///
    /// # Errors
    /// SQLite's.
    pub fn attachments_of(&self, document: i64) -> Result<Vec<AttachmentView>> {
        let sql = format!("{SHOWN} WHERE attachment.document_id = ?1 ORDER BY attachment.id");
        self.list(&sql, [document], attachment)
    }

    /// An attachment as it is shown, if it is there.
    pub(crate) fn find_attachment_view(&self, id: i64) -> Result<Option<AttachmentView>> {
        self.find(
            &format!("{SHOWN} WHERE attachment.id = ?1"),
            [id],
            attachment,
        )
    }

    /// What fires next, the soonest first, and after it what waits for a date.
    ///
    /// # Errors
    /// SQLite's.
    pub fn next_attachments(
        &self,
        title: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Vec<AttachmentView>> {
        self.know_titles()?;
        let wanted = "(?1 IS NULL OR has_text(document.title, ?1))";
        let limit = limit.map_or(i64::MAX, i64::from);
        let mut found = self.list(
            &format!(
                "{SHOWN} WHERE attachment.due_at IS NOT NULL AND {wanted}
                  ORDER BY attachment.due_at, attachment.document_id LIMIT ?2"
            ),
            params![title, limit],
            attachment,
        )?;
        let left = limit.saturating_sub(i64::try_from(found.len()).unwrap_or(i64::MAX));
        if left > 0 {
            found.extend(self.list(
                &format!(
                    "{SHOWN} WHERE attachment.due_at IS NULL AND {wanted} ORDER BY attachment.id LIMIT ?2"
                ),
                params![title, left],
                attachment,
            )?);
        }
        Ok(found)
    }

    /// How many attachments there are.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_attachments(&self) -> Result<Counts> {
        let counts = self.find(
            "SELECT count(*) AS attached, count(*) FILTER (WHERE due_at IS NULL) AS waiting,
                    count(*) FILTER (WHERE attempts > 0) AS failing
               FROM attachment",
            [],
            |row| {
                Ok(Counts {
                    attached: row.get("attached")?,
                    waiting: row.get("waiting")?,
                    failing: row.get("failing")?,
                })
            },
        )?;
        Ok(counts.unwrap_or_default())
    }

    /// On how many documents whose title has this in it something hangs, counted by attachment.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_matching(&self, title: &str) -> Result<i64> {
        self.know_titles()?;
        let sql = format!("SELECT count(*) AS attached FROM attachment {MATCHING}");
        Ok(self
            .find(&sql, [title], |row| row.get("attached"))?
            .unwrap_or(0))
    }

    /// Some attachments after this one, by id, of documents whose title has this in it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn matching(&self, title: &str, after: i64, most: u32) -> Result<Vec<Attachment>> {
        self.know_titles()?;
        let sql = format!(
            "{} {MATCHING} AND attachment.id > ?2 ORDER BY attachment.id LIMIT ?3",
            select_hanging!("")
        );
        self.list(&sql, params![title, after, most], hanging)
    }

    /// Some attachments of a timer after this one, by id.
    ///
    /// # Errors
    /// SQLite's.
    pub fn hanging_of(&self, timer: i64, after: i64, most: u32) -> Result<Vec<Attachment>> {
        self.list(
            select_hanging!("WHERE timer_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3"),
            params![timer, after, most],
            hanging,
        )
    }
}

fn attachment(row: &Row<'_>) -> rusqlite::Result<AttachmentView> {
    Ok(AttachmentView {
        id: row.get("id")?,
        timer: text(row, "name")?,
        document: row.get("document_id")?,
        title: text(row, "title")?,
        origin: text_or_null(row, "origin")?,
        level: row.get("level")?,
        attached_at: row.get("attached_at")?,
        reference_at: row.get("counted_from")?,
        due_at: row.get("due_at")?,
        attempts: row.get("attempts")?,
        last_error: text_or_null(row, "last_error")?,
        delta: text(row, "delta")?,
    })
}
