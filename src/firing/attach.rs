//! A timer hung on a document: attaching and detaching (seed 004, “Programmation”; design, “Timers”, rules 1 and 7).

use serde::Serialize;

use crate::error::{Error, Result};
use crate::firing;
use crate::model::task::Severity;
use crate::store::Store;
use crate::store::attachment::Attachment;
use crate::time::{Duration, Timestamp, Zone};

/// An attachment as JSON shows it.
#[derive(Debug, Serialize)]
pub struct AttachmentView {
    /// Its id.
    pub id: i64,
    /// The timer's name.
    pub timer: String,
    /// The document's id.
    pub document: i64,
    /// The document's title.
    pub title: String,
    /// Who attached it, so that all of one origin can be detached at once.
    pub origin: Option<String>,
    /// The level that comes next, counted from 0.
    pub level: u32,
    /// When it was attached.
    pub attached_at: Timestamp,
    /// The date that it counts from, delta added; none while it waits for one.
    pub reference_at: Option<Timestamp>,
    /// When its level falls; none while it waits for a date.
    pub due_at: Option<Timestamp>,
    /// How often its level has failed.
    pub attempts: u32,
    /// Why it failed last, or why it waits.
    pub last_error: Option<String>,
    /// The timer's delta.
    #[serde(skip)]
    pub delta: String,
}

impl AttachmentView {
    /// The same with the delta added to its reference date, which is stored without.
    pub fn with_delta(mut self, zone: &Zone) -> Self {
        let delta: Duration = self.delta.parse().unwrap_or_default();
        self.reference_at = self.reference_at.and_then(|date| zone.add(date, &delta));
        self
    }
}

/// An attachment to be made.
#[derive(Debug)]
pub struct NewAttachment<'a> {
    /// The timer's id.
    pub timer: i64,
    /// The document's id.
    pub document: i64,
    /// Who attaches it.
    pub origin: Option<&'a str>,
    /// The fixed reference date.
    pub reference_at: Option<Timestamp>,
}

/// Hangs a timer on a document, inside the caller's transaction; the attachment's id. With `reset` one that hangs there
/// already starts over, and keeps its origin unless another is given.
///
/// # Errors
/// When it hangs there already, or its first level would fall outside the years 0000 to 9999.
pub fn attach(
    store: &Store,
    new: &NewAttachment<'_>,
    reset: bool,
    (zone, now): (Zone, Timestamp),
) -> Result<i64> {
    let mut origin = new.origin.map(str::to_owned);
    match store.find_attachment(new.timer, new.document)? {
        Some(_) if !reset => {
            let name = store.timer_name(new.timer)?;
            return Err(Error::invalid(
                format!("timer '{name}' on document {}", new.document),
                "it is attached already; --reset starts it over",
            ));
        }
        Some(hanging) => {
            origin = origin.or(store.origin_of(hanging.id)?);
            detach(store, &hanging, now)?;
        }
        None => {}
    }
    let new = &NewAttachment {
        origin: origin.as_deref(),
        ..*new
    };
    let id = store.insert_attachment(new, now)?;
    firing::settle(store, id, (zone, now))?;
    match store.hanging(id)? {
        Some(Attachment {
            counted_from: Some(_),
            due_at: None,
            last_error,
            ..
        }) => Err(Error::invalid(
            format!("timer on document {}", new.document),
            last_error.unwrap_or_default(),
        )),
        _ => Ok(id),
    }
}

/// Takes a timer off a document, inside the caller's transaction, with what was under way for its level.
///
/// # Errors
/// SQLite's.
pub fn detach(store: &Store, hanging: &Attachment, now: Timestamp) -> Result<()> {
    firing::call_off(store, hanging, "the timer was detached", now)?;
    let name = store.timer_name(hanging.timer)?;
    store.insert_history(
        hanging.document,
        now,
        Severity::Info,
        "timer detached",
        Some((&name, hanging.level)),
    )?;
    store.delete_attachment(hanging.id)
}

/// How many attachments are taken off in one transaction: others can write in between.
const DETACHED_AT_ONCE: u32 = 1000;

/// Takes a timer off all documents it hangs on, inside the caller's transaction.
///
/// # Errors
/// SQLite's.
pub fn detach_timer(store: &Store, timer: i64, now: Timestamp) -> Result<()> {
    let mut after = 0;
    loop {
        let found = store.hanging_of(timer, after, DETACHED_AT_ONCE)?;
        let Some(last) = found.last() else {
            return Ok(());
        };
        after = last.id;
        found
            .iter()
            .try_for_each(|hanging| detach(store, hanging, now))?;
    }
}

/// Takes all timers off the documents whose title has this in it, some in each transaction; how many.
///
/// # Errors
/// SQLite's; what was taken off before stays off.
pub fn detach_matching(store: &Store, title: &str, now: Timestamp) -> Result<u64> {
    let (mut after, mut detached) = (0, 0);
    loop {
        let found = store.transact(|store| {
            let found = store.matching(title, after, DETACHED_AT_ONCE)?;
            found
                .iter()
                .try_for_each(|hanging| detach(store, hanging, now))?;
            Ok(found)
        })?;
        let Some(last) = found.last() else {
            return Ok(detached);
        };
        after = last.id;
        detached += found.len() as u64;
    }
}
