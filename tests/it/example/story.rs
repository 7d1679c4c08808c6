//! The story that the example tells, day by day, with `--now` and `tick` (`docs/timers.md`, "An example").

use std::fs;

use crate::kit::mime::{body, header};
use crate::kit::runner::Home;
use serde_json::{Value, json};

/// The example on the morning of its first tick, and after that.
fn example() -> Home {
    let home = Home::example_at("2026-04-10T09:00");
    home.ok(["tick"]);
    home
}

/// Lets a day begin: the tick of its midnight.
fn tick_on(home: &mut Home, day: &str) -> Value {
    home.set_now(day);
    home.json(["tick"])
}

/// The mails in the example's folder, in the order of their ids, but for that of the first tick.
fn mails(home: &Home) -> Vec<String> {
    let folder = home.path("mails");
    let mut names: Vec<_> = match fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    names.retain(|path| {
        !path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("3.")
    });
    names.sort();
    let read = |path| fs::read_to_string(path).unwrap();
    names.into_iter().map(read).collect()
}

/// The documents of the story and the timers on them, which are the two ways of writing one requirement.
const BOTH_WAYS: [(&str, &str); 2] = [
    ("annual-report", "validation"),
    ("budget", "validation-by-delay"),
];

#[test]
fn the_timer_is_written_in_both_ways() {
    let home = example();
    for (timer, family, delta, delays) in [
        ("validation", "report", "-5d", ["0", "5d"]),
        ("validation-by-delay", "budget", "0", ["-5d", "0"]),
    ] {
        assert_eq!(
            home.json(["timer", "show", timer]),
            json!({
                "name": timer,
                "title": home.json(["timer", "show", timer])["title"],
                "reference": "date_butoir_validation",
                "delta": delta,
                "family": family,
                "while_state": ["En validation"],
                "actions": [
                    {"delay": delays[0], "iterations": 1, "limit": "3d", "state": null, "mail": ["reminder"], "method": null, "params": null},
                    {"delay": delays[1], "iterations": 1, "limit": null, "state": "Non validé", "mail": [], "method": null, "params": null},
                ],
            })
        );
    }
}

#[test]
fn five_days_before_the_deadline_a_mail_and_at_the_deadline_the_state_both_ways() {
    let mut home = example();
    for (document, timer) in BOTH_WAYS {
        let attached = home.attached(document);
        assert_eq!(attached["timer"], timer);
        assert_eq!(attached["due_at"], "2026-04-19T22:00:00Z", "{document}");
    }
    for day in ["2026-04-10", "2026-04-12", "2026-04-19"] {
        assert_eq!(tick_on(&mut home, day)["mails_sent"], 0, "{day}");
    }
    let reminded = tick_on(&mut home, "2026-04-20");
    assert_eq!(
        (&reminded["fired"], &reminded["mails_sent"]),
        (&json!(2), &json!(2))
    );
    for day in ["2026-04-21", "2026-04-24"] {
        let quiet = tick_on(&mut home, day);
        assert_eq!(
            (&quiet["fired"], &quiet["skipped"]),
            (&json!(0), &json!(0)),
            "{day}"
        );
        for (document, _) in BOTH_WAYS {
            assert_eq!(home.state(document), "En validation", "{document}, {day}");
        }
    }
    assert_eq!(tick_on(&mut home, "2026-04-25")["fired"], 2);
    for (document, timer) in BOTH_WAYS {
        assert_eq!(home.state(document), "Non validé");
        assert_eq!(home.shown(document)["timers"], json!([]));
        let [attached, queued, sent, state, detached] = home.messages(document).try_into().unwrap();
        assert_eq!(attached, "timer attached by state");
        assert!(
            queued.ends_with("queued from template reminder"),
            "{queued}"
        );
        assert!(
            sent.starts_with("mail 'reminder' sent to ada@example.org"),
            "{sent}"
        );
        assert_eq!(state, "state: En validation → Non validé");
        assert_eq!(detached, "timer detached: it has come to its end");
        let done = home.json(["timer", "done"]);
        let of_it = done.as_array().unwrap().iter();
        assert_eq!(
            of_it
                .filter(|fired| fired["timer"] == timer
                    && fired["document"] == home.shown(document)["id"])
                .count(),
            2
        );
    }
    assert_eq!(tick_on(&mut home, "2026-04-26")["fired"], 0);
}

