//! This process as a worker: who has claimed tasks or mails, and lives.
//!
//! Whether a worker lives is decided by a lock on a file of its own beside the database, which the kernel frees with the
//! process: never by a pid, which is used again and means something else in each container, nor by a lease, which is always
//! too short or too long. The file says which boot of the machine it is of, which attempts were started, and by which
//! processes. The database's own file is never locked this way, since closing any handle of it would drop SQLite's locks.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Pid;

use crate::boot;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::store::Store;

const HEADER: usize = 64;
const NOTE: usize = 32;
/// How many other ids are tried when somebody else's file has the name of the first one's.
const OTHER_IDS: usize = 8;
/// After how many of the workers before it a new one cleans up.
const LITTER: i64 = 8;

/// This process, as a worker.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Its id in the database.
    pub(crate) id: i64,
    path: PathBuf,
    file: Arc<File>,
    /// Which places for notes are taken.
    taken: Vec<bool>,
}

impl Registration {
    /// Registers this process. Inside a transaction, so that nobody sees the worker without its lock.
    pub(crate) fn register(store: &Store, clock: &Clock) -> Result<Self> {
        let mut id = store.insert_worker(std::process::id(), clock.now())?;
        remove_litter(store, id)?;
        let mut file = create(store, id);
        for _ in 0..OTHER_IDS {
            let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            if !file.as_ref().is_err_and(is_taken) {
                break;
            }
            store.delete_worker(id)?;
            id = store.insert_worker(std::process::id(), clock.now())?;
            file = create(store, id);
        }
        let path = path_of(store, id);
        let file = file.map_err(|source| Error::io(&path, source))?;
        Ok(Self {
            id,
            path,
            file: Arc::new(file),
            taken: Vec::new(),
        })
    }

    /// What its handlers have in their environment, to be found by.
    pub(crate) fn mark(&self) -> String {
        self.path.display().to_string()
    }

    /// For the note of an attempt's start, with a place in the file until [`Registration::free`].
    pub(crate) fn start_note(&mut self, task: i64, attempt: u32) -> StartNote {
        let free = self.taken.iter().position(|taken| !taken);
        let place = free.unwrap_or(self.taken.len());
        self.taken.resize(self.taken.len().max(place + 1), false);
        self.taken[place] = true;
        StartNote {
            file: Arc::clone(&self.file),
            place,
            started: Started {
                task,
                attempt,
                process: None,
            },
        }
    }

    /// The end of the attempt is in the database.
    pub(crate) fn free(&mut self, note: &StartNote) {
        self.taken[note.place] = false;
    }

    /// Removes the file, after the worker's row.
    pub(crate) fn sign_off(self) {
        // What is left is removed by one of the next workers.
        let _ = fs::remove_file(&self.path);
    }
}

/// Notes in the worker's file that an attempt was started.
#[derive(Debug, Clone)]
pub(crate) struct StartNote {
    file: Arc<File>,
    place: usize,
    started: Started,
}

impl StartNote {
    /// Only after this the attempt may start. Once more when its process is known.
    pub(crate) fn write(&mut self, process: Option<ProcessId>) -> io::Result<()> {
        self.started.process = process;
        let offset = HEADER + self.place * NOTE;
        self.file
            .write_all_at(&self.started.to_bytes(), offset as u64)
    }
}

/// An attempt that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) task: i64,
    pub(crate) attempt: u32,
    /// The process that does it, once there is one.
    pub(crate) process: Option<ProcessId>,
}

impl Started {
    fn to_bytes(self) -> [u8; NOTE] {
        let (pid, started) = self.process.map_or((0, 0), |process| {
            (process.pid.as_raw_nonzero().get(), process.started)
        });
        let mut bytes = [0; NOTE];
        bytes[..8].copy_from_slice(&self.task.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.attempt.to_le_bytes());
        bytes[12..16].copy_from_slice(&pid.to_le_bytes());
        bytes[16..24].copy_from_slice(&started.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let pid = i32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?);
        let started = u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?);
        Some(Self {
            task: i64::from_le_bytes(bytes.get(..8)?.try_into().ok()?),
            attempt: u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?),
            process: Pid::from_raw(pid.max(0)).map(|pid| ProcessId { pid, started }),
        })
    }
}

fn create(store: &Store, id: i64) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).create(true).truncate(true);
    let file = store.files().open_beside(&ending(id), &mut how)?;
    file.try_lock().map_err(io::Error::from)?;
    file.write_all_at(&header(), 0)?;
    Ok(file)
}

