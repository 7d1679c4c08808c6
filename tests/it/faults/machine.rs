//! A machine that is short of something, or not what one thinks: the runner says so in a sentence or goes on, and nothing
//! is lost or run twice.
use std::collections::HashSet;
use std::fs;
use std::process::Command;

use crate::kit::faults::{is_long, tell};
use crate::kit::process::{Running, until};
use crate::kit::programs::{is_installed, write_program};
use crate::kit::runner::{Answer, Home};
use crate::kit::trace::{may_trace, tick_with};
use rustix::process::Signal;

/// A home with a method that writes down which task it does, and so many tasks for it.
fn with_tasks(tasks: usize) -> Home {
    let home = Home::new();
    home.method("m", "echo $RUNNER_TASK >> ran");
    home.write("tasks.jsonl", "{\"method\":\"m\"}\n".repeat(tasks));
    home.ok(["task", "add", "--batch", "tasks.jsonl"]);
    home
}

/// A command before which others stand, such as `prlimit`.
fn under(before: &[&str], command: &Command) -> Command {
    let mut whole = Command::new(before[0]);
    whole
        .args(&before[1..])
        .arg(command.get_program())
        .args(command.get_args());
    whole.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => whole.env(name, value),
            None => whole.env_remove(name),
        };
    }
    whole
}

fn run(mut command: Command) -> Answer {
    Answer::of(&format!("{command:?}"), command.output().unwrap())
}

/// The database is sound, a clean tick does what is left, and nothing was run twice.
fn assert_all_is_well(home: &Home, tasks: i64, after: &str) {
    home.run(["tick"]);
    home.ok(["tick"]);
    assert_eq!(
        home.sql_value::<String>("PRAGMA integrity_check"),
        "ok",
        "{after}"
    );
    let over: i64 = home.sql_value(
        "SELECT count(*) FROM task WHERE status IN ('COMPLETED', 'INTERRUPTED', 'FAILED')",
    );
    assert_eq!(over, tasks, "{after}");
    let completed: i64 = home.sql_value("SELECT count(*) FROM task WHERE status = 'COMPLETED'");
    let ran = home.lines("ran");
    let once: HashSet<&String> = ran.iter().collect();
    assert_eq!(once.len(), ran.len(), "{after}: {ran:?}");
    assert!(ran.len() >= usize::try_from(completed).unwrap(), "{after}");
}

#[test]
fn a_machine_with_few_open_files_is_told_so_and_loses_nothing() {
    if !is_installed("prlimit") {
        return;
    }
    let limits: Vec<u32> = match is_long() {
        true => (3..=24).collect(),
        false => vec![4, 7, 10, 13, 17],
    };
    for &limit in &limits {
        let home = with_tasks(3);
        let limited = format!("--nofile={limit}");
        let answer = run(under(&["prlimit", &limited], &home.command(["tick"])));
        assert!(answer.code() == 0 || !answer.err().is_empty(), "{limit}");
        assert!(
            !answer.err().contains("panicked"),
            "{limit}: {}",
            answer.err()
        );
        assert_all_is_well(&home, 3, &format!("{limit} open files"));
    }
    tell("three tasks: few open files", limits.len());
}

/// Without memory a program in Rust ends itself at once; what it had not committed was not done.
#[test]
fn a_machine_with_little_memory_loses_nothing() {
    if !is_installed("prlimit") {
        return;
    }
    let step = if is_long() { 1 } else { 12 };
    let limits: Vec<u32> = (4..80).step_by(step).collect();
    for &limit in &limits {
        let home = with_tasks(3);
        let limited = format!("--as={}", u64::from(limit) << 20);
        let mut tick = under(&["prlimit", &limited], &home.command(["tick"]));
        let _how = tick.output().unwrap();
        assert_all_is_well(&home, 3, &format!("{limit} MiB of memory"));
    }
    tell("three tasks: little memory", limits.len());
}

