//! The life of a handler's process: its start, its group, its pipes, its end.
//!
//! Each is the leader of a process group of its own. Nothing is done between fork and exec, so that the standard library can
//! use posix_spawn(3), whose cost does not grow with our memory. No pipe ever blocks us: a handler that reads nothing, or a
//! grandchild that keeps a pipe open, holds up nobody.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, OFlags, access, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::fcntl_getpipe_size;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpgid, kill_process, kill_process_group,
    pidfd_open, waitid,
};

use super::event::Obstacle;
use crate::error::one_line;
use crate::store::Store;

/// The variable that says which worker started a process.
pub(crate) const WORKER_ENV: &str = "RUNNER_WORKER";

/// Variables of the runner's own environment that are not for handlers: a password, and what belongs to another task.
const WITHHELD: [&str; 7] = [
    WORKER_ENV,
    "RUNNER_MAIL_TRANSPORT",
    "RUNNER_FILE",
    "RUNNER_DOCUMENT",
    "RUNNER_DEBUG",
    "RUNNER_TASK",
    "RUNNER_METHOD",
];
/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";
/// How often a process is looked at that the system gives no handle for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What the handlers of a run have in common.
pub(super) struct Launcher {
    folder: PathBuf,
    path: OsString,
    environment: Vec<(OsString, OsString)>,
}

impl Launcher {
    pub(super) fn new(store: &Store, debug: bool) -> Self {
        let path = path_with_runner();
        let ours =
            std::env::vars_os().filter(|(name, _)| WITHHELD.iter().all(|other| name != other));
        let mut environment: Vec<_> = ours.collect();
        environment.push(("PATH".into(), path.clone()));
        environment.push(("RUNNER_DB".into(), store.files().beside("").into()));
        if debug {
            environment.push(("RUNNER_DEBUG".into(), "1".into()));
        }
        Self {
            folder: store.files().folder(),
            path,
            environment,
        }
    }

    /// A program to be started, with these variables besides those that all have.
    pub(super) fn program(
        &self,
        argv: &[String],
        variables: &[(&str, OsString)],
    ) -> Result<Program, Obstacle> {
        let (name, arguments) = argv
            .split_first()
            .expect("the table takes no empty command");
        let path = self
            .find(name)
            .map_err(|error| Obstacle::starting(name, &error))?;
        let mut command = Command::new(path);
        command
            .arg0(name)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let name = name.clone();
        Ok(Program { name, command })
    }

    /// The absolute path of a program. The standard library would look for a bare name too, but forks for that.
    fn find(&self, name: &str) -> io::Result<PathBuf> {
        if name.contains('/') {
            return Ok(self.folder.join(name));
        }
        let mut reason = Errno::NOENT;
        for folder in std::env::split_paths(&self.path) {
            let candidate = self.folder.join(folder).join(name);
            match access(&candidate, Access::EXEC_OK) {
                Ok(()) if candidate.is_file() => return Ok(candidate),
                Err(Errno::ACCESS) => reason = Errno::ACCESS,
                _ => {}
            }
        }
        Err(reason.into())
    }
}

/// The PATH, with the folder of this program at its end: cron's has only the system's folders, and handlers call the
/// runner by its name.
fn path_with_runner() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let program = std::env::current_exe().unwrap_or_default();
    let ours = program.parent().unwrap_or(Path::new(""));
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    if ours.as_os_str().is_empty() || folders.iter().any(|folder| folder == ours) {
        return path;
    }
    folders.push(ours.to_owned());
    // A folder with a colon in its name cannot be on a PATH.
    std::env::join_paths(folders).unwrap_or(path)
}

/// A program that can be started.
pub(super) struct Program {
    /// As the method names it.
    name: String,
    command: Command,
}

/// Which of a handler's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// A running handler, owned by the thread that reads its output.
pub(super) struct Process {
    child: Child,
    pub(super) pid: Pid,
    /// Readable when the process has ended; `None` when the system has no room for one.
    pidfd: Option<OwnedFd>,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// What it is still to be given, and how much it was.
    input: Vec<u8>,
    written: u64,
    /// Whether that is the last of it.
    is_input_complete: bool,
}

