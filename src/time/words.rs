//! Times in words, as commands take them: a time of today, or one from now (`docs/administration.md`, "Times and
//! durations").

use super::zone::WRONG_FORM;
use super::{Duration, Timestamp, Zone, quote};

const WRONG_WORDS: &str = "write it like 2026-04-10, 2026-04-10T09:00, 09:00 or +15d";
const TOO_LATE: &str = "it is after the year 9999";

impl Zone {
    /// Reads a time as [`Zone::parse_time`] does, one of the day of `now`, such as `09:00`, or one that is so much later
    /// than `now`, such as `+15d`.
    pub(crate) fn parse_words(&self, text: &str, now: Timestamp) -> Result<Timestamp, String> {
        let words = text.trim();
        let moment = if words.starts_with('+') {
            self.add(now, &words.parse()?).ok_or(TOO_LATE)
        } else if is_time_of_day(words) {
            self.moment(&format!("{}T{words}", self.local(now).date()))
        } else {
            self.moment(words)
        };
        moment.map_err(|reason| {
            let reason = if reason == WRONG_FORM {
                WRONG_WORDS
            } else {
                reason
            };
            format!("time {}: {reason}", quote(text))
        })
    }

    /// What an attribute holds for a time in words: a date where they count in days, or name no time of day; else a
    /// date-time with its offset.
    pub(crate) fn write_words(&self, text: &str, now: Timestamp) -> Result<String, String> {
        let moment = self.parse_words(text, now)?;
        let is_date = match text.trim().parse::<Duration>() {
            Ok(length) => length.seconds == 0,
            Err(_) => !text.contains(':'),
        };
        Ok(if is_date {
            self.local(moment).date().to_string()
        } else {
            self.rfc3339(moment)
        })
    }
}

/// Whether a text begins with an hour, where a date begins with its year.
fn is_time_of_day(text: &str) -> bool {
    let hour = text.split_once(':').map(|(hour, _)| hour);
    hour.is_some_and(|hour| hour.len() <= 2)
}
