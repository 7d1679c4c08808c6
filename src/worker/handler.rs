//! A handler at work, as the worker sees it: a process for one task, a resident process, or a thread that calls functions.
//! Each takes one of the slots that `task.max_running` allows, as long as it holds a task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Signal;

use super::event::{Obstacle, Reporter};
use super::execution::{Cause, Execution};
use super::function::{Call, Calls};
use super::lock::StartNotes;
use super::process::{ProcessGroup, Program};
use super::resident::{Delivery, Inbox, Resident};
use super::task_process::TaskProcess;
use crate::functions::Function;
use crate::model::method::Method;
use crate::model::task::Severity;

/// How long a handler has between SIGTERM and SIGKILL, and a function to return.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How many tasks wait for a thread that calls functions.
const FUNCTION_PIPELINE: usize = 64;
/// Enough for a thread that reads the output of a process.
const STACK: usize = 512 * 1024;

pub(super) struct Handler {
    pub(super) number: u64,
    /// What it is at, and then what it was given to do after that.
    pub(super) held: VecDeque<Execution>,
    link: Link,
    /// How many tasks it can hold.
    capacity: usize,
    /// Since when the first that it holds is the first.
    head_since: Duration,
    /// When it is killed: it was asked to end.
    kill_at: Option<Duration>,
    /// Whether it takes no more tasks.
    is_closed: bool,
    /// Whether it is a function that does not return.
    is_given_up: bool,
    /// How many tasks it is done with.
    pub(super) done: u64,
}

enum Link {
    Task(Arc<ProcessGroup>),
    Resident {
        method: String,
        group: Arc<ProcessGroup>,
        inbox: Arc<Inbox>,
    },
    Functions(Calls),
}

impl Handler {
    fn new(reporter: &Reporter, link: Link, capacity: usize) -> Self {
        Self {
            number: reporter.handler,
            held: VecDeque::new(),
            link,
            capacity,
            head_since: Duration::ZERO,
            kill_at: None,
            is_closed: false,
            is_given_up: false,
            done: 0,
        }
    }

    /// Starts a process for this one task, which it is to hold then.
    pub(super) fn start_task(
        execution: &Execution,
        program: Program,
        notes: StartNotes,
        reporter: Reporter,
    ) -> Result<Self, Obstacle> {
        let group = Arc::<ProcessGroup>::default();
        let handler = Self::new(&reporter, Link::Task(Arc::clone(&group)), 1);
        let input = execution.input_line(reporter.clock.now());
        let process = TaskProcess::new(execution, group, notes, reporter);
        start_thread(move || process.run(program, &input))?;
        Ok(handler)
    }

    /// Starts a resident handler.
    pub(super) fn start_resident(
        method: &Method,
        program: Program,
        notes: StartNotes,
        reporter: Reporter,
    ) -> Result<Self, Obstacle> {
        let group = Arc::<ProcessGroup>::default();
        let inbox = Inbox::new().map_err(|error| Obstacle::starting(&method.name, &error))?;
        let inbox = Arc::new(inbox);
        let link = Link::Resident {
            method: method.name.clone(),
            group: Arc::clone(&group),
            inbox: Arc::clone(&inbox),
        };
        let pipeline = usize::try_from(method.pipeline).unwrap_or(1);
        let handler = Self::new(&reporter, link, pipeline.max(1));
        let resident = Resident::new(method.name.clone(), inbox, group, notes, reporter);
        start_thread(move || resident.run(program))?;
        Ok(handler)
    }

    /// Starts a thread for functions.
    pub(super) fn start_functions(reporter: Reporter) -> Result<Self, Obstacle> {
        let calls = Calls::start(reporter.clone());
        let calls = calls.map_err(|error| Obstacle::starting("a thread", &error))?;
        Ok(Self::new(
            &reporter,
            Link::Functions(calls),
            FUNCTION_PIPELINE,
        ))
    }

    /// Whether it can take tasks of this method.
    pub(super) fn serves(&self, wanted: &Method) -> bool {
        match &self.link {
            Link::Task(_) => false,
            Link::Resident { method, .. } => *method == wanted.name,
            Link::Functions(_) => wanted.native,
        }
    }

    /// The method of a resident handler.
    pub(super) fn resident_method(&self) -> Option<&str> {
        match &self.link {
            Link::Resident { method, .. } => Some(method),
            _ => None,
        }
    }

    pub(super) fn is_function(&self) -> bool {
        matches!(self.link, Link::Functions(_))
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.held.is_empty()
    }

    /// How many more tasks it takes.
    pub(super) fn room(&self) -> usize {
        match self.is_closed || self.kill_at.is_some() {
            true => 0,
            false => self.capacity.saturating_sub(self.held.len()),
        }
    }

    /// Whether it is at work and could be given as much again.
    pub(super) fn runs_low(&self) -> bool {
        self.is_busy() && self.room() * 2 >= self.capacity
    }

