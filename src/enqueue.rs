//! Adding tasks: all that is given is checked before anything is written.

use std::collections::HashSet;
use std::path::Path;

use crate::error::{Error, OrNotFound, Result};
use crate::functions::Functions;
use crate::model::document::DocumentRef;
use crate::model::method::Methods;
use crate::model::task::NewTask;
use crate::store::Store;
use crate::store::task::TaskRow;
use crate::store::task_file::FileKind;
use crate::time::{Duration, Timestamp, Zone};

/// How many tasks are inserted together, if nothing asks for them before.
pub const TOGETHER: usize = 512;

/// Adds tasks, inside one transaction of the caller's.
pub struct Enqueue<'a> {
    store: &'a Store,
    zone: Zone,
    now: Timestamp,
    methods: Methods,
    /// Methods that are known to be registered, so that a batch looks for each once.
    known: HashSet<String>,
    pending: Vec<Checked>,
}

/// A task that can be inserted.
struct Checked {
    task: NewTask,
    run_at: Option<Timestamp>,
    document: Option<i64>,
}

impl Checked {
    fn row(&self) -> TaskRow<'_> {
        let task = &self.task;
        TaskRow {
            method: &task.method,
            params: task.params.as_ref(),
            hidden_params: task.hidden_params.as_ref(),
            owner: task.owner.as_deref(),
            signature: task.signature.as_deref(),
            after: task.after,
            run_at: self.run_at,
            priority: task.priority,
            retries: task.retries,
            timeout: task.timeout.as_deref(),
            document: self.document,
            attachment: None,
        }
    }
}

impl<'a> Enqueue<'a> {
    /// Reads what tasks are checked against.
    ///
    /// # Errors
    /// SQLite's.
    pub fn new(
        store: &'a Store,
        functions: &Functions,
        zone: Zone,
        now: Timestamp,
    ) -> Result<Self> {
        Ok(Self {
            store,
            zone,
            now,
            methods: store.methods(functions)?,
            known: HashSet::new(),
            pending: Vec::new(),
        })
    }

    /// Adds a task; its id.
    ///
    /// # Errors
    /// When its method is not registered, its file cannot be read, what it follows or is about does not exist, its
    /// time or time limit is none, or a live task has the signature that was to be unique.
    pub fn add(&mut self, task: NewTask) -> Result<i64> {
        let mut ids = Vec::new();
        self.add_later(task, &mut ids)?;
        self.flush(&mut ids)?;
        Ok(ids.last().copied().unwrap_or_default())
    }

    /// Adds a task, perhaps not before others follow: its id comes with theirs, after [`Enqueue::flush`] at the
    /// latest.
    ///
    /// # Errors
    /// As [`Enqueue::add`].
    pub fn add_later(&mut self, task: NewTask, ids: &mut Vec<i64>) -> Result<()> {
        // What looks at other tasks must find those that came before it.
        if task.unique || task.after.is_some() {
            self.flush(ids)?;
        }
        let checked = self.check(task)?;
        let has_file = checked.task.file.is_some();
        self.pending.push(checked);
        if has_file || self.pending.len() >= TOGETHER {
            self.flush(ids)?;
        }
        Ok(())
    }

    /// Inserts what is pending, and appends the ids.
    ///
    /// # Errors
    /// When a file cannot be read, or as SQLite says.
    pub fn flush(&mut self, ids: &mut Vec<i64>) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rows: Vec<TaskRow<'_>> = self.pending.iter().map(Checked::row).collect();
        let inserted = self.store.insert_tasks(&rows, self.now)?;
        // Only the last one can have a file: it is not kept waiting.
        let last = self.pending.last().zip(inserted.last());
        if let Some((Some(path), &id)) = last.map(|(checked, id)| (&checked.task.file, id)) {
            give_file(self.store, id, path)?;
        }
        ids.extend(inserted);
        self.pending.clear();
        Ok(())
    }

    fn check(&mut self, task: NewTask) -> Result<Checked> {
        if !self.known.contains(&task.method) {
            self.methods.get(&task.method)?;
            self.known.insert(task.method.clone());
        }
        if let Some(timeout) = &task.timeout {
            Duration::positive(timeout).map_err(|reason| Error::invalid("timeout", reason))?;
        }
        if let Some(after) = task.after {
            self.store
                .task_exists(after)?
                .then_some(())
                .or_not_found("task", after)?;
        }
        match &task.signature {
            None if task.unique => {
                let reason = "it needs a signature, which says what the task is about";
                return Err(Error::invalid("unique", reason));
            }
            Some(signature) if task.unique => self.refuse_second(signature)?,
            _ => {}
        }
        let run_at = task
            .run_at
            .as_ref()
            .map(|text| self.time(text))
            .transpose()?;
        let document = task
            .document
            .as_ref()
            .map(|named| self.document(named))
            .transpose()?;
        Ok(Checked {
            task,
            run_at,
            document,
        })
    }

    fn refuse_second(&self, signature: &str) -> Result<()> {
        match self.store.live_task_of(signature)? {
            Some(live) => {
                let reason = format!(
                    "task {live} with this signature is not over yet; wait for it or cancel it"
                );
                Err(Error::invalid(format!("signature '{signature}'"), reason))
            }
            None => Ok(()),
        }
    }

    fn time(&self, text: &str) -> Result<Timestamp> {
        self.zone
            .parse_time(text)
            .map_err(|reason| Error::invalid("the time to run at", reason))
    }

    fn document(&self, named: &DocumentRef) -> Result<i64> {
        self.store.document_id(named)
    }
}

/// Keeps a file's content with a task.
///
/// # Errors
/// When it cannot be read, or has no name that a file can be laid out by.
pub fn give_file(store: &Store, task: i64, path: &Path) -> Result<()> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| {
            Error::invalid(
                path.display().to_string(),
                "the name of a task's file is text, and not '..'",
            )
        })?;
    store.put_task_file(task, FileKind::Input, name, path)
}