/// A disk that is really full, and then larger: what was acknowledged is there, and all goes on by itself.
#[test]
fn a_full_disk_is_told_and_what_was_acknowledged_is_there() {
    let home = Home::without_database();
    home.write(
        "fill.sh",
        r#"set -e
        mount -t tmpfs -o size=900k none disk
        cd disk
        "$RUNNER" init
        "$RUNNER" method set m -- /bin/true
        added=0
        while "$RUNNER" task add m -p text="$(printf '%4000s' x)" > ../id 2> ../said; do added=$(cat ../id); done
        echo "$added" > ../added
        "$RUNNER" task list > /dev/null && echo listed >> ../added
        mount -o remount,size=8m none .
        "$RUNNER" task add m > /dev/null
        "$RUNNER" tick
        "$RUNNER" --json status > ../status
        "#,
    );
    fs::create_dir(home.path("disk")).unwrap();
    let mut filling = Command::new("unshare");
    filling
        .args(["-rm", "sh", "fill.sh"])
        .current_dir(home.folder());
    filling.env("RUNNER", env!("CARGO_BIN_EXE_runner"));
    let answer = run(filling);
    let said = home.read("said");
    if said.is_empty() {
        // Not every machine lets one mount.
        return;
    }
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("the disk is full"), "{said}");
    assert_eq!(answer.ok(), "");
    let added = home.lines("added");
    assert_eq!(added[1..], ["listed"]);
    let status: serde_json::Value = serde_json::from_str(&home.read("status")).unwrap();
    let acknowledged: i64 = added[0].parse().unwrap();
    assert!(acknowledged > 0);
    assert_eq!(status["tasks"]["COMPLETED"], acknowledged + 1, "{status}");
}

/// Each container counts its processes from 1: whether a worker lives is not told by its pid.
#[test]
fn a_tick_in_another_container_is_not_taken_for_dead() {
    let home = Home::new();
    home.method(
        "m",
        "echo begun >> ran; until [ -e go ]; do sleep 0.05; done",
    );
    home.ok(["task", "add", "m"]);
    let inside = ["unshare", "-rpf", "--mount-proc"];
    if !run(under(&inside, &home.command(["status"])))
        .err()
        .is_empty()
    {
        return;
    }
    let tick = Running::new(under(&inside, &home.command(["tick"])));
    until("the handler is at work", || !home.lines("ran").is_empty());
    home.ok(["tick"]);
    run(under(&inside, &home.command(["tick"]))).ok();
    assert_eq!(home.status("1"), "RUNNING");
    home.write("go", "");
    tick.end().ok();
    assert_eq!(home.status("1"), "COMPLETED");
    assert_eq!(home.lines("ran"), ["begun"]);
}

/// After a reboot nobody knows what was started: what was claimed is interrupted, not run again.
#[test]
fn after_a_reboot_all_that_was_claimed_counts_as_begun() {
    let home = with_tasks(0);
    home.method("m", "echo $RUNNER_TASK >> ran; kill -9 $PPID; sleep 60");
    home.ok(["config", "set", "task.max_running", "1"]);
    home.ok(["task", "add", "m"]);
    let _killed = home.run(["tick"]);
    let lock = home.path("runner.db-worker-1");
    let content = fs::read_to_string(&lock)
        .unwrap_or_else(|_| String::from_utf8_lossy(&fs::read(&lock).unwrap()).into_owned());
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(content.contains(boot.trim()), "{content}");
    let bytes = fs::read(&lock).unwrap();
    let other = vec![b'0'; boot.trim().len()];
    let place = content.find(boot.trim()).unwrap();
    let rebooted = [&bytes[..place], &other, &bytes[place + other.len()..]].concat();
    // The note of the start never reached the disk either.
    fs::write(&lock, &rebooted[..64]).unwrap();
    let tick = home.run(["--json", "tick"]);
    assert_eq!(tick.json()["interrupted"], 1);
    assert_eq!(home.status("1"), "INTERRUPTED");
    assert_eq!(home.lines("ran"), ["1"]);
}

/// Cron gives five variables and no more, and starts in whatever folder it likes. Handlers find the runner all the same.
#[test]
fn crons_bare_environment_is_enough() {
    let home = with_tasks(1);
    home.method("m", "runner log error found && echo $RUNNER_TASK >> ran");
    let mut tick = Command::new(env!("CARGO_BIN_EXE_runner"));
    tick.args(["--db", home.db().to_str().unwrap(), "tick"])
        .current_dir("/")
        .env_clear();
    for (name, value) in [
        ("HOME", "/"),
        ("LOGNAME", "nobody"),
        ("PATH", "/usr/bin:/bin"),
        ("SHELL", "/bin/sh"),
        ("PWD", "/"),
    ] {
        tick.env(name, value);
    }
    run(tick).ok();
    assert_eq!(home.lines("ran"), ["1"]);
    assert_eq!(home.logs("1"), [("error".to_owned(), "found".to_owned())]);
}

