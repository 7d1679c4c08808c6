//! One SMTP connection, from its EHLO on.

use std::io;

use lettre::transport::smtp::commands::{Data, Ehlo, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, MailBodyParameter, MailParameter};

use super::deadline::Deadline;
use super::login;
use super::server::Login;
use super::wire::{Issue, Reply, Wire};
use super::{Address, Outgoing};

/// What a server answers to a command that it does not know.
const UNKNOWN: [u16; 2] = [500, 502];

/// An open connection after its greeting, encryption and login.
pub(super) struct Session {
    pub(super) wire: Wire,
    offers: Vec<String>,
    /// A mail was begun and not ended: the server must forget it first.
    unfinished: bool,
}

/// A issue, and what was being done.
pub(super) struct Mishap(pub(super) String, pub(super) Issue);

/// Names what is being done, for the sentence.
pub(super) fn doing<T>(what: &str, result: Result<T, Issue>) -> Result<T, Mishap> {
    result.map_err(|issue| Mishap(what.to_owned(), issue))
}

/// Something that the server would need for this mail and has not.
pub(super) fn missing(what: &str) -> Issue {
    Issue::Lost(io::Error::new(io::ErrorKind::Unsupported, what))
}

impl Session {
    /// Says EHLO on a fresh wire, or HELO to a server from before there was more to offer.
    pub(super) fn greet(mut wire: Wire) -> Result<Self, Mishap> {
        let hello = Ehlo::new(ClientId::default()).to_string();
        let mut answer = wire.ask(hello.as_bytes(), 2);
        if matches!(&answer, Err(Issue::Answered(reply)) if UNKNOWN.contains(&reply.code)) {
            let hello = hello.replacen("EHLO", "HELO", 1);
            answer = wire.ask(hello.as_bytes(), 2);
        }
        let reply = doing("EHLO", answer)?;
        let offers = reply
            .lines
            .iter()
            .skip(1)
            .map(|line| line.to_ascii_uppercase())
            .collect();
        Ok(Self {
            wire,
            offers,
            unfinished: false,
        })
    }

    pub(super) fn offers(&self, extension: &str) -> bool {
        self.offers
            .iter()
            .any(|line| line.split_whitespace().next() == Some(extension))
    }

    pub(super) fn log_in(&mut self, login: &Login) -> Result<(), Mishap> {
        let safe = self.wire.stream().is_encrypted() || self.wire.stream().socket().is_local();
        if !safe {
            return doing(
                "login",
                Err(missing(
                    "the server offers no TLS, and a login is not sent without it",
                )),
            );
        }
        let mechanism = login::mechanism(&self.offers);
        let mechanism =
            mechanism.ok_or_else(|| missing("the server offers neither PLAIN nor LOGIN"));
        doing(
            "login",
            mechanism.and_then(|mechanism| login::authenticate(&mut self.wire, mechanism, login)),
        )
    }

    /// The same session for another mail, if the server forgets the unfinished one.
    pub(super) fn renew(mut self, deadline: Deadline) -> Option<Self> {
        self.wire.stream().socket().set_deadline(deadline);
        let fresh = !self.unfinished || self.wire.ask(Rset.to_string().as_bytes(), 2).is_ok();
        self.unfinished = false;
        fresh.then_some(self)
    }

    /// Names the sender.
    pub(super) fn begin(&mut self, mail: &Outgoing) -> Result<(), Mishap> {
        let parameters = self.parameters(mail)?;
        let line = Mail::new(Some(mail.letter.from.bare()), parameters).to_string();
        let what = format!("MAIL FROM:<{}>", mail.letter.from.mail());
        doing(&what, self.wire.ask(line.as_bytes(), 2)).map(drop)
    }

    /// Addresses beyond ASCII need a server that takes them; texts beyond ASCII are encoded anyway.
    fn parameters(&self, mail: &Outgoing) -> Result<Vec<MailParameter>, Mishap> {
        let foreign = |address: &&Address| !AsRef::<str>::as_ref(&address.bare()).is_ascii();
        let Some(address) = mail
            .letter
            .recipients()
            .into_iter()
            .chain([&mail.letter.from])
            .find(foreign)
        else {
            return Ok(Vec::new());
        };
        if self.offers("SMTPUTF8") {
            return Ok(vec![
                MailParameter::SmtpUtfEight,
                MailParameter::Body(MailBodyParameter::EightBitMime),
            ]);
        }
        doing(
            &format!("address <{}>", address.mail()),
            Err(Issue::Unfit(
                "the server offers no SMTPUTF8, and so takes no addresses beyond ASCII",
            )),
        )
    }

    /// Names the recipients and sends the message. Any failure leaves the mail to be forgotten.
    pub(super) fn finish(&mut self, mail: &Outgoing, message: &[u8]) -> Result<Reply, Mishap> {
        self.unfinished = true;
        for address in mail.letter.recipients() {
            let line = Rcpt::new(address.bare(), Vec::new()).to_string();
            doing(
                &format!("RCPT TO:<{}>", address.mail()),
                self.wire.ask(line.as_bytes(), 2),
            )?;
        }
        doing("DATA", self.wire.ask(Data.to_string().as_bytes(), 3))?;
        let reply = doing("end of the message", self.wire.ask(&stuff(message), 2))?;
        self.unfinished = false;
        Ok(reply)
    }
}

/// The message as it goes through DATA: a dot more where a line starts with one, and the line that ends it.
fn stuff(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(message.len() + 8);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    if !stuffed.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

#[cfg(test)]
mod tests {
    use super::stuff;

    #[test]
    fn a_line_that_starts_with_a_dot_gets_another() {
        for (message, sent) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n..a\r\nb.\r\n", "..\r\n...a\r\nb.\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(String::from_utf8(stuff(message.as_bytes())).unwrap(), sent);
        }
    }
}