impl Process {
    pub(super) fn start(mut program: Program) -> Result<Self, Obstacle> {
        let started = program.command.spawn();
        let mut child = started.map_err(|error| Obstacle::starting(&program.name, &error))?;
        let pid = Pid::from_child(&child);
        let process = Self {
            pid,
            pidfd: pidfd_open(pid, PidfdFlags::empty()).ok(),
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            input: Vec::new(),
            written: 0,
            is_input_complete: false,
            child,
        };
        let pipes = [
            process.stdin.as_ref().map(AsFd::as_fd),
            process.stdout.as_ref().map(AsFd::as_fd),
            process.stderr.as_ref().map(AsFd::as_fd),
        ];
        for pipe in pipes.into_iter().flatten() {
            fcntl_setfl(pipe, OFlags::NONBLOCK).expect("a pipe takes this flag");
        }
        Ok(process)
    }

    /// Has more for it to read; how much it was given before.
    pub(super) fn give(&mut self, bytes: &[u8]) -> u64 {
        let before = self.written + self.input.len() as u64;
        self.input.extend_from_slice(bytes);
        before
    }

    /// How many of the bytes that it was given it may have read.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Nothing more comes: closes its input once all is written.
    pub(super) fn end_input(&mut self) {
        self.is_input_complete = true;
    }

    pub(super) fn is_stdin_closed(&self) -> bool {
        self.stdin.is_none()
    }

    pub(super) fn is_stdout_closed(&self) -> bool {
        self.stdout.is_none()
    }

