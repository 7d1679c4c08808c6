//! What went wrong in a run, and what it is about.

use serde::{Serialize, Serializer};

/// The subject that [`Subject::Mailing`] is remembered by.
pub(crate) const MAILING: &str = "mailing";

/// What a issue is about: by this it is known again in the next tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
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
    /// So many levels of timers beyond those that are told one by one.
    MoreLevels(u64),
    /// So many attempts at tasks beyond those that are told one by one.
    MoreTasks(u64),
    /// The run itself: known again by its sentence.
    Run,
}

/// Something that went wrong and that somebody should know of. As JSON it is its sentence.
#[derive(Debug, Clone)]
pub struct Issue {
    /// What it is about.
    pub about: Subject,
    /// What went wrong, on one line.
    pub sentence: String,
    /// Whether nothing more is tried about it.
    pub is_final: bool,
}

impl Issue {
    /// A issue that the next tick may find again.
    pub fn new(about: Subject, sentence: impl Into<String>) -> Self {
        Self {
            about,
            sentence: sentence.into(),
            is_final: false,
        }
    }

    /// How many errors it tells of.
    pub(crate) fn count(&self) -> u64 {
        match self.about {
            Subject::MoreLevels(more) | Subject::MoreTasks(more) => more,
            _ => 1,
        }
    }

    /// Whether it stands for others, which are not told one by one.
    pub(crate) fn is_sum(&self) -> bool {
        matches!(self.about, Subject::MoreLevels(_) | Subject::MoreTasks(_))
    }

    /// What it is remembered by: a subject, an id and a level.
    pub(crate) fn key(&self) -> (&str, i64, u32) {
        match self.about {
            Subject::Task(id) => ("task", id, 0),
            Subject::Mail(id) => ("mail", id, 0),
            Subject::Level { attachment, level }
            | Subject::Method {
                attachment, level, ..
            } => ("attachment", attachment, level),
            Subject::Mailing => (MAILING, 0, 0),
            Subject::MoreLevels(_) => ("levels", 0, 0),
            Subject::MoreTasks(_) => ("tasks", 0, 0),
            Subject::Run => (&self.sentence, 0, 0),
        }
    }
}

/// The first so many characters of a text, and a sign when there are more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

impl Serialize for Issue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.sentence)
    }
}
