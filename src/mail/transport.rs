//! How mail goes out, as the setting `mail.transport` or the variable `RUNNER_MAIL_TRANSPORT` says it.

use std::fmt::{self, Debug, Formatter};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::delivery::{Delivery, DeliveryError, TIMEOUT};
use super::message::Message;
use super::smtp::Smtp;
use super::smtp_url::Server;
use super::{folder, sendmail};
use crate::model::settings::hide_password;

/// The program that `sendmail:` without a path means.
const SENDMAIL: &str = "/usr/sbin/sendmail";

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
    pub(super) fn send(&mut self, message: Message) -> Result<Delivery, DeliveryError> {
        match &mut self.route {
            Route::Smtp(smtp) => smtp.send(message),
            Route::Sendmail(program) => sendmail::send(program, &message, TIMEOUT),
            Route::Folder(folder) => folder::write(folder, &message),
        }
    }

    /// Whether mail could leave now, without sending any: the server takes the login, the program is there, the folder can
    /// be written to.
    pub(crate) fn check(&self) -> Result<(), String> {
        match &self.route {
            Route::Smtp(smtp) => smtp.check(),
            Route::Sendmail(program) => {
                check_program(program).map_err(|error| format!("{}: {error}", program.display()))
            }
            Route::Folder(folder) => {
                // The first mail makes it.
                let there = folder.ancestors().find(|folder| folder.exists());
                access(there.unwrap_or(folder), Access::WRITE_OK)
                    .map_err(|error| format!("{}: {error}", folder.display()))
            }
        }
    }

    /// Says goodbye to the server, if one is connected.
    pub(crate) fn close(self) {
        if let Route::Smtp(smtp) = self.route {
            smtp.quit();
        }
    }
}

/// A name without a `/` is looked for on the PATH when it is started.
fn check_program(program: &Path) -> rustix::io::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).filter(|_| program.components().count() == 1);
    let found = folders
        .map(|folder| folder.join(program))
        .find(|found| found.exists());
    access(found.as_deref().unwrap_or(program), Access::EXEC_OK)
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
