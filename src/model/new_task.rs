//! A task to be added, by whichever way.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::json::Json;
use crate::model::document::DocumentRef;
use crate::model::task::Notify;

/// A task to be added: what the options of `task add` say, and the fields of a line of `task add --batch`.
///
/// ```
/// use runner::NewTask;
///
/// let task = NewTask::new("Mailing:send").param("edition", 43).timeout("10m").retries(2);
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a task")]
pub struct NewTask {
    #[serde(default)]
    pub(crate) method: String,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) params: Option<Json>,
    pub(crate) hidden_params: Option<Json>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) owner: Option<String>,
    pub(crate) notify: Option<Notify>,
    pub(crate) signature: Option<String>,
    #[serde(default)]
    pub(crate) unique: bool,
    pub(crate) after: Option<i64>,
    #[serde(default)]
    pub(crate) hold: bool,
    #[serde(alias = "at")]
    pub(crate) run_at: Option<String>,
    #[serde(default)]
    pub(crate) priority: i64,
    pub(crate) retries: Option<u32>,
    pub(crate) timeout: Option<String>,
    pub(crate) document: Option<DocumentRef>,
}

impl NewTask {
    /// A task of this method, without params.
    pub fn new(method: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            ..Self::default()
        }
    }

    /// Gives it a param.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let mut params = match self.params.as_ref().map(Json::value) {
            Some(Value::Object(params)) => params,
            _ => Map::new(),
        };
        params.insert(name.into(), value.into());
        self.params = Some(Json::from(&Value::Object(params)));
        self
    }

    /// Gives it all its params.
    #[must_use]
    pub fn params(mut self, params: impl Into<Value>) -> Self {
        self.params = Some(Json::from(&params.into()));
        self
    }

    /// Gives it params that only its handler sees, such as a token.
    #[must_use]
    pub fn hidden_params(mut self, params: impl Into<Value>) -> Self {
        self.hidden_params = Some(Json::from(&params.into()));
        self
    }

    /// Keeps the content of this file with it, for its handler.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Says whose it is: a mail address.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Mails its owner when it has failed for good.
    #[must_use]
    pub fn notify_failed(mut self) -> Self {
        self.notify = Some(Notify::Failed);
        self
    }

    /// Mails its owner when it is over for good, however it has ended.
    #[must_use]
    pub fn notify_ended(mut self) -> Self {
        self.notify = Some(Notify::Ended);
        self
    }

    /// Says what it is about, to find it by.
    #[must_use]
    pub fn signature(mut self, signature: impl Into<String>) -> Self {
        self.signature = Some(signature.into());
        self
    }

    /// Refuses it while another task of its signature is not over.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Runs it when this task is completed.
    #[must_use]
    pub fn after(mut self, task: i64) -> Self {
        self.after = Some(task);
        self
    }

    /// Holds it until it is released: `runner task release ID`.
    #[must_use]
    pub fn hold(mut self) -> Self {
        self.hold = true;
        self
    }

    /// Runs it at this time, not before: `2026-04-10`, `2026-04-10T09:00`, the same with an offset, `09:00` for today, or
    /// `+15m` for so long from now.
    #[must_use]
    pub fn at(mut self, time: impl Into<String>) -> Self {
        self.run_at = Some(time.into());
        self
    }

    /// Runs it before those of a lower priority; 0 when none is given.
    #[must_use]
    pub fn priority(mut self, priority: i64) -> Self {
        self.priority = priority;
        self
    }

    /// Tries it again so many times; as often as its method says when none is given.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Ends it when it takes longer than this, such as `90s` or `2h`.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<String>) -> Self {
        self.timeout = Some(timeout.into());
        self
    }

    /// Says which document it is about, by its id.
    #[must_use]
    pub fn document(mut self, id: i64) -> Self {
        self.document = Some(DocumentRef::Id(id));
        self
    }
}
