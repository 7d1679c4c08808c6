//! The texts and numbers in a JSON text, found without taking the text apart: what SQLite takes for JSON, and what a
//! handler in another language reads, may be more than a parser that knows numbers and characters can hold.

use std::ops::Range;

/// A text or a number, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal<'a> {
    /// What stands between the quotes of a text.
    Text(&'a str),
    /// The same of a name in an object.
    Name(&'a str),
    /// A number.
    Number(&'a str),
}

/// The literals of a JSON text, in their order, each with the place that it takes there, its quotes included.
pub(super) fn literals(json: &str) -> impl Iterator<Item = (Range<usize>, Literal<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let bytes = json.as_bytes();
        loop {
            let start = at;
            match bytes.get(at)? {
                b'"' => {
                    let end = end_of_text(bytes, at + 1);
                    at = (end + 1).min(bytes.len());
                    let inside = json.get(start + 1..end).unwrap_or_default();
                    let rest = json.get(at..).unwrap_or_default().trim_start();
                    let literal = match rest.starts_with(':') {
                        true => Literal::Name(inside),
                        false => Literal::Text(inside),
                    };
                    return Some((start..at, literal));
                }
                b'-' | b'0'..=b'9' => {
                    let in_number =
                        |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                    at += bytes
                        .iter()
                        .skip(at)
                        .take_while(|byte| in_number(byte))
                        .count();
                    let number = json.get(start..at).unwrap_or_default();
                    return Some((start..at, Literal::Number(number)));
                }
                _ => at += 1,
            }
        }
    })
}

/// Where the quote is that ends a text, or the end of all.
fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A text whose escapes are undone, and where each of its bytes came from.
#[derive(Debug, Clone)]
pub(super) struct Plain {
    pub(super) text: String,
    /// For each byte of the text, and for its end, the place in what it was made of.
    origins: Vec<usize>,
}

impl Plain {
    /// A text as it is.
    pub(super) fn new(text: String) -> Self {
        let origins = (0..=text.len()).collect();
        Self { text, origins }
    }

    /// The same with the escapes of JSON undone. Half of a surrogate pair is U+FFFD; what is no escape stays.
    pub(super) fn unescaped(&self) -> Self {
        let mut text = String::with_capacity(self.text.len());
        let mut origins = Vec::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        while let Some(first) = rest.chars().next() {
            let (letter, length) = match first {
                '\\' => escape(rest).unwrap_or((first, 1)),
                _ => (first, first.len_utf8()),
            };
            let origin = self.origin(self.text.len() - rest.len());
            text.push(letter);
            origins.resize(text.len(), origin);
            rest = rest.get(length..).unwrap_or_default();
        }
        origins.push(self.origin(self.text.len()));
        Self { text, origins }
    }

    /// Where a byte of the text, or its end, came from.
    pub(super) fn origin(&self, at: usize) -> usize {
        self.origins.get(at).copied().unwrap_or_default()
    }

    /// Takes an escape off its end that was cut in the middle.
    pub(super) fn drop_half_escape(&mut self) {
        let Some(start) = self.text.rfind('\\') else {
            return;
        };
        let slashes = self.text.bytes().take(start + 1).rev();
        if slashes.take_while(|byte| *byte == b'\\').count() % 2 == 0 {
            return;
        }
        let digits = self.text.get(start + 1..).unwrap_or_default();
        let is_half = digits.is_empty()
            || digits.strip_prefix('u').is_some_and(|digits| {
                digits.len() < 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
        if is_half {
            self.text.truncate(start);
            self.origins.truncate(start + 1);
        }
    }
}

/// What the escape at the beginning of a text stands for, and how long it is.
fn escape(text: &str) -> Option<(char, usize)> {
    let letter = match text.as_bytes().get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return unicode(text),
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        _ => return None,
    };
    Some((letter, 2))
}

fn unicode(text: &str) -> Option<(char, usize)> {
    let first = code_unit(text)?;
    let second = text.get(6..).and_then(code_unit);
    let pair = second.and_then(|second| char::decode_utf16([first, second]).next()?.ok());
    let single = char::from_u32(u32::from(first));
    Some(match (single, pair) {
        (Some(letter), _) => (letter, 6),
        (None, Some(letter)) => (letter, 12),
        (None, None) => (char::REPLACEMENT_CHARACTER, 6),
    })
}

/// The number in an escape such as `\u00e9`.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| all)
}

/// What stands between the quotes of a text in JSON, its escapes undone.
pub(super) fn unescape(inside: &str) -> String {
    match inside.contains('\\') {
        true => Plain::new(inside.to_owned()).unescaped().text,
        false => inside.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_found_in_whatever_is_nearly_json() {
        let found: Vec<_> = literals(r#"{"a" : ["x\"y", -1.5e3, true], "b":"no end"#)
            .map(|(_, literal)| literal)
            .collect();
        assert_eq!(
            found,
            [
                Literal::Name("a"),
                Literal::Text(r#"x\"y"#),
                Literal::Number("-1.5e3"),
                Literal::Name("b"),
                Literal::Text("no end"),
            ]
        );
    }

    #[test]
    fn escapes_are_undone_and_half_a_pair_is_no_error() {
        assert_eq!(
            unescape(r#"\u00e9\/\n\ud83d\ude00\ud800x\q\u12"#),
            "é/\n😀\u{fffd}x\\q\\u12"
        );
    }

    proptest::proptest! {
        #[test]
        fn what_serde_writes_is_read_as_it_was(text in ".{0,40}") {
            let written = serde_json::Value::from(text.as_str()).to_string();
            let found: Vec<_> = literals(&written).collect();
            let [(place, Literal::Text(inside))] = &found[..] else { panic!("{found:?}") };
            assert_eq!((place.clone(), unescape(inside)), (0..written.len(), text));
        }

        #[test]
        fn nothing_makes_it_panic(text in r#"["\\u0-9a-fd{},:\[\] é-]{0,60}"#) {
            literals(&text).for_each(drop);
            let plain = Plain::new(text.clone()).unescaped();
            assert!((0..=plain.text.len()).all(|at| plain.origin(at) <= text.len()));
        }
    }
}
