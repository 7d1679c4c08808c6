//! Firing what is due: each level goes as far as it can now, and is looked at again once its mails were sent or its task
//! is over (`docs/timers.md`, "Levels").

use super::steps::Steps;
use super::{Timers, reschedule};
use crate::context::{Context, When};
use crate::error::{Error, Result};
use crate::model::attachment::{Attachment, Step};
use crate::model::firing::FiringStatus;
use crate::model::issue::{Issue, Subject, cut};
use crate::model::method::Methods;
use crate::model::summary::Summary;
use crate::model::task::{Severity, Status, Task};
use crate::store::Store;
use crate::store::attachment::LevelTask;
use crate::time::Timestamp;

/// How many levels share a transaction: others can write in between.
const BATCH: usize = 1000;

/// How many documents are read at once, however many are due: a bounded part of the memory.
const MAX_DOCUMENTS: u32 = 100_000;

/// How much of a task's error is reported, in characters: all of it is in its log.
const MAX_ERROR: usize = 500;

/// When in a run levels are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// In the first turn of a tick: all that is due, also what other runs have left or others have ended.
    First,
    /// In a later one: what has become due or was woken since. What fails is left for the next tick.
    Later,
    /// By a command that has ended the level's task.
    Command,
}

/// Reschedules what needs it, skips what is too late and fires what is due. A level that fails holds up no other.
pub(crate) fn fire_due(ctx: Context<'_>, turn: Turn, summary: &mut Summary) -> Result<()> {
    let when = ctx.when()?;
    reschedule::reschedule_all(ctx.store, when, |issue| summary.report(issue))?;
    let mut fire = Fire::new(ctx, when, turn, summary)?;
    let mut after = i64::MIN;
    loop {
        let with_waiting = turn == Turn::First;
        let documents = ctx
            .store
            .due_documents(when.now, after, with_waiting, MAX_DOCUMENTS)?;
        let Some(&last) = documents.last() else {
            return Ok(());
        };
        after = last;
        fire.fire_all(&documents, summary)?;
    }
}

/// Goes on with the level that waits for a task, which a command has ended, if one still does.
pub(crate) fn end_of_task(ctx: Context<'_>, task: &Task, summary: &mut Summary) -> Result<()> {
    let Some(attachment) = task.attachment else {
        return Ok(());
    };
    let when = ctx.when()?;
    let mut fire = Fire::new(ctx, when, Turn::Command, summary)?;
    let batch = ctx.store.transact(|store| {
        let mut batch = Summary::default();
        reschedule::reschedule(store, attachment, when)?;
        match store.attachment(attachment)? {
            Some(row) if row.task == Some(task.id) && store.is_over(task.id)? => {
                fire.begin_batch()?;
                fire.advance(row, &mut batch)?;
            }
            _ => {}
        }
        Ok(batch)
    })?;
    summary.add(batch);
    Ok(())
}

/// Does what is left of a skipped level, inside the caller's transaction: the state change at once, its mails and its
/// task are queued.
pub(crate) fn fire_by_hand(ctx: Context<'_>, id: i64) -> Result<()> {
    let (store, when) = (ctx.store, ctx.when()?);
    let firing = store.firing(id)?;
    let wrong = |reason: &str| Error::invalid(format!("firing {id}"), reason);
    if firing.status != FiringStatus::Skipped {
        return Err(wrong("it was not skipped: its level has been done"));
    }
    if firing.title.is_none() {
        return Err(wrong("its document has been deleted"));
    }
    let timer = store.timer(store.timer_id(&firing.timer)?)?;
    let (_, action) = timer
        .level(firing.level)
        .ok_or_else(|| wrong("its timer has no such level any more"))?;
    let steps = Steps {
        store,
        timer: &timer,
        action: &action.without_mails(&firing.sent),
        methods: &ctx.methods()?,
        when,
        attachment: None,
        document: firing.document,
        level: firing.level,
        due_at: firing.due_at,
    };
    if firing.step <= Step::State {
        steps.change_state()?;
    }
    if firing.step <= Step::Mails {
        steps.queue_mails()?;
    }
    let task = steps.add_task()?;
    let result = format!("by hand: {}", steps.action.describe(firing.step.., task));
    store.finish_firing(id, &result, when.now)
}

struct Fire<'a> {
    ctx: Context<'a>,
    store: &'a Store,
    when: When,
    turn: Turn,
    /// For how many seconds past its due date a level is tried.
    limit: Option<i64>,
    /// Why no mail goes out at all: this was told once for all of them.
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
    /// The level has ended: the attachment at its next one, if there is one.
    Ended(FiringStatus, Option<Attachment>),
    /// Its task is over and not completed, or a mail has failed a try.
    Failed(Failure),
}

