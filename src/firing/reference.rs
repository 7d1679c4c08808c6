//! The date that a timer counts from (seed 004, “Date de référence”; design, “Timers”, rule 1).

use crate::error::{Error, Result};
use crate::model::timer::Timer;
use crate::store::Store;
use crate::store::document::DateAttribute;
use crate::time::{Timestamp, Zone};

/// The date that an attachment counts from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reference {
    At(Timestamp),
    /// The attribute is empty: it waits (seed 004, “3.2.18”).
    Empty,
    /// The attribute is no date, for this reason: it waits too, and says why.
    None(String),
}

impl Reference {
    /// The date, if there is one.
    pub(super) fn date(&self) -> Option<Timestamp> {
        match self {
            Self::At(date) => Some(*date),
            Self::Empty | Self::None(_) => None,
        }
    }
}

/// Rule 1: the date given, else the attribute's, else the moment of attachment.
pub(super) fn reference(
    store: &Store,
    (document, given, attached_at): (i64, Option<Timestamp>, Timestamp),
    timer: &Timer,
    zone: &Zone,
) -> Result<Reference> {
    let name = match (given, &timer.definition.reference) {
        (Some(given), _) => return Ok(Reference::At(given)),
        (None, None) => return Ok(Reference::At(attached_at)),
        (None, Some(name)) => name,
    };
    let waits = |why: String| Reference::None(format!("{name}: {why}; the timer waits for a date"));
    Ok(match store.date_attribute(document, name)? {
        DateAttribute::Empty => Reference::Empty,
        DateAttribute::Text(text) => match zone.parse_time(&text) {
            Ok(date) => Reference::At(date),
            Err(why) => waits(why),
        },
        DateAttribute::Other => waits("it is not a text with a date in it".to_owned()),
    })
}

/// The date that a timer counts from on a document, delta not added, whether it hangs there or would from now on; none
/// while it waits for one.
///
/// # Errors
/// When the document's attribute is no date.
pub fn forecast_from(
    store: &Store,
    (id, timer): (i64, &Timer),
    document: i64,
    (zone, now): (Zone, Timestamp),
) -> Result<Option<Timestamp>> {
    let hanging = store.find_attachment(id, document)?;
    let dates = hanging.map_or((None, now), |row| (row.reference_at, row.attached_at));
    match reference(store, (document, dates.0, dates.1), timer, &zone)? {
        Reference::At(date) => Ok(Some(date)),
        Reference::Empty => Ok(None),
        Reference::None(why) => Err(Error::invalid(format!("document {document}"), why)),
    }
}
