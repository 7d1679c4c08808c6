//! What a worker writes: one short transaction for the ends of attempts, for what others have said, and for new claims.

use std::io;
use std::time::Duration;

use super::execution::Finished;
use super::output::Unwritten;
use super::{RETRY_INTERVAL, SPARE_TIME, Selection};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::lock::WorkerLock;
use crate::model::task::{LogEntry, Severity, Status, Stop, next_attempt};
use crate::store::Store;
use crate::store::task_claim::{Attempt, ClaimedTask, TaskEnd};
use crate::store::task_file::FileKind;
use crate::time::Timestamp;

/// How many tasks a slot claims to be started soon after those that are under way, when these were short.
const SPARES: usize = 4;
/// As many in a program that has functions, which may be done in no time.
const FUNCTION_SPARES: usize = 64;

/// The rows of a worker.
pub(super) struct Ledger<'a> {
    ctx: Context<'a>,
    selection: Selection,
    /// `None` until it claims something.
    pub(super) lock: Option<WorkerLock>,
    /// How many slots it may use.
    pub(super) slots: usize,
    /// How many its row says that it uses.
    noted_slots: usize,
    pub(super) committed_at: Duration,
    /// Set while the database takes nothing.
    pub(super) unavailable: Option<Unavailable>,
}

/// The database is held by others, or its disk is full.
pub(super) struct Unavailable {
    since: Duration,
    pub(super) retry_at: Duration,
}

/// What is to be written.
pub(super) struct Changes<'c> {
    pub(super) finished: &'c [Finished],
    pub(super) said: &'c [Said],
    /// Claimed tasks that go back.
    pub(super) released: &'c [i64],
    /// How many slots are in use, and how many claimed tasks wait.
    pub(super) busy: usize,
    pub(super) queued: usize,
    /// Whether to claim as many tasks as there are free slots, and how many more the handlers that are at work can take.
    pub(super) may_claim: bool,
    pub(super) room: usize,
}

/// What an execution that goes on has said.
pub(super) struct Said {
    pub(super) task: i64,
    pub(super) attempt: u32,
    pub(super) unwritten: Unwritten,
}

/// What a commit came to.
pub(super) struct Committed {
    /// What became of each finished attempt, in their order.
    pub(super) ends: Vec<Recorded>,
    /// Tasks whose output the database does not take, and why.
    pub(super) refused: Vec<(i64, String)>,
    pub(super) claims: Vec<ClaimedTask>,
    /// Whether more may be ready.
    pub(super) may_be_more: bool,
    /// How many slots it may use: what the other workers leave of `task.max_running`.
    pub(super) slots: usize,
}

/// An end as it stands in the database.
pub(super) struct Recorded {
    pub(super) status: Status,
    pub(super) again_at: Option<Timestamp>,
    /// Why it could not be recorded as it was.
    pub(super) error: Option<String>,
    /// How often the level has failed that waits for the task, if one does.
    pub(super) level_attempts: Option<u32>,
}

