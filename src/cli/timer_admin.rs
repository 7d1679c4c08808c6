//! `runner timer remove`, `fire` and `purge` (seed 004, “Administration”).

use super::Invocation;
use super::output::{confirm, is_interactive};
use crate::error::{Error, Result};
use crate::firing::attach::detach_timer;
use crate::firing::fire_by_hand;
use crate::store::Store;
use crate::store::retention::{DROPPED_AT_ONCE, Kept};
use crate::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    name: String,
    /// Detach it first from all documents
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Purge {
    /// Those that were done or skipped longer ago than this, such as 90d
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    older_than: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Remove {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store()?;
        let (_, _, clock) = invocation.times(&store)?;
        store.transact(|store| {
            let id = store.timer_id(&self.name)?;
            if self.force {
                detach_timer(store, id, clock.now())?;
            } else if !store.hanging_of(id, i64::MIN, 1)?.is_empty() {
                return Err(Error::invalid(
                    format!("timer '{}'", self.name),
                    "it is attached to documents; --force detaches it first",
                ));
            }
            store.delete_timer(id)
        })
    }
}

impl Purge {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store()?;
        let age = Duration::positive(&self.older_than)
            .map_err(|reason| Error::invalid("--older-than", reason))?;
        let (_, zone, clock) = invocation.times(&store)?;
        let Some(before) = zone.add(clock.now(), &-age) else {
            return invocation.count("purged", 0);
        };
        let found = store.count_old_firings(before)?;
        let question = format!("drop {found} firings from before {}?", zone.show(before));
        if found > 0 && !self.yes && is_interactive() && !confirm(&question) {
            return Ok(());
        }
        let mut purged = 0;
        loop {
            let drop =
                |store: &Store| store.drop_old(Kept::Firings, before, i64::MAX, DROPPED_AT_ONCE);
            match store.transact(drop)? {
                0 => return invocation.count("purged", purged),
                some => purged += some as u64,
            }
        }
    }
}

/// `timer fire ID`
pub(super) fn fire(invocation: &Invocation, id: i64) -> Result<()> {
    let store = invocation.store()?;
    let (_, zone, clock) = invocation.times(&store)?;
    store
        .transact(|store| fire_by_hand(store, &invocation.functions, id, (zone, clock.now())))
        .map(drop)
}
