//! Which tasks a command is about: ids, or filters.

use super::Session;
use super::output::confirm_or_yes;
use crate::error::{Error, Result};
use crate::model::task::Status;
use crate::store::Store;
use crate::store::task::TaskFilter;

#[derive(Debug, clap::Args)]
pub(super) struct Filters {
    /// Those of this status; may be repeated
    #[arg(long, value_name = "S", ignore_case = true)]
    status: Vec<Status>,
    /// Those of this method
    #[arg(long, value_name = "M")]
    method: Option<String>,
    /// Those about this
    #[arg(long, value_name = "S")]
    signature: Option<String>,
    /// Those of this owner
    #[arg(long, value_name = "MAIL")]
    owner: Option<String>,
    /// Those that this schedule has added
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Those that ended, or else started, or else were added at this time or later
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Those that did before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
}

impl Filters {
    pub(super) fn read(&self, session: &Session<'_>) -> Result<TaskFilter<'_>> {
        Ok(TaskFilter {
            statuses: Some(self.status.clone()).filter(|statuses| !statuses.is_empty()),
            method: self.method.as_deref(),
            signature: self.signature.as_deref(),
            owner: self.owner.as_deref(),
            schedule: self.schedule.as_deref(),
            since: session.time("--since", self.since.as_deref())?,
            until: session.time("--until", self.until.as_deref())?,
            ..TaskFilter::default()
        })
    }

    fn is_empty(&self) -> bool {
        let texts = [
            &self.method,
            &self.signature,
            &self.owner,
            &self.schedule,
            &self.since,
            &self.until,
        ];
        self.status.is_empty() && texts.iter().all(|text| text.is_none())
    }
}

/// The tasks that a command changes.
#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    #[arg(
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    ids: Vec<i64>,
    /// All that the filters let through, of those that this can be done to
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    filters: Filters,
    /// Do not ask
    #[arg(long, requires = "all")]
    yes: bool,
}

impl Chosen {
    /// Refuses a choice that may not be what was meant.
    pub(super) fn check(&self) -> Result<()> {
        let reason = match (self.all, self.filters.is_empty()) {
            (true, true) => "it needs a filter, such as --status or --method",
            (false, false) => "filters go with it, and not with ids",
            _ => return Ok(()),
        };
        Err(Error::usage("--all", reason))
    }

    /// Asks before something is done to all that the filters let through. Whether it is to be done.
    pub(super) fn confirm(&self, session: &Session<'_>, verb: &str, able: &Able) -> Result<bool> {
        if !self.all || self.yes {
            return Ok(true);
        }
        let tasks = match self.ids(session, &session.store, able)?.len() {
            0 => return Ok(true),
            1 => "1 task".to_owned(),
            many => format!("{many} tasks"),
        };
        confirm_or_yes("--all", &format!("{verb} {tasks}?"))
    }

    /// Their ids, each once.
    pub(super) fn ids(
        &self,
        session: &Session<'_>,
        store: &Store<'_>,
        able: &Able,
    ) -> Result<Vec<i64>> {
        if self.all {
            let mut filter = self.filters.read(session)?;
            let statuses = filter.statuses.take();
            let mut able_statuses = able.statuses.to_vec();
            able_statuses.retain(|status| statuses.as_ref().is_none_or(|all| all.contains(status)));
            filter.statuses = Some(able_statuses);
            filter.held = able.held.then_some(true);
            return store.task_ids(&filter);
        }
        let mut ids = Vec::with_capacity(self.ids.len());
        for id in &self.ids {
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        Ok(ids)
    }
}

/// The tasks that something can be done to.
pub(super) struct Able {
    pub(super) statuses: &'static [Status],
    /// Only those that are held.
    pub(super) held: bool,
}
