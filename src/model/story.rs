//! What is to come, as a rehearsal reports it (`docs/timers.md`, "Rehearsal").

use serde::Serialize;

use crate::model::document::HistoryEntry;
use crate::model::task::Severity;
use crate::time::Timestamp;

/// One thing that is to happen.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StoryEntry {
    /// When it is due.
    pub(crate) at: Timestamp,
    pub(crate) kind: Kind,
    pub(crate) document: Option<i64>,
    /// The document's title.
    pub(crate) title: Option<String>,
    pub(crate) timer: Option<String>,
    pub(crate) level: Option<u32>,
    pub(crate) schedule: Option<String>,
    pub(crate) task: Option<i64>,
    /// The name of the mail's template.
    pub(crate) mail: Option<String>,
    pub(crate) text: String,
    /// When the tick comes that does it.
    #[serde(skip)]
    pub(crate) tick: Timestamp,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A document gets another state.
    State,
    Mail,
    Task,
    Attached,
    Detached,
    Skipped,
    Error,
    /// Anything else from the history.
    Note,
    /// Old rows are dropped.
    Prune,
}

impl StoryEntry {
    /// An entry about nothing in particular yet.
    pub(crate) fn new(kind: Kind, at: Timestamp, tick: Timestamp, text: String) -> Self {
        Self {
            at,
            kind,
            document: None,
            title: None,
            timer: None,
            level: None,
            schedule: None,
            task: None,
            mail: None,
            text,
            tick,
        }
    }

    /// What it is about, and what happens.
    pub(crate) fn sentence(&self) -> String {
        let title = self.title.as_ref().filter(|title| !title.is_empty());
        let title = title.map(|title| format!(" ({title})")).unwrap_or_default();
        let about = [
            self.document.map(|id| format!("document {id}{title}")),
            self.timer.as_ref().map(|name| format!("timer {name}")),
            self.schedule
                .as_ref()
                .map(|name| format!("schedule {name}")),
            self.level.map(|level| format!("level {level}")),
        ];
        let about: Vec<String> = about.into_iter().flatten().collect();
        if about.is_empty() {
            return self.text.clone();
        }
        format!("{}: {}", about.join(", "), self.text)
    }
}

impl Kind {
    /// The kind of an entry of the history, by its first words, since triggers of the schema write some too. None where the
    /// mail or the task that it is about has an entry of its own.
    pub(crate) fn of_history(entry: &HistoryEntry) -> Option<Self> {
        let begins_with = |words: &str| entry.message.starts_with(words);
        Some(match &entry.message {
            _ if entry.level == Severity::Error => Self::Error,
            _ if begins_with("mail ") || begins_with("method ") || begins_with("task ") => {
                return None;
            }
            _ if begins_with("state: ") => Self::State,
            _ if begins_with("timer attached") => Self::Attached,
            _ if begins_with("timer detached") => Self::Detached,
            _ if begins_with("level skipped") => Self::Skipped,
            _ => Self::Note,
        })
    }
}
