//! The mail that a task's owner gets when it is over for good.

use serde_json::{Value, json};

use crate::kit::runner::Home;

/// A home whose mails go to a folder, with a method that fails and one that does not.
fn home() -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    home.ok(["config", "set", "mail.transport", "file:mails"]);
    home.ok(["config", "set", "mail.from", "Runner <runner@example.org>"]);
    home.method("m", "echo '{\"type\":\"result\",\"value\":{\"rows\":2}}'");
    home.method("fails", "runner log error 'no address in line 7'; exit 1");
    home.method("killed", "kill -9 $$");
    home
}

fn add(home: &Home, method: &str, notify: &str, options: &[&str]) -> String {
    let notice = ["--owner", "ada@example.org", "--notify", notify];
    home.ok([&["task", "add", method], &notice[..], options].concat())
}

fn mails(home: &Home) -> Vec<Value> {
    home.json(["mail", "list"]).as_array().unwrap().clone()
}

fn subjects(home: &Home) -> Vec<String> {
    let mails = mails(home).into_iter();
    mails
        .map(|mail| mail["subject"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_owner_gets_one_mail_when_a_task_has_failed() {
    let home = home();
    add(&home, "fails", "failed", &["--signature", "edition 43"]);
    assert_eq!(home.task("1")["notify"], "failed");
    home.run(["tick"]);
    let mails = mails(&home);
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!(mail["status"], "sent", "in the same tick");
    assert_eq!(mail["from"], "Runner <runner@example.org>");
    assert_eq!(mail["to"], json!(["ada@example.org"]));
    assert_eq!(mail["subject"], "task 1 (fails) has failed");
    let id = mail["message_id"].as_str().unwrap();
    assert!(id.ends_with("@example.org>"), "{id}");
    let body = mail["body"].as_str().unwrap();
    for line in [
        "no address in line 7",
        "signature: edition 43",
        "runner task show 1",
    ] {
        assert!(body.contains(line), "{body}");
    }
    home.run(["tick"]);
    assert_eq!(subjects(&home).len(), 1, "it is sent once");
}

#[test]
fn failed_is_of_failures_alone_and_ended_of_any_end() {
    for (notify, mailed) in [
        (
            "failed",
            &["2 (fails) has failed", "3 (killed) was interrupted"][..],
        ),
        (
            "ended",
            &[
                "1 (m) is completed",
                "2 (fails) has failed",
                "3 (killed) was interrupted",
                "4 (m) was cancelled",
            ],
        ),
    ] {
        let home = home();
        for method in ["m", "fails", "killed", "m"] {
            add(&home, method, notify, &[]);
        }
        home.ok(["task", "cancel", "4"]);
        home.run(["tick"]);
        let mut found = subjects(&home);
        found.sort();
        let expected: Vec<_> = mailed.iter().map(|rest| format!("task {rest}")).collect();
        assert_eq!(found, expected, "{notify}");
    }
}

#[test]
fn a_task_that_is_tried_again_is_not_over() {
    let mut home = home();
    add(&home, "fails", "ended", &["--retries", "1"]);
    home.run(["tick"]);
    assert_eq!(subjects(&home), [] as [&str; 0]);
    home.set_now("2026-04-10T09:01");
    home.run(["tick"]);
    assert_eq!(subjects(&home), ["task 1 (fails) has failed"]);
}

#[test]
fn whatever_ends_it_its_owner_is_notified() {
    let home = home();
    add(&home, "m", "ended", &["--at", "2026-04-11"]);
    add(&home, "m", "ended", &["--after", "1"]);
    home.ok(["task", "delete", "1"]);
    add(&home, "m", "ended", &[]);
    home.sql("UPDATE task SET status = 'CANCELLED' WHERE id = 3");
    let expected = [
        "task 1 (m) was cancelled",
        "task 2 (m) was cancelled",
        "task 3 (m) was cancelled",
    ];
    let mut found = subjects(&home);
    found.sort();
    assert_eq!(found, expected);
    home.ok([
        "task",
        "add",
        "--owner",
        "ada@example.org",
        "--notify",
        "ended",
        "--",
        "true",
    ]);
    home.ok(["task", "cancel", "4"]);
    assert_eq!(subjects(&home)[3], "task 4 (true) was cancelled");
    home.ok(["task", "restart", "3"]);
    home.ok(["task", "run", "3"]);
    assert_eq!(
        subjects(&home)[4],
        "task 3 (m) is completed",
        "a restart is another life"
    );
}

#[test]
fn a_batch_and_sql_ask_for_it_too() {
    let home = home();
    home.write(
        "tasks.jsonl",
        "{\"method\":\"m\",\"owner\":\"ada@example.org\",\"notify\":\"ended\"}\n",
    );
    home.ok(["task", "add", "--batch", "tasks.jsonl"]);
    home.sql(
        "INSERT INTO task (method, owner, notify) VALUES ('fails', 'ada@example.org', 'failed')",
    );
    home.run(["tick"]);
    let mut found = subjects(&home);
    found.sort();
    assert_eq!(
        found,
        ["task 1 (m) is completed", "task 2 (fails) has failed"]
    );
}

#[test]
fn the_tasks_of_a_schedule_notify_too() {
    let mut home = home();
    let set = ["schedule", "set", "hourly", "--cron", "0 * * * *", "fails"];
    home.ok([
        &set[..],
        &["--owner", "ada@example.org", "--notify", "failed"],
    ]
    .concat());
    home.set_now("2026-04-10T10:00");
    home.run(["tick"]);
    assert_eq!(subjects(&home), ["task 1 (fails) has failed"]);
}

#[test]
fn without_an_owner_or_a_sender_it_is_refused() {
    let home = home();
    let without = home.run(["task", "add", "m", "--notify", "failed"]);
    assert_eq!(without.code(), 2);
    assert!(without.err().contains("--owner"), "{}", without.err());
    home.write("tasks.jsonl", "{\"method\":\"m\",\"notify\":\"ended\"}\n");
    let refused = home.refused(["task", "add", "--batch", "tasks.jsonl"]);
    assert!(
        refused.contains("notify: it needs an owner, who gets the mail"),
        "{refused}"
    );
    let connection = rusqlite::Connection::open(home.db()).unwrap();
    for values in [
        "'m', NULL, 'failed'",
        "'m', '', 'failed'",
        "'m', 'ada@example.org', 'never'",
    ] {
        let sql = format!("INSERT INTO task (method, owner, notify) VALUES ({values})");
        assert!(connection.execute(&sql, []).is_err(), "{values}");
    }
    add(&home, "m", "failed", &["--hold"]);
    let taken = home.refused(["task", "set", "1", "--owner", ""]);
    assert!(taken.contains("its notice needs an owner"), "{taken}");
    home.ok(["config", "unset", "mail.from"]);
    let unsent = home.refused([
        "task",
        "add",
        "m",
        "--owner",
        "a@example.org",
        "--notify",
        "ended",
    ]);
    assert!(unsent.contains("mail.from"), "{unsent}");
}
