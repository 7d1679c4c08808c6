//! A mail: what it says, its row in the outbox, and the template it may be filled from.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::Error;
use crate::time::Timestamp;

/// Longest domain of a sender that a Message-ID carries: together with the rest it is also the name of a file.
const MAX_DOMAIN: usize = 180;

/// Where a mail is on its way: `queued → sending → sent`, back to `queued` when it is to be tried again, `failed` when it
/// is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EmailStatus {
    /// It goes out with the next tick, or when its pause is over.
    Queued,
    /// A worker is sending it.
    Sending,
    /// A server, a mail program or a folder has taken it.
    Sent,
    /// It did not go out and is not tried again.
    Failed,
}

impl EmailStatus {
    /// The name that it is stored and shown by.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for EmailStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a mail says, from whom and to whom. The addresses are texts like `Ann <ann@example.org>`: those of a row may
/// come from any program, and are looked at when it is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Content {
    /// The sender, of the message and of the envelope.
    pub(crate) from: String,
    /// The recipients.
    pub(crate) to: Vec<String>,
    /// Recipients of a copy.
    pub(crate) cc: Vec<String>,
    /// Recipients of a copy that the others don't see.
    pub(crate) bcc: Vec<String>,
    /// The subject, on one line.
    pub(crate) subject: String,
    /// The body as plain text.
    pub(crate) body: String,
    /// The same as HTML.
    pub(crate) html: Option<String>,
}

impl Content {
    /// All who get it, as they are written.
    pub(crate) fn recipients(&self) -> impl Iterator<Item = &String> {
        self.to.iter().chain(&self.cc).chain(&self.bcc)
    }

    /// The right side of a Message-ID: the sender's domain, unless a header or a file's name could not carry it as it is.
    pub(crate) fn domain(&self) -> &str {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-.".contains(letter);
        let domain = self.from.trim_end_matches('>').rsplit_once('@');
        domain
            .map(|(_, domain)| domain)
            .filter(|domain| domain.len() <= MAX_DOMAIN && domain.chars().all(is_plain))
            .unwrap_or("localhost")
    }
}

/// A row of the outbox, as JSON shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Email {
    pub(crate) id: i64,
    pub(crate) status: EmailStatus,
    pub(crate) template: Option<String>,
    pub(crate) document: Option<i64>,
    pub(crate) timer: Option<String>,
    pub(crate) timer_level: Option<u32>,
    #[serde(flatten)]
    pub(crate) content: Content,
    pub(crate) attempts: u32,
    pub(crate) last_error: Option<String>,
    /// Not before: the pause of a retry.
    pub(crate) run_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) sent_at: Option<Timestamp>,
    pub(crate) message_id: String,
}

impl Email {
    /// All who get it, on one line.
    pub(crate) fn recipients(&self) -> String {
        let all: Vec<_> = self.content.recipients().map(String::as_str).collect();
        all.join(", ")
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.status == EmailStatus::Sent
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.status == EmailStatus::Sending
    }

    /// What it is, for an error: its id, its subject and who gets it.
    pub(crate) fn describe(&self) -> String {
        let (id, subject) = (self.id, &self.content.subject);
        format!("mail {id} ({subject}) to {}", self.recipients())
    }

    /// Its name in the history of its document.
    pub(crate) fn name(&self) -> String {
        match &self.template {
            Some(template) => format!("mail '{template}'"),
            None => format!("mail {}", self.id),
        }
    }

    /// An error about this mail.
    pub(crate) fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::invalid(format!("mail {}", self.id), reason)
    }
}

/// Which level of which timer asks for a mail.
#[derive(Debug)]
pub(crate) struct Cause<'a> {
    /// The name of the template.
    pub(crate) template: &'a str,
    /// The document that it is filled from.
    pub(crate) document: i64,
    /// The attachment whose level waits for the mail; none of one that is fired by hand.
    pub(crate) attachment: Option<i64>,
    /// The timer's name.
    pub(crate) timer: &'a str,
    /// The level, counted from 0.
    pub(crate) level: u32,
    /// When the level was due.
    pub(crate) due_at: Timestamp,
}

/// A model of mails, of which every part is filled from a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Template {
    /// Its name, by which timers call it.
    pub(crate) name: String,
    /// The sender; the setting `mail.from` when there is none.
    pub(crate) from: Option<String>,
    /// The recipients.
    pub(crate) to: String,
    /// Recipients of a copy.
    pub(crate) cc: String,
    /// Recipients of a copy that the others don't see.
    pub(crate) bcc: String,
    /// The subject.
    pub(crate) subject: String,
    /// The body as plain text.
    pub(crate) body: String,
    /// The same as HTML, if wanted.
    pub(crate) html: Option<String>,
}
