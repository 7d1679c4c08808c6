//! Methods that are functions of a program which embeds the library.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use runner::clock::Clock;
use runner::context::Context;
use runner::drain::{Outcome, Wanted, drain};
use runner::enqueue::Enqueue;
use runner::functions::{Functions, Task};
use runner::handler::record::Event;
use runner::model::settings::Settings;
use runner::model::summary::Summary;
use runner::model::task::{NewTask, Progress, Severity, Status};
use runner::rehearsal::rehearse;
use runner::shutdown::Shutdown;
use runner::store::Store;
use runner::tick::tick;
use runner::time::Zone;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Program {
    _folder: TempDir,
    store: Store,
    functions: Functions,
}

impl Program {
    fn new(function: impl Fn(&mut Task) -> Result<Value, String> + Send + Sync + 'static) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::create(&folder.path().join("program.db")).unwrap();
        let mut functions = Functions::default();
        functions.add("Own:run", function);
        Self {
            _folder: folder,
            store,
            functions,
        }
    }

    fn add(&self, fields: Value) -> i64 {
        let mut task = json!({"method": "Own:run"});
        task.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let task: NewTask = serde_json::from_str(&task.to_string()).unwrap();
        let add = |store: &Store| {
            let now = Clock::system().now();
            Enqueue::new(store, &self.functions, Zone::default(), now)?.add(&task)
        };
        self.store.transact(add).unwrap()
    }

    fn drain(&self) -> Outcome {
        self.drain_with(Settings::default())
    }

    fn drain_with(&self, settings: Settings) -> Outcome {
        let clock = Clock::system();
        let shutdown = Shutdown::default();
        let ctx = Context {
            store: &self.store,
            clock: &clock,
            settings: &settings,
            functions: &self.functions,
            shutdown: &shutdown,
        };
        let (outcome, done) = drain(ctx, Wanted::Pending, None);
        done.unwrap();
        outcome
    }

    /// What a whole tick came to.
    fn tick(&self) -> Summary {
        let (clock, settings) = (Clock::system(), Settings::default());
        let shutdown = Shutdown::default();
        let ctx = Context {
            store: &self.store,
            clock: &clock,
            settings: &settings,
            functions: &self.functions,
            shutdown: &shutdown,
        };
        tick(ctx).unwrap()
    }

    /// What any program does to the database with plain SQL.
    fn sql(&self, script: &str) {
        let connection = rusqlite::Connection::open(self.store.files().path()).unwrap();
        connection.execute_batch(script).unwrap();
    }

    /// Hangs a timer on a document that starts the function, counted from this date.
    fn hang(&self, reference_at: &str) {
        self.sql(&format!(
            "INSERT INTO document (id, title) VALUES (1, 'a document');
             INSERT INTO timer (id, name) VALUES (1, 'starter');
             INSERT INTO timer_action (timer_id, position, method) VALUES (1, 0, 'Own:run');
             INSERT INTO attachment (timer_id, document_id, reference_at) VALUES (1, 1, {reference_at});"
        ));
    }

    fn status(&self, task: i64) -> Status {
        self.store.task(task).unwrap().status
    }

    fn messages(&self, task: i64) -> Vec<String> {
        let logs = self.store.task_logs(task).unwrap();
        logs.into_iter().map(|entry| entry.message).collect()
    }
}

#[test]
fn a_function_reads_its_params_and_its_answer_is_the_result() {
    let program =
        Program::new(|task| Ok(json!({"twice": task.params()["n"].as_i64().unwrap_or(0) * 2})));
    let id = program.add(json!({"params": {"n": 21}}));
    assert_eq!(program.drain().completed, 1);
    let task = program.store.task(id).unwrap();
    assert_eq!(task.status, Status::Completed);
    assert_eq!(task.result.unwrap().value(), json!({"twice": 42}));
}

#[test]
fn an_error_is_a_failure_and_a_panic_an_interruption() {
    let program = Program::new(|task| match task.params()["how"].as_str() {
        Some("error") => Err("the disk is full".to_owned()),
        _ => panic!("this was not foreseen"),
    });
    let failed = program.add(json!({"params": {"how": "error"}}));
    let interrupted = program.add(json!({}));
    let outcome = program.drain();
    assert_eq!((outcome.failed, outcome.interrupted), (1, 1));
    assert_eq!(program.status(failed), Status::Failed);
    assert_eq!(program.messages(failed), ["the disk is full"]);
    assert_eq!(program.status(interrupted), Status::Interrupted);
    assert_eq!(
        program.messages(interrupted),
        ["its function panicked: this was not foreseen"]
    );
}

#[test]
fn what_a_function_says_is_kept_as_a_handler_s_is() {
    let program = Program::new(|task| {
        task.info(format!(
            "with {}",
            task.hidden_params()["token"].as_str().unwrap_or("none")
        ));
        task.warning("it is late");
        task.debug("kept nowhere");
        task.progress(Progress {
            step: Some(3),
            max: Some(4),
            ..Progress::default()
        });
        Ok(Value::Null)
    });
    let id = program.add(json!({"hidden_params": {"token": "s3cret-token"}}));
    program.drain();
    assert_eq!(program.messages(id), ["with ***", "it is late"]);
    let progress = program.store.task(id).unwrap().progress.unwrap();
    assert_eq!((progress.step, progress.max), (Some(3), Some(4)));
}

