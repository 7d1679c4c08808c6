//! `runner task wait ID…`

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use super::output::complain;
use super::{Exit, Invocation};
use crate::error::{OrNotFound, Result};
use crate::model::task::Status;
use crate::store::Store;
use crate::time;

/// How often the tasks are looked at.
const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
    /// No longer than this
    #[arg(long, value_name = "D", allow_hyphen_values = true, value_parser = time::Duration::positive)]
    timeout: Option<time::Duration>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let session = invocation.open_to_read()?;
        let limit = self.timeout.map(|limit| limit.roughly());
        let is_over = || limit.is_some_and(|limit| session.clock.elapsed() >= limit);
        let mut statuses = self.statuses(&session.store)?;
        while statuses.iter().any(|(_, status)| !status.is_ended()) && !is_over() {
            sleep(INTERVAL);
            statuses = self.statuses(&session.store)?;
        }
        if invocation.out.json {
            let shown = statuses.iter();
            let shown = shown.map(|(id, status)| json!({"id": id, "status": status}));
            invocation.out.json(&shown.collect::<Vec<_>>())?;
        }
        statuses.retain(|(_, status)| *status != Status::Completed);
        for (id, status) in &statuses {
            let what = if status.is_ended() {
                "is over, and not completed"
            } else {
                "is not over yet"
            };
            complain(&format!("task {id}: it {what} ({status})"));
        }
        Ok(if statuses.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        })
    }

    fn statuses(&self, store: &Store<'_>) -> Result<Vec<(i64, Status)>> {
        let statuses = self.ids.iter().map(|id| {
            let status = store.task_status(*id)?.or_not_found("task", id)?;
            Ok((*id, status))
        });
        statuses.collect()
    }
}
