//! Timers whose levels send mail, with a real SMTP conversation (`docs/timers.md`, "Firing").

use crate::kit::mime::{body, header};
use crate::kit::outbox::{home, home_with, mail, tick};
use crate::kit::process::until;
use crate::kit::runner::Home;
use crate::kit::smtp::{Act, Script, Server, Stage};
use serde_json::{Value, json};

/// A template that goes to the document's attribute `to`.
fn template(home: &Home, name: &str) {
    home.ok([
        "template",
        "set",
        name,
        "--to",
        "{{ attr.to }}",
        "--subject",
        &format!("{name}: {{{{ doc.title }}}}"),
        "--body",
        "{{ doc.state }}, level {{ timer.level }} of {{ timer.name }}",
    ]);
}

/// A document with this timer on it, that counts from its attribute `deadline`: 2026-04-10, 09:00. The templates
/// `first` and `second` are there.
fn hang(home: &Home, actions: &[&str]) {
    template(home, "first");
    template(home, "second");
    home.timer_with("t", &["--reference", "deadline"], actions);
    home.sql(
        r#"INSERT INTO document (title, state, attributes, created_at) VALUES
           ('Report', 'open', '{"deadline": "2026-04-10T09:00", "to": "ann@example.org"}', '2026-04-01 08:00:00');
           INSERT INTO attachment (timer_id, document_id, attached_at) VALUES (1, 1, '2026-04-01 08:00:00')"#,
    );
}

/// A way out where nobody listens.
fn nowhere() -> String {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("smtp://{}", closed.local_addr().unwrap())
}

fn send_through(home: &Home, server: &Server) {
    home.ok(["config", "set", "mail.transport", &server.url("", "")]);
}

/// What a tick at this time of the day did: levels done, levels skipped, mails sent, mails that failed.
fn tick_at(home: &mut Home, time: &str) -> [u64; 4] {
    home.set_now(&format!("2026-04-10T{time}"));
    let report = tick(home);
    ["fired", "skipped", "mails_sent", "mails_failed"].map(|name| report[name].as_u64().unwrap())
}

fn message_ids(server: &Server) -> Vec<String> {
    let mails = server.mails();
    let ids = mails.iter().map(|mail| header(&mail.data, "Message-ID"));
    ids.collect()
}

#[test]
fn a_level_changes_the_state_then_sends_its_mail_and_then_runs_its_method() {
    let server = Script::accept().start();
    let home = home(&server);
    let runner = env!("CARGO_BIN_EXE_runner");
    home.method(
        "Doc:look",
        &format!("cat > input.json; {runner} --db \"$RUNNER_DB\" --json mail show 1 > mail.json"),
    );
    hang(&home, &["state=late, mail=first, method=Doc:look"]);
    let report = tick(&home);
    assert_eq!(
        (&report["fired"], &report["mails_sent"], &report["tasks"]),
        (
            &json!(1),
            &json!(1),
            &json!({"completed": 1, "failed": 0, "interrupted": 0})
        )
    );
    let [arrived] = server.mails().try_into().unwrap();
    assert_eq!(body(&arrived.data).trim_end(), "late, level 0 of t");
    let seen: Value = serde_json::from_str(&home.read("input.json")).unwrap();
    assert_eq!(seen["document"]["state"], "late");
    let sent: Value = serde_json::from_str(&home.read("mail.json")).unwrap();
    assert_eq!(sent["status"], "sent", "before the method");
    assert_eq!(
        home.messages("1"),
        [
            "timer attached",
            "state: open → late",
            "mail 1 queued from template first",
            "mail 'first' sent to ann@example.org: first: Report",
            "method Doc:look started as task 1",
            "task 1 completed",
            "timer detached: it has come to its end",
        ]
    );
    assert_eq!(
        home.json(["timer", "done"])[0]["result"],
        "state late; mail first; method Doc:look as task 1"
    );
}

#[test]
fn the_method_waits_while_a_mail_before_it_does_not_go_out() {
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply("550 5.1.1 no such user"))
        .start();
    let mut home = home(&server);
    home.method("Doc:note", "echo x >> noted");
    hang(&home, &["state=late, mail=first, method=Doc:note"]);
    assert_eq!(tick_at(&mut home, "09:00"), [0, 0, 0, 1]);
    assert_eq!(
        (home.state("1"), home.read("noted")),
        ("late".to_owned(), String::new())
    );
    assert_eq!(tick_at(&mut home, "09:01"), [1, 0, 1, 0]);
    assert_eq!(home.read("noted"), "x\n");
    let states = home.messages("1");
    let states = states.iter().filter(|entry| entry.starts_with("state"));
    assert_eq!(states.count(), 1, "the state change is done once");
}

