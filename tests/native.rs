//! Methods that are functions of a program which embeds the library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use runner::drain::{Means, Outcome, Wanted, drain};
use runner::enqueue::Enqueue;
use runner::native::{Natives, Task};
use runner::settings::Settings;
use runner::signals::Signals;
use runner::store::Store;
use runner::task::{NewTask, Progress, Status};
use runner::time::{Clock, Zone};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Program {
    _folder: TempDir,
    store: Store,
    natives: Natives,
}

impl Program {
    fn new(function: impl Fn(&mut Task) -> Result<Value, String> + Send + Sync + 'static) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::create(&folder.path().join("program.db")).unwrap();
        let mut natives = Natives::default();
        natives.add("Own:run", function);
        Self {
            _folder: folder,
            store,
            natives,
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
            Enqueue::new(store, &self.natives, Zone::default(), now)?.add(task)
        };
        self.store.transact(add).unwrap()
    }

    fn drain(&self) -> Outcome {
        let (clock, settings) = (Clock::system(), Settings::default());
        let signals = Signals::default();
        let means = Means {
            clock: &clock,
            settings: &settings,
            natives: &self.natives,
            signals: &signals,
        };
        drain(&self.store, means, Wanted::Pending, None).unwrap()
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
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
            let mut enqueue = Enqueue::new(store, &program.natives, Zone::default(), now)?;
            let mut ids = Vec::new();
            for _ in 0..TASKS {
                let task = serde_json::from_str(r#"{"method":"Own:run"}"#).unwrap();
                enqueue.add_later(task, &mut ids)?;
            }
            enqueue.flush(&mut ids)
        })
        .unwrap();
    let path = program.store.path().to_owned();
    let run = || {
        let (clock, settings) = (Clock::system(), Settings::default());
        let signals = Signals::default();
        let means = Means {
            clock: &clock,
            settings: &settings,
            natives: &program.natives,
            signals: &signals,
        };
        drain(&Store::open(&path).unwrap(), means, Wanted::Pending, None)
            .unwrap()
            .completed
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
