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
use super::grace::GRACE;
use crate::clock::Clock;
use crate::functions::{Functions, Given, Task};
use crate::handler::mask::Mask;
use crate::handler::protocol::Message;
use crate::handler::record::Event;
use crate::json::Json;
use crate::model::task::Status;
use crate::worker::Notes;

/// How many tasks wait for each thread, so that it finds the next one without the run's help.
const WAITING: usize = 256;

/// How many messages of functions the run may leave unheard, while it waits for the database: who has more to say waits.
const MOST_UNHEARD: usize = 10_000;
/// How many bytes of log and debug messages it may leave unheard.
const MOST_BYTES_UNHEARD: usize = 16 << 20;

/// The threads, and the tasks that are theirs.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    wake: UnixStream,
    live: HashMap<Number, Live>,
    /// The number of the last call.
    last: Number,
    threads: usize,
    /// How many places for handlers the pool takes now.
    pub(super) places: usize,
}

/// What a call of a function is known by. A task and its attempt would not do: who restarts a task counts its attempts
/// anew, and the function may still be at work on the one that was given up.
type Number = u64;

#[derive(Debug)]
struct Live {
    attempt: Attempt,
    stop: Arc<AtomicBool>,
    /// Set by who is first: the thread that is done with it, or the run that gives it up.
    over: Arc<AtomicBool>,
    /// When its time limit has passed.
    end_at: Option<Duration>,
    /// When it is given up: it was asked to return and did not.
    give_up_at: Option<Duration>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    functions: Functions,
    notes: Arc<Notes>,
    waiting: Mutex<Waiting>,
    more: Condvar,
    unheard: Mutex<Unheard>,
    /// The run has heard all that was said.
    heard: Condvar,
    wake: UnixStream,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: VecDeque<Call>,
    closed: bool,
}

/// A task for a thread.
#[derive(Debug)]
struct Call {
    number: Number,
    given: Given,
    /// The place for the note of its start.
    note: usize,
    over: Arc<AtomicBool>,
}

/// What the functions have said since the run listened.
#[derive(Debug, Default)]
struct Unheard {
    said: Vec<(Number, Said)>,
    /// How much of it are texts.
    bytes: usize,
    /// Nobody will listen any more.
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
            functions: around.functions.clone(),
            notes,
            waiting: Mutex::default(),
            more: Condvar::new(),
            unheard: Mutex::default(),
            heard: Condvar::new(),
            wake: write,
        };
        Ok(Self {
            shared: Arc::new(shared),
            wake,
            live: HashMap::new(),
            last: 0,
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
        let (stop, over) = (Arc::default(), Arc::default());
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
            over: Arc::clone(&over),
            end_at: None,
            give_up_at: None,
        };
        self.last += 1;
        self.live.insert(self.last, live);
        lock(&self.shared.waiting).calls.push_back(Call {
            number: self.last,
            given,
            note,
            over,
        });
        self.shared.more.notify_one();
    }

    /// Takes back what no thread has begun and is wanted back: the attempts to be unclaimed.
    pub(super) fn take_back(&mut self, wanted: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        let (live, mut taken) = (&mut self.live, Vec::new());
        lock(&self.shared.waiting).calls.retain(|call| {
            let found = live.get(&call.number);
            let back = found.is_none_or(|live| wanted(&live.attempt));
            taken.extend(back.then(|| live.remove(&call.number)).flatten());
            !back
        });
        taken.into_iter().map(|live| live.attempt).collect()
    }

    /// Whether some task waits for a thread.
    pub(super) fn has_waiting(&self) -> bool {
        !lock(&self.shared.waiting).calls.is_empty()
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
        let unheard = mem::take(&mut *lock(&self.shared.unheard));
        self.shared.heard.notify_all();
        let at = around.clock.now();
        for (number, said) in unheard.said {
            match said {
                Said::Begun => {
                    if let Some(live) = self.live.get_mut(&number) {
                        live.attempt.started = around.clock.elapsed();
                        live.end_at = live.attempt.limit.map(|limit| live.attempt.started + limit);
                    }
                }
                Said::Message(message) => {
                    if let Some(live) = self.live.get_mut(&number) {
                        let id = live.attempt.claim.id;
                        live.attempt
                            .record
                            .hear(message, at, &mut |event: Event<'_>| show(id, event));
                    }
                }
                Said::Over(outcome, lasted) => {
                    if let Some(mut live) = self.live.remove(&number) {
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
        // One that has returned meanwhile is heard of next, and its thread is not lost.
        let is_final = self.live.extract_if(|_, live| {
            passed(live.give_up_at) && !live.over.swap(true, Ordering::AcqRel)
        });
        for (_, live) in is_final {
            // Its thread is lost to the pool, and ends with its function: the next task gets another.
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
        lock(&self.shared.unheard).closed = true;
        self.shared.heard.notify_all();
    }
}

impl Shared {
    fn work(self: Arc<Self>) {
        while let Some(call) = self.next() {
            let Call { number, given, .. } = call;
            let begun = self.clock.elapsed();
            let outcome = match self.notes.write(call.note, (given.id, given.attempt)) {
                Ok(()) => self.run(number, given),
                Err(error) => Outcome::Failed(format!("its start cannot be noted: {error}")),
            };
            let lasted = self.clock.elapsed().saturating_sub(begun);
            // It was given up, and another thread has taken this one's place.
            if call.over.swap(true, Ordering::AcqRel) {
                return;
            }
            self.say(number, Said::Over(outcome, lasted));
        }
    }

    fn next(&self) -> Option<Call> {
        let mut waiting = lock(&self.waiting);
        loop {
            if let Some(next) = waiting.calls.pop_front() {
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

    fn run(self: &Arc<Self>, number: Number, given: Given) -> Outcome {
        let Some(function) = self.functions.get(&given.method) else {
            return Outcome::Failed("this program has no such method".to_owned());
        };
        let ear = Arc::clone(self);
        if given.limited {
            self.say(number, Said::Begun);
        }
        let say = Box::new(move |message| ear.say(number, Said::Message(message)));
        let mut task = Task { given, say };
        match catch_unwind(AssertUnwindSafe(|| function(&mut task))) {
            Ok(Ok(value)) => Outcome::Done(value),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(panic) => Outcome::Panicked(words(panic.as_ref())),
        }
    }

    /// The run is woken once for all that is said until it looks. A message waits while too many are unheard.
    fn say(&self, number: Number, said: Said) {
        let mut unheard = lock(&self.unheard);
        while matches!(said, Said::Message(_)) && unheard.is_full() && !unheard.closed {
            unheard = self
                .heard
                .wait(unheard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if unheard.closed {
            return;
        }
        let first = unheard.said.is_empty();
        unheard.bytes += said.bytes();
        unheard.said.push((number, said));
        drop(unheard);
        if first {
            // A full pipe wakes as well.
            let _ = (&self.wake).write(&[0]);
        }
    }
}

impl Unheard {
    fn is_full(&self) -> bool {
        self.said.len() >= MOST_UNHEARD || self.bytes >= MOST_BYTES_UNHEARD
    }
}

impl Said {
    /// How long the texts of a message are.
    fn bytes(&self) -> usize {
        match self {
            Self::Message(Message::Log {
                message, details, ..
            }) => message.len() + details.as_ref().map_or(0, |details| details.text().len()),
            Self::Message(Message::Debug(message)) => message.len(),
            _ => 0,
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
