//! The fields of JSON objects that people write: what each should be, told in their words.

use serde_json::{Map, Value};

use crate::error::one_line;

/// What the value of a field should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// `true` or `false`.
    Flag,
    /// A whole number, also a negative one.
    Whole,
    /// A whole number from 0 to 4294967295.
    Count,
    /// An id, or a text.
    IdOrKey,
    /// A list of something that is looked at by itself.
    List,
    /// Any JSON.
    Any,
}

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: &'static str,
    kind: Kind,
    is_needed: bool,
    may_be_null: bool,
}

impl Field {
    /// One that can be left out, or be null, which says the same.
    pub const fn optional(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            is_needed: false,
            may_be_null: true,
        }
    }

    /// One that can be left out, and else has a value.
    pub const fn defaulted(name: &'static str, kind: Kind) -> Self {
        Self {
            may_be_null: false,
            ..Self::optional(name, kind)
        }
    }

    /// One that must be there.
    pub const fn needed(name: &'static str, kind: Kind) -> Self {
        Self {
            is_needed: true,
            ..Self::defaulted(name, kind)
        }
    }
}

/// Refuses what is no object with some of these fields, each of its kind.
///
/// # Errors
/// A sentence that says what is wrong, and what there should be.
pub fn check(value: &Value, fields: &[Field]) -> Result<(), String> {
    let Value::Object(object) = value else {
        return Err(format!("it should be a JSON object, not {}", shown(value)));
    };
    for (name, value) in object {
        let field = fields.iter().find(|field| field.name == name);
        let field = field.ok_or_else(|| unknown(name, fields))?;
        if !(fits(value, field.kind) || field.may_be_null && value.is_null()) {
            let (wanted, found) = (field.kind.words(), shown(value));
            return Err(format!("{name} should be {wanted}, not {found}"));
        }
    }
    missing(object, fields)
}

fn missing(object: &Map<String, Value>, fields: &[Field]) -> Result<(), String> {
    match fields
        .iter()
        .find(|field| field.is_needed && !object.contains_key(field.name))
    {
        Some(field) => Err(format!(
            "{} is missing; it should be {}",
            field.name,
            field.kind.words()
        )),
        None => Ok(()),
    }
}

fn unknown(name: &str, fields: &[Field]) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    let name = one_line(name);
    format!("there is no field '{name}'; there are {}", names.join(", "))
}

fn fits(value: &Value, kind: Kind) -> bool {
    let is_count = |number: u64| number <= u64::from(u32::MAX);
    match kind {
        Kind::Text => value.is_string(),
        Kind::Texts => value
            .as_array()
            .is_some_and(|list| list.iter().all(Value::is_string)),
        Kind::Flag => value.is_boolean(),
        Kind::Whole => value.is_i64(),
        Kind::Count => value.as_u64().is_some_and(is_count),
        Kind::IdOrKey => value.is_i64() || value.is_string(),
        Kind::List => value.is_array(),
        Kind::Any => true,
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Texts => "a list of texts",
            Self::Flag => "true or false",
            Self::Whole => "a whole number",
            Self::Count => "a whole number from 0 to 4294967295",
            Self::IdOrKey => "the id of a document or its key",
            Self::List => "a list",
            Self::Any => "JSON",
        }
    }
}

/// What stands there instead; of a list or an object no more than that it is one, since it may hold a secret.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        plain => one_line(&plain.to_string()),
    }
}
