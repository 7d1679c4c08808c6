//! Mails that no timer asks for: by `mail send`, by SQL, and those that are sent once more.

use serde_json::json;

use crate::kit::mime::{body, header, html};
use crate::kit::outbox::{add_mail, add_reminder, home, mail, tick};
use crate::kit::smtp::{Act, Script, Stage};

#[test]
fn one_mail_can_be_sent_as_it_is_written() {
    let server = Script::accept().start();
    let home = home(&server);
    let to = [
        "--to",
        "Ann <ann@x.org>",
        "bob@x.org",
        "--to",
        "\"Doe, J\" <j@x.org>, eve@x.org",
    ];
    let text = [
        "--subject",
        "Hello",
        "--body",
        "- Text",
        "--html",
        "<b>Text</b>",
    ];
    assert_eq!(home.ok([&["mail", "send"], &to[..], &text].concat()), "1");
    let queued = mail(&home, "1");
    assert_eq!(
        queued["to"],
        json!([
            "Ann <ann@x.org>",
            "bob@x.org",
            "\"Doe, J\" <j@x.org>",
            "eve@x.org"
        ])
    );
    assert_eq!(queued["status"], "queued");
    home.ok(["tick"]);
    home.write("text.txt", "from a file\n");
    let body_file = [
        "--from",
        "Shop <shop@x.org>",
        "--subject",
        "s",
        "--body",
        "@text.txt",
    ];
    home.ok([&["mail", "send", "--to", "ann@x.org"], &body_file[..]].concat());
    home.ok(["tick"]);
    let [first, second] = server.mails().try_into().unwrap();
    assert_eq!(first.from, "runner@example.org");
    assert_eq!(first.to, ["ann@x.org", "bob@x.org", "j@x.org", "eve@x.org"]);
    assert_eq!(header(&first.data, "Subject"), "Hello");
    assert_eq!(body(&first.data).trim_end(), "- Text");
    assert_eq!(html(&first.data).unwrap().trim_end(), "<b>Text</b>");
    assert_eq!(second.from, "shop@x.org");
    assert_eq!(body(&second.data).trim_end(), "from a file");
}

#[test]
fn one_mail_can_be_filled_from_a_template_but_for_its_recipients() {
    let server = Script::accept().start();
    let home = home(&server);
    let set = |name, to, body| {
        let rest = [
            "--to",
            to,
            "--cc",
            "cc@x.org",
            "--subject",
            "s",
            "--body",
            body,
        ];
        home.ok(["template", "set", name].into_iter().chain(rest));
    };
    set("of-a-document", "{{ attr.nobody }}", "{{ doc.title }}");
    set("of-none", "a@x.org", "plain");
    set("of-a-timer", "a@x.org", "{{ timer.name }}");
    home.ok(["doc", "add", "--key", "invoice", "--title", "Invoice 7"]);
    let send = |template, more: &[&'static str]| {
        let first = ["mail", "send", "--to", "ann@x.org", "--template", template];
        home.run([&first[..], more].concat())
    };
    assert_eq!(send("of-a-document", &["--document", "invoice"]).ok(), "1");
    assert_eq!(send("of-none", &["--from", "shop@x.org"]).ok(), "2");
    for (template, more, reason) in [
        ("of-a-document", &[][..], "template 'of-a-document': body"),
        (
            "of-a-timer",
            &["--document", "invoice"],
            "template 'of-a-timer': body",
        ),
        ("none", &[], "no template 'none'"),
        ("of-none", &["--document", "nowhere"], "no document nowhere"),
        ("of-none", &["--from", "shop"], "--from: address"),
    ] {
        let told = send(template, more).refused();
        assert!(told.contains(reason), "{told}");
    }
    home.ok(["tick"]);
    let [first, second] = server.mails().try_into().unwrap();
    assert_eq!(
        (first.to, second.to),
        (vec!["ann@x.org".to_owned()], vec!["ann@x.org".to_owned()])
    );
    assert_eq!(body(&first.data).trim_end(), "Invoice 7");
    assert_eq!(second.from, "shop@x.org");
    let sent = mail(&home, "1");
    assert_eq!(
        (&sent["template"], &sent["document"]),
        (&json!("of-a-document"), &json!(1))
    );
    let history = home.ok(["doc", "history", "invoice"]);
    assert!(
        history.contains("mail 'of-a-document' sent to ann@x.org"),
        "{history}"
    );
}

#[test]
fn what_is_no_mail_is_not_queued() {
    let server = Script::accept().start();
    let home = home(&server);
    for (arguments, code) in [
        (&["--subject", "s", "--body", "b"][..], 2),
        (&["--to", "a@x.org"], 2),
        (&["--to", "a@x.org", "--subject", "s"], 2),
        (&["--to", "a@x.org", "--body", "b"], 2),
        (
            &[
                "--to",
                "a@x.org",
                "--template",
                "t",
                "--subject",
                "s",
                "--body",
                "b",
            ],
            2,
        ),
        (
            &[
                "--to",
                "a@x.org",
                "--document",
                "1",
                "--subject",
                "s",
                "--body",
                "b",
            ],
            2,
        ),
        (&["--to", "nobody", "--subject", "s", "--body", "b"], 1),
        (&["--to", "", "--subject", "s", "--body", "b"], 1),
        (
            &["--to", "a@x.org", "--subject", "two\nlines", "--body", "b"],
            1,
        ),
        (
            &[
                "--to",
                "a@x.org",
                "--from",
                "x",
                "--subject",
                "s",
                "--body",
                "b",
            ],
            1,
        ),
        (
            &["--to", "a@x.org", "--subject", "s", "--body", "@missing"],
            1,
        ),
    ] {
        let answer = home.run([&["mail", "send"], arguments].concat());
        assert_eq!(answer.code(), code, "{}", answer.all());
    }
    home.ok(["config", "unset", "mail.from"]);
    let told = home.refused([
        "mail",
        "send",
        "--to",
        "a@x.org",
        "--subject",
        "s",
        "--body",
        "b",
    ]);
    assert!(told.contains("setting mail.from"), "{told}");
    assert_eq!(home.json(["mail", "list"]), json!([]));
}

