//! A worker as the database knows it: it claims tasks, and one short transaction writes the ends of attempts and what others
//! have printed, gives back what is not started, and claims more.

use std::time::Duration;

use super::execution::{Finished, NewOutput};
use super::record::{Mode, Recorder};
use super::{SPARE_TIME, Selection};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::lock::Registration;
use crate::model::summary::Summary;
use crate::model::task::{Status, Stop};
use crate::store::Store;
use crate::store::task_claim::ClaimedTask;

/// How many tasks a slot claims to be started soon after those that are under way, when these were short.
const SPARES: usize = 4;
/// As many in a program that has functions, which may be done in no time.
const FUNCTION_SPARES: usize = 64;
/// How often a database is tried again that others hold or that has no room.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Claimant<'a> {
    ctx: Context<'a>,
    selection: Selection,
    /// `None` until it claims something.
    pub(super) registration: Option<Registration>,
    /// How many slots it may use: what the other workers leave of `task.max_running`.
    pub(super) slots: usize,
    pub(super) committed_at: Duration,
    /// Since when the database takes nothing, and when it is tried again.
    pub(super) unavailable: Option<(Duration, Duration)>,
}

/// What is to be written, and how much may be claimed.
pub(super) struct Changes<'c> {
    pub(super) finished: &'c [Finished],
    /// Of executions that go on.
    pub(super) outputs: &'c [NewOutput],
    /// Claimed tasks that go back.
    pub(super) returned: &'c [i64],
    /// How many slots are in use, and how many claimed tasks wait.
    pub(super) busy: usize,
    pub(super) queued: usize,
    /// How many tasks the handlers that are at work can take besides, if any are to be claimed.
    pub(super) room: Option<usize>,
}

/// What a commit came to.
#[derive(Default)]
pub(super) struct Committed {
    /// What became of the finished attempts.
    pub(super) summary: Summary,
    /// Tasks whose output the database does not take, and why.
    pub(super) refused: Vec<(i64, String)>,
    pub(super) claims: Vec<ClaimedTask>,
    /// Whether more may be ready.
    pub(super) may_be_more: bool,
    slots: usize,
}

impl<'a> Claimant<'a> {
    pub(super) fn new(ctx: Context<'a>, selection: Selection) -> Self {
        Self {
            ctx,
            selection,
            registration: None,
            slots: 0,
            committed_at: Duration::ZERO,
            unavailable: None,
        }
    }

    /// Whether there may be something to claim.
    pub(super) fn has_ready(&self) -> Result<bool> {
        match self.selection {
            Selection::Ready => self.has_ready_task(),
            Selection::Id(_) => Ok(self.registration.is_none()),
        }
    }

    /// A database that others hold is no reason to give up here: claims look for paused tasks too.
    fn has_ready_task(&self) -> Result<bool> {
        let (store, now) = (self.ctx.store, self.ctx.clock.now());
        if !store.has_ready_task(now)? {
            return Ok(false);
        }
        match store.defer_paused_tasks() {
            Err(error) if !error.is_temporary() => Err(error),
            _ => store.has_ready_task(now),
        }
    }

    /// Which of its tasks somebody asked to end. A request that cannot be read now is read the next time.
    pub(super) fn stop_requests(&self) -> Result<Vec<(i64, Stop)>> {
        let Some(registration) = &self.registration else {
            return Ok(Vec::new());
        };
        match self.ctx.store.stop_requests(registration.id) {
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
        let since = self.unavailable.map_or(now, |(since, _)| since);
        self.unavailable = Some((since, now + RETRY_INTERVAL));
    }

    /// Writes all of it and claims, or does nothing: then it can be tried again.
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
        let (committed, new) = self.ctx.store.transact(|store| {
            let new = match self.registration {
                Some(_) => None,
                None => Some(Registration::register(store, self.ctx.clock)?),
            };
            let registration = self.registration.as_ref().or(new.as_ref());
            let worker = registration.expect("it is one of both").id;
            let mut committed = Committed::default();
            let recorder = Recorder {
                ctx: self.ctx,
                worker,
                mode,
            };
            record(&recorder, changes, &mut committed)?;
            for id in changes.returned {
                store.unclaim_task(*id, worker, self.ctx.clock.now())?;
            }
            self.claim(worker, changes, &mut committed)?;
            Ok((committed, new))
        })?;
        self.registration = self.registration.take().or(new);
        Ok(committed)
    }

