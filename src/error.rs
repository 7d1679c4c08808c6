//! What can go wrong, each as one sentence that names the thing, what was wrong and what to do.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::io::Errno;

/// The result of whatever can fail in this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error whose text can be shown to a user as it is, on one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file at the database's path.
    #[error("{path}: there is no database; make one with 'runner --db {path} init'", path = .0.display())]
    NoDatabase(PathBuf),

    /// `init` on a path that is taken.
    #[error("{}: this file exists already; give another path or remove it first", .0.display())]
    Exists(PathBuf),

    /// A SQLite file of another program, or no SQLite file at all.
    #[error("{}: this file is not a runner database; check --db and RUNNER_DB", .0.display())]
    NotOurs(PathBuf),

    /// A database of another version.
    #[error("{}: made by another version of runner (schema {found}, this one knows {known}); use that version, or make a new database with 'init'", path.display())]
    OtherVersion {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The one that this program knows.
        known: i64,
    },

    /// What SQLite answered about the database.
    #[error("{}: {}", path.display(), sqlite_sentence(.source))]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's own error.
        source: rusqlite::Error,
    },

    /// What SQLite answered, before it is known for which file.
    #[error("the database: {}", sqlite_sentence(.0))]
    Sqlite(#[from] rusqlite::Error),

    /// A name or an id that stands for nothing.
    #[error("no {what} {name}: {hint}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// The name or id that was given.
        name: String,
        /// How to see which ones there are.
        hint: String,
    },

    /// A value that cannot be taken, or a thing that is not in a state for what was asked.
    #[error("{thing}: {reason}")]
    Invalid {
        /// What was given or asked for, named as the user knows it.
        thing: String,
        /// What is wrong with it and what to do.
        reason: String,
    },

    /// A command line that cannot be understood: what was given for an option is not of its form.
    #[error("{option}: {reason}")]
    Usage {
        /// The option or argument, as it is written.
        option: String,
        /// What is wrong with its value and how to write it.
        reason: String,
    },

    /// The system refused a file, a folder or a process.
    #[error("{thing}: {}", io_sentence(.source))]
    Io {
        /// The path or the program.
        thing: String,
        /// The system's own error.
        source: std::io::Error,
    },
}

impl Error {
    /// A value or a state of `thing` that cannot be taken, for this `reason`.
    pub(crate) fn invalid(thing: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            thing: thing.into(),
            reason: reason.into(),
        }
    }

    /// A value of `option` that cannot be read, for this `reason`.
    pub(crate) fn usage(option: impl Into<String>, reason: impl ToString) -> Self {
        Self::Usage {
            option: option.into(),
            reason: reason.to_string(),
        }
    }

    /// What the system answered about `path`.
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            thing: path.display().to_string(),
            source,
        }
    }

    /// The same error, with the database that it is about.
    pub(crate) fn of_database(self, path: &Path) -> Self {
        match self {
            Self::Sqlite(source) => Self::Database {
                path: path.to_owned(),
                source,
            },
            other => other,
        }
    }

    fn sqlite(&self) -> Option<&rusqlite::Error> {
        match self {
            Self::Sqlite(source) | Self::Database { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether the database itself has failed, its disk or its locks, and not only what was asked of it: a check or a
    /// trigger that an application added refuses one row and no others.
    pub(crate) fn is_about_the_database(&self) -> bool {
        let code = self.sqlite().and_then(rusqlite::Error::sqlite_error_code);
        !matches!(
            code,
            None | Some(ErrorCode::ConstraintViolation | ErrorCode::Unknown)
        )
    }

    /// Whether what fails now may be done later: another program holds the database, or the disk is full.
    pub(crate) fn is_temporary(&self) -> bool {
        self.is_busy() || self.is_full()
    }

    /// Whether the disk has no room for what the database was to take.
    pub(crate) fn is_full(&self) -> bool {
        self.sqlite().is_some_and(is_full)
    }

    /// Whether another program held the database for longer than the busy timeout.
    pub(crate) fn is_busy(&self) -> bool {
        self.sqlite().is_some_and(is_busy)
    }

    /// Whether the system has no room now for what was asked of it, and may have later.
    pub(crate) fn is_shortage(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_shortage(source))
    }
}

/// Whether it is the machine that has no room now, for another process, file or byte, and not what was asked of it that
/// cannot be.
pub(crate) fn is_shortage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull};
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(error.kind(), OutOfMemory | QuotaExceeded | StorageFull)
        || matches!(code, Some(Errno::AGAIN | Errno::MFILE | Errno::NFILE))
}

