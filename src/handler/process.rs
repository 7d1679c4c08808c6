//! A handler's process: its group, its pipes, its end.
//!
//! Each is the leader of a process group of its own, and on Linux is killed with the thread that started it. Its pipes
//! never block the runner: a handler that reads nothing, or a grandchild that keeps a pipe open, holds up nobody.

use std::cell::Cell;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::fcntl_getpipe_size;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpgid, kill_process, kill_process_group,
    waitid, waitpid,
};

use super::spawn::{Environment, spawn};

/// What to start.
#[derive(Debug)]
pub struct Start<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// The folder to start it in.
    pub folder: &'a Path,
    /// What all handlers have in their environment.
    pub inherited: &'a Environment,
    /// What it has there besides, or instead.
    pub env: &'a [(&'a str, OsString)],
}

/// Variables of the runner's environment that are not for handlers: a password, and what belongs to another task.
const WITHHELD: [&str; 6] = [
    "RUNNER_MAIL_TRANSPORT",
    "RUNNER_FILE",
    "RUNNER_DOCUMENT",
    "RUNNER_DEBUG",
    "RUNNER_TASK",
    "RUNNER_METHOD",
];

/// Which of a handler's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Out,
    /// Its standard error.
    Err,
}

/// A running handler.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    input: Option<(OwnedFd, Vec<u8>)>,
    /// How many bytes it was given to read, and how many of them are in its pipe or read.
    given: u64,
    written: u64,
    out: Option<OwnedFd>,
    err: Option<OwnedFd>,
    reach: Cell<Reach>,
}

/// Whether a process can be signalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Within,
    Out,
    /// Somebody was told that it is out of reach.
    Told,
}

/// The environment that all handlers inherit.
pub fn inherited() -> Environment {
    Environment::inherited(&WITHHELD)
}

impl Process {
    /// Starts a handler with its three pipes.
    ///
    /// # Errors
    /// The system's: the program is not there, may not be run, or there is no room for another process.
    pub fn start(start: &Start<'_>) -> io::Result<Self> {
        let spawned = spawn(start.argv, start.folder, start.inherited, start.env)?;
        for pipe in [&spawned.input, &spawned.out, &spawned.err] {
            fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        Ok(Self {
            pid: spawned.pid,
            input: Some((spawned.input, Vec::new())),
            given: 0,
            written: 0,
            out: Some(spawned.out),
            err: Some(spawned.err),
            reach: Cell::new(Reach::Within),
        })
    }

    /// Has more for the handler to read: [`Process::push_input`] writes it.
    pub fn give(&mut self, bytes: &[u8]) {
        if let Some((_, waiting)) = &mut self.input {
            waiting.extend_from_slice(bytes);
        }
        self.given += bytes.len() as u64;
    }

    /// Takes back what it was given from here on, as far as it is not written.
    pub fn take_back(&mut self, from: u64) {
        if let (Some((_, waiting)), Some(kept)) = (&mut self.input, from.checked_sub(self.written))
        {
            waiting.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
            self.given = self.given.min(from);
        }
    }

    /// How many bytes it was given to read so far.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// How many of them it may have read.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether it does not read any more, or was told that nothing comes.
    pub fn is_deaf(&self) -> bool {
        self.input.is_none()
    }

    /// Whether nothing comes from its standard output any more.
    pub fn is_silent(&self) -> bool {
        self.out.is_none()
    }

    /// Writes what the pipe takes now. A handler that does not read its input is no error.
    pub fn push_input(&mut self) {
        let Some((pipe, waiting)) = &mut self.input else {
            return;
        };
        while !waiting.is_empty() {
            match rustix::io::write(&*pipe, waiting) {
                Ok(written) => {
                    self.written += written as u64;
                    waiting.drain(..written);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.input = None;
                    return;
                }
            }
        }
    }

    /// Ends the handler's input, once all of it is written.
    pub fn end_input(&mut self) {
        if self
            .input
            .as_ref()
            .is_some_and(|(_, waiting)| waiting.is_empty())
        {
            self.input = None;
        }
    }

    /// The pipe to wait on before there is room for more input, if some waits.
    pub fn wants_to_write(&self) -> Option<BorrowedFd<'_>> {
        let (pipe, waiting) = self.input.as_ref()?;
        (!waiting.is_empty()).then(|| pipe.as_fd())
    }

