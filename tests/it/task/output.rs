//! What handlers say and hand back: bounded, masked, shown.

use crate::kit::database::dump;
use crate::kit::process::{is_alive, send, until};
use crate::kit::programs::is_installed;
use crate::kit::runner::Home;
use rustix::process::Signal;
use serde_json::json;

/// A home where one task of this script has run.
fn after(script: &str) -> Home {
    let home = Home::new();
    home.method("m", script);
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    home
}

fn messages(home: &Home) -> Vec<String> {
    home.logs("1")
        .into_iter()
        .map(|(_, message)| message)
        .collect()
}

#[test]
fn every_line_that_is_no_protocol_is_a_log_and_standard_error_is_a_warning() {
    let home = after(
        r#"echo plain
echo '{"type":"unknown"}'
echo '{"type":"log"}'
echo '[1,2]'
echo '{broken'
printf 'no end'"#,
    );
    assert_eq!(
        messages(&home),
        [
            "plain",
            r#"{"type":"unknown"}"#,
            r#"{"type":"log"}"#,
            "[1,2]",
            "{broken",
            "no end"
        ]
    );
    let home = after("echo careful >&2");
    assert_eq!(
        home.logs("1"),
        [("warning".to_owned(), "careful".to_owned())]
    );
}

#[test]
fn a_handler_hands_back_a_value_and_a_file() {
    let home = after(
        r#"mkdir out; printf 'a,b\n' > out/report.csv
echo '{"type":"result","value":{"rows":[1,2.50,"é"]}}'
echo '{"type":"file","path":"out/report.csv"}'"#,
    );
    let task = home.task("1");
    assert_eq!(task["result"], json!({"rows": [1, 2.50, "é"]}));
    assert_eq!(task["output"], "report.csv");
    home.ok(["task", "file", "1", "--output", "copy.csv"]);
    assert_eq!(home.read("copy.csv"), "a,b\n");
    assert_eq!(home.ok(["task", "file", "1", "--output", "-"]), "a,b");
}

#[test]
fn json_that_is_nested_too_deep_for_the_database_is_kept_as_text() {
    let home = Home::new();
    home.method(
        "deep",
        r#"n=0; while [ $n -lt 2000 ]; do n=$((n+1)); open="$open["; close="$close]"; done
echo "{\"type\":\"log\",\"level\":\"info\",\"message\":\"deep\",\"details\":$open$close}"
echo "{\"type\":\"result\",\"value\":$open$close}""#,
    );
    home.method("other", "sleep 0.5");
    home.ok(["task", "add", "deep"]);
    home.ok(["task", "add", "other"]);
    home.ok(["tick"]);
    assert_eq!(
        [home.status("1"), home.status("2")],
        ["COMPLETED", "COMPLETED"]
    );
    let deep = json!("[".repeat(2000) + &"]".repeat(2000));
    let task = home.task("1");
    assert_eq!(
        (&task["result"], &task["logs"][0]["details"]),
        (&deep, &deep)
    );
}

/// An application's own triggers may refuse what a handler brings.
#[test]
fn what_the_database_refuses_of_a_task_fails_that_task_alone() {
    let brings_a_result = r#"echo '{"type":"result","value":"bad"}'"#;
    for (refuses, script, told) in [
        (
            "UPDATE OF result ON task WHEN NEW.result = '\"bad\"'",
            brings_a_result,
            "task 1 (m) failed: what came of it cannot be recorded: the database: not this",
        ),
        (
            "INSERT ON task_log WHEN NEW.message = 'bad'",
            "echo bad",
            "task 1 (m) failed: what came of it cannot be recorded: the database: not this",
        ),
        (
            "INSERT ON task_log WHEN NEW.message = 'bad'",
            "echo bad; sleep 1",
            "task 1 (m) failed: what it printed cannot be stored: the database: not this",
        ),
    ] {
        let home = Home::new();
        home.method("m", script);
        home.method("other", "sleep 0.5; echo well");
        home.ok(["task", "add", "m"]);
        home.ok(["task", "add", "other"]);
        home.sql(&format!(
            "CREATE TRIGGER refuse BEFORE {refuses} BEGIN SELECT RAISE(ABORT, 'not this'); END"
        ));
        let answer = home.run(["tick"]);
        assert!(answer.refused().ends_with(told), "{}", answer.err());
        assert_eq!(
            [home.status("1"), home.status("2")],
            ["FAILED", "COMPLETED"],
            "{refuses}: {script}"
        );
        assert_eq!(home.logs("2"), [("info".to_owned(), "well".to_owned())]);
    }
}

