//! What is kept no longer: rows older than the settings `keep.tasks` and `keep.history` say.

use crate::context::Context;
use crate::error::Result;
use crate::model::settings::{KEEP_HISTORY, KEEP_TASKS};
use crate::store::retention::Kept;
use crate::time::Timestamp;

/// Drops what is old, some in each transaction, for as long as nobody asks the run to end.
pub(crate) fn prune(ctx: Context<'_>) -> Result<()> {
    for (kept, before) in kept_since(ctx)? {
        while !ctx.shutdown.is_requested() && ctx.store.prune(kept, before)? > 0 {}
    }
    Ok(())
}

/// How many rows of each kind would be dropped.
pub(crate) fn count_old(ctx: Context<'_>) -> Result<Vec<(Kept, i64)>> {
    let since = kept_since(ctx)?.into_iter();
    let counts = since.map(|(kept, before)| Ok((kept, ctx.store.count_old(kept, before)?)));
    counts.collect()
}

/// Before which time rows are old, of each kind that is not kept for ever.
fn kept_since(ctx: Context<'_>) -> Result<Vec<(Kept, Timestamp)>> {
    let zone = ctx.settings.zone()?;
    let tasks = ctx.settings.duration(KEEP_TASKS)?;
    let history = ctx.settings.duration(KEEP_HISTORY)?;
    let kept = [
        (Kept::Tasks, tasks),
        (Kept::History, history),
        (Kept::Firings, history),
        (Kept::Mails, history),
    ];
    let since = kept.map(|(kept, keep)| Some((kept, zone.add(ctx.clock.now(), &-keep?)?)));
    Ok(since.into_iter().flatten().collect())
}
