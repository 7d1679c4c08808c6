//! What a task hands on to those that follow it, and chains that can't go on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::kit::runner::Home;

/// A home whose method `first` hands back a result and a file, and whose `m` keeps its input and the files that it names.
fn home() -> Home {
    let home = Home::new();
    home.method(
        "first",
        r#"echo made > report.csv
echo '{"type":"result","value":{"rows":2}}'
echo '{"type":"file","path":"report.csv"}'"#,
    );
    home.method("m", "cat > input");
    home.method("exit", "exit 1");
    home
}

fn input(home: &Home) -> Value {
    serde_json::from_str(&home.read("input")).unwrap()
}

#[test]
fn a_follower_is_given_the_id_the_result_and_the_file_of_the_task_before_it() {
    let home = home();
    home.method(
        "m",
        r#"tee input | python3 -c '
import json, os, sys
task = json.load(sys.stdin)
for path in task["file"], task["after"]["file"]:
    print(os.path.basename(path), open(path).read().strip(), oct(os.stat(path).st_mode & 0o777))'"#,
    );
    home.ok(["task", "add", "first"]);
    home.write("report.csv", "my own\n");
    home.ok(["task", "add", "m", "--after", "1", "--file", "report.csv"]);
    home.ok(["tick"]);
    let after = &input(&home)["after"];
    assert_eq!(
        (&after["id"], &after["result"]),
        (&json!(1), &json!({"rows": 2}))
    );
    let logged: Vec<_> = home
        .logs("2")
        .into_iter()
        .map(|(_, message)| message)
        .collect();
    assert_eq!(logged, ["report.csv my own 0o600", "report.csv made 0o600"]);
    let laid_out = Path::new(after["file"].as_str().unwrap());
    assert!(
        !fs::exists(laid_out.parent().unwrap()).unwrap(),
        "it goes with the handler"
    );
}

#[test]
fn what_the_task_before_it_did_not_hand_back_is_null() {
    let home = home();
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    assert_eq!(input(&home)["after"], Value::Null);
    home.ok(["task", "add", "m", "--after", "1"]);
    home.ok(["tick"]);
    assert_eq!(
        input(&home)["after"],
        json!({"id": 1, "result": null, "file": null})
    );
    home.ok(["task", "add", "m", "--after", "1"]);
    home.ok(["task", "delete", "1"]);
    home.ok(["tick"]);
    assert_eq!(input(&home)["after"], Value::Null, "it is gone");
    assert_eq!(home.status("3"), "COMPLETED");
}

#[test]
fn a_resident_handler_is_given_it_too() {
    let home = home();
    home.method_with(
        "m",
        &["--resident"],
        r#"while read -r line; do echo "$line" > input; echo '{"type":"done","task":2,"ok":true}'; done"#,
    );
    home.ok(["task", "add", "first"]);
    home.ok(["task", "add", "m", "--after", "1"]);
    home.ok(["tick"]);
    assert_eq!(input(&home)["after"]["result"], json!({"rows": 2}));
}

#[test]
fn status_names_the_chains_that_cannot_go_on() {
    let home = home();
    for (method, options) in [
        ("exit", &[][..]),
        ("m", &["--after", "1"]),
        ("m", &["--after", "2"]),
        ("m", &[]),
        ("m", &["--after", "4", "--hold"]),
        ("exit", &["--retries", "1"]),
        ("m", &["--after", "6"]),
        ("m", &["--hold"]),
    ] {
        home.ok([&["task", "add", method], options].concat());
    }
    home.ok(["task", "cancel", "4"]);
    home.run(["tick"]);
    let chains = || {
        let status = home.json(["status"]);
        let attention = status["attention"].as_array().unwrap();
        let about = attention
            .iter()
            .map(|line| line.as_str().unwrap().to_owned());
        about
            .filter(|line| line.contains("waits"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        chains(),
        [
            "task 2 waits for task 1, which has failed: 'runner task restart 1' or 'runner task cancel 2'",
            "task 5 waits for task 4, which was cancelled: 'runner task restart 4' or 'runner task cancel 5'",
        ],
        "what is tried again may complete yet, and what follows a task that waits is not named again"
    );
    home.method("exit", "exit 0");
    home.ok(["task", "restart", "1"]);
    home.ok(["tick"]);
    assert_eq!(chains().len(), 1);
}

#[test]
fn many_chains_that_cannot_go_on_are_summed_up() {
    let home = home();
    home.ok(["task", "add", "exit"]);
    for _ in 0..12 {
        home.ok(["task", "add", "m", "--after", "1"]);
    }
    home.run(["tick"]);
    let status = home.json(["status"]);
    let attention = status["attention"].as_array().unwrap();
    let waits = |line: &&Value| line.as_str().unwrap().contains("waits for task 1");
    assert_eq!(attention.iter().filter(waits).count(), 10);
    let sum = "2 other tasks not going on: 'runner task list --status WAITING'";
    assert!(attention.contains(&json!(sum)), "{attention:?}");
}
