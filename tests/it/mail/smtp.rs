//! Mail through SMTP, against a server that accepts, refuses, hangs and lies.
use std::net::TcpListener;

use crate::kit::mime::{base64, body, header, html};
use crate::kit::outbox::{home_with, tick};
use crate::kit::runner::Home;
use crate::kit::smtp::{Act, Identity, Script, Server, Stage};
use serde_json::{Value, json};

const BODY: &str = "Bonjour,\n\n.un point\n..deux\nà valider €\n";

/// What became of a mail that did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// It is given up.
    Refused,
    /// It is tried again, and the others were tried too.
    Transient,
    /// It is tried again, and no other was tried.
    Unreachable,
}

/// A database whose mails go out this way, with so many mails in the outbox.
fn outbox(url: &str, mails: usize) -> Home {
    let home = home_with(url);
    for _ in 0..mails {
        home.sql(&format!(
            r#"INSERT INTO mail ("from", "to", cc, bcc, subject, body, html, created_at, message_id)
               VALUES ('Runner <runner@example.org>', '["\"Durand, Élodie\" <elodie@example.org>"]', '["bob@example.org"]',
                       '["secret@example.org"]', 'Relance : à valider « Contrat »', '{BODY}', '<p>À valider</p>',
                       '2026-04-10 07:00:00', '<' || (SELECT count(*) + 1 FROM mail) || '@runner.test>')"#
        ));
    }
    home
}

fn mails(home: &Home) -> Vec<Value> {
    home.json(["mail", "list"]).as_array().unwrap().clone()
}

fn is_sent(home: &Home) -> bool {
    home.ok(["tick"]);
    mails(home).iter().all(|mail| mail["status"] == "sent")
}

/// Sends a mail through this server.
fn send(server: &Server, login: &str, parameters: &str) {
    let home = outbox(&server.url(login, parameters), 1);
    assert!(is_sent(&home), "{:?}", mails(&home));
}

/// A tick by which no mail is sent, where the first says why.
fn fail(home: &Home) -> (Failure, String) {
    let report = tick(home);
    assert_eq!(report["mails_sent"], 0, "{report}");
    let first = mails(home)[0].clone();
    let reason = first["last_error"].as_str().unwrap().to_owned();
    let error = report["errors"][0].as_str().unwrap();
    assert!(error.contains(&reason), "{error}: {reason}");
    let failure = match first["status"].as_str() {
        Some("failed") => Failure::Refused,
        _ if error.starts_with("mail does not go out: ") => Failure::Unreachable,
        _ => Failure::Transient,
    };
    (failure, reason)
}

/// Why a mail does not go out through this server.
fn refusal(server: &Server, login: &str, parameters: &str) -> (Failure, String) {
    fail(&outbox(&server.url(login, parameters), 1))
}

#[test]
fn an_accepted_mail_arrives_with_envelope_headers_and_both_bodies() {
    let server = Script::accept().start();
    let home = outbox(&server.url("", ""), 1);
    let answer = home.run(["-v", "tick"]);
    assert!(
        answer.err().contains("250 2.0.0 Ok: queued as DOUBLE"),
        "{}",
        answer.err()
    );
    let [arrived] = server.mails().try_into().unwrap();
    assert_eq!(arrived.from, "runner@example.org");
    assert_eq!(
        arrived.to,
        [
            "elodie@example.org",
            "bob@example.org",
            "secret@example.org"
        ]
    );
    for (name, value) in [
        ("From", "Runner <runner@example.org>"),
        ("To", "Durand, Élodie <elodie@example.org>"),
        ("Cc", "bob@example.org"),
        ("Bcc", ""),
        ("Subject", "Relance : à valider « Contrat »"),
        ("Message-ID", "<1@runner.test>"),
        ("Date", "Fri, 10 Apr 2026 07:00:00 +0000"),
        ("Auto-Submitted", "auto-generated"),
    ] {
        assert_eq!(header(&arrived.data, name), value, "{name}");
    }
    assert_eq!(body(&arrived.data), BODY);
    assert_eq!(html(&arrived.data).as_deref(), Some("<p>À valider</p>\n"));
    assert!(!arrived.data.contains("secret"));
}

