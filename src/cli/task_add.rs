//! `runner task add METHOD`, `task add -- COMMAND…`

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::batch::Batch;
use super::task_run::Run;
use super::{Exit, Invocation, values};
use crate::enqueue::Enqueue;
use crate::error::Result;
use crate::json::Json;
use crate::model::document::DocumentRef;
use crate::model::new_task::NewTask;
use crate::model::task::Notify;
use crate::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    task: TaskArgs,
    /// Add many: a JSON object a line with the same fields; all of them or none
    #[arg(long, value_name = "FILE", conflicts_with = "WorkArgs")]
    batch: Option<PathBuf>,
    /// Run it at once, show it live, and exit as it ends
    #[arg(long, conflicts_with_all = ["batch", "after", "hold", "at"])]
    wait: bool,
}

#[derive(Debug, clap::Args)]
struct TaskArgs {
    /// The method that does it
    #[arg(required_unless_present_any = ["batch", "command"], conflicts_with = "batch")]
    method: Option<String>,
    /// A command of its own, in place of a method
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["batch", "method"])]
    command: Vec<String>,
    #[command(flatten)]
    work: WorkArgs,
    /// Run it when this task is completed
    #[arg(
        long,
        value_name = "ID",
        allow_hyphen_values = true,
        conflicts_with = "batch"
    )]
    after: Option<i64>,
    /// Hold it until 'task release ID'
    #[arg(long, conflicts_with = "batch")]
    hold: bool,
    /// Not before
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        conflicts_with = "batch"
    )]
    at: Option<String>,
}

/// What a task is given, whether it is added now or by a schedule.
#[derive(Debug, clap::Args)]
pub(super) struct WorkArgs {
    /// A param: key=text or key:=json
    #[arg(short, value_name = "KEY=VALUE")]
    param: Vec<String>,
    /// All params: JSON, @FILE or - for standard input
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    /// Params that nobody may see, such as a token: JSON, @FILE or -
    #[arg(long, value_name = "JSON")]
    hidden_params: Option<String>,
    /// A file whose content is kept with the task
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// What the task is about, to find it by
    #[arg(long, value_name = "S")]
    signature: Option<String>,
    /// Refuse it while another task of this signature is not over
    #[arg(long, requires = "signature")]
    unique: bool,
    /// Whose task it is
    #[arg(long, value_name = "MAIL")]
    owner: Option<String>,
    /// Mail the owner when it is over for good: if it has failed, or however it has ended
    #[arg(long, value_enum, value_name = "WHEN", requires = "owner")]
    notify: Option<Notify>,
    /// The higher, the sooner
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_hyphen_values = true
    )]
    priority: i64,
    /// How often it is tried again [default: the method's]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    retries: Option<u32>,
    /// How long it may take [default: the method's, else the setting task.timeout]
    #[arg(long, value_name = "D", allow_hyphen_values = true, value_parser = Duration::positive)]
    timeout: Option<Duration>,
    /// The document that it is about
    #[arg(long, value_name = "DOC")]
    document: Option<String>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let task = match self.batch {
            Some(path) => return add_batch(invocation, &path).map(|()| Exit::Done),
            None => self.task.read()?,
        };
        if !self.wait {
            invocation.id(add(invocation, task)?)?;
            return Ok(Exit::Done);
        }
        // Refused before it is there; and held, so that no tick takes it before this command does.
        invocation.files_to_run()?;
        let id = add(invocation, task.hold())?;
        let is_watched = true;
        Run { id, is_watched }.run(invocation)
    }
}

impl TaskArgs {
    fn read(self) -> Result<NewTask> {
        let method = self.method.unwrap_or_default();
        Ok(NewTask {
            after: self.after,
            hold: self.hold,
            run_at: self.at,
            command: Some(self.command).filter(|command| !command.is_empty()),
            ..self.work.read(method)?
        })
    }
}

impl WorkArgs {
    /// The task of a method.
    pub(super) fn read(self, method: String) -> Result<NewTask> {
        let hidden = self.hidden_params.as_deref();
        Ok(NewTask {
            params: self.params()?,
            hidden_params: hidden
                .map(|given| values::json("--hidden-params", given))
                .transpose()?,
            method,
            file: self.file,
            owner: self.owner,
            notify: self.notify,
            signature: self.signature,
            unique: self.unique,
            priority: self.priority,
            retries: self.retries,
            timeout: self.timeout.map(|limit| limit.to_string()),
            document: self.document.map(DocumentRef::Key),
            ..NewTask::default()
        })
    }

    fn params(&self) -> Result<Option<Json>> {
        let whole = self.params.as_deref();
        if self.param.is_empty() {
            return whole
                .map(|given| values::json("--params", given))
                .transpose();
        }
        let mut object = values::object("--params", whole, "-p")?;
        object.extend(values::pairs("-p", &self.param)?);
        Ok(Some(Json::from(&Value::Object(object))))
    }
}

fn add(invocation: &Invocation, task: NewTask) -> Result<i64> {
    let session = invocation.open()?;
    session.time("--at", task.run_at.as_deref())?;
    session
        .store
        .transact(|store| Enqueue::new(store, &invocation.functions, session.when())?.add(task))
}

/// So many tasks are inserted by one statement.
const ROWS: usize = 64;

/// Adds all tasks of a file in one transaction, and prints their ids.
fn add_batch(invocation: &Invocation, path: &Path) -> Result<()> {
    let batch = Batch::open(path)?;
    let session = invocation.open()?;
    let ids = session.store.transact(|store| {
        let enqueue = Enqueue::new(store, &invocation.functions, session.when())?;
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        batch.for_each("task", |task: NewTask| {
            // What looks at other tasks must find those before it.
            let goes_alone = task.unique || task.after.is_some() || task.file.is_some();
            if goes_alone || rows.len() == ROWS {
                ids.extend(enqueue.add_all(&rows)?);
                rows.clear();
            }
            if goes_alone {
                ids.push(enqueue.add(task)?);
            } else {
                rows.push(enqueue.check(task)?);
            }
            Ok(())
        })?;
        ids.extend(enqueue.add_all(&rows)?);
        Ok(ids)
    })?;
    invocation.ids(&ids)
}
