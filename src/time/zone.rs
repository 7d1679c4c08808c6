//! Time zones: local time, and adding by the calendar.

use chrono::format::ParseErrorKind::{Impossible, OutOfRange};
use chrono::format::{self, ParseResult, Parsed, StrftimeItems};
use chrono::{
    Datelike, FixedOffset, Local, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta,
    TimeZone,
};
use chrono_tz::Tz;

use super::{Duration, Timestamp, quote};

/// The forms in which times are read, with `T` for what may also be a space.
const FORMS: [&str; 5] = [
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M%#z",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
];

pub(super) const WRONG_FORM: &str =
    "write it like 2026-04-10, 2026-04-10T09:00 or 2026-04-10T09:00:00+02:00";
const NO_SUCH_TIME: &str =
    "there is no such day or time of day; write it like 2026-04-10 or 2026-04-10T09:00";
const OUTSIDE: &str = "it is outside the years 0000 to 9999 in UTC; take one like 2026-04-10";

/// No place has been further from UTC than this, in either direction.
const MAX_OFFSET: TimeDelta = TimeDelta::hours(16);

/// The zone in which dates are meant and times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Zone {
    /// The system's: the environment variable `TZ`, else `/etc/localtime`, else UTC.
    #[default]
    System,
    /// One of the IANA time zone database.
    Named(Tz),
}

impl Zone {
    /// The zone of an IANA name, such as `Europe/Paris`, letter by letter.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        name.parse().map(Zone::Named).map_err(|_| {
            let name = quote(name);
            format!("time zone {name}: there is none of that name; write an IANA name like Europe/Paris or UTC")
        })
    }

    /// The local time of a moment.
    pub(crate) fn local(&self, moment: Timestamp) -> NaiveDateTime {
        let utc = moment.utc();
        utc + self.offset_at(utc)
    }

    /// The local time of a moment for people to read: `YYYY-MM-DD HH:MM:SS`.
    pub(crate) fn show(&self, moment: Timestamp) -> String {
        self.local(moment).to_string()
    }

    /// The local time of a moment with its offset, in RFC 3339: `2026-04-10T09:00:00+02:00`.
    pub(super) fn rfc3339(&self, moment: Timestamp) -> String {
        let offset = self.offset_at(moment.utc());
        offset.from_utc_datetime(&moment.utc()).to_rfc3339()
    }

    /// The moment of a local time. A time that clocks skip moves forward by the gap; of one that occurs twice it is the
    /// first. None outside the years 0000 to 9999.
    pub(crate) fn resolve(&self, local: NaiveDateTime) -> Option<Timestamp> {
        if !(0..=9999).contains(&local.year()) {
            return None;
        }
        // When clocks go back, a time occurs twice: first with the offset before. When they go forward, skipped times,
        // read with the offset before, come out late by the gap. (chrono's Local takes the second of two.)
        let before = self.offset_at(local - MAX_OFFSET);
        let after = self.offset_at(local + MAX_OFFSET);
        let has = |offset: FixedOffset| self.offset_at(local - offset) == offset;
        let offset = if !has(before) && has(after) {
            after
        } else {
            before
        };
        Timestamp::from_utc(local - offset)
    }

    /// The first moment when clocks show this local time or, where they skip it, a later one. None outside the years 0000
    /// to 9999.
    pub(super) fn first_moment(&self, local: NaiveDateTime) -> Option<Timestamp> {
        let moment = self.resolve(local)?;
        if self.local(moment) == local {
            return Some(moment);
        }
        // Within the gap: between a moment before it and one after it.
        let (mut before, mut after) = (moment.unix() - MAX_OFFSET.num_seconds() * 2, moment.unix());
        while before + 1 < after {
            let middle = before + (after - before) / 2;
            if self.local(Timestamp::from_unix(middle)?) < local {
                before = middle;
            } else {
                after = middle;
            }
        }
        Timestamp::from_unix(after)
    }

    /// The moment so much later: by calendar months first, where a day that the month lacks becomes its last, then by
    /// calendar days, both in local time, then by exact seconds. None outside the years 0000 to 9999.
    pub(crate) fn add(&self, moment: Timestamp, length: &Duration) -> Option<Timestamp> {
        let local = self.local(moment);
        let moved = move_date(local.date(), length)?.and_time(local.time());
        // A local time that did not move is still the same moment, even if it occurs twice.
        let moved = if moved == local {
            moment
        } else {
            self.resolve(moved)?
        };
        moved.plus_seconds(length.seconds)
    }

    /// Reads a date (its local midnight), a local date-time with `T` or a space, with or without seconds, or one with
    /// an offset: `2026-04-10`, `2026-04-10T09:00`, `2026-04-10 09:00:00+02:00`, `2026-04-10T07:00:00Z`. A fraction of
    /// a second is dropped.
    pub(crate) fn parse_time(&self, text: &str) -> Result<Timestamp, String> {
        self.moment(text)
            .map_err(|reason| format!("time {}: {reason}", quote(text)))
    }

    /// The same, with the mere reason why it is refused.
    pub(super) fn moment(&self, text: &str) -> Result<Timestamp, &'static str> {
        let (local, offset) = read_time(&text.trim().replacen([' ', 't'], "T", 1))?;
        let moment = match offset {
            Some(offset) => local
                .checked_sub_offset(offset)
                .and_then(Timestamp::from_utc),
            None => self.resolve(local),
        };
        moment.ok_or(OUTSIDE)
    }

    fn offset_at(&self, utc: NaiveDateTime) -> FixedOffset {
        match self {
            Zone::System => Local.offset_from_utc_datetime(&utc),
            Zone::Named(zone) => zone.offset_from_utc_datetime(&utc).fix(),
        }
    }
}

