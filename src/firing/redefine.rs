//! A definition that takes the place of another while levels of it are begun (design, “Timers”, rule 7).

use super::ending::{call_off, words_of};
use super::level::{MAILS, METHOD, STATE};
use crate::error::{Error, Result};
use crate::model::task::Severity;
use crate::model::timer::{Action, Timer};
use crate::store::Store;
use crate::store::attachment::Attachment;
use crate::time::Timestamp;

/// How many attachments are looked at in one go.
const LOOKED_AT_ONCE: u32 = 1000;

/// Writes a definition in place of what has its name, inside the caller's transaction. Of a level that is begun, what
/// is done stays done as far as the new definition says the same; from the first step that differs it is done anew,
/// and what is under way for such a step is called off.
///
/// # Errors
/// SQLite's.
pub fn define(store: &Store, new: &Timer, now: Timestamp) -> Result<()> {
    let old = match store.timer_id(&new.definition.name) {
        Ok(id) => Some((id, store.timer(id))),
        Err(Error::NotFound { .. }) => None,
        Err(error) => return Err(error),
    };
    match old {
        // What a definition that cannot be read has begun is not known.
        Some((id, Ok(old))) => go_back_all(store, id, (&old, new), now)?,
        Some((_, Err(error))) if error.is_about_the_database() => return Err(error),
        _ => {}
    }
    store.set_timer(&new.definition)
}

fn go_back_all(store: &Store, id: i64, (old, new): (&Timer, &Timer), now: Timestamp) -> Result<()> {
    if old.definition.actions == new.definition.actions {
        return Ok(());
    }
    let mut after = i64::MIN;
    loop {
        let begun = store.begun_of(id, after, LOOKED_AT_ONCE)?;
        let Some(last) = begun.last() else {
            return Ok(());
        };
        after = last.id;
        for row in &begun {
            // A level that there is no more ends with its attachment, once that is computed anew.
            if let (Some((_, old)), Some((_, action))) =
                (old.level(row.level), new.level(row.level))
                && let Some(step) = first_change(old, action)
                && step <= row.step
            {
                go_back(store, row, (&new.definition.name, action, step), now)?;
            }
        }
    }
}

/// The first step that two actions do not say the same about.
fn first_change(old: &Action, new: &Action) -> Option<u8> {
    if old.state != new.state {
        Some(STATE)
    } else if old.mail != new.mail {
        Some(MAILS)
    } else if old.method != new.method {
        Some(METHOD)
    } else {
        None
    }
}

fn go_back(
    store: &Store,
    row: &Attachment,
    (name, action, step): (&str, &Action, u8),
    now: Timestamp,
) -> Result<()> {
    call_off(store, row, "its timer was defined anew", now)?;
    let left = words_of(action, None, step..=METHOD);
    let left = if left.is_empty() { "nothing" } else { &left };
    let message = format!("the timer was defined anew; left of this level: {left}");
    let level = Some((name, row.level));
    store.insert_history(row.document, now, Severity::Info, &message, level)?;
    store.save(&Attachment {
        step,
        attempts: 0,
        last_error: None,
        task: None,
        pending_mails: 0,
        last_run_id: None,
        ..*row
    })
}
