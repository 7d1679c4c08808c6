//! A timer that is attached to many documents at once.

use crate::kit::runner::Home;
use serde_json::json;

/// Four documents, three of them of one family, and a timer.
fn home() -> Home {
    let home = Home::new().at("2026-04-10T09:00");
    for (family, state, copies) in [
        ("invoice", "open", "1"),
        ("invoice", "paid", "1"),
        ("invoice", "open", "2"),
        ("letter", "open", "1"),
    ] {
        let copies = format!("copies:={copies}");
        home.ok([
            "doc", "add", "--family", family, "--state", state, "-a", &copies,
        ]);
    }
    home.timer("dunning", &["delay=1d, state=late"]);
    home
}

fn attached(home: &Home) -> Vec<i64> {
    let next = home.json(["timer", "next"]);
    let mut documents: Vec<i64> = next
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["document"].as_i64().unwrap())
        .collect();
    documents.sort_unstable();
    documents
}

#[test]
fn it_is_attached_to_all_of_a_family_a_state_and_attributes() {
    for (options, ids, documents) in [
        (&["--family", "invoice"][..], "1\n2\n3", vec![1, 2, 3]),
        (
            &["--family", "invoice", "--state", "open"],
            "1\n2",
            vec![1, 3],
        ),
        (
            &["--family", "invoice", "-a", "copies=1"],
            "1\n2",
            vec![1, 2],
        ),
        (
            &["--family", "invoice", "--state", "open", "-a", "copies:=2"],
            "1",
            vec![3],
        ),
        (&["--family", "none"], "", vec![]),
    ] {
        let home = home();
        let printed = home.ok(["timer", "attach", "dunning"].iter().chain(options));
        assert_eq!(
            (printed.as_str(), attached(&home)),
            (ids, documents),
            "{options:?}"
        );
    }
    let home = home();
    let many = [
        "timer", "attach", "dunning", "--family", "invoice", "--origin", "o",
    ];
    assert_eq!(home.json(many), json!({"ids": [1, 2, 3]}));
    assert_eq!(home.json(["timer", "next"])[2]["origin"], "o");
}

#[test]
fn those_that_have_it_are_left_alone_unless_they_are_reset() {
    let home = home();
    home.ok([
        "timer",
        "attach",
        "dunning",
        "2",
        "--reference",
        "2026-05-01",
    ]);
    let many = ["timer", "attach", "dunning", "--family", "invoice"];
    assert_eq!(home.ok(many), "2\n3");
    assert_eq!(home.due("2"), "2026-05-02T00:00:00Z");
    assert_eq!(home.json(many), json!({"ids": []}));
    let over = ["--reset", "--reference", "+1d"];
    assert_eq!(home.ok(many.iter().chain(&over)), "4\n5\n6");
    assert_eq!(home.due("2"), "2026-04-12T09:00:00Z");
}

#[test]
fn of_a_timer_that_is_bound_to_states_only_documents_in_those_count() {
    let home = home();
    home.timer_with("t", &["--while-state", "open"], &["delay=1d, state=late"]);
    assert_eq!(
        home.ok(["timer", "attach", "t", "--family", "invoice"]),
        "1\n2"
    );
    assert_eq!(attached(&home), [1, 3]);
}

#[test]
fn one_that_cannot_be_attached_leaves_all_as_they_are() {
    let home = home();
    home.timer_with("t", &["--reference", "day"], &["delay=200y, state=late"]);
    home.ok(["doc", "set", "1", "day=2026-05-01"]);
    home.ok(["doc", "set", "3", "day=9900-05-01"]);
    let refused = home.refused(["timer", "attach", "t", "--family", "invoice"]);
    assert!(refused.contains("document 3: "), "{refused}");
    assert_eq!(home.json(["timer", "next"]), json!([]));
    home.refused(["timer", "attach", "none", "--family", "invoice"]);
}

#[test]
fn a_document_or_a_family_is_named_and_not_both() {
    let home = home();
    for options in [
        &["dunning"][..],
        &["dunning", "1", "--family", "invoice"],
        &["dunning", "1", "--state", "open"],
        &["dunning", "1", "-a", "copies=1"],
        &["dunning", "--state", "open"],
        &["dunning", "--family", "invoice", "-a", "copies"],
    ] {
        let answer = home.run(["timer", "attach"].iter().chain(options));
        assert_eq!(answer.code(), 2, "{options:?}");
    }
}
