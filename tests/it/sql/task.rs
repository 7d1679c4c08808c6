//! Tasks by plain SQL, from any program: as good as the command line, and never able to harm more than themselves.

use crate::kit::process::until;
use crate::kit::runner::Home;
use rusqlite::Connection;
use serde_json::json;

fn home() -> Home {
    let home = Home::new();
    home.method("m", "echo $RUNNER_TASK >> ran");
    home
}

#[test]
fn a_method_is_all_that_an_insert_needs() {
    let home = home();
    home.sql("INSERT INTO task (method) VALUES ('m')");
    let task = home.task("1");
    assert_eq!(task["status"], "TO_RUN");
    assert_eq!(task["params"], json!({}));
    assert_eq!(task["priority"], 0);
    assert!(task["created_at"].as_str().unwrap().ends_with('Z'));
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
fn all_that_task_add_takes_can_be_inserted() {
    let home = home();
    home.sql(
        r#"INSERT INTO document (key) VALUES ('contract');
           INSERT INTO task (method) VALUES ('m');
           INSERT INTO task (method, params, hidden_params, owner, signature, priority, run_at, after_id, document_id,
                             retries, timeout)
           VALUES ('m', '{"a":[1]}', '{"t":"xyzw"}', 'me@example.org', 's', 5, '2026-04-10 07:00:00', 1, 1, 2, '5m')"#,
    );
    let by_sql = home.task("2");
    home.ok([
        "task",
        "add",
        "m",
        "--params",
        r#"{"a":[1]}"#,
        "--hidden-params",
        r#"{"t":"xyzw"}"#,
        "--owner",
        "me@example.org",
        "--signature",
        "s",
        "--priority",
        "5",
        "--at",
        "2026-04-10T07:00Z",
        "--after",
        "1",
        "--document",
        "contract",
        "--retries",
        "2",
        "--timeout",
        "5m",
    ]);
    let mut by_command = home.task("3");
    by_command["id"] = json!(2);
    by_command["created_at"] = by_sql["created_at"].clone();
    assert_eq!(by_sql, by_command);
}

#[test]
fn after_id_makes_a_task_wait_unless_that_one_is_completed() {
    let home = home();
    home.sql("INSERT INTO task (method) VALUES ('m'); INSERT INTO task (method, after_id) VALUES ('m', 1)");
    assert_eq!(home.status("2"), "WAITING");
    home.ok(["tick"]);
    home.sql("INSERT INTO task (method, after_id) VALUES ('m', 1)");
    assert_eq!(home.status("3"), "TO_RUN");
}

#[test]
fn run_at_holds_a_task_until_its_time() {
    let mut home = home().at("2026-04-10T09:00");
    home.sql("INSERT INTO task (method, run_at) VALUES ('m', datetime('2026-04-10 09:00:00', '+5 minutes'))");
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "TO_RUN");
    home.set_now("2026-04-10T09:05");
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
fn what_is_not_valid_is_refused_by_the_database() {
    let home = home();
    let connection = Connection::open(home.db()).unwrap();
    connection
        .execute_batch("PRAGMA foreign_keys = ON")
        .unwrap();
    for (columns, values) in [
        ("method", "''"),
        ("method", "NULL"),
        ("method, params", "'m', '{broken'"),
        ("method, params", "'m', NULL"),
        ("method, hidden_params", "'m', 'secret'"),
        ("method, status", "'m', 'DONE'"),
        ("method, priority", "'m', 'high'"),
        ("method, run_at", "'m', '2026-04-10'"),
        ("method, run_at", "'m', '2026-04-10T09:00:00Z'"),
        ("method, run_at", "'m', '2026-02-30 09:00:00'"),
        ("method, run_at", "'m', 1775811600"),
        ("method, created_at", "'m', 'now'"),
        ("method, after_id", "'m', 99"),
        ("method, document_id", "'m', 99"),
        ("method, retries", "'m', -1"),
        ("method, retries", "'m', 99999999999"),
        ("method, timeout", "'m', 30"),
        ("method, timeout", "'m', -1"),
        ("method, timeout", "'m', ''"),
        ("method, timeout", "'m', 'garbage'"),
        ("method, timeout", "'m', '0s'"),
        ("method, timeout", "'m', '-5m'"),
        ("method, timeout", "'m', '5 m'"),
        ("method, timeout", "'m', '1h 30'"),
        ("method, timeout", "'m', '1h m'"),
    ] {
        let insert = format!("INSERT INTO task ({columns}) VALUES ({values})");
        assert!(connection.execute_batch(&insert).is_err(), "{insert}");
    }
    assert_eq!(home.json(["task", "list"]), json!([]));
    let method = "INSERT INTO method (name, command, timeout) VALUES ('n', '[\"true\"]', 'soon')";
    assert!(connection.execute_batch(method).is_err());
}

#[test]
fn every_time_limit_that_task_add_takes_can_be_inserted() {
    let home = home();
    for timeout in ["5m", "90s", "1h30m", "1mo 3d", "2y 1mo3w 4d5h6m7s"] {
        home.sql(&format!(
            "INSERT INTO task (method, timeout) VALUES ('m', '{timeout}')"
        ));
        home.ok(["task", "add", "m", "--timeout", timeout]);
    }
    assert_eq!(home.ok(["tick"]), "");
}

#[test]
fn what_a_task_follows_or_is_about_must_be_there_with_foreign_keys_off_too() {
    let home = home();
    let connection = rusqlite::Connection::open(home.db()).unwrap();
    for columns in [
        "(method, after_id) VALUES ('m', 7)",
        "(method, document_id) VALUES ('m', 7)",
        "(id, method, after_id) VALUES (3, 'm', 3)",
    ] {
        let insert = format!("PRAGMA foreign_keys = OFF; INSERT INTO task {columns}");
        let refused = connection.execute_batch(&insert).unwrap_err().to_string();
        assert!(
            refused.contains("no such task to follow or no such document"),
            "{columns}: {refused}"
        );
    }
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM task"), 0);
}

#[test]
fn a_row_that_cannot_be_run_fails_alone() {
    let home = home();
    home.sql(
        r#"INSERT INTO method (name, command) VALUES ('empty', '[""]'), ('numbers', '["./ghost", 1, null]');
           INSERT INTO method (name, command, timeout) VALUES ('limited', '["true"]', '1m 1m');
           INSERT INTO task (method, params) VALUES ('unknown', '{}');
           INSERT INTO task (method, timeout) VALUES ('m', '9999999999999999999d');
           INSERT INTO task (method) VALUES ('empty'), ('numbers'), ('limited');
           INSERT INTO task (method, params, hidden_params) VALUES ('m', '"text"', '12');
           INSERT INTO task (method) VALUES (CAST(x'6dff' AS TEXT));
           INSERT INTO task (method, owner, signature) VALUES ('m', CAST(x'ff' AS TEXT), CAST(x'e9' AS TEXT));
           INSERT INTO task (method, params) VALUES ('m', CAST(x'7b2261223a22e9227d' AS TEXT));
           INSERT INTO task (method, priority) VALUES ('m', -9223372036854775808), ('m', 9223372036854775807);"#,
    );
    let tick = home.json(["tick"]);
    let tasks = home.json(["task", "list"]);
    let status = |id: usize| tasks[id - 1]["status"].clone();
    for failed in [1, 2, 3, 4, 5, 7] {
        assert_eq!(status(failed), "FAILED", "task {failed}: {tick}");
        assert_eq!(home.logs(&failed.to_string()).len(), 1);
    }
    for completed in [6, 8, 9, 10, 11] {
        assert_eq!(status(completed), "COMPLETED", "task {completed}: {tick}");
    }
    home.ok(["task", "list"]);
    home.ok(["task", "show", "8"]);
}

#[test]
fn a_bad_setting_stops_what_needs_it_and_says_which() {
    let home = home();
    home.sql("INSERT INTO task (method) VALUES ('m'); INSERT INTO setting VALUES ('task.max_running', 'all')");
    let told = home.refused(["tick"]);
    assert!(
        told.contains("setting task.max_running: 'all' is not a whole number"),
        "{told}"
    );
    assert_eq!(home.status("1"), "TO_RUN");
    home.ok(["config", "set", "task.max_running", "2"]);
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
fn a_task_that_plain_sql_set_to_running_is_not_lost() {
    let home = home();
    home.sql("INSERT INTO task (method, status, attempt) VALUES ('m', 'RUNNING', 1)");
    assert!(
        home.run(["tick"])
            .refused()
            .contains("task 1 (m) was interrupted")
    );
    assert_eq!(home.status("1"), "INTERRUPTED");
}

#[test]
fn a_running_task_that_plain_sql_deletes_harms_no_other() {
    let home = home();
    home.ok(["config", "set", "task.max_running", "2"]);
    home.method("talks", "echo > begun; until [ -e go ]; do echo still here; sleep 0.02; done; echo $RUNNER_TASK >> ended");
    home.sql("INSERT INTO task (method) VALUES ('talks'), ('talks')");
    let tick = home.start(["tick"]);
    until("both run", || {
        home.sql_value::<i64>("SELECT count(*) FROM task_log WHERE task_id = 1 OR task_id = 2") > 3
    });
    home.sql("DELETE FROM task WHERE id = 1");
    let logged = || home.sql_value::<i64>("SELECT count(*) FROM task_log WHERE task_id = 2");
    let before = logged();
    until("the other one goes on to be heard", || {
        logged() > before + 20
    });
    home.write("go", "");
    tick.end();
    assert_eq!(home.status("2"), "COMPLETED");
}

#[test]
fn tasks_of_a_method_by_sql_wait_for_no_transaction_of_others_to_be_read() {
    let home = home();
    let writer = Connection::open(home.db()).unwrap();
    writer
        .execute_batch("BEGIN IMMEDIATE; INSERT INTO task (method) VALUES ('m')")
        .unwrap();
    assert_eq!(
        home.json(["task", "list"]),
        json!([]),
        "readers see what is committed"
    );
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(home.json(["task", "list"]).as_array().unwrap().len(), 1);
}

/// A large batch of tasks with nothing but a method and params, for which the schema's own triggers have nothing to do.
#[test]
fn an_applications_trigger_sees_every_task_of_a_batch_however_large() {
    let home = Home::new();
    home.method("m", "true");
    home.sql(
        "CREATE TABLE seen (id INTEGER PRIMARY KEY);
         CREATE TRIGGER mine AFTER INSERT ON task BEGIN INSERT INTO seen VALUES (NEW.id); END",
    );
    home.write("many.jsonl", "{\"method\":\"m\"}\n".repeat(10_000));
    home.ok(["task", "add", "--batch", "many.jsonl"]);
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM seen"), 10_000);
}

#[test]
fn a_batch_prints_the_ids_of_its_own_tasks_where_an_applications_trigger_adds_others() {
    let home = Home::new();
    home.method("m", "true");
    home.sql(
        "CREATE TRIGGER mine AFTER INSERT ON task WHEN NEW.method = 'm' BEGIN
             INSERT INTO task (method) VALUES ('audit'); END",
    );
    for count in [3, 100, 5000] {
        home.sql("DELETE FROM task");
        home.write("many.jsonl", "{\"method\":\"m\"}\n".repeat(count));
        let printed = home.ok(["task", "add", "--batch", "many.jsonl"]);
        let ids: String =
            home.sql_value("SELECT group_concat(id, x'0a') FROM task WHERE method = 'm'");
        assert_eq!(printed, ids);
        assert_eq!(printed.lines().count(), count);
    }
}

#[test]
fn a_large_batch_leaves_the_schemas_triggers_at_work() {
    let home = Home::new();
    home.method("m", "true");
    let plain = "{\"method\":\"m\"}\n".repeat(9000);
    let later = "{\"method\":\"m\",\"after\":1}\n{\"method\":\"m\",\"at\":\"2099-01-01\"}\n";
    home.write("many.jsonl", format!("{plain}{later}{plain}"));
    let ids = home.ok(["task", "add", "--batch", "many.jsonl"]);
    let expected: Vec<String> = (1..=18_002).map(|id: i64| id.to_string()).collect();
    assert_eq!(ids.lines().collect::<Vec<_>>(), expected);
    let shown = "SELECT group_concat(status || deferred) FROM task WHERE id IN (1, 9001, 9002, 9003, 18002)";
    assert_eq!(
        home.sql_value::<String>(shown),
        "TO_RUN0,WAITING0,TO_RUN1,TO_RUN0,TO_RUN0"
    );
}

#[test]
fn bytes_that_are_no_text_and_numbers_at_their_end_hold_up_no_tick_and_no_list() {
    let home = home();
    home.sql(
        r#"INSERT INTO method (name, command) VALUES (CAST(x'6cff' AS TEXT), CAST(x'5b222f62696e2f6563686f222c2241ff225d' AS TEXT));
           INSERT INTO task (method, attempt) VALUES ('m', 4294967294);
           INSERT INTO task (method, progress) VALUES ('m', CAST(x'7b226c6162656c223a22ff227d' AS TEXT));
           INSERT INTO task_log (task_id, seq, attempt, at, level, message)
           VALUES (1, 1, 1, '2026-04-10 09:00:00', 'info', CAST(x'ff' AS TEXT));
           INSERT INTO task_file (task_id, kind, name, content) VALUES (1, 'input', CAST(x'61ff' AS TEXT), x'')"#,
    );
    assert!(home.ok(["method", "list"]).contains("l\u{fffd}"));
    assert_eq!(home.ok(["task", "add", "m"]), "3");
    assert_eq!(
        home.json(["task", "list"])[1]["progress"]["label"],
        "\u{fffd}"
    );
    assert_eq!(home.ok(["tick"]), "");
    for task in ["1", "2", "3"] {
        assert_eq!(home.status(task), "COMPLETED");
    }
    assert_eq!(home.logs("1")[0].1, "\u{fffd}");
    assert_eq!(home.ok(["task", "file", "1", "--input", "-"]), "");
}

#[test]
fn a_run_that_the_database_fails_tells_what_had_become_of_its_tasks() {
    let home = Home::new();
    home.method("m", "echo no paper >&2; exit 1");
    home.ok(["task", "add", "m"]);
    home.sql(
        "CREATE TRIGGER keep BEFORE DELETE ON worker BEGIN SELECT RAISE(ABORT, 'not now'); END",
    );
    for command in [&["tick"][..], &["task", "run", "1"]] {
        let answer = home.run(command);
        assert_eq!(answer.code(), 1, "{command:?}");
        let told = answer.err();
        assert!(told.contains("task 1 (m) failed: exit status 1"), "{told}");
        assert!(told.contains("not now"), "{told}");
        home.sql("DROP TRIGGER keep");
        home.sql("DELETE FROM worker");
        home.sql(
            "CREATE TRIGGER keep BEFORE DELETE ON worker BEGIN SELECT RAISE(ABORT, 'not now'); END",
        );
    }
}
