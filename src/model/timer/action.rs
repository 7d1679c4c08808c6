//! One action of a timer, and how it is written on the command line.

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::ops::RangeBounds;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, one_line};
use crate::model::attachment::Step;
use crate::time::Duration;

/// What a timer does at one or several of its levels: any of a state change, mails and a method, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an action")]
pub(crate) struct Action {
    /// How long after the level before it; negative, it counts back from the reference date.
    pub delay: Duration,
    /// How often it is done.
    pub iterations: u32,
    /// The document's new state.
    pub state: Option<String>,
    /// The templates of the mails, in order.
    pub mail: Vec<String>,
    /// The method that is run with the document.
    pub method: Option<String>,
}

impl Default for Action {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            iterations: 1,
            state: None,
            mail: Vec::new(),
            method: None,
        }
    }
}

impl Action {
    /// Whether nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.is_none() && self.mail.is_empty() && self.method.is_none()
    }

    /// The first step from this one on that there is something to do in, else the last.
    pub(crate) fn next_step(&self, from: Step) -> Step {
        match from {
            Step::State if self.state.is_some() => Step::State,
            Step::State | Step::Mails if !self.mail.is_empty() => Step::Mails,
            _ => Step::Method,
        }
    }

    /// The first step that two actions do not say the same about.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<Step> {
        if self.state != other.state {
            Some(Step::State)
        } else if self.mail != other.mail {
            Some(Step::Mails)
        } else if self.method != other.method {
            Some(Step::Method)
        } else {
            None
        }
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
        let state = self.state.as_ref().map(|state| format!("state {state}"));
        let mails = match self.mail.as_slice() {
            [] => None,
            templates => Some(format!("mail {}", templates.join(", "))),
        };
        let method = self.method.as_ref().map(|method| match task {
            Some(task) => format!("method {method} as task {task}"),
            None => format!("method {method}"),
        });
        let parts = [
            (Step::State, state),
            (Step::Mails, mails),
            (Step::Method, method),
        ];
        let wanted = parts.into_iter().filter(|(step, _)| steps.contains(step));
        let words: Vec<String> = wanted.filter_map(|(_, words)| words).collect();
        words.join("; ")
    }
}

impl FromStr for Action {
    type Err = Error;

    /// Reads `delay=5d, iterations=3, state=S, mail=T, method=M`: parts between commas, in any order, each at most
    /// once but `mail=`, which may repeat. What is left out is a delay of 0, one iteration, and nothing to do. A value
    /// with commas, quotes or spaces at its ends stands in double quotes, where `\"` is a quote and `\\` a backslash.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::invalid(format!("action '{}'", one_line(text)), reason);
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

impl Action {
    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "delay" => self.delay = value.parse()?,
            "iterations" => {
                self.iterations = value
                    .parse()
                    .map_err(|_| format!("iterations={value} is not a whole number from 1"))?;
            }
            "state" => self.state = Some(value),
            "mail" => self.mail.push(value),
            "method" => self.method = Some(value),
            _ => {
                return Err(format!(
                    "there is no {}=; there are delay, iterations, state, mail and method",
                    one_line(key)
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    /// The form that is read back, without what is left to its default but the delay.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delay={}", self.delay)?;
        if self.iterations != 1 {
            write!(f, ", iterations={}", self.iterations)?;
        }
        let state = self.state.iter().map(|state| ("state", state));
        let mails = self.mail.iter().map(|mail| ("mail", mail));
        let method = self.method.iter().map(|method| ("method", method));
        for (key, value) in state.chain(mails).chain(method) {
            write!(f, ", {key}={}", quoted(value))?;
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
