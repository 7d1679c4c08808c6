//! Timers in numbers.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use crate::raw::{in_transaction, open};
use crate::{Home, compare, compare_cost, many, tick, tick_that_looks, timed};

/// A database with so many documents that a timer hangs on, so many of them due now.
pub(crate) fn attached(documents: usize, due: usize) -> Home {
    let home = Home::new();
    home.run(&[
        "timer",
        "set",
        "remind",
        "--action",
        "delay=1d, state=overdue",
    ]);
    home.sql(&format!(
        "PRAGMA cache_size = -262144;
         BEGIN;
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {documents})
         INSERT INTO document (title, state) SELECT 'order ' || n, 'open' FROM n;
         INSERT INTO attachment (timer_id, document_id, attached_at, counted_from, due_at, needs_reschedule)
         SELECT 1, id, datetime('now', '-1 day', '-3600 seconds'), datetime('now', '-1 day', '-3600 seconds'),
                iif(id % {every} = 0 AND id <= {every} * {due},
                    datetime('now', '-' || (id * 7919 % 3600) || ' seconds'),
                    datetime('now', '+10 days', '+' || (id * 7919 % 1000000) || ' seconds')), 0
           FROM document;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE)",
        every = (documents / due.max(1)).max(1),
    ));
    home
}

pub(crate) fn idle_with_many() {
    let (large, small) = (attached(1_000_000, 0), attached(1_000, 0));
    compare_cost(
        "E1",
        "an idle tick with 1,000,000 timers attached, against 1,000",
        || many(|| tick_that_looks(&large)),
        || many(|| tick_that_looks(&small)),
    );
}

/// How long it takes to list what is due next, with the file in the system's memory or not.
fn list_next(home: &Home, is_cold: bool) -> Duration {
    if is_cold {
        let file = File::open(home.db()).unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
    home.run(&["timer", "next", "--limit", "1000"])
}

pub(crate) fn fetch_due() {
    let (large, small) = (attached(1_000_000, 1000), attached(1_000, 1000));
    for (is_cold, name) in [(false, "warm"), (true, "cold")] {
        compare_cost(
            "E2",
            &format!("listing the next 1,000 of 1,000,000, against of 1,000, {name}"),
            || list_next(&large, is_cold),
            || list_next(&small, is_cold),
        );
    }
}

/// The same firings with nothing but the rows that they are: in document order, 1,000 to a transaction.
fn raw_firing(documents: usize, due: usize) -> Duration {
    let folder = TempDir::new().unwrap();
    let connection = open(&folder.path().join("raw.db"));
    let every = documents / due;
    let script = format!(
        "CREATE TABLE document (id INTEGER PRIMARY KEY, title TEXT NOT NULL, state TEXT NOT NULL, updated TEXT NOT NULL);
         CREATE TABLE attachment (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, attached TEXT NOT NULL, due TEXT);
         CREATE INDEX attachment_due ON attachment (due, document) WHERE due IS NOT NULL;
         CREATE TABLE history (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, at TEXT NOT NULL, message TEXT NOT NULL);
         CREATE TABLE firing (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, at TEXT NOT NULL);
         PRAGMA cache_size = -262144;
         BEGIN;
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {documents})
         INSERT INTO document SELECT n, 'order ' || n, 'open', '2026-04-10 09:00:00' FROM n;
         INSERT INTO attachment
         SELECT id, id, '2026-04-09 09:00:00',
                datetime(iif(id % {every} = 0, '2026-04-10 09:00:00', '2026-04-20 09:00:00'), (id * 7919 % 3600) || ' seconds')
           FROM document;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE)"
    );
    connection.execute_batch(&script).unwrap();
    drop(connection);
    let connection = open(&folder.path().join("raw.db"));
    fire_all(&connection, documents, due, FIRE)
}

const FIRE: [&str; 5] = [
    "UPDATE document SET state = 'overdue', updated = '2026-04-11 09:00:00' WHERE id = ?1",
    "INSERT INTO history (document, at, message) VALUES (?1, '2026-04-11 09:00:00', 'state: open → overdue')",
    "INSERT INTO history (document, at, message) VALUES (?1, '2026-04-11 09:00:00', 'timer detached')",
    "INSERT INTO firing (document, at) VALUES (?1, '2026-04-11 09:00:00')",
    "DELETE FROM attachment WHERE id = ?1",
];

