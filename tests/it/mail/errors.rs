//! The mail that reports a run's errors (`docs/mail.md`, "Error mail").

use crate::kit::mime::{body, header};
use crate::kit::runner::Home;
use crate::kit::smtp::{Act, Script, Server, Stage};

/// A database whose errors are mailed to `admin@example.org` through this server.
fn home(server: &Server) -> Home {
    home_with(&server.url("", ""))
}

fn home_with(transport: &str) -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    for (key, value) in [
        ("mail.from", "runner@example.org"),
        (
            "mail.errors_to",
            "admin@example.org, Second <second@example.org>",
        ),
        ("mail.transport", transport),
    ] {
        home.ok(["config", "set", key, value]);
    }
    home
}

/// Where nobody listens.
fn nowhere() -> String {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("smtp://{}", closed.local_addr().unwrap())
}

/// A tick that meets errors, and says nothing of them on standard error.
fn tick_in_silence(home: &Home) {
    let answer = home.run(["tick"]);
    assert_eq!((answer.code(), answer.err()), (1, String::new()));
}

/// The bodies of the reports that have arrived.
fn reports(server: &Server) -> Vec<String> {
    let mails = server.mails();
    let reports = mails
        .iter()
        .filter(|mail| mail.to.contains(&"admin@example.org".to_owned()));
    reports.map(|mail| body(&mail.data)).collect()
}

#[test]
fn the_errors_of_a_tick_are_one_mail_with_their_detail() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method(
        "Test:fail",
        "for i in $(seq 30); do echo line $i; done; echo no disk >&2; exit 3",
    );
    home.ok(["task", "add", "Test:fail", "--signature", "web"]);
    home.ok(["task", "add", "Test:fail"]);
    tick_in_silence(&home);
    let [arrived] = server.mails().try_into().unwrap();
    assert_eq!(arrived.to, ["admin@example.org", "second@example.org"]);
    assert_eq!(arrived.from, "runner@example.org");
    assert_eq!(header(&arrived.data, "Subject"), "runner: 2 errors");
    let report = body(&arrived.data);
    for part in [
        "task 1 (Test:fail) failed: exit status 3: no disk",
        "task 2 (Test:fail) failed",
        "signature web",
        "FAILED",
        "line 30",
        "line 15",
        "no disk",
        "runner.db",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    assert!(
        !report.contains("line 5\n"),
        "only the last lines: {report}"
    );
    assert_eq!(home.json(["mail", "show", "1"])["status"], "sent");
}

#[test]
fn a_single_error_is_the_subject() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:fail", "echo \"no disk\" >&2; exit 3");
    home.ok(["task", "add", "Test:fail"]);
    tick_in_silence(&home);
    let subject = header(&server.mails()[0].data, "Subject");
    assert_eq!(
        subject,
        "runner: task 1 (Test:fail) failed: exit status 3: no disk"
    );
}

#[test]
fn a_tick_without_errors_mails_nothing() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:pass", "exit 0");
    home.ok(["task", "add", "Test:pass"]);
    home.ok(["tick"]);
    assert_eq!(server.mails().len(), 0);
}

#[test]
fn without_the_setting_errors_go_to_standard_error() {
    let server = Script::accept().start();
    let home = home(&server);
    home.ok(["config", "set", "mail.errors_to", ""]);
    home.method("Test:fail", "exit 3");
    home.ok(["task", "add", "Test:fail"]);
    assert!(home.refused(["tick"]).contains("task 1 (Test:fail) failed"));
    assert_eq!(server.mails().len(), 0);
}

#[test]
fn an_error_that_persists_is_told_when_it_starts_and_when_it_is_given_up() {
    let server = Script::accept().start();
    let mut home = home(&server);
    home.method("Test:fail", "exit 3");
    home.ok(["task", "add", "Test:fail", "--retries", "3"]);
    for (now, told) in [
        ("09:00", 1),
        ("09:00", 1),
        ("09:01", 1),
        ("09:02", 1),
        ("09:03", 1),
        ("09:07", 2),
        ("09:08", 2),
    ] {
        home.set_now(&format!("2026-04-10T{now}"));
        let answer = home.run(["tick"]);
        assert_eq!(answer.err(), "", "{now}");
        assert_eq!(reports(&server).len(), told, "{now}");
    }
    assert_eq!(home.status("1"), "FAILED");
}

