//! How a failed attempt is told.

use crate::context::Context;
use crate::model::issue::{Issue, Subject};
use crate::time::Timestamp;

/// An attempt that did not come to its end.
pub(super) struct Failure<'f> {
    pub(super) task: i64,
    pub(super) method: &'f str,
    pub(super) attempt: u32,
    /// The attachment whose level waits for the task, and how often that level has failed.
    pub(super) level: Option<(i64, u32)>,
    pub(super) again_at: Option<Timestamp>,
    /// Such as “failed: the disk is full”.
    pub(super) how: String,
}

impl Failure<'_> {
    /// What to tell. When a level waits for a task that is over for good, the timers tell.
    pub(super) fn issue(&self, ctx: &Context<'_>) -> Option<Issue> {
        let is_final = self.again_at.is_none();
        if is_final && self.level.is_some() {
            return None;
        }
        let subject = match self.level {
            Some((attachment, _)) => Subject::Level {
                attachment,
                task: Some(self.task),
            },
            None => Subject::Task(self.task),
        };
        let is_first = self.attempt == 1 && self.level.is_none_or(|(_, attempts)| attempts == 0);
        let zone = ctx.settings.zone().unwrap_or_default();
        let again = self
            .again_at
            .map(|at| format!("; it is tried again at {}", zone.show(at)));
        let Self {
            task, method, how, ..
        } = self;
        Some(Issue {
            subject,
            message: format!("task {task} ({method}) {how}{}", again.unwrap_or_default()),
            is_news: is_first || is_final,
        })
    }
}
