//! Timers as other programs use them, by plain SQL, and what that costs.

use crate::kit::runner::Home;
use serde_json::{Value, json};

fn with_timer(now: &str) -> Home {
    let home = Home::new().at(now);
    home.timer_with("t", &["--reference", "deadline"], &["delay=1d, state=late"]);
    home
}

#[test]
fn an_insert_attaches_and_a_delete_detaches() {
    let mut home = with_timer("2026-04-10T09:00");
    let doc = home.document("A", "2026-04-25");
    home.sql(
        "INSERT INTO attachment (timer_id, document_id, origin) SELECT id, 1, 'import' FROM timer",
    );
    assert_eq!(home.due(&doc), "2026-04-26T00:00:00Z");
    home.sql("DELETE FROM attachment WHERE document_id = 1");
    assert_eq!(
        home.messages(&doc),
        ["timer attached by import", "timer detached"]
    );
    home.set_now("2026-04-26");
    home.ok(["tick"]);
    assert_eq!(home.state(&doc), "open");
}

#[test]
fn an_insert_with_a_date_fixes_the_reference() {
    let home = with_timer("2026-04-10T09:00");
    let doc = home.document("A", "2026-04-25");
    home.sql(
        "INSERT INTO attachment (timer_id, document_id, reference_at) VALUES (1, 1, '2026-06-01 12:00:00')",
    );
    home.ok(["doc", "set", &doc, "deadline=2027-01-01"]);
    assert_eq!(home.due(&doc), "2026-06-02T12:00:00Z");
}

#[test]
fn what_was_inserted_or_changed_in_bulk_is_computed_by_the_next_tick() {
    let mut home = with_timer("2026-04-10T09:00");
    home.sql(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
         INSERT INTO document (title, state, attributes)
         SELECT 'Document ' || n, 'open', json_object('deadline', '2026-05-01') FROM n;
         INSERT INTO attachment (timer_id, document_id) SELECT 1, id FROM document",
    );
    home.ok(["tick"]);
    let waiting = "SELECT count(*) FROM attachment WHERE needs_reschedule = 0 AND due_at = '2026-05-02 00:00:00'";
    assert_eq!(home.sql_value::<i64>(waiting), 2500);
    home.sql(
        "UPDATE document SET attributes = json_set(attributes, '$.deadline', '2026-04-11') WHERE id <= 2000",
    );
    home.set_now("2026-04-12");
    assert_eq!(home.json(["tick"])["fired"], 2000);
    let late = "SELECT count(*) FROM document WHERE state = 'late'";
    assert_eq!(home.sql_value::<i64>(late), 2000);
    home.ok(["tick"]);
    assert_eq!(home.json(["timer", "done"]).as_array().unwrap().len(), 2000);
}

#[test]
fn a_value_that_is_no_date_makes_the_timer_wait_and_history_says_why_once() {
    for (value, why) in [
        ("\"soon\"", "time \"soon\""),
        ("\"2026-02-30\"", "there is no such day or time of day"),
        ("20260430", "it is not a text with a date in it"),
        ("{\"at\": \"2026-04-30\"}", "time"),
    ] {
        let home = with_timer("2026-04-10T09:00");
        let doc = home.document("A", "2026-04-25");
        home.ok(["timer", "attach", "t", &doc]);
        home.sql(&format!(
            "UPDATE document SET attributes = json_set(attributes, '$.deadline', json('{value}'))"
        ));
        home.ok(["tick"]);
        home.ok(["tick"]);
        let attached = home.attached(&doc);
        assert_eq!(attached["due_at"], Value::Null, "{value}");
        let history = home.json(["doc", "history", &doc]);
        let warnings = history.as_array().unwrap().iter();
        let warnings: Vec<_> = warnings
            .filter(|entry| entry["level"] == "warning")
            .collect();
        assert_eq!(warnings.len(), 1, "{value}");
        assert!(
            warnings[0]["message"].as_str().unwrap().contains(why),
            "{value}: {warnings:?}"
        );
        home.ok(["doc", "set", &doc, "deadline=2026-04-30"]);
        assert_eq!(home.due(&doc), "2026-05-01T00:00:00Z", "{value}");
        assert_eq!(home.attached(&doc)["last_error"], Value::Null, "{value}");
    }
}

