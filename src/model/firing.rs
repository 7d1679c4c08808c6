//! A firing: the record of a level that was done or skipped. It outlives the attachment, the timer and the document.

use clap::ValueEnum;
use serde::Serialize;

use crate::model::timer::Step;
use crate::time::Timestamp;

/// How a level came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FiringStatus {
    /// All its steps were done.
    Done,
    /// It was too late for it.
    Skipped,
}

impl FiringStatus {
    /// The name that it is stored and shown by.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
        }
    }
}

/// A firing as JSON shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Firing {
    pub(crate) id: i64,
    /// The timer's name, as it was.
    pub(crate) timer: String,
    pub(crate) document: i64,
    /// The document's title; none when it is gone.
    pub(crate) title: Option<String>,
    /// The level, counted from 0.
    pub(crate) level: u32,
    pub(crate) due_at: Timestamp,
    /// When it was done or skipped.
    pub(crate) at: Timestamp,
    pub(crate) status: FiringStatus,
    /// What was done.
    pub(crate) result: Option<String>,
    /// Of a skipped one: the first step that was not done.
    #[serde(skip)]
    pub(crate) step: Step,
    /// Of a skipped one: the templates of those of its mails that were sent.
    #[serde(skip)]
    pub(crate) sent: Vec<String>,
}

/// A firing to be recorded.
#[derive(Debug)]
pub(crate) struct NewFiring<'a> {
    pub(crate) timer: &'a str,
    pub(crate) document: i64,
    pub(crate) level: u32,
    pub(crate) due_at: Timestamp,
    pub(crate) at: Timestamp,
    pub(crate) status: FiringStatus,
    pub(crate) step: Step,
    pub(crate) sent: &'a [String],
    pub(crate) result: &'a str,
}

/// Which of them to list.
#[derive(Debug)]
pub(crate) struct FiringFilter<'a> {
    pub(crate) status: FiringStatus,
    /// Those of documents whose title has this in it.
    pub(crate) title: Option<&'a str>,
    /// So many at most, the newest.
    pub(crate) limit: Option<u32>,
}
