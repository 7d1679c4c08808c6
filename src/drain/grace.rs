//! The time that a handler has between being asked to end and being killed.

use std::time::Duration;

use rustix::process::Signal;

use crate::handler::process::Process;

/// How long that is.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Whether it has begun, and when it is over.
#[derive(Debug, Default)]
pub(super) struct Grace {
    over_at: Option<Duration>,
}

impl Grace {
    pub(super) fn has_begun(&self) -> bool {
        self.over_at.is_some()
    }

    /// When it is over, if it has begun.
    pub(super) fn over_at(&self) -> Option<Duration> {
        self.over_at
    }

    /// Begins now, whatever it is that asks the handler to end.
    pub(super) fn begin(&mut self, elapsed: Duration) {
        self.over_at = Some(elapsed + GRACE);
    }

    /// Asks the handler to end, unless it has been asked.
    pub(super) fn ask(&mut self, process: &Process, elapsed: Duration) {
        if !self.has_begun() {
            self.begin(elapsed);
            process.signal(Signal::TERM);
        }
    }

    /// Kills the handler when it is over, again and again while it lives.
    pub(super) fn enforce(&mut self, process: &Process, elapsed: Duration) {
        if self.over_at.is_some_and(|over_at| elapsed >= over_at) {
            self.begin(elapsed);
            process.signal(Signal::KILL);
        }
    }
}
