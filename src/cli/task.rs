//! `runner task`, but for adding and running.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::output::{complain, complain_of, indented, mail_troubles, or_dash};
use super::{Exit, Invocation, task_add, task_run, values};
use crate::clock::Clock;
use crate::enqueue::give_file;
use crate::error::{Error, Result, one_line};
use crate::firing;
use crate::model::task::{LogEntry, Progress, Status, Stop, Task};
use crate::store::Store;
use crate::store::task::TaskFilter;
use crate::store::task_file::FileKind;
use crate::tick::interruptions;
use crate::time::{Timestamp, Zone};
use crate::worker::recover;

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
    /// Take an ended one back to TO_RUN
    Restart { id: i64 },
    /// Delete one with its logs and files
    Delete { id: i64 },
    /// Show a task's files, give it one, or get the one that its handler gave back
    File(Files),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// WAITING, TO_RUN, RUNNING, COMPLETED, FAILED, INTERRUPTED or CANCELLED
    #[arg(long, value_name = "S")]
    status: Option<String>,
    /// Those about this
    #[arg(long, value_name = "S")]
    signature: Option<String>,
    /// Those of this method
    #[arg(long, value_name = "M")]
    method: Option<String>,
    /// So many at most, the newest
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Files {
    id: i64,
    /// Keep this file's content with the task, for its handler
    #[arg(long, value_name = "PATH")]
    set: Option<PathBuf>,
    /// Write the file that the handler gave back to PATH; '-' is standard output
    #[arg(long, value_name = "PATH", conflicts_with = "set")]
    output: Option<PathBuf>,
    /// Write the file that was given with the task to PATH; '-' is standard output
    #[arg(long, value_name = "PATH", conflicts_with_all = ["set", "output"])]
    input: Option<PathBuf>,
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
            Self::Add(args) => args.run(invocation)?,
            Self::Run(args) => return args.run(invocation),
            Self::List(list) => list.run(invocation)?,
            Self::Show { id } => show(invocation, id)?,
            Self::Logs { id } => logs(invocation, id)?,
            Self::Stop { id } => return end(invocation, id, Stop::Stop),
            Self::Cancel { id } => return end(invocation, id, Stop::Cancel),
            Self::Restart { id } => restart(invocation, id)?,
            Self::Delete { id } => delete(invocation, id)?,
            Self::File(files) => files.run(invocation)?,
        }
        Ok(Exit::Done)
    }
}

impl List {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let status = self.status.map(|given| values::word("--status", &given));
        let status = status.transpose()?;
        let store = invocation.store_to_read()?;
        let filter = TaskFilter {
            status,
            signature: self.signature.as_deref(),
            method: self.method.as_deref(),
            limit: self.limit,
        };
        let tasks = store.tasks(&filter)?;
        if invocation.out.json {
            let shown = tasks.into_iter().map(|task| Shown::new(&store, task));
            return invocation.out.json(&shown.collect::<Result<Vec<_>>>()?);
        }
        let zone = store.settings()?.zone()?;
        let rows = tasks.into_iter().map(|task| {
            let progress = task.progress.as_ref().map(progress_text);
            let when = task
                .ended_at
                .or(task.started_at)
                .or(task.run_at)
                .unwrap_or(task.created_at);
            [
                task.id.to_string(),
                task.status.to_string(),
                task.method,
                or_dash(task.signature),
                zone.show(when),
                progress.unwrap_or_default(),
            ]
        });
        invocation.out.table(
            ["ID", "STATUS", "METHOD", "SIGNATURE", "SINCE", "PROGRESS"],
            rows,
        )
    }
}

