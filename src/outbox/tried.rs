//! A mail that was tried: what becomes of it, and who is told.

use crate::error::Result;
use crate::firing;
use crate::mail::{Accepted, Failure, SendError};
use crate::model::issue::{Issue, Subject};
use crate::model::task::{Severity, next_attempt};
use crate::store::Store;
use crate::store::mail::{MailClaim, Unsent};
use crate::time::Timestamp;

/// How often a mail is tried again that no level waits for: eight attempts in all.
const RETRIES: u32 = 7;

/// A mail that was tried, and is not noted yet.
pub(super) struct Tried {
    pub(super) claim: MailClaim,
    pub(super) result: Result<Accepted, SendError>,
    /// Whether it was asked for by somebody who is told at once, and does not come back to it: when it does not go out,
    /// nothing is kept of it.
    pub(super) only_now: bool,
}

/// What becomes of a mail that did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next tick tries it again, when its pause is over.
    Again(Option<Timestamp>),
    GivenUp,
}

impl Tried {
    /// A level decides on its own mails. Of the others, what is refused now will be refused again.
    fn next(&self, kind: Failure, now: Timestamp) -> Next {
        let attempt = self.claim.mail.attempts.saturating_add(1);
        match kind {
            _ if self.claim.attachment.is_some() => Next::Again(None),
            Failure::Refused => Next::GivenUp,
            Failure::Transient | Failure::Unreachable => next_attempt(attempt, RETRIES, now)
                .map_or(Next::GivenUp, |at| Next::Again(Some(at))),
        }
    }

    /// What became of it cannot be noted: nobody else will tell.
    pub(super) fn warn_unnoted(&self) {
        if self.result.is_ok() {
            let id = self.claim.mail.id;
            log::warn!(
                "mail {id} was sent, which cannot be noted: the next tick sends it again, with the same Message-ID"
            );
        }
    }

    pub(super) fn unsent<'a>(&self, error: &'a SendError, now: Timestamp) -> Unsent<'a> {
        let next = self.next(error.kind, now);
        Unsent {
            error: &error.sentence,
            again: next != Next::GivenUp,
            not_before: match next {
                Next::Again(at) => at,
                Next::GivenUp => None,
            },
        }
    }

    /// Tells the document and the level what became of their mail. Whether the level is done by it.
    pub(super) fn tell(&self, store: &Store, now: Timestamp) -> Result<bool> {
        let mail = &self.claim.mail;
        match (&self.result, self.claim.attachment) {
            (Ok(_), attachment) => {
                self.write_history(store, now, Severity::Info, &self.sent_sentence())?;
                match attachment {
                    Some(attachment) => firing::mail_sent(store, attachment, mail.id, now),
                    None => Ok(false),
                }
            }
            (Err(error), Some(attachment)) => {
                let is_new = mail.last_error.as_ref() != Some(&error.sentence);
                let why = (error.sentence.as_str(), is_new);
                firing::mail_failed(store, attachment, mail.id, why, now).map(|()| false)
            }
            (Err(error), None) => {
                let message = format!("{}: {error}", self.name());
                self.write_history(store, now, Severity::Error, &message)
                    .map(|()| false)
            }
        }
    }

    fn write_history(
        &self,
        store: &Store,
        now: Timestamp,
        level: Severity,
        message: &str,
    ) -> Result<()> {
        let mail = &self.claim.mail;
        let timer = mail.timer.as_deref().zip(mail.timer_level);
        match mail.document {
            Some(document) => store.insert_history(document, now, level, message, timer),
            None => Ok(()),
        }
    }

    fn sent_sentence(&self) -> String {
        let mail = &self.claim.mail;
        let (subject, recipients) = (&mail.subject, mail.recipients());
        format!("{} sent to {recipients}: {subject}", self.name())
    }

    fn name(&self) -> String {
        match &self.claim.mail.template {
            Some(template) => format!("mail '{template}'"),
            None => format!("mail {}", self.claim.mail.id),
        }
    }

    pub(super) fn issue(&self, error: &SendError, now: Timestamp) -> Issue {
        let mail = &self.claim.mail;
        let subject = match self.claim.attachment {
            Some(attachment) => Subject::Level {
                attachment,
                task: None,
            },
            None => Subject::Mail(mail.id),
        };
        let is_final = self.next(error.kind, now) == Next::GivenUp;
        let end = if is_final { "; it is given up" } else { "" };
        let message = format!(
            "mail {} ({}) to {}: {error}{end}",
            mail.id,
            mail.subject,
            mail.recipients()
        );
        Issue {
            subject,
            message,
            is_news: mail.attempts == 0 || is_final,
            is_final,
        }
    }
}
