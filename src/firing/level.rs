//! What firing a level does: the state change, the mails, the method (design, “Timers”, rules 4 to 6).

use std::borrow::Cow;

use super::FiringStatus;
use super::ending::{Ending, call_off, end_level, without_mails, words_of, words_of_all};
use crate::error::Result;
use crate::mail::{self, Cause};
use crate::model::document::state_words;
use crate::model::method::Methods;
use crate::model::task::{Severity, Status};
use crate::model::timer::{Action, Timer};
use crate::store::Store;
use crate::store::attachment::Attachment;
use crate::store::task::TaskRow;
use crate::time::{Timestamp, Zone};

/// The step that changes the state.
pub(super) const STATE: u8 = 0;
/// The step that queues the mails, and waits until they are sent.
pub(super) const MAILS: u8 = 1;
/// The step that starts the method's task, and waits until it is completed.
pub(super) const METHOD: u8 = 2;

/// What came of a step.
pub(super) enum Progress {
    /// It is done: the attachment as it is now, at a later step.
    Next(Attachment),
    /// Its mails or its task are under way.
    Waits,
    /// The level is done: the attachment at its next one, if there is one.
    Ended(Option<Attachment>),
}

/// A level that is being fired.
pub(super) struct Firing<'a> {
    pub(super) store: &'a Store,
    pub(super) timer: &'a Timer,
    pub(super) action: &'a Action,
    pub(super) methods: &'a Methods,
    pub(super) when: (Zone, Timestamp),
    /// The document's state, where it was read a moment ago: a level changes it once, and need not look then.
    pub(super) state: Option<String>,
}

