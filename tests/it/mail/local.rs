//! Mail that stays on the machine: through the local mail program, or into a folder.
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::kit::mime::{body, header};
use crate::kit::outbox::{home_with, mail, tick};
use crate::kit::runner::Home;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

const BODY: &str = ".\nÀ valider\n";

/// A database whose mails go out this way, with one in the outbox.
fn outbox(transport: &str) -> Home {
    let home = home_with(transport);
    home.sql(&format!(
        r#"INSERT INTO mail ("from", "to", bcc, subject, body, created_at, message_id)
           VALUES ('Runner <runner@example.org>', '["Ann <ann@example.org>"]', '["secret@example.org"]', 'Relance',
                   '{BODY}', '2026-04-10 07:00:00', '<1@runner.test>')"#
    ));
    home
}

/// The same, with a mail program beside the database that ends like this.
fn program(act: &str) -> Home {
    let home = outbox("sendmail:./sendmail");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/kit/sendmail.sh");
    symlink(script, home.path("sendmail")).unwrap();
    home.write("act", act);
    home
}

/// Why a tick can't send the mail, and how the mail is then: `failed`, or `queued` to be tried again.
fn refusal(home: &Home) -> (Value, String) {
    let report = tick(home);
    assert_eq!(report["mails_failed"], 1, "{report}");
    let row = mail(home, "1");
    let reason = row["last_error"].as_str().unwrap();
    assert!(report["errors"][0].as_str().unwrap().contains(reason));
    (row["status"].clone(), reason.to_owned())
}

#[test]
fn the_mail_program_gets_the_envelope_as_arguments_and_the_message_as_input() {
    let home = program("exit 0");
    let told = home.run(["-v", "tick"]).err();
    assert!(told.contains("sendmail"), "{told}");
    assert_eq!(
        home.read("arguments"),
        "-i\n-f\nrunner@example.org\n--\nann@example.org\nsecret@example.org\n"
    );
    let message = home.read("message");
    assert!(!message.contains('\r'));
    let message = message.replace('\n', "\r\n");
    assert_eq!(header(&message, "To"), "Ann <ann@example.org>");
    assert_eq!(body(&message), BODY);
    assert!(!message.contains("secret"));
}

#[test]
fn the_mail_program_never_sees_the_transports_secrets() {
    let home = program("exit 0").env("RUNNER_MAIL_TRANSPORT", "sendmail:./sendmail");
    home.ok(["tick"]);
    let environment = home.read("environment");
    assert!(environment.contains("PATH=") && !environment.contains("RUNNER_MAIL_TRANSPORT"));
}

#[test]
fn how_the_mail_program_ends_tells_what_to_do() {
    for (act, status, words) in [
        (
            "echo 'queue is full' >&2; exit 75",
            "queued",
            "exit 75: queue is full",
        ),
        (
            "echo 'no such user' >&2; exit 67",
            "failed",
            "exit 67: no such user",
        ),
        (
            "yes early | head -c 100000 >&2; echo 'the last words' >&2; exit 1",
            "queued",
            "the last words",
        ),
        ("exit 64", "failed", "exit 64"),
        ("exit 65", "failed", "exit 65"),
        ("exit 68", "failed", "exit 68"),
        ("exit 77", "failed", "exit 77"),
        ("exit 69", "queued", "exit 69"),
        ("exit 78", "queued", "exit 78"),
        ("exit 126", "queued", "exit 126"),
        ("kill -TERM $$", "queued", "signal 15"),
    ] {
        let (found, reason) = refusal(&program(act));
        assert_eq!(found, status, "{act}: {reason}");
        assert!(reason.contains(words) && reason.len() < 700, "{reason}");
    }
}

fn make_fifo(home: &Home) -> PathBuf {
    let path = home.path("held");
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    path
}

#[test]
fn what_the_mail_program_leaves_in_the_background_holds_nobody_up() {
    for (act, status) in [
        ("cat \"$here/held\" & exit 0", "sent"),
        ("echo no >&2; cat \"$here/held\" & exit 1", "queued"),
    ] {
        let home = program(act);
        let held = make_fifo(&home);
        tick(&home);
        assert_eq!(mail(&home, "1")["status"], status);
        // Lets the `cat` come to its end.
        fs::OpenOptions::new().write(true).open(&held).unwrap();
    }
}

/// Mails have 10 seconds, then tasks have their turn.
#[test]
fn slow_mails_do_not_hold_up_the_tasks() {
    let home = program("sleep 5.5");
    for id in 2..=3 {
        home.sql(&format!(
            r#"INSERT INTO mail ("from", "to", subject, body, message_id)
               VALUES ('r@x.org', '["a@x.org"]', 's', 'b', '<{id}@runner.test>')"#
        ));
    }
    let runner = env!("CARGO_BIN_EXE_runner");
    home.method(
        "Mail:count",
        &format!("{runner} --db \"$RUNNER_DB\" --json mail list --status queued > waiting.json"),
    );
    home.ok(["task", "add", "Mail:count"]);
    home.ok(["tick"]);
    let waiting: Value = serde_json::from_str(&home.read("waiting.json")).unwrap();
    assert_eq!(waiting.as_array().unwrap().len(), 1, "{waiting}");
    assert_eq!(mail(&home, "3")["status"], "sent");
}

#[test]
fn no_mail_program_is_unreachable() {
    for path in ["/nowhere/sendmail", "/etc/passwd"] {
        let home = outbox(&format!("sendmail:{path}"));
        let told = home.refused(["tick"]);
        assert!(
            told.contains("mail does not go out") && told.contains(path),
            "{told}"
        );
    }
}

#[test]
fn a_mail_becomes_a_file_for_its_owner_alone_and_a_repeat_stays_one_file() {
    let home = outbox("file:new/mails");
    home.ok(["tick"]);
    home.sql("UPDATE mail SET status = 'queued'");
    home.ok(["tick"]);
    let mails = home.path("new/mails");
    let file = mails.join("1@runner.test.eml");
    assert_eq!(fs::read_dir(&mails).unwrap().count(), 1);
    assert_eq!(body(&fs::read_to_string(&file).unwrap()), BODY);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&mails), mode(&file)), (0o700, 0o600));
}

#[test]
fn a_message_id_never_leads_out_of_the_folder() {
    for id in [
        "<../1@runner.test>",
        "</tmp/1@runner.test>",
        "<.1@runner.test>",
        "<1@a/b>",
    ] {
        let home = outbox("file:mails");
        home.sql(&format!("UPDATE mail SET message_id = '{id}'"));
        assert_eq!(refusal(&home).0, "failed", "{id}");
        assert!(!home.path("mails").exists());
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_unreachable() {
    let home = outbox("file:occupied/mails");
    home.write("occupied", "");
    let told = home.refused(["tick"]);
    assert!(
        told.contains("mail does not go out") && told.contains("mails"),
        "{told}"
    );
}
