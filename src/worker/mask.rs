//! Masking: hidden values never show in what a handler prints.
//!
//! Each value is looked for as it is, line by line, and as JSON writes it, in the ways that common encoders have.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde_json::Value;

use super::output::{LINE_LIMIT, Line, char_boundary};
use crate::json::Json;
use crate::model::message::HandlerMessage;
use crate::model::task::Progress;

/// Shorter values, such as `true` or `12`, would mask half of what a handler prints and protect nothing.
const MIN_CHARS: usize = 4;
/// A longer value is recognized by its beginning, and masked to the end of the line.
pub(super) const MAX_PATTERN: usize = 1024;
/// How deep JSON may stand in strings of JSON for its values to be found.
const MAX_NESTING: usize = 3;
/// How many tasks that it is done with a resident handler's mask remembers.
const REMEMBERED_TASKS: usize = 1000;
/// How many tasks are added to a mask before the patterns of all are put together anew.
const NEW_TASKS: usize = 32;

/// Finds the hidden values of a task, or of several, and replaces them by `***`.
#[derive(Debug, Clone, Default)]
pub(super) struct Mask(Vec<Arc<Patterns>>);

#[derive(Debug)]
struct Patterns {
    automaton: AhoCorasick,
    /// For each pattern: whether it is only the beginning of a value.
    is_beginning: Vec<bool>,
}

impl Mask {
    /// The mask for the hidden params of one task: each string and number in them, however deep.
    pub(super) fn new(hidden: Option<&Json>) -> Self {
        let values = hidden.map(values_of).unwrap_or_default();
        Self(Patterns::new(&values).map(Arc::new).into_iter().collect())
    }

    /// The text with `***` in the place of hidden values.
    pub(super) fn text(&self, text: String) -> String {
        match self.places(&text).as_slice() {
            [] => text,
            places => with_stars(&text, places),
        }
    }

    /// A line as text, masked and then cut: no half of a value is left at its end.
    pub(super) fn line(&self, line: &Line) -> String {
        let text = line.text();
        let mut places = self.places(&text);
        if !line.is_too_long() {
            return with_stars(&text, &places);
        }
        let end = char_boundary(&text, LINE_LIMIT);
        let across = places.iter().find(|place| place.contains(&end));
        let end = across.map_or(end, |place| place.start);
        places.retain(|place| place.end <= end);
        let cut = text.len() - end + line.dropped;
        let shown = with_stars(&text[..end], &places);
        format!("{shown} … [{cut} bytes cut]")
    }

    /// A message with all of its texts masked.
    pub(super) fn message(&self, message: HandlerMessage) -> HandlerMessage {
        if self.0.is_empty() {
            return message;
        }
        match message {
            HandlerMessage::Log {
                level,
                message,
                details,
            } => HandlerMessage::Log {
                level,
                message: self.text(message),
                details: details.map(|details| self.json(details)),
            },
            HandlerMessage::Progress(progress) => HandlerMessage::Progress(Progress {
                label: progress.label.map(|label| self.text(label)),
                ..progress
            }),
            HandlerMessage::Debug(text) => HandlerMessage::Debug(self.text(text)),
            HandlerMessage::Result(value) => HandlerMessage::Result(self.json(value)),
            // A path is needed as it is; the file's name is masked when it is stored.
            message @ (HandlerMessage::File(_) | HandlerMessage::Done { .. }) => message,
        }
    }

    /// JSON with its strings, names and numbers masked. The rest stays as it was written.
    fn json(&self, json: Json) -> Json {
        let text = json.text();
        let (mut masked, mut copied) = (String::with_capacity(text.len()), 0);
        for literal in literals(text) {
            let plain = literal.plain();
            let shown = match literal.kind {
                // One digit more makes it another number.
                Kind::Number if !self.is_value(&plain) => continue,
                Kind::Number => "***".to_owned(),
                Kind::Name | Kind::String => self.text(plain.clone()),
            };
            if shown != plain {
                masked.push_str(&text[copied..literal.place.start]);
                masked.push_str(&Value::from(shown).to_string());
                copied = literal.place.end;
            }
        }
        masked.push_str(&text[copied..]);
        // A value that is JSON itself may stand there as such.
        let is_structure = |place: &Range<usize>| masked[place.clone()].contains(['"', '[', '{']);
        if self.places(&masked).iter().any(is_structure) {
            return Json::from(&Value::from("***"));
        }
        Json::parse(&masked).unwrap_or(json)
    }

    fn is_value(&self, text: &str) -> bool {
        self.places(text).first() == Some(&(0..text.len()))
    }

