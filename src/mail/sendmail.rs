//! The local mail program.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::delivery::{Delivery, DeliveryError, Failure, within};
use super::message::Message;

/// What sysexits.h has for a mail that will never go out: a wrong use, wrong data, no such user, no such host, no
/// permission. All else may be over by the next time: a program that is set up wrongly, say.
const FOR_GOOD: [i32; 5] = [64, 65, 67, 68, 77];

/// How much of the end of its stderr is kept, in bytes.
const STDERR_TAIL: u64 = 400;

/// Runs `PROGRAM -i -f FROM -- RECIPIENTS…` in a process group of its own. When it takes too long, the group is killed. What
/// a program that succeeded leaves in the background goes on: it may be delivering.
pub(super) fn send(
    program: &Path,
    message: &Message,
    timeout: Duration,
) -> Result<Delivery, DeliveryError> {
    let failed =
        |kind, reason: &str| DeliveryError::new(kind, &format!("{}: {reason}", program.display()));
    let absent = |error: io::Error| failed(Failure::Unreachable, &error.to_string());
    let mut stderr = tempfile::tempfile().map_err(absent)?;
    let mut child = start(program, message, &stderr).map_err(absent)?;
    let status = wait(&mut child, timeout).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::TimedOut => "it took too long and was killed".to_owned(),
            _ => error.to_string(),
        };
        failed(Failure::Transient, &reason)
    })?;
    if status.success() {
        let answer = format!("accepted by {}", program.display());
        return Ok(Delivery::to_all(&answer));
    }
    let words = tail(&mut stderr).unwrap_or_default();
    let kind = match status.code() {
        Some(code) if FOR_GOOD.contains(&code) => Failure::Refused,
        _ => Failure::Transient,
    };
    let end = match status.code() {
        Some(code) => format!("exit {code}"),
        None => format!("killed by signal {}", status.signal().unwrap_or_default()),
    };
    Err(failed(kind, &format!("{end}: {words}")))
}

/// Input and stderr are nameless files, so that a program which does not read, or leaves something behind that could write,
/// can't hold us. The lines of the message end as those of any text here do: some programs would send a CR before the CRLF
/// that they put there themselves.
fn start(program: &Path, message: &Message, stderr: &File) -> io::Result<Child> {
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
        .stderr(stderr.try_clone()?)
        .spawn()
}

fn tail(stderr: &mut File) -> io::Result<String> {
    let length = stderr.metadata()?.len();
    stderr.seek(SeekFrom::Start(length.saturating_sub(STDERR_TAIL)))?;
    let mut tail = Vec::new();
    stderr.take(STDERR_TAIL).read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).trim().to_owned())
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
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::send;
    use crate::mail::delivery::Failure;
    use crate::mail::message::Message;
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
        let made = Command::new("mkfifo").arg(&held).status().unwrap();
        assert!(made.success());
        // The pipe ends when its last writer is gone.
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(fs::read(held)));
        let error = send(&program, &message, Duration::from_secs(1)).unwrap_err();
        assert!(
            error.kind == Failure::Transient && error.reason.contains("too long"),
            "{error}"
        );
        let read = ended.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(read.unwrap().is_empty());
    }
}
