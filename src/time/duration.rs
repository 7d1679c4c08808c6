//! Durations by the calendar: `15d`, `2h30m`, `1mo 3d`.

use std::fmt;
use std::ops::{Add, Mul, Neg};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::quote;

const DAY: i64 = 24 * 3600;
/// A twelfth of the mean year of the calendar, which has 365.2425 days.
const MONTH: i64 = 2_629_746;
/// The longest duration that is read: 200 years.
const MAX_SECONDS: i64 = 200 * 12 * MONTH;

/// The units, with one of each.
const UNITS: [(&str, Duration); 7] = [
    ("y", Duration::new(12, 0, 0)),
    ("mo", Duration::new(1, 0, 0)),
    ("w", Duration::new(0, 7, 0)),
    ("d", Duration::new(0, 1, 0)),
    ("h", Duration::new(0, 0, 3600)),
    ("m", Duration::new(0, 0, 60)),
    ("s", Duration::new(0, 0, 1)),
];

const FORM: &str = "it should be whole numbers, each with its unit (y, mo, w, d, h, m or s) directly after it, and one sign \
                    in front of the whole";
const REPEATED: &str = "a unit stands there twice";
const TOO_LONG: &str = "it is longer than 200 years";

/// A length of time in calendar months, calendar days and exact seconds. How long it is depends on where it starts:
/// [`Zone::add`](super::Zone::add) adds it to a moment.
///
/// As text it has one sign for the whole, and is at most 200 years long: so a million can be summed up without care for
/// overflow. A sum of two can have parts of either sign, and is never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Duration {
    pub(super) months: i64,
    pub(super) days: i64,
    pub(super) seconds: i64,
}

impl Duration {
    /// No time at all.
    pub(crate) const ZERO: Duration = Duration::new(0, 0, 0);

    /// So many calendar months, calendar days and exact seconds.
    pub(crate) const fn new(months: i64, days: i64, seconds: i64) -> Self {
        Duration {
            months,
            days,
            seconds,
        }
    }

    /// Reads one that must be longer than nothing, as time limits and retention are.
    pub(crate) fn positive(text: &str) -> Result<Self, String> {
        let duration: Self = text.parse()?;
        if duration.is_negative() || duration.is_zero() {
            return Err(format!(
                "'{text}' must be longer than nothing, such as 90s or 15d"
            ));
        }
        Ok(duration)
    }

    /// Whether it counts back.
    pub(crate) fn is_negative(&self) -> bool {
        self.rough_seconds() < 0
    }

    /// Whether every part is zero.
    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The same without a calendar.
    pub(crate) fn roughly(&self) -> std::time::Duration {
        let seconds = u64::try_from(self.rough_seconds()).unwrap_or(0);
        std::time::Duration::from_secs(seconds)
    }

    /// The length in seconds with a day of 24 hours and a month of 30.4 days: for time limits, which need no calendar.
    pub(crate) fn rough_seconds(&self) -> i64 {
        self.months * MONTH + self.days * DAY + self.seconds
    }
}

impl Add for Duration {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Duration::new(
            self.months + other.months,
            self.days + other.days,
            self.seconds + other.seconds,
        )
    }
}

impl Mul<i64> for Duration {
    type Output = Self;

    fn mul(self, times: i64) -> Self {
        Duration::new(self.months * times, self.days * times, self.seconds * times)
    }
}

impl Neg for Duration {
    type Output = Self;

    fn neg(self) -> Self {
        Duration::new(-self.months, -self.days, -self.seconds)
    }
}

impl FromStr for Duration {
    type Err = String;

    /// Reads parts like `15d`, `2h30m`, `1mo 3d`, in any order and spacing, each unit at most once. A sign in front
    /// counts for the whole. Zero needs no unit.
    fn from_str(text: &str) -> Result<Self, String> {
        signed(text.trim()).map_err(|reason| {
            let text = quote(text);
            format!("duration {text}: {reason}; write it like 15d, -5d, 2h30m, 1mo 3d or 0")
        })
    }
}

fn signed(text: &str) -> Result<Duration, &'static str> {
    match text.strip_prefix('-') {
        Some(rest) => unsigned(rest.trim_start()).map(Neg::neg),
        None => unsigned(text.strip_prefix('+').unwrap_or(text).trim_start()),
    }
}

fn unsigned(mut text: &str) -> Result<Duration, &'static str> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut units = Vec::new();
    loop {
        let (number, rest) = split_while(text, |c| c.is_ascii_digit());
        let (unit, rest) = split_while(rest, char::is_alphabetic);
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, one) = known.filter(|_| !number.is_empty()).ok_or(FORM)?;
        if units.contains(&unit) {
            return Err(REPEATED);
        }
        units.push(unit);
        let count: i64 = number.parse().map_err(|_| TOO_LONG)?;
        if count > MAX_SECONDS || (total + *one * count).rough_seconds() > MAX_SECONDS {
            return Err(TOO_LONG);
        }
        total = total + *one * count;
        text = rest.trim_start();
        if text.is_empty() {
            return Ok(total);
        }
    }
}

