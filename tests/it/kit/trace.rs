//! Ticks that are killed, or whose calls fail, at a system call of theirs. Needs strace(1), and leave to use it.

use std::collections::HashMap;
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
    run_with(home, &["tick"], calls, what, n)
}

/// The same for any command.
pub fn run_with(
    home: &Home,
    arguments: &[&str],
    calls: &str,
    what: &str,
    n: u32,
) -> Option<Answer> {
    let injection = format!("inject={calls}:{what}:when={n}");
    let command = home.command(arguments);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "calls", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &injection, "--"]);
    strace.arg(command.get_program()).args(command.get_args());
    strace.current_dir(home.folder()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
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
    happened.then(|| Answer::of(&format!("{arguments:?} with {injection}"), output))
}

/// A system call of a command, as far as a disk or anybody outside notices it.
#[derive(Debug)]
pub enum Call {
    /// Bytes were written to a file at an offset.
    Write {
        /// Its path.
        file: String,
        /// The offset.
        at: usize,
        /// What was written.
        bytes: Vec<u8>,
    },
    /// A file was given this length.
    Truncate {
        /// Its path.
        file: String,
        /// In bytes.
        length: usize,
    },
    /// All that was written to a file is on the disk.
    Sync {
        /// Its path.
        file: String,
    },
    /// A file was removed.
    Unlink {
        /// Its path.
        file: String,
    },
    /// Anything else: its name, and its arguments as strace writes them.
    Other {
        /// The name of the call.
        name: String,
        /// Its arguments.
        text: String,
    },
}

impl Call {
    /// The path of the file that it changes.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Write { file, .. } | Self::Truncate { file, .. } | Self::Unlink { file } => {
                Some(file)
            }
            Self::Sync { .. } | Self::Other { .. } => None,
        }
    }
}

const TRACED: &str =
    "trace=pwrite64,write,ftruncate,fsync,fdatasync,unlink,execve,rename,renameat,renameat2";

/// Runs a command to its end; what it did, in order.
pub fn trace(home: &Home, command: Command) -> Vec<Call> {
    let mut strace = Command::new("strace");
    strace.args([
        "-f", "-o", "calls", "-y", "-xx", "-s", "1000000", "-e", TRACED, "--",
    ]);
    strace.arg(command.get_program()).args(command.get_args());
    strace
        .current_dir(home.folder())
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let output = strace.output().unwrap();
    assert!(output.status.success(), "{command:?}");
    let traced = fs::read_to_string(home.path("calls")).unwrap();
    whole_calls(&traced)
        .iter()
        .filter_map(|line| call(line))
        .collect()
}

/// The lines of strace's, without the process that each begins with; those of a call that others interrupted are one.
fn whole_calls(traced: &str) -> Vec<String> {
    let (mut calls, mut unfinished) = (Vec::new(), HashMap::new());
    for line in traced.lines() {
        let (process, call) = line.split_once(' ').unwrap_or_default();
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(process, begun.trim_end().to_owned());
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            let begun = unfinished.remove(process).unwrap_or_default();
            calls.push(begun + rest);
        } else {
            calls.push(call.to_owned());
        }
    }
    calls
}

/// A line of strace's: `name(arguments) = result`.
fn call(line: &str) -> Option<Call> {
    let (call, _) = line.rsplit_once(" = ")?;
    let (name, arguments) = call.trim_end().strip_suffix(')')?.split_once('(')?;
    let parts: Vec<&str> = arguments.split(", ").collect();
    let file = |part: &str| {
        part.split_once('<')
            .map(|(_, path)| text(path.trim_end_matches('>')))
    };
    Some(match (name, parts.as_slice()) {
        ("pwrite64", [descriptor, bytes, _, at]) => Call::Write {
            file: file(descriptor)?,
            at: at.parse().ok()?,
            bytes: bytes_of(bytes.trim_matches('"')),
        },
        ("ftruncate", [descriptor, length]) => Call::Truncate {
            file: file(descriptor)?,
            length: length.parse().ok()?,
        },
        ("fsync" | "fdatasync", [descriptor]) => Call::Sync {
            file: file(descriptor)?,
        },
        ("unlink", [path]) => Call::Unlink {
            file: text(path.trim_matches('"')),
        },
        _ => Call::Other {
            name: name.to_owned(),
            text: text(arguments),
        },
    })
}

/// A text in which strace may have written each byte as `\x2f`.
fn text(written: &str) -> String {
    String::from_utf8_lossy(&bytes_of(written)).into_owned()
}

fn bytes_of(written: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(written.len() / 4);
    let mut rest = written.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(1..3)
            .filter(|_| byte == b'\\' && after.first() == Some(&b'x'))
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}
