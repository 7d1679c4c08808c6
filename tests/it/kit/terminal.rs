//! Commands that run on a terminal.

use std::process::{Command, Stdio};

use super::programs::is_installed;
use super::runner::Home;

/// Runs a shell command on a terminal of its own; what it printed. Nothing where there is no script(1).
pub fn on_a_terminal(home: &Home, command: &str) -> Option<String> {
    if !is_installed("script") {
        return None;
    }
    let output = Command::new("script")
        .args(["-qec", command, "/dev/null"])
        .current_dir(home.folder())
        .env("TZ", "UTC")
        .env_remove("RUNNER_DB")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
    assert!(output.status.success(), "{command}\n{text}");
    Some(text)
}
