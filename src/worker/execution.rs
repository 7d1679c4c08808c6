//! One attempt at a task, whoever does the work: a process of its own, a resident handler or a function.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tempfile::TempDir;

use super::mask::Mask;
use super::output::{SharedOutput, Unwritten};
use crate::clock::Clock;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::functions::{Function, TaskInput};
use crate::json::Json;
use crate::lock::{Registration, StartNote, folder_prefix};
use crate::model::method::Method;
use crate::model::settings::TIMEOUT;
use crate::model::task::{Severity, Status, Stop};
use crate::store::Store;
use crate::store::task_claim::ClaimedTask;
use crate::store::task_file::FileKind;
use crate::time::{self, Timestamp};

/// A moment, for rows and for measuring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) time: Timestamp,
    /// Since the command started, by the monotonic clock.
    pub(super) elapsed: Duration,
}

impl Moment {
    pub(super) fn now(clock: &Clock) -> Self {
        Self {
            time: clock.now(),
            elapsed: clock.elapsed(),
        }
    }
}

/// An attempt that was started, or is about to be.
pub(super) struct Execution {
    pub(super) task: ClaimedTask,
    pub(super) output: SharedOutput,
    pub(super) mask: Mask,
    /// When it was given to its handler.
    pub(super) started: Duration,
    /// How long it may take.
    pub(super) limit: Option<Duration>,
    /// Why the runner ends it, if it does.
    pub(super) stop_reason: Option<StopReason>,
    /// Why the database does not take what it prints, if it does not: then it has failed.
    pub(super) refused: Option<String>,
    /// What does it, if that is a function of this program.
    pub(super) function: Option<Function>,
    /// Set when the function should return.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) note: StartNote,
    retries: u32,
    document: Option<Json>,
    file: Option<LaidOutFile>,
    predecessor: Option<Predecessor>,
}

/// Why the runner ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    TimedOut,
    Requested(Stop),
    Shutdown,
}

/// How the work on an attempt came to its end.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) exit_code: Option<i32>,
    /// What to log when the handler itself has logged no error.
    pub(super) reason: Option<String>,
}

impl Outcome {
    pub(super) fn completed() -> Self {
        Self {
            status: Status::Completed,
            exit_code: None,
            reason: None,
        }
    }

    pub(super) fn failed(reason: String) -> Self {
        Self {
            status: Status::Failed,
            exit_code: None,
            reason: Some(reason),
        }
    }
}

/// What an execution that goes on has printed.
pub(super) struct NewOutput {
    pub(super) task: i64,
    pub(super) attempt: u32,
    pub(super) unwritten: Unwritten,
}

/// An attempt that is over, and not yet in the database as such.
pub(super) struct Finished {
    pub(super) task: ClaimedTask,
    pub(super) output: SharedOutput,
    pub(super) mask: Mask,
    pub(super) status: Status,
    pub(super) exit_code: Option<i32>,
    pub(super) at: Timestamp,
    pub(super) lasted: Duration,
    /// How often the task may be tried again.
    pub(super) retries: u32,
    pub(super) note: StartNote,
    /// Kept until the file that the handler gave back, which may be one of these, is stored.
    _files: (Option<LaidOutFile>, Option<Predecessor>),
}

/// What a handler reads on its standard input.
#[derive(Serialize)]
struct Input<'a> {
    task: i64,
    method: &'a str,
    params: &'a Json,
    /// These reach the handler nowhere else.
    hidden_params: &'a RawValue,
    file: Option<&'a Path>,
    document: Option<&'a Json>,
    after: Option<After<'a>>,
    attempt: u32,
    due_at: Timestamp,
    late_s: i64,
}

/// The task that a task follows, as its handler sees it.
#[derive(Serialize)]
struct After<'a> {
    id: i64,
    result: Option<&'a Json>,
    file: Option<&'a Path>,
}