/// How a commit is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    /// Each attempt has a savepoint: one whose rows are refused does no harm to the others.
    Savepoints,
    /// The files that handlers gave back are not stored: one may be too large for what is left of the disk, and the rest
    /// not.
    WithoutFiles,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(ctx: Context<'a>, selection: Selection) -> Self {
        Self {
            ctx,
            selection,
            lock: None,
            slots: 0,
            noted_slots: 0,
            committed_at: Duration::ZERO,
            unavailable: None,
        }
    }

    /// Whether there may be something to claim.
    pub(super) fn has_ready(&self) -> Result<bool> {
        match self.selection {
            Selection::Ready => self.ctx.store.has_ready_task(self.ctx.clock.now()),
            Selection::Id(_) => Ok(self.lock.is_none()),
        }
    }

    /// What somebody asked of its tasks. What is not noticed now is the next time.
    pub(super) fn stop_requests(&self) -> Result<Vec<(i64, Stop)>> {
        let Some(lock) = &self.lock else {
            return Ok(Vec::new());
        };
        match self.ctx.store.stop_requests(lock.id) {
            Err(error) if error.is_temporary() => Ok(Vec::new()),
            requests => requests,
        }
    }

    /// The database takes nothing now: it is tried again soon.
    pub(super) fn suspend(&mut self, error: &Error) {
        let now = self.ctx.clock.elapsed();
        if self.unavailable.is_none() {
            log::warn!(
                "{error}; the handlers go on, and what becomes of them is noted as soon as it can be"
            );
        }
        let since = self
            .unavailable
            .as_ref()
            .map_or(now, |unavailable| unavailable.since);
        let retry_at = now + RETRY_INTERVAL;
        self.unavailable = Some(Unavailable { since, retry_at });
    }

    /// For how long it has taken nothing.
    pub(super) fn unavailable_for(&self) -> Duration {
        let now = self.ctx.clock.elapsed();
        let since = self
            .unavailable
            .as_ref()
            .map(|unavailable| unavailable.since);
        since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// Writes all of it, or nothing: then it can be tried again.
    pub(super) fn commit(&mut self, changes: &Changes<'_>) -> Result<Committed> {
        let has_file = |finished: &Finished| finished.output.lock().file.is_some();
        match self.try_commit(changes, Mode::Plain) {
            Err(error) if error.is_full() && changes.finished.iter().any(has_file) => {
                self.try_commit(changes, Mode::WithoutFiles)
            }
            Err(error) if !error.is_about_the_database() => {
                self.try_commit(changes, Mode::Savepoints)
            }
            committed => committed,
        }
    }

    fn try_commit(&mut self, changes: &Changes<'_>, mode: Mode) -> Result<Committed> {
        let store = self.ctx.store;
        let (committed, used, registered) = store.transact(|store| {
            let registered = match self.lock {
                Some(_) => None,
                None => Some(WorkerLock::register(store, self.ctx.clock)?),
            };
            let lock = self.lock.as_ref().or(registered.as_ref());
            let worker = lock.expect("one of both").id;
            let (committed, used) = self.write(worker, changes, mode)?;
            Ok((committed, used, registered))
        })?;
        self.noted_slots = used;
        self.slots = committed.slots;
        self.committed_at = self.ctx.clock.elapsed();
        self.unavailable = None;
        self.lock = self.lock.take().or(registered);
        Ok(committed)
    }

    /// The slots that the row says it uses come with the rest.
    fn write(&self, worker: i64, changes: &Changes<'_>, mode: Mode) -> Result<(Committed, usize)> {
        let (store, now) = (self.ctx.store, self.ctx.clock.now());
        let is_completed = |finished: &Finished| finished.status == Status::Completed;
        let has_followers =
            changes.finished.iter().any(is_completed) && store.has_waiting_task()?;
        let mut ends = Vec::with_capacity(changes.finished.len());
        for finished in changes.finished {
            ends.push(self.record(worker, finished, mode)?);
            if has_followers && is_completed(finished) {
                store.release_followers(finished.task.id)?;
            }
        }
        let refused = write_said(store, worker, changes.said, mode)?;
        for id in changes.released {
            store.release_task(*id, worker, now)?;
        }
        let slots = match self.selection {
            Selection::Id(_) => 1,
            Selection::Ready => {
                let all = usize::try_from(self.ctx.settings.max_running()?).unwrap_or(1);
                let others = store.slots_of_others(worker)?;
                all.saturating_sub(others).max(changes.busy)
            }
        };
        let (claims, may_be_more) = self.claim(worker, changes, slots)?;
        let used = slots.min(changes.busy + changes.queued + claims.len());
        if used != self.noted_slots {
            store.set_slots(worker, used)?;
        }
        log::debug!("{now}: {} ended, {} claimed", ends.len(), claims.len());
        let committed = Committed {
            ends,
            refused,
            claims,
            may_be_more,
            slots,
        };
        Ok((committed, used))
    }

    fn claim(
        &self,
        worker: i64,
        changes: &Changes<'_>,
        slots: usize,
    ) -> Result<(Vec<ClaimedTask>, bool)> {
        let (store, now) = (self.ctx.store, self.ctx.clock.now());
        if !changes.may_claim {
            return Ok((Vec::new(), false));
        }
        if let Selection::Id(id) = self.selection {
            let is_first = self.lock.is_none();
            let claimed = is_first
                .then(|| store.claim_task(id, worker, now))
                .transpose()?;
            return Ok((claimed.flatten().into_iter().collect(), false));
        }
        let free = slots - changes.busy + changes.room;
        let wanted = (free + self.spares(changes, slots)).saturating_sub(changes.queued);
        // Without a slot nothing can be started soon.
        if free == 0 || wanted == 0 {
            return Ok((Vec::new(), slots > 0));
        }
        store.undefer_tasks(now)?;
        let claims = store.claim_tasks(worker, wanted, now)?;
        let may_be_more = claims.len() == wanted;
        Ok((claims, may_be_more))
    }

    fn spares(&self, changes: &Changes<'_>, slots: usize) -> usize {
        let is_short = |finished: &Finished| finished.lasted < SPARE_TIME;
        if !changes.finished.iter().any(is_short) {
            return 0;
        }
        if self.ctx.functions.is_empty() {
            slots * SPARES
        } else {
            slots * FUNCTION_SPARES
        }
    }

    fn record(&self, worker: i64, finished: &Finished, mode: Mode) -> Result<Recorded> {
        if mode != Mode::Savepoints {
            return self.finish(worker, finished, mode);
        }
        let store = self.ctx.store;
        let reason = match store.attempt(|_| self.finish(worker, finished, mode)) {
            Err(error) if !error.is_about_the_database() => error.to_string(),
            recorded => return recorded,
        };
        let error = format!("what came of it cannot be recorded: {reason}");
        match store.attempt(|_| self.finish_refused(worker, finished, &error)) {
            Err(other) if other.is_about_the_database() => return Err(other),
            Err(other) => log::error!(
                "task {}: its end cannot be recorded: {other}",
                finished.task.id
            ),
            Ok(()) => {}
        }
        Ok(Recorded {
            status: Status::Failed,
            again_at: None,
            error: Some(error),
            level_attempts: None,
        })
    }

    /// Ends an attempt.
    fn finish(&self, worker: i64, finished: &Finished, mode: Mode) -> Result<Recorded> {
        let store = self.ctx.store;
        let (task, output) = (&finished.task, finished.output.lock());
        let again_at = self.again_at(finished)?;
        let end = TaskEnd {
            status: finished.status,
            attachment: task.attachment,
            again_at,
            at: finished.at,
            lasted: finished.lasted,
            exit_code: finished.exit_code,
            progress: output.progress().cloned(),
            result: output.result.clone(),
        };
        if store.finish_task(attempt(worker, finished), &end)? {
            store.write_logs(task.id, task.attempt, &output.unwritten().log)?;
            drop(output);
            self.store_file(finished, mode)?;
        } else {
            log::warn!(
                "task {}: it is not this run's any more; its end is not noted",
                task.id
            );
        }
        let is_failure = matches!(finished.status, Status::Failed | Status::Interrupted);
        let level = task.attachment.filter(|_| is_failure);
        let level = level.map(|attachment| store.attempts_at_level_of(attachment, task.id));
        Ok(Recorded {
            status: finished.status,
            again_at,
            error: None,
            level_attempts: level.transpose()?.flatten(),
        })
    }

    /// Ends an attempt of which the database does not take what it brought.
    fn finish_refused(&self, worker: i64, finished: &Finished, error: &str) -> Result<()> {
        let (store, task) = (self.ctx.store, &finished.task);
        let end = TaskEnd {
            status: Status::Failed,
            attachment: task.attachment,
            again_at: None,
            at: finished.at,
            lasted: finished.lasted,
            exit_code: finished.exit_code,
            progress: None,
            result: None,
        };
        store.finish_task(attempt(worker, finished), &end)?;
        let entry = error_entry(finished.at, error.to_owned());
        match store.attempt(|store| store.append_log(task.id, task.attempt, &entry)) {
            Err(error) if error.is_about_the_database() => Err(error),
            // Its log may be what is not taken.
            _ => Ok(()),
        }
    }

    /// When the task is tried again, if it is: a level's only while the level waits for it.
    fn again_at(&self, finished: &Finished) -> Result<Option<Timestamp>> {
        if !matches!(finished.status, Status::Failed | Status::Interrupted) {
            return Ok(None);
        }
        let again_at = next_attempt(finished.task.attempt, finished.retries, finished.at);
        match (again_at, finished.task.attachment) {
            (Some(_), Some(attachment)) => {
                let (store, task) = (self.ctx.store, finished.task.id);
                let level = store.attempts_at_level_of(attachment, task)?;
                Ok(again_at.filter(|_| level.is_some()))
            }
            _ => Ok(again_at),
        }
    }

    /// Stores the file that the handler gave back. One that cannot be stored is an error in the log: the task came to its
    /// end all the same.
    fn store_file(&self, finished: &Finished, mode: Mode) -> Result<()> {
        let (store, task) = (self.ctx.store, &finished.task);
        let Some(file) = finished.output.lock().file.clone() else {
            return Ok(());
        };
        let path = store.files().folder().join(&file);
        let name = file.file_name().and_then(|name| name.to_str());
        let name = finished.mask.text(name.unwrap_or("output").to_owned());
        let stored = if mode == Mode::WithoutFiles {
            Err(Error::io(&path, io::ErrorKind::StorageFull.into()))
        } else {
            store.attempt(|store| store.put_task_file(task.id, FileKind::Output, &name, &path))
        };
        match stored {
            Err(error) if store.in_transaction() => {
                let message =
                    format!("the file that the handler gave back cannot be kept: {error}");
                let entry = error_entry(finished.at, finished.mask.text(message));
                store.append_log(task.id, task.attempt, &entry)
            }
            stored => stored,
        }
    }

    /// Takes the worker off the list, and gives back what it has not started. When the database takes no more now, the next
    /// run does the rest: for that the lock file stays, which says what was started.
    pub(super) fn sign_off(&mut self, unstarted: &[i64]) -> Result<()> {
        let Some(lock) = self.lock.take() else {
            return Ok(());
        };
        let now = self.ctx.clock.now();
        let done = self.ctx.store.transact(|store| {
            for id in unstarted {
                store.release_task(*id, lock.id, now)?;
            }
            store.delete_worker(lock.id)
        });
        match done {
            Err(error) if error.is_temporary() => {
                log::warn!("{error}; the next run takes this worker off the list");
                Ok(())
            }
            Ok(()) => {
                lock.sign_off();
                Ok(())
            }
            failed => failed,
        }
    }
}

