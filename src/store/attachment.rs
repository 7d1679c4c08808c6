//! What hangs on documents.

use rusqlite::{Row, params};

use crate::error::Result;
use crate::firing::attach::NewAttachment;
use crate::store::Store;
use crate::store::text::text_or_null;
use crate::time::Timestamp;

/// The document's date that a timer counts from has changed since an attachment was computed.
pub const DATE_CHANGED: u8 = 1;

/// A statement that reads attachments, in the order of columns that [`hanging`] reads them in: by their places, since to
/// look for fifteen names costs as much as to find the row.
macro_rules! select_hanging {
    ($rest:literal) => {
        select_hanging!("", $rest)
    };
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT attachment.id, attachment.timer_id, attachment.document_id, attachment.reference_at,
                    attachment.attached_at, attachment.level, attachment.step, attachment.counted_from,
                    attachment.due_at, attachment.needs_reschedule, attachment.attempts, attachment.last_error,
                    attachment.task_id, attachment.pending_mails, attachment.last_run_id",
            $more,
            " FROM attachment ",
            $rest
        )
    };
}
pub(super) use select_hanging;

/// An attachment as it is fired.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the columns of the table")]
pub struct Attachment {
    pub id: i64,
    pub timer: i64,
    pub document: i64,
    /// The fixed reference date.
    pub reference_at: Option<Timestamp>,
    pub attached_at: Timestamp,
    pub level: u32,
    pub step: u8,
    /// The reference date, delta not added; none while it waits for one.
    pub counted_from: Option<Timestamp>,
    pub due_at: Option<Timestamp>,
    pub needs_reschedule: u8,
    pub attempts: u32,
    pub last_error: Option<String>,
    /// The last task of the level's method.
    pub task: Option<i64>,
    /// How many mails of the level are not sent yet.
    pub pending_mails: u32,
    /// The run in which the level failed last.
    pub last_run_id: Option<i64>,
}

/// What is due on a document.
#[derive(Debug, Default)]
pub struct Due {
    /// The attachments.
    pub rows: Vec<Attachment>,
    /// The document's state; none when there is no such document.
    pub state: Option<String>,
}

