//! What is to come, played on a copy in memory (`docs/timers.md`, "Rehearsal").
//!
//! Levels are fired by the code that ticks fire them by. Mails are filled and taken for sent, tasks are taken for
//! completed, and no file, socket or process is touched.

use crate::clock::Clock;
use crate::context::Context;
use crate::error::Result;
use crate::firing::fire::Levels;
use crate::functions::Functions;
use crate::mail::outbox;
use crate::model::method::Methods;
use crate::model::settings::Settings;
use crate::model::story::{Kind, StoryEntry};
use crate::model::summary::Summary;
use crate::model::task::Status;
use crate::retention::count_old;
use crate::schedule::Schedules;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::mail::{BEFORE_ALL, Retry};
use crate::store::retention::Kept;
use crate::store::task_claim::{Attempt, ClaimedTask, TaskEnd};
use crate::time::Timestamp;

/// How many entries a story has at most.
const MAX_ENTRIES: usize = 100_000;

/// Who does in a rehearsal what workers do.
const WORKER: i64 = 0;

/// How many tasks are completed in one go.
const BATCH: usize = 1000;

/// What is to come.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) entries: Vec<StoryEntry>,
    /// What the ticks would have done, and what would have gone wrong.
    pub(crate) summary: Summary,
    /// When it stopped, if that was for being too long.
    pub(crate) stopped_at: Option<Timestamp>,
}

/// Plays all ticks from one time to another. The time that it has come to is shown now and then, with the number of
/// entries.
pub(crate) fn rehearse(
    ctx: Context<'_>,
    from: Timestamp,
    until: Timestamp,
    mut show: impl FnMut(Timestamp, usize),
) -> Result<Story> {
    let copy = ctx.store.copy_in_memory()?;
    let mut rehearsal = Rehearsal {
        store: &copy,
        settings: ctx.settings,
        functions: ctx.functions,
        methods: ctx.methods()?,
        last_history: 0,
        has_put_off: false,
        story: Story {
            entries: Vec::new(),
            summary: Summary::default(),
            stopped_at: None,
        },
    };
    let mut now = from;
    rehearsal.tick(now, true)?;
    rehearsal.add_pruning(ctx, now)?;
    while rehearsal.story.entries.len() <= MAX_ENTRIES {
        show(now, rehearsal.story.entries.len());
        match rehearsal.next_due(now)? {
            Some(due) if due <= until => now = whole_minute(due),
            _ => return Ok(rehearsal.story),
        }
        rehearsal.tick(now, false)?;
    }
    rehearsal.story.entries.truncate(MAX_ENTRIES);
    rehearsal.story.stopped_at = Some(now);
    Ok(rehearsal.story)
}

/// When cron starts the tick that finds what is due.
fn whole_minute(due: Timestamp) -> Timestamp {
    let seconds = due.unix().rem_euclid(60);
    let rest = if seconds == 0 { 0 } else { 60 - seconds };
    due.plus_seconds(rest).unwrap_or(due)
}

/// A copy of the database, and what was played on it.
struct Rehearsal<'a> {
    store: &'a Store<'a>,
    settings: &'a Settings,
    functions: &'a Functions,
    methods: Methods,
    /// The last entry of the copy's history that is in the story.
    last_history: i64,
    /// Whether the last tick has left anything to the next one.
    has_put_off: bool,
    story: Story,
}

