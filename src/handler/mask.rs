//! Hidden values are masked wherever a handler prints them (seed 000, “parametresCaches”).

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use serde_json::Value;

use super::hidden::{Given, Hidden};
use super::lines::Line;
use super::literals::{Literal, Plain, literals, unescape};
use crate::json::Json;

/// Shorter values, such as `true` or `12`, would mask half of what a handler says and protect nothing.
const SHORTEST: usize = 4;
/// How often JSON may have been written into a text of JSON, and its escapes so been escaped themselves.
const DEEPEST: usize = 3;

/// What may not be shown of a task, or of all tasks that a process was given: a clone hides what is added to any.
///
/// The values of a task are hidden for as long as a clone of the mask is held that was made when they were the last to
/// be added. After that they stay hidden until those of tasks that are over take 16 MiB; then the oldest are forgotten.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    all: Rc<RefCell<Hidden>>,
    /// What was added last: it is not forgotten as long as this is there.
    last: Given,
}

impl Mask {
    /// The mask for these hidden params: each text and number in them, however deep.
    pub fn new(hidden: Option<&Json>) -> Self {
        let mut mask = Self::default();
        mask.add(hidden);
        mask
    }

    /// Hides these hidden params too.
    pub fn add(&mut self, hidden: Option<&Json>) {
        let mut values = Vec::new();
        if let Some(hidden) = hidden {
            collect(hidden.text(), DEEPEST, &mut |value| {
                // Blanks alone hide nothing, and would mask every indentation.
                if value.chars().nth(SHORTEST - 1).is_some() && !value.trim().is_empty() {
                    values.push(value);
                }
            });
        }
        self.last = self.all.borrow_mut().add(values);
    }

    /// The text without what may not be shown, as it is or as JSON writes it.
    pub fn text(&self, text: String) -> String {
        if self.all.borrow().is_empty() {
            return text;
        }
        let mut hidden = self.places(&text);
        if text.contains('\\') {
            for plain in unescaped(&text) {
                let places = self.places(&plain.text).into_iter();
                hidden
                    .extend(places.map(|place| plain.origin(place.start)..plain.origin(place.end)));
            }
        }
        without(text, hidden)
    }

    /// The JSON without what may not be shown, in its texts, numbers and names.
    pub fn json(&self, json: Json) -> Json {
        let text = json.text();
        if self.all.borrow().is_empty() || (!text.contains('\\') && self.places(text).is_empty()) {
            return json;
        }
        let (mut masked, mut copied) = (String::with_capacity(text.len()), 0);
        for (place, literal) in literals(text) {
            if let Some(instead) = self.literal(literal) {
                masked.push_str(text.get(copied..place.start).unwrap_or_default());
                masked.push_str(&instead);
                copied = place.end;
            }
        }
        masked.push_str(text.get(copied..).unwrap_or_default());
        // A value that is JSON itself may stand there as such.
        let stands = self.places(&masked).into_iter().any(|place| {
            let value = masked.get(place).unwrap_or_default();
            value.contains(['"', '[', '{', ','])
        });
        match Json::parse(&masked) {
            Ok(masked) if !stands => masked,
            _ => Json::from(&Value::from("***")),
        }
    }

    /// What to write instead of a literal of JSON, if it shows anything.
    fn literal(&self, literal: Literal<'_>) -> Option<String> {
        match literal {
            // A number is another one with one digit more: only what is the same is hidden.
            Literal::Number(number) => self.is_all_of(number).then(|| "\"***\"".to_owned()),
            Literal::Text(inside) | Literal::Name(inside) => {
                let plain = unescape(inside);
                let shown = self.text(plain.clone());
                (shown != plain).then(|| Value::from(shown).to_string())
            }
        }
    }

    /// A line as text. Of one that was cut, the end may be the beginning of what may not be shown: it is cut off too.
    pub fn whole(&self, line: Line) -> String {
        let Line { mut text, cut } = line;
        if cut == 0 {
            return text;
        }
        let end = self.half_shown(&text).unwrap_or(text.len());
        let more = text.len() - end;
        text.truncate(end);
        text.push_str(&format!(" … [{} bytes cut]", cut + more));
        text
    }

