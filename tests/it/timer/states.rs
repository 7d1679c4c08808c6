//! Timers that are bound to states of documents (`docs/timers.md`, "Timers bound to states").

use crate::kit::outbox::home_with;
use crate::kit::runner::Home;
use serde_json::{Value, json};

/// A database with the timer of the example, bound to the state `En validation`, and its mails in a folder.
fn validation(delta: &str, actions: &[&str]) -> Home {
    let home = home_with("file:mails");
    home.method("Doc:note", "cat >> seen");
    home.ok([
        "template",
        "set",
        "relance",
        "--to",
        "ada@example.org",
        "--subject",
        "Relance : {{ doc.title }}",
        "--body",
        "...",
    ]);
    home.timer_with(
        "validation",
        &[
            "--reference",
            "date_butoir_validation",
            "--delta",
            delta,
            "--while-state",
            "En validation",
        ],
        actions,
    );
    home
}

fn sent_for_validation(home: &Home) -> String {
    home.ok([
        "doc",
        "add",
        "--title",
        "Rapport",
        "--state",
        "En validation",
        "-a",
        "date_butoir_validation=2026-04-25",
    ])
}

/// A database with a timer `t` of these actions, bound to the state `A`.
fn bound(actions: &[&str]) -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer_with("t", &["--while-state", "A"], actions);
    home
}

/// Adds a document in a state; its id.
fn document(home: &Home, state: &str) -> String {
    home.ok(["doc", "add", "--key", "k", "--state", state])
}

/// The attachments, each by its timer and its level.
fn attached(home: &Home) -> Vec<String> {
    let next = home.json(["timer", "next"]);
    let mut all: Vec<String> = next
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {}", row["timer"].as_str().unwrap(), row["level"]))
        .collect();
    all.sort_unstable();
    all
}

fn tick_at(home: &mut Home, time: &str) -> Value {
    home.set_now(time);
    home.json(["tick"])
}

/// Runs a script as programs do that leave foreign keys off.
fn sql_without_foreign_keys(home: &Home, script: &str) {
    home.sql(&format!("PRAGMA foreign_keys = OFF; {script}"));
}

#[test]
fn si_le_document_n_est_pas_relu() {
    for (delta, actions) in [
        ("-5d", ["mail=relance", "delay=5d, state=Non validé"]),
        ("0", ["delay=-5d, mail=relance", "state=Non validé"]),
    ] {
        // Nobody has validated it.
        let mut home = validation(delta, &actions);
        let doc = sent_for_validation(&home);
        assert_eq!(home.attached(&doc)["origin"], "state");
        assert_eq!(tick_at(&mut home, "2026-04-20")["mails_sent"], 1);
        assert_eq!(tick_at(&mut home, "2026-04-25")["fired"], 1);
        assert_eq!(home.state(&doc), "Non validé");
        assert_eq!(attached(&home), [""; 0]);

        // It was validated before the reminder: neither that nor the change of its state.
        let mut home = validation(delta, &actions);
        let doc = sent_for_validation(&home);
        home.set_now("2026-04-15");
        home.ok(["doc", "state", &doc, "Validé"]);
        for day in ["2026-04-20", "2026-04-25", "2026-05-25"] {
            let tick = tick_at(&mut home, day);
            assert_eq!((&tick["fired"], &tick["skipped"]), (&json!(0), &json!(0)));
        }
        assert_eq!(home.state(&doc), "Validé");
        assert_eq!(home.json(["mail", "list"]), json!([]));

        // It was validated between the reminder and the deadline.
        let mut home = validation(delta, &actions);
        let doc = sent_for_validation(&home);
        tick_at(&mut home, "2026-04-20");
        home.sql("UPDATE document SET state = 'Validé'");
        tick_at(&mut home, "2026-04-25");
        assert_eq!(home.state(&doc), "Validé");
        let history = home.messages(&doc);
        assert_eq!(history[0], "timer attached by state");
        assert_eq!(
            history[3..],
            [
                "state: En validation → Validé",
                "timer detached: the document has left its states"
            ]
        );
    }
}

