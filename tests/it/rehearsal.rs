//! What is to come, played on a copy (`docs/timers.md`, “Rehearsal”).

use serde_json::{Value, json};

use crate::kit::database::dump;
use crate::kit::runner::Home;

/// A report to be validated: a reminder five days before its deadline, and on that day another state and a method.
fn home() -> Home {
    let home = Home::new().at("2026-04-01");
    home.ok(["config", "set", "time.zone", "Europe/Paris"]);
    home.ok(["config", "set", "mail.from", "Runner <runner@example.org>"]);
    home.ok(["config", "set", "mail.transport", "file:mails"]);
    home.ok([
        "template",
        "set",
        "reminder",
        "--to",
        "{{ attr.to }}",
        "--subject",
        "To validate: {{ doc.title }}",
        "--body",
        "By {{ attr.deadline }}.",
    ]);
    home.method("Doc:archive", "touch archived");
    home.timer_with(
        "validation",
        &["--reference", "deadline"],
        &[
            "delay=-5d, mail=reminder",
            "delay=0, state=Non validé, method=Doc:archive",
        ],
    );
    home
}

fn add(home: &Home, title: &str, deadline: &str) -> String {
    let document = home.document(title, deadline);
    home.ok(["doc", "set", &document, "to=ann@example.org"]);
    home.ok(["timer", "attach", "validation", &document]);
    document
}

fn kinds(entries: &Value) -> Vec<&str> {
    let entries = entries.as_array().unwrap().iter();
    entries
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect()
}

#[test]
fn the_story_of_the_days_to_come_is_told_date_by_date() {
    let home = home();
    add(&home, "Annual report", "2026-04-20");
    add(&home, "Budget", "2026-04-15T18:30");
    assert_eq!(
        home.ok(["rehearse", "--until", "2026-04-30"]),
        "2026-04-10\n  \
           18:30  document 2 (Budget), timer validation, level 0: mail 'reminder' to ann@example.org: To validate: Budget\n\
         2026-04-15\n  \
           00:00  document 1 (Annual report), timer validation, level 0: mail 'reminder' to ann@example.org: To validate: Annual report\n  \
           18:30  document 2 (Budget), timer validation, level 1: state: open → Non validé\n  \
           18:30  document 2 (Budget), timer validation, level 1: method Doc:archive runs as task 1\n  \
           18:30  document 2 (Budget), timer validation, level 1: timer detached: it has come to its end\n\
         2026-04-20\n  \
           00:00  document 1 (Annual report), timer validation, level 1: state: open → Non validé\n  \
           00:00  document 1 (Annual report), timer validation, level 1: method Doc:archive runs as task 2\n  \
           00:00  document 1 (Annual report), timer validation, level 1: timer detached: it has come to its end"
    );
    let entries = home.json(["rehearse", "--until", "2026-04-15"]);
    assert_eq!(
        entries,
        json!([
            {
                "at": "2026-04-10T16:30:00Z", "kind": "mail", "document": 2, "title": "Budget", "timer": "validation",
                "level": 0, "schedule": null, "task": null, "mail": "reminder",
                "text": "mail 'reminder' to ann@example.org: To validate: Budget",
            },
            {
                "at": "2026-04-14T22:00:00Z", "kind": "mail", "document": 1, "title": "Annual report",
                "timer": "validation", "level": 0, "schedule": null, "task": null, "mail": "reminder",
                "text": "mail 'reminder' to ann@example.org: To validate: Annual report",
            },
        ])
    );
    let entries = home.json(["rehearse", "--until", "2026-04-15T23:00"]);
    assert_eq!(
        kinds(&entries),
        ["mail", "mail", "state", "task", "detached"]
    );
    assert_eq!(entries[3]["task"], 1);
}