/// A clock that is set back repeats nothing, and one that is set forward skips what is too late, once.
#[test]
fn a_clock_that_jumps_fires_nothing_twice() {
    let mut home = Home::new().at("2026-04-10");
    home.timer_with(
        "t",
        &["--reference", "deadline"],
        &[
            "delay=0, iterations=3, state=late",
            "delay=1d, iterations=2, limit=2h, state=later",
        ],
    );
    let doc = home.document("A", "2026-04-10");
    home.ok(["timer", "attach", "t", &doc]);
    let counted = |home: &Home| {
        let tick = home.json(["tick"]);
        (
            tick["fired"].as_i64().unwrap(),
            tick["skipped"].as_i64().unwrap(),
        )
    };
    assert_eq!(counted(&home), (3, 0));
    home.set_now("2026-04-09T23:00");
    assert_eq!(counted(&home), (0, 0));
    home.set_now("2025-04-10");
    assert_eq!(counted(&home), (0, 0));
    home.set_now("2026-04-11T00:30");
    assert_eq!(counted(&home), (1, 0));
    home.set_now("2027-04-11");
    assert_eq!(counted(&home), (0, 1));
    home.set_now("2026-04-12");
    assert_eq!(counted(&home), (0, 0));
    assert_eq!(home.state(&doc), "later");
}

/// A copy that is made while ticks run is whole.
#[test]
fn a_copy_that_is_made_while_ticks_run_is_sound() {
    let home = with_tasks(300);
    let ticks = [home.start(["tick"]), home.start(["tick"])];
    let rounds = if is_long() { 100 } else { 10 };
    for round in 0..rounds {
        let copy = home.path(&format!("copy-{round}.db"));
        home.sql(&format!("VACUUM INTO '{}'", copy.display()));
        let connection = rusqlite::Connection::open(&copy).unwrap();
        let look =
            |query: &str| -> i64 { connection.query_row(query, [], |row| row.get(0)).unwrap() };
        assert_eq!(
            look("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
            0
        );
        assert_eq!(look("SELECT count(*) FROM task"), 300);
        assert_eq!(
            look(
                "SELECT count(*) FROM task WHERE (status = 'COMPLETED') <> (exit_code IS 0 AND ended_at IS NOT NULL)"
            ),
            0
        );
        fs::remove_file(&copy).unwrap();
    }
    for tick in ticks {
        tick.end().ok();
    }
    assert_eq!(home.lines("ran").len(), 300);
    tell("300 tasks: copies in their midst", rounds);
}

/// A tick that is stopped in the middle of a write holds the others up no longer than they are patient, and when it goes on
/// it changes nothing that is not its own any more.
#[test]
#[ignore = "it waits for the 5 seconds that a command is patient, or the 10 that SQLite is"]
fn a_tick_that_is_stopped_in_the_middle_of_a_write_harms_nobody() {
    if !may_trace() {
        return;
    }
    for place in [2, 6, 10] {
        let home = with_tasks(2);
        let stopped = std::thread::scope(|scope| {
            let tick = scope.spawn(|| tick_with(&home, "pwrite64", "signal=SIGSTOP", place));
            let mut pid = None;
            until("the tick is stopped", || {
                pid = stopped_runner(&home);
                pid.is_some() || tick.is_finished()
            });
            if let Some(pid) = pid {
                let other = home.run(["task", "add", "m"]);
                if other.code() != 0 {
                    assert!(
                        other
                            .refused()
                            .contains("another program held the database")
                    );
                }
                crate::kit::process::send(pid, Signal::CONT);
                // Each thread is stopped at its own write of this number.
                until("the tick has ended", || {
                    if let Some(pid) = stopped_runner(&home) {
                        crate::kit::process::send(pid, Signal::CONT);
                    }
                    tick.is_finished()
                });
            }
            tick.join().unwrap()
        });
        assert!(stopped.is_none_or(|answer| answer.code() == 0));
        let tasks: i64 = home.sql_value("SELECT count(*) FROM task");
        assert_all_is_well(&home, tasks, &format!("stopped at write {place}"));
    }
}

/// The process of a traced tick in this folder, once it is stopped.
fn stopped_runner(home: &Home) -> Option<i32> {
    if !home.read("calls").contains("--- stopped by SIGSTOP ---") {
        return None;
    }
    let folder = home.folder().canonicalize().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let at = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        at == folder && name.trim() == "runner"
    })
}

/// A program that is replaced by another while it is to run is that other, and one that is gone fails its task alone.
#[test]
fn a_handler_that_is_gone_fails_its_task_alone() {
    let home = with_tasks(1);
    home.method("gone", "true");
    home.ok(["task", "add", "gone", "--priority", "1"]);
    fs::remove_file(home.path("gone.sh")).unwrap();
    let tick = home.run(["--json", "tick"]).json();
    assert_eq!(
        (
            tick["tasks"]["failed"].as_i64(),
            tick["tasks"]["completed"].as_i64()
        ),
        (Some(1), Some(1))
    );
    write_program(&home.path("gone.sh"), "true");
    home.ok(["task", "restart", "2"]);
    home.ok(["tick"]);
    assert_eq!(home.status("2"), "COMPLETED");
}
