//! What the program was first asked to do with timers, sentence by sentence, mail apart (`docs/timers.md`).

use crate::kit::runner::Home;
use serde_json::{Value, json};

/// The requirement of the example, with a method in place of the reminder's mail: five days before the date.
fn validation_by_delta(home: &Home) {
    home.method("Reviewer:remind", "cat >> reminded.json");
    home.timer_with(
        "validation",
        &["--reference", "date_butoir_validation", "--delta", "-5d"],
        &[
            "delay=0, iterations=1, method=Reviewer:remind",
            "delay=5d, iterations=1, state=non validé",
        ],
    );
}

/// A document in validation, with its deadline.
fn document(home: &Home, title: &str, deadline: &str) -> String {
    let deadline = format!("date_butoir_validation={deadline}");
    let state = "en validation";
    home.ok([
        "doc", "add", "--title", title, "--state", state, "-a", &deadline,
    ])
}

#[test]
fn five_days_before_the_deadline_a_reminder_and_at_the_deadline_another_state() {
    for (story, delta, first, second) in [
        ("with a delta of -5 days", "-5d", "delay=0", "delay=5d"),
        ("with a delay of -5 days", "0", "delay=-5d", "delay=0"),
    ] {
        let mut home = Home::new().at("2026-04-10T09:00");
        home.method("Reviewer:remind", "cat >> reminded.json");
        home.ok([
            "timer",
            "set",
            "validation",
            "--reference",
            "date_butoir_validation",
            "--delta",
            delta,
            "--action",
            &format!("{first}, method=Reviewer:remind"),
            "--action",
            &format!("{second}, state=non validé"),
        ]);
        let doc = document(&home, "Annual report", "2026-04-25");
        home.ok(["timer", "attach", "validation", &doc]);
        assert_eq!(home.due(&doc), "2026-04-20T00:00:00Z", "{story}");
        home.ok(["tick"]);
        assert_eq!(home.read("reminded.json"), "", "{story}");

        home.set_now("2026-04-20T00:00");
        home.ok(["tick"]);
        let handed: Value = serde_json::from_str(&home.read("reminded.json")).unwrap();
        assert_eq!(handed["document"]["title"], "Annual report", "{story}");
        assert_eq!(handed["due_at"], "2026-04-20T00:00:00Z", "{story}");
        assert_eq!(home.state(&doc), "en validation", "{story}");

        home.set_now("2026-04-24T23:59");
        home.ok(["tick"]);
        assert_eq!(home.state(&doc), "en validation", "{story}");

        home.set_now("2026-04-25T00:00");
        home.ok(["tick"]);
        assert_eq!(home.state(&doc), "non validé", "{story}");
        assert_eq!(home.shown(&doc)["timers"], json!([]), "{story}");
        assert_eq!(
            home.messages(&doc),
            [
                "timer attached",
                "method Reviewer:remind started as task 1",
                "task 1 completed",
                "state: en validation → non validé",
                "timer detached: it has come to its end",
            ],
            "{story}"
        );
    }
}

#[test]
fn a_combination_does_the_state_change_before_the_method() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "cat > seen.json");
    home.timer("t", &["method=Doc:note, state=late"]);
    let doc = document(&home, "A", "2026-04-25");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["tick"]);
    let seen: Value = serde_json::from_str(&home.read("seen.json")).unwrap();
    assert_eq!(seen["document"]["state"], "late");
}

#[test]
fn the_first_iteration_of_the_first_action_falls_at_the_reference_date_and_the_delay() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["delay=2d, state=late"]);
    let doc = document(&home, "A", "");
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.due(&doc), "2026-04-12T09:00:00Z");
}

#[test]
fn the_next_iterations_and_actions_fall_at_the_reference_date_and_the_sum_of_what_has_passed() {
    let mut home = Home::new().at("2026-04-01T08:00");
    home.timer(
        "t",
        &["delay=1d, iterations=2, state=a", "delay=1w, state=b"],
    );
    let doc = document(&home, "A", "");
    home.ok(["timer", "attach", "t", &doc]);
    let mut dues = Vec::new();
    // Each tick is half an hour late: the next date counts from the reference, not from the tick.
    for now in ["2026-04-02T08:30", "2026-04-03T08:30", "2026-04-10T08:30"] {
        dues.push(home.due(&doc));
        home.set_now(now);
        home.ok(["tick"]);
    }
    assert_eq!(
        dues,
        [
            "2026-04-02T08:00:00Z",
            "2026-04-03T08:00:00Z",
            "2026-04-10T08:00:00Z"
        ]
    );
    assert_eq!(home.state(&doc), "b");
    assert_eq!(
        home.shown(&doc)["timers"],
        json!([]),
        "after all iterations of all actions it is detached"
    );
}

