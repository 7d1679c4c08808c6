//! Whether others could have put commands into a database: who can write to it runs them as its user.
//!
//! See `docs/administration.md`, “Permissions”. What lies in a folder that only its owner, root or the group of the
//! database can change is trusted.

use std::fs::{self, File, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::file::Files;
use crate::error::{Error, Result};

/// What SQLite keeps beside a database and takes for a part of it.
const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

const WRITABLE_BY_ALL: u32 = 0o002;
const WRITABLE_BY_GROUP: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// Refuses a database whose commands might not be its user's own. One that is not there is left to whoever opens it.
pub(crate) fn check(files: &Files) -> Result<()> {
    let Some(database) = files.found() else {
        return Ok(());
    };
    let path = files.beside("");
    if has_mode(database, WRITABLE_BY_ALL) {
        let reason =
            "anybody may write to this database, and so run commands as you: 'chmod o-w' it";
        return Err(refused(&path, reason));
    }
    let (owner, user) = (database.uid(), user());
    if owner != user {
        let reason = format!(
            "this database belongs to another user (id {owner}), whose commands would run as you (id {user}): 'chown' it"
        );
        return Err(refused(&path, &reason));
    }
    check_folder(&path, database)?;
    check_side_files(files)
}

fn check_folder(path: &Path, database: &Metadata) -> Result<()> {
    let folder = folder_of(path)?;
    let is_sticky = has_mode(&folder, STICKY);
    let group_may_write = has_mode(database, WRITABLE_BY_GROUP) && database.gid() == folder.gid();
    let reason = if ![user(), 0].contains(&folder.uid()) {
        "the folder of this database belongs to another user, who can put another database in its place: 'chown' the folder"
    } else if has_mode(&folder, WRITABLE_BY_ALL) && !is_sticky {
        "anybody may put files into the folder of this database, and so run commands as you: 'chmod o-w' the folder"
    } else if has_mode(&folder, WRITABLE_BY_GROUP) && !is_sticky && !group_may_write {
        "a group may put files into the folder of this database that may not write to the database itself: 'chmod g-w' the folder, or let the same group write to the database"
    } else {
        return Ok(());
    };
    Err(refused(path, reason))
}

/// Refuses the files of somebody else beside a database in a folder where others may put files but not replace ours, as
/// in the temporary directory: the first of our commands
/// to open the database would make them a part of it.
pub(crate) fn check_side_files(files: &Files) -> Result<()> {
    let Some(database) = files.found() else {
        return Ok(());
    };
    let folder = folder_of(&files.beside(""))?;
    if !(has_mode(&folder, STICKY) && has_mode(&folder, WRITABLE_BY_ALL | WRITABLE_BY_GROUP)) {
        return Ok(());
    }
    for ending in SIDE_FILES {
        let side = files.beside(ending);
        // Not what a link leads to: SQLite makes no links here.
        let Ok(found) = fs::symlink_metadata(&side) else {
            continue;
        };
        let is_ours = [user(), database.uid()].contains(&found.uid());
        if !is_ours || !found.is_file() || has_mode(&found, WRITABLE_BY_ALL) {
            let reason = "SQLite takes this file for a part of the database, and somebody else may have written it, to run commands as you: look who did, and remove it";
            return Err(refused(&side, reason));
        }
    }
    Ok(())
}

/// Takes from an empty file what others might do with it: it may have been made before us, with whatever mode. One that
/// belongs to somebody else, who could give himself all of it back, is refused.
pub(super) fn make_private(path: &Path, file: &File) -> Result<()> {
    let found = file.metadata().map_err(|source| Error::io(path, source))?;
    if found.uid() != user() {
        let reason = format!(
            "this file belongs to another user (id {}); remove it, or give another path",
            found.uid()
        );
        return Err(Error::invalid(path.display().to_string(), reason));
    }
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(|source| Error::io(path, source))
}

fn folder_of(path: &Path) -> Result<Metadata> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::metadata(folder).map_err(|source| Error::io(folder, source))
}

fn has_mode(found: &Metadata, bits: u32) -> bool {
    found.permissions().mode() & bits != 0
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn refused(thing: &Path, reason: &str) -> Error {
    Error::invalid(
        thing.display().to_string(),
        format!("{reason}, or give --trust-database"),
    )
}
