//! Running tasks: one thread owns the database and loops *start → commit and claim → receive → check deadlines*; a thread
//! for each handler reads its output and reports when it is over.
//!
//! No transaction is open while the worker waits for handlers, and handlers go on while one is. What is claimed and not
//! started goes back when it turns out to wait. An attempt is begun at most once: that it is, is noted in the worker's locked
//! file before ([`lock`](crate::lock)); what was claimed and not noted runs after a crash as if nothing had been.

mod claimant;
mod execution;
mod function;
mod handler;
mod mask;
mod output;
mod process;
pub(crate) mod protocol;
mod queue;
mod record;
mod recovery;
mod resident;
mod starter;

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub(crate) use output::{LiveEvent, Watch};
pub(crate) use recovery::recover_dead_workers;
pub(crate) use starter::check_program;

use claimant::{Changes, Claimant, Committed};
use execution::{Execution, Finished, Moment, NewOutput, Outcome, StopReason};
use handler::{Event, Handler, Obstacle, STOP_TIMEOUT, What};
use queue::Queue;
use starter::{Place, Starter, place};

use crate::context::Context;
use crate::error::Result;
use crate::model::issue::Issue;
use crate::model::summary::Summary;

/// How long a call of [`Worker::run_ready`] takes while handlers are at work.
const TURN: Duration = Duration::from_secs(1);
/// How long output waits before it is in the database, and a deadline before it is noticed.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// How long an end waits for others to be committed together with it.
const GATHER_TIME: Duration = Duration::from_millis(20);
/// How long a task stays claimed without being started.
const SPARE_TIME: Duration = Duration::from_millis(500);
/// Which tasks to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All that are ready, as many at once as `task.max_running` allows over all workers.
    Ready,
    /// This one, whatever its status.
    Id(i64),
}

/// Runs tasks, for as long as a tick lasts. It is a row in the database from its first claim on.
pub(crate) struct Worker<'a> {
    ctx: Context<'a>,
    claimant: Claimant<'a>,
    starter: Starter<'a>,
    queue: Queue,
    handlers: Vec<Handler>,
    /// Over, and not in the database yet.
    finished: Vec<Finished>,
    events: Receiver<Event>,
    stops_checked_at: Duration,
    /// From when on it starts nothing more, if there is such a time.
    pub(crate) starts_until: Option<Duration>,
    /// Whether the machine had no room for a process, thread or file: then this worker starts nothing more.
    is_out_of_resources: bool,
}

impl<'a> Worker<'a> {
    /// Nothing is claimed yet. `watch` is shown what the handlers print.
    pub(crate) fn new(ctx: Context<'a>, selection: Selection, watch: Option<Watch>) -> Self {
        let (sender, events) = channel();
        Self {
            ctx,
            claimant: Claimant::new(ctx, selection),
            starter: Starter::new(ctx, watch, sender),
            queue: Queue::default(),
            handlers: Vec::new(),
            finished: Vec::new(),
            events,
            stops_checked_at: Duration::ZERO,
            starts_until: None,
            is_out_of_resources: false,
        }
    }

    /// Runs what is ready. Comes back when nothing is left to do, or after about a second while handlers are at work.
    pub(crate) fn run_ready(&mut self, summary: &mut Summary) -> Result<()> {
        self.ctx.shutdown.listen()?;
        // A resident handler may have ended meanwhile.
        while let Ok(event) = self.events.try_recv() {
            self.handle(event, summary);
        }
        self.queue.may_be_more = !self.is_stopping() && self.claimant.has_ready()?;
        if !self.queue.may_be_more && !self.is_at_work() {
            return Ok(());
        }
        self.starter.read_methods()?;
        let until = self.elapsed() + TURN;
        while self.turn(summary)? && self.elapsed() < until {}
        Ok(())
    }

    /// Whether tasks are under way, or their ends not in the database yet.
    pub(crate) fn is_at_work(&self) -> bool {
        self.busy() > 0
            || !self.finished.is_empty()
            || !self.queue.is_empty()
            || self.unstarted() > 0
    }

