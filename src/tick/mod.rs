//! The story of a tick: put in order what died, do what is due, send mail, run what is pending, and leave.

mod issues;
mod note;
mod quiet;
mod retention;

use serde::Serialize;

pub use issues::{interruptions, issues};
pub use note::last_tick;
pub(crate) use quiet::quiet_tick;

use note::Note;
use quiet::quiet_until;
use retention::drop_what_is_old;

use crate::clock::Clock;
use crate::context::Context;
use crate::drain::{self, Outcome, Wanted};
use crate::error::Result;
use crate::firing;
use crate::functions::Functions;
use crate::model::document::HistoryEntry;
use crate::model::issue::{Issue, Subject};
use crate::model::settings::Settings;
use crate::outbox::{Post, Round};
use crate::store::Store;
use crate::store::stamp::Stamp;
use crate::time::Timestamp;
use crate::worker::{Recovered, recover};

const HOUR: i64 = 3600;

/// The hour that a time is in, counted from 1970: the first tick of each looks further than the others.
fn hour(time: Timestamp) -> i64 {
    time.unix().div_euclid(HOUR)
}

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
    pub errors: Vec<Issue>,
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
pub fn tick(ctx: Context<'_>, post: &mut Post<'_>) -> (Report, Result<()>) {
    stamped_tick(ctx, post, None)
}

/// The same. With the stamp of the database from before it was opened, a tick that finds nothing to do notes until when
/// others need not look.
pub(crate) fn stamped_tick(
    ctx: Context<'_>,
    post: &mut Post<'_>,
    stamp: Option<Stamp>,
) -> (Report, Result<()>) {
    let mut report = Report::new(ctx.clock.start());
    let done = report.run(ctx, post, stamp);
    (report.after(ctx.clock), done)
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
    functions: &Functions,
) -> Result<Report> {
    let mut report = Report::new(clock.start());
    report.would = Some(store.rehearse(|store| {
        let before = store.last_history()?;
        report.fired(firing::fire_due(store, clock, settings, functions)?);
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
    Ok(report.after(clock))
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

    /// The same, now that all is done.
    fn after(mut self, clock: &Clock) -> Self {
        self.elapsed_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        self
    }

    fn run(&mut self, ctx: Context<'_>, post: &mut Post<'_>, stamp: Option<Stamp>) -> Result<()> {
        let Context {
            store,
            clock,
            settings,
            shutdown,
            ..
        } = ctx;
        let mut quiet = None;
        if store.is_anything_due(clock.now())? {
            self.run_due(ctx, post)?;
        } else if let Some(stamp) = stamp {
            quiet = quiet_until(store, clock.now())?.map(|until| (until, stamp));
        }
        drop_what_is_old(store, clock, settings, &|| !shutdown.is_requested())?;
        if shutdown.is_requested() {
            self.leave();
            return Ok(());
        }
        if !store.files().is_in_place() {
            let sentence = "the database was moved or replaced while the tick ran, and what it did is in the file that was there before: move a database when nothing runs";
            self.errors.push(Issue::new(Subject::Run, sentence));
            return Ok(());
        }
        let at = clock.now();
        Note { at, quiet }.write(store.files())
    }

    /// A tick that was told to leave has not come to its end, and says so once.
    fn leave(&mut self) {
        if !self.left {
            let sentence = "the run was told to leave before it had done all that is due";
            self.errors.push(Issue::new(Subject::Run, sentence));
        }
    }

    fn run_due(&mut self, ctx: Context<'_>, post: &mut Post<'_>) -> Result<()> {
        let Context {
            store,
            clock,
            settings,
            functions,
            shutdown,
        } = ctx;
        shutdown.listen()?;
        let should_continue = || !shutdown.is_requested();
        self.recovered(recover(store, clock, functions)?);
        loop {
            self.fired(firing::fire_while(
                store,
                clock,
                settings,
                functions,
                &should_continue,
            )?);
            let mailed = self.mailed(post.send_queued(&should_continue)?);
            let ran = match should_continue() && store.has_ready_task(clock.now())? {
                true => {
                    let (outcome, done) = drain::drain(ctx, Wanted::Pending, None);
                    let ran = self.ran(outcome);
                    done?;
                    ran
                }
                false => 0,
            };
            if self.over || !should_continue() || mailed + ran == 0 {
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
            .extend(outcome.problems.iter().map(|problem| Issue {
                about: Subject::Level {
                    attachment: problem.attachment,
                    level: problem.level,
                },
                sentence: problem.to_string(),
                is_final: problem.is_final,
            }));
        if outcome.more_problems > 0 {
            let more = outcome.more_problems;
            let levels = if more == 1 { "level" } else { "levels" };
            let sentence = format!("{more} more {levels} failed: 'runner timer next' shows why");
            self.errors
                .push(Issue::new(Subject::MoreLevels(more), sentence));
        }
    }

    /// Adds what a turn of sending came to; how many mails it tried.
    fn mailed(&mut self, round: Round) -> u64 {
        self.mails_sent += round.sent;
        self.mails_failed += round.failed;
        self.fired += round.fired;
        self.errors.extend(round.issues);
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
        self.errors.extend(issues(&outcome));
        outcome.completed + outcome.failed + outcome.interrupted
    }
}