#[test]
fn an_attribute_is_found_by_any_name_that_a_definition_may_have() {
    for name in ["date butoir", "déadline", "a.b", "a'b", "$", "[0]", "100%"] {
        let home = Home::new().at("2026-04-10T09:00");
        home.timer_with("t", &["--reference", name], &["state=late"]);
        let doc = home.ok(["doc", "add", "-a", &format!("{name}=2026-04-25")]);
        home.ok(["timer", "attach", "t", &doc]);
        assert_eq!(home.due(&doc), "2026-04-25T00:00:00Z", "{name}");
        home.ok(["doc", "set", &doc, &format!("{name}=2026-04-26")]);
        assert_eq!(home.due(&doc), "2026-04-26T00:00:00Z", "{name}");
    }
}

#[test]
fn a_state_that_an_application_refuses_fails_alone_and_is_tried_again() {
    let mut home = with_timer("2026-04-10T09:00");
    for title in ["A", "B", "C"] {
        let doc = home.document(title, "2026-04-25");
        home.ok(["timer", "attach", "t", &doc]);
    }
    home.sql(
        "CREATE TRIGGER mine BEFORE UPDATE OF state ON document WHEN OLD.title = 'B'
         BEGIN SELECT RAISE(ABORT, 'B is closed'); END",
    );
    home.set_now("2026-04-26");
    let report = home.run(["--json", "tick"]);
    assert_eq!(report.code(), 1);
    assert_eq!(report.json()["fired"], 2);
    assert!(
        report.err().contains("timer t on document 2, level 0: "),
        "{}",
        report.err()
    );
    assert!(report.err().contains("B is closed"), "{}", report.err());
    assert_eq!(home.attached("2")["attempts"], 1);
    home.sql("DROP TRIGGER mine");
    assert_eq!(home.json(["tick"])["fired"], 1);
    assert_eq!(home.state("2"), "late");
}

#[test]
fn two_ticks_at_once_fire_nothing_twice() {
    let mut home = with_timer("2026-04-10T09:00");
    home.method("Doc:note", "echo \"$RUNNER_DOCUMENT\" >> noted");
    home.timer("m", &["state=seen, method=Doc:note", "state=gone"]);
    home.sql(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 40)
         INSERT INTO document (title) SELECT n FROM n;
         INSERT INTO attachment (timer_id, document_id, attached_at)
         SELECT timer.id, document.id, '2026-04-10 09:00:00' FROM timer, document WHERE name = 'm'",
    );
    home.set_now("2026-04-10T10:00");
    let ticks: Vec<_> = (0..4).map(|_| home.start(["tick"])).collect();
    for tick in ticks {
        tick.end().ok();
    }
    home.ok(["tick"]);
    let twice = "SELECT count(*) FROM (SELECT 1 FROM firing GROUP BY document_id, level HAVING count(*) <> 1)";
    assert_eq!(home.sql_value::<i64>(twice), 0);
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM firing"), 80);
    let noted = home.read("noted");
    let mut noted: Vec<&str> = noted.lines().collect();
    noted.sort_unstable();
    noted.dedup();
    assert_eq!((noted.len(), home.read("noted").lines().count()), (40, 40));
}

