//! `runner task`, but for adding, running and files.

use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::output::{complain, complain_of, indented, mail_issues, or_dash};
use super::{Exit, Invocation, Session, task_add, task_file, task_run};
use crate::error::{Result, one_line};
use crate::firing::fire::end_of_task;
use crate::model::summary::Summary;
use crate::model::task::{LogEntry, Progress, Status, Stop, Task};
use crate::store::Store;
use crate::store::task::TaskFilter;
use crate::time::Zone;
use crate::worker::recover_dead_workers;

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
    Logs { id: i64 },
    /// End a running one; it is then INTERRUPTED
    Stop { id: i64 },
    /// Take one out before it runs, or end it; it is then CANCELLED
    Cancel { id: i64 },
    /// Let held ones run
    Release {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Take an ended one back to TO_RUN
    Restart { id: i64 },
    /// Delete one with its logs and files
    Delete { id: i64 },
    /// Show a task's files, give it one, or get the one that its handler gave back
    File(task_file::Args),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[arg(long, value_name = "S", ignore_case = true)]
    status: Option<Status>,
    /// Those about this
    #[arg(long, value_name = "S")]
    signature: Option<String>,
    /// Those of this method
    #[arg(long, value_name = "M")]
    method: Option<String>,
    /// Those that this schedule has added
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// So many at most, the newest
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

/// A task as JSON shows it: with what it logged.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    task: Task,
    logs: Vec<LogEntry>,
}

impl Shown {
    pub(super) fn new(store: &Store, task: Task) -> Result<Self> {
        let logs = store.task_logs(task.id)?;
        Ok(Self { task, logs })
    }
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        match self {
            Self::Run(args) => return args.run(invocation),
            Self::Stop { id } => return end(invocation, id, Stop::Stop),
            Self::Cancel { id } => return end(invocation, id, Stop::Cancel),
            Self::Add(args) => args.run(invocation)?,
            Self::List(list) => list.run(invocation)?,
            Self::Show { id } => show(invocation, id)?,
            Self::Logs { id } => logs(invocation, id)?,
            Self::Release { ids } => release(invocation, &ids)?,
            Self::Restart { id } => restart(invocation, id)?,
            Self::Delete { id } => delete(invocation, id)?,
            Self::File(args) => args.run(invocation)?,
        }
        Ok(Exit::Done)
    }
}

impl List {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open_to_read()?;
        let tasks = session.store.tasks(&TaskFilter {
            status: self.status,
            signature: self.signature.as_deref(),
            method: self.method.as_deref(),
            schedule: self.schedule.as_deref(),
            limit: self.limit,
        })?;
        if invocation.out.json {
            let shown = tasks.into_iter();
            let shown = shown.map(|task| Shown::new(&session.store, task));
            return invocation.out.json(&shown.collect::<Result<Vec<_>>>()?);
        }
        let rows = tasks.into_iter().map(|task| {
            let since = task.ended_at.or(task.started_at).or(task.run_at);
            [
                task.id.to_string(),
                task.status.to_string(),
                task.method,
                or_dash(task.signature),
                session.zone.show(since.unwrap_or(task.created_at)),
                task.progress
                    .as_ref()
                    .map(progress_text)
                    .unwrap_or_default(),
            ]
        });
        invocation.out.table(
            ["ID", "STATUS", "METHOD", "SIGNATURE", "SINCE", "PROGRESS"],
            rows,
        )
    }
}

fn show(invocation: &Invocation, id: i64) -> Result<()> {
    let session = invocation.open_to_read()?;
    let shown = Shown::new(&session.store, session.store.task(id)?)?;
    let out = &invocation.out;
    if out.json {
        return out.json(&shown);
    }
    let without: &[&str] = if shown.task.held { &[] } else { &["held"] };
    out.fields(&shown.task, without, &session.zone)?;
    if !shown.logs.is_empty() {
        out.line("")?;
    }
    print_logs(invocation, &session.zone, &shown.logs)
}

fn logs(invocation: &Invocation, id: i64) -> Result<()> {
    let session = invocation.open_to_read()?;
    session.store.task(id)?;
    let logs = session.store.task_logs(id)?;
    let print = || print_logs(invocation, &session.zone, &logs);
    invocation.out.show(&logs, print)
}

