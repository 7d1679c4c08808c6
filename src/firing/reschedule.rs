//! Computing when levels are due, again whenever a date, a definition or the zone has changed (`docs/timers.md`,
//! "Reference date").

use super::attach::detach;
use super::{BATCH, LEFT_STATES, Timers, issue_of, record};
use crate::error::{Error, Result};
use crate::model::attachment::{Attachment, Reschedule};
use crate::model::issue::Issue;
use crate::model::task::Severity;
use crate::model::timer::Timer;
use crate::store::Store;
use crate::store::document::DateAttribute;
use crate::time::{Timestamp, When, Zone};

/// Computes anew whatever needs it, some in each transaction. What a check or a trigger of an application refuses is
/// handed to `report`, and left for a later run of the program. Does nothing where nothing can be written.
pub(crate) fn reschedule_all(
    store: &Store,
    when: When,
    mut report: impl FnMut(Issue),
) -> Result<()> {
    let mut after = i64::MIN;
    while !store.is_read_only()? && !store.attachments_to_reschedule(after, 1)?.is_empty() {
        let (last, refused) = store.transact(|store| reschedule_some(store, after, when))?;
        refused.into_iter().for_each(&mut report);
        after = last;
    }
    Ok(())
}

/// Computes some anew after this one, by id: the last of them, and what was refused.
fn reschedule_some(store: &Store, after: i64, when: When) -> Result<(i64, Vec<Issue>)> {
    let (mut last, mut refused) = (i64::MAX, Vec::new());
    let mut timers = Timers::default();
    for row in store.attachments_to_reschedule(after, BATCH)? {
        last = row.id;
        if row.failed_run_id != Some(store.run()) {
            let timer = timers.get(store, row.timer)?;
            refused.extend(reschedule_alone(store, row, &timer, when)?);
        }
    }
    Ok((last, refused))
}

/// Computes anew what is attached to a document, if it needs it, before it is shown. Does nothing where nothing can be
/// written.
pub(crate) fn reschedule_to_show(store: &Store, document: i64, when: When) -> Result<()> {
    let attached = store.attachments_on(document, None)?;
    let is_up_to_date = |row: &Attachment| row.needs_reschedule == Reschedule::No;
    if store.is_read_only()? || attached.iter().all(is_up_to_date) {
        return Ok(());
    }
    store.transact(|store| reschedule_document(store, document, when))
}

/// Computes anew what is attached to a document, if it needs it, inside the caller's transaction. What is refused is
/// recorded on its attachment alone.
pub(crate) fn reschedule_document(store: &Store, document: i64, when: When) -> Result<()> {
    let mut timers = Timers::default();
    for row in store.attachments_on(document, None)? {
        if row.needs_reschedule != Reschedule::No {
            let timer = timers.get(store, row.timer)?;
            reschedule_alone(store, row, &timer, when)?;
        }
    }
    Ok(())
}

/// Computes an attachment anew, if it needs it, inside the caller's transaction.
pub(crate) fn reschedule(store: &Store, attachment: i64, when: When) -> Result<()> {
    match store.attachment(attachment)? {
        Some(row) if row.needs_reschedule != Reschedule::No => {
            let timer = Timers::default().get(store, row.timer)?;
            reschedule_row(store, row, &timer, when)
        }
        _ => Ok(()),
    }
}

/// Computes one of many anew: what is refused holds up no other, and is tried once a run.
fn reschedule_alone(
    store: &Store,
    row: Attachment,
    timer: &Result<Timer>,
    when: When,
) -> Result<Option<Issue>> {
    let done = store.attempt_alone(|store| reschedule_row(store, row.clone(), timer, when))?;
    let Err(error) = done else {
        return Ok(None);
    };
    let failed = Attachment {
        attempts: row.attempts.saturating_add(1),
        last_error: Some(error.to_string()),
        failed_run_id: Some(store.run()),
        ..row.clone()
    };
    let _ = store.attempt_alone(|store| store.update_attachment(&failed))?;
    let message = format!("its date cannot be computed anew: {error}");
    issue_of(store, &row, &message).map(Some)
}

