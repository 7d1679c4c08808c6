//! A resident handler: one process that is fed many tasks, a line each, and says of each when it is done with it.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::LOOK_FOR_STOPS;
use super::attempt::{Attempt, Cause, Ended, Ready, Surroundings, Watch, last_words};
use super::grace::Grace;
use super::own::{Begun, OTHERS_WRITE, READ_AT_ONCE, killed_by};
use crate::handler::lines::{Line, Lines};
use crate::handler::mask::Mask;
use crate::handler::process::{Process, Start, Stream, cannot_start, is_shortage};
use crate::handler::protocol::{self, Message};
use crate::handler::record::Event;
use crate::model::task::{Severity, Status};
use crate::time::Timestamp;
use crate::worker::{MARK, Worker};

/// How often in a row a resident handler may die before it is done with any task. Then its tasks wait for another run.
pub(super) const MOST_DEATHS: u32 = 3;

/// A process that serves a method.
#[derive(Debug)]
pub(super) struct Resident {
    /// The method that it is registered for; several when that is a whole service.
    pub(super) method: String,
    pub(super) process: Process,
    pub(super) held: VecDeque<Attempt>,
    pipeline: usize,
    out: Lines,
    err: Lines,
    /// What may not be shown of any task that it was ever given: it may still say it when that task is done.
    mask: Mask,
    /// The last line on its standard error.
    last_words: Option<String>,
    /// Since when the task that it was given first is at the head.
    head_since: Duration,
    grace: Grace,
    /// Since when its output is closed.
    silent_since: Option<Duration>,
    /// Whether it is ended because it had closed its output.
    unheard: bool,
    /// Whether it was told that nothing more comes.
    leaving: bool,
    /// How many tasks it has been done with.
    pub(super) done: u64,
}

