//! The life of a task: its statuses, retries, chains, priorities, times and signatures.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};

use crate::kit::process::until;
use crate::kit::runner::Home;
use serde_json::{Value, json};

const MORNING: &str = "2026-04-10T09:00";

/// A home whose method `m` notes the tasks that it runs, one at a time.
fn noting() -> Home {
    let home = Home::new().at(MORNING);
    home.ok(["config", "set", "task.max_running", "1"]);
    home.method("m", "echo $RUNNER_TASK >> ran");
    home
}

#[test]
fn the_handlers_end_decides_the_status() {
    let cases = [
        ("exit 0", "COMPLETED", Some(0), None),
        ("exit 1", "FAILED", Some(1), Some("exit status 1")),
        (
            "echo no >&2; exit 7",
            "FAILED",
            Some(7),
            Some("exit status 7: no"),
        ),
        (
            "kill -9 $$",
            "INTERRUPTED",
            None,
            Some("killed by signal 9 (SIGKILL)"),
        ),
        (
            "kill -SEGV $$",
            "INTERRUPTED",
            None,
            Some("killed by signal 11 (SIGSEGV)"),
        ),
    ];
    for (script, status, exit_code, error) in cases {
        let home = Home::new();
        home.method("m", script);
        home.ok(["task", "add", "m"]);
        let tick = home.run(["tick"]);
        assert_eq!(tick.code(), i32::from(status != "COMPLETED"), "{script}");
        let task = home.task("1");
        assert_eq!(task["status"], status, "{script}");
        assert_eq!(task["exit_code"], json!(exit_code), "{script}");
        let last = home.logs("1").pop();
        let expected = error.map(|error| ("error".to_owned(), error.to_owned()));
        assert_eq!(last, expected, "{script}");
    }
}

#[test]
fn a_program_that_cannot_be_started_fails_its_task_and_says_why() {
    let home = Home::new();
    home.write("plain.txt", "no program");
    let cases = [
        ("./missing", "there is no such program"),
        ("./plain.txt", "no permission to run it"),
        ("./", "no permission to run it"),
    ];
    for (id, (program, reason)) in cases.into_iter().enumerate() {
        home.ok(["method", "set", "m", "--", program]);
        let id = (id + 1).to_string();
        assert_eq!(home.ok(["task", "add", "m"]), id);
        let answer = home.run(["tick"]).refused();
        assert!(
            answer.contains(&format!("cannot start '{program}': {reason}")),
            "{answer}"
        );
        assert_eq!(home.status(&id), "FAILED");
    }
}

#[test]
fn a_program_without_a_slash_is_looked_for_in_all_folders_of_the_path() {
    let first = tempfile::TempDir::new().unwrap();
    let path = std::env::var("PATH").unwrap();
    let home = Home::new().env(
        "PATH",
        &format!("{}:/nowhere:{path}", first.path().display()),
    );
    home.ok(["method", "set", "m", "--", "sh", "-c", "echo found"]);
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    assert_eq!(home.logs("1"), [("info".to_owned(), "found".to_owned())]);
}

#[test]
fn the_times_of_a_task_are_those_of_the_clock() {
    let mut home = noting();
    home.ok(["task", "add", "m", "--at", "2026-04-10T10:00"]);
    home.set_now("2026-04-10T10:05");
    home.ok(["tick"]);
    let task = home.task("1");
    assert_eq!(task["created_at"], "2026-04-10T09:00:00Z");
    assert_eq!(task["run_at"], "2026-04-10T10:00:00Z");
    assert_eq!(task["started_at"], "2026-04-10T10:05:00Z");
    assert_eq!(task["ended_at"], "2026-04-10T10:05:00Z");
}

#[test]
fn a_failed_attempt_is_tried_again_after_a_pause_that_doubles() {
    let mut home = Home::new().at("2026-04-10T09:00:00");
    home.method_with(
        "m",
        &["--retries", "3"],
        "cat > \"input-$RUNNER_TASK\"; exit 1",
    );
    home.ok(["task", "add", "m"]);
    for (attempt, now, again_at) in [
        (1, "2026-04-10T09:00:00", "2026-04-10T09:01:00Z"),
        (2, "2026-04-10T09:01:00", "2026-04-10T09:03:00Z"),
        (3, "2026-04-10T09:03:00", "2026-04-10T09:07:00Z"),
    ] {
        home.set_now(now);
        let told = home.run(["tick"]).refused();
        assert!(
            told.ends_with(&format!(
                "it is tried again at {}",
                again_at.replace('T', " ").trim_end_matches('Z')
            )),
            "{told}"
        );
        let task = home.task("1");
        assert_eq!(
            (&task["status"], &task["attempt"]),
            (&json!("TO_RUN"), &json!(attempt))
        );
        assert_eq!(task["run_at"], again_at);
        assert_eq!(home.ok(["tick"]), "", "its time has not come");
    }
    home.set_now("2026-04-10T09:07:00");
    assert!(!home.run(["tick"]).refused().contains("tried again"));
    assert_eq!(home.status("1"), "FAILED");
    let input: Value = serde_json::from_str(&home.read("input-1")).unwrap();
    assert_eq!(input["attempt"], 4);
    assert_eq!(home.logs("1").len(), 4, "the log has all attempts");
}

