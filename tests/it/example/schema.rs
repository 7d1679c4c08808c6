//! The example database: plain SQL that any program can run, and a working database.

use std::fs;
use std::process::Command;

use crate::kit::database::dump;
use crate::kit::programs::is_installed;
use crate::kit::runner::Home;

const EXAMPLE: &str = include_str!("../../../example.db.sql");
const SCHEMA: &str = include_str!("../../../src/store/schema.sql");

/// A day on which the example is made.
const DAY: &str = "2026-04-10 09:00:00";

/// What plain SQL makes of the example on that day, in a folder of its own.
fn made_by_sql() -> Home {
    let home = Home::without_database().at(DAY);
    home.sql(&of_that_day());
    home
}

/// The example with that day in place of the present.
fn of_that_day() -> String {
    let (schema, content) = EXAMPLE.split_once("\n-- ==== Content ====\n").unwrap();
    let content = content.replace("'now'", &format!("'{DAY}'"));
    format!("{schema}\n-- ==== Content ====\n{content}")
}

#[test]
fn its_schema_is_the_programs_to_the_byte() {
    let (_, after) = EXAMPLE.split_once("\nBEGIN;\n").unwrap();
    let (schema, _) = after.split_once("\n-- ==== Content ====\n").unwrap();
    assert_eq!(schema, SCHEMA);
}

#[test]
fn init_example_makes_what_the_sql_file_makes() {
    let (by_sql, by_init) = (made_by_sql(), Home::example_at(DAY));
    assert_eq!(dump(&by_init.db()), dump(&by_sql.db()));
}

#[test]
fn the_sqlite3_program_makes_a_working_database_of_it() {
    if !is_installed("sqlite3") {
        return;
    }
    let home = Home::without_database().at(DAY);
    let script = home.write("example.db.sql", of_that_day());
    let made = Command::new("sqlite3")
        .arg(home.db())
        .stdin(fs::File::open(script).unwrap())
        .output()
        .unwrap();
    assert!(made.status.success() && made.stderr.is_empty(), "{made:?}");
    assert_eq!(dump(&home.db()), dump(&Home::example_at(DAY).db()));
    home.ok(["tick"]);
}

#[test]
fn a_database_that_plain_sql_made_is_whole_and_sound() {
    let home = made_by_sql();
    assert_eq!(home.sql_value::<String>("PRAGMA integrity_check"), "ok");
    let broken: i64 = home.sql_value("SELECT count(*) FROM pragma_foreign_key_check");
    assert_eq!(broken, 0);
}

#[test]
fn it_has_tasks_of_all_statuses_that_a_database_at_rest_can_have() {
    let home = Home::example();
    let tasks = home.json(["task", "list"]);
    let tasks = tasks.as_array().unwrap();
    assert!(tasks.len() >= 18);
    for status in [
        "WAITING",
        "TO_RUN",
        "COMPLETED",
        "FAILED",
        "INTERRUPTED",
        "CANCELLED",
    ] {
        assert!(
            tasks.iter().any(|task| task["status"] == status),
            "no task is {status}"
        );
    }
}

#[test]
fn task_18_can_be_run_as_the_card_says_and_shows_itself_live() {
    let home = Home::example();
    let shown = home.ok(["task", "run", "18", "1"]);
    for part in [
        "info     reading from datatourisme with the token ***",
        "debug    objects up to 40 are stored",
        "warning  1 object has no title  {\"object\":5207}",
        "progress phase 1/2 4/4 reading page 4",
        "progress phase 2/2 40/40 storing objects",
    ] {
        assert!(shown.contains(part), "'{part}' is not in\n{shown}");
    }
    let task = home.json(["task", "show", "18"]);
    assert_eq!(task["method"], "TIFService:extractAll");
    assert_eq!(task["status"], "COMPLETED");
    assert_eq!(task["result"]["source"], "datatourisme");
    assert_eq!(task["hidden_params"], serde_json::json!({"token": "***"}));
    assert_eq!(task["logs"].as_array().unwrap().len(), 3);
}

#[test]
fn a_tick_runs_all_that_is_pending_in_it_without_a_word() {
    let home = Home::example();
    assert_eq!(home.ok(["tick"]), "");
    for task in ["14", "15", "16", "18", "19", "20"] {
        assert_eq!(home.status(task), "COMPLETED", "task {task}");
    }
    assert_eq!(home.status("17"), "TO_RUN", "its time has not come");
    assert_eq!(
        home.ok(["task", "file", "14", "--output", "-"]),
        "",
        "no line of that file is refused"
    );
}

#[test]
fn its_failed_and_interrupted_tasks_can_be_restarted() {
    let home = Home::example();
    home.ok(["task", "restart", "6"]);
    let again = home.run(["task", "run", "6"]);
    assert!(
        again.err().contains("the source nowhere does not answer"),
        "{}",
        again.err()
    );
    home.ok(["task", "restart", "7"]);
    home.ok(["task", "run", "7"]);
    assert_eq!(home.status("8"), "TO_RUN", "it waited for task 7");
}
