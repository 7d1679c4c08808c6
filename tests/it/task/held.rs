//! Tasks that are held until somebody releases them.

use serde_json::json;

use crate::kit::runner::Home;

/// A home whose method `m` notes the tasks that it runs.
fn home() -> Home {
    let home = Home::new();
    home.method(
        "m",
        "cat \"${RUNNER_FILE:-/dev/null}\"; echo $RUNNER_TASK >> ran",
    );
    home
}

#[test]
fn a_held_task_waits_until_it_is_released() {
    let home = home();
    home.ok(["task", "add", "m", "--hold"]);
    home.ok(["task", "add", "m"]);
    assert_eq!(home.task("1")["held"], true);
    assert_eq!(home.task("2")["held"], false);
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "WAITING");
    assert_eq!(home.lines("ran"), ["2"]);
    assert_eq!(home.ok(["task", "release", "1"]), "");
    assert_eq!(home.status("1"), "TO_RUN");
    assert_eq!(home.task("1")["held"], false);
    home.ok(["tick"]);
    assert_eq!(home.lines("ran"), ["2", "1"]);
}

#[test]
fn a_file_can_be_given_before_it_runs() {
    let home = home();
    home.write("members.csv", "Ada\n");
    home.ok(["task", "add", "m", "--hold"]);
    home.ok(["task", "file", "1", "--set", "members.csv"]);
    home.ok(["task", "release", "1"]);
    home.ok(["tick"]);
    assert_eq!(home.logs("1"), [("info".to_owned(), "Ada".to_owned())]);
}

#[test]
fn one_that_follows_another_needs_both() {
    for release_first in [true, false] {
        let home = home();
        home.ok(["task", "add", "m", "--hold"]);
        home.ok(["task", "add", "m", "--after", "1", "--hold"]);
        if release_first {
            home.ok(["task", "release", "2"]);
            assert_eq!(home.status("2"), "WAITING", "task 1 is not completed");
        }
        home.ok(["task", "run", "1"]);
        if !release_first {
            assert_eq!(home.status("2"), "WAITING", "it is still held");
            home.ok(["task", "release", "2"]);
        }
        assert_eq!(home.status("2"), "TO_RUN", "{release_first}");
        home.ok(["tick"]);
        assert_eq!(home.lines("ran"), ["1", "2"]);
    }
}

#[test]
fn several_are_released_at_once_or_none() {
    let home = home();
    for hold in [&["--hold"][..], &["--hold"], &[]] {
        home.ok([&["task", "add", "m"], hold].concat());
    }
    let refused = home.refused(["task", "release", "1", "2", "3"]);
    assert_eq!(refused, "runner: task 3: it is not held (TO_RUN)");
    assert_eq!(home.status("1"), "WAITING");
    assert!(home.refused(["task", "release", "9"]).contains("no task 9"));
    home.ok(["task", "release", "1", "2"]);
    assert_eq!(home.status("1"), "TO_RUN");
    assert_eq!(home.status("2"), "TO_RUN");
    assert_eq!(home.run(["task", "release"]).code(), 2);
}

#[test]
fn it_keeps_its_time_and_can_be_run_cancelled_and_restarted() {
    let mut home = home().at("2026-04-10T09:00");
    home.ok(["task", "add", "m", "--hold", "--at", "2026-04-10T10:00"]);
    home.ok(["task", "release", "1"]);
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "TO_RUN", "its time has not come");
    home.set_now("2026-04-10T10:00");
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
    home.ok(["task", "add", "m", "--hold"]);
    home.ok(["task", "run", "2"]);
    assert_eq!(home.task("2")["held"], false);
    home.ok(["task", "add", "m", "--hold"]);
    home.ok(["task", "cancel", "3"]);
    let over = home.refused(["task", "release", "3"]);
    assert!(over.contains("it is not held (CANCELLED)"), "{over}");
    home.ok(["task", "restart", "3"]);
    assert_eq!(home.status("3"), "TO_RUN");
    home.ok(["tick"]);
    assert_eq!(home.lines("ran"), ["1", "2", "3"]);
}

#[test]
fn a_batch_and_sql_hold_tasks_too() {
    let home = home();
    home.write(
        "tasks.jsonl",
        "{\"method\":\"m\",\"hold\":true}\n{\"method\":\"m\",\"hold\":false}\n",
    );
    home.ok(["task", "add", "--batch", "tasks.jsonl"]);
    home.sql("INSERT INTO task (method, held) VALUES ('m', 1)");
    home.sql("INSERT INTO task (method, run_at, held) VALUES ('m', '2020-01-01 00:00:00', 1)");
    let held = home.json(["task", "list", "--status", "WAITING"]);
    let ids: Vec<_> = held
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["id"])
        .collect();
    assert_eq!(json!(ids), json!([1, 3, 4]));
    home.ok(["tick"]);
    assert_eq!(home.lines("ran"), ["2"]);
    home.sql("UPDATE task SET held = 0 WHERE id = 3");
    home.ok(["task", "release", "1", "4"]);
    home.ok(["tick"]);
    let mut ran = home.lines("ran");
    ran.sort();
    assert_eq!(ran, ["1", "2", "3", "4"]);
    home.sql(
        "INSERT INTO task (method) VALUES ('m'); UPDATE task SET held = 1 WHERE status = 'TO_RUN'",
    );
    assert_eq!(home.status("5"), "WAITING");
}

/// What has been completed is no longer waited for, so that its end as a row is none of its follower's business.
#[test]
fn one_whose_predecessor_was_completed_and_is_deleted_stays_held() {
    let home = home();
    home.ok(["task", "add", "m"]);
    home.ok(["task", "add", "m", "--after", "1", "--hold"]);
    home.ok(["tick"]);
    home.ok(["task", "delete", "1"]);
    assert_eq!(home.status("2"), "WAITING");
    home.ok(["task", "release", "2"]);
    home.ok(["tick"]);
    assert_eq!(home.status("2"), "COMPLETED");
}
