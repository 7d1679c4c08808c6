//! When the last tick came to its end, in a file of its own beside the database: a tick that finds nothing to do writes
//! nothing to the database.

use std::fs;
use std::io::{self, Write};

use crate::error::{Error, Result};
use crate::store::Store;
use crate::time::Timestamp;

/// What the name of the file ends with.
const TICK_FILE: &str = "-tick";

/// Notes that a tick came to its end.
pub(super) fn note_tick(store: &Store, now: Timestamp) -> Result<()> {
    let mut how = fs::OpenOptions::new();
    // The text is always as long as the one before it; to cut the file first would cost more than all the rest.
    how.write(true).create(true).truncate(false);
    store
        .files()
        .open_beside(TICK_FILE, &mut how)
        .and_then(|mut file| file.write_all(now.to_sql().as_bytes()))
        .map_err(|source| Error::io(&store.files().beside(TICK_FILE), source))
}

/// When the last tick came to its end, if one did.
///
/// # Errors
/// When the file that says so may not be read.
pub fn last_tick(store: &Store) -> Result<Option<Timestamp>> {
    let path = store.files().beside(TICK_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Timestamp::from_sql(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io(&path, source)),
    }
}
