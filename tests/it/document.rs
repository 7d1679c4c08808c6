//! Documents as their users meet them.

use crate::kit::runner::Home;
use serde_json::json;

#[test]
fn a_document_is_added_and_shown_by_id_or_key() {
    let home = Home::new().at("2026-04-10T09:00");
    let id = home.ok([
        "doc",
        "add",
        "--key",
        "report-7",
        "--family",
        "report",
        "--title",
        "Annual report",
        "--state",
        "draft",
        "-a",
        "deadline=2026-04-25",
        "-a",
        "pages:=12",
    ]);
    let document = home.json(["doc", "show", "report-7"]);
    assert_eq!(
        document,
        json!({
            "id": 1, "key": "report-7", "family": "report", "title": "Annual report", "state": "draft",
            "attributes": {"deadline": "2026-04-25", "pages": 12},
            "created_at": "2026-04-10T09:00:00Z", "updated_at": "2026-04-10T09:00:00Z", "timers": []
        })
    );
    assert_eq!(home.shown(&id), document);
}

#[test]
fn attributes_are_set_and_cleared_and_the_others_kept_as_they_are() {
    let mut home = Home::new().at("2026-04-10T09:00");
    let attributes = r#"{"big": 12345678901234567890123, "a": 1.50, "b": "x", "c": null}"#;
    let doc = home.ok(["doc", "add", "--attributes", attributes]);
    home.set_now("2026-04-11T09:00");
    assert_eq!(
        home.ok(["doc", "set", &doc, "b=", "c:=[1]", "d=text", "none="]),
        ""
    );
    let stored: String = home.sql_value("SELECT attributes FROM document");
    assert_eq!(
        stored,
        r#"{"big":12345678901234567890123,"a":1.50,"c":[1],"d":"text"}"#
    );
    assert_eq!(home.shown(&doc)["updated_at"], "2026-04-11T09:00:00Z");
    home.set_now("2026-04-12T09:00");
    home.ok(["doc", "set", &doc, "d=text"]);
    assert_eq!(
        home.shown(&doc)["updated_at"],
        "2026-04-11T09:00:00Z",
        "nothing changed"
    );
    home.ok(["doc", "set", &doc, "--title", "T", "--family", "F"]);
    let shown = home.shown(&doc);
    assert_eq!(
        (&shown["title"], &shown["family"]),
        (&json!("T"), &json!("F"))
    );
}

#[test]
fn each_change_of_state_is_in_the_history_whoever_makes_it() {
    let home = Home::new().at("2026-04-10T09:00");
    let doc = home.document("A", "");
    home.ok(["doc", "state", &doc, "late"]);
    home.ok(["doc", "state", &doc, "late"]);
    home.sql("UPDATE document SET state = 'open'; UPDATE document SET title = 'B'");
    assert_eq!(
        home.messages(&doc),
        ["state: open → late", "state: late → open"]
    );
    assert_eq!(
        home.json(["doc", "history", &doc])[0]["at"],
        "2026-04-10T09:00:00Z"
    );
}

#[test]
fn documents_are_listed_by_family_state_and_title() {
    let home = Home::new();
    for (family, title, state) in [
        ("report", "Annual report", "open"),
        ("report", "Weekly report", "late"),
        ("minutes", "100% done", "open"),
        ("letter", "Straße d'été", "sent"),
    ] {
        home.ok([
            "doc", "add", "--family", family, "--title", title, "--state", state,
        ]);
    }
    for (options, ids) in [
        (&[][..], vec![1, 2, 3, 4]),
        (&["--family", "report"], vec![1, 2]),
        (&["--state", "open"], vec![1, 3]),
        (&["--match", "REPORT"], vec![1, 2]),
        (&["--match", "%"], vec![3]),
        (&["--match", "ÉTÉ"], vec![4]),
        (&["--match", "STRASSE"], vec![4]),
        (&["--family", "report", "--state", "late"], vec![2]),
        (&["--limit", "1"], vec![1]),
        (&["--family", "none"], vec![]),
    ] {
        let listed = home.json(["doc", "list"].iter().chain(options).copied());
        let listed: Vec<_> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|document| document["id"].clone())
            .collect();
        assert_eq!(listed, ids, "{options:?}");
    }
}

