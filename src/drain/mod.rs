//! Running pending tasks until none is left: one thread that owns the database and waits on the handlers' pipes.
//!
//! All that the handlers say, and their ends, go to the database in batches: one short transaction ends the attempts
//! that are over, lets go of what waited for them and claims what comes next. No transaction is open while the run
//! waits for handlers, which go on while one is. When tasks are short, more of them are claimed than can run at once, so that a handler does not
//! wait for the disk; what is claimed and not started is given back at once when it turns out to wait.

mod attempt;
mod care;
mod flush;
mod grace;
mod listen;
mod own;
mod pool;
mod resident;
mod start;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

pub use attempt::Watch;
use attempt::{Attempt, Ended, Surroundings};
use grace::GRACE;
use own::Own;
use pool::Pool;
use resident::Resident;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::handler::process::inherited;
use crate::handler::record::Event;
use crate::model::method::Methods;
use crate::model::task::Status;
use crate::shutdown::Shutdown;
use crate::store::task::Claim;
use crate::time::Timestamp;
use crate::worker::{Worker, give_back};

/// How long an end waits for others to be committed together with it.
const GATHER: Duration = Duration::from_millis(20);
/// How long what a handler says waits before it can be seen in the database.
const SHOWN_AFTER: Duration = Duration::from_millis(200);
/// How often a run looks whether somebody wants one of its tasks to end.
const LOOK_FOR_STOPS: Duration = Duration::from_millis(250);
/// How long a task stays claimed without being started.
const KEEP_CLAIM: Duration = Duration::from_millis(500);
/// For how long of work tasks are claimed ahead.
const CLAIM_AHEAD: Duration = Duration::from_millis(40);
/// How many tasks are claimed ahead at most.
const MOST_AHEAD: usize = 1000;
/// How many tasks whose resident handler keeps dying are kept from running before nothing more is claimed.
const MOST_PARKED: usize = 1000;
/// How many problems a run tells of one by one.
const MOST_PROBLEMS: usize = 100;
/// How much of an error is told, in characters: all of it is in the task's log.
const LONGEST_ERROR: usize = 500;
/// How often a database is tried again that others hold or that has no room, while handlers are at work.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Which tasks to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All that are pending.
    Pending,
    /// This one, whatever its status.
    One(i64),
}

/// An attempt that did not come to its end.
#[derive(Debug)]
pub struct Problem {
    /// The task.
    pub task: i64,
    /// Its method.
    pub method: String,
    /// Which attempt it was.
    pub attempt: u32,
    /// How it ended.
    pub status: Status,
    /// What went wrong, cut after some hundred characters.
    pub error: String,
    /// When it is tried again, if it is.
    pub again_at: Option<Timestamp>,
    /// The attachment that waits for it, and so for another task if it is not tried again, and how often its level has
    /// failed.
    pub level: Option<(i64, u32)>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Attempts that came to their end.
    pub completed: u64,
    /// Attempts whose handler said that it could not.
    pub failed: u64,
    /// Attempts that were cut short.
    pub interrupted: u64,
    /// Attempts that somebody cancelled.
    pub cancelled: u64,
    /// What went wrong with tasks, as far as it is told one by one.
    pub problems: Vec<Problem>,
    /// How many more problems there were.
    pub more_problems: u64,
    /// How many of those are of tasks that are not tried again.
    pub more_final: u64,
    /// What else went wrong.
    pub errors: Vec<String>,
    /// Whether the run was told to leave.
    pub left: bool,
    /// Whether tasks stay pending that it could not have started.
    pub parked: bool,
}

impl Outcome {
    /// How many attempts were ended.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.interrupted + self.cancelled
    }

    fn tell(&mut self, problem: Problem) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.more_problems += 1;
            self.more_final += u64::from(problem.is_final());
        }
    }
}

impl Problem {
    /// Whether nothing more is tried: neither the task again nor another one by a level that waits for it.
    pub fn is_final(&self) -> bool {
        self.again_at.is_none() && self.level.is_none()
    }
}

/// Runs tasks: as many at once as `task.max_running` allows over all runs alive, or one that was asked for.
///
/// # Errors
/// When the database fails: the handlers are ended, and the next tick finds their tasks interrupted. What was committed
/// before is in the outcome all the same.
pub fn drain(ctx: Context<'_>, wanted: Wanted, watch: Option<Watch<'_>>) -> (Outcome, Result<()>) {
    let mut outcome = Outcome::default();
    let done = drain_into(&mut outcome, ctx, wanted, watch);
    (outcome, done)
}