/// Why a step has failed.
struct Failure {
    /// In the same words each time.
    reason: String,
    /// As history tells it, with what differs from time to time.
    message: String,
    /// As it is reported.
    issue: String,
    /// Whether it is reported: a transport that is down was, once for all mails.
    is_told: bool,
    /// Whether nothing was reported of the same failure before: a retry was.
    is_first: bool,
    /// The task that has failed.
    task: Option<i64>,
}

impl Failure {
    fn new(reason: String) -> Self {
        Self {
            message: reason.clone(),
            issue: reason.clone(),
            reason,
            is_told: true,
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
            Some(error) if task.status != Status::Cancelled => format!(": {error}"),
            _ => String::new(),
        };
        let (id, method) = (task.id, &task.method);
        Self {
            reason: format!("its task {how}{why}"),
            message: format!("task {id} {how}{why}"),
            issue: format!("task {id} ({method}) {how}{}", cut(&why, MAX_ERROR)),
            is_first: task.attempt <= 1,
            task: Some(id),
            ..Self::new(String::new())
        }
    }
}

impl<'a> Fire<'a> {
    fn new(ctx: Context<'a>, when: When, turn: Turn, so_far: &Summary) -> Result<Self> {
        let is_down = |issue: &&Issue| issue.subject == Subject::Transport;
        let down = so_far.errors.iter().find(is_down);
        Ok(Self {
            ctx,
            store: ctx.store,
            when,
            turn,
            limit: ctx.settings.hour_limit()?,
            transport_error: down.map(|issue| issue.message.clone()),
            timers: Timers::default(),
            methods: Methods::default(),
        })
    }

    fn fire_all(&mut self, documents: &[i64], summary: &mut Summary) -> Result<()> {
        let mut left = documents;
        while !left.is_empty() && !self.ctx.shutdown.is_requested() {
            let store = self.store;
            let (batch, done) = store.transact(|_| self.fire_batch(left))?;
            summary.add(batch);
            left = &left[done..];
        }
        Ok(())
    }

    /// Fires what is due on some documents; on how many of them nothing is left to be done.
    fn fire_batch(&mut self, documents: &[i64]) -> Result<(Summary, usize)> {
        self.begin_batch()?;
        let (mut batch, mut levels) = (Summary::default(), 0);
        for (done, &document) in documents.iter().enumerate() {
            if levels >= BATCH {
                return Ok((batch, done));
            }
            let with_waiting = self.turn == Turn::First;
            let mut due = self.store.due_on(document, self.when.now, with_waiting)?;
            while let Some(row) = take_soonest(&mut due, self.when.now) {
                if batch.fired + batch.skipped >= BATCH as u64 {
                    return Ok((batch, done));
                }
                levels += 1;
                due.extend(self.advance(row, &mut batch)?);
            }
        }
        Ok((batch, documents.len()))
    }

    /// Others may have changed a definition or a method since the last transaction.
    fn begin_batch(&mut self) -> Result<()> {
        self.timers = Timers::default();
        self.methods = self.ctx.methods()?;
        Ok(())
    }

