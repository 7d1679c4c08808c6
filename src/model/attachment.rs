//! An attachment: a timer on a document, at one of its levels (`docs/timers.md`, "Attaching").

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;

use crate::model::timer::Step;
use crate::time::{Duration, Timestamp, Zone};

/// An attachment as it is fired.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) id: i64,
    pub(crate) timer: i64,
    pub(crate) document: i64,
    /// The reference date that was given when attaching.
    pub(crate) fixed_reference: Option<Timestamp>,
    pub(crate) attached_at: Timestamp,
    /// When it was attached, or its date has changed since.
    pub(crate) dated_at: Timestamp,
    /// The level that comes next, counted from 0.
    pub(crate) level: u32,
    /// The next step of its level.
    pub(crate) step: Step,
    /// The reference date, delta not added; none while it waits for one.
    pub(crate) counted_from: Option<Timestamp>,
    /// When its level falls; none while it waits for a date.
    pub(crate) due_at: Option<Timestamp>,
    /// Whether it waits for its mails, its task or the next tick: later turns of a tick pass over it until it is woken.
    pub(crate) waiting: bool,
    pub(crate) needs_reschedule: Reschedule,
    /// How often its step has failed.
    pub(crate) attempts: u32,
    /// Why it failed last, or why it waits for a date.
    pub(crate) last_error: Option<String>,
    /// The last task of the level's method.
    pub(crate) task: Option<i64>,
    /// How many mails the level has; 0 until they are queued.
    pub(crate) mail_count: u32,
    /// The run in which its step failed last; none once it was begun again by a later run.
    pub(crate) failed_run_id: Option<i64>,
}

/// Why an attachment is left to the next tick.
pub(crate) const PUT_OFF: &str =
    "it was attached to this document twice in one tick; it goes on with the next";

/// Why the dates of an attachment are to be computed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reschedule {
    No,
    /// The date that it counts from may be another: then it starts over.
    DateChanged,
    /// Its timer or the zone is another: it keeps its level.
    TimerChanged,
}

/// An attachment to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttachmentRow<'a> {
    /// The timer's id.
    pub timer: i64,
    /// The document's id.
    pub document: i64,
    /// Who attaches it.
    pub origin: Option<&'a str>,
    /// The reference date, if it is fixed.
    pub fixed_reference: Option<Timestamp>,
}

/// An attachment as JSON shows it.
#[derive(Debug, Serialize)]
pub(crate) struct AttachmentView {
    pub(crate) id: i64,
    /// The timer's name.
    pub(crate) timer: String,
    pub(crate) document: i64,
    /// The document's title.
    pub(crate) title: String,
    /// Who attached it, so that all of one origin can be detached at once.
    pub(crate) origin: Option<String>,
    pub(crate) level: u32,
    pub(crate) attached_at: Timestamp,
    /// The date that it counts from, delta added; none while it waits for one.
    pub(crate) reference_at: Option<Timestamp>,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) attempts: u32,
    pub(crate) last_error: Option<String>,
    /// Whether its timer is paused.
    pub(crate) paused: bool,
    /// The timer's delta.
    #[serde(skip)]
    pub(crate) delta: String,
}

/// How many attachments there are.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct AttachmentCounts {
    pub(crate) attached: i64,
    /// Those that wait for a date.
    #[serde(rename = "waiting")]
    pub(crate) undated: i64,
    /// Those whose level has failed and is tried again.
    pub(crate) failing: i64,
    /// Levels that were skipped, and not fired by hand.
    pub(crate) skipped: i64,
}

impl Attachment {
    /// Whether anything is done, or under way, of its level.
    pub(crate) fn is_begun(&self) -> bool {
        self.step > Step::State || self.mail_count > 0 || self.task.is_some()
    }

    /// The same at the first step of a level, of which nothing is begun.
    pub(crate) fn at_level(&self, level: u32) -> Self {
        Self {
            level,
            ..self.at_step(Step::State)
        }
    }

    /// The same at a step that is not begun.
    pub(crate) fn at_step(&self, step: Step) -> Self {
        Self {
            step,
            waiting: false,
            attempts: 0,
            last_error: None,
            task: None,
            mail_count: 0,
            failed_run_id: None,
            ..self.clone()
        }
    }
}

impl AttachmentView {
    /// The same with the delta added to its reference date, which is stored without.
    pub(crate) fn with_delta(mut self, zone: &Zone) -> Self {
        let delta: Duration = self.delta.parse().unwrap_or_default();
        self.reference_at = self.reference_at.and_then(|date| zone.add(date, &delta));
        self
    }
}

impl ToSql for Reschedule {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok((*self as u8).into())
    }
}

impl FromSql for Reschedule {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::No),
            1 => Ok(Self::DateChanged),
            2 => Ok(Self::TimerChanged),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}
