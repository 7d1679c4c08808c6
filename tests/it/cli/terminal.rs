//! What a person sees who tries it for the first time: on a terminal, each command says what it did and what comes next.

use crate::kit::runner::Home;
use crate::kit::terminal::on_a_terminal;

#[test]
fn a_newcomers_first_commands_say_what_they_did_and_what_to_type_next() {
    let home = Home::without_database();
    let runner = env!("CARGO_BIN_EXE_runner");
    let first = format!("{runner} --db e.db init --example && {runner} --db e.db tick");
    let Some(shown) = on_a_terminal(&home, &first) else {
        return;
    };
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[0],
        format!("the database is ready; next: {runner} --db e.db tick")
    );
    assert!(
        lines[1].contains(" tasks completed")
            && lines[1].ends_with(&format!("; next: {runner} --db e.db status")),
        "{shown}"
    );
    assert_eq!(lines.len(), 2, "{shown}");
    let again = on_a_terminal(&home, &format!("{runner} --db e.db tick")).unwrap();
    assert!(again.starts_with("nothing was due; next: "), "{again}");
}

#[test]
fn on_a_terminal_too_a_tick_is_silent_when_it_is_told_to_be() {
    let home = Home::new();
    let runner = env!("CARGO_BIN_EXE_runner");
    let shown = on_a_terminal(&home, &format!("{runner} -q tick"));
    assert_eq!(shown.unwrap_or_default(), "");
}

#[test]
fn who_attaches_a_timer_to_many_documents_is_asked_first_and_sees_how_many_they_are() {
    let home = Home::new();
    home.timer("t", &["delay=1d, state=late"]);
    for _ in 0..2 {
        home.ok(["doc", "add", "--family", "F"]);
    }
    let runner = env!("CARGO_BIN_EXE_runner");
    let attach = format!("{runner} timer attach t --family F");
    let Some(shown) = on_a_terminal(&home, &attach) else {
        return;
    };
    assert!(
        shown.contains("attach 't' to 2 documents? [y/N]"),
        "{shown}"
    );
    assert_eq!(home.json(["timer", "next"]), serde_json::json!([]));
    let shown = on_a_terminal(&home, &format!("{attach} --yes")).unwrap();
    let next = format!("2 attached; next: {runner} --db runner.db timer next");
    assert_eq!(shown.lines().collect::<Vec<_>>(), ["1", "2", &next]);
}

#[test]
fn a_list_can_be_read_on_a_terminal_that_does_not_know_its_size() {
    let home = Home::new();
    home.ok(["task", "add", "--signature", "about:this", "--", "true"]);
    let runner = env!("CARGO_BIN_EXE_runner");
    let list = format!("stty cols 0; {runner} task list");
    let Some(shown) = on_a_terminal(&home, &list) else {
        return;
    };
    assert!(shown.contains("TO_RUN  true    about:this"), "{shown}");
}