fn show(invocation: &Invocation, id: i64) -> Result<()> {
    let store = invocation.store_to_read()?;
    let shown = Shown::new(&store, store.task(id)?)?;
    if invocation.out.json {
        return invocation.out.json(&shown);
    }
    let Shown { task, logs } = shown;
    let zone = store.settings()?.zone()?;
    let fields = serde_json::to_value(&task).unwrap_or_default();
    for (name, value) in fields.as_object().into_iter().flatten() {
        let text = match (name.as_str(), value) {
            (_, serde_json::Value::Null) => continue,
            ("progress", _) => task
                .progress
                .as_ref()
                .map(progress_text)
                .unwrap_or_default(),
            ("created_at", _) => zone.show(task.created_at),
            ("run_at", _) => or_dash(task.run_at.map(|at| zone.show(at))),
            ("started_at", _) => or_dash(task.started_at.map(|at| zone.show(at))),
            ("ended_at", _) => or_dash(task.ended_at.map(|at| zone.show(at))),
            (_, serde_json::Value::String(text)) => text.clone(),
            (_, value) => value.to_string(),
        };
        invocation.out.line(format!("{name:<14} {text}"))?;
    }
    if !logs.is_empty() {
        invocation.out.line("")?;
    }
    print_logs(invocation, &zone, &logs)
}

fn logs(invocation: &Invocation, id: i64) -> Result<()> {
    let store = invocation.store_to_read()?;
    store.task(id)?;
    let logs = store.task_logs(id)?;
    match invocation.out.json {
        true => invocation.out.json(&logs),
        false => print_logs(invocation, &store.settings()?.zone()?, &logs),
    }
}

fn print_logs(invocation: &Invocation, zone: &Zone, logs: &[LogEntry]) -> Result<()> {
    logs.iter()
        .try_for_each(|entry| invocation.out.lines(log_text(zone, entry)))
}

