//! What is paused is not started until it is resumed (`docs/administration.md`, "Pausing").

use serde_json::{Value, json};

use crate::kit::outbox::{add_mail, add_reminders, home_with};
use crate::kit::process::until;
use crate::kit::runner::Home;

/// A home at a Friday's noon, where the method `m` notes the tasks that it runs, and mails go to a folder.
fn home() -> Home {
    let mut home = home_with("file:mails");
    home.set_now("2026-11-27T12:00");
    home.method("m", "echo $RUNNER_TASK >> ran");
    home
}

/// What a tick did: tasks added, levels fired and skipped, mails sent, tasks completed.
fn tick(home: &Home) -> [u64; 5] {
    let report = home.run(["--json", "tick"]).json();
    [
        &report["scheduled"],
        &report["fired"],
        &report["skipped"],
        &report["mails_sent"],
        &report["tasks"]["completed"],
    ]
    .map(|count| count.as_u64().unwrap())
}

fn attention(home: &Home) -> Vec<String> {
    let status = home.json(["status"]);
    let lines = status["attention"].as_array().unwrap().iter();
    lines
        .map(|line| line.as_str().unwrap().to_owned())
        .filter(|line| line.contains("paused"))
        .collect()
}

#[test]
fn nothing_is_started_while_everything_is_paused() {
    let mut home = home();
    home.ok(["schedule", "set", "hourly", "--cron", "@hourly", "m"]);
    home.timer("t", &["delay=1h, state=late"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["task", "add", "m"]);
    home.ok(["task", "add", "m", "--at", "12:30"]);
    add_mail(&home, "ann@example.org");
    assert_eq!(home.ok(["pause"]), "");
    home.ok(["pause"]);
    assert_eq!(attention(&home), ["everything is paused: 'runner resume'"]);
    home.set_now("2026-11-27T13:00");
    let status = home.json(["status"]);
    assert_eq!(status["paused"]["everything"], true);
    assert_eq!(status["next_due"], Value::Null);
    assert_eq!(tick(&home), [0; 5]);
    assert_eq!(
        (home.state(&doc), home.status("1")),
        ("open".into(), "TO_RUN".into())
    );
    assert!(!home.ok(["config", "list"]).contains("paused"));
    assert_eq!(
        home.ok(["rehearse", "--until", "+1d"]),
        home.ok(["rehearse", "--until", "+1h"])
    );
    home.ok(["resume"]);
    home.ok(["resume"]);
    assert_eq!(attention(&home), [""; 0]);
    assert_eq!(tick(&home), [1, 1, 0, 1, 3]);
}

#[test]
fn tasks_of_a_paused_method_wait_and_hold_up_no_others() {
    let home = home();
    for name in ["A:*", "A:b", "A:c:*"] {
        home.method(name, "echo $RUNNER_METHOD >> ran");
    }
    let add = || {
        for method in ["A:a", "A:b", "A:c:d", "m"] {
            home.ok(["task", "add", method]);
        }
    };
    add();
    home.ok(["pause", "method", "A:*"]);
    add();
    assert_eq!(
        attention(&home),
        ["method A:* is paused: 'runner resume method A:*'"]
    );
    home.ok(["tick"]);
    home.ok(["tick"]);
    let ran = || {
        let mut ran = home.lines("ran");
        ran.sort();
        ran
    };
    assert_eq!(ran(), ["4", "8", "A:b", "A:b", "A:c:d", "A:c:d"]);
    assert_eq!(home.status("1"), "TO_RUN");
    assert_eq!(home.json(["status"])["next_due"], Value::Null);
    let methods = home.json(["method", "list"]);
    assert_eq!(
        (&methods[0]["name"], &methods[0]["paused"]),
        (&json!("A:*"), &json!(true))
    );
    // Another definition of its handler changes nothing, and a handler of its own does.
    home.method("A:*", "echo $RUNNER_METHOD >> ran");
    home.ok(["tick"]);
    assert_eq!(ran().len(), 6);
    home.sql("UPDATE method SET paused = 0 WHERE name = 'A:*'");
    home.ok(["tick"]);
    assert_eq!(ran().len(), 8);
}

#[test]
fn a_task_that_waits_runs_once_another_handler_does_it() {
    let home = home();
    home.method("A:*", "echo all >> ran");
    home.ok(["task", "add", "A:a"]);
    home.ok(["pause", "method", "A:*"]);
    home.ok(["tick"]);
    home.method("A:a", "echo own >> ran");
    home.ok(["tick"]);
    assert_eq!(home.lines("ran"), ["own"]);
}

#[test]
fn task_run_heeds_no_pause() {
    let home = home();
    home.ok(["task", "add", "m"]);
    home.ok(["pause"]);
    home.ok(["pause", "method", "m"]);
    home.ok(["tick"]);
    home.ok(["task", "run", "1"]);
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
fn what_runs_goes_on_and_nothing_more_is_started() {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "1"]);
    home.method(
        "slow",
        "touch began; while [ ! -e go ]; do sleep 0.05; done",
    );
    home.ok(["task", "add", "slow"]);
    home.ok(["task", "add", "slow"]);
    for pause in [&["pause"][..], &["pause", "method", "slow"]] {
        let tick = home.start(["tick"]);
        until("it has begun", || home.path("began").exists());
        home.ok(pause);
        home.write("go", "");
        tick.end().ok();
        assert_eq!(
            (home.status("1"), home.status("2")),
            ("COMPLETED".into(), "TO_RUN".into())
        );
        home.ok([&["resume"], &pause[1..]].concat());
        std::fs::remove_file(home.path("go")).unwrap();
        std::fs::remove_file(home.path("began")).unwrap();
        home.ok(["task", "restart", "1"]);
    }
}