#[test]
fn a_text_of_dots_arrives_as_it_is() {
    let server = Script::accept().start();
    let home = outbox(&server.url("", ""), 1);
    home.sql("UPDATE mail SET html = NULL, body = '.\n..\nQUIT\n.' || char(13, 10) || 'last'");
    assert!(is_sent(&home));
    assert_eq!(body(&server.mails()[0].data), ".\n..\nQUIT\n.\nlast\n");
}

#[test]
fn an_address_beyond_ascii_needs_a_server_that_takes_it() {
    for address in ["élodie@example.org", "elodie@école.example"] {
        let to = format!("UPDATE mail SET \"to\" = json_array('{address}')");
        let server = Script::accept().start();
        let home = outbox(&server.url("", ""), 1);
        home.sql(&to);
        assert!(is_sent(&home));
        assert_eq!(server.mails()[0].to[0], address);
        assert!(
            server
                .commands()
                .iter()
                .any(|line| line.starts_with("MAIL") && line.contains("SMTPUTF8"))
        );
        let plain = Script::accept()
            .on(Stage::Ehlo, Act::Reply("250-double\r\n250 HELP"))
            .start();
        let home = outbox(&plain.url("", ""), 1);
        home.sql(&to);
        let (failure, reason) = fail(&home);
        assert!(
            failure == Failure::Refused && reason.contains(address),
            "{reason}"
        );
        // It is our word and not the server's, which has a code.
        assert!(
            reason.contains("offers no SMTPUTF8") && !reason.contains("553"),
            "{reason}"
        );
    }
}

#[test]
fn starttls_and_login_go_before_the_mail() {
    let identity = Identity::of("127.0.0.1");
    for mechanisms in ["PLAIN LOGIN", "LOGIN", "CRAM-MD5 PLAIN"] {
        let script = Script::accept()
            .start_tls(&identity)
            .login("ann", "s3cret:é");
        let server = script.mechanisms(mechanisms).start();
        send(&server, "ann:s3cret%3A%C3%A9", &identity.trusted());
        assert!(server.mails()[0].encrypted, "{mechanisms}");
    }
}

#[test]
fn implicit_tls_encrypts_from_the_first_byte() {
    let identity = Identity::of("127.0.0.1");
    let server = Script::accept()
        .implicit_tls(&identity)
        .login("ann", "s3cret")
        .start();
    send(&server, "ann:s3cret", &identity.trusted());
    assert!(server.mails()[0].encrypted);
}

#[test]
fn a_certificate_that_does_not_fit_ends_the_attempt_and_nothing_is_sent_in_the_clear() {
    let (ours, theirs, named) = (
        Identity::of("127.0.0.1"),
        Identity::of("127.0.0.1"),
        Identity::of("mail.example.org"),
    );
    for (shown, trusted) in [
        (&ours, String::new()),
        (&theirs, ours.trusted()),
        (&named, named.trusted()),
    ] {
        for server in [
            Script::accept()
                .login("ann", "s3cret")
                .start_tls(shown)
                .start(),
            Script::accept()
                .login("ann", "s3cret")
                .implicit_tls(shown)
                .start(),
        ] {
            let (failure, reason) = refusal(&server, "ann:s3cret", &trusted);
            assert_eq!(failure, Failure::Unreachable);
            assert!(
                reason.contains("certificate") && !reason.contains("s3cret"),
                "{reason}"
            );
            let after = |line: &String| line.starts_with("AUTH") || line.starts_with("MAIL");
            assert!(server.mails().is_empty() && !server.commands().iter().any(after));
        }
    }
}

