//! A run that is shut down, whatever it is at.
use crate::kit::outbox::{add_mail, home, home_with, mail};
use crate::kit::process::until;
use crate::kit::programs::write_program;
use crate::kit::smtp::{Act, Script, Stage};
use rustix::process::Signal;

const LEFT: &str = "shut down before it had done all that is due";

#[test]
fn a_tick_that_sends_mail_ends_with_the_mail_that_it_is_sending() {
    let home = home_with("sendmail:mailer.sh");
    let mailer = home.path("mailer.sh");
    write_program(
        &mailer,
        "cd \"$(dirname \"$0\")\"; echo > begun; until [ -e go ]; do sleep 0.02; done",
    );
    let transport = format!("sendmail:{}", mailer.display());
    home.ok(["config", "set", "mail.transport", &transport]);
    home.method("m", "echo > ran");
    home.ok(["task", "add", "m"]);
    add_mail(&home, "ann@example.org");
    add_mail(&home, "bob@example.org");
    let tick = home.start(["tick"]);
    until("the first mail is on its way", || {
        home.path("begun").exists()
    });
    tick.signal(Signal::TERM);
    home.write("go", "");
    let told = tick.end().refused();
    assert!(told.contains(LEFT), "{told}");
    assert_eq!(mail(&home, "1")["status"], "sent");
    assert_eq!(mail(&home, "2")["status"], "queued");
    assert!(!home.path("ran").exists());
    assert_eq!(home.ok(["tick"]), "", "the next one does the rest");
    assert!(home.path("ran").exists());
}

#[test]
fn a_signal_does_not_fail_the_mail_that_is_being_sent() {
    let server = Script::accept().on(Stage::Ehlo, Act::Mute).start();
    let home = home(&server);
    let transport = server.url("", "timeout=2");
    home.ok(["config", "set", "mail.transport", &transport]);
    add_mail(&home, "ann@example.org");
    let tick = home.start(["tick"]);
    until("the server is asked", || {
        server
            .commands()
            .iter()
            .any(|line| line.starts_with("EHLO"))
    });
    tick.signal(Signal::HUP);
    assert!(tick.end().err().contains(LEFT));
    let why = mail(&home, "1")["last_error"].to_string();
    assert!(!why.contains("nterrupted"), "{why}");
}

#[test]
fn a_tick_that_fires_timers_leaves_between_documents() {
    let home = home_with("file:outbox");
    home.sql(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
         INSERT INTO document (state) SELECT 'new' FROM n;
         INSERT INTO timer (name) VALUES ('t');
         INSERT INTO timer_action (timer_id, position, state) VALUES (1, 0, 'old');
         INSERT INTO attachment (timer_id, document_id, reference_at) SELECT 1, id, '2026-04-10 08:00:00' FROM document",
    );
    let tick = home.start(["tick"]);
    let fired = || home.sql_value::<i64>("SELECT count(*) FROM document WHERE state = 'old'");
    until("some are fired", || fired() > 0);
    tick.signal(Signal::INT);
    let told = tick.end().refused();
    assert!(told.contains(LEFT), "{told}");
    let done = fired();
    assert!(done < 200_000, "{done}");
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM firing"), done);
}
