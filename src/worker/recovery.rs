//! What a dead worker leaves behind is put in order by the next run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open, pidfd_send_signal,
};

use super::record::Failure;
use super::starter::WORKER_ENV;
use crate::context::Context;
use crate::error::Result;
use crate::lock::{self, Life, Remains};
use crate::model::issue::Issue;
use crate::model::method::Methods;
use crate::model::summary::Summary;
use crate::model::task::{LogEntry, Stop};
use crate::store::Store;

/// How often orphans are killed until none is found, and how long they have in between.
const MAX_ROUNDS: u32 = 100;
const ROUND: Duration = Duration::from_millis(10);

/// Puts in order what dead workers left. Their handlers, which outlive a worker that was killed, are ended. What they had
/// started is `INTERRUPTED` or tried again; what they had only claimed is ready again, and mails that they had in hand are
/// queued again.
pub(crate) fn recover_dead_workers(ctx: &Context<'_>, summary: &mut Summary) -> Result<()> {
    let store = ctx.store;
    for worker in store.workers()? {
        if let Life::Dead(remains) = lock::life_of(store, worker)? {
            recover_worker(ctx, worker, &remains, summary)?;
        }
    }
    if !store.orphaned_tasks()?.is_empty() {
        let interrupted = store.transact(|store| interrupt(ctx, &store.orphaned_tasks()?))?;
        summary.add(interrupted);
    }
    if store.has_orphaned_mail()? {
        store.transact(|store| store.requeue_orphaned_mails())?;
    }
    Ok(())
}

fn recover_worker(
    ctx: &Context<'_>,
    worker: i64,
    remains: &Remains,
    summary: &mut Summary,
) -> Result<()> {
    let (store, path) = (ctx.store, lock::path_of(ctx.store, worker));
    let was_started = |(task, attempt): &(i64, u32)| {
        let is_noted = |note: &lock::Started| (note.task, note.attempt) == (*task, *attempt);
        let started = remains.started.as_ref();
        started.is_none_or(|notes| notes.iter().any(is_noted))
    };
    let mut lost = store.tasks_of_worker(worker)?;
    lost.retain(was_started);
    let is_lost = |task| lost.iter().any(|(id, _)| *id == task);
    for note in remains.started.iter().flatten() {
        let alive = note.process.filter(|process| process.is_alive());
        if let (Some(process), true) = (alive, is_lost(note.task)) {
            // A handler that has cleared its environment is not found by it.
            let _ = kill_process_group(process.pid, Signal::KILL);
        }
    }
    kill_marked(&path.display().to_string(), |task| task.is_none_or(is_lost));
    let interrupted = store.transact(|store| {
        let claimed = store.tasks_of_worker(worker)?;
        let (lost, unstarted): (Vec<_>, Vec<_>) = claimed.into_iter().partition(was_started);
        for (task, _) in unstarted {
            store.unclaim_task(task, worker, ctx.clock.now())?;
        }
        let interrupted = interrupt(ctx, &lost)?;
        store.delete_worker(worker)?;
        store.requeue_orphaned_mails()?;
        Ok(interrupted)
    })?;
    summary.add(interrupted);
    remove_folders(&lock::folder_prefix(store, worker));
    // Whoever comes next finds no row that asks for this file.
    let _ = fs::remove_file(path);
    Ok(())
}

/// Ends attempts that were running when their worker died. Where one cannot be recorded, because an application's trigger
/// refuses it say, the others are all the same.
fn interrupt(ctx: &Context<'_>, tasks: &[(i64, u32)]) -> Result<Summary> {
    let mut summary = Summary::default();
    if tasks.is_empty() {
        return Ok(summary);
    }
    let methods = ctx.methods()?;
    for &(task, attempt) in tasks {
        let interrupt = |_: &Store<'_>| interrupt_task(ctx, &methods, task, attempt);
        match ctx.store.attempt_alone(interrupt)? {
            Ok(interrupted) => summary.add(interrupted),
            Err(error) => summary.report(Issue::of_run(format!(
                "task {task}: its runner died, and that cannot be recorded: {error}"
            ))),
        }
    }
    Ok(summary)
}

fn interrupt_task(ctx: &Context<'_>, methods: &Methods, id: i64, attempt: u32) -> Result<Summary> {
    let (store, now) = (ctx.store, ctx.clock.now());
    let task = store.task(id)?;
    let message = "the runner that ran this task died, or the machine did";
    store.append_log(id, attempt, &LogEntry::error(now, message.to_owned()))?;
    let requested = store.stop_request(id)?;
    let of_method = || methods.find(&task.method).map(|method| method.retries);
    let mut retries = task.retries.or_else(of_method).unwrap_or(0);
    if requested.is_some() {
        // What somebody wanted to end has ended.
        retries = 0;
    }
    let mut failure = Failure::new(id, task.label(), attempt);
    failure.plan_retry(store, task.attachment, retries, now)?;
    store.interrupt_task(id, now, failure.again_at)?;
    let mut summary = Summary::default();
    if requested != Some(Stop::Cancel) {
        summary.interrupted = 1;
        failure.report(ctx, "was interrupted: its runner died", &mut summary);
    }
    Ok(summary)
}

/// Kills what a task's handler has left, wherever it went.
pub(super) fn kill_orphans(mark: &str, task: i64) {
    kill_marked(mark, |of| of == Some(task));
}

/// Kills the processes that carry a worker's mark and are of a wanted task, or of none, and the groups that they lead; again
/// and again, since they may start others meanwhile.
fn kill_marked(mark: &str, is_wanted: impl Fn(Option<i64>) -> bool) {
    let mark = format!("{WORKER_ENV}={mark}");
    let is_orphan = |pid: &Pid| {
        let environment = environment(*pid);
        let has_mark = environment
            .split(|&byte| byte == 0)
            .any(|set| set == mark.as_bytes());
        has_mark && is_wanted(task_of(&environment))
    };
    for _ in 0..MAX_ROUNDS {
        let orphans: Vec<Pid> = processes().filter(is_orphan).collect();
        if orphans.is_empty() {
            return;
        }
        for pid in orphans {
            // A handle never comes to mean another process; what it means is looked at once it is held.
            let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            if is_orphan(&pid) {
                if getpgid(Some(pid)) == Ok(pid) {
                    let _ = kill_process_group(pid, Signal::KILL);
                }
                let _ = pidfd_send_signal(&handle, Signal::KILL);
            }
        }
        sleep(ROUND);
    }
}

/// All processes but this one.
fn processes() -> impl Iterator<Item = Pid> {
    let us = rustix::process::getpid();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(move |pid| *pid != us)
}

/// Empty for a process that is gone, or somebody else's.
fn environment(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default()
}

fn task_of(environment: &[u8]) -> Option<i64> {
    let mut variables = environment.split(|&byte| byte == 0);
    let task = variables.find_map(|set| set.strip_prefix(b"RUNNER_TASK="))?;
    std::str::from_utf8(task).ok()?.parse().ok()
}

/// Removes the files of tasks that were laid out for the handlers of a dead worker.
fn remove_folders(prefix: &str) {
    let user = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten();
    for entry in entries.flatten() {
        let is_named = entry.file_name().to_string_lossy().starts_with(prefix);
        let is_ours = || {
            entry
                .metadata()
                .is_ok_and(|found| found.is_dir() && found.uid() == user)
        };
        if is_named && is_ours() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
