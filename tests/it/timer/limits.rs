//! How late a level may be done, and who learns of one that is skipped (`docs/timers.md`, "Limits").

use crate::kit::outbox::home_with;
use crate::kit::runner::Home;
use serde_json::{Value, json};

/// A database with a method that notes each of its calls, and a timer of one action on a deadline.
fn with_timer(action: &str) -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Reviewer:remind", "echo x >> reminded");
    home.timer_with("t", &["--reference", "deadline"], &[action]);
    home
}

/// What a tick at this time did: levels done, levels skipped, errors.
fn tick_at(home: &mut Home, time: &str) -> [u64; 3] {
    home.set_now(time);
    let answer = home.run(["--json", "tick"]);
    let report = answer.json();
    let errors = report["errors"].as_array().unwrap().len() as u64;
    assert_eq!(answer.code() == 0, errors == 0, "{report}");
    let [fired, skipped] = ["fired", "skipped"].map(|name| report[name].as_u64().unwrap());
    [fired, skipped, errors]
}

fn attached_with(home: &Home, deadline: &str) -> String {
    let doc = home.document("A", deadline);
    home.ok(["timer", "attach", "t", &doc]);
    doc
}

#[test]
fn an_action_says_how_late_it_may_be_done() {
    for (action, in_time, too_late) in [
        ("state=late", "2027-04-25T00:00", None),
        (
            "state=late, method=Reviewer:remind",
            "2026-04-25T02:00",
            Some("2026-04-25T02:00:01"),
        ),
        (
            "method=Reviewer:remind",
            "2026-04-25T02:00",
            Some("2026-04-25T02:00:01"),
        ),
        (
            "limit=none, method=Reviewer:remind",
            "2027-04-25T00:00",
            None,
        ),
        (
            "limit=30m, method=Reviewer:remind",
            "2026-04-25T00:30",
            Some("2026-04-25T00:30:01"),
        ),
        (
            "limit=1mo, state=late",
            "2026-05-25T00:00",
            Some("2026-05-25T00:00:01"),
        ),
    ] {
        let mut home = with_timer(action);
        attached_with(&home, "2026-04-25");
        assert_eq!(tick_at(&mut home, in_time), [1, 0, 0], "{action}");
        if let Some(too_late) = too_late {
            let mut home = with_timer(action);
            attached_with(&home, "2026-04-25");
            assert_eq!(tick_at(&mut home, too_late), [0, 1, 1], "{action}");
        }
    }
}

#[test]
fn the_setting_counts_for_actions_without_a_limit_of_their_own() {
    let mut home = with_timer("method=Reviewer:remind");
    home.ok(["config", "set", "timer.hour_limit", "0"]);
    attached_with(&home, "2026-04-25");
    assert_eq!(tick_at(&mut home, "2027-04-25T00:00"), [1, 0, 0]);
}

#[test]
fn a_skip_is_an_error_told_once() {
    let mut home = with_timer("method=Reviewer:remind");
    attached_with(&home, "2026-04-25");
    home.set_now("2026-04-26T08:00");
    let answer = home.run(["tick"]);
    assert_eq!(answer.code(), 1);
    assert_eq!(
        answer.err(),
        "runner: timer t on document 1, level 0: skipped: it was due at 2026-04-25 00:00:00, 1d 8h ago, and its \
         limit is 2h; not done: method Reviewer:remind"
    );
    assert_eq!(home.ok(["tick"]), "", "once");
    assert_eq!(home.read("reminded"), "");
    let history = home.messages("1");
    assert!(
        history[1].starts_with("level skipped: it was due at 2026-04-25"),
        "{history:?}"
    );
}

#[test]
fn the_error_mail_has_what_was_skipped() {
    let mut home = home_with("file:mails");
    home.ok(["config", "set", "mail.errors_to", "admin@example.org"]);
    home.method("Reviewer:remind", "true");
    home.timer_with(
        "t",
        &["--reference", "deadline"],
        &["method=Reviewer:remind"],
    );
    attached_with(&home, "2026-04-25");
    home.set_now("2026-04-26T08:00");
    for _ in 0..2 {
        assert_eq!(home.run(["tick"]).err(), "", "by mail alone");
    }
    let mails = home.json(["mail", "list"]);
    assert_eq!(mails.as_array().unwrap().len(), 1, "{mails}");
    let report = home.json(["mail", "show", "1"]);
    let body = report["body"].as_str().unwrap();
    assert!(body.contains("timer t"), "{body}");
    assert!(
        body.contains("skipped: it was due at 2026-04-25 00:00:00"),
        "{body}"
    );
}

