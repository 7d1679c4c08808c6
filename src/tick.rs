//! The story of a tick: put in order what died, do what is due, send mail, and run what is pending.

pub(crate) mod note;

use std::thread::sleep;
use std::time::Duration;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::firing::fire::Levels;
use crate::mail::alerts::{self, Alert};
use crate::mail::outbox::Outbox;
use crate::model::issue::Issue;
use crate::model::summary::Summary;
use crate::retention::prune;
use crate::schedule::Schedules;
use crate::time::Timestamp;
use crate::worker::{Selection, Worker, recover_dead_workers};
use note::{Note, Stamp, quiet_until};

/// How often a tick that stays looks whether there is more to do.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What became of a tick.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What it did, and what went wrong: the failure of the tick as a whole too.
    pub(crate) summary: Summary,
    /// Why it has failed as a whole: what was committed before that is kept.
    pub(crate) failure: Option<Error>,
    /// What became of the errors, where they were to be mailed.
    pub(crate) alert: Option<Alert>,
}

/// Does all that is due; what it did, and what went wrong.
pub(crate) fn tick(ctx: Context<'_>) -> Result<Summary> {
    let mut outbox = Outbox::new(ctx.store, ctx.clock, ctx.settings);
    let ended = run_tick(ctx, &mut outbox, None, None, true);
    outbox.close()?;
    match ended.failure {
        Some(error) => Err(error),
        None => Ok(ended.summary),
    }
}

/// Does all that is due. The errors of a tick that nobody watches are mailed, if the settings say to whom.
///
/// With the stamp of the database's file from before it was opened, a tick that finds nothing to do notes until when
/// others need not look. One that stays for some time starts what comes until then, and ends when nothing runs.
pub(crate) fn run_tick(
    ctx: Context<'_>,
    outbox: &mut Outbox<'_>,
    stamp: Option<Stamp>,
    stay: Option<Duration>,
    is_watched: bool,
) -> Ended {
    let last = Note::read(ctx.store.files());
    let mut summary = Summary::default();
    let done = do_all(ctx, outbox, stay, &mut summary)
        .and_then(|quiet_until| record(ctx, &last, &summary, quiet_until.zip(stamp)));
    let failure = done
        .err()
        .map(|error| error.of_database(ctx.store.files().path()));
    if let Some(error) = &failure {
        summary.report(Issue::of_run(error.to_string()));
        // A note that cannot be written is a part of that failure, or is reported the next time.
        let _ = last.replace(ctx.store, &summary.errors, None, None);
    }
    last.mark_known(&mut summary.errors);
    Ended {
        alert: alert(ctx, outbox, &summary, is_watched),
        failure,
        summary,
    }
}

/// Until when nothing is due, where nothing was due now.
fn do_all(
    ctx: Context<'_>,
    outbox: &mut Outbox<'_>,
    stay: Option<Duration>,
    summary: &mut Summary,
) -> Result<Option<Timestamp>> {
    let mut quiet = None;
    if stay.is_some() || ctx.store.is_anything_due(ctx.clock.now())? {
        take_turns(ctx, outbox, stay, summary)?;
    } else {
        quiet = quiet_until(ctx.store, ctx.clock.now())?;
    }
    prune(ctx)?;
    if ctx.shutdown.is_requested() {
        let message = "the run was shut down before it had done all that is due";
        summary.report(Issue::of_run(message));
    } else if !ctx.store.files().is_in_place() {
        let message = "the database was moved or replaced while the tick ran, and what it did is in the file that was there before: move a database when nothing runs";
        summary.report(Issue::of_run(message));
    }
    Ok(quiet)
}

/// Again and again, while anything came due by what was done, or for as long as the tick stays.
fn take_turns(
    ctx: Context<'_>,
    outbox: &mut Outbox<'_>,
    stay: Option<Duration>,
    summary: &mut Summary,
) -> Result<()> {
    ctx.shutdown.listen()?;
    recover_dead_workers(&ctx, summary)?;
    let mut worker = Worker::new(ctx, Selection::Ready, None);
    worker.starts_until = stay;
    let is_over = || stay.is_some_and(|stay| ctx.clock.elapsed() >= stay);
    let (mut schedules, mut levels) = (Schedules::new(ctx, true), Levels::new(ctx)?);
    loop {
        let before = summary.progress();
        let seen = Seen::now(ctx)?;
        schedules.enqueue_due(summary)?;
        levels.fire_due(summary)?;
        outbox.send_queued(ctx.shutdown, summary)?;
        worker.run_ready(summary)?;
        let mut goes_on = worker.is_at_work() || summary.progress() != before;
        if let (false, Some(stay)) = (goes_on, stay) {
            goes_on = seen.wait_for_more(ctx, stay)?;
        }
        if !goes_on || is_over() || ctx.shutdown.is_requested() {
            return worker.finish(summary);
        }
    }
}

/// What a turn knows of the database, taken before it looks.
struct Seen {
    data_version: i64,
    at: Timestamp,
}

impl Seen {
    fn now(ctx: Context<'_>) -> Result<Self> {
        Ok(Self {
            data_version: ctx.store.data_version()?,
            at: ctx.clock.now(),
        })
    }

    /// Waits until another program has written to the database or something is due. Whether that was before the tick has
    /// stayed for so long.
    fn wait_for_more(&self, ctx: Context<'_>, stay: Duration) -> Result<bool> {
        let next = ctx.store.next_due(Some(self.at))?;
        while !ctx.shutdown.is_requested() && ctx.clock.elapsed() < stay {
            sleep(LOOK_INTERVAL.min(stay.saturating_sub(ctx.clock.elapsed())));
            let is_due = next.is_some_and(|next| next <= ctx.clock.now());
            if is_due || ctx.store.data_version()? != self.data_version {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Notes the end of a tick, unless it was shut down before that.
fn record(
    ctx: Context<'_>,
    last: &Note,
    summary: &Summary,
    quiet: Option<(Timestamp, Stamp)>,
) -> Result<()> {
    if ctx.shutdown.is_requested() || !ctx.store.files().is_in_place() {
        return Ok(());
    }
    last.replace(ctx.store, &summary.errors, Some(ctx.clock.now()), quiet)
}

/// A tick that was asked to end does not wait for a mail to be sent.
fn alert(
    ctx: Context<'_>,
    outbox: &mut Outbox<'_>,
    summary: &Summary,
    is_watched: bool,
) -> Option<Alert> {
    let may_mail = !is_watched && !ctx.shutdown.is_requested();
    let is_wanted = may_mail && alerts::is_wanted(ctx.settings).unwrap_or(false);
    is_wanted.then(|| alerts::send(outbox, &summary.errors))
}