#[test]
fn a_certificate_that_signs_itself_as_an_authority_is_trusted_when_it_is_in_the_file() {
    let ours = Identity::authority("127.0.0.1", 2999);
    for server in [
        Script::accept().start_tls(&ours).start(),
        Script::accept().implicit_tls(&ours).start(),
    ] {
        send(&server, "", &ours.trusted());
        assert!(server.mails()[0].encrypted);
    }
    let (old, named, theirs) = (
        Identity::authority("127.0.0.1", 2020),
        Identity::authority("mail.example.org", 2999),
        Identity::authority("127.0.0.1", 2999),
    );
    for (shown, trusted, words) in [
        (&old, old.trusted(), "has expired"),
        (&named, named.trusted(), "mail.example.org"),
        (&theirs, ours.trusted(), "is that of an authority"),
    ] {
        for server in [
            Script::accept()
                .login("ann", "s3cret")
                .implicit_tls(shown)
                .start(),
            Script::accept()
                .login("ann", "s3cret")
                .start_tls(shown)
                .start(),
        ] {
            let (failure, reason) = refusal(&server, "ann:s3cret", &trusted);
            assert_eq!(failure, Failure::Unreachable);
            assert!(reason.contains(words), "{reason}");
            let after = |line: &String| line.starts_with("AUTH") || line.starts_with("MAIL");
            assert!(server.mails().is_empty() && !server.commands().iter().any(after));
        }
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_in_words_with_advice_that_helps() {
    let (ours, theirs) = (Identity::of("127.0.0.1"), Identity::of("127.0.0.1"));
    let server = Script::accept().start_tls(&theirs).start();
    let (_, reason) = refusal(&server, "", "");
    assert!(
        reason.contains("signed by no authority that is trusted (ca=FILE"),
        "{reason}"
    );
    let (_, reason) = refusal(&server, "", &ours.trusted());
    assert!(
        reason.contains("(only the certificates of ca=FILE"),
        "{reason}"
    );
    let plain = Script::accept().start();
    let url = plain.url("", "").replace("smtp://", "smtps://");
    let (_, reason) = fail(&outbox(&url, 1));
    assert!(reason.contains("does not speak TLS"), "{reason}");
}

#[test]
fn tls_that_is_required_is_not_done_without() {
    for script in [
        Script::accept(),
        Script::accept().on(Stage::Ehlo, Act::Reply("250-double\r\n250 starttls?")),
    ] {
        let server = script.start();
        let (failure, reason) = refusal(&server, "", "tls=required");
        assert!(
            failure == Failure::Unreachable && reason.contains("STARTTLS"),
            "{reason}"
        );
        assert!(server.mails().is_empty());
    }
}

#[test]
fn starttls_that_is_offered_and_then_refused_is_not_done_without() {
    let identity = Identity::of("127.0.0.1");
    let script = Script::accept()
        .start_tls(&identity)
        .on(Stage::StartTls, Act::Reply("454 not now"));
    let server = script.start();
    let (failure, reason) = refusal(&server, "", &identity.trusted());
    assert!(
        failure == Failure::Unreachable && reason.contains("454 not now"),
        "{reason}"
    );
    assert!(
        !server
            .commands()
            .iter()
            .any(|line| line.starts_with("MAIL"))
    );
}

#[test]
fn starttls_is_left_out_when_told() {
    let identity = Identity::of("127.0.0.1");
    let server = Script::accept().start_tls(&identity).start();
    let (failure, reason) = refusal(&server, "", "tls=none");
    assert!(
        failure == Failure::Refused && reason.contains("530"),
        "{reason}"
    );
    assert!(!server.commands().contains(&"STARTTLS".to_owned()));
}

#[test]
fn on_loopback_a_login_may_go_in_the_clear() {
    let server = Script::accept().login("ann", "s3cret").start();
    send(&server, "ann:s3cret", "");
    assert!(!server.mails()[0].encrypted);
}

#[test]
fn a_refused_login_is_told_in_the_servers_words_without_the_password() {
    let wrong = Script::accept().login("ann", "other").start();
    let (failure, reason) = refusal(&wrong, "ann:s3cret", "");
    assert!(
        failure == Failure::Unreachable && reason.contains("535 5.7.8 who are you?"),
        "{reason}"
    );
    for (password, written, echo) in [
        ("s3cret", "s3cret", "s3cret".to_owned()),
        ("s3cret", "s3cret", base64(b"s3cret")),
        ("s3cret", "s3cret", base64(b"\0ann\0s3cret")),
        ("p@ss/wö", "p%40ss%2Fw%C3%B6", "p@ss/wö".to_owned()),
    ] {
        let words: &'static str = format!("535 no {echo} here").leak();
        let server = Script::accept()
            .login("ann", password)
            .on(Stage::Auth, Act::Reply(words))
            .start();
        let home = outbox(&server.url(&format!("ann:{written}"), ""), 1);
        let (_, reason) = fail(&home);
        let hidden = reason.replace("***=", "***");
        assert!(hidden.ends_with("535 no *** here"), "{echo}: {reason}");
        let shown = home.run(["-vv", "mail", "test", "a@x.org"]).all();
        assert!(!shown.contains(&echo), "{echo}: {shown}");
    }
}

#[test]
fn a_login_of_unknown_kind_or_with_odd_questions_is_not_tried_blindly() {
    let strange = Script::accept()
        .login("ann", "s3cret")
        .mechanisms("GSSAPI")
        .start();
    let (failure, reason) = refusal(&strange, "ann:s3cret", "");
    assert!(
        failure == Failure::Unreachable && reason.contains("login: No compatible authentication"),
        "{reason}"
    );
    assert!(
        !strange
            .commands()
            .iter()
            .any(|line| line.starts_with("AUTH"))
    );
    let asking = Script::accept()
        .login("ann", "s3cret")
        .on(Stage::Auth, Act::Reply("334 ????"))
        .start();
    assert_eq!(refusal(&asking, "ann:s3cret", "").0, Failure::Unreachable);
}

#[test]
fn a_refusal_says_what_was_refused_and_whether_to_try_again() {
    use Failure::{Refused, Transient, Unreachable};
    for (stage, words, kind, place) in [
        (Stage::Connect, "421 too busy", Unreachable, "greeting"),
        (Stage::Connect, "554 no mail here", Unreachable, "greeting"),
        (Stage::Ehlo, "421 too busy", Unreachable, "greeting"),
        (Stage::Ehlo, "550 go away", Unreachable, "greeting"),
        (
            Stage::Mail,
            "421 too busy",
            Transient,
            "MAIL FROM:<runner@example.org>",
        ),
        (Stage::Mail, "450 greylisted", Transient, "MAIL FROM"),
        (Stage::Mail, "550 5.1.0 bad sender", Refused, "MAIL FROM"),
        (
            Stage::Rcpt,
            "450 mailbox busy",
            Transient,
            "RCPT TO:<elodie@example.org>",
        ),
        (
            Stage::Rcpt,
            "550 5.1.1 unknown",
            Refused,
            "RCPT TO:<elodie@example.org>",
        ),
        (
            Stage::Rcpt,
            "421 going",
            Transient,
            "RCPT TO:<elodie@example.org>",
        ),
        (Stage::Data, "452 disk full", Transient, "DATA"),
        (Stage::Data, "554 no", Refused, "DATA"),
        (Stage::Dot, "421 shutting down", Transient, "message"),
        (Stage::Dot, "450-try\r\n450 later", Transient, "message"),
        (Stage::Dot, "550 virus", Refused, "message"),
        (Stage::Dot, "554 5.7.1 spam", Refused, "message"),
    ] {
        let server = Script::accept().on(stage, Act::Reply(words)).start();
        let (found, reason) = refusal(&server, "", "");
        assert_eq!(found, kind, "{stage:?} {words}: {reason}");
        assert!(reason.contains(place), "{reason}");
        assert!(
            reason.contains(&words.replace("\r\n450", "")[..3]) && reason.contains("127.0.0.1"),
            "{reason}"
        );
        assert!(server.mails().is_empty());
    }
}

#[test]
fn who_is_refused_is_named_and_the_others_get_the_mail() {
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply("250 ok"))
        .once(Stage::Rcpt, Act::Reply("550 no bob"))
        .start();
    let home = outbox(&server.url("", ""), 1);
    let report = tick(&home);
    assert_eq!(
        (&report["mails_sent"], &report["mails_failed"]),
        (&json!(1), &json!(0))
    );
    let error = report["errors"][0].as_str().unwrap();
    let refused = "RCPT TO:<bob@example.org>: 550 no bob";
    assert!(error.contains(refused), "{error}");
    assert_eq!(
        server.mails()[0].to,
        ["elodie@example.org", "secret@example.org"]
    );
    let row = &mails(&home)[0];
    assert_eq!(row["status"], "sent");
    assert!(row["last_error"].as_str().unwrap().contains(refused));
}

#[test]
fn all_who_are_refused_are_named() {
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply("550 no elodie"))
        .once(Stage::Rcpt, Act::Reply("450 not now bob"))
        .once(Stage::Rcpt, Act::Reply("551 no secret"))
        .start();
    let (failure, reason) = refusal(&server, "", "");
    assert_eq!(
        failure,
        Failure::Transient,
        "it may be taken for one of them"
    );
    for words in ["550 no elodie", "450 not now bob", "551 no secret"] {
        assert!(reason.contains(words), "{reason}");
    }
    assert!(server.mails().is_empty() && !server.commands().contains(&"DATA".to_owned()));
}

