//! A mail: what it says, its row in the outbox, and the template it may be filled from.

use serde::Serialize;

use super::words::words;
use crate::error::Error;
use crate::time::Timestamp;

words! {
    /// Where a mail is on its way: `queued → sending → sent`, back to `queued` when it is to be tried again, `failed`
    /// when it is not.
    EmailStatus, "status" {
        /// It goes out with the next tick, or when its pause is over.
        Queued = "queued",
        /// A worker is sending it.
        Sending = "sending",
        /// A server, a mail program or a folder has taken it.
        Sent = "sent",
        /// It did not go out and is not tried again.
        Failed = "failed",
    }
}

/// What a mail says, from whom and to whom. The addresses are texts like `Ann <ann@example.org>`: those of a row may
/// come from any program, and are looked at when it is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Content {
    /// The sender, of the message and of the envelope.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
    /// Recipients of a copy.
    pub cc: Vec<String>,
    /// Recipients of a copy that the others don't see.
    pub bcc: Vec<String>,
    /// The subject, on one line.
    pub subject: String,
    /// The body as plain text.
    pub body: String,
    /// The same as HTML.
    pub html: Option<String>,
}

impl Content {
    /// All who get it, as they are written.
    pub fn recipients(&self) -> impl Iterator<Item = &String> {
        self.to.iter().chain(&self.cc).chain(&self.bcc)
    }
}

/// A row of the outbox, as JSON shows it.
#[derive(Debug, Serialize)]
#[allow(
    missing_docs,
    reason = "the columns of the table mail, which the documentation explains"
)]
pub struct Email {
    pub id: i64,
    pub status: EmailStatus,
    pub template: Option<String>,
    pub document: Option<i64>,
    pub timer: Option<String>,
    pub timer_level: Option<u32>,
    #[serde(flatten)]
    pub content: Content,
    pub attempts: u32,
    pub last_error: Option<String>,
    /// Not before: the pause of a retry.
    pub run_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
    pub message_id: String,
}

impl Email {
    /// All who get it, on one line.
    pub fn recipients(&self) -> String {
        let all: Vec<_> = self.content.recipients().map(String::as_str).collect();
        all.join(", ")
    }

    /// Its name in the history of its document.
    pub fn name(&self) -> String {
        match &self.template {
            Some(template) => format!("mail '{template}'"),
            None => format!("mail {}", self.id),
        }
    }

    /// An error about this mail.
    pub fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::invalid(format!("mail {}", self.id), reason)
    }
}

/// A model of mails, of which every part is filled from a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Template {
    /// Its name, by which timers call it.
    pub name: String,
    /// The sender; the setting `mail.from` when there is none.
    pub from: Option<String>,
    /// The recipients.
    pub to: String,
    /// Recipients of a copy.
    pub cc: String,
    /// Recipients of a copy that the others don't see.
    pub bcc: String,
    /// The subject.
    pub subject: String,
    /// The body as plain text.
    pub body: String,
    /// The same as HTML, if wanted.
    pub html: Option<String>,
}
