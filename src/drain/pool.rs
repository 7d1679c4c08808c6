//! Threads for the methods that are functions of this program.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use std::{io, mem};

use serde_json::Value;

use super::attempt::{Attempt, Cause, Ended, Ready, Surroundings, Watch};
use super::own::GRACE;
use crate::handler::mask::Mask;
use crate::handler::protocol::Message;
use crate::handler::record::Event;
use crate::json::Json;
use crate::native::{Given, Natives, Task};
use crate::task::Status;
use crate::time::Clock;
use crate::worker::Notes;

/// How many tasks wait for each thread, so that it finds the next one without the run's help.
const WAITING: usize = 256;

/// The threads, and the tasks that are theirs.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    wake: UnixStream,
    live: HashMap<i64, Live>,
    threads: usize,
    /// How many places for handlers the pool takes now.
    pub(super) places: usize,
}

#[derive(Debug)]
struct Live {
    attempt: Attempt,
    stop: Arc<AtomicBool>,
    /// When its time limit has passed.
    end_at: Option<Duration>,
    /// When it is given up: it was asked to return and did not.
    give_up_at: Option<Duration>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    natives: Natives,
    notes: Arc<Notes>,
    waiting: Mutex<Waiting>,
    more: Condvar,
    said: Mutex<Vec<(i64, Said)>>,
    wake: UnixStream,
}

#[derive(Debug, Default)]
struct Waiting {
    tasks: VecDeque<(Given, usize)>,
    closed: bool,
}

#[derive(Debug)]
enum Said {
    /// A thread has begun it: only now does its time limit count.
    Begun,
    Message(Message),
    Over(Outcome, Duration),
}

#[derive(Debug)]
enum Outcome {
    Done(Value),
    Failed(String),
    Panicked(String),
}

impl Pool {
    pub(super) fn new(around: &Surroundings<'_>, notes: Arc<Notes>) -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let shared = Shared {
            clock: *around.clock,
            natives: around.natives.clone(),
            notes,
            waiting: Mutex::default(),
            more: Condvar::new(),
            said: Mutex::default(),
            wake: write,
        };
        Ok(Self {
            shared: Arc::new(shared),
            wake,
            live: HashMap::new(),
            threads: 0,
            places: 0,
        })
    }

    /// What becomes readable when a function has said something.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.live.is_empty()
    }

    /// Whether another task can wait for the places that the pool has.
    pub(super) fn has_room(&self) -> bool {
        self.places > 0 && self.live.len() < self.places * WAITING
    }

    /// Takes one more place, with a thread of its own.
    pub(super) fn take_place(&mut self) -> io::Result<()> {
        if self.threads == self.places {
            let shared = Arc::clone(&self.shared);
            thread::Builder::new()
                .name("method".to_owned())
                .spawn(move || shared.work())?;
            self.threads += 1;
        }
        self.places += 1;
        Ok(())
    }

    /// Hands over a task; the thread that begins it notes that.
    pub(super) fn give(&mut self, ready: Ready<'_>, note: usize, elapsed: Duration) {
        let stop = Arc::new(AtomicBool::new(false));
        let claim = &ready.claim;
        let given = Given {
            id: claim.id,
            method: claim.method.clone(),
            params: claim.params.clone(),
            hidden_params: claim.hidden_params.clone(),
            document: ready.document.clone(),
            file: ready.file.clone(),
            attempt: claim.attempt,
            limited: ready.is_limited(),
            stop: Arc::clone(&stop),
        };
        let mask = Mask::new(ready.claim.hidden_params.as_ref());
        let live = Live {
            attempt: ready.begin(note, elapsed, mask),
            stop,
            end_at: None,
            give_up_at: None,
        };
        self.live.insert(given.id, live);
        lock(&self.shared.waiting).tasks.push_back((given, note));
        self.shared.more.notify_one();
    }

    /// Takes back what no thread has begun and is wanted back: the attempts to be unclaimed.
    pub(super) fn take_back(&mut self, wanted: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        let (live, mut taken) = (&mut self.live, Vec::new());
        lock(&self.shared.waiting).tasks.retain(|(given, _)| {
            let found = live.get(&given.id);
            let back = found.is_none_or(|live| wanted(&live.attempt));
            taken.extend(back.then(|| live.remove(&given.id)).flatten());
            !back
        });
        taken.into_iter().map(|live| live.attempt).collect()
    }

    /// Whether some task waits for a thread.
    pub(super) fn has_waiting(&self) -> bool {
        !lock(&self.shared.waiting).tasks.is_empty()
    }

    /// Takes in what the functions have said since; the attempts that are over.
    pub(super) fn listen(
        &mut self,
        around: &Surroundings<'_>,
        show: Watch<'_>,
        ended: &mut Vec<Ended>,
    ) {
        let mut bytes = [0; 64];
        while io::Read::read(&mut self.wake, &mut bytes).is_ok_and(|read| read == bytes.len()) {}
        let said = mem::take(&mut *lock(&self.shared.said));
        let at = around.clock.now();
        for (id, said) in said {
            match said {
                Said::Begun => {
                    if let Some(live) = self.live.get_mut(&id) {
                        live.attempt.started = around.clock.elapsed();
                        live.end_at = live.attempt.limit.map(|limit| live.attempt.started + limit);
                    }
                }
                Said::Message(message) => {
                    if let Some(live) = self.live.get_mut(&id) {
                        live.attempt
                            .record
                            .hear(message, at, &mut |event: Event<'_>| show(id, event));
                    }
                }
                Said::Over(outcome, lasted) => {
                    if let Some(mut live) = self.live.remove(&id) {
                        live.attempt.started = around.clock.elapsed().saturating_sub(lasted);
                        ended.push(end(live.attempt, outcome, around, show));
                    }
                }
            }
        }
        if self.live.is_empty() {
            self.places = 0;
        }
    }

    /// The attempts that are under way, or wait for a thread.
    pub(super) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.live.values().map(|live| &live.attempt)
    }

    pub(super) fn attempts_mut(&mut self) -> impl Iterator<Item = &mut Attempt> {
        self.live.values_mut().map(|live| &mut live.attempt)
    }

    /// Asks functions to return: the one of a task, or all.
    pub(super) fn ask_to_end(&mut self, task: Option<i64>, cause: Cause, elapsed: Duration) {
        let asked = |live: &&mut Live| task.is_none_or(|id| live.attempt.claim.id == id);
        self.live
            .values_mut()
            .filter(asked)
            .for_each(|live| live.ask_to_end(cause, elapsed));
    }

    /// Does what has become due: time limits, and the end of the patience with functions that do not return.
    pub(super) fn enforce(
        &mut self,
        around: &Surroundings<'_>,
        show: Watch<'_>,
        ended: &mut Vec<Ended>,
    ) {
        let elapsed = around.clock.elapsed();
        let passed = |at: Option<Duration>| at.is_some_and(|at| elapsed >= at);
        for live in self.live.values_mut().filter(|live| passed(live.end_at)) {
            live.ask_to_end(Cause::TimedOut, elapsed);
        }
        let given_up = self.live.extract_if(|_, live| passed(live.give_up_at));
        for (_, live) in given_up {
            // Its thread is lost to the pool: the next task gets another.
            self.threads = self.threads.saturating_sub(1);
            self.places = self.places.saturating_sub(1);
            ended.push(end(live.attempt, Outcome::Done(Value::Null), around, show));
        }
    }

    /// When [`Pool::enforce`] has something to do next.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let deadlines = self
            .live
            .values()
            .filter_map(|live| live.give_up_at.or(live.end_at));
        deadlines.min()
    }
}

