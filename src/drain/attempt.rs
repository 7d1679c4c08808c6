//! One attempt at a task, whoever does the work: a process of its own, a resident handler or a function.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::value::RawValue;
use tempfile::TempDir;

use super::own::Begun;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::functions::Functions;
use crate::handler::input::Input;
use crate::handler::mask::Mask;
use crate::handler::record::{Event, Record};
use crate::handler::spawn::Environment;
use crate::json::Json;
use crate::model::method::Method;
use crate::model::task::{Severity, Status, Stop};
use crate::store::Store;
use crate::store::task::Claim;
use crate::store::task_file::FileKind;
use crate::time::{self, Timestamp};
use crate::worker;

/// Who is shown what a task says, while it says it.
pub type Watch<'a> = &'a mut dyn FnMut(i64, Event<'_>);

/// What is the same for all attempts of a run.
pub(super) struct Surroundings<'a> {
    pub(super) store: &'a Store,
    pub(super) clock: &'a Clock,
    pub(super) functions: &'a Functions,
    /// The database, as handlers are told of it.
    pub(super) database: PathBuf,
    /// Where handlers are started.
    pub(super) folder: PathBuf,
    /// What they all have in their environment.
    pub(super) inherited: Environment,
    pub(super) default_limit: Option<String>,
    pub(super) debug: bool,
}

/// Why the runner ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its time limit has passed.
    TimedOut,
    /// Somebody asked for it.
    Asked(Stop),
    /// The runner itself was told to leave.
    Leaving,
}

/// A claimed task with all that its handler needs, before it is started.
pub(super) struct Ready<'m> {
    pub(super) claim: Claim,
    pub(super) method: &'m Method,
    pub(super) file: Option<PathBuf>,
    pub(super) document: Option<Json>,
    limit: Option<Duration>,
    folder: Option<Folder>,
}

/// What keeps a claimed task from being started.
pub(super) enum Unready {
    /// Something is missing: only this task has failed.
    Over(Box<Ended>),
    /// The machine has no room for it now: the task waits for another time.
    Shortage(Box<Claim>, String),
}

/// A folder that a task's file lies in, and that goes with it.
#[derive(Debug)]
pub(super) struct Folder {
    folder: TempDir,
    file: PathBuf,
}

/// To look into a folder before it is removed takes a file descriptor, and there may be none left. Whatever this leaves
/// the folder itself removes.
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_dir(self.folder.path());
    }
}

/// An attempt that is under way.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) claim: Claim,
    pub(super) record: Record,
    /// When it began, on the clock that nobody sets, counted from when that was made. Of a function that is when
    /// it was handed over, until a thread says that it has begun it.
    pub(super) started: Duration,
    /// How long it may take.
    pub(super) limit: Option<Duration>,
    /// Why it is being ended, if it is.
    pub(super) cause: Option<Cause>,
    /// Where its line begins in all that its resident handler was given to read.
    pub(super) told_from: u64,
    retries: u32,
    note: usize,
    folder: Option<Folder>,
}

/// An attempt that is over, and not yet in the database as such.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) claim: Claim,
    pub(super) record: Record,
    pub(super) status: Status,
    pub(super) at: Timestamp,
    pub(super) lasted: Duration,
    pub(super) exit_code: Option<i32>,
    /// How often it may be tried again.
    pub(super) retries: u32,
    /// The note of its start.
    pub(super) note: Option<usize>,
    /// Kept until a file in it is stored.
    pub(super) _folder: Option<Folder>,
}

impl<'m> Ready<'m> {
    /// Gathers what the handler of a claimed task needs.
    ///
    /// # Errors
    /// What keeps it from being started.
    pub(super) fn new(
        around: &Surroundings<'_>,
        worker: i64,
        method: Result<&'m Method>,
        claim: Claim,
    ) -> Result<Self, Unready> {
        let failed = |claim, retries, error: Error| {
            Unready::Over(fail(around, claim, retries, error.to_string()))
        };
        let method = match method {
            Ok(method) => method,
            Err(error) => return Err(failed(claim, 0, error)),
        };
        let retries = claim.retries.unwrap_or(method.retries);
        let gathered = time_limit(around, method, &claim).and_then(|limit| {
            let folder = lay_out(around.store, worker, &claim)?;
            let document = claim
                .document
                .map(|id| around.store.document_for_handler(id));
            Ok((limit, folder, document.transpose()?.flatten()))
        });
        match gathered {
            Ok((limit, folder, document)) => Ok(Self {
                claim,
                method,
                file: folder.as_ref().map(|folder| folder.file.clone()),
                document,
                limit,
                folder,
            }),
            Err(error) if error.is_shortage() => {
                Err(Unready::Shortage(Box::new(claim), error.to_string()))
            }
            Err(error) => Err(failed(claim, retries, error)),
        }
    }

    /// The line that the handler reads.
    pub(super) fn input(&self, around: &Surroundings<'_>) -> Vec<u8> {
        let claim = &self.claim;
        let input = Input {
            task: claim.id,
            method: &claim.method,
            params: &claim.params,
            hidden_params: claim
                .hidden_params
                .as_ref()
                .map_or(RawValue::NULL, Json::raw),
            file: self.file.as_deref(),
            document: self.document.as_ref(),
            attempt: claim.attempt,
            due_at: claim.due_at,
            late_s: around.clock.now().seconds_since(claim.due_at).max(0),
        };
        input.line()
    }

