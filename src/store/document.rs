//! The documents.

use rusqlite::types::{FromSql, FromSqlResult, ValueRef};
use rusqlite::{Row, params, params_from_iter};

use crate::error::{OrNotFound, Result};
use crate::json::Json;
use crate::model::document::{
    Changes, Document, DocumentFilter, DocumentRef, NewDocument, state_words,
};
use crate::model::task::Severity;
use crate::store::text::{readable, text, text_or_null};
use crate::store::{Filter, Store};
use crate::time::Timestamp;

/// What an attribute holds that a timer counts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DateAttribute {
    /// Nothing: it is missing, null or blank.
    Empty,
    /// A text, which may be a date.
    Text(String),
    /// A number, a list or anything else that is no text.
    Other,
}

impl Store<'_> {
    /// The id of a document that is named by its id or its key.
    pub(crate) fn document_id(&self, named: &DocumentRef) -> Result<i64> {
        let (by, name): (&str, String) = match named {
            DocumentRef::Id(id) => ("id", id.to_string()),
            DocumentRef::Key(key) if is_id(key) => ("id", key.clone()),
            DocumentRef::Key(key) => ("key", key.clone()),
        };
        let sql = format!("SELECT id FROM document WHERE {by} = ?1");
        self.value(&sql, [&name])?.or_not_found("document", name)
    }

    /// A document as its handler reads it, if there is one.
    pub(crate) fn document_for_handler(&self, id: i64) -> Result<Option<Json>> {
        let sql = "SELECT json_object('id', id, 'key', key, 'family', family, 'title', title, 'state', state,
                                      'attributes', json(attributes))
                     FROM document WHERE id = ?1";
        self.value(sql, [id])
    }

    /// Inserts a document; its id.
    pub(crate) fn insert_document(&self, new: &NewDocument, now: Timestamp) -> Result<i64> {
        self.execute(
            // The revision tells the triggers whose clock counts.
            "INSERT INTO document (key, family, title, state, attributes, created_at, updated_at, revision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 1)",
            params![
                new.key,
                new.family,
                new.title,
                new.state,
                new.attributes,
                now
            ],
        )?;
        Ok(self.last_id())
    }

    /// Whether a document has this key.
    pub(crate) fn has_document_key(&self, key: &str) -> Result<bool> {
        self.exists("SELECT 1 FROM document WHERE key = ?1", [key])
    }

    /// Whether there is a document of this id.
    pub(crate) fn has_document(&self, id: i64) -> Result<bool> {
        self.exists("SELECT 1 FROM document WHERE id = ?1", [id])
    }

    /// A document by its id.
    pub(crate) fn document(&self, id: i64) -> Result<Document> {
        self.find("SELECT * FROM document WHERE id = ?1", [id], document)?
            .or_not_found("document", id)
    }

    /// The documents that the filter lets through, by id.
    pub(crate) fn documents(&self, filter: &DocumentFilter) -> Result<Vec<Document>> {
        let wanted = Filter::default()
            .and("family = ?", filter.family.as_deref())
            .and("state = ?", filter.state.as_deref())
            .and("has_text(title, ?)", filter.title.as_deref())
            .and(
                "NOT EXISTS (SELECT 1 FROM attachment WHERE timer_id = ? AND document_id = document.id)",
                filter.without_timer,
            );
        let conditions = wanted.conditions;
        let sql = format!("SELECT * FROM document WHERE 1{conditions} ORDER BY id");
        let mut statement = self.sql(&sql)?;
        let found = statement.query_map(params_from_iter(wanted.values), document)?;
        let is_met = |found: &rusqlite::Result<Document>| match found {
            Ok(document) => filter.is_met_by(&document.attributes),
            Err(_) => true,
        };
        let most = filter.limit.map_or(usize::MAX, |limit| limit as usize);
        Ok(found
            .filter(is_met)
            .take(most)
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Gives a document another state, if it has not got it.
    pub(crate) fn set_state(&self, document: i64, state: &str, now: Timestamp) -> Result<()> {
        self.execute(
            "UPDATE document SET state = ?2, revision = revision + 1, updated_at = ?3 WHERE id = ?1 AND state <> ?2",
            params![document, state, now],
        )
    }

    /// Gives a document another state, and records that in its history, before what follows from it.
    pub(crate) fn change_state(&self, document: i64, state: &str, now: Timestamp) -> Result<()> {
        let before = self.state(document)?;
        if before != state {
            let message = state_words(&before, state);
            self.insert_history(document, now, Severity::Info, &message, None)?;
            self.set_state(document, state, now)?;
        }
        Ok(())
    }

    /// The family and the state of a document, if it is there.
    pub(crate) fn family_and_state(&self, document: i64) -> Result<Option<(String, String)>> {
        let sql = "SELECT family, state FROM document WHERE id = ?1";
        self.find(sql, [document], |row| {
            Ok((text(row, "family")?, text(row, "state")?))
        })
    }

    /// The state of a document.
    pub(crate) fn state(&self, document: i64) -> Result<String> {
        let sql = "SELECT state FROM document WHERE id = ?1";
        self.find(sql, [document], |row| text(row, "state"))?
            .or_not_found("document", document)
    }

    /// The title of a document, if it is there.
    pub(crate) fn title(&self, document: i64) -> Result<Option<String>> {
        let sql = "SELECT title FROM document WHERE id = ?1";
        self.find(sql, [document], |row| text(row, "title"))
    }

    /// Changes a document, unless it is so already.
    pub(crate) fn update_document(&self, id: i64, changes: &Changes, now: Timestamp) -> Result<()> {
        let Changes {
            key,
            family,
            title,
            attributes,
        } = changes;
        self.execute(
            "UPDATE document SET key = coalesce(?2, key), family = coalesce(?3, family), title = coalesce(?4, title),
                                 attributes = coalesce(?5, attributes), revision = revision + 1, updated_at = ?6
              WHERE id = ?1 AND (?2 <> coalesce(key, '') OR ?3 <> family OR ?4 <> title OR ?5 <> attributes)",
            params![id, key, family, title, attributes, now],
        )
    }

    /// The attributes with this one set to a JSON value, or without it. Where the name stands there more than once, it
    /// stands there once at most afterwards.
    pub(crate) fn with_attribute(
        &self,
        attributes: &Json,
        name: &str,
        value: Option<&Json>,
    ) -> Result<Json> {
        let mut attributes = attributes.clone();
        for _ in 1..self.count_attribute(&attributes, name)? {
            let fewer = self.value(
                "SELECT json_remove(?1, ?2)",
                params![attributes, path(name)],
            )?;
            attributes = fewer.unwrap_or(attributes);
        }
        let sql = match value {
            Some(_) => "SELECT json_set(?1, ?2, json(?3))",
            None => "SELECT json_remove(?1, ?2) WHERE ?3 IS NULL",
        };
        let changed = self.value(sql, params![attributes, path(name), value])?;
        Ok(changed.unwrap_or(attributes))
    }

    fn count_attribute(&self, attributes: &Json, name: &str) -> Result<i64> {
        let sql = "SELECT count(*) AS names FROM json_each(?1) WHERE key = ?2";
        let found = self.value(sql, params![attributes, name])?;
        Ok(found.unwrap_or(0))
    }

    /// What a document's attribute holds: the last one of its name, which is the one that handlers and templates see.
    pub(crate) fn date_attribute(&self, document: i64, name: &str) -> Result<DateAttribute> {
        let sql = "SELECT attribute.value FROM document, json_each(attributes) AS attribute
              WHERE document.id = ?1 AND attribute.key = ?2 ORDER BY attribute.id DESC LIMIT 1";
        let found = self.value(sql, params![document, name])?;
        Ok(found.unwrap_or(DateAttribute::Empty))
    }

    /// Deletes a document with its history and what is attached to it.
    pub(crate) fn delete_document(&self, id: i64) -> Result<()> {
        self.execute("DELETE FROM document WHERE id = ?1", [id])
    }
}

/// Whether a document is named by its id.
fn is_id(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The JSON path of an attribute whose name has been checked.
fn path(name: &str) -> String {
    format!("$.\"{name}\"")
}

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document {
        id: row.get("id")?,
        key: text_or_null(row, "key")?,
        family: text(row, "family")?,
        title: text(row, "title")?,
        state: text(row, "state")?,
        attributes: row.get("attributes")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

impl FromSql for DateAttribute {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value {
            ValueRef::Null => Self::Empty,
            ValueRef::Text(_) => match readable(value)?.trim() {
                "" => Self::Empty,
                text => Self::Text(text.to_owned()),
            },
            _ => Self::Other,
        })
    }
}
