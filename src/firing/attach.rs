//! Attaching timers to documents, and detaching them (`docs/timers.md`, "Attaching").

use super::reschedule::{self, cancel_pending};
use crate::context::When;
use crate::error::{Error, Result};
use crate::model::attachment::{Attachment, AttachmentRow};
use crate::model::task::Severity;
use crate::store::Store;
use crate::time::Timestamp;

/// How many attachments are looked at in one go, and taken off in one transaction where each stands for itself.
const BATCH: u32 = 1000;

/// Attaches a timer to a document, inside the caller's transaction; the attachment's id. With `reset` one that is
/// attached already starts over, and keeps its origin unless another is given.
pub(crate) fn attach(
    store: &Store,
    new: &AttachmentRow<'_>,
    reset: bool,
    when: When,
) -> Result<i64> {
    let mut origin = new.origin.map(str::to_owned);
    if let Some(attached) = store.find_attachment(new.timer, new.document)? {
        if !reset {
            let name = store.timer_name(new.timer)?;
            return Err(Error::invalid(
                format!("timer '{name}' on document {}", new.document),
                "it is attached already; --reset starts it over",
            ));
        }
        origin = origin.or(store.origin_of(attached.id)?);
        detach(store, &attached, when.now)?;
    }
    let new = AttachmentRow {
        origin: origin.as_deref(),
        ..*new
    };
    let id = store.insert_attachment(&new, when.now)?;
    reschedule::reschedule(store, id, when)?;
    let attached = store.attachment(id)?;
    let has_date_but_no_level =
        |row: &Attachment| row.counted_from.is_some() && row.due_at.is_none();
    if let Some(row) = attached.filter(has_date_but_no_level) {
        let thing = format!("timer on document {}", new.document);
        return Err(Error::invalid(thing, row.last_error.unwrap_or_default()));
    }
    Ok(id)
}

/// Takes a timer off a document, inside the caller's transaction, with what is pending for its level.
pub(crate) fn detach(store: &Store, attachment: &Attachment, now: Timestamp) -> Result<()> {
    cancel_pending(store, attachment, "the timer was detached", now)?;
    let name = store.timer_name(attachment.timer)?;
    let level = Some((name.as_str(), attachment.level));
    store.insert_history(
        attachment.document,
        now,
        Severity::Info,
        "timer detached",
        level,
    )?;
    store.delete_attachment(attachment.id)
}

/// Takes a timer off all documents, inside the caller's transaction.
pub(crate) fn detach_timer(store: &Store, timer: i64, now: Timestamp) -> Result<()> {
    let mut after = i64::MIN;
    loop {
        let found = store.attachments_of_timer(timer, after, BATCH)?;
        let Some(last) = found.last() else {
            return Ok(());
        };
        after = last.id;
        found.iter().try_for_each(|row| detach(store, row, now))?;
    }
}

/// Takes all timers off the documents whose title has this in it, some in each transaction; how many. What was taken off
/// before an error stays off.
pub(crate) fn detach_by_title(store: &Store, title: &str, now: Timestamp) -> Result<u64> {
    let (mut after, mut detached) = (i64::MIN, 0);
    loop {
        let found = store.transact(|store| {
            let found = store.attachments_by_title(title, after, BATCH)?;
            found.iter().try_for_each(|row| detach(store, row, now))?;
            Ok(found)
        })?;
        let Some(last) = found.last() else {
            return Ok(detached);
        };
        after = last.id;
        detached += found.len() as u64;
    }
}
