//! Attachments as they are fired: finding what is due, and moving it on.

use rusqlite::{Params, Row, params};

use crate::error::Result;
use crate::model::attachment::{Attachment, AttachmentRow};
use crate::model::task::Status;
use crate::model::timer::Definition;
use crate::store::Store;
use crate::store::text::{text, text_or_null};
use crate::time::Timestamp;

/// The columns of an attachment, in the order that [`attachment`] reads them in.
pub(super) const COLUMNS: &str =
    "attachment.id, attachment.timer_id, attachment.document_id, attachment.reference_at, attachment.attached_at,
     coalesce(attachment.dated_at, attachment.attached_at) AS dated, attachment.level, attachment.step,
     attachment.counted_from, attachment.due_at, attachment.waiting, attachment.needs_reschedule, attachment.attempts,
     attachment.last_error, attachment.task_id, attachment.mail_count, attachment.failed_run_id";

/// The task that a level waits for.
#[derive(Debug)]
pub(crate) struct LevelTask {
    pub(crate) id: i64,
    pub(crate) method: String,
    pub(crate) status: Status,
    pub(crate) attempt: u32,
    /// The last error that this attempt has logged.
    pub(crate) error: Option<String>,
}

impl Store<'_> {
    /// Adds an attachment; its id. Its dates are still to be computed.
    pub(crate) fn insert_attachment(&self, new: &AttachmentRow<'_>, now: Timestamp) -> Result<i64> {
        self.execute(
            "INSERT INTO attachment (timer_id, document_id, origin, reference_at, attached_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![new.timer, new.document, new.origin, new.fixed_reference, now],
        )?;
        Ok(self.last_id())
    }

    /// Attaches a timer to all documents that are in its states, and that its old definition was not for; how many.
    pub(crate) fn attach_to_existing(
        &self,
        name: &str,
        old: Option<&Definition>,
        now: Timestamp,
    ) -> Result<u64> {
        let old_states = old.map_or(&[][..], |old| &old.while_state);
        let attached = self.count_changes(
            "INSERT INTO attachment (timer_id, document_id, origin, attached_at)
             SELECT timer.id, document.id, 'state', ?2
               FROM timer
               JOIN timer_state ON timer_state.timer_id = timer.id
               JOIN document ON document.state = timer_state.state
              WHERE timer.name = ?1 AND coalesce(timer.family, document.family) = document.family
                AND NOT EXISTS (SELECT 1 FROM attachment WHERE document_id = document.id AND timer_id = timer.id)
                AND NOT (document.state IN (SELECT value FROM json_each(?3))
                         AND coalesce(?4, document.family) = document.family)",
            params![
                name,
                now,
                serde_json::json!(old_states).to_string(),
                old.and_then(|old| old.family.as_ref())
            ],
        )?;
        Ok(attached as u64)
    }

    /// Says whether an attachment's own level is changing the state right now, so that it is not detached by that.
    pub(crate) fn set_changes_state(&self, id: i64, changes_state: bool) -> Result<()> {
        self.execute(
            "UPDATE attachment SET changes_state = ?2 WHERE id = ?1",
            params![id, changes_state],
        )
    }

    /// The id of the last attachment that was made, whether it is there still or not.
    pub(crate) fn last_attachment(&self) -> Result<i64> {
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'attachment'";
        Ok(self.value(sql, [])?.unwrap_or(0))
    }

    /// Whether an attachment is there.
    pub(crate) fn is_attached(&self, id: i64) -> Result<bool> {
        self.exists("SELECT 1 FROM attachment WHERE id = ?1", [id])
    }

    fn attachments(&self, rest: &str, params: impl Params) -> Result<Vec<Attachment>> {
        let sql = format!("SELECT {COLUMNS} FROM attachment {rest}");
        self.list(&sql, params, attachment)
    }

    /// An attachment by its id.
    pub(crate) fn attachment(&self, id: i64) -> Result<Option<Attachment>> {
        Ok(self.attachments("WHERE id = ?1", [id])?.pop())
    }

    /// The attachment of a timer to a document.
    pub(crate) fn find_attachment(&self, timer: i64, document: i64) -> Result<Option<Attachment>> {
        let found = self.attachments(
            "WHERE document_id = ?2 AND timer_id = ?1",
            [timer, document],
        );
        Ok(found?.pop())
    }

    /// Who attached it.
    pub(crate) fn origin_of(&self, attachment: i64) -> Result<Option<String>> {
        let sql = "SELECT origin FROM attachment WHERE id = ?1";
        let found = self.find(sql, [attachment], |row| text_or_null(row, "origin"))?;
        Ok(found.flatten())
    }

    /// What is attached to a document, or what one origin has attached to it.
    pub(crate) fn attachments_on(
        &self,
        document: i64,
        origin: Option<&str>,
    ) -> Result<Vec<Attachment>> {
        self.attachments(
            "WHERE document_id = ?1 AND (?2 IS NULL OR origin = ?2) ORDER BY id",
            params![document, origin],
        )
    }

    /// Some attachments of a timer after this one, by id.
    pub(crate) fn attachments_of_timer(
        &self,
        timer: i64,
        after: i64,
        most: u32,
    ) -> Result<Vec<Attachment>> {
        self.attachments(
            "WHERE timer_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            params![timer, after, most],
        )
    }

    /// Some attachments after this one, by id, of documents whose title has this in it.
    pub(crate) fn attachments_by_title(
        &self,
        title: &str,
        after: i64,
        most: u32,
    ) -> Result<Vec<Attachment>> {
        self.attachments(
            "JOIN document ON document.id = attachment.document_id
              WHERE has_text(document.title, ?1) AND attachment.id > ?2 ORDER BY attachment.id LIMIT ?3",
            params![title, after, most],
        )
    }

    /// Some attachments after this one, by id, whose dates are to be computed anew.
    pub(crate) fn attachments_to_reschedule(
        &self,
        after: i64,
        most: u32,
    ) -> Result<Vec<Attachment>> {
        self.attachments(TO_RESCHEDULE, params![after, most])
    }

    /// Some documents after this one, by id, that something is due on: one that waits only if that is asked for.
    #[doc(hidden)]
    pub(crate) fn due_documents(
        &self,
        now: Timestamp,
        after: i64,
        with_waiting: bool,
        most: u32,
    ) -> Result<Vec<i64>> {
        if self.is_paused()? {
            return Ok(Vec::new());
        }
        let mut documents = self.list(
            DUE_DOCUMENTS,
            params![now, after, with_waiting, most],
            |row| row.get("document_id"),
        )?;
        documents.dedup();
        Ok(documents)
    }

    /// What is due on a document.
    pub(crate) fn due_on(
        &self,
        document: i64,
        now: Timestamp,
        with_waiting: bool,
    ) -> Result<Vec<Attachment>> {
        self.attachments(DUE_ON, params![document, now, with_waiting])
    }

    /// Writes what the program has worked out for an attachment.
    pub(crate) fn update_attachment(&self, row: &Attachment) -> Result<()> {
        self.execute(
            "UPDATE attachment
                SET level = ?2, step = ?3, counted_from = ?4, due_at = ?5, waiting = ?6, needs_reschedule = ?7,
                    attempts = ?8, last_error = ?9, task_id = ?10, mail_count = ?11, failed_run_id = ?12
              WHERE id = ?1",
            params![
                row.id,
                row.level,
                row.step,
                row.counted_from,
                row.due_at,
                row.waiting,
                row.needs_reschedule,
                row.attempts,
                row.last_error,
                row.task,
                row.mail_count,
                row.failed_run_id
            ],
        )?;
        Ok(())
    }

    /// Lets the dates of all attachments be computed anew, each at the level where it is.
    pub(crate) fn mark_all_for_reschedule(&self) -> Result<()> {
        self.execute(
            "UPDATE attachment SET needs_reschedule = 2 WHERE needs_reschedule = 0",
            [],
        )?;
        Ok(())
    }

    /// Deletes an attachment, whose end the caller has written into the history.
    pub(crate) fn delete_attachment(&self, id: i64) -> Result<()> {
        // For the triggers that record a deletion by plain SQL, and cancel what is pending.
        self.execute(
            "UPDATE attachment SET detached = 1, task_id = NULL, mail_count = 0 WHERE id = ?1",
            [id],
        )?;
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

    /// How often the step of an attachment has failed, if this is the task that it waits for.
    pub(crate) fn attempts_at_level_of(&self, attachment: i64, task: i64) -> Result<Option<u32>> {
        let sql = "SELECT attempts FROM attachment WHERE id = ?1 AND task_id = ?2";
        self.find(sql, [attachment, task], |row| row.get("attempts"))
    }

    /// Whether a task is over, one way or another.
    pub(crate) fn is_over(&self, task: i64) -> Result<bool> {
        let status = self.task_status(task)?;
        Ok(status.is_some_and(Status::is_ended))
    }

    /// The task that a level waits for, if it is there.
    pub(crate) fn level_task(&self, id: i64) -> Result<Option<LevelTask>> {
        self.find(
            "SELECT id, method, status, attempt,
                    (SELECT message FROM task_log
                      WHERE task_id = task.id AND task_log.attempt = task.attempt AND level = 'error'
                      ORDER BY seq DESC LIMIT 1) AS error
               FROM task WHERE id = ?1",
            [id],
            |row| {
                Ok(LevelTask {
                    id: row.get("id")?,
                    method: text(row, "method")?,
                    status: row.get("status")?,
                    attempt: row.get("attempt")?,
                    error: text_or_null(row, "error")?,
                })
            },
        )
    }
}

