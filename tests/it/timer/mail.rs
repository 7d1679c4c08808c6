//! What a level does with its mails, up to the outbox and from there on.

use crate::kit::documents::{fire_at, nine};
use crate::kit::runner::Home;
use runner::firing::{mail_failed, mail_sent};
use runner::store::Store;
use serde_json::json;

fn with_mails(actions: &[&str]) -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "echo x >> noted");
    home.sql(
        "INSERT INTO template (name, \"to\", subject, body)
         VALUES ('one', 'a@example.org', 'One', 'One'), ('two', 'a@example.org', 'Two', 'Two');
         INSERT OR REPLACE INTO setting VALUES ('mail.from', 'runner@example.org')",
    );
    home.timer_with("t", &["--reference", "deadline"], actions);
    let doc = home.document("A", "2026-04-10T09:00");
    home.ok(["timer", "attach", "t", &doc]);
    home
}

/// A mail that somebody has sent, or tried to; whether the reason why it did not go is news.
fn tell(home: &Home, mail: i64, error: Option<(&str, bool)>) -> bool {
    let store = Store::open(&home.db()).unwrap();
    let told = store.transact(|store| match error {
        Some(error) => mail_failed(store, 1, mail, error, nine()).map(|()| false),
        None => mail_sent(store, 1, mail, nine()),
    });
    told.unwrap()
}

fn mails(home: &Home) -> String {
    home.sql_value("SELECT coalesce(group_concat(template || ' ' || status, ', '), '') FROM mail")
}

/// Fires what is due, without what a whole tick does after that.
fn fire(home: &Home) -> (u64, u64) {
    let fired = fire_at(&Store::open(&home.db()).unwrap(), nine());
    (fired.fired, fired.problems.len() as u64)
}

#[test]
fn the_state_changes_then_the_mails_are_sent_then_the_method_runs() {
    let home = with_mails(&[
        "state=late, mail=one, mail=two, method=Doc:note",
        "state=end",
    ]);
    assert_eq!(fire(&home), (0, 0));
    assert_eq!(home.state("1"), "late");
    assert_eq!(mails(&home), "one queued, two queued");
    assert!(!tell(&home, 1, None));
    assert_eq!(
        fire(&home),
        (0, 0),
        "nothing is done twice while a mail is not sent"
    );
    assert!(!tell(&home, 2, None));
    assert_eq!(
        home.attached("1")["level"],
        0,
        "its method is still to be run"
    );
    home.sql("UPDATE mail SET status = 'sent'");
    assert_eq!(home.json(["tick"])["fired"], 2);
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
    fire(&home);
    assert!(!tell(&home, 1, None));
    assert!(tell(&home, 2, None));
    assert_eq!(home.shown("1")["timers"], json!([]));
    assert!(!tell(&home, 2, None), "a second word of it changes nothing");
}

#[test]
fn a_mail_that_is_not_sent_counts_as_an_attempt_at_its_level() {
    let home = with_mails(&["mail=one"]);
    fire(&home);
    tell(&home, 1, Some(("no answer", true)));
    tell(&home, 1, Some(("no answer", false)));
    let attached = home.attached("1");
    assert_eq!(attached["attempts"], 2);
    assert_eq!(attached["last_error"], "mail 1 was not sent: no answer");
    let told = home.messages("1");
    let told = told.iter().filter(|message| message.ends_with("no answer"));
    assert_eq!(told.count(), 1, "history says the same once");
    assert_eq!(
        mails(&home),
        "one queued",
        "it is queued still, and not once more"
    );
}

#[test]
fn a_template_that_is_gone_leaves_the_state_changed_and_no_mail_queued() {
    let home = with_mails(&["state=late, mail=one, mail=two"]);
    home.sql("DELETE FROM template WHERE name = 'two'");
    assert_eq!(fire(&home), (0, 1));
    assert_eq!(home.state("1"), "late");
    assert_eq!(mails(&home), "");
    let attached = home.attached("1");
    assert!(attached["last_error"].as_str().unwrap().contains("'two'"));
}

#[test]
fn a_date_that_changes_takes_back_the_mails_of_the_old_one() {
    let home = with_mails(&["mail=one, mail=two"]);
    fire(&home);
    home.sql("UPDATE mail SET status = 'sending' WHERE id = 1");
    home.ok(["doc", "set", "1", "deadline=2026-04-10T08:00"]);
    assert_eq!(mails(&home), "one sending, two failed");
    fire(&home);
    assert!(
        !tell(&home, 1, None),
        "a mail of the old date completes nothing"
    );
    assert_eq!(
        mails(&home),
        "one sending, two failed, one queued, two queued"
    );
    assert!(!tell(&home, 3, None));
    assert!(tell(&home, 4, None));
}

#[test]
fn a_level_that_is_skipped_or_detached_sends_no_mail_any_more() {
    let mut home = with_mails(&["mail=one", "delay=1d, mail=two"]);
    fire(&home);
    home.set_now("2026-04-10T11:00");
    home.sql("UPDATE mail SET status = 'sending'");
    assert_eq!(home.json(["timer", "next"])[0]["level"], 0);
    let store = Store::open(&home.db()).unwrap();
    let pass = || fire_at(&store, nine().plus_seconds(7200).unwrap());
    assert_eq!(pass().skipped, 0, "its mail is being sent");
    home.sql("UPDATE mail SET status = 'queued'");
    assert_eq!(pass().skipped, 1);
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
fn a_detached_timer_sends_no_mail_whoever_detaches_it() {
    let home = with_mails(&["mail=one"]);
    fire(&home);
    home.sql("DELETE FROM attachment");
    assert_eq!(mails(&home), "one failed");
    home.ok(["timer", "attach", "t", "1"]);
    fire(&home);
    home.ok(["timer", "detach", "t", "1"]);
    assert_eq!(mails(&home), "one failed, one failed");
}