/// How long a task may take: its own limit, else its method's, else the setting's.
fn time_limit(ctx: &Context<'_>, method: &Method, task: &ClaimedTask) -> Result<Option<Duration>> {
    let own = task.timeout.as_ref().or(method.timeout.as_ref());
    let limit = match own {
        Some(text) => Some(
            time::Duration::positive(text)
                .map_err(|reason| Error::invalid("time limit", reason))?,
        ),
        None => ctx.settings.duration(TIMEOUT)?,
    };
    let longest = Duration::from_secs(u64::from(u32::MAX));
    Ok(limit.map(|limit| limit.roughly().min(longest)))
}

impl Execution {
    pub(super) fn new(
        clock: &Clock,
        registration: &mut Registration,
        method_retries: u32,
        task: ClaimedTask,
    ) -> Self {
        Self {
            output: SharedOutput::new(task.last_log, *clock),
            mask: Mask::new(task.hidden_params.as_ref()),
            started: clock.elapsed(),
            limit: None,
            stop_reason: None,
            refused: None,
            function: None,
            stop: Arc::default(),
            note: registration.start_note(task.id, task.attempt),
            retries: task.retries.unwrap_or(method_retries),
            document: None,
            file: None,
            predecessor: None,
            task,
        }
    }

    /// Reads what its handler needs: the time limit, the function, the document, the file, the task before it.
    pub(super) fn prepare(
        &mut self,
        ctx: &Context<'_>,
        worker: i64,
        method: &Method,
    ) -> Result<()> {
        self.limit = time_limit(ctx, method, &self.task)?;
        self.function = ctx
            .functions
            .get(&method.name)
            .filter(|_| method.is_function);
        if let Some(document) = self.task.document {
            self.document = ctx.store.document_for_handler(document)?;
        }
        if self.task.has_file {
            self.file = LaidOutFile::new(ctx.store, worker, self.task.id, FileKind::Input)?;
        }
        if let Some(id) = self.task.after {
            self.predecessor = Some(Predecessor {
                id,
                result: ctx.store.task_result(id)?,
                file: LaidOutFile::new(ctx.store, worker, id, FileKind::Output)?,
            });
        }
        Ok(())
    }

    /// Where the task's file lies.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    fn after(&self) -> Option<After<'_>> {
        self.predecessor.as_ref().map(|predecessor| After {
            id: predecessor.id,
            result: predecessor.result.as_ref(),
            file: predecessor.file.as_ref().map(|file| file.path.as_path()),
        })
    }

    /// The variables of a process that does this task alone.
    pub(super) fn variables(&self) -> Vec<(&'static str, OsString)> {
        let task = &self.task;
        let mut variables: Vec<(&str, OsString)> = vec![
            ("RUNNER_TASK", task.id.to_string().into()),
            ("RUNNER_METHOD", task.method.clone().into()),
        ];
        let document = task.document.map(|id| id.to_string());
        variables.extend(document.map(|id| ("RUNNER_DOCUMENT", id.into())));
        variables.extend(self.file().map(|file| ("RUNNER_FILE", file.into())));
        variables
    }

    /// The line that a handler reads.
    pub(super) fn input_line(&self, now: Timestamp) -> Vec<u8> {
        let task = &self.task;
        let hidden = task.hidden_params.as_ref();
        let input = Input {
            task: task.id,
            method: &task.method,
            params: &task.params,
            hidden_params: hidden.map_or(RawValue::NULL, Json::raw),
            file: self.file(),
            document: self.document.as_ref(),
            after: self.after(),
            attempt: task.attempt,
            due_at: task.due_at,
            late_s: now.seconds_since(task.due_at).max(0),
        };
        // The name of a file is text, and so is that of a temporary directory that a file was laid out in.
        let mut line = serde_json::to_vec(&input).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// What a function is given.
    pub(super) fn function_input(&self) -> TaskInput {
        let task = &self.task;
        TaskInput {
            id: task.id,
            method: task.method.clone(),
            params: task.params.clone(),
            hidden_params: task.hidden_params.clone(),
            document: self.document.clone(),
            file: self.file().map(Path::to_owned),
            after: serde_json::to_value(self.after()).unwrap_or_default(),
            attempt: task.attempt,
            stop: Arc::clone(&self.stop),
        }
    }

    /// The task again, of an execution that was not begun.
    pub(super) fn unbegun(self, registration: &mut Registration) -> ClaimedTask {
        registration.free(&self.note);
        self.task
    }

    /// What its handler has printed that is not in the database yet.
    pub(super) fn new_output(&self) -> Option<NewOutput> {
        let unwritten = self.output.lock().unwritten();
        (self.refused.is_none() && !unwritten.is_empty()).then_some(NewOutput {
            task: self.task.id,
            attempt: self.task.attempt,
            unwritten,
        })
    }

    /// The attempt is over. Why the runner ended it, if it did, counts for more than what became of it then.
    pub(super) fn finish(self, end: Outcome, at: Moment) -> Finished {
        let mut output = self.output.lock();
        let (status, reason) = match (self.stop_reason, self.refused) {
            (Some(stop_reason), _) => stop_reason.outcome(&output.stderr_suffix()),
            (_, Some(reason)) => {
                let reason = format!("what it printed cannot be stored: {reason}");
                (Status::Failed, Some(reason))
            }
            _ => (end.status, end.reason),
        };
        // The handler's own error says more than its exit status.
        if let Some(reason) = reason
            && (output.last_error.is_none() || status != Status::Failed)
        {
            output.log(Severity::Error, self.mask.text(reason), None);
        }
        drop(output);
        let is_retried = !matches!(self.stop_reason, Some(StopReason::Requested(_)));
        Finished {
            status,
            exit_code: end.exit_code,
            at: at.time,
            lasted: at.elapsed.saturating_sub(self.started),
            retries: if is_retried { self.retries } else { 0 },
            note: self.note,
            task: self.task,
            output: self.output,
            mask: self.mask,
            _files: (self.file, self.predecessor),
        }
    }
}