impl Store {
    /// Hangs a timer on a document; the attachment's id. Its dates are still to be computed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn insert_attachment(&self, new: &NewAttachment<'_>, now: Timestamp) -> Result<i64> {
        self.execute(
            "INSERT INTO attachment (timer_id, document_id, origin, reference_at, attached_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![new.timer, new.document, new.origin, new.reference_at, now],
        )?;
        Ok(self.last_id())
    }

    /// The attachment of a timer to a document.
    ///
    /// # Errors
    /// SQLite's.
    pub fn find_attachment(&self, timer: i64, document: i64) -> Result<Option<Attachment>> {
        self.find(
            select_hanging!("WHERE document_id = ?2 AND timer_id = ?1"),
            [timer, document],
            hanging,
        )
    }

    /// Who attached it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn origin_of(&self, attachment: i64) -> Result<Option<String>> {
        let sql = "SELECT origin FROM attachment WHERE id = ?1";
        let found = self.find(sql, [attachment], |row| text_or_null(row, "origin"))?;
        Ok(found.flatten())
    }

    /// An attachment by its id.
    ///
    /// # Errors
    /// SQLite's.
    pub fn hanging(&self, id: i64) -> Result<Option<Attachment>> {
        self.find(select_hanging!("WHERE id = ?1"), [id], hanging)
    }

    /// All that hangs on a document, or what was attached by one origin.
    ///
    /// # Errors
    /// SQLite's.
    pub fn hanging_on(&self, document: i64, origin: Option<&str>) -> Result<Vec<Attachment>> {
        self.list(
            select_hanging!("WHERE document_id = ?1 AND (?2 IS NULL OR origin = ?2) ORDER BY id"),
            params![document, origin],
            hanging,
        )
    }

    /// Some attachments after this one, by id, whose dates are to be computed anew.
    ///
    /// # Errors
    /// SQLite's.
    pub fn stale_attachments(&self, after: i64, most: u32) -> Result<Vec<Attachment>> {
        self.list(STALE, params![after, most], hanging)
    }

    /// Whether there is one after this one, by id, whose dates are to be computed anew.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_stale_attachment(&self, after: i64) -> Result<bool> {
        Ok(self.find(HAS_STALE, [after], |_| Ok(()))?.is_some())
    }

    /// Hands on the documents, in no order and one as often as it comes, that something is due on.
    ///
    /// # Errors
    /// SQLite's.
    pub fn visit_due_documents(
        &self,
        now: Timestamp,
        after: i64,
        mut visit: impl FnMut(i64),
    ) -> Result<()> {
        let mut statement = self.sql(DUE_DOCUMENTS)?;
        let mut rows = statement.query(params![now, after])?;
        while let Some(row) = rows.next()? {
            visit(row.get("document_id")?);
        }
        Ok(())
    }

    /// What is due on a document, and what may be once it is computed anew.
    ///
    /// # Errors
    /// SQLite's.
    pub fn due_on(&self, document: i64, now: Timestamp) -> Result<Due> {
        let mut due = Due::default();
        let mut statement = self.sql(DUE_ON)?;
        let mut found = statement.query(params![document, now])?;
        while let Some(row) = found.next()? {
            due.rows.push(hanging(row)?);
            due.state = text_or_null(row, DOCUMENT_STATE)?;
        }
        Ok(due)
    }

    /// Writes what the program has worked out for an attachment.
    ///
    /// # Errors
    /// SQLite's.
    pub fn save(&self, row: &Attachment) -> Result<()> {
        self.execute(
            "UPDATE attachment SET level = ?2, step = ?3, counted_from = ?4, due_at = ?5, needs_reschedule = ?6, attempts = ?7,
                                   last_error = ?8, task_id = ?9, pending_mails = ?10, last_run_id = ?11
              WHERE id = ?1",
            params![
                row.id,
                row.level,
                row.step,
                row.counted_from,
                row.due_at,
                row.needs_reschedule,
                row.attempts,
                row.last_error,
                row.task,
                row.pending_mails,
                row.last_run_id
            ],
        )?;
        Ok(())
    }

    /// Some attachments of a timer after this one, by id, whose level is begun.
    ///
    /// # Errors
    /// SQLite's.
    pub fn begun_of(&self, timer: i64, after: i64, most: u32) -> Result<Vec<Attachment>> {
        self.list(
            select_hanging!(
                "WHERE timer_id = ?1 AND id > ?2 AND (step > 0 OR pending_mails > 0 OR task_id IS NOT NULL) ORDER BY id LIMIT ?3"
            ),
            params![timer, after, most],
            hanging,
        )
    }

    /// Marks all attachments as to be computed anew, each at the level where it is.
    ///
    /// # Errors
    /// SQLite's.
    pub fn mark_all_stale(&self) -> Result<()> {
        self.execute(
            "UPDATE attachment SET needs_reschedule = 2 WHERE needs_reschedule = 0",
            [],
        )?;
        Ok(())
    }

    /// Takes an attachment to its next level, from its first step.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_level(&self, id: i64, level: u32, due_at: Timestamp) -> Result<()> {
        self.execute(
            "UPDATE attachment SET level = ?2, due_at = ?3, step = 0, attempts = 0, last_error = NULL, task_id = NULL,
                                   pending_mails = 0, last_run_id = NULL
              WHERE id = ?1",
            params![id, level, due_at],
        )?;
        Ok(())
    }

    /// Deletes an attachment, whose end the caller has written into the history.
    ///
    /// # Errors
    /// SQLite's.
    pub fn delete_attachment(&self, id: i64) -> Result<()> {
        // For the triggers on the deletion, which tell of it and call off what is under way where plain SQL deletes.
        if self.runs_triggers() {
            self.execute(
                "UPDATE attachment SET detached = 1, task_id = NULL, pending_mails = 0 WHERE id = ?1",
                [id],
            )?;
        }
        self.execute("DELETE FROM attachment WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Lets the next turn of a tick look at an attachment again: its level's task is over for good, or one of its mails
    /// was sent or has failed a try.
    pub(crate) fn wake_attachment(&self, id: i64) -> Result<()> {
        self.execute(
            "UPDATE attachment SET waiting = 0 WHERE id = ?1 AND waiting = 1",
            [id],
        )?;
        Ok(())
    }

    /// The same for the attachment, if any, that a task is of.
    pub(crate) fn wake_attachment_of_task(&self, task: i64) -> Result<()> {
        self.execute(
            "UPDATE attachment SET waiting = 0
              WHERE id = (SELECT attachment_id FROM task WHERE id = ?1) AND waiting = 1",
            [task],
        )?;
        Ok(())
    }

    /// The same for the attachment, if any, that a mail is of.
    pub(crate) fn wake_attachment_of_mail(&self, mail: i64) -> Result<()> {
        self.execute(
            "UPDATE attachment SET waiting = 0
              WHERE id = (SELECT attachment_id FROM mail WHERE id = ?1) AND waiting = 1",
            [mail],
        )?;
        Ok(())
    }

    /// The attachment and how often its level has failed, when it waits for this task.
    ///
    /// # Errors
    /// SQLite's.
    pub fn level_waiting_for(&self, attachment: i64, task: i64) -> Result<Option<(i64, u32)>> {
        let sql = "SELECT id, attempts FROM attachment WHERE id = ?1 AND task_id = ?2";
        self.find(sql, [attachment, task], |row| {
            Ok((row.get("id")?, row.get("attempts")?))
        })
    }
}

/// What [`Store::visit_due_documents`] reads: the index alone, and of it what is due.
#[doc(hidden)]
pub const DUE_DOCUMENTS: &str =
    "SELECT document_id FROM attachment WHERE due_at <= ?1 AND document_id > ?2";

/// What [`Store::stale_attachments`] reads: what is needs_reschedule, in the order of the index.
#[doc(hidden)]
pub const STALE: &str = select_hanging!(
    "INDEXED BY attachment_needs_reschedule WHERE needs_reschedule > 0 AND id > ?1 ORDER BY id LIMIT ?2"
);

/// What [`Store::has_stale_attachment`] reads.
#[doc(hidden)]
pub const HAS_STALE: &str = "SELECT 1 FROM attachment INDEXED BY attachment_needs_reschedule WHERE needs_reschedule > 0 AND id > ?1 LIMIT 1";

/// The place in [`DUE_ON`] of the column after those of an attachment.
const DOCUMENT_STATE: usize = 15;

/// What [`Store::due_on`] reads: the rows of one document, whatever else is due.
#[doc(hidden)]
pub const DUE_ON: &str = select_hanging!(
    ", document.state",
    "LEFT JOIN document ON document.id = attachment.document_id
      WHERE attachment.document_id = ?1 AND (+attachment.due_at <= ?2 OR +attachment.needs_reschedule > 0)
      ORDER BY attachment.document_id, attachment.timer_id"
);

pub(super) fn hanging(row: &Row<'_>) -> rusqlite::Result<Attachment> {
    Ok(Attachment {
        id: row.get(0)?,
        timer: row.get(1)?,
        document: row.get(2)?,
        reference_at: row.get(3)?,
        attached_at: row.get(4)?,
        level: row.get(5)?,
        step: row.get(6)?,
        counted_from: row.get(7)?,
        due_at: row.get(8)?,
        needs_reschedule: row.get(9)?,
        attempts: row.get(10)?,
        last_error: text_or_null(row, 11)?,
        task: row.get(12)?,
        pending_mails: row.get(13)?,
        last_run_id: row.get(14)?,
    })
}
