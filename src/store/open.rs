//! Making and opening databases.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::file::Files;
use super::{Handle, Store, text, trust};
use crate::error::{Error, Result};
use crate::time::Timestamp;

const SCHEMA: &str = include_str!("schema.sql");

/// What `user_version` is in a database with this schema.
const SCHEMA_VERSION: i64 = 1;

/// "RNNR": the mark of a runner database among SQLite files.
const APPLICATION_ID: i64 = 0x524e_4e52;

/// The example: the schema as plain SQL can build it, and after this line its content.
const EXAMPLE: &str = include_str!("../../example.db.sql");
const EXAMPLE_CONTENT: &str = "\n-- ==== Content ====\n";

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl<'c> Store<'c> {
    /// The database that a program has connected to itself.
    pub(crate) fn lent(connection: &'c Connection) -> Result<Self> {
        let path = connection.path().unwrap_or_default();
        Self::new(Handle::Lent(connection), Path::new(path)).checked()
    }

    fn new(connection: Handle<'c>, path: &Path) -> Self {
        Self {
            connection,
            files: Files::of(path),
            run: Cell::new(random()),
        }
    }

    /// The same, once it is known to be one of ours and of this version.
    fn checked(self) -> Result<Self> {
        if self.pragma("application_id")? != APPLICATION_ID {
            return Err(Error::NotOurs(self.files.path().to_owned()));
        }
        match self.pragma("user_version")? {
            SCHEMA_VERSION => Ok(self),
            found => Err(Error::OtherVersion {
                path: self.files.path().to_owned(),
                found,
                known: SCHEMA_VERSION,
            }),
        }
    }

    fn pragma(&self, name: &str) -> Result<i64> {
        let value = self
            .connection
            .pragma_query_value(None, name, |row| row.get(0));
        Ok(value?)
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
}

impl Store<'static> {
    /// Makes a new database, readable and writable by its owner alone, where there is no file or an empty one.
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

    /// Makes a new database with the content of `example.db.sql`, as it is on this day.
    pub(crate) fn create_example(path: &Path, now: Timestamp) -> Result<Self> {
        let store = Self::create(path)?;
        let (_, content) = EXAMPLE
            .split_once(EXAMPLE_CONTENT)
            .expect("the example has a line that its content begins after");
        let content = content.trim_end().trim_end_matches("COMMIT;");
        let content = content.replace("'now'", &format!("'{}'", now.to_sql()));
        match store.transact(|store| Ok(store.connection.execute_batch(&content)?)) {
            Ok(()) => Ok(store),
            Err(error) => Err(error.of_database(path)),
        }
    }

    /// Whether nothing was ever put into a database: an `init` that was killed can be run again.
    fn is_empty_database(path: &Path) -> bool {
        let looked = Self::connect(path).and_then(|store| {
            let has_content = store.exists("SELECT 1 FROM sqlite_schema", [])?;
            Ok(!has_content && store.pragma("application_id")? == 0)
        });
        looked.unwrap_or(false)
    }

    fn set_up(path: &Path) -> Result<Self> {
        let store = Self::connect(path)?;
        store.use_wal()?;
        store.transact(|store| {
            let connection = &store.connection;
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            Ok(connection.execute_batch(SCHEMA)?)
        })?;
        Ok(store)
    }

    /// Opens a database for reading and writing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoDatabase(path.to_owned()));
            }
            Err(error) => return Err(Error::io(path, error)),
            Ok(found) if found.is_dir() => return Err(Error::NotOurs(path.to_owned())),
            Ok(_) => {}
        }
        let opened = Self::connect(path).and_then(|store| {
            let store = store.checked()?;
            store.use_wal()?;
            Ok(store)
        });
        opened.map_err(|error| error.of_database(path))
    }

    /// Opens a database for a command that only looks. On a disk or in a folder that cannot be written to, where the
    /// write-ahead log has no place, it shows what the file holds.
    pub(crate) fn open_to_read(path: &Path) -> Result<Self> {
        match Self::open(path) {
            Err(Error::Database { source, .. }) if no_place_to_write(&source) => {
                let opened = Self::connect_immutable(path).and_then(Self::checked);
                opened.map_err(|error| error.of_database(path))
            }
            opened => opened,
        }
    }

    /// An empty database that is nowhere but in memory.
    pub(super) fn in_memory() -> Result<Self> {
        let path = Path::new(":memory:");
        let store = Self::connect(path)?;
        store.connection.execute_batch(SCHEMA)?;
        Ok(store)
    }

    fn connect(path: &Path) -> Result<Self> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(Self::new(Handle::Own(connection), path))
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
}

/// Connects to a database that was opened before, and so is one of ours and of this version.
pub(crate) fn connect_again(path: &Path) -> Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
    connection.map_err(|error| error.of_database(path))
}

/// Connects to a database, and sets up the connection.
fn connect(name: &Path, access: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(name, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Else a statement that could use a partial index is compiled anew whenever a value is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA trusted_schema = ON; PRAGMA cache_size = -4096",
    )?;
    text::add_has_text(&connection)?;
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

fn no_place_to_write(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied)
    )
}