fn split_while(text: &str, belongs: fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

impl fmt::Display for Duration {
    /// The canonical form: `1y2mo 3d 2h30m`, each unit as large as it can be except that days make no weeks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let groups = [
            in_units(self.months, &[(12, "y"), (1, "mo")]),
            in_units(self.days, &[(1, "d")]),
            in_units(self.seconds, &[(3600, "h"), (60, "m"), (1, "s")]),
        ];
        let groups: Vec<_> = groups
            .into_iter()
            .filter(|group| !group.is_empty())
            .collect();
        let sign = if self.is_negative() { "-" } else { "" };
        write!(f, "{sign}{}", groups.join(" "))
    }
}

/// A number in units, the largest first: 150 minutes are `2h30m`.
fn in_units(number: i64, units: &[(u64, &str)]) -> String {
    let mut rest = number.unsigned_abs();
    let mut text = String::new();
    for (size, unit) in units {
        if rest >= *size {
            text += &format!("{}{unit}", rest / size);
        }
        rest %= size;
    }
    text
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{Duration, FORM, REPEATED, TOO_LONG};

    fn parse(text: &str) -> Duration {
        text.parse().unwrap()
    }

    #[test]
    fn every_unit_counts_as_its_calendar_or_exact_length() {
        for (text, months, days, seconds) in [
            ("0", 0, 0, 0),
            ("-0", 0, 0, 0),
            ("15d", 0, 15, 0),
            ("- 5d", 0, -5, 0),
            ("+5d", 0, 5, 0),
            ("2h30m", 0, 0, 9000),
            ("3d1mo", 1, 3, 0),
            ("1y1mo1w1d1h1m1s", 13, 8, 3661),
            ("  2w\t 10s ", 0, 14, 10),
            ("-1y 2h", -12, 0, -7200),
            ("-200y", -2400, 0, 0),
        ] {
            assert_eq!(parse(text), Duration::new(months, days, seconds), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_duration_is_refused_with_what_is_wrong() {
        for (text, reason) in [
            ("", FORM),
            ("-", FORM),
            ("15", FORM),
            ("5 d", FORM),
            ("2h30", FORM),
            ("0 3d", FORM),
            ("soon", FORM),
            ("5D", FORM),
            ("5days", FORM),
            ("1.5d", FORM),
            ("1mo -3d", FORM),
            ("--3d", FORM),
            ("1d 2d", REPEATED),
            ("201y", TOO_LONG),
            ("-199y 13mo", TOO_LONG),
            ("99999999999d", TOO_LONG),
            ("9223372036854775807h", TOO_LONG),
            ("9223372036854775808s", TOO_LONG),
        ] {
            let message = text.parse::<Duration>().unwrap_err();
            let form = "write it like 15d, -5d, 2h30m, 1mo 3d or 0";
            assert_eq!(message, format!("duration \"{text}\": {reason}; {form}"));
        }
    }

    #[test]
    fn an_error_stays_on_one_short_line_whatever_the_text() {
        let text = format!("1d\n{}", "x".repeat(10_000));
        let message = text.parse::<Duration>().unwrap_err();
        assert!(!message.contains('\n') && message.len() < 400, "{message}");
    }

    #[test]
    fn each_length_has_one_canonical_form() {
        for (text, canonical) in [
            ("0s", "0"),
            ("14mo", "1y2mo"),
            ("2w 1d", "15d"),
            ("36h", "36h"),
            ("90s", "1m30s"),
            ("3d 1mo 150m", "1mo 3d 2h30m"),
            ("-1mo3d", "-1mo 3d"),
        ] {
            assert_eq!(parse(text).to_string(), canonical);
            let json = serde_json::to_string(&parse(text)).unwrap();
            assert_eq!(json, format!("\"{canonical}\""));
            assert_eq!(
                serde_json::from_str::<Duration>(&json).unwrap(),
                parse(text)
            );
        }
    }

    proptest! {
        #[test]
        fn parsing_anything_never_panics(text in ".*", nearly in "[-+ 0-9.ymowdhms\u{a0}é]{0,24}") {
            let _ = text.parse::<Duration>();
            let _ = nearly.parse::<Duration>();
        }

        #[test]
        fn what_is_shown_reads_back_the_same(
            months in 0..1200i64, days in 0..36_500i64, seconds in 0..1_000_000i64, back in any::<bool>(),
        ) {
            let length = Duration::new(months, days, seconds);
            let length = if back { -length } else { length };
            prop_assert_eq!(length.to_string().parse(), Ok(length));
        }
    }
}
