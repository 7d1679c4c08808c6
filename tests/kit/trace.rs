//! Ticks that are killed, or whose calls fail, at a system call of theirs. Needs strace(1), and leave to use it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::runner::{Answer, Home};

/// Whether this machine lets a process be traced.
pub fn may_trace() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-o", "/dev/null", "true"]);
    strace.stdout(Stdio::null()).stderr(Stdio::null());
    strace.status().is_ok_and(|status| status.success())
}

/// A tick to which this happens at its n-th call of this kind; `None` when it made no such call.
pub fn tick_with(home: &Home, calls: &str, what: &str, n: u32) -> Option<Answer> {
    let injection = format!("inject={calls}:{what}:when={n}");
    let tick = home.command(["tick"]);
    let mut strace = Command::new("strace");
    strace.args(["-o", "calls", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &injection, "--"]);
    strace.arg(tick.get_program()).args(tick.get_args());
    strace.current_dir(home.folder()).stdin(Stdio::null());
    for (name, value) in tick.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    let output = strace.output().unwrap();
    let traced = fs::read_to_string(home.path("calls")).unwrap();
    let happened = ["(INJECTED)", "(DELAYED)"]
        .iter()
        .any(|mark| traced.contains(mark))
        || output.status.signal().is_some()
        || traced.contains("killed by");
    happened.then(|| Answer::of(&format!("tick with {injection}"), output))
}
