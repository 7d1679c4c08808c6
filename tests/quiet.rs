//! Most ticks find nothing to do. After one of them, the next ones need not open the database, until somebody writes to it
//! or something becomes due; and nothing ever waits because of that.

#![allow(clippy::unwrap_used)]

mod kit;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kit::process::until;
use kit::runner::Home;
use runner::store::file::Files;
use runner::store::stamp::Stamp;
use runner::tick::quiet_tick;
use runner::time::{Clock, Timestamp};
use rusqlite::Connection;

/// What a tick says, when it is to say more, that did not open the database.
const QUIET: &str = "nobody has written to the database since the last tick";

/// A database in which nothing is due, and that no tick has looked at. The first tick of an hour looks in any case, so that
/// no test may go on in the next one.
fn not_looked_at() -> Home {
    let left_of_hour = || 3600 - now().as_secs() % 3600;
    until("the hour is over", || left_of_hour() > 20);
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

fn now() -> Duration {
    Clock::system().since(UNIX_EPOCH).unwrap()
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
    for write in ways {
        let home = looked_at();
        assert!(is_quiet(&home));
        write(&home);
        age(&home);
        assert!(!is_quiet(&home));
        assert_eq!(home.lines("done"), ["done"]);
    }
}

#[test]
fn a_program_that_keeps_the_database_open_is_noticed_by_each_of_its_commits() {
    let home = looked_at();
    let application = Connection::open(home.db()).unwrap();
    let run = |sql: &str| application.execute_batch(sql).unwrap();
    for round in 0..5 {
        // What is committed next is written over what was, so that the log is as long as before.
        run("PRAGMA wal_checkpoint(RESTART)");
        age(&home);
        is_quiet(&home);
        run("SELECT count(*) FROM task");
        assert!(is_quiet(&home), "it has only read");
        run("BEGIN; INSERT INTO task (method) VALUES ('Note:down')");
        assert!(is_quiet(&home), "it has not committed");
        run("COMMIT");
        age_file(&home, "runner.db-wal");
        assert!(!is_quiet(&home));
        assert_eq!(home.lines("done").len(), round + 1);
    }
}

#[test]
fn a_commit_in_the_midst_of_a_tick_is_seen_by_the_next_one() {
    let home = looked_at();
    let application = Connection::open(home.db()).unwrap();
    application.busy_timeout(Duration::from_secs(5)).unwrap();
    for round in 1..=40 {
        age(&home);
        is_quiet(&home);
        // That tick ran the task of the round before. This one looks again, as somebody has the database open.
        let tick = home.start(["tick"]);
        application
            .execute_batch("INSERT INTO task (method) VALUES ('Note:down')")
            .unwrap();
        tick.end().ok();
        age(&home);
        home.ok(["tick"]);
        assert_eq!(home.lines("done").len(), round);
    }
}

#[test]
fn what_becomes_due_by_itself_is_done_in_time() {
    let home = not_looked_at();
    let files = Files::of(&home.db());
    let clock = Clock::system();
    let stamp = Stamp::of(&files, &clock).unwrap();
    let at = |time: Timestamp| {
        quiet_tick(&files, &Clock::fixed(time), stamp)
            .unwrap()
            .is_some()
    };
    assert!(!at(clock.start()), "no tick has looked yet");
    home.ok(["tick"]);
    let last = clock.now();
    let later = |seconds: i64| last.plus_seconds(seconds).unwrap();
    let hour = Timestamp::from_unix((last.unix() / 3600 + 1) * 3600).unwrap();
    assert!(at(last));
    assert!(at(hour.plus_seconds(-1).unwrap()));
    assert!(!at(hour), "the first of an hour looks in any case");
    assert!(!at(later(-1)), "the clock was set back");
}

#[test]
fn a_task_a_level_or_a_mail_that_waits_for_its_time_is_not_forgotten() {
    let waits = [
        "INSERT INTO task (method, run_at) VALUES ('Note:down', datetime('now', '+2 seconds'))",
        "INSERT INTO document (title) VALUES ('Soon');
         INSERT INTO attachment (timer_id, document_id, counted_from, due_at, stale)
         VALUES (1, 1, datetime('now'), datetime('now', '+2 seconds'), 0)",
        "INSERT INTO mail (\"from\", \"to\", subject, body, run_at, message_id)
         VALUES ('a@example.org', json_array('b@example.org'), 'Soon', '', datetime('now', '+2 seconds'), '<1@example.org>')",
    ];
    for sql in waits {
        let home = not_looked_at();
        home.ok([
            "timer",
            "set",
            "soon",
            "--action",
            "delay=2s, method=Note:down",
        ]);
        home.sql(sql);
        age(&home);
        let files = Files::of(&home.db());
        let stamp = Stamp::of(&files, &Clock::system()).unwrap();
        home.ok(["tick"]);
        let at = |seconds: i64| {
            let time = Clock::system().start().plus_seconds(seconds).unwrap();
            quiet_tick(&files, &Clock::fixed(time), stamp)
                .unwrap()
                .is_some()
        };
        assert!(!at(3), "{sql}");
    }
}

#[test]
fn nothing_is_taken_for_known_that_the_files_cannot_tell() {
    let home = looked_at();
    let files = Files::of(&home.db());
    let stamp = || Stamp::of(&files, &Clock::system());
    let known = stamp();
    assert_eq!(stamp(), known);
    assert_eq!(
        Stamp::of(&files, &Clock::fixed(Clock::system().start())),
        None
    );
    let modified = |time: SystemTime| {
        let file = File::options().write(true).open(home.db()).unwrap();
        file.set_modified(time).unwrap();
    };
    modified(UNIX_EPOCH + now());
    assert_eq!(stamp(), None, "it was changed a moment ago");
    modified(UNIX_EPOCH + now() + Duration::from_secs(60));
    assert_eq!(stamp(), None, "its time is yet to come");
    modified(UNIX_EPOCH + Duration::from_secs(1_775_804_400));
    assert_eq!(stamp(), None, "its times may be counted in seconds");
    age(&home);
    assert!(stamp().is_some_and(|stamp| Some(stamp) != known));
    home.write("runner.db-journal", "");
    assert_eq!(stamp(), None, "what is in the file may be undone");
    assert_eq!(
        Stamp::of(&Files::of(Path::new("none.db")), &Clock::system()),
        None
    );
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
    home.write("runner.db-failure", "the disk is full");
    assert!(!is_quiet(&home), "the last run failed as a whole");
    fs::remove_file(home.path("runner.db-failure")).unwrap();
    home.write("runner.db-tick", "no note of ours");
    assert!(!is_quiet(&home));
    assert!(is_quiet(&home));
}
