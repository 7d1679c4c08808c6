//! A schedule: what adds tasks again and again (`docs/schedules.md`).

use clap::ValueEnum;
use serde::Serialize;

use crate::json::Json;
use crate::model::task::{Notify, keys_only};
use crate::time::{CronExpression, Duration, Timestamp, When, Zone};

/// How many occurrences of one schedule are taken at once, a bounded part of the memory; the next turn looks at the others.
const MAX_AT_ONCE: usize = 100_000;

/// What happens to occurrences that were missed, while no tick ran say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Missed {
    /// One task for all of them.
    #[default]
    Last,
    /// A task for each.
    All,
}

/// What happens to an occurrence while a task of an earlier one is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Overlap {
    /// It is skipped, which its record says.
    #[default]
    Skip,
    /// Its task is added, and waits for its turn like any other.
    Queue,
}

impl Missed {
    /// The name that it is stored by.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::All => "all",
        }
    }
}

impl Overlap {
    /// The name that it is stored by.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
        }
    }
}

/// A schedule as it is stored, and as JSON shows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Schedule {
    #[serde(skip)]
    pub id: i64,
    pub name: String,
    pub cron: Option<String>,
    pub every: Option<String>,
    /// When an interval begins; none is `since_at`.
    pub first_at: Option<Timestamp>,
    pub zone: Option<String>,
    pub missed: Missed,
    pub limit: Option<String>,
    pub overlap: Overlap,
    pub method: String,
    pub params: Json,
    #[serde(serialize_with = "keys_only")]
    pub hidden_params: Option<Json>,
    /// The name of the file that each task is given.
    pub file: Option<String>,
    pub owner: Option<String>,
    pub notify: Option<Notify>,
    pub signature: Option<String>,
    pub unique: bool,
    pub priority: i64,
    pub retries: Option<u32>,
    pub timeout: Option<String>,
    pub document: Option<i64>,
    pub paused: bool,
    /// None until the next tick has worked it out.
    pub next_at: Option<Timestamp>,
    /// The last occurrence that a task was added for.
    pub last_at: Option<Timestamp>,
    pub last_task: Option<i64>,
    /// The last occurrence that no task was added for, and why.
    pub skipped_at: Option<Timestamp>,
    pub skipped_reason: Option<String>,
    /// Why no task can be added, or no date be worked out.
    pub error: Option<String>,
    /// Since when its dates are as they are: its first occurrence is after this.
    #[serde(skip)]
    pub since_at: Timestamp,
}

/// When a schedule is due: as its expression or its interval has it.
pub(crate) enum Recurrence {
    Cron(CronExpression),
    Every { first: Timestamp, every: Duration },
}

/// The occurrences of a schedule that have come, and the first after them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub occurrences: Vec<Timestamp>,
    pub next: Timestamp,
}

impl Schedule {
    /// The zone that its dates are meant in: its own, else the one of the settings.
    pub(crate) fn zone(&self, default: Zone) -> Result<Zone, String> {
        self.zone.as_deref().map_or(Ok(default), Zone::parse)
    }

    /// When it is due, or what is wrong with its expression or interval.
    pub(crate) fn recurrence(&self) -> Result<Recurrence, String> {
        match (&self.cron, &self.every) {
            (Some(cron), _) => CronExpression::parse(cron).map(Recurrence::Cron),
            (None, every) => Ok(Recurrence::Every {
                first: self.first_at.unwrap_or(self.since_at),
                every: Duration::positive(every.as_deref().unwrap_or_default())?,
            }),
        }
    }

    /// Whether its dates are meant as those of another are.
    pub(crate) fn has_dates_of(&self, other: &Self) -> bool {
        let dates = |it: &Self| {
            (
                it.cron.clone(),
                it.every.clone(),
                it.first_at,
                it.zone.clone(),
            )
        };
        dates(self) == dates(other)
    }

    /// All occurrences that are to come.
    pub(crate) fn dates(&self, default: Zone) -> Result<impl Iterator<Item = Timestamp>, String> {
        let (zone, recurrence) = (self.zone(default)?, self.recurrence()?);
        let next = match self.next_at {
            Some(next_at) => next_at,
            None => self.first_date(default)?,
        };
        Ok(std::iter::successors(Some(next), move |at| {
            recurrence.next_after(&zone, *at)
        }))
    }

    /// The next occurrence, of one whose dates have changed or never were worked out.
    pub(crate) fn first_date(&self, default: Zone) -> Result<Timestamp, String> {
        let from = self.since_at.max(self.last_at.unwrap_or(self.since_at));
        let next = self.recurrence()?.next_after(&self.zone(default)?, from);
        next.ok_or_else(|| "it has no next date".to_owned())
    }

