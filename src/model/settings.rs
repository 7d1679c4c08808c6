//! The settings that a database carries: their names, defaults and checks.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::thread;

use url::Url;

use crate::error::{Error, OrNotFound, Result};
use crate::time::{Duration, Zone};

/// How many handlers may run at once, over all ticks alive. The number of CPUs when unset.
pub(crate) const MAX_RUNNING: &str = "task.max_running";
/// The time limit of a task that names none, nor its method. None when unset.
pub(crate) const TIMEOUT: &str = "task.timeout";
/// For how many hours past its due date a level is tried whose action says nothing else. 0 is for ever.
pub(crate) const HOUR_LIMIT: &str = "timer.hour_limit";
/// The IANA name of the zone that calendar units are counted and times shown in. The system's when unset.
pub(crate) const ZONE: &str = "time.zone";
/// How mail is sent.
pub(crate) const MAIL_TRANSPORT: &str = "mail.transport";
/// The sender of mails whose template names none.
pub(crate) const MAIL_FROM: &str = "mail.from";
/// Who gets the errors of a run that nobody watches. Nobody when empty.
pub(crate) const ERRORS_TO: &str = "mail.errors_to";
/// How long ended tasks are kept. For ever when unset.
pub(crate) const KEEP_TASKS: &str = "keep.tasks";
/// How long history, firings and mails that were sent or have failed are kept. For ever when unset.
pub(crate) const KEEP_HISTORY: &str = "keep.history";

/// A setting: its default, and the check of its values, but for those about mail.
pub(crate) struct Setting {
    /// Its name.
    pub key: &'static str,
    /// What it is when it is unset.
    pub default: &'static str,
    check: Check,
}

impl Setting {
    const fn new(key: &'static str, default: &'static str, check: Check) -> Self {
        Self {
            key,
            default,
            check,
        }
    }
}

type Check = fn(&str) -> Result<(), String>;

/// Every setting, in the order that they are listed.
pub(crate) const ALL: [Setting; 9] = [
    Setting::new(MAX_RUNNING, "", |text| slots(text).map(drop)),
    Setting::new(TIMEOUT, "", |text| Duration::positive(text).map(drop)),
    Setting::new(HOUR_LIMIT, "2", |text| hours(text).map(drop)),
    Setting::new(ZONE, "", |text| zone(text).map(drop)),
    Setting::new(MAIL_TRANSPORT, "smtp://localhost:25", |_| Ok(())),
    Setting::new(MAIL_FROM, "", |_| Ok(())),
    Setting::new(ERRORS_TO, "", |_| Ok(())),
    Setting::new(KEEP_TASKS, "", |text| Duration::positive(text).map(drop)),
    Setting::new(KEEP_HISTORY, "", |text| Duration::positive(text).map(drop)),
];

/// What is set in a database, each value read when it is asked for: a bad one that plain SQL put there stops only
/// what needs it.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// The settings with these values.
    pub(crate) fn new(values: BTreeMap<String, String>) -> Self {
        Self { values }
    }

    /// The text of a setting: what is set, else its default.
    pub(crate) fn text(&self, key: &str) -> Result<&str> {
        let setting = find(key)?;
        Ok(self.values.get(key).map_or(setting.default, String::as_str))
    }

    /// The text of a setting as it may be shown: a password in it is `***`.
    pub(crate) fn shown(&self, key: &str) -> Result<String> {
        let text = self.text(key)?;
        match key {
            MAX_RUNNING if text.is_empty() => Ok(self.max_running()?.to_string()),
            MAIL_TRANSPORT => Ok(hide_password(text)),
            _ => Ok(text.to_owned()),
        }
    }

    /// [`MAX_RUNNING`].
    pub(crate) fn max_running(&self) -> Result<u32> {
        let cpus = || thread::available_parallelism().map_or(1, NonZero::get);
        let slots = self.read(MAX_RUNNING, slots)?;
        Ok(slots.unwrap_or_else(|| u32::try_from(cpus()).unwrap_or(1)))
    }

    /// A setting that is a duration: [`TIMEOUT`], [`KEEP_TASKS`] or [`KEEP_HISTORY`].
    pub(crate) fn duration(&self, key: &str) -> Result<Option<Duration>> {
        self.read(key, Duration::positive)
    }

    /// [`HOUR_LIMIT`]; `None` is for ever.
    pub(crate) fn hour_limit(&self) -> Result<Option<Duration>> {
        let hours = hours(self.text(HOUR_LIMIT)?).map_err(|reason| refused(HOUR_LIMIT, reason))?;
        Ok((hours > 0).then_some(Duration::new(0, 0, i64::from(hours) * 3600)))
    }

    /// [`ZONE`].
    pub(crate) fn zone(&self) -> Result<Zone> {
        Ok(self.read(ZONE, zone)?.unwrap_or_default())
    }

    /// The value of a setting; none when it is empty.
    fn read<T>(&self, key: &str, read: fn(&str) -> Result<T, String>) -> Result<Option<T>> {
        match self.text(key)? {
            "" => Ok(None),
            text => read(text).map(Some).map_err(|reason| refused(key, reason)),
        }
    }
}

/// Refuses a value that a setting cannot have, but for those about mail.
pub(crate) fn check(key: &str, value: &str) -> Result<()> {
    let setting = find(key)?;
    if value.is_empty() && setting.default.is_empty() {
        return Ok(());
    }
    (setting.check)(value).map_err(|reason| refused(key, reason))
}

fn find(key: &str) -> Result<Setting> {
    let found = ALL.into_iter().find(|setting| setting.key == key);
    found.or_not_found("setting", key)
}

fn slots(text: &str) -> Result<u32, String> {
    number(text, 1..=1024)
}

fn hours(text: &str) -> Result<u32, String> {
    number(text, 0..=1_000_000)
}

fn zone(text: &str) -> Result<Zone, String> {
    Zone::parse(text).map_err(|error| error.to_string())
}

fn number(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (least, most) = range.into_inner();
        format!("'{text}' is not a whole number from {least} to {most}")
    })
}

fn refused(key: &str, reason: String) -> Error {
    Error::invalid(format!("setting {key}"), reason)
}

/// The text of a mail transport with its password as `***`, and all of it where a password may be anywhere.
pub(crate) fn hide_password(transport: &str) -> String {
    let Ok(mut url) = Url::parse(transport) else {
        return "***".to_owned();
    };
    if url.password().is_some() && url.set_password(Some("***")).is_ok() {
        return url.into();
    }
    if transport.contains('@') {
        return "***".to_owned();
    }
    transport.to_owned()
}
