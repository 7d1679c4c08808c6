//! What dies in the middle, and what runs at the same time.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use crate::kit::process::{Running, is_alive, until};
use crate::kit::runner::Home;
use rustix::process::Signal;
use serde_json::json;

const ENDLESS: &str = "echo $$ > pid; exec sleep 300";

/// A home where this command runs a task of method `m`, which has begun.
fn running(options: &[&str], script: &str, command: &[&str]) -> (Home, Running) {
    let home = Home::new();
    home.method_with("m", options, script);
    home.ok(["task", "add", "m"]);
    let runner = home.start(command);
    until("the handler has begun", || home.read("pid").ends_with('\n'));
    (home, runner)
}

fn handler(home: &Home) -> i32 {
    home.read("pid").trim().parse().unwrap()
}

/// How often each task was run, by the handlers' own ledger.
fn ledger(home: &Home) -> BTreeMap<String, u32> {
    let mut ran = BTreeMap::new();
    for task in home.lines("ran") {
        *ran.entry(task).or_default() += 1;
    }
    ran
}

fn assert_sound(home: &Home) {
    assert_eq!(home.sql_value::<String>("PRAGMA integrity_check"), "ok");
    let broken: i64 = home.sql_value("SELECT count(*) FROM pragma_foreign_key_check");
    let workers: i64 = home.sql_value("SELECT count(*) FROM worker");
    let running: i64 = home.sql_value("SELECT count(*) FROM task WHERE status = 'RUNNING'");
    assert_eq!((broken, workers, running), (0, 0, 0));
    let beside = std::fs::read_dir(home.folder()).unwrap();
    let mut names = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.find(|name| name.contains("-worker-")), None);
}

#[test]
fn a_handler_that_outlives_its_tick_has_all_of_its_input() {
    let home = Home::new();
    home.method(
        "m",
        "echo $$ > pid; while ! [ -e go ]; do sleep 0.02; done; wc -c > part; mv part read",
    );
    let params = home.write("params", format!("[\"{}\"]", "x".repeat(1_000_000)));
    home.ok([
        "task",
        "add",
        "m",
        "--params",
        &format!("@{}", params.display()),
    ]);
    let tick = home.start(["tick"]);
    until("the handler has begun", || home.read("pid").ends_with('\n'));
    tick.kill();
    home.write("go", "");
    until("the handler has read", || home.path("read").exists());
    let read: usize = home.read("read").trim().parse().unwrap();
    assert!(read > 1_000_000, "{read}");
}

#[test]
fn the_task_of_a_killed_tick_is_interrupted_by_the_next_one_at_once() {
    for command in [&["tick"][..], &["task", "run", "1"]] {
        let (home, runner) = running(&[], ENDLESS, command);
        runner.kill();
        assert_eq!(home.status("1"), "RUNNING", "nobody has looked yet");
        let tick = home.run(["--json", "tick"]);
        assert!(!is_alive(handler(&home)));
        assert_eq!(tick.code(), 1);
        assert_eq!(tick.json()["interrupted"], 1);
        assert!(
            tick.err()
                .ends_with("task 1 (m) was interrupted: its runner died"),
            "{}",
            tick.err()
        );
        let task = home.task("1");
        assert_eq!(
            (&task["status"], &task["attempt"]),
            (&json!("INTERRUPTED"), &json!(1))
        );
        assert_eq!(
            home.logs("1").last().unwrap().1,
            "the runner that ran this task died, or the machine did"
        );
        assert_eq!(home.ok(["tick"]), "", "it is told once");
        assert_sound(&home);
    }
}

/// Whatever a handler did with its group and its environment.
#[test]
fn what_a_killed_tick_had_started_is_ended_before_anything_is_tried_again() {
    for script in [
        "exec sleep 300",
        "trap '' TERM; sleep 300; true",
        "exec env -i sleep 300",
        "setsid sleep 300 & echo $! >> pids; wait",
        "(sleep 300 & echo $! >> pids; wait)",
    ] {
        let home = Home::new();
        home.method(
            "m",
            &format!(
                "for pid in $(cat pids); do grep -qs 'State:.[RSD]' /proc/$pid/status && echo $pid >> overlaps; done
[ -e again ] && exit 0; echo $$ >> pids; echo > begun; {script}"
            ),
        );
        home.ok(["task", "add", "m"]);
        let tick = home.start(["tick"]);
        let several = script.contains("pids");
        until("the handler has begun", || {
            home.lines("pids").len() == 1 + usize::from(several)
        });
        tick.kill();
        home.write("again", "");
        home.run(["task", "run", "1"]);
        assert_eq!(home.status("1"), "COMPLETED", "{script}");
        assert_eq!(home.read("overlaps"), "", "{script}");
        for pid in home.lines("pids") {
            assert!(!is_alive(pid.parse().unwrap()), "{script}");
        }
    }
}

