//! `runner log`, `progress`, `debug`, `result` and `file`: the lines of the protocol, for handlers that are shell scripts.

use super::{Invocation, values};
use crate::error::Result;
use crate::model::task::{Progress, Severity};
use crate::worker::protocol::{debug_line, file_line, log_line, progress_line, result_line};

#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    #[arg(ignore_case = true)]
    level: Severity,
    #[arg(allow_hyphen_values = true)]
    message: String,
    /// Anything else that belongs to it
    #[arg(long, value_name = "JSON")]
    details: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ProgressArgs {
    /// The step that is reached
    step: u64,
    /// Of how many
    max: Option<u64>,
    /// The phase that is under way, from 1
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    phase: Option<u64>,
    /// Of how many
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    phases: Option<u64>,
    /// What is being done
    #[arg(long, value_name = "T")]
    label: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct DebugArgs {
    #[arg(allow_hyphen_values = true)]
    message: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct ResultArgs {
    /// JSON, @FILE, or - for standard input
    #[arg(allow_hyphen_values = true)]
    value: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct FileArgs {
    /// The file, from the folder that the handler was started in
    path: String,
}

impl LogArgs {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let details = self.details.as_deref();
        let details = details.map(|given| values::json("--details", given));
        let details = details.transpose()?.map(|details| details.value());
        let line = log_line(self.level, &self.message, details.as_ref());
        print(invocation, &line)
    }
}

impl ProgressArgs {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let line = progress_line(&Progress {
            step: Some(self.step),
            max: self.max,
            phase: self.phase,
            phases: self.phases,
            label: self.label,
        });
        print(invocation, &line)
    }
}

impl DebugArgs {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        print(invocation, &debug_line(&self.message))
    }
}

impl ResultArgs {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let value = values::json("result", &self.value)?;
        print(invocation, &result_line(&value))
    }
}

impl FileArgs {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        print(invocation, &file_line(&self.path))
    }
}

/// As it is: whoever reads it is a program.
fn print(invocation: &Invocation, line: &str) -> Result<()> {
    invocation.out.text(&format!("{line}\n"))
}