#[test]
fn whoever_brings_a_document_into_a_state_attaches_the_timer() {
    type Writer = fn(&Home);
    let ways: [(&str, Writer); 10] = [
        ("", |home| {
            home.ok(["doc", "add", "--state", "A", "--family", "f"]);
        }),
        ("", |home| {
            home.sql("INSERT INTO document (state, family) VALUES ('A', 'f')");
        }),
        ("B", |home| {
            home.ok(["doc", "state", "k", "A"]);
        }),
        ("B", |home| home.sql("UPDATE document SET state = 'A'")),
        ("A g", |home| {
            home.ok(["doc", "set", "k", "--family", "f"]);
        }),
        ("A g", |home| home.sql("UPDATE document SET family = 'f'")),
        ("B", |home| {
            home.sql("INSERT INTO document (key, state) VALUES ('k', 'A') ON CONFLICT (key) DO UPDATE SET state = 'A'");
        }),
        ("B", |home| {
            sql_without_foreign_keys(
                home,
                "INSERT OR REPLACE INTO document (id, state, family) VALUES (1, 'A', 'f')",
            );
        }),
        ("B", |home| {
            home.sql("REPLACE INTO document (key, state, family) VALUES ('k', 'A', 'f')");
        }),
        ("B", |home| {
            home.timer("other", &["state=A"]);
            home.ok(["timer", "attach", "other", "k"]);
            home.ok(["tick"]);
        }),
    ];
    for (number, (before, write)) in ways.into_iter().enumerate() {
        let home = Home::new().at("2026-04-10T09:00");
        home.timer_with(
            "t",
            &["--while-state", "A", "--family", "f"],
            &["delay=1d, state=late"],
        );
        let (state, family) = before.split_once(' ').unwrap_or((before, "f"));
        if !state.is_empty() {
            home.ok([
                "doc", "add", "--key", "k", "--state", state, "--family", family,
            ]);
        }
        assert_eq!(attached(&home), [""; 0], "way {number}");
        write(&home);
        assert_eq!(attached(&home), ["t 0"], "way {number}");
        let origin: String = home.sql_value("SELECT origin FROM attachment");
        assert_eq!(origin, "state", "way {number}");
        let told: i64 = home
            .sql_value("SELECT count(*) FROM history WHERE message = 'timer attached by state'");
        assert_eq!(told, 1, "way {number}");
    }
}

#[test]
fn whoever_takes_a_document_out_of_its_states_detaches_the_timer_whatever_its_origin() {
    type Writer = fn(&Home);
    let ways: [Writer; 9] = [
        |home| {
            home.ok(["doc", "state", "k", "B"]);
        },
        |home| home.sql("UPDATE document SET state = 'B'"),
        |home| {
            home.ok(["doc", "set", "k", "--family", "g"]);
        },
        |home| home.sql("UPDATE document SET family = ''"),
        |home| {
            home.sql("INSERT OR REPLACE INTO document (id, key, state) VALUES (1, 'k', 'B')");
        },
        |home| {
            sql_without_foreign_keys(
                home,
                "INSERT OR REPLACE INTO document (key, state) VALUES ('k', 'B')",
            );
        },
        |home| {
            home.ok(["doc", "delete", "k"]);
            home.ok(["doc", "add", "--key", "k"]);
        },
        |home| {
            sql_without_foreign_keys(
                home,
                "DELETE FROM document; INSERT INTO document (key) VALUES ('k')",
            );
        },
        |home| {
            home.timer("other", &["state=B"]);
            home.ok(["timer", "attach", "other", "k"]);
            home.ok(["tick"]);
        },
    ];
    for (number, write) in ways.into_iter().enumerate() {
        let home = Home::new().at("2026-04-10T09:00");
        home.timer_with(
            "t",
            &["--while-state", "A", "--family", "f"],
            &["delay=1d, state=late"],
        );
        home.ok(["doc", "add", "--key", "k", "--state", "A", "--family", "f"]);
        home.ok([
            "timer", "attach", "t", "k", "--reset", "--origin", "by hand",
        ]);
        assert_eq!(attached(&home), ["t 0"], "way {number}");
        write(&home);
        assert_eq!(attached(&home), [""; 0], "way {number}");
        if ![6, 7].contains(&number) {
            let history = home.messages("k");
            let detached = "timer detached: the document has left its states".to_owned();
            assert!(history.contains(&detached), "way {number}: {history:?}");
        }
        let broken = "SELECT count(*) FROM pragma_foreign_key_check";
        assert_eq!(home.sql_value::<i64>(broken), 0, "way {number}");
    }
}

