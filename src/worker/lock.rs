//! This process as a worker: who has claimed tasks or mails, and lives.
//!
//! Whether a worker lives is told by a lock on a file of its own beside the database, which the kernel frees with the
//! process: never by a pid, which is used again and means something else in each container, nor by a lease, which is always
//! too short or too long. The file says which boot of the machine it is of, which attempts were started, and by which
//! processes. The database's own file is never locked this way, since closing any handle of it would drop SQLite's locks.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Pid;

use super::process::ProcessId;
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
pub(crate) struct WorkerLock {
    /// Its id in the database.
    pub(crate) id: i64,
    path: PathBuf,
    notes: StartNotes,
    /// Which places for notes are taken.
    taken: Vec<bool>,
}

impl WorkerLock {
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
            notes: StartNotes(Arc::new(file)),
            taken: Vec::new(),
        })
    }

    /// The value of [`WORKER_ENV`](super::process::WORKER_ENV) in the environment of its handlers.
    pub(crate) fn mark(&self) -> String {
        self.path.display().to_string()
    }

    /// Where the threads that start handlers note that they do.
    pub(super) fn notes(&self) -> StartNotes {
        self.notes.clone()
    }

    /// A place for the note of an attempt, until [`WorkerLock::free_place`].
    pub(super) fn take_place(&mut self) -> usize {
        match self.taken.iter().position(|taken| !taken) {
            Some(place) => {
                self.taken[place] = true;
                place
            }
            None => {
                self.taken.push(true);
                self.taken.len() - 1
            }
        }
    }

    /// The end of the attempt is in the database.
    pub(super) fn free_place(&mut self, place: usize) {
        self.taken[place] = false;
    }

    /// Removes the file, after the worker's row.
    pub(crate) fn sign_off(self) {
        // What is left is removed by one of the next workers.
        let _ = fs::remove_file(&self.path);
    }
}

/// The part of a worker's file that says what it has started.
#[derive(Debug, Clone)]
pub(super) struct StartNotes(Arc<File>);

/// The note of an attempt that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StartNote {
    pub(super) task: i64,
    pub(super) attempt: u32,
    /// The process that does it, once there is one.
    pub(super) process: Option<ProcessId>,
}

impl StartNotes {
    /// Notes that an attempt is about to start: only then it may. Once more when its process is known.
    pub(super) fn write(&self, place: usize, note: &StartNote) -> io::Result<()> {
        self.0.write_all_at(&note.to_bytes(), offset(place))
    }
}

impl StartNote {
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

fn offset(place: usize) -> u64 {
    (HEADER + place * NOTE) as u64
}

fn create(store: &Store, id: i64) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).create(true).truncate(true);
    let file = store.files().open_beside(&ending(id), &mut how)?;
    file.try_lock().map_err(io::Error::from)?;
    file.write_all_at(&header(), 0)?;
    Ok(file)
}

/// What another worker's file tells.
pub(super) enum Life {
    Alive,
    Dead(Remains),
}

/// What is known of a dead worker. Its lock is ours while this is kept.
#[derive(Default)]
pub(super) struct Remains {
    /// The attempts that it had started; `None` when that cannot be known, after a reboot say.
    pub(super) started: Option<Vec<StartNote>>,
    _lock: Option<File>,
}

/// Looks whether a worker lives.
pub(super) fn life_of(store: &Store, worker: i64) -> Result<Life> {
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

fn started(content: &[u8]) -> Option<Vec<StartNote>> {
    let notes = content.strip_prefix(&header())?;
    Some(
        notes
            .chunks(NOTE)
            .filter_map(StartNote::from_bytes)
            .collect(),
    )
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

pub(super) fn path_of(store: &Store, id: i64) -> PathBuf {
    store.files().beside(&ending(id))
}

fn ending(id: i64) -> String {
    format!("-worker-{id}")
}

/// What the names of a worker's folders in the temporary directory begin with.
pub(super) fn folder_prefix(store: &Store, worker: i64) -> String {
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
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&header(), 0).unwrap();
        let notes = StartNotes(Arc::new(file.try_clone().unwrap()));
        let note = |task, process| StartNote {
            task,
            attempt: 2,
            process,
        };
        let us = ProcessId::of(rustix::process::getpid());
        notes.write(0, &note(7, us)).unwrap();
        notes.write(1, &note(i64::MAX, None)).unwrap();
        let mut content = vec![0; HEADER + 2 * NOTE];
        file.read_exact_at(&mut content, 0).unwrap();
        let expected = vec![note(7, us), note(i64::MAX, None)];
        assert_eq!(started(&content), Some(expected));
        assert!(us.is_some_and(|us| us.is_alive()));
        assert_eq!(started(b"of another boot"), None);
    }
}