#[test]
fn a_document_that_is_deleted_takes_its_timers_and_their_pending_tasks_with_it() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "echo x >> noted");
    home.timer("t", &["method=Doc:note"]);
    for (title, script) in [("A", "DELETE FROM document"), ("B", "")] {
        let doc = home.document(title, "");
        home.ok(["timer", "attach", "t", &doc]);
        home.sql(
            "INSERT INTO task (method, document_id, attachment_id, run_at)
             SELECT 'Doc:note', document_id, id, '2026-04-10 09:00:00' FROM attachment;
             UPDATE attachment SET step = 2, task_id = (SELECT max(id) FROM task)",
        );
        match script {
            "" => drop(home.ok(["doc", "delete", &doc])),
            script => home.sql(script),
        }
        assert_eq!(home.json(["timer", "next"]), json!([]));
    }
    home.ok(["tick"]);
    assert_eq!(home.read("noted"), "");
    assert_eq!(
        (home.status("1"), home.status("2")),
        ("CANCELLED".into(), "CANCELLED".into())
    );
}

#[test]
fn programs_that_leave_foreign_keys_off_leave_nothing_dangling() {
    let home = with_timer("2026-04-10T09:00");
    let doc = home.document("A", "2026-04-25");
    home.ok(["timer", "attach", "t", &doc]);
    let refused = |script: &str| {
        let connection = rusqlite::Connection::open(home.db()).unwrap();
        connection.execute_batch(script).unwrap_err().to_string()
    };
    for (script, why) in [
        (
            "PRAGMA foreign_keys = OFF; INSERT INTO attachment (timer_id, document_id) VALUES (1, 7)",
            "there is no such document",
        ),
        (
            "PRAGMA foreign_keys = OFF; INSERT INTO attachment (timer_id, document_id) VALUES (7, 1)",
            "no such timer",
        ),
        (
            "PRAGMA foreign_keys = OFF; DELETE FROM timer",
            "the timer is attached",
        ),
    ] {
        assert!(refused(script).contains(why), "{script}");
    }
    home.sql("PRAGMA foreign_keys = OFF; DELETE FROM document");
    assert_eq!(home.json(["timer", "next"]), json!([]));
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM history"), 0);
}

#[test]
fn a_history_that_an_application_refuses_holds_up_no_other_document() {
    let mut home = with_timer("2026-04-10T09:00");
    for title in ["A", "B"] {
        let doc = home.document(title, "2026-04-25");
        home.ok(["timer", "attach", "t", &doc]);
    }
    home.sql(
        "CREATE TRIGGER mine BEFORE INSERT ON history WHEN NEW.document_id = 1
         BEGIN SELECT RAISE(ABORT, 'no more history'); END;
         UPDATE document SET attributes = '{\"deadline\": \"2026-04-24\"}'",
    );
    home.set_now("2026-04-25");
    assert_eq!(home.json(["tick"])["fired"], 1);
    assert_eq!(
        (home.state("1"), home.state("2")),
        ("open".into(), "late".into())
    );
    let error = home.attached("1")["last_error"].clone();
    assert!(
        error.as_str().unwrap().contains("no more history"),
        "{error}"
    );
}

#[test]
fn a_date_that_an_application_refuses_to_have_computed_is_told_and_tried_once_a_run() {
    let mut home = with_timer("2026-04-10T09:00");
    let doc = home.document("A", "2026-04-25");
    home.ok(["timer", "attach", "t", &doc]);
    home.sql(
        "CREATE TRIGGER mine BEFORE INSERT ON history WHEN NEW.message LIKE '%starts over%'
         BEGIN SELECT RAISE(ABORT, 'closed for audit'); END;
         UPDATE document SET attributes = '{\"deadline\": \"2026-05-09\"}'",
    );
    for attempts in [1, 2] {
        let answer = home.run(["--json", "tick"]);
        assert_eq!(answer.code(), 1);
        let report = answer.json();
        let errors = report["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(
            errors[0],
            "timer t on document 1, level 0: its date cannot be computed anew: the database: closed for audit"
        );
        assert_eq!(
            home.sql_value::<i64>("SELECT attempts FROM attachment"),
            attempts
        );
    }
    assert_eq!(home.shown(&doc)["id"], 1, "it can be looked at");
    home.sql("DROP TRIGGER mine");
    home.set_now("2026-05-10");
    assert_eq!(home.json(["tick"])["fired"], 1);
    assert_eq!(home.state(&doc), "late");
}