#[test]
fn the_same_state_or_another_one_of_its_own_keeps_attachment_and_level() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.timer_with(
        "dunning",
        &["--while-state", "open", "--while-state", "late"],
        &["delay=1d, state=late", "delay=1w, state=written off"],
    );
    document(&home, "open");
    for write in [
        "UPDATE document SET state = 'open'",
        "UPDATE document SET state = 'open', family = 'f'",
        "UPDATE document SET title = 'A'",
        "INSERT OR REPLACE INTO document (id, key, state) VALUES (1, 'k', 'open')",
        "INSERT OR REPLACE INTO document (key, state) VALUES ('k', 'open')",
        "INSERT OR IGNORE INTO document (key, state) VALUES ('k', 'elsewhere')",
    ] {
        home.sql(write);
        sql_without_foreign_keys(&home, write);
        let id: i64 = home.sql_value("SELECT id FROM attachment");
        assert_eq!(id, 1, "{write}");
    }
    assert_eq!(tick_at(&mut home, "2026-04-11T09:00")["fired"], 1);
    assert_eq!(attached(&home), ["dunning 1"]);
    home.sql("UPDATE document SET state = 'open'");
    assert_eq!(attached(&home), ["dunning 1"]);
    home.sql("REPLACE INTO document (key, state) VALUES ('k', 'late')");
    assert_eq!(attached(&home), ["dunning 1"]);
    assert_eq!(tick_at(&mut home, "2026-04-18T09:00")["fired"], 1);
    assert_eq!(home.state("k"), "written off");
    let history = home.messages("k");
    assert_eq!(history[0], "timer attached by state");
    assert_eq!(
        history.last().unwrap(),
        "timer detached: it has come to its end"
    );
}

#[test]
fn a_level_that_changes_the_state_does_its_mails_and_its_method_before_the_timer_goes() {
    let mut home = validation(
        "0",
        &[
            "state=Non validé, mail=relance, method=Doc:note",
            "delay=1d, state=too late",
        ],
    );
    let doc = sent_for_validation(&home);
    let tick = tick_at(&mut home, "2026-04-25");
    assert_eq!(
        (
            &tick["fired"],
            &tick["mails_sent"],
            &tick["tasks"]["completed"]
        ),
        (&json!(1), &json!(1), &json!(1))
    );
    let seen: Value = serde_json::from_str(&home.read("seen")).unwrap();
    assert_eq!(seen["document"]["state"], "Non validé");
    assert_eq!(
        home.messages(&doc)[1..],
        [
            "state: En validation → Non validé",
            "mail 1 queued from template relance",
            "mail 'relance' sent to ada@example.org: Relance : Rapport",
            "method Doc:note started as task 1",
            "task 1 completed",
            "timer detached: the document has left its states",
        ]
    );
    assert_eq!(tick_at(&mut home, "2026-04-26")["fired"], 0);
    assert_eq!(home.state(&doc), "Non validé");
}

#[test]
fn what_is_left_of_such_a_level_is_done_after_a_failure_and_after_a_crash() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method(
        "Doc:note",
        "test -e again && echo x >> noted || { touch again; kill -9 $PPID; sleep 5; exit 1; }",
    );
    home.timer_with(
        "t",
        &["--while-state", "A"],
        &["state=B, method=Doc:note", "state=C"],
    );
    document(&home, "A");
    let _ = home.start(["tick"]).end();
    assert_eq!(home.state("k"), "B");
    assert_eq!(attached(&home), ["t 0"]);
    home.run(["tick"]);
    home.ok(["tick"]);
    assert_eq!(home.lines("noted").len(), 1);
    assert_eq!(attached(&home), [""; 0]);
    assert_eq!(
        home.state("k"),
        "B",
        "its next level was not for this state"
    );
}

#[test]
fn what_somebody_else_writes_while_such_a_level_is_not_over_counts() {
    for (state, left) in [("A", vec!["t 0"]), ("B", vec!["t 0"]), ("C", vec![])] {
        let home = Home::new().at("2026-04-10T09:00");
        home.method("Doc:note", "test -e now && echo x >> noted");
        home.timer_with(
            "t",
            &["--while-state", "A"],
            &["state=B, method=Doc:note", "delay=1d, state=late"],
        );
        document(&home, "A");
        assert_eq!(home.run(["tick"]).code(), 1);
        home.ok(["doc", "state", "k", state]);
        assert_eq!(attached(&home), left, "{state}");
        home.write("now", "");
        home.ok(["tick"]);
        // Back inside it stays for its next level; where it was left it goes with this one.
        let stays = if state == "A" { vec!["t 1"] } else { vec![] };
        assert_eq!(attached(&home), stays, "{state}");
        let noted = usize::from(state != "C");
        assert_eq!(home.lines("noted").len(), noted, "{state}");
    }
}

