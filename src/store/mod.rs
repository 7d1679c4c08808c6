//! The only place that speaks SQL: one file a noun, and here opening, transactions and migrations.
//!
//! Every write happens inside [`Store::transact`], which takes the write lock at its start (`BEGIN IMMEDIATE`): a
//! transaction that reads first and writes later could be refused half-way, whatever the busy timeout. No transaction
//! waits for a handler or for a mail to be sent: handlers go on beside the short ones that note what they say.

pub(crate) mod attachment;
pub(crate) mod attachment_list;
pub(crate) mod document;
pub(crate) mod due;
pub(crate) mod file;
pub(crate) mod firing;
pub(crate) mod history;
pub(crate) mod mail;
pub(crate) mod method;
pub(crate) mod retention;
pub(crate) mod setting;
pub(crate) mod task;
pub(crate) mod task_claim;
pub(crate) mod task_file;
pub(crate) mod task_log;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod timer;
mod title;
pub(crate) mod trust;
pub(crate) mod worker;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, Row, TransactionBehavior};

use crate::error::{Error, Result};
use file::Files;

/// The schema as statements that bring it from one version to the next; `user_version` counts those applied.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// "RNNR": what tells a runner database from any other SQLite file.
const APPLICATION_ID: i64 = 0x524e_4e52;

/// The example: the schema as plain SQL can build it, and after this line its content.
const EXAMPLE: &str = include_str!("../../example.db.sql");
const EXAMPLE_CONTENT: &str = "\n-- ==== Content ====\n";

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// An open database.
pub(crate) struct Store<'c> {
    connection: Handle<'c>,
    files: Files,
    run: i64,
    knows_titles: Cell<bool>,
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

impl<'c> Store<'c> {
    fn new(connection: Handle<'c>, path: &Path) -> Self {
        Self {
            connection,
            files: Files::of(path),
            run: random(),
            knows_titles: Cell::new(false),
        }
    }

    /// The database that a program has connected to itself.
    pub(crate) fn lent(connection: &'c Connection) -> Result<Self> {
        let path = connection.path().unwrap_or_default();
        let store = Self::new(Handle::Lent(connection), Path::new(path));
        store.check(MIGRATIONS)?;
        Ok(store)
    }
}

impl Store<'static> {
    /// Makes a new database, readable and writable by its owner alone.
    ///
    /// # Errors
    /// When there is a file already that is not empty, or none can be made.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let is_there = fs::metadata(path).is_ok_and(|found| found.len() > 0);
        if is_there && !Self::is_empty_database(path) {
            return Err(Error::Exists(path.to_owned()));
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|source| Error::io(path, source))?;
        trust::make_private(path, &file)?;
        Self::set_up(path).map_err(|error| error.of_database(path))
    }

    /// Makes a new database with the content of `example.db.sql`.
    pub(crate) fn create_example(path: &Path) -> Result<Self> {
        let store = Self::create(path)?;
        let (_, content) = EXAMPLE
            .split_once(EXAMPLE_CONTENT)
            .expect("the example has a line that its content begins after");
        let content = content.trim_end().trim_end_matches("COMMIT;");
        match store.transact(|store| Ok(store.connection.execute_batch(content)?)) {
            Ok(()) => Ok(store),
            Err(error) => Err(error.of_database(path)),
        }
    }

    /// Whether nothing was ever put into a database: an `init` that was killed can be run again.
    fn is_empty_database(path: &Path) -> bool {
        let looked = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|store| {
            let sql = "SELECT count(*) AS things FROM sqlite_schema";
            let things: Option<i64> = store.find(sql, [], |row| row.get("things"))?;
            Ok(things == Some(0) && store.pragma("application_id")? == 0)
        });
        looked.unwrap_or(false)
    }

    fn set_up(path: &Path) -> Result<Self> {
        let store = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        store.use_wal()?;
        store.transact(|store| {
            store
                .connection
                .pragma_update(None, "application_id", APPLICATION_ID)?;
            store.migrate(MIGRATIONS)
        })?;
        Ok(store)
    }

    /// Opens a database for reading and writing, and migrates it if an older version made it.
    ///
    /// # Errors
    /// When there is none, when it is not ours, when a newer version made it, or as SQLite says.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, MIGRATIONS)
    }

    fn open_with(path: &Path, migrations: &[&str]) -> Result<Self> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoDatabase(path.to_owned()));
            }
            Err(error) => return Err(Error::io(path, error)),
            Ok(found) if found.is_dir() => return Err(Error::NotOurs(path.to_owned())),
            Ok(_) => {}
        }
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .and_then(|store| store.checked(migrations))
            .map_err(|error| error.of_database(path))
    }

    /// Opens a database for a command that only looks. On a disk or in a folder that cannot be written to, where the
    /// write-ahead log has no place, it shows what the file holds.
    pub(crate) fn open_to_read(path: &Path) -> Result<Self> {
        let refused = match Self::open(path) {
            Ok(store) => return Ok(store),
            Err(Error::Database { source, .. }) if no_place_to_write(&source) => source,
            Err(error) => return Err(error),
        };
        Self::connect_immutable(path)
            .and_then(|store| match store.check(MIGRATIONS)? {
                version if version == newest(MIGRATIONS) => Ok(store),
                _ => Err(Error::from(refused)),
            })
            .map_err(|error| error.of_database(path))
    }

    fn connect(path: &Path, access: OpenFlags) -> Result<Self> {
        Ok(Self::new(Handle::Own(connect(path, access)?), path))
    }

    fn connect_immutable(path: &Path) -> Result<Self> {
        let mut uri = String::from("file:");
        for &byte in path.as_os_str().as_encoded_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                    uri.push(char::from(byte))
                }
                _ => uri.push_str(&format!("%{byte:02x}")),
            }
        }
        uri.push_str("?immutable=1");
        let access = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = connect(Path::new(&uri), access)?;
        Ok(Self::new(Handle::Own(connection), path))
    }

    fn checked(self, migrations: &[&str]) -> Result<Self> {
        if self.check(migrations)? < newest(migrations) {
            self.transact(|store| store.migrate(migrations))?;
        }
        self.use_wal()?;
        Ok(self)
    }
}

