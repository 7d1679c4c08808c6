//! The least that a whole process must do: to look whether there is something to do, and to put many tasks into a database.
//! A program of its own, since the size of a program is a part of what its start costs.
//!
//! `raw_process look DATABASE QUERY`, `raw_process fill DATABASE TASKS INSERT PARAMS`; anything else does nothing, so that
//! `cargo bench` may run it with the others.
#![allow(clippy::unwrap_used, missing_docs)]

use rusqlite::{Connection, OpenFlags};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["look", path, query] => look(path, query),
        ["fill", path, tasks, insert, params] => fill(path, tasks.parse().unwrap(), insert, params),
        _ => {}
    }
}

fn open(path: &str) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).unwrap()
}

fn look(path: &str, query: &str) {
    let found: Result<i64, _> = open(path).query_row(query, [], |row| row.get(0));
    assert!(found.is_err());
}

fn fill(path: &str, tasks: usize, insert: &str, params: &str) {
    let mut connection = open(path);
    let transaction = connection.transaction().unwrap();
    let mut insert = transaction.prepare(insert).unwrap();
    for _ in 0..tasks {
        insert.execute([params]).unwrap();
    }
    drop(insert);
    transaction.commit().unwrap();
}
