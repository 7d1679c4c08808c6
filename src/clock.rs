//! The one clock of a command.

use std::time::{Duration, Instant, SystemTime};

use crate::time::Timestamp;

/// What time it is. A command makes one clock as it starts and hands it down; nothing else asks the system for the
/// time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Timestamp,
    started: Instant,
    /// The system's time at the start; none of a fixed clock.
    system_start: Option<SystemTime>,
}

impl Clock {
    /// The system's clock, read now.
    pub(crate) fn system() -> Self {
        let now = system_time();
        Clock {
            start: Timestamp::from_system(now),
            started: Instant::now(),
            system_start: Some(now),
        }
    }

    /// A clock that stands still at `time`: what `--now` asks for.
    pub(crate) fn fixed(time: Timestamp) -> Self {
        Clock {
            start: time,
            started: Instant::now(),
            system_start: None,
        }
    }

    /// The time at which the command started.
    pub(crate) fn start(&self) -> Timestamp {
        self.start
    }

    /// The time now, for what happens while a long command runs. A fixed clock stays at its start; the system's follows
    /// corrections of the system time, and is never before the start.
    pub(crate) fn now(&self) -> Timestamp {
        match self.system_start {
            Some(_) => Timestamp::from_system(system_time()).max(self.start),
            None => self.start,
        }
    }

    /// How long before the start the system marked something, such as a file's last change. None when it was later,
    /// and of a fixed clock, which cannot be compared with the system's.
    pub(crate) fn since(&self, moment: SystemTime) -> Option<Duration> {
        self.system_start?.duration_since(moment).ok()
    }

    /// Time since the clock was made, on the monotonic clock; of a fixed clock too.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[allow(clippy::disallowed_methods)] // this is the clock that all others are handed
fn system_time() -> SystemTime {
    SystemTime::now()
}
