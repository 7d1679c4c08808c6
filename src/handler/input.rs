//! The JSON object that a handler reads on its standard input.

use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::json::Json;
use crate::time::Timestamp;

/// What a handler is told of its task.
#[derive(Debug, Serialize)]
pub struct Input<'a> {
    /// The task's id.
    pub task: i64,
    /// The method's name.
    pub method: &'a str,
    /// What the task was given.
    pub params: &'a Json,
    /// What the task was given and nobody is to see: this object is the only place where it stands.
    pub hidden_params: &'a RawValue,
    /// Where the task's file lies.
    pub file: Option<&'a Path>,
    /// The document that the task is about, as it is now.
    pub document: Option<&'a Json>,
    /// 1 the first time, then counted up.
    pub attempt: u32,
    /// When the task should have run.
    pub due_at: Timestamp,
    /// How many seconds ago that was.
    pub late_s: i64,
}

impl Input<'_> {
    /// The object on one line.
    pub fn line(&self) -> Vec<u8> {
        // Numbers, texts and JSON that was read before always have a JSON form; a path that is no text has none.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}
