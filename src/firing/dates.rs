//! Computing anew when attachments are due whose date or definition has changed (design, “Timers”, rules 1 and 3).

use super::ending::{call_off, detach, note_failure};
use super::outcome::Problem;
use super::reference::{Reference, reference};
use super::timers::Timers;
use crate::error::{Error, Result};
use crate::model::task::Severity;
use crate::model::timer::Timer;
use crate::store::Store;
use crate::store::attachment::{Attachment, DATE_CHANGED};
use crate::time::{Timestamp, Zone};

/// How many attachments are computed anew in one transaction.
const SETTLED_AT_ONCE: u32 = 1000;

/// Computes anew whatever needs it, some in each transaction; what is refused is handed to `tell`, and left for a later
/// run of the program. Does nothing where nothing can be written.
///
/// # Errors
/// SQLite's.
pub fn settle_all(
    store: &Store,
    when: (Zone, Timestamp),
    mut tell: impl FnMut(Problem),
) -> Result<()> {
    if store.is_read_only()? {
        return Ok(());
    }
    let mut after = i64::MIN;
    while store.has_stale_attachment(after)? {
        let (last, problems) = store.transact(|store| settle_some(store, after, when))?;
        problems.into_iter().for_each(&mut tell);
        after = last;
    }
    Ok(())
}

/// Computes some anew after this one, by id: the last of them, and what was refused.
fn settle_some(store: &Store, after: i64, when: (Zone, Timestamp)) -> Result<(i64, Vec<Problem>)> {
    let (mut last, mut problems) = (i64::MAX, Vec::new());
    let mut timers = Timers::default();
    for row in store.stale_attachments(after, SETTLED_AT_ONCE)? {
        last = row.id;
        if row.last_run_id == Some(store.run()) {
            continue;
        }
        let timer = timers.get(store, row.timer)?;
        if let Settled::Refused(problem) = settle_alone(store, row, &timer, when)? {
            problems.push(problem);
        }
    }
    Ok((last, problems))
}

/// Computes anew what hangs on a document, if it needs it, before it is shown. Does nothing where nothing can be
/// written.
///
/// # Errors
/// SQLite's.
pub fn settle_to_show(store: &Store, document: i64, when: (Zone, Timestamp)) -> Result<()> {
    let hanging = store.hanging_on(document, None)?;
    if store.is_read_only()? || hanging.iter().all(|row| row.needs_reschedule == 0) {
        return Ok(());
    }
    store.transact(|store| settle_document(store, document, when))
}

/// Computes anew what hangs on a document, if it needs it, inside the caller's transaction. What is refused is noted on
/// its attachment alone.
///
/// # Errors
/// SQLite's.
pub fn settle_document(store: &Store, document: i64, when: (Zone, Timestamp)) -> Result<()> {
    let mut timers = Timers::default();
    for row in store.hanging_on(document, None)? {
        if row.needs_reschedule > 0 {
            let timer = timers.get(store, row.timer)?;
            settle_alone(store, row, &timer, when)?;
        }
    }
    Ok(())
}

/// Computes an attachment anew, if it needs it, inside the caller's transaction.
///
/// # Errors
/// SQLite's.
pub fn settle(store: &Store, attachment: i64, when: (Zone, Timestamp)) -> Result<()> {
    match store.hanging(attachment)? {
        Some(row) => settle_found(store, row, when).map(drop),
        None => Ok(()),
    }
}

/// The attachment as it is after that; none when it is detached.
pub(super) fn settle_found(
    store: &Store,
    row: Attachment,
    (zone, now): (Zone, Timestamp),
) -> Result<Option<Attachment>> {
    match row.needs_reschedule {
        0 => Ok(Some(row)),
        _ => {
            let timer = Timers::default().get(store, row.timer)?;
            settle_row(store, row, &timer, (zone, now))
        }
    }
}

/// What came of computing one of many anew.
pub(super) enum Settled {
    /// The attachment as it is after that; none when it is detached.
    Row(Option<Attachment>),
    /// A check or a trigger of an application has refused it.
    Refused(Problem),
}

/// The same for one of many: what is refused stays to be computed anew, once a run, and holds up no other.
pub(super) fn settle_alone(
    store: &Store,
    row: Attachment,
    timer: &Result<Timer>,
    when: (Zone, Timestamp),
) -> Result<Settled> {
    let may_go_on = |error: &Error| !error.is_about_the_database() && store.in_transaction();
    let error = match store.attempt(|store| settle_row(store, row.clone(), timer, when)) {
        Err(error) if may_go_on(&error) => error.to_string(),
        settled => return settled.map(Settled::Row),
    };
    match store.attempt(|store| note_failure(store, &row, &error, Some(store.run()))) {
        Err(error) if !may_go_on(&error) => return Err(error),
        _ => {}
    }
    Ok(Settled::Refused(Problem {
        attachment: row.id,
        timer: store.timer_name(row.timer)?,
        document: row.document,
        level: row.level,
        error: format!("its date cannot be computed anew: {error}"),
        is_first: row.attempts == 0,
        is_final: false,
    }))
}

