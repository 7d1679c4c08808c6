//! A mail in its form on the wire, with the envelope that it travels in.

use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{Cc, ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0, To};
use lettre::message::{Mailbox, Mailboxes, MessageBuilder, MultiPart};

use super::address;
use crate::model::email::{Content, Email};
use crate::time::Timestamp;

/// Longest line of a header with an encoded word in it (RFC 2047), in bytes.
const LINE_LIMIT: usize = 76;

/// Longest line that servers must take (RFC 5321), in bytes.
const MAX_LINE: usize = 998;

/// Longest Message-ID, in bytes: it is also the name of a file.
const MAX_MESSAGE_ID: usize = 240;

/// A mail as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The Message-ID without its `<>`.
    pub(super) id: String,
    /// From whom and to whom, each recipient once.
    pub(super) envelope: Envelope,
    /// Headers and body, in lines that end in CRLF.
    pub(super) bytes: Vec<u8>,
    /// Whether nobody gets it now when a server puts off one of the recipients: at the first attempt, all may get it
    /// together a little later.
    pub(super) waits_for_all: bool,
}

impl Message {
    /// The message of a row of the outbox: Message-ID and date are the row's, and so the same over all retries.
    pub(crate) fn of(email: &Email) -> Result<Self, String> {
        let message = Self::new(&email.content, &email.message_id, email.created_at)?;
        Ok(Self {
            waits_for_all: email.attempts == 0,
            ..message
        })
    }

    /// UTF-8 text, with the HTML as its alternative. `Bcc` is left out, and `Auto-Submitted` keeps vacation notices from
    /// answering. What can't be a header as it is, is refused.
    pub(crate) fn new(
        content: &Content,
        message_id: &str,
        date: Timestamp,
    ) -> Result<Self, String> {
        let id = bare_id(message_id)?.to_owned();
        let from = address::parse(&content.from)?;
        let [to, cc, bcc] = [&content.to, &content.cc, &content.bcc].map(|list| parse_all(list));
        let (to, cc) = (to?, cc?);
        let envelope = envelope(&from, to.iter().chain(&cc).chain(&bcc?))?;
        let mut builder = MessageBuilder::new()
            .envelope(envelope.clone())
            .message_id(Some(message_id.to_owned()))
            .date(system_time(date))
            .from(from);
        if !to.is_empty() {
            builder = builder.header(To::from(Mailboxes::from(to)));
        }
        if !cc.is_empty() {
            builder = builder.header(Cc::from(Mailboxes::from(cc)));
        }
        let auto_submitted = HeaderName::new_from_ascii_str("Auto-Submitted");
        let builder = builder
            .subject(checked_subject(&content.subject)?)
            .raw_header(HeaderValue::new(
                auto_submitted,
                "auto-generated".to_owned(),
            ));
        let body = with_crlf(&content.body);
        let message = match &content.html {
            None => builder
                .header(MIME_VERSION_1_0)
                .header(ContentType::TEXT_PLAIN)
                .body(body),
            Some(html) => {
                builder.multipart(MultiPart::alternative_plain_html(body, with_crlf(html)))
            }
        };
        let message = message.map_err(|error| error.to_string())?;
        Ok(Self {
            id,
            envelope,
            bytes: fold_headers(&message.formatted())?,
            waits_for_all: false,
        })
    }
}

fn parse_all(addresses: &[String]) -> Result<Vec<Mailbox>, String> {
    addresses.iter().map(|text| address::parse(text)).collect()
}

fn envelope<'a>(
    from: &Mailbox,
    recipients: impl Iterator<Item = &'a Mailbox>,
) -> Result<Envelope, String> {
    let mut all = Vec::new();
    for mailbox in recipients {
        if !all.contains(&mailbox.email) {
            all.push(mailbox.email.clone());
        }
    }
    Envelope::new(Some(from.email.clone()), all)
        .map_err(|_| "there is nobody to send to".to_owned())
}

