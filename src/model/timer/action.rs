//! One action of a timer, and how it is written on the command line.

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::ops::RangeBounds;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result, one_line};
use crate::json::Json;
use crate::time::{Duration, Timestamp, Zone};

/// What a level does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Changes the state.
    State,
    /// Queues the mails, and waits until they are sent.
    Mails,
    /// Adds the method's task, and waits until it is completed.
    Method,
}

/// How late a level may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Until so long after its due date.
    Within(Duration),
    /// However late it is.
    None,
}

/// What a timer does at one or several of its levels: a part for each [`Step`], of which any may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an action")]
pub(crate) struct Action {
    /// How long after the level before it; negative, it counts back from the reference date.
    pub delay: Duration,
    /// How often it is done.
    pub iterations: u32,
    /// How late it may be done; none leaves that to what it does, and to the settings.
    pub limit: Option<Limit>,
    /// The document's new state.
    pub state: Option<String>,
    /// The templates of the mails, in order.
    pub mail: Vec<String>,
    /// The method that is run with the document.
    pub method: Option<String>,
    /// The params of the method's task.
    pub params: Option<Json>,
}

impl Default for Action {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            iterations: 1,
            limit: None,
            state: None,
            mail: Vec::new(),
            method: None,
            params: None,
        }
    }
}

impl Action {
    /// What it does, in order: each step with the key that names it on the command line, and what is named there.
    fn parts(&self) -> [(Step, &'static str, &[String]); 3] {
        [
            (Step::State, "state", self.state.as_slice()),
            (Step::Mails, "mail", &self.mail),
            (Step::Method, "method", self.method.as_slice()),
        ]
    }

    /// Refuses what cannot be done, or not so often.
    pub(crate) fn check(&self) -> Result<(), String> {
        let names = self.mail.iter().chain(&self.method);
        if self.steps().next().is_none() {
            Err("it has nothing to do; give it a state, a mail or a method".to_owned())
        } else if names.clone().any(String::is_empty) {
            Err("a mail or a method needs a name".to_owned())
        } else if self.params.is_some() && self.method.is_none() {
            Err("it has params and no method that they are for".to_owned())
        } else if self.iterations == 0 {
            Err(
                "0 iterations would never happen; take 1 or more, or leave the action out"
                    .to_owned(),
            )
        } else if self.iterations > 1 && self.delay.is_negative() {
            Err(format!(
                "the delay {} counts back from the reference date, so it can be iterated only once, not {} times",
                self.delay, self.iterations
            ))
        } else {
            Ok(())
        }
    }

    /// How late its levels may be done. Without a limit of its own, a change of state alone is never too late, and all
    /// else after the limit of the settings.
    pub(crate) fn limit(&self, of_settings: Option<Duration>) -> Option<Duration> {
        match self.limit {
            Some(Limit::Within(limit)) => Some(limit),
            Some(Limit::None) => None,
            None if self.steps().eq([Step::State]) => None,
            None => of_settings,
        }
    }

    /// Until when a level that is due at this time may be done; none for ever.
    pub(crate) fn latest(
        &self,
        due_at: Timestamp,
        zone: &Zone,
        of_settings: Option<Duration>,
    ) -> Option<Timestamp> {
        zone.add(due_at, &self.limit(of_settings)?)
    }

    /// The steps that there is something to do in, in order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> {
        let parts = self.parts().into_iter();
        parts.filter_map(|(step, _, names)| (!names.is_empty()).then_some(step))
    }

