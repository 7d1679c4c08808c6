//! What an administrator wants to know that nothing else asks.

use rusqlite::Connection;

use crate::error::Result;
use crate::store::Store;
use crate::store::text::text;

/// What is damaged in a database, if anything is.
pub(super) fn damage_in(connection: &Connection) -> Result<Option<String>> {
    let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(Some(answer).filter(|answer| answer != "ok"))
}

impl Store<'_> {
    /// What is damaged in the file, if anything is.
    pub(crate) fn find_damage(&self) -> Result<Option<String>> {
        damage_in(&self.connection)
    }

    /// The methods of the tasks that are pending, and how many there are of each.
    pub(crate) fn methods_of_pending_tasks(&self) -> Result<Vec<(String, i64)>> {
        self.list(
            "SELECT method, count(*) AS count FROM task
              WHERE (status = 'TO_RUN' OR status = 'WAITING') AND command IS NULL
              GROUP BY method ORDER BY method",
            [],
            |row| Ok((text(row, "method")?, row.get("count")?)),
        )
    }

    /// Whether any mail was or may be written.
    pub(crate) fn has_mail(&self) -> Result<bool> {
        self.exists(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM template) OR EXISTS (SELECT 1 FROM mail)",
            [],
        )
    }
}
