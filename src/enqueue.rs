//! Adding tasks: all that is given is checked before anything is written.

use std::path::Path;

use crate::error::{Error, OrNotFound, Result};
use crate::functions::Functions;
use crate::model::method::Methods;
use crate::model::new_task::NewTask;
use crate::model::settings::MAIL_FROM;
use crate::store::Store;
use crate::store::task::TaskRow;
use crate::store::task_file::FileKind;
use crate::time::{Duration, Timestamp, When};

/// What tasks are checked against, read once.
pub(crate) struct Enqueue<'a> {
    store: &'a Store<'a>,
    methods: Methods,
    when: When,
}

impl<'a> Enqueue<'a> {
    /// Reads what tasks are checked against.
    pub(crate) fn new(store: &'a Store<'a>, functions: &Functions, when: When) -> Result<Self> {
        Ok(Self {
            store,
            methods: functions.and_registered(store)?,
            when,
        })
    }

    /// Adds a task, inside the caller's transaction; its id.
    pub(crate) fn add(&self, task: NewTask) -> Result<i64> {
        self.check_unique(&task)?;
        let file = task.file.clone();
        let id = self.store.insert_task(&self.check(task)?, self.when.now)?;
        if let Some(path) = &file {
            give_file(self.store, id, path)?;
        }
        Ok(id)
    }

    /// Adds tasks that were checked; their ids.
    pub(crate) fn add_all(&self, tasks: &[TaskRow]) -> Result<Vec<i64>> {
        self.store.insert_tasks(tasks, self.when.now)
    }

    /// The row of a task, but for its file; refused when it names what is not there, or a time that is none.
    pub(crate) fn check(&self, task: NewTask) -> Result<TaskRow> {
        self.check_work(&task)?;
        self.check_after(&task)?;
        self.check_notice(&task)?;
        let (run_at, document) = (task.run_at.as_deref(), task.document.as_ref());
        let document = document.map(|named| self.store.document_id(named));
        Ok(TaskRow {
            run_at: run_at.map(|text| self.time(text)).transpose()?,
            document: document.transpose()?,
            timeout: task.timeout.as_deref().map(timeout).transpose()?,
            method: task.method,
            command: task.command,
            params: task.params,
            hidden_params: task.hidden_params,
            owner: task.owner,
            notify: task.notify,
            signature: task.signature,
            after: task.after,
            held: task.hold,
            priority: task.priority,
            retries: task.retries,
            ..TaskRow::default()
        })
    }

    fn check_work(&self, task: &NewTask) -> Result<()> {
        let reason = match &task.command {
            Some(_) if !task.method.is_empty() => {
                "it has a method or a command of its own, not both"
            }
            Some(command) if command.first().is_none_or(String::is_empty) => "its command is empty",
            Some(_) => return Ok(()),
            None if task.method.is_empty() => "it needs a method, or a command of its own",
            None => return self.check_method(&task.method),
        };
        Err(Error::invalid("task", reason))
    }

    /// Refuses a method that nobody has registered.
    pub(crate) fn check_method(&self, name: &str) -> Result<()> {
        self.methods.get(name).map(drop)
    }

    fn check_after(&self, task: &NewTask) -> Result<()> {
        match task.after {
            Some(id) if !self.store.task_exists(id)? => None.or_not_found("task", id),
            _ => Ok(()),
        }
    }

    fn check_notice(&self, task: &NewTask) -> Result<()> {
        if task.notify.is_none() {
            return Ok(());
        }
        let reason = if task.owner.as_ref().is_none_or(String::is_empty) {
            "it needs an owner, who gets the mail"
        } else if self.store.settings()?.text(MAIL_FROM)?.is_empty() {
            "no mail goes out without a sender: 'runner config set mail.from ADDRESS'"
        } else {
            return Ok(());
        };
        Err(Error::invalid("notify", reason))
    }

    fn check_unique(&self, task: &NewTask) -> Result<()> {
        if !task.unique {
            return Ok(());
        }
        let Some(signature) = &task.signature else {
            let reason = "it needs a signature, which says what the task is about";
            return Err(Error::invalid("unique", reason));
        };
        match self.store.live_task_of(signature)? {
            Some(live) => Err(Error::invalid(
                format!("signature '{signature}'"),
                format!(
                    "task {live} with this signature is not over yet; wait for it or cancel it"
                ),
            )),
            None => Ok(()),
        }
    }

    fn time(&self, text: &str) -> Result<Timestamp> {
        self.when
            .time(text)
            .map_err(|reason| Error::invalid("the time to run at", reason))
    }
}

/// A time limit as the database takes it.
fn timeout(text: &str) -> Result<String> {
    Duration::positive(text)
        .map(|limit| limit.to_string())
        .map_err(|reason| Error::invalid("timeout", reason))
}

/// Keeps a file's content with a task.
pub(crate) fn give_file(store: &Store, task: i64, path: &Path) -> Result<()> {
    store.put_task_file(task, FileKind::Input, file_name(path)?, path)
}

/// The name that a task's file is kept by.
pub(crate) fn file_name(path: &Path) -> Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| {
        let reason = "the name of a task's file is text, and not '..'";
        Error::invalid(path.display().to_string(), reason)
    })
}
