//! The outbox from outside: what arrives at a server, and what the database says of it (`design`, “Mail”).
use crate::kit::database::query;
use crate::kit::mime::{body, header, html};
use crate::kit::outbox::{add_mail, add_reminder, add_reminders, home, home_with, mail, tick};
use crate::kit::process::until;
use crate::kit::runner::Home;
use crate::kit::smtp::{Act, Script, Stage};
use serde_json::{Value, json};

#[test]
fn a_mail_of_a_level_arrives_as_its_template_says_and_the_document_remembers_it() {
    let server = Script::accept().start();
    let home = home(&server);
    add_reminder(&home);
    let report = tick(&home);
    assert_eq!(
        (&report["mails_sent"], &report["mails_failed"]),
        (&json!(1), &json!(0))
    );
    let [arrived] = server.mails().try_into().unwrap();
    assert_eq!(arrived.from, "runner@example.org");
    assert_eq!(arrived.to, ["ann@example.org", "archive@example.org"]);
    assert_eq!(header(&arrived.data, "Subject"), "Relance : A & B");
    assert_eq!(header(&arrived.data, "Bcc"), "");
    assert_eq!(body(&arrived.data).trim_end(), "late 2026-04-10 08:00:00");
    assert_eq!(html(&arrived.data).unwrap().trim_end(), "<b>A &amp; B</b>");
    let row = mail(&home, "1");
    assert_eq!(row["message_id"], header(&arrived.data, "Message-ID"));
    assert_eq!(row["status"], "sent");
    assert_eq!(row["sent_at"], "2026-04-10T09:00:00Z");
    assert_eq!(row["to"], json!(["ann@example.org"]));
    assert_eq!(row["template"], "reminder");
    let history: String = home.sql_value(
        "SELECT message FROM history WHERE message LIKE 'mail ''reminder''%' AND timer_level = 0",
    );
    for part in [
        "'reminder'",
        "Relance : A & B",
        "ann@example.org",
        "archive@example.org",
    ] {
        assert!(history.contains(part), "{history}");
    }
}

/// A way out where nobody listens.
fn nowhere() -> String {
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("smtp://{}", down.local_addr().unwrap())
}

#[test]
fn a_mail_is_filled_when_it_is_queued_and_shares_the_fate_of_its_step() {
    let server = Script::accept().start();
    let home = home_with(&nowhere());
    let set = |name, body| {
        let rest = ["--to", "a@x.org", "--subject", "s", "--body", body];
        home.ok(["template", "set", name].into_iter().chain(rest));
    };
    set("second", "{{ attr.nothing }}");
    add_reminders(&home, "mail=reminder, mail=second");
    tick(&home);
    assert_eq!(home.json(["mail", "list"]), json!([]), "its step failed");
    set("second", "b");
    tick(&home);
    home.sql("UPDATE document SET state = 'changed since'");
    home.ok(["config", "set", "mail.transport", &server.url("", "")]);
    tick(&home);
    assert!(body(&server.mails()[0].data).starts_with("late"));
}

#[test]
fn one_connection_serves_all_mails_of_a_tick_in_the_order_they_were_written() {
    let server = Script::accept().start();
    let home = home(&server);
    for to in ["a@x.org", "b@x.org", "c@x.org"] {
        add_mail(&home, to);
    }
    assert_eq!(home.ok(["tick"]), "");
    let order: Vec<_> = server
        .mails()
        .into_iter()
        .flat_map(|mail| mail.to)
        .collect();
    assert_eq!(order, ["a@x.org", "b@x.org", "c@x.org"]);
    assert_eq!(server.connections(), 1);
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM worker"), 0);
}

#[test]
fn a_tick_without_mail_connects_to_nobody() {
    let server = Script::accept().start();
    let home = home(&server);
    home.ok(["tick"]);
    assert_eq!(server.connections(), 0);
}

