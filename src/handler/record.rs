//! What an attempt has said so far, bounded and masked, on its way to the database.

use std::collections::VecDeque;
use std::path::PathBuf;

use crate::error::Result;
use crate::handler::lines::{LONGEST, Line};
use crate::handler::mask::Mask;
use crate::handler::protocol::{self, Message};
use crate::json::Json;
use crate::model::task::{LogEntry, Progress, Severity};
use crate::store::Store;
use crate::time::Timestamp;

/// How many log entries are kept of the beginning of an attempt, and as many of its end.
pub const KEPT_ENTRIES: usize = 1000;
/// How many bytes of log are kept of the beginning of an attempt, and as many of its end.
pub const KEPT_BYTES: usize = 512 * 1024;

/// By how many bytes a message or the details of an entry may be longer than a line of a handler: a line that was cut
/// says so itself, and what the runner says of it has words of its own.
const WORDS: usize = 1024;

/// Something said that a person who watches the task wants to see at once.
#[derive(Debug)]
pub enum Event<'a> {
    /// A line was logged.
    Log(&'a LogEntry),
    /// A debug message, which is kept nowhere.
    Debug(&'a str),
    /// It is so far.
    Progress(&'a Progress),
}

/// What an attempt has said.
#[derive(Debug, Default)]
pub struct Record {
    mask: Mask,
    log: Log,
    /// How far it said it was, the last time.
    pub progress: Option<Progress>,
    progress_written: bool,
    /// What it handed back.
    pub result: Option<Json>,
    /// The file that it handed back.
    pub output: Option<PathBuf>,
    /// The last error that it logged.
    pub last_error: Option<String>,
    /// The last line on its standard error.
    pub last_words: Option<String>,
}

impl Record {
    /// An empty record of an attempt that must not show what `mask` hides.
    pub fn new(mask: Mask) -> Self {
        Self {
            mask,
            ..Self::default()
        }
    }

    /// A text that is about the attempt, without what may not be shown.
    pub fn hide(&self, text: String) -> String {
        self.mask.text(text)
    }

    /// Takes a line of the handler's standard output, and shows it to who watches.
    pub fn hear_stdout(&mut self, line: Line, at: Timestamp, show: &mut dyn FnMut(Event<'_>)) {
        let line = self.mask.whole(line);
        self.hear(protocol::read(&line).1, at, show);
    }

    /// Takes a line of the handler's standard error, and shows it to who watches.
    pub fn hear_stderr(&mut self, line: Line, at: Timestamp, show: &mut dyn FnMut(Event<'_>)) {
        let line = self.mask.text(self.mask.whole(line));
        if !line.trim().is_empty() {
            self.last_words = Some(line.clone());
        }
        self.add(entry(at, Severity::Warning, line), show);
    }

    /// Takes what the handler said, and shows it to who watches.
    pub fn hear(&mut self, message: Message, at: Timestamp, show: &mut dyn FnMut(Event<'_>)) {
        match message {
            Message::Log {
                level,
                message,
                details,
            } => {
                let details = details.map(|details| self.mask.json(details));
                let message = self.mask.text(message);
                self.add(
                    LogEntry {
                        details,
                        ..entry(at, level, message)
                    },
                    show,
                );
            }
            Message::Progress(progress) => {
                let label = progress.label.map(|label| self.mask.text(label));
                let progress = Progress { label, ..progress };
                show(Event::Progress(&progress));
                self.progress_written =
                    self.progress.as_ref() == Some(&progress) && self.progress_written;
                self.progress = Some(progress);
            }
            Message::Debug(message) => show(Event::Debug(&self.mask.text(message))),
            Message::Result(value) => self.result = Some(self.mask.json(value)),
            Message::File(path) => self.output = Some(path),
            Message::Done { .. } => {}
        }
    }

    /// Logs what the runner itself has to say of the attempt.
    pub fn say(
        &mut self,
        level: Severity,
        message: String,
        at: Timestamp,
        show: &mut dyn FnMut(Event<'_>),
    ) {
        let message = self.mask.text(message);
        self.add(entry(at, level, message), show);
    }

    /// Nothing that may not be shown is in the entry any more, and so none of it is in what is left of a long one.
    fn add(&mut self, entry: LogEntry, show: &mut dyn FnMut(Event<'_>)) {
        let entry = LogEntry {
            message: bounded(entry.message),
            details: entry.details.map(bounded_json),
            ..entry
        };
        show(Event::Log(&entry));
        if entry.level == Severity::Error {
            self.last_error = Some(entry.message.clone());
        }
        self.log.add(entry);
    }

    /// Whether something was said that is not in the database yet.
    pub fn is_unwritten(&self) -> bool {
        self.log.is_unwritten() || (self.progress.is_some() && !self.progress_written)
    }

    /// Writes what is not written yet. It counts as written once [`Record::mark_written`] is told that it was committed,
    /// and what this has answered: the number of the line that the attempt's lines follow, if any were written.
    ///
    /// # Errors
    /// SQLite's.
    pub fn write_log(&self, store: &Store, task: (i64, u32)) -> Result<Option<i64>> {
        match self.log.is_unwritten() {
            true => self.log.write(store, task).map(Some),
            false => Ok(None),
        }
    }

    /// The progress, unless it is written already.
    pub fn unwritten_progress(&self) -> Option<&Progress> {
        self.progress.as_ref().filter(|_| !self.progress_written)
    }

    /// What was written is committed; `base` is what [`Record::write_log`] has answered.
    pub fn mark_written(&mut self, base: Option<i64>) {
        self.progress_written = true;
        if let Some(base) = base {
            self.log.mark_written(base);
        }
    }
}

/// The text, no longer than a line of a handler may be, but for some words.
fn bounded(mut text: String) -> String {
    if text.len() > LONGEST + WORDS {
        let whole = text.len();
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push_str(&format!(" … [{} bytes cut]", whole - text.len()));
    }
    text
}

/// JSON that is too long is not JSON any more when it is cut: what is left of it is a text.
fn bounded_json(json: Json) -> Json {
    match json.text().len() > LONGEST + WORDS {
        true => Json::from(&serde_json::Value::from(bounded(json.text().to_owned()))),
        false => json,
    }
}

fn entry(at: Timestamp, level: Severity, message: String) -> LogEntry {
    LogEntry {
        at,
        level,
        message,
        details: None,
    }
}

/// A log of which the head and the tail are kept, and in the middle a line that says what was cut.
#[derive(Debug, Default)]
struct Log {
    /// The number in the database that this attempt's lines follow; unknown until the first are written.
    base: Option<i64>,
    last: i64,
    head: Span,
    tail: Span,
    cut_entries: u64,
    cut_bytes: u64,
    /// The number of the line that says what was cut.
    gap: Option<i64>,
    gap_written: bool,
}

#[derive(Debug, Default)]
struct Span {
    /// Those that may still be dropped or are not written yet.
    entries: VecDeque<Numbered>,
    count: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Numbered {
    seq: i64,
    bytes: usize,
    /// `None` once it is written.
    entry: Option<LogEntry>,
}

impl Log {
    fn add(&mut self, entry: LogEntry) {
        let bytes = entry.message.len()
            + entry
                .details
                .as_ref()
                .map_or(0, |details| details.text().len());
        let to_head = self.tail.count == 0 && self.gap.is_none() && self.head.has_room(bytes);
        if !to_head && self.gap.is_none() {
            self.last += 1;
            self.gap = Some(self.last);
        }
        self.last += 1;
        let span = if to_head {
            &mut self.head
        } else {
            &mut self.tail
        };
        span.push(Numbered {
            seq: self.last,
            bytes,
            entry: Some(entry),
        });
        while !self.tail.has_room(0) {
            let Some(dropped) = self.tail.pop() else {
                break;
            };
            self.cut_entries += 1;
            self.cut_bytes += dropped.bytes as u64;
            self.gap_written = false;
        }
    }

    fn is_unwritten(&self) -> bool {
        (self.cut_entries > 0 && !self.gap_written)
            || self
                .tail
                .entries
                .back()
                .is_some_and(|line| line.entry.is_some())
            || self
                .head
                .entries
                .back()
                .is_some_and(|line| line.entry.is_some())
    }

    /// Writes what is not written yet; the number in the database that its lines follow.
    fn write(&self, store: &Store, task: (i64, u32)) -> Result<i64> {
        let base = match self.base {
            Some(base) => base,
            None => store.last_log_seq(task.0)?,
        };
        if let (Some(gap), Some(first), true) =
            (self.gap, self.tail.entries.front(), self.cut_entries > 0)
        {
            store.drop_logs(task.0, base + gap + 1, base + first.seq - 1)?;
            let at = first
                .entry
                .as_ref()
                .map_or_else(|| self.newest(), |entry| Some(entry.at));
            if let Some(at) = at {
                let message = format!(
                    "[{} log entries ({} bytes) were cut here: the first and the last are kept]",
                    self.cut_entries, self.cut_bytes
                );
                store.put_log(task, base + gap, &entry(at, Severity::Warning, message))?;
            }
        }
        for line in self.head.entries.iter().chain(&self.tail.entries) {
            if let Some(entry) = &line.entry {
                store.put_log(task, base + line.seq, entry)?;
            }
        }
        Ok(base)
    }

    fn newest(&self) -> Option<Timestamp> {
        self.tail
            .entries
            .back()?
            .entry
            .as_ref()
            .map(|entry| entry.at)
    }

    fn mark_written(&mut self, base: i64) {
        self.base = Some(base);
        self.head.entries.clear();
        for line in &mut self.tail.entries {
            line.entry = None;
        }
        self.gap_written = true;
    }
}

impl Span {
    fn has_room(&self, bytes: usize) -> bool {
        self.count + usize::from(bytes > 0) <= KEPT_ENTRIES && self.bytes + bytes <= KEPT_BYTES
    }

    fn push(&mut self, line: Numbered) {
        self.count += 1;
        self.bytes += line.bytes;
        self.entries.push_back(line);
    }

    fn pop(&mut self) -> Option<Numbered> {
        let line = self.entries.pop_front()?;
        self.count -= 1;
        self.bytes -= line.bytes;
        Some(line)
    }
}
