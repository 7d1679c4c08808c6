//! Tasks that the worker has claimed and not started.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::store::task_claim::ClaimedTask;

/// How often in a row a resident handler may die before it is done with any task. Then its tasks wait for another run.
const MAX_DEATHS: u32 = 3;
/// How many tasks of such handlers are kept from running before nothing more is claimed.
const MAX_SUSPENDED: usize = 1000;

#[derive(Default)]
pub(super) struct Queue {
    pub(super) tasks: VecDeque<ClaimedTask>,
    /// When the last of them were claimed, and how many there were then.
    pub(super) claimed_at: Duration,
    claimed: usize,
    /// Whether there may be more to claim.
    pub(super) may_be_more: bool,
    /// These go back with the next commit.
    pub(super) returned: Vec<i64>,
    /// Not to be started by this worker.
    suspended: Vec<i64>,
    /// By their methods, how often in a row resident handlers died before they were done with a task.
    deaths: HashMap<String, u32>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.returned.is_empty()
    }

    /// Whether nothing more is claimed.
    pub(super) fn is_full(&self) -> bool {
        self.suspended.len() >= MAX_SUSPENDED
    }

    /// Whether at most half of what was claimed last is `left`.
    pub(super) fn runs_low(&self, left: usize) -> bool {
        left * 2 <= self.claimed
    }

    pub(super) fn add(&mut self, claims: Vec<ClaimedTask>, elapsed: Duration) {
        if !claims.is_empty() {
            self.claimed_at = elapsed;
            self.claimed = claims.len();
            self.tasks.extend(claims);
        }
    }

    /// Gives back what waits.
    pub(super) fn return_all(&mut self) {
        let ids = self.tasks.drain(..).map(|task| task.id);
        self.returned.extend(ids);
    }

    /// Gives back the one of these that waits.
    pub(super) fn return_task(&mut self, id: i64) {
        let (waiting, suspended) = (self.tasks.len(), self.suspended.len());
        self.tasks.retain(|task| task.id != id);
        self.suspended.retain(|task| *task != id);
        if (self.tasks.len(), self.suspended.len()) != (waiting, suspended) {
            self.returned.push(id);
        }
    }

    /// All tasks that are claimed and were not started.
    pub(super) fn unstarted(&self) -> Vec<i64> {
        let waiting = self.tasks.iter().map(|task| task.id);
        let others = self.returned.iter().chain(&self.suspended).copied();
        waiting.chain(others).collect()
    }

    /// Keeps a task from being started by this worker, if its resident handler only dies.
    pub(super) fn suspend(&mut self, task: &ClaimedTask, method: &str) -> bool {
        let suspends = self
            .deaths
            .get(method)
            .is_some_and(|deaths| *deaths >= MAX_DEATHS);
        self.suspended.extend(suspends.then_some(task.id));
        suspends
    }

    /// A resident handler has died; what to report when that was once too often.
    pub(super) fn note_death(&mut self, method: &str, was_of_use: bool) -> Option<String> {
        if was_of_use {
            self.deaths.remove(method);
            return None;
        }
        let deaths = self.deaths.entry(method.to_owned()).or_default();
        *deaths += 1;
        (*deaths == MAX_DEATHS).then(|| {
            format!(
                "method {method}: its resident handler died {MAX_DEATHS} times before it was done with a task; the rest of its tasks stay pending"
            )
        })
    }
}