    /// Gives a resident handler another task; the task again when the process has just ended.
    pub(super) fn deliver(&mut self, execution: Execution, line: Vec<u8>) -> Result<(), Execution> {
        let Link::Resident { inbox, .. } = &self.link else {
            return Err(execution);
        };
        let delivered = inbox.deliver(Delivery {
            execution: execution.number,
            task: execution.task.id,
            attempt: execution.task.attempt,
            line,
            hidden_params: execution.task.hidden_params.clone(),
            output: execution.output.clone(),
            place: execution.place,
        });
        if !delivered {
            self.is_closed = true;
            return Err(execution);
        }
        self.hold(execution);
        Ok(())
    }

    /// Has a thread call a function.
    pub(super) fn call(&mut self, execution: Execution, function: Function, notes: StartNotes) {
        if let Link::Functions(calls) = &self.link {
            calls.push(Call {
                execution: execution.number,
                function,
                input: execution.function_input(),
                output: execution.output.clone(),
                mask: execution.mask.clone(),
                notes,
                place: execution.place,
            });
        }
        self.hold(execution);
    }

    pub(super) fn hold(&mut self, execution: Execution) {
        if self.held.is_empty() {
            self.head_since = execution.started;
        }
        self.held.push_back(execution);
    }

    /// Takes out an execution that is over, or was not begun.
    pub(super) fn take(&mut self, number: u64, elapsed: Duration) -> Option<Execution> {
        let place = self.held.iter().position(|held| held.number == number)?;
        let mut execution = self.held.remove(place)?;
        if place == 0 {
            execution.started = execution.started.max(self.head_since);
            self.head_since = elapsed;
            if self.is_function() {
                // It has returned: what it was asked to end by is over.
                self.kill_at = None;
            }
        }
        Some(execution)
    }

    /// Whether tasks wait for its thread.
    pub(super) fn has_unbegun(&self) -> bool {
        matches!(&self.link, Link::Functions(calls) if calls.has_waiting())
    }

    /// Takes out those of the wanted executions that its thread has not begun.
    pub(super) fn take_unbegun(
        &mut self,
        is_wanted: impl Fn(&Execution) -> bool,
    ) -> Vec<Execution> {
        let Link::Functions(calls) = &self.link else {
            return Vec::new();
        };
        let wanted = self.held.iter().filter(|held| is_wanted(held));
        let wanted: Vec<u64> = wanted.map(|held| held.number).collect();
        let taken = calls.take_back(|number| wanted.contains(&number));
        let mut unbegun = Vec::with_capacity(taken.len());
        for number in taken {
            unbegun.extend(self.take(number, Duration::ZERO));
        }
        unbegun
    }

    /// Ends a task, or all that it holds: of a process that is the whole of it.
    pub(super) fn stop(&mut self, task: Option<i64>, cause: Cause, elapsed: Duration) {
        let is_meant = |held: &&mut Execution| task.is_none_or(|id| held.task.id == id);
        for execution in self.held.iter_mut().filter(is_meant) {
            execution.cause.get_or_insert(cause);
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

    /// Tells a resident handler without tasks that none comes any more.
    pub(super) fn close(&mut self, elapsed: Duration) {
        if let (Link::Resident { inbox, .. }, false) = (&self.link, self.is_closed) {
            inbox.close();
            self.kill_at.get_or_insert(elapsed + STOP_TIMEOUT);
            self.is_closed = true;
        }
    }

    /// A resident handler reads no more.
    pub(super) fn close_input(&mut self) {
        self.is_closed = true;
    }

    /// Whether it is a function that does not return.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// Ends what is past its time limit, and kills what was asked to end and has not.
    pub(super) fn enforce(&mut self, elapsed: Duration) {
        let head = self.held.front().filter(|head| head.cause.is_none());
        let limit = head.and_then(|head| Some(self.head_since + head.limit?));
        if limit.is_some_and(|limit| elapsed >= limit) {
            let head = self.held.front().map(|head| head.task.id);
            self.stop(head, Cause::TimedOut, elapsed);
        }
        if self.is_closed && self.held.is_empty() {
            self.terminate(elapsed);
        }
        if self.kill_at.is_none_or(|kill_at| elapsed < kill_at) {
            return;
        }
        self.kill_at = Some(elapsed + STOP_TIMEOUT);
        self.kill();
        if let (Link::Functions(calls), Some(head)) = (&self.link, self.held.front()) {
            self.is_given_up = calls.give_up(head.number);
        }
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let (Link::Task(group) | Link::Resident { group, .. }) = &self.link else {
            return;
        };
        if let (Err(Errno::PERM), Some(head)) = (group.signal(signal), self.held.front()) {
            let message = "its process cannot be ended: it runs as another user, who may";
            head.output
                .lock()
                .log(Severity::Warning, message.to_owned(), None);
        }
    }
}

fn start_thread(work: impl FnOnce() + Send + 'static) -> Result<(), Obstacle> {
    let builder = thread::Builder::new()
        .name("handler".to_owned())
        .stack_size(STACK);
    let started = builder.spawn(work).map(drop);
    started.map_err(|error| Obstacle::starting("a thread", &error))
}
