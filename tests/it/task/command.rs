//! Tasks with a command of their own, and tasks that are run as soon as they are added.

use serde_json::json;

use crate::kit::process::until;
use crate::kit::runner::Home;

#[test]
fn a_task_may_have_a_command_in_place_of_a_method() {
    let home = Home::new();
    assert_eq!(
        home.ok([
            "task",
            "add",
            "--signature",
            "s",
            "--",
            "echo",
            "hello",
            "--now"
        ]),
        "1"
    );
    let task = home.task("1");
    assert_eq!(task["method"], json!(null));
    assert_eq!(task["command"], json!(["echo", "hello", "--now"]));
    let list = home.ok(["task", "list"]);
    assert!(list.contains("echo hello --now"), "{list}");
    let shown = home.ok(["task", "show", "1"]);
    assert!(shown.contains("echo hello --now"), "{shown}");
    let doctor = home.run(["doctor"]).all();
    assert!(!doctor.contains("is not registered"), "{doctor}");
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
    assert_eq!(
        home.logs("1"),
        [("info".to_owned(), "hello --now".to_owned())]
    );
}

#[test]
fn it_has_all_that_other_tasks_have() {
    let home = Home::new();
    let script = "read -r input; echo \"$input\" > input; echo $RUNNER_TASK; exit 3";
    home.ok([
        "task",
        "add",
        "-p",
        "a=1",
        "--hidden-params",
        "{\"t\":\"secret\"}",
        "--retries",
        "1",
        "--timeout",
        "1m",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let told = home.run(["tick"]).refused();
    assert!(
        told.contains("task 1 (sh) failed: exit status 3; it is tried again at"),
        "{told}"
    );
    let input: serde_json::Value = serde_json::from_str(&home.read("input")).unwrap();
    assert_eq!(input["params"], json!({"a": "1"}));
    assert_eq!(input["hidden_params"], json!({"t": "secret"}));
    assert_eq!(home.logs("1")[0].1, "1");
    home.ok(["task", "add", "--", "no-such-program"]);
    let told = home.run(["tick"]).refused();
    assert!(told.contains("task 2 (no-such-program) failed"), "{told}");
}

#[test]
fn a_batch_and_sql_add_commands_too() {
    let home = Home::new();
    home.write("tasks.jsonl", "{\"command\":[\"touch\",\"a\"]}\n");
    home.ok(["task", "add", "--batch", "tasks.jsonl"]);
    home.sql("INSERT INTO task (command) VALUES ('[\"touch\", \"b\"]')");
    home.ok(["tick"]);
    assert!(home.path("a").exists() && home.path("b").exists());
    for (line, reason) in [
        ("{\"command\":[]}", "its command is empty"),
        ("{\"command\":[\"\"]}", "its command is empty"),
        ("{\"command\":[\"a\"],\"method\":\"m\"}", "not both"),
        ("{}", "it needs a method, or a command of its own"),
    ] {
        home.write("wrong.jsonl", line);
        let told = home.refused(["task", "add", "--batch", "wrong.jsonl"]);
        assert!(told.contains(reason), "{told}");
    }
    let connection = rusqlite::Connection::open(home.db()).unwrap();
    for values in [
        "(method, command) VALUES ('m', '[\"a\"]')",
        "(command) VALUES ('a')",
        "(command) VALUES ('[]')",
        "(command) VALUES ('[1]')",
        "(params) VALUES ('{}')",
    ] {
        let inserted = connection.execute(&format!("INSERT INTO task {values}"), []);
        assert!(inserted.is_err(), "{values}");
    }
}

#[test]
fn a_method_and_a_command_are_not_given_together() {
    let home = Home::new();
    home.method("m", "exit 0");
    for arguments in [
        &["m", "--", "echo"][..],
        &["--"],
        &["--wait"],
        &["--batch", "f", "--", "echo"],
        &["--batch", "f", "--wait"],
        &["--wait", "--at", "2099-01-01", "--", "echo"],
        &["--wait", "--hold", "m"],
        &["--wait", "--after", "1", "m"],
    ] {
        let answer = home.run([&["task", "add"], arguments].concat());
        assert_eq!(answer.code(), 2, "{}", answer.all());
    }
    assert_eq!(
        home.refused(["task", "add", "--", ""]),
        "runner: task: its command is empty"
    );
    assert_eq!(home.json(["task", "list"]), json!([]));
}

#[test]
fn who_adds_a_task_may_wait_for_it_and_see_it_live() {
    let home = Home::new();
    let shown = home.ok(["task", "add", "--wait", "--", "echo", "hello"]);
    assert!(
        shown.ends_with("info     hello") && shown.lines().count() == 1,
        "{shown}"
    );
    assert_eq!(home.status("1"), "COMPLETED");
    home.method(
        "m",
        "echo '{\"type\":\"debug\",\"message\":\"seen\"}'; echo '{\"type\":\"progress\",\"step\":1}'; exit 1",
    );
    let failed = home.run(["task", "add", "--wait", "m", "--retries", "1"]);
    assert_eq!(failed.code(), 1);
    assert!(failed.out().contains("debug    seen"), "{}", failed.all());
    assert!(failed.out().contains("progress 1"), "{}", failed.all());
    assert!(
        failed
            .err()
            .starts_with("runner: task 2 (m) failed: exit status 1"),
        "{}",
        failed.err()
    );
    assert_eq!(home.status("2"), "TO_RUN", "it has a retry left");
    let task = home.json(["task", "add", "--wait", "--", "true"]);
    assert_eq!(
        (&task["id"], &task["status"]),
        (&json!(3), &json!("COMPLETED"))
    );
    let killed = home.run(["task", "add", "--wait", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.code(), 1);
    assert_eq!(home.status("4"), "INTERRUPTED");
}

#[test]
fn no_tick_takes_a_task_that_somebody_waits_for() {
    let home = Home::new();
    let wait = home.start([
        "task",
        "add",
        "--wait",
        "--",
        "sh",
        "-c",
        "until [ -e go ]; do sleep 0.02; done",
    ]);
    until("it runs", || {
        home.sql_value::<i64>("SELECT count(*) FROM task WHERE status = 'RUNNING'") == 1
    });
    home.ok(["tick"]);
    home.write("go", "");
    wait.end().ok();
    assert_eq!(home.task("1")["attempt"], 1);
}

#[test]
fn nothing_is_added_that_may_not_be_run_here() {
    let home = Home::new();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(home.db(), mode).unwrap();
    home.refused(["task", "add", "--wait", "--", "true"]);
    assert_eq!(home.json(["task", "list"]), json!([]));
}

#[test]
fn a_task_that_is_run_can_be_watched_by_either_way() {
    let home = Home::new();
    for watch in ["1", "--watch"] {
        let id = home.ok(["task", "add", "--", "echo", "seen"]);
        let shown = home.ok(["task", "run", &id, watch]);
        assert!(shown.ends_with("info     seen"), "{shown}");
    }
    assert_eq!(home.run(["task", "run", "1", "1", "--watch"]).code(), 2);
}
