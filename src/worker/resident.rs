//! A resident handler: one process that is given many tasks, a line each, and says of each when it is done with it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::event::{Obstacle, Reporter, What};
use super::execution::End;
use super::lock::{StartNote, StartNotes};
use super::mask::ResidentMask;
use super::output::{Line, Lines, SharedOutput};
use super::process::{Process, ProcessGroup, ProcessId, Program, Stream, killed_by};
use super::protocol;
use crate::json::Json;
use crate::model::message::Message;
use crate::model::task::{Severity, Status};

/// How long a process that has closed its output may take to end by itself.
const LEAVE_TIME: Duration = Duration::from_millis(250);

/// A task on its way to a resident handler.
pub(super) struct Delivery {
    pub(super) execution: u64,
    pub(super) task: i64,
    pub(super) attempt: u32,
    pub(super) line: Vec<u8>,
    pub(super) hidden_params: Option<Json>,
    pub(super) output: SharedOutput,
    pub(super) place: usize,
}

/// What the worker has for the thread of a resident handler.
pub(super) struct Inbox {
    state: Mutex<State>,
    wake: OwnedFd,
}

#[derive(Default)]
struct State {
    deliveries: VecDeque<Delivery>,
    /// Nothing more comes.
    is_closed: bool,
    /// The process is gone.
    is_dead: bool,
}

