//! `runner task stop`, `cancel`, `release`, `restart` and `delete`.

use std::thread::sleep;
use std::time::Duration;

use super::output::{complain, complain_of, mail_issues};
use super::task_filter::{Able, Chosen};
use super::{Exit, Invocation, Session};
use crate::error::Result;
use crate::firing::fire::end_of_task;
use crate::model::summary::Summary;
use crate::model::task::{Status, Stop, Task};
use crate::store::Store;
use crate::worker::recover_dead_workers;

/// What is done to tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Stop,
    Cancel,
    Release,
    Restart,
    Delete,
}

/// Which of the tasks a worker was asked to end.
type Asked = Vec<i64>;

impl Action {
    /// Does it to all of them, or to none.
    pub(super) fn run(self, invocation: &Invocation, chosen: &Chosen) -> Result<Exit> {
        chosen.check()?;
        let session = open_recovered(invocation)?;
        let (verb, done) = self.words();
        let able = self.able();
        if !chosen.confirm(&session, verb, &able)? {
            return Ok(Exit::Done);
        }
        let (count, asked) = session.store.transact(|store| {
            let ids = chosen.ids(&session, store, &able)?;
            let mut asked = Asked::new();
            for &id in &ids {
                self.apply(&session, &store.task(id)?, &mut asked)?;
            }
            Ok((ids.len(), asked))
        })?;
        let exit = wait_for_ends(&session.store, asked)?;
        if chosen.all {
            invocation.count(done, count as u64)?;
        }
        Ok(exit)
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Stop => ("stop", "stopped"),
            Self::Cancel => ("cancel", "cancelled"),
            Self::Release => ("release", "released"),
            Self::Restart => ("restart", "restarted"),
            Self::Delete => ("delete", "deleted"),
        }
    }

    /// Which tasks `--all` means.
    fn able(self) -> Able {
        use Status::{Cancelled, Completed, Failed, Interrupted, Running, ToRun, Waiting};
        let statuses: &[Status] = match self {
            Self::Stop => &[Running],
            Self::Cancel => &[Waiting, ToRun, Running],
            Self::Release => &[Waiting],
            Self::Restart => &[Completed, Failed, Interrupted, Cancelled],
            Self::Delete => &[Waiting, ToRun, Completed, Failed, Interrupted, Cancelled],
        };
        Able {
            statuses,
            held: self == Self::Release,
        }
    }

    fn apply(self, session: &Session<'_>, task: &Task, asked: &mut Asked) -> Result<()> {
        let (store, id, status) = (&session.store, task.id, task.status);
        let (is_done, reason) = match self {
            Self::Stop => (end(store, id, Stop::Stop, asked)?, not_running(task)),
            Self::Cancel => {
                let is_cancelled = cancel(session, task)? || end(store, id, Stop::Cancel, asked)?;
                (is_cancelled, not_running(task))
            }
            Self::Release => (
                store.release_task(id)?,
                format!("it is not held ({status})"),
            ),
            Self::Restart => (
                store.restart_task(id)?,
                format!("it is not over ({status}), so there is nothing to restart"),
            ),
            Self::Delete => {
                store.cancel_followers(id, session.now())?;
                cancel(session, task)?;
                let reason = format!("it is running; 'runner task stop {id}' ends it first");
                (store.delete_task(id)?, reason)
            }
        };
        is_done.then_some(()).ok_or_else(|| task.refuse(reason))
    }
}

/// Asks the worker of a running task to end it. Whether it was running.
fn end(store: &Store<'_>, id: i64, stop: Stop, asked: &mut Asked) -> Result<bool> {
    let was_running = store.ask_stop(id, stop)?;
    asked.extend(was_running.then_some(id));
    Ok(was_running)
}

/// Cancels a task that does not run yet; whether it did not. A level whose method it was no longer waits for it, and whoever
/// cancels it needs no report of that.
fn cancel(session: &Session<'_>, task: &Task) -> Result<bool> {
    let is_cancelled = session.store.cancel_task(task.id, session.now())?;
    if is_cancelled {
        end_of_task(session.context(), task, &mut Summary::default())?;
    }
    Ok(is_cancelled)
}

fn not_running(task: &Task) -> String {
    match task.status {
        Status::Waiting | Status::ToRun => {
            format!(
                "it does not run; 'runner task cancel {}' takes it out",
                task.id
            )
        }
        status => format!("it is over already ({status})"),
    }
}

/// Opens the database and puts in order what runs that died have left, so that a command sees a task as it is, and
/// reports it as a run does: no run will find it again.
fn open_recovered(invocation: &Invocation) -> Result<Session<'_>> {
    let session = invocation.open()?;
    let mut summary = Summary::default();
    recover_dead_workers(&session.context(), &mut summary)?;
    complain_of(&summary.errors);
    // The way out of mails may be a command in the database, which is not run for who may not run its tasks.
    if invocation.files_to_run().is_ok() {
        mail_issues(&session, &summary.errors)?;
    }
    Ok(session)
}

/// A worker sees what it is asked within a quarter of a second, and gives a handler ten before it kills it.
fn wait_for_ends(store: &Store<'_>, mut asked: Asked) -> Result<Exit> {
    for _ in 0..300 {
        let mut running = Asked::new();
        for id in asked {
            if store.task_status(id)? == Some(Status::Running) {
                running.push(id);
            }
        }
        if running.is_empty() {
            return Ok(Exit::Done);
        }
        asked = running;
        sleep(Duration::from_millis(50));
    }
    for id in asked {
        complain(&format!(
            "task {id}: it was asked to end, and has not yet; see 'runner task show {id}'"
        ));
    }
    Ok(Exit::Failed)
}
