//! The ticks between which nothing happens: most of them, on most machines. They need not open the database.

use super::Report;
use super::note::Note;
use crate::error::Result;
use crate::report;
use crate::store::Store;
use crate::store::file::Files;
use crate::store::stamp::Stamp;
use crate::time::{Clock, Timestamp};

const HOUR: i64 = 3600;

/// A tick that knows from the last one that nothing is due, if it is so: nobody has written to the database since then,
/// and nothing has become due by itself. The first tick of each hour looks in any case.
///
/// # Errors
/// When it cannot note that it came to its end.
pub fn quiet_tick(files: &Files, clock: &Clock, stamp: Stamp) -> Result<Option<Report>> {
    let now = clock.start();
    let Ok(Some(last)) = Note::read(files) else {
        return Ok(None);
    };
    let is_quiet = last
        .quiet
        .is_some_and(|(until, then)| then == stamp && last.at <= now && now < until);
    if !is_quiet || report::has_failed(files) {
        return Ok(None);
    }
    Note { at: now, ..last }.write(files)?;
    log::info!(
        "nothing has become due, and nobody has written to the database since the last tick"
    );
    Ok(Some(Report::new(now).after(clock)))
}

/// Until when no tick has anything to do unless somebody writes to the database, where nothing is due now.
pub(super) fn quiet_until(store: &Store, now: Timestamp) -> Result<Option<Timestamp>> {
    // What was told of errors that are over is to be forgotten.
    if store.has_reported()? {
        return Ok(None);
    }
    let hour = Timestamp::from_unix((now.unix().div_euclid(HOUR) + 1) * HOUR);
    Ok([hour, store.next_due()?].into_iter().flatten().min())
}
