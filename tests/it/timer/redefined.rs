//! Timers whose definition or zone changes while they are attached (`docs/timers.md`, "Changing a definition").

use crate::kit::outbox::{home as pending_mails, home_with, tick};
use crate::kit::runner::Home;
use crate::kit::smtp::Script;
use serde_json::{Value, json};

/// The templates `one` and `two`, and the methods `Doc:note`, which writes a line, and `Doc:fail`.
fn equip(home: &Home) {
    home.method("Doc:note", "echo x >> noted");
    home.method_with("Doc:fail", &["--retries", "5"], "exit 3");
    home.sql(
        "INSERT INTO template (name, \"to\", subject, body)
         VALUES ('one', 'a@example.org', 'One', 'One'), ('two', 'a@example.org', 'Two', 'Two')",
    );
}

/// A document with the timer, of which the first level is due and has begun.
fn begin(home: &Home, actions: &[&str]) {
    equip(home);
    home.timer("t", actions);
    home.ok(["doc", "add", "--state", "open"]);
    home.ok(["timer", "attach", "t", "1"]);
    home.run(["tick"]);
}

fn nowhere() -> Home {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    home_with(&format!("smtp://{}", closed.local_addr().unwrap()))
}

fn mails(home: &Home) -> String {
    home.sql_value(
        "SELECT coalesce(group_concat(template || ' ' || status || coalesce(' ' || last_error, ''), ', '), '') FROM mail",
    )
}

#[test]
fn another_action_in_place_of_one_that_waits_for_its_method_is_done_and_not_only_recorded() {
    let server = Script::accept().start();
    let home = pending_mails(&server);
    begin(&home, &["method=Doc:fail"]);
    assert_eq!(home.status("1"), "TO_RUN", "it will be tried again");
    home.timer("t", &["state=closed, mail=one"]);
    assert_eq!(home.status("1"), "CANCELLED");
    let report = tick(&home);
    assert_eq!(
        (&report["fired"], &report["mails_sent"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(home.state("1"), "closed");
    assert_eq!(
        home.json(["timer", "done"])[0]["result"],
        "state closed; mail one"
    );
    assert!(
        home.messages("1").contains(
            &"the timer was defined anew; left of this level: state closed; mail one".to_owned()
        ),
        "{:?}",
        home.messages("1")
    );
}

#[test]
fn what_is_done_of_a_level_stays_done_as_far_as_the_new_definition_says_the_same() {
    let server = Script::accept().start();
    let home = pending_mails(&server);
    begin(&home, &["state=late, mail=one, method=Doc:fail"]);
    home.ok(["doc", "state", "1", "mine"]);
    home.timer("t", &["state=late, mail=one, method=Doc:note"]);
    assert_eq!(tick(&home)["fired"], 1);
    assert_eq!(home.state("1"), "mine", "the state is not changed again");
    assert_eq!(mails(&home), "one sent");
    assert_eq!(home.read("noted"), "x\n");
    assert_eq!(
        home.json(["timer", "done"])[0]["result"],
        "state late; mail one; method Doc:note as task 2"
    );
}

#[test]
fn mails_that_wait_are_withdrawn_for_those_of_the_new_definition() {
    let home = nowhere();
    begin(&home, &["state=late, mail=one"]);
    home.timer("t", &["state=late, mail=two"]);
    assert!(
        mails(&home).starts_with("one failed its timer was defined anew; before that: "),
        "{}",
        mails(&home)
    );
    let server = Script::accept().start();
    home.ok(["config", "set", "mail.transport", &server.url("", "")]);
    assert_eq!(tick(&home)["fired"], 1);
    assert!(mails(&home).ends_with(", two sent"), "{}", mails(&home));
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn a_later_step_or_another_delay_leaves_what_is_under_way() {
    let home = nowhere();
    begin(&home, &["mail=one"]);
    home.timer("t", &["mail=one, method=Doc:note", "delay=1d, state=end"]);
    assert!(mails(&home).starts_with("one queued"), "{}", mails(&home));
    let server = Script::accept().start();
    home.ok(["config", "set", "mail.transport", &server.url("", "")]);
    assert_eq!(tick(&home)["fired"], 1);
    assert_eq!(
        (server.mails().len(), home.read("noted")),
        (1, "x\n".to_owned())
    );
}

#[test]
fn what_a_level_has_begun_that_there_is_no_more_is_called_off() {
    let mut home = nowhere();
    begin(&home, &["state=late", "mail=one"]);
    home.timer("t", &["state=late"]);
    let server = Script::accept().start();
    home.ok(["config", "set", "mail.transport", &server.url("", "")]);
    home.set_now("2026-04-10T09:01");
    assert_eq!(tick(&home)["mails_sent"], 0);
    assert!(
        mails(&home).starts_with(
            "one failed the timer was detached: no level is left of its definition; before that: "
        ),
        "{}",
        mails(&home)
    );
    assert_eq!(home.shown("1")["timers"], json!([]));

    let mut home = Home::new().at("2026-04-10T09:00");
    begin(&home, &["state=late", "method=Doc:fail"]);
    home.timer("t", &["state=late"]);
    home.set_now("2026-04-10T09:30");
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "CANCELLED");
}

#[test]
fn dates_are_counted_anew_when_the_zone_changes_and_levels_are_kept() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.ok(["config", "set", "time.zone", "Europe/Paris"]);
    home.timer_with(
        "t",
        &["--reference", "deadline"],
        &["state=late", "delay=1d, state=end"],
    );
    let doc = home.document("A", "2026-04-25");
    home.ok(["timer", "attach", "t", &doc]);
    assert_eq!(home.due(&doc), "2026-04-24T22:00:00Z");
    home.ok(["config", "set", "time.zone", "America/New_York"]);
    assert_eq!(home.due(&doc), "2026-04-25T04:00:00Z");
    home.set_now("2026-04-25T00:00-04:00");
    assert_eq!(home.json(["tick"])["fired"], 1);
    home.ok(["config", "unset", "time.zone"]);
    assert_eq!(home.due(&doc), "2026-04-26T00:00:00Z");
    assert_eq!(home.attached(&doc)["level"], 1);
}

#[test]
fn however_many_hang_on_a_timer_one_command_changes_them_all() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["delay=1d, state=late"]);
    home.sql(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
         INSERT INTO document (title) SELECT 'Order ' || n FROM n;
         INSERT INTO attachment (timer_id, document_id, attached_at, counted_from, due_at, needs_reschedule)
         SELECT 1, id, '2026-04-10 09:00:00', '2026-04-10 09:00:00', '2026-04-11 09:00:00', 0 FROM document",
    );
    let needs_reschedule =
        || home.sql_value::<i64>("SELECT count(*) FROM attachment WHERE needs_reschedule > 0");
    home.timer("t", &["delay=2d, state=late"]);
    assert_eq!(needs_reschedule(), 20_000);
    home.sql("UPDATE attachment SET needs_reschedule = 0");
    home.ok(["config", "set", "time.zone", "Asia/Tokyo"]);
    assert_eq!(needs_reschedule(), 20_000);
    home.ok(["timer", "remove", "t", "--force"]);
    assert_eq!(needs_reschedule(), 0);
}

