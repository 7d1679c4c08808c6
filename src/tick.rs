//! The story of a tick: put in order what died, do what is due, send mail, run what is pending, and leave.

use std::cell::LazyCell;
use std::fs;
use std::io::Write;

use serde::Serialize;

use crate::document::HistoryEntry;
use crate::drain::{self, Means, Outcome, Problem, Wanted};
use crate::error::{Error, Result};
use crate::firing;
use crate::native::Natives;
use crate::outbox::{Post, Round};
use crate::settings::Settings;
use crate::store::Store;
use crate::store::retention::{DROPPED_AT_ONCE, Kept, LOOKED_AT, Reach};
use crate::task::Status;
use crate::time::{Clock, Duration, Timestamp};
use crate::trouble::{About, Trouble};
use crate::worker::{Recovered, recover};

/// What a tick came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The time that it took as now.
    pub now: Timestamp,
    /// How many tasks of dead workers it found.
    pub interrupted: u64,
    /// How many levels of timers were done.
    pub fired: u64,
    /// How many were past their hour limit.
    pub skipped: u64,
    /// How many mails it sent.
    pub mails_sent: u64,
    /// How many mails it tried to send, and could not.
    pub mails_failed: u64,
    /// The tasks that it ran.
    pub tasks: Tasks,
    /// What went wrong, a sentence each.
    pub errors: Vec<Trouble>,
    /// How long it took.
    pub elapsed_ms: u64,
    /// In a rehearsal: what it would do, a sentence each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<Vec<String>>,
    /// Whether nothing more is to be tried: it was told to leave, or tasks are pending that it cannot start.
    #[serde(skip)]
    over: bool,
    /// Whether its tasks were told to leave, and it has said so.
    #[serde(skip)]
    left: bool,
}

/// How the tasks of a tick ended.
#[derive(Debug, Default, Serialize)]
pub struct Tasks {
    /// Their handlers came to their end.
    pub completed: u64,
    /// Their handlers could not.
    pub failed: u64,
    /// Their handlers never got to say.
    pub interrupted: u64,
}

