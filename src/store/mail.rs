//! The outbox: queueing mails, claiming them for a worker, and what became of them.

use rusqlite::types::{FromSql, FromSqlResult, ValueRef};
use rusqlite::{Row, params};

use crate::error::{OrNotFound, Result};
use crate::model::email::{Cause, Content, Email, EmailStatus};
use crate::store::text::{readable, text, text_or_null};
use crate::store::{Filter, Store};
use crate::time::Timestamp;

/// An id before those of all mails.
pub(crate) const BEFORE_ALL: i64 = 0;

/// A mail that a worker is sending.
#[derive(Debug)]
pub(crate) struct ClaimedMail {
    pub(crate) email: Email,
    pub(crate) worker: i64,
    /// The attachment whose level waits for it, if that hangs on its document still.
    pub(crate) attachment: Option<i64>,
}

/// When a mail is tried again that did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// By the next tick.
    Soon,
    /// Not before this.
    At(Timestamp),
    /// It has failed.
    Never,
}

/// The attachment of a mail that was taken back: ids begin at 1.
const NO_ATTACHMENT: i64 = 0;

/// Mails that are to be sent now. Of an attachment whose date has changed, a mail waits until its dates are counted anew,
/// which withdraws it.
const READY: &str = "FROM mail INDEXED BY mail_queued
    WHERE status = 'queued' AND paused = 0 AND id > ?1 AND (run_at IS NULL OR run_at <= ?2)
      AND NOT EXISTS (SELECT 1 FROM attachment WHERE id = mail.attachment_id AND needs_reschedule > 0)";

