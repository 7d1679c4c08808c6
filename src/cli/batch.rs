//! Files with a JSON object a line, which are added all or not at all.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::os::fd::AsFd;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::json::read_object;

/// A file of objects.
pub(super) struct Batch<'p> {
    path: &'p Path,
    lines: BufReader<File>,
}

impl<'p> Batch<'p> {
    /// Opens a file, or standard input for `-`. A pipe is read to its end first: nobody else can write to the database
    /// during the transaction, and whoever writes to the pipe may take their time.
    pub(super) fn open(path: &'p Path) -> Result<Self> {
        let open = || {
            let mut file = if path == Path::new("-") {
                File::from(io::stdin().as_fd().try_clone_to_owned()?)
            } else {
                File::open(path)?
            };
            if !file.metadata()?.is_file() {
                let mut whole = tempfile::tempfile()?;
                io::copy(&mut file, &mut whole)?;
                whole.rewind()?;
                file = whole;
            }
            Ok(BufReader::new(file))
        };
        let lines = open().map_err(|source| Error::io(path, source))?;
        Ok(Self { path, lines })
    }

    /// Hands over each object, `what` for people. What is wrong with one is an error that names its line; empty lines do
    /// not count.
    pub(super) fn for_each<T: DeserializeOwned>(
        self,
        what: &str,
        mut add: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        for (index, line) in self.lines.lines().enumerate() {
            let wrong = |reason| {
                let place = format!("{} line {}", self.path.display(), index + 1);
                Error::invalid(place, reason)
            };
            let line = line.map_err(|source| Error::io(self.path, source))?;
            if line.trim().is_empty() {
                continue;
            }
            let object =
                read_object(&line).map_err(|reason| wrong(format!("no {what}: {reason}")))?;
            add(object).map_err(|error| match error {
                Error::Sqlite(_) | Error::Database { .. } => error,
                error => wrong(error.to_string()),
            })?;
        }
        Ok(())
    }
}