    fn claim(&self, worker: i64, changes: &Changes<'_>, committed: &mut Committed) -> Result<()> {
        let (store, now) = (self.ctx.store, self.ctx.clock.now());
        committed.slots = self.slots_now(store, worker)?.max(changes.busy);
        match (self.selection, changes.room) {
            (Selection::Ready, Some(room)) => self.claim_ready(worker, room, changes, committed)?,
            (Selection::Id(id), Some(_)) if self.registration.is_none() => {
                committed.claims.extend(store.claim_task(id, worker, now)?);
            }
            _ => {}
        }
        let used = changes.busy + changes.queued + committed.claims.len();
        store.set_slots(worker, committed.slots.min(used))?;
        let (ended, claimed) = (changes.finished.len(), committed.claims.len());
        log::debug!("{now}: {ended} ended, {claimed} claimed");
        Ok(())
    }

    /// How many slots the other workers leave.
    fn slots_now(&self, store: &Store<'_>, worker: i64) -> Result<usize> {
        if self.selection != Selection::Ready {
            return Ok(1);
        }
        let all = usize::try_from(self.ctx.settings.max_running()?).unwrap_or(1);
        Ok(all.saturating_sub(store.slots_of_others(worker)?))
    }

    fn claim_ready(
        &self,
        worker: i64,
        room: usize,
        changes: &Changes<'_>,
        committed: &mut Committed,
    ) -> Result<()> {
        let (store, slots, now) = (self.ctx.store, committed.slots, self.ctx.clock.now());
        let wanted = slots - changes.busy + room + self.spares(changes, slots);
        let wanted = wanted.saturating_sub(changes.queued);
        committed.may_be_more = wanted == 0 && slots > 0;
        if wanted > 0 {
            store.undefer_tasks(now)?;
            committed.claims = store.claim_tasks(worker, wanted, now)?;
            committed.may_be_more = committed.claims.len() == wanted;
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

    /// Takes the worker off the list, and gives back what it has not started. When the database takes no more now, the next
    /// run does the rest: for that the lock file stays, which says what was started.
    pub(super) fn sign_off(&mut self, unstarted: &[i64]) -> Result<()> {
        let Some(registration) = self.registration.take() else {
            return Ok(());
        };
        let now = self.ctx.clock.now();
        let done = self.ctx.store.transact(|store| {
            let mut unstarted = unstarted.iter();
            unstarted.try_for_each(|id| store.unclaim_task(*id, registration.id, now))?;
            store.delete_worker(registration.id)
        });
        match done {
            Err(error) if error.is_temporary() => {
                log::warn!("{error}; the next run takes this worker off the list");
                Ok(())
            }
            done => done.map(|()| registration.sign_off()),
        }
    }
}

fn record(recorder: &Recorder<'_>, changes: &Changes<'_>, committed: &mut Committed) -> Result<()> {
    let store = recorder.ctx.store;
    let is_completed = |finished: &Finished| finished.status == Status::Completed;
    let has_followers = changes.finished.iter().any(is_completed) && store.has_waiting_task()?;
    for finished in changes.finished {
        let status = recorder.end(finished, &mut committed.summary)?;
        if has_followers && status == Status::Completed {
            store.unblock_followers(finished.task.id)?;
        }
    }
    for output in changes.outputs {
        let refused = recorder.output(output)?;
        let refused = refused.map(|reason| (output.task, reason));
        committed.refused.extend(refused);
    }
    Ok(())
}
