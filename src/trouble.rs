//! What went wrong in a run, and what it is about.

use serde::{Serialize, Serializer};

/// The subject that [`About::Mailing`] is remembered by.
pub(crate) const MAILING: &str = "mailing";

/// What a trouble is about: by this it is known again in the next tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The attempts at a task.
    Task(i64),
    /// The attempts at a mail that no level waits for.
    Mail(i64),
    /// The attempts at a level of a timer on a document.
    Level {
        /// The timer's attachment to the document.
        attachment: i64,
        /// The level, counted from 0.
        level: u32,
    },
    /// The attempts at a level's method: known again as the level's, since each tick makes another task of it.
    Method {
        /// The task of this attempt.
        task: i64,
        /// The timer's attachment to the document.
        attachment: i64,
        /// The level, counted from 0.
        level: u32,
    },
    /// The way out of all mails.
    Mailing,
    /// Levels of timers beyond those that are told one by one.
    MoreLevels,
    /// The run itself: known again by its sentence.
    Run,
}

/// Something that went wrong and that somebody should know of. As JSON it is its sentence.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// What it is about.
    pub about: About,
    /// What went wrong, on one line.
    pub sentence: String,
    /// Whether nothing more is tried about it.
    pub given_up: bool,
}

impl Trouble {
    /// A trouble that the next tick may find again.
    pub fn new(about: About, sentence: impl Into<String>) -> Self {
        Self {
            about,
            sentence: sentence.into(),
            given_up: false,
        }
    }

    /// What it is remembered by: a subject, an id and a level.
    pub(crate) fn key(&self) -> (&str, i64, u32) {
        match self.about {
            About::Task(id) => ("task", id, 0),
            About::Mail(id) => ("mail", id, 0),
            About::Level { attachment, level }
            | About::Method {
                attachment, level, ..
            } => ("attachment", attachment, level),
            About::Mailing => (MAILING, 0, 0),
            About::MoreLevels => ("levels", 0, 0),
            About::Run => (&self.sentence, 0, 0),
        }
    }
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.sentence)
    }
}
