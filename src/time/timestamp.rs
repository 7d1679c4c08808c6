//! A moment in UTC, to the second.

use std::fmt;
use std::time::SystemTime;

use chrono::{DateTime, Datelike, NaiveDateTime, SecondsFormat, TimeDelta, Timelike, Utc};
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use serde::{Serialize, Serializer};

/// The text form of SQLite's own `datetime('now')`, which columns are checked for.
const SQL_FORM: &str = "%Y-%m-%d %H:%M:%S";

/// A moment in UTC, in whole seconds, within the years 0000 to 9999: those that SQLite's text form can hold.
/// Displayed as RFC 3339, `2026-04-10T07:00:00Z`, which is also its form in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The beginning of 1970.
    pub(crate) const EPOCH: Self = Timestamp(DateTime::UNIX_EPOCH);

    /// The moment that many seconds after 1970 began; none outside the years 0000 to 9999.
    pub(crate) fn from_unix(seconds: i64) -> Option<Self> {
        Self::from_utc(DateTime::from_timestamp(seconds, 0)?.naive_utc())
    }

    /// The moment of a UTC time, without its fraction of a second; none outside the years 0000 to 9999.
    pub(super) fn from_utc(utc: NaiveDateTime) -> Option<Self> {
        let moment = Timestamp(utc.with_nanosecond(0)?.and_utc());
        (0..=9999).contains(&utc.year()).then_some(moment)
    }

    /// The time of the system's clock. One that is set to before 1970 or after 9999 counts as 1970.
    pub(crate) fn from_system(time: SystemTime) -> Self {
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = i64::try_from(since_1970.unwrap_or_default().as_secs()).ok();
        let moment = seconds.and_then(Self::from_unix);
        moment.unwrap_or(Timestamp(DateTime::UNIX_EPOCH))
    }

    /// Seconds since 1970 began.
    pub(crate) fn unix(self) -> i64 {
        self.0.timestamp()
    }

    /// The moment that many seconds later, or earlier when negative; none outside the years 0000 to 9999.
    pub(crate) fn plus_seconds(self, seconds: i64) -> Option<Self> {
        let length = TimeDelta::try_seconds(seconds)?;
        Self::from_utc(self.utc().checked_add_signed(length)?)
    }

    /// Seconds from `other` to this moment, negative when `other` is the later one.
    pub(crate) fn seconds_since(self, other: Timestamp) -> i64 {
        self.unix() - other.unix()
    }

    /// The form in which it is stored: `YYYY-MM-DD HH:MM:SS`. Sorts as the moments do.
    pub(crate) fn to_sql(self) -> String {
        self.utc().to_string()
    }

    /// Reads the stored form.
    pub(crate) fn from_sql(text: &str) -> Option<Self> {
        NaiveDateTime::parse_from_str(text, SQL_FORM)
            .ok()
            .and_then(Self::from_utc)
    }

    pub(super) fn utc(self) -> NaiveDateTime {
        self.0.naive_utc()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(Timestamp::to_sql(*self)))
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Timestamp::from_sql(text).ok_or_else(|| {
            FromSqlError::Other(
                format!("the time \"{text}\" is not of the form YYYY-MM-DD HH:MM:SS").into(),
            )
        })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use rusqlite::Connection;

    use super::Timestamp;

    /// 0000-01-01 00:00:00 and 9999-12-31 23:59:59.
    const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

    #[test]
    fn each_form_shows_the_same_moment() {
        for (unix, sql, rfc3339) in [
            (0, "1970-01-01 00:00:00", "1970-01-01T00:00:00Z"),
            (1_775_804_400, "2026-04-10 07:00:00", "2026-04-10T07:00:00Z"),
            (-1, "1969-12-31 23:59:59", "1969-12-31T23:59:59Z"),
            (*RANGE.end(), "9999-12-31 23:59:59", "9999-12-31T23:59:59Z"),
        ] {
            let moment = Timestamp::from_unix(unix).unwrap();
            assert_eq!(moment.to_sql(), sql);
            assert_eq!(moment.to_string(), rfc3339);
            assert_eq!(serde_json::to_value(moment).unwrap(), rfc3339);
            assert_eq!(Timestamp::from_sql(sql), Some(moment));
        }
    }

    #[test]
    fn moments_that_sqlite_cannot_write_do_not_exist() {
        for unix in [*RANGE.start() - 1, *RANGE.end() + 1, i64::MIN, i64::MAX] {
            assert_eq!(Timestamp::from_unix(unix), None);
        }
        let last = Timestamp::from_unix(*RANGE.end()).unwrap();
        assert_eq!(last.plus_seconds(1), None);
        assert_eq!(last.plus_seconds(i64::MAX), None);
    }

    #[test]
    fn a_column_that_holds_no_time_is_an_error() {
        let db = Connection::open_in_memory().unwrap();
        for value in [
            "'soon'",
            "'2026-04-10'",
            "'2026-02-30 07:00:00'",
            "NULL",
            "12",
        ] {
            let query = format!("SELECT {value}");
            let read = db.query_row(&query, [], |row| row.get::<_, Timestamp>(0));
            assert!(read.is_err(), "{value} was read as {read:?}");
        }
    }

    proptest! {
        #[test]
        fn sqlite_agrees_with_the_stored_form(unix in RANGE) {
            let moment = Timestamp::from_unix(unix).unwrap();
            let db = Connection::open_in_memory().unwrap();
            let query = "SELECT ?1 IS datetime(?2, 'unixepoch'), ?1";
            let (is_same, read): (bool, Timestamp) = db
                .query_row(query, (moment, unix), |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap();
            prop_assert!(is_same);
            prop_assert_eq!(read, moment);
        }
    }
}