#[test]
fn what_is_queued_for_a_state_that_is_left_is_called_off_and_what_runs_comes_to_its_end() {
    // A mail that has not gone out yet.
    let home = home_with("smtp://127.0.0.1:1");
    home.ok([
        "template",
        "set",
        "m",
        "--to",
        "ada@example.org",
        "--subject",
        "s",
        "--body",
        "b",
    ]);
    home.timer_with("t", &["--while-state", "A"], &["mail=m"]);
    document(&home, "A");
    assert_eq!(home.run(["tick"]).code(), 1);
    home.ok(["doc", "state", "k", "B"]);
    let mail = home.json(["mail", "show", "1"]);
    assert_eq!(mail["status"], "failed");
    let why = mail["last_error"].as_str().unwrap();
    assert!(why.starts_with("the timer was detached"), "{why}");
    let history = home.messages("k");
    let called_off = "mail 1 called off: the timer was detached".to_owned();
    assert!(history.contains(&called_off), "{history:?}");
    assert_eq!(home.json(["status"])["mails"]["failed"], 0);

    // A task that has not begun.
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "test -e now && echo x >> noted");
    home.timer_with("t", &["--while-state", "A"], &["method=Doc:note"]);
    document(&home, "A");
    assert_eq!(home.run(["tick"]).code(), 1);
    home.ok(["task", "restart", "1"]);
    home.sql("UPDATE document SET state = 'B'");
    assert_eq!(home.status("1"), "CANCELLED");
    let history = home.messages("k");
    let called_off = "task 1 called off: the timer was detached".to_owned();
    assert!(history.contains(&called_off), "{history:?}");

    // A task that runs, and takes the document out of the state itself.
    let home = Home::new().at("2026-04-10T09:00");
    let runner = env!("CARGO_BIN_EXE_runner");
    home.method(
        "Doc:move",
        &format!("'{runner}' doc state \"$RUNNER_DOCUMENT\" B && echo x >> moved"),
    );
    home.timer_with(
        "t",
        &["--while-state", "A"],
        &["method=Doc:move", "state=late"],
    );
    document(&home, "A");
    assert_eq!(home.json(["tick"])["fired"], 0);
    assert_eq!(home.status("1"), "COMPLETED");
    assert_eq!(home.state("k"), "B");
    assert_eq!(attached(&home), [""; 0]);
}

#[test]
fn to_enter_and_to_leave_within_one_transaction_both_count() {
    let mut home = bound(&["delay=1d, state=late", "delay=1d, state=later"]);
    document(&home, "B");
    home.sql("BEGIN; UPDATE document SET state = 'A'; UPDATE document SET state = 'B'; COMMIT");
    assert_eq!(attached(&home), [""; 0]);
    home.ok(["doc", "state", "k", "A"]);
    home.sql("UPDATE attachment SET level = 1");
    home.sql("BEGIN; UPDATE document SET state = 'B'; UPDATE document SET state = 'A'; COMMIT");
    assert_eq!(attached(&home), ["t 0"], "it has entered anew");
    home.sql("BEGIN; UPDATE document SET state = 'B'; ROLLBACK");
    assert_eq!(attached(&home), ["t 0"]);
    let entered: i64 =
        home.sql_value("SELECT count(*) FROM history WHERE message = 'timer attached by state'");
    assert_eq!(entered, 3);
    home.set_now("2026-04-11T09:00");
    home.ok(["tick"]);
}

#[test]
fn two_timers_on_one_state_both_come_and_go_with_it() {
    let mut home = bound(&["delay=1d, state=B"]);
    home.method("Doc:note", "echo x >> noted");
    home.timer_with("u", &["--while-state", "A"], &["delay=1d, method=Doc:note"]);
    home.timer_with("v", &["--while-state", "A"], &["delay=1h, method=Doc:note"]);
    document(&home, "A");
    assert_eq!(attached(&home), ["t 0", "u 0", "v 0"]);
    let tick = tick_at(&mut home, "2026-04-11T09:00");
    // The soonest was skipped: it is a day late. The first of the others has taken the document away from the second.
    assert_eq!((&tick["fired"], &tick["skipped"]), (&json!(1), &json!(1)));
    assert_eq!(home.state("k"), "B");
    assert_eq!(attached(&home), [""; 0]);
    assert_eq!(home.read("noted"), "");
}