fn attempt(worker: i64, finished: &Finished) -> Attempt {
    Attempt {
        task: finished.task.id,
        number: finished.task.attempt,
        worker,
    }
}

fn error_entry(at: Timestamp, message: String) -> LogEntry {
    LogEntry {
        at,
        level: Severity::Error,
        message,
        details: None,
    }
}

/// Writes logs and progress of executions that go on; those that the database refuses.
fn write_said(store: &Store, worker: i64, said: &[Said], mode: Mode) -> Result<Vec<(i64, String)>> {
    let write = |store: &Store, said: &Said| {
        store.write_logs(said.task, said.attempt, &said.unwritten.log)?;
        let attempt = Attempt {
            task: said.task,
            number: said.attempt,
            worker,
        };
        let progress = said.unwritten.progress.as_ref();
        progress.map_or(Ok(()), |progress| store.set_progress(attempt, progress))
    };
    let mut refused = Vec::new();
    for said in said {
        let has_savepoint = mode == Mode::Savepoints;
        let written = if has_savepoint {
            store.attempt(|store| write(store, said))
        } else {
            write(store, said)
        };
        match written {
            Err(error) if has_savepoint && !error.is_about_the_database() => {
                refused.push((said.task, error.to_string()));
            }
            written => written?,
        }
    }
    Ok(refused)
}