impl StopReason {
    fn outcome(self, stderr_suffix: &str) -> (Status, Option<String>) {
        let (status, reason) = match self {
            Self::TimedOut => (
                Status::Interrupted,
                format!("ended at its time limit{stderr_suffix}"),
            ),
            Self::Requested(Stop::Stop) => (Status::Interrupted, "stopped on request".to_owned()),
            Self::Requested(Stop::Cancel) => (Status::Cancelled, "cancelled on request".to_owned()),
            Self::Shutdown => (
                Status::Interrupted,
                "ended because the runner was shut down".to_owned(),
            ),
        };
        (status, Some(reason))
    }
}

/// The task that a task follows.
struct Predecessor {
    id: i64,
    result: Option<Json>,
    /// The file that its handler gave back.
    file: Option<LaidOutFile>,
}

/// A file of a task in a folder that only we may enter. Both go with their owner.
#[derive(Debug)]
struct LaidOutFile {
    folder: TempDir,
    path: PathBuf,
}

impl LaidOutFile {
    /// `None` when the task has no such file.
    fn new(store: &Store, worker: i64, task: i64, kind: FileKind) -> Result<Option<Self>> {
        let mut laid_out = None;
        store.get_task_file(task, kind, |name| {
            let folder = tempfile::Builder::new()
                .prefix(&folder_prefix(store, worker))
                .permissions(Permissions::from_mode(0o700))
                .tempdir()
                .map_err(|source| Error::io(&std::env::temp_dir(), source))?;
            let path = folder.path().join(name);
            // First: what cannot be made leaves no folder behind.
            let laid_out = laid_out.insert(Self { folder, path });
            new_file(&laid_out.path)
        })?;
        Ok(laid_out)
    }
}

/// To look into a folder before it is removed takes a file descriptor, and there may be none left. Whatever this leaves
/// the folder itself removes.
impl Drop for LaidOutFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_dir(self.folder.path());
    }
}

fn new_file(path: &Path) -> Result<File> {
    let mut how = OpenOptions::new();
    let how = how.write(true).create_new(true).mode(0o600);
    how.open(path).map_err(|source| Error::io(path, source))
}
