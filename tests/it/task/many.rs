//! Many tasks in one command: several ids, or all that filters let through.

use crate::kit::runner::Home;
use crate::kit::terminal::on_a_terminal;

/// Four tasks: one that is completed, two that have failed and one that waits for its time.
fn home() -> Home {
    let home = Home::new();
    home.method("good", "exit 0");
    home.method("bad", "exit 1");
    home.ok(["task", "add", "good", "--owner", "ada@example.org"]);
    home.ok(["task", "add", "bad", "--signature", "a"]);
    home.ok(["task", "add", "bad", "--owner", "ada@example.org"]);
    home.ok(["task", "add", "good", "--at", "2099-01-01"]);
    home.run(["tick"]);
    home
}

/// The ids of the tasks that `task list` shows with these filters.
fn listed(home: &Home, filters: &[&str]) -> Vec<i64> {
    let tasks = home.json([&["task", "list"], filters].concat());
    let tasks = tasks.as_array().unwrap().iter();
    tasks.map(|task| task["id"].as_i64().unwrap()).collect()
}

#[test]
fn a_list_shows_what_all_filters_let_through() {
    let home = home();
    home.sql("UPDATE task SET ended_at = '2026-04-10 09:00:00' WHERE id = 2");
    home.sql("UPDATE task SET ended_at = '2026-04-11 09:00:00' WHERE id = 3");
    home.sql("UPDATE task SET schedule = 'nightly' WHERE id = 1");
    for (filters, ids) in [
        (&["--status", "failed"][..], &[2, 3][..]),
        (&["--status", "FAILED", "--status", "to_run"], &[2, 3, 4]),
        (&["--method", "good"], &[1, 4]),
        (&["--owner", "ada@example.org"], &[1, 3]),
        (&["--owner", "ada@example.org", "--status", "FAILED"], &[3]),
        (&["--signature", "a"], &[2]),
        (&["--schedule", "nightly"], &[1]),
        (&["--since", "2026-04-10T10:00"], &[1, 3, 4]),
        (&["--until", "2026-04-11T09:00"], &[2]),
        (
            &["--since", "2026-04-10T09:00", "--until", "2026-04-12"],
            &[2, 3],
        ),
    ] {
        assert_eq!(listed(&home, filters), ids, "{filters:?}");
    }
    let wrong = home.run(["task", "list", "--since", "yesterdayish"]);
    assert_eq!(wrong.code(), 2, "{}", wrong.all());
}

#[test]
fn several_ids_are_changed_or_none() {
    let home = home();
    home.ok(["task", "restart", "2", "3", "2"]);
    assert_eq!(listed(&home, &["--status", "TO_RUN"]), [2, 3, 4]);
    let refused = home.refused(["task", "cancel", "2", "1"]);
    assert!(
        refused.contains("task 1: it is over already (COMPLETED)"),
        "{refused}"
    );
    assert_eq!(home.status("2"), "TO_RUN");
    home.ok(["task", "cancel", "2", "3"]);
    assert!(
        home.refused(["task", "delete", "1", "9"])
            .contains("no task 9")
    );
    home.ok(["task", "delete", "1", "2"]);
    assert_eq!(listed(&home, &[]), [3, 4]);
}

#[test]
fn all_needs_a_filter_and_a_yes_where_nobody_can_be_asked() {
    let home = home();
    for command in ["stop", "cancel", "restart", "delete", "release"] {
        for arguments in [
            &["--all", "--yes"][..],
            &["--all", "--yes", "1", "--method", "bad"],
            &["1", "--method", "bad"],
            &[],
        ] {
            let answer = home.run([&["task", command], arguments].concat());
            assert_eq!(answer.code(), 2, "{}", answer.all());
        }
    }
    let answer = home.run(["task", "delete", "--all", "--status", "FAILED"]);
    assert_eq!(answer.code(), 2);
    assert_eq!(
        answer.err(),
        "runner: --all: delete 2 tasks? --yes says so where nobody can be asked"
    );
    assert_eq!(listed(&home, &[]), [1, 2, 3, 4]);
    let deleted = home.json(["task", "delete", "--all", "--status", "FAILED", "--yes"]);
    assert_eq!(deleted, serde_json::json!({"deleted": 2}));
    assert_eq!(listed(&home, &[]), [1, 4]);
    assert_eq!(
        home.ok(["task", "delete", "--all", "--status", "FAILED"]),
        "0"
    );
}