fn print_logs(invocation: &Invocation, zone: &Zone, logs: &[LogEntry]) -> Result<()> {
    let mut logs = logs.iter();
    logs.try_for_each(|entry| invocation.out.lines(log_text(zone, entry)))
}

/// A log entry as people read it. Only its first line begins where an entry begins.
pub(super) fn log_text(zone: &Zone, entry: &LogEntry) -> String {
    let LogEntry { level, message, .. } = entry;
    let mut text = format!("{}  {level:<7}  {message}", zone.show(entry.at));
    if let Some(details) = &entry.details {
        text += &format!("  {}", details.text());
    }
    indented(&text)
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

fn end(invocation: &Invocation, id: i64, stop: Stop) -> Result<Exit> {
    let session = open_recovered(invocation)?;
    let task = session.store.task(id)?;
    let was_asked = session.store.transact(|store| {
        if stop == Stop::Cancel && store.cancel_task(id, session.now())? {
            cancel_level(&session, &task)?;
            return Ok(false);
        }
        if store.ask_stop(id, stop)? {
            return Ok(true);
        }
        Err(task.refuse(match task.status {
            Status::Waiting | Status::ToRun => {
                format!("it does not run; 'runner task cancel {id}' takes it out")
            }
            status => format!("it is over already ({status})"),
        }))
    })?;
    if was_asked {
        return wait_for_end(&session.store, id);
    }
    Ok(Exit::Done)
}

/// Opens the database and puts in order what runs that died have left, so that a command sees a task as it is, and
/// reports it as a run does: no run will find it again.
fn open_recovered(invocation: &Invocation) -> Result<Session<'_>> {
    let session = invocation.open()?;
    let mut summary = Summary::default();
    recover_dead_workers(&session.context(), &mut summary)?;
    complain_of(&summary.errors);
    // The way out of mails may be a command in the database, which is not run for who may not run its tasks.
    if invocation.files_to_run().is_ok() {
        mail_issues(&session, &summary.errors)?;
    }
    Ok(session)
}

/// The level whose method this task was no longer waits for it. Whoever cancels it needs no report of that.
fn cancel_level(session: &Session<'_>, task: &Task) -> Result<()> {
    end_of_task(session.context(), task, &mut Summary::default())
}

/// Its worker sees what it is asked within a quarter of a second, and gives the handler ten before it kills it.
fn wait_for_end(store: &Store, id: i64) -> Result<Exit> {
    for _ in 0..300 {
        if store.task(id)?.status != Status::Running {
            return Ok(Exit::Done);
        }
        sleep(Duration::from_millis(50));
    }
    complain(&format!(
        "task {id}: it was asked to end, and has not yet; see 'runner task show {id}'"
    ));
    Ok(Exit::Failed)
}

/// Releases all of them or none.
fn release(invocation: &Invocation, ids: &[i64]) -> Result<()> {
    invocation.open()?.store.transact(|store| {
        for &id in ids {
            let task = store.task(id)?;
            if !store.release_task(id)? {
                return Err(task.refuse(format!("it is not held ({})", task.status)));
            }
        }
        Ok(())
    })
}

fn restart(invocation: &Invocation, id: i64) -> Result<()> {
    open_recovered(invocation)?.store.transact(|store| {
        let task = store.task(id)?;
        if store.restart_task(id)? {
            return Ok(());
        }
        Err(task.refuse(format!(
            "it is not over ({}), so there is nothing to restart",
            task.status
        )))
    })
}

fn delete(invocation: &Invocation, id: i64) -> Result<()> {
    let session = open_recovered(invocation)?;
    session.store.transact(|store| {
        let task = store.task(id)?;
        store.cancel_followers(id, session.now())?;
        if store.cancel_task(id, session.now())? {
            cancel_level(&session, &task)?;
        }
        if store.delete_task(id)? {
            return Ok(());
        }
        Err(task.refuse(format!(
            "it is running; 'runner task stop {id}' ends it first"
        )))
    })
}