/// The same with the rows that the program writes.
const FIRE_OURS: [&str; 5] = [
    "UPDATE document SET state = 'overdue', updated_at = '2026-04-11 09:00:00', revision = revision + 1 WHERE id = ?1",
    "INSERT INTO history (document_id, at, level, message, timer, timer_level)
     VALUES (?1, '2026-04-11 09:00:00', 'info', 'state: open → overdue', 'remind', 0)",
    "INSERT INTO history (document_id, at, level, message, timer, timer_level)
     VALUES (?1, '2026-04-11 09:00:00', 'info', 'timer detached: it has come to its end', 'remind', 0)",
    "INSERT INTO firing (timer, document_id, level, due_at, at, status, result)
     VALUES ('remind', ?1, 0, '2026-04-11 08:00:00', '2026-04-11 09:00:00', 'done', 'state overdue')",
    "DELETE FROM attachment WHERE id = ?1",
];

/// Runs some statements for each of so many documents, in their order, 1,000 to a transaction.
fn fire_all(connection: &Connection, documents: usize, due: usize, fire: [&str; 5]) -> Duration {
    let every = documents / due;
    timed(|| {
        for first in (1..=due).step_by(1000) {
            in_transaction(connection, || {
                for place in first..first + 1000 {
                    for sql in fire {
                        let mut statement = connection.prepare_cached(sql).unwrap();
                        assert_eq!(statement.execute([(place * every) as i64]).unwrap(), 1);
                    }
                }
            });
        }
    })
}

/// The rows that the program writes, in its own tables, without its checks and triggers.
fn raw_firing_of_ours(documents: usize, due: usize) -> Duration {
    let home = attached(documents, due);
    let connection = open(&home.db());
    let triggers = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
    connection.set_db_config(triggers, false).unwrap();
    let unchecked = "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF";
    connection.execute_batch(unchecked).unwrap();
    fire_all(&connection, documents, due, FIRE_OURS)
}

pub(crate) fn fire_states() {
    for documents in [100_000, 1_000_000] {
        let ours = || attached(documents, 100_000).run(&["tick"]);
        compare(
            "E3",
            &format!("firing 100,000 state changes of {documents} in a tick"),
            ours,
            || raw_firing(documents, 100_000),
        );
        compare("E3", "the same, against the same rows raw", ours, || {
            raw_firing_of_ours(documents, 100_000)
        });
    }
}

fn hung_on_dates(documents: usize) -> Home {
    let home = Home::new();
    home.run(&[
        "timer",
        "set",
        "remind",
        "--reference",
        "deadline",
        "--action",
        "delay=1d, state=overdue",
    ]);
    home.sql(&format!(
        "BEGIN;
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {documents})
         INSERT INTO document (attributes) SELECT json_object('deadline', '2099-01-01') FROM n;
         INSERT INTO attachment (timer_id, document_id, counted_from, due_at, needs_reschedule)
         SELECT 1, id, '2099-01-01 00:00:00', '2099-01-02 00:00:00', 0 FROM document;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE)"
    ));
    home
}

pub(crate) fn change_a_date() {
    let (large, small) = (hung_on_dates(1_000_000), hung_on_dates(1_000));
    let change = |home: &Home| {
        let connection = open(&home.db());
        timed(|| {
            for day in 1..=20 {
                let sql = "UPDATE document SET attributes = json_set(attributes, '$.deadline', ?1) WHERE id = 500";
                connection
                    .execute(sql, [format!("2098-01-{day:02}")])
                    .unwrap();
            }
        })
    };
    compare_cost(
        "E4",
        "20 changes of a date by SQL, of 1,000,000 attached, against 1,000",
        || change(&large),
        || change(&small),
    );
}

/// The peak memory of a command, in KiB, as the kernel counts it. What wait(2) says is no use: it counts the memory of the
/// process that started it, too.
pub(crate) fn peak(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        most = most.max(now.unwrap_or(0));
        std::thread::sleep(Duration::from_micros(50));
    }
    most
}

pub(crate) fn memory() {
    for due in [1_000, 1_000_000] {
        let home = attached(1_000_000, due);
        println!(
            "E5  peak memory of a tick that fires {due:>9} levels {:>12} KiB",
            peak(tick(&home))
        );
    }
}
