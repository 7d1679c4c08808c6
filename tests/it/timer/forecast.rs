//! What is to come on a document, over all its timers.

use crate::kit::runner::Home;
use serde_json::{Value, json};

/// A document that is due on 1 March, on 10 February, with three timers.
fn home() -> Home {
    let home = Home::new().at("2030-02-10T12:00");
    home.method("Doc:note", "exit 0");
    home.timer_with(
        "dunning",
        &["--reference", "due_on"],
        &[
            "delay=1d, state=late",
            "delay=7d, iterations=2, method=Doc:note",
        ],
    );
    home.timer_with("review", &["--delta", "1h"], &["delay=15d, state=old"]);
    home.timer_with("renewal", &["--reference", "ends_on"], &["state=over"]);
    home.ok(["doc", "add", "--key", "invoice", "-a", "due_on=2030-03-01"]);
    for timer in ["dunning", "review", "renewal"] {
        home.ok(["timer", "attach", timer, "invoice"]);
    }
    home
}

/// The fields of each entry.
fn columns(forecast: &Value, fields: &[&str]) -> Vec<Value> {
    let entries = forecast.as_array().unwrap().iter();
    let columns = entries.map(|entry| fields.iter().map(|field| entry[field].clone()));
    columns.map(|values| values.collect()).collect()
}

#[test]
fn all_that_is_to_come_on_a_document_is_listed_by_date() {
    let home = home();
    let forecast = home.json(["timer", "forecast", "--document", "invoice"]);
    assert_eq!(
        columns(
            &forecast,
            &["timer", "level", "due_at", "in_s", "waits_for"]
        ),
        [
            json!(["review", 0, "2030-02-25T13:00:00Z", 15 * 86400 + 3600, null]),
            json!([
                "dunning",
                0,
                "2030-03-02T00:00:00Z",
                19 * 86400 + 12 * 3600,
                null
            ]),
            json!([
                "dunning",
                1,
                "2030-03-09T00:00:00Z",
                26 * 86400 + 12 * 3600,
                null
            ]),
            json!([
                "dunning",
                2,
                "2030-03-16T00:00:00Z",
                33 * 86400 + 12 * 3600,
                null
            ]),
            json!(["renewal", 0, null, null, "a date in ends_on"]),
        ]
    );
    assert_eq!(
        columns(
            &forecast,
            &["action", "iteration", "state", "mail", "method"]
        )[3],
        json!([1, 1, null, [], "Doc:note"])
    );
    let shown = home.ok(["timer", "forecast", "--document", "invoice"]);
    let lines: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0].join(" "), "DUE IN TIMER LEVEL STATE MAIL METHOD");
    assert_eq!(
        lines[1].join(" "),
        "2030-02-25 13:00:00 15d 1h review 0 old - -"
    );
    assert_eq!(
        lines[5].join(" "),
        "waits for a date in ends_on - renewal 0 over - -"
    );
}

#[test]
fn it_begins_at_the_levels_that_are_reached() {
    let mut home = home();
    home.set_now("2030-03-02T00:00");
    home.ok(["tick"]);
    home.set_now("2030-03-08T21:30");
    let forecast = home.json(["timer", "forecast", "--document", "invoice"]);
    assert_eq!(
        columns(&forecast, &["timer", "level", "in_s"]),
        [
            json!(["dunning", 1, 9000]),
            json!(["dunning", 2, 9000 + 7 * 86400]),
            json!(["renewal", 0, null]),
        ]
    );
    let one = home.json(["timer", "forecast", "dunning", "--document", "invoice"]);
    assert_eq!(columns(&one, &["level"]), [json!([1]), json!([2])]);
    let shown = home.ok(["timer", "forecast", "--document", "invoice", "--limit", "1"]);
    assert!(shown.contains(" 2h30m "), "{shown}");
    assert!(shown.ends_with("and 2 more: --limit"), "{shown}");
}

