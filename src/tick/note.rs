//! What a tick leaves behind, in a file of its own beside the database: a tick that finds nothing to do writes nothing to
//! the database.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use crate::error::{Error, Result};
use crate::store::file::Files;
use crate::store::stamp::Stamp;
use crate::time::Timestamp;

/// What the name of the file ends with.
const TICK_FILE: &str = "-tick";

/// How long a time, a stamp, and a note, which is two times and a stamp, are as text.
const TIME: usize = 19;
const STAMP: usize = 16;
const NOTE: u64 = (TIME + 1 + TIME + 1 + STAMP + 1) as u64;

/// When a tick came to its end, and what it found.
#[derive(Debug)]
pub(super) struct Note {
    /// When that was.
    pub(super) at: Timestamp,
    /// Until when nothing is due while the database is as it was.
    pub(super) quiet: Option<(Timestamp, Stamp)>,
}

impl Note {
    pub(super) fn write(&self, files: &Files) -> Result<()> {
        let at = self.at.to_sql();
        let text = match &self.quiet {
            Some((until, stamp)) => format!("{at} {} {stamp}\n", until.to_sql()),
            None => format!("{at} {:width$}\n", "", width = TIME + 1 + STAMP),
        };
        let mut how = OpenOptions::new();
        // The text is as long as the one before it; to cut the file first would cost more than all the rest.
        how.write(true).create(true).truncate(false);
        let write = |mut file: File| {
            file.write_all(text.as_bytes())?;
            match file.metadata()?.len() > NOTE {
                true => file.set_len(NOTE),
                false => Ok(()),
            }
        };
        files
            .open_beside(TICK_FILE, &mut how)
            .and_then(write)
            .map_err(|source| Error::io(&files.beside(TICK_FILE), source))
    }

    /// What the last tick left, if there was one.
    pub(super) fn read(files: &Files) -> io::Result<Option<Self>> {
        let text = files.read_beside(TICK_FILE, NOTE)?;
        Ok(text.and_then(|text| Self::parse(&text)))
    }

    fn parse(text: &str) -> Option<Self> {
        let (at, rest) = text.split_at_checked(TIME)?;
        let quiet = rest.get(1..).and_then(|rest| {
            let (until, stamp) = rest.split_at_checked(TIME)?;
            Some((Timestamp::from_sql(until)?, Stamp::parse(stamp.trim())?))
        });
        Some(Self {
            at: Timestamp::from_sql(at)?,
            quiet,
        })
    }
}

/// When the last tick came to its end, if one did.
///
/// # Errors
/// When the file that says so may not be read.
pub fn last_tick(files: &Files) -> Result<Option<Timestamp>> {
    let note = Note::read(files).map_err(|source| Error::io(&files.beside(TICK_FILE), source))?;
    Ok(note.map(|note| note.at))
}
