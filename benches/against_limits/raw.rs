//! The least that SQLite and the system must do.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::{PARAMS, timed};

const SCHEMA: &str = include_str!("../raw.sql");

pub(crate) const INSERT: &str = "INSERT INTO task (queue, method, params, run_at, created)
     VALUES ('default', 'No:op', ?1, 1700000000, 1700000000)";

pub(crate) fn open(path: &Path) -> Connection {
    open_with(path, "FULL")
}

pub(crate) fn open_with(path: &Path, synchronous: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    let settings = format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}");
    connection.execute_batch(&settings).unwrap();
    connection
}

fn insert(connection: &Connection, tasks: usize) {
    let mut statement = connection.prepare_cached(INSERT).unwrap();
    for _ in 0..tasks {
        statement.execute([PARAMS]).unwrap();
    }
}

/// A database with so many tasks.
pub(crate) fn fill(path: &Path, tasks: usize) {
    let connection = open(path);
    connection.execute_batch(SCHEMA).unwrap();
    in_transaction(&connection, || insert(&connection, tasks));
}

pub(crate) fn in_transaction(connection: &Connection, work: impl FnOnce()) {
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    work();
    connection.execute_batch("COMMIT").unwrap();
}

/// Whether the id of a row that was deleted is given again.
pub(crate) enum Ids {
    MayBeUsedAgain,
    AreUsedOnce,
}

/// Inserts tasks, so many to a transaction.
pub(crate) fn enqueue(tasks: usize, at_once: usize, synchronous: &str, ids: Ids) -> Duration {
    let folder = TempDir::new().unwrap();
    let connection = open_with(&folder.path().join("raw.db"), synchronous);
    let schema = match ids {
        Ids::MayBeUsedAgain => SCHEMA.to_owned(),
        Ids::AreUsedOnce => SCHEMA.replacen("PRIMARY KEY", "PRIMARY KEY AUTOINCREMENT", 1),
    };
    connection.execute_batch(&schema).unwrap();
    timed(|| {
        for _ in 0..tasks / at_once {
            in_transaction(&connection, || insert(&connection, at_once));
        }
    })
}

/// Claims tasks and finishes them, with a row of history each or none, so many to a transaction.
pub(crate) fn drain(tasks: usize, at_once: usize, history: bool) -> Duration {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("raw.db");
    fill(&path, tasks);
    let connection = open(&path);
    timed(|| {
        loop {
            let mut claimed: Vec<(i64, String)> = Vec::new();
            in_transaction(&connection, || claimed = claim(&connection, at_once));
            if claimed.is_empty() {
                return;
            }
            in_transaction(&connection, || finish(&connection, &claimed, history));
        }
    })
}

fn claim(connection: &Connection, most: usize) -> Vec<(i64, String)> {
    let sql = "UPDATE task SET status = 1, started = 1700000000, attempts = attempts + 1
                WHERE id IN (SELECT id FROM task WHERE status = 0 AND run_at <= 1700000000
                              ORDER BY priority DESC, run_at, id LIMIT ?1) RETURNING id, params";
    let mut statement = connection.prepare_cached(sql).unwrap();
    let rows = statement
        .query_map([most as i64], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

fn finish(connection: &Connection, claimed: &[(i64, String)], history: bool) {
    let mut finish = connection
        .prepare_cached("UPDATE task SET status = 2, ended = 1700000000 WHERE id = ?1")
        .unwrap();
    let mut note = connection
        .prepare_cached("INSERT INTO history (task, at, event) VALUES (?1, 1700000000, 1)")
        .unwrap();
    for (id, _) in claimed {
        finish.execute(params![id]).unwrap();
        if history {
            note.execute(params![id]).unwrap();
        }
    }
}

/// Starts so many processes, by so many threads that each wait for their own.
pub(crate) fn spawn(processes: usize, threads: usize) -> Duration {
    let left = AtomicUsize::new(processes);
    timed(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                            left.checked_sub(1)
                        })
                        .is_ok()
                    {
                        let mut command = Command::new("/bin/true");
                        command.stdin(Stdio::null());
                        assert!(command.status().unwrap().success());
                    }
                });
            }
        });
    })
}

/// A resident handler that does nothing, as fast as it can.
pub(crate) fn resident() {
    use std::io::{BufRead, BufReader, BufWriter, Write};
    let mut tasks = BufReader::new(std::io::stdin().lock());
    let mut done = BufWriter::new(std::io::stdout().lock());
    let mut line = String::new();
    while tasks.read_line(&mut line).unwrap() > 0 {
        let id = line
            .trim_start_matches("{\"task\":")
            .split(',')
            .next()
            .unwrap();
        writeln!(done, "{{\"type\":\"done\",\"task\":{id},\"ok\":true}}").unwrap();
        line.clear();
        if tasks.buffer().is_empty() {
            done.flush().unwrap();
        }
    }
}
