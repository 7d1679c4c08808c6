//! The local mail program.

use std::io::{self, Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::message::Message;
use super::transport::{Delivery, DeliveryError, within};

/// What sysexits.h has for a mail that will never go out: a wrong use, wrong data, no such user, no such host, no
/// permission. All else may be over by the next time: a program that is set up wrongly, say.
const FOR_GOOD: [i32; 5] = [64, 65, 67, 68, 77];

/// How much of the end of its stderr is kept, in bytes.
const STDERR_TAIL: usize = 400;

/// How long stderr may stay open after the program has ended: what it left in the background may hold it.
const DRAIN: Duration = Duration::from_millis(200);

/// Runs `PROGRAM -i -f FROM -- RECIPIENTS…` in a process group of its own, with the message as its input. When it takes
/// too long, the group is killed. What a program that succeeded leaves in the background goes on: it may be delivering.
pub(super) fn send(
    program: &Path,
    message: &Message,
    timeout: Duration,
) -> Result<Delivery, DeliveryError> {
    let shown = program.display();
    let mut child = start(program, message)
        .map_err(|error| DeliveryError::unreachable(&format!("{shown}: {error}")))?;
    let stderr = read_stderr(child.stderr.take());
    let status = wait(&mut child, timeout).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::TimedOut => "it took too long and was killed".to_owned(),
            _ => error.to_string(),
        };
        DeliveryError::transient(&format!("{shown}: {reason}"))
    })?;
    if status.success() {
        return Ok(Delivery::to_all(&format!("accepted by {shown}")));
    }
    let words = stderr.recv_timeout(DRAIN).unwrap_or_default();
    Err(failed(&shown.to_string(), status, &words))
}

fn failed(program: &str, status: ExitStatus, words: &str) -> DeliveryError {
    match status.code() {
        Some(code) if FOR_GOOD.contains(&code) => {
            DeliveryError::refused(&format!("{program}: exit {code}: {words}"))
        }
        Some(code) => DeliveryError::transient(&format!("{program}: exit {code}: {words}")),
        None => {
            let signal = status.signal().unwrap_or_default();
            DeliveryError::transient(&format!("{program}: killed by signal {signal}: {words}"))
        }
    }
}

/// The message is laid out in a nameless file, so that a program which does not read can't hold us. Its lines end as
/// those of any text here do: some programs would send a CR before the CRLF that they put there themselves.
fn start(program: &Path, message: &Message) -> io::Result<Child> {
    let mut input = tempfile::tempfile()?;
    let text = String::from_utf8_lossy(&message.bytes).replace("\r\n", "\n");
    input.write_all(text.as_bytes())?;
    input.rewind()?;
    let from = message.envelope.from().map(ToString::to_string);
    Command::new(program)
        .args(["-i", "-f", &from.unwrap_or_default(), "--"])
        .args(message.envelope.to().iter().map(ToString::to_string))
        .env_remove("RUNNER_MAIL_TRANSPORT")
        .process_group(0)
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

/// Reads stderr to its end, whoever holds it, and keeps its tail.
fn read_stderr(stderr: Option<ChildStderr>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let reader = thread::Builder::new().spawn(move || {
        // Nobody may be waiting any more.
        let _ = sender.send(stderr.map(stderr_tail).unwrap_or_default());
    });
    // Without a thread there are no words, and the exit status still tells.
    drop(reader);
    receiver
}

fn stderr_tail(mut stderr: ChildStderr) -> String {
    let mut tail = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut chunk) {
        tail.extend(chunk.iter().take(count));
        tail.drain(..tail.len().saturating_sub(STDERR_TAIL));
    }
    String::from_utf8_lossy(&tail).trim().to_owned()
}

/// Waits for the end, and brings it about when that takes too long. It waits without reaping at first, so that the number
/// can't be anybody else's when the group is killed.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let ended = within(timeout, move || {
        retry_on_intr(|| waitid(WaitId::Pid(pid), options)).is_ok()
    });
    if ended == Some(true) {
        return child.wait();
    }
    kill_process_group(pid, Signal::KILL)?;
    child.wait()?;
    Err(io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

    use super::super::message::Message;
    use super::send;
    use crate::mail::transport::Failure;
    use crate::model::email::Content;
    use crate::time::Timestamp;

    #[test]
    fn a_mail_program_that_hangs_is_killed_with_all_it_started() {
        let content = Content {
            from: "runner@example.org".into(),
            to: vec!["ann@example.org".into()],
            ..Content::default()
        };
        let message = Message::new(
            &content,
            "<1@runner.test>",
            Timestamp::from_unix(0).unwrap(),
        )
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (program, held) = (folder.path().join("program"), folder.path().join("held"));
        let script = format!("#!/bin/sh\nsleep 1000 9>'{}' & wait\n", held.display());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
        mknodat(CWD, &held, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let reader = fs::OpenOptions::new()
            .read(true)
            .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap())
            .open(&held)
            .unwrap();
        let error = send(&program, &message, Duration::from_secs(1)).unwrap_err();
        assert!(
            error.kind == Failure::Transient && error.reason.contains("too long"),
            "{error}"
        );
        // The pipe hangs up when its last writer is gone.
        let mut waited = [PollFd::new(&reader, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        poll(&mut waited, Some(&limit)).unwrap();
        assert_eq!(waited[0].revents(), PollFlags::HUP);
    }
}