#[test]
fn levels_of_a_paused_timer_are_not_done_and_their_limits_go_on() {
    let mut home = home();
    home.timer_with("state", &["--reference", "deadline"], &["state=late"]);
    home.timer_with(
        "method",
        &["--reference", "deadline"],
        &["limit=2h, method=m"],
    );
    home.timer_with("other", &["--reference", "deadline"], &["method=m"]);
    let doc = home.document("A", "2026-11-27T13:00");
    home.ok(["timer", "attach", "state", &doc]);
    home.ok(["pause", "timer", "state"]);
    home.ok(["pause", "timer", "method"]);
    home.ok(["timer", "attach", "method", &doc]);
    home.ok(["timer", "attach", "other", &doc]);
    assert_eq!(
        attention(&home),
        [
            "timer method is paused: 'runner resume timer method'",
            "timer state is paused: 'runner resume timer state'",
        ]
    );
    home.set_now("2026-11-27T13:00");
    assert_eq!(tick(&home), [0, 1, 0, 0, 1]);
    assert_eq!(home.json(["timer", "list"])[2]["paused"], true);
    let next = home.json(["timer", "next"]);
    assert_eq!(
        (next.as_array().unwrap().len(), &next[0]["paused"]),
        (2, &json!(true))
    );
    assert_eq!(home.json(["rehearse", "--until", "+1d"]), json!([]));
    home.set_now("2026-11-27T15:01");
    assert_eq!(tick(&home), [0; 5]);
    home.ok(["resume", "timer", "state"]);
    home.ok(["resume", "timer", "method"]);
    assert_eq!(tick(&home), [0, 1, 1, 0, 0]);
    assert_eq!(home.state(&doc), "late");
}

#[test]
fn mails_and_tasks_of_a_paused_timer_wait_too() {
    let mut home = home_with("smtp://localhost:1");
    home.method("m", "exit 1");
    add_reminders(&home, "mail=reminder");
    home.timer("work", &["method=m"]);
    home.ok(["timer", "attach", "work", "1"]);
    home.run(["tick"]);
    home.ok(["config", "set", "mail.transport", "file:mails"]);
    home.method("m", "exit 0");
    home.ok(["pause", "timer", "validation"]);
    home.ok(["pause", "timer", "work"]);
    home.sql("UPDATE task SET status = 'TO_RUN'");
    home.set_now("2026-04-10T09:01");
    assert_eq!(tick(&home), [0; 5]);
    home.ok(["resume", "timer", "validation"]);
    assert_eq!(tick(&home), [0, 1, 0, 1, 0]);
    home.ok(["resume", "timer", "work"]);
    assert_eq!(tick(&home), [0, 1, 0, 0, 1]);
}

#[test]
fn occurrences_of_a_paused_schedule_count_as_missed() {
    let mut home = home();
    home.ok(["schedule", "set", "hourly", "--cron", "@hourly", "m"]);
    home.ok([
        "schedule", "set", "all", "--cron", "@hourly", "--missed", "all", "m",
    ]);
    home.ok(["pause", "schedule", "hourly"]);
    home.ok(["pause", "schedule", "all"]);
    assert!(home.ok(["schedule", "list"]).contains("paused"));
    home.set_now("2026-11-27T15:30");
    assert_eq!(tick(&home), [0; 5]);
    home.ok(["resume", "schedule", "hourly"]);
    assert_eq!(tick(&home), [1, 0, 0, 0, 1]);
    home.ok(["resume", "schedule", "all"]);
    assert_eq!(tick(&home), [3, 0, 0, 0, 3]);
}

#[test]
fn what_is_not_there_cannot_be_paused() {
    let home = home();
    for (what, name) in [("method", "x"), ("timer", "x"), ("schedule", "x")] {
        for verb in ["pause", "resume"] {
            assert_eq!(
                home.refused([verb, what, name]),
                format!("runner: no {what} '{name}': 'runner {what} list' shows them")
            );
        }
    }
    for wrong in [&["pause", "method"][..], &["pause", "task", "1"]] {
        assert_eq!(home.run(wrong).code(), 2, "{wrong:?}");
    }
}

#[test]
fn what_died_is_put_in_order_all_the_same() {
    let home = Home::new();
    home.method("slow", "touch began; sleep 600");
    home.ok(["task", "add", "slow"]);
    let tick = home.start(["tick"]);
    until("it has begun", || home.path("began").exists());
    home.ok(["pause"]);
    tick.kill();
    assert_eq!(home.run(["tick"]).code(), 1);
    assert_eq!(home.status("1"), "INTERRUPTED");
}
