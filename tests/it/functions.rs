//! Methods that are functions of a program which embeds the library, as its ticks run them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep, spawn};
use std::time::Duration;

use runner::rusqlite::Connection;
use runner::rusqlite::types::FromSql;
use runner::{App, NewTask, Progress, Severity, Summary, Task};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A program with one method, and a database of its own.
struct Program {
    folder: TempDir,
    app: App,
}

impl Program {
    fn new(function: impl Fn(&mut Task) -> Result<Value, String> + Send + Sync + 'static) -> Self {
        let program = Self {
            folder: TempDir::new().unwrap(),
            app: App::new().method("Own:run", function),
        };
        runner::create(program.path()).unwrap();
        program
    }

    /// The same, with so many functions at once.
    fn max_running(self, number: u32) -> Self {
        let setting = format!("INSERT INTO setting VALUES ('task.max_running', '{number}')");
        self.open().execute_batch(&setting).unwrap();
        self
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("program.db")
    }

    fn open(&self) -> Connection {
        runner::open(self.path()).unwrap()
    }

    fn add(&self, task: NewTask) -> i64 {
        let mut db = self.open();
        let transaction = db.transaction().unwrap();
        let id = self.app.enqueue(&transaction, task).unwrap();
        transaction.commit().unwrap();
        id
    }

    fn tick(&self) -> Summary {
        self.app.tick(self.path()).unwrap()
    }

    fn result(&self, task: i64) -> Value {
        let result: Option<String> = value_of(&self.open(), "result", task);
        result.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    /// What a task logged: the messages and their details.
    fn logs(&self, task: i64) -> Vec<(String, Option<String>)> {
        let db = self.open();
        let sql = "SELECT message, details FROM task_log WHERE task_id = ?1 ORDER BY seq";
        let mut query = db.prepare(sql).unwrap();
        let rows = query.query_map([task], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn messages(&self, task: i64) -> Vec<String> {
        let logs = self.logs(task).into_iter();
        logs.map(|(message, _)| message).collect()
    }
}

fn own() -> NewTask {
    NewTask::new("Own:run")
}

fn value_of<T: FromSql>(db: &Connection, column: &str, task: i64) -> T {
    let sql = format!("SELECT {column} FROM task WHERE id = ?1");
    db.query_row(&sql, [task], |row| row.get(0)).unwrap()
}

fn wait_for_status(db: &Connection, task: i64, status: &str) {
    while value_of::<String>(db, "status", task) != status {
        sleep(Duration::from_millis(5));
    }
}

fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        sleep(Duration::from_millis(5));
    }
}

fn restart(path: &Path, task: i64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    command
        .arg("--db")
        .arg(path)
        .args(["task", "restart", &task.to_string()]);
    assert!(command.status().unwrap().success());
}

#[test]
fn an_error_is_a_failure_and_a_panic_an_interruption() {
    let program = Program::new(|task| match task.params()["how"].as_str() {
        Some("error") => Err("the disk is full".to_owned()),
        _ => panic!("this was not foreseen"),
    });
    let failed = program.add(own().param("how", "error"));
    let interrupted = program.add(own());
    let tasks = program.tick().tasks;
    assert_eq!((tasks.failed, tasks.interrupted), (1, 1));
    let status = |task| value_of::<String>(&program.open(), "status", task);
    assert_eq!(status(failed), "FAILED");
    assert_eq!(program.messages(failed), ["the disk is full"]);
    assert_eq!(status(interrupted), "INTERRUPTED");
    let message = "its function panicked: this was not foreseen";
    assert_eq!(program.messages(interrupted), [message]);
}

#[test]
fn what_a_function_says_is_kept_as_a_handler_s_is() {
    let program = Program::new(|task| {
        let token = task.hidden_params()["token"].clone();
        task.info(format!("with {}", token.as_str().unwrap_or("none")));
        task.warning("it is late");
        task.debug("kept nowhere");
        task.progress(Progress {
            step: Some(3),
            max: Some(4),
            ..Progress::default()
        });
        Ok(json!([token]))
    });
    let id = program.add(own().hidden_params(json!({"token": "s3cret-token"})));
    program.tick();
    assert_eq!(program.messages(id), ["with ***", "it is late"]);
    let progress = value_of::<String>(&program.open(), "progress", id);
    let progress: Value = serde_json::from_str(&progress).unwrap();
    assert_eq!(
        (&progress["step"], &progress["max"]),
        (&json!(3), &json!(4))
    );
    assert_eq!(program.result(id), json!(["***"]));
}

#[test]
fn a_function_is_asked_to_stop_at_its_time_limit() {
    let program = Program::new(|task| {
        while !task.should_stop() {
            sleep(Duration::from_millis(5));
        }
        Ok(json!("in vain"))
    });
    let id = program.add(own().timeout("1s"));
    assert_eq!(program.tick().tasks.interrupted, 1);
    assert_eq!(program.messages(id), ["ended at its time limit"]);
}

#[test]
fn thousands_of_tasks_are_each_done_once_by_two_ticks_at_once() {
    const TASKS: usize = 3000;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let count = move |_: &mut Task| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Value::Null)
    };
    let program = Program::new(count).max_running(4);
    let add = format!(
        "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {TASKS})
         INSERT INTO task (method) SELECT 'Own:run' FROM n"
    );
    program.open().execute_batch(&add).unwrap();
    let run = || program.tick().tasks.completed;
    let done: u64 = scope(|scope| {
        let ticks = [scope.spawn(run), scope.spawn(run)];
        ticks.into_iter().map(|tick| tick.join().unwrap()).sum()
    });
    let done = done + run();
    assert_eq!((done, calls.load(Ordering::Relaxed)), (TASKS as u64, TASKS));
}

