//! `runner task file`: the file that a task was given, and the one that its handler gave back.

use std::env::temp_dir;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::Invocation;
use crate::enqueue::give_file;
use crate::error::{Error, Result};
use crate::model::task::Status;
use crate::store::Store;
use crate::store::task_file::FileKind;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    id: i64,
    /// Keep this file's content with the task, for its handler
    #[arg(long, value_name = "PATH")]
    set: Option<PathBuf>,
    /// Write the file that the handler gave back to PATH; '-' is standard output
    #[arg(long, value_name = "PATH", conflicts_with = "set")]
    output: Option<PathBuf>,
    /// Write the file that was given with the task to PATH; '-' is standard output
    #[arg(long, value_name = "PATH", conflicts_with_all = ["set", "output"])]
    input: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        match (self.set, self.output, self.input) {
            (Some(path), _, _) => set(&invocation.store()?, self.id, &path),
            (_, Some(path), _) => write(invocation, self.id, FileKind::Output, &path),
            (_, _, Some(path)) => write(invocation, self.id, FileKind::Input, &path),
            _ => show(invocation, self.id),
        }
    }
}

fn set(store: &Store, id: i64, path: &Path) -> Result<()> {
    store.transact(|store| {
        let task = store.task(id)?;
        match task.status {
            Status::Running => {
                Err(task.refuse("it is running, and its handler has its file already"))
            }
            _ => give_file(store, id, path),
        }
    })
}

fn show(invocation: &Invocation, id: i64) -> Result<()> {
    let task = invocation.store_to_read()?.task(id)?;
    let out = &invocation.out;
    if out.json {
        return out.json(&serde_json::json!({"file": task.file, "output": task.output}));
    }
    let files = [("file", task.file), ("output", task.output)].into_iter();
    let rows = files.filter_map(|(kind, name)| Some([kind.to_owned(), name?]));
    out.table(["KIND", "NAME"], rows)
}

/// To a new file first, so that PATH never holds half of it.
fn write(invocation: &Invocation, id: i64, kind: FileKind, path: &Path) -> Result<()> {
    let store = invocation.store_to_read()?;
    store.task(id)?;
    let to_stdout = path == Path::new("-");
    let folder = match path.parent() {
        _ if to_stdout => temp_dir(),
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let in_folder = |source| Error::io(&folder, source);
    let copy = NamedTempFile::with_prefix_in(".runner-", &folder).map_err(in_folder)?;
    let mut content = copy.reopen().map_err(in_folder)?;
    let written = store.get_task_file(id, kind, |_| copy.reopen().map_err(in_folder))?;
    match (written, kind) {
        (None, FileKind::Input) => Err(missing(id, "no file was given with it")),
        (None, FileKind::Output) => Err(missing(id, "its handler gave no file back")),
        _ if to_stdout => invocation.out.copy(&mut content),
        _ => match copy.persist(path) {
            Ok(_) => Ok(()),
            Err(refused) => Err(Error::io(path, refused.error)),
        },
    }
}

fn missing(task: i64, what: &str) -> Error {
    Error::invalid(format!("task {task}"), what)
}