impl Store<'_> {
    /// Puts a mail into the outbox; its id. Its Message-ID is made here, once and for all.
    pub(crate) fn insert_mail(
        &self,
        content: &Content,
        cause: Option<&Cause<'_>>,
        now: Timestamp,
    ) -> Result<i64> {
        self.execute(
            r#"INSERT INTO mail (template, document_id, attachment_id, timer, timer_level, "from", "to", cc, bcc, subject,
                                 body, html, created_at, message_id)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, '')"#,
            params![
                cause.map(|cause| cause.template),
                cause.map(|cause| cause.document),
                cause.and_then(|cause| cause.attachment),
                cause.map(|cause| cause.timer),
                cause.map(|cause| cause.level),
                content.from,
                serde_json::json!(content.to).to_string(),
                serde_json::json!(content.cc).to_string(),
                serde_json::json!(content.bcc).to_string(),
                content.subject,
                content.body,
                content.html,
                now,
            ],
        )?;
        let id = self.last_id();
        self.execute(
            "UPDATE mail SET message_id = '<' || id || '.' || lower(hex(randomblob(12))) || '@' || ?2 || '>' WHERE id = ?1",
            params![id, content.domain()],
        )?;
        Ok(id)
    }

    /// Notes which template and document a mail was filled from that no timer asks for.
    pub(crate) fn set_mail_source(
        &self,
        id: i64,
        template: &str,
        document: Option<i64>,
    ) -> Result<()> {
        self.execute(
            "UPDATE mail SET template = ?2, document_id = ?3 WHERE id = ?1",
            params![id, template, document],
        )
    }

    /// Keeps a mail that was sent without having been queued; its id.
    pub(crate) fn insert_sent_mail(
        &self,
        content: &Content,
        message_id: &str,
        refused: Option<&str>,
        now: Timestamp,
    ) -> Result<i64> {
        let id = self.insert_mail(content, None, now)?;
        self.execute(
            "UPDATE mail SET status = 'sent', sent_at = ?4, attempts = 1, message_id = ?2, last_error = ?3 WHERE id = ?1",
            params![id, message_id, refused, now],
        )?;
        Ok(id)
    }

    /// A mail by its id.
    pub(crate) fn mail(&self, id: i64) -> Result<Email> {
        self.find("SELECT * FROM mail WHERE id = ?1", [id], email)?
            .or_not_found("mail", id)
    }

    /// The mails of a status, or all, by id; the newest of them when there is a limit.
    pub(crate) fn mails(
        &self,
        status: Option<EmailStatus>,
        limit: Option<u32>,
    ) -> Result<Vec<Email>> {
        let wanted = Filter::default().and("status = ?", status);
        self.list_last("SELECT * FROM mail", wanted, limit, email)
    }

    /// The last so many mails that an attachment's level has queued, by id.
    pub(crate) fn mails_of_level(
        &self,
        attachment: i64,
        level: u32,
        queued: u32,
    ) -> Result<Vec<Email>> {
        let of_level = Filter::default()
            .and("attachment_id = ?", Some(attachment))
            .and("timer_level = ?", Some(level));
        self.list_last("SELECT * FROM mail", of_level, Some(queued), email)
    }

    /// How many mails are of this status. One that was called off has not failed.
    pub(crate) fn count_mails(&self, status: EmailStatus) -> Result<i64> {
        // The words themselves, so that the index of that status alone serves.
        let but = match status {
            EmailStatus::Failed => "AND attachment_id IS NOT 0",
            _ => "",
        };
        let sql = format!("SELECT count(*) FROM mail WHERE status = '{status}' {but}");
        Ok(self.value(&sql, [])?.unwrap_or(0))
    }

    /// Whether a mail with a greater id than this waits to be sent now.
    pub(crate) fn has_queued_mail(&self, after: i64, now: Timestamp) -> Result<bool> {
        let sql = format!("SELECT 1 {READY} LIMIT 1");
        Ok(!self.is_paused()? && self.exists(&sql, params![after, now])?)
    }

    /// Whether a mail is still to be sent that did not go out before.
    pub(crate) fn has_failing_mail(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM mail INDEXED BY mail_queued
                    WHERE status = 'queued' AND paused = 0 AND last_error IS NOT NULL LIMIT 1";
        self.exists(sql, [])
    }

    /// Takes back the mails of an attachment: those that are not being sent will not be, and those that are do not
    /// count for it any more, and are not sent again when that breaks off. A server's last answer is kept. Those that
    /// will not be sent.
    pub(crate) fn withdraw_mails(&self, attachment: i64, why: &str) -> Result<Vec<i64>> {
        let withdrawn = self.list(
            "UPDATE mail SET status = 'failed', attachment_id = ?3,
                             last_error = ?2 || coalesce('; before that: ' || last_error, '')
              WHERE attachment_id = ?1 AND status = 'queued' RETURNING id",
            params![attachment, why, NO_ATTACHMENT],
            |row| row.get("id"),
        )?;
        self.execute(
            "UPDATE mail SET attachment_id = ?2 WHERE attachment_id = ?1 AND status = 'sending'",
            [attachment, NO_ATTACHMENT],
        )?;
        Ok(withdrawn)
    }

    /// Claims the next mail after this id for a worker. Those on the way to it whose attachment is gone fail.
    pub(crate) fn claim_next_mail(
        &self,
        after: i64,
        worker: i64,
        now: Timestamp,
    ) -> Result<Option<ClaimedMail>> {
        if self.is_paused()? {
            return Ok(None);
        }
        let sql = format!(
            "UPDATE mail SET status = iif({UNWANTED}, 'failed', 'sending'), worker_id = iif({UNWANTED}, NULL, ?3),
                             last_error = iif({UNWANTED}, '{NOT_WANTED}', last_error)
              WHERE id = (SELECT id {READY} ORDER BY id LIMIT 1)
             RETURNING (SELECT id FROM attachment WHERE id = mail.attachment_id) AS live_attachment, *"
        );
        loop {
            let claim = self.find(&sql, params![after, now, worker], |row| {
                Ok(ClaimedMail {
                    email: email(row)?,
                    worker,
                    attachment: row.get("live_attachment")?,
                })
            })?;
            if claim
                .as_ref()
                .is_none_or(|claim| claim.email.status == EmailStatus::Sending)
            {
                return Ok(claim);
            }
        }
    }

    /// Notes that a mail has gone out, and to whom it has not, if it is still in this worker's hand. Whether it was.
    pub(crate) fn finish_mail(
        &self,
        id: i64,
        worker: i64,
        refused: Option<&str>,
        now: Timestamp,
    ) -> Result<bool> {
        let sql = format!(
            "UPDATE mail SET status = 'sent', sent_at = ?4, attempts = {COUNTED} + 1, last_error = ?3, run_at = NULL,
                             worker_id = NULL
              WHERE id = ?1 AND worker_id = ?2 AND status = 'sending'"
        );
        let is_ours = self.changes(&sql, params![id, worker, refused, now])?;
        self.wake_attachment_of_mail(id)?;
        Ok(is_ours)
    }

    /// Notes that a mail has not gone out, if it is still in this worker's hand. Whether it was.
    pub(crate) fn put_back_mail(
        &self,
        id: i64,
        worker: i64,
        error: &str,
        retry: Retry,
    ) -> Result<bool> {
        let sql = format!(
            "UPDATE mail SET status = iif(?3 AND NOT {UNWANTED}, 'queued', 'failed'), attempts = {COUNTED} + 1,
                             last_error = ?4, run_at = ?5, worker_id = NULL
              WHERE id = ?1 AND worker_id = ?2 AND status = 'sending'"
        );
        let again = retry != Retry::Never;
        let not_before = match retry {
            Retry::At(time) => Some(time),
            Retry::Soon | Retry::Never => None,
        };
        let is_ours = self.changes(&sql, params![id, worker, again, error, not_before])?;
        self.wake_attachment_of_mail(id)?;
        Ok(is_ours)
    }

    /// Notes why all mails after this id wait that are to be sent now. The levels that wait for them see it where that is
    /// news.
    pub(crate) fn mark_waiting_mails(&self, after: i64, error: &str, now: Timestamp) -> Result<()> {
        let sql = format!(
            "UPDATE mail SET last_error = ?3 WHERE id IN (SELECT id {READY} AND last_error IS NOT ?3)
             RETURNING attachment_id"
        );
        let attachments: Vec<Option<i64>> = self.list(&sql, params![after, now, error], |row| {
            row.get("attachment_id")
        })?;
        let mut attachments = attachments.into_iter().flatten();
        attachments.try_for_each(|attachment| self.wake_attachment(attachment))
    }

    /// Whether a mail is in the hand of no worker: plain SQL has taken that off the list, or set the mail to sending.
    pub(crate) fn has_orphaned_mail(&self) -> Result<bool> {
        let sql = format!("SELECT 1 FROM mail WHERE {ORPHANED} LIMIT 1");
        self.exists(&sql, [])
    }

    /// Queues the mails that are in the hand of no worker, but for those that no level asks for any more.
    pub(crate) fn requeue_orphaned_mails(&self) -> Result<()> {
        let sql = format!(
            "UPDATE mail SET status = iif({UNWANTED}, 'failed', 'queued'), worker_id = NULL,
                             last_error = iif({UNWANTED}, '{NOT_WANTED}', last_error)
              WHERE {ORPHANED}"
        );
        self.execute(&sql, [])
    }

    /// Queues a mail again that was sent, failed or pauses, as if it had never been tried. Its level is no longer waiting
    /// for it when it failed, and waits again for one that was sent if it has not gone on yet. Whether there was such a
    /// mail.
    pub(crate) fn retry_mail(&self, id: i64) -> Result<bool> {
        self.changes(
            "UPDATE mail SET attachment_id = CASE status
                                 WHEN 'queued' THEN attachment_id
                                 WHEN 'sent' THEN (SELECT id FROM attachment WHERE id = mail.attachment_id
                                                      AND level = mail.timer_level AND step = 1) END,
                             paused = iif(status = 'queued', paused, 0),
                             status = 'queued', attempts = 0, run_at = NULL, sent_at = NULL
              WHERE id = ?1 AND status IN ('sent', 'failed', 'queued')",
            [id],
        )
    }
}

