//! Ending tasks and taking them up again: time limits, stop, cancel, restart, delete, and a tick that is shut down.

use crate::kit::process::{Running, is_alive, until};
use crate::kit::programs::is_installed;
use crate::kit::runner::Home;
use rustix::process::Signal;
use serde_json::json;

/// A handler that notes its process and then runs for as long as it may.
const ENDLESS: &str = "echo $$ > pid; exec sleep 300";

/// A home where a tick runs a task of this script, which has begun.
fn running(script: &str) -> (Home, Running) {
    let home = Home::new();
    home.method("m", script);
    home.ok(["task", "add", "m", "--retries", "2"]);
    let tick = home.start(["tick"]);
    until("the handler has begun", || home.read("pid").ends_with('\n'));
    (home, tick)
}

fn handler(home: &Home) -> i32 {
    home.read("pid").trim().parse().unwrap()
}

fn last_log(home: &Home) -> String {
    home.logs("1")
        .pop()
        .map(|(_, message)| message)
        .unwrap_or_default()
}

#[test]
fn a_task_is_ended_at_its_time_limit() {
    let home = Home::new();
    home.method_with("m", &["--timeout", "1s"], ENDLESS);
    home.ok(["task", "add", "m"]);
    let told = home.run(["tick"]).refused();
    assert_eq!(
        told,
        "runner: task 1 (m) was interrupted: ended at its time limit"
    );
    assert_eq!(home.status("1"), "INTERRUPTED");
    assert!(!is_alive(handler(&home)));
}

#[test]
fn the_time_limit_is_the_tasks_else_the_methods_else_the_settings() {
    let home = Home::new();
    home.ok(["config", "set", "task.timeout", "1s"]);
    home.method_with("limited", &["--timeout", "1h"], "sleep 1.5");
    home.method("not-limited", "exec sleep 300");
    home.ok(["task", "add", "limited"]);
    home.ok(["task", "add", "limited", "--timeout", "1s"]);
    home.ok(["task", "add", "not-limited"]);
    home.ok(["config", "set", "task.max_running", "3"]);
    home.run(["tick"]);
    let statuses = ["1", "2", "3"].map(|task| home.status(task));
    assert_eq!(statuses, ["COMPLETED", "INTERRUPTED", "INTERRUPTED"]);
}

#[test]
fn a_handler_that_is_asked_to_end_can_still_say_its_last_words() {
    let (home, tick) =
        running("trap 'echo tidied up; exit 3' TERM; echo $$ > pid; while :; do sleep 0.05; done");
    home.ok(["task", "stop", "1"]);
    tick.end().refused();
    let task = home.task("1");
    assert_eq!(
        (&task["status"], &task["exit_code"]),
        (&json!("INTERRUPTED"), &json!(3))
    );
    let messages: Vec<_> = home
        .logs("1")
        .into_iter()
        .map(|(_, message)| message)
        .collect();
    // The shell may also have a word for its sleep, which the signal reached as well, and may be heard before.
    assert!(
        messages.iter().any(|message| message == "tidied up"),
        "{messages:?}"
    );
    assert_eq!(
        messages.last().map(String::as_str),
        Some("stopped on request")
    );
}

#[test]
fn the_whole_process_group_is_ended() {
    let (home, tick) = running("sleep 300 & echo $! > child; echo $$ > pid; wait");
    home.ok(["task", "stop", "1"]);
    tick.end().refused();
    let child: i32 = home.read("child").trim().parse().unwrap();
    until("the handler's child is gone", || !is_alive(child));
}

#[test]
fn a_process_that_left_the_group_is_ended_with_a_stopped_task_too() {
    let (home, tick) = running("setsid sleep 300 & echo $! > child; echo $$ > pid; wait");
    home.ok(["task", "stop", "1"]);
    tick.end().refused();
    let child: i32 = home.read("child").trim().parse().unwrap();
    until("the handler's child is gone", || !is_alive(child));
}

#[test]
#[ignore = "it waits for the 10 seconds that a handler has"]
fn a_handler_that_ignores_the_request_to_end_is_killed_after_ten_seconds() {
    let (home, tick) = running("trap '' TERM; echo $$ > pid; while :; do sleep 1; done");
    home.ok(["task", "stop", "1"]);
    tick.end().refused();
    assert_eq!(home.status("1"), "INTERRUPTED");
    assert!(!is_alive(handler(&home)));
}

