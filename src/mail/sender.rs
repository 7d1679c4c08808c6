//! One way out for all mails of a tick.

use std::path::PathBuf;
use std::time::Duration;

use super::deadline::Deadline;
use super::smtp::Smtp;
use super::transport::Way;
use super::{Outgoing, Transport, file, sendmail};

/// Longest sentence of an error, in characters; a server's answer may be much longer.
const SENTENCE_LIMIT: usize = 500;

/// The mail has been taken over by the next hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What the server answered (`250 2.0.0 Ok: queued as 4F1B`), or where the mail now is.
    pub answer: String,
}

impl Accepted {
    pub(super) fn new(answer: &str) -> Self {
        Self {
            answer: presentable(answer),
        }
    }
}

/// What to do with a mail that did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// This mail is refused, and will be each time: the server's 5xx, a message that can't be built.
    Refused,
    /// This mail did not go out now: the server's 4xx, a dropped connection, an answer that makes no sense. A mail
    /// whose connection broke after its last line may have been accepted all the same.
    Transient,
    /// No mail goes out now: the server can't be reached, does not greet, does not answer, does not prove who it is,
    /// or does not take the login. Others need not be tried in this tick.
    Unreachable,
}

/// Why a mail did not go out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct SendError {
    /// What to do with it.
    pub kind: Failure,
    /// One line for a person, with the server's own code and words; never a password.
    pub sentence: String,
}

impl SendError {
    pub(super) fn new(kind: Failure, sentence: &str) -> Self {
        Self {
            kind,
            sentence: presentable(sentence),
        }
    }
}

/// One line of bounded length, whatever the other side sent.
fn presentable(text: &str) -> String {
    let line = text.replace(char::is_control, " ");
    let mut shown: String = line.chars().take(SENTENCE_LIMIT).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown.trim().to_owned()
}

/// Sends mails one after the other. A connection is opened by the first that needs it and serves all that follow.
pub struct Sender {
    route: Route,
    limit: Duration,
}

enum Route {
    Smtp(Box<Smtp>),
    Sendmail(PathBuf),
    Folder(PathBuf),
}

impl Sender {
    /// A sender for this way out. Nothing is connected or started yet.
    #[must_use]
    pub fn open(transport: &Transport) -> Self {
        let limits = transport.limits;
        let route = match transport.way.clone() {
            Way::Smtp(server) => Route::Smtp(Box::new(Smtp::new(server, limits.connect))),
            Way::Sendmail(program) => Route::Sendmail(program),
            Way::Folder(folder) => Route::Folder(folder),
        };
        Self {
            route,
            limit: limits.send,
        }
    }

    /// Hands over one mail, to all of its recipients or to none.
    ///
    /// # Errors
    ///
    /// When it was not accepted, or nobody knows whether it was; [`SendError::kind`] says what to do.
    pub fn send(&mut self, mail: &Outgoing) -> Result<Accepted, SendError> {
        let deadline = Deadline::after(self.limit);
        let message = mail
            .rfc5322()
            .map_err(|reason| SendError::new(Failure::Refused, &reason.to_string()))?;
        match &mut self.route {
            Route::Smtp(smtp) => smtp.send(mail, &message, deadline),
            Route::Sendmail(program) => sendmail::send(program, mail, &message, deadline),
            Route::Folder(folder) => file::write(folder, mail, &message),
        }
    }

    /// Says goodbye to the server, if one is connected. A sender that is only dropped hangs up without a word.
    pub fn close(&mut self) {
        if let Route::Smtp(smtp) = &mut self.route {
            smtp.quit();
        }
    }
}
