//! A copy of a database in memory, on which what is to come can be played.

use rusqlite::config::DbConfig;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params, params_from_iter};

use crate::error::Result;
use crate::model::document::HistoryEntry;
use crate::store::text::text_or_null;
use crate::store::{Store, history};
use crate::time::Timestamp;

/// What has no part in what is to come.
const LEFT_OUT: [&str; 6] = [
    "history",
    "firing",
    "task_log",
    "task_file",
    "worker",
    "sqlite_stat1",
];

/// Which rows of a table are copied: those of mails and tasks that are still to come, or that a level waits for.
fn wanted(table: &str) -> &'static str {
    match table {
        "task" => {
            "status IN ('WAITING', 'TO_RUN', 'RUNNING') OR id IN (SELECT task_id FROM attachment)"
        }
        "mail" => "status IN ('queued', 'sending') OR attachment_id IN (SELECT id FROM attachment)",
        _ => "1",
    }
}

/// What others are doing right now is done, as far as a rehearsal is concerned; and levels are found by what they are of.
const PREPARE: &str = "
    UPDATE task SET status = 'TO_RUN' WHERE status = 'WAITING' AND held = 0
       AND after_id IN (SELECT id FROM task WHERE status = 'RUNNING');
    UPDATE task SET status = 'COMPLETED', worker_id = NULL WHERE status = 'RUNNING';
    UPDATE mail SET status = 'sent', worker_id = NULL WHERE status = 'sending';
    CREATE INDEX firing_level ON firing (document_id, timer, level)";

/// When a level is due that is of this document, timer and number, or was.
const DUE_AT: &str = "SELECT coalesce(
        (SELECT due_at FROM attachment JOIN timer ON timer.id = attachment.timer_id
          WHERE document_id = ?1 AND timer.name = ?2 AND level = ?3),
        (SELECT due_at FROM firing WHERE document_id = ?1 AND timer = ?2 AND level = ?3 ORDER BY id DESC LIMIT 1))";

/// An entry of the history with the document that it is of.
pub(crate) struct DocumentHistory {
    pub(crate) id: i64,
    pub(crate) document: i64,
    pub(crate) title: Option<String>,
    pub(crate) entry: HistoryEntry,
}

/// A level that is due and was not done.
pub(crate) struct OverdueLevel {
    pub(crate) timer: i64,
    pub(crate) level: u32,
    pub(crate) due_at: Timestamp,
}

impl Store<'_> {
    /// A copy of the database in memory, without files, logs, history and ended tasks.
    pub(crate) fn copy_in_memory(&self) -> Result<Store<'static>> {
        let copy = Store::in_memory()?;
        let snapshot = self.connection.unchecked_transaction()?;
        copy.copy_rows(&snapshot)?;
        copy.connection.execute_batch(PREPARE)?;
        Ok(copy)
    }

    /// Copies rows as they are: no trigger completes them a second time.
    fn copy_rows(&self, source: &Connection) -> Result<()> {
        let set = |on| {
            let connection = &self.connection;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, on)
        };
        set(false)?;
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid";
        let tables: Vec<String> = self.list(tables, [], |row| row.get(0))?;
        self.transact(|store| {
            for table in tables
                .iter()
                .filter(|name| !LEFT_OUT.contains(&name.as_str()))
            {
                store.copy_table(source, table)?;
            }
            Ok(())
        })?;
        Ok(set(true).map(drop)?)
    }

    fn copy_table(&self, source: &Connection, table: &str) -> Result<()> {
        let columns = format!("SELECT '\"' || name || '\"' FROM pragma_table_info('{table}')");
        let columns: Vec<String> = self.list(&columns, [], |row| row.get(0))?;
        let (names, places) = (columns.join(", "), vec!["?"; columns.len()].join(", "));
        let wanted = wanted(table);
        let mut rows = source.prepare(&format!("SELECT {names} FROM {table} WHERE {wanted}"))?;
        let mut rows = rows.query([])?;
        let insert = format!("INSERT INTO {table} ({names}) VALUES ({places})");
        while let Some(row) = rows.next()? {
            // As they are, whatever the bytes of a text.
            let values = (0..columns.len()).map(|column| row.get_ref(column));
            let values = values.map(|value| value.map(ToSqlOutput::Borrowed));
            let values = values.collect::<rusqlite::Result<Vec<_>>>()?;
            self.execute(&insert, params_from_iter(values))?;
        }
        Ok(())
    }

    /// The entries of the history after this one, oldest first.
    pub(crate) fn history_after(&self, id: i64) -> Result<Vec<DocumentHistory>> {
        self.list(
            "SELECT history.*, document.title AS title
               FROM history LEFT JOIN document ON document.id = history.document_id
              WHERE history.id > ?1 ORDER BY history.id",
            [id],
            |row| {
                Ok(DocumentHistory {
                    id: row.get("id")?,
                    document: row.get("document_id")?,
                    title: text_or_null(row, "title")?,
                    entry: history::entry(row)?,
                })
            },
        )
    }

    /// When a level is due, or was.
    pub(crate) fn due_at_of_level(
        &self,
        document: i64,
        timer: &str,
        level: u32,
    ) -> Result<Option<Timestamp>> {
        let due: Option<Option<Timestamp>> = self.value(DUE_AT, params![document, timer, level])?;
        Ok(due.flatten())
    }

    /// The levels that are due and were not done, and are not paused: of each timer and number the one that is due first.
    pub(crate) fn overdue_levels(&self, now: Timestamp) -> Result<Vec<OverdueLevel>> {
        if self.is_paused()? {
            return Ok(Vec::new());
        }
        self.list(
            "SELECT timer_id, level, min(due_at) AS due_at FROM attachment INDEXED BY attachment_due
              WHERE paused = 0 AND due_at <= ?1 GROUP BY timer_id, level",
            [now],
            |row| {
                Ok(OverdueLevel {
                    timer: row.get("timer_id")?,
                    level: row.get("level")?,
                    due_at: row.get("due_at")?,
                })
            },
        )
    }
}
