//! `runner task logs ID`

use std::thread::sleep;
use std::time::Duration;

use super::live::Live;
use super::output::indented;
use super::{Invocation, Session};
use crate::error::Result;
use crate::model::task::{LogEntry, StoredEntry};
use crate::time::Zone;
use crate::worker::LiveEvent;

/// How often a task that is followed is looked at: its worker writes as often.
const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    id: i64,
    /// Show its logs and its progress live until it is over, whoever runs it
    #[arg(long, short)]
    follow: bool,
    /// Only those of this attempt
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        conflicts_with = "follow"
    )]
    attempt: Option<u32>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open_to_read()?;
        if self.follow {
            follow(invocation, &session, self.id)?;
            if !invocation.out.json {
                return Ok(());
            }
        }
        session.store.task(self.id)?;
        let mut logs = session.store.task_logs(self.id, 0)?;
        logs.retain(|log| self.attempt.is_none_or(|attempt| log.attempt == attempt));
        let print = || print(invocation, &session.zone, &logs);
        invocation.out.show(&logs, print)
    }
}

/// Shows what a task logs and how far it is, until it is over for good.
fn follow(invocation: &Invocation, session: &Session<'_>, id: i64) -> Result<()> {
    let live = Live::new(invocation.out.json, session.zone);
    let (mut last, mut attempt, mut shown) = (0, 1, None);
    while !live.is_closed() {
        // Before its logs, so that none of an ended task are missed.
        let task = session.store.task(id)?;
        for log in session.store.task_logs(id, last)? {
            if log.attempt != attempt {
                live.line(&heading(log.attempt));
            }
            (last, attempt) = (log.seq, log.attempt);
            live.show(&LiveEvent::Log(&log.entry));
        }
        if let Some(progress) = &task.progress
            && shown.as_ref() != Some(progress)
        {
            live.show(&LiveEvent::Progress(progress));
        }
        shown = task.progress;
        if task.status.is_ended() {
            break;
        }
        sleep(INTERVAL);
    }
    live.end();
    Ok(())
}

/// Prints the entries of a log, those of each attempt but the first under a line of its own.
pub(super) fn print(invocation: &Invocation, zone: &Zone, logs: &[StoredEntry]) -> Result<()> {
    let mut attempt = 1;
    for log in logs {
        if log.attempt != attempt {
            invocation.out.line(heading(log.attempt))?;
            attempt = log.attempt;
        }
        invocation.out.lines(log_text(zone, &log.entry))?;
    }
    Ok(())
}

fn heading(attempt: u32) -> String {
    format!("--- attempt {attempt} ---")
}

/// A log entry as people read it. Only its first line begins where an entry begins.
pub(super) fn log_text(zone: &Zone, entry: &LogEntry) -> String {
    let LogEntry { level, message, .. } = entry;
    let mut text = format!("{}  {level:<7}  {message}", zone.show(entry.at));
    if let Some(details) = &entry.details {
        text += &format!("  {}", details.text());
    }
    indented(&text)
}
