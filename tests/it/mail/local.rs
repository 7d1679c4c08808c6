//! Mail that stays on the machine: through the local mail program, or into a folder.
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::kit::mime::{body, header};
use runner::mail::{Accepted, Failure, Letter, Limits, Outgoing, SendError, Sender, Transport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use tempfile::TempDir;

const PATIENT: Duration = Duration::from_secs(20);

fn mail() -> Outgoing {
    Outgoing {
        message_id: "<1@runner.test>".into(),
        date: 1_775_804_400,
        letter: letter(),
    }
}

fn letter() -> Letter {
    Letter {
        from: "Runner <runner@example.org>".parse().unwrap(),
        to: vec!["Ann <ann@example.org>".parse().unwrap()],
        cc: vec![],
        bcc: vec!["secret@example.org".parse().unwrap()],
        subject: "Relance".into(),
        body: ".\nÀ valider\n".into(),
        html: None,
    }
}

fn send(url: &str, send: Duration) -> Result<Accepted, SendError> {
    let transport = Transport::parse(url).unwrap().with_limits(Limits {
        send,
        ..Limits::default()
    });
    Sender::open(&transport).send(&mail())
}

/// A folder with a mail program that ends like this.
fn program(act: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/kit/sendmail.sh");
    symlink(script, folder.path().join("sendmail")).unwrap();
    fs::write(folder.path().join("act"), act).unwrap();
    folder
}

fn send_by(folder: &TempDir, limit: Duration) -> Result<Accepted, SendError> {
    send(
        &format!("sendmail:{}/sendmail", folder.path().display()),
        limit,
    )
}

fn kept(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

#[test]
fn the_mail_program_gets_the_envelope_as_arguments_and_the_message_as_input() {
    let folder = program("exit 0");
    let accepted = send_by(&folder, PATIENT).unwrap();
    assert!(
        accepted.answer.ends_with("/sendmail"),
        "{}",
        accepted.answer
    );
    assert_eq!(
        kept(&folder, "arguments"),
        "-i\n-f\nrunner@example.org\n--\nann@example.org\nsecret@example.org\n"
    );
    let message = kept(&folder, "message");
    assert!(!message.contains('\r'));
    let message = message.replace('\n', "\r\n");
    assert_eq!(header(&message, "To"), "Ann <ann@example.org>");
    assert_eq!(body(&message), letter().body);
    assert!(!message.contains("secret"));
}

#[test]
fn the_mail_program_never_sees_the_transports_secrets() {
    let name = "the_mail_program_never_sees_the_transports_secrets";
    if std::env::var_os("RUNNER_MAIL_TRANSPORT").is_none() {
        let mut again = Command::new(std::env::current_exe().unwrap());
        let status = again
            .args(["--exact", name])
            .env("RUNNER_MAIL_TRANSPORT", "smtp://a:s3cret@b")
            .output()
            .unwrap();
        assert!(
            status.status.success(),
            "{}",
            String::from_utf8_lossy(&status.stdout)
        );
        return;
    }
    let folder = program("exit 0");
    send_by(&folder, PATIENT).unwrap();
    assert!(
        kept(&folder, "environment").contains("PATH=")
            && !kept(&folder, "environment").contains("s3cret")
    );
}

#[test]
fn how_the_mail_program_ends_tells_what_to_do() {
    use Failure::{Refused, Transient};
    for (act, kind, words) in [
        (
            "echo 'queue is full' >&2; exit 75",
            Transient,
            "exit 75: queue is full",
        ),
        (
            "echo 'no such user' >&2; exit 67",
            Refused,
            "exit 67: no such user",
        ),
        (
            "yes early | head -c 100000 >&2; echo 'the last words' >&2; exit 1",
            Transient,
            "the last words",
        ),
        ("exit 64", Refused, "exit 64"),
        ("exit 65", Refused, "exit 65"),
        ("exit 68", Refused, "exit 68"),
        ("exit 77", Refused, "exit 77"),
        ("exit 69", Transient, "exit 69"),
        ("exit 78", Transient, "exit 78"),
        ("exit 126", Transient, "exit 126"),
        ("kill -TERM $$", Transient, "signal 15"),
    ] {
        let error = send_by(&program(act), PATIENT).unwrap_err();
        assert_eq!(error.kind, kind, "{act}: {error}");
        assert!(
            error.sentence.contains(words) && error.sentence.len() < 700,
            "{error}"
        );
    }
}

fn make_fifo(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("held");
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    path
}

#[test]
fn what_the_mail_program_leaves_in_the_background_holds_nobody_up() {
    for (act, accepted) in [
        ("cat \"$here/held\" & exit 0", true),
        ("echo no >&2; cat \"$here/held\" & exit 1", false),
    ] {
        let folder = program(act);
        let held = make_fifo(&folder);
        assert_eq!(send_by(&folder, PATIENT).is_ok(), accepted);
        // Lets the `cat` come to its end.
        fs::OpenOptions::new().write(true).open(&held).unwrap();
    }
}

#[test]
fn a_mail_program_that_hangs_is_killed_with_all_it_started() {
    let folder = program("sleep 1000 9>\"$here/held\" & wait");
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let reader = fs::OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(make_fifo(&folder))
        .unwrap();
    let error = send_by(&folder, Duration::from_secs(1)).unwrap_err();
    assert!(
        error.kind == Failure::Transient && error.sentence.contains("too long"),
        "{error}"
    );
    // The pipe hangs up when its last writer is gone.
    let mut waited = [PollFd::new(&reader, PollFlags::IN)];
    poll(
        &mut waited,
        Some(&Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        }),
    )
    .unwrap();
    assert_eq!(waited[0].revents(), PollFlags::HUP);
}

#[test]
fn no_mail_program_is_unreachable() {
    for path in ["/nowhere/sendmail", "/etc/passwd"] {
        let error = send(&format!("sendmail:{path}"), PATIENT).unwrap_err();
        assert!(
            error.kind == Failure::Unreachable && error.sentence.contains(path),
            "{error}"
        );
    }
}

#[test]
fn a_mail_becomes_a_file_for_its_owner_alone_and_a_repeat_stays_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let mails = folder.path().join("new/mails");
    let url = format!("file:{}", mails.display());
    let answer = send(&url, PATIENT).unwrap().answer;
    send(&url, PATIENT).unwrap();
    let file = mails.join("1@runner.test.eml");
    assert!(answer.ends_with("new/mails/1@runner.test.eml"), "{answer}");
    assert_eq!(fs::read_dir(&mails).unwrap().count(), 1);
    assert_eq!(body(&fs::read_to_string(&file).unwrap()), letter().body);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&mails), mode(&file)), (0o700, 0o600));
}

#[test]
fn a_message_id_never_leads_out_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mails = folder.path().join("mails");
    let transport = Transport::parse(&format!("file:{}", mails.display())).unwrap();
    for id in [
        "<../1@runner.test>",
        "</tmp/1@runner.test>",
        "<.1@runner.test>",
        "<1@a/b>",
    ] {
        let error = Sender::open(&transport)
            .send(&Outgoing {
                message_id: id.into(),
                ..mail()
            })
            .unwrap_err();
        assert_eq!(error.kind, Failure::Refused, "{id}");
    }
    assert!(!mails.exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_unreachable() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = send(&format!("file:{}/mails", file.path().display()), PATIENT).unwrap_err();
    assert!(
        error.kind == Failure::Unreachable && error.sentence.contains("mails"),
        "{error}"
    );
}