#[test]
fn a_stopped_task_is_interrupted_and_not_tried_again() {
    let (home, tick) = running(ENDLESS);
    home.ok(["task", "stop", "1"]);
    assert_eq!(
        home.status("1"),
        "INTERRUPTED",
        "stop waits until it has ended"
    );
    assert!(!is_alive(handler(&home)));
    tick.end().refused();
    assert_eq!(last_log(&home), "stopped on request");
    assert_eq!(home.task("1")["exit_code"], json!(null));
}

#[test]
fn a_running_task_that_is_cancelled_is_ended() {
    let (home, tick) = running(ENDLESS);
    home.ok(["task", "cancel", "1"]);
    assert_eq!(home.status("1"), "CANCELLED");
    assert_eq!(
        tick.end().ok(),
        "",
        "somebody wanted it so: that is no error"
    );
    assert_eq!(last_log(&home), "cancelled on request");
}

#[test]
fn a_task_that_is_run_alone_can_be_stopped_as_well() {
    let home = Home::new();
    home.method("m", ENDLESS);
    home.ok(["task", "add", "m"]);
    let run = home.start(["task", "run", "1"]);
    until("the handler has begun", || home.read("pid").ends_with('\n'));
    home.ok(["task", "stop", "1"]);
    assert_eq!(run.end().code(), 1);
}

#[test]
fn what_is_running_is_not_run_twice_nor_restarted_nor_deleted() {
    let (home, tick) = running(ENDLESS);
    for (command, reason) in [
        ("run", "it is running already"),
        (
            "restart",
            "it is not over (RUNNING), so there is nothing to restart",
        ),
        (
            "delete",
            "it is running; 'runner task stop 1' ends it first",
        ),
    ] {
        let told = home.refused(["task", command, "1"]);
        assert_eq!(told, format!("runner: task 1: {reason}"));
    }
    let told = home.refused(["task", "file", "1", "--set", "pid"]);
    assert!(told.contains("its handler has its file already"), "{told}");
    home.ok(["task", "stop", "1"]);
    tick.end().refused();
}

#[test]
fn stop_and_cancel_of_what_does_not_run() {
    let home = Home::new();
    home.method("m", "exit 0");
    home.ok(["task", "add", "m"]);
    let told = home.refused(["task", "stop", "1"]);
    assert!(
        told.contains("it does not run; 'runner task cancel 1' takes it out"),
        "{told}"
    );
    home.ok(["task", "cancel", "1"]);
    assert_eq!(home.status("1"), "CANCELLED");
    for command in ["stop", "cancel"] {
        let told = home.refused(["task", command, "1"]);
        assert!(told.contains("it is over already (CANCELLED)"), "{told}");
    }
}

#[test]
fn any_task_that_is_over_can_be_restarted() {
    for (script, ended) in [
        ("exit 0", "COMPLETED"),
        ("exit 1", "FAILED"),
        ("kill -9 $$", "INTERRUPTED"),
    ] {
        let home = Home::new();
        home.method("m", script);
        home.ok(["task", "add", "m"]);
        home.run(["tick"]);
        assert_eq!(home.status("1"), ended);
        home.ok(["task", "restart", "1"]);
        let task = home.task("1");
        assert_eq!(task["status"], "TO_RUN", "{ended}");
        assert_eq!(task["attempt"], 0, "its attempts are counted anew");
        assert_eq!(task["ended_at"], json!(null));
    }
}

#[test]
fn a_cancelled_task_can_be_restarted_or_run_at_once() {
    let home = Home::new();
    home.method("m", "exit 0");
    for restarted in ["1", "2"] {
        home.ok(["task", "add", "m"]);
        home.ok(["task", "cancel", restarted]);
    }
    home.ok(["task", "restart", "1"]);
    home.ok(["tick"]);
    assert_eq!(
        [home.status("1"), home.status("2")],
        ["COMPLETED", "CANCELLED"]
    );
    home.ok(["task", "run", "2"]);
    assert_eq!(home.status("2"), "COMPLETED");
}

#[test]
fn run_does_not_wait_for_what_a_task_waits_for() {
    let home = Home::new();
    home.method("m", "exit 0");
    home.ok(["task", "add", "m", "--at", "2099-01-01"]);
    home.ok(["task", "add", "m", "--after", "1"]);
    for task in ["2", "1"] {
        home.ok(["task", "run", task]);
        assert_eq!(home.status(task), "COMPLETED");
    }
}

#[test]
fn a_deleted_task_takes_its_logs_and_files_and_cancels_what_waits_for_it() {
    let home = Home::new();
    home.method("m", "echo said; exit 1");
    home.write("members.csv", "Ada\n");
    home.ok(["task", "add", "m", "--file", "members.csv"]);
    home.ok(["task", "add", "m", "--after", "1"]);
    home.run(["tick"]);
    home.ok(["task", "delete", "1"]);
    assert!(home.refused(["task", "show", "1"]).contains("no task 1"));
    assert_eq!(home.status("2"), "CANCELLED");
    let left: i64 =
        home.sql_value("SELECT (SELECT count(*) FROM task_log) + (SELECT count(*) FROM task_file)");
    assert_eq!(left, 0);
}

