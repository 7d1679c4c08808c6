//! Starting what is claimed, each task by the kind of handler that its method has.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::event::{Event, Obstacle, Reporter};
use super::execution::{End, Execution, Finished, Moment};
use super::handler::Handler;
use super::lock::WorkerLock;
use super::output::Watch;
use super::process::{Launcher, WORKER_ENV};
use crate::clock::Clock;
use crate::context::Context;
use crate::error::Result;
use crate::model::method::{Method, Methods};
use crate::store::task_claim::ClaimedTask;

pub(super) struct Starter<'a> {
    ctx: Context<'a>,
    launcher: Launcher,
    methods: Arc<Methods>,
    watch: Option<Watch>,
    events: Sender<Event>,
    /// The number of the last handler or execution.
    last_number: u64,
}

/// What came of starting a task.
pub(super) enum Started {
    /// A handler has it.
    Begun,
    /// There is no place for it now.
    Waits(ClaimedTask),
    /// The machine has no room for it now.
    Short(ClaimedTask, String),
    /// It has failed before anything was started for it.
    Failed(Finished),
}

/// Where a task is done.
enum Place {
    /// By the handler of this number.
    With(u64),
    New,
}

impl<'a> Starter<'a> {
    pub(super) fn new(ctx: Context<'a>, watch: Option<Watch>, events: Sender<Event>) -> Self {
        Self {
            ctx,
            launcher: Launcher::new(ctx.store, watch.is_some()),
            methods: Arc::default(),
            watch,
            events,
            last_number: 0,
        }
    }

    /// Reads which methods there are now.
    pub(super) fn read_methods(&mut self) -> Result<()> {
        self.methods = Arc::new(self.ctx.methods()?);
        Ok(())
    }

    pub(super) fn methods(&self) -> Arc<Methods> {
        Arc::clone(&self.methods)
    }

    /// Starts a task, when a slot is free or a handler at work takes it.
    pub(super) fn start(
        &mut self,
        task: ClaimedTask,
        method: &Method,
        handlers: &mut Vec<Handler>,
        (lock, is_free): (&mut WorkerLock, bool),
    ) -> Started {
        let Some(place) = place_for(method, handlers, is_free) else {
            return Started::Waits(task);
        };
        let number = self.next_number();
        let execution = match Execution::prepare(&self.ctx, lock, method, number, task) {
            Ok(execution) => execution,
            Err((task, error)) if error.is_shortage() => {
                return Started::Short(task, error.to_string());
            }
            Err((task, error)) => {
                let retries = task.retries.unwrap_or(method.retries);
                let failed = Finished::unstarted(task, retries, error.to_string(), self.ctx.clock);
                return Started::Failed(failed);
            }
        };
        execution.output.lock().watch.clone_from(&self.watch);
        let refused = if method.native || method.resident {
            self.give(execution, method, handlers, (lock, place))
        } else {
            self.start_process(execution, method, handlers, lock)
        };
        match refused {
            Ok(()) => Started::Begun,
            Err((execution, obstacle)) => obstacle.meet(execution, lock, self.ctx.clock),
        }
    }

    fn start_process(
        &mut self,
        execution: Execution,
        method: &Method,
        handlers: &mut Vec<Handler>,
        lock: &WorkerLock,
    ) -> Result<(), (Execution, Obstacle)> {
        let (argv, variables) = (
            method.argv(&execution.task.method),
            variables(lock, Some(&execution)),
        );
        let reporter = self.reporter();
        let started = self
            .launcher
            .program(&argv, &variables)
            .and_then(|program| Handler::start_task(&execution, program, lock.notes(), reporter));
        match started {
            Ok(mut handler) => {
                handler.hold(execution);
                handlers.push(handler);
                Ok(())
            }
            Err(obstacle) => Err((execution, obstacle)),
        }
    }

    /// Gives a task to a handler that takes many.
    fn give(
        &mut self,
        execution: Execution,
        method: &Method,
        handlers: &mut Vec<Handler>,
        (lock, place): (&WorkerLock, Place),
    ) -> Result<(), (Execution, Obstacle)> {
        let number = match place {
            Place::With(number) => number,
            Place::New => match self.start_shared(method, lock) {
                Ok(handler) => {
                    handlers.push(handler);
                    self.last_number
                }
                Err(obstacle) => return Err((execution, obstacle)),
            },
        };
        let handler = handlers.iter_mut().find(|handler| handler.number == number);
        let handler = handler.expect("it was found or made just now");
        match self
            .ctx
            .functions
            .get(&method.name)
            .filter(|_| method.native)
        {
            Some(function) => {
                handler.call(execution, function, lock.notes());
                Ok(())
            }
            None => {
                let line = execution.input_line(self.ctx.clock.now());
                let delivered = handler.deliver(execution, line);
                delivered.map_err(|execution| (execution, Obstacle::Gone))
            }
        }
    }

    fn start_shared(&mut self, method: &Method, lock: &WorkerLock) -> Result<Handler, Obstacle> {
        let reporter = self.reporter();
        if method.native {
            return Handler::start_functions(reporter);
        }
        let program = self
            .launcher
            .program(&method.command, &variables(lock, None))?;
        Handler::start_resident(method, program, lock.notes(), reporter)
    }

    fn reporter(&mut self) -> Reporter {
        Reporter {
            handler: self.next_number(),
            clock: *self.ctx.clock,
            events: self.events.clone(),
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

impl Obstacle {
    /// What becomes of an execution that it keeps from being begun.
    pub(super) fn meet(
        self,
        execution: Execution,
        lock: &mut WorkerLock,
        clock: &Clock,
    ) -> Started {
        match self {
            Self::Gone => Started::Waits(execution.unbegun(lock)),
            Self::Shortage(reason) => Started::Short(execution.unbegun(lock), reason),
            Self::Failure(reason) => {
                let failed = execution.finish(End::failed(reason), Moment::now(clock));
                Started::Failed(failed)
            }
        }
    }
}

/// A handler that is at work is doubled, while slots are free, before it is given more.
fn place_for(method: &Method, handlers: &[Handler], is_free: bool) -> Option<Place> {
    let serving = |handler: &&Handler| {
        handler.serves(method) && handler.room() > 0 && handler.is_busy() != is_free
    };
    let serving = handlers.iter().filter(serving);
    match serving.min_by_key(|handler| handler.held.len()) {
        Some(handler) => Some(Place::With(handler.number)),
        None => is_free.then_some(Place::New),
    }
}

/// The variables of a handler; a resident one is of no one task.
fn variables(lock: &WorkerLock, execution: Option<&Execution>) -> Vec<(&'static str, OsString)> {
    let mut variables: Vec<(&str, OsString)> = vec![(WORKER_ENV, lock.mark().into())];
    if let Some(execution) = execution {
        let task = &execution.task;
        variables.push(("RUNNER_TASK", task.id.to_string().into()));
        variables.push(("RUNNER_METHOD", task.method.clone().into()));
        let document = task.document.map(|id| id.to_string());
        variables.extend(document.map(|id| ("RUNNER_DOCUMENT", id.into())));
        variables.extend(execution.file().map(|file| ("RUNNER_FILE", file.into())));
    }
    variables
}