#[test]
fn a_level_is_done_when_all_its_mails_are_sent_and_each_is_sent_once() {
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply("250 ok"))
        .once(Stage::Rcpt, Act::Reply("451 4.3.0 later"))
        .start();
    let mut home = home(&server);
    hang(&home, &["mail=first, mail=second", "delay=1d, state=late"]);
    assert_eq!(tick_at(&mut home, "09:00"), [0, 0, 1, 1]);
    let waiting = home.attached("1");
    assert_eq!(
        (&waiting["level"], &waiting["attempts"]),
        (&json!(0), &json!(1))
    );
    let error = waiting["last_error"].as_str().unwrap();
    assert!(
        error.starts_with("mail 2 (second: Report) to ann@example.org was not sent")
            && error.ends_with("451 4.3.0 later"),
        "{error}"
    );
    assert_eq!(tick_at(&mut home, "09:01"), [1, 0, 1, 0]);
    let next = home.attached("1");
    assert_eq!(
        (&next["level"], &next["attempts"], &next["last_error"]),
        (&json!(1), &json!(0), &Value::Null)
    );
    let subjects: Vec<_> = server
        .mails()
        .iter()
        .map(|mail| header(&mail.data, "Subject"))
        .collect();
    assert_eq!(subjects, ["first: Report", "second: Report"]);
}

#[test]
fn a_mail_that_does_not_go_out_is_tried_by_each_tick_and_fails_with_its_level() {
    let refusing = Script::accept()
        .on(Stage::Rcpt, Act::Reply("550 5.1.1 no such user"))
        .start();
    for (way_out, words) in [
        (refusing.url("", ""), "550 5.1.1 no such user"),
        (nowhere(), "connecting"),
    ] {
        let mut home = home_with(&way_out);
        hang(&home, &["mail=first", "delay=1d, state=late"]);
        for (time, tries) in [("09:00", 1), ("09:01", 2), ("10:59", 3)] {
            assert_eq!(tick_at(&mut home, time), [0, 0, 0, 1], "{words}, {time}");
            let due = home.attached("1");
            assert_eq!(
                (&due["level"], &due["attempts"]),
                (&json!(0), &json!(tries))
            );
            assert!(due["last_error"].as_str().unwrap().contains(words), "{due}");
        }
        let tried = mail(&home, "1");
        assert_eq!(
            (&tried["status"], &tried["attempts"]),
            (&json!("queued"), &json!(3)),
            "{words}"
        );

        home.set_now("2026-04-10T11:01");
        let skipping = tick(&home);
        assert_eq!(
            (&skipping["skipped"], &skipping["mails_failed"]),
            (&json!(1), &json!(0))
        );
        let told = skipping["errors"][0].as_str().unwrap();
        assert!(
            told.contains("skipped: it was due at 2026-04-10 09:00:00") && told.contains(words),
            "{told}"
        );
        let is_final = mail(&home, "1");
        assert_eq!(is_final["status"], "failed");
        let told = is_final["last_error"].as_str().unwrap();
        assert!(
            told.starts_with("its level was skipped; before that: ") && told.contains(words),
            "what the server said is kept: {told}"
        );
        assert_eq!(home.attached("1")["level"], 1);
        let errors: i64 = home.sql_value("SELECT count(*) FROM history WHERE level = 'error'");
        assert_eq!(errors, 1, "{words}: told once");
        assert_eq!(tick_at(&mut home, "11:01"), [0, 0, 0, 0]);
    }
}

#[test]
fn without_an_hour_limit_a_mail_is_tried_until_it_goes_out() {
    let server = Script::accept().start();
    let mut home = home_with(&nowhere());
    home.ok(["config", "set", "timer.hour_limit", "0"]);
    hang(&home, &["mail=first"]);
    assert_eq!(tick_at(&mut home, "09:00"), [0, 0, 0, 1]);
    assert_eq!(tick_at(&mut home, "23:00"), [0, 0, 0, 1]);
    send_through(&home, &server);
    assert_eq!(tick_at(&mut home, "23:01"), [1, 0, 1, 0]);
}

