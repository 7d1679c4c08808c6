//! Mail through SMTP, against a server that accepts, refuses, hangs and lies.
use std::net::TcpListener;
use std::time::Duration;

use crate::kit::mime::{base64, body, header, html};
use crate::kit::smtp::{Act, Identity, Script, Server, Stage};
use runner::mail::{Accepted, Failure, Letter, Limits, Outgoing, SendError, Sender, Transport};

/// Far more than a loaded machine needs.
const PATIENT: Limits = Limits {
    connect: Duration::from_secs(20),
    send: Duration::from_secs(20),
};

/// For servers of which no answer is hoped for.
const IMPATIENT: Limits = Limits {
    connect: Duration::from_millis(300),
    send: Duration::from_millis(300),
};

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
        to: vec!["\"Durand, Élodie\" <elodie@example.org>".parse().unwrap()],
        cc: vec!["bob@example.org".parse().unwrap()],
        bcc: vec!["secret@example.org".parse().unwrap()],
        subject: "Relance : à valider « Contrat »".into(),
        body: "Bonjour,\n\n.un point\n..deux\nà valider €\n".into(),
        html: Some("<p>À valider</p>".into()),
    }
}

fn with(letter: Letter) -> Outgoing {
    Outgoing { letter, ..mail() }
}

fn sender(url: &str, limits: Limits) -> Sender {
    Sender::open(&Transport::parse(url).unwrap().with_limits(limits))
}

fn send(url: &str) -> Result<Accepted, SendError> {
    sender(url, PATIENT).send(&mail())
}

fn kind_and_sentence(server: &Server, login: &str, parameters: &str) -> (Failure, String) {
    let error = send(&server.url(login, parameters)).unwrap_err();
    (error.kind, error.sentence)
}

#[test]
fn an_accepted_mail_arrives_with_envelope_headers_and_both_bodies() {
    let server = Script::accept().start();
    let accepted = send(&server.url("", "")).unwrap();
    assert_eq!(accepted.answer, "250 2.0.0 Ok: queued as DOUBLE");
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
    assert_eq!(body(&arrived.data), letter().body);
    assert_eq!(html(&arrived.data).as_deref(), Some("<p>À valider</p>\n"));
    assert!(!arrived.data.contains("secret"));
}

#[test]
fn a_text_of_dots_arrives_as_it_is() {
    let server = Script::accept().start();
    let text = ".\n..\nQUIT\n.\r\nlast".to_owned();
    sender(&server.url("", ""), PATIENT)
        .send(&with(Letter {
            body: text,
            html: None,
            ..letter()
        }))
        .unwrap();
    assert_eq!(
        body(&server.mails()[0].data).trim_end(),
        ".\n..\nQUIT\n.\nlast"
    );
}

#[test]
fn an_address_beyond_ascii_needs_a_server_that_takes_it() {
    let abroad = with(Letter {
        to: vec!["élodie@example.org".parse().unwrap()],
        ..letter()
    });
    let server = Script::accept().start();
    sender(&server.url("", ""), PATIENT).send(&abroad).unwrap();
    assert_eq!(server.mails()[0].to[0], "élodie@example.org");
    assert!(
        server
            .commands()
            .iter()
            .any(|line| line.starts_with("MAIL") && line.contains("SMTPUTF8"))
    );
    let plain = Script::accept()
        .on(Stage::Ehlo, Act::Reply("250-double\r\n250 HELP"))
        .start();
    let error = sender(&plain.url("", ""), PATIENT)
        .send(&abroad)
        .unwrap_err();
    assert!(
        error.kind == Failure::Refused && error.sentence.contains("élodie@example.org"),
        "{error}"
    );
    // It is our word and not the server's, which has a code.
    assert!(
        error.sentence.contains("offers no SMTPUTF8") && !error.sentence.contains("553"),
        "{error}"
    );
}

