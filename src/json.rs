//! JSON as it was written: carried from a command or a column to a handler without being taken apart.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::store::text::readable;

/// A JSON text, kept as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// A text that is JSON, on one line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let line = match text.contains(['\n', '\r']) {
            // Line breaks are white space in JSON: inside a string they are written \n.
            true => text.replace(['\n', '\r'], " "),
            false => text.to_owned(),
        };
        RawValue::from_string(line).map(Self)
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The text, as a part of another.
    pub fn raw(&self) -> &RawValue {
        &self.0
    }

    /// What it says. Text that cannot be taken apart, such as half of a surrogate pair, stands for itself.
    pub fn value(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_else(|_| Value::from(self.text()))
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        let text = value.to_string();
        Self::parse(&text).unwrap_or_else(|_| Self(RawValue::NULL.to_owned()))
    }
}

impl ToSql for Json {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.text().into())
    }
}

impl FromSql for Json {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = readable(value)?;
        Ok(Self::parse(&text).unwrap_or_else(|_| Self::from(&Value::from(text))))
    }
}
