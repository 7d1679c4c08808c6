//! The form of time, the clock, durations and time zones. The only module that knows how these are written and
//! counted (design, “Time”).
//!
//! Times are kept and compared in UTC, to the second, as a [`Timestamp`]. A [`Zone`] turns them into local wall time
//! and back, and adds a [`Duration`] to them by the calendar. A [`Clock`] says what time it is; a command reads one
//! clock and hands it down.

pub mod clock;
pub mod duration;
mod text;
pub mod timestamp;
pub mod zone;

pub use clock::Clock;
pub use duration::{Duration, DurationError};
pub use text::TimeError;
pub use timestamp::Timestamp;
pub use zone::{Zone, ZoneError};

/// How much of a refused text an error sentence quotes, in characters.
const QUOTED: usize = 60;

/// A refused text as an error sentence quotes it: on one line, without control characters, cut when it is long.
fn quote(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED).collect();
    let cut = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{}{cut}\"", shown.escape_debug())
}
