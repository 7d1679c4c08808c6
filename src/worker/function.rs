//! Methods that are functions of this program: each thread calls one after the other.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::event::{Obstacle, Reporter, What};
use super::execution::End;
use super::lock::{StartNote, StartNotes};
use super::mask::Mask;
use super::output::SharedOutput;
use crate::functions::{Function, Task, TaskInput};
use crate::json::Json;
use crate::model::message::Message;
use crate::model::task::Status;

/// A task for a function.
pub(super) struct Call {
    pub(super) execution: u64,
    pub(super) function: Function,
    pub(super) input: TaskInput,
    pub(super) output: SharedOutput,
    pub(super) mask: Mask,
    pub(super) notes: StartNotes,
    pub(super) place: usize,
}

/// The calls of a thread. The thread ends with this, or with the call that it is at then.
pub(super) struct Calls(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Call>,
    running: Option<u64>,
    is_closed: bool,
}

impl Calls {
    /// Starts a thread.
    pub(super) fn start(reporter: Reporter) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let calls = Self(Arc::clone(&shared));
        thread::Builder::new()
            .name("method".to_owned())
            .spawn(move || shared.run(&reporter))?;
        Ok(calls)
    }

    pub(super) fn push(&self, call: Call) {
        self.0.lock().waiting.push_back(call);
        self.0.changed.notify_one();
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.0.lock().waiting.is_empty()
    }

    /// Takes back those of these executions that were not begun.
    pub(super) fn take_back(&self, is_wanted: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut taken = Vec::new();
        self.0.lock().waiting.retain(|call| {
            let back = is_wanted(call.execution);
            taken.extend(back.then_some(call.execution));
            !back
        });
        taken
    }

    /// Has the thread begin nothing more, if it is still at this execution. Whether it is.
    pub(super) fn give_up(&self, execution: u64) -> bool {
        let mut state = self.0.lock();
        state.is_closed |= state.running == Some(execution);
        state.is_closed
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, reporter: &Reporter) {
        while let Some(call) = self.next() {
            let execution = call.execution;
            reporter.send(match call.note() {
                Ok(()) => What::Over(execution, call.run()),
                Err(error) => What::NotBegun(vec![execution], Obstacle::noting(&error)),
            });
        }
    }

    fn next(&self) -> Option<Call> {
        let mut state = self.lock();
        state.running = None;
        while !state.is_closed {
            if let Some(call) = state.waiting.pop_front() {
                state.running = Some(call.execution);
                return Some(call);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        None
    }
}

impl Call {
    fn note(&self) -> io::Result<()> {
        let note = StartNote {
            task: self.input.id,
            attempt: self.input.attempt,
            process: None,
        };
        self.notes.write(self.place, &note)
    }

    fn run(self) -> End {
        let (output, mask) = (self.output.clone(), self.mask.clone());
        let say = Box::new(move |message| output.lock().add(mask.message(message)));
        let mut task = Task {
            input: self.input,
            say,
        };
        match catch_unwind(AssertUnwindSafe(|| (self.function)(&mut task))) {
            Ok(Ok(value)) => {
                if !value.is_null() {
                    let result = Message::Result(Json::from(&value));
                    self.output.lock().add(self.mask.message(result));
                }
                End::completed()
            }
            Ok(Err(error)) => End::failed(error),
            Err(panic) => End {
                status: Status::Interrupted,
                exit_code: None,
                reason: Some(format!(
                    "its function panicked: {}",
                    message_of(panic.as_ref())
                )),
            },
        }
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it did not say why".to_owned())
}
