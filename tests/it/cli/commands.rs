//! The commands around the tasks: init, status, crontab, config, method, and what all of them share.
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::kit::database::dump;
use crate::kit::process::Running;
use crate::kit::programs::{Bin, is_installed};
use crate::kit::runner::{Answer, Home};
use serde_json::json;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner");

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn answer(mut command: Command) -> Answer {
    let output = command.output().unwrap();
    Answer::of(&format!("{command:?}"), output)
}

#[test]
fn init_makes_a_database_for_its_owner_alone() {
    let home = Home::without_database();
    assert_eq!(home.ok(["init"]), "");
    assert_eq!(mode(&home.db()), 0o600);
    assert_eq!(home.sql_value::<String>("PRAGMA journal_mode"), "wal");
}

#[test]
fn the_database_is_named_by_the_option_else_by_the_variable_else_it_is_runner_db_here() {
    let home = Home::without_database().env("RUNNER_DB", "by-variable.db");
    home.ok(["init"]);
    home.ok(["--db", "by-option.db", "init"]);
    let there = |name: &str| home.path(name).exists();
    assert!(there("by-variable.db") && there("by-option.db") && !there("runner.db"));
}

#[test]
fn an_idle_tick_says_nothing_and_writes_nothing_to_the_database() {
    let home = Home::new();
    let before = dump(&home.db());
    assert_eq!(home.ok(["tick"]), "");
    assert_eq!(dump(&home.db()), before);
}

#[test]
fn status_tells_counts_what_is_due_the_last_tick_and_what_needs_attention() {
    let mut home = Home::new().at("2026-04-10T09:00");
    home.method("m", "exit 1");
    home.ok(["task", "add", "m"]);
    home.ok(["task", "add", "m", "--at", "2026-04-11"]);
    assert!(home.ok(["status"]).contains("no tick has run yet"));
    home.run(["tick"]);
    home.set_now("2026-04-10T09:10");
    let status = home.json(["status"]);
    assert_eq!(status["tasks"]["FAILED"], 1);
    assert_eq!(status["tasks"]["TO_RUN"], 1);
    assert_eq!(status["next_due"], "2026-04-11T00:00:00Z");
    assert_eq!(status["last_tick"], "2026-04-10T09:00:00Z");
    assert_eq!(status["last_tick_age_s"], 600);
    assert_eq!(
        status["attention"],
        json!(["1 task failed: 'runner task list --status FAILED'"])
    );
}

#[test]
fn status_exits_with_1_when_the_last_tick_is_too_old() {
    let mut home = Home::new().at("2026-04-10T09:00");
    let never = home.run(["status", "--max-age", "5m"]);
    assert_eq!(never.code(), 1);
    assert!(
        never.err().contains("no tick has ended yet"),
        "{}",
        never.err()
    );
    home.ok(["tick"]);
    for (now, code) in [("2026-04-10T09:05:00", 0), ("2026-04-10T09:05:01", 1)] {
        home.set_now(now);
        assert_eq!(
            home.run(["status", "--max-age", "5m"]).code(),
            code,
            "{now}"
        );
    }
}

#[test]
fn a_tick_that_fails_is_not_taken_for_one_that_came_to_its_end() {
    let home = Home::new();
    home.sql("INSERT INTO setting VALUES ('task.max_running', 'all'); INSERT INTO method (name, command) VALUES ('m', '[\"true\"]'); INSERT INTO task (method) VALUES ('m')");
    home.refused(["tick"]);
    assert_eq!(home.run(["status", "--max-age", "1h"]).code(), 1);
}

#[test]
fn the_crontab_entry_runs_this_program_on_this_database_each_minute() {
    let home = Home::new();
    let entry = home.ok(["crontab"]);
    let db = home.db().canonicalize().unwrap();
    assert_eq!(
        entry,
        format!("* * * * * {RUNNER} --db {} tick # runner", db.display())
    );
    home.method("m", "pwd > ran");
    home.ok(["task", "add", "m"]);
    let called = entry.strip_prefix("* * * * * ").unwrap();
    let mut cron = Command::new("/bin/sh");
    cron.args(["-c", called])
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/");
    assert_eq!(
        answer(cron).ok(),
        "",
        "as cron does it: a bare environment, in another folder"
    );
    assert_eq!(
        home.read("ran").trim(),
        db.parent().unwrap().to_str().unwrap()
    );
}