#[test]
fn what_a_handler_causes_while_the_tick_runs_is_sent_by_the_same_tick() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:pass", "exit 0");
    home.ok(["task", "add", "Test:pass"]);
    home.sql(
        r#"CREATE TRIGGER mail_at_end AFTER UPDATE OF status ON task WHEN NEW.status = 'COMPLETED' BEGIN
             INSERT INTO mail ("from", "to", subject, body, message_id)
             VALUES ('runner@example.org', '["ann@x.org"]', 'done', '', '<1@x.org>');
           END"#,
    );
    home.ok(["tick"]);
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn a_mail_of_a_level_that_is_refused_stays_queued_and_each_tick_tries_it_once() {
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply("550 5.1.1 no such user"))
        .once(Stage::Rcpt, Act::Reply("550 5.1.1 no such user"))
        .start();
    let home = home(&server);
    add_reminder(&home);
    let report = tick(&home);
    assert_eq!(report["mails_failed"], 1);
    let error = report["errors"][0].as_str().unwrap();
    assert!(
        error.contains("mail 1") && error.contains("550 5.1.1 no such user"),
        "{error}"
    );
    let row = mail(&home, "1");
    assert_eq!(
        (&row["status"], &row["attempts"], &row["run_at"]),
        (&json!("queued"), &json!(1), &Value::Null)
    );
    assert!(row["last_error"].as_str().unwrap().contains("no such user"));
    let level: String = home.sql_value("SELECT last_error FROM attachment");
    assert!(level.contains("550 5.1.1 no such user"), "{level}");
    let history: String = home.sql_value("SELECT message FROM history WHERE level = 'error'");
    assert!(history.contains("550 5.1.1 no such user"), "{history}");
    tick(&home);
    assert_eq!(mail(&home, "1")["status"], "sent");
    let ids: Vec<_> = server
        .mails()
        .iter()
        .map(|mail| header(&mail.data, "Message-ID"))
        .collect();
    assert_eq!(ids, [row["message_id"].as_str().unwrap()]);
}

/// The others get the mail, and its level goes on.
#[test]
fn a_recipient_that_is_refused_is_told_once_and_keeps_the_mail_from_nobody_else() {
    let answer = "550 5.1.1 no such user";
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply(answer))
        .start();
    let home = home(&server);
    home.ok(["config", "set", "mail.errors_to", "admin@example.org"]);
    add_reminder(&home);
    let mut command = home.command(["tick"]);
    let told = command.output().unwrap();
    assert_eq!(told.status.code(), Some(1));
    let [reminder, report] = server.mails().try_into().unwrap();
    assert_eq!(reminder.to, ["archive@example.org"]);
    let refusal = format!("RCPT TO:<ann@example.org>: {answer}");
    let report = body(&report.data);
    assert!(report.contains(&refusal), "{report}");
    let row = mail(&home, "1");
    assert_eq!(row["status"], "sent");
    assert!(
        row["last_error"].as_str().unwrap().contains(&refusal),
        "{row}"
    );
    let history = home.messages("1");
    let sent = "mail 'reminder' sent to archive@example.org: Relance : A & B";
    assert!(history.iter().any(|entry| entry == sent), "{history:?}");
    let told: String = home.sql_value("SELECT message FROM history WHERE level = 'error'");
    assert!(told.contains(&refusal), "{told}");
    assert_eq!(home.json(["timer", "done"]).as_array().unwrap().len(), 1);
    assert_eq!(home.ok(["tick"]), "", "told once");
    assert_eq!(server.mails().len(), 2);
}

