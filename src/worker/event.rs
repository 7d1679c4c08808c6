//! What the threads tell the worker. What a handler says is no event: it is in the attempt's output.

use std::io;
use std::sync::mpsc::Sender;

use super::execution::{End, Moment};
use super::process::cannot_start;
use crate::clock::Clock;
use crate::error::is_shortage;

/// Something that happened to a handler.
pub(super) struct Event {
    /// The number of the handler.
    pub(super) handler: u64,
    pub(super) at: Moment,
    pub(super) what: What,
}

pub(super) enum What {
    /// The process could not be started.
    NotStarted(Obstacle),
    /// The handler is done with this execution.
    Over(u64, End),
    /// These executions were not begun, and never will be by this handler.
    NotBegun(Vec<u64>, Obstacle),
    /// A resident handler has closed its output, and cannot say any more what it is done with.
    OutputClosed,
    /// The process has ended, and with it what it was at.
    Exited(End),
}

/// What keeps an execution from being begun.
#[derive(Debug, Clone)]
pub(super) enum Obstacle {
    /// The handler takes no more: another one may.
    Gone,
    /// The machine has no room now.
    Shortage(String),
    /// Something is wrong with the handler.
    Failure(String),
}

impl Obstacle {
    /// A program could not be started.
    pub(super) fn starting(name: &str, error: &io::Error) -> Self {
        let reason = cannot_start(name, error);
        match is_shortage(error) {
            true => Self::Shortage(reason),
            false => Self::Failure(reason),
        }
    }

    /// Without the note that it was started, nothing is.
    pub(super) fn noting(error: &io::Error) -> Self {
        Self::Shortage(format!("its start cannot be noted: {error}"))
    }
}

/// Sends the events of a handler.
#[derive(Clone)]
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
        // A worker that has given up listens no more.
        let _ = self.events.send(event);
    }
}
