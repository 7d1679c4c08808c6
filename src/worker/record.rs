//! Writes what comes of attempts: their ends, and what handlers have printed that go on.

use std::io;

use super::execution::{Finished, NewOutput};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::model::issue::{Issue, Subject, cut_error};
use crate::model::summary::Summary;
use crate::model::task::{LogEntry, Status, next_attempt};
use crate::store::Store;
use crate::store::task_claim::{Attempt, TaskEnd};
use crate::store::task_file::FileKind;
use crate::time::Timestamp;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    /// Without the files that handlers gave back: they may be too large for what is left of the disk.
    WithoutFiles,
    /// Each attempt with a savepoint: one whose rows are refused does no harm to the others.
    OneByOne,
}

/// Writes for a worker, inside its transaction.
pub(super) struct Recorder<'r> {
    pub(super) ctx: Context<'r>,
    pub(super) worker: i64,
    pub(super) mode: Mode,
}

impl Recorder<'_> {
    /// Ends an attempt, and adds to the summary what came of it; its status.
    pub(super) fn end(&self, finished: &Finished, summary: &mut Summary) -> Result<Status> {
        let (store, task) = (self.ctx.store, &finished.task);
        let mut status = finished.status;
        let mut failure = Failure::new(task.id, task.label(), task.attempt);
        if matches!(status, Status::Failed | Status::Interrupted) {
            failure.plan_retry(store, task.attachment, finished.retries, finished.at)?;
        }
        let refused = self.refusal(|| self.write_end(finished, failure.again_at))?;
        let error = match refused {
            None => finished.output.lock().last_error.clone(),
            Some(reason) => {
                let error = format!("what came of it cannot be recorded: {reason}");
                self.end_refused(finished, &error)?;
                (status, failure.again_at) = (Status::Failed, None);
                Some(error)
            }
        };
        let counts = &mut summary.tasks;
        let (count, how) = match status {
            Status::Failed => (&mut counts.failed, Some("failed")),
            Status::Interrupted => (&mut counts.interrupted, Some("was interrupted")),
            Status::Completed => (&mut counts.completed, None),
            _ => (&mut counts.cancelled, None),
        };
        *count += 1;
        if let Some(how) = how {
            let error = cut_error(&error.unwrap_or_default());
            failure.report(&self.ctx, &format!("{how}: {error}"), summary);
        }
        Ok(status)
    }

    /// Writes what an execution has printed; the reason, if that is refused.
    pub(super) fn output(&self, output: &NewOutput) -> Result<Option<String>> {
        let store = self.ctx.store;
        self.refusal(|| {
            store.write_logs(output.task, output.attempt, &output.unwritten.log)?;
            let attempt = Attempt {
                task: output.task,
                number: output.attempt,
                worker: self.worker,
            };
            match &output.unwritten.progress {
                Some(progress) => store.set_progress(attempt, progress),
                None => Ok(()),
            }
        })
    }

    /// Why rows are refused, if they are and each attempt has a savepoint.
    fn refusal(&self, write: impl FnOnce() -> Result<()>) -> Result<Option<String>> {
        if self.mode != Mode::OneByOne {
            return write().map(|()| None);
        }
        let written = self.ctx.store.attempt_alone(|_| write())?;
        Ok(written.err().map(|error| error.to_string()))
    }

    fn write_end(&self, finished: &Finished, again_at: Option<Timestamp>) -> Result<()> {
        let (store, task) = (self.ctx.store, &finished.task);
        let output = finished.output.lock();
        // First, since the mail to the owner quotes the last error.
        store.write_logs(task.id, task.attempt, &output.unwritten().log)?;
        let end = TaskEnd {
            again_at,
            progress: output.progress().cloned(),
            result: output.result.clone(),
            ..bare_end(finished, finished.status)
        };
        if !store.finish_task(self.attempt(finished), &end)? {
            let id = task.id;
            log::warn!("task {id}: it is not this run's any more; its end is not noted");
            return Ok(());
        }
        drop(output);
        self.keep_file(finished)
    }

    /// Keeps the file that the handler gave back. One that cannot be stored is an error in the log: the task came to its end
    /// all the same.
    fn keep_file(&self, finished: &Finished) -> Result<()> {
        let (store, task) = (self.ctx.store, &finished.task);
        let Some(file) = finished.output.lock().file.clone() else {
            return Ok(());
        };
        let path = store.files().folder().join(&file);
        let name = file.file_name().and_then(|name| name.to_str());
        let name = finished.mask.text(name.unwrap_or("output").to_owned());
        let kept = if self.mode == Mode::WithoutFiles {
            Err(Error::io(&path, io::ErrorKind::StorageFull.into()))
        } else {
            store.attempt(|store| store.put_task_file(task.id, FileKind::Output, &name, &path))
        };
        match kept {
            Err(error) if store.in_transaction() => {
                let message =
                    format!("the file that the handler gave back cannot be kept: {error}");
                let entry = LogEntry::error(finished.at, finished.mask.text(message));
                store.append_log(task.id, task.attempt, &entry)
            }
            kept => kept,
        }
    }

    /// Ends an attempt of which the database does not take what it brought; it may not take a log entry either.
    fn end_refused(&self, finished: &Finished, error: &str) -> Result<()> {
        let (store, task) = (self.ctx.store, &finished.task);
        let end = bare_end(finished, Status::Failed);
        let entry = LogEntry::error(finished.at, error.to_owned());
        let refused = self.refusal(|| {
            self.refusal(|| store.append_log(task.id, task.attempt, &entry))?;
            store.finish_task(self.attempt(finished), &end).map(drop)
        })?;
        if let Some(reason) = refused {
            log::error!("task {}: its end cannot be recorded: {reason}", task.id);
        }
        Ok(())
    }

    fn attempt(&self, finished: &Finished) -> Attempt {
        Attempt {
            task: finished.task.id,
            number: finished.task.attempt,
            worker: self.worker,
        }
    }
}

