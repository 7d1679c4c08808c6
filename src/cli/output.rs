//! Standard output and standard error: texts from a database never reach a terminal as anything but text.

use std::cell::{Cell as Flag, RefCell};
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::clock::Clock;
use crate::error::{Error, Result, one_line};
use crate::model::issue::Issue;
use crate::model::settings::Settings;
use crate::outbox::Post;
use crate::report::{self, Told};
use crate::store::Store;

/// Where a command prints: JSON or text for people.
pub(super) struct Output {
    /// Whether JSON was asked for.
    pub(super) json: bool,
    stdout: RefCell<BufWriter<Stdout>>,
    said: Flag<bool>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            stdout: RefCell::new(BufWriter::new(io::stdout())),
            said: Flag::new(false),
        }
    }

    /// Prints one JSON value.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<()> {
        self.said.set(true);
        let mut stdout = self.stdout.borrow_mut();
        let mut writer = serde_json::Serializer::with_formatter(&mut *stdout, HarmlessJson);
        let written = value.serialize(&mut writer).map_err(io::Error::from);
        told(written.and_then(|()| stdout.write_all(b"\n")))
    }

    /// Prints a line, made harmless: one line, whatever is in it.
    pub(super) fn line(&self, line: impl Display) -> Result<()> {
        self.lines(flat(&line.to_string()))
    }

    /// Prints a text of one or more lines, made harmless.
    pub(super) fn lines(&self, text: impl Display) -> Result<()> {
        let text = harmless(&text.to_string());
        told(writeln!(self.stdout.borrow_mut(), "{text}"))
    }

    /// Prints an id on a line, which needs nothing to be made harmless.
    pub(super) fn id(&self, id: i64) -> Result<()> {
        told(writeln!(self.stdout.borrow_mut(), "{id}"))
    }

    /// Prints a text as it is.
    pub(super) fn text(&self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are, such as a file's.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<()> {
        self.said.set(true);
        told(self.stdout.borrow_mut().write_all(bytes))
    }

    /// Prints rows under their headings, in the width of the terminal; nothing when there are none.
    pub(super) fn table<const N: usize>(
        &self,
        headings: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(headings);
        for row in rows {
            table.add_row(row.iter().map(|cell| Cell::new(harmless(&flat(cell)))));
        }
        if table.is_empty() {
            return Ok(());
        }
        let lines = table
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
            .join("\n");
        told(writeln!(self.stdout.borrow_mut(), "{lines}"))
    }

    /// The one JSON value of a command that is done and had nothing to say, so that a program can read every answer in
    /// the same way.
    pub(super) fn done(&self) -> Result<()> {
        match self.json && !self.said.get() {
            true => self.json(&serde_json::json!({})),
            false => Ok(()),
        }
    }

    /// Sees to it that all is written: a full disk at the last moment is an error too.
    pub(super) fn end(&self) -> Result<()> {
        told(self.stdout.borrow_mut().flush())
    }
}

fn told(written: io::Result<()>) -> Result<()> {
    written.map_err(|source| Error::Io {
        thing: "standard output".to_owned(),
        source,
    })
}

/// Whether the reader of our output went away.
pub(super) fn is_broken_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { thing, source } if thing == "standard output" && source.kind() == io::ErrorKind::BrokenPipe)
}

/// A line on standard error.
pub(super) fn complain(message: &impl Display) {
    // When even this cannot be written there is nobody left to tell.
    let line = harmless(&one_line(&message.to_string()));
    let _ = writeln!(io::stderr(), "runner: {line}");
}

/// A line on standard error for each thing that went wrong.
pub(super) fn complain_of(issues: &[Issue]) {
    let sentences = issues.iter().map(|issue| &issue.sentence);
    sentences.for_each(complain);
}

/// Control characters, with which a text could move the cursor or change the terminal, are shown as what they are;
/// so are those that change the direction of writing.
pub(super) fn harmless(text: &str) -> String {
    let strange = |c: char| is_strange(c) && c != '\n' && c != '\t';
    match text.contains(strange) {
        false => text.to_owned(),
        true => text
            .chars()
            .map(|c| {
                if strange(c) {
                    c.escape_unicode().to_string()
                } else {
                    c.to_string()
                }
            })
            .collect(),
    }
}

fn is_strange(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text on one line: what would begin another one, or another column, is shown as a space.
fn flat(text: &str) -> String {
    text.replace("\r\n", " ").replace(['\n', '\r', '\t'], " ")
}

/// The text with its lines after the first moved to the right, so that none of them can pass for the beginning of
/// another entry.
pub(super) fn indented(text: &str) -> String {
    text.replace("\r\n", "\n").replace(['\n', '\r'], "\n    ")
}

/// JSON of which no text can change a terminal: what [`harmless`] shows as something else is escaped, which leaves the
/// value the same.
struct HarmlessJson;

impl Formatter for HarmlessJson {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let mut rest = text;
        while let Some((at, strange)) = rest.char_indices().find(|(_, c)| is_strange(*c)) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(strange))?;
            rest = after.get(strange.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }

    /// JSON as it was written: outside of its texts, what is strange is white space.
    fn write_raw_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        json: &str,
    ) -> io::Result<()> {
        match json.contains(|c| is_strange(c) && !c.is_ascii_whitespace()) {
            true => self.write_string_fragment(writer, &flat(json)),
            false => writer.write_all(json.as_bytes()),
        }
    }
}

/// Whether a person sees what goes wrong, and so need not be told by mail.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Mails the errors of a run that nobody watches. When the mail cannot go out they go to standard error with all their
/// detail, so that cron's own mail carries them.
pub(super) fn mail_errors(post: &mut Post<'_>, issues: &[Issue], failure: Option<&Error>) {
    if let Told::NotMailed { why, detail } = report::tell(post, issues, failure) {
        complain(&format!("these errors could not be mailed: {why}"));
        // When even this cannot be written there is nobody left to tell.
        let _ = io::stderr().write_all(harmless(&detail).as_bytes());
    }
}

/// Mails what went wrong in a command that nobody watches, if anything did and somebody is to be told.
///
/// # Errors
/// When the setting cannot be read, or as SQLite says.
pub(super) fn mail_troubles(
    store: &Store,
    (settings, clock): (&Settings, &Clock),
    issues: &[Issue],
) -> Result<()> {
    if is_watched() || issues.is_empty() || !report::is_wanted(settings)? {
        return Ok(());
    }
    let mut post = Post::new(store, clock, settings);
    mail_errors(&mut post, issues, None);
    post.close()
}

/// Whether a person can be asked.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a person; anything but yes is no.
pub(super) fn confirm(question: &str) -> bool {
    let mut answer = String::new();
    let asked =
        write!(io::stderr(), "runner: {question} [y/N] ").and_then(|()| io::stderr().flush());
    asked.is_ok()
        && io::stdin().read_line(&mut answer).is_ok()
        && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// A value that may be missing, for a table.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
