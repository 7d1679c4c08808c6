//! What a program that only knows the command line's contract relies on, whichever command it calls.

use std::process::{Command, Stdio};

use crate::kit::runner::Home;
use serde_json::{Value, json};

/// A database with a method `m`, a document `contract` and a template `t`.
fn home() -> Home {
    let home = Home::new();
    home.method("m", "echo heard");
    home.ok(["doc", "add", "--key", "contract"]);
    home.ok([
        "template",
        "set",
        "t",
        "--to",
        "a@b.c",
        "--subject",
        "s",
        "--body",
        "b",
    ]);
    home
}

/// Commands that change something and have nothing to say, each possible after those before it.
const SILENT: &[&[&str]] = &[
    &["config", "set", "task.max_running", "2"],
    &["config", "unset", "task.max_running"],
    &["method", "set", "other", "--", "true"],
    &["method", "remove", "other"],
    &["doc", "set", "contract", "a=1"],
    &["doc", "state", "contract", "open"],
    &["timer", "set", "late", "--action", "delay=1d, mail=t"],
    &["timer", "detach", "late", "contract"],
    &["timer", "remove", "late"],
    &["template", "remove", "t"],
    &["task", "cancel", "1"],
    &["task", "restart", "1"],
    &["task", "delete", "1"],
    &["doc", "delete", "contract"],
];

#[test]
fn commands_that_have_nothing_to_say_print_nothing() {
    let home = home();
    home.ok(["task", "add", "m"]);
    for arguments in SILENT {
        assert_eq!(home.ok(*arguments), "", "{arguments:?}");
    }
}

#[test]
fn with_json_they_print_one_empty_object_so_that_every_answer_can_be_read() {
    let home = home();
    home.ok(["task", "add", "m"]);
    for arguments in SILENT {
        let answer = home.json(arguments.iter().copied());
        assert_eq!(answer, json!({}), "{arguments:?}");
    }
    let fresh = Home::without_database();
    assert_eq!(fresh.json(["init"]), json!({}));
}

#[test]
fn an_error_leaves_standard_output_empty_with_json_too() {
    let answer = home().run(["--json", "task", "delete", "7"]);
    answer.refused();
    assert_eq!(answer.out(), "");
}

/// The fields of a task that the contract names.
const TASK: &str = "id method params hidden_params file owner signature status priority run_at after attempt retries \
    timeout document created_at started_at ended_at duration_ms exit_code progress result logs";

fn assert_has_fields(shown: &Value, fields: &str) {
    for field in fields.split_whitespace() {
        assert!(shown.get(field).is_some(), "no '{field}' in {shown}");
    }
}

#[test]
fn a_task_has_all_its_fields_wherever_it_is_shown() {
    let home = home();
    home.ok(["task", "add", "m"]);
    assert_has_fields(&home.json(["task", "list"])[0], TASK);
    let run = home.json(["task", "run", "1"]);
    assert_has_fields(&run, TASK);
    assert_eq!(run["logs"][0]["message"], "heard");
    assert_eq!(run, home.json(["task", "show", "1"]));
    assert_eq!(run, home.json(["task", "list"])[0]);
}

#[test]
fn options_stand_before_and_after_the_command() {
    let home = home();
    let before = home.run(["--json", "--now", "2026-04-10", "tick"]).json();
    let after = home.run(["tick", "--now", "2026-04-10", "--json"]).json();
    assert_eq!(before["now"], "2026-04-10T00:00:00Z");
    assert_eq!(after["now"], before["now"]);
}

#[test]
fn a_now_that_cannot_be_read_is_wrong_usage_of_any_command_even_without_a_database() {
    let home = Home::without_database();
    for arguments in [&["tick"][..], &["method", "list"], &["init"]] {
        let answer = home.run(["--now", "noon"].iter().chain(arguments));
        assert_eq!(answer.code(), 2, "{arguments:?}");
        assert!(answer.err().starts_with("runner: --now: "));
    }
    assert!(!home.db().exists());
}

#[test]
fn an_age_that_cannot_be_read_is_not_taken_for_a_tick_that_is_too_old() {
    let answer = home().run(["status", "--max-age", "5 minuets"]);
    assert_eq!((answer.code(), answer.out()), (2, String::new()));
}

#[test]
fn who_asks_for_a_firing_that_is_not_there_is_told_a_command_that_lists_them() {
    let told = home().refused(["timer", "fire", "9"]);
    assert_eq!(
        told,
        "runner: no firing 9: 'runner timer skipped' shows them"
    );
}

#[test]
fn a_day_that_is_not_in_the_calendar_is_refused_from_programs_with_an_old_sqlite_too() {
    let home = home();
    home.timer("late", &["delay=1d, state=late"]);
    let Ok(version) = Command::new("sqlite3").arg("--version").output() else {
        return; // nothing else here brings a SQLite of its own
    };
    for insert in [
        "INSERT INTO task (method, run_at) VALUES ('m', '2026-02-30 09:00:00')",
        "INSERT INTO attachment (timer_id, document_id, reference_at) VALUES (1, 1, '2026-02-30 09:00:00')",
    ] {
        let refused = Command::new("sqlite3")
            .arg(home.db())
            .arg(insert)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!refused.success(), "{insert} by {version:?}");
    }
    assert_eq!(home.json(["task", "list"]), json!([]));
    assert_eq!(home.json(["timer", "next"]), json!([]));
}

#[test]
fn a_name_that_stands_for_a_whole_service_is_no_method_of_a_task() {
    let home = Home::new();
    home.method("Mailing:*", "true");
    assert_eq!(
        home.refused(["task", "add", "Mailing:*"]),
        "runner: method 'Mailing:*': this stands for all methods of a service; name one of them"
    );
    assert_eq!(home.ok(["task", "add", "Mailing:send"]), "1");
}
