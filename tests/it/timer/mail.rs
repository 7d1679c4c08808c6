//! What a level does with its mails, up to the outbox and from there on.

use crate::kit::outbox::tick;
use crate::kit::runner::Home;
use serde_json::json;

/// A document with a timer of these actions, due at nine, where no mail goes out.
fn with_mails(actions: &[&str]) -> Home {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let transport = format!("smtp://{}", closed.local_addr().unwrap());
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "echo x >> noted");
    home.sql(&format!(
        "INSERT INTO template (name, \"to\", subject, body)
         VALUES ('one', 'a@example.org', 'One', 'One'), ('two', 'a@example.org', 'Two', 'Two');
         INSERT OR REPLACE INTO setting VALUES ('mail.from', 'runner@example.org'), ('mail.transport', '{transport}')"
    ));
    home.timer_with("t", &["--reference", "deadline"], actions);
    let doc = home.document("A", "2026-04-10T09:00");
    home.ok(["timer", "attach", "t", &doc]);
    home
}

/// Somebody else has sent this mail.
fn send(home: &Home, mail: i64) {
    home.sql(&format!(
        "UPDATE mail SET status = 'sent', last_error = NULL WHERE id = {mail}"
    ));
}

fn mails(home: &Home) -> String {
    home.sql_value("SELECT coalesce(group_concat(template || ' ' || status, ', '), '') FROM mail")
}

#[test]
fn the_state_changes_then_the_mails_are_sent_then_the_method_runs() {
    let home = with_mails(&[
        "state=late, mail=one, mail=two, method=Doc:note",
        "state=end",
    ]);
    assert_eq!(tick(&home)["fired"], 0);
    assert_eq!(home.state("1"), "late");
    assert_eq!(mails(&home), "one queued, two queued");
    send(&home, 1);
    assert_eq!(tick(&home)["fired"], 0);
    assert_eq!(
        mails(&home),
        "one sent, two queued",
        "nothing is done twice while a mail is not sent"
    );
    assert_eq!(
        (home.attached("1")["level"].clone(), home.read("noted")),
        (json!(0), String::new())
    );
    send(&home, 2);
    assert_eq!(tick(&home)["fired"], 2);
    assert_eq!(home.read("noted").lines().count(), 1);
    assert_eq!(mails(&home), "one sent, two sent");
    assert_eq!(
        home.json(["timer", "done"])[0]["result"],
        "state late; mail one, two; method Doc:note as task 1"
    );
}

#[test]
fn a_level_without_a_method_is_done_when_its_last_mail_is_sent() {
    let home = with_mails(&["mail=one, mail=two"]);
    tick(&home);
    send(&home, 2);
    assert_eq!(tick(&home)["fired"], 0);
    send(&home, 1);
    assert_eq!(tick(&home)["fired"], 1);
    assert_eq!(home.shown("1")["timers"], json!([]));
    assert_eq!(tick(&home)["fired"], 0);
}

#[test]
fn a_mail_that_is_not_sent_counts_as_an_attempt_at_its_level() {
    let home = with_mails(&["mail=one, mail=two"]);
    tick(&home);
    let report = tick(&home);
    let errors = report["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "the server is told once: {errors:?}");
    let attached = home.attached("1");
    assert_eq!(attached["attempts"], 2);
    let error = attached["last_error"].as_str().unwrap();
    assert!(
        error.starts_with("mail 1 (One) to a@example.org was not sent: "),
        "{error}"
    );
    let told = home.messages("1");
    let told = told
        .iter()
        .filter(|message| message.contains("was not sent"));
    assert_eq!(told.count(), 1, "history says the same once");
    assert_eq!(
        mails(&home),
        "one queued, two queued",
        "they are queued still, and not once more"
    );
}

#[test]
fn a_template_that_is_gone_leaves_the_state_changed_and_no_mail_queued() {
    let home = with_mails(&["state=late, mail=one, mail=two"]);
    home.sql("DELETE FROM template WHERE name = 'two'");
    let report = tick(&home);
    assert_eq!(report["errors"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(home.state("1"), "late");
    assert_eq!(mails(&home), "");
    let attached = home.attached("1");
    assert!(attached["last_error"].as_str().unwrap().contains("'two'"));
}

#[test]
fn a_date_that_changes_takes_back_the_mails_of_the_old_one() {
    let home = with_mails(&["mail=one, mail=two"]);
    tick(&home);
    home.sql("UPDATE mail SET status = 'sending' WHERE id = 1");
    home.ok(["doc", "set", "1", "deadline=2026-04-10T08:00"]);
    assert_eq!(mails(&home), "one sending, two failed");
    send(&home, 1);
    assert_eq!(tick(&home)["fired"], 0);
    assert_eq!(
        mails(&home),
        "one sent, two failed, one queued, two queued",
        "a mail of the old date completes nothing"
    );
    send(&home, 3);
    send(&home, 4);
    assert_eq!(tick(&home)["fired"], 1);
}

#[test]
fn a_level_that_is_skipped_sends_no_mail_any_more() {
    let mut home = with_mails(&["mail=one", "delay=1d, mail=two"]);
    tick(&home);
    home.set_now("2026-04-10T11:01");
    assert_eq!(tick(&home)["skipped"], 1);
    assert_eq!(mails(&home), "one failed");
    let skipped = home.json(["timer", "skipped"])[0].clone();
    assert_eq!(skipped["result"], "not done: mail one");
    home.ok(["timer", "fire", &skipped["id"].to_string()]);
    assert_eq!(mails(&home), "one failed, one queued");
    let waits: i64 = home.sql_value(
        "SELECT count(*) FROM mail WHERE attachment_id IS NOT NULL AND status = 'queued'",
    );
    assert_eq!(
        waits, 0,
        "no level waits for a mail that was queued by hand"
    );
}

#[test]
fn a_mail_that_was_sent_counts_however_late_that_is_seen() {
    let mut home = with_mails(&["mail=one", "delay=1d, state=late"]);
    tick(&home);
    send(&home, 1);
    home.set_now("2026-04-10T15:00");
    let report = tick(&home);
    assert_eq!(
        (&report["fired"], &report["skipped"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn a_detached_timer_sends_no_mail_whoever_detaches_it() {
    let home = with_mails(&["mail=one"]);
    tick(&home);
    home.sql("DELETE FROM attachment");
    assert_eq!(mails(&home), "one failed");
    home.ok(["timer", "attach", "t", "1"]);
    tick(&home);
    home.ok(["timer", "detach", "t", "1"]);
    assert_eq!(mails(&home), "one failed, one failed");
}