#[test]
fn crontab_install_keeps_every_other_line_and_does_nothing_the_second_time() {
    for before in [
        "",
        "MAILTO=me\n\n# mine\n0 5 * * * backup %d\n",
        "no newline at the end",
        "* * * * * /bin/runner --db /srv/b.db tick # runner\n",
        "0 5 * * * cp DB /backup\r\n# * * * * * old --db DB tick\n",
        "*/5 * * * * nice /bin/runner --db DB tick\n",
    ] {
        let home = Home::new();
        let before = before.replace("DB", home.db().canonicalize().unwrap().to_str().unwrap());
        let bin = Bin::new(&home);
        bin.crontab(&before);
        let home = home.env("PATH", bin.path().to_str().unwrap());
        home.ok(["crontab", "--install"]);
        let installed = bin.installed().unwrap();
        let end = if before.is_empty() || before.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        assert_eq!(
            installed,
            format!("{before}{end}{}\n", home.ok(["crontab"]))
        );
        home.ok(["crontab", "--install"]);
        assert_eq!(bin.installed().unwrap(), installed);
    }
}

#[test]
fn crontab_install_replaces_the_line_of_an_older_program() {
    let home = Home::new();
    let bin = Bin::new(&home);
    let db = home.db().canonicalize().unwrap();
    let home = home.env("PATH", bin.path().to_str().unwrap());
    for old in [
        "* * * * * '/old place/50\\% '\\''s/runner'",
        "*/5 * * * * /bin/runner --trust-database",
    ] {
        let crontab =
            |line| format!("a\n{line}\n* * * * * /bin/runner --db /srv/b.db tick # runner\n");
        bin.crontab(&crontab(format!(
            "{old} --db {} tick # runner",
            db.display()
        )));
        home.ok(["crontab", "--install"]);
        assert_eq!(bin.installed().unwrap(), crontab(home.ok(["crontab"])));
    }
}

#[test]
fn the_crontab_entry_quotes_a_path_for_the_shell_and_for_cron() {
    let home = Home::without_database();
    fs::create_dir(home.path("a\tb")).unwrap();
    let home = home.env("RUNNER_DB", "a\tb/50%'s.db");
    home.ok(["init"]);
    let entry = home.ok(["crontab"]);
    assert!(entry.contains("/a\tb/50\\%'\\''s.db' tick"), "{entry:?}");
    let entry = entry.replace("\\%", "%");
    fs::create_dir(home.path("a\nb")).unwrap();
    home.ok(["--db", "a\nb/x.db", "init"]);
    let told = home.refused(["--db", "a\nb/x.db", "crontab"]);
    assert!(told.contains("cron cannot read this path"), "{told}");
    let mut cron = Command::new("/bin/sh");
    cron.args(["-c", entry.strip_prefix("* * * * * ").unwrap()]);
    assert_eq!(answer(cron).ok(), "");
}

#[test]
fn the_crontab_entry_trusts_the_database_when_that_is_said() {
    let home = Home::new();
    let bin = Bin::new(&home);
    bin.crontab("");
    let home = home.env("PATH", bin.path().to_str().unwrap());
    home.ok(["crontab", "--install"]);
    home.ok(["--trust-database", "crontab", "--install"]);
    let entry = home.ok(["--trust-database", "crontab"]);
    assert!(entry.contains(" --trust-database --db "), "{entry}");
    assert_eq!(bin.installed().unwrap(), format!("{entry}\n"));
    fs::set_permissions(home.db(), Permissions::from_mode(0o666)).unwrap();
    let mut cron = Command::new("/bin/sh");
    cron.args(["-c", entry.strip_prefix("* * * * * ").unwrap()]);
    assert_eq!(answer(cron).ok(), "");
}

#[test]
fn a_value_of_a_setting_is_a_file_or_standard_input_too() {
    let home = Home::new();
    let transport = "smtp://ann:s3cret@mail.example.org";
    home.run_with_input(
        ["config", "set", "mail.transport", "-"],
        &format!("{transport}\n"),
    )
    .ok();
    let kept = || home.sql_value::<String>("SELECT value FROM setting");
    assert_eq!(kept(), transport);
    home.write("secret", "smtps://ann:other@mail.example.org\n");
    home.ok(["config", "set", "mail.transport", "@secret"]);
    assert_eq!(kept(), "smtps://ann:other@mail.example.org");
}

