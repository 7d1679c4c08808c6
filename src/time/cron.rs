//! Cron expressions: the moments that they name, in a zone.

use chrono::{DateTime, Local, TimeDelta, TimeZone};
use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, Direction};

use super::{Timestamp, Zone, quote};

/// An expression of five fields, or a name for one, such as `@daily`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CronExpression(Box<Cron>);

impl CronExpression {
    /// Reads an expression. One that names no moment at all, such as the 30th of February, is refused.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |reason: &str| format!("cron expression {}: {reason}", quote(text));
        let text = match text.trim() {
            "@midnight" => "@daily",
            text => text,
        };
        // As cron has it: of two days either is enough, unless one of them begins with a star.
        let days = text.split_whitespace().enumerate();
        let mut days = days.filter(|(field, _)| [2, 4].contains(field));
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .dom_and_dow(days.any(|(_, day)| day.starts_with('*')))
            .build();
        let cron = parser.parse(text).map_err(|error| {
            let error = error.to_string();
            let reason = error.trim_end_matches('.');
            wrong(&format!(
                "{reason}; write five fields such as '30 2 * * mon-fri', or @daily"
            ))
        })?;
        let expression = Self(Box::new(cron));
        match expression.next_after(&Zone::Named(chrono_tz::UTC), Timestamp::EPOCH) {
            Some(_) => Ok(expression),
            None => Err(wrong("there is no such day")),
        }
    }

    /// The first moment after this one. A time of day that clocks skip comes right after the gap, one that occurs twice
    /// comes once; where hours or minutes have a star, they follow the clock on the wall. None after the year 5000.
    pub(crate) fn next_after(&self, zone: &Zone, moment: Timestamp) -> Option<Timestamp> {
        if !self.is_fixed() {
            return self.find(zone, moment, Direction::Forward);
        }
        let mut local = zone.local(moment);
        loop {
            local = self.0.find_next_occurrence(&local, false).ok()?;
            let found = zone.first_moment(local)?;
            if found > moment {
                return Some(found);
            }
        }
    }

    /// The last moment that is not after this one.
    pub(crate) fn last_until(&self, zone: &Zone, moment: Timestamp) -> Option<Timestamp> {
        if !self.is_fixed() {
            return self.find(zone, moment, Direction::Backward);
        }
        // Clocks that went back may have shown later times before.
        let mut local = zone.local(moment) + TimeDelta::days(1);
        loop {
            local = self.0.find_previous_occurrence(&local, false).ok()?;
            let found = zone.first_moment(local)?;
            if found <= moment {
                return Some(found);
            }
        }
    }

    /// Whether it names times of day.
    fn is_fixed(&self) -> bool {
        let pattern = &self.0.pattern;
        !pattern.minutes.from_wildcard && !pattern.hours.from_wildcard
    }

    fn find(&self, zone: &Zone, moment: Timestamp, direction: Direction) -> Option<Timestamp> {
        match zone {
            Zone::System => self.find_in(&Local, moment, direction),
            Zone::Named(zone) => self.find_in(zone, moment, direction),
        }
    }

    fn find_in<Z: TimeZone>(
        &self,
        zone: &Z,
        moment: Timestamp,
        direction: Direction,
    ) -> Option<Timestamp> {
        let from: DateTime<Z> = zone.from_utc_datetime(&moment.utc());
        let found = match direction {
            Direction::Forward => self.0.find_next_occurrence(&from, false),
            Direction::Backward => self.0.find_previous_occurrence(&from, true),
        };
        Timestamp::from_utc(found.ok()?.naive_utc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    fn at(zone: &Zone, text: &str) -> Timestamp {
        zone.parse_time(text).unwrap()
    }

    /// The next dates after one, in local time.
    fn dates(zone: &Zone, text: &str, after: &str, count: usize) -> Vec<String> {
        let cron = CronExpression::parse(text).unwrap();
        let mut moment = at(zone, after);
        let next = std::iter::from_fn(|| {
            moment = cron.next_after(zone, moment)?;
            Some(zone.rfc3339(moment))
        });
        next.take(count).collect()
    }

    #[test]
    fn the_two_changes_of_the_year() {
        let cases = [
            // Clocks go forward: a fixed time that is skipped comes right after the gap.
            (
                "Europe/Paris",
                "30 2 * * *",
                "2026-03-28T03:00",
                ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
            ),
            (
                "America/New_York",
                "30 2 * * *",
                "2026-03-07T03:00",
                ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"],
            ),
            (
                "Australia/Lord_Howe",
                "15 2 * * *",
                "2026-10-03T03:00",
                ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
            ),
            // They go back: a fixed time that occurs twice comes once.
            (
                "Europe/Paris",
                "30 2 * * *",
                "2026-10-24T03:00",
                ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
            ),
            (
                "America/New_York",
                "30 1 * * *",
                "2026-10-31T03:00",
                ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"],
            ),
            (
                "Australia/Lord_Howe",
                "45 1 * * *",
                "2026-04-04T03:00",
                ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"],
            ),
            // So do those in lists and ranges.
            (
                "Europe/Paris",
                "0,30 2,14 * * *",
                "2026-03-29T01:00",
                ["2026-03-29T03:00:00+02:00", "2026-03-29T14:00:00+02:00"],
            ),
            (
                "Europe/Paris",
                "30 1-3 * * *",
                "2026-10-25T01:30",
                ["2026-10-25T02:30:00+02:00", "2026-10-25T03:30:00+01:00"],
            ),
            // Wildcards follow the clock on the wall.
            (
                "Europe/Paris",
                "0 * * * *",
                "2026-03-29T01:00",
                ["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"],
            ),
            (
                "Europe/Paris",
                "0 * * * *",
                "2026-10-25T01:00",
                ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"],
            ),
            (
                "Australia/Lord_Howe",
                "*/30 * * * *",
                "2026-10-04T01:30",
                ["2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00"],
            ),
        ];
        for (name, text, after, expected) in cases {
            assert_eq!(
                dates(&zone(name), text, after, 2),
                expected,
                "{name} {text}"
            );
        }
    }

    #[test]
    fn names_and_days() {
        let utc = zone("UTC");
        let cases = [
            ("@daily", "2026-11-28T00:00:00+00:00"),
            ("0 9 * * mon-fri", "2026-11-30T09:00:00+00:00"),
            ("0 9 1 jan *", "2027-01-01T09:00:00+00:00"),
            // Of a day of the month and a day of the week either is enough.
            ("0 9 13 * 7", "2026-11-29T09:00:00+00:00"),
            ("0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
            // Unless one of them begins with a star: the first Monday of a month.
            ("0 0 */100,1-7 * mon", "2026-12-07T00:00:00+00:00"),
            ("@midnight", "2026-11-28T00:00:00+00:00"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                dates(&utc, text, "2026-11-27T12:00", 1),
                [expected],
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in [
            "",
            "* * * *",
            "61 * * * *",
            "0 0 30 2 *",
            "@reboot",
            "* * * * * *",
            "0 0 31 apr *",
        ] {
            assert!(CronExpression::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_last_until_now_is_the_last_that_came(
            text in proptest::sample::select(vec!["30 2 * * *", "0 * * * *", "*/30 * * * *", "15 1,2,3 * * *", "0,30 2 * * *", "45 1 * * 0"]),
            zone_name in proptest::sample::select(vec!["Europe/Paris", "America/New_York", "Australia/Lord_Howe"]),
            start in 1_766_000_000_i64..1_798_000_000, length in 0_i64..400_000,
        ) {
            let (zone, cron) = (zone(zone_name), CronExpression::parse(text).unwrap());
            let start = Timestamp::from_unix(start).unwrap();
            let now = start.plus_seconds(length).unwrap();
            let next = |moment: &Timestamp| cron.next_after(&zone, *moment);
            let came = std::iter::successors(next(&start), next).take_while(|at| *at <= now);
            let last = cron.last_until(&zone, now).filter(|at| *at > start);
            proptest::prop_assert_eq!(last, came.last());
        }
    }
}