#[test]
fn the_retries_of_a_task_go_before_those_of_its_method() {
    let home = Home::new();
    home.method_with("m", &["--retries", "3"], "exit 1");
    home.ok(["task", "add", "m", "--retries", "0"]);
    home.run(["tick"]);
    assert_eq!(home.status("1"), "FAILED");
}

#[test]
fn a_task_that_follows_another_waits_until_that_one_is_completed() {
    let home = noting();
    home.method("cannot", "exit 1");
    home.ok(["task", "add", "cannot"]);
    home.ok(["task", "add", "m", "--after", "1"]);
    home.ok(["task", "add", "m", "--after", "2"]);
    home.run(["tick"]);
    assert_eq!([home.status("1"), home.status("2")], ["FAILED", "WAITING"]);
    home.method("cannot", "echo $RUNNER_TASK >> ran");
    home.ok(["task", "restart", "1"]);
    home.ok(["tick"]);
    assert_eq!(
        home.lines("ran"),
        ["1", "2", "3"],
        "the whole chain runs in one tick"
    );
}

#[test]
fn a_task_that_follows_a_completed_one_need_not_wait() {
    let home = noting();
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    home.ok(["task", "add", "m", "--after", "1"]);
    assert_eq!(home.status("2"), "TO_RUN");
}

#[test]
fn a_task_that_follows_another_and_has_a_time_waits_for_both() {
    let mut home = noting();
    home.ok(["task", "add", "m"]);
    home.ok(["task", "add", "m", "--after", "1", "--at", "2026-04-11"]);
    home.ok(["tick"]);
    assert_eq!(home.lines("ran"), ["1"]);
    home.set_now("2026-04-11");
    home.ok(["tick"]);
    assert_eq!(home.lines("ran"), ["1", "2"]);
}

#[test]
fn pending_tasks_run_by_priority_then_in_the_order_of_their_ids() {
    let home = noting();
    for priority in ["0", "-5", "10", "0", "10"] {
        home.ok(["task", "add", "m", "--priority", priority]);
    }
    home.ok(["tick"]);
    assert_eq!(home.lines("ran"), ["3", "5", "1", "4", "2"]);
}

#[test]
fn a_task_is_not_run_before_its_time() {
    let mut home = noting();
    home.ok(["task", "add", "m", "--at", "2026-04-10T12:00:30"]);
    for (now, ran) in [("2026-04-10T12:00:29", 0), ("2026-04-10T12:00:30", 1)] {
        home.set_now(now);
        home.ok(["tick"]);
        assert_eq!(home.lines("ran").len(), ran, "{now}");
    }
}

#[test]
fn a_handler_is_told_how_late_it_is() {
    let mut home = Home::new().at(MORNING);
    home.method("m", "cat > input.json");
    home.ok(["task", "add", "m", "--at", "2026-04-10T10:00+02:00"]);
    home.set_now("2026-04-10T09:30");
    home.ok(["tick"]);
    let input: Value = serde_json::from_str(&home.read("input.json")).unwrap();
    assert_eq!(input["due_at"], "2026-04-10T08:00:00Z");
    assert_eq!(input["late_s"], 5400);
}

#[test]
fn a_signature_finds_tasks_and_unique_refuses_a_second_one_that_is_not_over() {
    let home = noting();
    let again = ["task", "add", "m", "--signature", "s", "--unique"];
    assert_eq!(home.ok(again), "1");
    assert!(
        home.refused(again)
            .contains("task 1 with this signature is not over yet")
    );
    assert_eq!(
        home.ok(["task", "add", "m", "--signature", "s"]),
        "2",
        "without --unique it is only a name"
    );
    home.ok(["task", "add", "m", "--signature", "t", "--unique"]);
    let found = home.json(["task", "list", "--signature", "s"]);
    assert_eq!(found.as_array().unwrap().len(), 2);
    home.ok(["tick"]);
    assert_eq!(home.ok(again), "4");
}

