//! What programs leave behind that write plain SQL with foreign keys off, with an older SQLite, or in other bytes than
//! UTF-8: it stops no tick and no list, and holds up no other document.

use std::process::Command;

use crate::kit::programs::is_installed;
use crate::kit::runner::Home;
use rusqlite::Connection;
use serde_json::{Value, json};

/// What a program does that sets up nothing of its connection.
fn sql(home: &Home, script: &str) -> Result<(), String> {
    let connection = Connection::open(home.db()).unwrap();
    let script = format!("PRAGMA foreign_keys = OFF; {script}");
    connection
        .execute_batch(&script)
        .map_err(|error| error.to_string())
}

fn replaced(home: &Home, script: &str) {
    sql(home, script).unwrap_or_else(|error| panic!("{script}: {error}"));
}

/// A timer that counts from the attribute `deadline`, on a document `k` and on another.
fn hung() -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer_with(
        "t",
        &["--reference", "deadline"],
        &["state=late", "delay=1d, state=end"],
    );
    home.ok(["doc", "add", "--key", "k", "-a", "deadline=2026-04-25"]);
    home.document("other", "2026-04-25");
    for doc in ["1", "2"] {
        home.ok(["timer", "attach", "t", doc]);
    }
    home
}

/// Commands that only look.
const LOOKS: &[&[&str]] = &[
    &["timer", "next"],
    &["timer", "next", "--match", "o"],
    &["timer", "list"],
    &["timer", "done"],
    &["timer", "skipped"],
    &["doc", "list"],
    &["doc", "list", "--match", "o"],
    &["doc", "show", "1"],
    &["doc", "history", "1"],
    &["config", "list"],
    &["tick", "--dry-run"],
    &["status"],
];

fn assert_all_can_be_looked_at(home: &Home, after: &str) {
    for arguments in LOOKS {
        for json in [&[][..], &["--json"]] {
            let answer = home.run(arguments.iter().chain(json));
            assert_eq!(answer.code(), 0, "{after}: {arguments:?}: {}", answer.err());
        }
    }
}

#[test]
fn a_time_before_the_years_of_the_runner_is_refused() {
    let home = hung();
    for write in [
        "INSERT INTO attachment (timer_id, document_id, reference_at) VALUES (1, 3, datetime(0))",
        "INSERT INTO task (method, run_at) VALUES ('m', datetime(0))",
    ] {
        let refused = sql(
            &home,
            &format!("INSERT INTO document (id) VALUES (3); {write}"),
        );
        assert!(refused.unwrap_err().contains("CHECK"), "{write}");
        replaced(&home, "DELETE FROM document WHERE id = 3");
    }
}

#[test]
fn an_action_of_more_iterations_than_there_are_levels_is_refused() {
    let write = "UPDATE timer_action SET iterations = 5000000000";
    assert!(sql(&hung(), write).unwrap_err().contains("CHECK"));
}

/// `é` in Latin-1.
const LATIN: &str = "CAST(x'e9' AS TEXT)";

#[test]
fn texts_in_other_bytes_break_no_list_and_hold_up_no_document() {
    for write in [
        "UPDATE document SET title = LATIN WHERE id = 1",
        "UPDATE document SET key = LATIN WHERE id = 1",
        "UPDATE document SET family = LATIN WHERE id = 1",
        "UPDATE document SET state = LATIN WHERE id = 1",
        "UPDATE document SET attributes = '{\"n\": \"' || LATIN || '\", \"deadline\": \"2026-04-25\"}' WHERE id = 1",
        "UPDATE document SET attributes = '{\"deadline\": \"' || LATIN || '\"}' WHERE id = 1",
        "UPDATE timer SET name = LATIN",
        "UPDATE timer SET title = LATIN",
        "UPDATE timer SET delta = LATIN WHERE 0; UPDATE attachment SET last_error = LATIN WHERE id = 1",
        "UPDATE attachment SET origin = LATIN WHERE id = 1",
        "INSERT INTO timer (name) VALUES (LATIN); INSERT INTO timer_action (timer_id, position, state) VALUES (2, 0, LATIN);
         INSERT INTO attachment (timer_id, document_id) VALUES (2, 1)",
        "INSERT INTO history (document_id, message, timer) VALUES (1, LATIN, LATIN)",
        "INSERT INTO setting VALUES ('app.name', LATIN)",
        "INSERT INTO firing (timer, document_id, level, due_at, at, status, result)
         VALUES (LATIN, 1, 0, '2026-01-01 00:00:00', '2026-01-01 00:00:00', 'skipped', LATIN)",
    ] {
        let mut home = hung();
        replaced(&home, &write.replace("LATIN", LATIN));
        assert_all_can_be_looked_at(&home, write);
        home.set_now("2026-04-25");
        home.ok(["tick"]);
        assert_eq!(home.state("2"), "late", "{write}");
        assert_all_can_be_looked_at(&home, write);
    }
}

