//! The registered handlers.

use rusqlite::{Row, named_params};

use crate::error::{OrNotFound, Result};
use crate::model::method::Method;
use crate::store::Store;
use crate::store::text::{text, text_or_null};

impl Store<'_> {
    /// The methods that are registered in the database, by name.
    pub(crate) fn list_methods(&self) -> Result<Vec<Method>> {
        self.list("SELECT * FROM method ORDER BY name", [], method)
    }

    /// Registers a method, or replaces it. Whether it is paused stays.
    pub(crate) fn set_method(&self, method: &Method) -> Result<()> {
        self.execute(
            "INSERT INTO method (name, command, timeout, retries, resident, pipeline, max_running, serial)
             VALUES (:name, :command, :timeout, :retries, :resident, :pipeline, :max_running, :serial)
             ON CONFLICT (name) DO UPDATE
             SET command = excluded.command, timeout = excluded.timeout, retries = excluded.retries,
                 resident = excluded.resident, pipeline = excluded.pipeline,
                 max_running = excluded.max_running, serial = excluded.serial",
            named_params! {
                ":name": method.name,
                ":command": serde_json::Value::from(method.command.clone()).to_string(),
                ":timeout": method.timeout,
                ":retries": method.retries,
                ":resident": method.resident,
                ":pipeline": method.pipeline,
                ":max_running": method.max_running,
                ":serial": method.serial,
            },
        )
    }

    /// Removes a method.
    pub(crate) fn delete_method(&self, name: &str) -> Result<()> {
        self.changes("DELETE FROM method WHERE name = ?1", [name])?
            .then_some(())
            .or_not_found("method", name)
    }
}

fn method(row: &Row<'_>) -> rusqlite::Result<Method> {
    Ok(Method {
        name: text(row, "name")?,
        command: argv(&text(row, "command")?),
        timeout: text_or_null(row, "timeout")?,
        retries: row.get("retries")?,
        resident: row.get("resident")?,
        pipeline: row.get("pipeline")?,
        paused: row.get("paused")?,
        max_running: row.get("max_running")?,
        serial: row.get("serial")?,
        is_function: false,
    })
}

/// The table's check sees to it that this is an array; what plain SQL put there besides texts is taken as it is written.
pub(super) fn argv(command: &str) -> Vec<String> {
    let words: Vec<serde_json::Value> = serde_json::from_str(command).unwrap_or_default();
    let words = words.iter();
    words
        .map(|word| {
            word.as_str()
                .map_or_else(|| word.to_string(), str::to_owned)
        })
        .collect()
}
