//! What became of handing over a mail.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::model::issue::cut;

/// How long one mail may take as a whole, unless the transport sets another limit.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest message of an error, in characters; a server's answer may be much longer.
const MAX_REASON: usize = 500;

/// A mail that was taken over by the next hand, for all of its recipients or for some.
#[derive(Debug)]
pub(super) struct Delivery {
    /// What the server answered (`250 2.0.0 Ok: queued as 4F1B`), or where the mail now is.
    pub(super) answer: String,
    /// The recipients that the server refused, while it took the mail for the others.
    pub(super) refused: Vec<Refusal>,
}

/// A recipient that a server refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The bare address.
    pub(super) address: String,
    /// The server's code and words.
    pub(super) reason: String,
}

impl Delivery {
    /// One to all recipients.
    pub(super) fn to_all(answer: &str) -> Self {
        Self {
            answer: presentable(answer),
            refused: Vec::new(),
        }
    }

    /// Who was refused, and why; none when nobody was.
    pub(super) fn reasons(&self) -> Option<String> {
        (!self.refused.is_empty()).then(|| reasons(&self.refused))
    }
}

/// All that a server gave as reasons, on one line.
pub(super) fn reasons(refused: &[Refusal]) -> String {
    let reasons: Vec<_> = refused
        .iter()
        .map(|refusal| refusal.reason.as_str())
        .collect();
    reasons.join("; ")
}

/// What to do with a mail that did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
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
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub(super) struct DeliveryError {
    pub(super) kind: Failure,
    /// One line for a person, with the server's own code and words; never a password.
    pub(super) reason: String,
}

impl DeliveryError {
    pub(super) fn new(kind: Failure, reason: &str) -> Self {
        Self {
            kind,
            reason: presentable(reason),
        }
    }
}

/// One line of bounded length, whatever the other side sent.
pub(super) fn presentable(text: &str) -> String {
    let line = text.replace(char::is_control, " ");
    cut(line.trim(), MAX_REASON)
}

/// Does the work in a thread; `None` when that takes too long. The thread is left behind then: it ends with its work, or
/// with the program.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        // Nobody may be waiting any more.
        .spawn(move || drop(sender.send(work())))
        .ok()?;
    receiver.recv_timeout(limit).ok()
}
