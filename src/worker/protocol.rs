//! The lines that a handler prints on standard output, and those that `runner log`, `progress` and `debug` print for it.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::json::Json;
use crate::model::message::HandlerMessage;
use crate::model::task::{Progress, Severity};

/// JSON that is nested deeper is kept as text: few programs could read it, and SQLite takes no more than 1000 levels.
const MAX_DEPTH: usize = 128;

/// Reads a line of standard output: the task that it names, if it names one, and its message. Whatever is no line of the
/// protocol is an entry for the log.
pub(super) fn parse(line: &str) -> (Option<i64>, HandlerMessage) {
    parse_fields(line).unwrap_or_else(|| (None, HandlerMessage::log(Severity::Info, line)))
}

fn parse_fields(line: &str) -> Option<(Option<i64>, HandlerMessage)> {
    if !line.trim_start().starts_with('{') {
        return None;
    }
    let fields: Fields<'_> = serde_json::from_str(line).ok()?;
    let message = match fields.text("type")?.as_str() {
        "log" => HandlerMessage::Log {
            level: level_of(&fields.text("level").unwrap_or_default()),
            message: fields.words("message")?,
            details: fields.json("details"),
        },
        "progress" => HandlerMessage::Progress(Progress {
            phase: fields.number("phase"),
            phases: fields.number("phases"),
            step: fields.number("step"),
            max: fields.number("max"),
            label: fields.words("label"),
        }),
        "debug" => HandlerMessage::Debug(fields.words("message")?),
        "result" => HandlerMessage::Result(fields.json("value")?),
        "file" => HandlerMessage::File(fields.text("path")?.into()),
        "done" => match fields.boolean("ok") {
            Some(ok) => HandlerMessage::Done { ok },
            None => HandlerMessage::log(
                Severity::Warning,
                format!(
                    "this line does not say whether the task came to its end, by \"ok\": {line}"
                ),
            ),
        },
        _ => return None,
    };
    Some((fields.number("task"), message))
}

/// The fields of a line, each as it is written: one of the wrong type counts as missing and does no harm to the others.
#[derive(Deserialize)]
struct Fields<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

impl Fields<'_> {
    /// A field as it is written; null counts as missing.
    fn raw(&self, name: &str) -> Option<&str> {
        let raw = self.0.get(name)?.get();
        (raw != "null").then_some(raw)
    }

    fn json(&self, name: &str) -> Option<Json> {
        let raw = self.raw(name)?;
        if depth(raw) > MAX_DEPTH {
            return Some(Json::from(&Value::from(raw)));
        }
        Json::parse(raw).ok()
    }

    /// A string. One with half of a surrogate pair, which is no character, stays as it is written.
    fn text(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
        Some(serde_json::from_str(raw).unwrap_or_else(|_| inside.to_owned()))
    }

    /// A string, or whatever else is there as JSON writes it.
    fn words(&self, name: &str) -> Option<String> {
        let text = self.text(name);
        text.or_else(|| self.raw(name).map(str::to_owned))
    }

    /// A number, rounded down, or a string that is one; below zero only where `N` has such numbers.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "it is compared with the bounds before"
    )]
    fn number<N: TryFrom<i64>>(&self, name: &str) -> Option<N> {
        let words = self.words(name)?;
        let whole = words.trim().parse::<i64>().ok().or_else(|| {
            let number = words.trim().parse::<f64>().ok()?.floor();
            (number.abs() < 9e18).then_some(number as i64)
        });
        N::try_from(whole?).ok()
    }

    fn boolean(&self, name: &str) -> Option<bool> {
        match self.words(name)?.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => self.number::<i64>(name).map(|number| number != 0),
        }
    }
}

/// How many arrays and objects stand in one another.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The level by the name that some logger gives it.
fn level_of(name: &str) -> Severity {
    match name.to_ascii_lowercase().as_str() {
        "error" | "critical" | "alert" | "emergency" | "fatal" => Severity::Error,
        "warning" | "warn" => Severity::Warning,
        _ => Severity::Info,
    }
}