#[test]
fn a_function_is_told_that_its_time_is_over() {
    let program = Program::new(|task| {
        while !task.should_stop() {
            std::thread::yield_now();
        }
        Ok(json!("in vain"))
    });
    let id = program.add(json!({"timeout": "1s"}));
    assert_eq!(program.drain().interrupted, 1);
    assert_eq!(program.messages(id), ["ended at its time limit"]);
}

#[test]
fn thousands_of_tasks_are_each_done_once_by_two_runs_at_once() {
    const TASKS: usize = 3000;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let program = Program::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Value::Null)
    });
    program
        .store
        .transact(|store| {
            let now = Clock::system().now();
            let enqueue = Enqueue::new(store, &program.functions, Zone::default(), now)?;
            let task = serde_json::from_str(r#"{"method":"Own:run"}"#).unwrap();
            (0..TASKS).try_for_each(|_| enqueue.add(&task).map(drop))
        })
        .unwrap();
    let path = program.store.files().path().to_owned();
    let run = || {
        let store = Store::open(&path).unwrap();
        let (clock, settings) = (Clock::system(), Settings::default());
        let shutdown = Shutdown::default();
        let ctx = Context {
            store: &store,
            clock: &clock,
            settings: &settings,
            functions: &program.functions,
            shutdown: &shutdown,
        };
        let (outcome, done) = drain(ctx, Wanted::Pending, None);
        done.unwrap();
        outcome.completed
    };
    let done: u64 = std::thread::scope(|scope| {
        let runs = [scope.spawn(run), scope.spawn(run)];
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    let left = program.drain().completed;
    assert_eq!(
        (done + left, calls.load(Ordering::Relaxed)),
        (TASKS as u64, TASKS)
    );
}

#[test]
fn a_timer_starts_a_function_as_it_starts_a_handler() {
    let program = Program::new(|task| Ok(task.document()["title"].clone()));
    program.hang("NULL");
    let (clock, settings) = (Clock::system(), Settings::default());
    let (shutdown, mut rehearsed) = (Shutdown::default(), Summary::default());
    let ctx = Context {
        store: &program.store,
        clock: &clock,
        settings: &settings,
        functions: &program.functions,
        shutdown: &shutdown,
    };
    rehearse(ctx, &mut rehearsed).unwrap();
    assert_eq!(
        (rehearsed.fired, rehearsed.errors.len()),
        (0, 0),
        "{rehearsed:?}"
    );
    let report = program.tick();
    assert!(report.errors.is_empty(), "{report:?}");
    assert_eq!((report.fired, report.tasks.completed), (1, 1));
    let result = program.store.task(1).unwrap().result.unwrap();
    assert_eq!(result.value(), json!("a document"));
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
    let program = Program::new(move |task| {
        if task.params()["nudge"] == true {
            wait_for(&nudge);
            return Ok(Value::Null);
        }
        match calls.fetch_add(1, Ordering::Relaxed) {
            0 => wait_for(&again),
            _ => {
                again.store(true, Ordering::Release);
                sleep(Duration::from_millis(300));
                return Ok(json!("in time"));
            }
        }
        Ok(json!("too late"))
    });
    let id = program.add(json!({"timeout": "1s"}));
    program.add(json!({"params": {"nudge": true}}));
    let path = program.store.files().path().to_owned();
    let restart = std::thread::spawn(move || {
        let store = Store::open(&path).unwrap();
        while store.task(id).unwrap().status != Status::Interrupted {
            sleep(Duration::from_millis(50));
        }
        store.transact(|store| store.restart_task(id)).unwrap();
        restarted.store(true, Ordering::Release);
    });
    let settings = Settings::new([("task.max_running".to_owned(), "3".to_owned())].into());
    let outcome = program.drain_with(settings);
    restart.join().unwrap();
    assert_eq!((outcome.interrupted, outcome.completed), (1, 2));
    let result = program.store.task(id).unwrap().result.unwrap();
    assert_eq!(result.value(), json!("in time"));
}

#[test]
fn a_function_that_says_more_than_is_heard_waits_until_it_is() {
    const LINES: usize = 30_000;
    let said = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&said);
    let program = Program::new(move |task| {
        for n in 0..LINES {
            task.debug(n.to_string());
            counted.fetch_add(1, Ordering::Release);
        }
        Ok(Value::Null)
    });
    program.add(json!({}));
    let (clock, settings) = (Clock::system(), Settings::default());
    let shutdown = Shutdown::default();
    let ctx = Context {
        store: &program.store,
        clock: &clock,
        settings: &settings,
        functions: &program.functions,
        shutdown: &shutdown,
    };
    let (mut heard, mut most_ahead) = (0, 0);
    // Who listens to the first message for long hears nothing else meanwhile.
    let mut listen = |_: i64, _: Event<'_>| {
        if heard == 0 {
            sleep(Duration::from_millis(300));
        }
        heard += 1;
        most_ahead = most_ahead.max(said.load(Ordering::Acquire).saturating_sub(heard));
    };
    let (outcome, _) = drain(ctx, Wanted::Pending, Some(&mut listen));
    assert_eq!((outcome.completed, heard), (1, LINES), "nothing is lost");
    // What is at hand, and as much again that waits.
    assert!(most_ahead <= 20_001, "{most_ahead}");
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
        let outcome = program.drain();
        assert!(outcome.problems[0].error.chars().count() < 600);
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