/// Distinguishes a process from all others of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pub(crate) pid: Pid,
    /// When it was started, in the machine's own count.
    pub(crate) started: u64,
}

impl ProcessId {
    /// Of the process that has this number now.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The name, in brackets, may have anything in it; the 22nd field is the 20th after it.
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        let fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
        let started = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, started })
    }

    /// Whether it is there, running or not reaped yet.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// Whether another worker lives.
pub(crate) enum Life {
    Alive,
    Dead(Remains),
}

/// What is known of a dead worker. Its lock is ours while this is kept.
#[derive(Default)]
pub(crate) struct Remains {
    /// The attempts that it had started; `None` when that cannot be known, after a reboot say.
    pub(crate) started: Option<Vec<Started>>,
    _lock: Option<File>,
}

/// Looks whether a worker lives.
pub(crate) fn life_of(store: &Store, worker: i64) -> Result<Life> {
    let path = &path_of(store, worker);
    let mut how = OpenOptions::new();
    how.read(true).write(true);
    let mut file = match store.files().open_beside(&ending(worker), &mut how) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Life::Dead(Remains::default()));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            log::warn!(
                "{}: no permission to see whether worker {worker} lives; it is taken for alive",
                path.display()
            );
            return Ok(Life::Alive);
        }
        Err(error) => return Err(Error::io(path, error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Life::Alive),
        Err(TryLockError::Error(error)) => return Err(Error::io(path, error)),
    }
    // Of the file that is locked: its name may lead to another one by now, or to none.
    let mut content = Vec::new();
    file.read_to_end(&mut content)
        .map_err(|source| Error::io(path, source))?;
    Ok(Life::Dead(Remains {
        started: started(&content),
        _lock: Some(file),
    }))
}

fn started(content: &[u8]) -> Option<Vec<Started>> {
    let notes = content.strip_prefix(&header())?;
    Some(notes.chunks(NOTE).filter_map(Started::from_bytes).collect())
}

/// What the file of a worker of this boot begins with.
fn header() -> [u8; HEADER] {
    let mut header = [b' '; HEADER];
    let text = format!("runner worker 2 {}", boot::id().unwrap_or_default());
    let kept = text.len().min(HEADER - 1);
    header[..kept].copy_from_slice(&text.as_bytes()[..kept]);
    header[HEADER - 1] = b'\n';
    header
}

pub(crate) fn path_of(store: &Store, id: i64) -> PathBuf {
    store.files().beside(&ending(id))
}

fn ending(id: i64) -> String {
    format!("-worker-{id}")
}

/// What the names of a worker's folders in the temporary directory begin with.
pub(crate) fn folder_prefix(store: &Store, worker: i64) -> String {
    // On another disk another database may have the same number.
    let (disk, file) = fs::metadata(store.files().path())
        .map(|found| (found.dev(), found.ino()))
        .unwrap_or_default();
    format!("runner-{disk}-{file}-{worker}-")
}

/// Removes the files of the last workers that died after they had taken their row away.
fn remove_litter(store: &Store, worker: i64) -> Result<()> {
    let earlier = (worker - LITTER).max(1)..worker;
    let left: Vec<i64> = earlier.filter(|id| path_of(store, *id).exists()).collect();
    if left.is_empty() {
        return Ok(());
    }
    let known = store.workers()?;
    for id in left.into_iter().filter(|id| !known.contains(id)) {
        if let Ok(Life::Dead(_lock)) = life_of(store, id) {
            let _ = fs::remove_file(path_of(store, id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_with_and_without_a_process() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        file.write_all_at(&header(), 0).unwrap();
        let mut registration = Registration {
            id: 1,
            path: PathBuf::new(),
            file: Arc::clone(&file),
            taken: Vec::new(),
        };
        let us = ProcessId::of(rustix::process::getpid());
        registration.start_note(7, 2).write(us).unwrap();
        registration.start_note(i64::MAX, 2).write(None).unwrap();
        let mut content = vec![0; HEADER + 2 * NOTE];
        file.read_exact_at(&mut content, 0).unwrap();
        let note = |task, process| Started {
            task,
            attempt: 2,
            process,
        };
        let expected = vec![note(7, us), note(i64::MAX, None)];
        assert_eq!(started(&content), Some(expected));
        assert!(us.is_some_and(|us| us.is_alive()));
        assert_eq!(started(b"of another boot"), None);
    }
}
