//! Processes that go on while a test does, and waiting for what they do.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::runner::Answer;

/// How long anything may take before a test gives up: a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so; a test fails when it never is.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(10));
    }
}

/// A command that was started. It ends with the test at the latest.
pub struct Running {
    command: String,
    child: Option<Child>,
}

impl Running {
    /// Starts it.
    pub fn new(mut command: Command) -> Self {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self {
            command: format!("{command:?}"),
            child: Some(child.unwrap()),
        }
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits until it ends; what it answered.
    pub fn end(mut self) -> Answer {
        let mut child = self.child.take().unwrap();
        until("the command has ended", || {
            child.try_wait().unwrap().is_some()
        });
        Answer::of(&self.command, child.wait_with_output().unwrap())
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a signal to a process that a handler wrote the id of.
pub fn send(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Whether a process is there and not only waiting to be reaped.
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !state.is_empty() && !state.starts_with('Z')
}
