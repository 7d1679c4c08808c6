//! A handler that is a process of its own for each task.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::attempt::{Attempt, Cause, Ended, Ready, Surroundings, Watch, last_words};
use super::grace::Grace;
use crate::error::Result;
use crate::handler::lines::Lines;
use crate::handler::mask::Mask;
use crate::handler::process::{Process, Start, Stream, cannot_start, is_shortage};
use crate::handler::record::Event;
use crate::model::task::{Severity, Status};
use crate::store::task::Claim;
use crate::time::Timestamp;
use crate::worker::{self, MARK, Worker};

/// How much of a handler's output is read at a time, so that a flood on one pipe does not hold up the others.
pub(super) const READ_AT_ONCE: usize = 256 * 1024;

/// Why the output of a handler that has ended is not read to its end.
pub(super) const OTHERS_WRITE: &str =
    "its handler has ended, and what other processes still write to its output is not read";

/// A handler at work on its only task.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) attempt: Attempt,
    pub(super) process: Process,
    out: Lines,
    err: Lines,
    grace: Grace,
}

/// What came of trying to start a handler.
pub(super) enum Begun<T> {
    /// It runs.
    Running(T),
    /// It cannot be started: the attempt is over.
    Over(Box<Ended>),
    /// The machine has no room for it now: the task waits for another time.
    Shortage(Claim, String),
}

impl Own {
    /// Starts the handler of a task.
    ///
    /// # Errors
    /// Only when the start cannot be noted: then nothing was started.
    pub(super) fn start(
        around: &Surroundings<'_>,
        worker: &mut Worker,
        ready: Ready<'_>,
    ) -> Result<Begun<Self>> {
        let argv = ready.method.argv(&ready.claim.method);
        let mut env = task_env(around, worker, &ready);
        if around.debug {
            env.push(("RUNNER_DEBUG", "1".into()));
        }
        let note = match worker.note_start((ready.claim.id, ready.claim.attempt)) {
            Err(error) if error.is_shortage() => return Ok(ready.wait(&error.to_string())),
            note => note?,
        };
        let started = Process::start(&Start {
            argv: &argv,
            folder: &around.folder,
            inherited: &around.inherited,
            env: &env,
        });
        Ok(match started {
            Ok(mut process) => {
                process.give(&ready.input(around));
                process.push_input();
                process.end_input();
                let mask = Mask::new(ready.claim.hidden_params.as_ref());
                Begun::Running(Self {
                    attempt: ready.begin(note, around.clock.elapsed(), mask),
                    process,
                    out: Lines::default(),
                    err: Lines::default(),
                    grace: Grace::default(),
                })
            }
            Err(error) => {
                worker.forget(note);
                let reason = cannot_start(argv.first().map_or("", String::as_str), &error);
                match is_shortage(&error) {
                    true => ready.wait(&reason),
                    false => Begun::Over(ready.fail(around, reason)),
                }
            }
        })
    }

    /// Reads what the handler has printed.
    pub(super) fn listen(&mut self, buffer: &mut [u8], at: Timestamp, show: Watch<'_>) {
        for stream in [Stream::Out, Stream::Err] {
            self.read(stream, READ_AT_ONCE, buffer, at, show);
        }
    }

    /// Reads so much at least, if it is there. Whether it was.
    fn read(
        &mut self,
        stream: Stream,
        most: usize,
        buffer: &mut [u8],
        at: Timestamp,
        show: Watch<'_>,
    ) -> bool {
        let mut total = 0;
        while total < most {
            let read = self.process.read(stream, buffer);
            if read == 0 {
                return false;
            }
            total += read;
            self.take(stream, buffer.get(..read).unwrap_or_default(), at, show);
        }
        true
    }

    fn take(&mut self, stream: Stream, bytes: &[u8], at: Timestamp, show: Watch<'_>) {
        let (id, record) = (self.attempt.claim.id, &mut self.attempt.record);
        let show = &mut |event: Event<'_>| show(id, event);
        match stream {
            Stream::Out => self
                .out
                .feed(bytes, |line| record.hear_stdout(line, at, show)),
            Stream::Err => self
                .err
                .feed(bytes, |line| record.hear_stderr(line, at, show)),
        }
    }

