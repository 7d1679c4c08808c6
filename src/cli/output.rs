//! Standard output and standard error. What comes from a database reaches a terminal as text only, never as something
//! that moves its cursor.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use super::Session;
use crate::error::{Error, Result, one_line};
use crate::mail::alerts::{self, Alert};
use crate::mail::outbox::Outbox;
use crate::model::issue::Issue;
use crate::time::Zone;

/// Where a command prints: JSON or text for people.
pub(super) struct Output {
    /// Whether JSON was asked for.
    pub(super) json: bool,
    stdout: RefCell<BufWriter<Stdout>>,
    has_printed: Cell<bool>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            stdout: RefCell::new(BufWriter::new(io::stdout())),
            has_printed: Cell::new(false),
        }
    }

    /// Prints one JSON value.
    pub(super) fn json(&self, value: &(impl Serialize + ?Sized)) -> Result<()> {
        let json = serde_json::to_string(value).map_err(io::Error::from);
        self.text(&(escaped(&printed(json)?) + "\n"))
    }

    /// Prints one JSON value, or whatever people are shown.
    pub(super) fn show(
        &self,
        value: &(impl Serialize + ?Sized),
        print: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.json { self.json(value) } else { print() }
    }

    /// Prints a line, whatever is in it.
    pub(super) fn line(&self, line: impl Display) -> Result<()> {
        self.lines(flat(&line.to_string()))
    }

    /// Prints a text of one or more lines.
    pub(super) fn lines(&self, text: impl Display) -> Result<()> {
        self.text(&(harmless(&text.to_string()) + "\n"))
    }

    /// Prints a text as it is.
    pub(super) fn text(&self, text: &str) -> Result<()> {
        self.copy(&mut text.as_bytes())
    }

    /// Prints bytes as they are, such as a file's.
    pub(super) fn copy(&self, content: &mut impl io::Read) -> Result<()> {
        self.has_printed.set(true);
        printed(io::copy(content, &mut *self.stdout.borrow_mut())).map(drop)
    }

    /// Prints a list: as JSON, or as a table for people.
    pub(super) fn list<T: Serialize, const N: usize>(
        &self,
        items: &[T],
        headings: [&str; N],
        row: impl Fn(&T) -> [String; N],
    ) -> Result<()> {
        self.show(items, || self.table(headings, items.iter().map(row)))
    }

    /// Prints rows under their headings, in the width of the terminal; nothing when there are none.
    pub(super) fn table<const N: usize>(
        &self,
        headings: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<()> {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(headings)
            .add_rows(
                rows.into_iter()
                    .map(|row| row.map(|cell| harmless(&flat(&cell)))),
            );
        if table.is_empty() {
            return Ok(());
        }
        // A terminal that does not know its size.
        if table.width() == Some(0) {
            table.set_width(80);
        }
        self.text(&(table.trim_fmt() + "\n"))
    }

    /// Prints the fields of an object, a line each, but for these and for empty ones. Times are shown in the zone.
    pub(super) fn fields(
        &self,
        object: &impl Serialize,
        without: &[&str],
        zone: &Zone,
    ) -> Result<()> {
        let object = printed(serde_json::to_value(object).map_err(io::Error::from))?;
        let fields = object.as_object().into_iter().flatten();
        for (name, value) in fields.filter(|(name, _)| !without.contains(&name.as_str())) {
            let text = match value {
                Value::Null => continue,
                Value::String(time) if name.ends_with("_at") => zone
                    .parse_time(time)
                    .map_or(time.clone(), |time| zone.show(time)),
                value => plain(value),
            };
            match value {
                Value::Object(nested) if !nested.is_empty() => {
                    self.line(name)?;
                    let mut nested = nested.iter();
                    nested.try_for_each(|(name, value)| {
                        self.line(format!("  {name:<12} {}", plain(value)))
                    })?;
                }
                _ if text.is_empty() => {}
                _ => self.line(format!("{name:<14} {text}"))?,
            }
        }
        Ok(())
    }

    /// Whether a person reads what is printed.
    pub(super) fn is_terminal(&self) -> bool {
        self.stdout.borrow().get_ref().is_terminal()
    }

    /// With `--json`, the one value of a command that has printed nothing, so that every answer can be read in one way.
    pub(super) fn done(&self) -> Result<()> {
        if self.json && !self.has_printed.get() {
            return self.json(&serde_json::json!({}));
        }
        Ok(())
    }

    /// Writes what is still in the buffer: a full disk at the last moment is an error too.
    pub(super) fn flush(&self) -> Result<()> {
        printed(self.stdout.borrow_mut().flush())
    }
}

