//! `runner tick`

use std::time;

use serde::Serialize;

use super::output::{self, counted};
use super::rehearse::print_story;
use super::{Exit, Invocation, Session};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::mail::outbox::Outbox;
use crate::model::story::StoryEntry;
use crate::model::summary::Summary;
use crate::rehearsal::rehearse;
use crate::store::Store;
use crate::store::file::Files;
use crate::tick::note::{Look, Stamp, look};
use crate::tick::run_tick;
use crate::time::{Duration, Timestamp};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Stay for so long, and start what comes within a second: 55s, say; then end when nothing runs
    #[arg(long = "for", value_name = "D", conflicts_with = "dry_run", allow_hyphen_values = true, value_parser = Duration::positive)]
    stay: Option<Duration>,
}

/// A tick as JSON.
#[derive(Serialize)]
struct Report<'a> {
    now: Timestamp,
    #[serde(flatten)]
    summary: &'a Summary,
    elapsed_ms: u64,
    /// In a rehearsal: what it would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<&'a [StoryEntry]>,
}

impl<'a> Report<'a> {
    fn new(clock: &Clock, summary: &'a Summary, would: Option<&'a [StoryEntry]>) -> Self {
        Self {
            now: clock.start(),
            summary,
            elapsed_ms: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            would,
        }
    }
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        if self.dry_run {
            return dry_run(invocation);
        }
        if self.stay.is_some() && invocation.now.is_some() {
            let reason = "the clock stands still with --now, and nothing would come";
            return Err(Error::usage("--for", reason));
        }
        let files = invocation.files_to_run()?;
        if let Some(stay) = self.stay {
            return whole_tick(invocation, &files, None, Some(stay.roughly()));
        }
        // The times of files are on the system's clock.
        let clock = Clock::system();
        let stamp = match invocation.now {
            Some(_) => None,
            None => match look(&files, &clock) {
                Look::NotNeeded => return quiet(invocation, &clock),
                Look::Needed(stamp) => stamp,
            },
        };
        whole_tick(invocation, &files, stamp, None)
    }
}

fn quiet(invocation: &Invocation, clock: &Clock) -> Result<Exit> {
    log::info!(
        "nothing has become due, and nobody has written to the database since the last tick"
    );
    let nothing = Summary::default();
    if invocation.out.json {
        invocation.out.json(&Report::new(clock, &nothing, None))?;
    }
    print_summary(invocation, &nothing)?;
    Ok(Exit::Done)
}

fn whole_tick(
    invocation: &Invocation,
    files: &Files,
    stamp: Option<Stamp>,
    stay: Option<time::Duration>,
) -> Result<Exit> {
    let session = open(invocation, files)?;
    let mut outbox = Outbox::new(&session.store, &session.clock, &session.settings);
    let ended = run_tick(
        session.context(),
        &mut outbox,
        stamp,
        stay,
        output::is_watched(),
    );
    if invocation.out.json && ended.failure.is_none() {
        let report = Report::new(&session.clock, &ended.summary, None);
        invocation.out.json(&report)?;
    }
    print_summary(invocation, &ended.summary)?;
    match &ended.alert {
        Some(alert) => output::complain_of_alert(alert),
        None => output::complain_of(&ended.summary.errors),
    }
    let closed = outbox.close();
    if ended.failure.is_some() {
        // A database that failed the tick may fail its end too; the next tick puts that in order.
        return Ok(Exit::Failed);
    }
    closed.map(|()| Exit::of(&ended.summary))
}

/// A zone that is none fails the tick where it is needed, which then is reported as any failure is.
fn open<'a>(invocation: &'a Invocation, files: &Files) -> Result<Session<'a>> {
    let store = Store::open(files.path())?;
    let settings = store.settings()?;
    let zone = settings.zone().unwrap_or_default();
    invocation.session_in(zone, store, settings)
}

/// Prints on a terminal, in one line, what was done.
fn print_summary(invocation: &Invocation, summary: &Summary) -> Result<()> {
    let tasks = &summary.tasks;
    let done = [
        counted(summary.scheduled, "task", "added"),
        counted(summary.fired, "level", "fired"),
        counted(summary.skipped, "level", "skipped"),
        counted(summary.mails_sent, "mail", "sent"),
        counted(summary.mails_failed, "mail", "failed"),
        counted(tasks.completed, "task", "completed"),
        counted(tasks.failed, "task", "failed"),
        counted(tasks.interrupted, "task", "interrupted"),
    ];
    let done: Vec<String> = done.into_iter().flatten().collect();
    if done.is_empty() {
        return invocation.suggest("nothing was due", "status");
    }
    invocation.suggest(&done.join(", "), "status")
}

/// The rehearsal of a tick now.
fn dry_run(invocation: &Invocation) -> Result<Exit> {
    let session = invocation.open_to_read()?;
    let now = session.now();
    let story = rehearse(session.context(), now, now, |_, _| {})?;
    let (summary, would) = (&story.summary, &story.entries);
    let report = Report::new(&session.clock, summary, Some(would));
    invocation
        .out
        .show(&report, || print_story(invocation, would, &session.zone))?;
    output::complain_of(&summary.errors);
    Ok(Exit::of(summary))
}