    /// Asks the handler to end, for this cause, unless it was asked before.
    pub(super) fn ask_to_end(&mut self, cause: Cause, elapsed: Duration) {
        self.attempt.ask_to_end(cause);
        self.grace.ask(&self.process, elapsed);
    }

    /// Does what has become due: the end of its time, the end of its grace, again and again while it lives.
    pub(super) fn enforce(&mut self, elapsed: Duration) {
        if self.limit().is_some_and(|limit| elapsed >= limit) {
            self.ask_to_end(Cause::TimedOut, elapsed);
        }
        self.grace.enforce(&self.process, elapsed);
    }

    /// When [`Own::enforce`] has something to do next.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        [self.limit(), self.grace.over_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn limit(&self) -> Option<Duration> {
        let limit = self
            .attempt
            .limit
            .filter(|_| self.attempt.cause.is_none())?;
        Some(self.attempt.started + limit)
    }

    /// The handler has ended: what it left in its pipes is read, what it left behind in its group is dead.
    pub(super) fn end(
        mut self,
        exit: ExitStatus,
        around: &Surroundings<'_>,
        worker: &Worker,
        show: Watch<'_>,
    ) -> Ended {
        let at = around.clock.now();
        for stream in [Stream::Out, Stream::Err] {
            // What is in the pipe now, and not what others still write.
            let (most, buffer) = (self.process.capacity(stream), &mut [0; 16 * 1024]);
            if self.read(stream, most, buffer, at, show) && self.read(stream, 1, buffer, at, show) {
                self.attempt.say(Severity::Warning, OTHERS_WRITE, at, show);
            }
        }
        let (id, record) = (self.attempt.claim.id, &mut self.attempt.record);
        let show_one = &mut |event: Event<'_>| show(id, event);
        if let Some(line) = self.out.end() {
            record.hear_stdout(line, at, show_one);
        }
        if let Some(line) = self.err.end() {
            record.hear_stderr(line, at, show_one);
        }
        if self.attempt.cause.is_some() {
            worker::kill_all_of(&worker.mark(), id);
        }
        let outcome = outcome(exit, &self.attempt);
        self.attempt.end(around, outcome, show)
    }
}

fn outcome(exit: ExitStatus, attempt: &Attempt) -> (Status, Option<i32>, Option<String>) {
    match exit.code() {
        Some(0) => (Status::Completed, Some(0), None),
        Some(code) => {
            let words = format!("exit status {code}{}", last_words(&attempt.record));
            (Status::Failed, Some(code), Some(words))
        }
        None => {
            let words = format!("{}{}", killed_by(exit), last_words(&attempt.record));
            (Status::Interrupted, None, Some(words))
        }
    }
}

/// The signal that ended a process, in words.
pub(super) fn killed_by(exit: ExitStatus) -> String {
    let signal = exit.signal().unwrap_or(0);
    let name = signal_hook::low_level::signal_name(signal).unwrap_or("unknown");
    format!("killed by signal {signal} ({name})")
}

fn task_env(
    around: &Surroundings<'_>,
    worker: &Worker,
    ready: &Ready<'_>,
) -> Vec<(&'static str, OsString)> {
    let mut env: Vec<(&str, OsString)> = vec![
        ("RUNNER_DB", around.database.clone().into()),
        ("RUNNER_TASK", ready.claim.id.to_string().into()),
        ("RUNNER_METHOD", ready.claim.method.clone().into()),
        (MARK, worker.mark().into()),
    ];
    env.extend(ready.file.as_ref().map(|file| ("RUNNER_FILE", file.into())));
    let document = ready.claim.document.map(|id| id.to_string());
    env.extend(document.map(|id| ("RUNNER_DOCUMENT", id.into())));
    env
}
