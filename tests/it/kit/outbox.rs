//! Databases with mails in their outbox.

use serde_json::Value;

use super::runner::Home;
use super::smtp::Server;

/// A database whose mails go to this server.
pub fn home(server: &Server) -> Home {
    home_with(&server.url("", ""))
}

/// A database whose mails go out this way.
pub fn home_with(transport: &str) -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    home.ok(["config", "set", "mail.from", "runner@example.org"]);
    home.ok(["config", "set", "mail.transport", transport]);
    home
}

/// Puts a mail into the outbox that no timer asks for.
pub fn add_mail(home: &Home, to: &str) {
    home.sql(&format!(
        r#"INSERT INTO mail ("from", "to", subject, body, created_at, message_id)
           VALUES ('runner@example.org', json_array('{to}'), 'Hello', 'Text', '2026-04-10 08:00:00',
                   '<' || hex(randomblob(8)) || '@example.org>')"#
    ));
}

/// A document with a timer, of which the next tick queues and sends a mail from the template 'reminder'.
pub fn add_reminder(home: &Home) {
    add_reminders(home, "mail=reminder");
}

/// The same with an action of this kind.
pub fn add_reminders(home: &Home, action: &str) {
    home.ok([
        "template",
        "set",
        "reminder",
        "--to",
        "{{ attr.valider }}",
        "--bcc",
        "archive@example.org",
        "--subject",
        "Relance : {{ doc.title }}",
        "--body",
        "{{ doc.state }} {{ timer.due_at }}",
        "--html",
        "<b>{{ doc.title }}</b>",
    ]);
    home.sql(
        r#"INSERT INTO document (title, state, attributes) VALUES ('A & B', 'late', '{"valider": ["ann@example.org"]}')"#,
    );
    home.timer("validation", &[action]);
    let reference = ["--reference", "2026-04-10T08:00"];
    home.ok(["timer", "attach", "validation", "1"]
        .into_iter()
        .chain(reference));
}

/// A mail as JSON shows it.
pub fn mail(home: &Home, id: &str) -> Value {
    home.json(["mail", "show", id])
}

/// A tick whose errors are wanted on standard output alone.
pub fn tick(home: &Home) -> Value {
    home.run(["--json", "tick"]).json()
}
