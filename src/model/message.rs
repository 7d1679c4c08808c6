//! The messages of a handler while it does a task (`docs/handlers.md`, “Output”).

use std::path::PathBuf;

use crate::json::Json;
use crate::model::task::{Progress, Severity};

/// A message of a handler.
#[derive(Debug)]
pub(crate) enum HandlerMessage {
    /// An entry for the task's log.
    Log {
        level: Severity,
        message: String,
        details: Option<Json>,
    },
    /// How far it is.
    Progress(Progress),
    /// For somebody who watches; never stored.
    Debug(String),
    /// What the task hands back.
    Result(Json),
    /// The path of a file that the task hands back.
    File(PathBuf),
    /// From a resident handler: it is done with a task, which succeeded or not.
    Done { ok: bool },
}

impl HandlerMessage {
    /// A log entry without details.
    pub(crate) fn log(level: Severity, message: impl Into<String>) -> Self {
        Self::Log {
            level,
            message: message.into(),
            details: None,
        }
    }
}
