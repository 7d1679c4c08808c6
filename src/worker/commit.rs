//! What a worker writes: one short transaction for the ends of attempts, for what others have said, and for new claims.

use std::io;
use std::time::Duration;

use super::execution::Finished;
use super::output::Unwritten;
use super::{SPARE_TIME, Selection};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::lock::WorkerLock;
use crate::model::task::{LogEntry, Status, Stop, next_attempt};
use crate::store::task_claim::{Attempt, ClaimedTask, TaskEnd};
use crate::store::task_file::FileKind;
use crate::time::Timestamp;

/// How many tasks a slot claims to be started soon after those that are under way, when these were short.
const SPARES: usize = 4;
/// As many in a program that has functions, which may be done in no time.
const FUNCTION_SPARES: usize = 64;
/// How often a database is tried again that others hold or that has no room.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The rows of a worker.
pub(super) struct Ledger<'a> {
    ctx: Context<'a>,
    selection: Selection,
    /// `None` until it claims something.
    pub(super) lock: Option<WorkerLock>,
    /// How many slots it may use: what the other workers leave of `task.max_running`.
    pub(super) slots: usize,
    pub(super) committed_at: Duration,
    /// Since when the database takes nothing, and when it is tried again.
    pub(super) unavailable: Option<(Duration, Duration)>,
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
    /// How many tasks the handlers that are at work can take besides, if any are to be claimed.
    pub(super) room: Option<usize>,
}

/// What an execution that goes on has said.
pub(super) struct Said {
    pub(super) task: i64,
    pub(super) attempt: u32,
    pub(super) unwritten: Unwritten,
}

/// What a commit came to.
#[derive(Default)]
pub(super) struct Committed {
    /// What became of each finished attempt, in their order.
    pub(super) ends: Vec<Recorded>,
    /// Tasks whose output the database does not take, and why.
    pub(super) refused: Vec<(i64, String)>,
    pub(super) claims: Vec<ClaimedTask>,
    /// Whether more may be ready.
    pub(super) may_be_more: bool,
    slots: usize,
}

