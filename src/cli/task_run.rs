//! `runner task run ID [DEBUG|--watch]`

use std::sync::Arc;

use super::live::Live;
use super::output::{complain_of, mail_issues};
use super::task::Shown;
use super::{Exit, Invocation, Session};
use crate::error::Result;
use crate::firing::fire::end_of_task;
use crate::model::summary::Summary;
use crate::model::task::{Status, Task};
use crate::store::Store;
use crate::worker::{Selection, Watch, Worker, recover_dead_workers};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    id: i64,
    /// 1 shows logs, debug messages and progress live
    #[arg(value_parser = ["0", "1"])]
    debug: Option<String>,
    /// Show the same
    #[arg(long, conflicts_with = "debug")]
    watch: bool,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let is_watched = self.watch || self.debug.as_deref() == Some("1");
        let id = self.id;
        Run { id, is_watched }.run(invocation)
    }
}

/// A task that is run now.
pub(super) struct Run {
    pub(super) id: i64,
    /// Whether its logs, debug messages and progress are shown live.
    pub(super) is_watched: bool,
}

impl Run {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let session = invocation.open_to_run()?;
        let mut summary = Summary::default();
        let ran = self.run_task(invocation, &session, &mut summary);
        let done = ran.and_then(|()| {
            let task = session.store.task(self.id)?;
            end_of_task(session.context(), &task, &mut summary)
        });
        complain_of(&summary.errors);
        mail_issues(&session, &summary.errors)?;
        done?;
        Ok(match summary.tasks.completed {
            0 => Exit::Failed,
            _ => Exit::Done,
        })
    }

    /// Runs it, and shows what became of it. What it came to is in the summary as far as it was committed.
    fn run_task(
        &self,
        invocation: &Invocation,
        session: &Session<'_>,
        summary: &mut Summary,
    ) -> Result<()> {
        let ctx = session.context();
        recover_dead_workers(&ctx, summary)?;
        let reported = summary.errors.len();
        let task = ctx.store.task(self.id)?;
        check_can_run(ctx.store, &task)?;
        let live = self
            .is_watched
            .then(|| Arc::new(Live::new(invocation.out.json, session.zone)));
        let watch = live
            .clone()
            .map(|live| -> Watch { Arc::new(move |event| live.show(&event)) });
        let mut worker = Worker::new(ctx, Selection::Id(self.id), watch);
        let ran = worker.run_ready(summary);
        let ran = ran.and_then(|()| worker.finish(summary));
        live.iter().for_each(|live| live.end());
        ran?;
        if summary.tasks.ended() == 0 && summary.errors.len() == reported {
            check_can_run(ctx.store, &ctx.store.task(self.id)?)?;
            return Err(task.refuse("it is running already"));
        }
        if invocation.out.json {
            let task = ctx.store.task(self.id)?;
            invocation.out.json(&Shown::new(ctx.store, task)?)?;
        }
        Ok(())
    }
}

fn check_can_run(store: &Store, task: &Task) -> Result<()> {
    if task.status == Status::Running {
        return Err(task.refuse("it is running already"));
    }
    match store.running_before(task.id)? {
        Some(other) => Err(task.refuse(format!(
            "its method is serial, and task {other} of the same signature is running"
        ))),
        None => Ok(()),
    }
}
