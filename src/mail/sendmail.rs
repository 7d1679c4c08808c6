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

use super::Outgoing;
use super::deadline::Deadline;
use super::sender::{Accepted, Failure, SendError};

/// What sysexits.h has for a mail that will never go out: a wrong use, wrong data, no such user, no such host, no
/// permission. All else may be over by the next time: a program that is set up wrongly, say.
const FOR_GOOD: [i32; 5] = [64, 65, 67, 68, 77];

/// How much of the end of its stderr is kept, in bytes.
const LAST_WORDS: usize = 400;

/// How long stderr may stay open after the program has ended: what it left in the background may hold it.
const DRAIN: Duration = Duration::from_millis(200);

/// Runs `PROGRAM -i -f FROM -- RECIPIENTS…` in a process group of its own, with the message as its input. At the
/// deadline the group is killed. What a program that succeeded leaves in the background goes on: it may be delivering.
pub(super) fn send(
    program: &Path,
    mail: &Outgoing,
    message: &[u8],
    deadline: Deadline,
) -> Result<Accepted, SendError> {
    let failed = |(kind, words): (Failure, String)| {
        SendError::new(kind, &format!("{}: {words}", program.display()))
    };
    let absent = |error: io::Error| failed((Failure::Unreachable, error.to_string()));
    let mut child = start(program, mail, message).map_err(absent)?;
    let words = listen(child.stderr.take());
    let status = wait(&mut child, deadline).map_err(|error| failed(broken(&error)))?;
    if status.success() {
        return Ok(Accepted::new(&format!("accepted by {}", program.display())));
    }
    let words = words.recv_timeout(DRAIN).unwrap_or_default();
    Err(failed(unsuccessful(status, &words)))
}

fn broken(error: &io::Error) -> (Failure, String) {
    let words = match error.kind() {
        io::ErrorKind::TimedOut => "it took too long and was killed".to_owned(),
        _ => error.to_string(),
    };
    (Failure::Transient, words)
}

fn unsuccessful(status: ExitStatus, words: &str) -> (Failure, String) {
    match (status.code(), status.signal()) {
        (Some(code), _) if FOR_GOOD.contains(&code) => {
            (Failure::Refused, format!("exit {code}: {words}"))
        }
        (Some(code), _) => (Failure::Transient, format!("exit {code}: {words}")),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            (
                Failure::Transient,
                format!("killed by signal {signal}: {words}"),
            )
        }
    }
}

/// The message is laid out in a nameless file, so that a program which does not read can't hold us. Its lines end as
/// those of any text here do: some programs would send a CR before the CRLF that they put there themselves.
fn start(program: &Path, mail: &Outgoing, message: &[u8]) -> io::Result<Child> {
    let mut input = tempfile::tempfile()?;
    input.write_all(&with_plain_line_ends(message))?;
    input.rewind()?;
    Command::new(program)
        .args(["-i", "-f", mail.letter.from.bare().as_ref(), "--"])
        .args(
            mail.letter
                .recipients()
                .into_iter()
                .map(|address| address.bare().to_string()),
        )
        .env_remove("RUNNER_MAIL_TRANSPORT")
        .process_group(0)
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

fn with_plain_line_ends(message: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(message.len());
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => plain.extend(text.iter().chain(b"\n")),
            None => plain.extend(line),
        }
    }
    plain
}

/// Reads stderr to its end, whoever holds it, and tells its last words.
fn listen(stderr: Option<ChildStderr>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let listener = thread::Builder::new().spawn(move || {
        let words = stderr.map(last_words).unwrap_or_default();
        // Nobody may be waiting any more.
        let _ = sender.send(words);
    });
    // Without a thread there are no words, and the exit status still tells.
    drop(listener);
    receiver
}

fn last_words(mut stderr: ChildStderr) -> String {
    let mut tail = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut chunk) {
        tail.extend(chunk.iter().take(count));
        tail.drain(..tail.len().saturating_sub(LAST_WORDS));
    }
    String::from_utf8_lossy(&tail).trim().to_owned()
}

/// Waits for the end; at the deadline, brings it about.
fn wait(child: &mut Child, deadline: Deadline) -> io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
    let ended = ends_before(deadline, pid).unwrap_or(false);
    if !ended {
        kill_process_group(pid, Signal::KILL)?;
    }
    let status = child.wait()?;
    if ended {
        Ok(status)
    } else {
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Waits without reaping, so that the number can't be anybody else's when the group is killed.
fn ends_before(deadline: Deadline, pid: Pid) -> io::Result<bool> {
    let (sender, receiver) = mpsc::channel();
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    thread::Builder::new().spawn(move || {
        let ended = retry_on_intr(|| waitid(WaitId::Pid(pid), options));
        // Nobody may be waiting any more.
        let _ = sender.send(ended.is_ok());
    })?;
    Ok(receiver.recv_timeout(deadline.left()?).unwrap_or(false))
}
