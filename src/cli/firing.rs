//! `runner timer done`, `skipped`, `fire` and `purge`: the levels that were done or skipped.

use super::Invocation;
use super::output::{confirm, or_dash};
use crate::error::Result;
use crate::firing::fire::fire_by_hand;
use crate::model::firing::{FiringFilter, FiringStatus};
use crate::store::retention::Kept;
use crate::time::{Duration, When};

#[derive(Debug, clap::Args)]
pub(super) struct Filter {
    /// Those of documents whose title has this in it
    #[arg(long = "match", value_name = "TEXT")]
    pub(super) title: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) limit: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Purge {
    /// Those that were done or skipped longer ago than this, such as 90d
    #[arg(long, value_name = "D", allow_hyphen_values = true, value_parser = Duration::positive)]
    older_than: Duration,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// `runner timer done` and `skipped`
pub(super) fn list(invocation: &Invocation, status: FiringStatus, filter: &Filter) -> Result<()> {
    let session = invocation.open_to_read()?;
    let firings = session.store.firings(&FiringFilter {
        status,
        title: filter.title.as_deref(),
        limit: filter.limit,
    })?;
    let headings = [
        "ID", "TIMER", "LEVEL", "DOC", "TITLE", "DUE", "AT", "RESULT",
    ];
    invocation.out.list(&firings, headings, |firing| {
        [
            firing.id.to_string(),
            firing.timer.clone(),
            firing.level.to_string(),
            firing.document.to_string(),
            or_dash(firing.title.as_ref()),
            session.zone.show(firing.due_at),
            session.zone.show(firing.at),
            firing.result.clone().unwrap_or_default(),
        ]
    })
}

/// `runner timer fire ID`
pub(super) fn fire(invocation: &Invocation, id: i64) -> Result<()> {
    let session = invocation.open()?;
    session
        .store
        .transact(|_| fire_by_hand(session.context(), id))
}

impl Purge {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open()?;
        let When { zone, now } = session.when();
        let Some(before) = zone.add(now, &-self.older_than) else {
            return invocation.count("purged", 0);
        };
        let found = session.store.count_old(Kept::Firings, before)?;
        let question = format!("drop {found} firings from before {}?", zone.show(before));
        if found > 0 && !self.yes && !confirm(&question) {
            return Ok(());
        }
        let mut purged = 0;
        loop {
            match session.store.prune(Kept::Firings, before)? {
                0 => return invocation.count("purged", purged),
                some => purged += some as u64,
            }
        }
    }
}
