//! What was told, so that it is not told each minute.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};

use crate::error::{Error, Result};
use crate::model::issue::{Issue, MAILING};
use crate::outbox::Post;
use crate::store::Store;
use crate::store::file::Files;

/// What the file beside the database that remembers a failure of the run itself ends with.
const FAILURE_FILE: &str = "-failure";

/// How much of it is read, in bytes: more than any sentence of ours has.
const LONGEST_FAILURE: u64 = 1 << 16;

/// When the database cannot tell, better twice than never.
pub(super) fn is_new(store: &Store, issue: &Issue) -> bool {
    issue.is_final || !store.is_reported(issue.key()).unwrap_or(false)
}

pub(super) fn remember(post: &Post<'_>, issues: &[Issue], failure: Option<&Issue>) -> Result<()> {
    if let Some(failure) = failure {
        remember_failure(post.store, &failure.sentence)?;
    }
    if issues.is_empty() {
        return Ok(());
    }
    post.store.transact(|store| {
        for issue in issues {
            match issue.is_final {
                true => store.forget_reported(issue.key())?,
                false => store.remember_reported(issue.key(), post.clock.now())?,
            }
        }
        Ok(())
    })
}

/// Forgets what a whole tick, which met these issues and came to its end, shows to be over: it is told again when it
/// comes back.
///
/// # Errors
/// SQLite's, and the system's about the file that remembers a failure.
pub fn settle(store: &Store, issues: &[Issue]) -> Result<()> {
    forget_failure(store)?;
    if !store.has_reported()? {
        return Ok(());
    }
    store.transact(|store| {
        store.forget_settled()?;
        for past in store.reported_runs()? {
            let lasts = issues.iter().any(|issue| issue.key().0 == past)
                // In the pause of a mail nobody tries whether the server is there again.
                || past == MAILING && store.has_failing_mail()?;
            if !lasts {
                store.forget_reported((&past, 0, 0))?;
            }
        }
        Ok(())
    })
}

/// Whether the last run failed as a whole, and somebody was to be told.
pub(crate) fn has_failed(files: &Files) -> bool {
    files.has_beside(FAILURE_FILE)
}

/// A file that could be made but not be filled, on a full disk say, stands for whatever goes on.
pub(super) fn is_new_failure(store: &Store, sentence: &str) -> bool {
    match store.files().read_beside(FAILURE_FILE, LONGEST_FAILURE) {
        Ok(Some(told)) => !told.is_empty() && told != sentence,
        _ => true,
    }
}

fn remember_failure(store: &Store, sentence: &str) -> Result<()> {
    let mut how = OpenOptions::new();
    how.write(true).create(true).truncate(true);
    store
        .files()
        .open_beside(FAILURE_FILE, &mut how)
        .and_then(|mut file| file.write_all(sentence.as_bytes()))
        .map_err(|source| Error::io(&store.files().beside(FAILURE_FILE), source))
}

fn forget_failure(store: &Store) -> Result<()> {
    // One that somebody else has put there is nothing of ours, and may not be ours to remove.
    if !has_failed(store.files()) {
        return Ok(());
    }
    let path = store.files().beside(FAILURE_FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&path, error)),
        _ => Ok(()),
    }
}