#[test]
fn a_handler_of_a_killed_tick_that_has_ended_by_itself_was_run_once() {
    let (home, tick) = running(&[], "echo $$ > pid; echo >> ran", &["tick"]);
    tick.kill();
    home.run(["tick"]);
    home.run(["tick"]);
    assert_eq!(home.lines("ran").len(), 1);
}

#[test]
fn a_task_with_retries_is_tried_again_after_its_runner_died() {
    let (home, tick) = running(&["--retries", "1"], ENDLESS, &["tick"]);
    tick.kill();
    assert!(
        home.run(["tick"])
            .refused()
            .contains("it is tried again at")
    );
    assert_eq!(home.status("1"), "TO_RUN");
}

#[test]
fn a_task_that_somebody_ended_is_not_tried_again_when_its_runner_died_over_it() {
    for (stop, status, told) in [("stop", "INTERRUPTED", 1), ("cancel", "CANCELLED", 0)] {
        let (home, tick) = running(&["--retries", "3"], ENDLESS, &["tick"]);
        tick.signal(Signal::STOP);
        home.sql(&format!("UPDATE task SET stop_requested = '{stop}'"));
        tick.kill();
        let answer = home.run(["tick"]);
        assert_eq!(answer.code(), told, "{}", answer.err());
        assert!(!answer.err().contains("tried again"), "{}", answer.err());
        let task = home.task("1");
        assert_eq!(
            (&task["status"], &task["run_at"]),
            (&json!(status), &json!(null))
        );
        assert_eq!(home.ok(["tick"]), "", "there is nothing left to run");
    }
}

#[test]
fn the_task_commands_notice_a_dead_runner_too() {
    for (command, code, status) in [
        ("restart", 0, "TO_RUN"),
        ("cancel", 1, "INTERRUPTED"),
        ("run", 1, "FAILED"),
    ] {
        let (home, tick) = running(&[], ENDLESS, &["tick"]);
        tick.kill();
        home.method("m", "exit 1");
        assert_eq!(home.run(["task", command, "1"]).code(), code, "{command}");
        assert_eq!(home.status("1"), status, "{command}");
    }
}

#[test]
fn what_a_dead_tick_had_claimed_and_not_started_runs_as_if_nothing_had_been() {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "1"]);
    home.method(
        "m",
        "echo $RUNNER_TASK >> ran; [ $RUNNER_TASK -ne 21 ] || [ -e go ] || exec sleep 300",
    );
    home.write("many.jsonl", "{\"method\":\"m\"}\n".repeat(40));
    home.ok(["task", "add", "--batch", "many.jsonl"]);
    let tick = home.start(["tick"]);
    until(
        "task 21 has begun, and the ends of those before it are noted",
        || {
            home.lines("ran").contains(&"21".to_owned())
                && home.sql_value::<i64>("SELECT count(*) FROM task WHERE status = 'COMPLETED'")
                    == 20
        },
    );
    tick.kill();
    home.write("go", "");
    let tick = home.json(["tick"]);
    assert_eq!(tick["interrupted"], 1, "only one had begun: {tick}");
    let again = home.json(["task", "list", "--status", "INTERRUPTED"]);
    assert_eq!(again[0]["id"], 21);
    let attempts: i64 = home.sql_value("SELECT max(attempt) FROM task");
    assert_eq!(attempts, 1);
    assert_eq!(
        home.json(["task", "list", "--status", "COMPLETED"])
            .as_array()
            .unwrap()
            .len(),
        39
    );
    assert!(
        ledger(&home).values().all(|times| *times == 1),
        "{:?}",
        ledger(&home)
    );
    assert_sound(&home);
}

#[test]
fn a_tick_that_lives_is_never_taken_for_dead() {
    let (home, tick) = running(
        &[],
        "echo $$ > pid; until [ -e go ]; do sleep 0.02; done",
        &["tick"],
    );
    for _ in 0..3 {
        assert_eq!(home.ok(["tick"]), "");
    }
    assert_eq!(home.status("1"), "RUNNING");
    home.write("go", "");
    assert_eq!(tick.end().ok(), "");
    let task = home.task("1");
    assert_eq!(
        (&task["status"], &task["attempt"], &task["logs"]),
        (&json!("COMPLETED"), &json!(1), &json!([]))
    );
}