#[test]
fn a_domain_beyond_ascii_needs_nothing_of_the_server() {
    let server = Script::accept()
        .on(Stage::Ehlo, Act::Reply("250-double\r\n250 HELP"))
        .start();
    let abroad = with(Letter {
        to: vec!["elodie@école.example".parse().unwrap()],
        ..letter()
    });
    sender(&server.url("", ""), PATIENT).send(&abroad).unwrap();
    assert_eq!(server.mails()[0].to[0], "elodie@xn--cole-9oa.example");
}

#[test]
fn starttls_and_login_go_before_the_mail() {
    let identity = Identity::of("127.0.0.1");
    for mechanisms in ["PLAIN LOGIN", "LOGIN", "CRAM-MD5 PLAIN"] {
        let script = Script::accept()
            .start_tls(&identity)
            .login("ann", "s3cret:é");
        let server = script.mechanisms(mechanisms).start();
        send(&server.url("ann:s3cret%3A%C3%A9", &identity.trusted())).unwrap();
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
    send(&server.url("ann:s3cret", &identity.trusted())).unwrap();
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
            let (kind, sentence) = kind_and_sentence(&server, "ann:s3cret", &trusted);
            assert_eq!(kind, Failure::Unreachable);
            assert!(
                sentence.contains("certificate") && !sentence.contains("s3cret"),
                "{sentence}"
            );
            let after = |line: &String| line.starts_with("AUTH") || line.starts_with("MAIL");
            assert!(server.mails().is_empty() && !server.commands().iter().any(after));
        }
    }
}

