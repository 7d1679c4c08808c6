//! Waiting for tasks, following what they log, and changing them before they run.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::kit::process::until;
use crate::kit::runner::Home;

/// A handler that logs and reports progress, then waits for the file `go`.
const STEPS: &str = "echo one
echo '{\"type\":\"progress\",\"step\":1,\"max\":2}'
until [ -e go ]; do sleep 0.02; done
echo '{\"type\":\"progress\",\"step\":2,\"max\":2}'
echo two";

#[test]
fn the_log_of_a_task_that_a_tick_runs_can_be_followed_to_its_end() {
    let home = Home::new();
    home.method("m", STEPS);
    home.ok(["task", "add", "m"]);
    let follow = home.start(["task", "logs", "1", "--follow"]);
    let json = home.start(["--json", "task", "logs", "1", "--follow"]);
    let tick = home.start(["tick"]);
    until("it has logged", || home.task("1")["progress"]["step"] == 1);
    sleep(Duration::from_secs(1));
    home.write("go", "");
    tick.end().ok();
    let shown = follow.end().ok();
    let lines: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().rev().take(2).collect())
        .collect();
    assert!(lines.contains(&vec!["one", "info"]), "{shown}");
    assert!(lines.contains(&vec!["1/2", "progress"]), "{shown}");
    assert!(lines.contains(&vec!["two", "info"]), "{shown}");
    let answer = json.end();
    assert!(answer.err().contains("progress 1/2"), "{}", answer.err());
    assert_eq!(answer.json()[1]["message"], "two");
}

