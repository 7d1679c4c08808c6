//! The least that an idle tick can do: open a database, ask whether there is something to do, and leave. A program of its
//! own, since the size of a program is a part of what its start costs.
//!
//! `raw_idle look DATABASE QUERY`; anything else does nothing, so that `cargo bench` may run it with the others.
#![allow(clippy::unwrap_used, missing_docs)]

use rusqlite::{Connection, OpenFlags};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, path, query] = arguments.as_slice() else {
        return;
    };
    if what == "look" {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).unwrap();
        let found: Result<i64, _> = connection.query_row(query, [], |row| row.get(0));
        assert!(found.is_err());
    }
}