#[test]
fn after_its_last_level_or_a_detach_by_hand_it_stays_off_until_the_document_enters_again() {
    let home = bound(&["state=A"]);
    document(&home, "A");
    assert_eq!(home.json(["tick"])["fired"], 1);
    let stays_off = |home: &Home| {
        assert_eq!(attached(home), [""; 0]);
        home.sql("UPDATE document SET state = 'A', title = 'again'");
        home.sql("REPLACE INTO document (key, state) VALUES ('k', 'A')");
        assert_eq!(attached(home), [""; 0]);
        home.ok(["doc", "state", "k", "B"]);
        home.ok(["doc", "state", "k", "A"]);
        assert_eq!(attached(home), ["t 0"]);
    };
    stays_off(&home);
    home.ok(["timer", "detach", "t", "k"]);
    stays_off(&home);
    home.sql("DELETE FROM attachment");
    stays_off(&home);
}

#[test]
fn attaching_by_hand_in_another_state_is_refused() {
    let home = bound(&["delay=1d, state=late"]);
    document(&home, "B");
    let refused = home.refused(["timer", "attach", "t", "k"]);
    assert_eq!(
        refused,
        "runner: timer 't' on document 1: it is bound to documents in the state A, and this is none"
    );
    let connection = rusqlite::Connection::open(home.db()).unwrap();
    let insert = "INSERT INTO attachment (timer_id, document_id) VALUES (1, 1)";
    let refused = connection.execute(insert, []).unwrap_err().to_string();
    assert!(
        refused.contains("in none of the states of the timer"),
        "{refused}"
    );
    home.ok(["doc", "state", "k", "A"]);
    home.ok(["timer", "detach", "t", "k"]);
    home.ok(["timer", "attach", "t", "k"]);
    assert_eq!(attached(&home), ["t 0"]);
}

#[test]
fn a_new_definition_detaches_what_it_is_not_for_and_attaches_the_rest_only_when_asked() {
    let home = Home::new().at("2026-04-10T09:00");
    let set = |options: &[&str]| {
        let action = ["--action", "delay=1d, state=late"];
        home.ok(["timer", "set", "t"].iter().chain(options).chain(&action))
    };
    for state in ["A", "B", "C"] {
        home.ok([
            "doc", "add", "--key", state, "--state", state, "--family", state,
        ]);
    }
    assert_eq!(set(&["--while-state", "A", "--existing"]), "1");
    assert_eq!(set(&["--while-state", "A", "--existing"]), "0");
    assert_eq!(set(&["--while-state", "B", "--while-state", "A"]), "");
    assert_eq!(attached(&home), ["t 0"], "a mass mail is a common accident");
    assert_eq!(
        set(&["--while-state", "B", "--while-state", "C", "--existing"]),
        "1",
        "C alone is new: the definition before was for B already"
    );
    home.ok(["timer", "attach", "t", "B"]);
    assert_eq!(
        home.messages("A").last().unwrap(),
        "timer detached: it is bound to other states now"
    );
    set(&["--while-state", "B", "--while-state", "C", "--family", "C"]);
    let left: String = home.sql_value(
        "SELECT group_concat(key) FROM attachment JOIN document ON document.id = document_id",
    );
    assert_eq!(left, "C");
    assert_eq!(set(&[]), "");
    assert_eq!(attached(&home), ["t 0"], "without states attachments stay");
    home.ok(["doc", "state", "C", "elsewhere"]);
    assert_eq!(attached(&home), ["t 0"]);
    set(&["--while-state", "C"]);
    assert_eq!(attached(&home), [""; 0]);
    let refused = home.run(["timer", "set", "t", "--existing", "--action", "state=b"]);
    assert!(
        refused.err().contains("bound to no states"),
        "{}",
        refused.err()
    );
    assert_eq!(refused.code(), 2);
    let refused = home.run(["timer", "set", "t", "--family", "f", "--action", "state=b"]);
    assert_eq!(refused.code(), 2);
}

#[test]
fn existing_documents_that_the_definition_before_was_for_are_not_attached_again() {
    let again = |home: &Home, state: &str| {
        let options = ["timer", "set", "t", "--existing", "--while-state", state];
        home.ok(options.iter().chain(&["--action", "state=A"]))
    };
    for change in [
        "",
        "DELETE FROM firing",
        "REPLACE INTO document (key, state) VALUES ('k', 'A')",
        "DELETE FROM attachment",
    ] {
        let home = bound(&["state=A"]);
        document(&home, "A");
        home.ok(["tick"]);
        home.sql(change);
        assert_eq!(again(&home, "A"), "0", "{change}");
        home.ok(["timer", "attach", "t", "k"]);
        home.ok(["timer", "detach", "t", "k"]);
        assert_eq!(again(&home, "A"), "0", "{change}");
    }
}