#[test]
fn a_batch_adds_all_of_its_tasks_or_none() {
    let home = noting();
    home.write("good.jsonl", "{\"method\":\"m\",\"params\":{\"n\":1},\"signature\":\"s\"}\n\n{\"method\":\"m\",\"after\":1,\"at\":\"2026-04-11\"}\n");
    home.write(
        "bad.jsonl",
        "{\"method\":\"m\"}\n{\"method\":\"m\",\"retries\":-1}\n",
    );
    assert_eq!(home.ok(["task", "add", "--batch", "good.jsonl"]), "1\n2");
    assert!(
        home.refused(["task", "add", "--batch", "bad.jsonl"])
            .contains("bad.jsonl line 2")
    );
    assert_eq!(home.json(["task", "list"]).as_array().unwrap().len(), 2);
    let piped = home.run_with_input(
        ["--json", "task", "add", "--batch", "-"],
        "{\"method\":\"m\"}\n",
    );
    assert_eq!(piped.json(), json!({"ids": [3]}));
}

#[test]
fn a_batch_that_comes_slowly_keeps_nobody_from_writing() {
    let home = noting();
    let mut command = home.command(["task", "add", "--batch", "-"]);
    let mut batch = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = batch.stdin.take().unwrap();
    // More than is held in memory, and than a pipe takes: it is being read when the last of it is written.
    let line = format!("{{\"method\":\"m\",\"params\":\"{}\"}}\n", "x".repeat(990));
    input.write_all(line.repeat(2000).as_bytes()).unwrap();
    assert_eq!(home.ok(["task", "add", "m"]), "1");
    input.write_all(b"{\"method\":\"m\"}\n").unwrap();
    drop(input);
    let ids = String::from_utf8(batch.wait_with_output().unwrap().stdout).unwrap();
    let expected: Vec<String> = (2..=2002).map(|id: i64| id.to_string()).collect();
    assert_eq!(ids.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_batch_is_read_from_a_file_on_standard_input_and_from_a_named_pipe_too() {
    let home = noting();
    let file = home.write("tasks.jsonl", "{\"method\":\"m\"}\n");
    let mut command = home.command(["task", "add", "--batch", "-"]);
    let answer = command.stdin(File::open(file).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "1\n");
    let made = Command::new("mkfifo").arg(home.path("pipe")).status();
    assert!(made.unwrap().success());
    let batch = home.start(["task", "add", "--batch", "pipe"]);
    fs::write(home.path("pipe"), "{\"method\":\"m\"}\n").unwrap();
    assert_eq!(batch.end().ok(), "2");
}

#[test]
fn two_hundred_short_tasks_are_each_run_once() {
    let home = Home::new();
    home.method("m", "echo $RUNNER_TASK >> ran");
    home.write("many.jsonl", "{\"method\":\"m\"}\n".repeat(200));
    home.ok(["task", "add", "--batch", "many.jsonl"]);
    let tick = home.json(["tick"]);
    assert_eq!(
        tick["tasks"],
        json!({"completed": 200, "failed": 0, "interrupted": 0})
    );
    let mut ran: Vec<u32> = home
        .lines("ran")
        .iter()
        .map(|id| id.parse().unwrap())
        .collect();
    ran.sort_unstable();
    assert_eq!(ran, (1..=200).collect::<Vec<_>>());
}

#[test]
fn progress_and_logs_can_be_seen_while_a_task_runs() {
    let home = Home::new();
    home.method(
        "m",
        r#"echo '{"type":"progress","step":1,"max":2}'
echo 'half done'
until [ -e go ]; do sleep 0.05; done"#,
    );
    home.ok(["task", "add", "m"]);
    let tick = home.start(["tick"]);
    until("its progress is stored", || {
        home.task("1")["progress"]["step"] == 1
    });
    assert_eq!(home.status("1"), "RUNNING");
    until("its log is stored", || {
        home.logs("1") == [("info".to_owned(), "half done".to_owned())]
    });
    home.write("go", "");
    assert_eq!(tick.end().ok(), "");
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
fn the_setting_bounds_how_many_handlers_run_at_once_over_all_ticks() {
    let home = noting();
    home.method(
        "alone",
        "mkdir lock || echo overlap >> overlaps; sleep 0.05; rmdir lock; echo >> ran",
    );
    for _ in 0..6 {
        home.ok(["task", "add", "alone"]);
    }
    let ticks: Vec<_> = (0..3).map(|_| home.start(["tick"])).collect();
    for tick in ticks {
        tick.end().ok();
    }
    assert_eq!(home.lines("ran").len(), 6);
    assert_eq!(home.read("overlaps"), "");
}

#[test]
fn as_many_handlers_run_at_once_as_the_setting_allows() {
    let home = noting();
    home.ok(["config", "set", "task.max_running", "3"]);
    home.method(
        "meets",
        "echo >> here; until [ $(wc -l < here) -eq 3 ]; do sleep 0.02; done",
    );
    for _ in 0..3 {
        home.ok(["task", "add", "meets", "--timeout", "50s"]);
    }
    assert_eq!(home.json(["tick"])["tasks"]["completed"], 3);
}

#[test]
fn what_a_handler_adds_through_the_command_line_runs_in_the_same_tick() {
    let home = noting();
    let runner = env!("CARGO_BIN_EXE_runner");
    home.method("adds", &format!("{runner} task add m >> added"));
    home.ok(["task", "add", "adds"]);
    home.ok(["tick"]);
    assert_eq!(
        (home.lines("added"), home.lines("ran")),
        (vec!["2".to_owned()], vec!["2".to_owned()])
    );
}

#[test]
fn retention_finds_tasks_that_ended_out_of_order() {
    let mut home = noting();
    home.ok(["config", "set", "keep.tasks", "30d"]);
    for _ in 0..3 {
        home.ok(["task", "add", "m"]);
    }
    home.ok(["tick"]);
    home.sql("UPDATE task SET ended_at = '2020-01-01 00:00:00' WHERE id = 2");
    home.set_now("2026-01-10");
    home.ok(["task", "add", "m"]);
    home.ok(["task", "cancel", "4"]);
    home.set_now("2026-04-10T09:01");
    home.ok(["tick"]);
    let left = home.json(["task", "list"]);
    let left: Vec<_> = left
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["id"])
        .collect();
    assert_eq!(left, [1, 3]);
}

#[test]
fn retention_finds_what_is_behind_many_old_tasks_that_are_not_over() {
    let home = noting();
    home.ok(["config", "set", "keep.tasks", "30d"]);
    home.ok(["tick"]);
    home.sql(
        "INSERT INTO task (method, run_at, created_at)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
         SELECT 'm', '2099-01-01 00:00:00', '2020-01-01 00:00:00' FROM n;
         INSERT INTO task (method, status, created_at, ended_at)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         SELECT 'm', 'COMPLETED', '2020-01-01 00:00:00', '2020-01-01 00:00:00' FROM n",
    );
    let left = |home: &Home| home.sql_value::<i64>("SELECT count(*) FROM task");
    home.ok(["tick"]);
    assert_eq!(left(&home), 300);
    home.sql(
        "UPDATE task SET status = 'CANCELLED', deferred = 0, ended_at = created_at WHERE id > 1",
    );
    home.ok(["tick"]);
    assert_eq!(left(&home), 1);
}

#[test]
fn a_handler_that_is_a_runner_itself_starts_handlers_of_its_own() {
    let home = noting();
    let runner = env!("CARGO_BIN_EXE_runner");
    home.ok(["--db", "inner.db", "init"]);
    home.ok([
        "--db",
        "inner.db",
        "method",
        "set",
        "look",
        "--",
        "./look.sh",
    ]);
    crate::kit::programs::write_program(
        &home.path("look.sh"),
        "tr '\\0' '\\n' < /proc/$$/environ > env",
    );
    for _ in 0..4 {
        home.ok([
            "--db",
            "inner.db",
            "task",
            "add",
            "look",
            "--at",
            "2020-01-01",
        ]);
    }
    home.method("outer", &format!("exec {runner} --db inner.db task run 4"));
    home.ok(["task", "add", "outer"]);
    home.ok(["tick"]);
    let env = home.lines("env");
    for (name, value) in [
        ("RUNNER_DB=", "inner.db"),
        ("RUNNER_TASK=", "=4"),
        ("RUNNER_METHOD=", "=look"),
        ("RUNNER_WORKER=", "inner.db-worker-1"),
    ] {
        let set: Vec<_> = env.iter().filter(|set| set.starts_with(name)).collect();
        assert!(set.len() == 1 && set[0].ends_with(value), "{set:?}");
    }
}

#[test]
fn retention_drops_tasks_that_are_over_for_long() {
    let mut home = noting();
    home.ok(["config", "set", "keep.tasks", "30d"]);
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    home.ok(["task", "add", "m", "--at", "2027-01-01"]);
    home.set_now("2026-05-10T08:59");
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
    home.set_now("2026-05-10T09:01");
    home.ok(["tick"]);
    assert!(home.refused(["task", "show", "1"]).contains("no task 1"));
    assert_eq!(home.status("2"), "TO_RUN", "what is pending is kept");
}