impl Live {
    fn ask_to_end(&mut self, cause: Cause, elapsed: Duration) {
        self.end_at = None;
        self.give_up_at.get_or_insert(elapsed + GRACE);
        self.attempt.ask_to_end(cause);
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.waiting).closed = true;
        self.shared.more.notify_all();
    }
}

impl Shared {
    fn work(self: Arc<Self>) {
        while let Some((given, note)) = self.next() {
            let (id, attempt) = (given.id, given.attempt);
            let begun = self.clock.elapsed();
            let outcome = match self.notes.write(note, (id, attempt)) {
                Ok(()) => self.run(given),
                Err(error) => Outcome::Failed(format!("its start cannot be noted: {error}")),
            };
            self.say(id, Said::Over(outcome, self.clock.elapsed() - begun));
        }
    }

    fn next(&self) -> Option<(Given, usize)> {
        let mut waiting = lock(&self.waiting);
        loop {
            if let Some(next) = waiting.tasks.pop_front() {
                return Some(next);
            }
            if waiting.closed {
                return None;
            }
            waiting = self
                .more
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(self: &Arc<Self>, given: Given) -> Outcome {
        let Some(function) = self.natives.get(&given.method) else {
            return Outcome::Failed("this program has no such method".to_owned());
        };
        let (id, ear) = (given.id, Arc::clone(self));
        if given.limited {
            self.say(id, Said::Begun);
        }
        let say = Box::new(move |message| ear.say(id, Said::Message(message)));
        let mut task = Task { given, say };
        match catch_unwind(AssertUnwindSafe(|| function(&mut task))) {
            Ok(Ok(value)) => Outcome::Done(value),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(panic) => Outcome::Panicked(words(panic.as_ref())),
        }
    }

    /// The run is woken once for all that is said until it looks.
    fn say(&self, id: i64, said: Said) {
        let mut all = lock(&self.said);
        let first = all.is_empty();
        all.push((id, said));
        drop(all);
        if first {
            // A full pipe wakes as well.
            let _ = (&self.wake).write(&[0]);
        }
    }
}

fn end(attempt: Attempt, outcome: Outcome, around: &Surroundings<'_>, show: Watch<'_>) -> Ended {
    let mut attempt = attempt;
    let outcome = match outcome {
        Outcome::Done(value) => {
            if !value.is_null() {
                let result = Message::Result(Json::from(&value));
                attempt.record.hear(result, around.clock.now(), &mut |_| {});
            }
            (Status::Completed, None, None)
        }
        Outcome::Failed(error) => (Status::Failed, None, Some(error)),
        Outcome::Panicked(words) => (
            Status::Interrupted,
            None,
            Some(format!("its function panicked: {words}")),
        ),
    };
    attempt.end(around, outcome, show)
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// A thread that panicked outside of a method has left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
