//! Texts as other programs may have written them, and finding a part of one whatever its case.

use clap::ValueEnum;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, RowIndex, ToSql};

use crate::model::email::EmailStatus;
use crate::model::firing::FiringStatus;
use crate::model::schedule::{Missed, Overlap};
use crate::model::task::{Notify, Severity, Status, Stop};

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

/// Adds `has_text(text, part)` to SQL: its own `lower` knows no letters but those of ASCII.
pub(super) fn add_has_text(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("has_text", 2, flags, has_text)
}

fn has_text(context: &mut Context<'_>) -> rusqlite::Result<bool> {
    let text = |place| readable(context.get_raw(place)).unwrap_or_default();
    Ok(folded(&text(0)).contains(&folded(&text(1))))
}

/// A text without the difference between large and small letters: the large ones made small, so that a sharp s is two
/// letters and the two small sigmas are one.
fn folded(text: &str) -> String {
    let large = text.chars().flat_map(char::to_uppercase);
    large.flat_map(char::to_lowercase).collect()
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

store_as_text!(
    Status,
    Severity,
    Stop,
    Notify,
    EmailStatus,
    FiringStatus,
    Missed,
    Overlap
);