const STDOUT: &str = "standard output";

fn printed<T>(result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error::Io {
        thing: STDOUT.to_owned(),
        source,
    })
}

/// Whether the reader of our output went away.
pub(super) fn is_broken_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { thing, source } if thing == STDOUT && source.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints a line on standard error.
pub(super) fn complain(message: &impl Display) {
    // An error that cannot be printed has nowhere else to go.
    let line = harmless(&one_line(&message.to_string()));
    let _ = writeln!(io::stderr(), "runner: {line}");
}

/// Prints a line on standard error for each thing that went wrong.
pub(super) fn complain_of(issues: &[Issue]) {
    let sentences = issues.iter().map(|issue| &issue.message);
    sentences.for_each(complain);
}

/// The text with what could move a terminal's cursor, or change the direction of writing, spelt out.
pub(super) fn harmless(text: &str) -> String {
    let strange = |c| is_strange(c) && c != '\n' && c != '\t';
    spell(text, strange, |c| c.escape_unicode().to_string())
}

/// The same for JSON, where `\u` changes no value; below U+007F JSON itself has nothing but white space.
fn escaped(json: &str) -> String {
    let strange = |c| is_strange(c) && c >= '\u{7f}';
    spell(json, strange, |c| format!("\\u{:04x}", u32::from(c)))
}

fn spell(text: &str, strange: impl Fn(char) -> bool, spelt: impl Fn(char) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if strange(c) {
            shown += &spelt(c);
        } else {
            shown.push(c);
        }
    }
    shown
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

/// A value as people read it: texts bare, and a list of them with commas in between.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

/// A value that may be missing, for a table.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `1 task failed`, `2 tasks failed` and so on; none when there is none.
pub(super) fn counted(count: impl Into<i128>, noun: &str, what: &str) -> Option<String> {
    match count.into() {
        0 => None,
        1 => Some(format!("1 {noun} {what}")),
        count => Some(format!("{count} {noun}s {what}")),
    }
}

/// Asks on a terminal, where anything but yes is no. Without a terminal the answer is yes.
pub(super) fn confirm(question: &str) -> bool {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return true;
    }
    let mut answer = String::new();
    // A question that cannot be shown is not answered.
    let _ = write!(io::stderr(), "runner: {} [y/N] ", harmless(question));
    let read = io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Asks on a terminal, as [`confirm`] does. Without a terminal there is no answer, and `--yes` is needed.
pub(super) fn confirm_or_yes(option: &str, question: &str) -> Result<bool> {
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        return Ok(confirm(question));
    }
    Err(Error::usage(
        option,
        format!("{question} --yes says so where nobody can be asked"),
    ))
}

/// A bar that shows on standard error how far something is, where that is a terminal.
pub(super) fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("it is a template");
    ProgressBar::no_length().with_style(style.progress_chars("# "))
}

/// Whether a person sees the errors, so that they need not be mailed.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// When the mail with the errors of a run could not go out, they go to standard error with all their detail, so that
/// cron's own mail carries them.
pub(super) fn complain_of_alert(alert: &Alert) {
    if let Alert::Failed { why, detail } = alert {
        complain(&format!("these errors could not be mailed: {why}"));
        let _ = io::stderr().write_all(harmless(detail).as_bytes());
    }
}

/// Mails the errors of a command that does not run on a terminal, if there are any and the settings name a recipient.
pub(super) fn mail_issues(session: &Session<'_>, issues: &[Issue]) -> Result<()> {
    if is_watched() || issues.is_empty() || !alerts::is_wanted(&session.settings)? {
        return Ok(());
    }
    let mut outbox = Outbox::new(&session.store, &session.clock, &session.settings);
    complain_of_alert(&alerts::send(&mut outbox, issues));
    outbox.close()
}
