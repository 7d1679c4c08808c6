//! What a run has done so far, and what went wrong: all effects add to it.

use serde::Serialize;

use super::issue::{Issue, Kind, Subject};

/// How many issues of one kind are reported one by one.
const MAX_ISSUES: usize = 100;

/// What a tick, or a command that does a part of one, came to.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// How many tasks of dead workers were interrupted.
    pub interrupted: u64,
    /// How many tasks were added by schedules.
    pub scheduled: u64,
    /// How many levels of timers were done.
    pub fired: u64,
    /// How many levels were too late and were skipped.
    pub skipped: u64,
    /// How many mails were sent.
    pub mails_sent: u64,
    /// How many mails were tried, and did not go out.
    pub mails_failed: u64,
    /// How attempts at tasks ended.
    pub tasks: TaskCounts,
    /// What went wrong. Beyond a bound, one issue stands for all others of its kind.
    pub errors: Vec<Issue>,
}

/// How attempts at tasks ended.
#[derive(Debug, Default, Serialize)]
pub struct TaskCounts {
    /// Their handlers came to their end.
    pub completed: u64,
    /// Their handlers could not do what they were to do.
    pub failed: u64,
    /// Their handlers were ended before they had an outcome.
    pub interrupted: u64,
    /// Somebody cancelled them while they ran.
    #[serde(skip)]
    pub cancelled: u64,
}

impl TaskCounts {
    /// How many attempts have ended.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.interrupted + self.cancelled
    }
}

impl Summary {
    /// Adds something that went wrong.
    pub fn report(&mut self, issue: Issue) {
        let Some(kind) = issue.subject.kind() else {
            return self.errors.push(issue);
        };
        let of_kind = |issue: &&Issue| issue.subject.kind() == Some(kind);
        if self.errors.iter().filter(of_kind).count() < MAX_ISSUES {
            return self.errors.push(issue);
        }
        let is_sum =
            |issue: &&mut Issue| matches!(issue.subject, Subject::More(of, _) if of == kind);
        match self.errors.iter_mut().find(is_sum) {
            Some(sum) => {
                let is_news = sum.is_news || issue.is_news;
                *sum = more(kind, sum.count() + issue.count(), is_news);
            }
            None => self.errors.push(more(kind, issue.count(), issue.is_news)),
        }
    }

    /// Adds what a part of the run came to.
    pub(crate) fn add(&mut self, part: Self) {
        self.interrupted += part.interrupted;
        self.scheduled += part.scheduled;
        self.fired += part.fired;
        self.skipped += part.skipped;
        self.mails_sent += part.mails_sent;
        self.mails_failed += part.mails_failed;
        self.tasks.completed += part.tasks.completed;
        self.tasks.failed += part.tasks.failed;
        self.tasks.interrupted += part.tasks.interrupted;
        self.tasks.cancelled += part.tasks.cancelled;
        part.errors.into_iter().for_each(|issue| self.report(issue));
    }

    /// How much was done: a turn of a tick that leaves this as it was had nothing to do.
    pub(crate) fn progress(&self) -> u64 {
        self.scheduled
            + self.fired
            + self.skipped
            + self.mails_sent
            + self.mails_failed
            + self.tasks.ended()
    }
}

/// The issue that stands for so many others.
fn more(kind: Kind, count: u64, is_news: bool) -> Issue {
    let (one, many, command) = match kind {
        Kind::Task => (
            "task failed or was interrupted",
            "tasks failed or were interrupted",
            "task list' shows which",
        ),
        Kind::Mail => (
            "mail was not sent",
            "mails were not sent",
            "mail list' shows why",
        ),
        Kind::Level => (
            "level failed or was skipped",
            "levels failed or were skipped",
            "timer next' and 'runner timer skipped' show why",
        ),
    };
    let what = if count == 1 { one } else { many };
    Issue {
        subject: Subject::More(kind, count),
        message: format!("{count} more {what}: 'runner {command}"),
        is_news,
    }
}

#[cfg(test)]
mod tests {
    use super::{Issue, MAX_ISSUES, Subject, Summary};

    fn failed(task: i64, is_news: bool) -> Issue {
        Issue {
            subject: Subject::Task(task),
            message: format!("task {task} failed"),
            is_news,
        }
    }

    #[test]
    fn a_bounded_number_of_issues_of_each_kind_is_told_one_by_one() {
        let mut summary = Summary::default();
        for task in 1..=MAX_ISSUES as i64 {
            summary.report(failed(task, true));
        }
        for _ in 0..2 * MAX_ISSUES {
            summary.report(Issue::of_run("the disk is full"));
        }
        assert_eq!(summary.errors.len(), 3 * MAX_ISSUES);
        summary.report(failed(101, false));
        let sum = summary.errors.last().unwrap();
        assert_eq!(
            sum.message,
            "1 more task failed or was interrupted: 'runner task list' shows which"
        );
        assert!(!sum.is_news);
        summary.report(failed(102, true));
        let sum = summary.errors.last().unwrap();
        assert!(
            sum.message
                .starts_with("2 more tasks failed or were interrupted")
        );
        assert!(sum.is_news && sum.count() == 2);
        let mut all = Summary::default();
        all.report(failed(103, true));
        all.add(summary);
        assert_eq!(all.errors.iter().map(Issue::count).sum::<u64>(), 303);
    }
}