    /// Where hidden values stand, in order; those that overlap are one.
    fn places(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for patterns in &self.0 {
            found.extend(patterns.places(text));
        }
        found.sort_unstable_by_key(|place: &Range<usize>| place.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for place in found {
            match merged.last_mut() {
                Some(last) if place.start < last.end => last.end = last.end.max(place.end),
                _ => merged.push(place),
            }
        }
        merged
    }
}

impl Patterns {
    /// `None` when there is nothing to look for.
    fn new(values: &BTreeSet<String>) -> Option<Self> {
        let mut written: BTreeSet<(String, bool)> = BTreeSet::new();
        for value in values {
            for mut form in forms(value) {
                let is_beginning = form.len() > MAX_PATTERN;
                form.truncate(char_boundary(&form, MAX_PATTERN));
                written.insert((form, is_beginning));
            }
        }
        if written.is_empty() {
            return None;
        }
        // Of the kinds of automata the one whose size follows that of the patterns.
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(written.iter().map(|(form, _)| form))
            .expect("so many bytes of params do not fit into a row");
        let is_beginning = written.iter().map(|(_, is_beginning)| *is_beginning);
        Some(Self {
            automaton,
            is_beginning: is_beginning.collect(),
        })
    }

    fn places(&self, text: &str) -> impl Iterator<Item = Range<usize>> {
        self.automaton.find_overlapping_iter(text).map(|found| {
            if self.is_beginning[found.pattern()] {
                found.start()..text.len()
            } else {
                found.range()
            }
        })
    }
}

/// The mask of a resident handler: it hides the values of all tasks that the process holds, since it may mention them in
/// a line about any other, and of the last that it is done with.
#[derive(Debug, Default)]
pub(super) struct ResidentMask {
    held: HashMap<i64, BTreeSet<String>>,
    done: VecDeque<BTreeSet<String>>,
    /// Patterns of the tasks that were added last; those of all others are in `mask`'s other part.
    newest: Vec<BTreeSet<String>>,
    older: Option<Arc<Patterns>>,
    mask: Mask,
}

impl ResidentMask {
    /// Hides the values of a task that the process is about to be given.
    pub(super) fn add(&mut self, task: i64, hidden: Option<&Json>) {
        let values = hidden.map(values_of).unwrap_or_default();
        if values.is_empty() {
            return;
        }
        if !self.newest.contains(&values) {
            self.newest.push(values.clone());
        }
        self.held.insert(task, values);
        if self.newest.len() > NEW_TASKS {
            self.newest.clear();
            let all = self.held.values().chain(&self.done).flatten();
            self.older = Patterns::new(&all.cloned().collect()).map(Arc::new);
        }
        let newest = self.newest.iter().flatten().cloned().collect();
        let newest = Patterns::new(&newest).map(Arc::new);
        self.mask = Mask(self.older.iter().cloned().chain(newest).collect());
    }

    /// The process is done with a task, and may mention it for some time yet.
    pub(super) fn remove(&mut self, task: i64) {
        self.done.extend(self.held.remove(&task));
        if self.done.len() > REMEMBERED_TASKS {
            self.done.pop_front();
        }
    }

    /// What masks all of them.
    pub(super) fn mask(&self) -> &Mask {
        &self.mask
    }
}

fn with_stars(text: &str, places: &[Range<usize>]) -> String {
    let (mut shown, mut copied) = (String::with_capacity(text.len()), 0);
    for place in places {
        shown.push_str(&text[copied..place.start]);
        shown.push_str("***");
        copied = place.end;
    }
    shown.push_str(&text[copied..]);
    shown
}

/// The hidden values in a JSON text.
fn values_of(hidden: &Json) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    collect(hidden.text(), MAX_NESTING, &mut values);
    // Blanks alone hide nothing, and would mask every indentation.
    values.retain(|value| value.chars().nth(MIN_CHARS - 1).is_some() && !value.trim().is_empty());
    values
}

fn collect(json: &str, nesting: usize, values: &mut BTreeSet<String>) {
    for literal in literals(json).filter(|literal| literal.kind != Kind::Name) {
        let plain = literal.plain();
        values.extend(plain.split(['\n', '\r']).map(|line| line.trim().to_owned()));
        if nesting > 0 && plain.trim_start().starts_with(['{', '[']) {
            collect(&plain, nesting - 1, values);
        }
        // A handler may print its input as it is.
        values.insert(literal.text.to_owned());
        values.insert(plain);
    }
}

/// How a value may be written: as it is, and as a JSON string, once and twice.
fn forms(value: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::from([value.to_owned()]);
    for style in STYLES {
        let once = style.escape(value);
        forms.insert(style.escape(&once));
        forms.insert(once);
    }
    forms
}

