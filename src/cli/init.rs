//! `runner init`

use super::Invocation;
use crate::error::Result;
use crate::store::Store;
use crate::time::Zone;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fill it with the content of example.db.sql: methods, tasks, documents and a timer to play with
    #[arg(long)]
    example: bool,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        if self.example {
            let clock = invocation.clock(&Zone::default())?;
            Store::create_example(&invocation.db, clock.now())?;
        } else {
            Store::create(&invocation.db)?;
        }
        invocation.suggest("the database is ready", "tick")
    }
}
