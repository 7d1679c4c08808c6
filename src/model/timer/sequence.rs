//! When the levels of a timer are due (`docs/timers.md`, "Levels").
//!
//! The iterations of all actions, one action after the other, are the levels, counted from 0. Each falls one delay
//! after the level before it, the first one delay after the reference date. An action with a negative delay instead
//! counts back from the reference date, and the next one goes on as if it were not there.
//!
//! Delta and delays are summed unit by unit and added to the reference once: three delays of a month from 31 January
//! end on 30 April, not on the 28th, where steps by way of February would end.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::time::{Duration, Timestamp, Zone};

/// The most levels that a timer can have: one that fires every five minutes ends after nine years.
const MAX_LEVELS: u32 = 1_000_000;

/// The levels of a timer. It keeps one entry an action, however often that is iterated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sequence {
    runs: Vec<Run>,
    levels: u32,
}

/// The iterations of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    first_level: u32,
    delay: Duration,
    /// The sum of the delays before it, which its own add to.
    base: Duration,
}

/// One iteration of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// Which action it is of, counted from 0.
    pub action: usize,
    /// Which iteration of that action, counted from 0.
    pub iteration: u32,
    /// How long after the reference date it falls, delta not counted; negative if before.
    pub offset: Duration,
}

impl Sequence {
    /// The sequence of actions that were checked one by one, given by their delay and number of iterations, in order.
    pub(crate) fn new(actions: impl IntoIterator<Item = (Duration, u32)>) -> Result<Self, String> {
        let (mut runs, mut levels, mut base) = (Vec::new(), 0, Duration::ZERO);
        for (delay, iterations) in actions {
            runs.push(Run {
                first_level: levels,
                delay,
                base,
            });
            if iterations > MAX_LEVELS - levels {
                return Err(format!(
                    "action {}: the iterations of all actions come to more than {MAX_LEVELS}; take fewer",
                    runs.len()
                ));
            }
            levels += iterations;
            if !delay.is_negative() {
                base = base + delay * iterations.into();
            }
        }
        if runs.is_empty() {
            return Err(
                "a timer needs at least one action, such as delay=5d, state=late".to_owned(),
            );
        }
        Ok(Sequence { runs, levels })
    }

    /// How many levels there are, at least one.
    pub(crate) fn levels(&self) -> u32 {
        self.levels
    }

    /// The level of that number, counted from 0. None past the last.
    pub(crate) fn level(&self, number: u32) -> Option<Level> {
        if number >= self.levels {
            return None;
        }
        let after = self.runs.partition_point(|run| run.first_level <= number);
        let action = after - 1; // the first run begins with level 0
        let run = &self.runs[action];
        let iteration = number - run.first_level;
        let offset = if run.delay.is_negative() {
            run.delay
        } else {
            run.base + run.delay * (iteration + 1).into()
        };
        Some(Level {
            action,
            iteration,
            offset,
        })
    }

    /// When a level is due: `delta` and the level's offset, summed unit by unit, after the reference date. None past the
    /// last level; an error when it would be outside the years 0000 to 9999.
    pub(crate) fn due_at(
        &self,
        zone: &Zone,
        reference: Timestamp,
        delta: &Duration,
        number: u32,
    ) -> Result<Option<Timestamp>, String> {
        let Some(level) = self.level(number) else {
            return Ok(None);
        };
        let due = zone.add(reference, &(*delta + level.offset));
        due.map(Some).ok_or_else(|| {
            format!(
                "level {number} would fall outside the years 0000 to 9999; take shorter delays or another reference \
                 date"
            )
        })
    }
}
