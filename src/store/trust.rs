//! Whether others could have put commands into a database: who can write to it runs them as its user.
//!
//! Its owner and mode are not the whole of it. SQLite takes the write-ahead log and the journal beside the file for
//! parts of it, so one that somebody else put there counts as writing; and in a folder where all may write, they can.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::file::Files;
use crate::error::{Error, Result};

/// What SQLite keeps beside a database.
const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

const WRITABLE_BY_ALL: u32 = 0o002;
const WRITABLE_BY_GROUP: u32 = 0o020;
const STICKY: u32 = 0o1000;

const WAY_OUT: &str = "or say --trust-database";

/// A database whose commands may be run: they are its user's own, or he says so.
pub struct Trusted {
    files: Files,
    /// Whether others may put files beside it, which then is to be looked at again once ours are there.
    pub(super) others_may_come: bool,
}

impl Trusted {
    /// Refuses a database whose commands might not be its user's own. One that is not there, or that the system says
    /// nothing of, is left to whoever opens it.
    ///
    /// # Errors
    /// When the file is writable by all or belongs to somebody else, when one beside it is somebody else's, when its folder
    /// is one where all may write and replace the files of others.
    pub fn by_looking(files: Files) -> Result<Self> {
        let others_may_come = check(&files)?;
        Ok(Self {
            files,
            others_may_come,
        })
    }

    /// Takes its user's word for it.
    pub fn by_word(files: Files) -> Self {
        Self {
            files,
            others_may_come: false,
        }
    }

    /// Its files.
    pub fn files(&self) -> &Files {
        &self.files
    }
}

/// Refuses what [`Trusted::by_looking`] does. Whether others may put files beside the database.
pub(super) fn check(files: &Files) -> Result<bool> {
    let Some(found) = files.found() else {
        return Ok(false);
    };
    let path = files.beside("");
    if is_open_to_all(found) {
        let reason =
            "anybody may write to this database, and so run commands as you: 'chmod o-w' it";
        return Err(refused(&path, reason));
    }
    let (owner, user) = (found.uid(), user());
    if owner != user {
        let reason = format!(
            "this database belongs to another user (id {owner}), whose commands would run as you (id {user}): 'chown' it"
        );
        return Err(refused(&path, &reason));
    }
    let folder = folder_of(&path)?;
    if is_open_to_all(&folder) && folder.permissions().mode() & STICKY == 0 {
        let reason = "anybody may put files into the folder of this database, and so run commands as you: 'chmod o-w' the folder";
        return Err(refused(&path, reason));
    }
    check_side_files(files, found, &folder)?;
    let is_shared = folder.permissions().mode() & (WRITABLE_BY_ALL | WRITABLE_BY_GROUP) != 0;
    Ok(is_shared || ![user, 0].contains(&folder.uid()))
}

/// Refuses the files of somebody else beside a database that is ours alone: the first of our commands to open them
/// would make them a part of it.
///
/// # Errors
/// When there is such a file.
pub(super) fn check_beside(path: &Path) -> Result<()> {
    let files = Files::of(path);
    match files.found() {
        Some(found) if found.uid() == user() && !is_open_to_all(found) => {
            check_side_files(&files, found, &folder_of(&files.beside(""))?)
        }
        _ => Ok(()),
    }
}

/// Takes from an empty file what others might do with it: it may have been made before us, with whatever mode.
///
/// # Errors
/// When it belongs to somebody else, who could give himself all of it back.
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

fn check_side_files(files: &Files, database: &Metadata, folder: &Metadata) -> Result<()> {
    for ending in SIDE_FILES {
        let side = files.beside(ending);
        // Not what a link leads to: SQLite makes no links here, so one is somebody's trick.
        match fs::symlink_metadata(&side) {
            Ok(found) if is_trusted(&found, database, folder) => {}
            Ok(_) => {
                let reason = "SQLite takes this file for a part of the database, and somebody else may have written it, to run commands as you: look who did, and remove it";
                return Err(refused(&side, reason));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&side, error)),
        }
    }
    Ok(())
}

/// Whether a file beside a database was made by somebody who may write to the database.
pub(super) fn is_of_the_database(files: &Files, side: &Metadata) -> bool {
    let folder = folder_of(&files.beside(""));
    match (files.found(), folder) {
        (Some(database), Ok(folder)) => is_trusted(side, database, &folder),
        _ => false,
    }
}

/// Whoever may write to the database may have made the files beside it: we, its owner, and where its mode says so its
/// group. Where all may make files, the group of one says nothing of who made it.
fn is_trusted(side: &Metadata, database: &Metadata, folder: &Metadata) -> bool {
    let group_may = database.permissions().mode() & WRITABLE_BY_GROUP != 0
        && side.gid() == database.gid()
        && !is_open_to_all(folder);
    let by_owner = [user(), database.uid()].contains(&side.uid());
    side.is_file() && !is_open_to_all(side) && (by_owner || group_may)
}

fn is_open_to_all(found: &Metadata) -> bool {
    found.permissions().mode() & WRITABLE_BY_ALL != 0
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn refused(thing: &Path, reason: &str) -> Error {
    Error::invalid(thing.display().to_string(), format!("{reason}, {WAY_OUT}"))
}