#[test]
fn a_certificate_that_signs_itself_as_an_authority_is_trusted_when_it_is_in_the_file() {
    let ours = Identity::authority("127.0.0.1", 2999);
    let server = Script::accept().start_tls(&ours).start();
    send(&server.url("", &ours.trusted())).unwrap();
    assert!(server.mails()[0].encrypted);
    let (old, named, theirs) = (
        Identity::authority("127.0.0.1", 2020),
        Identity::authority("mail.example.org", 2999),
        Identity::authority("127.0.0.1", 2999),
    );
    for (shown, trusted, words) in [
        (&old, old.trusted(), "has expired"),
        (
            &named,
            named.trusted(),
            "is for mail.example.org, not for 127.0.0.1",
        ),
        (&theirs, ours.trusted(), "is that of an authority"),
    ] {
        let server = Script::accept().implicit_tls(shown).start();
        let (kind, sentence) = kind_and_sentence(&server, "", &trusted);
        assert_eq!(kind, Failure::Unreachable);
        assert!(sentence.contains(words), "{sentence}");
        assert!(server.mails().is_empty());
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_in_words_with_advice_that_helps() {
    let (ours, theirs) = (Identity::of("127.0.0.1"), Identity::of("127.0.0.1"));
    let server = Script::accept().start_tls(&theirs).start();
    let (_, sentence) = kind_and_sentence(&server, "", "");
    assert!(
        sentence.contains("signed by no authority that is trusted (ca=FILE"),
        "{sentence}"
    );
    let (_, sentence) = kind_and_sentence(&server, "", &ours.trusted());
    assert!(
        sentence.contains("(only the certificates of ca=FILE"),
        "{sentence}"
    );
    let plain = Script::accept().start();
    let url = plain.url("", "").replace("smtp://", "smtps://");
    let sentence = send(&url).unwrap_err().sentence;
    assert!(sentence.contains("does not speak TLS"), "{sentence}");
}

#[test]
fn a_server_from_before_ehlo_is_greeted_as_it_knows() {
    for words in ["502 what?", "500 what?"] {
        let server = Script::accept().on(Stage::Ehlo, Act::Reply(words)).start();
        send(&server.url("", "")).unwrap();
        assert_eq!(server.mails().len(), 1);
        let (kind, sentence) = kind_and_sentence(&server, "", "tls=required");
        assert!(
            kind == Failure::Unreachable && sentence.contains("STARTTLS"),
            "{sentence}"
        );
    }
}

#[test]
fn a_server_that_hangs_up_in_the_middle_of_a_message_is_heard_out() {
    let server = Script::accept()
        .on(Stage::Message, Act::Reply("552 5.3.4 too much"))
        .start();
    let long = with(Letter {
        body: "a line of the body\n".repeat(1_000_000),
        html: None,
        ..letter()
    });
    let error = sender(&server.url("", ""), PATIENT)
        .send(&long)
        .unwrap_err();
    assert!(
        error.kind == Failure::Refused && error.sentence.contains("552 5.3.4 too much"),
        "{error}"
    );
}

#[test]
fn tls_that_is_required_is_not_done_without() {
    for script in [
        Script::accept(),
        Script::accept().on(Stage::Ehlo, Act::Reply("250-double\r\n250 starttls?")),
    ] {
        let server = script.start();
        let (kind, sentence) = kind_and_sentence(&server, "", "tls=required");
        assert!(
            kind == Failure::Unreachable && sentence.contains("STARTTLS"),
            "{sentence}"
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
    let (kind, sentence) = kind_and_sentence(&server, "", &identity.trusted());
    assert!(
        kind == Failure::Unreachable && sentence.contains("454 not now"),
        "{sentence}"
    );
    assert!(
        !server
            .commands()
            .iter()
            .any(|line| line.starts_with("MAIL"))
    );
}

#[test]
fn words_smuggled_in_before_the_encryption_are_noticed() {
    let identity = Identity::of("127.0.0.1");
    let script = Script::accept().start_tls(&identity);
    let server = script
        .on(Stage::StartTls, Act::Reply("220 go ahead\r\n250 injected"))
        .start();
    assert_eq!(
        kind_and_sentence(&server, "", &identity.trusted()).0,
        Failure::Unreachable
    );
}

#[test]
fn starttls_is_left_out_when_told() {
    let identity = Identity::of("127.0.0.1");
    let server = Script::accept().start_tls(&identity).start();
    let (kind, sentence) = kind_and_sentence(&server, "", "tls=none");
    assert!(
        kind == Failure::Refused && sentence.contains("530"),
        "{sentence}"
    );
    assert!(!server.commands().contains(&"STARTTLS".to_owned()));
}

#[test]
fn on_loopback_a_login_may_go_in_the_clear() {
    let server = Script::accept().login("ann", "s3cret").start();
    send(&server.url("ann:s3cret", "")).unwrap();
    assert!(!server.mails()[0].encrypted);
}

#[test]
fn a_refused_login_is_told_in_the_servers_words_without_the_password() {
    let wrong = Script::accept().login("ann", "other").start();
    let (kind, sentence) = kind_and_sentence(&wrong, "ann:s3cret", "");
    assert!(
        kind == Failure::Unreachable && sentence.contains("535 5.7.8 who are you?"),
        "{sentence}"
    );

    let encoded: &'static str = base64(b"\0ann\0s3cret").leak();
    for echo in ["535 no s3cret here", "535 no c3MzY3JldA== here", encoded] {
        let words: &'static str = format!("535 {echo} c3czret").leak();
        let server = Script::accept()
            .login("ann", "s3cret")
            .on(Stage::Auth, Act::Reply(words))
            .start();
        let (_, sentence) = kind_and_sentence(&server, "ann:s3cret", "");
        assert!(
            !sentence.contains("s3cret") && !sentence.contains(encoded),
            "{sentence}"
        );
    }
}

#[test]
fn a_login_of_unknown_kind_or_with_odd_questions_is_not_tried_blindly() {
    let strange = Script::accept()
        .login("ann", "s3cret")
        .mechanisms("GSSAPI")
        .start();
    let (kind, sentence) = kind_and_sentence(&strange, "ann:s3cret", "");
    assert!(
        kind == Failure::Unreachable && sentence.contains("PLAIN"),
        "{sentence}"
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
    assert_eq!(
        kind_and_sentence(&asking, "ann:s3cret", "").0,
        Failure::Unreachable
    );
}

#[test]
fn a_refusal_says_what_was_refused_and_whether_to_try_again() {
    use Failure::{Refused, Transient, Unreachable};
    for (stage, words, kind, place) in [
        (Stage::Connect, "421 too busy", Unreachable, "greeting"),
        (Stage::Connect, "554 no mail here", Unreachable, "greeting"),
        (Stage::Ehlo, "421 too busy", Unreachable, "EHLO"),
        (Stage::Ehlo, "550 go away", Unreachable, "EHLO"),
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
        (Stage::Data, "452 disk full", Transient, "DATA"),
        (Stage::Data, "554 no", Refused, "DATA"),
        (Stage::Data, "250 what?", Transient, "DATA"),
        (Stage::Dot, "421 shutting down", Transient, "message"),
        (Stage::Dot, "450-try\r\n450 later", Transient, "message"),
        (Stage::Dot, "550 virus", Refused, "message"),
        (Stage::Dot, "554 5.7.1 spam", Refused, "message"),
    ] {
        let server = Script::accept().on(stage, Act::Reply(words)).start();
        let (found, sentence) = kind_and_sentence(&server, "", "");
        assert_eq!(found, kind, "{stage:?} {words}: {sentence}");
        assert!(sentence.contains(place), "{sentence}");
        assert!(
            sentence.contains(&words.replace("\r\n450", "")[..3]) && sentence.contains("127.0.0.1"),
            "{sentence}"
        );
        assert!(server.mails().is_empty());
    }
}

#[test]
fn one_recipient_that_is_refused_leaves_the_mail_to_none() {
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply("250 ok"))
        .once(Stage::Rcpt, Act::Reply("550 no bob"));
    let server = server.start();
    let (kind, sentence) = kind_and_sentence(&server, "", "");
    assert!(
        kind == Failure::Refused && sentence.contains("<bob@example.org>: 550 no bob"),
        "{sentence}"
    );
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
        assert_eq!(kind_and_sentence(&server, "", "").0, kind, "{stage:?}");
        assert_eq!(server.connections(), 1, "{stage:?}");
    }
}

#[test]
fn a_drop_after_the_message_is_not_sent_again_at_once() {
    let server = Script::accept().on(Stage::Dot, Act::Drop).start();
    assert_eq!(kind_and_sentence(&server, "", "").0, Failure::Transient);
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
            let error = sender(&server.url("", ""), IMPATIENT)
                .send(&mail())
                .unwrap_err();
            assert_eq!(error.kind, kind, "{act:?} at {stage:?}: {error}");
            assert!(error.sentence.contains("no answer in time"), "{error}");
        }
    }
}

#[test]
fn a_server_that_does_not_encrypt_after_all_is_left_at_the_deadline() {
    let identity = Identity::of("127.0.0.1");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "smtps://{}?{}",
        silent.local_addr().unwrap(),
        identity.trusted()
    );
    let error = sender(&url, IMPATIENT).send(&mail()).unwrap_err();
    assert!(
        error.kind == Failure::Unreachable && error.sentence.contains("no answer in time"),
        "{error}"
    );
}

