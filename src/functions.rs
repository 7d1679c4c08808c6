//! Methods that are functions of the program that embeds this library.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use runner::functions::{App, Task};
//! use serde_json::{Value, json};
//!
//! fn count(task: &mut Task) -> Result<Value, String> {
//!     let text = task.params()["text"].as_str().ok_or("params.text is missing")?.to_owned();
//!     task.info(format!("counting {} bytes", text.len()));
//!     Ok(json!({"words": text.split_whitespace().count()}))
//! }
//!
//! fn main() -> ExitCode {
//!     App::new().method("Text:count", count).main()
//! }
//! ```

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::handler::protocol::Message;
use crate::json::Json;
use crate::model::task::{Progress, Severity};

/// What a function answers: a result for the task, or why it could not come to its end.
type Answer = Result<Value, String>;
type Function = Arc<dyn Fn(&mut Task) -> Answer + Send + Sync>;

/// The functions that a program has registered.
#[derive(Clone, Default)]
pub struct Functions(HashMap<String, Function>);

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Functions {
    /// Registers a function as a method, in place of whatever the database has under that name.
    ///
    /// It runs on a thread of its own. `Ok` is COMPLETED, with the value as the task's result unless it is null; `Err`
    /// is FAILED, with the error in the task's log; a panic is INTERRUPTED. A time limit or `task stop` cannot end a
    /// thread: the function asks [`Task::should_stop`].
    pub fn add<E: Display>(
        &mut self,
        name: impl Into<String>,
        function: impl Fn(&mut Task) -> Result<Value, E> + Send + Sync + 'static,
    ) {
        let function = move |task: &mut Task| function(task).map_err(|error| error.to_string());
        self.0.insert(name.into(), Arc::new(function));
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Function> {
        self.0.get(name).cloned()
    }
}

/// A program that has the whole command line of `runner`, and methods of its own.
#[derive(Debug, Default)]
pub struct App {
    functions: Functions,
}

impl App {
    /// A program with no methods of its own yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a function as a method: see [`Functions::add`].
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
        crate::cli::run(std::env::args_os(), self.functions)
    }
}

/// A task, as the function that does its work sees it.
pub struct Task {
    pub(crate) given: Given,
    pub(crate) say: Box<dyn FnMut(Message) + Send>,
}

/// What a function is given.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) id: i64,
    pub(crate) method: String,
    pub(crate) params: Json,
    pub(crate) hidden_params: Option<Json>,
    pub(crate) document: Option<Json>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) attempt: u32,
    pub(crate) limited: bool,
    pub(crate) stop: Arc<AtomicBool>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.given.id)
            .field("method", &self.given.method)
            .finish_non_exhaustive()
    }
}

impl Task {
    /// Its id.
    pub fn id(&self) -> i64 {
        self.given.id
    }

    /// The name that it was added with.
    pub fn method(&self) -> &str {
        &self.given.method
    }

    /// What it was given.
    pub fn params(&self) -> Value {
        self.given.params.value()
    }

    /// What it was given and nobody may see; null when there is nothing.
    pub fn hidden_params(&self) -> Value {
        self.given
            .hidden_params
            .as_ref()
            .map_or(Value::Null, Json::value)
    }

    /// The document that it is about, as it was when the task was started; null when there is none.
    pub fn document(&self) -> Value {
        self.given
            .document
            .as_ref()
            .map_or(Value::Null, Json::value)
    }

    /// The file that was given with it.
    pub fn file(&self) -> Option<&Path> {
        self.given.file.as_deref()
    }

    /// 1 the first time, then counted up.
    pub fn attempt(&self) -> u32 {
        self.given.attempt
    }

    /// Whether somebody wants it to end: then the sooner it returns the better. What it answers then does not count.
    pub fn should_stop(&self) -> bool {
        self.given.stop.load(Ordering::Relaxed)
    }

    /// Logs something that happened.
    pub fn info(&mut self, message: impl Into<String>) {
        self.log(Severity::Info, message, None);
    }

    /// Logs something that may be wrong.
    pub fn warning(&mut self, message: impl Into<String>) {
        self.log(Severity::Warning, message, None);
    }

    /// Logs something that went wrong; the task need not end because of it.
    pub fn error(&mut self, message: impl Into<String>) {
        self.log(Severity::Error, message, None);
    }

    /// Logs something with details.
    pub fn log(&mut self, level: Severity, message: impl Into<String>, details: Option<&Value>) {
        (self.say)(Message::Log {
            level,
            message: message.into(),
            details: details.map(Json::from),
        });
    }

    /// Says how far it is.
    pub fn progress(&mut self, progress: Progress) {
        (self.say)(Message::Progress(progress));
    }

    /// Says something to who watches; it is kept nowhere.
    pub fn debug(&mut self, message: impl Into<String>) {
        (self.say)(Message::Debug(message.into()));
    }

    /// Hands a file back as the task's output.
    pub fn hand_back(&mut self, file: impl Into<PathBuf>) {
        (self.say)(Message::File(file.into()));
    }
}
