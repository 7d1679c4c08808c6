//! Hundreds of levels that are due at once are fired without the schema's own triggers: nobody can tell.

use crate::kit::database::query;
use crate::kit::documents::{fire_at, nine};
use crate::kit::runner::Home;
use runner::firing::Outcome;
use runner::firing::attach::NewAttachment;
use runner::store::Store;

/// One of the application's own, which no firing may go without, and which does nothing.
const OF_AN_APPLICATION: &str = "CREATE TRIGGER mine AFTER INSERT ON history BEGIN SELECT 1; END";

/// So many documents, each with one of the timers, that are all due.
fn with_documents(documents: u32, timers: &[&[&str]]) -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "true");
    home.sql(
        "INSERT INTO template (name, \"to\", subject, body) VALUES ('one', 'a@example.org', 'One', 'One'), ('two', 'a@example.org', 'Two', 'Two');
         INSERT OR REPLACE INTO setting VALUES ('mail.from', 'runner@example.org')",
    );
    for (place, actions) in timers.iter().enumerate() {
        home.timer(&format!("t{place}"), actions);
    }
    home.sql("DELETE FROM template WHERE name = 'two'");
    home.sql(&format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {documents})
         INSERT INTO document (title, state, created_at, updated_at)
         SELECT 'Document ' || n, iif(n % 7, 'open', 'late'), '2026-04-01 09:00:00', '2026-04-01 09:00:00' FROM n;
         INSERT INTO attachment (timer_id, document_id, attached_at)
         SELECT 1 + id % {}, id, iif(id % 11, '2026-04-10 08:00:00', '2026-03-01 09:00:00') FROM document",
        timers.len()
    ));
    home
}

/// Fires what is due, without what a whole tick does after that.
fn fire(home: &Home) -> Outcome {
    fire_at(&Store::open(&home.db()).unwrap(), nine())
}

#[test]
fn the_same_comes_of_them_as_with_an_application_that_looks_on() {
    let timers: [&[&str]; 6] = [
        &["state=late"],
        &["state=late, iterations=3", "state=closed"],
        &["state=late, mail=one, method=Doc:note"],
        &["method=Doc:note", "state=closed"],
        &["state=late", "delay=1y, state=closed"],
        &["mail=two", "state=closed"],
    ];
    let came_of = |home: &Home| {
        let outcome = fire(home);
        let tables = [
            "SELECT * FROM document ORDER BY id",
            "SELECT document_id, at, level, message, timer, timer_level FROM history ORDER BY id",
            "SELECT * FROM firing ORDER BY id",
            "SELECT id, timer_id, level, step, counted_from, due_at, needs_reschedule, attempts, last_error, task_id, pending_mails
               FROM attachment ORDER BY id",
            "SELECT * FROM task ORDER BY id",
            "SELECT id, status, template, document_id, attachment_id, timer, timer_level FROM mail ORDER BY id",
        ];
        let rows = tables.map(|sql| query(&home.db(), sql));
        (outcome.fired, outcome.skipped, rows)
    };
    let (alone, watched) = (with_documents(1200, &timers), with_documents(1200, &timers));
    watched.sql(OF_AN_APPLICATION);
    let (fired, skipped, rows) = came_of(&alone);
    assert!(fired > 500 && skipped > 50, "{fired} {skipped}");
    let (fired_watched, skipped_watched, rows_watched) = came_of(&watched);
    assert_eq!((fired, skipped), (fired_watched, skipped_watched));
    for (ours, watched) in rows.iter().zip(&rows_watched) {
        assert!(ours.lines().count() > 100, "{ours}");
        assert_eq!(ours, watched);
    }
}