/// What is due is read from the index alone, whatever else is stored.
const DUE_DOCUMENTS: &str = "SELECT document_id FROM attachment INDEXED BY attachment_due
      WHERE paused = 0 AND due_at <= ?1 AND document_id > ?2 AND (?3 OR waiting = 0) ORDER BY document_id LIMIT ?4";

/// The rows of one document, whatever else is due. What is to be rescheduled waits for that.
const DUE_ON: &str =
    "WHERE document_id = ?1 AND paused = 0 AND +due_at <= ?2 AND (?3 OR waiting = 0) AND +needs_reschedule = 0
      ORDER BY document_id, timer_id";

const TO_RESCHEDULE: &str = "INDEXED BY attachment_needs_reschedule
      WHERE needs_reschedule > 0 AND id > ?1 ORDER BY id LIMIT ?2";

pub(super) fn attachment(row: &Row<'_>) -> rusqlite::Result<Attachment> {
    Ok(Attachment {
        id: row.get(0)?,
        timer: row.get(1)?,
        document: row.get(2)?,
        fixed_reference: row.get(3)?,
        attached_at: row.get(4)?,
        dated_at: row.get(5)?,
        level: row.get(6)?,
        step: row.get(7)?,
        counted_from: row.get(8)?,
        due_at: row.get(9)?,
        waiting: row.get(10)?,
        needs_reschedule: row.get(11)?,
        attempts: row.get(12)?,
        last_error: text_or_null(row, 13)?,
        task: row.get(14)?,
        mail_count: row.get(15)?,
        failed_run_id: row.get(16)?,
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::config::DbConfig;

    use super::{COLUMNS, DUE_DOCUMENTS, DUE_ON, TO_RESCHEDULE};
    use crate::store::Store;

    /// The cost of a tick follows what is due: each of its queries searches an index for that.
    #[test]
    fn what_is_due_is_found_by_index() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::create(&folder.path().join("runner.db")).unwrap();
        let of_attachment = |rest: &str| format!("SELECT {COLUMNS} FROM attachment {rest}");
        for (sql, plan) in [
            (
                DUE_DOCUMENTS.to_owned(),
                "SEARCH attachment USING COVERING INDEX attachment_due (due_at<?)",
            ),
            (
                of_attachment(DUE_ON),
                "SEARCH attachment USING INDEX sqlite_autoindex_attachment_1 (document_id=?)",
            ),
            (
                of_attachment(TO_RESCHEDULE),
                "SEARCH attachment USING INDEX attachment_needs_reschedule (id>?)",
            ),
            (
                "SELECT due_at FROM attachment WHERE paused = 0 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1"
                    .to_owned(),
                "attachment USING COVERING INDEX attachment_due",
            ),
            (
                "SELECT * FROM history WHERE document_id = 1 ORDER BY id".to_owned(),
                "SEARCH history USING INDEX history_document (document_id=?)",
            ),
            (
                "SELECT count(*) FROM firing WHERE status = 'skipped'".to_owned(),
                "USING COVERING INDEX firing_skipped",
            ),
        ] {
            let found = store.plan(&sql).unwrap();
            assert!(found.contains(plan), "{sql}\n{found}");
        }
    }

    /// However many documents and attachments there are, a change of one document's state looks at its own, and at the
    /// timers of the two states.
    #[test]
    fn a_change_of_state_searches_indexes_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::create(&folder.path().join("runner.db")).unwrap();
        let with_triggers = DbConfig::SQLITE_DBCONFIG_TRIGGER_EQP;
        store.connection.set_db_config(with_triggers, true).unwrap();
        for sql in [
            "UPDATE document SET state = 'B' WHERE id = 1",
            "INSERT INTO document (key, state) VALUES ('k', 'B')",
        ] {
            let plan = store.plan(sql).unwrap();
            assert!(plan.contains("TRIGGER document_moved"), "{plan}");
            // Whether there is any row, what one row has replaced, and the methods.
            let small = [
                "json_each",
                "method",
                "timer_state",
                "document_replaced",
                "old",
                "(subquery",
            ];
            for scan in plan.lines().filter_map(|step| step.strip_prefix("SCAN ")) {
                assert!(
                    small.iter().any(|table| scan.starts_with(table)),
                    "{scan}\n{plan}"
                );
            }
        }
    }
}
