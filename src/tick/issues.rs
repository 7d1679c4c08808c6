//! What went wrong with tasks, as sentences.

use crate::drain::{Outcome, Problem};
use crate::model::issue::{Issue, Subject};
use crate::model::task::Status;
use crate::time::Timestamp;
use crate::worker::Recovered;

/// What went wrong in a run of tasks.
pub fn issues(outcome: &Outcome) -> Vec<Issue> {
    let problems = outcome.problems.iter().map(|problem| Issue {
        about: about(problem.task, problem.level),
        sentence: sentence(problem),
        is_final: problem.is_final(),
    });
    let more = (outcome.more_problems > 0).then(|| more_tasks(outcome));
    let errors = outcome
        .errors
        .iter()
        .map(|error| Issue::new(Subject::Run, error));
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
        about: Subject::MoreTasks(more),
        sentence: format!("{more} more {tasks} interrupted: 'runner task list' shows which"),
        is_final: outcome.more_final > 0,
    }
}

/// What is not given up as a task is tried again by the level that waits for it.
fn about(task: i64, level: Option<(i64, u32)>) -> Subject {
    match level {
        Some((attachment, level)) => Subject::Method {
            task,
            attachment,
            level,
        },
        None => Subject::Task(task),
    }
}

/// What was found of runs that died.
pub fn interruptions(recovered: &[Recovered]) -> Vec<Issue> {
    recovered.iter().map(interruption).collect()
}

fn interruption(found: &Recovered) -> Issue {
    let again = again(found.again_at);
    Issue {
        about: about(found.task, found.level),
        sentence: format!(
            "task {} ({}) was interrupted: its runner died{again}",
            found.task, found.method
        ),
        is_final: found.again_at.is_none() && found.level.is_none(),
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
    at.map(|at| format!("; it is tried again at {at}"))
        .unwrap_or_default()
}