#[test]
fn a_template_that_cannot_be_filled_leaves_its_level_due() {
    let server = Script::accept().start();
    let mut home = home(&server);
    hang(&home, &["state=late, mail=first"]);
    home.ok(["doc", "set", "1", "to="]);
    assert_eq!(tick_at(&mut home, "09:00"), [0, 0, 0, 0]);
    assert_eq!(home.state("1"), "late", "what came before it stays done");
    let due = home.attached("1");
    assert!(due["last_error"].as_str().unwrap().contains("to"), "{due}");
    home.ok(["doc", "set", "1", "to=bob@example.org"]);
    assert_eq!(tick_at(&mut home, "09:01"), [1, 0, 1, 0]);
    assert_eq!(server.mails()[0].to, ["bob@example.org"]);
}

#[test]
fn what_is_no_longer_wanted_is_not_sent() {
    for (what, change, why) in [
        (
            "a new date",
            "UPDATE document SET attributes = json_set(attributes, '$.deadline', '2026-04-10T12:00')",
            "the date that the timer counts from has changed",
        ),
        (
            "no date",
            "UPDATE document SET attributes = json_remove(attributes, '$.deadline')",
            "the date that the timer counts from has changed",
        ),
        (
            "a timer that is taken off",
            "DELETE FROM attachment",
            "the timer was detached",
        ),
        (
            "a document that is deleted",
            "DELETE FROM document",
            "the timer was detached",
        ),
    ] {
        let server = Script::accept().start();
        let mut home = home_with(&nowhere());
        hang(&home, &["mail=first, mail=second"]);
        assert_eq!(tick_at(&mut home, "09:00"), [0, 0, 0, 1], "{what}");
        home.sql(change);
        send_through(&home, &server);
        assert_eq!(tick_at(&mut home, "09:01"), [0, 0, 0, 0], "{what}");
        for id in ["1", "2"] {
            let withdrawn = mail(&home, id);
            assert_eq!(withdrawn["status"], "failed", "{what}");
            let told = withdrawn["last_error"].as_str().unwrap();
            assert!(
                told.starts_with(&format!("{why}; before that: ")),
                "{what}: {told}"
            );
        }
        assert_eq!(server.mails().len(), 0, "{what}");
        if what == "a new date" {
            assert_eq!(tick_at(&mut home, "12:00"), [1, 0, 2, 0]);
        }
    }
}

#[test]
fn a_new_date_by_the_command_line_withdraws_the_mails_of_the_old_one_too() {
    let server = Script::accept().start();
    let mut home = home_with(&nowhere());
    hang(&home, &["mail=first"]);
    assert_eq!(tick_at(&mut home, "09:00"), [0, 0, 0, 1]);
    home.ok(["doc", "set", "1", "deadline=2026-04-10T12:00"]);
    send_through(&home, &server);
    assert_eq!(tick_at(&mut home, "09:01"), [0, 0, 0, 0]);
    assert_eq!(tick_at(&mut home, "12:00"), [1, 0, 1, 0]);
    assert_eq!(
        [
            mail(&home, "1")["status"].clone(),
            mail(&home, "2")["status"].clone()
        ],
        ["failed", "sent"]
    );
}

/// Plain SQL only marks the attachments; the mails of the old date are withdrawn when their timers are looked at again.
#[test]
fn a_date_that_plain_sql_moves_in_the_middle_of_a_tick_stops_the_mails_of_the_old_one() {
    let server = Script::accept().start();
    let mut home = home(&server);
    hang(&home, &["mail=first"]);
    home.sql(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 10)
         INSERT INTO document (id, title, attributes) SELECT i, 'D' || i, (SELECT attributes FROM document) FROM n;
         INSERT INTO attachment (timer_id, document_id) SELECT 1, id FROM document WHERE id > 1;
         CREATE TRIGGER in_the_midst AFTER UPDATE OF status ON mail WHEN NEW.status = 'sent' AND NEW.id = 1 BEGIN
             UPDATE document SET attributes = json_set(attributes, '$.deadline', '2026-04-10T12:00') WHERE id > 1;
         END",
    );
    assert_eq!(tick_at(&mut home, "09:00"), [1, 0, 1, 0]);
    assert_eq!(server.mails().len(), 1);
    let withdrawn = home.json(["mail", "list", "--status", "failed"]);
    assert_eq!(withdrawn.as_array().unwrap().len(), 9, "{withdrawn}");
    assert_eq!(tick_at(&mut home, "12:00"), [9, 0, 9, 0]);
}