const NOT_WANTED: &str = "its timer does not ask for it any more";

/// What plain SQL put there may be too great to count on.
const COUNTED: &str = "min(attempts, 1000000)";

const ORPHANED: &str =
    "status = 'sending' AND (worker_id IS NULL OR worker_id NOT IN (SELECT id FROM worker))";

/// It is of an attachment that has gone, or that has gone back to its first level since.
const UNWANTED: &str = "(attachment_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM attachment WHERE id = mail.attachment_id))";

/// Reads a row whatever plain SQL has put there: one row must not keep the others from going out. What cannot be read
/// shows when the mail is to be sent, and then it fails alone.
fn email(row: &Row<'_>) -> rusqlite::Result<Email> {
    let (level, attempts): (Option<i64>, i64) = (row.get("timer_level")?, row.get("attempts")?);
    let addresses = |column| row.get(column).map(|Addresses(list)| list);
    Ok(Email {
        id: row.get("id")?,
        status: row.get("status")?,
        template: text_or_null(row, "template")?,
        document: row.get("document_id")?,
        timer: text_or_null(row, "timer")?,
        timer_level: level.and_then(|level| u32::try_from(level).ok()),
        content: Content {
            from: text(row, "from")?,
            to: addresses("to")?,
            cc: addresses("cc")?,
            bcc: addresses("bcc")?,
            subject: text(row, "subject")?,
            body: text(row, "body")?,
            html: text_or_null(row, "html")?,
        },
        attempts: u32::try_from(attempts).unwrap_or(0),
        last_error: text_or_null(row, "last_error")?,
        run_at: row.get("run_at").unwrap_or_default(),
        created_at: row.get("created_at")?,
        sent_at: row.get("sent_at").unwrap_or_default(),
        message_id: text(row, "message_id")?,
    })
}

/// The addresses of one field, as they are stored: an array of them, or one.
struct Addresses(Vec<String>);

impl FromSql for Addresses {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let written = readable(value)?;
        let Ok(list) = serde_json::from_str::<Vec<serde_json::Value>>(&written) else {
            return Ok(Self(vec![written]));
        };
        // Elements that are no texts are no addresses either.
        let text = |value: &serde_json::Value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        };
        Ok(Self(list.iter().map(text).collect()))
    }
}
