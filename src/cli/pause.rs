//! `runner pause`, `runner resume`

use super::Invocation;
use crate::error::Result;
use crate::model::pause::Pausable;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to pause or resume [default: everything]
    #[arg(value_enum, requires = "name")]
    what: Option<Pausable>,
    /// Its name
    name: Option<String>,
}

impl Args {
    pub(super) fn pause(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open()?;
        session
            .store
            .transact(|store| match self.what.zip(self.name) {
                Some((what, name)) => store.set_paused(what, &name, true),
                None => store.pause_everything(session.now()),
            })
    }

    pub(super) fn resume(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store()?;
        store.transact(|store| match self.what.zip(self.name) {
            Some((what, name)) => store.set_paused(what, &name, false),
            None => store.resume_everything(),
        })
    }
}
