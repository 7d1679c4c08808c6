//! Databases with mails in their outbox.

use runner::outbox::{self, Cause};
use runner::store::Store;
use runner::time::Timestamp;
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

/// A document with a timer whose first level sends the template 'reminder', and that mail in the outbox.
pub fn add_reminder(home: &Home) -> i64 {
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
        r#"INSERT INTO document (title, state, attributes) VALUES ('A & B', 'late', '{"valider": ["ann@example.org"]}');
           INSERT INTO timer (name) VALUES ('validation');
           INSERT INTO timer_action (timer_id, position, mail) VALUES (1, 0, '["reminder"]');
           INSERT INTO attachment (timer_id, document_id, needs_reschedule, step, pending_mails) VALUES (1, 1, 0, 1, 1)"#,
    );
    queue_reminder(home)
}

/// Queues the mail of the first level, as its step does.
pub fn queue_reminder(home: &Home) -> i64 {
    let store = Store::open(&home.db()).unwrap();
    let cause = Cause {
        template: "reminder",
        document: 1,
        attachment: 1,
        timer: "validation",
        level: 0,
        due_at: Timestamp::from_sql("2026-04-10 07:00:00").unwrap(),
    };
    let now = Timestamp::from_sql("2026-04-10 09:00:00").unwrap();
    store
        .transact(|store| outbox::queue(store, &cause, now))
        .unwrap()
}

/// A mail as JSON shows it.
pub fn mail(home: &Home, id: &str) -> Value {
    home.json(["mail", "show", id])
}

/// A tick whose errors are wanted on standard output alone.
pub fn tick(home: &Home) -> Value {
    home.run(["--json", "tick"]).json()
}
