//! `runner task add`

use std::path::PathBuf;

use super::{Invocation, task_batch, values};
use crate::enqueue::Enqueue;
use crate::error::Result;
use crate::model::document::DocumentRef;
use crate::model::task::NewTask;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The method that does it
    #[arg(required_unless_present = "batch")]
    method: Option<String>,
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
    /// Run it when this task is completed
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    /// Not before
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The higher, the sooner
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    priority: i64,
    /// How often it is tried again [default: the method's]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// How long it may take [default: the method's, else the setting task.timeout]
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    timeout: Option<String>,
    /// The document that it is about
    #[arg(long, value_name = "DOC")]
    document: Option<String>,
    /// Add many: a JSON object a line with the same fields; all of them or none
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "param", "params", "hidden_params", "file", "signature", "unique",
        "owner", "after", "at", "priority", "retries", "timeout", "document"])]
    batch: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store()?;
        match &self.batch {
            Some(path) => task_batch::add(invocation, &store, path),
            None => {
                let task = self.task()?;
                let (_, zone, clock) = invocation.times(&store)?;
                let id = store.transact(|store| {
                    Enqueue::new(store, &invocation.functions, zone, clock.now())?.add(task)
                })?;
                invocation.id(id)
            }
        }
    }

    fn task(self) -> Result<NewTask> {
        Ok(NewTask {
            method: self.method.unwrap_or_default(),
            params: values::object("--params", self.params.as_deref(), "-p", &self.param)?,
            hidden_params: self
                .hidden_params
                .map(|given| values::json("--hidden-params", &given))
                .transpose()?,
            file: self.file,
            owner: self.owner,
            signature: self.signature,
            unique: self.unique,
            after: self.after,
            run_at: self.at,
            priority: self.priority,
            retries: self.retries,
            timeout: self.timeout,
            document: self.document.map(DocumentRef::Key),
        })
    }
}