#[test]
fn a_date_that_changes_while_a_mail_is_being_sent_leaves_its_level_to_the_new_date() {
    let server = Script::accept().once(Stage::Dot, Act::Keep).start();
    let mut home = home(&server);
    hang(&home, &["mail=first", "delay=1d, state=late"]);
    let killed = home.start(["tick"]);
    until("the server has the mail", || server.mails().len() == 1);
    home.ok(["doc", "set", "1", "deadline=2026-04-10T12:00"]);
    killed.kill();
    assert_eq!(home.attached("1")["level"], 0);
    tick_at(&mut home, "09:01");
    assert_eq!(
        home.attached("1")["level"],
        0,
        "a mail of the old date does not count"
    );
    assert_eq!(home.due("1"), "2026-04-10T12:00:00Z");
    tick_at(&mut home, "12:00");
    assert_eq!(home.attached("1")["level"], 1);
}

#[test]
fn what_is_no_longer_wanted_when_its_sending_breaks_off_is_not_sent_again() {
    for (change, ends) in [
        (
            "UPDATE document SET attributes = json_set(attributes, '$.deadline', '2026-04-10T12:00')",
            "killed",
        ),
        (
            "UPDATE document SET attributes = json_set(attributes, '$.deadline', '2026-04-10T12:00')",
            "cut off",
        ),
        ("DELETE FROM attachment", "killed"),
        ("DELETE FROM attachment", "cut off"),
        ("DELETE FROM document", "killed"),
    ] {
        let server = Script::accept().once(Stage::Rcpt, Act::Mute).start();
        let mut home = home(&server);
        hang(&home, &["mail=first"]);
        let sending = home.start(["tick"]);
        until("the mail is on its way", || {
            server
                .commands()
                .iter()
                .any(|line| line.starts_with("RCPT"))
        });
        home.sql(change);
        home.json(["timer", "next"]);
        if ends == "killed" {
            sending.kill();
        } else {
            server.hang_up();
            sending.end();
        }
        assert_eq!(
            tick_at(&mut home, "09:01"),
            [0, 0, 0, 0],
            "{change}, {ends}"
        );
        assert_eq!(mail(&home, "1")["status"], "failed", "{change}, {ends}");
        assert_eq!(server.mails().len(), 0, "{change}, {ends}");
    }
}

#[test]
fn a_tick_that_is_killed_between_acceptance_and_note_sends_again_and_does_the_level_once() {
    let server = Script::accept().once(Stage::Dot, Act::Keep).start();
    let mut home = home(&server);
    home.method("Doc:note", "echo x >> noted");
    hang(&home, &["state=late, mail=first, method=Doc:note"]);
    let killed = home.start(["tick"]);
    until("the server has the mail", || server.mails().len() == 1);
    killed.kill();
    assert_eq!(home.attached("1")["level"], 0);
    assert_eq!(tick_at(&mut home, "09:01"), [1, 0, 1, 0]);
    let [first, second] = message_ids(&server).try_into().unwrap();
    assert_eq!(first, second);
    assert_eq!(home.read("noted"), "x\n");
    assert_eq!(home.json(["timer", "done"]).as_array().unwrap().len(), 1);
    let history = home.messages("1");
    for what in [
        "state:",
        "queued",
        "sent to",
        "started",
        "completed",
        "detached",
    ] {
        let entries = history.iter().filter(|entry| entry.contains(what));
        assert_eq!(entries.count(), 1, "{what} in {history:?}");
    }
}

#[test]
fn a_mail_in_the_hand_of_a_dead_tick_is_not_sent_past_the_hour_limit() {
    let server = Script::accept().once(Stage::Mail, Act::Mute).start();
    let mut home = home(&server);
    hang(&home, &["mail=first", "delay=1d, state=late"]);
    let killed = home.start(["tick"]);
    until("the mail is on its way", || {
        server
            .commands()
            .iter()
            .any(|line| line.starts_with("MAIL"))
    });
    assert_eq!(
        tick_at(&mut home, "11:30"),
        [0, 0, 0, 0],
        "it is left to the tick that has it in hand"
    );
    killed.kill();
    assert_eq!(tick_at(&mut home, "11:31"), [0, 1, 0, 0]);
    assert_eq!(mail(&home, "1")["status"], "failed");
    assert_eq!(
        (server.mails().len(), home.attached("1")["level"].clone()),
        (0, json!(1))
    );
}

