//! Where mail goes out, as the setting `mail.transport` or `RUNNER_MAIL_TRANSPORT` says it.

use std::fmt::{self, Debug, Formatter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Invalid;
use super::server::Server;

/// The program that `sendmail:` without a path means.
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// How long a mail may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until the server's machine accepts the connection.
    pub connect: Duration,
    /// For one mail as a whole, the opening of the connection included: a server that drips can't stretch it.
    pub send: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            send: Duration::from_secs(30),
        }
    }
}

/// A way out for mail, with the secrets that it needs.
///
/// - `smtp://[user:password@]host[:port]`: port 25, or 587 with a login. STARTTLS is used when the server offers it.
/// - `smtps://…`: TLS from the first byte, port 465.
/// - `sendmail:[PATH]`: the local mail program, `/usr/sbin/sendmail` unless a path says else.
/// - `file:FOLDER`: a folder of `.eml` files.
///
/// User, password and parameters are percent-decoded. Parameters of `smtp://` and `smtps://`, after a `?` and with `&`
/// between them:
///
/// - `tls=required`: no mail without STARTTLS; `tls=none`: never STARTTLS (a local server with a certificate of its
///   own making). Whatever they say, a certificate that does not fit ends the attempt, and **a login is sent in the
///   clear to a loopback address alone**.
/// - `ca=FILE`: trust the certificates in this PEM file, and not the system's.
/// - `timeout=SECONDS`: for one mail as a whole, 30 when not given.
#[derive(Clone)]
pub struct Transport {
    pub(super) way: Way,
    pub(super) limits: Limits,
    redacted: String,
}

/// The three ways out.
#[derive(Clone)]
pub(super) enum Way {
    Smtp(Server),
    Sendmail(PathBuf),
    Folder(PathBuf),
}

impl Transport {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// What is wrong, in words that quote nothing of the text: any part of it may belong to a password.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let unknown =
            "a mail transport is smtp://host, smtps://host, sendmail:[PATH] or file:FOLDER";
        let (scheme, rest) = text.split_once(':').ok_or_else(|| Invalid::new(unknown))?;
        let mut limits = Limits::default();
        let way = match scheme {
            "smtp" | "smtps" => {
                let rest = rest
                    .strip_prefix("//")
                    .ok_or_else(|| wrong("it starts with smtp:// or smtps://"))?;
                Way::Smtp(Server::read(scheme, rest, &mut limits)?)
            }
            "sendmail" => {
                Way::Sendmail(PathBuf::from(if rest.is_empty() { SENDMAIL } else { rest }))
            }
            "file" if rest.is_empty() => return Err(wrong("file: needs a folder")),
            "file" => Way::Folder(PathBuf::from(rest)),
            _ => return Err(Invalid::new(unknown)),
        };
        let redacted = redact(text, &way);
        Ok(Self {
            way,
            limits,
            redacted,
        })
    }

    /// The same way out with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same way out, where the paths in it are taken from this folder unless they are absolute. The name of a mail
    /// program without a `/` is looked for in `PATH`, and stays.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        match &mut self.way {
            Way::Smtp(server) => server.ca = server.ca.take().map(|ca| folder.join(ca)),
            Way::Sendmail(program) if program.components().count() > 1 => {
                *program = folder.join(&*program);
            }
            Way::Sendmail(_) => {}
            Way::Folder(mails) => *mails = folder.join(&*mails),
        }
        self
    }

    /// The text it was read from, with the password as `***`.
    #[must_use]
    pub fn redacted(&self) -> String {
        self.redacted.clone()
    }
}

impl Debug for Transport {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Transport").field(&self.redacted).finish()
    }
}

pub(super) fn wrong(sentence: &str) -> Invalid {
    Invalid::new(format!("mail transport: {sentence}"))
}

fn redact(text: &str, way: &Way) -> String {
    let Way::Smtp(Server { login: Some(_), .. }) = way else {
        return text.to_owned();
    };
    let shown = || {
        let (address, parameters) = text.split_at(text.find('?').unwrap_or(text.len()));
        let (before, host) = address.rsplit_once('@')?;
        let (scheme, login) = before.split_once("//")?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}//{user}:***@{host}{parameters}"))
    };
    shown().unwrap_or_else(|| "***".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::{Transport, Way};

    #[test]
    fn the_local_ways_take_a_path() {
        for (text, path) in [
            ("sendmail:", "/usr/sbin/sendmail"),
            ("sendmail:/opt/msmtp", "/opt/msmtp"),
            ("file:out", "out"),
        ] {
            let (Way::Sendmail(found) | Way::Folder(found)) = Transport::parse(text).unwrap().way
            else {
                panic!("{text}")
            };
            assert_eq!(found, Path::new(path));
        }
    }

    #[test]
    fn paths_are_taken_from_a_folder_unless_they_are_absolute() {
        for (text, path) in [
            ("sendmail:", "/usr/sbin/sendmail"),
            ("sendmail:msmtp", "msmtp"),
            ("sendmail:bin/msmtp", "/srv/bin/msmtp"),
            ("file:out", "/srv/out"),
            ("file:/var/out", "/var/out"),
        ] {
            let transport = Transport::parse(text).unwrap().within(Path::new("/srv"));
            let (Way::Sendmail(found) | Way::Folder(found)) = transport.way else {
                panic!("{text}")
            };
            assert_eq!(found, Path::new(path));
        }
    }

    #[test]
    fn the_password_is_shown_by_nothing() {
        for (text, shown) in [
            (
                "smtp://ann:hunter2@mail.example.org?tls=required",
                "smtp://ann:***@mail.example.org?tls=required",
            ),
            (
                "smtps://ann:hun@ter2:x@mail.example.org:99",
                "smtps://ann:***@mail.example.org:99",
            ),
            (
                "smtp://ann:hunter2@mail.example.org?ca=/x@y.pem",
                "smtp://ann:***@mail.example.org?ca=/x@y.pem",
            ),
            ("smtp://localhost:25", "smtp://localhost:25"),
        ] {
            let transport = Transport::parse(text).unwrap();
            assert_eq!(transport.redacted(), shown);
            assert!(!format!("{transport:?}").contains("hun"));
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
            "smtp://ann:hunter2%@host",
            "smtp://ann:hunter2%0a@host",
            "smtp://ann:hunter2%ff@host",
            "smtp://ann:hunter2@host:0",
            "smtp://ann:hunter2@host?hunter2",
            "smtp://ann:hunter2@ho st",
            "smtps://host?tls=none",
            "smtp://host?timeout=0",
            "smtp://host?ca=",
            "file:",
        ] {
            let refusal = Transport::parse(text).unwrap_err().to_string();
            assert!(
                refusal.contains("transport") && !refusal.contains("hunter2"),
                "{text}: {refusal}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "(smtps?://)?\\PC*") {
            let _ = Transport::parse(&text);
        }
    }
}
