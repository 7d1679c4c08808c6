//! One pass over all that is due.

use super::FiringStatus;
use super::dates::{Settled, settle_all, settle_alone};
use super::due::due_documents;
use super::ending::{Failure, fail};
use super::level::{Firing, Progress};
use super::outcome::{Outcome, Problem};
use super::timers::Timers;
use crate::clock::Clock;
use crate::error::Result;
use crate::functions::Functions;
use crate::model::method::Methods;
use crate::model::settings::Settings;
use crate::model::timer::Timer;
use crate::store::Store;
use crate::store::attachment::{Attachment, Due};
use crate::time::{Timestamp, Zone};

/// How many levels share a transaction: others can write in between. The more there are of them, the fewer times the
/// pages of the index by due date, which they touch at random, are written.
const LEVELS_AT_ONCE: u64 = 4000;

/// How many of those a level counts for that is not done at once: it may have queued mails or a task, which is more work.
const WAITING_WEIGHT: u64 = 4;

/// From how many documents on it is worth while to prepare for many.
const MANY: usize = 256;

/// What firing writes to.
const WRITTEN: [&str; 6] = [
    "document",
    "history",
    "firing",
    "attachment",
    "mail",
    "task",
];

/// Computes anew what needs it, skips what is past its limit and fires what is due. A level that fails is left for a
/// later run of the program.
///
/// # Errors
/// When the database fails; what was committed before is kept.
pub fn fire_due(
    store: &Store,
    clock: &Clock,
    settings: &Settings,
    functions: &Functions,
) -> Result<Outcome> {
    fire_while(store, clock, settings, functions, &|| true)
}

/// The same, for as long as it may go on: that is asked before each document.
///
/// # Errors
/// As [`fire_due`].
pub fn fire_while(
    store: &Store,
    clock: &Clock,
    settings: &Settings,
    functions: &Functions,
    should_continue: &dyn Fn() -> bool,
) -> Result<Outcome> {
    let when = (settings.zone()?, clock.now());
    let mut outcome = Outcome::default();
    settle_all(store, when, |problem| outcome.tell(problem))?;
    let mut pass = Pass {
        store,
        when,
        limit: settings.hour_limit()?,
        functions,
        timers: Timers::default(),
        methods: None,
        version: None,
        careful: false,
        should_continue,
        outcome,
    };
    let mut documents = due_documents(store, when.1, i64::MIN)?;
    while let Some(&last) = documents.last().filter(|_| should_continue()) {
        pass.fire(&documents)?;
        documents = due_documents(store, when.1, last)?;
    }
    Ok(pass.outcome)
}

struct Pass<'a> {
    store: &'a Store,
    when: (Zone, Timestamp),
    /// For how many seconds past its due date a level is tried.
    limit: Option<i64>,
    functions: &'a Functions,
    timers: Timers,
    methods: Option<Methods>,
    version: Option<i64>,
    /// Whether each step has a savepoint of its own. Savepoints cost more than the steps: so a transaction is tried
    /// without, and when a step of it fails, done again with them.
    careful: bool,
    should_continue: &'a dyn Fn() -> bool,
    outcome: Outcome,
}

/// What one transaction has done so far.
#[derive(Default)]
struct Batch {
    outcome: Outcome,
    waiting: u64,
}

impl Batch {
    fn levels(&self) -> u64 {
        self.outcome.fired + self.outcome.skipped
    }

    fn is_full(&self) -> bool {
        let failed = self.outcome.problems.len() as u64 + self.outcome.more_problems;
        self.levels() + failed + self.waiting * WAITING_WEIGHT >= LEVELS_AT_ONCE
    }
}

/// What came of looking at a level.
enum Visit {
    Ended(FiringStatus, Option<Attachment>),
    Waits,
    Failed(String),
}

