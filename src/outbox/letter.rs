//! What a mail says: a template filled from a document.

use serde_json::{Value, json};

use crate::error::{Error, OrNotFound, Result};
use crate::mail::{Address, Invalid, Letter, Outgoing, Template};
use crate::model::settings::{MAIL_FROM, Settings};
use crate::store::Store;
use crate::time::Timestamp;

/// What a template sees as `timer`.
#[derive(Debug)]
pub struct Occasion<'a> {
    /// The timer's name.
    pub timer: &'a str,
    /// The level, counted from 0.
    pub level: u32,
    /// When the level was due. A template sees it in local time, `YYYY-MM-DD HH:MM:SS`: it is for people to read.
    pub due_at: Timestamp,
}

/// Fills a template from a document as it is now (`design`, “Mail”).
///
/// # Errors
/// When there is no such document, when the template cannot be filled from it, or when neither it nor the setting
/// `mail.from` says who sends.
pub fn compose(
    store: &Store,
    template: &Template,
    document: i64,
    occasion: &Occasion<'_>,
) -> Result<Letter> {
    let settings = store.settings()?;
    let found = store.document_for_handler(document)?;
    let found = found.or_not_found("document", document)?.value();
    let values = values(found, occasion, &settings)?;
    let wrong = |reason: Invalid| {
        Error::invalid(format!("template '{}'", template.name), reason.to_string())
    };
    let from = template.render_from(&values).map_err(wrong)?;
    let from = from.map_or_else(|| sender(&settings), Ok)?;
    template.render(&values, from).map_err(wrong)
}

fn values(document: Value, occasion: &Occasion<'_>, settings: &Settings) -> Result<Value> {
    let attributes = document.get("attributes").cloned();
    Ok(json!({
        "doc": document,
        "attr": attributes,
        "timer": {
            "name": occasion.timer,
            "level": occasion.level,
            "due_at": settings.zone()?.show(occasion.due_at),
        },
    }))
}

/// The sender of mails that name none.
///
/// # Errors
/// When the setting `mail.from` is missing, or no address.
pub(crate) fn sender(settings: &Settings) -> Result<Address> {
    let setting = format!("setting {MAIL_FROM}");
    match settings.text(MAIL_FROM)? {
        "" => Err(Error::invalid(
            setting,
            "it is not set, and no mail goes out without a sender: 'runner config set mail.from ADDRESS'",
        )),
        text => text
            .parse()
            .map_err(|error| Error::invalid(setting, format!("{error}"))),
    }
}

impl Letter {
    /// Whether it can be sent as it is: one that never can is refused before it waits in the outbox.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), Invalid> {
        self.unrecorded(now).check()
    }

    /// The mail as it goes out without a row, and so with a Message-ID of its own making.
    pub(super) fn unrecorded(&self, now: Timestamp) -> Outgoing {
        let (seconds, process) = (now.unix(), std::process::id());
        Outgoing {
            message_id: format!("<unrecorded.{seconds}.{process}@localhost>"),
            date: seconds,
            letter: self.clone(),
        }
    }
}