    /// Where the beginning of a value begins that a text ends with, if it ends with one.
    fn half_shown(&self, text: &str) -> Option<usize> {
        let hidden = self.all.borrow();
        if hidden.is_empty() {
            return None;
        }
        let mut first = None;
        for plain in std::iter::once(Plain::new(text.to_owned())).chain(unescaped(text)) {
            // A letter may have been cut in the middle.
            let shown = plain.text.trim_end_matches(char::REPLACEMENT_CHARACTER);
            let begins = hidden.half_at_end(shown).map(|at| plain.origin(at));
            first = first.into_iter().chain(begins).min();
        }
        first
    }

    fn is_all_of(&self, text: &str) -> bool {
        let whole = 0..text.len();
        self.all.borrow().places(text).any(|place| place == whole)
    }

    fn places(&self, text: &str) -> Vec<Range<usize>> {
        self.all.borrow().places(text).collect()
    }
}

/// The text with its escapes undone, and theirs, as long as there are any; an escape that was cut is left out.
fn unescaped(text: &str) -> Vec<Plain> {
    let mut found = Vec::new();
    let mut last = Plain::new(text.to_owned());
    while last.text.contains('\\') && found.len() < DEEPEST {
        last.drop_half_escape();
        last = last.unescaped();
        found.push(last.clone());
    }
    found
}

/// The text with stars in these places; those that overlap are one.
fn without(text: String, mut places: Vec<Range<usize>>) -> String {
    if places.is_empty() {
        return text;
    }
    places.sort_by_key(|place| place.start);
    let (mut shown, mut copied) = (String::with_capacity(text.len()), 0);
    let mut places = places.into_iter().peekable();
    while let Some(mut place) = places.next() {
        while let Some(next) = places.next_if(|next| next.start < place.end) {
            place.end = place.end.max(next.end);
        }
        shown.push_str(text.get(copied..place.start).unwrap_or_default());
        shown.push_str("***");
        copied = place.end;
    }
    shown.push_str(text.get(copied..).unwrap_or_default());
    shown
}

