//! A handler at work, as the worker sees it: a process or a function for one task, or a resident process for many.
//! Each takes one of the slots that `task.max_running` allows, as long as it holds a task.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Signal;

use super::execution::{Execution, Moment, Outcome, StopReason};
use super::function::Calls;
use super::process::{ProcessGroup, TaskProcess, cannot_start};
use super::resident::{Delivery, Inbox, Resident};
use super::starter::Program;
use crate::clock::Clock;
use crate::error::{Error, is_shortage};
use crate::model::method::Method;
use crate::model::task::Severity;

/// How long a handler has between SIGTERM and SIGKILL, and a function to return.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Enough for a thread that reads the output of a process.
const STACK: usize = 512 * 1024;

pub(super) struct Handler {
    pub(super) number: u64,
    /// What it is at, and then what it was given to do after that.
    pub(super) held: VecDeque<Execution>,
    /// `None` for a thread that calls functions, which nobody can signal.
    group: Option<Arc<ProcessGroup>>,
    /// What a resident handler is given its tasks by, and its method.
    resident: Option<(Arc<Inbox>, String)>,
    /// How many tasks a resident handler can hold.
    capacity: usize,
    /// Since when the first that it holds is the first.
    head_since: Duration,
    /// When it is killed: it was asked to end.
    kill_at: Option<Duration>,
    /// Whether it takes no more tasks.
    is_closed: bool,
    /// How many tasks it is done with.
    pub(super) done: u64,
}

impl Handler {
    fn new(reporter: &Reporter, group: Option<&Arc<ProcessGroup>>) -> Self {
        Self {
            number: reporter.handler,
            held: VecDeque::new(),
            group: group.cloned(),
            resident: None,
            capacity: 0,
            head_since: Duration::ZERO,
            kill_at: None,
            is_closed: false,
            done: 0,
        }
    }

    /// Starts a process for this one task, which it is to hold then.
    pub(super) fn start_process(
        execution: &Execution,
        program: Program,
        reporter: Reporter,
    ) -> Result<Self, Obstacle> {
        let group = Arc::<ProcessGroup>::default();
        let handler = Self::new(&reporter, Some(&group));
        let input = execution.input_line(reporter.clock.now());
        let process = TaskProcess::new(execution, program, input);
        start_thread(Some(STACK), reporter, move |_| process.run(&group))?;
        Ok(handler)
    }

    /// Starts a thread that calls what waits in `calls`.
    pub(super) fn start_function(calls: Calls, reporter: Reporter) -> Result<Self, Obstacle> {
        let handler = Self::new(&reporter, None);
        start_thread(None, reporter, move |reporter| calls.run(reporter))?;
        Ok(handler)
    }

    pub(super) fn start_resident(
        method: &Method,
        program: Program,
        reporter: Reporter,
    ) -> Result<Self, Obstacle> {
        let group = Arc::<ProcessGroup>::default();
        let inbox = Inbox::new().map_err(|error| Obstacle::starting(&method.name, &error))?;
        let inbox = Arc::new(inbox);
        let handler = Self {
            resident: Some((Arc::clone(&inbox), method.name.clone())),
            capacity: usize::try_from(method.pipeline).unwrap_or(1).max(1),
            ..Self::new(&reporter, Some(&group))
        };
        let name = method.name.clone();
        start_thread(Some(STACK), reporter, move |reporter| {
            Resident::new(name, inbox, group, reporter).run(program)
        })?;
        Ok(handler)
    }

    /// The method of a resident handler.
    pub(super) fn resident_method(&self) -> Option<&str> {
        self.resident.as_ref().map(|(_, method)| method.as_str())
    }

    pub(super) fn is_process(&self) -> bool {
        self.group.is_some()
    }

    /// Whether it holds a task. A thread that calls functions takes its next one by itself, and ends when there is none.
    pub(super) fn is_busy(&self) -> bool {
        !self.held.is_empty() || !self.is_process()
    }

    /// How many more tasks a resident handler takes.
    pub(super) fn room(&self) -> usize {
        if self.is_closed || self.kill_at.is_some() {
            return 0;
        }
        self.capacity.saturating_sub(self.held.len())
    }

    /// Whether it is at work and could be given as much again.
    pub(super) fn runs_low(&self) -> bool {
        self.capacity > 0 && self.is_busy() && self.room() * 2 >= self.capacity
    }

    /// Gives a resident handler another task, which it is to hold then.
    pub(super) fn deliver(&mut self, execution: &Execution, line: Vec<u8>) -> Result<(), Obstacle> {
        let (inbox, _) = self.resident.as_ref().ok_or(Obstacle::Gone)?;
        let delivered = inbox.deliver(Delivery::new(execution, line));
        self.is_closed |= !delivered;
        delivered.then_some(()).ok_or(Obstacle::Gone)
    }

    pub(super) fn hold(&mut self, execution: Execution) {
        if self.held.is_empty() {
            self.head_since = execution.started;
        }
        self.held.push_back(execution);
    }

    /// Takes out a task that is over, or was not begun.
    pub(super) fn take(&mut self, task: i64, elapsed: Duration) -> Option<Execution> {
        let place = self.held.iter().position(|held| held.task.id == task)?;
        let mut execution = self.held.remove(place)?;
        if !self.is_process() {
            // It has returned, and the next call has all the time again.
            self.kill_at = None;
        }
        if place == 0 {
            execution.started = execution.started.max(self.head_since);
            self.head_since = elapsed;
        }
        Some(execution)
    }

