//! Whether anybody has written to a database, told without opening it.

use std::fmt;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::file::Files;
use crate::boot;
use crate::clock::Clock;

/// How long ago a file must have been changed for its time to tell the next change from that one: file systems count in
/// steps of up to two seconds.
const STEP: Duration = Duration::from_secs(3);

/// The header of the index of the write-ahead log, which is there twice.
const INDEX_HEADER: usize = 2 * 48;

/// The byte of the index on which each program that has the database open holds a lock: SQLite's `UNIX_SHM_DMS`.
const IN_USE: u64 = 128;

/// What the system and SQLite say of the files of a database, in short: while they say the same, nothing was committed.
///
/// While any program has the database open, a commit is what changes the header of the log's index: SQLite itself goes by
/// that. The time of the log would not do, since it is set before the log is synced, and the commit seen only after that.
/// The last program to close the database moves what is in the log into the file, which has another time then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    /// Of a database as it is now; none where its files cannot tell: when the last to have it open did not close it, when
    /// it was written to a moment ago, when the system does not say which boot this is, or when the clock is not its own.
    ///
    /// Not for a process that has the database open: to close a file frees all locks that the process has on it.
    pub(crate) fn of(files: &Files, clock: &Clock) -> Option<Self> {
        // In this order: what is committed is in the log until it is in the file, and so is missed in neither.
        let last_commit = last_commit(files)?;
        let is_there = |ending: &str| files.beside(ending).symlink_metadata().is_ok();
        // What is in a log that has lost its index, or is to be undone, the next to open the database finds out.
        if is_there("-wal") != last_commit.is_some() || is_there("-journal") {
            return None;
        }
        let file = fs::metadata(files.beside("")).ok()?;
        if clock.since(file.modified().ok()?)? <= STEP {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        // Another version may find more to be due.
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        // A machine that lost its power may have lost the times of files, and not what was written to them.
        boot::id()?.hash(&mut hasher);
        last_commit.hash(&mut hasher);
        identity(&file).hash(&mut hasher);
        Some(Self(hasher.finish()))
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// Which file it is, and what is another after each change. Whoever puts a copy in its place may give it the time that the
/// other one had, but not its ctime.
fn identity(file: &Metadata) -> impl Hash + use<> {
    let changed = (file.mtime(), file.mtime_nsec());
    let placed = (file.ctime(), file.ctime_nsec());
    (file.dev(), file.ino(), file.size(), changed, placed)
}

/// What the index of the log says was committed last, if any program has the database open; none when one has left it
/// there that died.
fn last_commit(files: &Files) -> Option<Option<[u8; INDEX_HEADER]>> {
    let Some(mut index) = files.look_into("-shm").ok()? else {
        return Some(None);
    };
    let probe = Flock {
        start: IN_USE,
        length: 1,
        offset_type: FlockOffsetType::Set,
        ..Flock::from(FlockType::WriteLock)
    };
    fcntl_getlk(&index, &probe).ok()??;
    let mut header = [0; INDEX_HEADER];
    index.read_exact(&mut header).ok()?;
    Some(Some(header))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use tempfile::TempDir;

    use super::{Files, STEP, Stamp};
    use crate::clock::Clock;
    use crate::store::Store;

    fn stamp(path: &Path) -> Option<Stamp> {
        Stamp::of(&Files::of(path), &Clock::system())
    }

    /// Gives a file the time of a change.
    pub(crate) fn changed_at(path: &Path, time: SystemTime) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }

    /// A database that nobody has open, and that was changed long ago.
    pub(crate) fn database() -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("runner.db");
        drop(Store::create(&path).unwrap());
        changed_at(&path, UNIX_EPOCH + Duration::from_secs(1_775_804_400));
        (folder, path)
    }

    #[test]
    fn it_is_the_same_while_nobody_writes() {
        let (_folder, path) = database();
        let known = stamp(&path);
        assert!(known.is_some() && stamp(&path) == known);
        drop(Store::open(&path).unwrap().settings().unwrap());
        assert_eq!(stamp(&path), known, "it was only read");
        let text = known.unwrap().to_string();
        assert_eq!(Stamp::parse(&text), known);
    }

    #[test]
    fn it_is_another_for_another_file_or_another_time() {
        let (folder, path) = database();
        let known = stamp(&path).unwrap();
        let copy = folder.path().join("copy.db");
        fs::copy(&path, &copy).unwrap();
        let modified = path.metadata().unwrap().modified().unwrap();
        changed_at(&copy, modified);
        fs::rename(&copy, &path).unwrap();
        let put_back = stamp(&path).unwrap();
        assert_ne!(put_back, known);
        changed_at(&path, modified + Duration::from_nanos(1));
        assert_ne!(stamp(&path).unwrap(), put_back);
    }

    #[test]
    fn there_is_none_where_the_files_cannot_tell() {
        let (folder, path) = database();
        let beside = |ending: &str| folder.path().join(format!("runner.db{ending}"));
        for ending in ["-journal", "-wal", "-shm"] {
            fs::write(beside(ending), "left by one that died").unwrap();
            assert_eq!(stamp(&path), None, "{ending}");
            fs::remove_file(beside(ending)).unwrap();
        }
        fs::write(beside("-wal"), "").unwrap();
        fs::write(beside("-shm"), [0; 32768]).unwrap();
        assert_eq!(stamp(&path), None, "nobody has it open");
        fs::remove_file(beside("-wal")).unwrap();
        fs::remove_file(beside("-shm")).unwrap();
        assert!(stamp(&path).is_some());
        let fixed = Clock::fixed(Clock::system().start());
        assert_eq!(Stamp::of(&Files::of(&path), &fixed), None);
        assert_eq!(stamp(Path::new("none.db")), None);
        let clock = Clock::system();
        let now = UNIX_EPOCH + clock.since(UNIX_EPOCH).unwrap();
        let at = |time: SystemTime| {
            changed_at(&path, time);
            Stamp::of(&Files::of(&path), &clock)
        };
        assert_eq!(at(now), None, "it was changed a moment ago");
        assert_eq!(at(now - STEP), None);
        assert_eq!(at(now + STEP), None, "its time is yet to come");
        assert!(at(now - STEP - Duration::from_millis(1)).is_some());
    }
}
