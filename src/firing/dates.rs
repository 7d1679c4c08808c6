//! Computing anew when attachments are due whose date or definition has changed (design, “Timers”, rules 1 and 3).

use super::ending::{call_off, detach};
use super::reference::{Reference, reference};
use super::timers::Timers;
use crate::error::Result;
use crate::store::Store;
use crate::store::attachment::{DATE_CHANGED, Hanging};
use crate::task::Level;
use crate::time::{Timestamp, Zone};
use crate::timer::Timer;

/// How many attachments are computed anew in one transaction.
const SETTLED_AT_ONCE: u32 = 1000;

/// Computes anew whatever needs it, some in each transaction. Does nothing where nothing can be written.
///
/// # Errors
/// SQLite's.
pub fn settle_all(store: &Store, (zone, now): (Zone, Timestamp)) -> Result<()> {
    if store.is_read_only()? {
        return Ok(());
    }
    while store.has_stale_attachment()? {
        store.transact(|store| {
            let mut timers = Timers::default();
            for row in store.stale_attachments(SETTLED_AT_ONCE)? {
                let timer = timers.get(store, row.timer)?;
                settle_alone(store, row, &timer, (zone, now))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Computes anew what hangs on a document, if it needs it, before it is shown. Does nothing where nothing can be
/// written.
///
/// # Errors
/// SQLite's.
pub fn settle_to_show(store: &Store, document: i64, when: (Zone, Timestamp)) -> Result<()> {
    let hanging = store.hanging_on(document, None)?;
    if store.is_read_only()? || hanging.iter().all(|row| row.stale == 0) {
        return Ok(());
    }
    store.transact(|store| settle_document(store, document, when))
}

/// Computes anew what hangs on a document, if it needs it, inside the caller's transaction.
///
/// # Errors
/// SQLite's.
pub fn settle_document(store: &Store, document: i64, when: (Zone, Timestamp)) -> Result<()> {
    for row in store.hanging_on(document, None)? {
        settle_found(store, row, when)?;
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
    row: Hanging,
    (zone, now): (Zone, Timestamp),
) -> Result<Option<Hanging>> {
    match row.stale {
        0 => Ok(Some(row)),
        _ => {
            let timer = Timers::default().get(store, row.timer)?;
            settle_row(store, row, &timer, (zone, now))
        }
    }
}

/// The same for one of many: what a check or trigger of an application refuses is set aside, and holds up no other.
pub(super) fn settle_alone(
    store: &Store,
    row: Hanging,
    timer: &Result<Timer>,
    when: (Zone, Timestamp),
) -> Result<Option<Hanging>> {
    match store.attempt(|store| settle_row(store, row.clone(), timer, when)) {
        Err(error) if !error.is_about_the_database() && store.in_transaction() => {
            store.save(&Hanging {
                stale: 0,
                due_at: None,
                last_error: Some(error.to_string()),
                ..row
            })?;
            Ok(None)
        }
        settled => settled,
    }
}

/// The attachment as it is after that; none when the definition has no level left for it.
pub(super) fn settle_row(
    store: &Store,
    mut row: Hanging,
    timer: &Result<Timer>,
    (zone, now): (Zone, Timestamp),
) -> Result<Option<Hanging>> {
    let before = row.clone();
    let due = match timer {
        Ok(timer) => compute(store, &mut row, timer, (zone, now))?,
        Err(error) => Due::Never(Some(error.to_string())),
    };
    let name = match timer {
        Ok(timer) => timer.definition.name.clone(),
        Err(_) => store.timer_name(row.timer)?,
    };
    let trouble = match due {
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
    row.stale = 0;
    if trouble.is_some() || before.due_at.is_none() {
        row.last_error = trouble;
    }
    if row.due_at.is_none() && row.last_error != before.last_error {
        warn(store, &row, &name, now)?;
    }
    store.save(&row)?;
    Ok(Some(row))
}

/// When the level of an attachment falls, which starts over when its date has changed.
fn compute(
    store: &Store,
    row: &mut Hanging,
    timer: &Timer,
    (zone, now): (Zone, Timestamp),
) -> Result<Due> {
    let dates = (row.document, row.reference_at, row.attached_at);
    let reference = reference(store, dates, timer, &zone)?;
    let counted = reference.date();
    if row.stale == DATE_CHANGED && counted != row.counted_from {
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

fn due_at(row: &Hanging, timer: &Timer, zone: &Zone) -> Due {
    if row.level >= timer.levels() {
        return Due::AfterTheLast;
    }
    let Some(counted_from) = row.counted_from else {
        return Due::Never(None);
    };
    match timer.due_at(zone, counted_from, row.level) {
        Ok(Some(due)) => Due::At(due),
        Ok(None) => Due::AfterTheLast,
        Err(error) => Due::Never(Some(error.to_string())),
    }
}

/// Rule 3: back to the first level, and what was under way for the old date is not done.
fn start_over(
    store: &Store,
    row: &mut Hanging,
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
        let after = counted.map_or_else(|| "none".to_owned(), Timestamp::rfc3339);
        let message = format!(
            "the date changed: {} → {after}; the timer starts over",
            before.rfc3339()
        );
        let level = (timer.definition.name.as_str(), row.level);
        store.insert_history(row.document, now, Level::Info, &message, Some(level))?;
    }
    row.level = 0;
    row.step = 0;
    row.attempts = 0;
    row.last_error = None;
    row.task = None;
    row.mailing = 0;
    row.tried_by = None;
    Ok(())
}

/// History says once why it waits.
fn warn(store: &Store, row: &Hanging, name: &str, now: Timestamp) -> Result<()> {
    let level = Some((name, row.level));
    match &row.last_error {
        Some(why) => store.insert_history(row.document, now, Level::Warning, why, level),
        None => Ok(()),
    }
}