#[test]
fn an_error_that_was_over_and_comes_back_is_told_again() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:fail", "test -e good");
    home.ok(["task", "add", "Test:fail", "--retries", "1"]);
    tick_in_silence(&home);
    home.write("good", "");
    home.sql("UPDATE task SET run_at = NULL, deferred = 0");
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
    std::fs::remove_file(home.path("good")).unwrap();
    home.ok(["task", "restart", "1"]);
    tick_in_silence(&home);
    assert_eq!(reports(&server).len(), 2);
}

#[test]
fn the_times_in_a_report_are_those_of_its_readers_clocks() {
    let server = Script::accept().start();
    let home = home(&server).env("TZ", "Europe/Paris");
    home.method_with("Test:fail", &["--retries", "1"], "echo no disk; exit 3");
    home.ok(["task", "add", "Test:fail"]);
    home.timer("t", &["method=Test:fail"]);
    home.sql("UPDATE timer_action SET method = 'No:such'");
    home.document("A", "");
    home.ok(["timer", "attach", "t", "1"]);
    tick_in_silence(&home);
    let [report] = reports(&server).try_into().unwrap();
    for part in [
        "Time:     2026-04-10 09:00:00",
        "it is tried again at 2026-04-10 09:01:00",
        "    2026-04-10 09:00:00 info    no disk",
        "due at 2026-04-10 09:00:00",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    assert!(
        !report.contains("07:0") && !report.contains("UTC"),
        "{report}"
    );
}

#[test]
fn no_hidden_value_is_in_a_report() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:fail", "cat; cat >&2; exit 3");
    home.ok([
        "task",
        "add",
        "Test:fail",
        "--hidden-params",
        r#"{"token": "s3cr3t-word"}"#,
    ]);
    tick_in_silence(&home);
    let [report] = reports(&server).try_into().unwrap();
    assert!(
        report.contains("token") && !report.contains("s3cr3t-word"),
        "{report}"
    );
}

#[test]
fn a_mail_that_is_refused_is_told_once_and_its_end_again() {
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply("451 4.3.0 busy"))
        .start();
    let home = home(&server);
    home.sql(
        r#"INSERT INTO mail ("from", "to", subject, body, message_id, attempts)
           VALUES ('r@x.org', '["ann@x.org"]', 'Hello', '', '<1@x.org>', 0)"#,
    );
    tick_in_silence(&home);
    let [report] = reports(&server).try_into().unwrap();
    assert!(
        report.contains("mail 1 (Hello) to ann@x.org") && report.contains("451 4.3.0 busy"),
        "{report}"
    );
}

#[test]
fn a_level_whose_mail_is_refused_is_told_when_it_starts() {
    let server = Script::accept()
        .once(Stage::Mail, Act::Reply("550 no"))
        .once(Stage::Mail, Act::Reply("250 ok"))
        .once(Stage::Mail, Act::Reply("550 no"))
        .start();
    let home = home(&server);
    home.sql(
        r#"INSERT INTO document (title) VALUES ('Contrat');
           INSERT INTO timer (name) VALUES ('validation');
           INSERT INTO timer_action (timer_id, position, mail) VALUES (1, 0, '["reminder"]');
           INSERT INTO attachment (timer_id, document_id, needs_reschedule, step, mail_count, due_at)
           VALUES (1, 1, 0, 1, 1, '2026-04-10 08:59:00');
           INSERT INTO mail ("from", "to", subject, body, message_id, document_id, attachment_id, timer, timer_level)
           VALUES ('r@x.org', '["ann@x.org"]', 'Hello', '', '<1@x.org>', 1, 1, 'validation', 0)"#,
    );
    tick_in_silence(&home);
    tick_in_silence(&home);
    let [report] = reports(&server).try_into().unwrap();
    for part in [
        "550 no",
        "timer validation",
        "level 0",
        "document 1 (Contrat)",
    ] {
        assert!(report.contains(part), "{report}");
    }
    home.ok(["tick"]);
    assert_eq!(home.json(["mail", "show", "1"])["status"], "sent");
}

