//! A task: one piece of work to run once.
//!
//! `WAITING → TO_RUN → RUNNING → COMPLETED | FAILED | INTERRUPTED`, and `CANCELLED` from the first three. A restart
//! takes any ended task back to `TO_RUN`.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::json::Json;
use crate::time::Timestamp;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
    /// It follows another task that is not completed yet, or is held.
    Waiting,
    /// It runs as soon as its time has come and a slot is free.
    ToRun,
    /// A worker has claimed it.
    Running,
    /// Its method came to its end, with or without having logged errors.
    Completed,
    /// Its method ended with an error.
    Failed,
    /// Its method did not come to its end: it was killed, or stopped, or its worker died.
    Interrupted,
    /// Somebody decided that it shall not run.
    Cancelled,
}

impl Status {
    /// The name that it is stored and shown by.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::ToRun => "TO_RUN",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Interrupted => "INTERRUPTED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether it is over, one way or another.
    pub(crate) fn is_ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::ToRun | Self::Running)
    }
}

/// How much a log entry, or an entry of a document's history, matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something went wrong.
    Error,
    /// Something may be wrong.
    Warning,
    /// Something happened.
    Info,
}

impl Severity {
    /// The name that it is stored and shown by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// What was asked of the worker of a running task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stop {
    /// End it; it is then `INTERRUPTED`.
    Stop,
    /// End it; it is then `CANCELLED`.
    Cancel,
}

impl Stop {
    /// The name that it is stored by.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Cancel => "cancel",
        }
    }
}

/// When the owner of a task is mailed, once it is over for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Notify {
    /// When it has failed or was interrupted.
    Failed,
    /// However it has ended.
    Ended,
}

impl Notify {
    /// The name that it is stored by.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A task as it is stored, and as JSON shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Task {
    pub id: i64,
    /// Null when it has a command of its own.
    #[serde(serialize_with = "null_if_empty")]
    pub method: String,
    pub command: Option<Vec<String>>,
    pub params: Json,
    #[serde(serialize_with = "keys_only")]
    pub hidden_params: Option<Json>,
    /// The name of the file that was given with it.
    pub file: Option<String>,
    pub owner: Option<String>,
    pub signature: Option<String>,
    pub status: Status,
    pub priority: i64,
    pub run_at: Option<Timestamp>,
    pub after: Option<i64>,
    /// Whether it waits until somebody releases it.
    pub held: bool,
    /// When its owner is mailed.
    pub notify: Option<Notify>,
    pub attempt: u32,
    pub retries: Option<u32>,
    pub timeout: Option<String>,
    pub document: Option<i64>,
    /// The attachment whose level it is the method of.
    pub attachment: Option<i64>,
    /// The schedule that added it.
    pub schedule: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub duration_ms: Option<i64>,
    pub exit_code: Option<i64>,
    pub progress: Option<Progress>,
    pub result: Option<Json>,
    /// The name of the file that the handler gave back.
    pub output: Option<String>,
}

/// A line of a task's log.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LogEntry {
    /// When the runner read it.
    pub at: Timestamp,
    /// How much it matters.
    pub level: Severity,
    /// One text.
    pub message: String,
    /// Whatever the handler added.
    pub details: Option<Json>,
}

/// An entry of a task's log as it is stored.
#[derive(Debug, Serialize)]
pub(crate) struct StoredEntry {
    /// Its number in the log.
    #[serde(skip)]
    pub seq: i64,
    /// The attempt that logged it.
    pub attempt: u32,
    #[serde(flatten)]
    pub entry: LogEntry,
}

impl LogEntry {
    /// Something that went wrong.
    pub(crate) fn error(at: Timestamp, message: String) -> Self {
        Self {
            at,
            level: Severity::Error,
            message,
            details: None,
        }
    }
}

/// How far a task is: a step of so many, in a phase of so many.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The phase that is under way, from 1.
    pub phase: Option<u64>,
    /// Of how many.
    pub phases: Option<u64>,
    /// The step that is reached in this phase.
    pub step: Option<u64>,
    /// Of how many.
    pub max: Option<u64>,
    /// What is being done.
    pub label: Option<String>,
}

/// Seconds to wait before the attempt that follows attempt `n`: a minute, doubled each time, an hour at most.
fn backoff(n: u32) -> i64 {
    let minutes = 1_i64 << n.saturating_sub(1).min(6);
    minutes.min(60) * 60
}

/// When a task is tried again whose attempt number `attempt` came to nothing, if it has retries left.
pub(crate) fn next_attempt(attempt: u32, retries: u32, now: Timestamp) -> Option<Timestamp> {
    if attempt > retries {
        return None;
    }
    now.plus_seconds(backoff(attempt))
}

/// What may be shown of hidden params: the names, not the values.
pub(crate) fn hide(hidden: &Value) -> Value {
    match hidden {
        Value::Object(params) => {
            let shown: Map<_, _> = params
                .keys()
                .map(|key| (key.clone(), Value::from("***")))
                .collect();
            Value::Object(shown)
        }
        _ => Value::from("***"),
    }
}

fn null_if_empty<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    Some(text)
        .filter(|text| !text.is_empty())
        .serialize(serializer)
}

/// What a task is called: its method, or the program of its own command.
pub(crate) fn label<'a>(method: &'a str, command: Option<&'a [String]>) -> &'a str {
    let program = command.and_then(|command| command.first());
    program.map_or(method, String::as_str)
}

pub(crate) fn keys_only<S: Serializer>(
    hidden: &Option<Json>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    hidden
        .as_ref()
        .map(|hidden| hide(&hidden.value()))
        .serialize(serializer)
}

impl Task {
    pub(crate) fn label(&self) -> &str {
        label(&self.method, self.command.as_deref())
    }

    /// Since when it is as it is: its end, or else its start, or else when it was added.
    pub(crate) fn since(&self) -> Timestamp {
        self.ended_at.or(self.started_at).unwrap_or(self.created_at)
    }

    /// An error about this task.
    pub(crate) fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::invalid(format!("task {}", self.id), reason)
    }
}
