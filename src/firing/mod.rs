//! Timers on documents (`docs/timers.md`): attaching them, computing when their levels are due, and firing those.
//!
//! Everything is decided from rows that are read inside the transaction that acts on them, which holds the write lock:
//! ticks that overlap fire nothing twice, and what was decided under a date that has changed since is not done.

mod advance;
pub(crate) mod attach;
pub(crate) mod define;
pub(crate) mod fire;
pub(crate) mod reschedule;
mod steps;

use std::collections::HashMap;
use std::rc::Rc;

use crate::error::Result;
use crate::model::attachment::Attachment;
use crate::model::issue::{Issue, Subject};
use crate::model::task::Severity;
use crate::model::timer::Timer;
use crate::store::Store;
use crate::time::Timestamp;

/// How many attachments are looked at in one go.
const BATCH: u32 = 1000;

/// Why a timer is detached that is bound to states, in the words of the schema's trigger.
const LEFT_STATES: &str = "the document has left its states";

/// Does something with attachments, some at a time: `some` finds those after an id. How many there were.
fn in_batches(
    mut some: impl FnMut(i64) -> Result<Vec<Attachment>>,
    mut each: impl FnMut(&Attachment) -> Result<()>,
) -> Result<u64> {
    let (mut after, mut count) = (i64::MIN, 0);
    loop {
        let found = some(after)?;
        let Some(last) = found.last() else {
            return Ok(count);
        };
        after = last.id;
        found.iter().try_for_each(&mut each)?;
        count += found.len() as u64;
    }
}

/// Adds an entry about an attachment's level to the history of its document.
fn record(
    store: &Store,
    row: &Attachment,
    now: Timestamp,
    severity: Severity,
    message: &str,
) -> Result<()> {
    let name = store.timer_name(row.timer)?;
    let level = Some((name.as_str(), row.level));
    store.insert_history(row.document, now, severity, message, level)
}

/// A failure of a level. It is news when the level has not failed before.
fn issue_of(store: &Store, row: &Attachment, message: &str) -> Result<Issue> {
    let name = store.timer_name(row.timer)?;
    let (document, level) = (row.document, row.level);
    Ok(Issue {
        subject: Subject::Level {
            attachment: row.id,
            task: None,
        },
        message: format!("timer {name} on document {document}, level {level}: {message}"),
        is_news: row.attempts == 0,
    })
}

/// The definitions that a transaction has read, by id: each once.
#[derive(Default)]
struct Timers(HashMap<i64, Rc<Result<Timer>>>);

impl Timers {
    /// A timer, or why plain SQL has made it one that cannot be read.
    fn get(&mut self, store: &Store, id: i64) -> Result<Rc<Result<Timer>>> {
        if let Some(known) = self.0.get(&id) {
            return Ok(Rc::clone(known));
        }
        let timer = match store.timer(id) {
            Err(error) if store.is_fatal(&error) => return Err(error),
            timer => Rc::new(timer),
        };
        self.0.insert(id, Rc::clone(&timer));
        Ok(timer)
    }
}