#[test]
fn a_dropped_connection_is_tried_again_another_time() {
    use Failure::{Transient, Unreachable};
    for (stage, kind) in [
        (Stage::Connect, Unreachable),
        (Stage::Ehlo, Unreachable),
        (Stage::Mail, Transient),
        (Stage::Rcpt, Transient),
        (Stage::Data, Transient),
    ] {
        let server = Script::accept().on(stage, Act::Drop).start();
        assert_eq!(refusal(&server, "", "").0, kind, "{stage:?}");
        assert_eq!(server.connections(), 1, "{stage:?}");
    }
}

#[test]
fn a_drop_after_the_message_is_not_sent_again_at_once() {
    let server = Script::accept().on(Stage::Dot, Act::Drop).start();
    assert_eq!(refusal(&server, "", "").0, Failure::Transient);
    assert_eq!((server.mails().len(), server.connections()), (1, 1));
}

#[test]
fn a_server_that_is_mute_or_drips_is_left_at_the_deadline() {
    use Failure::{Transient, Unreachable};
    for act in [Act::Mute, Act::Drip] {
        for (stage, kind) in [
            (Stage::Connect, Unreachable),
            (Stage::Ehlo, Unreachable),
            (Stage::Rcpt, Transient),
            (Stage::Dot, Transient),
        ] {
            let server = Script::accept().on(stage, act).start();
            let (failure, reason) = refusal(&server, "", "timeout=1");
            assert_eq!(failure, kind, "{act:?} at {stage:?}: {reason}");
            assert!(reason.contains("no answer in time"), "{reason}");
        }
    }
}

