//! `runner rehearse`

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::{Exit, Invocation, Session, output};
use crate::error::{Error, Result};
use crate::model::story::StoryEntry;
use crate::rehearsal::{Story, rehearse};
use crate::time::{Timestamp, Zone};

/// How often a person sees how far it is.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);

/// How wide the bar is, in characters.
const BAR: usize = 40;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Begin at this time [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// End at this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: String,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let session = invocation.open_to_read()?;
        let now = session.now();
        let from = session.time("--from", self.from.as_deref())?.unwrap_or(now);
        let until = session.time("--until", Some(&self.until))?.unwrap_or(now);
        if until < from {
            let reason = format!(
                "it is before {}, where the rehearsal begins",
                session.zone.show(from)
            );
            return Err(Error::usage("--until", reason));
        }
        let story = play(invocation, &session, from, until)?;
        let entries = &story.entries;
        invocation
            .out
            .show(entries, || print_story(invocation, entries, &session.zone))?;
        if let Some(stopped_at) = story.stopped_at {
            let (count, date) = (entries.len(), session.zone.show(stopped_at));
            output::complain(&format!(
                "the rehearsal stopped at {count} entries, on {date}; give an earlier --until"
            ));
            return Ok(Exit::Failed);
        }
        Ok(Exit::of(&story.summary))
    }
}

/// Plays it, with a bar on a terminal that shows how far it is.
fn play(
    invocation: &Invocation,
    session: &Session<'_>,
    from: Timestamp,
    until: Timestamp,
) -> Result<Story> {
    let is_shown = !invocation.quiet && io::stderr().is_terminal();
    let mut shown_at = Duration::ZERO;
    let story = rehearse(session.context(), from, until, |now, entries| {
        let elapsed = session.clock.elapsed();
        if is_shown && elapsed > shown_at + SHOW_INTERVAL {
            shown_at = elapsed;
            let part = now.seconds_since(from) as f64 / until.seconds_since(from).max(1) as f64;
            let full = (part * BAR as f64) as usize;
            let date = session.zone.local(now).date();
            let _ = write!(
                io::stderr(),
                "\r[{:<BAR$}] {date}, {entries} entries",
                "#".repeat(full)
            );
        }
    });
    if !shown_at.is_zero() {
        // To the beginning of the line, and all of it erased.
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    story
}

/// Prints what happens, each day under its date.
pub(super) fn print_story(
    invocation: &Invocation,
    entries: &[StoryEntry],
    zone: &Zone,
) -> Result<()> {
    let mut date = None;
    for entry in entries {
        let local = zone.local(entry.tick);
        if date.replace(local.date()) != Some(local.date()) {
            invocation.out.line(local.date())?;
        }
        let time = local.format("%H:%M");
        invocation
            .out
            .line(format!("  {time}  {}", entry.sentence()))?;
    }
    Ok(())
}
