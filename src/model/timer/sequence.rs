//! When the levels of a timer fall (seed 004, “Séquençage des actions”; design, “Timers”, rules 1 and 2).
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

use thiserror::Error;

use crate::time::{Duration, Timestamp, Zone};

/// The most levels that a timer can have; one that fires every five minutes comes to its end after nine years.
pub const MOST_LEVELS: u32 = 1_000_000;

/// The levels of a timer. It keeps one entry an action, however often that is iterated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    runs: Vec<Run>,
    levels: u32,
}

/// The iterations of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    /// The level of its first iteration.
    first: u32,
    delay: Duration,
    /// The sum of the delays before it, which its own add to.
    base: Duration,
}

/// One iteration of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Which action it is of, counted from 0.
    pub action: usize,
    /// Which iteration of that action, counted from 0.
    pub iteration: u32,
    /// How long after the reference date it falls, delta not counted; negative if before.
    pub offset: Duration,
}

/// Why some actions make no sequence. Its sentence counts the actions from 1, as people do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SequenceError {
    /// There is nothing to do.
    #[error("a timer needs at least one action, such as delay=5d, state=late")]
    NoActions,
    /// An action that never happens.
    #[error(
        "action {action}: 0 iterations would never happen; take 1 or more, or leave the action out"
    )]
    NoIterations {
        /// Which one, counted from 1.
        action: usize,
    },
    /// All iterations of a negative delay would fall at the same time.
    #[error(
        "action {action}: the delay {delay} counts back from the reference date, so it can be iterated only once, \
         not {iterations} times"
    )]
    NegativeRepeats {
        /// Which one, counted from 1.
        action: usize,
        /// Its delay.
        delay: Duration,
        /// Its iterations.
        iterations: u32,
    },
    /// More levels than [`MOST_LEVELS`].
    #[error(
        "action {action}: the iterations of all actions come to more than {MOST_LEVELS}; take fewer"
    )]
    TooManyLevels {
        /// With which one, counted from 1.
        action: usize,
    },
    /// The sum of the delays overflows.
    #[error(
        "action {action}: its delays and those before it sum up to more than can be counted; take shorter ones"
    )]
    TooLong {
        /// With which one, counted from 1.
        action: usize,
    },
}

/// A level whose date cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "level {level} would fall outside the years 0000 to 9999; take shorter delays or another reference date"
)]
pub struct OutOfRange {
    /// The level, counted from 0.
    pub level: u32,
}

impl Sequence {
    /// The sequence of actions given by their delay and number of iterations, in order.
    ///
    /// # Errors
    /// There are no actions; one has no iterations, or several of a negative delay (design, “Timers”, rule 2); the
    /// levels are more than [`MOST_LEVELS`]; the delays overflow.
    pub fn new(actions: impl IntoIterator<Item = (Duration, u32)>) -> Result<Self, SequenceError> {
        let (mut runs, mut levels, mut sum) = (Vec::new(), 0, Duration::ZERO);
        for (delay, iterations) in actions {
            let action = runs.len() + 1;
            check(action, delay, iterations)?;
            let run = Run {
                first: levels,
                delay,
                base: sum,
            };
            levels = more(levels, iterations).ok_or(SequenceError::TooManyLevels { action })?;
            sum = run
                .sum_after(iterations)
                .ok_or(SequenceError::TooLong { action })?;
            runs.push(run);
        }
        if runs.is_empty() {
            return Err(SequenceError::NoActions);
        }
        Ok(Sequence { runs, levels })
    }

    /// How many levels there are, at least one.
    pub fn levels(&self) -> u32 {
        self.levels
    }

    /// The level of that number, counted from 0. None past the last.
    pub fn level(&self, number: u32) -> Option<Level> {
        if number >= self.levels {
            return None;
        }
        let action = self
            .runs
            .partition_point(|run| run.first <= number)
            .checked_sub(1)?;
        let run = self.runs.get(action)?;
        let iteration = number - run.first;
        Some(Level {
            action,
            iteration,
            offset: run.offset(iteration)?,
        })
    }

    /// When a level is due: `delta` and the level's offset, summed unit by unit, after the reference. `reference` is
    /// the date before the delta is added. None past the last level.
    ///
    /// # Errors
    /// The date is outside the years 0000 to 9999 in UTC.
    pub fn due_at(
        &self,
        zone: &Zone,
        reference: Timestamp,
        delta: &Duration,
        level: u32,
    ) -> Result<Option<Timestamp>, OutOfRange> {
        let Some(Level { offset, .. }) = self.level(level) else {
            return Ok(None);
        };
        let due = delta
            .checked_add(&offset)
            .and_then(|length| zone.add(reference, &length));
        due.map(Some).ok_or(OutOfRange { level })
    }
}

impl Run {
    /// Where an iteration falls from the reference date. None on overflow, which no iteration meets when the last
    /// does not, since offsets go on in one direction.
    fn offset(&self, iteration: u32) -> Option<Duration> {
        if self.delay.is_negative() {
            return Some(self.delay);
        }
        self.sum_after(iteration.checked_add(1)?)
    }

    /// The sum of the delays up to and with so many iterations. None on overflow.
    fn sum_after(&self, iterations: u32) -> Option<Duration> {
        if self.delay.is_negative() {
            return Some(self.base);
        }
        self.base.checked_add(&self.delay.checked_mul(iterations)?)
    }
}

/// Refuses an action that could not be iterated that often.
fn check(action: usize, delay: Duration, iterations: u32) -> Result<(), SequenceError> {
    match iterations {
        0 => Err(SequenceError::NoIterations { action }),
        2.. if delay.is_negative() => Err(SequenceError::NegativeRepeats {
            action,
            delay,
            iterations,
        }),
        _ => Ok(()),
    }
}

/// That many levels more. None above the limit.
fn more(levels: u32, iterations: u32) -> Option<u32> {
    levels
        .checked_add(iterations)
        .filter(|levels| *levels <= MOST_LEVELS)
}
