//! Methods that are functions of a program, as ticks run them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep, spawn};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::App;
use crate::clock::Clock;
use crate::context::Context;
use crate::enqueue::Enqueue;
use crate::functions::Task;
use crate::model::new_task::NewTask;
use crate::model::settings::Settings;
use crate::model::summary::Summary;
use crate::model::task::{Progress, Severity, Status};
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::tick::tick;
use crate::time::Zone;

/// A program with one method, and a database of its own.
struct Program {
    _folder: TempDir,
    store: Store<'static>,
    app: App,
    max_running: &'static str,
}

impl Program {
    fn new(function: impl Fn(&mut Task) -> Result<Value, String> + Send + Sync + 'static) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::create(&folder.path().join("program.db")).unwrap();
        Self {
            _folder: folder,
            store,
            app: App::new().method("Own:run", function),
            max_running: "2",
        }
    }

    fn add(&self, fields: Value) -> i64 {
        let mut task = json!({"method": "Own:run"});
        let fields = fields.as_object().unwrap().clone();
        task.as_object_mut().unwrap().extend(fields);
        let task: NewTask = serde_json::from_str(&task.to_string()).unwrap();
        let now = Clock::system().now();
        let add = |store: &Store| {
            Enqueue::new(store, &self.app.functions, Zone::default(), now)?.add(task)
        };
        self.store.transact(add).unwrap()
    }

    fn tick(&self) -> Summary {
        tick_of(&self.app, self.max_running, &self.store)
    }

    /// A store of a thread's own.
    fn opener(&self) -> impl FnOnce() -> Store<'static> + Send + use<> {
        let path = self.store.files().path().to_owned();
        move || Store::open(&path).unwrap()
    }

    fn status(&self, task: i64) -> Status {
        self.store.task(task).unwrap().status
    }

    fn result(&self, task: i64) -> Value {
        let result = self.store.task(task).unwrap().result;
        result.map_or(Value::Null, |result| result.value())
    }

    fn messages(&self, task: i64) -> Vec<String> {
        let logs = self.store.task_logs(task).unwrap();
        logs.into_iter().map(|entry| entry.message).collect()
    }
}

fn tick_of(app: &App, max_running: &str, store: &Store) -> Summary {
    let (clock, shutdown) = (Clock::system(), Shutdown::default());
    let settings = [("task.max_running".to_owned(), max_running.to_owned())];
    let ctx = Context {
        store,
        clock: &clock,
        settings: &Settings::new(settings.into()),
        functions: &app.functions,
        shutdown: &shutdown,
    };
    tick(ctx).unwrap()
}

#[test]
fn a_function_reads_its_params_and_its_answer_is_the_result() {
    let twice =
        |task: &mut Task| Ok(json!({"twice": task.params()["n"].as_i64().unwrap_or(0) * 2}));
    let program = Program::new(twice);
    let id = program.add(json!({"params": {"n": 21}}));
    assert_eq!(program.tick().tasks.completed, 1);
    assert_eq!(program.result(id), json!({"twice": 42}));
}

#[test]
fn an_error_is_a_failure_and_a_panic_an_interruption() {
    let program = Program::new(|task| match task.params()["how"].as_str() {
        Some("error") => Err("the disk is full".to_owned()),
        _ => panic!("this was not foreseen"),
    });
    let failed = program.add(json!({"params": {"how": "error"}}));
    let interrupted = program.add(json!({}));
    let tasks = program.tick().tasks;
    assert_eq!((tasks.failed, tasks.interrupted), (1, 1));
    assert_eq!(program.status(failed), Status::Failed);
    assert_eq!(program.messages(failed), ["the disk is full"]);
    assert_eq!(program.status(interrupted), Status::Interrupted);
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
    let id = program.add(json!({"hidden_params": {"token": "s3cret-token"}}));
    program.tick();
    assert_eq!(program.messages(id), ["with ***", "it is late"]);
    let progress = program.store.task(id).unwrap().progress.unwrap();
    assert_eq!((progress.step, progress.max), (Some(3), Some(4)));
    assert_eq!(program.result(id), json!(["***"]));
}

#[test]
fn a_function_is_told_that_its_time_is_over() {
    let program = Program::new(|task| {
        while !task.should_stop() {
            sleep(Duration::from_millis(5));
        }
        Ok(json!("in vain"))
    });
    let id = program.add(json!({"timeout": "1s"}));
    assert_eq!(program.tick().tasks.interrupted, 1);
    assert_eq!(program.messages(id), ["ended at its time limit"]);
}