#[test]
fn by_default_the_reference_date_is_that_of_the_attachment_and_can_be_given() {
    let home = Home::new().at("2014-10-15T16:21").env("TZ", "Europe/Paris");
    home.timer_with("t", &["--delta", "3h"], &["delay=1d, state=s"]);
    let first = document(&home, "A", "");
    home.ok(["timer", "attach", "t", &first]);
    let timer = home.attached(&first);
    assert_eq!(timer["reference_at"], "2014-10-15T17:21:00Z");
    assert_eq!(timer["due_at"], "2014-10-16T17:21:00Z");

    let second = document(&home, "B", "");
    home.ok([
        "timer",
        "attach",
        "t",
        &second,
        "--reference",
        "2014-12-25T12:00",
    ]);
    assert_eq!(home.due(&second), "2014-12-26T14:00:00Z");
}

#[test]
fn a_dynamic_reference_date_is_computed_anew_whenever_the_document_is_updated() {
    let mut home = Home::new().at("2026-04-10T09:00");
    validation_by_delta(&home);
    let doc = document(&home, "A", "2026-04-25");
    home.ok(["timer", "attach", "validation", &doc]);
    home.ok(["doc", "set", &doc, "date_butoir_validation=2026-05-25"]);
    assert_eq!(home.due(&doc), "2026-05-20T00:00:00Z");
    home.sql(
        "UPDATE document SET attributes = json_set(attributes, '$.date_butoir_validation', '2026-06-25')",
    );
    assert_eq!(home.due(&doc), "2026-06-20T00:00:00Z");
    home.set_now("2026-05-20T00:00");
    home.ok(["tick"]);
    assert_eq!(home.read("reminded.json"), "");
}

#[test]
fn when_the_dynamic_date_changes_the_timer_goes_back_to_its_first_iteration() {
    let mut home = Home::new().at("2026-04-10T09:00");
    validation_by_delta(&home);
    let doc = document(&home, "A", "2026-04-25");
    home.ok(["timer", "attach", "validation", &doc]);
    home.set_now("2026-04-20T00:00");
    home.ok(["tick"]);
    assert_eq!(home.shown(&doc)["timers"][0]["level"], 1);
    home.ok(["doc", "set", &doc, "title=B", "other=x"]);
    assert_eq!(
        home.shown(&doc)["timers"][0]["level"],
        1,
        "other attributes change nothing"
    );
    home.ok([
        "doc",
        "set",
        &doc,
        "date_butoir_validation=2026-04-25T00:00",
    ]);
    assert_eq!(
        home.shown(&doc)["timers"][0]["level"],
        1,
        "the same date, written otherwise, changes nothing"
    );
    home.ok(["doc", "set", &doc, "date_butoir_validation=2026-05-25"]);
    let timer = home.attached(&doc);
    assert_eq!(timer["level"], 0);
    assert_eq!(timer["due_at"], "2026-05-20T00:00:00Z");
}

#[test]
fn while_the_linked_date_is_empty_the_timer_waits() {
    let mut home = Home::new().at("2026-04-10T09:00");
    validation_by_delta(&home);
    let doc = document(&home, "A", "");
    home.ok(["timer", "attach", "validation", &doc]);
    assert_eq!(home.due(&doc), Value::Null);
    home.set_now("2027-01-01");
    home.ok(["tick"]);
    assert_eq!(home.messages(&doc), ["timer attached"]);

    home.ok(["doc", "set", &doc, "date_butoir_validation=2027-02-10"]);
    assert_eq!(home.due(&doc), "2027-02-05T00:00:00Z", "it has a date");

    home.ok(["doc", "set", &doc, "date_butoir_validation="]);
    assert_eq!(home.due(&doc), Value::Null, "it is empty again");
    home.set_now("2027-02-10");
    home.ok(["tick"]);
    assert_eq!(home.state(&doc), "en validation");
}

#[test]
fn each_action_leaves_an_entry_in_the_history_of_its_document() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["state=late"]);
    let doc = document(&home, "A", "");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["tick"]);
    let history = home.json(["doc", "history", &doc]);
    assert_eq!(
        history[1],
        json!({
            "at": "2026-04-10T09:00:00Z", "level": "info", "message": "state: en validation → late",
            "timer": "t", "timer_level": 0
        })
    );
}