impl Pass<'_> {
    fn fire(&mut self, documents: &[i64]) -> Result<()> {
        let store = self.store;
        match documents.len() >= MANY {
            true => store.with_rare_checkpoints(|| self.fire_some(documents)),
            false => self.fire_some(documents),
        }
    }

    fn fire_some(&mut self, documents: &[i64]) -> Result<()> {
        let (store, mut left) = (self.store, documents);
        while !left.is_empty() && (self.should_continue)() {
            self.careful = false;
            let (batch, done) = match store.transact(|_| self.batch(left)) {
                Err(error) if !error.is_about_the_database() => {
                    self.careful = true;
                    store.transact(|_| self.batch(left))?
                }
                done => done?,
            };
            self.outcome.add(batch.outcome);
            left = left.get(done..).unwrap_or_default();
        }
        Ok(())
    }

    /// Fires what is due on some documents; on how many of them nothing is left to be done.
    fn batch(&mut self, documents: &[i64]) -> Result<(Batch, usize)> {
        self.forget_what_changed()?;
        let store = self.store;
        match documents.len() >= MANY {
            true => store.without_triggers(&WRITTEN, || self.documents(documents)),
            false => self.documents(documents),
        }
    }

    fn documents(&mut self, documents: &[i64]) -> Result<(Batch, usize)> {
        let mut batch = Batch::default();
        for (done, &document) in documents.iter().enumerate() {
            if batch.is_full()
                || !(self.should_continue)()
                || !self.document(document, &mut batch)?
            {
                return Ok((batch, done));
            }
        }
        Ok((batch, documents.len()))
    }

    /// Another connection may have changed a definition or a method since the last transaction.
    fn forget_what_changed(&mut self) -> Result<()> {
        let version = Some(self.store.data_version()?);
        if version != self.version {
            self.timers = Timers::default();
            self.methods = Some(self.store.methods(self.functions)?);
            self.version = version;
        }
        Ok(())
    }

    /// Fires what is due on a document, by due date. Whether all of it was looked at.
    fn document(&mut self, document: i64, batch: &mut Batch) -> Result<bool> {
        let Due {
            mut rows,
            mut state,
        } = self.due_on(document, batch)?;
        while let Some(row) = take_soonest(&mut rows, self.when.1) {
            if batch.levels() >= LEVELS_AT_ONCE {
                return Ok(false);
            }
            match self.visit(&row, state.take())? {
                Visit::Ended(status, next) => {
                    batch.outcome.count(status);
                    if let (FiringStatus::Skipped, Some(error)) = (status, &row.last_error) {
                        let error = format!("skipped, past its hour limit: {error}");
                        batch.outcome.tell(self.problem(&row, error, true)?);
                    }
                    rows.extend(next);
                }
                Visit::Waits => batch.waiting += 1,
                Visit::Failed(error) => batch.outcome.tell(self.problem(&row, error, false)?),
            }
        }
        Ok(true)
    }

    fn due_on(&mut self, document: i64, batch: &mut Batch) -> Result<Due> {
        let found = self.store.due_on(document, self.when.1)?;
        let is_there = found.state.is_some();
        if is_there && found.rows.iter().all(|row| row.needs_reschedule == 0) {
            return Ok(found);
        }
        let mut settled = Due::default();
        for row in found.rows {
            if is_there && row.needs_reschedule == 0 {
                settled.rows.push(row);
            } else if row.last_run_id != Some(self.store.run()) {
                let timer = self.timers.get(self.store, row.timer)?;
                match settle_alone(self.store, row, &timer, self.when)? {
                    Settled::Row(row) => settled.rows.extend(row),
                    Settled::Refused(problem) => batch.outcome.tell(problem),
                }
            }
        }
        Ok(settled)
    }

    /// The document's state is given when nothing was done since it was read.
    fn visit(&mut self, row: &Attachment, state: Option<String>) -> Result<Visit> {
        if row.last_run_id == Some(self.store.run()) {
            return Ok(Visit::Waits);
        }
        let timer = self.timers.get(self.store, row.timer)?;
        let timer = match timer.as_ref() {
            Ok(timer) => timer,
            Err(error) => return self.failed(row, &self.store.timer_name(row.timer)?, error),
        };
        match self.fire_level(row, timer, state) {
            Err(error) if error.is_about_the_database() || !self.store.in_transaction() => {
                Err(error)
            }
            Err(error) if !self.careful => Err(error),
            Err(error) => self.failed(row, &timer.definition.name, &error),
            visit => visit,
        }
    }

    /// Each step has a savepoint of its own: what was done before a step that fails stays done.
    fn fire_level(&self, row: &Attachment, timer: &Timer, state: Option<String>) -> Result<Visit> {
        let none = Methods::default();
        let Some((_, action)) = timer.level(row.level) else {
            return Ok(Visit::Waits);
        };
        let firing = Firing {
            store: self.store,
            timer,
            action,
            methods: self.methods.as_ref().unwrap_or(&none),
            when: self.when,
            state,
        };
        if let Some(hours) = self.hours_past_limit(row) {
            if firing.is_under_way(row)? {
                return Ok(Visit::Waits);
            }
            let next = self.guarded(|| firing.skip(row, hours))?;
            return Ok(Visit::Ended(FiringStatus::Skipped, next));
        }
        let mut at = None;
        loop {
            let row = at.as_ref().unwrap_or(row);
            match self.guarded(|| firing.step(row))? {
                Progress::Next(next) => at = Some(next),
                Progress::Waits => return Ok(Visit::Waits),
                Progress::Ended(next) => return Ok(Visit::Ended(FiringStatus::Done, next)),
            }
        }
    }

    /// Does something that undoes itself alone when it fails, or, while all goes well, the whole transaction.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.careful {
            true => self.store.attempt(|_| work()),
            false => work(),
        }
    }

    /// How many hours a level may be late, when it is later (seed 004, `FDL_TIMERHOURLIMIT`).
    fn hours_past_limit(&self, row: &Attachment) -> Option<i64> {
        let late = self.when.1.seconds_since(row.due_at?);
        self.limit
            .filter(|limit| late >= *limit)
            .map(|limit| limit / 3600)
    }

    /// The steps before the one that failed are in the database, and not in `row`.
    fn failed(&self, row: &Attachment, name: &str, error: &crate::Error) -> Result<Visit> {
        let error = error.to_string();
        let failure = Failure {
            reason: &error,
            told: &error,
            last_run_id: Some(self.store.run()),
        };
        let noted = self.store.attempt(|store| match store.hanging(row.id)? {
            Some(now) => fail(store, &now, name, &failure, self.when.1),
            None => Ok(()),
        });
        match noted {
            Err(error) if error.is_about_the_database() || !self.store.in_transaction() => {
                return Err(error);
            }
            _ => {}
        }
        Ok(Visit::Failed(error))
    }

    fn problem(&mut self, row: &Attachment, error: String, is_final: bool) -> Result<Problem> {
        Ok(Problem {
            attachment: row.id,
            timer: self.store.timer_name(row.timer)?,
            document: row.document,
            level: row.level,
            error,
            is_first: row.attempts == 0,
            is_final,
        })
    }
}

/// Takes out the row that is due first, unless none is due yet.
fn take_soonest(rows: &mut Vec<Attachment>, now: Timestamp) -> Option<Attachment> {
    let due = rows
        .iter()
        .enumerate()
        .filter_map(|(place, row)| Some((row.due_at.filter(|due| *due <= now)?, row.id, place)));
    let (_, _, place) = due.min()?;
    Some(rows.swap_remove(place))
}