#[test]
fn one_of_a_kind_is_told_in_the_singular() {
    let home = Home::new();
    home.sql(
        r#"INSERT INTO mail (status, "from", "to", subject, body, message_id)
           VALUES ('failed', 'r@x.org', '["a@x.org"]', 's', 'b', '<1@x.org>')"#,
    );
    let one = home.ok(["status"]);
    assert!(one.contains("attention  1 mail failed: "), "{one}");
    home.sql("INSERT INTO mail (status, \"from\", \"to\", subject, body, message_id) SELECT status, \"from\", \"to\", subject, body, message_id FROM mail");
    let two = home.ok(["status"]);
    assert!(two.contains("attention  2 mails failed: "), "{two}");
}

#[test]
fn crontab_install_touches_nothing_when_crontab_refuses_or_is_not_there() {
    let home = Home::new();
    let bin = Bin::new(&home);
    bin.program(
        "crontab",
        "echo 'you are not allowed to use this program' >&2; exit 1",
    );
    let path = bin.path();
    let home = home.env("PATH", path.to_str().unwrap());
    let told = home.refused(["crontab", "--install"]);
    assert!(
        told.contains("crontab: it answered: you are not allowed"),
        "{told}"
    );
    let home = home.env("PATH", "/nowhere");
    let told = home.refused(["crontab", "--install"]);
    assert!(told.contains("there is no such program here"), "{told}");
}

#[test]
fn a_setting_is_what_was_set_until_it_is_unset() {
    let home = Home::new();
    assert_eq!(home.ok(["config", "get", "timer.hour_limit"]), "2");
    home.ok(["config", "set", "timer.hour_limit", "24"]);
    assert_eq!(home.ok(["config", "get", "timer.hour_limit"]), "24");
    home.ok(["config", "unset", "timer.hour_limit"]);
    assert_eq!(
        home.json(["config", "get", "timer.hour_limit"]),
        json!({"key": "timer.hour_limit", "value": "2"})
    );
    assert_eq!(home.json(["config", "list"]).as_array().unwrap().len(), 9);
}

#[test]
fn the_secret_of_a_setting_is_not_shown() {
    let home = Home::new();
    for (transport, shown) in [
        (
            "smtp://ann:hunter2@mail.example.org?tls=required",
            "smtp://ann:***@mail.example.org?tls=required",
        ),
        (
            "smtps://ann:hun@ter2:x@mail.example.org:99",
            "smtps://ann:***@mail.example.org:99",
        ),
        (
            "smtp://ann:hunter2@mail.example.org?ca=/x@y.pem",
            "smtp://ann:***@mail.example.org?ca=/x@y.pem",
        ),
        ("smtp://ann:12?hunter2@mail.example.org", "***"),
        ("hunter2", "***"),
        ("smtp://localhost:25", "smtp://localhost:25"),
        ("sendmail:", "sendmail:"),
        ("file:out/mails", "file:out/mails"),
    ] {
        home.sql(&format!(
            "REPLACE INTO setting VALUES ('mail.transport', '{transport}')"
        ));
        assert_eq!(home.ok(["config", "get", "mail.transport"]), shown);
        let listed = home.json(["config", "list"]);
        let values = listed.as_array().unwrap().iter();
        assert_eq!(
            values.filter(|setting| setting["value"] == shown).count(),
            1
        );
        assert!(!home.ok(["config", "list"]).contains("hunter2"));
    }
}

#[test]
fn times_are_shown_in_the_zone_of_the_setting_and_as_utc_in_json() {
    let home = Home::new().at("2026-04-10T09:00Z");
    home.method("m", "echo said");
    home.ok(["config", "set", "time.zone", "Asia/Tokyo"]);
    home.ok(["task", "add", "m", "--at", "2026-04-10T18:00"]);
    home.ok(["tick"]);
    assert!(
        home.ok(["task", "logs", "1"])
            .starts_with("2026-04-10 18:00:00")
    );
    assert_eq!(home.task("1")["run_at"], "2026-04-10T09:00:00Z");
}

#[test]
fn a_method_can_be_listed_replaced_and_removed() {
    let home = Home::new();
    home.ok([
        "method",
        "set",
        "m",
        "--timeout",
        "10m",
        "--retries",
        "2",
        "--",
        "php",
        "m.php",
    ]);
    let listed = home.json(["method", "list"]);
    assert_eq!(listed[0]["command"], json!(["php", "m.php"]));
    assert_eq!(
        (&listed[0]["timeout"], &listed[0]["retries"]),
        (&json!("10m"), &json!(2))
    );
    home.ok(["method", "set", "m", "--", "true"]);
    assert_eq!(home.json(["method", "list"])[0]["timeout"], json!(null));
    home.ok(["method", "remove", "m"]);
    assert_eq!(home.json(["method", "list"]), json!([]));
}

