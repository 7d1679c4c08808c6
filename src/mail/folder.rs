//! A folder of `.eml` files, which any mail program opens.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::delivery::{Delivery, DeliveryError, Failure};
use super::message::Message;

/// Writes the mail as `FOLDER/<message id>.eml`. The folder is made if it is missing, for its owner alone. A repeat has
/// the same Message-ID and so stays one file; after a power cut the file is there in full or not at all.
pub(super) fn write(folder: &Path, message: &Message) -> Result<Delivery, DeliveryError> {
    if message.id.contains('/') || message.id.starts_with('.') {
        let reason = "its Message-ID can't be the name of a file";
        return Err(DeliveryError::new(Failure::Refused, reason));
    }
    let path = store(folder, &format!("{}.eml", message.id), &message.bytes);
    let path = path.map_err(|error| {
        let reason = format!("mail folder {}: {error}", folder.display());
        DeliveryError::new(Failure::Unreachable, &reason)
    })?;
    Ok(Delivery::to_all(&format!("written to {}", path.display())))
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