    /// Waits until it says something, takes more input or has ended, or until `wake` is readable or the time is over; hands
    /// on what it said. Whether it has ended.
    pub(super) fn wait(
        &mut self,
        wake: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
        hear: &mut dyn FnMut(Stream, &[u8]),
    ) -> bool {
        let writable = match self.input.is_empty() {
            // That it has closed its input is told in any case.
            true => PollFlags::empty(),
            false => PollFlags::OUT,
        };
        let wanted = [
            (self.pidfd.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (self.stdin.as_ref().map(AsFd::as_fd), writable),
            (self.stdout.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (self.stderr.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (wake, PollFlags::IN),
        ];
        let wanted = wanted.into_iter();
        let mut wanted: Vec<PollFd<'_>> = wanted
            .filter_map(|(fd, flags)| Some(PollFd::from_borrowed_fd(fd?, flags)))
            .collect();
        let timeout = match self.pidfd {
            Some(_) => timeout,
            None => Some(LOOK_INTERVAL),
        };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // An error, such as an interruption, is no news of any of them: all are looked at below.
        let _ = poll(&mut wanted, timeout.as_ref());
        let is_closed = |fd: &PollFd<'_>| fd.revents().contains(PollFlags::ERR);
        let stdin = usize::from(self.pidfd.is_some());
        if self.stdin.is_some() && is_closed(&wanted[stdin]) {
            self.stdin = None;
        }
        self.write_input();
        self.read(Stream::Out, hear);
        self.read(Stream::Err, hear);
        self.has_ended()
    }

    /// Writes what the pipe takes now. A handler that does not read its input is no error.
    pub(super) fn write_input(&mut self) {
        while let Some(pipe) = self.stdin.as_mut().filter(|_| !self.input.is_empty()) {
            match pipe.write(&self.input) {
                Ok(written) => {
                    self.written += written as u64;
                    self.input.drain(..written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.stdin = None,
            }
        }
        if self.is_input_complete {
            self.stdin = None;
        }
    }

    /// Reads what is there, once; how much.
    fn read(&mut self, stream: Stream, hear: &mut dyn FnMut(Stream, &[u8])) -> usize {
        let mut buffer = [0; 32 * 1024];
        let read = match stream {
            Stream::Out => self.stdout.as_mut().map(|pipe| pipe.read(&mut buffer)),
            Stream::Err => self.stderr.as_mut().map(|pipe| pipe.read(&mut buffer)),
        };
        match read {
            Some(Ok(read)) if read > 0 => {
                hear(stream, &buffer[..read]);
                return read;
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            _ if stream == Stream::Out => self.stdout = None,
            _ => self.stderr = None,
        }
        0
    }

    /// Whether it waits to be reaped.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // Who cannot be waited for has been reaped by somebody else.
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// It has ended: kills what it left in its group, reads what is in its pipes and reaps it.
    pub(super) fn end(
        mut self,
        group: &ProcessGroup,
        hear: &mut dyn FnMut(Stream, &[u8]),
    ) -> ExitStatus {
        group.end();
        for stream in [Stream::Out, Stream::Err] {
            let pipe = match stream {
                Stream::Out => self.stdout.as_ref().map(AsFd::as_fd),
                Stream::Err => self.stderr.as_ref().map(AsFd::as_fd),
            };
            // More than fits into the pipe is not its own: somebody else holds it open and writes.
            let mut left = pipe.map_or(0, |pipe| fcntl_getpipe_size(pipe).unwrap_or(0));
            while left > 0 {
                match self.read(stream, hear) {
                    0 => break,
                    read => left = left.saturating_sub(read),
                }
            }
        }
        // Of a child that somebody else has reaped nobody knows how it ended.
        self.child
            .wait()
            .unwrap_or_else(|_| ExitStatus::from_raw(0xff00))
    }
}

/// The process group of a handler, as others than its thread may signal it.
#[derive(Debug, Default)]
pub(super) struct ProcessGroup(Mutex<Leader>);

#[derive(Debug, Default)]
struct Leader {
    /// `None` before it is started, and once another process may have its number.
    pid: Option<Pid>,
    /// The last signal: one that comes before the start is sent then.
    signal: Option<Signal>,
}

impl ProcessGroup {
    /// The leader was started.
    pub(super) fn begin(&self, pid: Pid) {
        let mut leader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leader.pid = Some(pid);
        if let Some(signal) = leader.signal {
            let _ = signal_group(pid, signal);
        }
    }

    /// Sends a signal to all in the group.
    ///
    /// # Errors
    /// When it runs as a user whose processes we may not signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        let mut leader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leader.signal = Some(signal);
        match leader.pid.map(|pid| signal_group(pid, signal)) {
            Some(Err(Errno::PERM)) => Err(Errno::PERM),
            // A group that is gone needs no signal.
            _ => Ok(()),
        }
    }

    /// The leader has ended, and is about to be reaped: what it left behind is killed.
    fn end(&self) {
        let mut leader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = leader.pid.take() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Signals a group, and its leader also when that has gone over to another.
fn signal_group(leader: Pid, signal: Signal) -> Result<(), Errno> {
    let sent = kill_process_group(leader, signal);
    match getpgid(Some(leader)) {
        Ok(group) if group != leader => kill_process(leader, signal),
        _ => sent,
    }
}

/// What tells a process from all others of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessId {
    pub(super) pid: Pid,
    /// When it was started, in the machine's own count.
    pub(super) started: u64,
}

impl ProcessId {
    /// Of the process that has this number now.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The name, in brackets, may have anything in it; the 22nd field is the 20th after it.
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        let fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
        let started = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, started })
    }

    /// Whether it is there, running or not reaped yet.
    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// Why a program could not be started, as a sentence.
pub(super) fn cannot_start(name: &str, error: &io::Error) -> String {
    let reason = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => "there is no such program; check its path and cron's PATH".to_owned(),
        Some(Errno::ACCESS) => "no permission to run it; 'chmod +x' it".to_owned(),
        Some(Errno::NOEXEC) => {
            "the system cannot run it; a script begins with a line such as #!/bin/sh".to_owned()
        }
        Some(Errno::TOOBIG) => "its arguments and environment are too long".to_owned(),
        _ => one_line(&error.to_string()),
    };
    format!("cannot start '{}': {reason}", one_line(name))
}

/// The signal that ended a process, in words.
pub(super) fn killed_by(exit: ExitStatus) -> String {
    let signal = exit.signal().unwrap_or(0);
    let name = signal_hook::low_level::signal_name(signal).unwrap_or("unknown");
    format!("killed by signal {signal} ({name})")
}
