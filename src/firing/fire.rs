//! Firing what is due: which levels are looked at, and in which batches (`docs/timers.md`, "Firing").

use std::collections::HashMap;

use super::advance::Advance;
use super::reschedule::{reschedule, reschedule_all};
use super::steps::{Begun, Steps};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::model::attachment::Attachment;
use crate::model::firing::FiringStatus;
use crate::model::summary::Summary;
use crate::model::task::Task;
use crate::store::Store;
use crate::time::Timestamp;

/// How many levels share a transaction: others can write in between.
const BATCH: u64 = 1000;

/// How many documents are read at once, however many are due: a bounded part of the memory.
const MAX_DOCUMENTS: u32 = 100_000;

/// Firing what is due in a run, turn by turn. Documents are gone through by id, since neighbours share pages of the
/// database; what is due on one document is fired by due date.
pub(crate) struct Levels<'a> {
    ctx: Context<'a>,
    turn: Turn,
    /// The last attachment that was made before this run.
    last_known: i64,
    /// The first attachment of each timer to a document that was made, and fired, during this run.
    new: HashMap<(i64, i64), i64>,
    /// Whether any was left to the next tick.
    pub(crate) has_put_off: bool,
}

/// When in a run levels are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// In the first turn of a tick: all that is due, also what other runs have left or others have ended.
    First,
    /// In a later one: what has become due or was woken since. What fails is left for the next tick.
    Later,
    /// By a command that has ended the level's task.
    Command,
}

impl<'a> Levels<'a> {
    pub(crate) fn new(ctx: Context<'a>) -> Result<Self> {
        Ok(Self {
            ctx,
            turn: Turn::First,
            last_known: ctx.store.last_attachment()?,
            new: HashMap::new(),
            has_put_off: false,
        })
    }

    /// Reschedules what needs it, skips what is too late and fires what is due. A level that fails holds up no other.
    pub(crate) fn fire_due(&mut self, summary: &mut Summary) -> Result<()> {
        let store = self.ctx.store;
        reschedule_all(store, self.ctx.when()?, |issue| summary.report(issue))?;
        let mut advance = Advance::new(self.ctx, self.turn, summary)?;
        store.keep_undo_in_memory(true)?;
        let fired = self.fire_all(&mut advance, summary);
        store.keep_undo_in_memory(false)?;
        self.turn = Turn::Later;
        fired
    }

    fn fire_all(&mut self, advance: &mut Advance<'a>, summary: &mut Summary) -> Result<()> {
        let (store, now, with_waiting) =
            (self.ctx.store, self.ctx.clock.now(), self.with_waiting());
        let mut after = i64::MIN;
        loop {
            let documents = store.due_documents(now, after, with_waiting, MAX_DOCUMENTS)?;
            let Some(&last) = documents.last() else {
                return Ok(());
            };
            after = last;
            let mut left = documents.as_slice();
            while !left.is_empty() {
                if self.ctx.shutdown.is_requested() {
                    return Ok(());
                }
                let (batch, done) = store.transact(|_| self.fire_batch(left, advance))?;
                summary.add(batch);
                left = &left[done..];
            }
        }
    }

    fn with_waiting(&self) -> bool {
        self.turn == Turn::First
    }

    /// Fires what is due on some documents; on how many of them nothing is left to be done.
    fn fire_batch(
        &mut self,
        documents: &[i64],
        advance: &mut Advance<'a>,
    ) -> Result<(Summary, usize)> {
        let (store, now) = (self.ctx.store, self.ctx.clock.now());
        if store.is_paused()? {
            return Ok((Summary::default(), documents.len()));
        }
        advance.begin_batch()?;
        let (mut batch, mut levels) = (Summary::default(), 0);
        for (done, &document) in documents.iter().enumerate() {
            if levels >= BATCH {
                return Ok((batch, done));
            }
            let mut due = store.due_on(document, now, self.with_waiting())?;
            while let Some(row) = take_soonest(&mut due, now) {
                if batch.fired + batch.skipped >= BATCH {
                    return Ok((batch, done));
                }
                levels += 1;
                if self.is_put_off(&row) {
                    advance.put_off(row)?;
                    self.has_put_off = true;
                    continue;
                }
                let next = advance.advance(row, &mut batch)?;
                drop_detached(store, &mut due)?;
                due.extend(next);
            }
        }
        Ok((batch, documents.len()))
    }

    /// A timer enters a document once in a run: else timers that lead from state to state in a circle would never end.
    fn is_put_off(&mut self, row: &Attachment) -> bool {
        let key = (row.timer, row.document);
        row.id > self.last_known && *self.new.entry(key).or_insert(row.id) != row.id
    }
}

/// Goes on with the level that waits for a task, which a command has ended, if one still does.
pub(crate) fn end_of_task(ctx: Context<'_>, task: &Task, summary: &mut Summary) -> Result<()> {
    let Some(attachment) = task.attachment else {
        return Ok(());
    };
    let mut advance = Advance::new(ctx, Turn::Command, summary)?;
    let came_of_it = ctx.store.transact(|store| {
        let mut came_of_it = Summary::default();
        reschedule(store, attachment, ctx.when()?)?;
        let waits = |row: &Attachment| row.task == Some(task.id);
        if let Some(row) = store.attachment(attachment)?.filter(waits)
            && store.is_over(task.id)?
        {
            advance.begin_batch()?;
            advance.advance(row, &mut came_of_it)?;
        }
        Ok(came_of_it)
    })?;
    summary.add(came_of_it);
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
    let mut task = None;
    for step in steps.action.steps().filter(|step| *step >= firing.step) {
        if let Begun::Task(added) = steps.begin(step)? {
            task = Some(added);
        }
    }
    let result = format!("by hand: {}", steps.action.describe(firing.step.., task));
    store.finish_firing(id, &result, when.now)
}

/// What a level does to the state may have detached other timers of the document.
fn drop_detached(store: &Store, due: &mut Vec<Attachment>) -> Result<()> {
    for place in (0..due.len()).rev() {
        if !store.is_attached(due[place].id)? {
            due.swap_remove(place);
        }
    }
    Ok(())
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
    use super::{Levels, Store, Summary, fire_by_hand};
    use crate::clock::Clock;
    use crate::context::Context;
    use crate::functions::Functions;
    use crate::shutdown::Shutdown;

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
        Levels::new(ctx).unwrap().fire_due(&mut summary).unwrap();
        assert_eq!(summary.skipped, 1);
        store.transact(|_| fire_by_hand(ctx, 1)).unwrap();
        assert_eq!(store.task(1).unwrap().method, "Own:run");
    }
}
