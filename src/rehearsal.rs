//! What a tick would do now, said and not done (`docs/timers.md`, "Rehearsal").

use crate::context::Context;
use crate::error::Result;
use crate::firing::fire::{Turn, fire_due};
use crate::model::document::HistoryEntry;
use crate::model::summary::Summary;
use crate::retention::{Dropped, prune};
use crate::store::Store;
use crate::store::retention::Kept;

/// Says what a tick would do, a sentence each, and changes nothing. What follows from the outcome of tasks is not known:
/// they are named, and not run.
pub(crate) fn rehearse(ctx: Context<'_>, summary: &mut Summary) -> Result<Vec<String>> {
    ctx.store.rehearse(|store| {
        let before = store.last_history()?;
        fire_due(ctx, Turn::First, summary)?;
        let happened = store.history_after(before)?;
        let happened = happened
            .iter()
            .map(|(document, entry)| of_history(*document, entry));
        let ready = of_ready(store, ctx)?;
        let dropped = prune(ctx)?;
        Ok(happened.chain(ready).chain(of_dropped(&dropped)).collect())
    })
}

fn of_history(document: i64, entry: &HistoryEntry) -> String {
    let timer = entry.timer.as_ref().map(|name| format!(", timer {name}"));
    let level = entry.timer_level.map(|level| format!(", level {level}"));
    let (timer, level) = (timer.unwrap_or_default(), level.unwrap_or_default());
    format!("document {document}{timer}{level}: {}", entry.message)
}

fn of_ready(store: &Store, ctx: Context<'_>) -> Result<Vec<String>> {
    let (mails, tasks) = (
        store.ready_mails(ctx.clock.now())?,
        store.ready_tasks(ctx.clock.now())?,
    );
    let send = mails
        .iter()
        .map(|mail| format!("send mail {} to {}", mail.id, mail.recipients()));
    let run = tasks
        .iter()
        .map(|(task, method)| format!("run task {task} ({method})"));
    Ok(send.chain(run).collect())
}

fn of_dropped(dropped: &Dropped) -> Vec<String> {
    let some = dropped.iter().filter(|(_, count)| *count > 0);
    some.map(|(kept, count)| {
        let what = match kept {
            Kept::Tasks => "tasks that ended longer ago than keep.tasks",
            Kept::History => "entries of the history that are older than keep.history",
            Kept::Firings => "records of firings that are older than keep.history",
            Kept::Mails => "mails that are older than keep.history",
        };
        format!("drop {count} {what}")
    })
    .collect()
}
