//! Mail templates as their authors meet them (`design`, “Mail”).

use crate::kit::runner::Home;
use serde_json::json;

/// A database with a document of which mails can be written.
fn home() -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    home.ok(["config", "set", "mail.from", "Runner <runner@example.org>"]);
    home.sql(
        r#"INSERT INTO document (key, family, title, state, attributes)
           VALUES ('C-7', 'contract', 'Contrat <A & B>', 'in validation',
                   '{"valider": "Ann <ann@example.org>, bob@example.org", "deadline": "2026-04-15", "none": null}')"#,
    );
    home
}

fn set(home: &Home, options: &[&str]) -> String {
    let required = [
        "--to",
        "{{ attr.valider }}",
        "--subject",
        "Relance : {{ doc.title }}",
        "--body",
        "Due {{ attr.deadline }}",
    ];
    home.ok(["template", "set", "reminder"]
        .into_iter()
        .chain(required)
        .chain(options.iter().copied()))
}

#[test]
fn a_preview_is_the_mail_that_would_be_sent() {
    let home = home();
    set(
        &home,
        &[
            "--html",
            "<p>{{ doc.title }}</p>",
            "--cc",
            "boss@example.org",
            "--bcc",
            "{{ attr.none }}",
        ],
    );
    let preview = json!({
        "from": "Runner <runner@example.org>",
        "to": ["Ann <ann@example.org>", "bob@example.org"],
        "cc": ["boss@example.org"],
        "bcc": [],
        "subject": "Relance : Contrat <A & B>",
        "body": "Due 2026-04-15",
        "html": "<p>Contrat &lt;A &amp; B&gt;</p>",
    });
    assert_eq!(
        home.json(["template", "preview", "reminder", "C-7"]),
        preview
    );
    assert_eq!(home.json(["template", "preview", "reminder", "1"]), preview);
    assert_eq!(
        home.ok(["template", "preview", "reminder", "C-7"]),
        "from           Runner <runner@example.org>\nto             Ann <ann@example.org>, bob@example.org\n\
         cc             boss@example.org\nsubject        Relance : Contrat <A & B>\n\nDue 2026-04-15\n\n--- as HTML ---\n\n<p>Contrat &lt;A &amp; B&gt;</p>"
    );
}

#[test]
fn a_template_sees_the_document_its_attributes_and_the_timer() {
    let home = home();
    let body = "{{ doc.id }} {{ doc.key }} {{ doc.family }} {{ doc.state }} {{ doc.attributes.deadline }} \
                {{ timer.name }} {{ timer.level }} {{ timer.due_at }}";
    home.ok([
        "template",
        "set",
        "all",
        "--to",
        "ann@example.org",
        "--subject",
        "s",
        "--body",
        body,
    ]);
    let preview = || home.json(["template", "preview", "all", "C-7"])["body"].clone();
    assert_eq!(
        preview(),
        "1 C-7 contract in validation 2026-04-15 timer 0 2026-04-10 09:00:00"
    );
    home.sql(
        r#"INSERT INTO timer (name) VALUES ('validation');
           INSERT INTO timer_action (timer_id, position, mail) VALUES (1, 0, '["all"]');
           INSERT INTO attachment (timer_id, document_id, level, due_at, needs_reschedule) VALUES (1, 1, 3, '2026-04-15 22:00:00', 0)"#,
    );
    home.ok(["config", "set", "time.zone", "Europe/Paris"]);
    assert_eq!(
        preview(),
        "1 C-7 contract in validation 2026-04-15 validation 3 2026-04-16 00:00:00"
    );
}

#[test]
fn a_value_is_text_a_file_or_standard_input() {
    let home = home();
    home.write("body.txt", "from a file\n");
    let arguments = [
        "template",
        "set",
        "t",
        "--to",
        "a@x.org",
        "--subject",
        "s",
        "--body",
        "@body.txt",
        "--html",
        "-",
    ];
    home.run_with_input(arguments, "<p>from standard input</p>")
        .ok();
    let shown = home.json(["template", "show", "t"]);
    assert_eq!(shown["body"], "from a file\n");
    assert_eq!(shown["html"], "<p>from standard input</p>");
}

#[test]
fn setting_a_template_again_replaces_it() {
    let home = home();
    set(&home, &["--cc", "boss@example.org"]);
    set(&home, &[]);
    let shown = home.json(["template", "show", "reminder"]);
    assert_eq!(shown["cc"], "");
    assert_eq!(home.json(["template", "list"]), json!([shown]));
}