impl Resident {
    /// Starts a process for the method of a task, and gives it the task.
    pub(super) fn start(
        around: &Surroundings<'_>,
        worker: &mut Worker,
        ready: Ready<'_>,
    ) -> Begun<Self> {
        let mut env = vec![
            ("RUNNER_DB", around.database.clone().into()),
            (MARK, worker.mark().into()),
        ];
        env.extend(around.debug.then(|| ("RUNNER_DEBUG", "1".into())));
        let started = Process::start(&Start {
            argv: &ready.method.command,
            folder: &around.folder,
            inherited: &around.inherited,
            env: &env,
        });
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                let program = ready.method.command.first().map_or("", String::as_str);
                let reason = cannot_start(program, &error);
                return match is_shortage(&error) {
                    true => ready.wait(&reason),
                    false => Begun::Over(ready.fail(around, reason)),
                };
            }
        };
        let mut resident = Self {
            method: ready.method.name.clone(),
            process,
            held: VecDeque::new(),
            pipeline: usize::try_from(ready.method.pipeline).unwrap_or(1).max(1),
            out: Lines::default(),
            err: Lines::default(),
            mask: Mask::default(),
            last_words: None,
            head_since: around.clock.elapsed(),
            grace: Grace::default(),
            silent_since: None,
            unheard: false,
            leaving: false,
            done: 0,
        };
        resident.give(around, worker, ready);
        Begun::Running(resident)
    }

    /// How many more tasks it can be given.
    pub(super) fn room(&self) -> usize {
        let is_ending = self.leaving || self.grace.has_begun();
        match is_ending || self.process.is_deaf() || self.process.is_silent() {
            true => 0,
            false => self.pipeline.saturating_sub(self.held.len()),
        }
    }

    /// Whether it can be given another task.
    pub(super) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// Gives it another task. It is told of it by [`Resident::push`], after [`Worker::write_notes`]: of all that it is
    /// given in one turn, at once.
    pub(super) fn give(
        &mut self,
        around: &Surroundings<'_>,
        worker: &mut Worker,
        ready: Ready<'_>,
    ) {
        let note = worker.note_start_later((ready.claim.id, ready.claim.attempt));
        let told_from = self.process.given();
        self.process.give(&ready.input(around));
        let elapsed = around.clock.elapsed();
        if self.held.is_empty() {
            self.head_since = elapsed;
        }
        self.mask.add(ready.claim.hidden_params.as_ref());
        let mut attempt = ready.begin(note, elapsed, self.mask.clone());
        attempt.told_from = told_from;
        self.held.push_back(attempt);
    }

    /// Takes back the tasks that it has not heard of, when it never will: it does not read any more, or is gone, or must
    /// not be told. One that somebody wants to end does so with the process.
    pub(super) fn untold(&mut self, is_lost: bool) -> Vec<Attempt> {
        if !is_lost && !self.process.is_deaf() {
            return Vec::new();
        }
        let told = self.process.written();
        let first = self
            .held
            .partition_point(|attempt| attempt.told_from < told);
        if let Some(attempt) = self.held.get(first) {
            self.process.take_back(attempt.told_from);
        }
        let untold = self.held.split_off(first).into_iter();
        let (asked, untold) =
            untold.partition(|attempt| matches!(attempt.cause, Some(Cause::Asked(_))));
        let asked: Vec<Attempt> = asked;
        self.held.extend(asked);
        untold
    }

    /// Ends it when it is of no more use: it cannot be told of another task, or cannot say what became of one. One that is
    /// about to end has closed its output as well, and has a moment for that.
    fn end_service(&mut self, elapsed: Duration) {
        if self.leaving || self.grace.has_begun() {
            return;
        }
        let has_nothing = self.process.is_deaf() && self.held.is_empty();
        if self.process.is_silent() {
            let since = *self.silent_since.get_or_insert(elapsed);
            self.unheard = elapsed >= since + LOOK_FOR_STOPS;
        }
        if has_nothing || self.unheard {
            self.grace.ask(&self.process, elapsed);
        }
    }

    /// Writes what its pipe takes.
    pub(super) fn push(&mut self) {
        self.process.push_input();
        if self.leaving {
            self.process.end_input();
        }
    }

    /// Reads what it has printed; the tasks that it is done with.
    pub(super) fn listen(
        &mut self,
        around: &Surroundings<'_>,
        buffer: &mut [u8],
        show: Watch<'_>,
        ended: &mut Vec<Ended>,
    ) {
        for stream in [Stream::Err, Stream::Out] {
            self.read((stream, READ_AT_ONCE), around, buffer, show, ended);
        }
    }

    /// Reads so much at least, if it is there. Whether it was.
    fn read(
        &mut self,
        (stream, most): (Stream, usize),
        around: &Surroundings<'_>,
        buffer: &mut [u8],
        show: Watch<'_>,
        ended: &mut Vec<Ended>,
    ) -> bool {
        let (at, mut total) = (around.clock.now(), 0);
        while total < most {
            let read = self.process.read(stream, buffer);
            if read == 0 {
                return false;
            }
            total += read;
            let bytes = buffer.get(..read).unwrap_or_default();
            let mut lines = Vec::new();
            match stream {
                Stream::Out => self.out.feed(bytes, |line| lines.push(line)),
                Stream::Err => self.err.feed(bytes, |line| lines.push(line)),
            }
            for line in lines {
                match stream {
                    Stream::Out => ended.extend(self.hear(line, around, at, show)),
                    Stream::Err => self.hear_stderr(line, at, show),
                }
            }
        }
        true
    }

    /// A line is about the task that it names, if the process holds it, else about the one that it was given first.
    fn hear(
        &mut self,
        line: Line,
        around: &Surroundings<'_>,
        at: Timestamp,
        show: Watch<'_>,
    ) -> Option<Ended> {
        let line = self.mask.whole(line);
        let (task, message) = protocol::read(&line);
        let named = task.and_then(|id| self.held.iter().position(|attempt| attempt.claim.id == id));
        let foreign = task.is_some() && named.is_none();
        let message = match (message, named) {
            (Message::Done { ok }, Some(index)) => {
                return self.done_with(index, ok, around, show);
            }
            // It is done with that one already, or never had it.
            (Message::Done { .. }, None) if foreign => return None,
            (Message::Done { .. }, None) => {
                let words = format!("this line does not say which task is done: {line}");
                protocol::log(Severity::Warning, &words)
            }
            _ if foreign => protocol::log(Severity::Warning, &line),
            (message, _) => message,
        };
        let attempt = self.held.get_mut(named.unwrap_or(0))?;
        let id = attempt.claim.id;
        attempt
            .record
            .hear(message, at, &mut |event: Event<'_>| show(id, event));
        None
    }

    fn done_with(
        &mut self,
        index: usize,
        ok: bool,
        around: &Surroundings<'_>,
        show: Watch<'_>,
    ) -> Option<Ended> {
        let mut attempt = self.held.remove(index)?;
        self.done += 1;
        if index == 0 {
            attempt.started = attempt.started.max(self.head_since);
            self.head_since = around.clock.elapsed();
        }
        let outcome = match ok {
            true => (Status::Completed, None, None),
            false => {
                let words = format!(
                    "the handler said that it could not{}",
                    last_words(&attempt.record)
                );
                (Status::Failed, None, Some(words))
            }
        };
        Some(attempt.end(around, outcome, show))
    }

    fn hear_stderr(&mut self, line: Line, at: Timestamp, show: Watch<'_>) {
        if let Some(attempt) = self.held.front_mut() {
            let id = attempt.claim.id;
            attempt
                .record
                .hear_stderr(line, at, &mut |event: Event<'_>| show(id, event));
            self.last_words.clone_from(&attempt.record.last_words);
            return;
        }
        let line = self.mask.text(self.mask.whole(line));
        if !line.trim().is_empty() {
            log::info!("{}: {line}", self.method);
            self.last_words = Some(line);
        }
    }

    /// Logs what the runner itself has to say of it, with the task at its head.
    pub(super) fn say(&mut self, words: &str, at: Timestamp, show: Watch<'_>) {
        if let Some(attempt) = self.held.front_mut() {
            attempt.say(Severity::Warning, words, at, show);
        }
    }

    /// Ends one of its tasks, and so the process: there is no other way to make it let go.
    pub(super) fn ask_to_end(&mut self, task: Option<i64>, cause: Cause, elapsed: Duration) {
        for attempt in self
            .held
            .iter_mut()
            .filter(|attempt| task.is_none_or(|id| attempt.claim.id == id))
        {
            attempt.ask_to_end(cause);
        }
        self.grace.ask(&self.process, elapsed);
    }

    /// Tells it that nothing more comes, once it holds nothing.
    pub(super) fn let_go(&mut self, elapsed: Duration) {
        if self.held.is_empty() && !self.leaving {
            self.leaving = true;
            self.grace.begin(elapsed);
            self.push();
        }
    }

    /// Does what has become due: the end of its service, the time limit of the task at its head, the end of its grace.
    pub(super) fn enforce(&mut self, elapsed: Duration) {
        self.end_service(elapsed);
        if self.limit().is_some_and(|limit| elapsed >= limit) {
            let head = self.held.front().map(|attempt| attempt.claim.id);
            self.ask_to_end(head, Cause::TimedOut, elapsed);
        }
        self.grace.enforce(&self.process, elapsed);
    }

    /// When [`Resident::enforce`] has something to do next.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        [self.limit(), self.grace.over_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// A task's time begins when those that were given before it are done: until then it only waits.
    fn limit(&self) -> Option<Duration> {
        let head = self
            .held
            .front()
            .filter(|attempt| attempt.cause.is_none())?;
        Some(self.head_since + head.limit?)
    }

    /// The process has ended; so have the tasks that it held.
    pub(super) fn end(
        mut self,
        exit: ExitStatus,
        around: &Surroundings<'_>,
        show: Watch<'_>,
    ) -> Vec<Ended> {
        let mut ended = Vec::new();
        for stream in [Stream::Err, Stream::Out] {
            // What is in the pipe now, and not what others still write.
            let (most, buffer) = (self.process.capacity(stream), &mut [0; 16 * 1024]);
            if self.read((stream, most), around, buffer, show, &mut ended)
                && self.read((stream, 1), around, buffer, show, &mut ended)
            {
                self.say(OTHERS_WRITE, around.clock.now(), show);
            }
        }
        if let Some(line) = self.out.end() {
            ended.extend(self.hear(line, around, around.clock.now(), show));
        }
        if let Some(line) = self.err.end() {
            self.hear_stderr(line, around.clock.now(), show);
        }
        let how = match exit.code() {
            _ if self.unheard => "since it had closed its output".to_owned(),
            Some(code) => format!("with exit status {code}"),
            None => killed_by(exit),
        };
        let words = self
            .last_words
            .map(|words| format!(": {words}"))
            .unwrap_or_default();
        for attempt in self.held {
            let reason = format!("its resident handler ended before the task did, {how}{words}");
            let outcome = (
                Status::Interrupted,
                exit.signal().map_or(exit.code(), |_| None),
                Some(reason),
            );
            ended.push(attempt.end(around, outcome, show));
        }
        ended
    }
}
