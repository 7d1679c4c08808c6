//! A mail on its way out, and its form on the wire.

use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0, MessageId};
use lettre::message::{MessageBuilder, MultiPart};

use super::header::{address_header, text_header};
use super::{Address, Invalid, Letter};

/// The last second that a date header can show: 9999-12-31 23:59:59.
const LAST_DATE: u64 = 253_402_300_799;

/// Longest Message-ID, in bytes: it is also the name of a file.
const MESSAGE_ID_LIMIT: usize = 240;

/// Longest word of a subject, in bytes: a header is folded between words, and a line has at most 998.
const WORD_LIMIT: usize = 900;

/// One mail, as its row of the outbox holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// `<left@right>`, the same over all retries, so that a receiver can tell a repeat.
    pub message_id: String,
    /// When it was written, in seconds since 1970 UTC: the same over all retries too.
    pub date: i64,
    /// What it says.
    pub letter: Letter,
}

impl Outgoing {
    /// The message with its headers, in lines that end in CRLF: UTF-8 text, and the HTML as its alternative. `Bcc`
    /// is left out, and `Auto-Submitted` keeps vacation notices from answering.
    ///
    /// # Errors
    ///
    /// When a field can't be a header as it is: a control character in the subject, a Message-ID of another form, a
    /// date out of range, nobody to send to.
    pub fn rfc5322(&self) -> Result<Vec<u8>, Invalid> {
        let builder = self.headers()?;
        let message = match &self.letter.html {
            None => builder
                .header(MIME_VERSION_1_0)
                .header(ContentType::TEXT_PLAIN)
                .body(lines(&self.letter.body)),
            Some(html) => builder.multipart(MultiPart::alternative_plain_html(
                lines(&self.letter.body),
                lines(html),
            )),
        };
        Ok(message
            .map_err(|error| Invalid::new(error.to_string()))?
            .formatted())
    }

    /// Whether it can be a message: all that [`Outgoing::rfc5322`] could refuse.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn check(&self) -> Result<(), Invalid> {
        self.headers().map(drop)
    }

    fn headers(&self) -> Result<MessageBuilder, Invalid> {
        let mut builder = MessageBuilder::new()
            .envelope(self.envelope()?)
            .header(MessageId::from(self.checked_id()?.to_owned()))
            .date(self.written_at()?)
            .raw_header(address_header(
                "From",
                std::slice::from_ref(&self.letter.from),
            )?);
        for (name, list) in [("To", &self.letter.to), ("Cc", &self.letter.cc)] {
            if !list.is_empty() {
                builder = builder.raw_header(address_header(name, list)?);
            }
        }
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        let builder = builder.raw_header(text_header("Subject", self.checked_subject()?)?);
        Ok(builder.raw_header(HeaderValue::new(name, "auto-generated".to_owned())))
    }

    fn envelope(&self) -> Result<Envelope, Invalid> {
        let recipients = self.letter.recipients();
        let recipients = recipients.into_iter().map(Address::bare).collect();
        Envelope::new(Some(self.letter.from.bare()), recipients)
            .map_err(|_| Invalid::new("there is nobody to send to"))
    }

    fn written_at(&self) -> Result<SystemTime, Invalid> {
        let seconds = u64::try_from(self.date)
            .ok()
            .filter(|seconds| *seconds <= LAST_DATE);
        let seconds = seconds.ok_or_else(|| Invalid::new("its date is out of range"))?;
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn checked_subject(&self) -> Result<&str, Invalid> {
        let subject = self.letter.subject.as_str();
        if subject.contains(char::is_control) {
            return Err(Invalid::new("its subject holds a control character"));
        }
        if subject.split(' ').any(|word| word.len() > WORD_LIMIT) {
            return Err(Invalid::new(format!(
                "its subject has a word of more than {WORD_LIMIT} bytes"
            )));
        }
        Ok(subject)
    }

    fn checked_id(&self) -> Result<&str, Invalid> {
        self.id_without_brackets().map(|_| self.message_id.as_str())
    }

    /// The Message-ID without its `<>`.
    pub(super) fn id_without_brackets(&self) -> Result<&str, Invalid> {
        let bare = self
            .message_id
            .strip_prefix('<')
            .and_then(|rest| rest.strip_suffix('>'));
        let plain = |id: &&str| {
            id.chars()
                .all(|letter| letter.is_ascii_graphic() && !"<>\"\\()".contains(letter))
        };
        let two = |id: &&str| {
            id.split_once('@')
                .is_some_and(|(left, right)| !left.is_empty() && !right.is_empty())
        };
        bare.filter(plain)
            .filter(two)
            .filter(|id| id.len() <= MESSAGE_ID_LIMIT)
            .ok_or_else(|| {
                Invalid::new(format!(
                    "the Message-ID {:?} is not of the form <left@right>",
                    self.message_id
                ))
            })
    }
}

