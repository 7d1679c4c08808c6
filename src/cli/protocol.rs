//! `runner log`, `progress` and `debug`: the lines of the protocol, for handlers that are shell scripts.

use super::{Exit, Invocation, values};
use crate::error::Result;
use crate::handler::protocol::{debug_line, log_line, progress_line};
use crate::model::task;

#[derive(Debug, clap::Args)]
pub(super) struct Log {
    /// error, warning or info
    level: String,
    #[arg(allow_hyphen_values = true)]
    message: String,
    /// Anything else that belongs to it
    #[arg(long, value_name = "JSON")]
    details: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Progress {
    /// The step that is reached
    step: u64,
    /// Of how many
    max: Option<u64>,
    /// The phase that is under way, from 1
    #[arg(long, value_name = "N")]
    phase: Option<u64>,
    /// Of how many
    #[arg(long, value_name = "N")]
    phases: Option<u64>,
    /// What is being done
    #[arg(long, value_name = "T")]
    label: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Debug {
    #[arg(allow_hyphen_values = true)]
    message: String,
}

impl Log {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let level = values::word("LEVEL", &self.level)?;
        let details = self
            .details
            .map(|given| values::json("--details", &given))
            .transpose()?;
        let details = details.map(|details| details.value());
        invocation.out.text(&format!(
            "{}\n",
            log_line(level, &self.message, details.as_ref())
        ))?;
        Ok(Exit::Done)
    }
}

impl Progress {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let progress = task::Progress {
            step: Some(self.step),
            max: self.max,
            phase: self.phase,
            phases: self.phases,
            label: self.label,
        };
        invocation
            .out
            .text(&format!("{}\n", progress_line(&progress)))?;
        Ok(Exit::Done)
    }
}

impl Debug {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        invocation
            .out
            .text(&format!("{}\n", debug_line(&self.message)))?;
        Ok(Exit::Done)
    }
}
