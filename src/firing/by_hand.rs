//! A skipped level, fired by hand (design, “Timers”, rule 5).

use super::FiringStatus;
use super::ending::without_mails;
use super::level::Firing;
use crate::error::{Error, Result};
use crate::functions::Functions;
use crate::store::Store;
use crate::store::attachment::Attachment;
use crate::time::{Timestamp, Zone};

/// Does what is left of a skipped level, inside the caller's transaction: the state change at once, its mails and its
/// task are queued. What it says it did.
///
/// # Errors
/// When there is no such firing or it was not skipped; when its document or its timer is gone, or the timer has no
/// such level any more; when a step fails.
pub fn fire_by_hand(
    store: &Store,
    functions: &Functions,
    id: i64,
    (zone, now): (Zone, Timestamp),
) -> Result<String> {
    let (fired, step, sent) = store.firing(id)?;
    let wrong = |reason: &str| Error::invalid(format!("firing {id}"), reason);
    if fired.status != FiringStatus::Skipped {
        return Err(wrong("it was not skipped: its level has been done"));
    }
    if fired.title.is_none() {
        return Err(wrong("its document has been deleted"));
    }
    let timer = store.timer(store.timer_id(&fired.timer)?)?;
    let (_, action) = timer
        .level(fired.level)
        .ok_or_else(|| wrong("its timer has no such level any more"))?;
    let methods = store.methods(functions)?;
    let firing = Firing {
        store,
        timer: &timer,
        action: &without_mails(action, &sent),
        methods: &methods,
        when: (zone, now),
        state: None,
    };
    let row = Attachment {
        id: 0,
        timer: 0,
        document: fired.document,
        reference_at: None,
        attached_at: now,
        level: fired.level,
        step,
        counted_from: None,
        due_at: Some(fired.due_at),
        needs_reschedule: 0,
        attempts: 0,
        last_error: None,
        task: None,
        pending_mails: 0,
        last_run_id: None,
    };
    let result = format!("by hand: {}", firing.all_at_once(&row)?);
    store.finish_firing(id, &result, now)?;
    Ok(result)
}