#[test]
fn a_state_change_attaches_the_timer_of_the_next_state_in_the_same_tick() {
    let home = bound(&["state=B"]);
    home.timer_with("u", &["--while-state", "B"], &["state=C"]);
    home.timer_with("v", &["--while-state", "C"], &["delay=1d, state=D"]);
    document(&home, "A");
    assert_eq!(home.json(["tick"])["fired"], 2);
    assert_eq!(home.state("k"), "C");
    assert_eq!(attached(&home), ["v 0"]);
}

#[test]
fn states_that_lead_in_a_circle_end_the_tick_and_status_names_them() {
    let home = bound(&["state=B"]);
    home.timer_with("u", &["--while-state", "B"], &["state=A"]);
    document(&home, "A");
    let fired = home.json(["tick"])["fired"].as_u64().unwrap();
    assert!((2..=4).contains(&fired), "{fired}");
    let status = home.json(["status"]);
    let attention = status["attention"].to_string();
    assert!(
        attention.contains("on document 1 is put off to the next tick"),
        "{attention}"
    );
    let until = ["rehearse", "--until", "2026-04-10T09:03", "--json"];
    let story = home.run(until).json();
    let times = story.as_array().unwrap().iter();
    let moves = times.filter(|entry| entry["kind"] == "state").count();
    assert!(moves >= 4, "a rehearsal goes on as ticks do: {story}");
    let again = home.json(["tick"])["fired"].as_u64().unwrap();
    assert!((1..=4).contains(&again), "{again}");

    // By handlers, which write the states themselves.
    let home = Home::new();
    let runner = env!("CARGO_BIN_EXE_runner");
    for (timer, from, to) in [("t", "A", "B"), ("u", "B", "A")] {
        let method = format!("Doc:{to}");
        home.method(
            &method,
            &format!("echo {to} >> moves; '{runner}' doc state \"$RUNNER_DOCUMENT\" {to}"),
        );
        let action = format!("method={method}");
        home.timer_with(timer, &["--while-state", from], &[&action]);
    }
    document(&home, "A");
    home.ok(["tick"]);
    let moves = home.lines("moves").len();
    assert!((2..=4).contains(&moves), "{moves}");
}

#[test]
fn many_documents_change_their_state_by_one_statement() {
    let mut home = bound(&["delay=1d, state=late"]);
    home.sql(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
         INSERT INTO document (state) SELECT 'B' FROM n",
    );
    home.sql("UPDATE document SET state = 'A'");
    assert_eq!(
        home.sql_value::<i64>("SELECT count(*) FROM attachment"),
        5000
    );
    home.sql("UPDATE document SET state = 'B' WHERE id <= 2000");
    assert_eq!(
        home.sql_value::<i64>("SELECT count(*) FROM attachment"),
        3000
    );
    home.sql("UPDATE attachment SET attached_at = '2026-04-10 09:00:00'");
    assert_eq!(tick_at(&mut home, "2026-04-11T09:00")["fired"], 3000);
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM attachment"), 0);
}

#[test]
fn the_runner_attaches_by_its_own_clock() {
    let mut home = bound(&["delay=1d, state=late"]);
    document(&home, "A");
    assert_eq!(home.attached("k")["attached_at"], "2026-04-10T09:00:00Z");
    home.ok(["doc", "state", "k", "B"]);
    home.set_now("2026-04-11T09:00");
    home.ok(["doc", "state", "k", "A"]);
    assert_eq!(home.attached("k")["attached_at"], "2026-04-11T09:00:00Z");
    let times = home.json(["doc", "history", "k"]);
    let times = times.as_array().unwrap().iter();
    assert!(
        times
            .clone()
            .all(|entry| entry["at"].as_str().unwrap().starts_with("2026-04-1"))
    );
    assert_eq!(times.count(), 5);
}