/// A log entry as people read it. Only its first line begins where an entry begins.
pub(super) fn log_text(zone: &Zone, entry: &LogEntry) -> String {
    let details = entry
        .details
        .as_ref()
        .map(|details| format!("  {}", details.text()));
    let LogEntry {
        at, level, message, ..
    } = entry;
    let text = format!(
        "{}  {level:<7}  {message}{}",
        zone.show(*at),
        details.unwrap_or_default()
    );
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
    let parts = [
        phase,
        of(progress.step, progress.max),
        one_line(progress.label.as_deref().unwrap_or_default()),
    ];
    parts
        .iter()
        .filter(|part| !part.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join(" ")
}

/// How long a command waits for a running task to end: its handler has 10 seconds before it is killed.
const PATIENCE: u32 = 300;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn end(invocation: &Invocation, id: i64, stop: Stop) -> Result<Exit> {
    let store = invocation.store()?;
    let clock = put_in_order(invocation, &store)?;
    let task = store.task(id)?;
    let (cancelled, asked) = store.transact(|store| {
        let cancelled = stop == Stop::Cancel && store.cancel_task(id, clock.now())?;
        if cancelled {
            tell_timer(store, &task, None, clock.now())?;
        }
        Ok((cancelled, !cancelled && store.ask_stop(id, stop)?))
    })?;
    match (cancelled, asked) {
        (true, _) => Ok(Exit::Done),
        (_, true) => wait_for_end(&store, id),
        _ => Err(task.refuse(match (task.status, stop) {
            (Status::Waiting | Status::ToRun, _) => {
                format!("it does not run; 'runner task cancel {id}' takes it out")
            }
            (status, _) => format!("it is over already ({status})"),
        })),
    }
}

/// Puts in order what runs that died have left, so that a command sees a task as it is, and tells of it as a run does:
/// no run will find it again. The time, as it goes for the command.
fn put_in_order(invocation: &Invocation, store: &Store) -> Result<Clock> {
    let (settings, _, clock) = invocation.times(store)?;
    let issues = interruptions(&recover(store, &clock, &invocation.functions)?);
    if issues.is_empty() {
        return Ok(clock);
    }
    complain_of(&issues);
    // The way out of mails may be a command in the database, which is not run for who may not run its tasks.
    if let Ok(store) = invocation.store_to_run() {
        mail_troubles(&store, (&settings, &clock), &issues)?;
    }
    Ok(clock)
}

/// The level whose method this task was waits for it no longer.
fn tell_timer(store: &Store, task: &Task, why: Option<&str>, now: Timestamp) -> Result<()> {
    let Some(attachment) = task.attachment else {
        return Ok(());
    };
    firing::method_ended(store, attachment, task.id, (Status::Cancelled, why), now).map(drop)
}

/// The worker of the task notices what it is asked within a quarter of a second.
fn wait_for_end(store: &Store, id: i64) -> Result<Exit> {
    for _ in 0..PATIENCE {
        if store.task(id)?.status != Status::Running {
            return Ok(Exit::Done);
        }
        sleep(LOOK_AGAIN);
    }
    complain(&format!(
        "task {id}: it was asked to end, and has not yet; 'runner task show {id}' tells when it has"
    ));
    Ok(Exit::Failed)
}

fn restart(invocation: &Invocation, id: i64) -> Result<()> {
    let store = invocation.store()?;
    put_in_order(invocation, &store)?;
    store.transact(|store| {
        let task = store.task(id)?;
        match store.restart_task(id)? {
            true => Ok(()),
            false => Err(task.refuse(format!(
                "it is not over ({}), so there is nothing to restart",
                task.status
            ))),
        }
    })
}

fn delete(invocation: &Invocation, id: i64) -> Result<()> {
    let store = invocation.store()?;
    let clock = put_in_order(invocation, &store)?;
    store.transact(|store| {
        let task = store.task(id)?;
        store.cancel_followers(id, clock.now())?;
        if matches!(task.status, Status::Waiting | Status::ToRun) {
            tell_timer(store, &task, Some("it was deleted"), clock.now())?;
        }
        match store.delete_task(id)? {
            true => Ok(()),
            false => Err(task.refuse(format!(
                "it is running; 'runner task stop {id}' ends it first"
            ))),
        }
    })
}

impl Files {
    fn run(self, invocation: &Invocation) -> Result<()> {
        if let Some(path) = &self.set {
            return self.set(invocation, path);
        }
        let store = invocation.store_to_read()?;
        let task = store.task(self.id)?;
        match (&self.input, &self.output) {
            (Some(path), _) => self.write(invocation, &store, FileKind::Input, path),
            (_, Some(path)) => self.write(invocation, &store, FileKind::Output, path),
            _ if invocation.out.json => invocation
                .out
                .json(&serde_json::json!({"file": task.file, "output": task.output})),
            _ => {
                let files = [("file", task.file), ("output", task.output)];
                let rows = files
                    .into_iter()
                    .filter_map(|(kind, name)| Some([kind.to_owned(), name?]));
                invocation.out.table(["KIND", "NAME"], rows)
            }
        }
    }

    fn set(&self, invocation: &Invocation, path: &Path) -> Result<()> {
        let store = invocation.store()?;
        store.transact(|store| {
            let task = store.task(self.id)?;
            match task.status {
                Status::Running => {
                    Err(task.refuse("it is running, and its handler has its file already"))
                }
                _ => give_file(store, self.id, path),
            }
        })
    }

    /// To a new file first, so that PATH never holds half of it.
    fn write(
        &self,
        invocation: &Invocation,
        store: &Store,
        kind: FileKind,
        path: &Path,
    ) -> Result<()> {
        let (target, standard) = match path == Path::new("-") {
            true => (std::env::temp_dir(), true),
            false => (
                path.parent().map_or_else(PathBuf::new, Path::to_owned),
                false,
            ),
        };
        let folder = if target.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &target
        };
        let scratch = tempfile::Builder::new()
            .prefix(".runner-")
            .tempdir_in(folder)
            .map_err(|source| Error::io(folder, source))?;
        let copy = scratch.path().join("content");
        let written = store.get_task_file(self.id, kind, |_| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&copy)
                .map_err(|source| Error::io(&copy, source))
        })?;
        if written.is_none() {
            let what = match kind {
                FileKind::Input => "no file was given with it",
                FileKind::Output => "its handler gave no file back",
            };
            return Err(Error::invalid(format!("task {}", self.id), what));
        }
        if !standard {
            return fs::rename(&copy, path).map_err(|source| Error::io(path, source));
        }
        let mut content = File::open(&copy).map_err(|source| Error::io(&copy, source))?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match std::io::Read::read(&mut content, &mut buffer)
                .map_err(|source| Error::io(&copy, source))?
            {
                0 => return Ok(()),
                read => invocation
                    .out
                    .bytes(buffer.get(..read).unwrap_or_default())?,
            }
        }
    }
}
