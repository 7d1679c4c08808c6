//! A database seen from outside, whole.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// All that a database holds, as text: its version, its schema, and each row of each table.
pub fn dump(path: &Path) -> String {
    let connection = Connection::open(path).unwrap();
    let pragma = |name: &str| -> i64 {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .unwrap()
    };
    let mut text = format!(
        "{:x} {}\n",
        pragma("application_id"),
        pragma("user_version")
    );
    let schema = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name";
    text.push_str(&rows(&connection, schema));
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    for table in rows(&connection, tables).lines() {
        let content = rows(&connection, &format!("SELECT * FROM {table} ORDER BY 1, 2"));
        text.push_str(&format!("== {table}\n{content}"));
    }
    text
}

/// The rows of a query on a database, as text.
pub fn query(path: &Path, query: &str) -> String {
    rows(&Connection::open(path).unwrap(), query)
}

/// The rows of a query, a line each; a single value stands for itself, several are told apart by bars.
fn rows(connection: &Connection, query: &str) -> String {
    let mut statement = connection.prepare(query).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut text = String::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<String> = (0..columns)
            .map(|column| shown(row.get_ref_unwrap(column)))
            .collect();
        text.push_str(&values.join(" | "));
        text.push('\n');
    }
    text
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}
