//! What cannot be done: one clear sentence on standard error, exit status 1, and nothing changed.
use std::fs;

use crate::kit::database::dump;
use crate::kit::runner::Home;
use crate::kit::table::{lines, rows, words};

const INIT: &[u8] = b"not a database, but long enough to be looked at as if it were one of SQLite's: ........................";

fn home() -> Home {
    let home = Home::new();
    home.method("TIFService:extractAll", "exit 0");
    home.ok(["task", "add", "TIFService:extractAll", "--signature", "s"]);
    home.write(
        "broken.jsonl",
        "{\"method\":\"TIFService:extractAll\"}\n{\"method\":\n",
    );
    home.write(
        "extra.jsonl",
        "{\"method\":\"TIFService:extractAll\",\"colour\":\"red\"}\n",
    );
    for (name, line) in [
        (
            "list.jsonl",
            r#"["TIFService:extractAll", null, {"token": "s3cret"}]"#,
        ),
        (
            "wrong.jsonl",
            r#"{"method": "TIFService:extractAll", "retries": "3"}"#,
        ),
        (
            "limit.jsonl",
            r#"{"method": "TIFService:extractAll", "timeout": "-5m"}"#,
        ),
        (
            "about.jsonl",
            r#"{"method": "TIFService:extractAll", "document": [1]}"#,
        ),
    ] {
        home.write(name, line);
    }
    fs::create_dir(home.path("folder")).unwrap();
    home
}

