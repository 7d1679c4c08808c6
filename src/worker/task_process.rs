//! A handler that is a process of its own for each task.

use std::process::ExitStatus;
use std::sync::Arc;

use super::event::{Obstacle, Reporter, What};
use super::execution::{End, Execution};
use super::lock::{StartNote, StartNotes};
use super::mask::Mask;
use super::output::{Line, Lines, SharedOutput};
use super::process::{Process, ProcessGroup, ProcessId, Program, Stream, killed_by};
use super::protocol;
use crate::model::message::Message;
use crate::model::task::{Severity, Status};

/// The thread of such a handler.
pub(super) struct TaskProcess {
    place: usize,
    note: StartNote,
    notes: StartNotes,
    group: Arc<ProcessGroup>,
    ears: Ears,
    reporter: Reporter,
}

impl TaskProcess {
    pub(super) fn new(
        execution: &Execution,
        group: Arc<ProcessGroup>,
        notes: StartNotes,
        reporter: Reporter,
    ) -> Self {
        Self {
            place: execution.place,
            note: StartNote {
                task: execution.task.id,
                attempt: execution.task.attempt,
                process: None,
            },
            notes,
            group,
            ears: Ears {
                output: execution.output.clone(),
                mask: execution.mask.clone(),
                out: Lines::default(),
                err: Lines::default(),
            },
            reporter,
        }
    }

    /// Runs the process from its start to its end.
    pub(super) fn run(mut self, program: Program, input: &[u8]) {
        if let Err(error) = self.notes.write(self.place, &self.note) {
            return self
                .reporter
                .send(What::NotStarted(Obstacle::noting(&error)));
        }
        let mut process = match Process::start(program) {
            Ok(process) => process,
            Err(obstacle) => return self.reporter.send(What::NotStarted(obstacle)),
        };
        self.group.begin(process.pid);
        self.note.process = ProcessId::of(process.pid);
        // Without this it is still known by its environment.
        let _ = self.notes.write(self.place, &self.note);
        process.give(input);
        process.end_input();
        let ears = &mut self.ears;
        process.write_input();
        while !process.wait(None, None, &mut |stream, bytes| ears.hear(stream, bytes)) {}
        let exit = process.end(&self.group, &mut |stream, bytes| ears.hear(stream, bytes));
        ears.end();
        let end = end(exit, &ears.output);
        self.reporter.send(What::Exited(end));
    }
}

/// What hears the lines of a process.
struct Ears {
    output: SharedOutput,
    mask: Mask,
    out: Lines,
    err: Lines,
}

impl Ears {
    fn hear(&mut self, stream: Stream, bytes: &[u8]) {
        let (output, mask) = (&self.output, &self.mask);
        match stream {
            Stream::Out => self
                .out
                .feed(bytes, |line| hear_stdout(&line, output, mask)),
            Stream::Err => self
                .err
                .feed(bytes, |line| hear_stderr(&line, output, mask)),
        }
    }

    fn end(&mut self) {
        let (out, err) = (self.out.end(), self.err.end());
        out.iter()
            .for_each(|line| hear_stdout(line, &self.output, &self.mask));
        err.iter()
            .for_each(|line| hear_stderr(line, &self.output, &self.mask));
    }
}

fn hear_stdout(line: &Line, output: &SharedOutput, mask: &Mask) {
    let message = match line.is_too_long() {
        true => Message::log(Severity::Info, mask.line(line)),
        false => mask.message(protocol::parse(&line.text()).1),
    };
    output.lock().add(message);
}

fn hear_stderr(line: &Line, output: &SharedOutput, mask: &Mask) {
    output.lock().add_stderr(mask.line(line));
}

fn end(exit: ExitStatus, output: &SharedOutput) -> End {
    let suffix = output.lock().stderr_suffix();
    let (status, reason) = match exit.code() {
        Some(0) => (Status::Completed, None),
        Some(code) => (Status::Failed, Some(format!("exit status {code}{suffix}"))),
        None => (
            Status::Interrupted,
            Some(format!("{}{suffix}", killed_by(exit))),
        ),
    };
    End {
        status,
        exit_code: exit.code(),
        reason,
    }
}