fn drain_into(
    outcome: &mut Outcome,
    ctx: Context<'_>,
    wanted: Wanted,
    watch: Option<Watch<'_>>,
) -> Result<()> {
    let store = ctx.store;
    let debug = watch.is_some();
    let mut nobody = |_: i64, _: Event<'_>| {};
    let around = Surroundings {
        store,
        clock: ctx.clock,
        functions: ctx.functions,
        database: store.files().beside(""),
        folder: store.files().folder(),
        inherited: inherited(),
        default_limit: ctx.settings.timeout()?.map(|limit| limit.to_string()),
        debug,
    };
    let methods = store.methods(ctx.functions)?;
    let max_running = usize::try_from(ctx.settings.max_running()?).unwrap_or(1);
    let mut drain = Drain {
        wanted,
        methods: &methods,
        max_running,
        worker: None,
        places: 0,
        noted_places: 0,
        queue: VecDeque::new(),
        parked: Vec::new(),
        claimed_at: Duration::ZERO,
        last_claimed: 0,
        own: Vec::new(),
        residents: Vec::new(),
        deaths: HashMap::new(),
        pool: None,
        ended: Vec::new(),
        flushed_at: ctx.clock.elapsed(),
        looked_at: ctx.clock.elapsed(),
        seen_version: None,
        rate: 0.0,
        claim_next: true,
        held_up: None,
        no_room_for_files: false,
        short: false,
        outcome,
        buffer: vec![0; 64 * 1024],
        around,
    };
    let ran = drain.run(ctx.shutdown, watch.unwrap_or(&mut nobody));
    if ran.is_err() {
        drain.abandon();
    }
    ran
}

struct Drain<'a> {
    around: Surroundings<'a>,
    wanted: Wanted,
    methods: &'a Methods,
    max_running: usize,
    worker: Option<Worker>,
    /// How many handlers may run at once: what the other workers leave of `task.max_running`.
    places: usize,
    noted_places: usize,
    /// Claimed and not started.
    queue: VecDeque<Claim>,
    /// Claimed, and not to be started by this run: their resident handler keeps dying.
    parked: Vec<Claim>,
    claimed_at: Duration,
    last_claimed: usize,
    own: Vec<Own>,
    residents: Vec<Resident>,
    /// How often in a row the resident handlers of a method died before they were done with a task.
    deaths: HashMap<String, u32>,
    pool: Option<Pool>,
    /// Over, and not in the database yet.
    ended: Vec<Ended>,
    flushed_at: Duration,
    looked_at: Duration,
    seen_version: Option<i64>,
    /// How many attempts have ended in a second lately.
    rate: f64,
    /// Whether there may be something to claim.
    claim_next: bool,
    /// Set while the database takes nothing.
    held_up: Option<HeldUp>,
    /// Whether the files that handlers gave back are too much for the disk: then all else is written without them.
    no_room_for_files: bool,
    /// Whether the machine had no room for another process: then no more are started by this run.
    short: bool,
    outcome: &'a mut Outcome,
    buffer: Vec<u8>,
}

/// The database is held by others, or its disk is full.
struct HeldUp {
    since: Duration,
    try_at: Duration,
}

