//! Advancing a level: it looks at its step, its mails and its task, and does what can be done now; asked again once its mails
//! were sent or its task is over, it goes on (`docs/timers.md`, "Levels").

use super::fire::Turn;
use super::steps::{Begun, Steps};
use super::{Timers, issue_of, record};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::model::attachment::{Attachment, PUT_OFF};
use crate::model::email::Email;
use crate::model::issue::{Issue, Subject, cut_error};
use crate::model::method::Methods;
use crate::model::summary::Summary;
use crate::model::task::{Severity, Status};
use crate::model::timer::Step;
use crate::store::Store;
use crate::store::attachment::LevelTask;
use crate::time::{Duration, When};

/// What advancing levels takes.
pub(super) struct Advance<'a> {
    ctx: Context<'a>,
    store: &'a Store<'a>,
    when: When,
    turn: Turn,
    /// How late a level may be done whose action says nothing else.
    hour_limit: Option<Duration>,
    /// Why no mail goes out at all, which was reported once for all of them.
    transport_error: Option<String>,
    timers: Timers,
    methods: Methods,
}

/// What came of a step.
enum Progress {
    /// It is done: the attachment at its next one.
    Next(Attachment),
    /// Its mails or its task are pending, or it has failed in this run.
    Waits,
    /// The level is done: the attachment at its next one, if there is one.
    Done(Option<Attachment>),
    /// It is too late for the level.
    Skipped(Skipped),
    /// Its task is over and not completed, or a mail has failed a try.
    Failed(Failure),
}

/// A level that it was too late for.
struct Skipped {
    /// Whether it was so when the timer was attached or its date changed: that is on record, and no error.
    was_late_already: bool,
    /// What was not done, and why.
    message: String,
    /// The attachment at its next level, if there is one.
    next: Option<Attachment>,
}

/// Why a step has failed.
struct Failure {
    /// In the same words each time.
    reason: String,
    /// As it is reported, with what differs from time to time.
    message: String,
    /// Whether it is still to be reported: a transport that is down was, once for all mails.
    is_unreported: bool,
    /// Whether nothing was reported of the same failure before: a retry was.
    is_first: bool,
    /// The task that has failed.
    task: Option<i64>,
}

impl Failure {
    fn new(reason: String) -> Self {
        Self {
            message: reason.clone(),
            reason,
            is_unreported: true,
            is_first: true,
            task: None,
        }
    }

    fn of(error: &Error) -> Self {
        Self::new(error.to_string())
    }

    /// Each time it is another task: its number is no part of the reason.
    fn of_task(task: &LevelTask) -> Self {
        let how = match task.status {
            Status::Interrupted => "was interrupted",
            Status::Cancelled => "was cancelled",
            _ => "failed",
        };
        let why = match &task.error {
            Some(error) if task.status != Status::Cancelled => {
                format!(": {}", cut_error(error))
            }
            _ => String::new(),
        };
        let (id, method) = (task.id, &task.method);
        Self {
            reason: format!("its task {how}{why}"),
            message: format!("task {id} ({method}) {how}{why}"),
            is_first: task.attempt <= 1,
            task: Some(id),
            ..Self::new(String::new())
        }
    }
}

impl<'a> Advance<'a> {
    pub(super) fn new(ctx: Context<'a>, turn: Turn, so_far: &Summary) -> Result<Self> {
        let is_down = |issue: &&Issue| issue.subject == Subject::Transport;
        let down = so_far.errors.iter().find(is_down);
        Ok(Self {
            ctx,
            store: ctx.store,
            when: ctx.when()?,
            turn,
            hour_limit: ctx.settings.hour_limit()?,
            transport_error: down.map(|issue| issue.message.clone()),
            timers: Timers::default(),
            methods: Methods::default(),
        })
    }

    /// Others may have changed a definition or a method since the last transaction.
    pub(super) fn begin_batch(&mut self) -> Result<()> {
        self.timers = Timers::default();
        self.methods = self.ctx.methods()?;
        Ok(())
    }