#[test]
fn silence_for_two_mails_in_a_row_is_the_servers() {
    let server = Script::accept().on(Stage::Data, Act::Mute).start();
    let mut sender = sender(&server.url("", ""), IMPATIENT);
    assert_eq!(sender.send(&mail()).unwrap_err().kind, Failure::Transient);
    assert_eq!(sender.send(&mail()).unwrap_err().kind, Failure::Unreachable);
}

#[test]
fn a_flood_or_garbage_is_cut_short() {
    for act in [
        Act::Flood,
        Act::FloodLines,
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
            let (found, sentence) = kind_and_sentence(&server, "", "");
            assert_eq!(found, kind, "{act:?} at {stage:?}: {sentence}");
            assert!(
                sentence.len() < 700 && !sentence.contains(char::is_control),
                "{sentence}"
            );
        }
    }
}

#[test]
fn a_long_or_odd_answer_is_shown_on_one_bounded_line() {
    let words: &'static str = format!("550 \u{1b}[31m{}", "né ".repeat(3000)).leak();
    let server = Script::accept().on(Stage::Mail, Act::Reply(words)).start();
    let (kind, sentence) = kind_and_sentence(&server, "", "");
    assert_eq!(kind, Failure::Refused);
    assert!(
        sentence.chars().count() <= 501 && sentence.ends_with('…'),
        "{sentence}"
    );
    assert!(!sentence.contains(char::is_control));
}

