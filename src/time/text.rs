//! The times that people and applications write: a date, a local date-time, or one with an offset (design, “Time”).

use std::str::FromStr;

use chrono::{FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};
use thiserror::Error;

use super::quote;

/// A text that is no time. Its sentence names the text and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("time {}: {flaw}", quote(.text))]
pub struct TimeError {
    text: String,
    flaw: Flaw,
}

/// What is wrong with a text that should be a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Flaw {
    #[error("write it like 2026-04-10, 2026-04-10T09:00 or 2026-04-10T09:00:00+02:00")]
    Form,
    #[error("there is no such day in the calendar; dates are year-month-day, like 2026-04-10")]
    Day,
    #[error(
        "there is no such time of day; hours are 00 to 23, minutes and seconds 00 to 59, like 09:30"
    )]
    TimeOfDay,
    #[error("there is no such offset from UTC; write it like Z or +02:00")]
    Offset,
    #[error("it is outside the years 0000 to 9999 in UTC; take one like 2026-04-10")]
    Range,
    #[error(
        "it is not in the stored form, which is UTC, YYYY-MM-DD HH:MM:SS, like 2026-04-10 07:00:00"
    )]
    NotStored,
}

impl TimeError {
    pub(super) fn new(text: &str, flaw: Flaw) -> Self {
        TimeError {
            text: text.to_owned(),
            flaw,
        }
    }
}

/// A time as it was written. Without an offset it is meant in the local zone.
pub(super) struct Written {
    pub wall: NaiveDateTime,
    pub offset: Option<FixedOffset>,
}

/// Reads `YYYY-MM-DD`, alone or followed by `T` or a space and `HH:MM` or `HH:MM:SS`, then an offset or none. A date
/// alone is its midnight; a fraction of a second is dropped.
pub(super) fn read(text: &str) -> Result<Written, Flaw> {
    let text = text.trim();
    let Some((day, rest)) = text.split_once(['T', 't', ' ']) else {
        return Ok(Written {
            wall: date(text)?.and_time(NaiveTime::MIN),
            offset: None,
        });
    };
    let (time, mark) = split_offset(rest);
    let wall = date(day)?.and_time(time_of_day(time)?);
    Ok(Written {
        wall,
        offset: mark.map(offset).transpose()?,
    })
}

fn date(text: &str) -> Result<NaiveDate, Flaw> {
    let (year, month, day) = date_numbers(text).ok_or(Flaw::Form)?;
    NaiveDate::from_ymd_opt(year, month, day).ok_or(Flaw::Day)
}

fn date_numbers(text: &str) -> Option<(i32, u32, u32)> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    Some((number(year, 4)?, number(month, 2)?, number(day, 2)?))
}

fn time_of_day(text: &str) -> Result<NaiveTime, Flaw> {
    let (hour, minute, second) = time_numbers(text).ok_or(Flaw::Form)?;
    NaiveTime::from_hms_opt(hour, minute, second).ok_or(Flaw::TimeOfDay)
}

fn time_numbers(text: &str) -> Option<(u32, u32, u32)> {
    let (hour, rest) = text.split_once(':')?;
    let (minute, second) = match rest.split_once(':') {
        Some((minute, second)) => (minute, without_fraction(second)?),
        None => (rest, "00"),
    };
    Some((number(hour, 2)?, number(minute, 2)?, number(second, 2)?))
}

/// Seconds without their fraction; none when what follows the point is no fraction.
fn without_fraction(second: &str) -> Option<&str> {
    match second.split_once(['.', ',']) {
        Some((whole, fraction)) => (!fraction.is_empty() && digits(fraction)).then_some(whole),
        None => Some(second),
    }
}

/// The time of day, and the offset behind it if there is one.
fn split_offset(text: &str) -> (&str, Option<&str>) {
    match text.find(['Z', 'z', '+', '-']) {
        Some(at) => {
            let (time, offset) = text.split_at(at);
            (time.trim_end(), Some(offset))
        }
        None => (text, None),
    }
}

/// `Z`, `+02:00`, and the shorter `+0200` and `+02` that other programs write.
fn offset(text: &str) -> Result<FixedOffset, Flaw> {
    let (hours, minutes) = offset_numbers(text).ok_or(Flaw::Form)?;
    if hours >= 24 || minutes >= 60 {
        return Err(Flaw::Offset);
    }
    let east = hours * 3600 + minutes * 60;
    FixedOffset::east_opt(if text.starts_with('-') { -east } else { east }).ok_or(Flaw::Offset)
}

fn offset_numbers(text: &str) -> Option<(i32, i32)> {
    if text.eq_ignore_ascii_case("z") {
        return Some((0, 0));
    }
    let text = text.strip_prefix(['+', '-'])?;
    match text.split_once(':').or_else(|| text.split_at_checked(2))? {
        (hours, "") if !text.ends_with(':') => Some((number(hours, 2)?, 0)),
        (hours, minutes) => Some((number(hours, 2)?, number(minutes, 2)?)),
    }
}

/// A number of exactly so many digits.
fn number<T: FromStr>(text: &str, width: usize) -> Option<T> {
    if text.len() == width && digits(text) {
        text.parse().ok()
    } else {
        None
    }
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
