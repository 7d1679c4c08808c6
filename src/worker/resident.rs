//! A resident handler: one process that is given many tasks, a line each, and reports each when it is done with it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::execution::{Execution, Outcome};
use super::handler::{Obstacle, Reporter, What};
use super::mask::ResidentMask;
use super::output::{Line, SharedOutput};
use super::process::{Process, ProcessGroup, Stream, killed_by};
use super::protocol;
use super::starter::Program;
use crate::json::Json;
use crate::lock::{ProcessId, StartNote};
use crate::model::message::HandlerMessage;
use crate::model::task::{Severity, Status};

/// How long a process that has closed its output may take to end by itself.
const EXIT_TIME: Duration = Duration::from_millis(250);

/// A task on its way to a resident handler.
pub(super) struct Delivery {
    task: i64,
    note: StartNote,
    line: Vec<u8>,
    hidden_params: Option<Json>,
    output: SharedOutput,
}

impl Delivery {
    pub(super) fn new(execution: &Execution, line: Vec<u8>) -> Self {
        Self {
            task: execution.task.id,
            note: execution.note.clone(),
            line,
            hidden_params: execution.task.hidden_params.clone(),
            output: execution.output.clone(),
        }
    }
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

    /// Closes the input of the process: nothing more comes.
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
pub(super) struct Resident<'r> {
    method: String,
    inbox: Arc<Inbox>,
    group: Arc<ProcessGroup>,
    reporter: &'r Reporter,
    held: Vec<Held>,
    mask: ResidentMask,
    stderr_tail: Option<String>,
    process: Option<ProcessId>,
}

/// A task that the process was given, or is about to be.
struct Held {
    task: i64,
    output: SharedOutput,
    /// Where its line begins in all that the process is given.
    from: u64,
}

impl<'r> Resident<'r> {
    pub(super) fn new(
        method: String,
        inbox: Arc<Inbox>,
        group: Arc<ProcessGroup>,
        reporter: &'r Reporter,
    ) -> Self {
        Self {
            method,
            inbox,
            group,
            reporter,
            held: Vec::new(),
            mask: ResidentMask::default(),
            stderr_tail: None,
            process: None,
        }
    }

    /// Starts the process, and gives it what comes until it ends.
    pub(super) fn run(mut self, program: Program) -> Result<Outcome, Obstacle> {
        let mut process =
            Process::start(program).inspect_err(|_| self.inbox.lock().is_dead = true)?;
        let (inbox, group) = (Arc::clone(&self.inbox), Arc::clone(&self.group));
        group.begin(process.pid);
        self.process = ProcessId::of(process.pid);
        let clock = self.reporter.clock;
        let (mut silent_since, mut is_useless) = (None, false);
        loop {
            self.deliver(&mut process);
            let is_ending = process.is_stdout_closed() && !is_useless;
            let timeout = is_ending.then_some(EXIT_TIME);
            let mut receive = |stream, line: Line| self.receive(stream, &line);
            if process.wait(Some(inbox.wake.as_fd()), timeout, &mut receive) {
                break;
            }
            let since = *silent_since.get_or_insert(clock.elapsed());
            if !process.is_stdout_closed() {
                silent_since = None;
            } else if is_ending && clock.elapsed() >= since + EXIT_TIME {
                is_useless = true;
                self.reporter.send(What::OutputClosed);
            }
        }
        let written = process.written();
        let exit = process.end(&group, &mut |stream, line| self.receive(stream, &line));
        self.release_all_unread(written);
        Ok(self.end(exit, is_useless))
    }

    /// Writes the lines of the tasks that have come, each after the note that it was started.
    fn deliver(&mut self, process: &mut Process) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.inbox.wake, &mut count);
        let (deliveries, is_closed) = {
            let mut state = self.inbox.lock();
            (std::mem::take(&mut state.deliveries), state.is_closed)
        };
        for mut delivery in deliveries {
            if let Err(error) = delivery.note.write(self.process) {
                let obstacle = Obstacle::noting(&error);
                self.reporter
                    .send(What::NotBegun(vec![delivery.task], obstacle));
                continue;
            }
            self.mask
                .add(delivery.task, delivery.hidden_params.as_ref());
            self.held.push(Held {
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
        let unread: Vec<i64> = unread.map(|held| held.task).collect();
        if !unread.is_empty() {
            self.reporter.send(What::NotBegun(unread, Obstacle::Gone));
        }
    }

    fn receive(&mut self, stream: Stream, line: &Line) {
        match stream {
            Stream::Out => self.receive_stdout(line),
            Stream::Err => self.receive_stderr(line),
        }
    }

    /// A line is about the task that it names, if the process has that, else about the one that it was given first.
    fn receive_stdout(&mut self, line: &Line) {
        let (task, message) = if line.is_too_long() {
            let text = self.mask.mask().line(line);
            (None, HandlerMessage::log(Severity::Info, text))
        } else {
            protocol::parse(&line.text())
        };
        let named = task.and_then(|id| self.held.iter().position(|held| held.task == id));
        let is_foreign = task.is_some() && named.is_none();
        let raw = || line.text().into_owned();
        let message = match (message, named) {
            (HandlerMessage::Done { ok }, Some(place)) => return self.done(place, ok),
            // It is done with that one already, or never had it.
            (HandlerMessage::Done { .. }, None) if is_foreign => return,
            (HandlerMessage::Done { .. }, None) => HandlerMessage::log(
                Severity::Warning,
                format!("this line does not say which task is done: {}", raw()),
            ),
            _ if is_foreign => HandlerMessage::log(Severity::Warning, raw()),
            (message, _) => message,
        };
        if let Some(held) = self.held.get(named.unwrap_or(0)) {
            held.output.lock().add(self.mask.mask().message(message));
        }
    }

    fn done(&mut self, place: usize, ok: bool) {
        let held = self.held.remove(place);
        self.mask.remove(held.task);
        let end = if ok {
            Outcome::completed()
        } else {
            let suffix = held.output.lock().stderr_suffix();
            Outcome::failed(format!("the handler said that it could not{suffix}"))
        };
        self.reporter.send(What::Over(held.task, end));
    }

    fn receive_stderr(&mut self, line: &Line) {
        let text = self.mask.mask().line(line);
        if !text.trim().is_empty() {
            self.stderr_tail = Some(text.clone());
        }
        match self.held.first() {
            Some(held) => held.output.lock().add_stderr(text),
            None => log::info!("{}: {text}", self.method),
        }
    }

    /// The process has ended: what it never read goes back, and what has come since.
    fn release_all_unread(&mut self, written: u64) {
        let late: Vec<Delivery> = {
            let mut state = self.inbox.lock();
            state.is_dead = true;
            state.deliveries.drain(..).collect()
        };
        self.release_unread(written);
        let late = late.iter().map(|delivery| delivery.task).collect();
        self.reporter.send(What::NotBegun(late, Obstacle::Gone));
    }

    /// How what it holds ends with the process.
    fn end(self, exit: ExitStatus, is_useless: bool) -> Outcome {
        let how = match exit.code() {
            _ if is_useless => "since it had closed its output".to_owned(),
            Some(code) => format!("with exit status {code}"),
            None => killed_by(exit),
        };
        let tail = self
            .stderr_tail
            .map(|line| format!(": {line}"))
            .unwrap_or_default();
        Outcome {
            status: Status::Interrupted,
            exit_code: exit.code(),
            reason: Some(format!(
                "its resident handler ended before the task did, {how}{tail}"
            )),
        }
    }
}
