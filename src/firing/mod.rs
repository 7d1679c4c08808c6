//! Firing what is due (seed 004; design, “Timers”, rules 3 to 8).
//!
//! Everything is decided from rows that are read inside the transaction that acts on them, which holds the write lock:
//! ticks that overlap fire nothing twice, and what was decided under a date that has changed since is not done.
//! The documents that something is due on are gone through by id, since neighbours share pages of the database, and
//! what is due on one document is fired by due date. Many levels share a transaction, each with a savepoint of its own.

pub mod attach;
mod by_hand;
mod dates;
mod due;
mod ended;
mod ending;
mod level;
mod outcome;
mod pass;
mod redefine;
mod reference;
mod timers;

use serde::Serialize;

pub use by_hand::fire_by_hand;
pub use dates::{settle, settle_all, settle_document, settle_to_show};
pub use ended::{is_called_off, is_wanted, mail_failed, mail_sent, method_ended, method_lost};
pub use ending::call_off;
pub use outcome::{Outcome, Problem};
pub use pass::{fire_due, fire_while};
pub use redefine::define;
pub use reference::forecast_from;

use crate::model::words::words;
use crate::time::Timestamp;

words! {
    /// How a level came to its end.
    FiringStatus, "status" {
        /// All its steps were done.
        Done = "done",
        /// It was past its hour limit.
        Skipped = "skipped",
    }
}

/// A level that was done or skipped, as JSON shows it.
#[derive(Debug, Serialize)]
pub struct Fired {
    /// Its id.
    pub id: i64,
    /// The timer's name, as it was.
    pub timer: String,
    /// The document's id.
    pub document: i64,
    /// The document's title; none when it is gone.
    pub title: Option<String>,
    /// The level, counted from 0.
    pub level: u32,
    /// When it was due.
    pub due_at: Timestamp,
    /// When it was done or skipped.
    pub at: Timestamp,
    /// Which of both.
    pub status: FiringStatus,
    /// What was done.
    pub result: Option<String>,
}