/// Does all that is due.
///
/// # Errors
/// When the database fails; what was committed before is kept, and the report says what was done until then.
pub fn tick(store: &Store, means: Means<'_>, post: &mut Post<'_>) -> (Report, Result<()>) {
    let mut report = Report::new(means.clock.start());
    let done = report.run(store, means, post);
    report.elapsed_ms = u64::try_from(means.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    (report, done)
}

/// Says what a tick would do at this time, and changes nothing. What follows from the outcome of tasks is not known:
/// they are named, and not run.
///
/// # Errors
/// When the database fails.
pub fn rehearse(
    store: &Store,
    clock: &Clock,
    settings: &Settings,
    natives: &Natives,
) -> Result<Report> {
    let mut report = Report::new(clock.start());
    report.would = Some(store.rehearse(|store| {
        let before = store.last_history()?;
        report.fired(firing::fire_due(store, clock, settings, natives)?);
        let happened = store.history_after(before)?;
        let happened = happened
            .iter()
            .map(|(document, entry)| would(*document, entry));
        let send = store.ready_mails(clock.now())?;
        let send = send
            .iter()
            .map(|mail| format!("send mail {} to {}", mail.id, mail.recipients()));
        let run = store.ready_tasks(clock.now())?;
        let run = run
            .iter()
            .map(|(task, method)| format!("run task {task} ({method})"));
        let dropped = drop_what_is_old(store, clock, settings, &|| true)?.words();
        Ok(happened.chain(send).chain(run).chain(dropped).collect())
    })?);
    report.elapsed_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

fn would(document: i64, entry: &HistoryEntry) -> String {
    let timer = entry.timer.as_ref().map(|name| format!(", timer {name}"));
    let level = entry.timer_level.map(|level| format!(", level {level}"));
    let (timer, level) = (timer.unwrap_or_default(), level.unwrap_or_default());
    format!("document {document}{timer}{level}: {}", entry.message)
}

impl Report {
    fn new(now: Timestamp) -> Self {
        Self {
            now,
            interrupted: 0,
            fired: 0,
            skipped: 0,
            mails_sent: 0,
            mails_failed: 0,
            tasks: Tasks::default(),
            errors: Vec::new(),
            elapsed_ms: 0,
            would: None,
            over: false,
            left: false,
        }
    }

    fn run(&mut self, store: &Store, means: Means<'_>, post: &mut Post<'_>) -> Result<()> {
        let Means {
            clock,
            settings,
            signals,
            ..
        } = means;
        if store.is_anything_due(clock.now())? {
            self.run_due(store, means, post)?;
        }
        drop_what_is_old(store, clock, settings, &|| !signals.told_to_leave())?;
        if signals.told_to_leave() {
            self.leave();
            return Ok(());
        }
        if !store.is_in_place() {
            let sentence = "the database was moved or replaced while the tick ran, and what it did is in the file that was there before: move a database when nothing runs";
            self.errors.push(Trouble::new(About::Run, sentence));
            return Ok(());
        }
        note_tick(store, clock.now())
    }

    /// A tick that was told to leave has not come to its end, and says so once.
    fn leave(&mut self) {
        if !self.left {
            let sentence = "the run was told to leave before it had done all that is due";
            self.errors.push(Trouble::new(About::Run, sentence));
        }
    }

    fn run_due(&mut self, store: &Store, means: Means<'_>, post: &mut Post<'_>) -> Result<()> {
        let Means {
            clock,
            settings,
            natives,
            signals,
        } = means;
        signals.listen()?;
        let goes_on = || !signals.told_to_leave();
        self.recovered(recover(store, clock, natives)?);
        loop {
            self.fired(firing::fire_while(
                store, clock, settings, natives, &goes_on,
            )?);
            let mailed = self.mailed(post.send_queued(&goes_on)?);
            let ran = match goes_on() && store.has_ready_task(clock.now())? {
                true => {
                    let (outcome, done) = drain::drain(store, means, Wanted::Pending, None);
                    let ran = self.ran(outcome);
                    done?;
                    ran
                }
                false => 0,
            };
            if self.over || !goes_on() || mailed + ran == 0 {
                return Ok(());
            }
        }
    }

    fn recovered(&mut self, recovered: Vec<Recovered>) {
        self.interrupted = recovered.len() as u64;
        self.errors.extend(interruptions(&recovered));
    }

    fn fired(&mut self, outcome: firing::Outcome) {
        self.fired += outcome.fired;
        self.skipped += outcome.skipped;
        self.errors
            .extend(outcome.problems.iter().map(|problem| Trouble {
                about: About::Level {
                    attachment: problem.attachment,
                    level: problem.level,
                },
                sentence: problem.to_string(),
                given_up: problem.given_up,
            }));
        if outcome.more_problems > 0 {
            let more = outcome.more_problems;
            let levels = if more == 1 { "level" } else { "levels" };
            let sentence = format!("{more} more {levels} failed: 'runner timer next' shows why");
            self.errors
                .push(Trouble::new(About::MoreLevels(more), sentence));
        }
    }

    /// Adds what a turn of sending came to; how many mails it tried.
    fn mailed(&mut self, round: Round) -> u64 {
        self.mails_sent += round.sent;
        self.mails_failed += round.failed;
        self.fired += round.fired;
        self.errors.extend(round.troubles);
        round.sent + round.failed
    }

    /// Adds what a run came to; how many attempts it ended.
    fn ran(&mut self, outcome: Outcome) -> u64 {
        self.fired += outcome.fired;
        self.tasks.completed += outcome.completed;
        self.tasks.failed += outcome.failed;
        self.tasks.interrupted += outcome.interrupted;
        self.over |= outcome.left || outcome.parked;
        self.left |= outcome.left;
        self.errors.extend(troubles(&outcome));
        outcome.completed + outcome.failed + outcome.interrupted
    }
}

/// What went wrong in a run of tasks.
pub fn troubles(outcome: &Outcome) -> Vec<Trouble> {
    let problems = outcome.problems.iter().map(|problem| Trouble {
        about: about(problem.task, problem.level),
        sentence: sentence(problem),
        given_up: problem.is_given_up(),
    });
    let more = (outcome.more_problems > 0).then(|| more_tasks(outcome));
    let errors = outcome
        .errors
        .iter()
        .map(|error| Trouble::new(About::Run, error));
    problems.chain(more).chain(errors).collect()
}

/// What is told of all the attempts that are not told of one by one. It is news whenever one of them is the last of its
/// task, as it would be told alone.
fn more_tasks(outcome: &Outcome) -> Trouble {
    let more = outcome.more_problems;
    let tasks = if more == 1 {
        "task failed or was"
    } else {
        "tasks failed or were"
    };
    Trouble {
        about: About::MoreTasks(more),
        sentence: format!("{more} more {tasks} interrupted: 'runner task list' shows which"),
        given_up: outcome.more_given_up > 0,
    }
}

/// What is not given up as a task is tried again by the level that waits for it.
fn about(task: i64, level: Option<(i64, u32)>) -> About {
    match level {
        Some((attachment, level)) => About::Method {
            task,
            attachment,
            level,
        },
        None => About::Task(task),
    }
}

/// What was found of runs that died.
pub fn interruptions(recovered: &[Recovered]) -> Vec<Trouble> {
    recovered.iter().map(interruption).collect()
}

fn interruption(found: &Recovered) -> Trouble {
    let again = again(found.again_at);
    Trouble {
        about: about(found.task, found.level),
        sentence: format!(
            "task {} ({}) was interrupted: its runner died{again}",
            found.task, found.method
        ),
        given_up: found.again_at.is_none() && found.level.is_none(),
    }
}

/// What became of an attempt, as a sentence.
fn sentence(problem: &Problem) -> String {
    let how = match problem.status {
        Status::Interrupted => "was interrupted",
        _ => "failed",
    };
    let Problem {
        task,
        method,
        error,
        ..
    } = problem;
    format!(
        "task {task} ({method}) {how}: {error}{}",
        again(problem.again_at)
    )
}

fn again(at: Option<Timestamp>) -> String {
    at.map(|at| format!("; it is tried again at {}", at.rfc3339()))
        .unwrap_or_default()
}

/// How much was dropped.
#[derive(Debug, Default)]
struct Dropped {
    tasks: usize,
    history: usize,
    firings: usize,
    mails: usize,
}

impl Dropped {
    /// A sentence for each kind that there was something of.
    fn words(&self) -> Vec<String> {
        [
            (self.tasks, "tasks that ended longer ago than keep.tasks"),
            (
                self.history,
                "entries of the history that are older than keep.history",
            ),
            (
                self.firings,
                "records of firings that are older than keep.history",
            ),
            (self.mails, "mails that are older than keep.history"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("drop {count} {what}"))
        .collect()
    }
}

/// Drops what is kept no longer. All that is old is looked at by the first tick of an hour, and by the others the oldest
/// rows: what is old and not over, such as tasks that are held for years, would cost each of them its time.
fn drop_what_is_old(
    store: &Store,
    clock: &Clock,
    settings: &Settings,
    goes_on: &dyn Fn() -> bool,
) -> Result<Dropped> {
    let mut dropped = Dropped::default();
    let before = |keep: Option<Duration>| -> Result<Option<Timestamp>> {
        let zone = settings.zone()?;
        Ok(keep.and_then(|keep| zone.add(clock.now(), &keep.negate())))
    };
    let reach = LazyCell::new(|| reach(store, clock.now()));
    let drop_all = |kept, before| drop_all(store, kept, before, *reach, goes_on);
    if let Some(before) = before(settings.keep_tasks()?)? {
        dropped.tasks = drop_all(Kept::Tasks, before)?;
    }
    if let Some(before) = before(settings.keep_history()?)? {
        dropped.history = drop_all(Kept::History, before)?;
        dropped.firings = drop_all(Kept::Firings, before)?;
        dropped.mails = drop_all(Kept::Mails, before)?;
    }
    Ok(dropped)
}

/// How far a tick looks for what is to be dropped.
fn reach(store: &Store, now: Timestamp) -> Reach {
    let hour = |time: Timestamp| time.unix().div_euclid(3600);
    let last = last_tick(store).ok().flatten();
    match last.is_some_and(|last| hour(last) == hour(now)) {
        true => Reach::Oldest(LOOKED_AT),
        false => Reach::Old,
    }
}

/// How many times as many rows are looked at after each time that some of them were dropped: where there is much to
/// drop, more is likely behind it.
const FURTHER: u32 = 16;

/// Drops the rows of a kind that are older than a time, as far as they are looked at; how many.
fn drop_all(
    store: &Store,
    kept: Kept,
    before: Timestamp,
    mut reach: Reach,
    goes_on: &dyn Fn() -> bool,
) -> Result<usize> {
    let mut dropped = 0;
    while let Some(last) = store.last_old(kept, before, reach)? {
        let already = dropped;
        while goes_on() {
            let some =
                store.transact(|store| store.drop_old(kept, before, last, DROPPED_AT_ONCE))?;
            dropped += some;
            if some == 0 {
                break;
            }
        }
        // A trigger of an application may keep what is left.
        if dropped == already {
            break;
        }
        if let Reach::Oldest(count) = reach {
            reach = Reach::Oldest(count.saturating_mul(FURTHER));
        }
    }
    Ok(dropped)
}

/// What the file beside the database that says when the last tick came to its end ends with.
const TICK_FILE: &str = "-tick";

/// When the last tick came to its end, in a file of its own: a tick that finds nothing to do writes nothing to the
/// database.
fn note_tick(store: &Store, now: Timestamp) -> Result<()> {
    let mut how = fs::OpenOptions::new();
    // The text is always as long as the one before it; to cut the file first would cost more than all the rest.
    how.write(true).create(true).truncate(false);
    store
        .open_beside(TICK_FILE, &mut how)
        .and_then(|mut file| file.write_all(now.to_sql().as_bytes()))
        .map_err(|source| Error::io(&store.beside(TICK_FILE), source))
}

/// When the last tick came to its end, if one did.
///
/// # Errors
/// When the file that says so may not be read.
pub fn last_tick(store: &Store) -> Result<Option<Timestamp>> {
    let path = store.beside(TICK_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Timestamp::from_sql(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io(&path, source)),
    }
}
