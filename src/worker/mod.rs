//! A worker: a tick or a `task run` that has claimed tasks. Whether one lives is told by a lock on a file of its own
//! beside the database, which the kernel frees with the process: never by a pid, which is used again and means
//! something else in each container, nor by a lease, which is always too short or too long.
//!
//! The file says which boot of the machine it is of, and which attempts were really started: what a dead worker had
//! claimed and not started can run again without harm. The database's own file is never locked this way, since closing
//! any handle of it would drop SQLite's locks.

mod leftovers;
mod recovery;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use leftovers::{MARK, gone_their_own_way, kill_all_of};
pub use recovery::{Recovered, recover};

use crate::boot;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::time::Timestamp;

const HEADER: usize = 64;
const NOTE: usize = 16;

/// This process, as a worker.
#[derive(Debug)]
pub struct Worker {
    /// Its id in the database.
    pub id: i64,
    notes: Arc<Notes>,
    path: PathBuf,
    /// Which places for notes in its file are taken.
    taken: Vec<bool>,
    /// The lowest place that may be free.
    free: usize,
    /// Starts to be noted, at these places.
    to_note: Vec<(usize, (i64, u32))>,
}

/// The notes of starts in a worker's locked file.
#[derive(Debug)]
pub struct Notes(File);

impl Notes {
    /// Notes at a place that an attempt is about to start.
    pub(crate) fn write(&self, place: usize, task: (i64, u32)) -> io::Result<()> {
        self.0.write_all_at(&note(task), offset(place))
    }

    /// Notes from a place on that these attempts are about to start.
    fn write_all(&self, place: usize, tasks: impl Iterator<Item = (i64, u32)>) -> io::Result<()> {
        let notes: Vec<u8> = tasks.flat_map(note).collect();
        self.0.write_all_at(&notes, offset(place))
    }
}

fn note((id, attempt): (i64, u32)) -> [u8; NOTE] {
    let mut note = [0; NOTE];
    note[..8].copy_from_slice(&id.to_le_bytes());
    note[8..12].copy_from_slice(&attempt.to_le_bytes());
    note
}

fn offset(place: usize) -> u64 {
    (HEADER + place * NOTE) as u64
}

impl Worker {
    /// Registers this process, inside the transaction that makes its first claims: nobody sees the worker without its
    /// lock.
    ///
    /// # Errors
    /// When the lock file cannot be made, or as SQLite says.
    pub fn register(store: &Store, clock: &Clock) -> Result<Self> {
        let mut id = store.insert_worker(std::process::id(), clock.now())?;
        recovery::remove_litter(store, id)?;
        let mut lock = new_lock(store, id);
        for _ in 0..OTHER_NUMBERS {
            // Somebody else has left a file of this number that we may not open.
            let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            if !lock.as_ref().is_err_and(is_taken) {
                break;
            }
            store.delete_worker(id)?;
            id = store.insert_worker(std::process::id(), clock.now())?;
            lock = new_lock(store, id);
        }
        let path = lock_path(store, id);
        let lock = lock.map_err(|source| Error::io(&path, source))?;
        Ok(Self {
            id,
            notes: Arc::new(Notes(lock)),
            path,
            taken: Vec::new(),
            free: 0,
            to_note: Vec::new(),
        })
    }

    /// The id of the worker that this process is; one that it becomes by that, if it was none, comes with it.
    ///
    /// # Errors
    /// As [`Worker::register`].
    pub(crate) fn known_or_new(
        known: Option<&Self>,
        store: &Store,
        clock: &Clock,
    ) -> Result<(i64, Option<Self>)> {
        match known {
            Some(worker) => Ok((worker.id, None)),
            None => {
                let worker = Self::register(store, clock)?;
                Ok((worker.id, Some(worker)))
            }
        }
    }

    /// What its handlers have in their environment, so that what they leave behind can be told from anybody else's.
    pub fn mark(&self) -> String {
        mark(&self.path)
    }

    /// Notes that an attempt is about to start. The place of the note, for [`Worker::forget`].
    ///
    /// # Errors
    /// When the note cannot be written: then the attempt must not start.
    pub fn note_start(&mut self, task: (i64, u32)) -> Result<usize> {
        let place = self.reserve();
        self.notes
            .write(place, task)
            .map_err(|source| Error::io(&self.path, source))?;
        Ok(place)
    }

    /// Will note that an attempt is about to start, when [`Worker::write_notes`] is called: before that it must not. The
    /// place of the note.
    pub(crate) fn note_start_later(&mut self, task: (i64, u32)) -> usize {
        let place = self.reserve();
        self.to_note.push((place, task));
        place
    }

