//! `runner task run ID [DEBUG]` (seed 000, “Debug”).

use std::cell::RefCell;
use std::io::{IsTerminal, stdout};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{complain_of, harmless, indented, mail_troubles};
use super::task::{Shown, log_text, progress_text};
use super::{Exit, Invocation};
use crate::clock::Clock;
use crate::drain::{self, Outcome, Wanted};
use crate::error::{Error, Result};
use crate::firing::fire::end_of_task;
use crate::handler::record::Event;
use crate::model::settings::Settings;
use crate::model::summary::Summary;
use crate::model::task::{Progress, Status};
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::tick::{interruptions, issues as troubles_of};
use crate::time::Zone;
use crate::worker::recover;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    id: i64,
    /// 1 shows logs, debug messages and progress live
    #[arg(value_parser = ["0", "1"])]
    debug: Option<String>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let store = invocation.store_to_run()?;
        let (settings, zone, clock) = invocation.times(&store)?;
        let mut issues = interruptions(&recover(&store, &clock, &invocation.functions)?, &zone);
        let (mut outcome, mut summary) = (Outcome::default(), Summary::default());
        let ran = self.run_task(invocation, &store, (&settings, &zone, &clock), &mut outcome);
        let shutdown = Shutdown::default();
        let ctx = invocation.context(&store, &clock, &settings, &shutdown);
        let done = ran.and_then(|()| end_of_task(ctx, &store.task(self.id)?, &mut summary));
        issues.extend(troubles_of(&outcome, &zone));
        issues.extend(summary.errors);
        complain_of(&issues);
        mail_troubles(&store, (&settings, &clock), &issues)?;
        done?;
        Ok(match outcome.completed {
            0 => Exit::Failed,
            _ => Exit::Done,
        })
    }

    /// Runs it, and shows what became of it. What it came to is in `outcome` as far as it was committed.
    fn run_task(
        &self,
        invocation: &Invocation,
        store: &Store,
        (settings, zone, clock): (&Settings, &Zone, &Clock),
        outcome: &mut Outcome,
    ) -> Result<()> {
        let task = store.task(self.id)?;
        if task.status == Status::Running {
            return Err(task.refuse("it is running already"));
        }
        let wanted = Wanted::One(self.id);
        let shutdown = Shutdown::default();
        let ctx = invocation.context(&store, clock, settings, &shutdown);
        let done;
        (*outcome, done) = if self.debug.as_deref() == Some("1") {
            let live = Live::new(invocation, *zone);
            let mut show = |_: i64, event: Event<'_>| live.show(&event);
            let ran = drain::drain(ctx, wanted, Some(&mut show));
            live.end();
            ran
        } else {
            drain::drain(ctx, wanted, None)
        };
        done?;
        if outcome.ended() == 0 && outcome.errors.is_empty() {
            return Err(Error::invalid(
                format!("task {}", self.id),
                "it is running already",
            ));
        }
        if invocation.out.json {
            let task = store.task(self.id)?;
            invocation.out.json(&Shown::new(store, task)?)?;
        }
        Ok(())
    }
}

/// What a person sees who watches a task: lines, and below them how far it is.
struct Live<'a> {
    invocation: &'a Invocation,
    zone: Zone,
    bar: Option<ProgressBar>,
    last: RefCell<Option<Progress>>,
}

impl<'a> Live<'a> {
    fn new(invocation: &'a Invocation, zone: Zone) -> Self {
        Self {
            invocation,
            zone,
            bar: stdout().is_terminal().then(ProgressBar::no_length),
            last: RefCell::new(None),
        }
    }

    fn show(&self, event: &Event<'_>) {
        match event {
            Event::Log(entry) => self.line(&log_text(&self.zone, entry)),
            Event::Debug(message) => {
                self.line(&indented(&format!("{:19}  debug    {message}", "")));
            }
            Event::Progress(progress) => self.progress(progress),
        }
    }

    fn line(&self, line: &str) {
        // With --json the one value goes to standard output; what is live goes beside it.
        match &self.bar {
            _ if self.invocation.out.json => eprintln_harmless(line),
            Some(bar) => bar.suspend(|| self.print(line)),
            None => self.print(line),
        }
    }

    /// A reader that went away ends the show, not the task.
    fn print(&self, line: &str) {
        let _ = self
            .invocation
            .out
            .lines(line)
            .and_then(|()| self.invocation.out.flush());
    }

    fn progress(&self, progress: &Progress) {
        let Some(bar) = &self.bar else {
            if self.last.replace(Some(progress.clone())).as_ref() != Some(progress) {
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

fn eprintln_harmless(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{}", harmless(line));
}
