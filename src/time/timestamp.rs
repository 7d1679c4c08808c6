//! A moment, to the second, in the text form that SQLite's own date functions write.

use chrono::{
    DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Timelike, Utc,
};
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use serde::{Serialize, Serializer};

use super::text::{Flaw, TimeError};

/// SQLite's text form of a UTC time, as `datetime('now')` gives it.
pub(super) const SQL_FORM: &str = "%Y-%m-%d %H:%M:%S";

/// A moment: whole seconds since 1970-01-01 00:00:00 UTC, leap seconds not counted, within the years 0000 to 9999,
/// which are those that SQLite's text form can write (design, “Time”).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first moment: 0000-01-01 00:00:00 UTC.
    pub const MIN: Timestamp = Timestamp(-62_167_219_200);
    /// The last moment: 9999-12-31 23:59:59 UTC.
    pub const MAX: Timestamp = Timestamp(253_402_300_799);

    /// The moment that many seconds after 1970 began, UTC. None outside the years 0000 to 9999.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        let moment = Timestamp(seconds);
        (Self::MIN..=Self::MAX).contains(&moment).then_some(moment)
    }

    /// Seconds since 1970 began, UTC.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// The moment that many exact seconds later, earlier if negative. None outside the years 0000 to 9999.
    pub fn plus_seconds(self, seconds: i64) -> Option<Self> {
        self.0.checked_add(seconds).and_then(Self::from_unix)
    }

    /// Seconds from `other` to this moment; negative when `other` is the later one.
    pub fn seconds_since(self, other: Timestamp) -> i64 {
        self.0 - other.0
    }

    /// The form it is stored in: UTC, `YYYY-MM-DD HH:MM:SS`. Sorts as the moments do.
    pub fn to_sql(&self) -> String {
        let time = self.utc();
        let pair = |number: u32| [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
        // The year is within 0 to 9999.
        let year = time.year().unsigned_abs();
        let ([a, b], [c, d]) = (pair(year / 100), pair(year));
        let ([e, f], [g, h]) = (pair(time.month()), pair(time.day()));
        let ([i, j], [k, l], [m, n]) =
            (pair(time.hour()), pair(time.minute()), pair(time.second()));
        let text = [
            a, b, c, d, b'-', e, f, b'-', g, h, b' ', i, j, b':', k, l, b':', m, n,
        ];
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// The text is anything but what [`Timestamp::to_sql`] writes, to the character.
    pub fn from_sql(text: &str) -> Result<Self, TimeError> {
        stored(text.as_bytes())
            .and_then(Self::from_utc)
            .ok_or_else(|| TimeError::new(text, Flaw::NotStored))
    }

    /// The form of JSON output: RFC 3339 in UTC, `2026-04-10T07:00:00Z`.
    pub fn rfc3339(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// The moment at which clocks set to UTC show `wall`; fractions of a second are dropped. None outside the years
    /// 0000 to 9999.
    pub(super) fn from_utc(wall: NaiveDateTime) -> Option<Self> {
        Self::from_unix(wall.and_utc().timestamp())
    }

    /// The same moment as chrono has it. Its own range is far wider, so that neither step can overflow.
    pub(super) fn utc(self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(self.0)
    }
}

/// What stands in `YYYY-MM-DD HH:MM:SS`. Rows with times are read and written by the hundred thousand, and chrono's own
/// formats, which are taken apart each time, cost more than the rest of a row.
fn stored(text: &[u8]) -> Option<NaiveDateTime> {
    let &[
        a,
        b,
        c,
        d,
        b'-',
        e,
        f,
        b'-',
        g,
        h,
        b' ',
        i,
        j,
        b':',
        k,
        l,
        b':',
        m,
        n,
    ] = text
    else {
        return None;
    };
    let pair = |tens: u8, ones: u8| {
        let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
        digits.then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
    };
    let year = i32::try_from(pair(a, b)? * 100 + pair(c, d)?).ok()?;
    NaiveDate::from_ymd_opt(year, pair(e, f)?, pair(g, h)?)?.and_hms_opt(
        pair(i, j)?,
        pair(k, l)?,
        pair(m, n)?,
    )
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(Timestamp::to_sql(self)))
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Timestamp::from_sql(value.as_str()?).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use rusqlite::Connection;

    use super::Timestamp;

    #[test]
    fn each_form_shows_the_same_moment() {
        for (unix, sql, rfc3339) in [
            (0, "1970-01-01 00:00:00", "1970-01-01T00:00:00Z"),
            (1_775_804_400, "2026-04-10 07:00:00", "2026-04-10T07:00:00Z"),
            (-1, "1969-12-31 23:59:59", "1969-12-31T23:59:59Z"),
            (
                Timestamp::MIN.unix(),
                "0000-01-01 00:00:00",
                "0000-01-01T00:00:00Z",
            ),
            (
                Timestamp::MAX.unix(),
                "9999-12-31 23:59:59",
                "9999-12-31T23:59:59Z",
            ),
        ] {
            let moment = Timestamp::from_unix(unix).unwrap();
            assert_eq!(moment.to_sql(), sql);
            assert_eq!(moment.rfc3339(), rfc3339);
            assert_eq!(serde_json::to_value(moment).unwrap(), rfc3339);
            assert_eq!(Timestamp::from_sql(sql), Ok(moment));
        }
    }

    #[test]
    fn moments_that_sqlite_cannot_write_do_not_exist() {
        assert_eq!(Timestamp::MIN.plus_seconds(-1), None);
        assert_eq!(Timestamp::MAX.plus_seconds(1), None);
        assert_eq!(Timestamp::from_unix(i64::MIN), None);
        assert_eq!(Timestamp::MAX.plus_seconds(i64::MAX), None);
        assert_eq!(
            Timestamp::MAX
                .plus_seconds(-1)
                .unwrap()
                .seconds_since(Timestamp::MAX),
            -1
        );
    }

    #[test]
    fn only_the_stored_form_is_read_back() {
        for text in [
            "",
            "2026-04-10",
            "2026-04-10T07:00:00",
            "2026-04-10 07:00",
            "2026-04-10 7:00:00",
            "2026-04-10 07:00:00Z",
            " 2026-04-10 07:00:00",
            "2026-02-30 07:00:00",
            "2026-04-10 23:59:60",
            "+2026-04-10 07:00:00",
            "-001-04-10 07:00:00",
        ] {
            let sentence = Timestamp::from_sql(text).unwrap_err().to_string();
            assert!(
                sentence.contains(text) && sentence.contains("YYYY-MM-DD HH:MM:SS"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn a_column_that_holds_no_time_is_an_error() {
        let db = Connection::open_in_memory().unwrap();
        for value in ["'soon'", "NULL", "12", "x'00'"] {
            let read = db.query_row(&format!("SELECT {value}"), [], |row| {
                row.get::<_, Timestamp>(0)
            });
            assert!(read.is_err(), "{value} was read as {read:?}");
        }
    }

    proptest! {
        #[test]
        fn sqlite_agrees_with_the_stored_form(unix in Timestamp::MIN.unix()..=Timestamp::MAX.unix()) {
            let moment = Timestamp::from_unix(unix).unwrap();
            let db = Connection::open_in_memory().unwrap();
            let (accepted, read): (bool, Timestamp) = db
                .query_row("SELECT ?1 IS datetime(?2, 'unixepoch'), ?1", (moment, unix), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .unwrap();
            prop_assert!(accepted);
            prop_assert_eq!(read, moment);
        }

        #[test]
        fn the_stored_form_sorts_as_time_does(a in any::<i32>(), b in any::<i32>()) {
            let (a, b) = (Timestamp(i64::from(a)), Timestamp(i64::from(b)));
            prop_assert_eq!(a.cmp(&b), a.to_sql().cmp(&b.to_sql()));
        }

        #[test]
        fn reading_anything_never_panics(text in ".*") {
            let _ = Timestamp::from_sql(&text);
        }
    }
}