#[test]
fn nothing_leaves_the_process_and_nothing_is_written() {
    let home = home();
    add(&home, "Annual report", "2026-04-20");
    home.ok(["task", "add", "Doc:archive"]);
    let before = dump(&home.db());
    let files = |home: &Home| {
        let names = std::fs::read_dir(home.folder()).unwrap();
        let mut names: Vec<_> = names.map(|name| name.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let there = files(&home);
    let told = home.json(["rehearse", "--until", "2027-01-01"]);
    assert_eq!(kinds(&told).len(), 5);
    assert_eq!(dump(&home.db()), before);
    assert_eq!(files(&home), there);
}

#[test]
fn a_tick_then_does_what_was_rehearsed() {
    let mut home = home();
    let document = add(&home, "Annual report", "2026-04-20");
    let told = home.json(["rehearse", "--until", "2026-05-01"]);
    assert_eq!(kinds(&told), ["mail", "state", "task", "detached"]);
    home.set_now("2026-04-15");
    home.ok(["tick"]);
    home.set_now("2026-04-20");
    home.ok(["tick"]);
    let messages = home.messages(&document);
    for entry in told.as_array().unwrap() {
        let text = entry["text"].as_str().unwrap();
        let is_history = ["state", "detached"].contains(&entry["kind"].as_str().unwrap());
        assert!(!is_history || messages.contains(&text.to_owned()), "{text}");
    }
    assert_eq!(
        home.json(["mail", "list"])[0]["subject"],
        "To validate: Annual report"
    );
    assert_eq!(home.status(&told[2]["task"].to_string()), "COMPLETED");
}

#[test]
fn tasks_are_taken_for_completed_in_their_order_and_at_their_time() {
    let home = home();
    let first = home.ok(["task", "add", "Doc:archive", "--at", "2026-04-03T10:00"]);
    home.ok(["task", "add", "Doc:archive", "--after", &first]);
    home.ok(["task", "add", "Doc:archive"]);
    home.sql("INSERT INTO task (method) VALUES ('Doc:none')");
    home.sql("INSERT INTO task (method, status, worker_id, attempt) VALUES ('Doc:archive', 'RUNNING', 99, 1)");
    assert_eq!(
        home.ok(["rehearse", "--until", "2026-04-30"]),
        "2026-04-01\n  \
           00:00  method Doc:archive runs as task 3\n  \
           00:00  task 4: no method 'Doc:none': 'runner method list' shows them\n\
         2026-04-03\n  \
           10:00  method Doc:archive runs as task 1\n  \
           10:00  method Doc:archive runs as task 2"
    );
}

#[test]
fn what_would_fail_is_told_and_the_level_is_skipped_past_its_limit() {
    let home = home();
    let document = add(&home, "Annual report", "2026-04-20");
    home.ok(["doc", "set", &document, "to="]);
    let answer = home.run(["--json", "rehearse", "--until", "2026-04-30"]);
    assert_eq!(answer.code(), 1, "it would fail");
    let told: Value = serde_json::from_str(&answer.out()).unwrap();
    assert_eq!(
        kinds(&told),
        ["error", "skipped", "state", "task", "detached"]
    );
    assert_eq!(told[0]["at"], "2026-04-14T22:00:00Z");
    assert!(
        told[0]["text"].as_str().unwrap().contains("attr.to"),
        "{told}"
    );
    let text = home.run(["rehearse", "--until", "2026-04-16"]).out();
    assert!(text.contains("\n  02:01  document 1"), "{text}");
}

#[test]
fn a_rehearsal_may_begin_on_another_day() {
    let home = home();
    add(&home, "Annual report", "2026-04-20");
    let told = home.run([
        "--json",
        "rehearse",
        "--from",
        "2026-04-16",
        "--until",
        "2026-04-30",
    ]);
    let told: Value = serde_json::from_str(&told.out()).unwrap();
    assert_eq!(kinds(&told), ["skipped", "state", "task", "detached"]);
    assert_eq!(told[0]["at"], "2026-04-14T22:00:00Z", "the time due");
    let refused = home.run(["rehearse", "--until", "2026-03-01"]);
    assert_eq!(refused.code(), 2, "{}", refused.err());
    let refused = home.run(["rehearse", "--until", "soon"]);
    assert_eq!(refused.code(), 2, "{}", refused.err());
}

#[test]
fn a_dry_run_is_the_rehearsal_of_now() {
    let mut home = home();
    add(&home, "Annual report", "2026-04-20");
    assert_eq!(home.ok(["tick", "--dry-run"]), "");
    home.set_now("2026-04-15");
    let report = home.json(["tick", "--dry-run"]);
    assert_eq!(
        report["would"],
        home.json(["rehearse", "--until", "2026-04-15"])
    );
    assert_eq!(report["would"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&report["fired"], &report["mails_sent"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(report["errors"], json!([]));
}

#[test]
fn it_stops_at_a_hundred_thousand_entries_and_says_so() {
    let home = home();
    home.timer("restless", &["delay=1s, iterations=200000, state=open"]);
    let document = home.document("A", "");
    home.ok(["timer", "attach", "restless", &document]);
    let answer = home.run(["--json", "rehearse", "--until", "2050-01-01"]);
    assert_eq!(answer.code(), 1);
    assert!(
        answer
            .err()
            .contains("stopped at 100000 entries, on 2026-04-02 0"),
        "{}",
        answer.err()
    );
    let told: Value = serde_json::from_str(&answer.out()).unwrap();
    assert_eq!(told.as_array().unwrap().len(), 100_000);
}

#[test]
fn a_year_of_many_documents_is_told_whole() {
    let home = home();
    home.sql(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500)
         INSERT INTO document (title, state, attributes)
         SELECT 'Document ' || n, 'open',
                json_object('to', 'ann@example.org', 'deadline', date('2026-04-10', '+' || (n % 365) || ' days'))
           FROM n;
         INSERT INTO attachment (timer_id, document_id) SELECT 1, id FROM document",
    );
    let told = home.json(["rehearse", "--until", "2027-04-30"]);
    assert_eq!(told.as_array().unwrap().len(), 2000);
}

#[test]
fn each_action_has_the_limit_of_its_own() {
    let home = home();
    home.timer(
        "t",
        &[
            "delay=0, limit=3d, mail=reminder",
            "delay=1d, limit=none, mail=reminder",
        ],
    );
    let document = home.document("A", "2026-04-20");
    home.ok(["timer", "attach", "t", &document]);
    let answer = home.run(["--json", "rehearse", "--until", "2026-05-30"]);
    let told: Value = serde_json::from_str(&answer.out()).unwrap();
    // The second level goes on failing, and is told of once.
    assert_eq!(kinds(&told), ["error", "skipped", "error"]);
    let text = home.run(["rehearse", "--until", "2026-05-30"]).out();
    assert!(text.contains("\n2026-04-04\n  00:01  document 1"), "{text}");
}

#[test]
fn timers_that_are_bound_to_states_come_and_go_in_the_story() {
    let home = home();
    home.timer_with(
        "open-too-long",
        &["--while-state", "open"],
        &["delay=10d, state=late"],
    );
    home.timer_with(
        "late",
        &["--while-state", "late"],
        &["delay=1d, method=Doc:archive", "delay=5d, state=closed"],
    );
    home.document("Annual report", "");
    let told = home.json(["rehearse", "--until", "2026-05-01"]);
    let entries = told.as_array().unwrap().iter();
    let story: Vec<_> = entries
        .map(|entry| {
            (
                entry["at"].as_str().unwrap(),
                entry["text"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        story,
        [
            ("2026-04-10T22:00:00Z", "state: open → late"),
            ("2026-04-10T22:00:00Z", "timer attached by state"),
            (
                "2026-04-10T22:00:00Z",
                "timer detached: it has come to its end"
            ),
            ("2026-04-11T22:00:00Z", "method Doc:archive runs as task 1"),
            ("2026-04-16T22:00:00Z", "state: late → closed"),
            (
                "2026-04-16T22:00:00Z",
                "timer detached: it has come to its end"
            ),
        ]
    );
}
