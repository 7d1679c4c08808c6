//! `runner task add --batch`: one thread reads the lines and takes them apart, the other adds the tasks.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::Invocation;
use crate::enqueue::{Enqueue, TOGETHER};
use crate::error::{Error, Result};
use crate::model::task::NewTask;
use crate::store::Store;

/// How many lots of lines, which are inserted together, may wait.
const LOTS: usize = 8;

/// What a batch writes to.
const WRITTEN: [&str; 2] = ["task", "task_file"];

/// Tasks with the numbers of their lines.
type Lot = Vec<(usize, NewTask)>;

/// How many bytes that come through a pipe are held in memory; more are in a file that has no name.
const IN_MEMORY: usize = 1024 * 1024;

/// Adds all tasks of a file in one transaction, and prints their ids.
pub(super) fn add(invocation: &Invocation, store: &Store, path: &Path) -> Result<()> {
    let lines = lines(path).map_err(|source| Error::io(path, source))?;
    let (_, zone, clock) = invocation.times(store)?;
    let ids = store.transact(|store| {
        let mut enqueue = Enqueue::new(store, &invocation.functions, zone, clock.now())?;
        let (send, receive) = sync_channel(LOTS);
        thread::scope(|scope| {
            scope.spawn(move || read(path, lines, &send));
            let mut lots = receive.into_iter().peekable();
            let first = lots.peek().and_then(|lot| lot.as_ref().ok());
            let is_large = first.is_some_and(|lot| lot.len() == TOGETHER);
            let add = || add_lots(&mut enqueue, path, lots);
            match is_large {
                true => store.without_triggers(&WRITTEN, add),
                false => add(),
            }
        })
    })?;
    match invocation.out.json {
        true => invocation.out.json(&serde_json::json!({"ids": ids})),
        false => ids.into_iter().try_for_each(|id| invocation.out.id(id)),
    }
}

/// The lines of a file, or of standard input for `-`. What comes through a pipe is taken whole at first: nobody else can
/// write to the database during the transaction, and whoever writes to the pipe may take their time.
fn lines(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = match path == Path::new("-") {
        true => File::from(io::stdin().as_fd().try_clone_to_owned()?),
        false => File::open(path)?,
    };
    if file.metadata()?.is_file() {
        return Ok(Box::new(BufReader::new(file)));
    }
    let mut whole = tempfile::spooled_tempfile(IN_MEMORY);
    io::copy(&mut file, &mut whole)?;
    whole.rewind()?;
    Ok(Box::new(BufReader::new(whole)))
}

/// Reads lines until there are no more, one is no task, or nobody wants them any longer.
fn read(path: &Path, mut lines: impl BufRead, send: &SyncSender<Result<Lot>>) {
    let mut line = String::new();
    let (mut lot, mut number) = (Vec::with_capacity(TOGETHER), 0);
    loop {
        line.clear();
        number += 1;
        let task = match lines.read_line(&mut line) {
            Ok(0) => break,
            Ok(_) if line.trim().is_empty() => continue,
            Ok(_) => NewTask::from_json(&line)
                .map_err(|reason| at_line(path, number, format!("no task: {reason}"))),
            Err(source) => Err(Error::io(path, source)),
        };
        match task {
            Ok(task) => lot.push((number, task)),
            // What came before it is looked at first: the first fault of the file is the one to be told.
            Err(error) => {
                let _ = send.send(Ok(lot)).and_then(|()| send.send(Err(error)));
                return;
            }
        }
        if lot.len() == TOGETHER
            && send
                .send(Ok(std::mem::replace(
                    &mut lot,
                    Vec::with_capacity(TOGETHER),
                )))
                .is_err()
        {
            return;
        }
    }
    // An error here is the other side's, which has told it already.
    let _ = send.send(Ok(lot));
}

fn add_lots(
    enqueue: &mut Enqueue<'_>,
    path: &Path,
    lots: impl Iterator<Item = Result<Lot>>,
) -> Result<Vec<i64>> {
    let mut ids = Vec::new();
    for lot in lots {
        for (number, task) in lot? {
            enqueue
                .add_later(task, &mut ids)
                .map_err(|error| match error {
                    Error::NotFound { .. } | Error::Invalid { .. } | Error::Io { .. } => {
                        at_line(path, number, error.to_string())
                    }
                    other => other,
                })?;
        }
    }
    enqueue.flush(&mut ids)?;
    Ok(ids)
}

fn at_line(path: &Path, number: usize, reason: String) -> Error {
    Error::invalid(format!("{} line {number}", path.display()), reason)
}