    /// Does of an attachment's level what can be done now, each step in a savepoint of its own. The attachment at its next
    /// level, if this one has ended and there is one.
    pub(super) fn advance(
        &mut self,
        mut row: Attachment,
        batch: &mut Summary,
    ) -> Result<Option<Attachment>> {
        let timer = self.timers.get(self.store, row.timer)?;
        let timer = match &*timer {
            Ok(timer) => timer,
            Err(error) => return self.fail(row, &Failure::of(error), batch).map(|_| None),
        };
        let Some((_, action)) = timer.level(row.level) else {
            return Ok(None);
        };
        let steps = Steps {
            store: self.store,
            timer,
            action,
            methods: &self.methods,
            when: self.when,
            attachment: Some(row.id),
            document: row.document,
            level: row.level,
            due_at: row.due_at.unwrap_or(self.when.now),
        };
        loop {
            row.step = action
                .steps()
                .find(|step| *step >= row.step)
                .unwrap_or(row.step);
            match self.store.attempt_alone(|_| self.step(&steps, &row))? {
                Ok(Progress::Next(next)) => row = next,
                Ok(Progress::Waits) => return Ok(None),
                Ok(Progress::Done(next)) => {
                    batch.fired += 1;
                    log::info!(
                        "timer {} on document {}, level {}: {}",
                        timer.definition.name,
                        row.document,
                        row.level,
                        action.describe(.., row.task)
                    );
                    return Ok(next);
                }
                Ok(Progress::Skipped(skipped)) => {
                    batch.skipped += 1;
                    if !skipped.was_late_already {
                        batch.report(Issue {
                            is_news: true,
                            ..issue_of(self.store, &row, &skipped.message)?
                        });
                    }
                    return Ok(skipped.next);
                }
                Ok(Progress::Failed(failure)) => {
                    row = self.fail(row, &failure, batch)?;
                    if self.turn != Turn::First {
                        return Ok(None);
                    }
                    // It has failed in an earlier run: this one tries it again.
                    row.task = None;
                    row.failed_run_id = None;
                }
                Err(error) => return self.fail(row, &Failure::of(&error), batch).map(|_| None),
            }
        }
    }

    /// Leaves an attachment to the next tick.
    pub(super) fn put_off(&self, row: Attachment) -> Result<()> {
        self.store.update_attachment(&Attachment {
            waiting: true,
            last_error: Some(PUT_OFF.to_owned()),
            ..row
        })
    }

    fn step(&self, steps: &Steps<'_>, row: &Attachment) -> Result<Progress> {
        let task = match row.task {
            Some(task) if row.step == Step::Method => self.store.level_task(task)?,
            _ => None,
        };
        if !steps.action.steps().any(|step| step == row.step) {
            self.finish(steps, row)
        } else if row.step == Step::Mails && row.mail_count > 0 {
            self.look_at_mails(steps, row)
        } else if let Some(task) = task {
            self.look_at_task(steps, row, &task)
        } else {
            self.begin(steps, row)
        }
    }

    /// Begins a step, or tries it again, unless it has failed in this run or it is too late for that.
    fn begin(&self, steps: &Steps<'_>, row: &Attachment) -> Result<Progress> {
        if row.failed_run_id == Some(self.store.run()) {
            return Ok(Progress::Waits);
        }
        let mut next = row.clone();
        self.unless_late(steps, row, || {
            match steps.begin(row.step)? {
                Begun::Done => return self.go_on(steps, row),
                Begun::Mails(count) => next.mail_count = count,
                Begun::Task(task) => next.task = Some(task),
            }
            next.failed_run_id = None;
            self.wait(&next)
        })
    }

    fn unless_late(
        &self,
        steps: &Steps<'_>,
        row: &Attachment,
        work: impl FnOnce() -> Result<Progress>,
    ) -> Result<Progress> {
        let (action, zone) = (steps.action, &self.when.zone);
        let limit = action.limit(self.hour_limit);
        let latest = action.latest(steps.due_at, zone, self.hour_limit);
        match limit.zip(latest) {
            Some((limit, latest)) if self.when.now > latest => {
                let (message, next) = steps.skip(row, limit)?;
                Ok(Progress::Skipped(Skipped {
                    was_late_already: row.dated_at > latest,
                    message,
                    next,
                }))
            }
            _ => work(),
        }
    }

    /// Goes on from a step that is done, which may have been the last.
    fn go_on(&self, steps: &Steps<'_>, row: &Attachment) -> Result<Progress> {
        let Some(step) = steps.action.steps().find(|step| *step > row.step) else {
            return self.finish(steps, row);
        };
        let next = row.at_step(step);
        self.store.update_attachment(&next)?;
        Ok(Progress::Next(next))
    }