#[test]
fn following_goes_on_over_attempts_and_each_has_its_heading() {
    let home = Home::new();
    home.method_with("m", &["--retries", "1"], "echo try; [ -e go ]");
    home.ok(["task", "add", "m"]);
    home.run(["tick"]);
    let follow = home.start(["task", "logs", "1", "--follow"]);
    home.write("go", "");
    home.ok(["task", "run", "1"]);
    let shown = follow.end().ok();
    assert_eq!(shown, home.ok(["task", "logs", "1"]));
    let lines: Vec<_> = shown.lines().map(|line| line.rsplit("  ").next()).collect();
    assert_eq!(
        lines,
        [
            Some("try"),
            Some("exit status 1"),
            Some("--- attempt 2 ---"),
            Some("try"),
        ]
    );
    let attempts = |arguments: &[&str]| {
        let logs = home.json([&["task", "logs", "1"], arguments].concat());
        let logs = logs.as_array().unwrap().iter();
        logs.map(|log| log["attempt"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(attempts(&[]), [1, 1, 2]);
    assert_eq!(attempts(&["--attempt", "2"]), [2]);
    assert_eq!(attempts(&["--attempt", "3"]), [0; 0]);
    assert_eq!(home.task("1")["logs"][2]["attempt"], 2);
}

#[test]
fn following_ends_with_a_task_that_is_over_and_with_its_reader() {
    let home = Home::new();
    home.method("m", STEPS);
    home.write("go", "");
    home.ok(["task", "add", "m"]);
    home.ok(["task", "run", "1"]);
    let shown = home.ok(["task", "logs", "1", "--follow"]);
    assert_eq!(shown.lines().count(), 3, "{shown}");
    let told = home.refused(["task", "logs", "2", "--follow"]);
    assert!(told.contains("no task 2"), "{told}");
}

#[test]
fn who_waits_for_tasks_learns_whether_all_were_completed() {
    let home = Home::new();
    home.method("good", "until [ -e go ]; do sleep 0.02; done");
    home.method("bad", "exit 1");
    for method in ["good", "bad", "good"] {
        home.ok(["task", "add", method]);
    }
    let wait = home.start(["task", "wait", "1", "3"]);
    let json = home.start(["--json", "task", "wait", "2"]);
    let tick = home.start(["tick"]);
    home.write("go", "");
    tick.end();
    assert_eq!(wait.end().ok(), "");
    let failed = json.end();
    assert_eq!(failed.code(), 1);
    assert_eq!(failed.json(), json!([{"id": 2, "status": "FAILED"}]));
    assert_eq!(
        home.refused(["task", "wait", "1", "2"]),
        "runner: task 2: it is over, and not completed (FAILED)"
    );
    home.ok(["task", "add", "good", "--at", "2099-01-01"]);
    assert_eq!(
        home.refused(["task", "wait", "4", "--timeout", "1s"]),
        "runner: task 4: it is not over yet (TO_RUN)"
    );
    assert!(home.refused(["task", "wait", "9"]).contains("no task 9"));
    for wrong in [&["1", "--timeout", "soon"][..], &[]] {
        assert_eq!(home.run([&["task", "wait"], wrong].concat()).code(), 2);
    }
}

#[test]
fn a_task_that_does_not_run_yet_can_be_changed() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.method("m", "cat > input");
    home.ok(["doc", "add", "--key", "invoice"]);
    home.ok(["task", "add", "m", "-p", "a=1", "-p", "b=2"]);
    let changes = [
        "-p",
        "b:=3",
        "-p",
        "c=4",
        "--hidden-params",
        "{\"token\":\"t\"}",
        "--signature",
        "s",
        "--owner",
        "ada@example.org",
        "--notify",
        "failed",
        "--priority",
        "-5",
        "--retries",
        "2",
        "--timeout",
        "1m",
        "--document",
        "invoice",
        "--at",
        "+2h",
    ];
    assert_eq!(home.ok([&["task", "set", "1"], &changes[..]].concat()), "");
    let task = home.task("1");
    let expected = json!({
        "params": {"a": "1", "b": 3, "c": "4"}, "hidden_params": {"token": "***"}, "signature": "s",
        "owner": "ada@example.org", "notify": "failed", "priority": -5, "retries": 2, "timeout": "1m", "document": 1,
        "run_at": "2026-04-10T11:00:00Z", "status": "TO_RUN",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&task[field], value, "{field}");
    }
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "TO_RUN", "its time has not come");
    home.set_now("2026-04-10T11:00");
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
    let input: serde_json::Value = serde_json::from_str(&home.read("input")).unwrap();
    assert_eq!(input["hidden_params"]["token"], "t");
    let told = home.refused(["task", "set", "1", "--priority", "1"]);
    assert_eq!(
        told,
        "runner: task 1: only a task that does not run yet can be changed, and it is COMPLETED"
    );
}

#[test]
fn an_empty_text_takes_away_what_a_task_was_given() {
    let home = Home::new();
    home.method("m", "exit 0");
    home.ok(["doc", "add"]);
    home.ok([
        "task",
        "add",
        "m",
        "--at",
        "2099-01-01",
        "--owner",
        "o",
        "--signature",
        "s",
        "--timeout",
        "1h",
        "--document",
        "1",
        "--params",
        "{\"a\":1}",
    ]);
    home.ok([
        "task",
        "set",
        "1",
        "--at",
        "",
        "--owner",
        "",
        "--signature",
        "",
        "--timeout",
        "",
        "--document",
        "",
        "--params",
        "{}",
    ]);
    let task = home.task("1");
    for field in ["run_at", "owner", "signature", "timeout", "document"] {
        assert_eq!(task[field], json!(null), "{field}");
    }
    assert_eq!(task["params"], json!({}));
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED", "it waits no longer");
}

#[test]
fn changes_that_cannot_be_are_refused_and_change_nothing() {
    let home = Home::new();
    home.method("m", "exit 0");
    home.ok(["task", "add", "m", "--params", "[1]"]);
    let before = home.task("1");
    for (changes, code) in [
        (&[][..], 2),
        (&["--at", "tomorrowish"], 2),
        (&["--priority", "1", "--timeout", "long"], 2),
        (&["--retries", "many"], 2),
        (&["-p", "x"], 2),
        (&["--priority", "1", "-p", "x=1"], 1),
        (&["--priority", "1", "--document", "nowhere"], 1),
        (&["--params", "{"], 1),
    ] {
        let answer = home.run([&["task", "set", "1"], changes].concat());
        assert_eq!(answer.code(), code, "{}", answer.all());
    }
    assert_eq!(home.task("1"), before);
    assert!(
        home.refused(["task", "set", "9", "--priority", "1"])
            .contains("no task 9")
    );
}
