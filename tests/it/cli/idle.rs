//! Most ticks find nothing to do. After one of them, the next ones need not open the database, until somebody writes to it
//! or something becomes due; and nothing ever waits because of that.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::kit::process::until;
use crate::kit::programs::is_installed;
use crate::kit::runner::Home;
use rusqlite::Connection;
use serde_json::Value;

/// What a tick says, when it is to say more, that did not open the database.
const QUIET: &str = "nobody has written to the database since the last tick";

/// A database in which nothing is due, and that no tick has looked at. The first tick of an hour looks in any case, so that
/// no test may go on in the next one.
fn not_looked_at() -> Home {
    let left_of_hour = || 3600 - now().as_secs() % 3600;
    until("the hour is over", || left_of_hour() > 45);
    let home = Home::new();
    home.method("Note:down", "echo done >> done");
    age(&home);
    home
}

/// The same, where a tick has.
fn looked_at() -> Home {
    let home = not_looked_at();
    assert!(!is_quiet(&home), "no tick has looked yet");
    home
}

/// Makes the files as old as they are on most machines when a tick comes.
fn age(home: &Home) {
    age_file(home, "runner.db");
    age_file(home, "runner.db-wal");
}

fn age_file(home: &Home, name: &str) {
    if let Ok(file) = File::options().write(true).open(home.path(name)) {
        let long_ago = Duration::from_millis(1_775_804_400_123);
        file.set_modified(UNIX_EPOCH + long_ago).unwrap();
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "it is held against the times of files"
)]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn is_quiet(home: &Home) -> bool {
    let answer = home.run(["tick", "-v"]);
    assert_eq!(answer.code(), 0, "{}", answer.all());
    answer.err().contains(QUIET)
}

#[test]
fn after_a_tick_that_found_nothing_the_next_ones_do_not_open_the_database() {
    let home = looked_at();
    assert!(is_quiet(&home) && is_quiet(&home));
    let report = home.json(["tick"]);
    assert_eq!(
        (&report["fired"], &report["errors"]),
        (&0.into(), &serde_json::json!([]))
    );
    let status = home.json(["status"]);
    assert!(status["last_tick_age_s"].as_i64().unwrap() < 60);
    assert!(is_quiet(&home), "to look changes nothing");
}

#[test]
fn whoever_writes_to_the_database_makes_the_next_tick_look() {
    let plain_sql = |home: &Home| home.sql("INSERT INTO task (method) VALUES ('Note:down')");
    let command = |home: &Home| drop(home.ok(["task", "add", "Note:down"]));
    let in_a_journal = |home: &Home| {
        home.sql("PRAGMA journal_mode = DELETE; INSERT INTO task (method) VALUES ('Note:down')");
    };
    let ways: [&dyn Fn(&Home); 3] = [&plain_sql, &command, &in_a_journal];
    let homes = ways.map(|write| {
        let home = looked_at();
        assert!(is_quiet(&home));
        write(&home);
        home
    });
    // Until then the time of the file tells nothing, and any tick looks.
    let age_of = |home: &Home| {
        let modified = home.db().metadata().unwrap().modified().unwrap();
        now() - modified.duration_since(UNIX_EPOCH).unwrap()
    };
    until("they are old", || {
        homes
            .iter()
            .all(|home| age_of(home) > Duration::from_millis(3100))
    });
    for home in homes {
        assert!(!is_quiet(&home));
        assert_eq!(home.lines("done"), ["done"]);
    }
}

#[test]
fn what_is_paused_is_not_looked_at_again() {
    let home = not_looked_at();
    home.timer_with("t", &["--reference", "deadline"], &["method=Note:down"]);
    let doc = home.document("A", "2026-01-01");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["task", "add", "Note:down"]);
    home.sql(
        "INSERT INTO schedule (name, cron, method, since_at) VALUES ('s', '@hourly', 'Note:down', '2026-01-01 00:00:00')",
    );
    let pauses = [
        &["pause"][..],
        &["pause", "method", "Note:down"],
        &["pause", "timer", "t"],
        &["pause", "schedule", "s"],
    ];
    for pause in pauses {
        home.ok(pause);
    }
    for _ in ["everything", "each by itself"] {
        age(&home);
        // This one puts aside what is paused, and the next one finds nothing to do.
        assert!(!is_quiet(&home));
        age(&home);
        assert!(!is_quiet(&home));
        assert!(is_quiet(&home));
        home.ok(["resume"]);
    }
    assert_eq!(home.lines("done").len(), 0);
}

