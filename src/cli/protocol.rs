//! `runner log`, `progress` and `debug`: the lines of the protocol, for handlers that are shell scripts.

use super::{Invocation, values};
use crate::error::Result;
use crate::model::task::{self, Severity};
use crate::worker::protocol::{debug_line, log_line, progress_line};

#[derive(Debug, clap::Args)]
pub(super) struct Log {
    #[arg(ignore_case = true)]
    level: Severity,
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
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let details = self.details.as_deref();
        let details = details.map(|given| values::json("--details", given));
        let details = details.transpose()?.map(|details| details.value());
        let line = log_line(self.level, &self.message, details.as_ref());
        invocation.out.text(&format!("{line}\n"))
    }
}

impl Progress {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let line = progress_line(&task::Progress {
            step: Some(self.step),
            max: self.max,
            phase: self.phase,
            phases: self.phases,
            label: self.label,
        });
        invocation.out.text(&format!("{line}\n"))
    }
}

impl Debug {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let line = debug_line(&self.message);
        invocation.out.text(&format!("{line}\n"))
    }
}