impl Inbox {
    pub(super) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            state: Mutex::default(),
            wake: eventfd(0, flags)?,
        })
    }

    /// Gives the process another task; whether it still lives.
    pub(super) fn deliver(&self, delivery: Delivery) -> bool {
        let mut state = self.lock();
        if state.is_dead {
            return false;
        }
        state.deliveries.push_back(delivery);
        self.wake();
        true
    }

    /// Tells the process, by the end of its input, that nothing more comes.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake();
    }

    fn wake(&self) {
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread of a resident handler.
pub(super) struct Resident {
    method: String,
    inbox: Arc<Inbox>,
    group: Arc<ProcessGroup>,
    notes: StartNotes,
    reporter: Reporter,
    held: Vec<Held>,
    mask: ResidentMask,
    stderr_tail: Option<String>,
    process: Option<ProcessId>,
}

/// A task that the process was given, or is about to be.
pub(super) struct Held {
    execution: u64,
    task: i64,
    output: SharedOutput,
    /// Where its line begins in all that the process is given.
    from: u64,
}

impl Resident {
    pub(super) fn new(
        method: String,
        inbox: Arc<Inbox>,
        group: Arc<ProcessGroup>,
        notes: StartNotes,
        reporter: Reporter,
    ) -> Self {
        Self {
            method,
            inbox,
            group,
            notes,
            reporter,
            held: Vec::new(),
            mask: ResidentMask::default(),
            stderr_tail: None,
            process: None,
        }
    }

    /// Starts the process, and gives it what comes until it ends.
    pub(super) fn run(mut self, program: Program) {
        let mut process = match Process::start(program) {
            Ok(process) => process,
            Err(obstacle) => {
                self.inbox.lock().is_dead = true;
                return self.reporter.send(What::NotStarted(obstacle));
            }
        };
        self.group.begin(process.pid);
        self.process = ProcessId::of(process.pid);
        let (mut out, mut err) = (Lines::default(), Lines::default());
        let (inbox, clock) = (Arc::clone(&self.inbox), self.reporter.clock);
        let (mut silent_since, mut is_useless) = (None, false);
        loop {
            self.deliver(&mut process);
            let mut hear = |stream, bytes: &[u8]| match stream {
                Stream::Out => out.feed(bytes, |line| self.hear(&line)),
                Stream::Err => err.feed(bytes, |line| self.hear_stderr(&line)),
            };
            let is_leaving = process.is_stdout_closed() && !is_useless;
            let timeout = is_leaving.then_some(LEAVE_TIME);
            if process.wait(Some(inbox.wake.as_fd()), timeout, &mut hear) {
                break;
            }
            let since = *silent_since.get_or_insert(clock.elapsed());
            if !process.is_stdout_closed() {
                silent_since = None;
            } else if is_leaving && clock.elapsed() >= since + LEAVE_TIME {
                is_useless = true;
                self.reporter.send(What::OutputClosed);
            }
        }
        let written = process.written();
        let exit = process.end(
            &Arc::clone(&self.group),
            &mut |stream, bytes| match stream {
                Stream::Out => out.feed(bytes, |line| self.hear(&line)),
                Stream::Err => err.feed(bytes, |line| self.hear_stderr(&line)),
            },
        );
        out.end().iter().for_each(|line| self.hear(line));
        err.end().iter().for_each(|line| self.hear_stderr(line));
        self.end(exit, written, is_useless);
    }

    /// Writes the lines of the tasks that have come, each after the note that it was started.
    fn deliver(&mut self, process: &mut Process) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.inbox.wake, &mut count);
        let (deliveries, is_closed) = {
            let mut state = self.inbox.lock();
            (std::mem::take(&mut state.deliveries), state.is_closed)
        };
        for delivery in deliveries {
            let note = StartNote {
                task: delivery.task,
                attempt: delivery.attempt,
                process: self.process,
            };
            if let Err(error) = self.notes.write(delivery.place, &note) {
                let obstacle = Obstacle::noting(&error);
                self.reporter
                    .send(What::NotBegun(vec![delivery.execution], obstacle));
                continue;
            }
            self.mask
                .add(delivery.execution, delivery.hidden_params.as_ref());
            self.held.push(Held {
                execution: delivery.execution,
                task: delivery.task,
                output: delivery.output,
                from: process.give(&delivery.line),
            });
        }
        if is_closed {
            process.end_input();
        }
        process.write_input();
        if process.is_stdin_closed() {
            self.release_unread(process.written());
        }
    }

    /// The process reads no more: what it has not read the first byte of goes back.
    fn release_unread(&mut self, written: u64) {
        let unread = self.held.extract_if(.., |held| held.from >= written);
        let unread: Vec<u64> = unread.map(|held| held.execution).collect();
        if !unread.is_empty() {
            self.reporter.send(What::NotBegun(unread, Obstacle::Gone));
        }
    }

    /// A line is about the task that it names, if the process has that, else about the one that it was given first.
    fn hear(&mut self, line: &Line) {
        let (task, message) = match line.is_too_long() {
            true => (
                None,
                Message::log(Severity::Info, self.mask.mask().line(line)),
            ),
            false => protocol::parse(&line.text()),
        };
        let named = task.and_then(|id| self.held.iter().position(|held| held.task == id));
        let is_foreign = task.is_some() && named.is_none();
        let raw = || line.text().into_owned();
        let message = match (message, named) {
            (Message::Done { ok }, Some(place)) => return self.done(place, ok),
            // It is done with that one already, or never had it.
            (Message::Done { .. }, None) if is_foreign => return,
            (Message::Done { .. }, None) => Message::log(
                Severity::Warning,
                format!("this line does not say which task is done: {}", raw()),
            ),
            _ if is_foreign => Message::log(Severity::Warning, raw()),
            (message, _) => message,
        };
        if let Some(held) = self.held.get(named.unwrap_or(0)) {
            held.output.lock().add(self.mask.mask().message(message));
        }
    }

    fn done(&mut self, place: usize, ok: bool) {
        let held = self.held.remove(place);
        self.mask.remove(held.execution);
        let end = match ok {
            true => End::completed(),
            false => {
                let suffix = held.output.lock().stderr_suffix();
                End::failed(format!("the handler said that it could not{suffix}"))
            }
        };
        self.reporter.send(What::Over(held.execution, end));
    }

    fn hear_stderr(&mut self, line: &Line) {
        let text = self.mask.mask().line(line);
        if !text.trim().is_empty() {
            self.stderr_tail = Some(text.clone());
        }
        match self.held.first() {
            Some(held) => held.output.lock().add_stderr(text),
            None => log::info!("{}: {text}", self.method),
        }
    }

    /// What it holds ends with the process, but for what it never read.
    fn end(mut self, exit: ExitStatus, written: u64, is_useless: bool) {
        let late: Vec<Delivery> = {
            let mut state = self.inbox.lock();
            state.is_dead = true;
            state.deliveries.drain(..).collect()
        };
        let late = late.iter().map(|delivery| delivery.execution).collect();
        self.release_unread(written);
        self.reporter.send(What::NotBegun(late, Obstacle::Gone));
        let how = match exit.code() {
            _ if is_useless => "since it had closed its output".to_owned(),
            Some(code) => format!("with exit status {code}"),
            None => killed_by(exit),
        };
        let tail = self
            .stderr_tail
            .map(|line| format!(": {line}"))
            .unwrap_or_default();
        let end = End {
            status: Status::Interrupted,
            exit_code: exit.signal().map_or(exit.code(), |_| None),
            reason: Some(format!(
                "its resident handler ended before the task did, {how}{tail}"
            )),
        };
        self.reporter.send(What::Exited(end));
    }
}
