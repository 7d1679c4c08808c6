//! Methods that are functions of this program. A thread calls one after another until none waits: that a task is over
//! needs no answer of the worker's before the next one begins.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::execution::{Execution, Outcome};
use super::handler::{Obstacle, Reporter, What};
use crate::functions::{Function, Task};
use crate::json::Json;
use crate::model::message::HandlerMessage;
use crate::model::task::Status;

/// The tasks that wait for a thread to call their functions, shared by all such threads of a worker.
#[derive(Clone, Default)]
pub(super) struct Calls(Arc<Mutex<VecDeque<Execution>>>);

impl Calls {
    pub(super) fn lock(&self) -> MutexGuard<'_, VecDeque<Execution>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls what waits, until nothing does or a function was asked to stop: by then it may have been given up, and its
    /// slot be another's.
    pub(super) fn run(&self, reporter: &Reporter) -> Result<Outcome, Obstacle> {
        loop {
            let next = self.lock().pop_front();
            let Some(mut execution) = next else { break };
            let function = execution.function.take();
            let function = function.expect("no other task waits here");
            if let Err(error) = execution.note.write(None) {
                let task = execution.task.id;
                reporter.send(What::Begun(Box::new(execution)));
                reporter.send(What::NotBegun(vec![task], Obstacle::noting(&error)));
                break;
            }
            let (id, stop) = (execution.task.id, Arc::clone(&execution.stop));
            let (input, mask) = (execution.function_input(), execution.mask.clone());
            let output = execution.output.clone();
            reporter.send(What::Begun(Box::new(execution)));
            let log = move |message| output.lock().add(mask.message(message));
            let mut task = Task {
                input,
                send: Box::new(log),
            };
            reporter.send(What::Over(id, call(&function, &mut task)));
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        // It holds nothing that could end with it.
        Ok(Outcome::completed())
    }
}

fn call(function: &Function, task: &mut Task) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| function(task))) {
        Ok(Ok(value)) => {
            if !value.is_null() {
                (task.send)(HandlerMessage::Result(Json::from(&value)));
            }
            Outcome::completed()
        }
        Ok(Err(error)) => Outcome::failed(error),
        Err(panic) => Outcome {
            status: Status::Interrupted,
            exit_code: None,
            reason: Some(format!("its function panicked: {}", message_of(&*panic))),
        },
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it did not say why".to_owned())
}