/// A date before 1970, which the header's type can't hold, is shown as that.
fn system_time(date: Timestamp) -> SystemTime {
    let seconds = u64::try_from(date.unix()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn checked_subject(subject: &str) -> Result<&str, String> {
    if subject.contains(char::is_control) {
        return Err("its subject holds a control character".to_owned());
    }
    Ok(subject)
}

/// The Message-ID without its `<>`. One of another form than `<left@right>` could end the header.
fn bare_id(message_id: &str) -> Result<&str, String> {
    let bare = message_id
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    let is_plain = |letter: char| letter.is_ascii_graphic() && !"<>\"\\()".contains(letter);
    bare.filter(|id| id.chars().all(is_plain) && id.len() <= MAX_MESSAGE_ID)
        .filter(|id| !id.starts_with('@') && !id.ends_with('@') && id.contains('@'))
        .ok_or_else(|| format!("the Message-ID {message_id:?} is not of the form <left@right>"))
}

/// The text with one kind of line end, that of the last line too, and no NUL: servers disagree on what a bare CR means,
/// and few take a NUL. It is CRLF from here on, since lettre puts in those that are missing one by one, at a cost that
/// grows with the square of the text.
fn with_crlf(text: &str) -> String {
    let mut lines = text
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\0', "\u{fffd}");
    if !lines.is_empty() && !lines.ends_with('\n') {
        lines.push('\n');
    }
    lines.replace('\n', "\r\n")
}

/// Folds what lettre writes on one line: a list of addresses, and an address after an encoded name.
fn fold_headers(message: &[u8]) -> Result<Vec<u8>, String> {
    let end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = message.split_at(end.unwrap_or(message.len()));
    let head: Vec<String> = String::from_utf8_lossy(head)
        .split("\r\n")
        .map(fold)
        .collect();
    let head = head.join("\r\n");
    let mut name = "";
    for line in head.split("\r\n") {
        if !line.starts_with(' ') {
            (name, _) = line.split_once(':').unwrap_or_default();
        }
        if line.len() > MAX_LINE {
            let name = name.to_lowercase();
            return Err(format!(
                "its {name} has a word of more than {MAX_LINE} bytes"
            ));
        }
    }
    Ok([head.as_bytes(), body].concat())
}

/// Breaks a line before the blanks that go before a word, where the line would become too long.
fn fold(line: &str) -> String {
    let mut folded = String::new();
    let (mut length, mut blanks) = (0, 0);
    for (number, word) in line.split(' ').enumerate() {
        blanks += usize::from(number > 0);
        if word.is_empty() {
            continue;
        }
        // A header's name and its first word stay together: not all programs take a first line that is empty.
        if number > 1 && length > 0 && length + blanks + word.len() > LINE_LIMIT {
            folded.push_str("\r\n");
            length = 0;
        }
        folded.extend(std::iter::repeat_n(' ', blanks));
        folded.push_str(word);
        length += blanks + word.len();
        blanks = 0;
    }
    folded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Message;
    use crate::model::email::Content;
    use crate::time::Timestamp;

    const ID: &str = "<7.abc@runner.example.org>";

    fn content() -> Content {
        Content {
            from: "Runner <runner@example.org>".into(),
            to: vec!["ann@example.org".into()],
            subject: "Hello".into(),
            body: "Hello\n".into(),
            ..Content::default()
        }
    }

    fn date() -> Timestamp {
        Timestamp::from_unix(1_775_804_400).unwrap()
    }

    fn build(content: &Content) -> Result<Message, String> {
        Message::new(content, ID, date())
    }

    fn text(content: &Content) -> String {
        String::from_utf8(build(content).unwrap().bytes).unwrap()
    }

    #[test]
    fn what_cannot_be_a_header_is_refused() {
        for id in [
            "7@x",
            "<7>",
            "<@x>",
            "<x@>",
            "<a@b\r\nBcc: c@d>",
            "<a b@c>",
            &format!("<{}@x>", "a".repeat(300)),
        ] {
            assert!(Message::new(&content(), id, date()).is_err(), "{id}");
        }
        let subject = |subject: &str| Content {
            subject: subject.to_owned(),
            ..content()
        };
        for wrong in [
            subject("a\r\nBcc: b@c"),
            subject("a\0"),
            subject(&"a".repeat(2000)),
            Content {
                from: format!("{} <a@x.org>", "a".repeat(2000)),
                ..content()
            },
            Content {
                to: vec![],
                ..content()
            },
        ] {
            assert!(build(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_list_of_many_recipients_is_folded_between_them() {
        let list: Vec<_> = (0..100)
            .map(|number| format!("recipient-{number}@example.org"))
            .collect();
        let text = text(&Content {
            to: list.clone(),
            cc: list.clone(),
            ..content()
        });
        assert!(text.lines().all(|line| line.len() <= 76), "{text}");
        let unfolded = text.replace("\r\n ", " ");
        for name in ["To", "Cc"] {
            let header = format!("\r\n{name}: {}\r\n", list.join(", "));
            assert!(unfolded.contains(&header), "{text}");
        }
    }

    #[test]
    fn an_address_after_a_long_encoded_name_is_on_a_line_of_its_own() {
        let name = "Élodie Durand de la Très-Haute-Montagne";
        let text = text(&Content {
            from: format!("{name} <elodie.durand@very-long-department-name.example.org>"),
            ..content()
        });
        let from = text.split_once("\r\nFrom: ").unwrap().1;
        assert!(
            from.contains("?=\r\n <elodie.durand@very-long-department-name.example.org>\r\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() <= 76), "{text}");
    }

    #[test]
    fn a_body_of_a_million_lines_is_made_within_seconds() {
        let began = std::time::Instant::now();
        let body = "a\n".repeat(1_000_000);
        let message = build(&Content { body, ..content() }).unwrap();
        assert!(message.bytes.len() > 3_000_000);
        assert!(began.elapsed().as_secs() < 20);
    }

    proptest! {
        #[test]
        fn any_text_goes_out_in_ascii_lines_of_bearable_length_with_no_header_added(
            subject in "\\PC{0,300}", name in "\\PC{0,100}", body in "[a-z.é\\x00-\\x1f€\u{1f600}]{0,2000}",
            recipients in proptest::collection::vec("(\"[a-zé ,=?]{0,80}\" )?<[a-z]{1,60}@([a-z]{1,40}\\.){1,4}org>", 1..60),
        ) {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            let from = format!("\"{quoted}\" <runner@example.org>");
            let text = text(&Content { from, to: recipients.clone(), cc: recipients, subject, html: Some(body.clone()), body, ..content() });
            prop_assert!(text.is_ascii());
            prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            for line in head.split("\r\n") {
                prop_assert!(line.len() <= if line.contains("=?utf-8?b?") { 76 } else { 998 }, "{}", line);
                prop_assert!(!line.trim().is_empty());
            }
            let headers = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])).count();
            prop_assert_eq!(headers, 9);
        }
    }
}