/// The attachment as it is after that; none when the definition has no level left for it, or its document is gone.
pub(super) fn settle_row(
    store: &Store,
    mut row: Attachment,
    timer: &Result<Timer>,
    (zone, now): (Zone, Timestamp),
) -> Result<Option<Attachment>> {
    if !store.has_document(row.document)? {
        return leave_orphan(store, &row, now).map(|()| None);
    }
    let before = row.clone();
    let due = match timer {
        Ok(timer) => compute(store, &mut row, timer, (zone, now))?,
        Err(error) => Due::Never(Some(error.to_string())),
    };
    let name = match timer {
        Ok(timer) => timer.definition.name.clone(),
        Err(_) => store.timer_name(row.timer)?,
    };
    let issue = match due {
        Due::At(due) => {
            row.due_at = Some(due);
            None
        }
        Due::Never(why) => {
            row.due_at = None;
            why
        }
        Due::AfterTheLast => {
            call_off(store, &row, "no level is left of its timer", now)?;
            let message = "timer detached: no level is left of its definition";
            return detach(store, &row, (&name, now), message).map(|()| None);
        }
    };
    row.needs_reschedule = 0;
    if issue.is_some() || before.due_at.is_none() {
        row.last_error = issue;
    } else if row.due_at > Some(now) {
        // A level that is not due yet has not failed: what did is what is done now.
        row.attempts = 0;
        row.last_error = None;
    }
    if row.due_at.is_none() && row.last_error != before.last_error {
        warn(store, &row, &name, now)?;
    }
    store.save(&row)?;
    Ok(Some(row))
}

/// Ends an attachment whose document plain SQL has deleted or replaced without a word to the triggers.
fn leave_orphan(store: &Store, row: &Attachment, now: Timestamp) -> Result<()> {
    call_off(store, row, "its document is gone", now)?;
    store.delete_attachment(row.id)
}

/// When the level of an attachment falls, which starts over when its date has changed.
fn compute(
    store: &Store,
    row: &mut Attachment,
    timer: &Timer,
    (zone, now): (Zone, Timestamp),
) -> Result<Due> {
    let dates = (row.document, row.reference_at, row.attached_at);
    let reference = reference(store, dates, timer, &zone)?;
    let counted = reference.date();
    if row.needs_reschedule == DATE_CHANGED && counted != row.counted_from {
        start_over(store, row, counted, (timer, now))?;
    }
    row.counted_from = counted;
    Ok(match reference {
        Reference::None(why) => Due::Never(Some(why)),
        Reference::At(_) | Reference::Empty => due_at(row, timer, &zone),
    })
}

/// When a level falls.
enum Due {
    At(Timestamp),
    /// It has no date: because it waits for one, or for this reason.
    Never(Option<String>),
    AfterTheLast,
}

fn due_at(row: &Attachment, timer: &Timer, zone: &Zone) -> Due {
    if row.level >= timer.levels() {
        return Due::AfterTheLast;
    }
    let Some(counted_from) = row.counted_from else {
        return Due::Never(None);
    };
    match timer.due_at(zone, counted_from, row.level) {
        Ok(Some(due)) => Due::At(due),
        Ok(None) => Due::AfterTheLast,
        Err(why) => Due::Never(Some(why)),
    }
}

/// Rule 3: back to the first level, and what was under way for the old date is not done.
fn start_over(
    store: &Store,
    row: &mut Attachment,
    counted: Option<Timestamp>,
    (timer, now): (&Timer, Timestamp),
) -> Result<()> {
    call_off(
        store,
        row,
        "the date that the timer counts from has changed",
        now,
    )?;
    if let Some(before) = row.counted_from {
        let after = counted.map_or_else(|| "none".to_owned(), |at| at.to_string());
        let message = format!("the date changed: {before} → {after}; the timer starts over");
        let level = (timer.definition.name.as_str(), row.level);
        store.insert_history(row.document, now, Severity::Info, &message, Some(level))?;
    }
    row.level = 0;
    row.step = 0;
    row.attempts = 0;
    row.last_error = None;
    row.task = None;
    row.pending_mails = 0;
    row.last_run_id = None;
    Ok(())
}

/// History says once why it waits.
fn warn(store: &Store, row: &Attachment, name: &str, now: Timestamp) -> Result<()> {
    let level = Some((name, row.level));
    match &row.last_error {
        Some(why) => store.insert_history(row.document, now, Severity::Warning, why, level),
        None => Ok(()),
    }
}