#[test]
fn ticks_at_once_send_the_mails_of_many_levels_once() {
    let server = Script::accept().start();
    let home = home(&server);
    hang(&home, &["mail=first, mail=second"]);
    home.sql(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
         INSERT INTO document (id, title, attributes) SELECT i, 'D' || i, (SELECT attributes FROM document) FROM n;
         INSERT INTO attachment (timer_id, document_id) SELECT 1, id FROM document WHERE id > 1",
    );
    let ticks: Vec<_> = (0..4).map(|_| home.start(["--json", "tick"])).collect();
    let reports: Vec<_> = ticks.into_iter().map(|tick| tick.end().json()).collect();
    let total = |name: &str| -> u64 {
        reports
            .iter()
            .map(|report| report[name].as_u64().unwrap())
            .sum()
    };
    assert_eq!((total("fired"), total("mails_sent")), (20, 40));
    let mut ids = message_ids(&server);
    ids.sort();
    ids.dedup();
    assert_eq!((server.mails().len(), ids.len()), (40, 40));
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM attachment"), 0);
}

#[test]
fn each_iteration_sends_a_mail_of_its_own() {
    let server = Script::accept().start();
    let mut home = home(&server);
    hang(&home, &["delay=1h, iterations=3, mail=first"]);
    for time in ["10:00", "11:00", "12:00"] {
        assert_eq!(tick_at(&mut home, time), [1, 0, 1, 0], "{time}");
    }
    let mails = server.mails();
    let bodies = mails
        .iter()
        .map(|mail| body(&mail.data).trim_end().to_owned());
    assert_eq!(
        bodies.collect::<Vec<_>>(),
        [
            "open, level 0 of t",
            "open, level 1 of t",
            "open, level 2 of t"
        ]
    );
    let mut ids = message_ids(&server);
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(home.shown("1")["timers"], json!([]));
}

#[test]
fn levels_that_are_all_due_follow_one_another_in_one_tick() {
    let server = Script::accept().start();
    let mut home = home(&server);
    home.method("Doc:note", "echo x >> noted");
    hang(
        &home,
        &["mail=first", "state=late, method=Doc:note", "mail=second"],
    );
    assert_eq!(tick_at(&mut home, "09:00"), [3, 0, 2, 0]);
    let bodies: Vec<_> = server.mails().iter().map(|mail| body(&mail.data)).collect();
    assert!(bodies[0].starts_with("open, level 0") && bodies[1].starts_with("late, level 2"));
    assert_eq!(home.read("noted"), "x\n");
}

#[test]
fn a_tick_counts_all_that_it_did() {
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply("550 5.1.1 no such user"))
        .start();
    let home = home(&server);
    home.method("Doc:note", "exit 0");
    home.method("Doc:fail", "exit 3");
    hang(&home, &["mail=first"]);
    for (name, action) in [
        ("again", "mail=second"),
        ("state", "state=late"),
        ("done", "method=Doc:note"),
        ("failing", "method=Doc:fail"),
        ("late", "delay=-3h, limit=2h, state=too late"),
    ] {
        home.ok([
            "timer",
            "set",
            name,
            "--reference",
            "deadline",
            "--action",
            action,
        ]);
        home.ok(["timer", "attach", name, "1"]);
    }
    let answer = home.run(["--json", "tick"]);
    let report = answer.json();
    assert_eq!(answer.code(), 1);
    assert_eq!(
        [
            &report["fired"],
            &report["skipped"],
            &report["mails_sent"],
            &report["mails_failed"]
        ],
        [&json!(3), &json!(1), &json!(1), &json!(1)],
        "{report}"
    );
    assert_eq!(
        report["tasks"],
        json!({"completed": 1, "failed": 1, "interrupted": 0})
    );
    assert_eq!(report["errors"].as_array().unwrap().len(), 2, "{report}");
}

