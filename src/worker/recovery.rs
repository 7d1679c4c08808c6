//! What a dead worker leaves behind is put in order by the next tick.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{Life, folder_prefix, give_back, leftovers, life_of, lock_path, mark};
use crate::clock::Clock;
use crate::error::Result;
use crate::functions::Functions;
use crate::model::method::Methods;
use crate::model::task::{LogEntry, Severity, Stop, next_attempt};
use crate::store::Store;
use crate::time::Timestamp;

/// An attempt that was running when its worker died.
#[derive(Debug)]
pub struct Recovered {
    /// The task.
    pub task: i64,
    /// Its method.
    pub method: String,
    /// Which attempt it was.
    pub attempt: u32,
    /// When it is tried again, if it is.
    pub again_at: Option<Timestamp>,
    /// The attachment that waits for it, and so for another task if it is not tried again, and how often its level has
    /// failed.
    pub level: Option<(i64, u32)>,
}

/// Marks what dead workers had started as `INTERRUPTED`, or as `CANCELLED` where that was asked, gives back what they had only claimed, and queues
/// the mails that they had in hand.
///
/// # Errors
/// SQLite's, and when a lock file cannot be looked at.
pub fn recover(store: &Store, clock: &Clock, functions: &Functions) -> Result<Vec<Recovered>> {
    let mut recovered = Vec::new();
    for worker in store.workers()? {
        if let Life::Dead { started, _lock } = life_of(store, worker)? {
            recovered.extend(bury(store, (clock, functions), worker, started)?);
        }
    }
    if !store.orphaned_tasks()?.is_empty() {
        recovered.extend(store.transact(|store| {
            interrupt(store, (clock.now(), functions), &store.orphaned_tasks()?)
        })?);
    }
    if store.has_orphaned_mail()? {
        store.transact(|store| store.requeue_orphaned_mails())?;
    }
    Ok(recovered)
}

fn bury(
    store: &Store,
    (clock, functions): (&Clock, &Functions),
    worker: i64,
    started: Option<Vec<(i64, u32)>>,
) -> Result<Vec<Recovered>> {
    let lock = lock_path(store, worker);
    let started = started.map(HashSet::<_>::from_iter);
    let was_started = |task: &(i64, u32)| {
        started
            .as_ref()
            .is_none_or(|started| started.contains(task))
    };
    for &(task, _) in store
        .tasks_of_worker(worker)?
        .iter()
        .filter(|task| was_started(task))
    {
        leftovers::kill_all_of(&mark(&lock), task);
    }
    if started.as_ref().is_none_or(|started| !started.is_empty()) {
        leftovers::kill_residents(&mark(&lock));
    }
    let recovered = store.transact(|store| {
        let claimed = store.tasks_of_worker(worker)?;
        let (interrupted, unstarted): (Vec<_>, Vec<_>) = claimed.into_iter().partition(was_started);
        for (task, _) in unstarted {
            give_back(store, task, worker, clock.now())?;
        }
        let recovered = interrupt(store, (clock.now(), functions), &interrupted)?;
        store.requeue_mails(worker)?;
        store.delete_worker(worker)?;
        Ok(recovered)
    })?;
    remove_folders(&folder_prefix(store, worker));
    // Whoever comes next finds no row that asks for this file.
    let _ = fs::remove_file(&lock);
    Ok(recovered)
}

fn interrupt(
    store: &Store,
    (now, functions): (Timestamp, &Functions),
    tasks: &[(i64, u32)],
) -> Result<Vec<Recovered>> {
    let methods = match tasks {
        [] => Methods::default(),
        _ => store.methods(functions)?,
    };
    let mut recovered = Vec::new();
    for &(id, attempt) in tasks {
        let task = store.task(id)?;
        let asked = store.stop_asked(id)?;
        let retries = task
            .retries
            .or_else(|| methods.find(&task.method).map(|method| method.retries));
        let log = LogEntry {
            at: now,
            level: Severity::Error,
            message: "the runner that ran this task died, or the machine did".to_owned(),
            details: None,
        };
        store.put_log((id, attempt), store.last_log_seq(id)? + 1, &log)?;
        let mut again_at = match asked {
            // Somebody wanted it to end, and so it did.
            Some(_) => None,
            None => next_attempt(attempt, retries.unwrap_or(0), now),
        };
        let level = match task.attachment {
            Some(attachment) => store
                .attempts_at_level_of(attachment, id)?
                .map(|attempts| (attachment, attempts)),
            None => None,
        };
        if task.attachment.is_some() && level.is_none() {
            again_at = None;
        }
        store.interrupt_task(id, now, again_at)?;
        if asked == Some(Stop::Cancel) {
            continue;
        }
        recovered.push(Recovered {
            task: id,
            method: task.method,
            attempt,
            again_at,
            level,
        });
    }
    Ok(recovered)
}

/// How many of the workers before it a new one cleans up after.
const LITTER: i64 = 8;

/// Removes the files of the last workers that have signed off and died before they could do so themselves.
pub(super) fn remove_litter(store: &Store, worker: i64) -> Result<()> {
    let earlier = (worker - LITTER).max(1)..worker;
    let left = earlier.filter(|earlier| lock_path(store, *earlier).exists());
    let left: Vec<i64> = left.collect();
    if left.is_empty() {
        return Ok(());
    }
    let known = store.workers()?;
    for earlier in left.into_iter().filter(|earlier| !known.contains(earlier)) {
        if let Ok(Life::Dead { .. }) = life_of(store, earlier) {
            let _ = fs::remove_file(lock_path(store, earlier));
        }
    }
    Ok(())
}

/// The files of tasks that were laid out for handlers which died with their runner.
fn remove_folders(prefix: &str) {
    let user = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let ours = entry.file_name().to_string_lossy().starts_with(prefix)
            && entry
                .metadata()
                .is_ok_and(|found| found.is_dir() && found.uid() == user);
        if ours {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