/// A way to write JSON strings.
struct Style {
    /// How characters beyond ASCII are written.
    wide: Wide,
    /// PHP writes `\/`.
    escapes_slash: bool,
    /// Go and Rails write `\u003c`, `\u003e` and `\u0026`.
    escapes_html: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Wide {
    AsIs,
    /// `\u00e9`, as Python and PHP do.
    Lower,
    /// `\u00E9`
    Upper,
}

const STYLES: [Style; 7] = [
    Style::new(Wide::AsIs, false),
    Style::new(Wide::AsIs, true),
    Style::new(Wide::Lower, false),
    Style::new(Wide::Lower, true),
    Style::new(Wide::Upper, false),
    Style::new(Wide::Upper, true),
    Style {
        escapes_html: true,
        ..Style::new(Wide::AsIs, false)
    },
];

impl Style {
    const fn new(wide: Wide, escapes_slash: bool) -> Self {
        Self {
            wide,
            escapes_slash,
            escapes_html: false,
        }
    }

    fn escape(&self, text: &str) -> String {
        let mut escaped = String::with_capacity(text.len());
        for letter in text.chars() {
            match letter {
                '"' => escaped.push_str("\\\""),
                '\\' => escaped.push_str("\\\\"),
                '/' if self.escapes_slash => escaped.push_str("\\/"),
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                '\u{8}' => escaped.push_str("\\b"),
                '\u{c}' => escaped.push_str("\\f"),
                '<' | '>' | '&' if self.escapes_html => {
                    let _ = write!(escaped, "\\u{:04x}", u32::from(letter));
                }
                _ if letter < ' ' || (!letter.is_ascii() && self.wide != Wide::AsIs) => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        // Writing to a string cannot fail.
                        let _ = match self.wide {
                            Wide::Upper => write!(escaped, "\\u{unit:04X}"),
                            _ => write!(escaped, "\\u{unit:04x}"),
                        };
                    }
                }
                _ => escaped.push(letter),
            }
        }
        escaped
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    String,
    /// A string that names a member of an object.
    Name,
    Number,
}

/// A string or a number in JSON.
struct Literal<'a> {
    kind: Kind,
    /// As it is written; of a string, what stands between its quotes.
    text: &'a str,
    /// Where it stands, its quotes included.
    place: Range<usize>,
}

impl Literal<'_> {
    /// The number or string itself. A string that none of ours can hold, one with half of a surrogate pair, stays as it is
    /// written.
    fn plain(&self) -> String {
        match self.kind {
            Kind::Number => self.text.to_owned(),
            _ => serde_json::from_str(&format!("\"{}\"", self.text))
                .unwrap_or_else(|_| self.text.to_owned()),
        }
    }
}

/// The literals of a JSON text, whatever its depth and however large its numbers.
fn literals(json: &str) -> impl Iterator<Item = Literal<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + json[at..].find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?;
        if !json[start..].starts_with('"') {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
            let length = json[start..].find(|c| !is_part(c));
            at = length.map_or(json.len(), |length| start + length);
            return Some(Literal {
                kind: Kind::Number,
                text: &json[start..at],
                place: start..at,
            });
        }
        let end = start + 1 + end_of_string(&json[start + 1..]);
        at = (end + 1).min(json.len());
        let is_name = json[at..].trim_start().starts_with(':');
        Some(Literal {
            kind: if is_name { Kind::Name } else { Kind::String },
            text: &json[start + 1..end],
            place: start..at,
        })
    })
}

