//! How mail goes out, as the setting `mail.transport` or the variable `RUNNER_MAIL_TRANSPORT` says it.

use std::fmt::{self, Debug, Formatter};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::message::Message;
use super::server::Server;
use super::smtp::Smtp;
use super::{folder, sendmail};
use crate::model::settings::hide_password;

/// The program that `sendmail:` without a path means.
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// How long one mail may take as a whole, unless the transport sets another limit.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest message of an error, in characters; a server's answer may be much longer.
const MAX_REASON: usize = 500;

/// A mail that was taken over by the next hand, for all of its recipients or for some.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// What the server answered (`250 2.0.0 Ok: queued as 4F1B`), or where the mail now is.
    pub(crate) answer: String,
    /// The recipients that the server refused, while it took the mail for the others.
    pub(crate) refused: Vec<Refusal>,
}

/// A recipient that a server refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The bare address.
    pub(crate) address: String,
    /// The server's code and words.
    pub(crate) reason: String,
}

impl Delivery {
    pub(super) fn new(answer: &str, refused: Vec<Refusal>) -> Self {
        Self {
            answer: presentable(answer),
            refused,
        }
    }
}

/// What to do with a mail that did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
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
pub(crate) struct DeliveryError {
    pub(crate) kind: Failure,
    /// One line for a person, with the server's own code and words; never a password.
    pub(crate) reason: String,
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
    let mut shown: String = line.chars().take(MAX_REASON).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown.trim().to_owned()
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

/// A way out for mail, with the secrets that it needs.
///
/// - `smtp://[user:password@]host[:port]` and `smtps://…`: a server, see [`Server::parse`].
/// - `sendmail:[PATH]`: the local mail program, `/usr/sbin/sendmail` unless a path is given.
/// - `file:FOLDER`: a folder of `.eml` files.
pub(crate) struct Transport {
    route: Route,
    shown: String,
}

enum Route {
    Smtp(Box<Smtp>),
    Sendmail(PathBuf),
    Folder(PathBuf),
}

impl Transport {
    /// Reads one, and connects to nothing yet. Paths are taken from the folder unless they are absolute; the name of a
    /// mail program without a `/` is looked for in `PATH`, and stays.
    ///
    /// An error quotes nothing of the text: any part of it may belong to a password.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let text = text.trim();
        let route = match text.split_once(':') {
            Some(("smtp" | "smtps", _)) => {
                Route::Smtp(Box::new(Smtp::new(Server::parse(text, folder)?)))
            }
            Some(("sendmail", "")) => Route::Sendmail(PathBuf::from(SENDMAIL)),
            Some(("sendmail", path)) if path.contains('/') => Route::Sendmail(folder.join(path)),
            Some(("sendmail", name)) => Route::Sendmail(PathBuf::from(name)),
            Some(("file", "")) => return Err("mail transport: file: needs a folder".to_owned()),
            Some(("file", path)) => Route::Folder(folder.join(path)),
            _ => {
                return Err(
                    "a mail transport is smtp://host, smtps://host, sendmail:[PATH] or file:FOLDER"
                        .to_owned(),
                );
            }
        };
        Ok(Self {
            route,
            shown: hide_password(text),
        })
    }

    /// The text it was read from, with the password as `***`.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Hands over one mail.
    pub(crate) fn send(&mut self, message: Message) -> Result<Delivery, DeliveryError> {
        match &mut self.route {
            Route::Smtp(smtp) => smtp.send(message),
            Route::Sendmail(program) => sendmail::send(program, &message, TIMEOUT),
            Route::Folder(folder) => folder::write(folder, &message),
        }
    }

    /// Says goodbye to the server, if one is connected.
    pub(crate) fn close(self) {
        if let Route::Smtp(smtp) = self.route {
            smtp.quit();
        }
    }
}

impl Debug for Transport {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Transport").field(&self.shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::{Route, Transport};

    fn parse(text: &str) -> Result<Transport, String> {
        Transport::parse(text, Path::new("/srv"))
    }

    #[test]
    fn paths_are_taken_from_a_folder_unless_they_are_absolute() {
        for (text, path) in [
            ("sendmail:", "/usr/sbin/sendmail"),
            ("sendmail:/opt/msmtp", "/opt/msmtp"),
            ("sendmail:msmtp", "msmtp"),
            ("sendmail:bin/msmtp", "/srv/bin/msmtp"),
            ("file:out", "/srv/out"),
            ("file:/var/out", "/var/out"),
        ] {
            let (Route::Sendmail(found) | Route::Folder(found)) = parse(text).unwrap().route else {
                panic!("{text}")
            };
            assert_eq!(found, Path::new(path));
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_quoting_it() {
        for text in [
            "",
            "hunter2",
            "http://hunter2",
            "smtp:hunter2",
            "smtp://",
            "smtp://ann@hunter2",
            "smtp://ann:@host",
            "smtp://ann:hunter2",
            "smtp://ann:hunter2%0a@host",
            "smtp://ann:hunter2%ff@host",
            "smtp://ann:hunter2@host:0",
            "smtp://ann:hunter2@host/path",
            "smtp://ann:hunter2@host?hunter2",
            "smtp://ann:hunter2@ho st",
            "smtps://host?tls=none",
            "smtp://host?timeout=0",
            "smtp://host?ca=",
            "file:",
        ] {
            let refusal = parse(text).unwrap_err();
            assert!(
                refusal.contains("transport") && !refusal.contains("hunter2"),
                "{text}: {refusal}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "(smtps?://)?\\PC*") {
            let _ = parse(&text);
        }
    }
}
