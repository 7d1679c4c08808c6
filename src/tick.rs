//! The story of a tick: put in order what died, do what is due, send mail, and run what is pending.

pub(crate) mod note;

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
    let ended = run_tick(ctx, &mut outbox, None, true);
    outbox.close()?;
    match ended.failure {
        Some(error) => Err(error),
        None => Ok(ended.summary),
    }
}

/// Does all that is due. The errors of a tick that nobody watches are mailed, if the settings say to whom.
///
/// With the stamp of the database's file from before it was opened, a tick that finds nothing to do notes until when
/// others need not look.
pub(crate) fn run_tick(
    ctx: Context<'_>,
    outbox: &mut Outbox<'_>,
    stamp: Option<Stamp>,
    is_watched: bool,
) -> Ended {
    let last = Note::read(ctx.store.files());
    let mut summary = Summary::default();
    let done = do_all(ctx, outbox, &mut summary)
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
    summary: &mut Summary,
) -> Result<Option<Timestamp>> {
    let mut quiet = None;
    if ctx.store.is_anything_due(ctx.clock.now())? {
        take_turns(ctx, outbox, summary)?;
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

/// Again and again, while anything came due by what was done.
fn take_turns(ctx: Context<'_>, outbox: &mut Outbox<'_>, summary: &mut Summary) -> Result<()> {
    ctx.shutdown.listen()?;
    recover_dead_workers(&ctx, summary)?;
    let mut worker = Worker::new(ctx, Selection::Ready, None);
    let (mut schedules, mut levels) = (Schedules::new(ctx), Levels::new(ctx)?);
    loop {
        let before = summary.progress();
        schedules.enqueue_due(summary)?;
        levels.fire_due(summary)?;
        outbox.send_queued(ctx.shutdown, summary)?;
        worker.run_ready(summary)?;
        let goes_on = worker.is_at_work() || summary.progress() != before;
        if !goes_on || ctx.shutdown.is_requested() {
            return worker.finish(summary);
        }
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