/// The protocol line of a log entry.
pub(crate) fn log_line(level: Severity, message: &str, details: Option<&Value>) -> String {
    let mut line = json!({"type": "log", "level": level, "message": message});
    if let Some(details) = details {
        line["details"] = details.clone();
    }
    line.to_string()
}

/// The protocol line of a progress.
pub(crate) fn progress_line(progress: &Progress) -> String {
    let mut line = json!({"type": "progress"});
    let numbers = [
        ("step", progress.step),
        ("max", progress.max),
        ("phase", progress.phase),
        ("phases", progress.phases),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            line[name] = number.into();
        }
    }
    if let Some(label) = &progress.label {
        line["label"] = label.as_str().into();
    }
    line.to_string()
}

/// The protocol line of a result.
pub(crate) fn result_line(value: &Json) -> String {
    json!({"type": "result", "value": value}).to_string()
}

/// The protocol line of a file that is handed back.
pub(crate) fn file_line(path: &str) -> String {
    json!({"type": "file", "path": path}).to_string()
}

/// The protocol line of a debug message.
pub(crate) fn debug_line(message: &str) -> String {
    json!({"type": "debug", "message": message}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_wrong_type_does_no_harm_to_the_others() {
        let line = r#"{"type":"log","level":"error","message":"no","step":"x","task":[1],"ok":{},"label":7}"#;
        let (None, HandlerMessage::Log { level, message, .. }) = parse(line) else {
            panic!("{:?}", parse(line));
        };
        assert_eq!((level, message.as_str()), (Severity::Error, "no"));
        let line = r#"{"type":"progress","step":2.9,"max":"10","phase":-1,"phases":null,"label":7,"level":1}"#;
        let (None, HandlerMessage::Progress(progress)) = parse(line) else {
            panic!("{:?}", parse(line));
        };
        let expected = Progress {
            step: Some(2),
            max: Some(10),
            label: Some("7".to_owned()),
            ..Progress::default()
        };
        assert_eq!(progress, expected);
    }

    #[test]
    fn a_task_and_its_end_may_be_strings_and_numbers() {
        for (end, expected) in [
            (r#""task":1,"ok":true"#, true),
            (r#""task":"1","ok":1"#, true),
            (r#""task":1.0,"ok":"true""#, true),
            (r#""task":"1","ok":"0""#, false),
        ] {
            let (task, message) = parse(&format!(r#"{{"type":"done",{end}}}"#));
            assert!(
                matches!(message, HandlerMessage::Done { ok } if ok == expected),
                "{end}"
            );
            assert_eq!(task, Some(1));
        }
        let (_, message) = parse(r#"{"type":"done","task":1,"ok":"maybe"}"#);
        assert!(matches!(
            message,
            HandlerMessage::Log {
                level: Severity::Warning,
                ..
            }
        ));
    }

    #[test]
    fn json_that_is_nested_too_deep_is_text() {
        for (levels, is_text) in [(MAX_DEPTH, false), (MAX_DEPTH + 1, true), (2000, true)] {
            let value = format!("{}\"[\\\"{{\"{}", "[".repeat(levels), "]".repeat(levels));
            let (_, message) = parse(&format!(r#"{{"type":"result","value":{value}}}"#));
            let HandlerMessage::Result(json) = message else {
                panic!("{message:?}");
            };
            assert_eq!(json.text().starts_with('"'), is_text, "{levels}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_line_is_read_and_what_is_no_protocol_is_kept_as_it_is(
            line in r#"\{?("(type|level|message|details|step|task|ok|path|value)"|:|,|\{|\}|\[|\]|"(log|progress|result|file|done|x)"|-?[0-9]{1,30}|1e999|null|true|"\\ud800"){0,16}"#,
        ) {
            if let (_, HandlerMessage::Log { level: Severity::Info, message, details: None }) = parse(&line)
                && serde_json::from_str::<Value>(&line).is_err()
            {
                proptest::prop_assert_eq!(message, line);
            }
        }
    }
}