#[test]
fn when_the_mail_cannot_go_out_the_detail_goes_to_standard_error_and_once_too() {
    let home = home_with(&nowhere());
    home.method("Test:fail", "echo the last line; exit 3");
    home.ok(["task", "add", "Test:fail", "--retries", "1"]);
    let answer = home.run(["tick"]);
    assert_eq!(answer.code(), 1);
    for part in [
        "could not be mailed",
        "connecting",
        "task 1 (Test:fail) failed: exit status 3",
        "the last line",
    ] {
        assert!(answer.err().contains(part), "{part} in {}", answer.err());
    }
    home.sql("UPDATE task SET status = 'WAITING', deferred = 0");
    home.ok(["tick"]);
}

#[test]
fn a_server_that_is_not_there_is_told_on_standard_error_when_it_starts() {
    let server = Script::accept().start();
    let mut home = home_with(&nowhere());
    home.sql(
        r#"INSERT INTO mail ("from", "to", subject, body, message_id)
           VALUES ('r@x.org', '["ann@x.org"]', 'Hello', '', '<1@x.org>')"#,
    );
    assert!(home.run(["tick"]).err().contains("mail does not go out"));
    home.ok(["tick"]);
    home.set_now("2026-04-10T09:01");
    tick_in_silence(&home);
    home.ok(["config", "set", "mail.transport", &server.url("", "")]);
    home.set_now("2026-04-10T09:03");
    home.ok(["tick"]);
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn a_report_without_sender_goes_to_standard_error_with_what_to_do() {
    let server = Script::accept().start();
    let home = home(&server);
    home.ok(["config", "unset", "mail.from"]);
    home.method("Test:fail", "exit 3");
    home.ok(["task", "add", "Test:fail"]);
    let said = home.run(["tick"]).err();
    assert!(
        said.contains("setting mail.from") && said.contains("task 1 (Test:fail) failed"),
        "{said}"
    );
}

#[test]
fn a_failure_of_the_tick_itself_is_mailed_once() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:pass", "exit 0");
    home.ok(["task", "add", "Test:pass"]);
    home.sql("CREATE TRIGGER broken BEFORE UPDATE ON task BEGIN SELECT RAISE(ABORT, 'it is broken'); END");
    tick_in_silence(&home);
    tick_in_silence(&home);
    let [report] = reports(&server).try_into().unwrap();
    assert!(report.contains("it is broken"), "{report}");
    home.sql("DROP TRIGGER broken");
    home.ok(["tick"]);
    home.ok(["task", "add", "Test:pass"]);
    home.sql("CREATE TRIGGER broken BEFORE UPDATE ON task BEGIN SELECT RAISE(ABORT, 'it is broken'); END");
    tick_in_silence(&home);
    assert_eq!(reports(&server).len(), 2);
}

#[test]
fn trouble_with_the_database_is_mailed_without_it() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:pass", "exit 0");
    home.ok(["task", "add", "Test:pass"]);
    home.sql("CREATE TRIGGER broken BEFORE INSERT ON worker BEGIN SELECT RAISE(ABORT, 'no place left'); END");
    home.sql(
        "CREATE TRIGGER full BEFORE INSERT ON mail BEGIN SELECT RAISE(ABORT, 'no place left'); END",
    );
    tick_in_silence(&home);
    tick_in_silence(&home);
    let [report] = reports(&server).try_into().unwrap();
    assert!(report.contains("no place left"), "{report}");
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM mail"), 0);
}

#[test]
fn a_task_that_is_run_alone_and_fails_is_mailed_and_answered() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:fail", "exit 3");
    home.ok(["task", "add", "Test:fail"]);
    assert!(
        home.refused(["task", "run", "1"])
            .contains("task 1 (Test:fail) failed")
    );
    let [report] = reports(&server).try_into().unwrap();
    assert!(report.contains("task 1 (Test:fail) failed"), "{report}");
}

