//! `runner method`

use super::Invocation;
use super::output::or_dash;
use crate::error::{Error, Result};
use crate::model::method::{Method, check_name};
use crate::store::Store;
use crate::time::Duration;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Register a handler: runner method set Mailing:send --timeout 10m -- php bin/mailing.php
    Set(Set),
    /// List the handlers
    List,
    /// Remove a handler
    Remove { name: String },
}

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    /// Service:method, or Service:* for all methods of a service
    name: String,
    /// How long a task of it may take, such as 90s or 2h
    #[arg(long, value_name = "D", allow_hyphen_values = true, value_parser = Duration::positive)]
    timeout: Option<Duration>,
    /// How often a task of it is tried again
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value_t = 0
    )]
    retries: u32,
    /// How many tasks of it run at once, over all ticks [default: any number]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(u32).range(1..))]
    max_running: Option<u32>,
    /// Run one task of a signature at a time, the oldest first
    #[arg(long)]
    serial: bool,
    /// Start the program once, and feed it all tasks
    #[arg(long)]
    resident: bool,
    /// How many tasks a resident program is given before it is done with the first
    #[arg(long, value_name = "N", allow_hyphen_values = true, default_value_t = 1, requires = "resident", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pipeline: u32,
    /// The program and its arguments; for Service:* the method's name is added to them
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        match self {
            Self::Set(set) => set.run(invocation),
            Self::List => list(invocation),
            Self::Remove { name } => invocation.store()?.transact(|store| remove(store, &name)),
        }
    }
}

impl Set {
    fn run(self, invocation: &Invocation) -> Result<()> {
        check_name(&self.name)?;
        if self.command.first().is_none_or(String::is_empty) {
            return Err(Error::invalid(
                format!("method '{}'", self.name),
                "its command is empty",
            ));
        }
        let method = Method {
            name: self.name,
            command: self.command,
            timeout: self.timeout.map(|limit| limit.to_string()),
            retries: self.retries,
            resident: self.resident,
            pipeline: self.pipeline,
            paused: false,
            max_running: self.max_running,
            serial: self.serial,
            is_function: false,
        };
        let store = invocation.store()?;
        store.transact(|store| store.set_method(&method))
    }
}

fn remove(store: &Store, name: &str) -> Result<()> {
    match store.timer_of_method(name)? {
        Some(timer) => Err(Error::invalid(
            format!("method '{name}'"),
            format!("the timer '{timer}' runs it; define that anew or remove it first"),
        )),
        None => match store.schedule_of_method(name)? {
            Some(schedule) => Err(Error::invalid(
                format!("method '{name}'"),
                format!(
                    "the schedule '{schedule}' adds its tasks; define that anew or remove it first"
                ),
            )),
            None => store.delete_method(name),
        },
    }
}

fn list(invocation: &Invocation) -> Result<()> {
    let methods = invocation.store_to_read()?.list_methods()?;
    let headings = ["METHOD", "TIMEOUT", "RETRIES", "COMMAND", "NOTE"];
    invocation.out.list(&methods, headings, |method| {
        [
            method.name.clone(),
            or_dash(method.timeout.as_ref()),
            method.retries.to_string(),
            method.command.join(" "),
            if method.paused { "paused" } else { "" }.to_owned(),
        ]
    })
}
