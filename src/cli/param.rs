//! `runner param NAME`: a param of a task, for handlers that are shell scripts.

use std::env;

use serde_json::Value;

use super::Invocation;
use crate::error::{Error, Result};

/// The variable that names a handler's task.
const VARIABLE: &str = "RUNNER_TASK";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name of the param; with dots, the path to a value within it: images.0.width
    name: String,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let id = env::var(VARIABLE).ok().and_then(|id| id.parse().ok());
        let id: i64 = id.ok_or_else(|| {
            let reason = "it should be the id of a task, and the runner sets it for handlers: 'runner param' is for them";
            Error::invalid(VARIABLE, reason)
        })?;
        let params = invocation.store_to_read()?.task(id)?.params.value();
        let value = find(&params, &self.name).ok_or_else(|| Error::NotFound {
            what: "param",
            name: format!("'{}'", self.name),
            hint: hint(id, &params),
        })?;
        match value {
            Value::String(text) if !invocation.out.json => {
                invocation.out.text(&format!("{text}\n"))
            }
            value => invocation.out.json(value),
        }
    }
}

/// The value at a path of keys. A key may have dots itself.
fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let whole = member(value, path);
    whole.or_else(|| {
        let mut dots = path.match_indices('.').map(|(dot, _)| dot);
        dots.find_map(|dot| find(member(value, &path[..dot])?, &path[dot + 1..]))
    })
}

fn member<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(key),
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

fn hint(task: i64, params: &Value) -> String {
    let names = params.as_object().into_iter().flatten();
    let names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
    match names.as_slice() {
        [] => format!("task {task} has no params by name"),
        names => format!("task {task} has {}", names.join(", ")),
    }
}
