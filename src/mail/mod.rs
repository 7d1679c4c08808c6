//! Mail: a template filled from a document becomes a row of the outbox ([`crate::model::email::Email`]), the row a message,
//! and the message a delivery by one of three transports.
//!
//! Two rules hold everywhere. No value of a document can add a header or a recipient: see the modules `template` and
//! `address`. No password leaves a transport but to its server: it is in no error, no `Debug`, no argument.

mod address;
pub(crate) mod alerts;
mod delivery;
mod folder;
mod message;
pub(crate) mod outbox;
mod sendmail;
mod smtp;
mod smtp_url;
mod template;
mod transport;

use std::env::{self, VarError};
use std::path::Path;

pub(crate) use address::{parse, parse_list};
pub(crate) use template::{compose, compose_alone, default_sender, queue, queue_alone};
pub(crate) use transport::Transport;

use crate::error::{Error, Result};
use crate::model::settings::{ERRORS_TO, MAIL_FROM, MAIL_TRANSPORT, Settings};
use crate::store::Store;

/// The environment variable that goes before the setting `mail.transport`, so that a password need not be in the
/// database at all.
const TRANSPORT_VARIABLE: &str = "RUNNER_MAIL_TRANSPORT";

/// Whether a setting about mail may have this value.
pub(crate) fn check_setting(key: &str, value: &str) -> Result<()> {
    let checked = match key {
        MAIL_TRANSPORT => Transport::parse(value, Path::new("")).map(drop),
        MAIL_FROM if !value.is_empty() => parse(value).map(drop),
        ERRORS_TO => parse_list(value).map(drop),
        _ => Ok(()),
    };
    checked.map_err(|reason| Error::invalid(format!("setting {key}"), reason))
}

/// How mail leaves: what the environment says, else the setting. What is relative in it is relative to the folder of
/// the database.
pub(crate) fn transport(store: &Store, settings: &Settings) -> Result<Transport> {
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
    Transport::parse(&text, &store.files().folder())
        .map_err(|reason| Error::invalid(source, reason))
}
