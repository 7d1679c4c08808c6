//! Levels: what is done once, what is called off, what is rehearsed, forecast and defined anew.

use crate::kit::runner::Home;
use serde_json::{Value, json};

#[test]
fn all_levels_that_are_due_fire_in_one_tick_in_order_of_their_dates() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.ok(["config", "set", "timer.hour_limit", "0"]);
    home.timer("even", &["delay=2d, iterations=2, state=even"]);
    home.timer("odd", &["delay=3d, state=odd"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "odd", &doc]);
    home.ok(["timer", "attach", "even", &doc]);
    home.set_now("2026-04-20");
    assert_eq!(home.json(["tick"])["fired"], 3);
    let states = home.messages(&doc);
    let states: Vec<_> = states
        .iter()
        .filter(|message| message.starts_with("state"))
        .collect();
    assert_eq!(
        states,
        [
            "state: open → even",
            "state: even → odd",
            "state: odd → even"
        ]
    );
}

#[test]
fn however_many_levels_of_one_document_are_due_they_all_fire_in_one_tick() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.ok(["config", "set", "timer.hour_limit", "0"]);
    home.timer("t", &["delay=1s, iterations=2500, state=seen", "state=end"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    home.set_now("2026-04-11");
    assert_eq!(home.json(["tick"])["fired"], 2501);
    assert_eq!(home.state(&doc), "end");
}

#[test]
fn a_level_is_done_when_its_task_is_completed_and_the_next_fires_in_the_same_tick() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "echo x >> noted");
    home.timer("t", &["iterations=3, method=Doc:note", "state=end"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.json(["tick"])["fired"], 4);
    assert_eq!(home.read("noted").lines().count(), 3);
    assert_eq!(home.state(&doc), "end");
}

#[test]
fn a_task_that_is_cancelled_or_gone_is_started_anew_by_the_next_tick() {
    let home = Home::new().at("2026-04-10T09:00");
    home.ok(["config", "set", "task.max_running", "1"]);
    home.method("Doc:note", "test -e now && echo x >> noted");
    home.timer("t", &["method=Doc:note"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.run(["tick"]).code(), 1);
    home.ok(["task", "restart", "1"]);
    home.ok(["task", "cancel", "1"]);
    let error = home.attached(&doc)["last_error"].clone();
    assert_eq!(error, "its task was cancelled");
    home.sql("DELETE FROM task");
    home.write("now", "");
    assert_eq!(home.json(["tick"])["fired"], 1);
    assert_eq!(home.read("noted").lines().count(), 1);
}

#[test]
fn a_task_that_is_restarted_by_hand_completes_its_level() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "test -e now && echo x >> noted");
    home.timer("t", &["method=Doc:note"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.run(["tick"]).code(), 1);
    home.write("now", "");
    home.ok(["task", "run", "1"]);
    assert_eq!(home.shown(&doc)["timers"], json!([]));
    assert_eq!(
        home.json(["timer", "done"])[0]["result"],
        "method Doc:note as task 1"
    );
    home.ok(["tick"]);
    assert_eq!(home.read("noted").lines().count(), 1);
}

#[test]
fn what_was_decided_under_the_old_date_is_not_done_under_the_new_one() {
    let home = Home::new().at("2026-04-25T00:00");
    home.method("Doc:note", "test -e now && echo x >> noted");
    home.timer_with(
        "t",
        &["--reference", "deadline"],
        &["method=Doc:note", "delay=1d, state=late"],
    );
    let doc = home.document("A", "2026-04-25");
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.run(["tick"]).code(), 1);
    home.ok(["task", "restart", "1"]);
    home.sql("UPDATE document SET attributes = '{\"deadline\": \"2026-05-25\"}'");
    home.write("now", "");
    home.ok(["tick"]);
    assert_eq!(home.read("noted"), "");
    assert_eq!(home.status("1"), "CANCELLED");
    assert_eq!(home.due(&doc), "2026-05-25T00:00:00Z");
}

#[test]
fn a_date_that_changes_while_the_method_runs_keeps_its_end_from_counting() {
    let home = Home::new().at("2026-04-25T00:00");
    home.method(
        "Doc:move",
        &format!(
            "'{}' doc set \"$RUNNER_DOCUMENT\" deadline=2026-04-26",
            env!("CARGO_BIN_EXE_runner")
        ),
    );
    home.timer_with(
        "t",
        &["--reference", "deadline"],
        &["method=Doc:move", "delay=1d, state=late"],
    );
    let doc = home.document("A", "2026-04-25");
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.json(["tick"])["fired"], 0);
    assert_eq!(home.status("1"), "COMPLETED");
    let attached = home.attached(&doc);
    assert_eq!(attached["level"], 0);
    assert_eq!(attached["due_at"], "2026-04-26T00:00:00Z");
}

