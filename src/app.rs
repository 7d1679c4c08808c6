//! A program with the whole command line of `runner`, and methods of its own.

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::process::ExitCode;

use serde_json::Value;

use crate::functions::{Functions, Task};
use crate::shutdown::unblock_signals;

/// A program that has the whole command line of `runner`, with functions of its own as methods.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use runner::{App, Task};
/// use serde_json::{Value, json};
///
/// fn count(task: &mut Task) -> Result<Value, String> {
///     let text = task.params()["text"].as_str().ok_or("params.text is missing")?.to_owned();
///     task.info(format!("counting {} bytes", text.len()));
///     Ok(json!({"words": text.split_whitespace().count()}))
/// }
///
/// fn main() -> ExitCode {
///     App::new().method("Text:count", count).main()
/// }
/// ```
#[derive(Debug, Default)]
pub struct App {
    functions: Functions,
}

impl App {
    /// A program with no methods of its own yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a function as a method, in place of whatever the database has under that name.
    ///
    /// It is called on a thread of a tick. `Ok` is COMPLETED, with the value as the task's result unless it is null; `Err`
    /// is FAILED, with the error in the task's log; a panic is INTERRUPTED. A time limit or `task stop` cannot end a
    /// thread: the function asks [`Task::should_stop`], and is given up when it has not returned 10 seconds later.
    #[must_use]
    pub fn method<E: Display>(
        mut self,
        name: impl Into<String>,
        function: impl Fn(&mut Task) -> Result<Value, E> + Send + Sync + 'static,
    ) -> Self {
        self.functions.add(name, function);
        self
    }

    /// Runs the command line of this process.
    pub fn main(self) -> ExitCode {
        unblock_signals();
        crate::cli::run(std::env::args_os(), self.functions)
    }
}