    /// Writes the notes that are to be written, neighbours together.
    ///
    /// # Errors
    /// When one cannot be written: then none of their attempts must start.
    pub(crate) fn write_notes(&mut self) -> Result<()> {
        let mut notes = std::mem::take(&mut self.to_note);
        notes.sort_unstable_by_key(|(place, _)| *place);
        for neighbours in notes.chunk_by(|(a, _), (b, _)| a + 1 == *b) {
            let place = neighbours.first().map_or(0, |(place, _)| *place);
            let tasks = neighbours.iter().map(|(_, task)| *task);
            self.notes
                .write_all(place, tasks)
                .map_err(|source| Error::io(&self.path, source))?;
        }
        // The room is used again.
        notes.clear();
        self.to_note = notes;
        Ok(())
    }

    /// A place for the note of an attempt that another thread will start.
    pub(crate) fn reserve(&mut self) -> usize {
        let free = self.taken.iter().skip(self.free).position(|taken| !taken);
        let place = free.map_or(self.taken.len(), |further| self.free + further);
        match self.taken.get_mut(place) {
            Some(taken) => *taken = true,
            None => self.taken.push(true),
        }
        self.free = place + 1;
        place
    }

    /// Where other threads note what they start.
    pub(crate) fn notes(&self) -> Arc<Notes> {
        Arc::clone(&self.notes)
    }

    /// The end of the attempt is committed: its note's place may be used again.
    pub fn forget(&mut self, place: usize) {
        if let Some(taken) = self.taken.get_mut(place) {
            *taken = false;
            self.free = self.free.min(place);
        }
    }

    /// Removes the lock, after the worker's row.
    pub fn sign_off(self) {
        // Litter that cannot be removed does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// Gives a claimed task back that was not started. One that somebody asked to end meanwhile is over.
///
/// # Errors
/// SQLite's.
pub(crate) fn give_back(store: &Store, task: i64, worker: i64, now: Timestamp) -> Result<()> {
    store.unclaim_task(task, worker, now).map(drop)
}

/// How many other numbers a worker tries when it may not use the file of the first.
const OTHER_NUMBERS: usize = 8;

fn new_lock(store: &Store, id: i64) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).create(true).truncate(true);
    let file = store.files().open_beside(&lock_ending(id), &mut how)?;
    file.try_lock().map_err(io::Error::from)?;
    file.write_all_at(&header(), 0)?;
    Ok(file)
}

/// What is known of another worker from its file.
enum Life {
    /// It holds its lock.
    Alive,
    /// It does not; the lock is now ours, while this is kept.
    Dead {
        /// The attempts that it started; `None` when that cannot be known, after a reboot say.
        started: Option<Vec<(i64, u32)>>,
        _lock: Option<File>,
    },
}

fn life_of(store: &Store, worker: i64) -> Result<Life> {
    let path = &lock_path(store, worker);
    let unknown = Life::Dead {
        started: None,
        _lock: None,
    };
    let mut how = OpenOptions::new();
    how.read(true).write(true);
    let mut file = match store.files().open_beside(&lock_ending(worker), &mut how) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(unknown),
        // Another user's run: its lock can be looked at by nobody else.
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
    Ok(Life::Dead {
        started: started(&content),
        _lock: Some(file),
    })
}

fn started(content: &[u8]) -> Option<Vec<(i64, u32)>> {
    let notes = content.strip_prefix(&header())?;
    let note = |note: &[u8]| {
        let id = i64::from_le_bytes(note.get(..8)?.try_into().ok()?);
        Some((id, u32::from_le_bytes(note.get(8..12)?.try_into().ok()?)))
    };
    Some(notes.chunks_exact(NOTE).filter_map(note).collect())
}

/// What the file of a worker of this boot begins with.
fn header() -> [u8; HEADER] {
    let mut header = [b' '; HEADER];
    let text = format!("runner worker 1 {}", boot::id().unwrap_or_default());
    let kept = text.len().min(HEADER - 1);
    header[..kept].copy_from_slice(&text.as_bytes()[..kept]);
    header[HEADER - 1] = b'\n';
    header
}

fn lock_path(store: &Store, id: i64) -> PathBuf {
    store.files().beside(&lock_ending(id))
}

/// What the name of a worker's file ends with.
fn lock_ending(id: i64) -> String {
    format!("-worker-{id}")
}

fn mark(lock: &Path) -> String {
    lock.display().to_string()
}

/// The prefix of the temporary folders that a worker lays files out in.
pub(crate) fn folder_prefix(store: &Store, worker: i64) -> String {
    use std::os::unix::fs::MetadataExt;
    // On another disk another database may have the same number.
    let (disk, file) = fs::metadata(store.files().path())
        .map(|found| (found.dev(), found.ino()))
        .unwrap_or_default();
    format!("runner-{disk}-{file}-{worker}-")
}
