//! Adding the tasks of schedules whose time has come (`docs/schedules.md`).

use crate::context::Context;
use crate::enqueue::Enqueue;
use crate::error::{Error, Result};
use crate::model::document::DocumentRef;
use crate::model::issue::Issue;
use crate::model::schedule::{Overlap, Schedule};
use crate::model::summary::Summary;
use crate::store::Store;
use crate::store::task::TaskRow;
use crate::time::{Timestamp, When};

/// The schedules, in one tick.
pub(crate) struct Schedules<'a> {
    ctx: Context<'a>,
    /// Whether those that have failed are tried again.
    with_failed: bool,
}

impl<'a> Schedules<'a> {
    /// Those that have failed before are tried again in the first turn, if at all.
    pub(crate) fn new(ctx: Context<'a>, with_failed: bool) -> Self {
        Self { ctx, with_failed }
    }

    /// Adds the tasks of all occurrences that have come, and sets the next dates, in one transaction: each occurrence
    /// counts once, however many ticks there are. What is wrong with one schedule holds up no other; it is tried again by
    /// the next tick.
    pub(crate) fn enqueue_due(&mut self, summary: &mut Summary) -> Result<()> {
        let (ctx, when) = (self.ctx, self.ctx.when()?);
        let with_failed = std::mem::replace(&mut self.with_failed, false);
        if ctx.store.due_schedules(when.now, with_failed)?.is_empty() {
            return Ok(());
        }
        let (added, issues) = ctx.store.transact(|store| {
            let enqueue = Enqueue::new(store, ctx.functions, when)?;
            let (mut added, mut issues) = (0, Vec::new());
            for mut schedule in store.due_schedules(when.now, with_failed)? {
                let mut advanced = schedule.clone();
                let advance = |store: &Store| advance(store, &enqueue, when, &mut advanced);
                match store.attempt_alone(advance)? {
                    Ok(tasks) => added += tasks,
                    Err(error) => {
                        let issue = format!("schedule '{}': {error}", schedule.name);
                        issues.push(Issue::of_run(issue));
                        schedule.error = Some(error.to_string());
                        store.update_schedule(&schedule)?;
                    }
                }
            }
            Ok((added, issues))
        })?;
        summary.scheduled += added;
        issues.into_iter().for_each(|issue| summary.report(issue));
        Ok(())
    }
}

/// Adds one task of a schedule now, besides those of its occurrences; its id.
pub(crate) fn run_now(store: &Store, enqueue: &Enqueue<'_>, schedule: &Schedule) -> Result<i64> {
    check(store, enqueue, schedule)?;
    match live_twin(store, schedule)? {
        Some(task) => {
            let reason =
                format!("task {task} of the same signature is not over; wait for it or cancel it");
            Err(Error::invalid(
                format!("schedule '{}'", schedule.name),
                reason,
            ))
        }
        None => add_task(store, enqueue, schedule, None),
    }
}

/// Works out the dates anew that are meant in the zone of the settings, after that has changed: those that have not come
/// yet count from now on in the new zone.
pub(crate) fn redate(store: &Store, when: When) -> Result<()> {
    for mut schedule in store.schedules()? {
        if schedule.zone.is_none() && schedule.next_at.is_some_and(|next_at| next_at > when.now) {
            schedule.since_at = when.now;
            // What is wrong with it is reported by the next tick.
            schedule.next_at = schedule.first_date(when.zone).ok();
            store.update_schedule(&schedule)?;
        }
    }
    Ok(())
}

/// Adds the tasks of the occurrences of one schedule that have come, and sets its next date; how many there were.
fn advance(
    store: &Store,
    enqueue: &Enqueue<'_>,
    when: When,
    schedule: &mut Schedule,
) -> Result<u64> {
    let wrong = |reason| Error::invalid("its dates cannot be worked out", reason);
    let next_at = match schedule.next_at {
        Some(next_at) => next_at,
        None => schedule.first_date(when.zone).map_err(wrong)?,
    };
    schedule.next_at = Some(next_at);
    let mut added = 0;
    if next_at <= when.now {
        check(store, enqueue, schedule)?;
        let due = schedule.due(next_at, when).map_err(wrong)?;
        // Those that are added together are not held against each other.
        let unfinished = match schedule.overlap {
            Overlap::Skip => store.live_task_of_schedule(&schedule.name)?,
            Overlap::Queue => None,
        };
        let is_too_late = schedule.is_too_late(when).map_err(wrong)?;
        for occurrence in due.occurrences {
            let reason = if is_too_late(occurrence) {
                Some("it was later than its limit".to_owned())
            } else if let Some(task) = unfinished {
                Some(format!("task {task} was not over"))
            } else {
                let twin = live_twin(store, schedule)?;
                twin.map(|task| format!("task {task} of the same signature was not over"))
            };
            if let Some(reason) = reason {
                schedule.skipped_at = Some(occurrence);
                schedule.skipped_reason = Some(reason);
                continue;
            }
            let task = add_task(store, enqueue, schedule, Some(occurrence))?;
            schedule.last_at = Some(occurrence);
            schedule.last_task = Some(task);
            added += 1;
        }
        schedule.next_at = Some(due.next);
    }
    schedule.error = None;
    store.update_schedule(schedule)?;
    Ok(added)
}

/// Refuses a schedule whose tasks could not be done.
fn check(store: &Store, enqueue: &Enqueue<'_>, schedule: &Schedule) -> Result<()> {
    enqueue.check_method(&schedule.method)?;
    if let Some(document) = schedule.document {
        store.document_id(&DocumentRef::Id(document))?;
    }
    Ok(())
}

/// The task that keeps another one of its signature from being added, if the schedule says so and there is one.
fn live_twin(store: &Store, schedule: &Schedule) -> Result<Option<i64>> {
    match &schedule.signature {
        Some(signature) if schedule.unique => store.live_task_of(signature),
        _ => Ok(None),
    }
}

fn add_task(
    store: &Store,
    enqueue: &Enqueue<'_>,
    schedule: &Schedule,
    run_at: Option<Timestamp>,
) -> Result<i64> {
    let ids = enqueue.add_all(&[TaskRow::of_schedule(schedule, run_at)])?;
    store.copy_schedule_file(schedule.id, ids[0])?;
    Ok(ids[0])
}
