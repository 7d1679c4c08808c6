//! `runner init`

use super::{Context, Exit};
use crate::error::Result;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fill it with the content of example.db.sql: methods, tasks, documents and a timer to play with
    #[arg(long)]
    example: bool,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        match self.example {
            true => Store::create_example(&context.db)?,
            false => Store::create(&context.db)?,
        };
        Ok(Exit::Done)
    }
}