impl Rehearsal<'_> {
    /// What is wrong with a schedule is told once.
    fn tick(&mut self, now: Timestamp, is_first: bool) -> Result<()> {
        let (clock, shutdown) = (Clock::fixed(now), Shutdown::default());
        let ctx = Context {
            store: self.store,
            clock: &clock,
            settings: self.settings,
            functions: self.functions,
            shutdown: &shutdown,
        };
        self.store.begin_run();
        let (mut schedules, mut levels) = (Schedules::new(ctx, is_first), Levels::new(ctx)?);
        loop {
            let before = self.story.summary.progress();
            self.enqueue_due(&mut schedules, now)?;
            levels.fire_due(&mut self.story.summary)?;
            self.add_history(now)?;
            self.send_mails(now)?;
            self.complete_tasks(now)?;
            if self.story.summary.progress() == before {
                self.has_put_off = levels.has_put_off;
                return Ok(());
            }
        }
    }

    /// What is wrong with a schedule no history says.
    fn enqueue_due(&mut self, schedules: &mut Schedules<'_>, now: Timestamp) -> Result<()> {
        let mut summary = Summary::default();
        schedules.enqueue_due(&mut summary)?;
        for issue in &summary.errors {
            self.add(StoryEntry::new(
                Kind::Error,
                now,
                now,
                issue.message.clone(),
            ))?;
        }
        self.story.summary.add(summary);
        Ok(())
    }

    /// When something is due after this, or past its limit, or was put off to the next tick.
    fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let due = self.store.next_due(Some(now))?;
        let next_tick = now.plus_seconds(1).filter(|_| self.has_put_off);
        Ok(due
            .into_iter()
            .chain(self.next_skip(now)?)
            .chain(next_tick)
            .min())
    }

    /// When a level that has failed is to be skipped.
    fn next_skip(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let (zone, hour_limit) = (self.settings.zone()?, self.settings.hour_limit()?);
        let mut ends = Vec::new();
        for level in self.store.overdue_levels(now)? {
            // What cannot be read as a timer is never done, and never skipped.
            if let Ok(timer) = self.store.timer(level.timer)
                && let Some((_, action)) = timer.level(level.level)
                && let Some(latest) = action.latest(level.due_at, &zone, hour_limit)
            {
                ends.extend(latest.plus_seconds(1));
            }
        }
        Ok(ends.into_iter().filter(|end| *end > now).min())
    }

    fn add_history(&mut self, now: Timestamp) -> Result<()> {
        for found in self.store.history_after(self.last_history)? {
            self.last_history = found.id;
            let Some(kind) = Kind::of_history(&found.entry) else {
                continue;
            };
            let text = found.entry.message;
            let entry = StoryEntry {
                document: Some(found.document),
                title: found.title,
                timer: found.entry.timer,
                level: found.entry.timer_level,
                ..StoryEntry::new(kind, now, now, text)
            };
            self.add(entry)?;
        }
        Ok(())
    }

    fn send_mails(&mut self, now: Timestamp) -> Result<()> {
        let mut last = BEFORE_ALL;
        while let Some(claim) = self.store.claim_next_mail(last, WORKER, now)? {
            let email = claim.email;
            last = email.id;
            let subject = &email.content.subject;
            let what = format!("{} to {}: {subject}", email.name(), email.recipients());
            let (kind, text) = match outbox::check(&email) {
                Ok(()) => {
                    self.store.finish_mail(email.id, WORKER, None, now)?;
                    self.story.summary.mails_sent += 1;
                    (Kind::Mail, what)
                }
                Err(reason) => {
                    self.store
                        .put_back_mail(email.id, WORKER, &reason, Retry::Never)?;
                    self.story.summary.mails_failed += 1;
                    (Kind::Error, format!("{what}: {reason}"))
                }
            };
            self.add(StoryEntry {
                document: email.document,
                title: self.title_of(email.document)?,
                timer: email.timer,
                level: email.timer_level,
                mail: email.template,
                ..StoryEntry::new(kind, now, now, text)
            })?;
        }
        Ok(())
    }

    fn complete_tasks(&mut self, now: Timestamp) -> Result<()> {
        loop {
            self.store.undefer_tasks(now)?;
            let claimed = self
                .store
                .transact(|store| store.claim_tasks(WORKER, BATCH, now))?;
            if claimed.is_empty() {
                return Ok(());
            }
            for task in claimed {
                self.complete(task, now)?;
            }
        }
    }

    fn complete(&mut self, task: ClaimedTask, now: Timestamp) -> Result<()> {
        let level = match task.attachment {
            Some(attachment) => self.store.attachment_view(attachment)?,
            None => None,
        };
        let (status, kind, text) = match self.methods.of_task(&task.method, task.command.as_deref())
        {
            Ok(_) => {
                self.story.summary.tasks.completed += 1;
                let what = match task.command {
                    Some(_) => "command",
                    None => "method",
                };
                let text = format!("{what} {} runs as task {}", task.label(), task.id);
                (Status::Completed, Kind::Task, text)
            }
            Err(error) => {
                self.story.summary.tasks.failed += 1;
                (
                    Status::Failed,
                    Kind::Error,
                    format!("task {}: {error}", task.id),
                )
            }
        };
        let attempt = Attempt {
            task: task.id,
            number: task.attempt,
            worker: WORKER,
        };
        let end = TaskEnd::new(status, task.attachment, now);
        self.store.transact(|store| {
            store.finish_task(attempt, &end)?;
            if status == Status::Completed {
                store.unblock_followers(task.id)?;
            }
            Ok(())
        })?;
        self.add(StoryEntry {
            document: task.document,
            title: self.title_of(task.document)?,
            timer: level.as_ref().map(|level| level.timer.clone()),
            level: level.as_ref().map(|level| level.level),
            schedule: self.store.task(task.id)?.schedule,
            task: Some(task.id),
            ..StoryEntry::new(kind, task.due_at, now, text)
        })
    }

    /// Adds an entry, with the date at which its level was due, if it is about one.
    fn add(&mut self, mut entry: StoryEntry) -> Result<()> {
        if let (Some(document), Some(timer), Some(level)) =
            (entry.document, &entry.timer, entry.level)
            && let Some(due) = self.store.due_at_of_level(document, timer, level)?
        {
            entry.at = due;
        }
        self.story.entries.push(entry);
        Ok(())
    }

    fn title_of(&self, document: Option<i64>) -> Result<Option<String>> {
        match document {
            Some(document) => self.store.title(document),
            None => Ok(None),
        }
    }

    /// What the first of the ticks would drop from the database itself.
    fn add_pruning(&mut self, ctx: Context<'_>, now: Timestamp) -> Result<()> {
        for (kept, count) in count_old(ctx)? {
            let what = match kept {
                Kept::Tasks => "tasks that ended longer ago than keep.tasks",
                Kept::History => "entries of the history that are older than keep.history",
                Kept::Firings => "records of firings that are older than keep.history",
                Kept::Mails => "mails that are older than keep.history",
            };
            if count > 0 {
                let text = format!("drop {count} {what}");
                self.add(StoryEntry::new(Kind::Prune, now, now, text))?;
            }
        }
        Ok(())
    }
}