#[test]
fn a_tick_that_was_stopped_for_a_while_is_not_dead_either() {
    let (home, tick) = running(
        &[],
        "echo $$ > pid; until [ -e go ]; do sleep 0.02; done",
        &["tick"],
    );
    tick.signal(Signal::STOP);
    assert_eq!(home.ok(["tick"]), "");
    home.write("go", "");
    tick.signal(Signal::CONT);
    assert_eq!(tick.end().ok(), "");
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
fn a_late_end_counts_only_while_the_attempt_is_the_runners_own() {
    let (home, tick) = running(
        &[],
        "echo $$ > pid; until [ -e go ]; do sleep 0.02; done",
        &["tick"],
    );
    home.sql("UPDATE task SET status = 'INTERRUPTED', worker_id = NULL");
    home.write("go", "");
    tick.end();
    assert_eq!(home.status("1"), "INTERRUPTED");
}

#[test]
fn a_long_task_does_not_hold_up_the_tasks_of_the_next_tick() {
    let (home, tick) = running(
        &[],
        "echo $$ > pid; until [ -e go ]; do sleep 0.02; done",
        &["tick"],
    );
    home.ok(["config", "set", "task.max_running", "2"]);
    home.method("short", "exit 0");
    home.ok(["task", "add", "short"]);
    home.ok(["tick"]);
    assert_eq!(
        [home.status("1"), home.status("2")],
        ["RUNNING", "COMPLETED"]
    );
    home.write("go", "");
    tick.end().ok();
}

#[test]
fn sixteen_ticks_at_once_run_each_task_once() {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "4"]);
    home.method("m", "echo $RUNNER_TASK >> ran");
    home.write("many.jsonl", "{\"method\":\"m\"}\n".repeat(100));
    home.ok(["task", "add", "--batch", "many.jsonl"]);
    let ticks: Vec<_> = (0..16).map(|_| home.start(["tick"])).collect();
    for tick in ticks {
        assert_eq!(tick.end().ok(), "");
    }
    let ran = ledger(&home);
    assert_eq!(ran.len(), 100);
    assert!(ran.values().all(|times| *times == 1), "{ran:?}");
    assert_sound(&home);
}

#[test]
fn sixteen_runs_of_one_task_at_once_run_it_once() {
    let home = Home::new();
    home.method(
        "m",
        "echo $RUNNER_TASK >> ran; until [ -e go ]; do sleep 0.02; done",
    );
    home.ok(["task", "add", "m"]);
    let runs: Vec<_> = (0..16).map(|_| home.start(["task", "run", "1"])).collect();
    until("all but one have ended", || {
        runs.iter().filter(|run| is_alive(run.pid())).count() == 1
    });
    home.write("go", "");
    let answers: Vec<_> = runs.into_iter().map(Running::end).collect();
    assert_eq!(
        answers.iter().filter(|answer| answer.code() == 0).count(),
        1
    );
    for answer in answers.iter().filter(|answer| answer.code() != 0) {
        assert_eq!(answer.refused(), "runner: task 1: it is running already");
    }
    assert_eq!(ledger(&home), BTreeMap::from([("1".to_owned(), 1)]));
}

#[test]
fn tasks_that_are_added_while_ticks_run_are_all_run() {
    let home = Home::new();
    home.method("m", "echo $RUNNER_TASK >> ran");
    let adds: Vec<_> = (0..8).map(|_| home.start(["task", "add", "m"])).collect();
    let ticks: Vec<_> = (0..8).map(|_| home.start(["tick"])).collect();
    adds.into_iter().chain(ticks).for_each(|command| {
        command.end().ok();
    });
    home.ok(["tick"]);
    assert_eq!(ledger(&home).len(), 8);
    assert!(ledger(&home).values().all(|times| *times == 1));
}