#[test]
fn states_and_family_are_shown_and_read_back() {
    let home = Home::new();
    home.timer_with(
        "t",
        &["--while-state", "B", "--while-state", "A", "--family", "f"],
        &["state=late"],
    );
    let shown = home.json(["timer", "show", "t"]);
    assert_eq!(shown["family"], "f");
    assert_eq!(shown["while_state"], json!(["B", "A"]), "as given");
    let file = home.write("t.json", shown.to_string());
    home.ok(["timer", "set", "u", "--from", file.to_str().unwrap()]);
    let copied = home.json(["timer", "show", "u"]);
    assert_eq!(copied["while_state"], shown["while_state"]);
    let text = home.ok(["timer", "show", "t"]);
    assert!(text.contains("family         f\n"), "{text}");
    assert!(text.contains("while_state    B, A\n"), "{text}");
    let file = home.write(
        "v.json",
        r#"{"family": "f", "actions": [{"state": "late"}]}"#,
    );
    let refused = home.refused(["timer", "set", "v", "--from", file.to_str().unwrap()]);
    assert!(refused.contains("a family needs states"), "{refused}");
    home.ok(["doc", "add", "--state", "A", "--family", "f"]);
    home.ok(["timer", "remove", "t", "--force"]);
    home.ok(["timer", "remove", "u", "--force"]);
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM timer_state"), 0);
}

/// A document in the state `B`, into which a level of the timer `t` has brought it that still waits for its method.
fn half_done() -> Home {
    half_done_of_family("")
}

/// The same of a timer for this family alone, if it is one.
fn half_done_of_family(family: &str) -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "test -e now && echo x >> noted");
    let options = [
        "--while-state",
        "A",
        "--reference",
        "deadline",
        "--family",
        family,
    ];
    let options = if family.is_empty() {
        &options[..4]
    } else {
        &options
    };
    home.timer_with(
        "t",
        options,
        &["state=B, method=Doc:note", "delay=1d, state=late"],
    );
    home.ok([
        "doc",
        "add",
        "--key",
        "k",
        "--state",
        "A",
        "--family",
        family,
        "-a",
        "deadline=2026-04-10T09:00",
    ]);
    assert_eq!(home.run(["tick"]).code(), 1);
    assert_eq!(
        (home.state("k"), attached(&home)),
        ("B".into(), vec!["t 0".into()])
    );
    home
}

#[test]
fn another_date_ends_a_timer_whose_level_has_taken_the_document_out_of_its_states() {
    let mut home = half_done();
    home.ok(["doc", "set", "k", "deadline=2026-05-09"]);
    assert_eq!(attached(&home), [""; 0]);
    home.set_now("2026-06-01");
    home.ok(["tick"]);
    assert_eq!(home.state("k"), "B");
    let history = home.messages("k");
    assert_eq!(
        history.last().unwrap(),
        "timer detached: the document has left its states"
    );
}

#[test]
fn a_replacement_in_the_same_state_leaves_such_a_level_to_its_end() {
    let home = half_done();
    home.sql(
        "REPLACE INTO document (key, state, attributes) VALUES ('k', 'B', '{\"deadline\": \"2026-04-10T09:00\"}')",
    );
    assert_eq!(attached(&home), ["t 0"]);
    home.write("now", "");
    home.ok(["tick"]);
    assert_eq!((home.lines("noted").len(), attached(&home)), (1, vec![]));
}

#[test]
fn another_definition_lets_such_a_level_come_to_its_end_unless_it_would_begin_it_anew() {
    for (first, left) in [
        ("state=B, method=Doc:note", 1),
        ("state=D, method=Doc:note", 0),
    ] {
        let home = half_done();
        home.timer_with(
            "t",
            &["--while-state", "C", "--reference", "deadline"],
            &[first, "delay=2d, state=late"],
        );
        assert_eq!(attached(&home).len(), left, "{first}");
        home.write("now", "");
        home.ok(["tick"]);
        assert_eq!(
            (home.lines("noted").len(), attached(&home).len()),
            (left, 0),
            "{first}"
        );
        assert_eq!(home.state("k"), "B", "{first}");
    }
}

/// The columns of a document that is replaced by its key, and gets another id by that.
const REPLACE: &str = "REPLACE INTO document (key, state, attributes) VALUES ('k', ";

#[test]
fn a_replacement_that_leaves_the_date_is_no_new_date() {
    for write in [
        "UPDATE document SET attributes = '{\"deadline\": \"2026-04-10\", \"note\": 1}'".to_owned(),
        format!("{REPLACE}'A', '{{\"deadline\": \"2026-04-10\", \"note\": 1}}')"),
        "REPLACE INTO document (id, key, state, attributes)
         VALUES (1, 'k', 'A', '{\"deadline\": \"2026-04-10\", \"note\": 1}')"
            .to_owned(),
    ] {
        let mut home = Home::new().at("2026-04-10T00:00");
        home.method("Doc:note", "true");
        home.timer_with(
            "t",
            &["--reference", "deadline", "--while-state", "A"],
            &["delay=1h, method=Doc:note"],
        );
        let deadline = "deadline=2026-04-10";
        home.ok(["doc", "add", "--key", "k", "--state", "A", "-a", deadline]);
        home.sql(&write);
        home.set_now("2026-04-10T09:00");
        let tick = home.run(["tick"]);
        assert!(
            tick.err().contains("level 0: skipped"),
            "{write}: {}",
            tick.err()
        );
        assert_eq!(tick.code(), 1, "{write}");
    }
}

