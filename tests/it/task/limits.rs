//! Methods that may run so many of their tasks at once, and those that do the tasks of one signature one after another.

use std::time::{Duration, Instant};

use crate::kit::process::until;
use crate::kit::runner::Home;

/// Notes when a task begins and ends, and runs until the file `go` is there.
const WAITS: &str = r#"echo + $RUNNER_TASK >> ran
n=0; while [ ! -e go ] && [ $n -lt 1500 ]; do sleep 0.02; n=$((n + 1)); done
echo - $RUNNER_TASK >> ran"#;

/// A home with six slots.
fn home() -> Home {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "6"]);
    home.method("other", "echo other $RUNNER_TASK >> ran");
    home
}

fn add(home: &Home, method: &str, signature: Option<&str>) -> String {
    let signature = signature.map(|signature| ["--signature", signature]);
    let options = signature.into_iter().flatten();
    home.ok(["task", "add", method].into_iter().chain(options))
}

fn running(home: &Home) -> Vec<i64> {
    let running = home.json(["task", "list", "--status", "RUNNING"]);
    let ids = running.as_array().unwrap().iter();
    ids.map(|task| task["id"].as_i64().unwrap()).collect()
}

fn until_running(home: &Home, expected: &[i64]) {
    until(&format!("{expected:?} run"), || running(home) == expected);
}

/// These run, and for a while no other does.
fn stays(home: &Home, expected: &[i64]) {
    until_running(home, expected);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(running(home), expected);
}

#[test]
fn so_many_run_at_once_over_all_ticks_and_the_others_are_not_held_up() {
    let home = home();
    home.method_with("few", &["--max-running", "2"], WAITS);
    for _ in 0..5 {
        add(&home, "few", None);
    }
    add(&home, "other", None);
    let first = home.start(["tick"]);
    until("another is done", || {
        running(&home).len() == 2 && home.status("6") == "COMPLETED"
    });
    let second = home.start(["tick"]);
    add(&home, "other", None);
    until("another is done", || home.status("7") == "COMPLETED");
    stays(&home, &[1, 2]);
    home.write("go", "");
    for tick in [first, second] {
        tick.end().ok();
    }
    assert_eq!(home.json(["status"])["tasks"]["COMPLETED"], 7);
    let mut at_once = 0;
    for line in home.lines("ran") {
        at_once += i32::from(line.starts_with('+')) - i32::from(line.starts_with('-'));
        assert!(at_once <= 2, "{:?}", home.lines("ran"));
    }
}

#[test]
fn a_service_is_counted_as_one_and_a_method_of_its_own_name_is_not_of_it() {
    let home = home();
    home.method_with("S:*", &["--max-running", "1"], WAITS);
    home.method("S:own", WAITS);
    for method in ["S:a", "S:b", "S:own", "S:own"] {
        add(&home, method, None);
    }
    let tick = home.start(["tick"]);
    stays(&home, &[1, 3, 4]);
    home.write("go", "");
    tick.end().ok();
    assert_eq!(home.status("2"), "COMPLETED");
}

#[test]
fn of_a_full_method_the_most_urgent_is_next() {
    let home = home();
    home.method_with("m", &["--max-running", "1"], "echo $RUNNER_TASK >> ran");
    for priority in ["0", "5", "-1", "5"] {
        home.ok(["task", "add", "m", "--priority", priority]);
    }
    home.ok(["tick"]);
    assert_eq!(home.lines("ran"), ["2", "4", "1", "3"]);
}

#[test]
fn a_limit_can_be_changed_and_taken_away_while_tasks_wait() {
    let home = home();
    home.method("m", WAITS);
    for _ in 0..4 {
        add(&home, "m", Some("s"));
    }
    let set = |options: &[&str]| {
        let program = home.path("m.sh");
        let command = ["--", program.to_str().unwrap()];
        home.ok([&["method", "set", "m"], options, &command].concat());
    };
    set(&["--max-running", "1", "--serial"]);
    let methods = home.json(["method", "list"]);
    assert_eq!(
        (&methods[0]["max_running"], &methods[0]["serial"]),
        (&1.into(), &true.into())
    );
    let mut ticks = vec![home.start(["tick"])];
    stays(&home, &[1]);
    set(&["--max-running", "3"]);
    until_running(&home, &[1, 2, 3]);
    set(&[]);
    ticks.push(home.start(["tick"]));
    until_running(&home, &[1, 2, 3, 4]);
    home.write("go", "");
    for tick in ticks {
        tick.end().ok();
    }
}

#[test]
fn task_run_is_not_bound_by_the_number() {
    let home = home();
    home.method_with("m", &["--max-running", "1"], WAITS);
    add(&home, "m", None);
    add(&home, "m", None);
    let tick = home.start(["tick"]);
    until_running(&home, &[1]);
    let by_hand = home.start(["task", "run", "2"]);
    until_running(&home, &[1, 2]);
    home.write("go", "");
    tick.end().ok();
    by_hand.end().ok();
}

#[test]
fn of_one_signature_a_serial_method_runs_one_at_a_time_the_oldest_first() {
    let home = home();
    home.method_with("m", &["--serial"], WAITS);
    for signature in [
        Some("a"),
        Some("a"),
        Some("b"),
        None,
        None,
        Some("a"),
        Some(""),
    ] {
        add(&home, "m", signature);
    }
    home.ok(["task", "add", "m", "--signature", "b", "--priority", "9"]);
    add(&home, "other", Some("a"));
    let tick = home.start(["tick"]);
    stays(&home, &[1, 3, 4, 5, 7]);
    let refused = home.refused(["task", "run", "2"]);
    assert_eq!(
        refused,
        "runner: task 2: its method is serial, and task 1 of the same signature is running"
    );
    home.write("go", "");
    tick.end().ok();
    let ran = home.lines("ran");
    let place = |line: &str| ran.iter().position(|ran| ran == line).unwrap();
    assert!(
        place("- 1") < place("+ 2") && place("- 2") < place("+ 6"),
        "{ran:?}"
    );
    assert!(place("- 3") < place("+ 8"), "{ran:?}");
}