#[test]
fn a_server_that_does_not_encrypt_after_all_is_left_at_the_deadline() {
    let identity = Identity::of("127.0.0.1");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, trusted) = (silent.local_addr().unwrap(), identity.trusted());
    let url = format!("smtps://{address}?{trusted}&timeout=1");
    let (failure, reason) = fail(&outbox(&url, 1));
    assert!(
        failure == Failure::Unreachable && reason.contains("no answer in time"),
        "{reason}"
    );
}

#[test]
fn silence_for_two_mails_in_a_row_is_the_servers() {
    let server = Script::accept().on(Stage::Data, Act::Mute).start();
    let home = outbox(&server.url("", "timeout=1"), 3);
    let report = tick(&home);
    let errors = report["errors"].to_string();
    assert!(
        errors.contains("mail 1 ") && errors.contains("mail does not go out"),
        "{errors}"
    );
    let attempts: Vec<_> = mails(&home)
        .iter()
        .map(|mail| mail["attempts"].clone())
        .collect();
    assert_eq!(attempts, [1, 1, 0]);
}

#[test]
fn a_flood_or_garbage_is_cut_short() {
    for act in [
        Act::Flood,
        Act::Reply("HTTP/1.1 400 Bad Request"),
        Act::Reply("\u{1b}[2J\0"),
        Act::Reply(""),
        Act::Reply("250-one\r\n251 two"),
        Act::Reply("999 what"),
    ] {
        for (stage, kind) in [
            (Stage::Connect, Failure::Unreachable),
            (Stage::Dot, Failure::Transient),
        ] {
            let server = Script::accept().on(stage, act).start();
            let (found, reason) = refusal(&server, "", "");
            assert_eq!(found, kind, "{act:?} at {stage:?}: {reason}");
            assert!(
                reason.len() < 700 && !reason.contains(char::is_control),
                "{reason}"
            );
        }
    }
}