#[test]
fn the_reminder_is_a_file_that_a_mail_program_opens() {
    let mut home = example();
    tick_on(&mut home, "2026-04-12");
    tick_on(&mut home, "2026-04-20");
    let [to_one, to_two] = mails(&home).try_into().unwrap();
    assert_eq!(
        header(&to_one, "From"),
        "Validation <validation@example.org>"
    );
    assert_eq!(header(&to_one, "To"), "ada@example.org");
    assert_eq!(
        header(&to_one, "Subject"),
        "To validate by 2026-04-25: Annual report 2025"
    );
    assert!(body(&to_one).contains("\"Annual report 2025\" waits for your validation."));
    assert_eq!(
        header(&to_two, "To"),
        "ada@example.org, \"Grace Hopper\" <grace@example.org>",
        "an attribute that is a list is a list of recipients"
    );
}

#[test]
fn a_deadline_that_moves_takes_the_timer_with_it() {
    let mut home = example();
    tick_on(&mut home, "2026-04-20");
    home.ok([
        "doc",
        "set",
        "annual-report",
        "date_butoir_validation=2026-05-04",
    ]);
    home.sql(
        "UPDATE document SET attributes = json_set(attributes, '$.date_butoir_validation', '2026-05-04')
          WHERE key = 'budget'",
    );
    assert_eq!(tick_on(&mut home, "2026-04-25")["fired"], 0);
    assert_eq!(tick_on(&mut home, "2026-04-29")["mails_sent"], 2);
    assert_eq!(tick_on(&mut home, "2026-05-04")["fired"], 2);
    for (document, _) in BOTH_WAYS {
        assert_eq!(home.state(document), "Non validé");
    }
    assert_eq!(mails(&home).len(), 4);
}

#[test]
fn what_is_validated_in_time_stays_so() {
    let mut home = example();
    home.ok(["doc", "state", "annual-report", "Validé"]);
    home.sql("UPDATE document SET state = 'Validé' WHERE key = 'budget'");
    for day in ["2026-04-12", "2026-04-20", "2026-04-25"] {
        tick_on(&mut home, day);
    }
    for document in ["annual-report", "budget", "press-kit"] {
        assert_eq!(home.state(document), "Validé");
    }
    assert_eq!(mails(&home), Vec::<String>::new());
}

#[test]
fn a_document_that_was_reminded_before_the_story_stops_only_changes_its_state() {
    let mut home = example();
    assert_eq!(home.attached("minutes")["level"], 1);
    assert_eq!(tick_on(&mut home, "2026-04-12")["fired"], 1);
    assert_eq!(home.state("minutes"), "Non validé");
    assert_eq!(mails(&home), Vec::<String>::new());
}

#[test]
fn a_document_without_a_deadline_waits_until_it_has_one() {
    let mut home = example();
    assert_eq!(home.due("season-plan"), Value::Null);
    tick_on(&mut home, "2026-04-20");
    assert_eq!(home.messages("season-plan"), ["timer attached by state"]);
    home.ok([
        "doc",
        "set",
        "season-plan",
        "date_butoir_validation=2026-06-30",
    ]);
    assert_eq!(home.due("season-plan"), "2026-06-24T22:00:00Z");
}

#[test]
fn a_reminder_that_was_skipped_is_sent_by_hand() {
    let home = example();
    let skipped = home.json(["timer", "skipped"]);
    assert_eq!(skipped[0]["title"], "Survey of visitors");
    home.ok(["timer", "fire", "2"]);
    assert_eq!(home.json(["tick"])["mails_sent"], 1);
    let [mail] = mails(&home).try_into().unwrap();
    assert!(header(&mail, "Subject").ends_with("Survey of visitors"));
    assert_eq!(home.json(["timer", "skipped"]), json!([]));
}