#[test]
fn what_was_past_its_limit_already_when_attached_or_dated_anew_is_on_record_only() {
    let mut home = with_timer("method=Reviewer:remind");
    attached_with(&home, "2026-04-10");
    assert_eq!(tick_at(&mut home, "2026-04-10T09:01"), [0, 1, 0]);
    let doc = attached_with(&home, "2026-04-25");
    home.ok(["doc", "set", &doc, "deadline=2026-04-09"]);
    assert_eq!(tick_at(&mut home, "2026-04-11T09:00"), [0, 1, 0]);
    home.ok(["timer", "attach", "t", &doc, "--reference", "2026-04-09"]);
    assert_eq!(tick_at(&mut home, "2026-04-11T09:01"), [0, 1, 0]);
    let skipped = home.json(["timer", "skipped"]);
    assert_eq!(skipped.as_array().unwrap().len(), 3, "{skipped}");
    home.ok(["timer", "fire", "3"]);
    home.ok(["tick"]);
    assert_eq!(home.lines("reminded").len(), 1);
}

#[test]
fn what_plain_sql_dates_in_the_past_is_on_record_only() {
    let home = Home::new();
    home.method("Reviewer:remind", "true");
    home.timer_with(
        "t",
        &["--reference", "deadline"],
        &["method=Reviewer:remind"],
    );
    for deadline in ["datetime('now', '-1 day')", "datetime('now', '+1 day')"] {
        home.sql(&format!(
            "INSERT INTO document (attributes) VALUES (json_object('deadline', {deadline}));
             INSERT INTO attachment (timer_id, document_id) SELECT 1, max(id) FROM document"
        ));
    }
    home.ok(["tick"]);
    assert_eq!(home.json(["timer", "skipped"])[0]["document"], 1);
    home.sql(
        "UPDATE document SET attributes = json_set(attributes, '$.deadline', datetime('now', '-1 day')) WHERE id = 2",
    );
    home.ok(["tick"]);
    assert_eq!(home.json(["timer", "skipped"])[1]["document"], 2);
}

#[test]
fn another_definition_or_zone_is_no_new_date() {
    for change in [
        &[
            "timer",
            "set",
            "t",
            "--reference",
            "deadline",
            "--action",
            "delay=1h, method=Reviewer:remind",
        ][..],
        &["config", "set", "time.zone", "America/New_York"],
    ] {
        let mut home = with_timer("method=Reviewer:remind");
        attached_with(&home, "2026-04-25");
        home.set_now("2026-04-26");
        home.ok(change);
        assert_eq!(
            tick_at(&mut home, "2026-04-26T08:00"),
            [0, 1, 1],
            "{change:?}"
        );
    }
}

#[test]
fn a_reminder_whose_date_has_passed_when_the_deadline_is_set_is_sent_where_its_limit_allows() {
    for (limit, expected) in [("", [0, 1, 0]), ("limit=5d, ", [1, 0, 0])] {
        let mut home = with_timer(&format!("delay=-5d, {limit}method=Reviewer:remind"));
        attached_with(&home, "2026-04-12");
        assert_eq!(tick_at(&mut home, "2026-04-10T09:01"), expected, "{limit}");
    }
}

#[test]
fn a_limit_is_shown_and_read_back() {
    let home = with_timer("limit=none, method=Reviewer:remind");
    home.timer("u", &["limit=3d, state=late", "state=later"]);
    for (name, limits) in [("t", json!(["none"])), ("u", json!(["3d", Value::Null]))] {
        let shown = home.run(["timer", "show", name, "--json"]).out();
        let file = home.write("t.json", &shown);
        home.ok(["timer", "set", name, "--from", file.to_str().unwrap()]);
        assert_eq!(home.run(["timer", "show", name, "--json"]).out(), shown);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let actions = shown["actions"].as_array().unwrap().iter();
        assert_eq!(
            Value::from_iter(actions.map(|action| action["limit"].clone())),
            limits
        );
    }
    assert!(
        home.ok(["timer", "show", "u"])
            .contains("delay=0, limit=3d, state=late")
    );
    home.sql("UPDATE timer_action SET \"limit\" = 'soon'");
    let refused = home.refused(["timer", "show", "u"]);
    assert!(refused.contains("limit=soon"), "{refused}");
}