#[test]
fn what_is_not_changed_of_a_document_keeps_its_bytes() {
    let home = hung();
    replaced(
        &home,
        &format!("UPDATE document SET title = {LATIN} WHERE id = 1"),
    );
    home.ok(["doc", "set", "1", "a=b", "--family", "f"]);
    assert_eq!(
        home.sql_value::<String>("SELECT hex(title) FROM document"),
        "E9"
    );
}

#[test]
fn a_timer_that_was_replaced_under_what_hangs_on_documents_holds_up_no_other() {
    let mut home = hung();
    home.timer_with("good", &["--reference", "deadline"], &["state=good"]);
    home.ok(["timer", "attach", "good", "2"]);
    home.ok(["timer", "detach", "t", "2"]);
    replaced(
        &home,
        "INSERT OR REPLACE INTO timer (name, title) VALUES ('t', 'another')",
    );
    assert_all_can_be_looked_at(&home, "a timer that was replaced");
    home.set_now("2026-04-25");
    let answer = home.run(["--json", "tick"]);
    assert_eq!(answer.json()["fired"], 1);
    assert_eq!(
        answer.json()["errors"],
        json!([
            "timer #1 on document 1, level 0: no timer #1: it was deleted; 'runner timer detach --all DOC' takes it off a document"
        ])
    );
    assert_eq!(home.state("2"), "good");
    assert_eq!(home.json(["timer", "next"])[0]["timer"], "#1");
    home.ok(["timer", "detach", "--all", "1"]);
    assert_eq!(home.json(["timer", "next"]), json!([]));
}

#[test]
fn a_document_is_deleted_with_a_timer_that_was_replaced_too() {
    let home = hung();
    replaced(&home, "INSERT OR REPLACE INTO timer (name) VALUES ('t')");
    home.ok(["doc", "delete", "1"]);
    home.ok(["timer", "detach", "--match", "other"]);
    assert_eq!(home.json(["timer", "next"]), json!([]));
}

#[test]
fn a_definition_that_cannot_be_read_is_listed_with_its_reason_and_the_others_too() {
    let home = hung();
    home.timer("good", &["state=a"]);
    for (write, why) in [
        (
            "UPDATE timer_action SET delay = 'soon' WHERE timer_id = 1",
            "duration \"soon\"",
        ),
        (
            "DELETE FROM timer_action WHERE timer_id = 1",
            "a timer needs at least one action",
        ),
        (
            "UPDATE timer SET delta = 'later' WHERE id = 1",
            "duration \"later\"",
        ),
    ] {
        replaced(&home, write);
        let listed = home.json(["timer", "list"]);
        assert_eq!(listed[0]["name"], "good", "{write}");
        assert_eq!(listed[0].get("error"), None, "{write}");
        assert_eq!(listed[1]["name"], "t", "{write}");
        assert_eq!(listed[1]["reference"], "deadline", "{write}");
        let error = listed[1]["error"].as_str().unwrap();
        assert!(error.contains(why), "{write}: {error}");
        let shown = home.ok(["timer", "list"]);
        assert!(
            shown.contains("good") && shown.contains(why),
            "{write}: {shown}"
        );
        assert_all_can_be_looked_at(&home, write);
    }
}

#[test]
fn a_task_that_ends_while_its_timer_cannot_be_read_completes_its_level_later() {
    let home = Home::new().at("2026-04-10T09:00");
    let db = home.db();
    home.method(
        "Doc:break",
        &format!(
            "sqlite3 {} \"UPDATE timer SET delta = 'soon'\"",
            db.display()
        ),
    );
    if !is_installed("sqlite3") {
        return;
    }
    home.timer("t", &["method=Doc:break"]);
    home.ok(["doc", "add"]);
    home.ok(["timer", "attach", "t", "1"]);
    let first = home.run(["--json", "tick"]).json();
    assert_eq!(first["tasks"]["completed"], 1, "{first}");
    replaced(&home, "UPDATE timer SET delta = '0'");
    assert_eq!(home.run(["--json", "tick"]).json()["fired"], 1);
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM task"), 1);
}