/// All may get it together a little later, when a greylist has seen it once.
#[test]
fn a_recipient_that_is_put_off_keeps_the_mail_from_all_at_the_first_attempt_alone() {
    let put_off = || {
        Script::accept()
            .once(Stage::Rcpt, Act::Reply("450 4.2.2 mailbox full"))
            .once(Stage::Rcpt, Act::Reply("250 ok"))
    };
    let server = put_off().start();
    let home = home(&server);
    add_reminder(&home);
    let refusal = "RCPT TO:<ann@example.org>: 450 4.2.2 mailbox full";
    let report = tick(&home);
    assert_eq!(report["mails_failed"], 1);
    assert!(report["errors"].to_string().contains(refusal), "{report}");
    assert_eq!(server.mails().len(), 0);
    assert_eq!(mail(&home, "1")["status"], "queued");
    tick(&home);
    let [arrived] = server.mails().try_into().unwrap();
    assert_eq!(arrived.to, ["ann@example.org", "archive@example.org"]);
    let stubborn = put_off()
        .once(Stage::Rcpt, Act::Reply("450 4.2.2 mailbox full"))
        .start();
    let home = home_with(&stubborn.url("", ""));
    add_reminder(&home);
    tick(&home);
    assert_eq!(stubborn.mails().len(), 0);
    let report = tick(&home);
    assert_eq!(report["mails_sent"], 1);
    assert!(report["errors"].to_string().contains(refusal), "{report}");
    assert_eq!(stubborn.mails()[0].to, ["archive@example.org"]);
}

#[test]
fn a_mail_of_no_level_is_given_up_at_once_when_it_is_refused_for_good() {
    for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot] {
        let server = Script::accept()
            .once(stage, Act::Reply("554 5.7.1 never"))
            .start();
        let home = home(&server);
        add_mail(&home, "a@x.org");
        add_mail(&home, "b@x.org");
        let report = tick(&home);
        assert_eq!(
            (&report["mails_sent"], &report["mails_failed"]),
            (&json!(1), &json!(1)),
            "{stage:?}"
        );
        let row = mail(&home, "1");
        assert_eq!(row["status"], "failed", "{stage:?}");
        assert!(
            row["last_error"]
                .as_str()
                .unwrap()
                .contains("554 5.7.1 never"),
            "{stage:?}"
        );
        assert_eq!(mail(&home, "2")["status"], "sent", "{stage:?}");
    }
}

#[test]
fn a_mail_of_no_level_is_retried_with_a_growing_pause_and_then_given_up() {
    let server = Script::accept()
        .on(Stage::Dot, Act::Reply("451 4.3.0 later"))
        .start();
    let mut home = home(&server);
    add_mail(&home, "a@x.org");
    let tried = |home: &Home| tick(home)["mails_failed"].clone();
    for (now, then) in [
        ("2026-04-10T09:00", "2026-04-10T09:01:00Z"),
        ("2026-04-10T09:01", "2026-04-10T09:03:00Z"),
        ("2026-04-10T09:03", "2026-04-10T09:07:00Z"),
        ("2026-04-10T09:07", "2026-04-10T09:15:00Z"),
        ("2026-04-10T09:15", "2026-04-10T09:31:00Z"),
        ("2026-04-10T09:31", "2026-04-10T10:03:00Z"),
        ("2026-04-10T10:03", "2026-04-10T11:03:00Z"),
    ] {
        home.set_now(now);
        assert_eq!(tried(&home), 1, "{now}");
        assert_eq!(tried(&home), 0, "{now}, again");
        assert_eq!(mail(&home, "1")["run_at"], then);
    }
    home.set_now("2026-04-10T11:03");
    let report = tick(&home);
    assert!(
        report["errors"][0].as_str().unwrap().contains("given up"),
        "{report}"
    );
    assert_eq!(mail(&home, "1")["status"], "failed");
    let status = home.json(["status"]);
    assert_eq!(
        status["mails"],
        json!({"queued": 0, "sending": 0, "failed": 1})
    );
    assert!(
        status["attention"].to_string().contains("1 mail failed"),
        "{status}"
    );
    home.ok(["mail", "retry", "1"]);
    assert_eq!(mail(&home, "1")["status"], "queued");
    assert_eq!(tried(&home), 1);
}

