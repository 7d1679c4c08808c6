//! What is kept no longer.

use std::cell::LazyCell;

use super::hour;
use super::note::last_tick;
use crate::clock::Clock;
use crate::error::Result;
use crate::model::settings::Settings;
use crate::store::Store;
use crate::store::retention::{DROPPED_AT_ONCE, Kept, LOOKED_AT, Reach};
use crate::time::{Duration, Timestamp};

/// How much was dropped.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    tasks: usize,
    history: usize,
    firings: usize,
    mails: usize,
}

impl Dropped {
    /// A sentence for each kind that there was something of.
    pub(super) fn words(&self) -> Vec<String> {
        [
            (self.tasks, "tasks that ended longer ago than keep.tasks"),
            (
                self.history,
                "entries of the history that are older than keep.history",
            ),
            (
                self.firings,
                "records of firings that are older than keep.history",
            ),
            (self.mails, "mails that are older than keep.history"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("drop {count} {what}"))
        .collect()
    }
}

/// Drops what is kept no longer. All that is old is looked at by the first tick of an hour, and by the others the oldest
/// rows: what is old and not over, such as tasks that are held for years, would cost each of them its time.
pub(super) fn drop_what_is_old(
    store: &Store,
    clock: &Clock,
    settings: &Settings,
    should_continue: &dyn Fn() -> bool,
) -> Result<Dropped> {
    let mut dropped = Dropped::default();
    let before = |keep: Option<Duration>| -> Result<Option<Timestamp>> {
        let zone = settings.zone()?;
        Ok(keep.and_then(|keep| zone.add(clock.now(), &-keep)))
    };
    let reach = LazyCell::new(|| reach(store, clock.now()));
    let drop_all = |kept, before| drop_all(store, kept, before, *reach, should_continue);
    if let Some(before) = before(settings.keep_tasks()?)? {
        dropped.tasks = drop_all(Kept::Tasks, before)?;
    }
    if let Some(before) = before(settings.keep_history()?)? {
        dropped.history = drop_all(Kept::History, before)?;
        dropped.firings = drop_all(Kept::Firings, before)?;
        dropped.mails = drop_all(Kept::Mails, before)?;
    }
    Ok(dropped)
}

/// How far a tick looks for what is to be dropped.
fn reach(store: &Store, now: Timestamp) -> Reach {
    let last = last_tick(store.files()).ok().flatten();
    match last.is_some_and(|last| hour(last) == hour(now)) {
        true => Reach::Oldest(LOOKED_AT),
        false => Reach::Old,
    }
}

/// How many times as many rows are looked at after each time that some of them were dropped: where there is much to
/// drop, more is likely behind it.
const FURTHER: u32 = 16;

/// Drops the rows of a kind that are older than a time, as far as they are looked at; how many.
fn drop_all(
    store: &Store,
    kept: Kept,
    before: Timestamp,
    mut reach: Reach,
    should_continue: &dyn Fn() -> bool,
) -> Result<usize> {
    let mut dropped = 0;
    while let Some(last) = store.last_old(kept, before, reach)? {
        let already = dropped;
        while should_continue() {
            let some =
                store.transact(|store| store.drop_old(kept, before, last, DROPPED_AT_ONCE))?;
            dropped += some;
            if some == 0 {
                break;
            }
        }
        // A trigger of an application may keep what is left.
        if dropped == already {
            break;
        }
        if let Reach::Oldest(count) = reach {
            reach = Reach::Oldest(count.saturating_mul(FURTHER));
        }
    }
    Ok(dropped)
}
