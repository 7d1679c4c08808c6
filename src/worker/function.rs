//! A handler that is a function of this program, called on a thread of its own for each task.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::execution::{End, Execution};
use super::handler::Obstacle;
use super::mask::Mask;
use super::output::SharedOutput;
use crate::functions::{Function, Task, TaskInput};
use crate::json::Json;
use crate::lock::StartNote;
use crate::model::message::Message;
use crate::model::task::Status;

pub(super) struct Call {
    function: Function,
    note: StartNote,
    input: TaskInput,
    output: SharedOutput,
    mask: Mask,
}

impl Call {
    pub(super) fn new(execution: &Execution, function: Function) -> Self {
        Self {
            function,
            note: execution.note.clone(),
            input: execution.function_input(),
            output: execution.output.clone(),
            mask: execution.mask.clone(),
        }
    }

    pub(super) fn run(mut self) -> Result<End, Obstacle> {
        self.note.write(None).map_err(|e| Obstacle::noting(&e))?;
        let (output, mask) = (self.output.clone(), self.mask.clone());
        let say = Box::new(move |message| output.lock().add(mask.message(message)));
        let mut task = Task {
            input: self.input,
            say,
        };
        Ok(
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
                    reason: Some(format!("its function panicked: {}", message_of(&*panic))),
                },
            },
        )
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it did not say why".to_owned())
}