#[test]
fn what_a_dead_runner_left_is_told_by_a_task_that_is_run_alone() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:hang", "touch started; exec sleep 100");
    home.method("Test:pass", "exit 0");
    home.ok(["task", "add", "Test:hang"]);
    home.ok(["task", "add", "Test:pass"]);
    let run = home.start(["task", "run", "1"]);
    crate::kit::process::until("the handler has started", || home.path("started").exists());
    run.kill();
    let answer = home.run(["task", "run", "2"]);
    let told = "task 1 (Test:hang) was interrupted: its runner died";
    assert!(
        answer.code() == 0 && answer.err().contains(told),
        "{}",
        answer.err()
    );
    let [report] = reports(&server).try_into().unwrap();
    assert!(report.contains(told), "{report}");
}

#[test]
fn what_a_dead_runner_left_is_told_by_each_command_that_finds_it() {
    for command in ["cancel", "stop", "restart", "delete"] {
        let server = Script::accept().start();
        let home = home(&server);
        home.method("Test:hang", "touch started; exec sleep 100");
        home.ok(["task", "add", "Test:hang"]);
        let run = home.start(["task", "run", "1"]);
        crate::kit::process::until("the handler has started", || home.path("started").exists());
        run.kill();
        let told = "task 1 (Test:hang) was interrupted: its runner died";
        let answer = home.run(["task", command, "1"]);
        assert!(answer.err().contains(told), "{command}: {}", answer.err());
        let [report] = reports(&server).try_into().unwrap();
        assert!(report.contains(told), "{command}: {report}");
    }
}

#[test]
fn levels_beyond_the_first_hundred_are_no_news_when_they_become_fewer() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:pass", "exit 0");
    home.timer("t", &["delay=0, method=Test:pass"]);
    home.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 210)
         INSERT INTO document (key) SELECT 'd' || i FROM n;
         INSERT INTO attachment (timer_id, document_id, reference_at)
         SELECT 1, id, '2026-04-10 08:59:00' FROM document;
         UPDATE timer_action SET method = 'No:such'",
    );
    tick_in_silence(&home);
    assert_eq!(reports(&server).len(), 1);
    home.sql("DELETE FROM document WHERE id = 210");
    tick_in_silence(&home);
    assert_eq!(reports(&server).len(), 1);
}

#[test]
fn a_zone_that_is_none_is_mailed_as_other_bad_settings_are() {
    let server = Script::accept().start();
    let home = home(&server);
    home.sql("INSERT INTO setting (key, value) VALUES ('time.zone', 'Nowhere/Land')");
    tick_in_silence(&home);
    tick_in_silence(&home);
    let [report] = reports(&server).try_into().unwrap();
    assert!(report.contains("Nowhere/Land"), "{report}");
}

#[test]
fn reports_that_cannot_go_out_do_not_pile_up() {
    let server = Script::accept()
        .on(Stage::Rcpt, Act::Reply("550 5.1.1 who?"))
        .start();
    let home = home(&server);
    home.method("Test:fail", "exit 3");
    for _ in 0..3 {
        home.ok(["task", "add", "Test:fail"]);
        assert!(home.run(["tick"]).err().contains("550 5.1.1 who?"));
    }
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM mail"), 0);
}

#[test]
fn many_errors_are_counted_beyond_the_first_hundred() {
    let server = Script::accept().start();
    let home = home(&server);
    home.method("Test:pass", "exit 0");
    let lines = "{\"method\": \"Test:pass\"}\n".repeat(120);
    let batch = home.write("batch", lines);
    home.ok(["task", "add", "--batch", batch.to_str().unwrap()]);
    home.ok(["method", "set", "Test:pass", "--", "/no/such/program"]);
    tick_in_silence(&home);
    let [report] = reports(&server).try_into().unwrap();
    let subject = header(&server.mails()[0].data, "Subject");
    assert_eq!(subject, "runner: 120 errors");
    let more = "20 more tasks failed or were interrupted: 'runner task list' shows which";
    assert!(report.contains(more), "{report}");
    assert!(!report.contains("more errors"), "{report}");
}