#[test]
fn a_file_that_cannot_be_kept_is_an_error_in_the_log_of_a_task_that_came_to_its_end() {
    let home = after(r#"echo '{"type":"file","path":"gone.csv"}'"#);
    assert_eq!(home.status("1"), "COMPLETED");
    let [(level, message)] = &home.logs("1")[..] else {
        panic!("one log entry");
    };
    assert_eq!(level, "error");
    assert!(message.contains("gone.csv: no such file"), "{message}");
}

#[test]
fn only_a_plain_file_can_be_handed_back() {
    for (make, path) in [
        ("mkfifo pipe", "pipe"),
        ("mkdir folder", "folder"),
        ("true", "/dev/zero"),
    ] {
        let home = after(&format!(
            r#"{make}; echo '{{"type":"file","path":"{path}"}}'"#
        ));
        assert_eq!(home.status("1"), "COMPLETED");
        let messages = messages(&home);
        assert!(
            messages[0].ends_with("only the content of a plain file can be kept"),
            "{messages:?}"
        );
    }
}

#[test]
fn the_first_and_the_last_of_many_lines_are_kept_and_the_cut_is_told() {
    let home = after("i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo line $i; done");
    let messages = messages(&home);
    assert_eq!(messages.len(), 2001);
    assert_eq!(messages[0], "line 1");
    assert_eq!(messages[999], "line 1000");
    assert!(
        messages[1000].starts_with("[3000 log entries ("),
        "{}",
        messages[1000]
    );
    assert_eq!(messages[1001], "line 4001");
    assert_eq!(messages[2000], "line 5000");
}

#[test]
fn the_size_of_a_log_is_bounded_too() {
    let home = after(
        "line=$(printf '%060000d' 0); i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i $line; done",
    );
    let kept: i64 = home.sql_value("SELECT sum(length(message)) FROM task_log");
    assert!(
        (900_000..1_100_000).contains(&kept),
        "{kept} bytes are kept"
    );
    let messages = messages(&home);
    assert!(messages[0].starts_with("1 0000"));
    assert!(messages.last().unwrap().starts_with("60 0000"));
    assert!(
        messages
            .iter()
            .any(|message| message.contains("were cut here"))
    );
}

#[test]
fn a_line_without_an_end_is_cut_and_says_so() {
    let home = after("head -c 1000000 /dev/zero | tr '\\0' x");
    let [message] = &messages(&home)[..] else {
        panic!("one log entry");
    };
    assert!(message.ends_with("… [934464 bytes cut]"));
}

#[test]
fn bytes_that_are_no_text_are_shown_as_such() {
    let home = after(r"printf 'a\377b\000c\033[31m\n'");
    assert_eq!(messages(&home), ["a\u{fffd}b\0c\u{1b}[31m"]);
    let shown = home.ok(["task", "logs", "1"]);
    assert!(
        shown.ends_with(r"b\u{0}c\u{1b}[31m"),
        "a terminal gets text: {shown}"
    );
}

#[test]
fn a_flood_of_progress_leaves_the_last() {
    let home = after(
        r#"i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "{\"type\":\"progress\",\"step\":$i,\"max\":3000}"; done"#,
    );
    assert_eq!(home.task("1")["progress"]["step"], 3000);
    assert_eq!(home.logs("1"), []);
}

#[test]
fn hidden_values_are_masked_in_all_that_a_handler_prints() {
    let home = Home::new();
    home.method(
        "m",
        r#"read -r input
token=s3cret-8231
echo "Authorization: Bearer $token"
echo "refused: $token" >&2
cat <<END
{"type":"log","level":"error","message":"$token","details":{"$token":["$token",48151623]}}
{"type":"progress","label":"with $token"}
{"type":"debug","message":"token is $token"}
{"type":"result","value":{"token":"$token"}}
END
env > env; tr '\0' ' ' < /proc/$$/cmdline > argv
exit 1"#,
    );
    let hidden = r#"{"token":"s3cret-8231","pin":48151623}"#;
    home.ok(["task", "add", "m", "--hidden-params", hidden]);
    let mut shown = vec![home.run(["task", "run", "1", "1"]).all()];
    for command in [
        &["task", "show", "1"][..],
        &["task", "logs", "1"],
        &["task", "list"],
        &["--json", "task", "show", "1"],
        &["--json", "task", "list"],
        &["-vv", "task", "run", "1"],
        &["--json", "-vv", "task", "run", "1", "1"],
        &["status"],
    ] {
        shown.push(home.run(command).all());
    }
    shown.extend([home.read("env"), home.read("argv")]);
    for text in &shown {
        assert!(
            !text.contains("s3cret") && !text.contains("48151623"),
            "{text}"
        );
    }
    assert!(shown[0].contains("debug    token is ***"), "{}", shown[0]);
    home.sql("UPDATE task SET hidden_params = NULL");
    let stored = dump(&home.db());
    assert!(
        !stored.contains("s3cret") && !stored.contains("48151623"),
        "{stored}"
    );
    assert!(stored.contains("Authorization: Bearer ***"));
}

#[test]
fn hidden_values_are_masked_in_a_handler_s_input_that_it_prints_again() {
    for hidden in [
        r#"{"token":"s3cr\/\u00e9t-8231"}"#,
        r#"{"token":"other","token":"s3cr/ét-8231"}"#,
        r#"{"half":"\ud800","token":"s3cr/ét-8231","huge":1e999}"#,
        r#"["s3cr/ét-8231",8231823182318231823182318231]"#,
    ] {
        let home = Home::new();
        home.method(
            "m",
            r#"read -r input
printf '%s\n' "$input" "$(printf '%s' "$input" | sed 's:s3cr/ét:s3cr\\/\\u00E9t:')"
printf '{"type":"result","value":%s}\n' "$input""#,
        );
        home.ok(["task", "add", "m", "--hidden-params", hidden]);
        let mut shown = home.run(["task", "run", "1", "1"]).all();
        shown.push_str(&home.run(["--json", "task", "show", "1"]).all());
        assert!(!shown.contains("8231"), "{shown}");
        assert!(shown.contains("hidden_params"), "{shown}");
    }
}

#[test]
fn a_hidden_value_in_the_name_of_a_file_is_masked() {
    for make in ["echo made > tok-s3cret-8231.txt", "true"] {
        let home = Home::new();
        let print = r#"echo '{"type":"file","path":"tok-s3cret-8231.txt"}'"#;
        home.method("m", &format!("{make}; {print}"));
        home.ok(["task", "add", "m", "--hidden-params", r#"["s3cret-8231"]"#]);
        home.ok(["tick"]);
        let shown = home.ok(["--json", "task", "show", "1"]);
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("tok-***.txt"), "{shown}");
    }
}

#[test]
fn the_beginning_of_a_hidden_value_does_not_show_at_the_end_of_a_cut_line() {
    let home = Home::new();
    home.method(
        "m",
        "head -c 65530 /dev/zero | tr '\\0' x; echo s3cret-8231 and more",
    );
    home.ok(["task", "add", "m", "--hidden-params", r#"["s3cret-8231"]"#]);
    home.ok(["tick"]);
    let [message] = &messages(&home)[..] else {
        panic!("one log entry");
    };
    assert!(
        message.ends_with("xx … [20 bytes cut]"),
        "{}",
        &message[65500..]
    );
}

#[test]
fn a_line_keeps_what_it_says_when_a_field_of_it_is_of_another_type() {
    let home = after(
        r#"echo '{"type":"log","level":"error","message":"no room","step":"third","task":"x"}'
echo '{"type":"progress","step":2.7,"max":"5","label":null}'"#,
    );
    assert_eq!(home.logs("1"), [("error".to_owned(), "no room".to_owned())]);
    let progress = &home.task("1")["progress"];
    assert_eq!(
        (&progress["step"], &progress["max"]),
        (&json!(2), &json!(5))
    );
}

#[test]
fn a_handler_that_reads_no_input_is_no_trouble_however_much_there_is() {
    let home = Home::new();
    home.method("m", "exit 0");
    home.write(
        "big.json",
        format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000_000)),
    );
    home.ok(["task", "add", "m", "--params", "@big.json"]);
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
fn a_handler_can_print_before_it_reads_much_input() {
    let home = Home::new();
    home.method(
        "m",
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; wc -c > size",
    );
    home.write(
        "big.json",
        format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000_000)),
    );
    home.ok(["task", "add", "m", "--params", "@big.json"]);
    home.ok(["tick"]);
    assert!(home.read("size").trim().parse::<u32>().unwrap() > 1_000_000);
}

#[test]
fn a_process_that_a_handler_leaves_behind_holds_up_nobody_and_is_ended() {
    let home = after("sleep 300 & echo $! > pid; echo done");
    let pid: i32 = home.read("pid").trim().parse().unwrap();
    until("the process is gone", || !is_alive(pid));
    assert_eq!(home.status("1"), "COMPLETED");
    assert_eq!(messages(&home), ["done"]);
}

#[test]
fn all_that_a_handler_wrote_into_a_large_pipe_before_it_ended_is_read() {
    if !is_installed("python3") {
        return;
    }
    let home = after(
        "exec python3 -c 'import fcntl, os
size = fcntl.fcntl(1, 1031, 1 << 20)
text = \"\".join(\"%d %s\\n\" % (n, \"x\" * 50000) for n in range(20))
os.write(1, text.encode())'",
    );
    let begins: Vec<_> = messages(&home)
        .iter()
        .map(|message| message.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    let expected: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(begins, expected);
}

#[test]
fn a_process_that_went_its_own_way_is_left_alone() {
    // The handler waits until the other one has left its group.
    let home = after(
        "mkfifo never; setsid sh -c 'echo $$ > pid; read line < never' & until [ -s pid ]; do sleep 0.02; done",
    );
    let pid: i32 = home.read("pid").trim().parse().unwrap();
    assert!(is_alive(pid));
    send(pid, Signal::KILL);
    assert_eq!(home.status("1"), "COMPLETED");
    assert_eq!(home.logs("1"), []);
}

#[test]
fn on_a_terminal_progress_is_a_bar() {
    // The script(1) of util-linux gives a command a terminal; others have other options.
    if !is_installed("script") || !cfg!(target_os = "linux") {
        return;
    }
    let home = Home::new();
    home.method("m", "echo begun; echo '{\"type\":\"progress\",\"step\":3,\"max\":6,\"label\":\"reading\"}'; sleep 0.3");
    home.ok(["task", "add", "m"]);
    let runner = env!("CARGO_BIN_EXE_runner");
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &format!("{runner} task run 1 1"), "/dev/null"]);
    script
        .current_dir(home.folder())
        .env("TERM", "xterm")
        .env("COLUMNS", "80");
    let shown = String::from_utf8(script.output().unwrap().stdout).unwrap();
    assert!(shown.contains("begun"), "{shown}");
    assert!(
        shown.contains('█') && shown.contains("3/6 reading"),
        "{shown}"
    );
}