#[test]
fn a_level_that_has_left_its_states_goes_on_whatever_is_written_but_another_state_or_a_family_it_names()
 {
    const DEADLINE: &str = "'{\"deadline\": \"2026-04-10T09:00\"}'";
    let replace_with_family = |family: &str| {
        format!(
            "REPLACE INTO document (key, state, family, attributes) VALUES ('k', 'B', '{family}', {DEADLINE})"
        )
    };
    for (family, write, left) in [
        ("", "UPDATE document SET family = 'g'".to_owned(), 1),
        ("", replace_with_family("g"), 1),
        ("f", replace_with_family("f"), 1),
        ("f", replace_with_family("g"), 0),
        ("f", "UPDATE document SET family = 'g'".to_owned(), 0),
        ("", "UPDATE document SET state = 'C'".to_owned(), 0),
    ] {
        let home = half_done_of_family(family);
        home.sql(&write);
        assert_eq!(attached(&home).len(), left, "{family}: {write}");
        home.write("now", "");
        home.ok(["tick"]);
        assert_eq!(home.lines("noted").len(), left, "{family}: {write}");
        assert_eq!(attached(&home), [""; 0], "{family}: {write}");
    }
}

#[test]
fn what_belongs_to_a_document_follows_when_it_is_replaced_by_its_key() {
    let mut home = home_with("file:mails").at("2026-04-10T09:00");
    home.sql(
        "INSERT INTO template (name, \"to\", subject, body) VALUES ('m', 'a@example.org', 's', 'b')",
    );
    home.timer_with("t", &["--while-state", "A"], &["delay=1h, mail=m"]);
    home.method("Doc:note", "true");
    document(&home, "A");
    for document in ["k", "1"] {
        home.ok(["task", "add", "Doc:note", "--hold", "--document", document]);
    }
    home.set_now("2026-04-11T09:00");
    assert_eq!(home.run(["tick"]).code(), 1);
    home.sql(
        "PRAGMA foreign_keys = ON; REPLACE INTO document (id, key, title) VALUES (1, 'k', 'same')",
    );
    assert_eq!(home.json(["task", "show", "1"])["document"], 1);
    home.sql("PRAGMA foreign_keys = ON; REPLACE INTO document (key, title, state) VALUES ('k', 'T', 'u')");
    for task in ["1", "2"] {
        assert_eq!(home.json(["task", "show", task])["document"], 2);
    }
    let skipped = home.json(["timer", "skipped"]);
    assert_eq!(
        (&skipped[0]["document"], &skipped[0]["title"]),
        (&json!(2), &json!("T"))
    );
    home.ok(["timer", "fire", "1"]);
    assert_eq!(home.json(["mail", "show", "1"])["document"], 2);
    let history = home.messages("k");
    assert!(history.contains(&"state: A → ".to_owned()), "{history:?}");
    assert!(history.contains(&"state:  → u".to_owned()), "{history:?}");
}

#[test]
fn a_mail_that_is_called_off_by_hand_or_by_another_date_is_in_the_history_and_has_not_failed() {
    let home = home_with("smtp://127.0.0.1:1");
    home.sql(
        "INSERT INTO template (name, \"to\", subject, body) VALUES ('m', 'a@example.org', 's', 'b')",
    );
    home.timer_with("t", &["--reference", "deadline"], &["mail=m"]);
    let doc = home.document("A", "2026-04-10T09:00");
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.run(["tick"]).code(), 1);
    home.ok(["doc", "set", &doc, "deadline=2026-04-10T08:00"]);
    assert_eq!(home.run(["tick"]).code(), 1);
    home.ok(["timer", "detach", "t", &doc]);
    let history = home.messages(&doc);
    for sentence in [
        "mail 1 called off: the date that the timer counts from has changed",
        "mail 2 called off: the timer was detached",
    ] {
        assert!(history.contains(&sentence.to_owned()), "{history:?}");
    }
    let status = home.json(["status"]);
    assert_eq!(status["mails"]["failed"], 0);
    assert!(
        !status["attention"].to_string().contains("mail"),
        "{status}"
    );
}