#[test]
fn all_means_those_that_it_can_be_done_to() {
    let home = home();
    let all = |command, filter, value| home.ok(["task", command, "--all", filter, value, "--yes"]);
    assert_eq!(all("restart", "--since", "2020-01-01"), "3");
    assert_eq!(all("cancel", "--method", "bad"), "2");
    assert_eq!(all("cancel", "--status", "CANCELLED"), "0");
    home.ok(["task", "add", "good", "--hold"]);
    home.ok(["task", "add", "good", "--after", "4"]);
    assert_eq!(all("release", "--method", "good"), "1");
    assert_eq!(home.status("5"), "TO_RUN");
    assert_eq!(home.status("6"), "WAITING");
    assert_eq!(all("stop", "--method", "good"), "0");
}

#[test]
fn running_ones_are_all_ended_before_the_command_does() {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "2"]);
    home.method("m", "echo > begun-$RUNNER_TASK; exec sleep 300");
    home.ok(["task", "add", "m"]);
    home.ok(["task", "add", "m"]);
    let tick = home.start(["tick"]);
    crate::kit::process::until("both have begun", || {
        home.path("begun-1").exists() && home.path("begun-2").exists()
    });
    let stopped = home.ok(["task", "stop", "--all", "--method", "m", "--yes"]);
    assert_eq!(stopped, "2");
    assert_eq!([home.status("1"), home.status("2")], ["INTERRUPTED"; 2]);
    tick.end();
}

#[test]
fn on_a_terminal_all_asks_how_many() {
    let home = home();
    let runner = env!("CARGO_BIN_EXE_runner");
    let asked = on_a_terminal(
        &home,
        &format!("{runner} task delete --all --status FAILED"),
    );
    let Some(asked) = asked else { return };
    assert!(asked.contains("delete 2 tasks? [y/N]"), "{asked}");
    assert_eq!(listed(&home, &[]), [1, 2, 3, 4], "nobody has answered");
}

#[test]
fn the_list_shows_how_long_a_task_took_and_what_it_waits_for() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.method("m", "exit 1");
    home.ok(["task", "add", "m", "--retries", "1"]);
    home.ok(["task", "add", "m", "--at", "2026-04-10T12:00"]);
    home.ok(["task", "add", "m", "--hold"]);
    home.ok(["task", "add", "m", "--after", "2"]);
    home.run(["tick"]);
    home.sql("INSERT INTO task (method, status, created_at, started_at, ended_at, duration_ms)
              VALUES ('m', 'COMPLETED', '2026-04-10 07:00:00', '2026-04-10 08:00:00', '2026-04-10 08:01:05', 65432)");
    home.sql(
        "INSERT INTO task (method, status, created_at, started_at)
              VALUES ('m', 'RUNNING', '2026-04-10 07:00:00', '2026-04-10 08:00:00')",
    );
    home.set_now("2026-04-10T10:02");
    let list = home.ok(["task", "list"]);
    let rows: Vec<Vec<&str>> = list
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        [
            "ID",
            "STATUS",
            "METHOD",
            "SIGNATURE",
            "SINCE",
            "TOOK",
            "PROGRESS"
        ]
    );
    let ends = [
        "2026-04-10 09:00:00 attempt 2",
        "2026-04-10 09:00:00 at 2026-04-10 12:00:00",
        "2026-04-10 09:00:00 held",
        "2026-04-10 09:00:00 after 2",
        "2026-04-10 08:01:05 1m 05s",
        "2026-04-10 08:00:00 2h 02m",
    ];
    for (row, end) in rows[1..].iter().zip(ends) {
        assert_eq!(row[4..].join(" "), end, "{list}");
    }
    home.set_now("2026-04-10T09:00:30");
    let list = home.ok(["task", "list"]);
    assert!(list.contains("attempt 2 at 2026-04-10 09:01:00"), "{list}");
}