#[test]
fn live_lines_come_while_the_handler_still_runs() {
    let home = Home::new();
    home.method(
        "m",
        "echo begun; until [ -e go ]; do sleep 0.05; done; echo ended",
    );
    home.ok(["task", "add", "m"]);
    let shell = format!("{} task run 1 1 > live", env!("CARGO_BIN_EXE_runner"));
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", &format!("exec {shell}")])
        .current_dir(home.folder());
    let run = crate::kit::process::Running::new(command);
    until("the first line is shown", || {
        home.read("live").contains("begun")
    });
    assert!(!home.read("live").contains("ended"));
    home.write("go", "");
    run.end().ok();
    assert!(home.read("live").contains("ended"));
}

#[test]
fn no_message_can_pass_for_another_entry_of_the_log() {
    let home = Home::new();
    home.method(
        "m",
        r#"printf '{"type":"log","level":"info","message":"one\\n2026-04-10 09:00:00  error    forged\\r2026-04-10"}\n'"#,
    );
    home.ok(["task", "add", "m"]);
    let shown = home.ok(["task", "run", "1", "1"]);
    let starts = |text: &str| text.lines().filter(|line| line.starts_with("20")).count();
    assert_eq!(starts(&shown), 1, "{shown}");
    assert!(
        shown.contains("\n    2026-04-10 09:00:00  error    forged\n    2026"),
        "{shown}"
    );
    let logs = home.ok(["task", "logs", "1"]);
    assert_eq!(starts(&logs), 1, "{logs}");
}

#[test]
fn a_run_tells_of_many_long_errors_in_a_bounded_number_of_words() {
    let home = Home::new();
    let said = "x".repeat(60_000);
    home.method("m", &format!("echo {said} >&2; exit 1"));
    let batch = home.write("batch", "{\"method\":\"m\"}\n".repeat(130));
    home.ok(["task", "add", "--batch", batch.to_str().unwrap()]);
    let answer = home.run(["--json", "tick"]);
    let report = answer.json();
    assert_eq!(report["tasks"]["failed"], 130);
    assert_eq!(report["errors"].as_array().unwrap().len(), 101);
    let told = answer.err();
    assert!(told.len() < 101 * 700, "{}", told.len());
    assert!(told.contains("(m) failed: exit status 1: xxx"), "{told}");
    assert!(told.contains("30 more tasks failed"), "{told}");
    let logs = home.logs("1");
    assert!(logs.iter().any(|(_, message)| message.len() >= 60_000));
}