    /// Whether it may take only so long.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// The attempt, from now on under way; what it says shows nothing that `mask` hides.
    pub(super) fn begin(self, note: usize, elapsed: Duration, mask: Mask) -> Attempt {
        Attempt {
            record: Record::new(mask),
            retries: self.claim.retries.unwrap_or(self.method.retries),
            claim: self.claim,
            started: elapsed,
            limit: self.limit,
            cause: None,
            told_from: 0,
            note,
            folder: self.folder,
        }
    }

    /// The machine has no room for it now, for this reason: another time it may have.
    pub(super) fn wait<T>(self, reason: &str) -> Begun<T> {
        Begun::Shortage(self.claim, reason.to_owned())
    }

    /// The attempt is over before it began, for this reason.
    pub(super) fn fail(self, around: &Surroundings<'_>, reason: String) -> Box<Ended> {
        let retries = self.claim.retries.unwrap_or(self.method.retries);
        fail(around, self.claim, retries, reason)
    }
}

fn fail(around: &Surroundings<'_>, claim: Claim, retries: u32, reason: String) -> Box<Ended> {
    let at = around.clock.now();
    let mut record = Record::new(Mask::new(claim.hidden_params.as_ref()));
    record.say(Severity::Error, reason, at, &mut |_| {});
    Box::new(Ended {
        claim,
        record,
        status: Status::Failed,
        at,
        lasted: Duration::ZERO,
        exit_code: None,
        retries,
        note: None,
        _folder: None,
    })
}

fn time_limit(
    around: &Surroundings<'_>,
    method: &Method,
    claim: &Claim,
) -> Result<Option<Duration>> {
    let limit = claim
        .timeout
        .as_ref()
        .or(method.timeout.as_ref())
        .or(around.default_limit.as_ref());
    let Some(text) = limit else { return Ok(None) };
    let limit =
        time::Duration::positive(text).map_err(|reason| Error::invalid("time limit", reason))?;
    let seconds = u64::try_from(limit.rough_seconds()).unwrap_or(u64::MAX);
    Ok(Some(Duration::from_secs(seconds.min(u64::from(u32::MAX)))))
}

/// A task's file, in a folder that only we may enter.
fn lay_out(store: &Store, worker: i64, claim: &Claim) -> Result<Option<Folder>> {
    if !claim.has_file {
        return Ok(None);
    }
    let folder = tempfile::Builder::new()
        .prefix(&worker::folder_prefix(store, worker))
        .tempdir()
        .map_err(|source| Error::io(&std::env::temp_dir(), source))?;
    let mut laid = Folder {
        file: folder.path().to_owned(),
        folder,
    };
    let name = store.get_task_file(claim.id, FileKind::Input, |name| {
        laid.file.push(name);
        new_file(&laid.file)
    })?;
    Ok(name.map(|_| laid))
}

fn new_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| Error::io(path, source))
}

impl Attempt {
    /// It is over: with this status, unless the runner itself ended it, and for this reason.
    pub(super) fn end(
        mut self,
        around: &Surroundings<'_>,
        (status, exit_code, reason): (Status, Option<i32>, Option<String>),
        show: Watch<'_>,
    ) -> Ended {
        let at = around.clock.now();
        let (status, reason) = self
            .cause
            .map_or((status, reason), |cause| cause.outcome(&self.record));
        // What the handler itself said of its failure says more than its exit status.
        if let Some(reason) = reason
            && (self.record.last_error.is_none() || status != Status::Failed)
        {
            self.say(Severity::Error, &reason, at, show);
        }
        let stopped = matches!(self.cause, Some(Cause::Asked(_)));
        Ended {
            status,
            at,
            lasted: around.clock.elapsed().saturating_sub(self.started),
            exit_code,
            retries: if stopped { 0 } else { self.retries },
            note: Some(self.note),
            claim: self.claim,
            record: self.record,
            _folder: self.folder,
        }
    }

    /// Logs what the runner itself has to say of it.
    pub(super) fn say(&mut self, level: Severity, words: &str, at: Timestamp, show: Watch<'_>) {
        let id = self.claim.id;
        self.record
            .say(level, words.to_owned(), at, &mut |event| show(id, event));
    }

    /// The note of its start, when it turns out that it was never begun.
    pub(super) fn unbegun(self) -> (Claim, usize) {
        (self.claim, self.note)
    }

    /// Why it is ended by us is kept from the first time on.
    pub(super) fn ask_to_end(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
    }
}

impl Cause {
    fn outcome(self, record: &Record) -> (Status, Option<String>) {
        let (status, words) = match self {
            Self::TimedOut => (
                Status::Interrupted,
                format!("ended at its time limit{}", last_words(record)),
            ),
            Self::Asked(Stop::Stop) => (Status::Interrupted, "stopped on request".to_owned()),
            Self::Asked(Stop::Cancel) => (Status::Cancelled, "cancelled on request".to_owned()),
            Self::Leaving => (
                Status::Interrupted,
                "ended because the runner was told to leave".to_owned(),
            ),
        };
        (status, Some(words))
    }
}

/// The last line on standard error, as the end of a sentence.
pub(super) fn last_words(record: &Record) -> String {
    record
        .last_words
        .as_ref()
        .map(|words| format!(": {words}"))
        .unwrap_or_default()
}
