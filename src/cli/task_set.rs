//! `runner task set ID`

use serde_json::Value;

use super::{Invocation, Session, values};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::model::document::DocumentRef;
use crate::model::task::{Notify, Task};
use crate::time::Duration;

/// An empty text takes away what was given.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct Changes {
    /// A param, beside those that it has: key=text or key:=json
    #[arg(short, value_name = "KEY=VALUE")]
    param: Vec<String>,
    /// All params, in place of those that it has: JSON, @FILE or - for standard input
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    /// Params that nobody may see: JSON, @FILE or -
    #[arg(long, value_name = "JSON")]
    hidden_params: Option<String>,
    /// What the task is about
    #[arg(long, value_name = "S")]
    signature: Option<String>,
    /// Whose task it is
    #[arg(long, value_name = "MAIL")]
    owner: Option<String>,
    /// Mail the owner when it is over for good: if it has failed, or however it has ended
    #[arg(long, value_enum, value_name = "WHEN")]
    notify: Option<Notify>,
    /// The higher, the sooner
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    priority: Option<i64>,
    /// How often it is tried again
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    retries: Option<u32>,
    /// How long it may take
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    timeout: Option<String>,
    /// The document that it is about
    #[arg(long, value_name = "DOC")]
    document: Option<String>,
    /// Not before
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    id: i64,
    #[command(flatten)]
    changes: Changes,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open()?;
        session.store.transact(|store| {
            let mut task = store.task(self.id)?;
            let status = task.status;
            self.changes.apply(&session, &mut task)?;
            if store.update_pending_task(&task)? {
                return Ok(());
            }
            Err(task.refuse(format!(
                "only a task that does not run yet can be changed, and it is {status}"
            )))
        })
    }
}

impl Changes {
    fn apply(self, session: &Session<'_>, task: &mut Task) -> Result<()> {
        self.change_params(task)?;
        set(&mut task.signature, self.signature);
        set(&mut task.owner, self.owner);
        task.notify = self.notify.or(task.notify);
        if task.owner.is_none() && task.notify.is_some() {
            return Err(task.refuse("its notice needs an owner"));
        }
        task.priority = self.priority.unwrap_or(task.priority);
        task.retries = self.retries.or(task.retries);
        if let Some(given) = non_empty(self.timeout) {
            let limit = given.map(|text| Duration::positive(&text));
            let limit = limit.transpose();
            let limit = limit.map_err(|reason| Error::usage("--timeout", reason))?;
            task.timeout = limit.map(|limit| limit.to_string());
        }
        if let Some(given) = non_empty(self.document) {
            let id = given.map(|named| session.store.document_id(&DocumentRef::Key(named)));
            task.document = id.transpose()?;
        }
        if let Some(given) = non_empty(self.at) {
            task.run_at = session.time("--at", given.as_deref())?;
        }
        Ok(())
    }

    fn change_params(&self, task: &mut Task) -> Result<()> {
        if let Some(given) = &self.params {
            task.params = values::json("--params", given)?;
        }
        if let Some(given) = &self.hidden_params {
            task.hidden_params = Some(values::json("--hidden-params", given)?);
        }
        if self.param.is_empty() {
            return Ok(());
        }
        let pairs = values::pairs("-p", &self.param)?;
        let mut object = values::object("--params", Some(task.params.text()), "-p")?;
        object.extend(pairs);
        task.params = Json::from(&Value::Object(object));
        Ok(())
    }
}

/// What was given, if anything was: nothing for an empty text.
#[allow(clippy::option_option, reason = "not given, taken away or given")]
fn non_empty(given: Option<String>) -> Option<Option<String>> {
    given.map(|text| Some(text).filter(|text| !text.is_empty()))
}

fn set(field: &mut Option<String>, given: Option<String>) {
    if let Some(given) = non_empty(given) {
        *field = given;
    }
}
