//! `runner timer next`, `done` and `skipped` (seed 004, “Administration”).

use super::Invocation;
use super::output::or_dash;
use crate::error::Result;
use crate::firing::attach::AttachmentView;
use crate::firing::{FiringStatus, settle_all};
use crate::store::firing::FiringFilter;
use crate::time::Zone;

#[derive(Debug, clap::Args)]
pub(super) struct Filter {
    /// Those of documents whose title has this in it
    #[arg(long = "match", value_name = "TEXT")]
    title: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

impl Filter {
    pub(super) fn next(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store_to_read()?;
        let (_, zone, clock) = invocation.times(&store)?;
        settle_all(&store, (zone, clock.now()), drop)?;
        let next = store.next_attachments(self.title.as_deref(), self.limit)?;
        let next: Vec<_> = next
            .into_iter()
            .map(|attachment| attachment.with_delta(&zone))
            .collect();
        match invocation.out.json {
            true => invocation.out.json(&next),
            false => print_attachments(invocation, &zone, next),
        }
    }

    pub(super) fn done(self, invocation: &Invocation) -> Result<()> {
        self.fired(invocation, FiringStatus::Done)
    }

    pub(super) fn skipped(self, invocation: &Invocation) -> Result<()> {
        self.fired(invocation, FiringStatus::Skipped)
    }

    fn fired(self, invocation: &Invocation, status: FiringStatus) -> Result<()> {
        let store = invocation.store_to_read()?;
        let fired = store.firings(&FiringFilter {
            status,
            title: self.title.as_deref(),
            limit: self.limit,
        })?;
        if invocation.out.json {
            return invocation.out.json(&fired);
        }
        let zone = store.settings()?.zone()?;
        let rows = fired.into_iter().map(|fired| {
            [
                fired.id.to_string(),
                fired.timer,
                fired.level.to_string(),
                fired.document.to_string(),
                or_dash(fired.title),
                zone.show(fired.due_at),
                zone.show(fired.at),
                fired.result.unwrap_or_default(),
            ]
        });
        invocation.out.table(
            [
                "ID", "TIMER", "LEVEL", "DOC", "TITLE", "DUE", "AT", "RESULT",
            ],
            rows,
        )
    }
}

/// What hangs on documents, as people read it.
pub(super) fn print_attachments(
    invocation: &Invocation,
    zone: &Zone,
    attachments: Vec<AttachmentView>,
) -> Result<()> {
    let rows = attachments.into_iter().map(|attachment| {
        let due = attachment.due_at.map(|due| zone.show(due));
        let error = attachment
            .last_error
            .map(|error| match attachment.attempts {
                0 => error,
                attempts => format!("{error} ({attempts} attempts)"),
            });
        [
            due.unwrap_or_else(|| "waits for a date".to_owned()),
            attachment.timer,
            attachment.level.to_string(),
            attachment.document.to_string(),
            attachment.title,
            or_dash(attachment.origin),
            error.unwrap_or_default(),
        ]
    });
    invocation.out.table(
        ["DUE", "TIMER", "LEVEL", "DOC", "TITLE", "ORIGIN", "ERROR"],
        rows,
    )
}
