//! An application may add columns of its own to the tables: by whatever names, the runner reads its own alone.

use std::collections::BTreeSet;

use crate::kit::database::query;
use crate::kit::runner::Home;
use serde_json::Value;

/// Names that the runner gives in its queries to what is no column, and those that SQLite gives to parts of JSON.
const MADE_UP: [&str; 18] = [
    "file",
    "output",
    "has_file",
    "attached",
    "undated",
    "failing",
    "live_attachment",
    "due",
    "names",
    "tasks",
    "firings",
    "sentence",
    "type",
    "atom",
    "parent",
    "fullkey",
    "path",
    "json",
];

/// Commands that read or write each of the tables, one after the other.
const COMMANDS: [&str; 42] = [
    "config list",
    "method list",
    "template list",
    "template show reminder",
    "template preview reminder annual-report",
    "timer list",
    "timer show validation",
    "timer next",
    "timer next --match plan",
    "timer done",
    "timer skipped --match survey",
    "timer forecast validation --reference 2026-05-01",
    "doc list",
    "doc show minutes",
    "doc history survey",
    "task list",
    "task list --method Import:members",
    "task show 4",
    "task show 14",
    "task file 4",
    "task logs 6",
    "mail list",
    "mail show 1",
    "status",
    "template remove reminder",
    "method remove Housekeeping:purge",
    "timer fire 1",
    "timer attach validation budget",
    "timer detach validation-by-delay budget",
    "doc set season-plan date_butoir_validation=2026-04-13",
    "doc state press-kit archived",
    "doc add --title New --key new -a author=ada",
    "task restart 5",
    "task add Import:members",
    "task run 16",
    "tick",
    "task list",
    "task logs 14",
    "mail list",
    "timer next",
    "timer done",
    "status",
];

/// What differs each time.
const NOT_THE_SAME: [&str; 5] = ["duration_ms", "elapsed_ms", "message_id", "database", "db"];

#[test]
fn a_table_may_have_columns_by_the_names_of_all_others() {
    let mut plain = Home::example_at("2026-04-10T09:00");
    plain.set_now("2026-04-12T00:30");
    let tables = lines(
        &plain,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    );
    assert!(tables.len() > 12);
    let names = lines(
        &plain,
        "SELECT DISTINCT part.name FROM sqlite_schema, pragma_table_info(sqlite_schema.name) AS part WHERE sqlite_schema.type = 'table'",
    );
    let names: BTreeSet<&str> = names.iter().map(String::as_str).chain(MADE_UP).collect();
    let mut home = Home::example_at("2026-04-10T09:00");
    home.set_now("2026-04-12T00:30");
    let mut script = String::from("BEGIN;\n");
    for table in tables {
        let own = lines(
            &home,
            &format!("SELECT name FROM pragma_table_info('{table}')"),
        );
        for name in names
            .iter()
            .filter(|name| !own.iter().any(|own| own == *name))
        {
            script += &format!(
                "ALTER TABLE {table} ADD COLUMN \"{name}\" TEXT DEFAULT 'of an application';\n"
            );
        }
    }
    home.sql(&(script + "COMMIT"));
    let expected = answers(&plain);
    let tick = expected.iter().find(|(command, ..)| command == "tick");
    let done = |what: &str| tick.unwrap().2[what].as_u64().unwrap();
    for what in ["fired", "skipped", "mails_sent"] {
        assert!(done(what) > 0, "{what}");
    }
    for (answer, expected) in answers(&home).iter().zip(&expected) {
        assert_eq!(answer, expected);
    }
}

fn lines(home: &Home, sql: &str) -> Vec<String> {
    query(&home.db(), sql).lines().map(str::to_owned).collect()
}

/// What the commands answer, with what they complain of.
fn answers(home: &Home) -> Vec<(String, i32, Value, String)> {
    let answer = |command: &&str| {
        let answer = home.run(["--json"].into_iter().chain(command.split(' ')));
        let mut value = serde_json::from_str(&answer.out()).unwrap_or_default();
        forget(&mut value);
        assert_ne!(answer.code(), 2, "{}", answer.all());
        ((*command).to_owned(), answer.code(), value, answer.err())
    };
    COMMANDS.iter().map(answer).collect()
}

fn forget(value: &mut Value) {
    match value {
        Value::Array(values) => {
            values.iter_mut().for_each(forget);
            // What a handler says on two streams at once comes in any order.
            values.sort_by_key(Value::to_string);
        }
        Value::Object(fields) => {
            fields.retain(|name, _| !NOT_THE_SAME.contains(&name.as_str()));
            fields.values_mut().for_each(forget);
        }
        _ => {}
    }
}
