//! What a pass came to, told in a bounded number of words.

use std::fmt;

use super::FiringStatus;

/// How many problems a pass tells of one by one.
const MOST_PROBLEMS: usize = 100;

/// A level that could not be fired.
#[derive(Debug)]
pub struct Problem {
    /// The attachment.
    pub attachment: i64,
    /// The timer's name.
    pub timer: String,
    /// The document's id.
    pub document: i64,
    /// The level, counted from 0.
    pub level: u32,
    /// What went wrong.
    pub error: String,
    /// Whether its level has not failed before.
    pub is_first: bool,
    /// Whether its level was skipped because of it.
    pub is_final: bool,
}

/// What a pass came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Levels that were done.
    pub fired: u64,
    /// Levels that were past their hour limit.
    pub skipped: u64,
    /// What went wrong, as far as it is told one by one.
    pub problems: Vec<Problem>,
    /// How many more problems there were.
    pub more_problems: u64,
}

impl Outcome {
    pub(super) fn count(&mut self, status: FiringStatus) {
        match status {
            FiringStatus::Done => self.fired += 1,
            FiringStatus::Skipped => self.skipped += 1,
        }
    }

    pub(super) fn tell(&mut self, problem: Problem) {
        match self.problems.len() < MOST_PROBLEMS {
            true => self.problems.push(problem),
            false => self.more_problems += 1,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.fired += other.fired;
        self.skipped += other.skipped;
        self.more_problems += other.more_problems;
        other
            .problems
            .into_iter()
            .for_each(|problem| self.tell(problem));
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            timer,
            document,
            level,
            error,
            ..
        } = self;
        write!(
            f,
            "timer {timer} on document {document}, level {level}: {error}"
        )
    }
}
