//! What happens when the task or a mail of a level has come to its end, in the transaction that notes that.
//!
//! The attachment may have moved on meanwhile: what does not belong to its level any more changes nothing.

use super::dates::settle_found;
use super::ending::{Ending, Failure, end_level, fail, note_failure, words_of_all};
use super::level::{MAILS, METHOD};
use crate::error::Result;
use crate::model::task::{Severity, Status};
use crate::model::timer::Timer;
use crate::store::Store;
use crate::store::attachment::Attachment;
use crate::time::{Timestamp, Zone};

/// Whether a task that is about to start was decided under a date that has changed since, and so must not.
///
/// # Errors
/// SQLite's.
pub fn is_called_off(store: &Store, attachment: i64, task: i64, now: Timestamp) -> Result<bool> {
    match store.hanging(attachment)? {
        Some(row) if row.needs_reschedule > 0 && row.task == Some(task) => {
            Ok(!is_wanted(store, attachment, task, now)?)
        }
        _ => Ok(false),
    }
}

/// Whether a task still is the one that an attachment waits for, once its date is looked at again.
///
/// # Errors
/// SQLite's.
pub fn is_wanted(store: &Store, attachment: i64, task: i64, now: Timestamp) -> Result<bool> {
    let when = (store.settings()?.zone()?, now);
    Ok(waiting_for(store, attachment, task, when)?.is_some())
}

fn waiting_for(
    store: &Store,
    attachment: i64,
    task: i64,
    when: (Zone, Timestamp),
) -> Result<Option<Attachment>> {
    let row = match store.hanging(attachment)? {
        Some(row) => settle_found(store, row, when)?,
        None => None,
    };
    Ok(row.filter(|row| row.task == Some(task) && row.step == METHOD))
}

/// The task of a level's method has ended for good, in this run of the program: completed, it completes the level;
/// else the level stays due, and the next run starts another task. Whether the level is done by it.
///
/// # Errors
/// SQLite's.
pub fn method_ended(
    store: &Store,
    attachment: i64,
    task: i64,
    (status, error): (Status, Option<&str>),
    now: Timestamp,
) -> Result<bool> {
    let when = (store.settings()?.zone()?, now);
    let Some(row) = waiting_for(store, attachment, task, when)? else {
        return Ok(false);
    };
    if status == Status::Completed {
        return complete(store, &row, task, when);
    }
    method_failed(store, &row, (task, status, error), Some(store.run()), now)?;
    Ok(false)
}

/// The task of a level's method has ended with the run of the program that had claimed it: this one may start another.
///
/// # Errors
/// SQLite's.
pub fn method_lost(store: &Store, attachment: i64, task: i64, now: Timestamp) -> Result<()> {
    let when = (store.settings()?.zone()?, now);
    let Some(row) = waiting_for(store, attachment, task, when)? else {
        return Ok(());
    };
    let ended = (task, Status::Interrupted, Some("its runner died"));
    method_failed(store, &row, ended, None, now)
}

/// Each time it is another task: its number is told by the history, and is no part of the reason.
fn method_failed(
    store: &Store,
    row: &Attachment,
    (task, status, error): (i64, Status, Option<&str>),
    last_run_id: Option<i64>,
    now: Timestamp,
) -> Result<()> {
    let words = how_it_ended(status, error);
    let failure = Failure {
        reason: &format!("its task {words}"),
        told: &format!("task {task} {words}"),
        last_run_id,
    };
    fail(store, row, &store.timer_name(row.timer)?, &failure, now)
}

fn how_it_ended(status: Status, error: Option<&str>) -> String {
    let how = match status {
        Status::Interrupted => "was interrupted",
        Status::Cancelled => "was cancelled",
        _ => "failed",
    };
    let why = error.map(|error| format!(": {error}")).unwrap_or_default();
    format!("{how}{why}")
}

/// The timer of an attachment; none when plain SQL has made it one that cannot be read. Then the level stays where it
/// is, and a tick goes on with it once it can.
fn readable_timer(store: &Store, row: &Attachment, now: Timestamp) -> Result<Option<Timer>> {
    match store.timer(row.timer) {
        Err(error) if !error.is_about_the_database() => {
            let error = error.to_string();
            let failure = Failure {
                reason: &error,
                told: &error,
                last_run_id: None,
            };
            fail(store, row, &store.timer_name(row.timer)?, &failure, now)?;
            Ok(None)
        }
        timer => timer.map(Some),
    }
}

fn complete(store: &Store, row: &Attachment, task: i64, when: (Zone, Timestamp)) -> Result<bool> {
    let Some(timer) = readable_timer(store, row, when.1)? else {
        return Ok(false);
    };
    let message = format!("task {task} completed");
    let level = Some((timer.definition.name.as_str(), row.level));
    store.insert_history(row.document, when.1, Severity::Info, &message, level)?;
    level_done(store, row, &timer, when)
}

fn level_done(
    store: &Store,
    row: &Attachment,
    timer: &Timer,
    when: (Zone, Timestamp),
) -> Result<bool> {
    let action = timer.level(row.level).map(|(_, action)| action);
    let words = action.map(|action| words_of_all(action, row.task));
    let words = words.unwrap_or_default();
    end_level(store, row, timer, &Ending::done(&words), when)?;
    Ok(true)
}

/// A mail of a level has been sent. When it was the last of them, the mails are done, and the level if it has no
/// method. Whether the level is done by it.
///
/// # Errors
/// SQLite's.
pub fn mail_sent(store: &Store, attachment: i64, mail: i64, now: Timestamp) -> Result<bool> {
    let when = (store.settings()?.zone()?, now);
    let Some(mut row) = pending_mails(store, attachment, mail, when)? else {
        return Ok(false);
    };
    row.pending_mails = row.pending_mails.saturating_sub(1);
    if row.pending_mails > 0 {
        return store.save(&row).map(|()| false);
    }
    row.step = METHOD;
    row.attempts = 0;
    row.last_error = None;
    let Some(timer) = readable_timer(store, &row, now)? else {
        return Ok(false);
    };
    match timer.level(row.level) {
        Some((_, action)) if action.method.is_none() => level_done(store, &row, &timer, when),
        _ => store.save(&row).map(|()| false),
    }
}

/// A mail of a level could not be sent: it stays queued for the next run of the program. The history says so when the
/// reason is new to this mail; several mails of one level would else take turns at being news.
///
/// # Errors
/// SQLite's.
pub fn mail_failed(
    store: &Store,
    attachment: i64,
    mail: i64,
    (error, is_new): (&str, bool),
    now: Timestamp,
) -> Result<()> {
    let when = (store.settings()?.zone()?, now);
    let Some(row) = pending_mails(store, attachment, mail, when)? else {
        return Ok(());
    };
    let why = format!("mail {mail} was not sent: {error}");
    if is_new {
        let name = store.timer_name(row.timer)?;
        let level = Some((name.as_str(), row.level));
        store.insert_history(row.document, now, Severity::Error, &why, level)?;
    }
    note_failure(store, &row, &why, None)
}

fn pending_mails(
    store: &Store,
    attachment: i64,
    mail: i64,
    when: (Zone, Timestamp),
) -> Result<Option<Attachment>> {
    let row = match store.hanging(attachment)? {
        Some(row) => settle_found(store, row, when)?,
        None => None,
    };
    match row.filter(|row| row.step == MAILS && row.pending_mails > 0) {
        Some(row) if store.is_mail_of(mail, attachment)? => Ok(Some(row)),
        _ => Ok(None),
    }
}