#[test]
fn thousands_of_tasks_are_each_done_once_by_two_ticks_at_once() {
    const TASKS: usize = 3000;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let mut program = Program::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Value::Null)
    });
    program.max_running = "4";
    let task: NewTask = serde_json::from_str(r#"{"method":"Own:run"}"#).unwrap();
    let add_all = |store: &Store| {
        let now = Clock::system().now();
        let enqueue = Enqueue::new(store, &program.app.functions, Zone::default(), now)?;
        (0..TASKS).try_for_each(|_| enqueue.add(task.clone()).map(drop))
    };
    program.store.transact(add_all).unwrap();
    let (path, app) = (program.store.files().path(), &program.app);
    let run = || {
        tick_of(app, "4", &Store::open(path).unwrap())
            .tasks
            .completed
    };
    let done: u64 = scope(|scope| {
        let ticks = [scope.spawn(run), scope.spawn(run)];
        ticks.into_iter().map(|tick| tick.join().unwrap()).sum()
    });
    let done = done + program.tick().tasks.completed;
    assert_eq!((done, calls.load(Ordering::Relaxed)), (TASKS as u64, TASKS));
}

#[test]
fn tasks_that_wait_for_a_function_at_work_go_back_to_be_run_by_others() {
    let is_done = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_done);
    let mut program = Program::new(move |task| {
        if task.params()["waits"] == true {
            wait_for(&flag);
        }
        Ok(Value::Null)
    });
    program.max_running = "1";
    // After a short one more are claimed than can start at once.
    program.add(json!({}));
    program.add(json!({"params": {"waits": true}}));
    let others: Vec<i64> = (0..3).map(|_| program.add(json!({}))).collect();
    let open = program.opener();
    let watch = spawn(move || {
        let store = open();
        let statuses = || others.iter().map(|id| store.task(*id).unwrap().status);
        while statuses().any(|status| status != Status::Running) {
            sleep(Duration::from_millis(5));
        }
        while statuses().any(|status| status != Status::ToRun) {
            sleep(Duration::from_millis(5));
        }
        is_done.store(true, Ordering::Release);
    });
    assert_eq!(program.tick().tasks.completed, 5);
    watch.join().unwrap();
}

#[test]
fn a_timer_starts_a_function_as_it_starts_a_handler() {
    let program = Program::new(|task| Ok(task.document()["title"].clone()));
    let connection = rusqlite::Connection::open(program.store.files().path()).unwrap();
    connection
        .execute_batch(
            "INSERT INTO document (id, title) VALUES (1, 'a document');
             INSERT INTO timer (id, name) VALUES (1, 'starter');
             INSERT INTO timer_action (timer_id, position, method) VALUES (1, 0, 'Own:run');
             INSERT INTO attachment (timer_id, document_id) VALUES (1, 1);",
        )
        .unwrap();
    let summary = program.tick();
    assert!(summary.errors.is_empty(), "{summary:?}");
    assert_eq!((summary.fired, summary.tasks.completed), (1, 1));
    assert_eq!(program.result(1), json!("a document"));
}

/// Waits until another thread has set this.
fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "it waits for the 10 seconds that a function has"]
fn the_late_answer_of_a_function_that_was_given_up_does_not_end_the_next_attempt() {
    let (begun_again, restarted) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let (again, nudge) = (Arc::clone(&begun_again), Arc::clone(&restarted));
    let calls = AtomicUsize::new(0);
    let mut program = Program::new(move |task| {
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
    });
    program.max_running = "3";
    let id = program.add(json!({"timeout": "1s"}));
    program.add(json!({"params": {"nudge": true}}));
    let open = program.opener();
    let restart = spawn(move || {
        let store = open();
        while store.task(id).unwrap().status != Status::Interrupted {
            sleep(Duration::from_millis(50));
        }
        store.transact(|store| store.restart_task(id)).unwrap();
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
    let id = program.add(json!({}));
    for attempt in 1..=2 {
        let summary = program.tick();
        assert!(summary.errors[0].message.chars().count() < 600);
        let logs = program.store.task_logs(id).unwrap();
        assert_eq!(logs.len(), 4 * attempt);
        for lines in logs.chunks(4) {
            let messages: Vec<&str> = lines.iter().map(|entry| entry.message.as_str()).collect();
            assert_eq!((messages[0], messages[2]), ("first line", "last line"));
            let cut = " … [1134464 bytes cut]";
            assert!(messages[1].starts_with("éé") && messages[1].ends_with(cut));
            let details = lines[1].details.as_ref().unwrap().value();
            assert!(details.as_str().unwrap().ends_with(" bytes cut]"));
            assert!(messages[3].starts_with("eee") && messages[3].ends_with(" bytes cut]"));
        }
        let restart = |store: &Store| store.restart_task(id);
        program.store.transact(restart).unwrap();
    }
}
