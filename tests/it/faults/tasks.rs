//! A tick that is killed, or whose disk fails, at each of its system calls in turn: the database stays sound, the next
//! ticks do what is left, and nothing is run twice. Needs strace(1), and leave to use it.
use std::collections::HashSet;

use crate::kit::faults::{stride, tell};
use crate::kit::runner::Home;
use crate::kit::trace::{may_trace, run_with, tick_with};

/// The calls that change what others can see.
const CALLS: &str = "pwrite64,write,fdatasync,ftruncate,unlink,clone3,execve";
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

/// Tries a fault at each of these calls until a tick makes none, or at some of them in the short form.
fn sweep(calls: &str, what: &str, short: usize) {
    if !may_trace() {
        return;
    }
    let step = stride(short);
    let survives = |n: &u32| {
        let home = with_three_tasks();
        let Some(answer) = tick_with(&home, calls, what, *n) else {
            return false;
        };
        // What fails when the database is closed harms nothing: all of it is in the write-ahead log.
        if what.starts_with("error") && answer.code() != 0 {
            answer.refused();
        }
        assert_all_is_well(&home, &format!("{what} at {n} of {calls}"));
        true
    };
    let tried = (1..MOST).step_by(step).take_while(survives).count();
    assert!(
        (1..MOST as usize).contains(&(tried * step)),
        "{tried} of {calls}"
    );
    tell(&format!("three tasks: {what} at {calls}"), tried);
}

#[test]
fn killed_at_any_call() {
    sweep(CALLS, "signal=SIGKILL", 17);
}

#[test]
fn a_disk_that_is_full_at_any_write() {
    sweep("pwrite64", "error=ENOSPC", 13);
}

#[test]
fn a_disk_that_fails_at_any_write() {
    sweep("pwrite64", "error=EIO", 13);
}

#[test]
fn a_disk_that_fails_at_any_sync() {
    sweep("fsync,fdatasync", "error=EIO", 3);
}

/// A disk that takes its time only costs time.
#[test]
fn a_disk_that_is_slow() {
    sweep("fsync,fdatasync", "delay_enter=100000", 5);
}

/// What a signal interrupts is done all the same.
#[test]
fn a_wait_that_is_interrupted() {
    sweep("ppoll", "error=EINTR", 2);
}

/// A database is made whole or not at all, and what was begun can be made again.
#[test]
fn killed_at_any_call_of_init() {
    if !may_trace() {
        return;
    }
    let survives = |n: &u32| {
        let home = Home::without_database();
        if run_with(&home, &["init"], CALLS, "signal=SIGKILL", *n).is_none() {
            return false;
        }
        let after = format!("killed at call {n}");
        match home.run(["status"]) {
            whole if whole.code() == 0 => {
                assert!(home.refused(["init"]).contains("exists already"), "{after}");
            }
            nothing => {
                nothing.refused();
                home.ok(["init"]);
            }
        }
        home.ok(["tick"]);
        assert_eq!(
            home.sql_value::<String>("PRAGMA integrity_check"),
            "ok",
            "{after}"
        );
        true
    };
    let step = stride(5);
    let tried = (1..MOST).step_by(step).take_while(survives).count();
    assert!((2..MOST as usize).contains(&(tried * step)), "{tried}");
    tell("init: killed at any call", tried);
}
