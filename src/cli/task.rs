//! `runner task`, but for adding, running and files.

use serde::Serialize;

use super::output::or_dash;
use super::task_admin::Action;
use super::task_filter::{Chosen, Filters};
use super::{
    Exit, Invocation, Session, task_add, task_file, task_logs, task_run, task_set, task_wait,
};
use crate::error::{Result, one_line};
use crate::model::task::{Progress, Status, StoredEntry, Task};
use crate::store::Store;
use crate::store::task::TaskFilter;
use crate::time::Timestamp;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Add a task, or many
    Add(Box<task_add::Args>),
    /// Run one now, whatever its status unless it is running
    Run(task_run::Args),
    /// List tasks
    List(List),
    /// Show all of one
    Show { id: i64 },
    /// Show what one logged
    Logs(task_logs::Args),
    /// Wait until some are over; 0 when all are COMPLETED
    Wait(task_wait::Args),
    /// Change one that does not run yet
    Set(Box<task_set::Args>),
    /// End running ones; they are then INTERRUPTED
    Stop(Chosen),
    /// Take some out before they run, or end them; they are then CANCELLED
    Cancel(Chosen),
    /// Let held ones run
    Release(Chosen),
    /// Take ended ones back to TO_RUN
    Restart(Chosen),
    /// Delete some with their logs and files
    Delete(Chosen),
    /// Show a task's files, give it one, or get the one that its handler gave back
    File(task_file::Args),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    filters: Filters,
    /// So many at most, the newest
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    limit: Option<u32>,
}

/// A task as JSON shows it: with what it logged.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    task: Task,
    logs: Vec<StoredEntry>,
}

impl Shown {
    pub(super) fn new(store: &Store, task: Task) -> Result<Self> {
        let logs = store.task_logs(task.id, 0)?;
        Ok(Self { task, logs })
    }
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        match self {
            Self::Add(args) => return args.run(invocation),
            Self::Run(args) => return args.run(invocation),
            Self::Wait(args) => return args.run(invocation),
            Self::Stop(chosen) => return Action::Stop.run(invocation, &chosen),
            Self::Cancel(chosen) => return Action::Cancel.run(invocation, &chosen),
            Self::Release(chosen) => return Action::Release.run(invocation, &chosen),
            Self::Restart(chosen) => return Action::Restart.run(invocation, &chosen),
            Self::Delete(chosen) => return Action::Delete.run(invocation, &chosen),
            Self::List(list) => list.run(invocation)?,
            Self::Show { id } => show(invocation, id)?,
            Self::Logs(args) => args.run(invocation)?,
            Self::Set(args) => args.run(invocation)?,
            Self::File(args) => args.run(invocation)?,
        }
        Ok(Exit::Done)
    }
}

impl List {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open_to_read()?;
        let tasks = session.store.tasks(&TaskFilter {
            limit: self.limit,
            ..self.filters.read(&session)?
        })?;
        if invocation.out.json {
            let shown = tasks.into_iter();
            let shown = shown.map(|task| Shown::new(&session.store, task));
            return invocation.out.json(&shown.collect::<Result<Vec<_>>>()?);
        }
        let rows = tasks.iter().map(|task| {
            [
                task.id.to_string(),
                task.status.to_string(),
                work(task),
                or_dash(task.signature.as_ref()),
                session.zone.show(task.since()),
                time_taken(task, session.now()),
                standing(task, &session),
            ]
        });
        let headings = [
            "ID",
            "STATUS",
            "METHOD",
            "SIGNATURE",
            "SINCE",
            "TOOK",
            "PROGRESS",
        ];
        invocation.out.table(headings, rows)
    }
}

/// What does a task: its method, or its own command.
fn work(task: &Task) -> String {
    let command = task.command.as_ref().map(|command| command.join(" "));
    command.unwrap_or_else(|| task.method.clone())
}

/// How long a task took, or has been running.
fn time_taken(task: &Task, now: Timestamp) -> String {
    let ms = match (task.status, task.started_at) {
        (Status::Running, Some(started)) => Some(now.seconds_since(started) * 1000),
        (status, _) if status.is_ended() => task.duration_ms,
        _ => None,
    };
    ms.map(|ms| length(ms.max(0))).unwrap_or_default()
}

/// A length of time in its two greatest units.
fn length(ms: i64) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 => format!("{seconds}.{}s", ms / 100 % 10),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes:02}m"),
        _ => format!("{days}d {hours:02}h"),
    }
}

/// How far a task is, or what it waits for.
fn standing(task: &Task, session: &Session<'_>) -> String {
    let is_to_come = |time: &Timestamp| *time > session.now();
    let time = task.run_at.filter(is_to_come);
    let time = time.map(|time| format!("at {}", session.zone.show(time)));
    match (task.status, task.after) {
        (Status::Waiting, _) if task.held => "held".to_owned(),
        (Status::Waiting, Some(before)) => format!("after {before}"),
        (Status::ToRun, _) if task.attempt > 0 => {
            format!("attempt {} {}", task.attempt + 1, time.unwrap_or_default())
        }
        (Status::ToRun, _) if time.is_some() => time.unwrap_or_default(),
        _ => task
            .progress
            .as_ref()
            .map(progress_text)
            .unwrap_or_default(),
    }
}

fn show(invocation: &Invocation, id: i64) -> Result<()> {
    let session = invocation.open_to_read()?;
    let shown = Shown::new(&session.store, session.store.task(id)?)?;
    let out = &invocation.out;
    if out.json {
        return out.json(&shown);
    }
    let task = &shown.task;
    let without: &[&str] = if task.held {
        &["command"]
    } else {
        &["command", "held"]
    };
    out.fields(task, without, &session.zone)?;
    if task.command.is_some() {
        out.line(format!("{:<14} {}", "command", work(task)))?;
    }
    if !shown.logs.is_empty() {
        out.line("")?;
    }
    task_logs::print(invocation, &session.zone, &shown.logs)
}

/// How far a task is, as people read it.
pub(super) fn progress_text(progress: &Progress) -> String {
    let of = |at: Option<u64>, most: Option<u64>| match (at, most) {
        (Some(at), Some(most)) => format!("{at}/{most}"),
        (Some(at), None) => at.to_string(),
        _ => String::new(),
    };
    let phase = match progress.phases {
        Some(_) => format!("phase {}", of(progress.phase, progress.phases)),
        None => String::new(),
    };
    let label = one_line(progress.label.as_deref().unwrap_or_default());
    let mut parts = vec![phase, of(progress.step, progress.max), label];
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}