#[test]
fn the_nearest_handler_serves_a_method() {
    let home = Home::new();
    home.method("Images:*", "echo service $1 > served");
    home.method("Images:resize", "echo itself $1 > served");
    for (method, served) in [
        ("Images:resize", "itself\n"),
        ("Images:crop", "service crop\n"),
    ] {
        home.ok(["task", "add", method]);
        home.ok(["tick"]);
        assert_eq!(home.read("served"), served);
    }
    assert!(
        home.refused(["task", "add", "Images:"])
            .contains("no method")
    );
}

#[test]
fn task_list_can_be_filtered_and_limited_to_the_newest() {
    let home = Home::new();
    home.method("a", "exit 0");
    home.method("b", "exit 0");
    for method in ["a", "b", "a", "b", "a"] {
        home.ok(["task", "add", method]);
    }
    home.ok(["task", "cancel", "3"]);
    let ids = |arguments: &[&str]| -> Vec<i64> {
        let list = home.json([&["task", "list"], arguments].concat());
        list.as_array()
            .unwrap()
            .iter()
            .map(|task| task["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(ids(&["--method", "a"]), [1, 3, 5]);
    assert_eq!(ids(&["--method", "a", "--status", "to_run"]), [1, 5]);
    assert_eq!(ids(&["--limit", "2"]), [4, 5]);
}

#[test]
fn the_lines_of_the_protocol_are_printed_for_shell_scripts() {
    let home = Home::without_database();
    for (arguments, line) in [
        (
            &["log", "error", "no \"title\""][..],
            r#"{"type":"log","level":"error","message":"no \"title\""}"#,
        ),
        (
            &["log", "info", "-x", "--details", "[1]"],
            r#"{"type":"log","level":"info","message":"-x","details":[1]}"#,
        ),
        (&["progress", "3"], r#"{"type":"progress","step":3}"#),
        (
            &[
                "progress", "3", "10", "--phase", "1", "--phases", "2", "--label", "x",
            ],
            r#"{"type":"progress","step":3,"max":10,"phase":1,"phases":2,"label":"x"}"#,
        ),
        (
            &["debug", "--cold"],
            r#"{"type":"debug","message":"--cold"}"#,
        ),
    ] {
        assert_eq!(home.ok(arguments), line);
    }
}

#[test]
fn there_are_completions_for_five_shells() {
    let home = Home::without_database();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.ok(["completions", shell]);
        assert!(
            script.contains("crontab") && script.contains("max-age"),
            "{shell}"
        );
        let value = home.json(["completions", shell]);
        assert_eq!(value.as_str().unwrap().trim_end_matches('\n'), script);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let home = Home::example();
    for arguments in [
        &["task", "list"][..],
        &["--json", "task", "list"],
        &["completions", "bash"],
        &["task", "run", "18", "1"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = home.command(arguments);
        command.stdout(writer);
        let done = answer(command);
        assert_eq!(
            (done.code(), done.err()),
            (0, String::new()),
            "{arguments:?}"
        );
    }
    assert_eq!(
        home.status("18"),
        "COMPLETED",
        "the show ends, the task does not"
    );
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let home = Home::example();
    for arguments in [
        &["task", "list"][..],
        &["--json", "status"],
        &["completions", "bash"],
    ] {
        let mut command = home.command(arguments);
        command.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let done = answer(command);
        assert_eq!(
            done.refused(),
            "runner: standard output: the disk is full",
            "{arguments:?}"
        );
    }
}

#[test]
fn a_disk_that_takes_no_more_is_told_and_nothing_is_changed() {
    let home = Home::new();
    home.method("m", "exit 0");
    home.write(
        "big.json",
        format!(r#"{{"text":"{}"}}"#, "x".repeat(2_000_000)),
    );
    let before = dump(&home.db());
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("trap '' XFSZ; ulimit -f 1000; exec {RUNNER} task add m --params @big.json"),
    ]);
    command.current_dir(home.folder());
    let told = answer(command).refused();
    assert!(told.contains("disk"), "{told}");
    assert_eq!(dump(&home.db()), before);
    home.ok(["task", "add", "m", "--params", "@big.json"]);
}

#[test]
fn closed_standard_streams_are_no_trouble() {
    let home = Home::new();
    home.method("m", "cat > input; echo said; echo warned >&2");
    home.ok(["task", "add", "m"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("exec {RUNNER} tick <&- >&- 2>&-")])
        .current_dir(home.folder());
    assert_eq!(Running::new(command).end().code(), 0);
    assert_eq!(home.status("1"), "COMPLETED");
    assert_eq!(home.logs("1").len(), 2);
}

#[test]
fn a_database_that_anybody_could_have_written_to_is_not_run() {
    let home = Home::new();
    home.method("m", "exit 0");
    home.ok(["task", "add", "m"]);
    fs::set_permissions(home.db(), Permissions::from_mode(0o666)).unwrap();
    for command in [&["tick"][..], &["task", "run", "1"]] {
        let told = home.refused(command);
        assert!(
            told.contains("anybody may write to this database"),
            "{told}"
        );
    }
    assert_eq!(home.status("1"), "TO_RUN");
    home.ok(["--trust-database", "tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
fn handlers_run_in_the_folder_of_the_database_whichever_way_it_is_named() {
    let home = Home::new();
    fs::create_dir(home.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(home.db(), home.path("elsewhere/link.db")).unwrap();
    home.write("handler.sh", "pwd");
    home.ok(["method", "set", "m", "--", "/bin/sh", "./handler.sh"]);
    home.ok(["task", "add", "m"]);
    for db in [
        "runner.db",
        "./runner.db",
        "elsewhere/link.db",
        "elsewhere/../runner.db",
    ] {
        home.ok(["--db", db, "task", "run", "1"]);
    }
}

/// A user who may read everything in the home and write nothing. `None` where no such user can be had.
fn reader(home: &Home, arguments: &[&str]) -> Option<Answer> {
    let root = rustix::process::geteuid().is_root();
    let mut command = match root {
        true => {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--",
                RUNNER,
            ]);
            command
        }
        false => Command::new(RUNNER),
    };
    if root && !(is_installed("setpriv") && may_be_read_by_all(Path::new(RUNNER))) {
        return None;
    }
    command
        .current_dir(home.folder())
        .env_remove("RUNNER_DB")
        .args(arguments);
    Some(answer(command))
}

fn may_be_read_by_all(path: &Path) -> bool {
    path.ancestors()
        .skip(1)
        .all(|folder| mode(folder) & 0o001 != 0)
        && mode(path) & 0o005 == 0o005
}

#[test]
fn a_database_that_cannot_be_written_to_can_be_looked_at_and_no_more() {
    let home = Home::example();
    let whole = mode(home.folder());
    fs::set_permissions(home.db(), Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(home.folder(), Permissions::from_mode(0o555)).unwrap();
    let looks = [
        &["task", "list"][..],
        &["task", "show", "18"],
        &["status"],
        &["config", "list"],
        &["method", "list"],
        &["task", "logs", "1"],
        &["crontab"],
    ];
    let looked: Vec<_> = looks.iter().map(|look| reader(&home, look)).collect();
    let changes = [
        &["task", "add", "Mailing:x"][..],
        &["config", "set", "task.timeout", "5m"],
        &["task", "cancel", "18"],
    ];
    let changed: Vec<_> = changes.iter().map(|change| reader(&home, change)).collect();
    fs::set_permissions(home.folder(), Permissions::from_mode(whole)).unwrap();
    for answer in looked.into_iter().flatten() {
        assert!(!answer.ok().is_empty());
    }
    for answer in changed.into_iter().flatten() {
        let told = answer.refused();
        assert!(told.contains("check the permissions of the file"), "{told}");
    }
}

#[test]
fn a_tick_of_another_user_is_refused() {
    let home = Home::example();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let whole = mode(home.folder());
    fs::set_permissions(home.folder(), Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(home.db(), Permissions::from_mode(0o664)).unwrap();
    std::os::unix::fs::chown(home.db(), None, Some(65534)).unwrap();
    let answer = reader(&home, &["tick"]);
    fs::set_permissions(home.folder(), Permissions::from_mode(whole)).unwrap();
    if let Some(answer) = answer {
        let told = answer.refused();
        assert!(told.contains("belongs to another user"), "{told}");
    }
}

#[test]
fn a_verbose_tick_writes_times_as_people_do() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("A:run", "true");
    home.ok(["task", "add", "A:run"]);
    let said = home.run(["-vv", "tick"]).err();
    assert!(said.contains("2026-04-10T09:00:00Z: "), "{said}");
    assert!(!said.contains("Timestamp("), "{said}");
}
