//! The `runner` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    runner::functions::App::new().main()
}
