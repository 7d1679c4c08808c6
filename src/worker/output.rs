//! The output of an attempt so far: bounded, and shown at once to whoever watches.
//!
//! The thread that reads a handler's output, or runs a function, puts it here; the worker takes what is not in the
//! database yet whenever it commits. Of a log the head and the tail are kept, so that this stays small while the database
//! takes nothing, however much the handler prints.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mask::MAX_PATTERN;
use crate::clock::Clock;
use crate::json::Json;
use crate::model::message::HandlerMessage;
use crate::model::task::{LogEntry, Progress, Severity};
use crate::store::task_log::{Cut, LogBatch};

/// How many bytes of a line are kept; a handler may print one that has no end.
pub(super) const LINE_LIMIT: usize = 64 * 1024;
/// By how much a text may be longer: a line that was cut says so, and the runner has words of its own.
const SLACK: usize = 1024;
/// How many log entries are kept of the beginning of an attempt, and as many of its end.
const MAX_ENTRIES: usize = 1000;
/// How many bytes of log are kept of the beginning of an attempt, and as many of its end.
const MAX_BYTES: usize = 512 * 1024;

/// Something that a person who watches a task wants to see at once.
pub(crate) enum LiveEvent<'a> {
    Log(&'a LogEntry),
    /// A debug message, which is kept nowhere.
    Debug(&'a str),
    Progress(&'a Progress),
}

/// Shows output at once, on the thread that reads it.
pub(crate) type Watch = Arc<dyn Fn(LiveEvent<'_>) + Send + Sync>;

/// The output of an attempt, shared by the thread that reads it and the worker that stores it.
#[derive(Clone)]
pub(super) struct SharedOutput(Arc<Mutex<TaskOutput>>);

impl SharedOutput {
    /// The output of an attempt whose first log entry gets the number after `last_log`.
    pub(super) fn new(last_log: i64, clock: Clock) -> Self {
        Self(Arc::new(Mutex::new(TaskOutput {
            clock,
            watch: None,
            log: Log {
                base: last_log,
                written: last_log,
                ..Log::default()
            },
            progress: None,
            is_progress_written: true,
            result: None,
            file: None,
            last_error: None,
            stderr_tail: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TaskOutput> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The output of an attempt. Nothing hidden is in it: what is added is masked before.
pub(super) struct TaskOutput {
    clock: Clock,
    pub(super) watch: Option<Watch>,
    log: Log,
    progress: Option<Progress>,
    is_progress_written: bool,
    pub(super) result: Option<Json>,
    /// The file that it handed back.
    pub(super) file: Option<PathBuf>,
    /// The last error that it logged.
    pub(super) last_error: Option<String>,
    /// The last line on its standard error.
    pub(super) stderr_tail: Option<String>,
}

/// What is to be written of an attempt.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    pub(super) log: LogBatch,
    pub(super) progress: Option<Progress>,
}

impl Unwritten {
    pub(super) fn is_empty(&self) -> bool {
        self.progress.is_none() && self.log.entries.is_empty() && self.log.cut.is_none()
    }
}

impl TaskOutput {
    /// Takes a message of the handler's.
    pub(super) fn add(&mut self, message: HandlerMessage) {
        match message {
            HandlerMessage::Log {
                level,
                message,
                details,
            } => self.log(level, message, details),
            HandlerMessage::Progress(progress) => {
                self.show(LiveEvent::Progress(&progress));
                self.is_progress_written &= self.progress.as_ref() == Some(&progress);
                self.progress = Some(progress);
            }
            HandlerMessage::Debug(text) => self.show(LiveEvent::Debug(&text)),
            HandlerMessage::Result(value) => self.result = Some(value),
            HandlerMessage::File(path) => self.file = Some(path),
            HandlerMessage::Done { .. } => {}
        }
    }

    /// Takes a line of the handler's standard error.
    pub(super) fn add_stderr(&mut self, line: String) {
        if !line.trim().is_empty() {
            self.stderr_tail = Some(line.clone());
        }
        self.log(Severity::Warning, line, None);
    }

    /// Adds an entry to the log.
    pub(super) fn log(&mut self, level: Severity, message: String, details: Option<Json>) {
        let entry = LogEntry {
            at: self.clock.now(),
            level,
            message: bounded(message),
            details: details.map(bounded_json),
        };
        self.show(LiveEvent::Log(&entry));
        if level == Severity::Error {
            self.last_error = Some(entry.message.clone());
        }
        self.log.add(entry);
    }

    fn show(&self, event: LiveEvent<'_>) {
        if let Some(watch) = &self.watch {
            watch(event);
        }
    }

    /// The last line on standard error, as the end of a sentence.
    pub(super) fn stderr_suffix(&self) -> String {
        let tail = self.stderr_tail.as_ref().map(|line| format!(": {line}"));
        tail.unwrap_or_default()
    }

    pub(super) fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    pub(super) fn is_unwritten(&self) -> bool {
        !self.is_progress_written || self.log.last() > self.log.written
    }

    /// What is not in the database yet.
    pub(super) fn unwritten(&self) -> Unwritten {
        let progress = self.progress.clone();
        Unwritten {
            log: self.log.unwritten(),
            progress: progress.filter(|_| !self.is_progress_written),
        }
    }

    /// This is in the database now.
    pub(super) fn mark_written(&mut self, written: &Unwritten) {
        self.log.mark_written(&written.log);
        self.is_progress_written |= self.progress == written.progress;
    }
}

/// The text, cut when it is much longer than a line may be.
fn bounded(mut text: String) -> String {
    if text.len() > LINE_LIMIT + SLACK {
        let whole = text.len();
        text.truncate(char_boundary(&text, LINE_LIMIT));
        text.push_str(&format!(" … [{} bytes cut]", whole - text.len()));
    }
    text
}

/// JSON that is cut is no JSON any more: what is left of it is a string.
fn bounded_json(json: Json) -> Json {
    if json.text().len() <= LINE_LIMIT + SLACK {
        return json;
    }
    Json::from(&bounded(json.text().to_owned()).into())
}

/// The last place at or before `at` that is not within a character.
pub(super) fn char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A log of which head and tail are kept, and between them an entry that says what was cut.
#[derive(Default)]
struct Log {
    /// The number of the last entry before this log's first.
    base: i64,
    head: Vec<LogEntry>,
    head_bytes: usize,
    tail: VecDeque<LogEntry>,
    tail_bytes: usize,
    cut_entries: i64,
    cut_bytes: usize,
    /// The number of the last entry that is in the database, and how many of those that were cut it knows of.
    written: i64,
    cut_written: i64,
}

impl Log {
    fn add(&mut self, entry: LogEntry) {
        let bytes = size(&entry);
        let has_room = self.head.len() < MAX_ENTRIES && self.head_bytes + bytes <= MAX_BYTES;
        if has_room && self.tail.is_empty() {
            self.head_bytes += bytes;
            self.head.push(entry);
            return;
        }
        self.tail_bytes += bytes;
        self.tail.push_back(entry);
        while self.tail.len() > MAX_ENTRIES || self.tail_bytes > MAX_BYTES {
            let dropped = self
                .tail
                .pop_front()
                .expect("no entry is larger than a tail");
            self.tail_bytes -= size(&dropped);
            self.cut_entries += 1;
            self.cut_bytes += size(&dropped);
        }
    }

    /// The number of the entry between head and tail.
    fn gap(&self) -> i64 {
        self.base + self.head.len() as i64 + 1
    }

    fn last(&self) -> i64 {
        match self.tail.len() {
            0 => self.gap() - 1,
            kept => self.gap() + self.cut_entries + kept as i64,
        }
    }

    fn unwritten(&self) -> LogBatch {
        let first_kept = self.gap() + self.cut_entries + 1;
        let head = (self.base + 1..).zip(&self.head);
        let numbered = head.chain((first_kept..).zip(&self.tail));
        let new = numbered.filter(|(seq, _)| *seq > self.written);
        let cut = self
            .tail
            .front()
            .filter(|_| self.cut_entries > self.cut_written);
        LogBatch {
            entries: new.map(|(seq, entry)| (seq, entry.clone())).collect(),
            cut: cut.map(|first| Cut {
                seq: self.gap(),
                first_kept,
                at: first.at,
                entries: self.cut_entries,
                bytes: self.cut_bytes,
            }),
        }
    }

    fn mark_written(&mut self, batch: &LogBatch) {
        let last = batch.entries.last().map_or(0, |(seq, _)| *seq);
        self.written = self.written.max(last);
        let cut = batch.cut.as_ref().map_or(0, |cut| cut.entries);
        self.cut_written = self.cut_written.max(cut);
    }
}

fn size(entry: &LogEntry) -> usize {
    let details = entry.details.as_ref();
    entry.message.len() + details.map_or(0, |details| details.text().len())
}

/// A line of a stream, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its first bytes: of a line that is too long some more than are shown, so that a hidden value at the cut is found.
    pub(super) bytes: Vec<u8>,
    /// How many more there were.
    pub(super) dropped: usize,
}

impl Line {
    /// Its text; bytes that are none are U+FFFD.
    pub(super) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.bytes.len() > LINE_LIMIT
    }
}

/// Cuts a stream of bytes into lines as they come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    dropped: usize,
}

impl Lines {
    /// Takes what was read, and hands over each line that is complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.extend(&bytes[..end]);
            each(self.take());
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    /// The last line, if the stream ended in the middle of one.
    pub(super) fn end(&mut self) -> Option<Line> {
        (!self.begun.is_empty()).then(|| self.take())
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = (LINE_LIMIT + MAX_PATTERN).saturating_sub(self.begun.len());
        let (kept, dropped) = bytes.split_at(room.min(bytes.len()));
        self.begun.extend_from_slice(kept);
        self.dropped += dropped.len();
    }

    fn take(&mut self) -> Line {
        let mut bytes = std::mem::take(&mut self.begun);
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
        Line {
            bytes,
            dropped: std::mem::take(&mut self.dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Line> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| found.push(line));
        }
        found.extend(lines.end());
        found
    }

    #[test]
    fn a_line_may_come_in_pieces_and_the_last_one_needs_no_end() {
        let found = lines(&[b"on", b"e\ntwo\r\n\nfo", b"ur"]);
        let texts: Vec<_> = found.iter().map(|line| line.bytes.as_slice()).collect();
        assert_eq!(texts, [&b"one"[..], b"two", b"", b"four"]);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let found = lines(&[&vec![b'x'; LINE_LIMIT + MAX_PATTERN + 10], b"yy\nnext\n"]);
        assert!(found[0].is_too_long());
        assert_eq!(
            found[0].bytes.len() + found[0].dropped,
            LINE_LIMIT + MAX_PATTERN + 12
        );
        assert_eq!(
            (found[1].bytes.as_slice(), found[1].dropped),
            (&b"next"[..], 0)
        );
    }

    /// A log of which some entries are written in between.
    fn stored(entries: usize, written_after: &[usize]) -> Vec<(i64, String)> {
        let output = SharedOutput::new(10, Clock::system());
        let mut output = output.lock();
        let mut stored = std::collections::BTreeMap::new();
        for n in 1..=entries {
            output.log(Severity::Info, format!("entry {n}"), None);
            if written_after.contains(&n) || n == entries {
                let unwritten = output.unwritten();
                if let Some(cut) = &unwritten.log.cut {
                    stored.retain(|seq, _| *seq < cut.seq || *seq >= cut.first_kept);
                    stored.insert(cut.seq, format!("{} cut", cut.entries));
                }
                stored.extend(
                    unwritten
                        .log
                        .entries
                        .iter()
                        .map(|(seq, entry)| (*seq, entry.message.clone())),
                );
                output.mark_written(&unwritten);
                assert!(output.unwritten().is_empty());
            }
        }
        stored.into_iter().collect()
    }

    #[test]
    fn head_and_tail_are_the_same_however_often_they_are_written() {
        let once = stored(5000, &[]);
        assert_eq!(once.len(), 2 * MAX_ENTRIES + 1);
        assert_eq!(once[0], (11, "entry 1".to_owned()));
        assert_eq!(once[MAX_ENTRIES].1, "3000 cut");
        assert_eq!(
            once.last().map(|(_, entry)| entry.as_str()),
            Some("entry 5000")
        );
        assert_eq!(stored(5000, &[1, 500, 1000, 1001, 2500, 4999]), once);
    }
}