#[test]
fn a_long_or_odd_answer_is_shown_on_one_bounded_line() {
    let words: &'static str = format!("550 \u{1b}[31m{}", "né ".repeat(200)).leak();
    let server = Script::accept().on(Stage::Mail, Act::Reply(words)).start();
    let (failure, reason) = refusal(&server, "", "");
    assert_eq!(failure, Failure::Refused);
    assert!(
        reason.chars().count() <= 501 && reason.ends_with('…'),
        "{reason}"
    );
    assert!(!reason.contains(char::is_control));
}

#[test]
fn nobody_listening_is_unreachable() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (failure, reason) = fail(&outbox(&format!("smtp://{gone}"), 1));
    assert!(
        failure == Failure::Unreachable && reason.contains("connecting"),
        "{reason}"
    );
    let (failure, reason) = fail(&outbox("smtp://host.invalid?timeout=2", 1));
    assert_eq!(failure, Failure::Unreachable, "{reason}");
}

#[test]
fn one_connection_serves_all_mails() {
    let server = Script::accept().start();
    assert!(is_sent(&outbox(&server.url("", ""), 3)));
    assert_eq!((server.mails().len(), server.connections()), (3, 1));
    assert_eq!(server.commands().last().unwrap(), "QUIT");
}

#[test]
fn after_a_refusal_the_connection_serves_the_next_mail() {
    let server = Script::accept()
        .once(Stage::Mail, Act::Reply("550 not you"))
        .once(Stage::Dot, Act::Reply("554 spam"))
        .start();
    let home = outbox(&server.url("", ""), 3);
    tick(&home);
    let statuses: Vec<_> = mails(&home)
        .iter()
        .map(|mail| mail["status"].clone())
        .collect();
    assert_eq!(statuses, ["failed", "failed", "sent"]);
    assert_eq!((server.mails().len(), server.connections()), (1, 1));
    assert_eq!(server.mails()[0].to.len(), 3);
}

#[test]
fn a_connection_gone_stale_is_replaced_before_anything_is_sent() {
    let server = Script::accept()
        .once(Stage::Dot, Act::Close("250 ok, and that was it"))
        .start();
    assert!(is_sent(&outbox(&server.url("", ""), 2)));
    assert_eq!((server.mails().len(), server.connections()), (2, 2));
}

#[test]
fn a_server_that_takes_only_so_many_mails_a_connection_gets_another_connection() {
    let server = Script::accept()
        .once(Stage::Mail, Act::Reply("250 ok"))
        .once(Stage::Mail, Act::Close("421 enough"))
        .start();
    assert!(is_sent(&outbox(&server.url("", ""), 2)));
    assert_eq!((server.mails().len(), server.connections()), (2, 2));
}

#[test]
fn a_server_that_will_not_forget_a_mail_gets_another_connection() {
    let server = Script::accept()
        .once(Stage::Dot, Act::Reply("450 later"))
        .on(Stage::Rset, Act::Reply("502 no"))
        .start();
    let home = outbox(&server.url("", ""), 2);
    let report = tick(&home);
    assert_eq!(
        (&report["mails_sent"], &report["mails_failed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!((server.mails().len(), server.connections()), (1, 2));
}

#[test]
fn a_mail_that_cannot_be_built_is_refused_before_any_connection() {
    let server = Script::accept().start();
    let home = outbox(&server.url("", ""), 1);
    home.sql("UPDATE mail SET subject = 'a' || char(13, 10) || 'Bcc: e@example.org'");
    assert_eq!((fail(&home).0, server.connections()), (Failure::Refused, 0));
}