#[test]
fn a_skipped_level_that_is_fired_by_hand_sends_its_mail_with_the_next_tick() {
    let server = Script::accept().start();
    let mut home = home(&server);
    hang(&home, &["mail=first", "delay=1d, state=late"]);
    assert_eq!(tick_at(&mut home, "12:00"), [0, 1, 0, 0]);
    home.ok(["timer", "fire", "1"]);
    assert_eq!(tick_at(&mut home, "12:01"), [0, 0, 1, 0]);
    assert_eq!(
        body(&server.mails()[0].data).trim_end(),
        "open, level 0 of t"
    );
    assert_eq!(
        home.attached("1")["level"],
        1,
        "the attachment goes its own way"
    );
    assert_eq!(
        home.json(["timer", "done"])[0]["result"],
        "by hand: mail first"
    );
}

#[test]
fn a_skipped_level_that_is_fired_by_hand_sends_only_the_mails_that_were_not_sent() {
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply("550 5.1.1 no such user"))
        .start();
    let mut home = home(&server);
    home.method("Doc:note", "echo x >> noted");
    hang(
        &home,
        &["state=late, mail=first, mail=second, method=Doc:note"],
    );
    assert_eq!(tick_at(&mut home, "09:00"), [0, 0, 1, 1]);
    assert_eq!(tick_at(&mut home, "12:00"), [0, 1, 0, 0]);
    assert_eq!(
        home.json(["timer", "skipped"])[0]["result"],
        "done: state late; mail second; not done: mail first; method Doc:note"
    );
    home.ok(["timer", "fire", "1"]);
    assert_eq!(tick_at(&mut home, "12:01"), [0, 0, 1, 0]);
    let subjects: Vec<_> = server
        .mails()
        .iter()
        .map(|mail| header(&mail.data, "Subject"))
        .collect();
    assert_eq!(subjects, ["second: Report", "first: Report"]);
    assert_eq!(home.read("noted"), "x\n");
    assert_eq!(
        home.json(["timer", "done"])[0]["result"],
        "by hand: mail first; method Doc:note as task 1"
    );
}

#[test]
fn a_mail_whose_attachment_was_replaced_by_sql_is_not_sent() {
    let server = Script::accept().start();
    let mut home = home_with(&nowhere());
    hang(&home, &["mail=first"]);
    tick_at(&mut home, "09:00");
    home.sql(
        "PRAGMA foreign_keys = OFF;
         INSERT OR REPLACE INTO attachment (timer_id, document_id, reference_at) VALUES (1, 1, '2026-06-01 00:00:00')",
    );
    send_through(&home, &server);
    assert_eq!(
        home.ok(["tick", "--dry-run"]),
        "",
        "it is not said to be sent either"
    );
    assert_eq!(tick_at(&mut home, "09:01"), [0, 0, 0, 0]);
    let withdrawn = mail(&home, "1");
    assert_eq!(withdrawn["status"], "failed");
    assert_eq!(
        withdrawn["last_error"],
        "its timer does not ask for it any more"
    );
    assert_eq!(server.mails().len(), 0);
}

#[test]
fn a_rehearsal_says_which_mails_that_wait_would_be_sent_and_what_would_be_dropped() {
    let mut home = home_with(&nowhere());
    hang(&home, &["state=late, mail=first"]);
    tick_at(&mut home, "09:00");
    home.method("Doc:note", "true");
    home.ok(["task", "add", "Doc:note"]);
    tick_at(&mut home, "09:01");
    home.ok(["config", "set", "keep.tasks", "1d"]);
    home.ok(["config", "set", "keep.history", "1d"]);
    home.ok(["config", "set", "timer.hour_limit", "0"]);
    home.set_now("2026-04-12");
    let before = crate::kit::database::dump(&home.db());
    assert_eq!(
        home.ok(["tick", "--dry-run"]),
        "2026-04-12\n  \
           00:00  document 1 (Report), timer t, level 0: mail 'first' to ann@example.org: first: Report\n  \
           00:00  document 1 (Report), timer t, level 0: timer detached: it has come to its end\n  \
           00:00  drop 1 tasks that ended longer ago than keep.tasks\n  \
           00:00  drop 4 entries of the history that are older than keep.history"
    );
    assert_eq!(crate::kit::database::dump(&home.db()), before);
}

#[test]
fn a_rehearsal_says_which_mails_would_be_written_and_writes_none() {
    let server = Script::accept().start();
    let home = home(&server);
    hang(&home, &["state=late, mail=first"]);
    assert_eq!(
        home.ok(["tick", "--dry-run"]),
        "2026-04-10\n  \
           09:00  document 1 (Report), timer t, level 0: state: open → late\n  \
           09:00  document 1 (Report), timer t, level 0: mail 'first' to ann@example.org: first: Report\n  \
           09:00  document 1 (Report), timer t, level 0: timer detached: it has come to its end"
    );
    assert_eq!(home.json(["mail", "list"]), json!([]));
    assert_eq!(
        (home.state("1").as_str(), server.connections()),
        ("open", 0)
    );
}

