//! The schema's triggers, and doing without them.
//!
//! They serve whoever writes by plain SQL. What our own code writes mostly leaves them nothing to do, and to run them for
//! each of many rows, with the rows kept out of their sight until then, costs as much as the rows.

use rusqlite::config::DbConfig;

use super::text::text;
use super::{MIGRATIONS, Store};
use crate::error::Result;

impl Store {
    /// Does work inside a transaction without the schema's triggers, until a statement of it needs them: see
    /// [`Store::need_triggers`]. An application's own triggers are not done without: where one of these tables, which are
    /// all that the work writes to, has any, all of them run.
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
        if !self.runs_triggers() || self.have_foreign_triggers(tables)? {
            return work();
        }
        self.switch_triggers(false)?;
        let done = work();
        self.need_triggers()?;
        done
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
    pub(super) fn have_foreign_triggers(&self, tables: &[&str]) -> Result<bool> {
        let sql = "SELECT tbl_name, sql FROM sqlite_schema WHERE type = 'trigger'";
        let triggers = self.list(sql, [], |row| {
            Ok((text(row, "tbl_name")?, text(row, "sql")?))
        })?;
        let is_ours = |sql: &str| MIGRATIONS.iter().any(|step| step.contains(sql));
        let is_theirs = |(table, sql): &(String, String)| {
            tables.iter().any(|name| name.eq_ignore_ascii_case(table)) && !is_ours(sql)
        };
        Ok(triggers.iter().any(is_theirs))
    }
}
