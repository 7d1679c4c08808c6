//! `runner rehearse`

use indicatif::ProgressBar;

use super::{Exit, Invocation, Session, output};
use crate::error::{Error, Result};
use crate::model::story::StoryEntry;
use crate::rehearsal::{Story, rehearse};
use crate::time::{Timestamp, Zone};

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
    let bar = if invocation.quiet {
        ProgressBar::hidden()
    } else {
        output::bar("[{bar:40}] {msg}")
    };
    let seconds = |to: Timestamp| u64::try_from(to.seconds_since(from)).unwrap_or(0);
    bar.set_length(seconds(until));
    let story = rehearse(session.context(), from, until, |now, entries| {
        let date = session.zone.local(now).date();
        bar.set_message(format!("{date}, {entries} entries"));
        bar.set_position(seconds(now));
    });
    bar.finish_and_clear();
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