#[test]
fn a_document_that_is_replaced_has_its_dates_computed_anew() {
    for replace in [
        "INSERT OR REPLACE INTO document (id, key, attributes) VALUES (1, 'k', '{\"deadline\": \"2026-05-09\"}')",
        "INSERT OR REPLACE INTO document (id, attributes) VALUES (1, '{\"deadline\": \"2026-05-09\"}')",
    ] {
        let mut home = hung();
        replaced(&home, replace);
        assert_eq!(home.due("1"), "2026-05-09T00:00:00Z", "{replace}");
        home.set_now("2026-04-25");
        assert_eq!(home.json(["tick"])["fired"], 1, "{replace}");
        assert_eq!(home.state("1"), "", "{replace}");
    }
}

#[test]
fn a_document_that_is_replaced_by_its_key_takes_over_what_belonged_to_the_old_one() {
    for foreign_keys in ["OFF", "ON"] {
        let mut home = hung();
        home.method("Doc:note", "cat >> noted");
        home.timer("m", &["method=Doc:note", "delay=1d, state=noted"]);
        home.ok(["timer", "attach", "m", "1", "--reference", "2026-04-25"]);
        home.sql(
            "INSERT INTO task (method, document_id, attachment_id, run_at) VALUES ('Doc:note', 1, 3, '2026-04-25 00:00:00');
             UPDATE attachment SET task_id = 1, step = 2 WHERE id = 3",
        );
        let entries = home.messages("1").len();
        home.sql(&format!(
            "PRAGMA foreign_keys = {foreign_keys};
             REPLACE INTO document (key, attributes) VALUES ('k', '{{\"deadline\": \"2026-04-25\"}}')",
        ));
        let id = home.shown("k")["id"].to_string();
        assert_ne!(id, "1");
        assert_eq!(home.shown("k")["timers"].as_array().unwrap().len(), 2);
        assert_eq!(home.messages("k").len(), entries);
        home.set_now("2026-04-25");
        home.ok(["tick"]);
        let seen: Value = serde_json::from_str(&home.read("noted")).unwrap();
        assert_eq!(seen["document"]["id"].to_string(), id);
        let levels =
            "SELECT group_concat(level) FROM attachment WHERE document_id <> 2 ORDER BY id";
        assert_eq!(home.sql_value::<String>(levels), "1,1");
    }
}

#[test]
fn an_insert_that_is_ignored_or_refused_changes_nothing() {
    let mut home = hung();
    home.set_now("2026-04-25");
    home.ok(["tick"]);
    let insert = "INTO document (key, attributes) VALUES ('k', '{\"deadline\": \"2026-05-09\"}')";
    replaced(&home, &format!("INSERT OR IGNORE {insert}"));
    assert!(sql(&home, &format!("INSERT {insert}")).is_err());
    assert_eq!(home.due("1"), "2026-04-26T00:00:00Z");
    assert_eq!(home.attached("1")["level"], 1);
    replaced(
        &home,
        &format!(
            "INSERT {insert} ON CONFLICT (key) DO UPDATE SET attributes = excluded.attributes"
        ),
    );
    assert_eq!(home.due("1"), "2026-05-09T00:00:00Z");
    assert_eq!(home.attached("1")["level"], 0);
}

#[test]
fn a_date_whose_name_is_written_with_escapes_is_noticed_whatever_sqlite_writes_it() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer_with("t", &["--reference", "échéance"], &["state=late"]);
    let escaped = |date: &str| format!(r#"{{"\u00e9ch\u00e9ance": "{date}"}}"#);
    home.sql(&format!(
        "INSERT INTO document (attributes) VALUES ('{}')",
        escaped("2026-05-01")
    ));
    home.ok(["timer", "attach", "t", "1"]);
    assert_eq!(home.due("1"), "2026-05-01T00:00:00Z");
    let update = |date: &str| format!("UPDATE document SET attributes = '{}'", escaped(date));
    home.sql(&update("2026-06-01"));
    assert_eq!(home.due("1"), "2026-06-01T00:00:00Z");
    if is_installed("sqlite3") {
        let program = Command::new("sqlite3")
            .arg(home.db())
            .arg(update("2026-07-01"))
            .status();
        assert!(program.unwrap().success());
        assert_eq!(home.due("1"), "2026-07-01T00:00:00Z");
    }
    home.sql(&update(""));
    assert_eq!(home.due("1"), Value::Null);
}
