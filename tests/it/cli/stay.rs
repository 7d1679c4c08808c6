//! `tick --for D` stays, and starts what comes within a second (`docs/administration.md`, "Starting within a second").

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::kit::process::until;
use crate::kit::programs::Bin;
use crate::kit::runner::Home;

fn home() -> Home {
    let home = Home::new();
    home.method("m", "echo $RUNNER_TASK >> ran");
    home
}

#[test]
fn what_comes_is_started_within_a_second() {
    let home = home();
    home.timer_with("t", &["--while-state", "late"], &["method=m"]);
    let tick = home.start(["tick", "--for", "20s"]);
    let mut expected = 0;
    let mut comes = |what: &str, within: Duration| {
        expected += 1;
        let since = Instant::now();
        until(what, || home.lines("ran").len() == expected);
        // Twice as long on a machine that is busy with other tests.
        assert!(
            since.elapsed() < 2 * within,
            "{what}: {:?}",
            since.elapsed()
        );
    };
    home.ok(["task", "add", "m"]);
    comes("a task", Duration::from_secs(1));
    home.sql("INSERT INTO task (method) VALUES ('m')");
    comes("a task by SQL", Duration::from_secs(1));
    home.ok(["task", "add", "m", "--at", "+2s"]);
    comes("a task with its time", Duration::from_secs(3));
    home.ok(["doc", "add", "--state", "late"]);
    comes("a level", Duration::from_secs(1));
    home.ok(["schedule", "set", "s", "--every", "2s", "m"]);
    comes("an occurrence", Duration::from_secs(3));
    home.ok(["schedule", "remove", "s"]);
    tick.signal(Signal::TERM);
    assert_eq!(tick.end().code(), 1);
}

#[test]
fn it_leaves_after_its_time_when_nothing_runs() {
    let home = home();
    let since = Instant::now();
    home.ok(["tick", "--for", "2s"]);
    assert!(since.elapsed() >= Duration::from_secs(2));
    assert!(home.json(["status"])["last_tick"].is_string());
}

#[test]
fn after_its_time_it_starts_nothing_new_and_waits_for_what_runs() {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "1"]);
    home.method("slow", "sleep 3; echo $RUNNER_TASK >> ran");
    for _ in 0..2 {
        home.ok(["task", "add", "slow"]);
    }
    home.ok(["tick", "--for", "1s"]);
    assert_eq!(home.lines("ran"), ["1"]);
    assert_eq!(home.status("2"), "TO_RUN");
}

#[test]
fn two_of_them_overlap_without_harm() {
    let home = home();
    let ticks = [(), ()].map(|()| home.start(["tick", "--for", "4s"]));
    for _ in 0..30 {
        home.ok(["task", "add", "m"]);
    }
    for tick in ticks {
        tick.end().ok();
    }
    let mut ran = home.lines("ran");
    ran.sort_by_key(|id| id.parse::<u32>().unwrap());
    let all: Vec<String> = (1..=30).map(|id: u32| id.to_string()).collect();
    assert_eq!(ran, all);
}

#[test]
fn sigterm_ends_it_as_any_tick() {
    let home = Home::new();
    home.method("slow", "touch began; sleep 600");
    for has_work in [false, true] {
        let tick = home.start(["tick", "--for", "1h"]);
        if has_work {
            home.ok(["task", "add", "slow"]);
            until("it has begun", || home.path("began").exists());
        } else {
            sleep(Duration::from_millis(1500));
        }
        let since = Instant::now();
        tick.signal(Signal::TERM);
        assert_eq!(tick.end().code(), 1, "{has_work}");
        assert!(since.elapsed() < Duration::from_secs(8), "{has_work}");
    }
    assert_eq!(home.status("1"), "INTERRUPTED");
}

#[test]
fn a_resident_handler_stays_and_one_that_has_died_is_started_again() {
    let home = Home::new();
    let script = r#"while read -r task; do
            echo $$ >> ran
            id=${task#*\"task\":}
            echo "{\"type\":\"done\",\"task\":${id%%,*},\"ok\":true}"
        done"#;
    home.method_with("r", &["--resident"], script);
    let tick = home.start(["tick", "--for", "30s"]);
    for count in 1..=2 {
        home.ok(["task", "add", "r"]);
        until("it has run", || home.lines("ran").len() == count);
    }
    let pids = home.lines("ran");
    assert_eq!(pids[0], pids[1]);
    until("it is at rest", || home.status("2") == "COMPLETED");
    crate::kit::process::send(pids[0].parse().unwrap(), Signal::KILL);
    home.ok(["task", "add", "r"]);
    until("it has run", || home.lines("ran").len() == 3);
    until("it is at rest", || home.status("3") == "COMPLETED");
    tick.signal(Signal::TERM);
    tick.end();
}

/// Its share of a core is far below 0.1 % (`docs/administration.md` says the figure); a debug build of many tests at once
/// is held to less.
#[test]
fn while_nothing_comes_it_costs_next_to_nothing() {
    let home = home();
    let tick = home.start(["tick", "--for", "1h"]);
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{}/schedstat", tick.pid())).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    };
    sleep(Duration::from_secs(2));
    let Some(before) = used() else { return };
    sleep(Duration::from_secs(5));
    let share = (used().unwrap() - before) as f64 / 5e9;
    assert!(share < 0.005, "{share}");
}

#[test]
fn a_time_that_stands_still_or_none_is_refused() {
    let home = home();
    for wrong in [
        &["--now", "2026-01-01", "tick", "--for", "55s"][..],
        &["tick", "--for", "55s", "--dry-run"],
        &["tick", "--for", "0"],
        &["tick", "--for", "-5s"],
        &["tick", "--for", "soon"],
        &["crontab", "--for", "soon"],
    ] {
        assert_eq!(home.run(wrong).code(), 2, "{wrong:?}");
    }
}

#[test]
fn the_crontab_entry_is_replaced_whether_its_tick_stays_or_not() {
    let home = home();
    let bin = Bin::new(&home);
    bin.crontab("a\n");
    let home = home.env("PATH", bin.path().to_str().unwrap());
    for options in [
        &["--for", "55s"][..],
        &["--for", "1m30s"],
        &[],
        &["--for", "55s"],
    ] {
        home.ok([&["crontab", "--install"], options].concat());
        let entry = home.ok([&["crontab"], options].concat());
        assert_eq!(bin.installed().unwrap(), format!("a\n{entry}\n"));
        let end = [&["tick"], options, &["# runner"]].concat().join(" ");
        assert!(entry.ends_with(&end), "{entry}");
    }
}
