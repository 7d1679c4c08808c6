//! Times, durations and time zones: how they are written, read and counted (`docs/administration.md`, "Times and durations").
//!
//! A [`Timestamp`] is a moment in UTC. A [`Zone`] turns it into local time and back, and adds a [`Duration`] to it by
//! the calendar. The time now comes from the clock.

pub(crate) mod cron;
pub(crate) mod duration;
pub(crate) mod timestamp;
mod when;
mod words;
pub(crate) mod zone;

pub(crate) use cron::CronExpression;
pub(crate) use duration::Duration;
pub(crate) use timestamp::Timestamp;
pub(crate) use when::When;
pub(crate) use zone::Zone;

/// How many characters of a refused text an error message quotes.
const MAX_QUOTED: usize = 60;

/// A refused text for an error message: on one line, without control characters, cut when it is long.
fn quote(text: &str) -> String {
    let shown: String = text.chars().take(MAX_QUOTED).collect();
    let cut = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{}{cut}\"", shown.escape_debug())
}