#[test]
fn kills_at_any_moment_leave_a_sound_database_and_run_nothing_twice() {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "2"]);
    home.method("m", "echo $RUNNER_TASK >> ran");
    home.write("many.jsonl", "{\"method\":\"m\"}\n".repeat(60));
    home.ok(["task", "add", "--batch", "many.jsonl"]);
    for kills in 0..12_u32 {
        let tick = home.start(["tick"]);
        // Each time a little later in its life, by what it has done and not by a clock.
        until("it is so far", || {
            home.lines("ran").len() as u32 >= kills * 4 || !is_alive(tick.pid())
        });
        tick.kill();
    }
    home.run(["tick"]);
    home.run(["tick"]);
    let ran = ledger(&home);
    assert!(
        ran.values().all(|times| *times == 1),
        "no task has retries: {ran:?}"
    );
    let (completed, interrupted): (i64, i64) = (
        home.sql_value("SELECT count(*) FROM task WHERE status = 'COMPLETED'"),
        home.sql_value("SELECT count(*) FROM task WHERE status = 'INTERRUPTED'"),
    );
    assert_eq!(completed + interrupted, 60);
    assert!(ran.len() as i64 >= completed, "what is COMPLETED has run");
    assert_sound(&home);
}

#[test]
fn a_handler_that_kills_its_runner_is_interrupted() {
    let home = Home::new();
    home.method("m", "kill -9 $PPID");
    home.ok(["task", "add", "m"]);
    let tick = home.start(["tick"]);
    until("the tick is gone", || !is_alive(tick.pid()));
    drop(tick);
    home.run(["tick"]).refused();
    assert_eq!(home.status("1"), "INTERRUPTED");
}

#[test]
fn a_handler_that_signals_its_group_does_not_reach_the_runner() {
    let home = Home::new();
    home.method("m", "kill 0; sleep 300");
    home.ok(["task", "add", "m"]);
    let told = home.run(["tick"]).refused();
    assert!(told.contains("killed by signal 15 (SIGTERM)"), "{told}");
}

#[test]
fn the_files_of_a_dead_tick_are_cleaned_up_by_the_next_one() {
    let home = Home::new();
    home.method(
        "m",
        "dirname \"$RUNNER_FILE\" > laid; echo $$ > pid; exec sleep 300",
    );
    home.write("members.csv", "Ada\n");
    home.ok(["task", "add", "m", "--file", "members.csv"]);
    let tick = home.start(["tick"]);
    until("the handler has begun", || home.read("pid").ends_with('\n'));
    let laid = std::path::PathBuf::from(home.read("laid").trim());
    assert!(laid.is_dir());
    let found = std::fs::metadata(home.db()).unwrap();
    let named = format!("runner-{}-{}-", found.dev(), found.ino());
    let name = laid.file_name().unwrap().to_str().unwrap();
    assert!(
        name.starts_with(&named),
        "a database on another disk may have the same number: {name}"
    );
    tick.kill();
    home.run(["tick"]);
    assert!(!laid.exists());
}

#[test]
fn the_lock_file_of_a_tick_that_died_when_it_had_signed_off_is_removed() {
    let home = Home::new();
    home.method("m", "exit 0");
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    home.write("runner.db-worker-1", "");
    home.write("runner.db-worker-2", "");
    home.sql("UPDATE sqlite_sequence SET seq = 2 WHERE name = 'worker'");
    let held = std::fs::File::open(home.path("runner.db-worker-2")).unwrap();
    held.lock().unwrap();
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    assert!(!home.path("runner.db-worker-1").exists());
    assert!(home.path("runner.db-worker-2").exists(), "somebody lives");
}

#[test]
fn a_tick_that_may_not_look_at_the_lock_of_a_worker_takes_it_for_alive() {
    let home = Home::new();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    home.method("m", ENDLESS);
    home.ok(["task", "add", "m"]);
    let tick = home.start(["tick"]);
    until("the handler has begun", || home.read("pid").ends_with('\n'));
    for name in ["", "runner.db", "runner.db-wal", "runner.db-shm"] {
        std::os::unix::fs::chown(home.path(name), Some(65534), Some(65534)).unwrap();
    }
    let runner = home.path("runner");
    // By another process: were it open for writing in this one, a child that another test starts at this moment would hold
    // it open too, and it could not be started yet.
    let mut copy = std::process::Command::new("cp");
    copy.arg(env!("CARGO_BIN_EXE_runner")).arg(&runner);
    assert!(copy.status().unwrap().success());
    let mut other = std::process::Command::new(&runner);
    std::os::unix::process::CommandExt::uid(&mut other, 65534);
    other.arg("tick").current_dir(home.folder());
    let answer = Running::new(other).end();
    assert_eq!(answer.code(), 0, "{}", answer.err());
    assert!(
        answer.err().contains("it is taken for alive"),
        "{}",
        answer.err()
    );
    assert_eq!(home.status("1"), "RUNNING");
    tick.kill();
}
