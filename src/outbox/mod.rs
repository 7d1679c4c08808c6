//! The outbox (`design`, “Mail”): a mail is a row, written in the transaction of what causes it and sent after it.
//!
//! `queued → sending → sent`, back to `queued` when it did not go out and is tried again, `failed` when it is not. The
//! Message-ID is made with the row and stays: a mail is sent at least once, and a receiver can tell a repeat. A row that
//! a dead worker left as `sending` is queued again by the next tick.
//!
//! A mail of a timer is retried as its level is, by each tick. Any other is retried with a growing pause, and given up
//! after some attempts, or at once when the server refuses it for good.

mod letter;
mod post;
mod tried;
mod way;

use rusqlite::types::{FromSql, FromSqlResult, ValueRef};
use serde::Serialize;

pub(crate) use letter::sender;
pub use letter::{Occasion, compose};
pub use post::{Post, Round};
pub use way::{TRANSPORT_VARIABLE, transport};

use crate::error::{Error, Result};
use crate::mail::{Address, Letter, Outgoing};
use crate::model::words::words;
use crate::store::Store;
use crate::store::mail::NewMail;
use crate::store::text::readable;
use crate::time::Timestamp;

words! {
    /// Where a mail is on its way.
    MailStatus, "status" {
        /// It goes out with the next tick, or when its pause is over.
        Queued = "queued",
        /// A worker has it in hand.
        Sending = "sending",
        /// A server, a mail program or a folder has taken it.
        Sent = "sent",
        /// It did not go out and is not tried again.
        Failed = "failed",
    }
}

/// A row of the outbox, as it is stored and as JSON shows it.
#[derive(Debug, Serialize)]
#[allow(
    missing_docs,
    reason = "the columns of the table mail, in the words of the README"
)]
pub struct Mail {
    pub id: i64,
    pub status: MailStatus,
    pub template: Option<String>,
    pub document: Option<i64>,
    pub timer: Option<String>,
    pub timer_level: Option<u32>,
    pub from: String,
    pub to: Addresses,
    pub cc: Addresses,
    pub bcc: Addresses,
    pub subject: String,
    pub body: String,
    pub html: Option<String>,
    pub attempts: u32,
    pub last_error: Option<String>,
    /// Not before: the pause of a retry.
    pub run_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
    pub message_id: String,
}

/// The addresses of one field, as they are stored.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Addresses(pub Vec<String>);

/// Which level of which timer asks for a mail.
#[derive(Debug)]
pub struct Cause<'a> {
    /// The name of the template.
    pub template: &'a str,
    /// The document that it is filled from.
    pub document: i64,
    /// The attachment, whose level is done when the mail is sent.
    pub attachment: i64,
    /// The timer's name.
    pub timer: &'a str,
    /// The level, counted from 0.
    pub level: u32,
    /// When the level was due.
    pub due_at: Timestamp,
}

/// Fills a template from a document as it is now and puts the mail into the outbox, inside the transaction of the step
/// that causes it; its id.
///
/// # Errors
/// When there is no such template or document, when the template cannot be filled from it, when there is no sender, or
/// as SQLite says.
pub fn queue(store: &Store, cause: &Cause<'_>, now: Timestamp) -> Result<i64> {
    let occasion = Occasion {
        timer: cause.timer,
        level: cause.level,
        due_at: cause.due_at,
    };
    let template = store.template(cause.template)?;
    let letter = compose(store, &template, cause.document, &occasion)?;
    letter.check(now).map_err(|error| {
        Error::invalid(format!("template '{}'", cause.template), error.to_string())
    })?;
    let mail = NewMail {
        letter: &letter,
        template: Some(cause.template),
        document: Some(cause.document),
        level: Some((cause.attachment, cause.timer, cause.level)),
    };
    store.insert_mail(&mail, now)
}

/// Puts a mail into the outbox that no timer asks for; its id.
///
/// # Errors
/// SQLite's.
pub fn queue_letter(store: &Store, letter: &Letter, now: Timestamp) -> Result<i64> {
    let mail = NewMail {
        letter,
        template: None,
        document: None,
        level: None,
    };
    store.insert_mail(&mail, now)
}

impl Mail {
    /// The mail as it goes out. The columns hold what was checked when the row was written, or what plain SQL put there.
    ///
    /// # Errors
    /// When an address in it is none.
    pub fn outgoing(&self) -> Result<Outgoing> {
        let read = |text: &String| {
            let address: Result<Address, _> = text.parse();
            address.map_err(|error| self.refuse(error.to_string()))
        };
        let all = |list: &Addresses| list.0.iter().map(read).collect::<Result<Vec<_>>>();
        Ok(Outgoing {
            message_id: self.message_id.clone(),
            date: self.created_at.unix(),
            letter: Letter {
                from: read(&self.from)?,
                to: all(&self.to)?,
                cc: all(&self.cc)?,
                bcc: all(&self.bcc)?,
                subject: self.subject.clone(),
                body: self.body.clone(),
                html: self.html.clone(),
            },
        })
    }

    /// All who get it, as they are written.
    pub fn recipients(&self) -> String {
        let all = [&self.to, &self.cc, &self.bcc].map(|list| list.0.as_slice());
        all.concat().join(", ")
    }

    /// An error about this mail.
    pub fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::invalid(format!("mail {}", self.id), reason)
    }
}

impl FromSql for Addresses {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        // The table's check sees to it that this is an array; elements that are no texts are no addresses either.
        let list: Vec<serde_json::Value> =
            serde_json::from_str(&readable(value)?).unwrap_or_default();
        let text = |value: &serde_json::Value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        };
        Ok(Self(list.iter().map(text).collect()))
    }
}
