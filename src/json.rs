//! JSON: read into the structs that it should be, and carried as it was written from a command or a column to a handler.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::error::one_line;

/// Reads a JSON object; else the reason, on one line.
pub(crate) fn read_object<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    // Some editors begin a file with a byte order mark, which is no part of its text.
    let text = text.trim_start_matches('\u{feff}').trim_start();
    // serde would also take a list of the values in the order of the fields.
    if !text.starts_with('{') {
        return Err(match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => "it should be a JSON object".to_owned(),
            Err(error) => format!("this is not JSON: {}", one_line(&error.to_string())),
        });
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let read = read.map_err(|error| {
        let (path, reason) = (error.path().to_string(), error.inner().to_string());
        let reason = one_line(&reason).replace(" at line 1 column ", " at column ");
        let is_named = reason.starts_with("missing field") || reason.contains(&path);
        if is_named || path == "." {
            reason
        } else {
            format!("{path}: {reason}")
        }
    })?;
    match deserializer.end() {
        Ok(()) => Ok(read),
        Err(error) => Err(one_line(&error.to_string())),
    }
}

/// A JSON text, kept as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Json(Box<RawValue>);

impl Json {
    /// Reads a text, and puts it on one line.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        // Line breaks are white space in JSON: inside a string they are written \n.
        RawValue::from_string(text.replace(['\n', '\r'], " ")).map(Self)
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        self.0.get()
    }

    /// The text, to be part of another JSON.
    pub(crate) fn raw(&self) -> &RawValue {
        &self.0
    }

    /// Its value. Text that cannot be taken apart, such as half of a surrogate pair, stands for itself.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_else(|_| Value::from(self.text()))
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Json {}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        Self(to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }
}

impl ToSql for Json {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.text().into())
    }
}

impl FromSql for Json {
    /// What SQLite takes for JSON and serde does not, such as a thousand nested lists, is read as a string.
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = String::from_utf8_lossy(value.as_bytes()?);
        Ok(Self::parse(&text).unwrap_or_else(|_| Self::from(&Value::from(text))))
    }
}
