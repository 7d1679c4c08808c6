//! The settings that a database carries: their names, defaults and checks.

use std::collections::BTreeMap;
use std::thread;

use url::Url;

use crate::error::{Error, Result};
use crate::time::{Duration, Zone};

/// How many handlers may run at once, over all ticks alive. The number of CPUs when unset.
pub const MAX_RUNNING: &str = "task.max_running";
/// The time limit of a task that names none, nor its method. None when unset.
pub const TIMEOUT: &str = "task.timeout";
/// For how many hours past its due date a level is tried (the seeds' `FDL_TIMERHOURLIMIT`). 0 is for ever.
pub const HOUR_LIMIT: &str = "timer.hour_limit";
/// The IANA name of the zone that calendar units are counted and times shown in. The system's when unset.
pub const ZONE: &str = "time.zone";
/// How mail leaves.
pub const MAIL_TRANSPORT: &str = "mail.transport";
/// The sender of mails whose template names none.
pub const MAIL_FROM: &str = "mail.from";
/// Who is told of errors in a run that nobody watches (the seeds' `CORE_WSH_MAILTO`). Nobody when empty.
pub const ERRORS_TO: &str = "mail.errors_to";
/// How long ended tasks are kept. For ever when unset.
pub const KEEP_TASKS: &str = "keep.tasks";
/// How long history, firings and mails that were sent or have failed are kept. For ever when unset.
pub const KEEP_HISTORY: &str = "keep.history";

/// Every setting with what it is when unset, in the order that they are listed.
pub const ALL: [(&str, &str); 9] = [
    (MAX_RUNNING, ""),
    (TIMEOUT, ""),
    (HOUR_LIMIT, "2"),
    (ZONE, ""),
    (MAIL_TRANSPORT, "smtp://localhost:25"),
    (MAIL_FROM, ""),
    (ERRORS_TO, ""),
    (KEEP_TASKS, ""),
    (KEEP_HISTORY, ""),
];

const MOST_RUNNING: u32 = 1024;

/// What is set in a database, each value read when it is asked for: a bad one that plain SQL put there stops only
/// what needs it.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// The settings with these values.
    pub fn new(values: BTreeMap<String, String>) -> Self {
        Self { values }
    }

    /// The text of a setting: what is set, else its default.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn text(&self, key: &str) -> Result<&str> {
        let default = default_of(key)?;
        Ok(self.values.get(key).map_or(default, String::as_str))
    }

    /// The text of a setting as it may be shown: a password in it is `***`.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn shown(&self, key: &str) -> Result<String> {
        let text = self.text(key)?;
        Ok(match (key, self.values.contains_key(key)) {
            (MAX_RUNNING, false) => self.max_running()?.to_string(),
            (MAIL_TRANSPORT, _) => hide_password(text),
            _ => text.to_owned(),
        })
    }

    /// [`MAX_RUNNING`].
    ///
    /// # Errors
    /// When the value is no number from 1 to 1024.
    pub fn max_running(&self) -> Result<u32> {
        match self.text(MAX_RUNNING)? {
            "" => Ok(thread::available_parallelism()
                .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1))),
            text => number(MAX_RUNNING, text, 1..=MOST_RUNNING),
        }
    }

    /// [`TIMEOUT`].
    ///
    /// # Errors
    /// When the value is no duration.
    pub fn timeout(&self) -> Result<Option<Duration>> {
        self.span(TIMEOUT)
    }

    /// [`HOUR_LIMIT`] in seconds; `None` is for ever.
    ///
    /// # Errors
    /// When the value is no number of hours.
    pub fn hour_limit(&self) -> Result<Option<i64>> {
        let hours = number(HOUR_LIMIT, self.text(HOUR_LIMIT)?, 0..=1_000_000)?;
        Ok((hours > 0).then_some(i64::from(hours) * 3600))
    }

    /// [`ZONE`].
    ///
    /// # Errors
    /// When the value names no zone.
    pub fn zone(&self) -> Result<Zone> {
        match self.text(ZONE)? {
            "" => Ok(Zone::default()),
            name => Zone::parse(name).map_err(|error| refused(ZONE, error)),
        }
    }

    /// [`KEEP_TASKS`].
    ///
    /// # Errors
    /// When the value is no duration.
    pub fn keep_tasks(&self) -> Result<Option<Duration>> {
        self.span(KEEP_TASKS)
    }

    /// [`KEEP_HISTORY`].
    ///
    /// # Errors
    /// When the value is no duration.
    pub fn keep_history(&self) -> Result<Option<Duration>> {
        self.span(KEEP_HISTORY)
    }

    fn span(&self, key: &str) -> Result<Option<Duration>> {
        match self.text(key)? {
            "" => Ok(None),
            text => span(key, text).map(Some),
        }
    }
}

/// Whether a setting may have a value, but for those about mail.
///
/// # Errors
/// When there is no such setting, or it cannot have this value.
pub fn check(key: &str, value: &str) -> Result<()> {
    default_of(key)?;
    let trial = Settings::new(BTreeMap::from([(key.to_owned(), value.to_owned())]));
    match key {
        MAX_RUNNING if value.is_empty() => number(key, value, 1..=MOST_RUNNING).map(drop),
        MAX_RUNNING => trial.max_running().map(drop),
        HOUR_LIMIT => trial.hour_limit().map(drop),
        ZONE => trial.zone().map(drop),
        TIMEOUT | KEEP_TASKS | KEEP_HISTORY => trial.span(key).map(drop),
        _ => Ok(()),
    }
}

/// The text of a mail transport with its password as `***`, and all of it where a password may be anywhere.
pub(crate) fn hide_password(transport: &str) -> String {
    let Ok(mut url) = Url::parse(transport) else {
        return "***".to_owned();
    };
    if url.password().is_some() && url.set_password(Some("***")).is_ok() {
        return url.into();
    }
    match transport.contains('@') {
        true => "***".to_owned(),
        false => transport.to_owned(),
    }
}

fn default_of(key: &str) -> Result<&'static str> {
    let found = ALL.iter().find(|(name, _)| *name == key);
    found
        .map(|(_, default)| *default)
        .ok_or_else(|| Error::NotFound {
            what: "setting",
            name: key.to_owned(),
            hint: "'runner config list' shows them".to_owned(),
        })
}

fn number(key: &str, text: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            refused(
                key,
                format!("'{text}' is not a whole number from {least} to {most}"),
            )
        })
}

/// A span of time that something lasts, and so more than nothing.
fn span(key: &str, text: &str) -> Result<Duration> {
    Duration::positive(text).map_err(|reason| refused(key, reason))
}

fn refused(key: &str, reason: impl ToString) -> Error {
    Error::invalid(format!("setting {key}"), reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::hide_password;

    #[test]
    fn the_password_of_a_transport_is_not_shown() {
        for (text, shown) in [
            (
                "smtp://ann:hunter2@mail.example.org?tls=required",
                "smtp://ann:***@mail.example.org?tls=required",
            ),
            (
                "smtps://ann:hun@ter2:x@mail.example.org:99",
                "smtps://ann:***@mail.example.org:99",
            ),
            (
                "smtp://ann:hunter2@mail.example.org?ca=/x@y.pem",
                "smtp://ann:***@mail.example.org?ca=/x@y.pem",
            ),
            ("smtp://ann:12?hunter2@mail.example.org", "***"),
            ("hunter2", "***"),
            ("smtp://localhost:25", "smtp://localhost:25"),
            ("sendmail:", "sendmail:"),
            ("file:out/mails", "file:out/mails"),
        ] {
            assert_eq!(hide_password(text), shown);
        }
    }
}
