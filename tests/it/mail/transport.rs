//! Where mail leaves, as the setting and the environment say it (`design`, “Mail”).
use crate::kit::outbox::{add_mail, home, home_with, mail};
use crate::kit::runner::Answer;
use crate::kit::smtp::{Act, Identity, Script, Stage};

#[test]
fn a_login_over_starttls_works_through_the_setting_and_through_the_environment() {
    let identity = Identity::of("127.0.0.1");
    let server = Script::accept()
        .start_tls(&identity)
        .login("ann", "s3cr3t-word")
        .start();
    let url = server.url("ann:s3cr3t-word", &identity.trusted());
    let by_setting = home_with(&url);
    let by_environment = home_with("file:unused").env("RUNNER_MAIL_TRANSPORT", &url);
    for home in [&by_setting, &by_environment] {
        add_mail(home, "a@x.org");
        assert_eq!(home.ok(["tick"]), "");
        assert!(server.mails().last().unwrap().encrypted);
    }
    assert_eq!(server.mails().len(), 2);
    assert!(!by_environment.path("unused").exists());
}

#[test]
fn the_password_is_shown_nowhere() {
    let server = Script::accept().login("ann", "other").start();
    let url = server.url("ann:s3cr3t-word", "");
    let by_setting = home_with(&url);
    let by_environment = home_with("file:out").env("RUNNER_MAIL_TRANSPORT", &url);
    let wrong =
        home_with("file:out").env("RUNNER_MAIL_TRANSPORT", "smtp://ann:s3cr3t-word@no host");
    for home in [&by_setting, &by_environment, &wrong] {
        home.ok(["config", "set", "mail.errors_to", "admin@example.org"]);
        add_mail(home, "a@x.org");
        for command in [
            vec!["-vv", "tick"],
            vec!["config", "list"],
            vec!["config", "get", "mail.transport"],
            vec!["-vv", "mail", "test", "a@x.org"],
            vec!["--json", "mail", "list"],
            vec!["mail", "show", "1"],
            vec!["status"],
        ] {
            let answer = home.run(&command);
            let said = answer.out() + &answer.err();
            assert!(!said.contains("s3cr3t-word"), "{command:?}: {said}");
        }
    }
    assert!(
        by_setting
            .ok(["config", "get", "mail.transport"])
            .contains("ann:***@")
    );
    let refused = by_setting.refused([
        "config",
        "set",
        "mail.transport",
        "smtp://ann:s3cr3t-word@no host",
    ]);
    assert!(!refused.contains("s3cr3t-word"), "{refused}");
}

#[test]
fn a_transport_that_makes_no_sense_is_one_error_and_tasks_run() {
    let home = home_with("file:out");
    home.sql("UPDATE setting SET value = 'pigeon' WHERE key = 'mail.transport'");
    home.method("Test:pass", "exit 0");
    home.ok(["task", "add", "Test:pass"]);
    add_mail(&home, "a@x.org");
    add_mail(&home, "b@x.org");
    let complaint = home.refused(["tick"]);
    assert!(complaint.contains("setting mail.transport"), "{complaint}");
    assert_eq!(home.status("1"), "COMPLETED");
    let list = home.json(["mail", "list"]);
    for row in list.as_array().unwrap() {
        assert_eq!(row["status"], "queued");
        assert!(
            row["last_error"]
                .as_str()
                .unwrap()
                .contains("mail.transport")
        );
    }
}

#[test]
fn a_folder_is_relative_to_that_of_the_database() {
    let home = home_with("file:out/mails");
    add_mail(&home, "a@x.org");
    let mut command = home.command(["tick"]);
    command.current_dir("/").env("RUNNER_DB", home.db());
    Answer::of("tick", command.output().unwrap()).ok();
    let files = std::fs::read_dir(home.path("out/mails")).unwrap();
    let names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let id = mail(&home, "1")["message_id"].as_str().unwrap().to_owned();
    assert_eq!(names, [format!("{}.eml", id.trim_matches(['<', '>']))]);
}

#[test]
fn a_test_mail_says_what_the_server_answered() {
    let server = Script::accept().start();
    let home = home(&server);
    let said = home.ok(["mail", "test", "Ann <ann@example.org>"]);
    assert!(said.contains("250 2.0.0 Ok: queued as DOUBLE"), "{said}");
    assert_eq!(server.mails()[0].to, ["ann@example.org"]);
    assert_eq!(mail(&home, "1")["status"], "sent");
    let refusing = Script::accept()
        .on(Stage::Rcpt, Act::Reply("550 5.1.1 who?"))
        .start();
    home.ok(["config", "set", "mail.transport", &refusing.url("", "")]);
    let said = home.refused(["mail", "test", "ann@example.org"]);
    assert!(said.contains("550 5.1.1 who?"), "{said}");
    // Whoever tests is told at once: nothing is kept that asks for attention.
    assert_eq!(home.json(["mail", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(home.json(["status"])["mails"]["failed"], 0);
    home.ok(["tick"]);
    for (address, words) in [
        ("ann", "address \"ann\": it must look like"),
        ("a@x.org, b@x.org", "there can be only one here"),
    ] {
        let said = home.refused(["mail", "test", address]);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn what_is_wrong_with_a_transport_is_told_part_by_part() {
    let home = home_with("file:out");
    for (wrong, words) in [
        ("smtp://host:99999", "the port, after the host"),
        ("smtp://host:0", "the port, after the host"),
        ("smtp://ann:50%zz@host", "% itself is written %25"),
        ("smtp://ann:pass%@host", "% itself is written %25"),
        ("smtp://ann@host", "a login is user:password"),
        ("smtp://host?tls=maybe", "the parameters are tls=required"),
        ("pigeon", "a mail transport is smtp://host"),
    ] {
        let said = home.refused(["config", "set", "mail.transport", wrong]);
        assert!(said.contains(words), "{wrong}: {said}");
    }
}
