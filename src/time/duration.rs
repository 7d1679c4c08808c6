//! Lengths of calendar time: `15d`, `2h30m`, `1mo 3d`.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use parse::DurationError;

const SECONDS_A_DAY: i128 = 24 * 3600;
const SECONDS_A_MONTH: i128 = 30 * SECONDS_A_DAY;

/// A length of time in calendar months, calendar days and exact seconds. How long it is depends on where it starts:
/// [`Zone::add`](super::Zone::add) adds it to a moment (design, “Time”).
///
/// As text it has one sign for the whole (see [`Duration::from_str`](std::str::FromStr::from_str)). A sum can have
/// parts of either sign, such as a month less five days; it is shown as `+1mo -5d`, which is not read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Duration {
    months: i64,
    days: i64,
    seconds: i64,
}

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration::new(0, 0, 0);

    /// So many calendar months, calendar days and exact seconds. `i64::MIN` counts as the next number, so that every
    /// part has an opposite.
    pub const fn new(months: i64, days: i64, seconds: i64) -> Self {
        Duration {
            months: opposable(months),
            days: opposable(days),
            seconds: opposable(seconds),
        }
    }

    /// Reads one that must be longer than nothing, as time limits and retention are.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text.
    pub fn positive(text: &str) -> Result<Self, String> {
        let duration: Self = text.parse().map_err(|error| format!("{error}"))?;
        match duration.is_negative() || duration.is_zero() {
            true => Err(format!(
                "'{text}' must be longer than nothing, such as 90s or 15d"
            )),
            false => Ok(duration),
        }
    }

    /// Calendar months; a year is twelve of them.
    pub fn months(&self) -> i64 {
        self.months
    }

    /// Calendar days; a week is seven of them.
    pub fn days(&self) -> i64 {
        self.days
    }

    /// Exact seconds.
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// The sum, unit by unit. None when a part overflows.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        self.combine(other, i64::checked_add)
    }

    /// So many times this length, unit by unit. None when a part overflows.
    pub fn checked_mul(&self, times: u32) -> Option<Self> {
        self.times(i64::from(times))
    }

    /// The same length in the other direction.
    pub fn negate(&self) -> Self {
        Duration {
            months: -self.months,
            days: -self.days,
            seconds: -self.seconds,
        }
    }

    /// Whether it counts back. Of a sum with parts of either sign, [`Duration::rough_seconds`] decides.
    pub fn is_negative(&self) -> bool {
        self.rough_seconds() < 0
    }

    /// Whether every part is zero.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The length in seconds. None when it has months or days, whose length depends on the calendar.
    pub fn exact_seconds(&self) -> Option<i64> {
        (self.months == 0 && self.days == 0).then_some(self.seconds)
    }

    /// The length in seconds with a day taken as 24 hours and a month as 30 days: for timeouts and retention, which
    /// need no calendar. The nearest that an `i64` holds when it is beyond.
    pub fn rough_seconds(&self) -> i64 {
        let total = i128::from(self.months) * SECONDS_A_MONTH
            + i128::from(self.days) * SECONDS_A_DAY
            + i128::from(self.seconds);
        i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX })
    }

    fn times(&self, times: i64) -> Option<Self> {
        self.combine(
            &Duration {
                months: times,
                days: times,
                seconds: times,
            },
            i64::checked_mul,
        )
    }

    fn combine(&self, other: &Self, join: fn(i64, i64) -> Option<i64>) -> Option<Self> {
        let join = |a, b| join(a, b).filter(|sum| *sum != i64::MIN);
        Some(Duration {
            months: join(self.months, other.months)?,
            days: join(self.days, other.days)?,
            seconds: join(self.seconds, other.seconds)?,
        })
    }
}

/// The number, or the one next to it where it has no opposite.
const fn opposable(number: i64) -> i64 {
    if number == i64::MIN {
        -i64::MAX
    } else {
        number
    }
}

impl fmt::Display for Duration {
    /// The canonical form: `1y2mo 3d 2h30m`, each unit as large as it can be except that days make no weeks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups = vec![
            (self.months, spell(self.months, &[(12, "y"), (1, "mo")])),
            (self.days, spell(self.days, &[(1, "d")])),
            (
                self.seconds,
                spell(self.seconds, &[(3600, "h"), (60, "m"), (1, "s")]),
            ),
        ];
        groups.retain(|(number, _)| *number != 0);
        let text = if groups.is_empty() {
            "0".to_owned()
        } else if groups.iter().all(|(number, _)| *number > 0) {
            join(&groups, |_| "")
        } else if groups.iter().all(|(number, _)| *number < 0) {
            format!("-{}", join(&groups, |_| ""))
        } else {
            join(&groups, |number| if number < 0 { "-" } else { "+" })
        };
        f.pad(&text)
    }
}

/// The size of a number in units, the largest first: 150 minutes are `2h30m`.
fn spell(number: i64, units: &[(u64, &str)]) -> String {
    let mut rest = number.unsigned_abs();
    let mut text = String::new();
    for (size, unit) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

fn join(groups: &[(i64, String)], sign: fn(i64) -> &'static str) -> String {
    let signed: Vec<String> = groups
        .iter()
        .map(|(number, text)| format!("{}{text}", sign(*number)))
        .collect();
    signed.join(" ")
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
