//! `runner completions`

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::{Arguments, Invocation};
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    shell: Shell,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let mut script = Vec::new();
        generate(self.shell, &mut Arguments::command(), "runner", &mut script);
        let script = String::from_utf8_lossy(&script);
        let out = &invocation.out;
        out.show(&script, || out.text(&script))
    }
}
