//! Hidden values are masked wherever a handler prints them (seed 000, “parametresCaches”).

use serde_json::Value;

use crate::json::Json;

/// Shorter values, such as `true` or `12`, would mask half of what a handler says and protect nothing.
const SHORTEST: usize = 4;

/// What may not be shown of a task.
#[derive(Debug, Default)]
pub struct Mask(Vec<String>);

impl Mask {
    /// The mask for these hidden params: each text and number in them, however deep.
    pub fn new(hidden: Option<&Json>) -> Self {
        let mut values = Vec::new();
        if let Some(hidden) = hidden {
            collect(&hidden.value(), &mut values);
        }
        values.retain(|value| value.chars().count() >= SHORTEST);
        // The longest first: a value may be a part of another.
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Self(values)
    }

    /// The text without what may not be shown.
    pub fn text(&self, text: String) -> String {
        self.0
            .iter()
            .fold(text, |text, value| match text.contains(value) {
                true => text.replace(value, "***"),
                false => text,
            })
    }

    /// The JSON without what may not be shown, in its texts, numbers and names.
    pub fn json(&self, json: Json) -> Json {
        if self.0.iter().any(|value| json.text().contains(value)) || json.text().contains("\\u") {
            Json::from(&self.value(json.value()))
        } else {
            json
        }
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Number(number) if self.0.contains(&number.to_string()) => Value::from("***"),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                let fields = fields
                    .into_iter()
                    .map(|(name, item)| (self.text(name), self.value(item)));
                Value::Object(fields.collect())
            }
            other => other,
        }
    }
}

/// Values are masked as they are, as JSON writes them inside a text, and line by line, since output is read so.
fn collect(value: &Value, values: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let written = Value::from(text.as_str()).to_string();
            let inside = written
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            values.extend(inside.map(str::to_owned));
            values.extend(text.lines().map(|line| line.trim().to_owned()));
            values.push(text.clone());
        }
        Value::Number(number) => values.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, values)),
        Value::Object(fields) => fields.values().for_each(|item| collect(item, values)),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(hidden: &str) -> Mask {
        Mask::new(Some(&Json::parse(hidden).unwrap()))
    }

    #[test]
    fn a_hidden_value_is_masked_wherever_it_stands() {
        let mask = mask(r#"{"token": "s3cret", "deep": [{"pin": 123456}]}"#);
        assert_eq!(
            mask.text("Bearer s3cret, pin 123456".into()),
            "Bearer ***, pin ***"
        );
        let details = Json::parse(r#"{"s3cret": ["xs3cretx", 123456, 1]}"#).unwrap();
        assert_eq!(mask.json(details).text(), r#"{"***":["x***x","***",1]}"#);
    }

    #[test]
    fn a_value_of_several_lines_is_masked_line_by_line_and_as_json_writes_it() {
        let mask = mask(r#"{"key": "-----BEGIN\nabcdef\n"}"#);
        assert_eq!(mask.text("abcdef".into()), "***");
        assert_eq!(
            mask.text(r#"{"k":"-----BEGIN\nabcdef\n"}"#.into()),
            r#"{"k":"***"}"#
        );
    }

    #[test]
    fn an_escaped_value_in_json_is_masked_too() {
        let details = Json::parse(r#"{"a": "s\u0033cret"}"#).unwrap();
        assert_eq!(
            mask(r#"{"t":"s3cret"}"#).json(details).text(),
            r#"{"a":"***"}"#
        );
    }

    #[test]
    fn short_values_are_left_alone() {
        assert_eq!(
            mask(r#"{"on": true, "n": 12, "x": "abc"}"#).text("true 12 abc".into()),
            "true 12 abc"
        );
    }

    #[test]
    fn a_value_inside_another_does_not_uncover_the_rest() {
        assert_eq!(
            mask(r#"["abcd", "abcdefgh"]"#).text("abcdefgh".into()),
            "***"
        );
    }
}