    /// Does of an attachment's level what can be done now, each step in a savepoint of its own. The attachment at its next
    /// level, if this one has ended and there is one.
    fn advance(&mut self, mut row: Attachment, batch: &mut Summary) -> Result<Option<Attachment>> {
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
            row.step = action.next_step(row.step);
            match self.store.attempt(|_| self.step(&steps, &row)) {
                Ok(Progress::Next(next)) => row = next,
                Ok(Progress::Waits) => return Ok(None),
                Ok(Progress::Ended(FiringStatus::Done, next)) => {
                    batch.fired += 1;
                    return Ok(next);
                }
                Ok(Progress::Ended(FiringStatus::Skipped, next)) => {
                    batch.skipped += 1;
                    self.report_skip(&row, batch)?;
                    return Ok(next);
                }
                Ok(Progress::Failed(failure)) => {
                    row = self.fail(row, &failure, batch)?;
                    if self.turn != Turn::First {
                        return Ok(None);
                    }
                    // It has failed in an earlier run: this one tries it again.
                    row.task = None;
                    row.last_run_id = None;
                }
                Err(error) if self.store.is_fatal(&error) => return Err(error),
                Err(error) => return self.fail(row, &Failure::of(&error), batch).map(|_| None),
            }
        }
    }

    fn step(&self, steps: &Steps<'_>, row: &Attachment) -> Result<Progress> {
        match row.step {
            Step::State => self.begin(steps, row, || {
                steps.change_state()?;
                self.go_on(steps, row, Step::Mails)
            }),
            Step::Mails if row.pending_mails == 0 => self.begin(steps, row, || {
                let pending_mails = steps.queue_mails()?;
                self.wait(&Attachment {
                    pending_mails,
                    ..row.clone()
                })
            }),
            Step::Mails => self.look_at_mails(steps, row),
            Step::Method => self.look_at_task(steps, row),
        }
    }

    /// Begins a step, or tries it again, unless it has failed in this run or it is too late for that.
    fn begin(
        &self,
        steps: &Steps<'_>,
        row: &Attachment,
        work: impl FnOnce() -> Result<Progress>,
    ) -> Result<Progress> {
        if row.last_run_id == Some(self.store.run()) {
            return Ok(Progress::Waits);
        }
        self.unless_late(steps, row, work)
    }

    fn unless_late(
        &self,
        steps: &Steps<'_>,
        row: &Attachment,
        work: impl FnOnce() -> Result<Progress>,
    ) -> Result<Progress> {
        let late = self.when.now.seconds_since(steps.due_at);
        match self.limit {
            Some(limit) if late >= limit => {
                let next = steps.skip(row, limit / 3600)?;
                Ok(Progress::Ended(FiringStatus::Skipped, next))
            }
            _ => work(),
        }
    }

    /// Goes on from a step that is done, which may have been the last.
    fn go_on(&self, steps: &Steps<'_>, row: &Attachment, from: Step) -> Result<Progress> {
        let step = steps.action.next_step(from);
        if step == Step::Method && steps.action.method.is_none() {
            return self.finish(steps, row);
        }
        let next = row.at_step(step);
        self.store.update_attachment(&next)?;
        Ok(Progress::Next(next))
    }

    fn finish(&self, steps: &Steps<'_>, row: &Attachment) -> Result<Progress> {
        let next = steps.finish(row)?;
        Ok(Progress::Ended(FiringStatus::Done, next))
    }

    /// Lets later turns pass over it until it is woken.
    fn wait(&self, row: &Attachment) -> Result<Progress> {
        let this_run = Some(self.store.run());
        self.store.update_attachment(&Attachment {
            waiting: true,
            last_run_id: row.last_run_id.filter(|run| Some(*run) == this_run),
            ..row.clone()
        })?;
        Ok(Progress::Waits)
    }

    /// The same for one that may well wait already.
    fn go_on_waiting(&self, row: &Attachment) -> Result<Progress> {
        if row.waiting && row.last_run_id.is_none() {
            return Ok(Progress::Waits);
        }
        self.wait(row)
    }

    fn look_at_mails(&self, steps: &Steps<'_>, row: &Attachment) -> Result<Progress> {
        let mails = self
            .store
            .mails_of_level(row.id, row.level, row.pending_mails)?;
        let mut unsent = mails.iter().filter(|mail| !mail.is_sent()).peekable();
        // One that somebody has sent by hand does not count.
        let is_any_gone = mails.len() < row.pending_mails as usize;
        if unsent.peek().is_none() && !is_any_gone {
            return self.go_on(steps, row, Step::Method);
        }
        if mails.iter().any(|mail| mail.is_sending()) {
            return self.go_on_waiting(row);
        }
        self.unless_late(steps, row, || {
            // In the first turn those that have failed wait to be tried again.
            let is_noted = self.turn == Turn::First || row.last_run_id == Some(self.store.run());
            match unsent.find_map(|mail| Some((mail.id, mail.last_error.as_ref()?))) {
                Some((mail, error)) if !is_noted => {
                    Ok(Progress::Failed(self.failed_mail(mail, error)))
                }
                _ => self.go_on_waiting(row),
            }
        })
    }

    fn failed_mail(&self, mail: i64, error: &str) -> Failure {
        let message = format!("mail {mail} was not sent: {error}");
        let told = self.transport_error.as_ref();
        Failure {
            is_told: !told.is_some_and(|told| told.ends_with(error)),
            ..Failure::new(message)
        }
    }

    fn look_at_task(&self, steps: &Steps<'_>, row: &Attachment) -> Result<Progress> {
        let add_task = || {
            let task = steps.add_task()?;
            self.wait(&Attachment {
                task,
                last_run_id: None,
                ..row.clone()
            })
        };
        let task = match row.task {
            Some(task) => self.store.level_task(task)?,
            None => None,
        };
        match task {
            _ if steps.action.method.is_none() => self.finish(steps, row),
            None => self.begin(steps, row, add_task),
            Some(task) => match task.status {
                Status::Completed => {
                    steps.tell(Severity::Info, &format!("task {} completed", task.id))?;
                    self.finish(steps, row)
                }
                Status::Running => self.go_on_waiting(row),
                Status::Waiting | Status::ToRun => {
                    self.unless_late(steps, row, || self.go_on_waiting(row))
                }
                Status::Failed | Status::Interrupted | Status::Cancelled => {
                    let is_noted = self.turn != Turn::Command && row.last_run_id.is_some();
                    if is_noted {
                        self.begin(steps, row, add_task)
                    } else {
                        Ok(Progress::Failed(Failure::of_task(&task)))
                    }
                }
            },
        }
    }

    /// Notes a failure, and leaves the level for another run. History says so once for each reason. The attachment as it is
    /// after that.
    fn fail(&self, row: Attachment, failure: &Failure, batch: &mut Summary) -> Result<Attachment> {
        let name = self.store.timer_name(row.timer)?;
        let is_news = row.attempts == 0;
        let (document, level) = (row.document, row.level);
        if row.last_error.as_ref() != Some(&failure.reason) {
            let told = self.store.attempt(|store| {
                let level = Some((name.as_str(), level));
                let message = &failure.message;
                store.insert_history(document, self.when.now, Severity::Error, message, level)
            });
            self.unless_fatal(told)?;
        }
        let failed = Attachment {
            waiting: true,
            attempts: row.attempts.saturating_add(1),
            last_error: Some(failure.reason.clone()),
            last_run_id: Some(self.store.run()),
            ..row
        };
        let noted = self.store.attempt(|store| store.update_attachment(&failed));
        self.unless_fatal(noted)?;
        if failure.is_told {
            let message = &failure.issue;
            batch.report(Issue {
                subject: Subject::Level {
                    attachment: failed.id,
                    task: failure.task,
                },
                message: format!("timer {name} on document {document}, level {level}: {message}"),
                is_news: is_news && failure.is_first,
                is_final: false,
            });
        }
        Ok(failed)
    }

    /// A check or a trigger of an application may refuse what is noted of a failure: it holds up no other level.
    fn unless_fatal(&self, noted: Result<()>) -> Result<()> {
        match noted {
            Err(error) if self.store.is_fatal(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// A level that is skipped because it kept failing was given up.
    fn report_skip(&self, row: &Attachment, batch: &mut Summary) -> Result<()> {
        if let Some(error) = &row.last_error {
            let name = self.store.timer_name(row.timer)?;
            let (document, level) = (row.document, row.level);
            batch.report(Issue {
                subject: Subject::Level {
                    attachment: row.id,
                    task: None,
                },
                message: format!(
                    "timer {name} on document {document}, level {level}: skipped, past its hour limit: {error}"
                ),
                is_news: true,
                is_final: true,
            });
        }
        Ok(())
    }
}

/// Takes out the attachment that is due first, unless none is due yet.
fn take_soonest(due: &mut Vec<Attachment>, now: Timestamp) -> Option<Attachment> {
    let dates = due
        .iter()
        .enumerate()
        .filter_map(|(place, row)| Some((row.due_at.filter(|due| *due <= now)?, row.id, place)));
    let (_, _, place) = dates.min()?;
    Some(due.swap_remove(place))
}

#[cfg(test)]
mod tests {
    use super::{Summary, Turn, fire_by_hand, fire_due};
    use crate::clock::Clock;
    use crate::context::Context;
    use crate::functions::Functions;
    use crate::shutdown::Shutdown;
    use crate::store::Store;

    #[test]
    fn a_function_is_started_by_hand_for_a_level_that_was_skipped() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::create(&folder.path().join("runner.db")).unwrap();
        let connection = rusqlite::Connection::open(store.files().path()).unwrap();
        let script = "INSERT INTO document (title) VALUES ('a document');
             INSERT INTO timer (name) VALUES ('t');
             INSERT INTO timer_action (timer_id, position, method) VALUES (1, 0, 'Own:run');
             INSERT INTO attachment (timer_id, document_id, reference_at) VALUES (1, 1, '2020-01-01 00:00:00')";
        connection.execute_batch(script).unwrap();
        let mut functions = Functions::default();
        functions.add("Own:run", |_| Ok::<_, String>(serde_json::Value::Null));
        let (clock, settings, shutdown) = (
            Clock::system(),
            store.settings().unwrap(),
            Shutdown::default(),
        );
        let ctx = Context {
            store: &store,
            clock: &clock,
            settings: &settings,
            functions: &functions,
            shutdown: &shutdown,
        };
        let mut summary = Summary::default();
        fire_due(ctx, Turn::First, &mut summary).unwrap();
        assert_eq!(summary.skipped, 1);
        store.transact(|_| fire_by_hand(ctx, 1)).unwrap();
        assert_eq!(store.task(1).unwrap().method, "Own:run");
    }
}