/// An end as it stands in the database.
pub(super) struct Recorded {
    pub(super) status: Status,
    pub(super) again_at: Option<Timestamp>,
    /// How often the level has failed that waits for the task, if one does.
    pub(super) level_attempts: Option<u32>,
    /// Why it could not be recorded as it was.
    pub(super) error: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    /// Without the files that handlers gave back: they may be too large for what is left of the disk.
    WithoutFiles,
    /// Each attempt with a savepoint: one whose rows are refused does no harm to the others.
    OneByOne,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(ctx: Context<'a>, selection: Selection) -> Self {
        Self {
            ctx,
            selection,
            lock: None,
            slots: 0,
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
        let requests = self
            .lock
            .as_ref()
            .map(|lock| self.ctx.store.stop_requests(lock.id));
        match requests {
            Some(Err(error)) if !error.is_temporary() => Err(error),
            requests => Ok(requests.and_then(Result::ok).unwrap_or_default()),
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
        let since = self.unavailable.map_or(now, |(since, _)| since);
        self.unavailable = Some((since, now + RETRY_INTERVAL));
    }

    /// Writes all of it, or nothing: then it can be tried again.
    pub(super) fn commit(&mut self, changes: &Changes<'_>) -> Result<Committed> {
        let has_file = |finished: &Finished| finished.output.lock().file.is_some();
        let committed = match self.try_commit(changes, Mode::Plain) {
            Err(error) if error.is_full() && changes.finished.iter().any(has_file) => {
                self.try_commit(changes, Mode::WithoutFiles)
            }
            Err(error) if !error.is_about_the_database() => {
                self.try_commit(changes, Mode::OneByOne)
            }
            committed => committed,
        };
        let committed = committed?;
        self.slots = committed.slots;
        self.committed_at = self.ctx.clock.elapsed();
        self.unavailable = None;
        Ok(committed)
    }

    fn try_commit(&mut self, changes: &Changes<'_>, mode: Mode) -> Result<Committed> {
        let (committed, registered) = self.ctx.store.transact(|store| {
            let registered = match self.lock {
                Some(_) => None,
                None => Some(WorkerLock::register(store, self.ctx.clock)?),
            };
            let lock = self.lock.as_ref().or(registered.as_ref());
            let worker = lock.expect("it is one of both").id;
            Ok((self.write(worker, changes, mode)?, registered))
        })?;
        self.lock = self.lock.take().or(registered);
        Ok(committed)
    }

    fn write(&self, worker: i64, changes: &Changes<'_>, mode: Mode) -> Result<Committed> {
        let (store, now) = (self.ctx.store, self.ctx.clock.now());
        let mut done = Committed::default();
        let is_completed = |finished: &Finished| finished.status == Status::Completed;
        let has_followers =
            changes.finished.iter().any(is_completed) && store.has_waiting_task()?;
        for finished in changes.finished {
            done.ends.push(self.record(worker, finished, mode)?);
            if has_followers && is_completed(finished) {
                store.unblock_followers(finished.task.id)?;
            }
        }
        for said in changes.said {
            let write = || self.write_said(worker, said);
            if let Some(reason) = self.refusal(mode, write)? {
                done.refused.push((said.task, reason));
            }
        }
        for id in changes.released {
            store.release_task(*id, worker, now)?;
        }
        done.slots = match self.selection {
            Selection::Id(_) => 1,
            Selection::Ready => {
                let all = usize::try_from(self.ctx.settings.max_running()?).unwrap_or(1);
                let others = store.slots_of_others(worker)?;
                all.saturating_sub(others).max(changes.busy)
            }
        };
        self.claim(worker, changes, &mut done)?;
        let used = done
            .slots
            .min(changes.busy + changes.queued + done.claims.len());
        store.set_slots(worker, used)?;
        let (ended, claimed) = (done.ends.len(), done.claims.len());
        log::debug!("{now}: {ended} ended, {claimed} claimed");
        Ok(done)
    }

    fn claim(&self, worker: i64, changes: &Changes<'_>, done: &mut Committed) -> Result<()> {
        let (store, now) = (self.ctx.store, self.ctx.clock.now());
        let Some(room) = changes.room else {
            return Ok(());
        };
        if let Selection::Id(id) = self.selection {
            if self.lock.is_none() {
                done.claims.extend(store.claim_task(id, worker, now)?);
            }
            return Ok(());
        }
        let wanted = done.slots - changes.busy + room + self.spares(changes, done.slots);
        let wanted = wanted.saturating_sub(changes.queued);
        done.may_be_more = wanted == 0 && done.slots > 0;
        if wanted > 0 {
            store.undefer_tasks(now)?;
            done.claims = store.claim_tasks(worker, wanted, now)?;
            done.may_be_more = done.claims.len() == wanted;
        }
        Ok(())
    }

    /// How many tasks to claim that are started as soon as others have ended: when these are short.
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

    /// Why rows are refused, if they are and each attempt has a savepoint.
    fn refusal(&self, mode: Mode, write: impl FnOnce() -> Result<()>) -> Result<Option<String>> {
        if mode != Mode::OneByOne {
            return write().map(|()| None);
        }
        match self.ctx.store.attempt(|_| write()) {
            Err(error) if !error.is_about_the_database() => Ok(Some(error.to_string())),
            written => written.map(|()| None),
        }
    }

    fn write_said(&self, worker: i64, said: &Said) -> Result<()> {
        let store = self.ctx.store;
        store.write_logs(said.task, said.attempt, &said.unwritten.log)?;
        let attempt = Attempt {
            task: said.task,
            number: said.attempt,
            worker,
        };
        match &said.unwritten.progress {
            Some(progress) => store.set_progress(attempt, progress),
            None => Ok(()),
        }
    }

    /// Ends an attempt.
    fn record(&self, worker: i64, finished: &Finished, mode: Mode) -> Result<Recorded> {
        let (store, task) = (self.ctx.store, &finished.task);
        let mut recorded = Recorded {
            status: finished.status,
            again_at: None,
            level_attempts: None,
            error: None,
        };
        if matches!(finished.status, Status::Failed | Status::Interrupted) {
            recorded.again_at = next_attempt(task.attempt, finished.retries, finished.at);
            if let Some(attachment) = task.attachment {
                recorded.level_attempts = store.attempts_at_level_of(attachment, task.id)?;
                // It is tried again only while its level waits for it.
                recorded.again_at = recorded
                    .again_at
                    .filter(|_| recorded.level_attempts.is_some());
            }
        }
        let again_at = recorded.again_at;
        let finish = || self.finish(worker, finished, again_at, mode);
        if let Some(reason) = self.refusal(mode, finish)? {
            let error = format!("what came of it cannot be recorded: {reason}");
            let refused = self.refusal(mode, || self.finish_refused(worker, finished, &error))?;
            if let Some(reason) = refused {
                log::error!("task {}: its end cannot be recorded: {reason}", task.id);
            }
            recorded.status = Status::Failed;
            recorded.again_at = None;
            recorded.error = Some(error);
        }
        Ok(recorded)
    }

    fn finish(
        &self,
        worker: i64,
        finished: &Finished,
        again_at: Option<Timestamp>,
        mode: Mode,
    ) -> Result<()> {
        let (store, task) = (self.ctx.store, &finished.task);
        let output = finished.output.lock();
        let end = TaskEnd {
            again_at,
            progress: output.progress().cloned(),
            result: output.result.clone(),
            ..plain_end(finished, finished.status)
        };
        if !store.finish_task(attempt(worker, finished), &end)? {
            log::warn!(
                "task {}: it is not this run's any more; its end is not noted",
                task.id
            );
            return Ok(());
        }
        store.write_logs(task.id, task.attempt, &output.unwritten().log)?;
        let file = output.file.clone();
        drop(output);
        let Some(file) = file else {
            return Ok(());
        };
        // One that cannot be stored is an error in the log: the task came to its end all the same.
        let path = store.files().folder().join(&file);
        let name = file.file_name().and_then(|name| name.to_str());
        let name = finished.mask.text(name.unwrap_or("output").to_owned());
        let stored = match mode {
            Mode::WithoutFiles => Err(Error::io(&path, io::ErrorKind::StorageFull.into())),
            _ => {
                store.attempt(|store| store.put_task_file(task.id, FileKind::Output, &name, &path))
            }
        };
        match stored {
            Err(error) if store.in_transaction() => {
                let message =
                    format!("the file that the handler gave back cannot be kept: {error}");
                let entry = LogEntry::error(finished.at, finished.mask.text(message));
                store.append_log(task.id, task.attempt, &entry)
            }
            stored => stored,
        }
    }

    /// Ends an attempt of which the database does not take what it brought.
    fn finish_refused(&self, worker: i64, finished: &Finished, error: &str) -> Result<()> {
        let (store, task) = (self.ctx.store, &finished.task);
        let end = plain_end(finished, Status::Failed);
        store.finish_task(attempt(worker, finished), &end)?;
        let entry = LogEntry::error(finished.at, error.to_owned());
        // Its log may be what is not taken.
        let log = || store.append_log(task.id, task.attempt, &entry);
        self.refusal(Mode::OneByOne, log).map(drop)
    }

    /// Takes the worker off the list, and gives back what it has not started. When the database takes no more now, the next
    /// run does the rest: for that the lock file stays, which says what was started.
    pub(super) fn sign_off(&mut self, unstarted: &[i64]) -> Result<()> {
        let Some(lock) = self.lock.take() else {
            return Ok(());
        };
        let now = self.ctx.clock.now();
        let done = self.ctx.store.transact(|store| {
            let mut unstarted = unstarted.iter();
            unstarted.try_for_each(|id| store.release_task(*id, lock.id, now))?;
            store.delete_worker(lock.id)
        });
        match done {
            Err(error) if error.is_temporary() => {
                log::warn!("{error}; the next run takes this worker off the list");
                Ok(())
            }
            done => done.map(|()| lock.sign_off()),
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

/// An end with nothing that the handler brought.
fn plain_end(finished: &Finished, status: Status) -> TaskEnd {
    TaskEnd {
        lasted: finished.lasted,
        exit_code: finished.exit_code,
        ..TaskEnd::new(status, finished.task.attachment, finished.at)
    }
}
