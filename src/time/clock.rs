//! The one clock of a command.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Timestamp;

/// What time it is. One is made as a command starts and handed down; nothing else asks the system for the time
/// (design, “Time”).
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Timestamp,
    started: Instant,
    /// What the system's clock showed then; none of a fixed one.
    read: Option<SystemTime>,
}

impl Clock {
    /// The system's clock, read now. A system time outside the years 0000 to 9999 counts as the nearest within.
    pub fn system() -> Self {
        let read = system_time();
        Clock {
            start: whole_seconds(read),
            started: Instant::now(),
            read: Some(read),
        }
    }

    /// A clock that stands still at `time`: what `--now` asks for.
    pub fn fixed(time: Timestamp) -> Self {
        Clock {
            start: time,
            started: Instant::now(),
            read: None,
        }
    }

    /// The time of the command: what the clock showed when it was made. What one command decides, it decides by this.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// The time now, for what happens while a long command runs. A fixed clock stays at its start; the system's goes
    /// on, follows corrections of the system time, and is never before the start.
    pub fn now(&self) -> Timestamp {
        match self.read {
            Some(_) => whole_seconds(system_time()).max(self.start),
            None => self.start,
        }
    }

    /// How long before its start a moment was that the system has marked, on a file say. None when it was later, and of a
    /// fixed clock, which knows nothing of the system's.
    pub fn since(&self, moment: SystemTime) -> Option<Duration> {
        self.read?.duration_since(moment).ok()
    }

    /// How long ago the clock was made, by the monotonic clock, whatever the system time does; of a fixed clock too.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[allow(clippy::disallowed_methods)] // this is the clock that all others are handed
fn system_time() -> SystemTime {
    SystemTime::now()
}

/// A system time to the second, rounded down.
fn whole_seconds(time: SystemTime) -> Timestamp {
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -whole_seconds_up(before.duration()),
    };
    Timestamp::from_unix(seconds).unwrap_or(if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// A length in seconds, rounded up.
fn whole_seconds_up(length: Duration) -> i64 {
    let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    seconds.saturating_add(i64::from(length.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{Clock, Duration, Timestamp, UNIX_EPOCH};

    #[test]
    fn a_fixed_clock_stands_still_while_the_monotonic_one_runs() {
        let time = Timestamp::from_unix(1_775_804_400).unwrap();
        let clock = Clock::fixed(time);
        let before = clock.elapsed();
        while clock.elapsed() == before {
            std::hint::spin_loop();
        }
        assert_eq!((clock.start(), clock.now()), (time, time));
    }

    #[test]
    fn only_the_system_clock_knows_how_long_ago_a_file_was_changed() {
        let clock = Clock::system();
        let since = clock.since(UNIX_EPOCH).unwrap();
        assert_eq!(since.as_secs(), clock.start().unix() as u64);
        let later = UNIX_EPOCH + since + Duration::from_nanos(1);
        assert_eq!(clock.since(later), None);
        assert_eq!(Clock::fixed(clock.start()).since(UNIX_EPOCH), None);
    }

    #[test]
    fn the_system_clock_is_never_before_its_start() {
        let clock = Clock::system();
        assert!(clock.now() >= clock.start());
        assert!(Clock::system().start() >= clock.start());
    }

    #[test]
    fn the_system_clock_agrees_with_that_of_sqlite() {
        let db = Connection::open_in_memory().unwrap();
        let sqlite = || -> Timestamp {
            db.query_row("SELECT datetime('now')", [], |row| row.get(0))
                .unwrap()
        };
        let before = sqlite();
        let clock = Clock::system();
        assert!((before..=sqlite()).contains(&clock.start()));
    }
}