#[test]
fn sql_may_insert_mails() {
    let server = Script::accept().start();
    let home = home(&server);
    home.sql(
        r#"INSERT INTO mail ("to", subject, body) VALUES ('ann@x.org', 'Hello', 'Text');
           INSERT INTO mail ("from", "to", subject, body, html)
           VALUES ('Shop <shop@x.org>', '["ann@x.org", "Bob <bob@x.org>"]', 'Hello', 'Text', '<b>Text</b>');
           INSERT INTO mail ("to") VALUES ('no address');
           INSERT INTO mail ("to") VALUES ('a@x.org, b@x.org');
           INSERT INTO mail ("to") VALUES ('[]')"#,
    );
    assert_eq!(mail(&home, "1")["to"], json!(["ann@x.org"]));
    let answer = home.run(["tick"]);
    assert_eq!(answer.code(), 1);
    let [first, second] = server.mails().try_into().unwrap();
    assert_eq!((&*first.from, first.to.len()), ("runner@example.org", 1));
    assert_eq!((&*second.from, second.to.len()), ("shop@x.org", 2));
    let ids = [&first, &second].map(|mail| header(&mail.data, "Message-ID"));
    assert!(
        ids[0].ends_with("@localhost>") && ids[0] != ids[1],
        "{ids:?}"
    );
    for (id, reason) in [
        ("3", "address \"no address\""),
        ("4", "there can be only one here"),
        ("5", "there is nobody to send to"),
    ] {
        let failed = mail(&home, id);
        assert_eq!(failed["status"], "failed");
        assert!(
            failed["last_error"].as_str().unwrap().contains(reason),
            "{failed}"
        );
    }
    let connection = rusqlite::Connection::open(home.db()).unwrap();
    for values in [
        "(subject) VALUES ('s')",
        "(\"to\") VALUES ('')",
        "(\"to\", cc) VALUES ('a@x.org', 'b@x.org')",
        "(\"to\", status) VALUES ('a@x.org', 'gone')",
    ] {
        let inserted = connection.execute(&format!("INSERT INTO mail {values}"), []);
        assert!(inserted.is_err(), "{values}");
    }
}

#[test]
fn a_mail_without_a_sender_fails_when_the_settings_name_none_either() {
    let server = Script::accept().start();
    let home = home(&server);
    home.ok(["config", "unset", "mail.from"]);
    home.sql(r#"INSERT INTO mail ("to") VALUES ('ann@x.org')"#);
    assert_eq!(home.run(["tick"]).code(), 1);
    let failed = mail(&home, "1");
    assert!(
        failed["last_error"]
            .as_str()
            .unwrap()
            .contains("setting mail.from"),
        "{failed}"
    );
    home.ok(["config", "set", "mail.from", "shop@x.org"]);
    home.ok(["mail", "retry", "1"]);
    home.ok(["tick"]);
    assert_eq!(server.mails()[0].from, "shop@x.org");
}

#[test]
fn a_mail_that_was_sent_can_be_sent_once_more() {
    let server = Script::accept().start();
    let home = home(&server);
    add_mail(&home, "a@x.org");
    add_reminder(&home);
    tick(&home);
    for id in ["1", "2"] {
        home.ok(["mail", "retry", id]);
        let queued = mail(&home, id);
        assert_eq!(
            (&queued["status"], &queued["sent_at"]),
            (&json!("queued"), &json!(null))
        );
    }
    home.ok(["tick"]);
    let mails = server.mails();
    assert_eq!(mails.len(), 4);
    assert_eq!(
        header(&mails[0].data, "Message-ID"),
        header(&mails[2].data, "Message-ID"),
        "a receiver can tell that it is the same"
    );
    assert_eq!(mail(&home, "2")["status"], "sent");
    assert!(home.refused(["mail", "retry", "3"]).contains("no mail 3"));
}

#[test]
fn a_level_waits_for_a_mail_that_is_sent_once_more_before_it_has_gone_on() {
    let server = Script::accept()
        .on(Stage::Mail, Act::Reply("250 ok"))
        .once(Stage::Dot, Act::Reply("250 ok"))
        .once(Stage::Dot, Act::Reply("451 later"))
        .start();
    let home = home(&server);
    home.sql("INSERT INTO document (title) VALUES ('A')");
    for name in ["one", "two"] {
        home.ok([
            "template",
            "set",
            name,
            "--to",
            "a@x.org",
            "--subject",
            name,
            "--body",
            "b",
        ]);
    }
    home.timer("t", &["mail=one, mail=two, state=done"]);
    home.ok(["timer", "attach", "t", "1"]);
    home.run(["tick"]);
    assert_eq!(
        [&mail(&home, "1")["status"], &mail(&home, "2")["status"]],
        ["sent", "queued"]
    );
    home.ok(["mail", "retry", "1"]);
    home.ok(["tick"]);
    assert_eq!(
        [&mail(&home, "1")["status"], &mail(&home, "2")["status"]],
        ["sent", "sent"]
    );
    assert_eq!(home.json(["timer", "next"]), json!([]), "the level is done");
}