/// The commands, and what the one sentence must say.
const REFUSED: &str = r#"
    task add TIFService:extractALL | no method 'TIFService:extractALL': did you mean TIFService:extractAll?
    task add zzz | no method 'zzz': 'runner method list' shows them
    task add '' | task: it needs a method, or a command of its own
    task add TIFService:extractAll --params {broken | --params: this is not JSON
    task add TIFService:extractAll --params {"a":1}x | --params: this is not JSON
    task add TIFService:extractAll --params [1] -p a=1 | --params: with -p it must be a JSON object
    task add TIFService:extractAll --params @missing.json | missing.json: no such file
    task add TIFService:extractAll --hidden-params s3cret | --hidden-params: this is not JSON
    task add TIFService:extractAll --file missing.csv | missing.csv: no such file
    task add TIFService:extractAll --file folder | folder: only the content of a plain file
    task add TIFService:extractAll --file .. | ..: the name of a task's file is text
    task add TIFService:extractAll --after 99 | no task 99: 'runner task list' shows them
    task add TIFService:extractAll --document none | no document none
    task add TIFService:extractAll --signature s --unique | signature 's': task 1
    task add --batch missing.jsonl | missing.jsonl: no such file
    task add --batch folder | folder
    task add --batch broken.jsonl | broken.jsonl line 2: no task:
    task add --batch extra.jsonl | extra.jsonl line 1: no task: unknown field `colour`, expected one of `method`, `command`
    task add --batch list.jsonl | list.jsonl line 1: no task: it should be a JSON object
    task add --batch wrong.jsonl | wrong.jsonl line 1: no task: retries: invalid type: string "3", expected u32 at column 50
    task add --batch limit.jsonl | limit.jsonl line 1: timeout: '-5m' must be longer than nothing
    task add --batch about.jsonl | about.jsonl line 1: no task: document should be the id of a document or its key
    task run 99 | no task 99
    task show 99 | no task 99
    task logs 99 | no task 99
    task stop 99 | no task 99
    task cancel 99 | no task 99
    task restart 99 | no task 99
    task delete 99 | no task 99
    task file 99 | no task 99
    task restart 1 | task 1: it is not over (TO_RUN)
    task file 1 --set missing.csv | missing.csv: no such file
    task file 1 --output out | task 1: its handler gave no file back
    task file 1 --input out | task 1: no file was given with it
    config set task.max_running 0 | setting task.max_running: '0' is not a whole number from 1 to 1024
    config set task.max_running -1 | setting task.max_running: '-1'
    config set task.timeout '5 parsecs' | setting task.timeout:
    config set timer.hour_limit two | setting timer.hour_limit: 'two'
    config set time.zone Mars/Olympus | setting time.zone:
    config set mail.transport gopher://x | setting mail.transport:
    config set mail.from nobody | setting mail.from:
    config set keep.tasks -1d | setting keep.tasks:
    config set colour red | no setting colour: 'runner config list' shows them
    config get colour | no setting colour
    config unset colour | no setting colour
    method set '' -- true | method ''
    method set a*b -- true | method 'a*b'
    method set m -- '' | method 'm': its command is empty
    method remove none | no method none
    log info message --details { | --details: this is not JSON
    init | this file exists already
"#;

#[test]
fn what_cannot_be_done_is_told_in_one_sentence_and_changes_nothing() {
    let home = home();
    let before = dump(&home.db());
    for (arguments, expected) in rows(REFUSED) {
        let told = home.refused(&arguments);
        assert!(
            told.contains(expected),
            "{arguments:?}: '{expected}' is not in\n{told}"
        );
        assert!(!told.contains("s3cret"), "{told}");
        assert_eq!(dump(&home.db()), before, "{arguments:?} changed something");
    }
}

#[test]
fn without_any_method_the_way_to_one_is_told() {
    let told = Home::new().refused(["task", "add", "m"]);
    assert!(
        told.contains("none is registered yet; 'runner method set NAME -- COMMAND' does it"),
        "{told}"
    );
}

/// Commands that cannot be understood.
const MISUSED: &str = "
    tack
    task ad
    task run
    task run one
    task run 1 2
    task show 99999999999999999999
    task add
    task add TIFService:extractAll --colour red
    task add TIFService:extractAll --priority high
    task add TIFService:extractAll --retries -1
    task add TIFService:extractAll --at yesterday
    task add TIFService:extractAll --at 2026-02-30
    task add TIFService:extractAll --timeout 0
    task add TIFService:extractAll --timeout -5m
    task add TIFService:extractAll --timeout soon
    method set m --timeout no -- true
    task add TIFService:extractAll --batch x
    task list --limit many
    task file 1 --set a --output b
    method set m
    task show -1
    progress -1
    completions tcsh
    config set task.timeout
    --now noon status
    --now 2026-02-30 method list
    timer attach t 1 --reference tomorrow
    timer attach t 1 --reference 0000-01-01T00:00+14:00
    timer purge --older-than -1d
    status --max-age soon
    status --max-age 0
    doc set contract
    doc set contract novalue
    doc add -a novalue
    task add TIFService:extractAll -p novalue
    task add TIFService:extractAll -p a:=tru
    task add TIFService:extractAll -p =1
    task add TIFService:extractAll --unique
    task list --status DONE
    mail list --status lost
    log loud hello
";

#[test]
fn what_is_called_wrongly_exits_with_2_and_one_line() {
    let home = home();
    for arguments in lines(MISUSED) {
        let answer = home.run(words(arguments));
        assert_eq!(answer.code(), 2, "{arguments:?}");
        assert_eq!(
            answer.err().lines().count(),
            1,
            "{arguments:?}: {}",
            answer.err()
        );
        assert!(
            answer.err().starts_with("runner: "),
            "{arguments:?}: {}",
            answer.err()
        );
    }
}

#[test]
fn without_a_command_the_help_is_shown() {
    let answer = Home::without_database().run::<&str>([]);
    assert_eq!(answer.code(), 2);
    assert!(answer.err().contains("Usage: runner"));
}

/// Each of them, on a file that it cannot work with.
const ON_ANY_FILE: &[&[&str]] = &[
    &["status"],
    &["task", "list"],
    &["task", "add", "m"],
    &["config", "set", "task.timeout", "5m"],
    &["tick"],
    &["crontab"],
];

fn assert_refused(home: &Home, expected: &str) {
    let before = fs::read(home.db()).ok();
    for arguments in ON_ANY_FILE {
        let told = home.refused(*arguments);
        assert!(
            told.contains("runner.db: ") && told.contains(expected),
            "{arguments:?}: {told}"
        );
        assert_eq!(
            fs::read(home.db()).ok(),
            before,
            "{arguments:?} changed the file"
        );
    }
}

#[test]
fn a_missing_database_is_not_made_by_chance_and_the_way_to_one_is_told() {
    let home = Home::without_database();
    assert_refused(
        &home,
        "there is no database; make one with 'runner --db runner.db init'",
    );
    assert!(!home.db().exists());
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let home = Home::without_database();
    for content in [INIT.repeat(10), Vec::new(), b"short".to_vec()] {
        home.write("runner.db", content);
        assert_refused(&home, "check --db and RUNNER_DB");
    }
}

#[test]
fn a_folder_is_no_database() {
    let home = Home::without_database();
    fs::create_dir(home.db()).unwrap();
    for arguments in ON_ANY_FILE {
        let told = home.refused(*arguments);
        assert!(told.contains("is not a runner database"), "{told}");
    }
}

#[test]
fn somebody_elses_database_is_left_alone() {
    let home = Home::without_database();
    home.sql(
        "PRAGMA application_id = 77; CREATE TABLE task (id); CREATE TABLE setting (key, value)",
    );
    assert_refused(&home, "this file is not a runner database");
}

#[test]
fn a_database_of_another_version_is_left_alone() {
    let home = Home::new();
    home.sql("PRAGMA user_version = 99");
    assert_refused(
        &home,
        "made by another version of runner (schema 99, this one knows 1); use that version",
    );
}

#[test]
fn a_damaged_database_is_never_a_panic_and_never_repaired() {
    let page = 4096;
    let whole = {
        let home = Home::example();
        fs::read(home.db()).unwrap()
    };
    let home = Home::without_database();
    for damaged in (0..whole.len()).step_by(page).step_by(3) {
        let mut content = whole.clone();
        content[damaged..damaged + page].fill(0);
        home.write("runner.db", &content);
        for arguments in [
            &["task", "list"][..],
            &["task", "add", "Mailing:x"],
            &["status"],
        ] {
            let answer = home.run(arguments);
            let lines = answer.err().lines().count();
            assert!(
                matches!((answer.code(), lines), (0, 0) | (1, 1)),
                "page {}: {}",
                damaged / page,
                answer.all()
            );
            assert!(!answer.err().contains("panicked"), "{}", answer.err());
        }
        for leftover in ["runner.db-wal", "runner.db-shm"] {
            let _ = fs::remove_file(home.path(leftover));
        }
    }
    home.write("runner.db", &whole[..whole.len() / 2]);
    let told = home.refused(["task", "list"]);
    assert!(
        told.contains("the database is damaged; restore it from a copy"),
        "{told}"
    );
}

#[test]
fn a_database_cannot_be_made_where_there_is_no_folder() {
    let home = Home::without_database();
    let told = home.refused(["--db", "no/such/folder/x.db", "init"]);
    assert!(
        told.contains("no/such/folder/x.db: no such file or folder"),
        "{told}"
    );
}

#[test]
fn names_with_control_characters_do_not_break_the_one_line() {
    let home = home();
    for name in ["a\nb", "a\u{1b}[31mb", "a\u{202e}b"] {
        let told = home.refused(["task", "add", name]);
        assert!(
            !told.contains('\u{1b}') && !told.contains('\u{202e}'),
            "{told:?}"
        );
    }
}

#[test]
#[ignore = "it waits for the 5 seconds that a command is patient"]
fn a_database_that_another_program_holds_is_told_and_unchanged() {
    let home = home();
    let before = dump(&home.db());
    let holder = rusqlite::Connection::open(home.db()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let told = home.refused(["task", "add", "TIFService:extractAll"]);
    assert!(
        told.contains("another program held the database for longer than 5 seconds"),
        "{told}"
    );
    assert!(
        home.ok(["task", "list"]).contains("TO_RUN"),
        "readers need not wait"
    );
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(dump(&home.db()), before);
}

#[test]
fn no_name_breaks_a_row_or_a_line_of_what_is_shown() {
    let home = Home::new();
    home.sql(
        r#"INSERT INTO document (key, family, title) VALUES ('k', 'f', 'one' || char(10) || 'two' || char(9) || 'three');
           INSERT INTO task (method, signature) VALUES ('m', 'a' || char(10) || 'status   forged');
           INSERT INTO mail (status, "from", "to", subject, body, message_id)
           VALUES ('sent', 'r@x.org', '["a@x.org"]', 'one' || char(13, 10) || 'To: e@x.org', 'b', '<1@x.org>')"#,
    );
    for command in [&["doc", "list"][..], &["task", "list"], &["mail", "list"]] {
        assert_eq!(home.ok(command).lines().count(), 2, "{command:?}");
    }
    let shown = home.ok(["task", "show", "1"]);
    assert!(shown.contains("a status   forged"), "{shown}");
    let shown = home.ok(["mail", "show", "1"]);
    assert!(shown.contains("subject        one To: e@x.org"), "{shown}");
    let shown = home.ok(["doc", "show", "k"]);
    assert!(shown.contains("one two three"), "{shown}");
}

#[test]
fn json_has_no_character_that_changes_a_terminal() {
    let home = Home::new();
    let odd = "a\u{9b}31m\u{7f}\u{202e}é";
    home.ok(["doc", "add", "--key", "k", "--title", odd]);
    home.ok(["doc", "set", "k", &format!("note={odd}")]);
    home.sql("UPDATE document SET attributes = json_set(attributes, '$.raw', char(155, 127, 233))");
    let answer = home.run(["--json", "doc", "show", "k"]);
    let shown = answer.json();
    assert_eq!(shown["title"], odd);
    assert_eq!(shown["attributes"]["note"], odd);
    assert_eq!(shown["attributes"]["raw"], "\u{9b}\u{7f}é");
    let printed = answer.out();
    assert!(
        !printed.contains(['\u{9b}', '\u{7f}', '\u{202e}']),
        "{printed:?}"
    );
    assert!(printed.contains(r"\u009b31m\u007f\u202eé"), "{printed}");
}

#[test]
fn a_database_with_the_tables_of_an_earlier_runner_is_refused_with_a_sentence() {
    let home = Home::new();
    home.sql("ALTER TABLE attachment RENAME COLUMN needs_reschedule TO stale");
    let told = home.refused(["tick"]);
    assert!(
        told.contains("which an earlier version must have made"),
        "{told}"
    );
}

#[test]
fn the_tip_for_a_typo_never_names_a_command_that_destroys_or_stops() {
    let home = Home::new();
    for typo in [
        &["task", "sto"][..],
        &["task", "delet", "1"],
        &["task", "restar"],
        &["task", "cancl"],
        &["timer", "purgee"],
        &["task", "stopp"],
        &["doc", "delte"],
        &["method", "remov"],
        &["config", "unse"],
        &["paus"],
    ] {
        let answer = home.run(typo);
        assert_eq!(answer.code(), 2);
        let told = answer.err();
        assert!(told.contains("unrecognized subcommand"), "{told}");
        for dangerous in [
            "stop", "delete", "restart", "cancel", "purge", "remove", "unset", "pause",
        ] {
            assert!(!told.contains(&format!("'{dangerous}'")), "{told}");
        }
    }
    let told = home.run(["task", "shwo"]).err();
    assert!(
        told.contains("tip: a similar subcommand exists: 'show'"),
        "{told}"
    );
}
