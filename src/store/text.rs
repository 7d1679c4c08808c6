//! Texts as other programs may have written them.

use clap::ValueEnum;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Row, RowIndex, ToSql};

use crate::model::email::EmailStatus;
use crate::model::firing::FiringStatus;
use crate::model::task::{Severity, Status, Stop};

/// A text of which bytes that are no UTF-8, Latin-1 say, are read as U+FFFD: SQLite takes any bytes for a text, and one
/// such row must not keep the others from being read.
struct Text(String);

impl FromSql for Text {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        readable(value).map(Self)
    }
}

/// The text of a value, whatever its bytes.
pub(crate) fn readable(value: ValueRef<'_>) -> FromSqlResult<String> {
    match value {
        ValueRef::Text(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        _ => Err(FromSqlError::InvalidType),
    }
}

/// The text of a column.
pub(super) fn text(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<String> {
    row.get(column).map(|Text(text)| text)
}

/// The text of a column that may be null.
pub(super) fn text_or_null(
    row: &Row<'_>,
    column: impl RowIndex,
) -> rusqlite::Result<Option<String>> {
    let found: Option<Text> = row.get(column)?;
    Ok(found.map(|Text(text)| text))
}

/// Stores enums by their names.
macro_rules! store_as_text {
    ($($name:ty),+) => { $(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let text = value.as_str()?;
                let mut all = Self::value_variants().iter().copied();
                let known = all.find(|known| known.as_str() == text);
                known.ok_or_else(|| FromSqlError::Other(format!("'{text}' is no {}", stringify!($name)).into()))
            }
        }
    )+ };
}

store_as_text!(Status, Severity, Stop, EmailStatus, FiringStatus);
