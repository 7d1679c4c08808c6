//! The database as a file, and the files that go with it.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What a group may do with a file.
const GROUP: u32 = 0o060;
/// No link is followed, and a pipe is not waited for: in a folder where all may write, others may have put them there.
const NO_TRICKS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// A database as a file, open or not, and where the files are that go with it.
pub(crate) struct Files {
    path: PathBuf,
    /// The same by no link, as it was when it was looked at.
    real_path: PathBuf,
    /// Its metadata then.
    found: Option<Metadata>,
}

impl Files {
    /// Those of the database at a path, which need not be there.
    pub(crate) fn of(path: &Path) -> Self {
        let real_path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Self {
            path: path.to_owned(),
            found: fs::metadata(&real_path).ok(),
            real_path,
        }
    }

    /// Where the database is, as it was named.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The database's metadata when it was looked at.
    pub(super) fn found(&self) -> Option<&Metadata> {
        self.found.as_ref()
    }

    /// The folder of the database, by whatever link it was named: what is relative in it is relative to this.
    pub(crate) fn folder(&self) -> PathBuf {
        let folder = self
            .real_path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        folder.unwrap_or(Path::new(".")).to_owned()
    }

    /// The path of a file that goes with the database: its name and this ending.
    pub(crate) fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.real_path.clone().into_os_string();
        name.push(ending);
        name.into()
    }

    /// Opens a file that goes with the database. When it is made, it is for those who may use the database, as SQLite does
    /// with its own: else their next run could not open it. A link in its place is refused, since it could lead to any other
    /// file of ours, and so is a pipe, which nobody may read from.
    pub(crate) fn open_beside(&self, ending: &str, how: &mut OpenOptions) -> io::Result<File> {
        let file = how
            .mode(0o600)
            .custom_flags(NO_TRICKS)
            .open(self.beside(ending))?;
        let user = rustix::process::geteuid();
        if let Some(database) = &self.found
            && (user.is_root() || database.mode() & GROUP != 0)
        {
            let made = file.metadata()?;
            // A file with another name as well is not one of ours.
            if made.uid() == user.as_raw() && made.is_file() && made.nlink() == 1 {
                share(&file, &made, database);
            }
        }
        Ok(file)
    }

    /// Opens a file that goes with the database to be read, if it is there. No link is followed, and a pipe in its place
    /// is not waited for.
    pub(super) fn look_into(&self, ending: &str) -> io::Result<Option<File>> {
        let mut how = OpenOptions::new();
        how.read(true).custom_flags(NO_TRICKS);
        match how.open(self.beside(ending)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => file.map(Some),
        }
    }

    /// Reads the beginning of a text that goes with the database, so many bytes at most, if it is there.
    pub(crate) fn read_beside(&self, ending: &str, most: u64) -> io::Result<Option<String>> {
        let Some(file) = self.look_into(ending)? else {
            return Ok(None);
        };
        let mut text = String::new();
        file.take(most).read_to_string(&mut text)?;
        Ok(Some(text))
    }

    /// Refuses a database with several names: SQLite keeps a log beside each of them, and what it writes by one ruins what
    /// it knows by another.
    pub(crate) fn check_names(&self) -> Result<()> {
        match &self.found {
            Some(found) if found.is_file() && found.nlink() > 1 => {
                let reason = format!(
                    "this database has {} names (hard links), and to use it by two of them ruins it: keep one of those that 'find DIR -samefile FILE' shows, and remove the others",
                    found.nlink()
                );
                Err(Error::invalid(self.path.display().to_string(), reason))
            }
            // What is wrong with it otherwise is reported when it is opened.
            _ => Ok(()),
        }
    }

    /// Whether the file still is where it was.
    pub(crate) fn is_in_place(&self) -> bool {
        let same = |a: &Metadata, b: &Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        match (&self.found, fs::metadata(&self.path)) {
            (Some(found), Ok(now)) => same(found, &now),
            _ => false,
        }
    }
}

/// Gives a file to whom the database belongs, as far as we may: not everybody, and not root everywhere, may give files away.
fn share(file: &File, made: &Metadata, database: &Metadata) {
    if (made.uid(), made.gid()) != (database.uid(), database.gid()) {
        let owner = (made.uid() == 0).then(|| database.uid());
        let _ = fchown(file, owner, Some(database.gid()));
    }
    let mode = 0o600 | database.mode() & GROUP;
    if made.mode() & 0o777 != mode {
        let _ = file.set_permissions(Permissions::from_mode(mode));
    }
}