#[test]
fn only_digits_are_an_id_and_anything_else_is_a_key() {
    let home = Home::new();
    let first = home.ok(["doc", "add", "--title", "first"]);
    for key in ["+1", "-1", "1a", "٣"] {
        let id = home.ok(["doc", "add", &format!("--key={key}")]);
        assert_eq!(home.json(["doc", "show", "--", key])["id"].to_string(), id);
    }
    home.ok(["doc", "delete", "+1"]);
    assert_eq!(home.shown(&first)["title"], "first");
}

#[test]
fn an_attribute_that_is_given_an_empty_value_is_left_out() {
    let home = Home::new();
    let all = r#"{"b": "", "c": 1, "d": 2}"#;
    home.ok([
        "doc",
        "add",
        "-a",
        "a=",
        "-a",
        "d=",
        "-a",
        "e=5",
        "--attributes",
        all,
    ]);
    assert_eq!(
        home.shown("1")["attributes"],
        json!({"b": "", "c": 1, "e": "5"})
    );
}

#[test]
fn of_two_attributes_with_one_name_the_last_is_the_one() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer_with("t", &["--reference", "d"], &["state=late"]);
    home.sql(
        r#"INSERT INTO document (attributes) VALUES ('{"d": "2026-05-01", "d": "2027-01-01"}')"#,
    );
    home.ok(["timer", "attach", "t", "1"]);
    assert_eq!(home.due("1"), "2027-01-01T00:00:00Z");
    home.sql(r#"UPDATE document SET attributes = '{"d": "2026-05-01", "d": "2027-02-01"}'"#);
    assert_eq!(home.due("1"), "2027-02-01T00:00:00Z");
    home.ok(["doc", "set", "1", "d=2027-03-01"]);
    assert_eq!(home.due("1"), "2027-03-01T00:00:00Z");
    assert_eq!(
        home.sql_value::<String>("SELECT attributes FROM document"),
        r#"{"d":"2027-03-01"}"#
    );
}

#[test]
fn a_document_is_deleted_with_its_history_and_its_timers() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["delay=1d, state=late"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    home.ok(["doc", "delete", &doc]);
    home.refused(["doc", "show", &doc]);
    assert_eq!(home.json(["timer", "next"]), json!([]));
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM history"), 0);
    assert_ne!(home.document("B", ""), doc, "an id is never used again");
}

#[test]
fn title_family_and_key_are_changed_and_the_attributes_kept() {
    let home = Home::new();
    home.ok(["doc", "add", "--key", "old", "-a", "a=1"]);
    home.ok(["doc", "add", "--key", "taken"]);
    home.ok([
        "doc", "set", "old", "--title", "T", "--family", "F", "--key", "new", "b=2",
    ]);
    let shown = home.shown("new");
    assert_eq!(
        (&shown["id"], &shown["title"], &shown["family"]),
        (&json!(1), &json!("T"), &json!("F"))
    );
    assert_eq!(shown["attributes"], json!({"a": "1", "b": "2"}));
    home.ok(["doc", "set", "new", "--key", "new", "--title", ""]);
    for (key, reason) in [
        ("taken", "the key 'taken': another document has it"),
        ("7", "it has only digits"),
        ("", "it is empty"),
    ] {
        let refused = home.refused(["doc", "set", "new", "--key", key, "--title", "X"]);
        assert!(refused.contains(reason), "{refused}");
        assert_eq!(home.shown("new")["title"], "");
    }
}

