//! The schema's triggers, and doing without them.
//!
//! They serve whoever writes by plain SQL. What our own code writes mostly leaves them nothing to do, and to run them for
//! each of many rows, with the rows kept out of their sight until then, costs as much as the rows.

use rusqlite::config::DbConfig;

use super::text::{text, text_or_null};
use super::{MIGRATIONS, Store};
use crate::error::Result;

/// The triggers are off until this is dropped, however the work ends that it is held for.
struct Off<'a>(&'a Store);

impl Drop for Off<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.need_triggers() {
            log::error!("the triggers of the database cannot be switched on again: {error}");
        }
    }
}

impl Store {
    /// Does work inside a transaction without the schema's triggers, until a statement of it needs them: see
    /// [`Store::need_triggers`]. An application's own triggers are not done without: where the work, which writes to these
    /// tables alone and deletes nothing but attachments, could reach any of them, all run.
    ///
    /// All prepared statements are compiled anew after it, so it is for work on many rows.
    ///
    /// # Errors
    /// Those of the work, and SQLite's.
    pub(crate) fn without_triggers<T>(
        &self,
        tables: &[&str],
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let all_run = !self.runs_triggers()
            || self.has_foreign_trigger(tables)?
            || self.has_foreign_reference(tables)?;
        if all_run {
            return work();
        }
        self.switch_triggers(false)?;
        let _off = Off(self);
        work()
    }

    /// Lets the triggers run from here on.
    pub(super) fn need_triggers(&self) -> Result<()> {
        match self.runs_triggers() {
            true => Ok(()),
            false => self.switch_triggers(true),
        }
    }

    pub(super) fn runs_triggers(&self) -> bool {
        self.runs_triggers.get()
    }

    fn switch_triggers(&self, on: bool) -> Result<()> {
        let switch = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
        self.runs_triggers
            .set(self.connection.set_db_config(switch, on)?);
        Ok(())
    }

    /// Whether one of these tables has triggers that are not the schema's, or not as they are in the schema.
    pub(super) fn has_foreign_trigger(&self, tables: &[&str]) -> Result<bool> {
        let sql = "SELECT tbl_name, sql FROM sqlite_schema WHERE type = 'trigger'";
        let triggers = self.list(sql, [], |row| {
            Ok((text(row, "tbl_name")?, text(row, "sql")?))
        })?;
        let is_ours = |sql: &str| MIGRATIONS.iter().any(|step| step.contains(sql));
        Ok(triggers
            .iter()
            .any(|(table, sql)| is_one_of(tables, table) && !is_ours(sql)))
    }

    /// Whether what is deleted from or changed in these tables may lead on by a foreign key, behind which there may be any
    /// trigger. None of the schema's own keys does: they follow ids, which never change, and none follows an attachment,
    /// which is all that is deleted.
    fn has_foreign_reference(&self, tables: &[&str]) -> Result<bool> {
        let sql = "SELECT key.\"table\" AS parent, key.\"to\" AS to_column
               FROM sqlite_schema AS child, pragma_foreign_key_list(child.name) AS key WHERE child.type = 'table'";
        let keys = self.list(sql, [], |row| {
            Ok((text(row, "parent")?, text_or_null(row, "to_column")?))
        })?;
        Ok(keys.iter().any(|(parent, column)| {
            let column = column.as_deref().unwrap_or("id");
            let may_lead_on =
                parent.eq_ignore_ascii_case("attachment") || !column.eq_ignore_ascii_case("id");
            may_lead_on && is_one_of(tables, parent)
        }))
    }
}

fn is_one_of(tables: &[&str], name: &str) -> bool {
    tables.iter().any(|table| table.eq_ignore_ascii_case(name))
}
