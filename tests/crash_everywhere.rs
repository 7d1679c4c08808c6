//! A tick that is killed, or whose disk fails, at each of its system calls in turn: the database stays sound, the next
//! ticks do what is left, and nothing is run twice. Needs strace(1), and leave to use it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kit;

use std::collections::HashSet;

use kit::runner::Home;
use kit::trace::{may_trace, tick_with};

/// The calls that change what others can see.
const CALLS: &str = "pwrite64,write,fdatasync,ftruncate,unlink,clone";
/// More calls than a tick of three tasks makes.
const MOST: u32 = 300;

fn with_three_tasks() -> Home {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "2"]);
    home.method(
        "m",
        "echo $RUNNER_TASK >> ran; echo said; echo '{\"type\":\"result\",\"value\":1}'",
    );
    home.write("three.jsonl", "{\"method\":\"m\"}\n".repeat(3));
    home.ok(["task", "add", "--batch", "three.jsonl"]);
    home
}

fn assert_all_is_well(home: &Home, after: &str) {
    home.run(["tick"]);
    assert_eq!(home.ok(["tick"]), "", "{after}");
    assert_eq!(
        home.sql_value::<String>("PRAGMA integrity_check"),
        "ok",
        "{after}"
    );
    for nothing in [
        "SELECT count(*) FROM pragma_foreign_key_check",
        "SELECT count(*) FROM worker",
        "SELECT count(*) FROM task WHERE status NOT IN ('COMPLETED', 'INTERRUPTED')",
    ] {
        assert_eq!(home.sql_value::<i64>(nothing), 0, "{after}: {nothing}");
    }
    let ran = home.lines("ran");
    let once: HashSet<&String> = ran.iter().collect();
    assert_eq!(once.len(), ran.len(), "{after}: {ran:?}");
    let completed: i64 = home.sql_value("SELECT count(*) FROM task WHERE status = 'COMPLETED'");
    assert!(ran.len() >= usize::try_from(completed).unwrap(), "{after}");
}

#[test]
#[ignore = "it runs a tick some hundred times"]
fn killed_at_any_call() {
    if !may_trace() {
        return;
    }
    for n in 1..MOST {
        let home = with_three_tasks();
        if tick_with(&home, CALLS, "signal=SIGKILL", n).is_none() {
            assert!(n > 10, "nothing was injected");
            return;
        }
        assert_all_is_well(&home, &format!("killed at call {n}"));
    }
    panic!("a tick of three tasks makes more than {MOST} calls");
}

#[test]
#[ignore = "it runs a tick some hundred times"]
fn failed_by_the_disk_at_any_write() {
    if !may_trace() {
        return;
    }
    for (calls, error) in [
        ("pwrite64", "error=ENOSPC"),
        ("pwrite64", "error=EIO"),
        ("fdatasync", "error=EIO"),
    ] {
        for n in 1..MOST {
            let home = with_three_tasks();
            let Some(answer) = tick_with(&home, calls, error, n) else {
                break;
            };
            // What fails when the database is closed harms nothing: all of it is in the write-ahead log.
            if answer.code() != 0 {
                answer.refused();
            }
            assert_all_is_well(&home, &format!("{calls} {error} at {n}"));
        }
    }
}
