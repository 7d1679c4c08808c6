//! The way out that is set.

use std::env::{self, VarError};

use crate::error::{Error, Result};
use crate::mail::Transport;
use crate::model::settings::{MAIL_TRANSPORT, Settings};
use crate::store::Store;

/// The environment variable that goes before the setting `mail.transport`, so that a password need not be in the
/// database at all.
pub const TRANSPORT_VARIABLE: &str = "RUNNER_MAIL_TRANSPORT";

/// How mail leaves: what the environment says, else the setting. What is relative in it is relative to the folder of
/// the database.
///
/// # Errors
/// When it cannot be read; the sentence quotes nothing of it, since any part may belong to a password.
pub fn transport(store: &Store, settings: &Settings) -> Result<Transport> {
    let (source, text) = match env::var(TRANSPORT_VARIABLE) {
        Ok(text) if !text.is_empty() => (TRANSPORT_VARIABLE.to_owned(), text),
        Err(VarError::NotUnicode(_)) => {
            return Err(Error::invalid(TRANSPORT_VARIABLE, "it is no text"));
        }
        _ => {
            let text = settings.text(MAIL_TRANSPORT)?.to_owned();
            (format!("setting {MAIL_TRANSPORT}"), text)
        }
    };
    Transport::parse(&text)
        .map(|transport| transport.within(&store.files().folder()))
        .map_err(|error| Error::invalid(source, error.to_string()))
}
