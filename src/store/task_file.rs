//! The files of tasks: the one given with a task, and the one that its handler gave back.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::MAIN_DB;
use rusqlite::blob::ZeroBlob;
use rusqlite::params;
use rustix::fs::OFlags;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::text::text;

/// SQLite holds a little more than this in one row.
const LARGEST: u64 = 900_000_000;

/// Which of a task's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Given with the task.
    Input,
    /// Given back by its handler.
    Output,
}

impl FileKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

impl Store<'_> {
    /// Keeps a file's content with a task, in place of the one that it had. The content goes from file to database
    /// in pieces, whatever its size.
    pub(crate) fn put_task_file(
        &self,
        task: i64,
        kind: FileKind,
        name: &str,
        path: &Path,
    ) -> Result<()> {
        let mut content = open_at_once(path).map_err(|source| Error::io(path, source))?;
        let found = content
            .metadata()
            .map_err(|source| Error::io(path, source))?;
        let refused = |reason: &str| Error::invalid(path.display().to_string(), reason);
        if !found.is_file() {
            return Err(refused("only the content of a plain file can be kept"));
        }
        let size = found.len();
        if size > LARGEST {
            return Err(refused("the file is larger than 900 MB"));
        }
        self.execute(
            "INSERT INTO task_file (task_id, kind, name, content) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (task_id, kind) DO UPDATE SET name = excluded.name, content = excluded.content",
            params![task, kind.as_str(), name, ZeroBlob(size)],
        )?;
        let sql = "SELECT id FROM task_file WHERE task_id = ?1 AND kind = ?2";
        let Some(row) = self.value(sql, params![task, kind.as_str()])? else {
            return Ok(());
        };
        let mut blob = self
            .connection
            .blob_open(MAIN_DB, "task_file", "content", row, false)?;
        let copied = io::copy(&mut io::Read::take(&mut content, size), &mut blob)
            .map_err(|source| not_copied(path, source))?;
        if copied < size {
            return Err(refused("the file became shorter while it was read"));
        }
        Ok(())
    }

    /// Writes a file of a task to `target`, in pieces. Its name, or `None` when the task has no such file.
    pub(crate) fn get_task_file(
        &self,
        task: i64,
        kind: FileKind,
        target: impl FnOnce(&str) -> Result<File>,
    ) -> Result<Option<String>> {
        let found = self.find(
            "SELECT id, name FROM task_file WHERE task_id = ?1 AND kind = ?2",
            params![task, kind.as_str()],
            |row| Ok((row.get::<_, i64>("id")?, text(row, "name")?)),
        )?;
        let Some((row, name)) = found else {
            return Ok(None);
        };
        let mut file = target(&name)?;
        let mut blob = self
            .connection
            .blob_open(MAIN_DB, "task_file", "content", row, true)?;
        io::copy(&mut blob, &mut file).map_err(|source| not_copied(Path::new(&name), source))?;
        Ok(Some(name))
    }
}

/// What went wrong may be the database's, or the file's.
fn not_copied(path: &Path, source: io::Error) -> Error {
    match source.downcast() {
        Ok(source) => Error::Sqlite(source),
        Err(source) => Error::io(path, source),
    }
}

/// Opens what may turn out to be no plain file: a pipe that nobody writes to would be waited for.
fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
}