#[test]
fn a_server_that_is_not_there_stops_the_mail_and_not_the_tasks() {
    let home = home_with(&nowhere());
    home.method("Test:pass", "exit 0");
    home.ok(["task", "add", "Test:pass"]);
    add_reminders(&home, "mail=reminder, mail=reminder");
    for round in 0..3 {
        let report = tick(&home);
        if round == 0 {
            add_mail(&home, "a@x.org");
        }
        assert_eq!(report["mails_failed"], 1, "{report}");
        assert_eq!(report["errors"].as_array().unwrap().len(), 1, "{report}");
        let entries = home.sql_value::<i64>("SELECT count(*) FROM history WHERE level = 'error'");
        assert_eq!(
            entries, 1,
            "once for the level, whatever the number of its mails"
        );
    }
    assert_eq!(home.status("1"), "COMPLETED");
    // Only the mail that was really tried has an attempt more.
    for (id, attempts) in [(1, 3), (2, 0), (3, 0)] {
        let row = mail(&home, &id.to_string());
        assert_eq!(
            (&row["status"], &row["attempts"]),
            (&json!("queued"), &json!(attempts))
        );
        assert!(
            row["last_error"].as_str().unwrap().contains("connecting"),
            "{row}"
        );
    }
    assert!(
        home.sql_value::<String>("SELECT last_error FROM attachment")
            .contains("connecting")
    );
}

#[test]
fn a_mail_of_no_level_is_given_up_when_the_server_is_not_there_for_long() {
    let mut home = home_with(&nowhere());
    add_mail(&home, "a@x.org");
    for (attempts, now) in [
        "09:00", "09:01", "09:03", "09:07", "09:15", "09:31", "10:03", "11:03",
    ]
    .into_iter()
    .enumerate()
    {
        let row = mail(&home, "1");
        assert_eq!(
            (&row["status"], &row["attempts"]),
            (&json!("queued"), &json!(attempts))
        );
        home.set_now(&format!("2026-04-10T{now}"));
        assert_eq!(tick(&home)["mails_failed"], 1, "{now}");
        let report = tick(&home);
        assert_eq!(report["mails_failed"], 0, "{now}, again");
    }
    assert_eq!(mail(&home, "1")["status"], "failed");
    assert_eq!(mail(&home, "1")["attempts"], 8);
    let history = home.json(["mail", "show", "1"])["last_error"].clone();
    assert!(
        history.as_str().unwrap().contains("connecting"),
        "{history}"
    );
}

#[test]
fn a_mute_server_costs_seconds_and_not_the_tasks() {
    for stage in [Stage::Connect, Stage::Ehlo, Stage::Data, Stage::Dot] {
        let server = Script::accept().on(stage, Act::Mute).start();
        let home = home_with(&server.url("", "timeout=1"));
        home.method("Test:pass", "exit 0");
        home.ok(["task", "add", "Test:pass"]);
        (0..5).for_each(|_| add_mail(&home, "a@x.org"));
        let report = tick(&home);
        assert!(
            report["mails_failed"].as_u64().unwrap() <= 2,
            "{stage:?}: {report}"
        );
        assert_eq!(home.status("1"), "COMPLETED", "{stage:?}");
        assert_eq!(
            home.json(["mail", "list", "--status", "queued"])
                .as_array()
                .unwrap()
                .len(),
            5,
            "{stage:?}"
        );
    }
}