#[test]
fn a_tick_that_is_told_to_leave_ends_its_handlers_and_marks_them() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (home, tick) = running(ENDLESS);
        home.ok(["task", "add", "m"]);
        tick.signal(signal);
        let answer = tick.end();
        assert_eq!(answer.code(), 1);
        assert!(
            answer.err().contains("the run was shut down"),
            "{}",
            answer.err()
        );
        assert!(!is_alive(handler(&home)));
        let task = home.task("1");
        assert_eq!(task["attempt"], 1);
        assert_eq!(task["status"], "TO_RUN", "it has retries left");
        assert_eq!(last_log(&home), "ended because the runner was shut down");
        assert_eq!(
            home.status("2"),
            "TO_RUN",
            "what it had not started is left for the next tick"
        );
        let workers: i64 = home.sql_value("SELECT count(*) FROM worker");
        assert_eq!(workers, 0, "it has signed off");
    }
}

#[test]
fn a_task_that_is_claimed_and_not_started_can_be_cancelled() {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "1"]);
    home.method("quick", "exit 0");
    home.method("slow", "echo > begun; sleep 0.4");
    home.method("last", ENDLESS);
    // After many quick tasks the tick claims some ahead, and the last is among them while the slow one runs.
    let mut tasks = "{\"method\":\"quick\"}\n".repeat(300);
    tasks.push_str("{\"method\":\"slow\"}\n{\"method\":\"last\"}\n");
    home.write("many.jsonl", tasks);
    home.ok(["task", "add", "--batch", "many.jsonl"]);
    let tick = home.start(["tick"]);
    until("the slow task has begun", || home.path("begun").exists());
    home.ok(["task", "cancel", "302"]);
    assert_eq!(home.status("302"), "CANCELLED");
    assert_eq!(tick.end().ok(), "");
}

/// A tick that a shell starts in its own place, after this.
fn tick_after(home: &Home, first: &str) -> Running {
    let mut command = std::process::Command::new("sh");
    let runner = env!("CARGO_BIN_EXE_runner");
    command.args(["-c", &format!("{first}; exec {runner} tick")]);
    command.current_dir(home.folder());
    Running::new(command)
}

#[test]
fn what_a_tick_was_started_to_ignore_it_ignores() {
    let home = Home::new();
    home.method("m", "echo $$ > pid; until [ -e go ]; do sleep 0.02; done");
    home.ok(["task", "add", "m"]);
    let tick = tick_after(&home, "trap '' HUP INT");
    until("the handler has begun", || home.read("pid").ends_with('\n'));
    tick.signal(Signal::HUP);
    tick.signal(Signal::INT);
    home.write("go", "");
    assert_eq!(tick.end().ok(), "");
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
#[allow(unsafe_code)]
fn a_tick_that_was_started_with_signals_blocked_hears_them_and_its_handlers_do_too() {
    use std::os::unix::process::CommandExt;
    let home = Home::new();
    home.method("quick", "grep SigBlk /proc/self/status > blocked");
    home.method("endless", ENDLESS);
    home.ok(["config", "set", "task.max_running", "1"]);
    home.ok(["task", "add", "quick"]);
    home.ok(["task", "add", "endless"]);
    let mut command = home.command(["tick"]);
    // SAFETY: plain system calls, between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
            Ok(())
        });
    }
    let tick = Running::new(command);
    until("the second handler has begun", || {
        home.read("pid").ends_with('\n')
    });
    assert_eq!(home.read("blocked"), "SigBlk:\t0000000000000000\n");
    tick.signal(Signal::TERM);
    assert!(tick.end().err().contains("shut down"));
    assert_eq!(
        [home.status("1"), home.status("2")],
        ["COMPLETED", "INTERRUPTED"]
    );
}

#[test]
fn a_handler_that_left_its_process_group_is_ended_too() {
    if !is_installed("python3") {
        return;
    }
    let (home, tick) = running(
        "exec python3 -c 'import os, time
os.setpgid(0, os.getpgid(os.getppid()))
print(os.getpid(), file=open(\"pid\", \"w\"), flush=True)
time.sleep(300)'",
    );
    home.ok(["task", "stop", "1"]);
    assert_eq!(home.status("1"), "INTERRUPTED");
    assert!(!is_alive(handler(&home)));
    tick.end().refused();
}