    fn finish(&self, steps: &Steps<'_>, row: &Attachment) -> Result<Progress> {
        steps.finish(row).map(Progress::Done)
    }

    /// Lets later turns pass over it until it is woken.
    fn wait(&self, row: &Attachment) -> Result<Progress> {
        let this_run = Some(self.store.run());
        self.store.update_attachment(&Attachment {
            waiting: true,
            failed_run_id: row.failed_run_id.filter(|run| Some(*run) == this_run),
            ..row.clone()
        })?;
        Ok(Progress::Waits)
    }

    /// The same for one that may well wait already.
    fn go_on_waiting(&self, row: &Attachment) -> Result<Progress> {
        if row.waiting && row.failed_run_id.is_none() {
            return Ok(Progress::Waits);
        }
        self.wait(row)
    }

    fn look_at_mails(&self, steps: &Steps<'_>, row: &Attachment) -> Result<Progress> {
        let mails = self
            .store
            .mails_of_level(row.id, row.level, row.mail_count)?;
        let mut unsent = mails.iter().filter(|mail| !mail.is_sent()).peekable();
        // One that somebody has sent by hand does not count.
        let is_any_gone = mails.len() < row.mail_count as usize;
        if unsent.peek().is_none() && !is_any_gone {
            return self.go_on(steps, row);
        }
        if mails.iter().any(|mail| mail.is_sending()) {
            return self.go_on_waiting(row);
        }
        self.unless_late(steps, row, || {
            // In the first turn those that have failed wait to be tried again.
            let is_recorded =
                self.turn == Turn::First || row.failed_run_id == Some(self.store.run());
            match unsent.find_map(|mail| Some((mail, mail.last_error.as_ref()?))) {
                Some((mail, error)) if !is_recorded => {
                    Ok(Progress::Failed(self.failed_mail(mail, error)))
                }
                _ => self.go_on_waiting(row),
            }
        })
    }

    fn failed_mail(&self, mail: &Email, error: &str) -> Failure {
        let message = format!("{} was not sent: {error}", mail.describe());
        let reported = self.transport_error.as_ref();
        Failure {
            is_unreported: !reported.is_some_and(|reported| reported.ends_with(error)),
            ..Failure::new(message)
        }
    }

    fn look_at_task(
        &self,
        steps: &Steps<'_>,
        row: &Attachment,
        task: &LevelTask,
    ) -> Result<Progress> {
        match task.status {
            Status::Completed => {
                steps.record(Severity::Info, &format!("task {} completed", task.id))?;
                self.finish(steps, row)
            }
            Status::Running => self.go_on_waiting(row),
            Status::Waiting | Status::ToRun => {
                self.unless_late(steps, row, || self.go_on_waiting(row))
            }
            Status::Failed | Status::Interrupted | Status::Cancelled => {
                let is_recorded = self.turn != Turn::Command && row.failed_run_id.is_some();
                if is_recorded {
                    self.begin(steps, row)
                } else {
                    Ok(Progress::Failed(Failure::of_task(task)))
                }
            }
        }
    }

    /// Records a failure, so that another run tries the level again. History has it once for each reason. The attachment as
    /// it is after that.
    fn fail(&self, row: Attachment, failure: &Failure, batch: &mut Summary) -> Result<Attachment> {
        let issue = issue_of(self.store, &row, &failure.message)?;
        if row.last_error.as_ref() != Some(&failure.reason) {
            // What a trigger of an application refuses to have recorded is not.
            let _ = self.store.attempt_alone(|store| {
                record(
                    store,
                    &row,
                    self.when.now,
                    Severity::Error,
                    &failure.message,
                )
            })?;
        }
        let failed = Attachment {
            waiting: true,
            attempts: row.attempts.saturating_add(1),
            last_error: Some(failure.reason.clone()),
            failed_run_id: Some(self.store.run()),
            ..row
        };
        let _ = self
            .store
            .attempt_alone(|store| store.update_attachment(&failed))?;
        if failure.is_unreported {
            batch.report(Issue {
                subject: Subject::Level {
                    attachment: failed.id,
                    task: failure.task,
                },
                is_news: issue.is_news && failure.is_first,
                ..issue
            });
        }
        Ok(failed)
    }
}