#[test]
fn an_applications_trigger_sees_each_of_them() {
    let timers: [&[&str]; 3] = [
        &["state=overdue, mail=one", "state=x"],
        &["state=overdue"],
        &["method=Doc:note"],
    ];
    for table in [
        "document",
        "history",
        "firing",
        "attachment",
        "mail",
        "task",
    ] {
        let home = with_documents(300, &timers);
        let event = match table {
            "document" => "UPDATE ON document",
            "attachment" => "DELETE ON attachment",
            table => &format!("INSERT ON {table}"),
        };
        home.sql(&format!(
            "CREATE TABLE seen (n INTEGER);
             CREATE TRIGGER mine AFTER {event} BEGIN INSERT INTO seen VALUES (1); END"
        ));
        fire(&home);
        let seen: i64 = home.sql_value("SELECT count(*) FROM seen");
        assert!(seen >= 80, "{table}: {seen}");
    }
}

#[test]
fn a_trigger_of_the_schema_that_an_application_has_changed_is_its_own() {
    let home = with_documents(300, &[&["state=overdue"]]);
    home.sql(
        "CREATE TABLE seen (n INTEGER);
         DROP TRIGGER attachment_called_off;
         CREATE TRIGGER attachment_called_off AFTER DELETE ON attachment BEGIN INSERT INTO seen VALUES (1); END",
    );
    let outcome = fire(&home);
    let seen: i64 = home.sql_value("SELECT count(*) FROM seen");
    assert_eq!(
        seen,
        i64::try_from(outcome.fired + outcome.skipped).unwrap()
    );
}

/// What a deletion or a change of ours leads to by an application's foreign keys, its triggers see.
#[test]
fn the_foreign_keys_of_an_application_are_followed_for_each_of_them() {
    for (mine, event) in [
        (
            "CREATE TABLE mine (attachment INTEGER REFERENCES attachment (id) ON DELETE CASCADE);
             INSERT INTO mine SELECT id FROM attachment",
            "DELETE",
        ),
        (
            "CREATE TABLE mine (attachment INTEGER REFERENCES attachment ON DELETE SET NULL);
             INSERT INTO mine SELECT id FROM attachment",
            "UPDATE",
        ),
        (
            "CREATE UNIQUE INDEX by_state ON document (id, state);
             CREATE TABLE mine (document INTEGER, state TEXT,
                                FOREIGN KEY (document, state) REFERENCES document (id, state) ON UPDATE CASCADE);
             INSERT INTO mine SELECT id, state FROM document",
            "UPDATE",
        ),
    ] {
        let home = with_documents(300, &[&["state=overdue"]]);
        home.sql(&format!(
            "{mine};
             CREATE TABLE seen (n INTEGER);
             CREATE TRIGGER mine_too AFTER {event} ON mine BEGIN INSERT INTO seen VALUES (1); END"
        ));
        let outcome = fire(&home);
        let fired = i64::try_from(outcome.fired).unwrap();
        assert!(fired > 200, "{fired}");
        let seen: i64 = home.sql_value("SELECT count(*) FROM seen");
        assert!(seen >= fired, "{mine}: {seen}");
    }
}

#[test]
fn what_follows_the_tasks_that_an_application_has_bound_to_attachments_is_cancelled() {
    let home = with_documents(300, &[&["state=overdue"]]);
    home.sql(
        "ALTER TABLE task ADD COLUMN bound_to INTEGER REFERENCES attachment (id) ON DELETE CASCADE;
         INSERT INTO task (method, bound_to) SELECT 'Doc:note', id FROM attachment;
         INSERT INTO task (method, after_id) SELECT 'Doc:note', id FROM task",
    );
    fire(&home);
    let statuses = query(
        &home.db(),
        "SELECT status, count(*) FROM task GROUP BY status",
    );
    assert_eq!(statuses, "CANCELLED | Integer(300)\n");
}

#[test]
fn the_schemas_triggers_are_at_work_again_after_them() {
    let home = with_documents(300, &[&["state=overdue"]]);
    let store = Store::open(&home.db()).unwrap();
    fire_at(&store, nine());
    let attachment = NewAttachment {
        timer: 1,
        document: 1,
        origin: Some("test"),
        reference_at: None,
    };
    store
        .transact(|store| store.insert_attachment(&attachment, nine()))
        .unwrap();
    let messages = home.messages("1");
    assert_eq!(messages.last().unwrap(), "timer attached by test");
}