/// An end with nothing that the handler brought.
fn bare_end(finished: &Finished, status: Status) -> TaskEnd {
    TaskEnd {
        lasted: finished.lasted,
        exit_code: finished.exit_code,
        ..TaskEnd::new(status, finished.task.attachment, finished.at)
    }
}

/// An attempt that did not come to its end.
pub(super) struct Failure<'f> {
    task: i64,
    method: &'f str,
    attempt: u32,
    /// The attachment whose level waits for the task, and how often that level has failed.
    level: Option<(i64, u32)>,
    pub(super) again_at: Option<Timestamp>,
}

impl<'f> Failure<'f> {
    pub(super) fn new(task: i64, method: &'f str, attempt: u32) -> Self {
        Self {
            task,
            method,
            attempt,
            level: None,
            again_at: None,
        }
    }

    /// Decides whether the task is tried again: one of a level only while the level waits for it.
    pub(super) fn plan_retry(
        &mut self,
        store: &Store<'_>,
        attachment: Option<i64>,
        retries: u32,
        at: Timestamp,
    ) -> Result<()> {
        if let Some(attachment) = attachment {
            let attempts = store.attempts_at_level_of(attachment, self.task)?;
            self.level = attempts.map(|attempts| (attachment, attempts));
        }
        if attachment.is_none() || self.level.is_some() {
            self.again_at = next_attempt(self.attempt, retries, at);
        }
        Ok(())
    }

    /// Reports it, but for a task that is over for good and that a level waits for: the timers report that. `how` is such as
    /// “failed: the disk is full”.
    pub(super) fn report(&self, ctx: &Context<'_>, how: &str, summary: &mut Summary) {
        let is_final = self.again_at.is_none();
        let task = self.task;
        let subject = match self.level {
            Some(_) if is_final => return,
            Some((attachment, _)) => Subject::Level {
                attachment,
                task: Some(task),
            },
            None => Subject::Task(task),
        };
        let is_first = self.attempt == 1 && self.level.is_none_or(|(_, attempts)| attempts == 0);
        let mut message = format!("task {task} ({}) {how}", self.method);
        if let Some(at) = self.again_at {
            let zone = ctx.settings.zone().unwrap_or_default();
            message += &format!("; it is tried again at {}", zone.show(at));
        }
        summary.report(Issue {
            subject,
            message,
            is_news: is_first || is_final,
        });
    }
}
