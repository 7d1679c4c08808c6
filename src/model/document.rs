//! A document: a record with family, title, state and JSON attributes, that timers hang on (design, “Words”).

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, one_line};
use crate::firing;
use crate::json::Json;
use crate::model::task::Severity;
use crate::model::timer::definition::check_attribute;
use crate::store::Store;
use crate::time::{Timestamp, Zone};

/// A document as it is stored, and as JSON shows it.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the columns of the table document")]
pub struct Document {
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
pub enum DocumentRef {
    /// By id.
    Id(i64),
    /// By id, when it is only digits, or by key.
    Key(String),
}

/// What happened to a document (seed 004, “Historique”).
#[derive(Debug, Clone, Serialize)]
pub struct HistoryEntry {
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
#[allow(missing_docs, reason = "the columns of the table document")]
pub struct NewDocument {
    pub key: Option<String>,
    pub family: String,
    pub title: String,
    pub state: String,
    pub attributes: Json,
}

/// Which documents to list.
#[derive(Debug, Default)]
pub struct DocumentFilter {
    /// Those of this family.
    pub family: Option<String>,
    /// Those in this state.
    pub state: Option<String>,
    /// Those whose title has this in it, whatever its case.
    pub title: Option<String>,
    /// So many at most.
    pub limit: Option<u32>,
}

/// What is to change in a document.
#[derive(Debug, Default)]
pub struct Changes {
    /// Another family.
    pub family: Option<String>,
    /// Another title.
    pub title: Option<String>,
    /// Attributes with their new values; none takes one away.
    pub attributes: Vec<(String, Option<Json>)>,
}

/// Adds a document, inside the caller's transaction; its id.
///
/// # Errors
/// When the key is taken or looks like an id, or an attribute's name cannot be one.
pub fn add(store: &Store, new: &NewDocument, now: Timestamp) -> Result<i64> {
    if let Some(key) = &new.key {
        check_key(store, key)?;
    }
    if let serde_json::Value::Object(attributes) = new.attributes.value() {
        attributes
            .keys()
            .try_for_each(|name| check_attribute(name))
            .map_err(|reason| Error::invalid("attributes", reason))?;
    } else {
        let reason = "they are a JSON object, such as {\"deadline\": \"2026-04-25\"}";
        return Err(Error::invalid("attributes", reason));
    }
    store.insert_document(new, now)
}

fn check_key(store: &Store, key: &str) -> Result<()> {
    let wrong = |reason: &str| {
        Err(Error::invalid(
            format!("the key '{}'", one_line(key)),
            reason,
        ))
    };
    match key {
        "" => wrong("it is empty; leave it out, or give the document a name"),
        _ if key.chars().all(|c| c.is_ascii_digit()) => {
            wrong("it has only digits, as ids have; add a letter")
        }
        _ if store.has_document_key(key)? => wrong("another document has it; take another one"),
        _ => Ok(()),
    }
}

/// Changes a document, inside the caller's transaction, and computes the dates that depend on it.
///
/// # Errors
/// When there is none of this id, or an attribute's name cannot be one.
pub fn change(
    store: &Store,
    id: i64,
    changes: Changes,
    (zone, now): (Zone, Timestamp),
) -> Result<()> {
    let document = store.document(id)?;
    let mut attributes = document.attributes.clone();
    for (name, value) in changes.attributes {
        check_attribute(&name).map_err(|reason| Error::invalid("attributes", reason))?;
        attributes = store.with_attribute(&attributes, &name, value.as_ref())?;
    }
    let family = changes.family.filter(|family| *family != document.family);
    let title = changes.title.filter(|title| *title != document.title);
    let attributes =
        Some(attributes).filter(|changed| changed.text() != document.attributes.text());
    if family.is_none() && title.is_none() && attributes.is_none() {
        return Ok(());
    }
    let changed = (family.as_deref(), title.as_deref(), attributes.as_ref());
    store.update_document(id, changed, now)?;
    firing::settle_document(store, id, (zone, now))
}

/// Gives a document another state, inside the caller's transaction.
///
/// # Errors
/// When there is no document of this id.
pub fn change_state(store: &Store, id: i64, state: &str, now: Timestamp) -> Result<()> {
    let before = store.state(id)?;
    if store.set_state(id, state, now)? {
        let message = state_words(&before, state);
        store.insert_history(id, now, Severity::Info, &message, None)?;
    }
    Ok(())
}

/// A change of state as history tells it, in the words of the schema's trigger.
pub(crate) fn state_words(before: &str, after: &str) -> String {
    match before == after {
        true => format!("state: it was {after} already"),
        false => format!("state: {before} → {after}"),
    }
}
