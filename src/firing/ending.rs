//! How a level comes to its end, fails, or is called off.

use super::FiringStatus;
use super::level::{MAILS, METHOD, STATE};
use crate::error::Result;
use crate::model::task::Severity;
use crate::model::timer::{Action, Timer};
use crate::store::Store;
use crate::store::attachment::Attachment;
use crate::store::firing::FiringRow;
use crate::time::{Timestamp, Zone};

/// What is recorded of a level that comes to its end.
pub(super) struct Ending<'a> {
    pub(super) status: FiringStatus,
    /// Those of its templates whose mails were sent, when it is skipped before all of them were.
    pub(super) sent: &'a [String],
    /// What was done, and what was not, in words.
    pub(super) result: &'a str,
}

impl<'a> Ending<'a> {
    /// All was done.
    pub(super) fn done(result: &'a str) -> Self {
        Self {
            status: FiringStatus::Done,
            sent: &[],
            result,
        }
    }
}

/// Ends a level, done or skipped: the attachment at its next one, if there is one.
pub(super) fn end_level(
    store: &Store,
    row: &Attachment,
    timer: &Timer,
    ending: &Ending<'_>,
    (zone, now): (Zone, Timestamp),
) -> Result<Option<Attachment>> {
    let firing = FiringRow {
        timer: &timer.definition.name,
        document: row.document,
        level: row.level,
        due_at: row.due_at.unwrap_or(now),
        status: ending.status,
        step: row.step,
        sent: ending.sent,
        result: ending.result,
    };
    store.insert_firing(&firing, now)?;
    let mut next = Attachment {
        level: row.level.saturating_add(1),
        step: STATE,
        attempts: 0,
        last_error: None,
        task: None,
        pending_mails: 0,
        last_run_id: None,
        ..*row
    };
    let counted_from = row.counted_from.unwrap_or(now);
    match timer.due_at(&zone, counted_from, next.level) {
        Ok(None) => {
            detach(
                store,
                row,
                (&timer.definition.name, now),
                "timer detached: it has come to its end",
            )?;
            Ok(None)
        }
        Ok(Some(due)) => {
            store.set_level(next.id, next.level, due)?;
            next.due_at = Some(due);
            Ok(Some(next))
        }
        Err(why) => {
            let level = (timer.definition.name.as_str(), next.level);
            store.insert_history(next.document, now, Severity::Warning, &why, Some(level))?;
            next.due_at = None;
            next.last_error = Some(why);
            store.save(&next)?;
            Ok(Some(next))
        }
    }
}

/// Ends an attachment, with this entry in the document's history.
pub(super) fn detach(
    store: &Store,
    row: &Attachment,
    (name, now): (&str, Timestamp),
    message: &str,
) -> Result<()> {
    let level = Some((name, row.level));
    store.insert_history(row.document, now, Severity::Info, message, level)?;
    store.delete_attachment(row.id)
}

/// Why a step has failed.
pub(super) struct Failure<'a> {
    /// The reason, in the same words each time.
    pub(super) reason: &'a str,
    /// The same as history tells it, with what differs from time to time.
    pub(super) told: &'a str,
    /// The run of the program that is not to try it again.
    pub(super) last_run_id: Option<i64>,
}

/// Notes that the step that an attachment is at has failed. History says so once for each reason.
pub(super) fn fail(
    store: &Store,
    row: &Attachment,
    name: &str,
    failure: &Failure<'_>,
    now: Timestamp,
) -> Result<()> {
    if row.last_error.as_deref() != Some(failure.reason) {
        let level = Some((name, row.level));
        store.insert_history(row.document, now, Severity::Error, failure.told, level)?;
    }
    note_failure(store, row, failure.reason, failure.last_run_id)
}

/// Notes on an attachment alone that its step has failed, and in which run if that is not to try it again.
pub(super) fn note_failure(
    store: &Store,
    row: &Attachment,
    error: &str,
    last_run_id: Option<i64>,
) -> Result<()> {
    store.save(&Attachment {
        attempts: row.attempts.saturating_add(1),
        last_error: Some(error.to_owned()),
        last_run_id,
        ..*row
    })
}

/// Sees to it that what is under way for a level is not done, unless it is being done right now: then it does not
/// count.
///
/// # Errors
/// SQLite's.
pub fn call_off(store: &Store, row: &Attachment, why: &str, now: Timestamp) -> Result<()> {
    if row.pending_mails > 0 {
        store.withdraw_mails(row.id, why)?;
    }
    if let Some(task) = row.task
        && store.cancel_task(task, now)?
    {
        store.cancel_followers(task, now)?;
    }
    Ok(())
}

/// An action without the mails to these templates, each taken away once.
pub(super) fn without_mails(action: &Action, sent: &[String]) -> Action {
    let mut left = action.clone();
    for template in sent {
        if let Some(place) = left.mail.iter().position(|mail| mail == template) {
            left.mail.remove(place);
        }
    }
    left
}

/// What an action does, in words, and the task that did its method.
pub(super) fn words_of_all(action: &Action, task: Option<i64>) -> String {
    words_of(action, task, STATE..=METHOD)
}

/// What some steps of an action do, in words.
pub(super) fn words_of(
    action: &Action,
    task: Option<i64>,
    steps: std::ops::RangeInclusive<u8>,
) -> String {
    let state = action.state.as_ref().map(|state| format!("state {state}"));
    let mails = match action.mail.as_slice() {
        [] => None,
        templates => Some(format!("mail {}", templates.join(", "))),
    };
    let method = action.method.as_ref().map(|method| match task {
        Some(task) => format!("method {method} as task {task}"),
        None => format!("method {method}"),
    });
    let parts = [(STATE, state), (MAILS, mails), (METHOD, method)];
    let wanted = parts.into_iter().filter(|(step, _)| steps.contains(step));
    let words: Vec<String> = wanted.filter_map(|(_, words)| words).collect();
    words.join("; ")
}