    /// Ends a task, or all that it holds: of a process that is the whole of it.
    pub(super) fn stop(&mut self, task: Option<i64>, stop_reason: StopReason, elapsed: Duration) {
        let is_meant = |held: &&mut Execution| task.is_none_or(|id| held.task.id == id);
        for execution in self.held.iter_mut().filter(is_meant) {
            execution.stop_reason.get_or_insert(stop_reason);
            execution.stop.store(true, Ordering::Relaxed);
        }
        self.terminate(elapsed);
    }

    /// Asks a process to end, unless it was asked before.
    pub(super) fn terminate(&mut self, elapsed: Duration) {
        if self.kill_at.is_none() {
            self.kill_at = Some(elapsed + STOP_TIMEOUT);
            self.signal(Signal::TERM);
        }
    }

    /// Closes the input of a resident handler that holds no task.
    pub(super) fn close(&mut self, elapsed: Duration) {
        if let (Some((inbox, _)), false) = (&self.resident, self.is_closed) {
            inbox.close();
            self.kill_at.get_or_insert(elapsed + STOP_TIMEOUT);
            self.is_closed = true;
        }
    }

    /// A resident handler reads no more.
    pub(super) fn close_input(&mut self) {
        self.is_closed = true;
    }

    /// Ends what is past its time limit, and kills what was asked to end and has not. Whether it is given up: a function
    /// that does not return.
    pub(super) fn check_deadline(&mut self, elapsed: Duration) -> bool {
        let head = self.held.front().filter(|head| head.stop_reason.is_none());
        let limit = head.and_then(|head| Some(self.head_since + head.limit?));
        if limit.is_some_and(|limit| elapsed >= limit) {
            let head = self.held.front().map(|head| head.task.id);
            self.stop(head, StopReason::TimedOut, elapsed);
        }
        if self.is_closed && self.held.is_empty() {
            self.terminate(elapsed);
        }
        if self.kill_at.is_none_or(|kill_at| elapsed < kill_at) {
            return false;
        }
        self.kill_at = Some(elapsed + STOP_TIMEOUT);
        self.kill();
        !self.is_process()
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let sent = self.group.as_ref().map(|group| group.signal(signal));
        if let (Some(Err(Errno::PERM)), Some(head)) = (sent, self.held.front()) {
            let message = "its process cannot be ended: it runs as another user, who may";
            head.output
                .lock()
                .log(Severity::Warning, message.to_owned(), None);
        }
    }
}

/// Something that happened to a handler.
pub(super) struct Event {
    /// The number of the handler.
    pub(super) handler: u64,
    pub(super) at: Moment,
    pub(super) what: What,
}

pub(super) enum What {
    /// A thread has begun to call a function.
    Begun(Box<Execution>),
    /// The handler is done with this task.
    Over(i64, Outcome),
    /// These tasks were not begun, and never will be by this handler.
    NotBegun(Vec<i64>, Obstacle),
    /// A resident handler has closed its output, and can report nothing any more.
    OutputClosed,
    /// The process has ended, and with it what it was at, or a thread that calls functions; or it could not be started.
    Exited(Result<Outcome, Obstacle>),
}

/// What keeps a task from being begun.
#[derive(Debug, Clone)]
pub(super) enum Obstacle {
    /// The handler takes no more: another one may.
    Gone,
    /// The machine has no room now.
    Shortage(String),
    /// Something is wrong with the handler or with what it is to be given.
    Defect(String),
}

impl Obstacle {
    /// A program or thread could not be started.
    pub(super) fn starting(name: &str, error: &io::Error) -> Self {
        let reason = cannot_start(name, error);
        if is_shortage(error) {
            Self::Shortage(reason)
        } else {
            Self::Defect(reason)
        }
    }

    /// Without the note that it was started, nothing is.
    pub(super) fn noting(error: &io::Error) -> Self {
        Self::Shortage(format!("its start cannot be noted: {error}"))
    }
}

impl From<Error> for Obstacle {
    fn from(error: Error) -> Self {
        if error.is_shortage() {
            Self::Shortage(error.to_string())
        } else {
            Self::Defect(error.to_string())
        }
    }
}

/// Sends the events of a handler.
pub(super) struct Reporter {
    pub(super) handler: u64,
    pub(super) clock: Clock,
    pub(super) events: Sender<Event>,
}

impl Reporter {
    pub(super) fn send(&self, what: What) {
        let event = Event {
            handler: self.handler,
            at: Moment::now(&self.clock),
            what,
        };
        // A worker that has given up receives nothing any more.
        let _ = self.events.send(event);
    }
}

/// Starts the thread of a handler, which reports its end.
fn start_thread(
    stack: Option<usize>,
    reporter: Reporter,
    run: impl FnOnce(&Reporter) -> Result<Outcome, Obstacle> + Send + 'static,
) -> Result<(), Obstacle> {
    let mut builder = thread::Builder::new().name("handler".to_owned());
    if let Some(stack) = stack {
        builder = builder.stack_size(stack);
    }
    let started = builder.spawn(move || {
        let end = run(&reporter);
        reporter.send(What::Exited(end));
    });
    started
        .map(drop)
        .map_err(|error| Obstacle::starting("a thread", &error))
}