/// The local time and the offset, if it has one, of a text in one of [`FORMS`].
fn read_time(text: &str) -> Result<(NaiveDateTime, Option<FixedOffset>), &'static str> {
    let mut wrong = WRONG_FORM;
    for form in FORMS {
        match read_form(text, form) {
            Ok(time) => return Ok(time),
            Err(error) if matches!(error.kind(), OutOfRange | Impossible) => wrong = NO_SUCH_TIME,
            Err(_) => {}
        }
    }
    Err(wrong)
}

fn read_form(text: &str, form: &str) -> ParseResult<(NaiveDateTime, Option<FixedOffset>)> {
    let mut parsed = Parsed::new();
    format::parse(&mut parsed, text, StrftimeItems::new(form))?;
    let midnight = NaiveTime::MIN;
    let time = parsed
        .hour_div_12()
        .map_or(Ok(midnight), |_| parsed.to_naive_time())?;
    let offset = parsed.offset().map(|_| parsed.to_fixed_offset());
    Ok((parsed.to_naive_date()?.and_time(time), offset.transpose()?))
}

fn move_date(date: NaiveDate, length: &Duration) -> Option<NaiveDate> {
    let months = Months::new(u32::try_from(length.months.unsigned_abs()).ok()?);
    let moved = if length.months < 0 {
        date.checked_sub_months(months)
    } else {
        date.checked_add_months(months)
    };
    moved?.checked_add_signed(TimeDelta::try_days(length.days)?)
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDateTime, TimeDelta, TimeZone};
    use chrono_tz::{TZ_VARIANTS, Tz};
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    use super::{NO_SUCH_TIME, OUTSIDE, WRONG_FORM, Zone};
    use crate::time::{Duration, Timestamp};

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    fn local(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap()
    }

    /// The rows of a table whose columns are set apart by `|`; a line without one is a comment.
    fn rows<const N: usize>(table: &str) -> impl Iterator<Item = [&str; N]> {
        let rows = table.lines().filter(|line| line.contains('|'));
        rows.map(|row| {
            let columns: Vec<&str> = row.split('|').map(str::trim).collect();
            columns.try_into().expect("each row has all columns")
        })
    }

    #[test]
    fn a_skipped_time_moves_forward_by_the_gap_and_a_repeated_one_is_the_first() {
        let table = "
            Europe/Paris        | 2026-03-29 01:59:59 | 2026-03-29 00:59:59
            Europe/Paris        | 2026-03-29 02:00:00 | 2026-03-29 01:00:00
            Europe/Paris        | 2026-03-29 02:30:00 | 2026-03-29 01:30:00
            Europe/Paris        | 2026-03-29 03:00:00 | 2026-03-29 01:00:00
            Europe/Paris        | 2026-10-25 01:59:59 | 2026-10-24 23:59:59
            Europe/Paris        | 2026-10-25 02:00:00 | 2026-10-25 00:00:00
            Europe/Paris        | 2026-10-25 02:30:00 | 2026-10-25 00:30:00
            Europe/Paris        | 2026-10-25 03:00:00 | 2026-10-25 02:00:00
            Lord Howe moves its clocks by half an hour.
            Australia/Lord_Howe | 2026-10-04 02:15:00 | 2026-10-03 15:45:00
            Australia/Lord_Howe | 2026-04-05 01:45:00 | 2026-04-04 14:45:00
            Apia left out the 30th of December 2011.
            Pacific/Apia        | 2011-12-29 12:00:00 | 2011-12-29 22:00:00
            Pacific/Apia        | 2011-12-30 12:00:00 | 2011-12-30 22:00:00
            Pacific/Apia        | 2011-12-31 12:00:00 | 2011-12-30 22:00:00
            Clocks that go forward at midnight: the day begins at one.
            America/Sao_Paulo   | 2018-11-04 00:00:00 | 2018-11-04 03:00:00";
        for [name, shown, utc] in rows(table) {
            let found = zone(name).resolve(local(shown)).unwrap();
            assert_eq!(found.to_sql(), utc, "{shown} in {name}");
        }
    }

    #[test]
    fn adding_goes_by_the_local_calendar_and_then_by_exact_seconds() {
        let table = "
            Europe/Paris        | 2026-01-31 09:00:00 | 1mo    | 2026-02-28 09:00:00
            Europe/Paris        | 2026-01-31 09:00:00 | 2mo    | 2026-03-31 09:00:00
            Europe/Paris        | 2026-03-31 09:00:00 | -1mo   | 2026-02-28 09:00:00
            Europe/Paris        | 2028-02-29 09:00:00 | 1y     | 2029-02-28 09:00:00
            Europe/Paris        | 2028-02-29 09:00:00 | 4y     | 2032-02-29 09:00:00
            Europe/Paris        | 1950-05-17 00:00:00 | 65y    | 2015-05-17 00:00:00
            Months before days: 31 January and a month is the 28th, and a day later the 1st.
            Europe/Paris        | 2026-01-31 09:00:00 | 1mo 1d | 2026-03-01 09:00:00
            A calendar day keeps the local time over a change of clocks; 24 hours do not.
            Europe/Paris        | 2026-03-28 09:00:00 | 1d     | 2026-03-29 09:00:00
            Europe/Paris        | 2026-03-28 09:00:00 | 24h    | 2026-03-29 10:00:00
            Europe/Paris        | 2026-10-24 09:00:00 | 24h    | 2026-10-25 08:00:00
            Europe/Paris        | 2026-03-28 02:30:00 | 1d     | 2026-03-29 03:30:00
            Europe/Paris        | 2026-03-28 02:30:00 | 2d     | 2026-03-30 02:30:00
            Pacific/Apia        | 2011-12-29 12:00:00 | 1d     | 2011-12-31 12:00:00
            Pacific/Apia        | 2011-12-29 12:00:00 | 2d     | 2011-12-31 12:00:00
            Australia/Lord_Howe | 2026-10-03 02:15:00 | 1d     | 2026-10-04 02:45:00
            Asia/Kathmandu      | 2026-04-10 00:00:00 | -1d 1h | 2026-04-08 23:00:00";
        for [name, from, length, to] in rows(table) {
            let (zone, start) = (zone(name), zone(name).resolve(local(from)).unwrap());
            let end = zone.add(start, &length.parse().unwrap()).unwrap();
            assert_eq!(zone.show(end), to, "{from} in {name} and {length}");
        }
    }

    #[test]
    fn exact_time_runs_through_a_repeated_hour() {
        let paris = zone("Europe/Paris");
        let first = paris.parse_time("2026-10-25 02:30").unwrap();
        let second = paris.add(first, &"1h".parse().unwrap()).unwrap();
        assert_eq!(second.seconds_since(first), 3600);
        assert_eq!(paris.show(second), "2026-10-25 02:30:00");
        assert_eq!(paris.add(second, &Duration::ZERO), Some(second));
        let day_after = paris.add(second, &"1d".parse().unwrap()).unwrap();
        assert_eq!(paris.show(day_after), "2026-10-26 02:30:00");
    }

    #[test]
    fn a_time_is_read_as_local_unless_it_says_otherwise() {
        for (text, utc) in [
            ("2026-04-10", "2026-04-09 22:00:00"),
            (" 2026-04-10\n", "2026-04-09 22:00:00"),
            ("2026-04-10T09:00", "2026-04-10 07:00:00"),
            ("2026-04-10 09:00", "2026-04-10 07:00:00"),
            ("2026-04-10T09:00:30", "2026-04-10 07:00:30"),
            ("2026-04-10T09:00:30.999", "2026-04-10 07:00:30"),
            ("2026-04-10T09:00Z", "2026-04-10 09:00:00"),
            ("2026-04-10t09:00:00z", "2026-04-10 09:00:00"),
            ("2026-04-10T09:00:00+05:45", "2026-04-10 03:15:00"),
            ("2026-04-10T09:00:00-05:00", "2026-04-10 14:00:00"),
            ("2026-04-10 09:00:00 +0200", "2026-04-10 07:00:00"),
            ("2026-04-10 09:00:00+02", "2026-04-10 07:00:00"),
            ("2026-03-29T02:30", "2026-03-29 01:30:00"),
            ("2026-10-25T02:30", "2026-10-25 00:30:00"),
            ("2026-10-25T02:30+01:00", "2026-10-25 01:30:00"),
            ("9999-12-31T23:59:59Z", "9999-12-31 23:59:59"),
        ] {
            let read = zone("Europe/Paris").parse_time(text);
            assert_eq!(
                read.map(|moment| moment.to_sql()).as_deref(),
                Ok(utc),
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_that_is_no_time_is_refused_with_what_is_wrong() {
        for (text, reason) in [
            ("", WRONG_FORM),
            ("soon", WRONG_FORM),
            ("10/04/2026", WRONG_FORM),
            ("20260410", WRONG_FORM),
            ("12026-04-10", WRONG_FORM),
            ("2026-04-10T", WRONG_FORM),
            ("2026-04-10T09", WRONG_FORM),
            ("2026-04-10T09:00:", WRONG_FORM),
            ("2026-04-10T09:00 am", WRONG_FORM),
            ("2026-04-10T09:00Zulu", WRONG_FORM),
            ("2026-04-10T09:00+2", WRONG_FORM),
            ("2026-04-10T09:00+é", WRONG_FORM),
            ("2026-04-10 +02:00", WRONG_FORM),
            ("2026-02-29", NO_SUCH_TIME),
            ("2026-13-01", NO_SUCH_TIME),
            ("2026-04-10T24:00", NO_SUCH_TIME),
            ("2026-04-10T09:60", NO_SUCH_TIME),
            ("2026-04-10T09:00+24:00", NO_SUCH_TIME),
            ("2026-04-10T09:00+02:60", NO_SUCH_TIME),
            ("0000-01-01", OUTSIDE),
            ("-0044-03-15", OUTSIDE),
            ("+262142-12-31T23:59-01:00", OUTSIDE),
            ("9999-12-31T23:59:59-00:01", OUTSIDE),
        ] {
            let message = zone("Europe/Paris").parse_time(text).unwrap_err();
            assert_eq!(message, format!("time \"{text}\": {reason}"));
        }
    }

    #[test]
    fn a_zone_is_known_by_its_iana_name() {
        for name in ["Europe/Paris", "UTC", "America/Argentina/Buenos_Aires"] {
            assert!(Zone::parse(name).is_ok(), "{name}");
        }
        for name in ["", "Paris", "europe/paris", "Europe/Paris ", "+02:00"] {
            let message = Zone::parse(name).unwrap_err();
            let wrong = format!("time zone \"{name}\": there is none of that name");
            assert!(message.starts_with(&wrong), "{message}");
        }
    }

    /// Every change of clocks in a zone, to within half a day.
    fn changes(zone: Tz) -> impl Iterator<Item = NaiveDateTime> {
        let start = local("1850-01-01 00:00:00");
        let half_days = (0..183_000).map(move |n| start + TimeDelta::hours(12 * n));
        half_days.filter(move |at| {
            let offset = |at: &NaiveDateTime| zone.offset_from_utc_datetime(at);
            offset(at) != offset(&(*at + TimeDelta::hours(12)))
        })
    }

    #[test]
    fn around_every_change_of_clocks_a_local_time_is_found_where_chrono_has_it() {
        for name in [
            "Europe/Paris",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "Pacific/Kwajalein",
            "America/Juneau",
            "Asia/Manila",
            "Africa/Casablanca",
            "Antarctica/Troll",
            "Asia/Gaza",
        ] {
            let tz: Tz = name.parse().unwrap();
            for change in changes(tz) {
                for quarter in -200..200 {
                    let shown = change + TimeDelta::minutes(15 * quarter);
                    let found = Zone::Named(tz).resolve(shown).unwrap();
                    match tz.from_local_datetime(&shown).earliest() {
                        Some(first) => {
                            assert_eq!(found.unix(), first.timestamp(), "{shown} in {name}")
                        }
                        None => assert!(Zone::Named(tz).local(found) > shown, "{shown} in {name}"),
                    }
                }
            }
        }
    }

    fn any_zone() -> impl Strategy<Value = Zone> {
        proptest::sample::select(&TZ_VARIANTS[..]).prop_map(Zone::Named)
    }

    fn any_moment() -> impl Strategy<Value = Timestamp> {
        (-62_167_219_200..=253_402_300_799i64).prop_map(|unix| Timestamp::from_unix(unix).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same_local_time(zone in any_zone(), moment in any_moment()) {
            let shown = zone.show(moment);
            if let Ok(read) = zone.parse_time(&shown) {
                prop_assert_eq!(zone.show(read), shown);
                prop_assert!(read <= moment);
            }
            prop_assert_eq!(zone.parse_time(&moment.to_string()), Ok(moment));
        }

        #[test]
        fn an_exact_length_adds_exactly(zone in any_zone(), moment in any_moment(), seconds: i32) {
            let length = Duration::new(0, 0, i64::from(seconds));
            prop_assert_eq!(zone.add(moment, &length), moment.plus_seconds(i64::from(seconds)));
        }

        #[test]
        fn adding_the_most_extreme_lengths_never_panics(
            zone in any_zone(), moment in any_moment(), months: i64, days: i64, seconds: i64,
        ) {
            for months in [months, 0, 1, -1] {
                for days in [days, 0, 1, -1] {
                    let _ = zone.add(moment, &Duration::new(months, days, seconds));
                }
            }
            prop_assert_eq!(zone.resolve(NaiveDateTime::MIN), None);
            prop_assert_eq!(zone.resolve(NaiveDateTime::MAX), None);
        }

        #[test]
        fn reading_anything_never_panics(zone in any_zone(), text in ".*", nearly in "[-+0-9:.TZ é]{0,30}") {
            let _ = zone.parse_time(&text);
            let _ = zone.parse_time(&nearly);
            let _ = zone.parse_time(&format!("2026-04-10T09:00{nearly}"));
        }
    }
}