#[test]
fn a_connection_that_closes_in_the_middle_costs_one_mail_its_attempt() {
    let server = Script::accept().once(Stage::Data, Act::Drop).start();
    let home = home(&server);
    add_mail(&home, "a@x.org");
    add_mail(&home, "b@x.org");
    let report = tick(&home);
    assert_eq!(
        (&report["mails_sent"], &report["mails_failed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(mail(&home, "1")["run_at"], "2026-04-10T09:01:00Z");
}

#[test]
fn a_mail_that_was_accepted_when_the_tick_was_killed_is_sent_again_with_the_same_message_id() {
    let server = Script::accept().once(Stage::Dot, Act::Keep).start();
    let home = home(&server);
    add_mail(&home, "a@x.org");
    let tick = home.start(["tick"]);
    until("the server has the mail", || server.mails().len() == 1);
    tick.kill();
    assert_eq!(mail(&home, "1")["status"], "sending");
    assert_eq!(home.ok(["tick"]), "");
    let [first, second] = server.mails().try_into().unwrap();
    assert_eq!(
        header(&first.data, "Message-ID"),
        header(&second.data, "Message-ID")
    );
    assert_eq!(mail(&home, "1")["status"], "sent");
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM worker"), 0);
}

#[test]
fn a_mail_in_the_hand_of_a_living_tick_is_left_to_it() {
    let server = Script::accept().once(Stage::Dot, Act::Keep).start();
    let home = home(&server);
    add_mail(&home, "a@x.org");
    let first = home.start(["tick"]);
    until("the server has the mail", || server.mails().len() == 1);
    assert_eq!(home.ok(["tick"]), "");
    assert_eq!(mail(&home, "1")["status"], "sending");
    first.kill();
}

#[test]
fn a_mail_in_the_hand_of_nobody_is_sent() {
    let server = Script::accept().start();
    let home = home(&server);
    add_mail(&home, "a@x.org");
    home.sql("UPDATE mail SET status = 'sending', worker_id = 77");
    home.ok(["tick"]);
    assert_eq!(mail(&home, "1")["status"], "sent");
}

#[test]
fn a_row_that_is_no_mail_fails_alone() {
    let server = Script::accept().start();
    let home = home(&server);
    home.sql(
        r#"INSERT INTO mail ("from", "to", subject, body, message_id, timer, timer_level, attempts) VALUES
           ('nobody', '["a@x.org"]', 's', 'b', '<1@x>', NULL, NULL, 0),
           ('r@x.org', '["a@x.org, b@x.org"]', 's', 'b', '<2@x>', 't', -1, -5),
           ('r@x.org', '[7]', 's', 'b', '<3@x>', NULL, NULL, 0),
           ('r@x.org', '[]', 's', 'b', '<4@x>', NULL, NULL, 0),
           ('r@x.org', '["a@x.org"]', 's' || char(13, 10) || 'Bcc: e@x.org', 'b', '<5@x>', NULL, NULL, 0),
           ('r@x.org', '["a@x.org"]', 's', 'b', 'no id', NULL, NULL, 9223372036854775807)"#,
    );
    add_mail(&home, "good@x.org");
    let report = tick(&home);
    assert_eq!(
        (&report["mails_sent"], &report["mails_failed"]),
        (&json!(1), &json!(6)),
        "{report}"
    );
    assert_eq!(server.mails()[0].to, ["good@x.org"]);
    assert_eq!(
        home.json(["mail", "list", "--status", "failed"])
            .as_array()
            .unwrap()
            .len(),
        6
    );
}

#[test]
fn a_row_of_bytes_that_are_no_text_fails_alone() {
    let server = Script::accept().start();
    let home = home(&server);
    add_mail(&home, "first@x.org");
    home.sql(
        r#"INSERT INTO mail ("from", "to", subject, body, message_id, template, created_at) VALUES
           ('r@x.org', '["a@x.org"]', CAST(x'e974e9' AS TEXT), CAST(x'e974e9' AS TEXT), '<1@x>', NULL, '2026-04-10 08:00:00'),
           (CAST(x'e9' AS TEXT), CAST(x'5b22e9225d' AS TEXT), 's', 'b', '<2@x>', CAST(x'e9' AS TEXT), '2026-04-10 08:00:00'),
           ('r@x.org', '["a@x.org"]', 's', 'b', CAST(x'3ce9407e' AS TEXT), NULL, '2026-04-10 08:00:00')"#,
    );
    add_mail(&home, "last@x.org");
    let report = tick(&home);
    assert_eq!(
        (&report["mails_sent"], &report["mails_failed"]),
        (&json!(3), &json!(2)),
        "{report}"
    );
    let subjects: Vec<_> = server
        .mails()
        .iter()
        .map(|mail| header(&mail.data, "Subject"))
        .collect();
    assert_eq!(subjects, ["Hello", "\u{fffd}t\u{fffd}", "Hello"]);
    for mail in home
        .json(["mail", "list", "--status", "failed"])
        .as_array()
        .unwrap()
    {
        assert!(!mail["last_error"].as_str().unwrap().is_empty(), "{mail}");
    }
    assert_eq!(home.ok(["mail", "list"]).lines().count(), 6);
}

#[test]
fn many_ticks_at_once_send_each_mail_once() {
    let server = Script::accept().start();
    let home = home(&server);
    (0..40).for_each(|number| add_mail(&home, &format!("a{number}@x.org")));
    let ticks: Vec<_> = (0..4).map(|_| home.start(["tick"])).collect();
    for tick in ticks {
        tick.end().ok();
    }
    let mut arrived: Vec<_> = server
        .mails()
        .into_iter()
        .flat_map(|mail| mail.to)
        .collect();
    arrived.sort();
    arrived.dedup();
    assert_eq!((server.mails().len(), arrived.len()), (40, 40));
}

#[test]
fn a_failed_mail_of_a_level_is_sent_by_hand_without_touching_the_level() {
    let server = Script::accept().start();
    let home = home_with(&nowhere());
    add_reminder(&home);
    tick(&home);
    home.sql("UPDATE mail SET status = 'failed', last_error = 'its level was skipped'");
    home.ok(["config", "set", "mail.transport", &server.url("", "")]);
    home.ok(["mail", "retry", "1"]);
    home.ok(["tick"]);
    assert_eq!(mail(&home, "1")["status"], "sent");
    assert_eq!(
        home.sql_value::<i64>("SELECT mail_count FROM attachment"),
        1
    );
}

#[test]
fn old_mails_are_dropped_with_the_history() {
    let server = Script::accept().start();
    let mut home = home(&server);
    add_mail(&home, "a@x.org");
    home.ok(["tick"]);
    add_mail(&home, "b@x.org");
    home.ok(["config", "set", "keep.history", "30d"]);
    home.set_now("2026-06-01T09:00");
    home.ok(["tick"]);
    assert_eq!(home.json(["mail", "list"]), json!([]));
    assert_eq!(server.mails().len(), 2);
}

#[test]
fn the_statements_of_each_tick_read_an_index_and_not_the_mails() {
    let home = home_with("file:out");
    for (sql, index) in [
        (
            "SELECT 1 FROM mail INDEXED BY mail_queued WHERE status = 'queued' AND paused = 0 AND id > 5 AND (run_at IS NULL OR run_at <= 'x') LIMIT 1",
            "mail_queued",
        ),
        (
            "SELECT id FROM mail INDEXED BY mail_queued WHERE status = 'queued' AND paused = 0 AND id > 5 AND (run_at IS NULL OR run_at <= 'x') ORDER BY id LIMIT 1",
            "mail_queued",
        ),
        (
            "SELECT 1 FROM mail WHERE status = 'sending' AND (worker_id IS NULL OR worker_id NOT IN (SELECT id FROM worker)) LIMIT 1",
            "mail_sending",
        ),
        (
            "SELECT count(*) FROM mail WHERE status = 'failed' AND attachment_id IS NOT 0",
            "mail_failed",
        ),
    ] {
        let plan = query(&home.db(), &format!("EXPLAIN QUERY PLAN {sql}"));
        assert!(
            plan.contains(index) && !plan.contains("TEMP B-TREE"),
            "{sql}: {plan}"
        );
    }
}

#[test]
fn the_status_counts_what_waits_and_says_when_it_is_tried_again() {
    let server = Script::accept()
        .on(Stage::Dot, Act::Reply("451 4.3.0 later"))
        .start();
    let home = home(&server);
    add_mail(&home, "a@x.org");
    let status = home.json(["status"]);
    assert_eq!(
        status["mails"],
        json!({"queued": 1, "sending": 0, "failed": 0})
    );
    assert_eq!(status["next_due"], "2026-04-10T09:00:00Z");
    tick(&home);
    assert_eq!(home.json(["status"])["next_due"], "2026-04-10T09:01:00Z");
}
