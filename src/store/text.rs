//! Texts as other programs may have written them.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Row, RowIndex};

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
