//! The only place that speaks SQL: one file a noun, and here transactions and the ways of reading rows.
//!
//! Every write happens inside [`Store::transact`], which takes the write lock at its start (`BEGIN IMMEDIATE`): a
//! transaction that reads first and writes later could be refused half-way, whatever the busy timeout. No transaction
//! waits for a handler or for a mail to be sent: handlers go on beside the short ones that record their output.

pub(crate) mod attachment;
pub(crate) mod attachment_list;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod document;
pub(crate) mod due;
pub(crate) mod file;
pub(crate) mod firing;
pub(crate) mod history;
pub(crate) mod mail;
pub(crate) mod method;
mod open;
pub(crate) mod pause;
pub(crate) mod rehearsal;
pub(crate) mod retention;
pub(crate) mod schedule;
pub(crate) mod setting;
pub(crate) mod task;
pub(crate) mod task_claim;
pub(crate) mod task_file;
mod task_limit;
pub(crate) mod task_log;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod timer;
pub(crate) mod trust;
pub(crate) mod worker;

use std::cell::Cell;
use std::ops::Deref;

use rusqlite::types::FromSql;
use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Params, Row, ToSql, TransactionBehavior,
};

use crate::error::{Error, Result};
use file::Files;
pub(crate) use open::connect_again;

/// An open database.
pub(crate) struct Store<'c> {
    connection: Handle<'c>,
    files: Files,
    run: Cell<i64>,
}

/// A connection of our own, or that of a program which embeds the library and is in a transaction of its own.
enum Handle<'c> {
    Own(Connection),
    Lent(&'c Connection),
}

impl Deref for Handle<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Own(connection) => connection,
            Self::Lent(connection) => connection,
        }
    }
}

impl Store<'_> {
    /// Runs `work` in one transaction that holds the write lock from its start: all of it is kept, or nothing. In a
    /// transaction of a program that embeds the library it is a part of that.
    pub(crate) fn transact<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        if self.in_transaction() {
            return self.attempt(work);
        }
        let transaction =
            rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let done = work(self)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Runs `work` inside the transaction at hand so that its failure undoes its own changes alone.
    pub(crate) fn attempt<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.execute("SAVEPOINT attempt", [])?;
        match work(self) {
            Ok(done) => {
                self.execute("RELEASE attempt", [])?;
                Ok(done)
            }
            Err(error) => {
                // A full disk or a failed read has already undone the whole transaction: then there is no savepoint.
                if self.in_transaction() {
                    self.execute("ROLLBACK TO attempt", [])?;
                    self.execute("RELEASE attempt", [])?;
                }
                Err(error)
            }
        }
    }

    /// The same where one failure is not to hold up the others: the inner error is one that is not the database's own.
    pub(crate) fn attempt_alone<T>(
        &self,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<Result<T>> {
        match self.attempt(work) {
            Err(error) if self.is_fatal(&error) => Err(error),
            done => Ok(done),
        }
    }

    /// Whether an error inside a transaction ends more than what was tried: the database itself has failed, and not only a
    /// check or a trigger that an application has added.
    pub(crate) fn is_fatal(&self, error: &Error) -> bool {
        error.is_about_the_database() || !self.in_transaction()
    }

    /// Keeps in memory what savepoints may have to undo, and not in a file, which many small steps would write to again and
    /// again. A statement that changes many rows could take any amount of it.
    pub(crate) fn keep_undo_in_memory(&self, keep: bool) -> Result<()> {
        let place = if keep { "MEMORY" } else { "DEFAULT" };
        Ok(self.connection.pragma_update(None, "temp_store", place)?)
    }

    /// Whether the transaction at hand is still open: SQLite itself ends one when the disk fails it.
    pub(crate) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// A number of this run of the program, unlike those of all others.
    pub(crate) fn run(&self) -> i64 {
        self.run.get()
    }

    /// Begins another run, as each tick of a rehearsal is one.
    pub(crate) fn begin_run(&self) {
        self.run.set(self.run.get().wrapping_add(1));
    }

    /// Whether the database is where nothing can be written.
    pub(crate) fn is_read_only(&self) -> Result<bool> {
        Ok(self.connection.is_readonly("main")?)
    }

    /// The database as a file, and those that go with it.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// The plan that SQLite makes for a statement, a line a step: tests hold the indexes by it.
    #[cfg(test)]
    pub(crate) fn plan(&self, sql: &str) -> Result<String> {
        let mut statement = self
            .connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
        let steps = statement
            .raw_query()
            .mapped(|row| row.get::<_, Option<String>>("detail"))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        // The triggers that foreign keys make have no name.
        let steps: Vec<_> = steps.into_iter().flatten().collect();
        Ok(steps.join("\n"))
    }

    fn sql(&self, sql: &str) -> Result<CachedStatement<'_>> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// The rows that a statement finds.
    fn list<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.sql(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The last rows that a statement finds, by the order that it ends with, and the first of them first.
    fn list_last<T>(
        &self,
        sql: &str,
        filter: Filter<'_>,
        limit: Option<u32>,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let conditions = filter.conditions;
        let sql = format!("{sql} WHERE 1{conditions} ORDER BY id DESC LIMIT ?");
        let mut values = filter.values;
        values.push(Box::new(limit.map_or(-1, i64::from)));
        let mut found = self.list(&sql, rusqlite::params_from_iter(values), read)?;
        found.reverse();
        Ok(found)
    }

    /// The first row that a statement finds, if it finds any.
    fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.sql(sql)?.query_row(params, read).optional()?)
    }

    /// The only column of the first row that a statement finds, if it finds any.
    fn value<T: FromSql>(&self, sql: &str, params: impl Params) -> Result<Option<T>> {
        self.find(sql, params, |row| row.get(0))
    }

    /// Whether a statement finds any row.
    fn exists(&self, sql: &str, params: impl Params) -> Result<bool> {
        Ok(self.sql(sql)?.exists(params)?)
    }

    fn execute(&self, sql: &str, params: impl Params) -> Result<()> {
        self.count_changes(sql, params).map(drop)
    }

    /// Runs a statement; whether it changed any row.
    fn changes(&self, sql: &str, params: impl Params) -> Result<bool> {
        Ok(self.count_changes(sql, params)? > 0)
    }

    /// Runs a statement; how many rows it changed.
    fn count_changes(&self, sql: &str, params: impl Params) -> Result<usize> {
        Ok(self.sql(sql)?.execute(params)?)
    }

    fn last_id(&self) -> i64 {
        self.connection.last_insert_rowid()
    }
}

/// The conditions of a list, each with the value that it compares.
#[derive(Default)]
struct Filter<'v> {
    conditions: String,
    values: Vec<Box<dyn ToSql + 'v>>,
}

impl<'v> Filter<'v> {
    /// Adds a condition, `status = ?` say, where there is a value for it.
    fn and(mut self, condition: &str, value: Option<impl ToSql + 'v>) -> Self {
        if let Some(value) = value {
            self.conditions += " AND ";
            self.conditions += condition;
            self.values.push(Box::new(value));
        }
        self
    }
}