#[test]
fn nobody_listening_is_unreachable() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = send(&format!("smtp://{gone}")).unwrap_err();
    assert!(
        error.kind == Failure::Unreachable && error.sentence.contains("connecting"),
        "{error}"
    );
    let error = sender("smtp://host.invalid", IMPATIENT)
        .send(&mail())
        .unwrap_err();
    assert_eq!(error.kind, Failure::Unreachable, "{error}");
}

#[test]
fn one_connection_serves_all_mails() {
    let server = Script::accept().start();
    let mut sender = sender(&server.url("", ""), PATIENT);
    for _ in 0..3 {
        sender.send(&mail()).unwrap();
    }
    sender.close();
    assert_eq!((server.mails().len(), server.connections()), (3, 1));
    assert_eq!(server.commands().last().unwrap(), "QUIT");
}

#[test]
fn after_a_refusal_the_connection_serves_the_next_mail() {
    let script = Script::accept()
        .once(Stage::Rcpt, Act::Reply("550 unknown"))
        .once(Stage::Dot, Act::Reply("554 spam"));
    let server = script
        .once(Stage::Mail, Act::Reply("250 ok"))
        .once(Stage::Mail, Act::Reply("250 ok"))
        .start();
    let mut sender = sender(&server.url("", ""), PATIENT);
    assert_eq!(sender.send(&mail()).unwrap_err().kind, Failure::Refused);
    assert_eq!(sender.send(&mail()).unwrap_err().kind, Failure::Refused);
    sender.send(&mail()).unwrap();
    assert_eq!((server.mails().len(), server.connections()), (1, 1));
    assert_eq!(server.mails()[0].to.len(), 3);
}

#[test]
fn a_connection_gone_stale_is_replaced_before_anything_is_sent() {
    let server = Script::accept().start();
    let mut sender = sender(&server.url("", ""), PATIENT);
    sender.send(&mail()).unwrap();
    server.hang_up();
    sender.send(&mail()).unwrap();
    assert_eq!((server.mails().len(), server.connections()), (2, 2));
}

#[test]
fn a_server_that_takes_only_so_many_mails_a_connection_gets_another_connection() {
    let server = Script::accept()
        .once(Stage::Mail, Act::Reply("250 ok"))
        .once(Stage::Mail, Act::Reply("421 enough"));
    let server = server.start();
    let mut sender = sender(&server.url("", ""), PATIENT);
    sender.send(&mail()).unwrap();
    sender.send(&mail()).unwrap();
    assert_eq!((server.mails().len(), server.connections()), (2, 2));
}

#[test]
fn a_server_that_will_not_forget_a_mail_gets_another_connection() {
    let server = Script::accept()
        .once(Stage::Rcpt, Act::Reply("450 later"))
        .on(Stage::Rset, Act::Reply("502 no"));
    let server = server.start();
    let mut sender = sender(&server.url("", ""), PATIENT);
    assert_eq!(sender.send(&mail()).unwrap_err().kind, Failure::Transient);
    sender.send(&mail()).unwrap();
    assert_eq!((server.mails().len(), server.connections()), (1, 2));
}

#[test]
fn a_mail_that_cannot_be_built_is_refused_before_any_connection() {
    let server = Script::accept().start();
    let mut sender = sender(&server.url("", ""), PATIENT);
    let error = sender
        .send(&with(Letter {
            subject: "a\r\nBcc: e@example.org".into(),
            ..letter()
        }))
        .unwrap_err();
    assert_eq!((error.kind, server.connections()), (Failure::Refused, 0));
}