/// What may be missing: a query that found no row becomes [`Error::NotFound`].
pub(crate) trait OrNotFound<T> {
    /// The row, or an error that names what was looked for and how to see which ones there are.
    fn or_not_found(self, what: &'static str, name: impl ToString) -> Result<T>;
}

impl<T> OrNotFound<T> for Option<T> {
    fn or_not_found(self, what: &'static str, name: impl ToString) -> Result<T> {
        let (noun, verb) = match what {
            "document" => ("doc", "list"),
            "firing" => ("timer", "skipped"),
            "setting" => ("config", "list"),
            other => (other, "list"),
        };
        self.ok_or_else(|| Error::NotFound {
            what,
            name: name.to_string(),
            hint: format!("'runner {noun} {verb}' shows them"),
        })
    }
}

/// `SQLITE_PROTOCOL` is what a stopped process with the write-ahead log's locks looks like to the others.
fn is_busy(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseBusy, DatabaseLocked, FileLockingProtocolFailed};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseBusy | DatabaseLocked | FileLockingProtocolFailed)
    )
}

/// On a full disk SQLite may also fail to enlarge the memory that its connections share.
fn is_full(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// Before 1.0.0 the schema changes in place: what SQLite misses then is a column or a table.
fn is_of_another_schema(error: &rusqlite::Error) -> bool {
    let message = error.to_string();
    [
        "no such column",
        "no such table",
        "no such index",
        "has no column named",
    ]
    .iter()
    .any(|missing| message.contains(missing))
}

fn sqlite_sentence(error: &rusqlite::Error) -> String {
    let known = match error.sqlite_error_code() {
        _ if is_busy(error) => {
            "another program held the database for longer than 5 seconds; nothing was changed, try again"
        }
        _ if is_full(error) => "the disk is full; nothing was changed, make room and try again",
        Some(ErrorCode::ReadOnly) => {
            "the database cannot be written to; check the permissions of the file and its folder"
        }
        Some(ErrorCode::CannotOpen) => {
            "the database cannot be opened; check the permissions of the file and its folder"
        }
        Some(ErrorCode::PermissionDenied) => {
            "no permission for the database; check the permissions of the file"
        }
        Some(ErrorCode::NotADatabase) => "this file is not a database; check --db and RUNNER_DB",
        Some(ErrorCode::DatabaseCorrupt) => "the database is damaged; restore it from a copy",
        Some(ErrorCode::SystemIoFailure) => {
            return format!("the disk answered with an error ({error}); nothing was changed");
        }
        _ if is_of_another_schema(error) => {
            "its tables are not those of this runner, which an earlier version must have made: make a new database with 'init' and copy what is needed"
        }
        _ => return one_line(&error.to_string()),
    };
    known.to_owned()
}

fn io_sentence(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{NotFound, PermissionDenied, StorageFull};
    match error.kind() {
        NotFound => "no such file or folder".to_owned(),
        PermissionDenied => "permission denied".to_owned(),
        StorageFull => "the disk is full".to_owned(),
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            "a symbolic link is in the place of this file; remove it".to_owned()
        }
        _ => one_line(&error.to_string()),
    }
}

/// Control characters would break the one line, or a terminal, that an error is shown on.
pub(crate) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
