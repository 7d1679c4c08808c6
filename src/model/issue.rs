//! What went wrong in a run, and what it is about.

use std::fmt;

use serde::{Serialize, Serializer};

/// How much of a task's error is reported, in characters.
const MAX_ERROR: usize = 500;

/// What an issue is about: error mail looks up the details there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// An attempt at a task.
    Task(i64),
    /// An attempt at a mail that no level waits for.
    Mail(i64),
    /// An attempt at a level of a timer on a document.
    Level {
        /// The timer's attachment to the document.
        attachment: i64,
        /// The task of its method, if that has failed.
        task: Option<i64>,
    },
    /// The way out of all mails.
    Transport,
    /// So many more of a kind, which are not reported one by one.
    More(Kind, u64),
    /// The run itself.
    Run,
}

/// The kinds of subjects that a run may meet any number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    Mail,
    Level,
}

/// Something that went wrong and that somebody should know of. As JSON it is its message.
#[derive(Debug, Clone)]
pub struct Issue {
    /// What it is about.
    pub(crate) subject: Subject,
    /// What went wrong, on one line.
    pub message: String,
    /// Whether it is mailed: a first failure is, and a final one. An error of the run itself, or of the way out of all
    /// mails, is news unless the note of the last tick has it.
    pub(crate) is_news: bool,
}

impl Issue {
    /// An error of the run itself.
    pub(crate) fn of_run(message: impl Into<String>) -> Self {
        Self {
            subject: Subject::Run,
            message: message.into(),
            is_news: false,
        }
    }

    /// How many errors it stands for.
    pub(crate) fn count(&self) -> u64 {
        match self.subject {
            Subject::More(_, count) => count,
            _ => 1,
        }
    }
}

impl Subject {
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Task(_) => Some(Kind::Task),
            Self::Mail(_) => Some(Kind::Mail),
            Self::Level { .. } => Some(Kind::Level),
            Self::More(kind, _) => Some(*kind),
            Self::Transport | Self::Run => None,
        }
    }
}

/// An error of a task as it is reported: all of it is in the task's log.
pub(crate) fn cut_error(error: &str) -> String {
    cut(error, MAX_ERROR)
}

/// The first so many characters of a text, and a sign when there are more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Serialize for Issue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.message)
    }
}