#[test]
fn what_cannot_become_a_mail_is_refused_when_it_is_set() {
    let home = home();
    for (option, value, part) in [
        ("--subject", "{{ doc.title", "subject"),
        ("--body", "{% if %}", "body"),
        ("--html", "{{", "html"),
        ("--to", "nobody", "to"),
        ("--cc", "-oQ@x", "cc"),
        ("--bcc", "a@x.org b@x.org", "bcc"),
        ("--from", "a@x.org, b@x.org, nobody", "from"),
    ] {
        let mut arguments = vec!["template", "set", "wrong"];
        for (required, good) in [("--to", "a@x.org"), ("--subject", "s"), ("--body", "b")] {
            arguments.extend([required, if required == option { value } else { good }]);
        }
        if !["--to", "--subject", "--body"].contains(&option) {
            arguments.extend([option, value]);
        }
        let refusal = home.refused(&arguments);
        assert!(
            refusal.contains(&format!("template 'wrong': {part}")),
            "{refusal}"
        );
    }
    assert_eq!(home.json(["template", "list"]), json!([]));
}

#[test]
fn what_a_preview_cannot_fill_is_an_error_that_names_it() {
    let home = home();
    home.ok([
        "template",
        "set",
        "t",
        "--to",
        "a@x.org",
        "--subject",
        "s",
        "--body",
        "{{ attr.missing }}",
    ]);
    let refusal = home.refused(["template", "preview", "t", "C-7"]);
    assert!(
        refusal.contains("template 't': body") && refusal.contains("attr.missing"),
        "{refusal}"
    );
    assert!(
        home.refused(["template", "preview", "t", "C-8"])
            .contains("no document C-8")
    );
    assert!(
        home.refused(["template", "preview", "u", "C-7"])
            .contains("no template 'u'")
    );
}

#[test]
fn a_mail_needs_a_sender() {
    let home = home();
    set(&home, &[]);
    home.ok(["config", "unset", "mail.from"]);
    assert!(
        home.refused(["template", "preview", "reminder", "C-7"])
            .contains("setting mail.from")
    );
    set(&home, &["--from", "{{ doc.key }} <contracts@example.org>"]);
    let from = home.json(["template", "preview", "reminder", "C-7"])["from"].clone();
    assert_eq!(from, "C-7 <contracts@example.org>");
}

#[test]
fn a_template_that_a_timer_sends_is_not_removed() {
    let home = home();
    set(&home, &[]);
    home.sql(
        r#"INSERT INTO timer (name) VALUES ('validation');
           INSERT INTO timer_action (timer_id, position, mail) VALUES (1, 0, '["reminder"]')"#,
    );
    assert!(
        home.refused(["template", "remove", "reminder"])
            .contains("'validation'")
    );
    home.sql("DELETE FROM timer_action");
    home.ok(["template", "remove", "reminder"]);
    assert!(
        home.refused(["template", "remove", "reminder"])
            .contains("no template 'reminder'")
    );
}

#[test]
fn one_template_of_bytes_that_are_no_text_does_not_hide_the_others() {
    let home = home();
    set(&home, &[]);
    home.sql(
        r#"INSERT INTO template (name, "to", subject, body)
           VALUES (CAST(x'e9' AS TEXT), 'a@x.org', CAST(x'e974e9' AS TEXT), CAST(x'ff' AS TEXT)),
                  ('latin', 'a@x.org', CAST(x'e974e9' AS TEXT), 'b')"#,
    );
    assert_eq!(home.ok(["template", "list"]).lines().count(), 4);
    let preview = home.json(["template", "preview", "latin", "C-7"]);
    assert_eq!(preview["subject"], "\u{fffd}t\u{fffd}");
}

#[test]
fn a_mail_that_could_never_go_out_is_not_queued() {
    let home = home();
    set(&home, &[]);
    let title = "a".repeat(2000);
    home.sql(&format!("UPDATE document SET title = '{title}'"));
    home.timer("t", &["delay=0, mail=reminder"]);
    home.ok(["timer", "attach", "t", "C-7"]);
    let told = home.refused(["tick"]);
    assert!(
        told.contains("template 'reminder'") && told.contains("subject"),
        "{told}"
    );
    assert_eq!(home.json(["mail", "list"]), json!([]));
}

#[test]
fn a_filter_that_there_is_not_is_refused_when_the_template_is_set() {
    let home = home();
    let set = ["template", "set", "t", "--subject", "s", "--body"];
    let told = home.refused(
        set.into_iter()
            .chain(["{{ doc.title | uper }}", "--to", "a@x.org"]),
    );
    assert!(told.contains("filter uper is unknown"), "{told}");
    let told = home.refused(set.into_iter().chain(["b", "--to", ""]));
    assert!(told.contains("nobody to send to"), "{told}");
    home.ok(set.into_iter().chain(["b", "--to", "", "--bcc", "a@x.org"]));
}
