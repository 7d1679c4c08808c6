//! What is kept no longer: rows older than the settings `keep.tasks` and `keep.history` say.

use crate::context::Context;
use crate::error::Result;
use crate::model::settings::{KEEP_HISTORY, KEEP_TASKS};
use crate::store::retention::Kept;
use crate::time::Timestamp;

/// What was dropped: the kind and how many.
pub(crate) type Dropped = Vec<(Kept, usize)>;

/// Drops what is old, some in each transaction, for as long as nobody asks the run to end.
pub(crate) fn prune(ctx: Context<'_>) -> Result<Dropped> {
    let zone = ctx.settings.zone()?;
    let mut dropped = Dropped::new();
    for (kept, setting) in [
        (Kept::Tasks, KEEP_TASKS),
        (Kept::History, KEEP_HISTORY),
        (Kept::Firings, KEEP_HISTORY),
        (Kept::Mails, KEEP_HISTORY),
    ] {
        let keep = ctx.settings.duration(setting)?;
        let before = keep.and_then(|keep| zone.add(ctx.clock.now(), &-keep));
        if let Some(before) = before {
            dropped.push((kept, prune_all(ctx, kept, before)?));
        }
    }
    Ok(dropped)
}

fn prune_all(ctx: Context<'_>, kept: Kept, before: Timestamp) -> Result<usize> {
    let mut dropped = 0;
    while !ctx.shutdown.is_requested() {
        match ctx.store.prune(kept, before)? {
            0 => break,
            some => dropped += some,
        }
    }
    Ok(dropped)
}
