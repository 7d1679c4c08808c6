//! A document: a record with family, title, state and JSON attributes, that timers hang on.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{Error, Result, one_line};
use crate::json::Json;
use crate::model::task::Severity;
use crate::model::timer::definition::check_attribute;
use crate::time::Timestamp;

/// A document as it is stored, and as JSON shows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Document {
    pub id: i64,
    pub key: Option<String>,
    pub family: String,
    pub title: String,
    pub state: String,
    /// A JSON object.
    pub attributes: Json,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A document, named by its id or its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(
    untagged,
    expecting = "document should be the id of a document or its key"
)]
pub(crate) enum DocumentRef {
    /// By id.
    Id(i64),
    /// By id, when it is only digits, or by key.
    Key(String),
}

/// What happened to a document.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub level: Severity,
    /// One text.
    pub message: String,
    /// The timer that did it.
    pub timer: Option<String>,
    /// At which of its levels.
    pub timer_level: Option<u32>,
}

/// A document to be added, and a line of `doc add --batch`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a document")]
pub(crate) struct NewDocument {
    pub key: Option<String>,
    pub family: String,
    pub title: String,
    pub state: String,
    pub attributes: Json,
}

impl Default for NewDocument {
    fn default() -> Self {
        Self {
            key: None,
            family: String::new(),
            title: String::new(),
            state: String::new(),
            attributes: Json::from(&Value::Object(Map::new())),
        }
    }
}

/// Which documents to list.
#[derive(Debug, Default)]
pub(crate) struct DocumentFilter {
    /// Those of this family.
    pub family: Option<String>,
    /// Those in this state.
    pub state: Option<String>,
    /// Those whose title has this in it, whatever its case.
    pub title: Option<String>,
    /// Those with all of these attributes.
    pub attributes: Vec<(String, AttributeValue)>,
    /// Those that the timer of this id is not attached to.
    pub without_timer: Option<i64>,
    /// So many at most.
    pub limit: Option<u32>,
}

/// What is to change in a document; what is none stays as it is.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub key: Option<String>,
    pub family: Option<String>,
    pub title: Option<String>,
    pub attributes: Option<Json>,
}

impl NewDocument {
    /// Refuses a key that could be taken for an id, and attributes that are no object.
    pub(crate) fn check(&self) -> Result<()> {
        self.key.as_deref().map_or(Ok(()), check_key)?;
        let attributes = self.attributes.value();
        let Some(attributes) = attributes.as_object() else {
            let reason = "they are a JSON object, such as {\"deadline\": \"2026-04-25\"}";
            return Err(Error::invalid("attributes", reason));
        };
        let mut names = attributes.keys();
        names
            .try_for_each(|name| check_attribute(name))
            .map_err(|reason| Error::invalid("attributes", reason))
    }
}

impl DocumentFilter {
    /// Whether a document has the attributes that are asked for.
    pub(crate) fn is_met_by(&self, attributes: &Json) -> bool {
        if self.attributes.is_empty() {
            return true;
        }
        let all: HashMap<String, &RawValue> =
            serde_json::from_str(attributes.text()).unwrap_or_default();
        let mut wanted = self.attributes.iter();
        wanted.all(|(name, value)| value.is(all.get(name).copied()))
    }
}

/// The value of an attribute, as a command is given it.
#[derive(Debug)]
pub(crate) enum AttributeValue {
    /// `key=text`
    Text(String),
    /// `key:=json`
    Json(Value),
}

impl AttributeValue {
    /// Whether it is the value of an attribute. A text is that of a string, or what JSON writes for any other value; an
    /// empty one is that of a missing attribute too.
    fn is(&self, attribute: Option<&RawValue>) -> bool {
        let raw = attribute.map_or("null", RawValue::get);
        match (self, serde_json::from_str(raw)) {
            (Self::Json(wanted), Ok(value)) => attribute.is_some() && *wanted == value,
            (Self::Text(wanted), Ok(Value::String(text))) => *wanted == text,
            (Self::Text(wanted), Ok(Value::Null)) => wanted.is_empty(),
            (Self::Text(wanted), _) => wanted == raw,
            _ => false,
        }
    }
}

impl From<AttributeValue> for Value {
    fn from(value: AttributeValue) -> Self {
        match value {
            AttributeValue::Text(text) => Self::String(text),
            AttributeValue::Json(value) => value,
        }
    }
}

/// Refuses a key that could be taken for an id.
pub(crate) fn check_key(key: &str) -> Result<()> {
    let reason = if key.is_empty() {
        "it is empty; leave it out, or give the document a name"
    } else if key.chars().all(|c| c.is_ascii_digit()) {
        "it has only digits, as ids have; add a letter"
    } else {
        return Ok(());
    };
    Err(Error::invalid(
        format!("the key '{}'", one_line(key)),
        reason,
    ))
}

/// The history entry of a change of state, in the words of the schema's trigger.
pub(crate) fn state_words(before: &str, after: &str) -> String {
    if before == after {
        return format!("state: it was {after} already");
    }
    format!("state: {before} → {after}")
}