impl Store<'_> {
    /// The schema's version, once it is known that the file is ours and not newer than we are.
    fn check(&self, migrations: &[&str]) -> Result<i64> {
        if self.pragma("application_id")? != APPLICATION_ID {
            return Err(Error::NotOurs(self.files.path().to_owned()));
        }
        let (found, known) = (self.pragma("user_version")?, newest(migrations));
        if found > known || found < 1 {
            return Err(Error::Newer {
                path: self.files.path().to_owned(),
                found,
                known,
            });
        }
        Ok(found)
    }

    fn pragma(&self, name: &str) -> Result<i64> {
        Ok(self
            .connection
            .pragma_query_value(None, name, |row| row.get(0))?)
    }

    /// Readers never wait for a writer in this mode. It is kept in the file: what plain SQL made may lack it.
    fn use_wal(&self) -> Result<()> {
        let mode: String = self
            .connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode != "wal" {
            self.connection
                .pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        }
        Ok(())
    }

    /// Inside a transaction, and so by one process only: the version is read again under the lock.
    fn migrate(&self, migrations: &[&str]) -> Result<()> {
        let applied = usize::try_from(self.pragma("user_version")?).unwrap_or(usize::MAX);
        for step in migrations.iter().skip(applied) {
            self.connection.execute_batch(step)?;
        }
        if applied < migrations.len() {
            self.connection
                .pragma_update(None, "user_version", newest(migrations))?;
        }
        Ok(())
    }

    /// Runs `work` in one transaction that holds the write lock from its start: all of it is kept, or nothing. In a
    /// rehearsal it is a part of that.
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

    /// Runs `work` in a transaction of which nothing is kept: it sees what it does, and nobody else ever will.
    pub(crate) fn rehearse<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let transaction =
            rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let done = work(self)?;
        transaction.rollback()?;
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

    /// A number that tells this run of the program from all others.
    pub(crate) fn run(&self) -> i64 {
        self.run
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
            .mapped(|row| row.get::<_, String>("detail"))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(steps.join("\n"))
    }

    fn sql(&self, sql: &str) -> Result<CachedStatement<'_>> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    fn list<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.sql(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn find<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        use rusqlite::OptionalExtension;
        Ok(self.sql(sql)?.query_row(params, read).optional()?)
    }

    /// Runs a statement; how many rows it changed.
    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
        Ok(self.sql(sql)?.execute(params)?)
    }

    fn last_id(&self) -> i64 {
        self.connection.last_insert_rowid()
    }
}

/// Connects to a database that was opened before, and so is one of ours and of this version.
pub(crate) fn connect_again(path: &Path) -> Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
    connection.map_err(|error| error.of_database(path))
}

/// Connects to a database by what SQLite is to be told of it.
fn connect(name: &Path, access: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(name, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Else a statement that could use a partial index is compiled anew whenever a value is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA trusted_schema = ON; PRAGMA cache_size = -4096",
    )?;
    Ok(connection)
}

/// From the keys that std makes for its hash tables, which the system's own source of randomness seeds.
fn random() -> i64 {
    use std::hash::{BuildHasher, RandomState};
    i64::from_ne_bytes(
        RandomState::new()
            .hash_one(std::process::id())
            .to_ne_bytes(),
    )
}

fn newest(migrations: &[&str]) -> i64 {
    i64::try_from(migrations.len()).unwrap_or(i64::MAX)
}

fn no_place_to_write(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied)
    )
}
