//! What went wrong with tasks, as sentences.

use crate::drain::{Outcome, Problem};
use crate::model::issue::{Issue, Kind, Subject};
use crate::model::task::Status;
use crate::time::{Timestamp, Zone};
use crate::worker::Recovered;

/// What went wrong in a run of tasks.
pub fn issues(outcome: &Outcome, zone: &Zone) -> Vec<Issue> {
    // The level that waits for a task tells when that is over for good.
    let told = |problem: &&Problem| problem.level.is_none() || problem.again_at.is_some();
    let problems = outcome.problems.iter().filter(told);
    let problems = problems.map(|problem| Issue {
        subject: subject(problem.task, problem.level),
        message: sentence(problem, zone),
        is_news: is_news(problem.attempt, problem.level) || problem.is_final(),
        is_final: problem.is_final(),
    });
    let more = (outcome.more_problems > 0).then(|| more_tasks(outcome));
    let errors = outcome.errors.iter().map(Issue::of_run);
    problems.chain(more).chain(errors).collect()
}

/// What is told of all the attempts that are not told of one by one. It is news whenever one of them is the last of its
/// task, as it would be told alone.
fn more_tasks(outcome: &Outcome) -> Issue {
    let more = outcome.more_problems;
    let tasks = if more == 1 {
        "task failed or was"
    } else {
        "tasks failed or were"
    };
    Issue {
        subject: Subject::More(Kind::Task, more),
        message: format!("{more} more {tasks} interrupted: 'runner task list' shows which"),
        is_news: outcome.more_final > 0,
        is_final: false,
    }
}

/// Whether it is the first failure of a task, or of the level that waits for it.
fn is_news(attempt: u32, level: Option<(i64, u32)>) -> bool {
    attempt == 1 && level.is_none_or(|(_, attempts)| attempts == 0)
}

/// What is not given up as a task is tried again by the level that waits for it.
fn subject(task: i64, level: Option<(i64, u32)>) -> Subject {
    match level {
        Some((attachment, _)) => Subject::Level {
            attachment,
            task: Some(task),
        },
        None => Subject::Task(task),
    }
}

/// What was found of runs that died.
pub fn interruptions(recovered: &[Recovered], zone: &Zone) -> Vec<Issue> {
    let told = |found: &&Recovered| found.level.is_none() || found.again_at.is_some();
    let interrupted = recovered.iter().filter(told);
    interrupted.map(|found| interruption(found, zone)).collect()
}

fn interruption(found: &Recovered, zone: &Zone) -> Issue {
    let again = again(found.again_at, zone);
    let is_final = found.again_at.is_none() && found.level.is_none();
    Issue {
        subject: subject(found.task, found.level),
        message: format!(
            "task {} ({}) was interrupted: its runner died{again}",
            found.task, found.method
        ),
        is_news: is_news(found.attempt, found.level) || is_final,
        is_final,
    }
}

/// What became of an attempt, as a sentence.
fn sentence(problem: &Problem, zone: &Zone) -> String {
    let how = match problem.status {
        Status::Interrupted => "was interrupted",
        _ => "failed",
    };
    let Problem {
        task,
        method,
        error,
        ..
    } = problem;
    format!(
        "task {task} ({method}) {how}: {error}{}",
        again(problem.again_at, zone)
    )
}

fn again(at: Option<Timestamp>, zone: &Zone) -> String {
    at.map(|at| format!("; it is tried again at {}", zone.show(at)))
        .unwrap_or_default()
}