#[test]
fn tasks_that_wait_for_a_function_at_work_go_back_to_be_run_by_others() {
    let is_done = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_done);
    let function = move |task: &mut Task| {
        if task.params()["waits"] == true {
            wait_for(&flag);
        }
        Ok(Value::Null)
    };
    let program = Program::new(function).max_running(1);
    // After a short one more are claimed than can start at once.
    program.add(own());
    program.add(own().param("waits", true));
    let others: Vec<i64> = (0..3).map(|_| program.add(own())).collect();
    let db = program.open();
    let watch = spawn(move || {
        for status in ["RUNNING", "TO_RUN"] {
            others
                .iter()
                .for_each(|id| wait_for_status(&db, *id, status));
        }
        is_done.store(true, Ordering::Release);
    });
    assert_eq!(program.tick().tasks.completed, 5);
    watch.join().unwrap();
}

#[test]
fn a_timer_starts_a_function_as_it_starts_a_handler() {
    let program = Program::new(|task| Ok(task.document()["title"].clone()));
    let timer = "INSERT INTO document (id, title) VALUES (1, 'a document');
                 INSERT INTO timer (id, name) VALUES (1, 'starter');
                 INSERT INTO timer_action (timer_id, position, method) VALUES (1, 0, 'Own:run');
                 INSERT INTO attachment (timer_id, document_id) VALUES (1, 1);";
    program.open().execute_batch(timer).unwrap();
    let summary = program.tick();
    assert!(summary.errors.is_empty(), "{summary:?}");
    assert_eq!((summary.fired, summary.tasks.completed), (1, 1));
    assert_eq!(program.result(1), json!("a document"));
}

#[test]
#[ignore = "it waits for the 10 seconds that a function has"]
fn the_late_answer_of_a_function_that_was_given_up_does_not_end_the_next_attempt() {
    let (begun_again, restarted) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let (again, nudge) = (Arc::clone(&begun_again), Arc::clone(&restarted));
    let calls = AtomicUsize::new(0);
    let function = move |task: &mut Task| {
        if task.params()["nudge"] == true {
            wait_for(&nudge);
            return Ok(Value::Null);
        }
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            wait_for(&again);
            return Ok(json!("too late"));
        }
        again.store(true, Ordering::Release);
        sleep(Duration::from_millis(300));
        Ok(json!("in time"))
    };
    let program = Program::new(function).max_running(3);
    let id = program.add(own().timeout("1s"));
    program.add(own().param("nudge", true));
    let (db, path) = (program.open(), program.path());
    let restart = spawn(move || {
        wait_for_status(&db, id, "INTERRUPTED");
        restart(&path, id);
        restarted.store(true, Ordering::Release);
    });
    let tasks = program.tick().tasks;
    restart.join().unwrap();
    assert_eq!((tasks.interrupted, tasks.completed), (1, 2));
    assert_eq!(program.result(id), json!("in time"));
}

#[test]
fn what_is_too_long_for_a_log_is_cut_and_harms_no_earlier_attempt() {
    let long = |letter: &str| letter.repeat(600_000);
    let program = Program::new(move |task| {
        task.info("first line");
        // So that this is written alone, before what follows.
        sleep(Duration::from_millis(400));
        task.log(Severity::Info, long("é"), Some(&json!(long("d"))));
        sleep(Duration::from_millis(400));
        task.info("last line");
        Err(long("e"))
    });
    let id = program.add(own());
    for attempt in 1..=2 {
        let summary = program.tick();
        assert!(summary.errors[0].message.chars().count() < 600);
        let logs = program.logs(id);
        assert_eq!(logs.len(), 4 * attempt);
        for entries in logs.chunks(4) {
            let message = |n: usize| entries[n].0.as_str();
            assert_eq!((message(0), message(2)), ("first line", "last line"));
            let cut = " … [1134464 bytes cut]";
            assert!(message(1).starts_with("éé") && message(1).ends_with(cut));
            let details = entries[1].1.as_ref().unwrap();
            assert!(details.ends_with(" bytes cut]\""));
            assert!(message(3).starts_with("eee") && message(3).ends_with(" bytes cut]"));
        }
        restart(&program.path(), id);
    }
}

#[test]
fn a_function_is_given_what_the_task_before_it_handed_back() {
    let made = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(made.path(), "made before").unwrap();
    let path = made.path().to_owned();
    let program = Program::new(move |task| {
        let after = task.after();
        let Some(file) = after["file"].as_str() else {
            task.hand_back(path.as_path());
            return Ok(json!({"rows": 2}));
        };
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        Ok(json!([after["id"], after["result"], text]))
    });
    program.add(own());
    program.add(own().after(1));
    program.tick();
    assert_eq!(program.result(2), json!([1, {"rows": 2}, "made before"]));
}