#[test]
fn history_shows_dates_as_they_were_typed() {
    let mut home = Home::new().at("2026-04-10T09:00").env("TZ", "Europe/Paris");
    home.timer_with("t", &["--reference", "deadline"], &["limit=2h, state=late"]);
    let doc = home.document("A", "2026-06-20");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["doc", "set", &doc, "deadline=2026-06-21T14:30"]);
    home.ok(["doc", "set", &doc, "deadline=2026-04-10"]);
    home.set_now("2026-04-10T12:00");
    home.ok(["tick"]);
    let told = home.messages(&doc);
    for message in [
        "the date changed: 2026-06-20 → 2026-06-21 14:30:00; the timer starts over",
        "the date changed: 2026-06-21 14:30:00 → 2026-04-10; the timer starts over",
    ] {
        assert!(told.contains(&message.to_owned()), "{message}: {told:?}");
    }
    let skipped = told
        .iter()
        .find(|message| message.starts_with("level skipped"));
    assert!(
        skipped
            .unwrap()
            .contains("it was due at 2026-04-10 00:00:00"),
        "{told:?}"
    );
}

#[test]
fn a_reset_starts_over_from_the_moment_of_the_reset() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["state=a", "delay=1d, state=b"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["tick"]);
    home.set_now("2026-04-10T10:00");
    home.ok(["timer", "attach", "t", &doc, "--reset"]);
    let attached = home.attached(&doc);
    assert_eq!(attached["level"], 0);
    assert_eq!(attached["due_at"], "2026-04-10T10:00:00Z");
}

#[test]
fn a_definition_that_changes_computes_anew_what_hangs_on_it() {
    let home = Home::new().at("2026-04-10T09:00");
    let set = |actions: &[&str]| home.timer("t", actions);
    set(&["state=a", "delay=2d, state=b", "delay=2d, state=c"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["tick"]);
    assert_eq!(home.due(&doc), "2026-04-12T09:00:00Z");
    set(&["state=a", "delay=5d, state=b"]);
    assert_eq!(home.due(&doc), "2026-04-15T09:00:00Z");
    assert_eq!(home.attached(&doc)["level"], 1, "what was done stays done");
    set(&["state=a"]);
    assert_eq!(home.shown(&doc)["timers"], json!([]));
    assert_eq!(
        home.messages(&doc).last().unwrap(),
        "timer detached: no level is left of its definition"
    );
}

#[test]
fn a_rehearsal_says_what_would_be_done_and_changes_nothing() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "echo x >> noted");
    home.timer("t", &["state=late, method=Doc:note"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["task", "add", "Doc:note"]);
    let before = home.shown(&doc);
    let said = home.ok(["tick", "--dry-run"]);
    assert_eq!(
        said,
        "2026-04-10\n  \
           09:00  document 1 (A), timer t, level 0: state: open → late\n  \
           09:00  method Doc:note runs as task 1\n  \
           09:00  document 1 (A), timer t, level 0: method Doc:note runs as task 2\n  \
           09:00  document 1 (A), timer t, level 0: timer detached: it has come to its end"
    );
    let report = home.json(["tick", "--dry-run"]);
    assert_eq!(report["would"].as_array().unwrap().len(), 4);
    assert_eq!(home.shown(&doc), before);
    assert_eq!(home.json(["task", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(home.read("noted"), "");
    assert_eq!(home.json(["status"])["last_tick"], Value::Null);
}

#[test]
fn a_forecast_dates_all_levels() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer_with(
        "t",
        &["--reference", "deadline", "--delta", "-1d"],
        &["delay=1d, iterations=2, state=a", "delay=1mo, state=b"],
    );
    let dues = |options: &[&str]| {
        let forecast = home.json(
            ["timer", "forecast", "t"]
                .into_iter()
                .chain(options.iter().copied()),
        );
        let entries = forecast.as_array().unwrap().iter();
        entries
            .map(|entry| entry["due_at"].clone())
            .collect::<Vec<_>>()
    };
    home.document("A", "2026-05-01");
    home.document("B", "");
    assert_eq!(
        home.json(["timer", "forecast", "t", "--reference", "2026-04-20"])[2],
        json!({
            "level": 2, "action": 1, "iteration": 0, "due_at": "2026-05-21T00:00:00Z", "state": "b", "mail": [],
            "method": null
        })
    );
    assert_eq!(
        dues(&["--document", "1"]),
        [
            "2026-05-01T00:00:00Z",
            "2026-05-02T00:00:00Z",
            "2026-06-02T00:00:00Z"
        ]
    );
    assert_eq!(
        dues(&["--document", "2"]),
        [Value::Null, Value::Null, Value::Null]
    );
    assert_eq!(dues(&["--limit", "1"]), ["2026-04-10T09:00:00Z"]);
}

#[test]
fn a_definition_goes_through_a_file_and_back() {
    let home = Home::new();
    home.method("Doc:note", "true");
    home.timer_with(
        "t",
        &["--title", "T", "--reference", "deadline", "--delta", "-5d"],
        &[
            "delay=\"1mo 3d\", iterations=2, state=\"not valid, yet\"",
            "method=Doc:note",
        ],
    );
    let shown = home.json(["timer", "show", "t"]);
    let file = home.write("t.json", shown.to_string());
    home.ok(["timer", "set", "copy", "--from", file.to_str().unwrap()]);
    let mut copy = home.json(["timer", "show", "copy"]);
    copy["name"] = json!("t");
    assert_eq!(copy, shown);
}

#[test]
fn purging_and_detaching_many_say_how_many() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["state=a", "delay=1y, state=b"]);
    for title in ["Report 1", "Report 2", "Minutes"] {
        let doc = home.document(title, "");
        home.ok(["timer", "attach", "t", &doc]);
    }
    home.ok(["tick"]);
    home.set_now("2026-06-10");
    assert_eq!(home.ok(["timer", "purge", "--older-than", "90d"]), "0");
    assert_eq!(
        home.json(["timer", "purge", "--older-than", "1mo"]),
        json!({"purged": 3})
    );
    assert_eq!(home.json(["timer", "done"]), json!([]));
    assert_eq!(home.ok(["timer", "detach", "--match", "report"]), "2");
    assert_eq!(home.json(["timer", "next"]).as_array().unwrap().len(), 1);
}