impl Firing<'_> {
    /// Does the step that an attachment is at, with its entry in the history, inside the caller's savepoint.
    pub(super) fn step(&self, row: &Attachment) -> Result<Progress> {
        match row.step {
            STATE => self.change_state(row),
            MAILS if row.pending_mails > 0 => Ok(Progress::Waits),
            MAILS => self.queue_mails(row),
            _ => self.start_method(row),
        }
    }

    fn change_state(&self, row: &Attachment) -> Result<Progress> {
        if let Some(state) = &self.action.state {
            self.set_state(row.document, row.level, state)?;
        }
        if self.action.mail.is_empty() && self.action.method.is_none() {
            return self.done(row);
        }
        let next = Attachment {
            step: MAILS,
            ..row.clone()
        };
        self.store.save(&next)?;
        Ok(Progress::Next(next))
    }

    fn set_state(&self, document: i64, level: u32, state: &str) -> Result<()> {
        let before = match &self.state {
            Some(known) => Cow::from(known),
            None => Cow::from(self.store.state(document)?),
        };
        self.store.set_state(document, state, self.when.1)?;
        self.tell(
            document,
            level,
            Severity::Info,
            &state_words(&before, state),
        )
    }

    fn queue_mails(&self, row: &Attachment) -> Result<Progress> {
        let mut next = row.clone();
        if self.action.mail.is_empty() {
            next.step = METHOD;
            return Ok(Progress::Next(next));
        }
        for template in &self.action.mail {
            self.queue_mail(row, template)?;
            next.pending_mails += 1;
        }
        self.store.save(&next)?;
        Ok(Progress::Waits)
    }

    fn queue_mail(&self, row: &Attachment, template: &str) -> Result<i64> {
        let cause = Cause {
            template,
            document: row.document,
            attachment: row.id,
            timer: &self.timer.definition.name,
            level: row.level,
            due_at: row.due_at.unwrap_or(self.when.1),
        };
        let mail = mail::queue(self.store, &cause, self.when.1)?;
        let message = format!("mail {mail} queued from template {template}");
        self.tell(row.document, row.level, Severity::Info, &message)?;
        Ok(mail)
    }

    fn start_method(&self, row: &Attachment) -> Result<Progress> {
        let Some(method) = &self.action.method else {
            return self.done(row);
        };
        let status = match row.task {
            Some(task) => self.store.task_status(task)?,
            None => None,
        };
        match status {
            Some(Status::Completed) => self.done(row),
            Some(status) if !status.is_ended() => Ok(Progress::Waits),
            _ => {
                let task = self.add_task(row, method, Some(row.id))?;
                self.store.save(&Attachment {
                    step: METHOD,
                    task: Some(task),
                    ..row.clone()
                })?;
                Ok(Progress::Waits)
            }
        }
    }

    /// The task's time to run at is the level's, so that its handler sees how late it is.
    fn add_task(&self, row: &Attachment, method: &str, attachment: Option<i64>) -> Result<i64> {
        self.methods.get(method)?;
        let task = TaskRow {
            method,
            run_at: row.due_at,
            document: Some(row.document),
            attachment,
            ..TaskRow::default()
        };
        let task = self.store.insert_task(&task, self.when.1)?;
        let message = format!("method {method} started as task {task}");
        self.tell(row.document, row.level, Severity::Info, &message)?;
        Ok(task)
    }

    fn done(&self, row: &Attachment) -> Result<Progress> {
        let words = words_of_all(self.action, row.task);
        end_level(
            self.store,
            row,
            self.timer,
            &Ending::done(&words),
            self.when,
        )
        .map(Progress::Ended)
    }

    /// Does what is left of a level that was skipped, all of it now: nothing waits for its mails or its task.
    pub(super) fn all_at_once(&self, row: &Attachment) -> Result<String> {
        if row.step == STATE
            && let Some(state) = &self.action.state
        {
            self.set_state(row.document, row.level, state)?;
        }
        if row.step <= MAILS {
            for template in &self.action.mail {
                let mail = self.queue_mail(row, template)?;
                self.store.release_mail(mail)?;
            }
        }
        let task = match &self.action.method {
            Some(method) => Some(self.add_task(row, method, None)?),
            None => None,
        };
        Ok(words_of(self.action, task, row.step..=METHOD))
    }

    /// Passes over a level whose time is over.
    pub(super) fn skip(&self, row: &Attachment, hours: i64) -> Result<Option<Attachment>> {
        let sent = match row.pending_mails {
            0 => Vec::new(),
            _ => self.sent_of_level(row)?,
        };
        call_off(self.store, row, "its level was skipped", self.when.1)?;
        let done = match row.step {
            STATE => String::new(),
            MAILS => {
                let done = Action {
                    mail: sent.clone(),
                    ..self.action.clone()
                };
                words_of(&done, None, STATE..=MAILS)
            }
            _ => words_of(self.action, None, STATE..=MAILS),
        };
        let left = words_of(&without_mails(self.action, &sent), None, row.step..=METHOD);
        let words = match done.as_str() {
            "" => format!("not done: {left}"),
            _ => format!("done: {done}; not done: {left}"),
        };
        let due = row.due_at.map_or_else(String::new, |at| at.to_string());
        let why = row.last_error.as_ref();
        let why = why.map_or_else(String::new, |why| {
            format!("; {} attempts, the last: {why}", row.attempts)
        });
        let message =
            format!("level skipped: it was due at {due}, {hours} hours ago or more; {words}{why}");
        self.tell(row.document, row.level, Severity::Warning, &message)?;
        let ending = Ending {
            status: FiringStatus::Skipped,
            sent: &sent,
            result: &words,
        };
        end_level(self.store, row, self.timer, &ending, self.when)
    }

    /// Those of a level's templates whose mails were sent, of the mails that its step has queued last.
    fn sent_of_level(&self, row: &Attachment) -> Result<Vec<String>> {
        let queued = u32::try_from(self.action.mail.len()).unwrap_or(u32::MAX);
        self.store.sent_templates((row.id, row.level), queued)
    }

    /// Whether a handler or the mail server has something of the level in hands, so that it cannot be passed over. What
    /// only waits, for a place or for a retry, can: it would come too late as well.
    pub(super) fn is_under_way(&self, row: &Attachment) -> Result<bool> {
        if row.pending_mails > 0 && self.store.is_mailing(row.id)? {
            return Ok(true);
        }
        let status = match row.task {
            Some(task) => self.store.task_status(task)?,
            None => None,
        };
        Ok(status == Some(Status::Running))
    }

    fn tell(&self, document: i64, level: u32, importance: Severity, message: &str) -> Result<()> {
        let timer = (self.timer.definition.name.as_str(), level);
        self.store
            .insert_history(document, self.when.1, importance, message, Some(timer))
    }
}
