//! The lines that a handler prints, and those that `runner log`, `progress` and `debug` print for it.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::json::Json;
use crate::task::{Level, Progress};

/// What a handler said.
#[derive(Debug)]
pub enum Message {
    /// A line for the task's log.
    Log {
        /// How much it matters.
        level: Level,
        /// One text.
        message: String,
        /// Whatever else.
        details: Option<Json>,
    },
    /// How far it is.
    Progress(Progress),
    /// For somebody who watches; never stored.
    Debug(String),
    /// What the task hands back.
    Result(Json),
    /// The path of a file that the task hands back.
    File(PathBuf),
    /// Of a resident handler: it has done with a task.
    Done {
        /// Whether it came to its end.
        ok: bool,
    },
}

/// A line of the protocol: its type says which of the fields matter.
#[derive(Deserialize)]
struct Line {
    r#type: String,
    task: Option<i64>,
    level: Option<String>,
    message: Option<Value>,
    details: Option<Json>,
    #[serde(flatten)]
    progress: Progress,
    value: Option<Json>,
    path: Option<PathBuf>,
    ok: Option<bool>,
}

/// Reads a line of a handler's standard output, with the task that it names if it names one. What is no line of the
/// protocol is a line for the log.
pub fn read(text: &str) -> (Option<i64>, Message) {
    protocol_line(text).unwrap_or_else(|| (None, log(Level::Info, text)))
}

/// A line for the log, as text that is no protocol is.
pub fn log(level: Level, text: &str) -> Message {
    Message::Log {
        level,
        message: text.to_owned(),
        details: None,
    }
}

fn protocol_line(text: &str) -> Option<(Option<i64>, Message)> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let line: Line = serde_json::from_str(text).ok()?;
    let message = match line.r#type.as_str() {
        "log" => Message::Log {
            level: level_of(line.level.as_deref().unwrap_or_default()),
            message: words(line.message?),
            details: line.details,
        },
        "progress" => Message::Progress(line.progress),
        "debug" => Message::Debug(words(line.message?)),
        "result" => Message::Result(line.value?),
        "file" => Message::File(line.path?),
        "done" => Message::Done { ok: line.ok? },
        _ => return None,
    };
    Some((line.task, message))
}

fn words(message: Value) -> String {
    match message {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A level that other loggers know and this one does not still says something.
fn level_of(word: &str) -> Level {
    match word.to_ascii_lowercase().as_str() {
        "error" | "critical" | "alert" | "emergency" | "fatal" => Level::Error,
        "warning" | "warn" => Level::Warning,
        _ => Level::Info,
    }
}

/// The protocol line of a log entry.
pub fn log_line(level: Level, message: &str, details: Option<&Value>) -> String {
    match details {
        Some(details) => {
            json!({"type": "log", "level": level, "message": message, "details": details})
        }
        None => json!({"type": "log", "level": level, "message": message}),
    }
    .to_string()
}

/// The protocol line of a progress.
pub fn progress_line(progress: &Progress) -> String {
    let mut line = json!({"type": "progress"});
    for (name, value) in [
        ("step", progress.step),
        ("max", progress.max),
        ("phase", progress.phase),
        ("phases", progress.phases),
    ] {
        if let Some(value) = value {
            line[name] = value.into();
        }
    }
    if let Some(label) = &progress.label {
        line["label"] = label.as_str().into();
    }
    line.to_string()
}

/// The protocol line of a debug message.
pub fn debug_line(message: &str) -> String {
    json!({"type": "debug", "message": message}).to_string()
}