    /// Waits for all tasks that are under way, ends resident handlers, and signs off.
    pub(crate) fn finish(mut self, summary: &mut Summary) -> Result<()> {
        while self.is_at_work() {
            self.turn(summary)?;
        }
        while !self.handlers.is_empty() {
            let elapsed = self.elapsed();
            self.handlers
                .iter_mut()
                .for_each(|handler| handler.close(elapsed));
            self.receive(summary);
            self.check_deadlines();
        }
        self.claimant.sign_off(&self.queue.unstarted())
    }

    /// Whether there may be something to do after it.
    fn turn(&mut self, summary: &mut Summary) -> Result<bool> {
        self.check_shutdown();
        self.start_claimed(summary);
        if self.commit_is_due() {
            self.commit(summary)?;
            return Ok(true);
        }
        if !self.is_at_work() {
            return Ok(false);
        }
        self.receive(summary);
        self.check_stops()?;
        self.check_deadlines();
        Ok(true)
    }

    fn elapsed(&self) -> Duration {
        self.ctx.clock.elapsed()
    }

    /// Whether nothing more is started.
    fn is_stopping(&self) -> bool {
        let is_late = self
            .starts_until
            .is_some_and(|until| self.elapsed() >= until);
        is_late || self.is_out_of_resources || self.ctx.shutdown.is_requested()
    }

    /// How many slots are in use.
    fn busy(&self) -> usize {
        let busy = self.handlers.iter().filter(|handler| handler.is_busy());
        busy.count()
    }

    /// How many claimed tasks wait to be started.
    fn unstarted(&self) -> usize {
        self.queue.tasks.len() + self.starter.calls.lock().len()
    }

    /// How many more tasks the handlers that are at work take.
    fn room(&self) -> usize {
        let busy = self.handlers.iter().filter(|handler| handler.is_busy());
        busy.map(Handler::room).sum()
    }

    fn held(&self) -> impl Iterator<Item = &Execution> {
        self.handlers.iter().flat_map(|handler| &handler.held)
    }

    fn commit_is_due(&self) -> bool {
        let elapsed = self.elapsed();
        if let Some((_, retry_at)) = self.claimant.unavailable {
            return elapsed >= retry_at;
        }
        let since = elapsed.saturating_sub(self.claimant.committed_at);
        let has_place = self.busy() < self.claimant.slots
            || self.claimant.registration.is_none()
            || self.handlers.iter().any(Handler::runs_low);
        let is_hungry = has_place && self.unstarted() == 0 && !self.is_stopping();
        // Early enough that the handlers have something to do meanwhile.
        let runs_low = self.queue.may_be_more && self.queue.runs_low(self.unstarted());
        let has_ends = !self.finished.is_empty();
        (is_hungry && (has_ends || self.queue.may_be_more))
            || (has_ends && (runs_low || since >= GATHER_TIME))
            || self.has_to_return()
            || (since >= FLUSH_INTERVAL
                && self
                    .held()
                    .any(|execution| execution.output.lock().is_unwritten()))
    }

    fn has_to_return(&self) -> bool {
        !self.queue.returned.is_empty() || (self.is_stale() && self.unstarted() > 0)
    }

    /// Whether what is claimed and not started goes back.
    fn is_stale(&self) -> bool {
        self.is_stopping() || self.elapsed().saturating_sub(self.queue.claimed_at) >= SPARE_TIME
    }