/// Values are masked whole and line by line, since output is read so. A text that is JSON again has values too.
fn collect(json: &str, depth: usize, keep: &mut dyn FnMut(String)) {
    for (_, literal) in literals(json) {
        match literal {
            Literal::Name(_) => {}
            Literal::Number(number) => {
                let value: Result<Value, _> = serde_json::from_str(number);
                value.into_iter().for_each(|value| keep(value.to_string()));
                keep(number.to_owned());
            }
            Literal::Text(inside) => {
                let text = unescape(inside);
                let parts = text.split(['\n', '\r', char::REPLACEMENT_CHARACTER]);
                parts.for_each(|part| keep(part.trim().to_owned()));
                if depth > 0 && text.trim_start().starts_with(['{', '[']) {
                    collect(&text, depth - 1, keep);
                }
                keep(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(hidden: &str) -> Mask {
        Mask::new(Some(&Json::parse(hidden).unwrap()))
    }

    fn details(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    #[test]
    fn a_hidden_value_is_masked_wherever_it_stands() {
        let mask = mask(r#"{"token": "s3cret", "deep": [{"pin": 123456}]}"#);
        assert_eq!(
            mask.text("Bearer s3cret, pin 123456".into()),
            "Bearer ***, pin ***"
        );
        let details = details(r#"{"s3cret": ["xs3cretx", 123456, 1]}"#);
        assert_eq!(mask.json(details).text(), r#"{"***": ["x***x", "***", 1]}"#);
    }

    #[test]
    fn a_value_of_several_lines_is_masked_line_by_line_and_as_json_writes_it() {
        let mask = mask(r#"{"key": "-----BEGIN\nabcdef\n"}"#);
        assert_eq!(mask.text("abcdef".into()), "***");
        assert_eq!(
            mask.text(r#"{"k":"-----BEGIN\nabcdef\n"}"#.into()),
            r#"{"k":"***"}"#
        );
    }

    #[test]
    fn a_value_is_masked_with_whatever_escapes_it_is_written() {
        let hidden = r#"{"t":"s\u0033cr\/ét"}"#;
        let mask = mask(hidden);
        for written in [
            "s3cr/ét",
            r"s3cr\/ét",
            r"s3cr/\u00e9t",
            r"s3cr\/\u00E9t",
            r"s\u0033cr\/ét",
            r"s3cr\\\/\\u00e9t",
        ] {
            assert_eq!(mask.text(format!("<{written}>")), "<***>");
        }
        for written in [hidden, r#"{"t":"s3cr\/\u00e9t"}"#, r#"{"t":"s3cr/ét"}"#] {
            assert_eq!(mask.text(written.into()), r#"{"t":"***"}"#);
            assert_eq!(mask.json(details(written)).text(), r#"{"t":"***"}"#);
        }
        let twice = Value::from(hidden).to_string();
        assert!(!mask.json(details(&twice)).text().contains("cr"));
    }

    #[test]
    fn what_no_parser_can_hold_is_hidden_too() {
        let mask = mask(
            r#"{"a":"first-one","a":"second-one","big":123456789012345678901234567890,"n":1e999,"half":"sec\ud800ret","x":"tail"}"#,
        );
        for value in [
            "first-one",
            "second-one",
            "123456789012345678901234567890",
            "1e999",
            "sec\u{fffd}ret",
            r"sec\ud800ret",
            "tail",
        ] {
            assert_eq!(mask.text(value.to_owned()), "***", "{value}");
        }
        let shown = mask.json(details(
            r#"[123456789012345678901234567890,9e999,"\ud800"]"#,
        ));
        assert_eq!(shown.text(), r#"["***",9e999,"\ud800"]"#);
        let deep = format!("{}\"deep-down\"{}", "[".repeat(500), "]".repeat(500));
        assert_eq!(super::tests::mask(&deep).text("deep-down".into()), "***");
    }

    #[test]
    fn json_in_a_text_has_values_too() {
        let mask = mask(r#"{"account":"{\"key\":\"inner-key\"}"}"#);
        assert_eq!(mask.text("with inner-key".into()), "with ***");
        assert_eq!(
            mask.json(details(r#"[{"key":"inner-key"}]"#)).text(),
            r#"[{"key":"***"}]"#
        );
    }

    #[test]
    fn short_values_and_names_are_left_alone() {
        let mask = mask(r#"{"on": true, "n": 12, "x": "abc", "token": "true"}"#);
        assert_eq!(mask.text("12 abc token".into()), "12 abc token");
        assert_eq!(
            mask.json(details(r#"[true,"true"]"#)).text(),
            r#"[true,"***"]"#
        );
    }

    #[test]
    fn values_that_overlap_do_not_uncover_one_another() {
        let mask = mask(r#"["abcd", "abcdefgh", "ghij"]"#);
        assert_eq!(mask.text("abcdefgh".into()), "***");
        assert_eq!(mask.text("abcdefghij ghij".into()), "*** ***");
    }

    #[test]
    fn a_value_that_overlaps_itself_is_covered_whole() {
        let mask = mask(r#"["abcabc"]"#);
        assert_eq!(mask.text("<abcabcabc>".into()), "<***>");
        assert_eq!(mask.json(details(r#"["abcabcabc"]"#)).text(), r#"["***"]"#);
    }

    #[test]
    fn a_text_is_searched_as_fast_with_the_values_of_many_tasks() {
        let mut mask = Mask::default();
        for task in 0..20_000 {
            let hidden = format!(r#"["token-{task:08}","user-{task:08}","key-{task:08}"]"#);
            mask.add(Some(&Json::parse(&hidden).unwrap()));
            let line = format!("token-{task:08} of user-{task:08} is not token-9999");
            assert_eq!(mask.text(line), "*** of *** is not token-9999");
        }
    }

    #[test]
    fn the_beginning_of_a_value_at_the_end_of_a_cut_line_is_cut_off_too() {
        let mask = mask(r#"["s3cret", "sé/cond"]"#);
        for (text, shown) in [
            ("with s3cr", "with  … [14 bytes cut]"),
            ("with s3cret", "with s3cret … [10 bytes cut]"),
            ("with s", "with  … [11 bytes cut]"),
            (r"with s\u00e9\/co", r"with  … [21 bytes cut]"),
            (r"with s\u00", r"with  … [15 bytes cut]"),
            ("with s\u{fffd}", "with  … [14 bytes cut]"),
            ("nothing", "nothing … [10 bytes cut]"),
        ] {
            let (text, cut) = (text.to_owned(), 10);
            assert_eq!(mask.whole(Line { text, cut }), shown);
        }
    }
}
