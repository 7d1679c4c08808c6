//! What a tick notes in a file of its own beside the database, `FILE-tick`: a tick that finds nothing to do writes
//! nothing to the database, and the next ones need not even open it (`docs/guarantees.md`, “Idle ticks”).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::boot;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::model::issue::{Issue, Subject};
use crate::store::Store;
use crate::store::file::Files;
use crate::time::Timestamp;

const TICK_FILE: &str = "-tick";
/// How much of the file is read, in bytes: more than any note of ours has.
const MAX_NOTE: u64 = 1 << 16;
/// How many errors are noted, and how much of each, in characters.
const MAX_ERRORS: usize = 20;
const MAX_ERROR: usize = 500;

/// What a lasting error of the way out of all mails is noted as, whatever the server answers each time.
const TRANSPORT: &str = "mail does not go out";

/// File systems count time in steps of up to two seconds: a file must have been changed longer ago than this for its time
/// to differ after the next change.
const MTIME_STEP: Duration = Duration::from_secs(3);

const HOUR: i64 = 3600;

/// What the last tick has noted.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Note {
    /// When it came to its end, in seconds since 1970.
    ended_at: Option<i64>,
    /// The errors of the run itself: they are news again when they come back.
    errors: Vec<String>,
    quiet: Option<Quiet>,
}

/// Until when nothing is due, in seconds since 1970, while the database's file is the same.
#[derive(Debug, Serialize, Deserialize)]
struct Quiet {
    until: i64,
    file: Stamp,
}

/// What the system knows of a database's file: while that is the same, nobody has written to it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp(String);

/// Whether a tick has to open the database.
pub(crate) enum Look {
    /// The last tick has noted that nothing is due yet, and nobody has written since. The end of this one is noted.
    NotNeeded,
    /// It has, and may note this stamp if it finds nothing to do.
    Needed(Option<Stamp>),
}

/// Whether a tick has to open the database. Once an hour it does in any case.
pub(crate) fn look(files: &Files, clock: &Clock) -> Look {
    match Stamp::of(files, clock) {
        Some(stamp) if Note::is_quiet(files, clock, &stamp) => Look::NotNeeded,
        stamp => Look::Needed(stamp),
    }
}

impl Stamp {
    /// Of a database that nobody has open and nobody has written to a moment ago; none of another.
    fn of(files: &Files, clock: &Clock) -> Option<Self> {
        // First: whoever closes the database changes its file before these are gone.
        let is_there = |ending: &&str| files.beside(ending).symlink_metadata().is_ok();
        if ["-wal", "-shm", "-journal"].iter().any(is_there) {
            return None;
        }
        let file = fs::metadata(files.beside("")).ok()?;
        if clock.since(file.modified().ok()?)? <= MTIME_STEP {
            return None;
        }
        // The boot: a machine that lost its power may have lost the times of files, and not what was written to them.
        // The change: whoever puts a copy in its place may give it the time of the other one, but not this.
        Some(Self(format!(
            "{} {} {} {} {} {} {} {}",
            boot::id()?,
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec()
        )))
    }
}

impl Note {
    /// What the last tick has noted; nothing where it cannot be read.
    pub(super) fn read(files: &Files) -> Self {
        let read = files.read_beside(TICK_FILE, MAX_NOTE);
        Self::parse(read.ok().flatten()).unwrap_or_default()
    }

    fn parse(text: Option<String>) -> Option<Self> {
        serde_json::from_str(&text?).ok()
    }

    fn write(&self, files: &Files) -> Result<()> {
        let mut text =
            serde_json::to_string(self).map_err(|error| io_error(files, error.into()))?;
        text.push('\n');
        let mut how = OpenOptions::new();
        // It is cut after it is written: to cut it first would cost more than all the rest.
        how.write(true).create(true).truncate(false);
        let write = |mut file: File| {
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)
        };
        files
            .open_beside(TICK_FILE, &mut how)
            .and_then(write)
            .map_err(|source| io_error(files, source))
    }

    /// Whether nothing is due yet and nobody has written since the last tick; then the end of this one is noted.
    fn is_quiet(files: &Files, clock: &Clock, now: &Stamp) -> bool {
        let mut note = Self::read(files);
        let at = clock.start().unix();
        let is_quiet = note.quiet.as_ref().is_some_and(|quiet| {
            quiet.file == *now && at < quiet.until && quiet.until <= end_of_hour(at)
        });
        if !is_quiet || note.ended_at.is_none_or(|last| last > at) {
            return false;
        }
        note.ended_at = Some(at);
        // A tick that cannot note its end goes on as a whole one, which reports that.
        note.write(files).is_ok()
    }

    /// Lets what this note names be no news.
    pub(super) fn mark_known(&self, issues: &mut [Issue]) {
        for issue in issues {
            if let Some(name) = name(issue) {
                issue.is_news = !self.errors.contains(&name);
            }
        }
    }

    /// Notes a tick that has met these issues, and when it ended if it has come to its end.
    pub(super) fn replace(
        &self,
        store: &Store,
        issues: &[Issue],
        ended_at: Option<Timestamp>,
        quiet: Option<(Timestamp, Stamp)>,
    ) -> Result<()> {
        let mut errors: Vec<String> = issues.iter().filter_map(name).take(MAX_ERRORS).collect();
        // While mails pause, no run tries whether the server is there again.
        let transport = TRANSPORT.to_owned();
        if self.errors.contains(&transport)
            && !errors.contains(&transport)
            && store.has_failing_mail().unwrap_or(true)
        {
            errors.push(transport);
        }
        let note = Self {
            ended_at: ended_at.map(Timestamp::unix).or(self.ended_at),
            errors,
            quiet: quiet.map(|(until, file)| Quiet {
                until: until.unix(),
                file,
            }),
        };
        note.write(store.files())
    }
}

/// What an error of the run itself is noted as.
fn name(issue: &Issue) -> Option<String> {
    match issue.subject {
        Subject::Run => Some(issue.message.chars().take(MAX_ERROR).collect()),
        Subject::Transport => Some(TRANSPORT.to_owned()),
        _ => None,
    }
}

/// Until when no tick has anything to do unless somebody writes to the database, where nothing is due now.
pub(super) fn quiet_until(store: &Store, now: Timestamp) -> Result<Option<Timestamp>> {
    let times = [
        Timestamp::from_unix(end_of_hour(now.unix())),
        store.next_due(None)?,
    ];
    Ok(times.into_iter().flatten().min())
}

fn end_of_hour(time: i64) -> i64 {
    (time.div_euclid(HOUR) + 1) * HOUR
}

fn io_error(files: &Files, source: io::Error) -> Error {
    Error::io(&files.beside(TICK_FILE), source)
}

/// When the last tick came to its end, if one did.
pub(crate) fn last_tick(files: &Files) -> Result<Option<Timestamp>> {
    let text = files
        .read_beside(TICK_FILE, MAX_NOTE)
        .map_err(|source| io_error(files, source))?;
    let ended_at = Note::parse(text).and_then(|note| note.ended_at);
    Ok(ended_at.and_then(Timestamp::from_unix))
}
