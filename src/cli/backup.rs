//! `runner backup`

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::output::bar;
use super::{Invocation, Session};
use crate::error::{Error, Result};

/// A copy that takes no longer than this shows no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the copy goes
    file: PathBuf,
}

impl Args {
    /// The copy gets its name once it is whole and on the disk.
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open_to_read()?;
        let path = &self.file;
        if path.symlink_metadata().is_ok() {
            return Err(is_there(path));
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let file = NamedTempFile::new_in(folder).map_err(|source| Error::io(path, source))?;
        session.shutdown.listen()?;
        if !copy(&session, file.path(), invocation.quiet)? {
            return Err(Error::invalid(
                path.display().to_string(),
                "the backup was ended",
            ));
        }
        let synced = file.as_file().sync_all();
        synced.map_err(|source| Error::io(path, source))?;
        file.persist_noclobber(path)
            .map_err(|failed| match failed.error {
                error if error.kind() == io::ErrorKind::AlreadyExists => is_there(path),
                error => Error::io(path, error),
            })?;
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| Error::io(folder, source))
    }
}

/// Whether it has come to its end: a signal ends it, so that no half of a copy is left.
fn copy(session: &Session<'_>, path: &Path, is_quiet: bool) -> Result<bool> {
    let bar = bar("[{bar:40}] {percent} %");
    let done = session.store.copy_into(path, |done, all| {
        if !is_quiet && session.clock.elapsed() > SHOWN_AFTER {
            bar.set_length(all);
            bar.set_position(done);
        }
        !session.shutdown.is_requested()
    });
    bar.finish_and_clear();
    done
}

fn is_there(path: &Path) -> Error {
    let reason = "there is such a file already; give the name of a new one";
    Error::invalid(path.display().to_string(), reason)
}