    /// The occurrences from `next_at` on that have come.
    pub(crate) fn due(&self, next_at: Timestamp, when: When) -> Result<Due, String> {
        let now = when.now;
        let (zone, recurrence) = (self.zone(when.zone)?, self.recurrence()?);
        let next_after = |moment: &Timestamp| recurrence.next_after(&zone, *moment);
        let mut occurrences = vec![next_at];
        match self.missed {
            Missed::Last => {
                let last = recurrence.last_until(&zone, now);
                occurrences[0] = next_at.max(last.unwrap_or(next_at));
            }
            Missed::All => {
                let later = std::iter::successors(next_after(&next_at), next_after);
                let later = later.take_while(|at| *at <= now).take(MAX_AT_ONCE - 1);
                occurrences.extend(later);
            }
        }
        let last = occurrences.last().expect("there is at least one");
        match next_after(last) {
            Some(next) => Ok(Due { occurrences, next }),
            None => Err("it has no next date".to_owned()),
        }
    }

    /// Whether its next date is farther away than its expression or interval can mean: the clock was ahead when it was
    /// worked out, and has been set back since.
    pub(crate) fn is_set_back(&self, when: When) -> bool {
        let next = || {
            let recurrence = self.recurrence().ok()?;
            recurrence.next_after(&self.zone(when.zone).ok()?, when.now)
        };
        matches!((self.next_at, next()), (Some(stored), Some(next)) if stored > next)
    }

    /// Whether an occurrence is later by now than the schedule's limit.
    pub(crate) fn is_too_late(
        &self,
        when: When,
    ) -> Result<impl Fn(Timestamp) -> bool + use<>, String> {
        let zone = self.zone(when.zone)?;
        let limit = self.limit.as_deref().map(Duration::positive).transpose()?;
        Ok(move |occurrence| {
            let until = limit.and_then(|limit| zone.add(occurrence, &limit));
            until.is_some_and(|until| until < when.now)
        })
    }
}

impl Recurrence {
    /// The first occurrence after a moment.
    pub(crate) fn next_after(&self, zone: &Zone, moment: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.next_after(zone, moment),
            Self::Every { .. } => self.nth(zone, self.count_until(zone, moment)?),
        }
    }

    /// The last occurrence that is not after a moment.
    fn last_until(&self, zone: &Zone, moment: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.last_until(zone, moment),
            Self::Every { .. } => self.nth(zone, self.count_until(zone, moment)? - 1),
        }
    }

    /// How many occurrences of an interval there are until a moment.
    fn count_until(&self, zone: &Zone, moment: Timestamp) -> Option<i64> {
        let Self::Every { first, every } = self else {
            return None;
        };
        // Months and the changes of clocks move the estimate by a few.
        let estimate = moment.seconds_since(*first) / every.rough_seconds();
        let mut count = (estimate - 2).max(0);
        while self.nth(zone, count)? <= moment {
            count += 1;
        }
        Some(count)
    }

    /// An occurrence of an interval, from 0: counted from the first, so that nothing drifts at the ends of months.
    fn nth(&self, zone: &Zone, count: i64) -> Option<Timestamp> {
        match self {
            Self::Every { first, every } if count >= 0 => zone.add(*first, &(*every * count)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paris() -> Zone {
        Zone::parse("Europe/Paris").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        paris().parse_time(text).unwrap()
    }

    fn every(text: &str, first: &str) -> Recurrence {
        Recurrence::Every {
            first: at(first),
            every: text.parse().unwrap(),
        }
    }

    #[test]
    fn an_interval_counts_from_its_first_date() {
        let cases = [
            (
                "1d",
                "2026-03-27T09:00",
                "2026-03-29T10:00",
                "2026-03-30T09:00",
            ),
            (
                "24h",
                "2026-03-27T09:00",
                "2026-03-29T09:30",
                "2026-03-29T10:00",
            ),
            ("1mo", "2026-01-31", "2026-02-28", "2026-03-31"),
            ("1mo", "2026-01-31", "2026-01-31", "2026-02-28"),
            ("15m", "2026-01-01", "2027-01-01T00:07", "2027-01-01T00:15"),
            ("1w", "2026-05-01", "2026-01-01", "2026-05-01"),
        ];
        for (interval, first, after, expected) in cases {
            let next = every(interval, first).next_after(&paris(), at(after));
            assert_eq!(next, Some(at(expected)), "{interval} after {after}");
            let last = every(interval, first).last_until(&paris(), at(expected));
            assert_eq!(last, Some(at(expected)), "{interval} until {expected}");
        }
    }
}
