//! `doctor`: a line a check, and what to do where something is wrong (`docs/administration.md`, "When nothing happens").

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::kit::programs::{Bin, write_program};
use crate::kit::runner::Home;

/// A home whose crontab runs the ticks, of which one has just ended.
fn well() -> Home {
    let home = Home::new();
    let bin = Bin::new(&home);
    bin.crontab("");
    let home = home.env("PATH", bin.path().to_str().unwrap());
    home.ok(["crontab", "--install"]);
    home.ok(["tick"]);
    home
}

/// The checks that found something, each with what it said.
fn wrong(home: &Home) -> Vec<(String, String)> {
    let answer = home.run(["--json", "doctor"]);
    let all = answer.json();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let wrong = all
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["ok"] == false);
    let wrong: Vec<_> = wrong
        .map(|finding| (text(finding, "check"), text(finding, "message")))
        .collect();
    assert_eq!(answer.code(), i32::from(!wrong.is_empty()), "{all}");
    wrong
}

#[test]
fn each_check_has_a_line_when_all_is_well() {
    let home = well();
    home.method("m", "exit 0");
    home.ok(["task", "add", "m"]);
    let lines = home.ok(["doctor"]);
    assert!(lines.lines().count() >= 12, "{lines}");
    assert!(lines.lines().all(|line| line.starts_with("ok ")), "{lines}");
    assert_eq!(wrong(&home), []);
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    type Break = fn(&Home);
    let cases: [(&str, &[&str], Break); 15] = [
        ("permissions", &["chmod o-w"], |home| {
            fs::set_permissions(home.db(), Permissions::from_mode(0o666)).unwrap();
        }),
        ("last tick", &["it ended at", "cron"], |home| {
            home.write("runner.db-tick", "{\"ended_at\": 1700000000}");
        }),
        ("settings", &["time.zone", "runner config set"], |home| {
            home.sql("INSERT INTO setting VALUES ('time.zone', 'Mars/Phobos')");
        }),
        ("settings", &["keep.tasks"], |home| {
            home.sql("INSERT INTO setting VALUES ('keep.tasks', 'soon')");
        }),
        (
            "handlers",
            &["method m", "there is no such program"],
            |home| {
                home.ok(["method", "set", "m", "--", "./none.sh"]);
            },
        ),
        ("handlers", &["method m", "/usr/bin:/bin"], |home| {
            write_program(&home.path("bin/mine"), "exit 0");
            home.ok(["method", "set", "m", "--", "mine"]);
        }),
        ("handlers", &["chmod +x"], |home| {
            home.write("plain.sh", "exit 0");
            home.ok(["method", "set", "m", "--", "./plain.sh"]);
        }),
        (
            "mail",
            &["smtp://localhost:1", "connecting", "mail test"],
            |home| {
                home.ok(["config", "set", "mail.transport", "smtp://localhost:1"]);
            },
        ),
        ("mail", &["/nowhere/sendmail"], |home| {
            home.ok([
                "config",
                "set",
                "mail.transport",
                "sendmail:/nowhere/sendmail",
            ]);
        }),
        (
            "schedules",
            &["schedule s", "runner schedule set"],
            |home| {
                home.sql("INSERT INTO schedule (name, cron, method) VALUES ('s', 'x', 'm')");
                home.run(["tick"]);
            },
        ),
        (
            "tasks",
            &["method gone", "1 pending", "method set gone"],
            |home| {
                home.sql("INSERT INTO task (method, held) VALUES ('gone', 1)");
            },
        ),
        (
            "chains",
            &["task 2 waits for task 1", "task restart 1"],
            |home| {
                home.method("m", "exit 1");
                home.ok(["task", "add", "m"]);
                home.ok(["task", "add", "m", "--after", "1"]);
                home.run(["tick"]);
            },
        ),
        (
            "pauses",
            &["everything is paused", "runner resume"],
            |home| {
                home.ok(["pause"]);
            },
        ),
        ("pauses", &["method m is paused"], |home| {
            home.method("m", "exit 0");
            home.ok(["pause", "method", "m"]);
        }),
        ("database", &["damaged", "backup"], |home| {
            home.sql(
                "INSERT INTO document (attributes) VALUES (json_object('text', hex(zeroblob(100000))));
                 PRAGMA wal_checkpoint(TRUNCATE)",
            );
            let mut file = OpenOptions::new().write(true).open(home.db()).unwrap();
            // A page of the text alone.
            file.seek(SeekFrom::End(-4096)).unwrap();
            file.write_all(&[0xa5; 4096]).unwrap();
        }),
    ];
    for (check, words, break_it) in cases {
        let home = well();
        break_it(&home);
        let wrong = wrong(&home);
        let found = wrong.iter().find(|(name, _)| name == check);
        let (_, message) = found.unwrap_or_else(|| panic!("{check}: {wrong:?}"));
        for word in words {
            assert!(message.contains(word), "{check}: {message}");
        }
        assert_eq!(wrong.len(), 1, "{wrong:?}");
    }
}

#[test]
fn a_database_that_no_tick_works_on_is_told() {
    let home = Home::new();
    let bin = Bin::new(&home);
    bin.crontab("* * * * * runner --db other.db tick # runner\n");
    let home = home.env("PATH", bin.path().to_str().unwrap());
    let wrong = wrong(&home);
    let checks: Vec<&str> = wrong.iter().map(|(check, _)| check.as_str()).collect();
    assert_eq!(checks, ["crontab", "last tick"], "{wrong:?}");
    assert!(wrong[0].1.contains("runner crontab --install"));
}

#[test]
fn ticks_may_be_run_by_something_else_than_the_crontab() {
    let home = Home::new().env("PATH", "/nowhere");
    home.ok(["tick"]);
    assert_eq!(wrong(&home), []);
}

#[test]
fn a_path_in_the_crontab_counts_for_handlers() {
    let home = Home::new();
    let bin = Bin::new(&home);
    bin.crontab(&format!("PATH=/usr/bin:{}\n", home.path("bin").display()));
    write_program(&home.path("bin/mine"), "exit 0");
    let home = home.env("PATH", bin.path().to_str().unwrap());
    home.ok(["crontab", "--install"]);
    home.ok(["tick"]);
    home.ok(["method", "set", "m", "--", "mine"]);
    assert_eq!(wrong(&home), []);
}
