//! Whether anybody has written to a database, told without opening it.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::file::Files;
use crate::boot;
use crate::time::Clock;

/// How long ago a file must have been changed for its time to tell the next change from that one: the kernel counts these
/// times in steps of up to 10 ms.
const STEP: Duration = Duration::from_millis(100);

/// The header of the index of the write-ahead log, which is there twice.
const INDEX_HEADER: u64 = 2 * 48;

/// What the system says of the files of a database, in short: while it says the same, nothing was committed.
///
/// While any program has the database open, a commit is what changes the header of the log's index: SQLite itself goes by
/// that. The time of the log would not do, since it is set before the log is synced, and the commit seen only after that.
/// When the last program has closed the database, the log is a part of the file, which has another time then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64);

impl Stamp {
    /// Of a database as it is now; none where its files cannot tell: when they were changed a moment ago, when their times
    /// are too coarse, when a journal is there that is to be rolled back, or when the clock is not the system's.
    pub fn of(files: &Files, clock: &Clock) -> Option<Self> {
        if files.beside("-journal").symlink_metadata().is_ok() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        // A machine that lost its power may have lost the times of files, and not what was written to them.
        boot::id()?.hash(&mut hasher);
        let database = looked_at(&files.beside(""), clock)??;
        // Whoever puts a copy in its place may give it the time that the other one had.
        (database.ctime(), database.ctime_nsec()).hash(&mut hasher);
        last_change(&database).hash(&mut hasher);
        // SQLite sets the owner of this one when it opens it, which changes its ctime.
        let log = looked_at(&files.beside("-wal"), clock)?;
        log.as_ref().map(last_change).hash(&mut hasher);
        last_commit(&files.beside("-shm")).ok()?.hash(&mut hasher);
        Some(Self(hasher.finish()))
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// What the system says of a file, if it is there; none when its time does not tell the next change from the last.
fn looked_at(path: &Path, clock: &Clock) -> Option<Option<Metadata>> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Some(None),
        found => found.ok()?,
    };
    let is_past = clock.since(found.modified().ok()?)? > STEP;
    // Where there are no fractions, file systems count in seconds.
    (is_past && found.mtime_nsec() != 0).then_some(Some(found))
}

/// What is another after each change of a file.
fn last_change(found: &Metadata) -> impl Hash + use<> {
    let time = (found.mtime(), found.mtime_nsec());
    (found.dev(), found.ino(), found.size(), time)
}

/// What says of the log how far it was committed, if any program has the database open.
fn last_commit(index: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    match File::open(index) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        index => {
            index?.take(INDEX_HEADER).read_to_end(&mut header)?;
        }
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::last_commit;
    use crate::store::Store;

    #[test]
    fn the_index_of_the_log_is_another_after_each_commit_and_after_nothing_else() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("runner.db");
        let index = folder.path().join("runner.db-shm");
        drop(Store::create(&path).unwrap());
        assert!(last_commit(&index).unwrap().is_empty());
        let (writer, reader) = (Connection::open(&path), Connection::open(&path));
        let (writer, reader) = (writer.unwrap(), reader.unwrap());
        let look = || -> i64 {
            let sql = "SELECT count(*) FROM setting";
            reader.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        look();
        for round in 0..10 {
            let before = last_commit(&index).unwrap();
            assert_eq!(before.len(), 96);
            let sql = format!("BEGIN; INSERT INTO setting VALUES ('key {round}', '')");
            writer.execute_batch(&sql).unwrap();
            assert_eq!(look(), round);
            assert_eq!(last_commit(&index).unwrap(), before);
            writer.execute_batch("COMMIT").unwrap();
            assert_ne!(last_commit(&index).unwrap(), before);
            assert_eq!(look(), round + 1);
        }
    }
}
