//! `runner task run ID [DEBUG]`

use std::io::{IsTerminal, stdout};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{complain_of, harmless, indented, mail_issues};
use super::task::{Shown, log_text, progress_text};
use super::{Exit, Invocation, Session};
use crate::error::Result;
use crate::firing::fire::end_of_task;
use crate::model::summary::Summary;
use crate::model::task::{Progress, Status};
use crate::time::Zone;
use crate::worker::{LiveEvent, Selection, Watch, Worker, recover_dead_workers};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    id: i64,
    /// 1 shows logs, debug messages and progress live
    #[arg(value_parser = ["0", "1"])]
    debug: Option<String>,
}

impl Args {
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
        if task.status == Status::Running {
            return Err(task.refuse("it is running already"));
        }
        let is_watched = self.debug.as_deref() == Some("1");
        let live = is_watched.then(|| Arc::new(Live::new(invocation.out.json, session.zone)));
        let watch = live
            .clone()
            .map(|live| -> Watch { Arc::new(move |event| live.show(&event)) });
        let mut worker = Worker::new(ctx, Selection::Id(self.id), watch);
        let ran = worker.run_ready(summary);
        let ran = ran.and_then(|()| worker.finish(summary));
        live.iter().for_each(|live| live.end());
        ran?;
        if summary.tasks.ended() == 0 && summary.errors.len() == reported {
            return Err(task.refuse("it is running already"));
        }
        if invocation.out.json {
            let task = ctx.store.task(self.id)?;
            invocation.out.json(&Shown::new(ctx.store, task)?)?;
        }
        Ok(())
    }
}

/// What a person sees who watches a task: lines, and below them how far it is.
struct Live {
    /// With --json the one value goes to standard output; what is live goes beside it.
    json: bool,
    zone: Zone,
    bar: Option<ProgressBar>,
    last: Mutex<Option<Progress>>,
}

impl Live {
    fn new(json: bool, zone: Zone) -> Self {
        Self {
            json,
            zone,
            bar: stdout().is_terminal().then(ProgressBar::no_length),
            last: Mutex::default(),
        }
    }

    fn show(&self, event: &LiveEvent<'_>) {
        match event {
            LiveEvent::Log(entry) => self.line(&log_text(&self.zone, entry)),
            LiveEvent::Debug(message) => {
                self.line(&indented(&format!("{:19}  debug    {message}", "")));
            }
            LiveEvent::Progress(progress) => self.progress(progress),
        }
    }

    fn line(&self, line: &str) {
        match &self.bar {
            _ if self.json => print(&mut std::io::stderr(), line),
            Some(bar) => bar.suspend(|| print(&mut stdout(), line)),
            None => print(&mut stdout(), line),
        }
    }

    fn progress(&self, progress: &Progress) {
        let Some(bar) = &self.bar else {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.replace(progress.clone()).as_ref() != Some(progress) {
                self.line(&format!("{:19}  progress {}", "", progress_text(progress)));
            }
            return;
        };
        let template = match progress.max {
            Some(_) => "{wide_bar} {msg}",
            None => "{spinner} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_length(progress.max.unwrap_or(0));
        bar.set_position(progress.step.unwrap_or(0));
        bar.set_message(harmless(&progress_text(progress)));
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A reader that went away ends the show, not the task.
fn print(target: &mut dyn std::io::Write, line: &str) {
    let _ = writeln!(target, "{}", harmless(line)).and_then(|()| target.flush());
}
