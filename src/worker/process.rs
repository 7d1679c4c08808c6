//! The life of a handler's process: its start, its group, its pipes, its end.
//!
//! Each is the leader of a process group of its own. Nothing is done between fork and exec, so that the standard library can
//! use posix_spawn(3), whose cost does not grow with our memory. No pipe ever blocks us: a handler that reads nothing, or a
//! grandchild that keeps a pipe open, holds up nobody.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
use rustix::io::Errno;
use rustix::pipe::fcntl_getpipe_size;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpgid, kill_process, kill_process_group,
    pidfd_open, waitid,
};

use super::execution::{Execution, Outcome};
use super::handler::Obstacle;
use super::mask::Mask;
use super::output::{Line, Lines, SharedOutput};
use super::protocol;
use super::starter::Program;
use crate::error::one_line;
use crate::lock::{ProcessId, StartNote};
use crate::model::message::HandlerMessage;
use crate::model::task::{Severity, Status};

/// How often a process is looked at that the system gives no handle for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

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
    /// Output that is no complete line yet.
    out: Lines,
    err: Lines,
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
            out: Lines::default(),
            err: Lines::default(),
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

    /// Waits until it prints something, takes more input or has ended, or until `wake` is readable or the time is over, and
    /// passes each line that it printed to `receive`. Whether it has ended.
    pub(super) fn wait(
        &mut self,
        wake: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
        receive: &mut dyn FnMut(Stream, Line),
    ) -> bool {
        let writable = if self.input.is_empty() {
            // That it has closed its input shows in any case.
            PollFlags::empty()
        } else {
            PollFlags::OUT
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
        // What it has written on standard error before this, such as the reason of a failure, comes first.
        let mut buffer = [0; 32 * 1024];
        let read = self.read(Stream::Out, &mut buffer);
        self.read_lines(Stream::Err, receive);
        self.out
            .feed(&buffer[..read], |line| receive(Stream::Out, line));
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
    fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> usize {
        let read = match stream {
            Stream::Out => self.stdout.as_mut().map(|pipe| pipe.read(buffer)),
            Stream::Err => self.stderr.as_mut().map(|pipe| pipe.read(buffer)),
        };
        match read {
            Some(Ok(read)) if read > 0 => return read,
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            _ if stream == Stream::Out => self.stdout = None,
            _ => self.stderr = None,
        }
        0
    }

    /// Reads what is there, once, and passes its lines on; how many bytes.
    fn read_lines(&mut self, stream: Stream, receive: &mut dyn FnMut(Stream, Line)) -> usize {
        let mut buffer = [0; 32 * 1024];
        let read = self.read(stream, &mut buffer);
        let lines = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        lines.feed(&buffer[..read], |line| receive(stream, line));
        read
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
        receive: &mut dyn FnMut(Stream, Line),
    ) -> ExitStatus {
        group.end();
        for stream in [Stream::Err, Stream::Out] {
            let pipe = match stream {
                Stream::Out => self.stdout.as_ref().map(AsFd::as_fd),
                Stream::Err => self.stderr.as_ref().map(AsFd::as_fd),
            };
            // More than fits into the pipe is not its own: somebody else holds it open and writes.
            let mut left = pipe.map_or(0, |pipe| fcntl_getpipe_size(pipe).unwrap_or(0));
            while left > 0 {
                match self.read_lines(stream, receive) {
                    0 => break,
                    read => left = left.saturating_sub(read),
                }
            }
        }
        let (out, err) = (self.out.end(), self.err.end());
        err.into_iter().for_each(|line| receive(Stream::Err, line));
        out.into_iter().for_each(|line| receive(Stream::Out, line));
        // Of a child that somebody else has reaped nobody knows how it ended.
        self.child
            .wait()
            .unwrap_or_else(|_| ExitStatus::from_raw(0xff00))
    }
}

/// The thread of a handler that is a process of its own for each task.
pub(super) struct TaskProcess {
    program: Program,
    input: Vec<u8>,
    note: StartNote,
    output: SharedOutput,
    mask: Mask,
}

impl TaskProcess {
    pub(super) fn new(execution: &Execution, program: Program, input: Vec<u8>) -> Self {
        Self {
            program,
            input,
            note: execution.note.clone(),
            output: execution.output.clone(),
            mask: execution.mask.clone(),
        }
    }

    /// Runs the process from its start to its end.
    pub(super) fn run(mut self, group: &ProcessGroup) -> Result<Outcome, Obstacle> {
        let input = whole_input(&self.input);
        let input = input.map_err(|error| Obstacle::starting(&self.program.name, &error))?;
        self.program.command.stdin(input);
        self.note.write(None).map_err(|e| Obstacle::noting(&e))?;
        let mut process = Process::start(self.program)?;
        group.begin(process.pid);
        // Without this it is still known by its environment.
        let _ = self.note.write(ProcessId::of(process.pid));
        let mut receive = |stream, line: Line| receive(stream, &line, &self.output, &self.mask);
        while !process.wait(None, None, &mut receive) {}
        let exit = process.end(group, &mut receive);
        Ok(end(exit, &self.output))
    }
}

/// The input of a handler, complete before it starts: it may outlive the runner.
fn whole_input(input: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file)
}

fn receive(stream: Stream, line: &Line, output: &SharedOutput, mask: &Mask) {
    if stream == Stream::Err {
        output.lock().add_stderr(mask.line(line));
        return;
    }
    let message = if line.is_too_long() {
        HandlerMessage::log(Severity::Info, mask.line(line))
    } else {
        mask.message(protocol::parse(&line.text()).1)
    };
    output.lock().add(message);
}

fn end(exit: ExitStatus, output: &SharedOutput) -> Outcome {
    let suffix = output.lock().stderr_suffix();
    let (status, reason) = match exit.code() {
        Some(0) => (Status::Completed, None),
        Some(code) => (Status::Failed, Some(format!("exit status {code}{suffix}"))),
        None => (
            Status::Interrupted,
            Some(format!("{}{suffix}", killed_by(exit))),
        ),
    };
    Outcome {
        status,
        exit_code: exit.code(),
        reason,
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
