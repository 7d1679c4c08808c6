//! Commands and replies on the wire, with nothing unbounded in them.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::deadline::Deadline;
use super::tls::Stream;

/// Longest reply, in bytes: SMTP asks for 512 a line, and EHLO answers a few dozen lines.
const REPLY_LIMIT: usize = 16 * 1024;

/// How long a server is heard that takes no more of what is sent to it.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the server said to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) lines: Vec<String>,
}

impl Reply {
    /// The code and all the words, on one line.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" "))
    }

    /// The first digit.
    pub(super) fn class(&self) -> u16 {
        self.code / 100
    }
}

/// Why a command did not come through.
#[derive(Debug)]
pub(super) enum Issue {
    /// The connection broke, or the deadline passed.
    Lost(io::Error),
    /// What came is not SMTP.
    Garbled(&'static str),
    /// The server answered with something else than was hoped for.
    Answered(Reply),
    /// The mail needs something that the server has not offered, for which it was not even asked.
    Unfit(&'static str),
}

impl From<io::Error> for Issue {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl Issue {
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Lost(error) if error.kind() == io::ErrorKind::TimedOut)
    }

    /// Whether the connection is of no more use: 421 is the server's own goodbye.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Answered(reply) => reply.code == 421,
            Self::Unfit(_) => false,
            Self::Lost(_) | Self::Garbled(_) => true,
        }
    }
}

/// A connection that speaks in lines.
pub(super) struct Wire {
    stream: Stream,
    unread: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(super) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The stream itself, to be encrypted. What was sent ahead in the clear could be a stranger's, so it must be none.
    pub(super) fn into_stream(self) -> Result<Stream, Issue> {
        if self.unread.is_empty() {
            Ok(self.stream)
        } else {
            Err(Issue::Garbled("words after its reply"))
        }
    }

    /// Sends a line (with its CRLF) or a message, and reads the reply, which must be of the class.
    pub(super) fn ask(&mut self, bytes: &[u8], class: u16) -> Result<Reply, Issue> {
        if !self.unread.is_empty() {
            return Err(Issue::Garbled("words out of turn"));
        }
        let written = self
            .stream
            .write_all(bytes)
            .and_then(|()| self.stream.flush());
        match written {
            Ok(()) => self.hear(class),
            Err(error) => Err(self.last_words(error)),
        }
    }

    /// Why the server took no more: it may have said so before it hung up.
    fn last_words(&mut self, error: io::Error) -> Issue {
        self.stream
            .socket()
            .set_deadline(Deadline::after(LAST_WORDS));
        match self.read_reply() {
            Ok(reply) if reply.class() >= 4 => Issue::Answered(reply),
            _ => Issue::Lost(error),
        }
    }

    /// Reads a reply, which must be of the class.
    pub(super) fn hear(&mut self, class: u16) -> Result<Reply, Issue> {
        let reply = self.read_reply()?;
        if reply.class() == class {
            Ok(reply)
        } else {
            Err(Issue::Answered(reply))
        }
    }

    fn read_reply(&mut self) -> Result<Reply, Issue> {
        let mut reply: Option<Reply> = None;
        let mut budget = REPLY_LIMIT;
        loop {
            let (code, more, words) =
                read_line(&self.next_line(&mut budget)?).ok_or(Issue::Garbled("no SMTP"))?;
            let reply = reply.get_or_insert(Reply {
                code,
                lines: Vec::new(),
            });
            if reply.code != code {
                return Err(Issue::Garbled("two codes in one reply"));
            }
            reply.lines.push(words);
            if !more {
                return Ok(reply.clone());
            }
        }
    }

    fn next_line(&mut self, budget: &mut usize) -> Result<Vec<u8>, Issue> {
        loop {
            let end = self
                .unread
                .iter()
                .position(|byte| *byte == b'\n')
                .map(|end| end + 1);
            let length = end.unwrap_or(self.unread.len());
            if length > *budget {
                return Err(Issue::Garbled("more than a reply may be"));
            }
            if end.is_some() {
                *budget -= length;
                return Ok(self.unread.drain(..length).collect());
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> Result<(), Issue> {
        let mut chunk = [0; 1024];
        let count = self.stream.read(&mut chunk)?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.unread.extend(chunk.iter().take(count));
        Ok(())
    }
}

/// Splits `250-words` into its code, whether another line follows, and the words.
fn read_line(line: &[u8]) -> Option<(u16, bool, String)> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\r', '\n']);
    let (code, rest) = text.split_at_checked(3)?;
    let code = Some(code)
        .filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()?;
    let more = match rest.chars().next() {
        None | Some(' ') => false,
        Some('-') => true,
        Some(_) => return None,
    };
    let words = rest.get(1..).unwrap_or_default().to_owned();
    (200..600).contains(&code).then_some((code, more, words))
}

#[cfg(test)]
mod tests {
    use super::read_line;

    #[test]
    fn a_line_of_a_reply_is_a_code_and_words() {
        for (line, read) in [
            (&b"250 2.0.0 Ok\r\n"[..], Some((250, false, "2.0.0 Ok"))),
            (b"250-SIZE 1000\r\n", Some((250, true, "SIZE 1000"))),
            (b"354\r\n", Some((354, false, ""))),
            (b"421 gar\xffbage\n", Some((421, false, "gar\u{fffd}bage"))),
            (b"250x\r\n", None),
            (b"+50 ok\r\n", None),
            (b"100 ok\r\n", None),
            (b"2\xc3\xa90 ok\r\n", None),
            (b"\r\n", None),
            (b"HTTP/1.1 400 Bad Request\r\n", None),
        ] {
            let read =
                read.map(|(code, more, words): (u16, bool, &str)| (code, more, words.to_owned()));
            assert_eq!(read_line(line), read, "{}", String::from_utf8_lossy(line));
        }
    }
}
