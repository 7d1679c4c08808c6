//! What handlers that are shell scripts use of the command line.

use crate::kit::runner::Home;

#[test]
fn a_handler_reads_its_params_by_name_as_often_as_it_wants() {
    let home = Home::new();
    home.method(
        "m",
        "cd /; for name in text number deep.x deep.list.1 a.b.c nothing flag text; do runner param $name; done
runner param --json text; runner param deep",
    );
    let params = r#"{"text": "two\nlines", "number": 1.50, "deep": {"x": "y", "list": [1, {"z": 2}]},
                     "a.b": {"c": "dots"}, "nothing": null, "flag": true}"#;
    home.ok([
        "task",
        "add",
        "m",
        "--params",
        params,
        "--hidden-params",
        "{\"token\":\"secret\"}",
    ]);
    home.ok(["task", "run", "1"]);
    let logs: Vec<_> = home.logs("1").into_iter().map(|(_, text)| text).collect();
    let expected = [
        "two",
        "lines",
        "1.5",
        "y",
        "{\"z\":2}",
        "dots",
        "null",
        "true",
        "two",
        "lines",
        "\"two\\nlines\"",
        "{\"x\":\"y\",\"list\":[1,{\"z\":2}]}",
    ];
    assert_eq!(logs, expected);
}

#[test]
fn a_param_that_is_not_there_is_an_error_that_names_those_that_are() {
    let home = Home::new();
    home.method("m", "exit 0");
    home.ok([
        "task",
        "add",
        "m",
        "-p",
        "a=1",
        "-p",
        "b=2",
        "--hidden-params",
        "{\"token\":\"secret\"}",
    ]);
    home.ok(["task", "add", "m"]);
    let of_task = |home: Home, task: &str| home.env("RUNNER_TASK", task);
    let told = home.refused(["param", "a"]);
    assert!(told.starts_with("runner: RUNNER_TASK: "), "{told}");
    let home = of_task(home, "1");
    assert_eq!(home.ok(["param", "a"]), "1");
    for missing in ["c", "token", "a.x", "", "."] {
        let told = home.refused(["param", missing]);
        assert_eq!(
            told,
            format!("runner: no param '{missing}': task 1 has a, b")
        );
    }
    let home = of_task(home, "2");
    let told = home.refused(["param", "a"]);
    assert!(told.ends_with("task 2 has no params by name"), "{told}");
    let home = of_task(home, "9");
    assert!(home.refused(["param", "a"]).contains("no task 9"));
}

#[test]
fn a_handler_hands_back_a_result_and_a_file() {
    let home = Home::new();
    home.method(
        "m",
        "echo done > report.txt; runner result '{\"made\": 2}'; echo '[1]' | runner result -; runner file report.txt",
    );
    home.ok(["task", "add", "m"]);
    home.ok(["task", "run", "1"]);
    let task = home.task("1");
    assert_eq!(task["result"], serde_json::json!([1]));
    assert_eq!(task["output"], "report.txt");
    assert_eq!(home.ok(["result", "-1"]), r#"{"type":"result","value":-1}"#);
    assert!(home.refused(["result", "{"]).contains("this is not JSON"));
}