impl Drain<'_> {
    fn run(&mut self, shutdown: &Shutdown, watch: Watch<'_>) -> Result<()> {
        shutdown.listen()?;
        loop {
            self.heed(shutdown);
            if self.must_flush() {
                self.try_flush()?;
            }
            self.start_queued()?;
            if self.is_done() {
                self.let_residents_go();
                if self.residents.is_empty() {
                    return self.sign_off();
                }
            }
            let ready = self.wait(shutdown)?;
            if ready.signal {
                shutdown.clear();
            }
            self.hear(&ready, watch)?;
            self.look_after(shutdown, watch)?;
        }
    }

    fn is_done(&self) -> bool {
        self.is_idle() && self.queue.is_empty() && self.ended.is_empty() && !self.may_claim()
    }

    /// Whether no task is under way.
    fn is_idle(&self) -> bool {
        self.own.is_empty()
            && self
                .residents
                .iter()
                .all(|resident| resident.held.is_empty())
            && self.pool.as_ref().is_none_or(Pool::is_idle)
    }

    fn may_claim(&self) -> bool {
        self.claim_next && !self.outcome.left && !self.short && self.parked.len() < MOST_PARKED
    }

    fn elapsed(&self) -> Duration {
        self.around.clock.elapsed()
    }

    /// How many of the places for handlers are taken by tasks that are under way.
    fn busy_places(&self) -> usize {
        let residents = self
            .residents
            .iter()
            .filter(|resident| !resident.held.is_empty());
        self.own.len() + residents.count() + self.pool.as_ref().map_or(0, |pool| pool.places)
    }

    /// How many tasks the resident handlers that are at work could be given besides those that they hold.
    fn resident_room(&self) -> usize {
        let at_work = self
            .residents
            .iter()
            .filter(|resident| !resident.held.is_empty());
        at_work.map(Resident::room).sum()
    }

    fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        let own = self.own.iter().map(|own| &own.attempt);
        let held = self.residents.iter().flat_map(|resident| &resident.held);
        own.chain(held)
            .chain(self.pool.iter().flat_map(Pool::attempts))
    }

    fn attempts_mut(&mut self) -> impl Iterator<Item = &mut Attempt> {
        let own = self.own.iter_mut().map(|own| &mut own.attempt);
        let held = self
            .residents
            .iter_mut()
            .flat_map(|resident| &mut resident.held);
        own.chain(held)
            .chain(self.pool.iter_mut().flat_map(Pool::attempts_mut))
    }

    fn must_flush(&self) -> bool {
        if let Some(held_up) = &self.held_up {
            return self.elapsed() >= held_up.try_at;
        }
        let since = |then: Duration| self.elapsed().saturating_sub(then);
        let has_place =
            self.busy_places() < self.places || self.is_idle() || self.resident_room() > 0;
        let hungry = self.queue.is_empty() && has_place;
        // Early enough that the handlers still have something to do while the ends are committed.
        let half_done =
            self.last_claimed > 1 && self.queue.len() * 2 <= self.last_claimed && self.may_claim();
        let ends =
            !self.ended.is_empty() && (hungry || half_done || since(self.flushed_at) >= GATHER);
        let words = since(self.flushed_at) >= SHOWN_AFTER
            && self.attempts().any(|attempt| attempt.record.is_unwritten());
        ends || words || (hungry && self.may_claim()) || self.queue_is_stale()
    }

    fn queue_is_stale(&self) -> bool {
        let waits = !self.queue.is_empty() || self.pool.as_ref().is_some_and(Pool::has_waiting);
        waits
            && (self.outcome.left
                || self.short
                || self.elapsed().saturating_sub(self.claimed_at) >= KEEP_CLAIM)
    }

    fn let_residents_go(&mut self) {
        let elapsed = self.elapsed();
        self.residents
            .iter_mut()
            .for_each(|resident| resident.let_go(elapsed));
    }

    /// A database that others hold for long, or whose disk is full, is tried again and again: the handlers are at work and
    /// can be heard meanwhile, and what becomes of them is kept in mind.
    fn try_flush(&mut self) -> Result<()> {
        let mut flushed = self.flush();
        let has_files = || self.ended.iter().any(|ended| ended.record.output.is_some());
        if flushed.as_ref().is_err_and(Error::is_full) && has_files() {
            self.no_room_for_files = true;
            flushed = self.flush();
            self.no_room_for_files = false;
        }
        match flushed {
            Err(error) if error.is_temporary() && self.has_to_wait() => {
                let now = self.elapsed();
                if self.held_up.is_none() {
                    log::warn!(
                        "{error}; the handlers go on, and what becomes of them is noted as soon as it can be"
                    );
                }
                let since = self.held_up.as_ref().map_or(now, |held_up| held_up.since);
                let try_at = now + TRY_AGAIN;
                self.held_up = Some(HeldUp { since, try_at });
                Ok(())
            }
            flushed => {
                self.held_up = None;
                flushed
            }
        }
    }

    /// Whether something would be lost by giving up now. Who is told to leave does not wait for ever.
    fn has_to_wait(&self) -> bool {
        let waited = self.held_up.as_ref().map_or(Duration::ZERO, |held_up| {
            self.elapsed().saturating_sub(held_up.since)
        });
        let has_something = !self.is_idle() || !self.ended.is_empty();
        self.worker.is_some() && has_something && (!self.outcome.left || waited < GRACE)
    }

    /// All that came of the tasks is committed. When the database takes no more now, the next run finds a worker that is
    /// not alive and does the rest: for that its lock file stays, which says what was started.
    fn sign_off(&mut self) -> Result<()> {
        let Some(worker) = self.worker.take() else {
            return Ok(());
        };
        self.outcome.parked |= !self.parked.is_empty();
        match self.leave(&worker) {
            Err(error) if error.is_temporary() => {
                log::warn!("{error}; the next run takes this worker off the list");
                Ok(())
            }
            Ok(()) => {
                worker.sign_off();
                Ok(())
            }
            failed => failed,
        }
    }

    /// Takes the worker off the list, and gives back what it did not start.
    fn leave(&self, worker: &Worker) -> Result<()> {
        let now = self.around.clock.now();
        self.report_leftovers(worker)?;
        self.around.store.transact(|store| {
            let mut parked = self.parked.iter();
            parked.try_for_each(|claim| give_back(store, claim.id, worker.id, now))?;
            store.delete_worker(worker.id)
        })
    }

    /// The database has failed: nothing that the handlers do from here on could be noted.
    fn abandon(&mut self) {
        self.processes()
            .for_each(|process| process.signal(rustix::process::Signal::KILL));
    }
}

fn system(thing: &str, source: std::io::Error) -> Error {
    Error::Io {
        thing: thing.to_owned(),
        source,
    }
}