#[test]
fn its_past_reads_as_if_the_runner_had_done_it() {
    let home = example();
    // The same story from the start: a document with the deadline and the validator of the minutes.
    let mut again = Home::new().at("2026-03-28T10:00").env("TZ", "Europe/Paris");
    for (key, value) in [
        ("mail.from", "Validation <validation@example.org>"),
        ("mail.transport", "file:mails"),
    ] {
        again.ok(["config", "set", key, value]);
    }
    let template = home.json(["template", "show", "reminder"]);
    let part = |name: &str| template[name].as_str().unwrap().to_owned();
    let (to, subject, text) = (part("to"), part("subject"), part("body"));
    again.ok([
        "template",
        "set",
        "reminder",
        "--to",
        &to,
        "--subject",
        &subject,
        "--body",
        &text,
    ]);
    let definition = home.json(["timer", "show", "validation"]).to_string();
    again.write("validation.json", definition);
    again.ok(["timer", "set", "validation", "--from", "validation.json"]);
    let doc = again.ok([
        "doc",
        "add",
        "--title",
        "Minutes of the board",
        "--family",
        "report",
        "--state",
        "En validation",
        "-a",
        "date_butoir_validation=2026-04-12",
        "-a",
        "validators=grace@example.org",
    ]);
    tick_on(&mut again, "2026-04-07");

    let told = again.messages(&doc).join("; ");
    assert_eq!(
        told.replace("mail 1 queued", "mail 2 queued"),
        home.messages("minutes").join("; ")
    );
    let facts = "level || ' ' || step || ' ' || counted_from || ' ' || due_at || ' ' || needs_reschedule || ' ' || mail_count";
    let row = |home: &Home, key: &str| -> String {
        home.sql_value(&format!(
            "SELECT {facts} FROM attachment JOIN document ON document.id = document_id WHERE title = '{key}'"
        ))
    };
    assert_eq!(
        row(&again, "Minutes of the board"),
        row(&home, "Minutes of the board")
    );
    let sent = |home: &Home| -> String {
        home.sql_value(
            r#"SELECT json_array(status, template, timer, timer_level, "from", "to", subject, trim(body, char(10)), attempts,
                                 created_at, sent_at) FROM mail WHERE subject LIKE '%Minutes%'"#,
        )
    };
    assert_eq!(sent(&again), sent(&home));
    let firing =
        "SELECT json_array(level, due_at, at, status, step, result) FROM firing ORDER BY id";
    assert_eq!(
        again.sql_value::<String>(firing),
        home.sql_value::<String>(
            &firing.replace("firing ORDER", "firing WHERE document_id = 3 ORDER")
        )
    );
}

#[test]
fn at_whatever_hour_it_is_made_its_first_tick_shows_one_of_each_kind_and_skips_nothing() {
    for now in [
        "2026-04-10T00:00Z",
        "2026-04-10T12:00Z",
        "2026-04-10T21:59Z",
        "2026-04-10T22:01Z",
        "2026-04-10T23:59Z",
        "2026-12-31T23:30Z",
        "2028-02-29T01:00Z",
    ] {
        let home = Home::example_at(now);
        let tick = home.json(["tick"]);
        assert_eq!(
            (&tick["fired"], &tick["skipped"], &tick["mails_sent"]),
            (&json!(2), &json!(0), &json!(1)),
            "{now}"
        );
        assert_eq!(tick["errors"], json!([]), "{now}");
        assert_eq!(tick["tasks"]["completed"], 6, "{now}");
        assert_eq!(home.state("map"), "Non validé", "{now}");
        let mail = home.json(["mail", "show", "3"]);
        assert_eq!(mail["status"], "sent", "{now}");
        let subject = mail["subject"].as_str().unwrap();
        assert!(subject.ends_with("Visitors' guide"), "{now}");
    }
    let home = Home::example();
    assert_eq!(home.ok(["tick"]), "");
    assert_eq!(home.state("map"), "Non validé");
}

#[test]
fn a_tick_long_after_the_story_changes_the_states_that_are_due_and_sends_nothing() {
    let mut home = Home::example_at("2026-04-10T09:00");
    home.set_now("2026-06-15");
    let answer = home.run(["tick"]);
    assert_eq!(answer.code(), 1);
    assert_eq!(
        answer.err().lines().count(),
        4,
        "the reminders: {}",
        answer.err()
    );
    assert_eq!(mails(&home), Vec::<String>::new());
    for document in [
        "annual-report",
        "budget",
        "minutes",
        "guide",
        "map",
        "tariffs",
    ] {
        assert_eq!(home.state(document), "Non validé");
        assert_eq!(home.shown(document)["timers"], json!([]));
    }
}
