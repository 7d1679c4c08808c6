//! The plans of the statements that every tick runs: what it costs follows what is due, not what is stored.
use crate::kit::runner::Home;
use runner::store::Store;
use runner::store::due::{ANYTHING_DUE, NEXT_DUE};

/// An index that was named by mistake, for a condition that it cannot serve, would be an error and no plan at all.
#[test]
fn a_tick_looks_at_the_first_entries_of_partial_indexes_alone_to_see_whether_anything_is_due() {
    let home = Home::new();
    let plan = Store::open(&home.db()).unwrap().plan(ANYTHING_DUE).unwrap();
    for index in [
        "task_running",
        "task_ready",
        "task_deferred (run_at<?)",
        "mail_sending",
        "mail_queued",
        "attachment_needs_reschedule",
        "attachment_due (due_at<?)",
    ] {
        assert!(plan.contains(&format!("INDEX {index}")), "{index}\n{plan}");
    }
    let scanned: Vec<&str> = plan
        .lines()
        .filter(|step| step.starts_with("SCAN") && !step.contains("INDEX"))
        .collect();
    assert_eq!(scanned, ["SCAN CONSTANT ROW", "SCAN worker"]);
}

#[test]
fn what_is_due_next_is_the_first_entry_of_an_index() {
    let home = Home::new();
    let plan = Store::open(&home.db()).unwrap().plan(NEXT_DUE).unwrap();
    for step in [
        "SEARCH task USING COVERING INDEX task_deferred",
        "SEARCH mail USING COVERING INDEX mail_queued",
        "SEARCH attachment USING COVERING INDEX attachment_due",
    ] {
        assert!(plan.contains(step), "{step}\n{plan}");
    }
}