    /// The first step in which two actions differ.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<Step> {
        let mut parts = self.parts().into_iter().zip(other.parts());
        let differing = parts.find(|(one, other)| one != other);
        let in_params = (self.params != other.params).then_some(Step::Method);
        differing.map(|((step, ..), _)| step).or(in_params)
    }

    /// The same without the mails to these templates, each taken away once.
    pub(crate) fn without_mails(&self, sent: &[String]) -> Self {
        let mut left = self.clone();
        for template in sent {
            if let Some(place) = left.mail.iter().position(|mail| mail == template) {
                left.mail.remove(place);
            }
        }
        left
    }

    /// What some steps do, in words, and the task that did the method.
    pub(crate) fn describe(&self, steps: impl RangeBounds<Step>, task: Option<i64>) -> String {
        let parts = self.parts().into_iter();
        let wanted = parts.filter(|(step, _, names)| steps.contains(step) && !names.is_empty());
        let words = wanted.map(|(step, key, names)| {
            let task = task.filter(|_| step == Step::Method);
            let task = task.map_or_else(String::new, |task| format!(" as task {task}"));
            format!("{key} {}{task}", names.join(", "))
        });
        words.collect::<Vec<_>>().join("; ")
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "delay" => self.delay = value.parse()?,
            "iterations" => {
                self.iterations = value
                    .parse()
                    .map_err(|_| format!("iterations={value} is not a whole number from 1"))?;
            }
            "limit" => self.limit = Some(value.parse()?),
            "state" => self.state = Some(value),
            "mail" => self.mail.push(value),
            "method" => self.method = Some(value),
            "params" => {
                let reason = "params= is for the JSON form: 'runner timer set --from FILE'";
                return Err(reason.to_owned());
            }
            _ => {
                return Err(format!(
                    "there is no {}=; there are delay, iterations, limit, state, mail and method",
                    one_line(key)
                ));
            }
        }
        Ok(())
    }
}

impl FromStr for Action {
    type Err = Error;

    /// Reads `delay=5d, iterations=3, state=S, mail=T, method=M`: parts between commas, in any order, each at most
    /// once but `mail=`, which may repeat. What is left out is a delay of 0, one iteration, and nothing to do. A value
    /// with commas, quotes or spaces at its ends stands in double quotes, where `\"` is a quote and `\\` a backslash.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::usage(format!("action '{}'", one_line(text)), reason);
        let mut action = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (key, value) in parts(text).map_err(wrong)? {
            if key != "mail" && seen.contains(&key) {
                return Err(wrong(format!(
                    "{key}= stands there twice; only mail= may repeat"
                )));
            }
            action.set(&key, value).map_err(wrong)?;
            seen.push(key);
        }
        Ok(action)
    }
}

impl fmt::Display for Action {
    /// The form that is read back, without what is left to its default but the delay. It has no params.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delay={}", self.delay)?;
        if self.iterations != 1 {
            write!(f, ", iterations={}", self.iterations)?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        for (_, key, names) in self.parts() {
            for name in names {
                write!(f, ", {key}={}", quoted(name))?;
            }
        }
        Ok(())
    }
}

fn quoted(value: &str) -> String {
    let plain =
        !value.is_empty() && value.trim() == value && !value.contains([',', '"', '\\', '=']);
    if plain {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
}

/// The keys and values of a text.
fn parts(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let Some((key, value)) = rest.split_once('=') else {
            return Err(match rest {
                "" => "it has nothing to do; write it like 'delay=5d, state=late'".to_owned(),
                _ => format!("'{}' should be key=value, such as delay=5d", one_line(rest)),
            });
        };
        let (value, after) = value_at(key.trim(), value.trim_start())?;
        parts.push((key.trim().to_owned(), value));
        match after.trim_start().strip_prefix(',') {
            Some(after) => rest = after.trim(),
            None if after.trim().is_empty() => return Ok(parts),
            None => return Err("after a closing quote comes a comma or the end".to_owned()),
        }
    }
}

/// The value that a text begins with, and what follows.
fn value_at<'a>(key: &str, text: &'a str) -> Result<(String, &'a str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        return unquoted(quoted).ok_or_else(|| format!("{key}= has a quote that is not closed"));
    }
    let (value, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
    match value.trim() {
        "" => Err(format!(
            "{key}= has no value; leave it out, or write {key}=\"\" for an empty one"
        )),
        value => Ok((value.to_owned(), rest)),
    }
}

/// What stands before the closing quote, and what after it. None when it is not closed.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "none" => Ok(Self::None),
            text => Duration::positive(text)
                .map(Self::Within)
                .map_err(|reason| format!("limit={text}: {reason}; or take limit=none")),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(limit) => limit.fmt(f),
            Self::None => f.write_str("none"),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl ToSql for Step {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok((*self as u8).into())
    }
}

impl FromSql for Step {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::State),
            1 => Ok(Self::Mails),
            2 => Ok(Self::Method),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}
