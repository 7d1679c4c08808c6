//! A folder of `.eml` files, which any mail program opens.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Outgoing;
use super::sender::{Accepted, Failure, SendError};

/// Writes the mail as `FOLDER/<message id>.eml`. The folder is made if it is missing, for its owner alone. A repeat has
/// the same Message-ID and so stays one file; after a power cut the file is there in full or not at all.
pub(super) fn write(folder: &Path, mail: &Outgoing, message: &[u8]) -> Result<Accepted, SendError> {
    let name = mail
        .id_without_brackets()
        .ok()
        .filter(|id| !id.contains('/') && !id.starts_with('.'));
    let name = name.ok_or_else(|| {
        SendError::new(
            Failure::Refused,
            "its Message-ID can't be the name of a file",
        )
    })?;
    let path = store(folder, &format!("{name}.eml"), message).map_err(|error| {
        SendError::new(
            Failure::Unreachable,
            &format!("mail folder {}: {error}", folder.display()),
        )
    })?;
    Ok(Accepted::new(&format!("written to {}", path.display())))
}

fn store(folder: &Path, name: &str, message: &[u8]) -> io::Result<PathBuf> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(message)?;
    file.as_file().sync_all()?;
    let path = folder.join(name);
    file.persist(&path)?;
    File::open(folder)?.sync_all()?;
    Ok(path)
}
