//! A document: a record with family, title, state and JSON attributes, that timers hang on.

use serde::{Deserialize, Serialize};

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

/// A document to be added.
#[derive(Debug)]
pub(crate) struct NewDocument {
    pub key: Option<String>,
    pub family: String,
    pub title: String,
    pub state: String,
    pub attributes: Json,
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
    /// So many at most.
    pub limit: Option<u32>,
}

/// What is to change in a document; what is none stays as it is.
#[derive(Debug, Default)]
pub(crate) struct Changes {
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

fn check_key(key: &str) -> Result<()> {
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

/// A change of state as history tells it, in the words of the schema's trigger.
pub(crate) fn state_words(before: &str, after: &str) -> String {
    if before == after {
        return format!("state: it was {after} already");
    }
    format!("state: {before} → {after}")
}
