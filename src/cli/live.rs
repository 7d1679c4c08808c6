//! What a task prints while it runs, for a person who watches it.

use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{harmless, indented};
use super::task::progress_text;
use super::task_logs::log_text;
use crate::model::task::Progress;
use crate::time::Zone;
use crate::worker::LiveEvent;

/// What a person sees who watches a task: lines, and below them how far it is.
pub(super) struct Live {
    /// With --json the one value goes to standard output; what is live goes beside it.
    json: bool,
    zone: Zone,
    bar: Option<ProgressBar>,
    last: Mutex<Option<Progress>>,
    /// Whether whoever watched has gone away.
    is_closed: AtomicBool,
}

impl Live {
    pub(super) fn new(json: bool, zone: Zone) -> Self {
        Self {
            json,
            zone,
            bar: stdout().is_terminal().then(ProgressBar::no_length),
            last: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(super) fn show(&self, event: &LiveEvent<'_>) {
        match event {
            LiveEvent::Log(entry) => self.line(&log_text(&self.zone, entry)),
            LiveEvent::Debug(message) => {
                self.line(&indented(&format!("{:19}  debug    {message}", "")));
            }
            LiveEvent::Progress(progress) => self.progress(progress),
        }
    }

    pub(super) fn line(&self, line: &str) {
        let printed = match &self.bar {
            _ if self.json => print(&mut stderr(), line),
            Some(bar) => bar.suspend(|| print(&mut stdout(), line)),
            None => print(&mut stdout(), line),
        };
        // A reader that went away ends the show, not the task.
        if printed.is_err() {
            self.is_closed.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
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

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn print(target: &mut dyn Write, line: &str) -> io::Result<()> {
    writeln!(target, "{}", harmless(line)).and_then(|()| target.flush())
}