#[test]
fn status_counts_what_hangs_waits_fails_and_was_skipped() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer_with("t", &["--reference", "deadline"], &["limit=2h, state=late"]);
    for deadline in ["", "2026-04-25", "2026-04-01"] {
        let doc = home.document("A", deadline);
        home.ok(["timer", "attach", "t", &doc]);
    }
    home.ok(["tick"]);
    let status = home.json(["status"]);
    assert_eq!(
        status["timers"],
        json!({"attached": 2, "waiting": 1, "failing": 0, "skipped": 1})
    );
    assert_eq!(status["next_due"], "2026-04-25T00:00:00Z");
}

#[test]
fn what_was_added_out_of_order_is_dropped_when_it_is_old_too() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.ok(["config", "set", "keep.history", "30d"]);
    home.timer("t", &["state=a"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    home.set_now("2026-01-10T09:00");
    home.ok(["timer", "attach", "t", &doc, "--reset"]);
    home.ok(["tick"]);
    home.set_now("2026-04-10T09:01");
    home.ok(["tick"]);
    assert_eq!(home.messages(&doc), ["timer attached"]);
    assert_eq!(home.json(["timer", "done"]), json!([]));
}

#[test]
fn a_method_that_fails_for_the_same_reason_is_told_by_the_history_once() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "exit 3");
    home.timer("t", &["method=Doc:note"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    for minute in ["09:00", "09:01", "09:02"] {
        home.set_now(&format!("2026-04-10T{minute}"));
        assert_eq!(home.run(["tick"]).code(), 1);
    }
    let attached = home.attached(&doc);
    assert_eq!(attached["attempts"], 3);
    let error = attached["last_error"].as_str().unwrap();
    assert!(error.starts_with("its task failed: "), "{error}");
    let told = home.messages(&doc);
    let told: Vec<_> = told
        .iter()
        .filter(|message| message.contains("failed"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("task 1 (Doc:note) failed: "),
        "{told:?}"
    );
}

#[test]
fn history_and_firings_are_kept_as_long_as_the_setting_says() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.ok(["config", "set", "keep.history", "30d"]);
    home.timer("t", &["state=a"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["tick"]);
    home.set_now("2026-05-09");
    home.ok(["tick"]);
    assert_eq!(home.json(["timer", "done"]).as_array().unwrap().len(), 1);
    home.set_now("2026-05-11");
    home.ok(["tick"]);
    assert_eq!(home.json(["timer", "done"]), json!([]));
    assert_eq!(home.messages(&doc), [""; 0]);
}

/// Waits until a handler has made a file: how long is for the machine to say.
fn wait_for(home: &Home, name: &str) {
    while !home.path(name).exists() {
        std::thread::yield_now();
    }
}

#[test]
fn a_level_is_not_skipped_while_its_method_runs() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.method(
        "Doc:slow",
        "touch begun; while ! test -e go; do sleep 0.02; done",
    );
    home.timer("t", &["method=Doc:slow"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    let slow = home.start(["tick"]);
    wait_for(&home, "begun");
    home.set_now("2026-04-10T15:00");
    let other = home.json(["tick"]);
    assert_eq!((&other["fired"], &other["skipped"]), (&json!(0), &json!(0)));
    home.write("go", "");
    slow.end().ok();
    assert_eq!(home.shown(&doc)["timers"], json!([]));
    assert_eq!(home.json(["timer", "done"]).as_array().unwrap().len(), 1);
}

#[test]
fn the_tick_after_one_that_was_killed_starts_the_method_anew() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method(
        "Doc:note",
        "touch begun; while ! test -e go; do sleep 0.02; done; echo x >> noted",
    );
    home.timer("t", &["state=late, method=Doc:note"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    let killed = home.start(["tick"]);
    wait_for(&home, "begun");
    killed.kill();
    std::fs::remove_file(home.path("begun")).unwrap();
    let next = home.start(["--json", "tick"]);
    wait_for(&home, "begun");
    home.write("go", "");
    let report = next.end().json();
    assert_eq!(
        (&report["interrupted"], &report["fired"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(home.read("noted").lines().count(), 1);
    let states = home.messages(&doc);
    assert_eq!(
        states
            .iter()
            .filter(|message| message.starts_with("state"))
            .count(),
        1
    );
}

#[test]
fn the_params_of_an_action_are_those_of_its_task() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "cat >> noted");
    let with = |params: &str| {
        let text = format!(
            r#"{{"name": "t", "actions": [{{"method": "Doc:note", "iterations": 2, "params": {params}}}]}}"#
        );
        let file = home.write("t.json", text);
        home.ok(["timer", "set", "--from", file.to_str().unwrap()]);
        home.json(["timer", "show", "t"])["actions"][0]["params"].clone()
    };
    let params = r#"{"tone": "kind", "copies": 2, "n": 12345678901234567890123}"#;
    assert_eq!(with(params), serde_json::from_str::<Value>(params).unwrap());
    assert!(home.ok(["timer", "show", "t"]).contains(params));
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["tick"]);
    let inputs = home.lines("noted");
    assert_eq!(inputs.len(), 2);
    for input in inputs {
        assert!(
            input.contains("12345678901234567890123"),
            "as it was written: {input}"
        );
        let input: Value = serde_json::from_str(&input).unwrap();
        assert_eq!(input["params"]["tone"], "kind");
        assert_eq!(input["document"]["title"], "A");
    }
    assert_eq!(with("null"), Value::Null);
}

#[test]
fn other_params_start_the_method_anew() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:fail", "exit 1");
    home.timer("t", &["state=seen, method=Doc:fail"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.run(["tick"]).code(), 1);
    home.ok(["task", "restart", "1"]);
    let file = home.write(
        "t.json",
        r#"{"actions": [{"state": "seen", "method": "Doc:fail", "params": [1]}]}"#,
    );
    home.ok(["timer", "set", "t", "--from", file.to_str().unwrap()]);
    assert_eq!(home.status("1"), "CANCELLED");
    assert_eq!(home.run(["tick"]).code(), 1);
    assert_eq!(home.task("2")["params"], json!([1]));
}

#[test]
fn a_verbose_tick_names_the_levels_that_it_does() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "true");
    home.timer("t", &["state=late, method=Doc:note"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    let named = home.run(["-v", "tick"]).err();
    let level = "timer t on document 1, level 0: state late; method Doc:note as task 1";
    assert!(named.contains(level), "{named}");
}
