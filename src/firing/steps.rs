//! The steps of a level: the state change, the mails, the method; and its end (`docs/timers.md`, "Levels").

use super::LEFT_STATES;
use super::reschedule::cancel_pending;
use crate::error::Result;
use crate::mail;
use crate::model::attachment::Attachment;
use crate::model::document::state_words;
use crate::model::email::Cause;
use crate::model::firing::{FiringStatus, NewFiring};
use crate::model::method::Methods;
use crate::model::task::Severity;
use crate::model::timer::{Action, Step, Timer};
use crate::store::Store;
use crate::store::task::TaskRow;
use crate::time::{Duration, Timestamp, When};

/// How many seconds a day has, where clocks do not change.
const DAY: i64 = 24 * 3600;

/// What doing the steps of a level takes. All of it is done inside the caller's transaction.
pub(super) struct Steps<'a> {
    pub(super) store: &'a Store<'a>,
    pub(super) timer: &'a Timer,
    pub(super) action: &'a Action,
    pub(super) methods: &'a Methods,
    pub(super) when: When,
    /// The attachment whose level it is; none of one that is fired by hand.
    pub(super) attachment: Option<i64>,
    pub(super) document: i64,
    pub(super) level: u32,
    pub(super) due_at: Timestamp,
}

/// How far a step is once it is begun.
pub(super) enum Begun {
    Done,
    /// It is done once so many mails are sent.
    Mails(u32),
    /// It is done once this task is completed.
    Task(i64),
}

impl Steps<'_> {
    /// Begins a step.
    pub(super) fn begin(&self, step: Step) -> Result<Begun> {
        match (step, &self.action.state, &self.action.method) {
            (Step::State, Some(state), _) => self.change_state(state),
            (Step::Mails, ..) => self.queue_mails(),
            (Step::Method, _, Some(method)) => self.add_task(method),
            (Step::State | Step::Method, ..) => Ok(Begun::Done),
        }
    }

    fn change_state(&self, state: &str) -> Result<Begun> {
        let before = self.store.state(self.document)?;
        self.record(Severity::Info, &state_words(&before, state))?;
        // A timer that takes the document out of its own states goes with the end of this level.
        let own = self.attachment.filter(|_| self.timer.definition.is_bound());
        if let Some(own) = own {
            self.store.set_changes_state(own, true)?;
        }
        self.store.set_state(self.document, state, self.when.now)?;
        if let Some(own) = own {
            self.store.set_changes_state(own, false)?;
        }
        Ok(Begun::Done)
    }

    fn queue_mails(&self) -> Result<Begun> {
        let mut count = 0;
        for template in &self.action.mail {
            let cause = Cause {
                template,
                document: self.document,
                attachment: self.attachment,
                timer: &self.timer.definition.name,
                level: self.level,
                due_at: self.due_at,
            };
            let mail = mail::queue(self.store, &cause, self.when.now)?;
            let message = format!("mail {mail} queued from template {template}");
            self.record(Severity::Info, &message)?;
            count += 1;
        }
        Ok(Begun::Mails(count))
    }

    /// The task is due when the level is, so that its handler sees how late it is.
    fn add_task(&self, method: &str) -> Result<Begun> {
        self.methods.get(method)?;
        let task = TaskRow {
            method: method.to_owned(),
            params: self.action.params.clone(),
            run_at: Some(self.due_at),
            document: Some(self.document),
            attachment: self.attachment,
            ..TaskRow::default()
        };
        let task = self.store.insert_task(&task, self.when.now)?;
        let message = format!("method {method} started as task {task}");
        self.record(Severity::Info, &message)?;
        Ok(Begun::Task(task))
    }

    /// Ends a level that is done. The attachment at its next level, if there is one.
    pub(super) fn finish(&self, row: &Attachment) -> Result<Option<Attachment>> {
        let result = self.action.describe(.., row.task);
        self.end(row, &self.firing(FiringStatus::Done, &result))
    }

    /// Ends a level that its limit is over for. What was not done, and the attachment at its next level, if there is one.
    pub(super) fn skip(
        &self,
        row: &Attachment,
        limit: Duration,
    ) -> Result<(String, Option<Attachment>)> {
        let sent = self.sent_templates(row)?;
        cancel_pending(self.store, row, "its level was skipped", self.when.now)?;
        let done = if row.step == Step::Mails {
            let (mail, action) = (sent.clone(), self.action.clone());
            Action { mail, ..action }.describe(..=Step::Mails, None)
        } else {
            self.action.describe(..row.step, None)
        };
        let left = self.action.without_mails(&sent).describe(row.step.., None);
        let result = if done.is_empty() {
            format!("not done: {left}")
        } else {
            format!("done: {done}; not done: {left}")
        };
        let why = row.last_error.as_ref();
        let why = why.map(|why| format!("; {} attempts, the last: {why}", row.attempts));
        let seconds = self.when.now.seconds_since(self.due_at);
        let late = Duration::new(0, seconds / DAY, seconds % DAY);
        let message = format!(
            "skipped: it was due at {}, {late} ago, and its limit is {limit}; {result}{}",
            self.when.zone.show(self.due_at),
            why.unwrap_or_default()
        );
        self.record(Severity::Warning, &format!("level {message}"))?;
        let firing = NewFiring {
            step: row.step,
            sent: &sent,
            ..self.firing(FiringStatus::Skipped, &result)
        };
        Ok((message, self.end(row, &firing)?))
    }

    /// The templates of those of a level's mails that were sent.
    fn sent_templates(&self, row: &Attachment) -> Result<Vec<String>> {
        let mails = self
            .store
            .mails_of_level(row.id, row.level, row.mail_count)?;
        let sent = mails.into_iter().filter(|mail| mail.is_sent());
        Ok(sent.filter_map(|mail| mail.template).collect())
    }

    fn firing<'a>(&'a self, status: FiringStatus, result: &'a str) -> NewFiring<'a> {
        NewFiring {
            timer: &self.timer.definition.name,
            document: self.document,
            level: self.level,
            due_at: self.due_at,
            at: self.when.now,
            status,
            step: Step::State,
            sent: &[],
            result,
        }
    }

    fn end(&self, row: &Attachment, firing: &NewFiring<'_>) -> Result<Option<Attachment>> {
        self.store.insert_firing(firing)?;
        let mut next = row.at_level(row.level + 1);
        let counted_from = row.counted_from.unwrap_or(self.when.now);
        let due_at = self.timer.due_at(&self.when.zone, counted_from, next.level);
        match due_at {
            Ok(None) => return self.detach(row, "it has come to its end"),
            _ if !self.store.admits(&self.timer.definition, row.document)? => {
                return self.detach(row, LEFT_STATES);
            }
            Ok(due_at) => next.due_at = due_at,
            Err(why) => {
                self.record(Severity::Warning, &why)?;
                next.due_at = None;
                next.last_error = Some(why);
            }
        }
        self.store.update_attachment(&next)?;
        Ok(Some(next))
    }

    fn detach(&self, row: &Attachment, why: &str) -> Result<Option<Attachment>> {
        self.record(Severity::Info, &format!("timer detached: {why}"))?;
        self.store.delete_attachment(row.id)?;
        Ok(None)
    }

    /// Adds an entry to the document's history.
    pub(super) fn record(&self, severity: Severity, message: &str) -> Result<()> {
        let level = Some((self.timer.definition.name.as_str(), self.level));
        self.store
            .insert_history(self.document, self.when.now, severity, message, level)
    }
}