/// Detaches it when its definition has no level left for it, or when it would start over and is bound to other states: its
/// last level has taken the document out of its own.
fn reschedule_row(store: &Store, row: Attachment, timer: &Result<Timer>, when: When) -> Result<()> {
    let mut next = row.clone();
    let due_at = match timer {
        Ok(timer) => {
            let reference = reference(store, &row, timer, &when.zone)?;
            let counted_from = reference.clone().unwrap_or(None);
            if row.needs_reschedule == Reschedule::DateChanged && counted_from != row.counted_from {
                let why = "the date that the timer counts from has changed";
                cancel_pending(store, &row, why, when.now)?;
                if !store.admits(&timer.definition, row.document)? {
                    return detach(store, &row, Some(LEFT_STATES), when.now);
                }
                record_new_date(store, &row, counted_from, when)?;
                next = row.at_level(0);
            }
            next.counted_from = counted_from;
            if next.level >= timer.levels() {
                let why = "no level is left of its definition";
                return detach(store, &row, Some(why), when.now);
            }
            reference.and_then(|date| match date {
                Some(date) => timer.due_at(&when.zone, date, next.level),
                None => Ok(None),
            })
        }
        Err(error) => Err(error.to_string()),
    };
    next.needs_reschedule = Reschedule::No;
    next.due_at = due_at.clone().unwrap_or(None);
    next.waiting = false;
    if due_at.is_err() || row.due_at.is_none() {
        next.last_error = due_at.err();
    } else if next.due_at > Some(when.now) {
        // A level that is not due yet has not failed: what did is what is done now.
        next.attempts = 0;
        next.last_error = None;
    }
    if next.due_at.is_none()
        && next.last_error != row.last_error
        && let Some(why) = &next.last_error
    {
        record(store, &next, when.now, Severity::Warning, why)?;
    }
    store.update_attachment(&next)
}

/// History shows dates as the reader's calendar and clock do.
fn record_new_date(
    store: &Store,
    row: &Attachment,
    after: Option<Timestamp>,
    when: When,
) -> Result<()> {
    let Some(before) = row.counted_from else {
        return Ok(());
    };
    let before = date_text(&when.zone, before);
    let after = after.map_or_else(|| "none".to_owned(), |after| date_text(&when.zone, after));
    let message = format!("the date changed: {before} → {after}; the timer starts over");
    record(store, row, when.now, Severity::Info, &message)
}

/// A time as people read it: midnight is a date.
fn date_text(zone: &Zone, time: Timestamp) -> String {
    let shown = zone.show(time);
    match shown.strip_suffix(" 00:00:00") {
        Some(date) => date.to_owned(),
        None => shown,
    }
}

/// Sees to it that what is pending for a level is not done, unless it is being done right now: then it does not count.
pub(crate) fn cancel_pending(
    store: &Store,
    row: &Attachment,
    why: &str,
    now: Timestamp,
) -> Result<()> {
    let call_off = |what: String| {
        record(
            store,
            row,
            now,
            Severity::Info,
            &format!("{what} called off: {why}"),
        )
    };
    if row.mail_count > 0 {
        let mut mails = store.withdraw_mails(row.id, why)?.into_iter();
        mails.try_for_each(|mail| call_off(format!("mail {mail}")))?;
    }
    if let Some(task) = row.task
        && store.cancel_task(task, now)?
    {
        store.cancel_followers(task, now)?;
        call_off(format!("task {task}"))?;
    }
    Ok(())
}

/// The date that an attachment counts from, delta not added: the one given, else the attribute's, else the moment of
/// attachment. None while the attribute is empty; the reason, when it is no date.
fn reference(
    store: &Store,
    row: &Attachment,
    timer: &Timer,
    zone: &Zone,
) -> Result<Result<Option<Timestamp>, String>> {
    if row.fixed_reference.is_some() {
        return Ok(Ok(row.fixed_reference));
    }
    match &timer.definition.reference {
        Some(name) => date_of(store, row.document, name, zone),
        None => Ok(Ok(Some(row.attached_at))),
    }
}

fn date_of(
    store: &Store,
    document: i64,
    name: &str,
    zone: &Zone,
) -> Result<Result<Option<Timestamp>, String>> {
    let date = match store.date_attribute(document, name)? {
        DateAttribute::Empty => Ok(None),
        DateAttribute::Text(text) => zone.parse_time(&text).map(Some),
        DateAttribute::Other => Err("it is not a text with a date in it".to_owned()),
    };
    Ok(date.map_err(|why| format!("{name}: {why}; the timer waits for a date")))
}

/// The date that a timer counts from on a document, delta not added, whether it is attached there or would be now; none
/// while it waits for one. An error when the document's attribute is no date.
pub(crate) fn forecast_from(
    store: &Store,
    timer: (i64, &Timer),
    document: i64,
    when: When,
) -> Result<Option<Timestamp>> {
    let (id, timer) = timer;
    let reference = match (
        store.find_attachment(id, document)?,
        &timer.definition.reference,
    ) {
        (Some(row), _) => reference(store, &row, timer, &when.zone)?,
        (None, Some(name)) => date_of(store, document, name, &when.zone)?,
        (None, None) => Ok(Some(when.now)),
    };
    reference.map_err(|why| Error::invalid(format!("document {document}"), why))
}
