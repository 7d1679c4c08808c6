//! Times as they are written: dates, times of today, and times from now.

use crate::kit::runner::Home;
use serde_json::json;

/// At half past nine in Paris.
fn home() -> Home {
    let home = Home::new().at("2026-04-10T07:30Z");
    home.ok(["config", "set", "time.zone", "Europe/Paris"]);
    home.method("m", "true");
    home
}

#[test]
fn a_time_is_a_date_a_time_of_today_or_one_from_now_wherever_one_is_taken() {
    let home = home();
    home.timer("t", &["state=late"]);
    let doc = home.document("A", "");
    for (text, utc) in [
        ("2026-04-12", "2026-04-11T22:00:00Z"),
        ("2026-04-12T09:00", "2026-04-12T07:00:00Z"),
        ("2026-04-12T09:00+05:00", "2026-04-12T04:00:00Z"),
        ("18:00", "2026-04-10T16:00:00Z"),
        ("8:00", "2026-04-10T06:00:00Z"),
        ("18:00:30", "2026-04-10T16:00:30Z"),
        ("+0", "2026-04-10T07:30:00Z"),
        ("+15m", "2026-04-10T07:45:00Z"),
        ("+15d", "2026-04-25T07:30:00Z"),
        ("+7mo 2h", "2026-11-10T10:30:00Z"),
    ] {
        let id = home.ok(["task", "add", "m", "--at", text]);
        assert_eq!(home.task(&id)["run_at"], utc, "{text}");
        let line = json!({"method": "m", "at": text}).to_string();
        let batch = home.run_with_input(["task", "add", "--batch", "-"], &line);
        assert_eq!(home.task(&batch.ok())["run_at"], utc, "{text}");
        home.ok(["timer", "attach", "t", &doc, "--reset", "--reference", text]);
        assert_eq!(home.due(&doc), utc, "{text}");
        let forecast = home.json(["timer", "forecast", "t", "--reference", text]);
        assert_eq!(forecast[0]["due_at"], utc, "{text}");
    }
}

#[test]
fn now_itself_may_be_one_from_now() {
    let home = Home::new();
    let now = |text: &str| {
        let status = home.json(["--now", text, "status"]);
        let now = status["now"].as_str().unwrap().to_owned();
        home.sql_value::<i64>(&format!("SELECT unixepoch('{now}') - unixepoch('now')"))
    };
    assert!((0..=60).contains(&now("+0")));
    assert!((7200 - 60..=7200).contains(&now("+2h")));
}

#[test]
fn an_attribute_is_given_a_date_or_a_time_by_its_words() {
    let home = home();
    let doc = home.ok([
        "doc",
        "add",
        "-a",
        "deadline@=+15d",
        "-a",
        "call@=+2h",
        "-a",
        "both@=+1d 2h",
        "-a",
        "day@=2026-05-01",
        "-a",
        "evening@=18:00",
        "-a",
        "utc@=2026-12-01T00:00Z",
        "-a",
        "none@=",
    ]);
    assert_eq!(
        home.shown(&doc)["attributes"],
        json!({
            "deadline": "2026-04-25",
            "call": "2026-04-10T11:30:00+02:00",
            "both": "2026-04-11T11:30:00+02:00",
            "day": "2026-05-01",
            "evening": "2026-04-10T18:00:00+02:00",
            "utc": "2026-12-01T01:00:00+01:00",
        })
    );
    home.ok([
        "doc",
        "set",
        &doc,
        "deadline@=+1mo",
        "call@=",
        "both@=+1h",
        "day=",
        "evening=",
    ]);
    assert_eq!(
        home.shown(&doc)["attributes"],
        json!({
            "deadline": "2026-05-10",
            "both": "2026-04-10T10:30:00+02:00",
            "utc": "2026-12-01T01:00:00+01:00",
        })
    );
    home.timer_with("t", &["--reference", "both"], &["delay=1h, state=late"]);
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.due(&doc), "2026-04-10T09:30:00Z");
}

#[test]
fn an_attribute_that_holds_such_words_is_no_date() {
    let home = home();
    home.timer_with("t", &["--reference", "deadline"], &["state=late"]);
    let doc = home.ok(["doc", "add", "-a", "deadline=+15d"]);
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.shown(&doc)["timers"][0]["due_at"], json!(null));
}

#[test]
fn a_time_that_is_none_is_refused_with_how_to_write_one() {
    let home = home();
    home.timer("t", &["state=late"]);
    let doc = home.document("A", "");
    let form = "write it like 2026-04-10, 2026-04-10T09:00, 09:00 or +15d";
    for (text, reason) in [
        ("noon", form),
        ("25:00", "there is no such day or time of day"),
        ("2026-02-30", "there is no such day or time of day"),
        ("12:3x", form),
        ("+15", "duration \"+15\": it should be whole numbers"),
        ("+201y", "it is longer than 200 years"),
        ("15d", form),
    ] {
        let attribute = format!("deadline@={text}");
        for arguments in [
            &["task", "add", "m", "--at", text][..],
            &["timer", "forecast", "t", "--reference", text],
            &["doc", "set", &doc, &attribute],
            &["doc", "add", "-a", &attribute],
        ] {
            let answer = home.run(arguments);
            assert_eq!(
                (answer.code(), answer.out().as_str()),
                (2, ""),
                "{arguments:?}"
            );
            assert!(
                answer.err().contains(reason),
                "{arguments:?}: {}",
                answer.err()
            );
        }
    }
    assert_eq!(home.json(["task", "list"]), json!([]));
    assert_eq!(home.shown(&doc)["attributes"], json!({}));
}