#[test]
fn a_reset_keeps_the_origin_unless_another_is_given() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["delay=1d, state=late"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc, "--origin", "shop"]);
    home.ok(["timer", "attach", "t", &doc, "--reset"]);
    assert_eq!(home.attached(&doc)["origin"], "shop");
    home.ok(["timer", "attach", "t", &doc, "--reset", "--origin", "desk"]);
    assert_eq!(home.attached(&doc)["origin"], "desk");
}

#[test]
fn a_forecast_has_all_levels_as_json_and_those_without_a_date_too() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["delay=1h, iterations=1500, state=a"]);
    assert_eq!(
        home.json(["timer", "forecast", "t"])
            .as_array()
            .unwrap()
            .len(),
        1500
    );
    let few = home.json(["timer", "forecast", "t", "--limit", "3"]);
    assert_eq!(few.as_array().unwrap().len(), 3);
    let shown = home.ok(["timer", "forecast", "t"]);
    assert!(shown.ends_with("and 500 more: --limit"), "{shown}");
    home.timer("t", &["delay=200y, iterations=40, state=a"]);
    let far = home.json(["timer", "forecast", "t"]);
    assert_eq!(far[38]["due_at"], "9826-04-10T09:00:00Z");
    assert_eq!(far[39]["due_at"], Value::Null);
    let shown = home.ok(["timer", "forecast", "t"]);
    assert!(shown.contains("outside the years 0000 to 9999"), "{shown}");
}
