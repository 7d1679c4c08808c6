//! Reading a duration from text.

use std::str::FromStr;

use thiserror::Error;

use super::Duration;
use crate::time::quote;

/// A text that is no duration. Its sentence names the text, what is wrong with it, and what is right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("duration {}: {flaw}; write it like 15d, -5d, 2h30m, 1mo 3d or 0", quote(.text))]
pub struct DurationError {
    text: String,
    flaw: Flaw,
}

/// What is wrong with a text that should be a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum Flaw {
    #[error("it is empty")]
    Empty,
    #[error("{} stands where a number should", quote(.0))]
    NoNumber(String),
    #[error("{} has no unit directly after it (y, mo, w, d, h, m or s)", quote(.0))]
    NoUnit(String),
    #[error("there is no unit {} (there are y, mo, w, d, h, m and s)", quote(.0))]
    UnknownUnit(String),
    #[error("the unit {0} stands there twice")]
    Repeated(String),
    #[error("numbers must be whole")]
    Fraction,
    #[error("the sign stands once, in front of the whole")]
    InnerSign,
    #[error("it is too long to count")]
    Overflow,
}

impl FromStr for Duration {
    type Err = DurationError;

    /// Reads parts like `15d`, `2h30m`, `1mo 3d`, in any order and spacing, each a whole number directly before its
    /// unit, each unit at most once: y, mo (month), w, d, h, m (minute), s. A sign in front counts for the whole.
    /// Zero needs no unit.
    ///
    /// # Errors
    /// The text is anything else, or a part overflows.
    fn from_str(text: &str) -> Result<Self, DurationError> {
        signed(text.trim()).map_err(|flaw| DurationError {
            text: text.to_owned(),
            flaw,
        })
    }
}

fn signed(text: &str) -> Result<Duration, Flaw> {
    match text.strip_prefix('-') {
        Some(rest) => unsigned(rest.trim_start()).map(|length| length.negate()),
        None => unsigned(text.strip_prefix('+').unwrap_or(text).trim_start()),
    }
}

fn unsigned(text: &str) -> Result<Duration, Flaw> {
    match text {
        "" => Err(Flaw::Empty),
        "0" => Ok(Duration::ZERO),
        _ => sum(text),
    }
}

fn sum(mut text: &str) -> Result<Duration, Flaw> {
    let mut total = Duration::ZERO;
    let mut units = Vec::new();
    while !text.is_empty() {
        let (number, unit, rest) = split_part(text)?;
        if units.contains(&unit) {
            return Err(Flaw::Repeated(unit.to_owned()));
        }
        units.push(unit);
        let part = length(number, unit)?;
        total = total.checked_add(&part).ok_or(Flaw::Overflow)?;
        text = rest.trim_start();
    }
    Ok(total)
}

/// The number and the unit that a text begins with, and what follows.
fn split_part(text: &str) -> Result<(&str, &str, &str), Flaw> {
    let (number, rest) = split_while(text, |c| c.is_ascii_digit());
    let (unit, tail) = split_while(rest, char::is_alphabetic);
    if number.is_empty() {
        return Err(no_number(text));
    }
    if unit.is_empty() {
        let fraction = rest.starts_with(['.', ',']);
        return Err(if fraction {
            Flaw::Fraction
        } else {
            Flaw::NoUnit(number.to_owned())
        });
    }
    Ok((number, unit, tail))
}

fn split_while(text: &str, belongs: fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn no_number(text: &str) -> Flaw {
    match text.chars().next() {
        Some('+' | '-') => Flaw::InnerSign,
        Some('.' | ',') => Flaw::Fraction,
        _ => Flaw::NoNumber(split_while(text, |c| !c.is_whitespace()).0.to_owned()),
    }
}

fn length(number: &str, unit: &str) -> Result<Duration, Flaw> {
    let one = one(unit).ok_or_else(|| Flaw::UnknownUnit(unit.to_owned()))?;
    let number = number.parse().map_err(|_| Flaw::Overflow)?;
    one.times(number).ok_or(Flaw::Overflow)
}

/// One of a unit.
fn one(unit: &str) -> Option<Duration> {
    Some(match unit {
        "y" => Duration::new(12, 0, 0),
        "mo" => Duration::new(1, 0, 0),
        "w" => Duration::new(0, 7, 0),
        "d" => Duration::new(0, 1, 0),
        "h" => Duration::new(0, 0, 3600),
        "m" => Duration::new(0, 0, 60),
        "s" => Duration::new(0, 0, 1),
        _ => return None,
    })
}