/// The text with one kind of line end, that of the last line too, and no NUL: servers disagree on what a bare CR means,
/// and few take a NUL. It is CRLF from here on, since the library puts in those that are missing one by one, at a cost
/// that grows with the square of the text.
fn lines(text: &str) -> String {
    let mut lines = text
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\0', "\u{fffd}");
    if !lines.is_empty() && !lines.ends_with('\n') {
        lines.push('\n');
    }
    lines.replace('\n', "\r\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Outgoing;
    use crate::mail::{Address, Letter};

    fn mail() -> Outgoing {
        Outgoing {
            message_id: "<7.abc@runner.example.org>".into(),
            date: 1_775_804_400,
            letter: letter(),
        }
    }

    fn letter() -> Letter {
        Letter {
            from: "Runner <runner@example.org>".parse().unwrap(),
            to: vec!["ann@example.org".parse().unwrap()],
            cc: vec![],
            bcc: vec![],
            subject: "Hello".into(),
            body: "Hello\n".into(),
            html: None,
        }
    }

    fn with(letter: Letter) -> Outgoing {
        Outgoing { letter, ..mail() }
    }

    fn text(mail: &Outgoing) -> String {
        String::from_utf8(mail.rfc5322().unwrap()).unwrap()
    }

    #[test]
    fn a_plain_mail_has_the_headers_that_a_mail_needs() {
        let text = text(&mail());
        for header in [
            "Message-ID: <7.abc@runner.example.org>\r\n",
            "Date: Fri, 10 Apr 2026 07:00:00 +0000\r\n",
            "From: Runner <runner@example.org>\r\n",
            "To: ann@example.org\r\n",
            "Subject: Hello\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "MIME-Version: 1.0\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
        ] {
            assert!(text.contains(header), "{header} in {text}");
        }
        assert!(text.ends_with("\r\n\r\nHello\r\n"), "{text}");
    }

    #[test]
    fn the_last_line_of_a_body_ends_as_the_others_do() {
        for body in ["One\nTwo", "One\nTwo\n", "One\r\nTwo\r\n"] {
            let mail = with(Letter {
                body: body.into(),
                ..letter()
            });
            assert!(text(&mail).ends_with("\r\n\r\nOne\r\nTwo\r\n"), "{body:?}");
        }
    }

    #[test]
    fn html_is_the_alternative_of_the_text_and_bcc_is_not_shown() {
        let bcc: Vec<Address> = vec![
            "secret@example.org".parse().unwrap(),
            "ann@example.org".parse().unwrap(),
        ];
        let mail = with(Letter {
            html: Some("<p>Hello</p>".into()),
            bcc,
            ..letter()
        });
        let text = text(&mail);
        assert!(
            text.contains("multipart/alternative") && text.contains("text/html; charset=utf-8"),
            "{text}"
        );
        assert!(
            !text.contains("secret") && !text.to_lowercase().contains("bcc"),
            "{text}"
        );
        let all: Vec<_> = mail
            .letter
            .recipients()
            .into_iter()
            .map(Address::mail)
            .collect();
        assert_eq!(all, ["ann@example.org", "secret@example.org"]);
    }

    #[test]
    fn what_cannot_be_a_header_is_refused() {
        let date = |date| Outgoing { date, ..mail() };
        let id = |id: &str| Outgoing {
            message_id: id.into(),
            ..mail()
        };
        let subject = |subject: &str| {
            with(Letter {
                subject: subject.into(),
                ..letter()
            })
        };
        for wrong in [
            date(-1),
            date(i64::MAX),
            id("7@x"),
            id("<7>"),
            id("<@x>"),
            id("<a@b\r\nBcc: c@d>"),
            id("<a b@c>"),
            id(&format!("<{}@x>", "a".repeat(300))),
            subject("a\r\nBcc: b@c"),
            subject("a\0"),
            subject(&"a".repeat(2000)),
            with(Letter {
                to: vec![],
                ..letter()
            }),
        ] {
            assert!(wrong.rfc5322().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn many_recipients_are_folded_one_address_a_line() {
        let list: Vec<Address> = (0..100)
            .map(|number| format!("recipient-{number}@example.org").parse().unwrap())
            .collect();
        let text = text(&with(Letter {
            to: list.clone(),
            cc: list,
            ..letter()
        }));
        assert!(text.lines().all(|line| line.len() <= 78), "{text}");
        assert!(text.contains("To: recipient-0@example.org,\r\n recipient-1@example.org,\r\n"));
        assert!(text.contains("Cc: recipient-0@example.org,\r\n recipient-1@example.org,\r\n"));
    }

    #[test]
    fn what_looks_encoded_is_encoded_so_that_it_cannot_decode_into_something_else() {
        let trick = "=?utf-8?q?From_your_bank?=";
        let text = text(&with(Letter {
            subject: format!("Subject {trick}"),
            from: format!("\"{trick}\" <a@example.org>").parse().unwrap(),
            to: vec![format!("{trick} <a@example.org>").parse().unwrap()],
            ..letter()
        }));
        assert!(!text.contains(trick), "{text}");
        let encoded = "=?utf-8?b?QWJvdXQgPT91dGYtOD9xP0Zyb21feW91cl9iYW5rPz0=?=";
        assert!(text.contains(encoded), "{text}");
    }

    #[test]
    fn a_body_of_a_million_lines_is_made_within_seconds() {
        let began = std::time::Instant::now();
        let mail = with(Letter {
            body: "a\n".repeat(1_000_000),
            ..letter()
        });
        assert!(mail.rfc5322().unwrap().len() > 3_000_000);
        assert!(began.elapsed().as_secs() < 20);
    }

    #[test]
    fn a_domain_beyond_ascii_goes_out_in_its_ascii_form() {
        let to: Address = "Ann <ann@bücher.example>".parse().unwrap();
        assert_eq!(to.to_string(), "Ann <ann@bücher.example>");
        let text = text(&with(Letter {
            to: vec![to],
            ..letter()
        }));
        assert!(
            text.contains("To: Ann <ann@xn--bcher-kva.example>\r\n"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn any_text_goes_out_in_ascii_lines_of_bearable_length_with_no_header_added(
            subject in "\\PC{0,300}", name in "\\PC{0,100}", body in "[a-z.é\\x00-\\x1f€\u{1f600}]{0,2000}",
            recipients in proptest::collection::vec("(\"[a-zé ,=?]{0,80}\" )?<[a-z]{1,60}@([a-zü]{1,40}\\.){1,4}org>", 1..60),
        ) {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            let from = format!("\"{quoted}\" <runner@example.org>").parse().unwrap();
            let to: Vec<Address> = recipients.iter().filter_map(|text| text.parse().ok()).collect();
            prop_assume!(!to.is_empty());
            let text = text(&with(Letter { from, to: to.clone(), cc: to, subject, html: Some(body.clone()), body, ..letter() }));
            prop_assert!(text.is_ascii());
            prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
            prop_assert!(text.split("\r\n").all(|line| line.len() <= 998));
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            let headers = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])).count();
            prop_assert_eq!(headers, 9);
        }
    }
}