    /// Writes what there is to write, and claims. Nothing that the worker knows changes before it is committed: a database
    /// that others hold, or whose disk is full, is tried again while handlers are at work.
    fn commit(&mut self, summary: &mut Summary) -> Result<()> {
        let gives_back = self.is_stale() && self.has_to_return();
        if gives_back {
            self.retract_calls();
            self.queue.return_all();
            // Else the same would be claimed at once: another turn may find more for it.
            self.queue.may_be_more = false;
        }
        let outputs: Vec<_> = self.held().filter_map(Execution::new_output).collect();
        let wants_more = self.queue.may_be_more || (!self.finished.is_empty() && !gives_back);
        let may_claim = wants_more && !self.is_stopping() && !self.queue.is_full();
        let changes = Changes {
            finished: &self.finished,
            outputs: &outputs,
            returned: &self.queue.returned,
            busy: self.busy(),
            queued: self.unstarted(),
            room: may_claim.then(|| self.room()),
        };
        match self.claimant.commit(&changes) {
            Ok(committed) => {
                summary.add(self.take_over(committed, &outputs));
                Ok(())
            }
            Err(error) if error.is_temporary() && self.can_wait() => {
                self.claimant.suspend(&error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Brings what the worker knows up to what was committed; what became of the finished attempts.
    fn take_over(&mut self, committed: Committed, outputs: &[NewOutput]) -> Summary {
        let registration = self.claimant.registration.as_mut();
        let registration = registration.expect("a commit registers the worker");
        for finished in self.finished.drain(..) {
            registration.free(&finished.note);
        }
        let handlers = self.handlers.iter_mut();
        for execution in handlers.flat_map(|handler| &mut handler.held) {
            let id = execution.task.id;
            if let Some(written) = outputs.iter().find(|output| output.task == id) {
                execution.output.lock().mark_written(&written.unwritten);
            }
            if let Some((_, reason)) = committed.refused.iter().find(|(task, _)| *task == id) {
                execution.refused = Some(reason.clone());
            }
        }
        self.queue.returned.clear();
        self.queue.may_be_more = committed.may_be_more;
        self.queue.add(committed.claims, self.ctx.clock.elapsed());
        committed.summary
    }

    /// Whether something would be lost by giving up now. A worker that is shut down does not wait for ever.
    fn can_wait(&self) -> bool {
        let now = self.elapsed();
        let since = self.claimant.unavailable.map_or(now, |(since, _)| since);
        let is_patient = !self.ctx.shutdown.is_requested() || now < since + STOP_TIMEOUT;
        self.claimant.registration.is_some() && self.is_at_work() && is_patient
    }

    /// Starts what is claimed, as far as there are slots. What finds none keeps its turn.
    fn start_claimed(&mut self, summary: &mut Summary) {
        if self.busy() < self.claimant.slots {
            // The thread that would have come to them has ended.
            self.retract_calls();
        }
        let methods = self.starter.methods();
        let mut next = 0;
        while !self.is_stopping() && next < self.queue.tasks.len() {
            let is_free = self.busy() < self.claimant.slots;
            let task = &self.queue.tasks[next];
            let method = methods.of_task(&task.method, task.command.as_deref()).ok();
            let place = match &method {
                Some(method) => place(method, &self.handlers, is_free),
                None => Some(Place::New).filter(|_| is_free),
            };
            let Some(place) = place.filter(|place| *place != Place::Call || next == 0) else {
                if self.room() == 0 {
                    break;
                }
                next += 1;
                continue;
            };
            let task = self.queue.tasks.remove(next).expect("it was looked at");
            if method.is_some_and(|method| self.queue.suspend(&task, &method.name)) {
                continue;
            }
            let registration = self.claimant.registration.as_mut();
            let registration = registration.expect("who has claimed is registered");
            let started = self
                .starter
                .start(task, &mut self.handlers, place, registration);
            if let Err(failed) = started {
                let (execution, obstacle) = *failed;
                self.not_begun(execution, obstacle, summary);
            }
        }
    }

    /// Takes back the functions that no thread has begun to call.
    fn retract_calls(&mut self) {
        let waiting = std::mem::take(&mut *self.starter.calls.lock());
        for execution in waiting.into_iter().rev() {
            self.put_back(execution);
        }
    }

    /// The task of an execution that was not begun is the next to be started.
    fn put_back(&mut self, execution: Execution) {
        let registration = self.claimant.registration.as_mut();
        let registration = registration.expect("who has claimed is registered");
        self.queue.tasks.push_front(execution.unbegun(registration));
    }

    /// Its task waits for another handler, if this is no reason to fail.
    fn not_begun(&mut self, execution: Execution, obstacle: Obstacle, summary: &mut Summary) {
        match obstacle {
            Obstacle::Gone => {}
            Obstacle::Shortage(reason) => {
                let task = execution.task.id;
                let message = format!("task {task}: {reason}; it stays pending");
                summary.report(Issue::of_run(message));
                self.is_out_of_resources = true;
            }
            Obstacle::Defect(reason) => {
                let now = Moment::now(self.ctx.clock);
                self.finished
                    .push(execution.finish(Outcome::failed(reason), now));
                return;
            }
        }
        self.put_back(execution);
    }

    /// Waits for something to happen to a handler, and takes in all that has.
    fn receive(&mut self, summary: &mut Summary) {
        let wait = if self.finished.is_empty() || self.claimant.unavailable.is_some() {
            FLUSH_INTERVAL
        } else {
            GATHER_TIME
        };
        let mut event = self.events.recv_timeout(wait).ok();
        while let Some(happened) = event {
            self.handle(happened, summary);
            event = self.events.try_recv().ok();
        }
    }

    fn handle(&mut self, event: Event, summary: &mut Summary) {
        let number = event.handler;
        let found = self
            .handlers
            .iter()
            .position(|handler| handler.number == number);
        // Nobody waits any more for a function that was given up.
        let Some(index) = found else { return };
        let (handler, at) = (&mut self.handlers[index], event.at);
        match event.what {
            What::Begun(mut execution) => {
                execution.started = at.elapsed;
                handler.hold(*execution);
            }
            What::Over(task, end) => {
                handler.done += 1;
                let execution = handler.take(task, at.elapsed);
                self.finished
                    .extend(execution.map(|execution| execution.finish(end, at)));
            }
            What::OutputClosed => handler.terminate(at.elapsed),
            What::NotBegun(tasks, obstacle) => {
                handler.close_input();
                let taken = tasks.into_iter().rev();
                let taken: Vec<Execution> = taken
                    .filter_map(|task| handler.take(task, at.elapsed))
                    .collect();
                for execution in taken {
                    self.not_begun(execution, obstacle.clone(), summary);
                }
            }
            What::Exited(end) => {
                let handler = self.handlers.swap_remove(index);
                match end {
                    Ok(end) => self.exited(handler, &end, at, summary),
                    Err(obstacle) => {
                        for execution in handler.held.into_iter().rev() {
                            self.not_begun(execution, obstacle.clone(), summary);
                        }
                    }
                }
            }
        }
    }

    /// A process has ended, or a function returned, and with it what it held.
    fn exited(&mut self, handler: Handler, end: &Outcome, at: Moment, summary: &mut Summary) {
        if let Some(method) = handler.resident_method() {
            let was_of_use = handler.done > 0 || !handler.is_busy();
            if let Some(message) = self.queue.note_death(method, was_of_use) {
                summary.report(Issue::of_run(message));
            }
        }
        let is_process = handler.is_process();
        for execution in handler.held {
            let is_ended = is_process && execution.stop_reason.is_some();
            if let (true, Some(registration)) = (is_ended, &self.claimant.registration) {
                recovery::kill_orphans(&registration.mark(), execution.task.id);
            }
            self.finished.push(execution.finish(end.clone(), at));
        }
    }

    /// After a shutdown was requested nothing more is started, and what is under way is ended.
    fn check_shutdown(&mut self) {
        if self.ctx.shutdown.is_requested() {
            let elapsed = self.elapsed();
            let busy = self.handlers.iter_mut().filter(|handler| handler.is_busy());
            busy.for_each(|handler| handler.stop(None, StopReason::Shutdown, elapsed));
        }
    }

    /// Ends the tasks that somebody asked to end.
    fn check_stops(&mut self) -> Result<()> {
        let elapsed = self.elapsed();
        if elapsed < self.stops_checked_at + FLUSH_INTERVAL {
            return Ok(());
        }
        self.stops_checked_at = elapsed;
        for (task, stop) in self.claimant.stop_requests()? {
            self.retract_calls();
            self.queue.return_task(task);
            let holds =
                |handler: &&mut Handler| handler.held.iter().any(|held| held.task.id == task);
            let holding = self.handlers.iter_mut().filter(holds);
            holding
                .for_each(|handler| handler.stop(Some(task), StopReason::Requested(stop), elapsed));
        }
        Ok(())
    }

    /// Time limits, and what was asked to end and has not.
    fn check_deadlines(&mut self) {
        let now = Moment::now(self.ctx.clock);
        let gives_up = |handler: &mut Handler| handler.check_deadline(now.elapsed);
        for handler in self.handlers.extract_if(.., gives_up) {
            // Its function's answer, should it come, counts for nothing.
            let held = handler.held.into_iter();
            self.finished
                .extend(held.map(|held| held.finish(Outcome::completed(), now)));
        }
    }
}

/// When the database has failed, nothing that the handlers do from here on could be noted.
impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.starter.calls.lock().clear();
        self.handlers.iter().for_each(Handler::kill);
    }
}
