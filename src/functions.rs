//! Methods that are functions of the program that embeds this library.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::error;
use crate::json::Json;
use crate::model::message::HandlerMessage;
use crate::model::method::Methods;
use crate::model::task::{Progress, Severity};
use crate::store::Store;

/// What a function answers: a result for the task, or why it could not come to its end.
pub(crate) type Answer = Result<Value, String>;
pub(crate) type Function = Arc<dyn Fn(&mut Task) -> Answer + Send + Sync>;

/// The functions that a program has registered.
#[derive(Clone, Default)]
pub(crate) struct Functions(HashMap<String, Function>);

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Functions {
    /// Registers a function as a method.
    pub(crate) fn add<E: Display>(
        &mut self,
        name: impl Into<String>,
        function: impl Fn(&mut Task) -> Result<Value, E> + Send + Sync + 'static,
    ) {
        let function = move |task: &mut Task| function(task).map_err(|error| error.to_string());
        self.0.insert(name.into(), Arc::new(function));
    }

    /// All methods that a task can have: those that are registered in a database, and these functions.
    pub(crate) fn and_registered(&self, store: &Store) -> error::Result<Methods> {
        let names = self.0.keys().map(String::as_str);
        Ok(Methods::new(store.list_methods()?, names))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Function> {
        self.0.get(name).cloned()
    }
}

/// A task, as the function that does its work sees it.
pub struct Task {
    pub(crate) input: TaskInput,
    pub(crate) send: Box<dyn FnMut(HandlerMessage) + Send>,
}

/// What a function is given.
#[derive(Debug)]
pub(crate) struct TaskInput {
    pub(crate) id: i64,
    pub(crate) method: String,
    pub(crate) params: Json,
    pub(crate) hidden_params: Option<Json>,
    pub(crate) document: Option<Json>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) after: Value,
    pub(crate) attempt: u32,
    pub(crate) stop: Arc<AtomicBool>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.input.id)
            .field("method", &self.input.method)
            .finish_non_exhaustive()
    }
}

impl Task {
    /// Its id.
    pub fn id(&self) -> i64 {
        self.input.id
    }

    /// The name that it was added with.
    pub fn method(&self) -> &str {
        &self.input.method
    }

    /// What it was given.
    pub fn params(&self) -> Value {
        self.input.params.value()
    }

    /// What it was given and nobody may see; null when there is nothing.
    pub fn hidden_params(&self) -> Value {
        self.input
            .hidden_params
            .as_ref()
            .map_or(Value::Null, Json::value)
    }

    /// The document that it is about, as it was when the task was started; null when there is none.
    pub fn document(&self) -> Value {
        self.input
            .document
            .as_ref()
            .map_or(Value::Null, Json::value)
    }

    /// The file that was given with it.
    pub fn file(&self) -> Option<&Path> {
        self.input.file.as_deref()
    }

    /// The task that it follows, with `id`, `result` and `file`, the path of the file that it handed back; null when it
    /// follows none.
    pub fn after(&self) -> Value {
        self.input.after.clone()
    }

    /// 1 the first time, then counted up.
    pub fn attempt(&self) -> u32 {
        self.input.attempt
    }

    /// Whether somebody wants it to end: then the sooner it returns the better. What it answers then does not count.
    pub fn should_stop(&self) -> bool {
        self.input.stop.load(Ordering::Relaxed)
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
        (self.send)(HandlerMessage::Log {
            level,
            message: message.into(),
            details: details.map(Json::from),
        });
    }

    /// Says how far it is.
    pub fn progress(&mut self, progress: Progress) {
        (self.send)(HandlerMessage::Progress(progress));
    }

    /// Says something to who watches; it is kept nowhere.
    pub fn debug(&mut self, message: impl Into<String>) {
        (self.send)(HandlerMessage::Debug(message.into()));
    }

    /// Hands a file back as the task's output.
    pub fn hand_back(&mut self, file: impl Into<PathBuf>) {
        (self.send)(HandlerMessage::File(file.into()));
    }
}
