//! The lines that a handler prints, and those that `runner log`, `progress` and `debug` print for it.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::literals::unescape;
use crate::json::Json;
use crate::model::task::{Progress, Severity};

/// What a handler said.
#[derive(Debug)]
pub enum Message {
    /// A line for the task's log.
    Log {
        /// How much it matters.
        level: Severity,
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

/// The fields of a line of the protocol, each as it is written: one of another type than it should be is as good as
/// missing, and takes nothing from the others.
#[derive(Deserialize)]
struct Fields<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

/// Reads a line of a handler's standard output, with the task that it names if it names one. What is no line of the
/// protocol is a line for the log.
pub fn read(text: &str) -> (Option<i64>, Message) {
    protocol_line(text).unwrap_or_else(|| (None, log(Severity::Info, text)))
}

/// A line for the log, as text that is no protocol is.
pub fn log(level: Severity, text: &str) -> Message {
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
    let line: Fields<'_> = serde_json::from_str(text).ok()?;
    let message = match line.text("type")?.as_str() {
        "log" => Message::Log {
            level: level_of(&line.text("level").unwrap_or_default()),
            message: line.words("message")?,
            details: line.json("details"),
        },
        "progress" => Message::Progress(Progress {
            phase: line.number("phase"),
            phases: line.number("phases"),
            step: line.number("step"),
            max: line.number("max"),
            label: line.words("label"),
        }),
        "debug" => Message::Debug(line.words("message")?),
        "result" => Message::Result(line.json("value")?),
        "file" => Message::File(line.text("path")?.into()),
        "done" => match line.yes_or_no("ok") {
            Some(ok) => Message::Done { ok },
            None => log(
                Severity::Warning,
                &format!(
                    "this line does not say whether the task came to its end, by \"ok\": {text}"
                ),
            ),
        },
        _ => return None,
    };
    Some((line.number("task"), message))
}

impl Fields<'_> {
    /// A field as it is written; null is as good as missing.
    fn raw(&self, name: &str) -> Option<&str> {
        let raw = self.0.get(name)?.get();
        (raw != "null").then_some(raw)
    }

    fn json(&self, name: &str) -> Option<Json> {
        Json::parse(self.raw(name)?).ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
        Some(unescape(inside))
    }

    /// A text, or whatever else is there as JSON writes it.
    fn words(&self, name: &str) -> Option<String> {
        let text = self.text(name);
        text.or_else(|| self.raw(name).map(str::to_owned))
    }

    /// A number that is none below zero, rounded down, or a text that is one.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a float's cast saturates, and is compared with what it came from"
    )]
    fn number<N: TryFrom<i64>>(&self, name: &str) -> Option<N> {
        let words = self.words(name)?;
        let whole = words.trim().parse::<i64>().ok().or_else(|| {
            let number = words.trim().parse::<f64>().ok()?.floor();
            (number.abs() < 9e18).then_some(number as i64)
        });
        N::try_from(whole?).ok()
    }

    fn yes_or_no(&self, name: &str) -> Option<bool> {
        match self.words(name)?.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => self.number::<i64>(name).map(|number| number != 0),
        }
    }
}

/// A level that other loggers know and this one does not still says something.
fn level_of(word: &str) -> Severity {
    match word.to_ascii_lowercase().as_str() {
        "error" | "critical" | "alert" | "emergency" | "fatal" => Severity::Error,
        "warning" | "warn" => Severity::Warning,
        _ => Severity::Info,
    }
}

/// The protocol line of a log entry.
pub fn log_line(level: Severity, message: &str, details: Option<&Value>) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_another_type_takes_nothing_from_the_others() {
        let line = r#"{"type":"log","level":"error","message":"no","step":"x","task":[1],"ok":{},"label":7}"#;
        let (
            None,
            Message::Log {
                level: Severity::Error,
                message,
                ..
            },
        ) = read(line)
        else {
            panic!("{:?}", read(line));
        };
        assert_eq!(message, "no");
        let line = r#"{"type":"progress","step":2.9,"max":"10","phase":-1,"phases":null,"label":7,"level":1}"#;
        let (None, Message::Progress(progress)) = read(line) else {
            panic!("{:?}", read(line));
        };
        let expected = Progress {
            step: Some(2),
            max: Some(10),
            label: Some("7".to_owned()),
            ..Progress::default()
        };
        assert_eq!(progress, expected);
        let twice = r#"{"type":"log","message":1,"message":"half \ud800","level":"warn"}"#;
        assert!(
            matches!(read(twice).1, Message::Log { level: Severity::Warning, message, .. } if message == "half \u{fffd}")
        );
    }

    #[test]
    fn a_task_and_its_end_are_understood_as_texts_and_numbers_too() {
        for line in [
            r#"{"type":"done","task":1,"ok":true}"#,
            r#"{"type":"done","task":"1","ok":1}"#,
            r#"{"type":"done","task":1.0,"ok":"true"}"#,
        ] {
            assert!(
                matches!(read(line), (Some(1), Message::Done { ok: true })),
                "{line}"
            );
        }
        let line = r#"{"type":"done","task":"1","ok":"0"}"#;
        assert!(matches!(read(line), (Some(1), Message::Done { ok: false })));
        let line = r#"{"type":"done","task":1,"ok":"maybe"}"#;
        assert!(matches!(
            read(line),
            (
                Some(1),
                Message::Log {
                    level: Severity::Warning,
                    ..
                }
            )
        ));
    }

    proptest::proptest! {
        /// Whatever a handler prints is a message, and no text that is no protocol is lost.
        #[test]
        fn every_line_is_read_and_what_is_no_protocol_is_kept_as_it_is(
            line in r#"\{?("(type|level|message|details|step|task|ok|path|value)"|:|,|\{|\}|\[|\]|"(log|progress|result|file|done|x)"|-?[0-9]{1,30}|1e999|null|true|"\\ud800"){0,16}"#,
        ) {
            if let (_, Message::Log { level: Severity::Info, message, details: None }) = read(&line)
                && serde_json::from_str::<Value>(&line).is_err()
            {
                proptest::prop_assert_eq!(message, line);
            }
        }
    }
}