#[test]
fn a_batch_of_documents_is_added_whole() {
    let home = Home::new().at("2026-04-10T09:00");
    let lines = [
        r#"{"key": "a", "family": "F", "title": "T", "state": "open", "attributes": {"n": 1.50}}"#,
        "",
        "{}",
    ];
    home.write("docs.jsonl", lines.join("\n"));
    assert_eq!(home.ok(["doc", "add", "--batch", "docs.jsonl"]), "1\n2");
    let input = r#"{"key": "c"}"#;
    let added = home.run_with_input(["--json", "doc", "add", "--batch", "-"], input);
    assert_eq!(added.json(), json!({"ids": [3]}));
    let shown = home.shown("a");
    assert_eq!(
        (&shown["family"], &shown["title"], &shown["state"]),
        (&json!("F"), &json!("T"), &json!("open"))
    );
    assert_eq!(shown["created_at"], "2026-04-10T09:00:00Z");
    assert_eq!(home.shown("2")["attributes"], json!({}));
    let stored: String = home.sql_value("SELECT attributes FROM document WHERE id = 1");
    assert_eq!(stored, r#"{"n": 1.50}"#);
}

#[test]
fn a_batch_with_one_wrong_document_adds_none() {
    let home = Home::new();
    home.ok(["doc", "add", "--key", "taken"]);
    for (line, reason) in [
        (
            r#"{"key": "taken"}"#,
            "the key 'taken': another document has it",
        ),
        (
            r#"{"key": "first"}"#,
            "the key 'first': another document has it",
        ),
        (r#"{"key": "7"}"#, "the key '7': it has only digits"),
        (r#"{"title": 7}"#, "no document: title: invalid type"),
        (
            r#"{"colour": "red"}"#,
            "no document: unknown field `colour`",
        ),
        (
            r#"{"attributes": []}"#,
            "attributes: they are a JSON object",
        ),
        ("[]", "no document: it should be a JSON object"),
        ("{", "no document: "),
    ] {
        home.write("docs.jsonl", format!("{{\"key\": \"first\"}}\n{line}\n"));
        let refused = home.refused(["doc", "add", "--batch", "docs.jsonl"]);
        let expected = format!("docs.jsonl line 2: {reason}");
        assert!(refused.contains(&expected), "{expected}\n{refused}");
        assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM document"), 1);
    }
    for arguments in [
        &["--batch", "docs.jsonl", "--title", "T"][..],
        &["--batch", "docs.jsonl", "-a", "a=1"],
    ] {
        let answer = home.run(["doc", "add"].iter().chain(arguments));
        assert_eq!(answer.code(), 2, "{}", answer.all());
    }
}

#[test]
fn documents_are_listed_by_attributes_as_text_or_as_json() {
    let home = Home::new().at("2026-04-10T09:00");
    for attributes in [
        r#"{"n": 1, "who": "ada", "day": "2026-04-25", "list": [1, {"a": 2, "b": 3}]}"#,
        r#"{"n": "1", "who": "grace", "ok": true}"#,
        r#"{"n": 1.50, "who": "Ada", "none": null}"#,
        r#"{"n": 2, "n": 1, "who": "é", "empty": ""}"#,
    ] {
        home.ok(["doc", "add", "--family", "F", "--attributes", attributes]);
    }
    for (options, ids) in [
        (&["-a", "n=1"][..], vec![1, 2, 4]),
        (&["-a", "n:=1"], vec![1, 4]),
        (&["-a", "n:=\"1\""], vec![2]),
        (&["-a", "n=1.50"], vec![3]),
        (&["-a", "n:=1.5"], vec![3]),
        (&["-a", "who=ada"], vec![1]),
        (&["-a", "who=é"], vec![4]),
        (&["-a", "ok=true"], vec![2]),
        (&["-a", "ok:=true"], vec![2]),
        (&["-a", "ok=1"], vec![]),
        (&["-a", "list:=[1, {\"b\": 3, \"a\": 2}]"], vec![1]),
        (&["-a", "day@=+15d"], vec![1]),
        (&["-a", "none:=null"], vec![3]),
        (&["-a", "empty=", "-a", "n=1"], vec![1, 2, 4]),
        (&["-a", "n=1", "-a", "who=grace"], vec![2]),
        (&["-a", "n=1", "--limit", "2"], vec![1, 2]),
        (&["-a", "n=1", "--family", "G"], vec![]),
        (&["-a", "no=1"], vec![]),
    ] {
        let listed = home.json(["doc", "list"].iter().chain(options).copied());
        let listed = listed.as_array().unwrap().iter();
        let listed: Vec<_> = listed.map(|document| &document["id"]).collect();
        assert_eq!(listed, ids, "{options:?}");
    }
    assert_eq!(home.run(["doc", "list", "-a", "n"]).code(), 2);
}
