//! Attachments as they are shown, and counted.

use rusqlite::{Row, params};

use crate::error::Result;
use crate::model::attachment::{AttachmentCounts, AttachmentView, PUT_OFF};
use crate::store::Store;
use crate::store::text::{text, text_or_null};

/// A timer that is gone is shown by its id.
const SHOWN: &str = "SELECT coalesce(timer.name, '#' || attachment.timer_id) AS name, coalesce(timer.delta, '0') AS delta,
            coalesce(document.title, '') AS title, attachment.*
       FROM attachment
       LEFT JOIN timer ON timer.id = attachment.timer_id
       LEFT JOIN document ON document.id = attachment.document_id";

impl Store<'_> {
    /// An attachment as it is shown, if it is there.
    pub(crate) fn attachment_view(&self, id: i64) -> Result<Option<AttachmentView>> {
        self.find(&format!("{SHOWN} WHERE attachment.id = ?1"), [id], view)
    }

    /// What is attached to a document, as it is shown.
    pub(crate) fn attachment_views_on(&self, document: i64) -> Result<Vec<AttachmentView>> {
        let sql = format!("{SHOWN} WHERE attachment.document_id = ?1 ORDER BY attachment.id");
        self.list(&sql, [document], view)
    }

    /// What fires next, the soonest first, and after it what is paused and what waits for a date.
    pub(crate) fn next_attachments(
        &self,
        title: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Vec<AttachmentView>> {
        let limit = limit.map_or(i64::MAX, i64::from);
        let find = |which: &str, most: i64| {
            let sql = format!(
                "{SHOWN} WHERE (?1 IS NULL OR has_text(document.title, ?1)) AND attachment.{which} LIMIT ?2"
            );
            self.list(&sql, params![title, most], view)
        };
        let by_date = "ORDER BY attachment.due_at, attachment.document_id";
        let mut found = Vec::new();
        for which in [
            format!("paused = 0 AND attachment.due_at IS NOT NULL {by_date}"),
            format!("paused = 1 AND attachment.due_at IS NOT NULL {by_date}"),
            "due_at IS NULL ORDER BY attachment.id".to_owned(),
        ] {
            let left = limit - i64::try_from(found.len()).unwrap_or(i64::MAX);
            if left > 0 {
                found.extend(find(&which, left)?);
            }
        }
        Ok(found)
    }

    /// The attachments that are left to the next tick, since they have entered their document twice in one.
    pub(crate) fn put_off_attachments(&self) -> Result<Vec<AttachmentView>> {
        let sql = format!("{SHOWN} WHERE attachment.waiting = 1 AND attachment.last_error = ?1");
        self.list(&sql, [PUT_OFF], view)
    }

    pub(crate) fn count_attachments(&self) -> Result<AttachmentCounts> {
        let counts = self.find(
            "SELECT count(*) AS attached, count(*) FILTER (WHERE due_at IS NULL) AS undated,
                    count(*) FILTER (WHERE attempts > 0) AS failing,
                    (SELECT count(*) FROM firing WHERE status = 'skipped') AS skipped
               FROM attachment",
            [],
            |row| {
                Ok(AttachmentCounts {
                    attached: row.get("attached")?,
                    undated: row.get("undated")?,
                    failing: row.get("failing")?,
                    skipped: row.get("skipped")?,
                })
            },
        )?;
        Ok(counts.unwrap_or_default())
    }

    /// How many attachments there are to documents whose title has this in it.
    pub(crate) fn count_attachments_by_title(&self, title: &str) -> Result<i64> {
        let found = self.find(
            "SELECT count(*) AS attached FROM attachment JOIN document ON document.id = attachment.document_id
              WHERE has_text(document.title, ?1)",
            [title],
            |row| row.get("attached"),
        )?;
        Ok(found.unwrap_or(0))
    }
}

fn view(row: &Row<'_>) -> rusqlite::Result<AttachmentView> {
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
        paused: row.get("paused")?,
        delta: text(row, "delta")?,
    })
}