#[test]
fn timers_are_administered_with_next_done_skipped_and_fire() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["state=a", "delay=1d, limit=2h, state=b"]);
    for title in ["Annual report", "Minutes"] {
        let doc = document(&home, title, "");
        home.ok(["timer", "attach", "t", &doc, "--origin", "import"]);
    }
    let next = home.json(["timer", "next", "--match", "REPORT"]);
    assert_eq!(next.as_array().unwrap().len(), 1);
    assert_eq!(next[0]["title"], "Annual report");
    assert_eq!(next[0]["origin"], "import");
    home.ok(["tick"]);
    let done = home.json(["timer", "done", "--match", "minutes"]);
    assert_eq!(done[0]["level"], 0);
    assert_eq!(done[0]["status"], "done");
    assert_eq!(done[0]["result"], "state a");

    home.set_now("2026-04-11T12:00");
    let answer = home.json(["tick"]);
    assert_eq!(
        (&answer["fired"], &answer["skipped"]),
        (&json!(0), &json!(2))
    );
    let skipped = home.json(["timer", "skipped"]);
    assert_eq!(skipped[0]["status"], "skipped");
    assert_eq!(home.state("1"), "a");
    home.ok(["timer", "fire", &skipped[0]["id"].to_string()]);
    assert_eq!(home.state("1"), "b");
    assert_eq!(home.json(["timer", "skipped"]).as_array().unwrap().len(), 1);
    let again = home.refused(["timer", "fire", &skipped[0]["id"].to_string()]);
    assert!(again.contains("it was not skipped"), "{again}");
}

#[test]
fn timers_are_attached_and_detached_by_programming() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["delay=1d, state=a"]);
    home.timer("u", &["delay=2d, state=b"]);
    let doc = document(&home, "A", "");
    assert_eq!(home.ok(["timer", "attach", "t", &doc]), "1");
    assert_eq!(
        home.json(["timer", "attach", "u", &doc, "--origin", "import"]),
        json!({"id": 2})
    );
    let twice = home.refused(["timer", "attach", "t", &doc]);
    assert!(twice.contains("--reset starts it over"), "{twice}");
    assert_eq!(
        home.ok(["timer", "detach", "--all", &doc, "--origin", "import"]),
        ""
    );
    assert_eq!(home.ok(["timer", "detach", "t", &doc]), "");
    assert_eq!(
        home.ok(["timer", "detach", "t", &doc]),
        "",
        "what is not attached can be detached"
    );
    assert_eq!(home.shown(&doc)["timers"], json!([]));
}

#[test]
fn a_document_whose_timer_met_an_error_is_tried_again_while_its_date_is_valid() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:fail", "echo x >> tries; echo no disk >&2; exit 1");
    home.timer("t", &["state=late, method=Doc:fail", "delay=1d, state=b"]);
    let doc = document(&home, "A", "");
    home.ok(["timer", "attach", "t", &doc]);
    for (minute, attempts) in [("09:00", 1), ("09:01", 2), ("10:59", 3)] {
        home.set_now(&format!("2026-04-10T{minute}"));
        assert_eq!(home.run(["tick"]).code(), 1);
        let timer = home.attached(&doc);
        assert_eq!(timer["attempts"], attempts);
        assert_eq!(timer["level"], 0);
        assert!(timer["last_error"].as_str().unwrap().contains("no disk"));
    }
    assert_eq!(home.read("tries").lines().count(), 3, "once a tick");
    let states = home.messages(&doc);
    let states = states
        .iter()
        .filter(|message| message.starts_with("state:"));
    assert_eq!(states.count(), 1, "the state change is done once");

    home.set_now("2026-04-10T11:01");
    assert_eq!(home.json(["tick"])["skipped"], 1);
    let timer = home.attached(&doc);
    assert_eq!(
        (&timer["level"], &timer["attempts"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(timer["last_error"], Value::Null);
    assert_eq!(
        home.json(["timer", "skipped"])[0]["result"],
        "done: state late; not done: method Doc:fail"
    );
    assert_eq!(home.read("tries").lines().count(), 3);
}

#[test]
fn a_machine_that_was_off_for_a_day_does_not_remind_of_yesterday_and_makes_the_change_of_today() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.method("Reviewer:remind", "echo x >> reminded");
    home.timer_with(
        "t",
        &["--reference", "date_butoir_validation"],
        &[
            "delay=-1d, method=Reviewer:remind",
            "delay=0, state=non validé",
        ],
    );
    let doc = document(&home, "A", "2026-04-25");
    home.ok(["timer", "attach", "t", &doc]);
    home.set_now("2026-04-25T00:30");
    let report = home.json(["tick"]);
    assert_eq!(
        (&report["skipped"], &report["fired"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(home.read("reminded"), "");
    assert_eq!(home.state(&doc), "non validé");
}