#[test]
fn what_waits_says_for_what() {
    let mut home = home();
    home.sql("UPDATE method SET command = '[\"sh\", \"-c\", \"exit 1\"]'");
    home.timer("note", &["method=Doc:note"]);
    home.ok(["timer", "attach", "note", "invoice"]);
    home.run(["tick"]);
    home.set_now("2030-02-10T12:01");
    let note = || home.json(["timer", "forecast", "note", "--document", "invoice"]);
    assert_eq!(columns(&note(), &["in_s"]), [json!([-60])]);
    let shown = home.ok(["timer", "forecast", "note", "--document", "invoice"]);
    assert!(shown.contains(" now "), "{shown}");
    home.sql("UPDATE task SET status = 'TO_RUN'");
    assert_eq!(columns(&note(), &["waits_for"]), [json!(["task 1"])]);
    home.ok(["doc", "set", "invoice", "ends_on=soon"]);
    let renewal = home.json(["timer", "forecast", "renewal", "--document", "invoice"]);
    assert_eq!(
        columns(&renewal, &["waits_for"]),
        [json!(["a date in ends_on"])]
    );
}

#[test]
fn a_timer_that_is_not_attached_is_forecast_as_if_it_were() {
    let home = home();
    home.ok(["timer", "detach", "review", "invoice"]);
    home.ok(["timer", "detach", "renewal", "invoice"]);
    let of = |name| home.json(["timer", "forecast", name, "--document", "invoice"]);
    assert_eq!(
        columns(&of("review"), &["due_at"]),
        [json!(["2030-02-25T13:00:00Z"])]
    );
    assert_eq!(
        columns(&of("renewal"), &["due_at", "waits_for"]),
        [json!([null, "a date in ends_on"])]
    );
    let all = home.json(["timer", "forecast", "--document", "invoice"]);
    assert_eq!(all.as_array().unwrap().len(), 3);
    home.ok(["timer", "detach", "--all", "invoice"]);
    assert_eq!(
        home.json(["timer", "forecast", "--document", "invoice"]),
        json!([])
    );
    assert_eq!(home.run(["timer", "forecast"]).code(), 2);
    let both = [
        "timer",
        "forecast",
        "--document",
        "invoice",
        "--reference",
        "+1d",
    ];
    assert_eq!(home.run(both).code(), 2);
    home.refused(["timer", "forecast", "--document", "none"]);
}

#[test]
fn what_the_next_tick_skips_is_left_out() {
    let mut home = home();
    home.ok(["timer", "detach", "--all", "invoice"]);
    home.timer_with(
        "remind",
        &["--reference", "due_on"],
        &["delay=-1d, method=Doc:note", "state=late"],
    );
    home.ok(["timer", "attach", "remind", "invoice"]);
    let levels = |home: &Home| {
        let forecast = home.json(["timer", "forecast", "--document", "invoice"]);
        columns(&forecast, &["level"])
    };
    home.set_now("2030-02-28T02:00");
    assert_eq!(levels(&home), [json!([0]), json!([1])]);
    home.set_now("2030-02-28T02:01");
    assert_eq!(levels(&home), [json!([1])]);
}

#[test]
fn a_timer_that_is_bound_to_states_ends_with_the_level_that_leaves_them() {
    let home = home();
    home.timer_with(
        "bound",
        &["--while-state", "open", "--while-state", "late"],
        &[
            "delay=1d, state=late",
            "delay=1d, state=over",
            "delay=1d, state=gone",
        ],
    );
    let bound = || home.json(["timer", "forecast", "bound", "--document", "invoice"]);
    assert_eq!(
        columns(&bound(), &["level", "due_at", "waits_for"]),
        [
            json!([0, null, "the state open or late"]),
            json!([1, null, "the state open or late"])
        ]
    );
    home.ok(["doc", "state", "invoice", "open"]);
    assert_eq!(
        columns(&bound(), &["level", "due_at"]),
        [
            json!([0, "2030-02-11T12:00:00Z"]),
            json!([1, "2030-02-12T12:00:00Z"])
        ]
    );
}