#[test]
fn while_a_program_has_the_database_open_each_tick_looks() {
    let home = looked_at();
    let application = Connection::open(home.db()).unwrap();
    let run = |sql: &str| application.execute_batch(sql).unwrap();
    for round in 0..3 {
        run("SELECT count(*) FROM task");
        age(&home);
        assert!(!is_quiet(&home) && !is_quiet(&home));
        run("BEGIN; INSERT INTO task (method) VALUES ('Note:down')");
        assert!(!is_quiet(&home));
        assert_eq!(home.lines("done").len(), round, "it has not committed");
        run("COMMIT");
        assert!(!is_quiet(&home));
        assert_eq!(home.lines("done").len(), round + 1);
    }
}

#[test]
fn the_time_of_what_is_due_next_is_noted_as_the_end_of_the_quiet() {
    let home = not_looked_at();
    home.sql(
        "INSERT INTO task (method, run_at) VALUES ('Note:down', datetime('now', '+30 seconds'))",
    );
    age(&home);
    assert!(!is_quiet(&home), "no tick has looked yet");
    assert!(is_quiet(&home), "it is not due");
    let run_at: String = home.sql_value("SELECT run_at FROM task");
    let noted: Value = serde_json::from_str(&home.read("runner.db-tick")).unwrap();
    let until: String = home.sql_value(&format!(
        "SELECT datetime({}, 'unixepoch')",
        noted["quiet"]["until"]
    ));
    assert_eq!(until, run_at, "{noted}");
}

#[test]
fn what_a_program_that_died_has_committed_is_seen() {
    if !is_installed("python3") {
        return;
    }
    let home = looked_at();
    let script = "import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute(\"INSERT INTO task (method) VALUES ('Note:down')\")
db.commit()
os.kill(os.getpid(), 9)";
    let mut application = Command::new("python3");
    application.args(["-c", script]).arg(home.db());
    assert!(!application.status().unwrap().success());
    age_file(&home, "runner.db");
    assert!(!is_quiet(&home), "nobody has closed the database");
    assert_eq!(home.lines("done"), ["done"]);
}

#[test]
fn the_first_tick_of_an_hour_looks_in_any_case() {
    let home = looked_at();
    assert!(is_quiet(&home));
    let note: Value = serde_json::from_str(&home.read("runner.db-tick")).unwrap();
    let mut later = note.clone();
    later["quiet"]["until"] = (note["quiet"]["until"].as_i64().unwrap() + 3600).into();
    home.write("runner.db-tick", later.to_string());
    assert!(!is_quiet(&home));
    let mut ahead = note.clone();
    ahead["ended_at"] = (note["ended_at"].as_i64().unwrap() + 60).into();
    home.write("runner.db-tick", ahead.to_string());
    assert!(!is_quiet(&home), "the clock was set back");
    assert!(is_quiet(&home));
}

#[test]
fn what_refuses_a_database_or_is_to_be_told_does_so_in_quiet_ticks_too() {
    let home = looked_at();
    assert!(is_quiet(&home));
    fs::set_permissions(home.folder(), Permissions::from_mode(0o777)).unwrap();
    assert!(home.refused(["tick"]).contains("chmod o-w"));
    fs::set_permissions(home.folder(), Permissions::from_mode(0o755)).unwrap();
    assert!(is_quiet(&home));
    fs::hard_link(home.db(), home.path("other.db")).unwrap();
    assert!(home.refused(["tick"]).contains("hard links"));
    fs::remove_file(home.path("other.db")).unwrap();
    is_quiet(&home);
    assert!(is_quiet(&home));
    for note in ["no note of ours", &"longer than any of ours ".repeat(10)] {
        home.write("runner.db-tick", note);
        assert!(!is_quiet(&home));
        assert!(is_quiet(&home));
        assert!(home.json(["status"])["last_tick"].is_string());
    }
    home.write("runner.db-journal", "");
    assert!(!is_quiet(&home), "what is in the file may be undone");
}