/// Where the quote is that ends a string, or the end of all.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn mask(hidden: &str) -> Mask {
        Mask::new(Some(&json(hidden)))
    }

    #[track_caller]
    fn assert_masked(hidden: &str, text: &str, shown: &str) {
        assert_eq!(mask(hidden).text(text.to_owned()), shown);
    }

    #[test]
    fn a_hidden_value_is_masked_wherever_it_stands() {
        let hidden = r#"{"token": "s3cret", "deep": [{"pin": 123456}]}"#;
        assert_masked(hidden, "Bearer s3cret, pin 123456", "Bearer ***, pin ***");
        let details = json(r#"{"s3cret": ["xs3cretx", 123456, 1234567]}"#);
        let shown = mask(hidden).json(details);
        assert_eq!(shown.text(), r#"{"***": ["x***x", "***", 1234567]}"#);
    }

    #[test]
    fn a_value_is_masked_line_by_line_and_in_json_within_strings() {
        let hidden = r#"{"key": "-----BEGIN\nabcdef\n", "account": "{\"key\":\"inner-key\"}"}"#;
        assert_masked(hidden, "abcdef of inner-key", "*** of ***");
        assert_masked(hidden, r#"{"k":"-----BEGIN\nabcdef\n"}"#, r#"{"k":"***"}"#);
        let shown = mask(hidden).json(json(r#"[{"key":"inner-key"}]"#));
        assert_eq!(shown.text(), r#"[{"key":"***"}]"#);
    }

    #[test]
    fn a_value_is_masked_as_go_and_rails_write_it_for_html() {
        let hidden = r#"{"url": "postgres://u:p&w@db/<x>?a=1"}"#;
        let written = r"postgres://u:p\u0026w@db/\u003cx\u003e?a=1";
        assert_masked(hidden, written, "***");
    }

    #[test]
    fn a_value_is_masked_as_php_and_python_write_it_once_and_twice() {
        let hidden = r#"{"t":"s\u0033cr\/ét😀"}"#;
        for written in [
            "s3cr/ét😀",
            r"s3cr\/ét😀",
            r"s3cr/\u00e9t\ud83d\ude00",
            r"s3cr\/\u00E9t\uD83D\uDE00",
            r"s\u0033cr\/ét😀",
            r"s3cr\\\/\\u00e9t\\ud83d\\ude00",
        ] {
            assert_masked(hidden, &format!("<{written}>"), "<***>");
        }
        let twice = json(&Value::from(hidden).to_string());
        let shown = mask(hidden).json(twice);
        assert_eq!(shown.text(), r#""{\"t\":\"***\"}""#);
    }

    #[test]
    fn what_no_parser_can_hold_is_masked_too() {
        let hidden = r#"{"a":"first-one","a":"second-one","big":123456789012345678901234567890,"n":1e999,"half":"sec\ud800ret"}"#;
        for value in [
            "first-one",
            "second-one",
            "123456789012345678901234567890",
            "1e999",
            r"sec\ud800ret",
        ] {
            assert_masked(hidden, value, "***");
        }
        let shown = mask(hidden).json(json(r#"[123456789012345678901234567890,9e999,"\ud800"]"#));
        assert_eq!(shown.text(), r#"["***",9e999,"\ud800"]"#);
        let deep = format!("{}\"deep-down\"{}", "[".repeat(500), "]".repeat(500));
        assert_masked(&deep, "deep-down", "***");
    }

    #[test]
    fn short_values_and_names_are_left_alone() {
        let hidden = r#"{"on": true, "n": 12, "x": "abc", "token": "true"}"#;
        assert_masked(hidden, "12 abc token", "12 abc token");
        let shown = mask(hidden).json(json(r#"[true,"true"]"#));
        assert_eq!(shown.text(), r#"[true,"***"]"#);
    }

    #[test]
    fn values_that_overlap_are_masked_whole() {
        let hidden = r#"["abcd", "abcdefgh", "ghij", "klmklm"]"#;
        assert_masked(hidden, "abcdefghij ghij", "*** ***");
        assert_masked(hidden, "<klmklmklm>", "<***>");
    }

    #[test]
    fn a_long_value_is_masked_to_the_end_of_the_line() {
        let value = "long-".repeat(10_000);
        let hidden = Value::from(value.as_str()).to_string();
        assert_masked(&hidden, &format!("a {value} b"), "a ***");
        let short = &value[..MAX_PATTERN - 1];
        assert_masked(&hidden, short, short);
    }

    #[test]
    fn a_hidden_value_at_the_end_of_a_cut_line_is_cut_off() {
        let mask = mask(r#"["s3cret"]"#);
        let shown = |rest: &str| {
            let filled = "x".repeat(LINE_LIMIT - 4);
            let bytes = format!("{filled}{rest}").into_bytes();
            mask.line(&Line { bytes, dropped: 7 })[LINE_LIMIT - 4..].to_owned()
        };
        assert_eq!(shown(" s3cret and more"), "  … [22 bytes cut]");
        assert_eq!(shown("1234s3cret"), "1234 … [13 bytes cut]");
    }

    #[test]
    fn the_mask_of_a_resident_handler_covers_what_it_holds_and_the_last_it_was_done_with() {
        let mut mask = ResidentMask::default();
        mask.add(0, Some(&json(r#""held-value""#)));
        for task in 1..=(2 * REMEMBERED_TASKS as i64) {
            mask.add(
                task,
                Some(&json(&format!(r#"["token-{task:08}", "same-token"]"#))),
            );
            let text = format!("token-{task:08} same-token held-value");
            assert_eq!(mask.mask().text(text), "*** *** ***");
            mask.remove(task);
        }
        let last = format!("token-{:08}", REMEMBERED_TASKS + 2);
        assert_eq!(mask.mask().text(last), "***");
        let first = "token-00000001";
        assert_eq!(mask.mask().text(first.to_owned()), first);
    }
}
