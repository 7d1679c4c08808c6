//! What went wrong with tasks, as sentences.

use crate::drain::{Outcome, Problem};
use crate::task::Status;
use crate::time::Timestamp;
use crate::trouble::{About, Trouble};
use crate::worker::Recovered;

/// What went wrong in a run of tasks.
pub fn troubles(outcome: &Outcome) -> Vec<Trouble> {
    let problems = outcome.problems.iter().map(|problem| Trouble {
        about: about(problem.task, problem.level),
        sentence: sentence(problem),
        given_up: problem.is_given_up(),
    });
    let more = (outcome.more_problems > 0).then(|| more_tasks(outcome));
    let errors = outcome
        .errors
        .iter()
        .map(|error| Trouble::new(About::Run, error));
    problems.chain(more).chain(errors).collect()
}

/// What is told of all the attempts that are not told of one by one. It is news whenever one of them is the last of its
/// task, as it would be told alone.
fn more_tasks(outcome: &Outcome) -> Trouble {
    let more = outcome.more_problems;
    let tasks = if more == 1 {
        "task failed or was"
    } else {
        "tasks failed or were"
    };
    Trouble {
        about: About::MoreTasks(more),
        sentence: format!("{more} more {tasks} interrupted: 'runner task list' shows which"),
        given_up: outcome.more_given_up > 0,
    }
}

/// What is not given up as a task is tried again by the level that waits for it.
fn about(task: i64, level: Option<(i64, u32)>) -> About {
    match level {
        Some((attachment, level)) => About::Method {
            task,
            attachment,
            level,
        },
        None => About::Task(task),
    }
}

/// What was found of runs that died.
pub fn interruptions(recovered: &[Recovered]) -> Vec<Trouble> {
    recovered.iter().map(interruption).collect()
}

fn interruption(found: &Recovered) -> Trouble {
    let again = again(found.again_at);
    Trouble {
        about: about(found.task, found.level),
        sentence: format!(
            "task {} ({}) was interrupted: its runner died{again}",
            found.task, found.method
        ),
        given_up: found.again_at.is_none() && found.level.is_none(),
    }
}

/// What became of an attempt, as a sentence.
fn sentence(problem: &Problem) -> String {
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
        again(problem.again_at)
    )
}

fn again(at: Option<Timestamp>) -> String {
    at.map(|at| format!("; it is tried again at {}", at.rfc3339()))
        .unwrap_or_default()
}