#[test]
fn a_task_that_was_over_before_its_method_became_serial_is_bound_by_it_too() {
    let home = home();
    home.method("m", "true");
    add(&home, "m", Some("s"));
    home.ok(["tick"]);
    home.method_with("m", &["--serial"], WAITS);
    add(&home, "m", Some("s"));
    let tick = home.start(["tick"]);
    until_running(&home, &[2]);
    let refused = home.refused(["task", "run", "1"]);
    assert!(
        refused.contains("task 2 of the same signature is running"),
        "{refused}"
    );
    home.ok(["task", "restart", "1"]);
    stays(&home, &[2]);
    home.write("go", "");
    tick.end().ok();
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
fn what_is_held_waits_is_to_come_or_is_tried_again_does_not_block() {
    let mut home = home().at("2026-04-10T09:00");
    home.method_with(
        "m",
        &["--serial"],
        "echo $RUNNER_TASK >> ran; test $RUNNER_TASK != 4",
    );
    home.method("never", "exit 1");
    home.ok(["task", "add", "never"]);
    for options in [
        &["--hold"][..],
        &["--after", "1"],
        &["--retries", "1"],
        &["--at", "2026-04-11"],
        &[],
    ] {
        home.ok([&["task", "add", "m", "--signature", "s"], options].concat());
    }
    home.run(["tick"]);
    assert_eq!(home.lines("ran"), ["4", "6"]);
    home.ok(["task", "release", "2"]);
    add(&home, "m", Some("s"));
    home.set_now("2026-04-11");
    home.run(["tick"]);
    assert_eq!(home.lines("ran"), ["4", "6", "2", "4", "5", "7"]);
}

/// Whatever plain SQL does to tasks and methods, none is left behind for ever.
#[test]
fn none_is_left_behind_whatever_becomes_of_the_others() {
    for sql in [
        "DELETE FROM task WHERE id = 1",
        "UPDATE task SET status = 'CANCELLED' WHERE id = 1",
        "UPDATE task SET signature = 't' WHERE id = 1",
        "UPDATE task SET method = 'other' WHERE id = 1",
        "UPDATE task SET run_at = '2100-01-01 00:00:00', deferred = 1 WHERE id = 1",
        "UPDATE method SET serial = 0 WHERE name = 'm'",
        "INSERT OR REPLACE INTO method (name, command) VALUES ('m', '[\"true\"]')",
        "INSERT OR REPLACE INTO method (name, command, max_running) VALUES ('m', '[\"true\"]', 1)",
        "DELETE FROM method WHERE name = 'm'; INSERT INTO method (name, command) VALUES ('m', '[\"true\"]')",
        "UPDATE method SET max_running = 1 WHERE name = 'm'",
    ] {
        let home = home();
        home.method_with("m", &["--serial"], "echo $RUNNER_TASK >> ran");
        for _ in 0..3 {
            add(&home, "m", Some("s"));
        }
        home.sql(sql);
        home.ok(["tick"]);
        assert_eq!(home.status("2"), "COMPLETED", "{sql}");
        assert_eq!(home.status("3"), "COMPLETED", "{sql}");
    }
}

#[test]
fn after_a_crash_the_next_of_its_signature_runs() {
    let home = home();
    home.method_with("m", &["--serial", "--max-running", "1"], WAITS);
    add(&home, "m", Some("s"));
    add(&home, "m", Some("s"));
    let tick = home.start(["tick"]);
    until("it runs", || home.lines("ran") == ["+ 1"]);
    tick.kill();
    home.write("go", "");
    home.run(["tick"]);
    assert_eq!(home.status("1"), "INTERRUPTED");
    assert_eq!(home.status("2"), "COMPLETED");
}

/// Many tasks behind one signature, and many signatures: a tick that does a few others takes no longer for them.
#[test]
fn many_that_wait_are_not_looked_at_again() {
    let home = home();
    home.method_with("one", &["--serial"], "sleep 60");
    home.method_with("full", &["--max-running", "1"], "sleep 60");
    home.sql(
        "INSERT INTO task (method, signature)
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
         SELECT CASE WHEN n % 2 THEN 'one' ELSE 'full' END, CASE WHEN n % 2 THEN 's' ELSE n END FROM n",
    );
    let tick = home.start(["tick"]);
    until_running(&home, &[1, 2]);
    for _ in 0..3 {
        home.ok(["task", "add", "other", "--priority", "-5"]);
    }
    let begun = Instant::now();
    home.ok(["tick"]);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(home.lines("ran").len(), 3);
    tick.kill();
}

#[test]
fn limits_that_are_none_are_refused() {
    let home = home();
    for number in ["0", "-1", "many"] {
        let set = ["method", "set", "m", "--max-running", number, "--", "true"];
        assert_eq!(home.run(set).code(), 2, "{number}");
    }
    let connection = rusqlite::Connection::open(home.db()).unwrap();
    for column in ["max_running = 0", "serial = 2"] {
        let sql = format!("UPDATE method SET {column}");
        assert!(connection.execute(&sql, []).is_err(), "{column}");
    }
}
