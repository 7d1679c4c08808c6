//! Attaching timers to documents, and detaching them (`docs/timers.md`, "Attaching").

use super::reschedule::{self, cancel_pending};
use super::{BATCH, in_batches, record};
use crate::error::{Error, Result};
use crate::model::attachment::{Attachment, AttachmentRow};
use crate::model::task::Severity;
use crate::model::timer::Timer;
use crate::store::Store;
use crate::time::{Timestamp, When};

/// Attaches a timer to a document, inside the caller's transaction; the attachment's id. With `reset` one that is
/// attached already starts over, and keeps its origin unless another is given.
pub(crate) fn attach(
    store: &Store,
    new: &AttachmentRow<'_>,
    reset: bool,
    when: When,
) -> Result<i64> {
    refuse_other_states(store, new)?;
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
        detach(store, &attached, None, when.now)?;
    }
    let new = AttachmentRow {
        origin: origin.as_deref(),
        ..*new
    };
    let id = store.insert_attachment(&new, when.now)?;
    reschedule::reschedule(store, id, when)?;
    match store.attachment(id)? {
        Some(row) if row.counted_from.is_some() && row.due_at.is_none() => {
            let thing = format!("timer on document {}", new.document);
            Err(Error::invalid(thing, row.last_error.unwrap_or_default()))
        }
        _ => Ok(id),
    }
}

/// A timer that is bound to states is on no document in another one.
fn refuse_other_states(store: &Store, new: &AttachmentRow<'_>) -> Result<()> {
    let Ok(Timer { definition, .. }) = store.timer(new.timer) else {
        return Ok(());
    };
    if store.admits(&definition, new.document)? {
        return Ok(());
    }
    let family = definition.family.as_ref();
    let family = family.map_or_else(String::new, |family| format!(" of the family '{family}'"));
    Err(Error::invalid(
        format!("timer '{}' on document {}", definition.name, new.document),
        format!(
            "it is bound to documents{family} in the state {}, and this is none",
            definition.while_state.join(" or ")
        ),
    ))
}

/// Takes a timer off a document, inside the caller's transaction, with what is pending for its level. History has the
/// reason, if there is one.
pub(crate) fn detach(
    store: &Store,
    row: &Attachment,
    why: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    cancel_pending(store, row, &format!("the timer was detached{why}"), now)?;
    record(
        store,
        row,
        now,
        Severity::Info,
        &format!("timer detached{why}"),
    )?;
    store.delete_attachment(row.id)
}

/// Takes a timer off all documents, inside the caller's transaction.
pub(crate) fn detach_timer(store: &Store, timer: i64, now: Timestamp) -> Result<()> {
    let attached = |after| store.attachments_of_timer(timer, after, BATCH);
    in_batches(attached, |row| detach(store, row, None, now))?;
    Ok(())
}

/// Takes all timers off the documents whose title has this in it, some in each transaction; how many. What was taken off
/// before an error stays off.
pub(crate) fn detach_by_title(store: &Store, title: &str, now: Timestamp) -> Result<u64> {
    let detach_some = |after| {
        store.transact(|store| {
            let found = store.attachments_by_title(title, after, BATCH)?;
            let mut rows = found.iter();
            rows.try_for_each(|row| detach(store, row, None, now))?;
            Ok(found)
        })
    };
    in_batches(detach_some, |_| Ok(()))
}