    /// Whether one of its outputs is among these.
    pub fn is_among(&self, pipes: &[RawFd]) -> bool {
        let outputs = [&self.out, &self.err].into_iter().flatten();
        outputs
            .into_iter()
            .any(|pipe| pipes.contains(&pipe.as_raw_fd()))
    }

    /// The pipe to wait on for output.
    pub fn output(&self, stream: Stream) -> Option<BorrowedFd<'_>> {
        match stream {
            Stream::Out => self.out.as_ref().map(AsFd::as_fd),
            Stream::Err => self.err.as_ref().map(AsFd::as_fd),
        }
    }

    /// Reads what is there, once; how much. 0 when there is nothing now, or nothing more to come.
    pub fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> usize {
        let pipe = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        let Some(open) = pipe else { return 0 };
        loop {
            match rustix::io::read(&*open, &mut *buffer) {
                Ok(0) => break,
                Ok(read) => return read,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return 0,
                Err(_) => break,
            }
        }
        *pipe = None;
        0
    }

    /// How much may be in one of its pipes: when it has ended, more than this is not its own.
    pub fn capacity(&self, stream: Stream) -> usize {
        let size = self.output(stream).map(fcntl_getpipe_size);
        size.and_then(Result::ok).unwrap_or(0)
    }

    /// How it ended, if it did. What it left running in its group is killed, while nobody else can have its number.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid), options) {
            Ok(None) => return None,
            // A group that is gone needs no signal.
            Ok(Some(_)) => drop(kill_process_group(self.pid, Signal::KILL)),
            Err(_) => {}
        }
        match waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(ended) => ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw())),
            // A child that somebody else reaped ended too, though nobody knows how.
            Err(_) => Some(ExitStatus::from_raw(0xff00)),
        }
    }

    /// Sends a signal to all processes of the group, and to its leader also when that has left it.
    pub fn signal(&self, signal: Signal) {
        let mut sent = kill_process_group(self.pid, signal);
        if getpgid(Some(self.pid)).is_ok_and(|group| group != self.pid) {
            sent = kill_process(self.pid, signal);
        }
        if sent == Err(Errno::PERM) && self.reach.get() == Reach::Within {
            self.reach.set(Reach::Out);
        }
    }

    /// Why it cannot be ended, once it has turned out that it cannot; told once.
    pub fn out_of_reach(&self) -> Option<String> {
        let is_news = self.reach.get() == Reach::Out;
        is_news.then(|| {
            self.reach.set(Reach::Told);
            let pid = self.pid.as_raw_nonzero();
            format!("its process {pid} cannot be ended: it runs as another user, who may")
        })
    }
}

/// Why a program could not be started, in words.
pub fn cannot_start(program: &str, error: &io::Error) -> String {
    let reason = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => "there is no such program; check its path and cron's PATH".to_owned(),
        Some(Errno::ACCESS) => "no permission to run it; 'chmod +x' it".to_owned(),
        Some(Errno::NOEXEC) => {
            "the system cannot run it; a script begins with a line such as #!/bin/sh".to_owned()
        }
        Some(Errno::TOOBIG) => "its arguments and environment are too long".to_owned(),
        _ => crate::error::one_line(&error.to_string()),
    };
    format!(
        "cannot start '{}': {reason}",
        crate::error::one_line(program)
    )
}

/// Whether it is the machine that has no room now, for another process, file or byte, and not what was asked of it that
/// cannot be.
pub fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::AGAIN, Errno::MFILE, Errno::NFILE];
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull};
    matches!(error.kind(), OutOfMemory | QuotaExceeded | StorageFull)
        || error
            .raw_os_error()
            .is_some_and(|code| shortages.contains(&Errno::from_raw_os_error(code)))
}