/// The bodies of the error reports that have arrived.
fn reports(server: &Server) -> Vec<String> {
    let mails = server.mails();
    let reports = mails.iter().filter(|mail| mail.to == ["admin@example.org"]);
    reports.map(|mail| body(&mail.data)).collect()
}

/// A task that only waits for its retry does not hold up the end of its level.
#[test]
fn a_timer_that_fails_is_reported_when_that_starts_and_when_it_is_given_up() {
    for (way, action, words) in [
        ("its template", "mail=broken", "attr.nobody"),
        ("its mail", "mail=first", "550 5.1.1 no such user"),
        ("its method", "method=Doc:fail", "no disk"),
        ("a retry", "method=Doc:retry", "no disk"),
    ] {
        let server = Script::accept()
            .once(Stage::Rcpt, Act::Reply(refusal(way)))
            .once(Stage::Rcpt, Act::Reply("250 the report"))
            .once(Stage::Rcpt, Act::Reply(refusal(way)))
            .once(Stage::Rcpt, Act::Reply(refusal(way)))
            .start();
        let mut home = home(&server);
        home.ok(["config", "set", "mail.errors_to", "admin@example.org"]);
        home.method("Doc:fail", "echo no disk >&2; exit 1");
        home.method_with("Doc:retry", &["--retries", "1"], "echo no disk >&2; exit 1");
        home.sql(
            r#"INSERT INTO template (name, "to", subject, body) VALUES ('broken', '{{ attr.nobody }}', 's', 'b')"#,
        );
        hang(&home, &[action, "delay=1d, state=late"]);
        for time in ["09:00", "09:01", "10:58", "11:01", "11:02", "11:03"] {
            home.set_now(&format!("2026-04-10T{time}"));
            let said = home.run(["tick"]).err();
            assert_eq!(said, "", "{way}, {time}: by mail alone");
            let told = if time < "11:00" { 1 } else { 2 };
            assert_eq!(reports(&server).len(), told, "{way}, {time}");
        }
        let [start, end] = reports(&server).try_into().unwrap();
        for part in [
            words,
            "timer t, level 0, on document 1 (Report), due at 2026-04-10 09:00:00",
        ] {
            assert!(start.contains(part), "{way}: {part} in {start}");
        }
        assert!(
            end.contains("skipped: it was due at 2026-04-10 09:00:00") && end.contains(words),
            "{way}: {end}"
        );
    }
}

/// What the server answers to the reminder, or to the report where there is no reminder.
fn refusal(way: &str) -> &'static str {
    match way {
        "its mail" => "550 5.1.1 no such user",
        _ => "250 ok",
    }
}

#[test]
fn a_timer_that_fails_again_after_it_had_worked_is_reported_again() {
    let server = Script::accept().start();
    let mut home = home(&server);
    home.ok(["config", "set", "mail.errors_to", "admin@example.org"]);
    home.method("Doc:try", "test -e good");
    hang(&home, &["iterations=2, delay=1h, method=Doc:try"]);
    home.set_now("2026-04-10T10:00");
    home.run(["tick"]);
    home.write("good", "");
    assert_eq!(tick_at(&mut home, "10:01"), [1, 0, 0, 0]);
    assert_eq!(reports(&server).len(), 1);
    std::fs::remove_file(home.path("good")).unwrap();
    home.set_now("2026-04-10T11:00");
    home.run(["tick"]);
    let [first, second] = reports(&server).try_into().unwrap();
    assert!(
        first.contains("level 0") && second.contains("level 1"),
        "{second}"
    );
}

#[test]
fn the_report_of_a_levels_method_has_the_last_logs_of_its_task() {
    let server = Script::accept().start();
    let home = home(&server);
    home.ok(["config", "set", "mail.errors_to", "admin@example.org"]);
    home.method("Doc:fail", "echo the index is locked; exit 4");
    hang(&home, &["method=Doc:fail"]);
    home.run(["tick"]);
    let [report] = reports(&server).try_into().unwrap();
    for part in [
        "task 1 (Doc:fail) failed: exit status 4",
        "the index is locked",
        "timer t",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
}
