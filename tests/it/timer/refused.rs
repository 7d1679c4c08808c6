//! What documents and timers cannot be: refused with a sentence, and nothing is changed.

use crate::kit::runner::Home;
use serde_json::json;

#[test]
fn durations_and_numbers_that_are_none_are_wrong_usage() {
    let home = Home::new();
    for (options, sentence) in [
        (&["--action", "delay=soon"][..], "duration \"soon\""),
        (&["--action", "delay=1.5d"], "it should be whole numbers"),
        (
            &["--action", "delay=99999999999d"],
            "duration \"99999999999d\": it is longer than 200 years",
        ),
        (&["--action", "iterations=many"], "is not a whole number"),
        (&["--action", ""], "it has nothing to do"),
        (
            &["--delta", "-201y", "--action", "state=a"],
            "--delta: duration \"-201y\": it is longer than 200 years",
        ),
        (
            &["--delta", "later", "--action", "state=a"],
            "--delta: duration \"later\"",
        ),
    ] {
        let answer = home.run(["timer", "set", "t"].iter().chain(options));
        assert_eq!((answer.code(), answer.err().lines().count()), (2, 1));
        assert!(answer.err().contains(sentence), "{}", answer.all());
    }
    assert_eq!(home.json(["timer", "list"]), json!([]));
}

#[test]
fn definitions_that_cannot_be_are_refused() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "true");
    for (options, sentence) in [
        (&["--action", "delay=1d"][..], "it has nothing to do"),
        (
            &["--action", "iterations=0, state=a"],
            "0 iterations would never happen",
        ),
        (
            &["--action", "delay=-1d, iterations=2, state=a"],
            "it can be iterated only once",
        ),
        (&["--action", "method=Doc:nota"], "did you mean Doc:note?"),
        (&["--action", "mail=reminder"], "no template 'reminder'"),
        (
            &["--reference", "a\"b", "--action", "state=a"],
            "cannot be looked for",
        ),
        (
            &["--reference", "", "--action", "state=a"],
            "an attribute needs a name",
        ),
        (&["--from", "/nowhere/t.json"], "no such file"),
    ] {
        let refused = home.refused(["timer", "set", "t"].iter().chain(options));
        assert!(refused.contains(sentence), "{options:?}: {refused}");
        assert_eq!(home.json(["timer", "list"]), json!([]));
    }
}

#[test]
fn json_that_is_no_definition_is_told_what_it_should_be() {
    let home = Home::new().at("2026-04-10T09:00");
    for (given, sentence) in [
        (
            r#"["n","t",null,"0",[["1d",1,"s",[],null]]]"#,
            "it should be a JSON object",
        ),
        ("{}", "missing field `actions`"),
        (
            r#"{"actions": null}"#,
            "invalid type: null, expected a sequence at column 16",
        ),
        (
            r#"{"actions": [{"state": 1}]}"#,
            "invalid type: integer `1`, expected a string at column 24",
        ),
        (
            r#"{"actions": [{"delay": 5, "state": "a"}]}"#,
            "invalid type: integer `5`, expected a string at column 24",
        ),
        (
            r#"{"actions": [{"delay": "soon", "state": "a"}]}"#,
            "duration \"soon\": it should be whole numbers",
        ),
        (
            r#"{"actions": [{"iterations": "3", "state": "a"}]}"#,
            "invalid type: string \"3\", expected u32 at column 31",
        ),
        (
            r#"{"actions": [{"iterations": 1.5, "state": "a"}]}"#,
            "invalid type: floating point `1.5`, expected u32",
        ),
        (
            r#"{"actions": [{"mail": "T"}]}"#,
            "invalid type: string \"T\", expected a sequence",
        ),
        (
            r#"{"actions": [{"colour": "red"}]}"#,
            "unknown field `colour`, expected one of `delay`, `iterations`",
        ),
        (
            r#"{"title": null, "actions": []}"#,
            "invalid type: null, expected a string at column 14",
        ),
        (r#"{"delta": "later", "actions": []}"#, "duration \"later\""),
        (
            r#"{"actions": [], "actions": []}"#,
            "duplicate field `actions`",
        ),
        ("soon", "this is not JSON"),
        ("[]", "it should be a JSON object"),
        ("{soon", "key must be a string at column 2"),
    ] {
        let answer = home.run_with_input(["timer", "set", "t", "--from", "-"], given);
        let refused = answer.refused();
        assert!(refused.contains(sentence), "{given}: {refused}");
    }
    assert_eq!(home.json(["timer", "list"]), json!([]));
}

#[test]
fn a_definition_brings_its_name_along() {
    let home = Home::new().at("2026-04-10T09:00");
    let given = r#"{"name": "mine", "actions": [{"state": "a"}]}"#;
    home.run_with_input(["timer", "set", "--from", "-"], given)
        .ok();
    home.run_with_input(["timer", "set", "copy", "--from", "-"], given)
        .ok();
    let names = home.json(["timer", "list"]);
    let names: Vec<_> = names
        .as_array()
        .unwrap()
        .iter()
        .map(|timer| &timer["name"])
        .collect();
    assert_eq!(names, ["copy", "mine"]);
    let nameless = home.run_with_input(
        ["timer", "set", "--from", "-"],
        r#"{"actions": [{"state": "a"}]}"#,
    );
    assert_eq!(nameless.code(), 2);
    let why = nameless.err();
    assert!(why.contains("the definition has no name"), "{why}");
}

#[test]
fn what_is_for_all_timers_of_a_document_is_not_for_one() {
    let home = Home::new().at("2026-04-10T09:00");
    for arguments in [
        &["detach", "t", "1", "--origin", "o"][..],
        &["detach", "--match", "A", "--origin", "o"],
        &["detach", "--match", ""],
    ] {
        let answer = home.run(["timer"].iter().chain(arguments));
        assert_eq!(
            (answer.code(), answer.out()),
            (2, String::new()),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_refused_definition_leaves_the_one_before_it() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["state=a"]);
    let before = home.json(["timer", "show", "t"]);
    home.refused(["timer", "set", "t", "--action", "method=none"]);
    assert_eq!(home.json(["timer", "show", "t"]), before);
}

#[test]
fn attachments_that_cannot_be_are_refused() {
    let home = Home::new().at("2026-04-10T09:00");
    home.timer("t", &["delay=100y, state=a"]);
    let doc = home.document("A", "2026-04-25");
    for (arguments, sentence) in [
        (
            &["nobody", "1"][..],
            "no timer 'nobody': 'runner timer list' shows them",
        ),
        (&["t", "7"], "no document 7"),
        (&["t", "report"], "no document report"),
        (
            &["t", "1", "--reference", "9900-04-10"],
            "outside the years 0000 to 9999",
        ),
    ] {
        let refused = home.refused(["timer", "attach"].iter().chain(arguments));
        assert!(refused.contains(sentence), "{arguments:?}: {refused}");
        assert_eq!(home.shown(&doc)["timers"], json!([]));
        assert_eq!(home.messages(&doc), [""; 0]);
    }
}

#[test]
fn documents_that_cannot_be_are_refused() {
    let home = Home::new();
    home.ok(["doc", "add", "--key", "report-7"]);
    for (arguments, sentence) in [
        (
            &["add", "--key", "7"][..],
            "it has only digits, as ids have",
        ),
        (&["add", "--key", ""], "it is empty"),
        (&["add", "--key", "report-7"], "another document has it"),
        (&["add", "-a", "a\"b=c"], "cannot be looked for"),
        (&["add", "--attributes", "[1]"], "they are a JSON object"),
        (&["set", "report-8", "a=b"], "no document report-8"),
        (&["state", "8", "late"], "no document 8"),
        (&["show", "8"], "'runner doc list' shows them"),
        (&["history", "8"], "no document 8"),
        (&["delete", "8"], "no document 8"),
    ] {
        let refused = home.refused(["doc"].iter().chain(arguments));
        assert!(refused.contains(sentence), "{arguments:?}: {refused}");
    }
    let wrong = home.run(["doc", "add", "-a", "a:=b"]);
    assert_eq!(wrong.code(), 2);
    assert!(wrong.err().contains("this is not JSON"), "{}", wrong.err());
    assert_eq!(home.json(["doc", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn what_is_in_use_is_not_removed() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("Doc:note", "true");
    home.timer("t", &["method=Doc:note"]);
    let doc = home.document("A", "");
    home.ok(["timer", "attach", "t", &doc]);
    let method = home.refused(["method", "remove", "Doc:note"]);
    assert!(method.contains("the timer 't' runs it"), "{method}");
    let timer = home.refused(["timer", "remove", "t"]);
    assert!(timer.contains("--force detaches it first"), "{timer}");
    home.ok(["timer", "remove", "t", "--force"]);
    home.ok(["method", "remove", "Doc:note"]);
    assert_eq!(home.messages(&doc), ["timer attached", "timer detached"]);
}

#[test]
fn a_definition_is_taken_as_json_from_a_file_and_from_standard_input() {
    let home = Home::new();
    let json = r#"{"name": "t", "actions": [{"state": "late"}]}"#;
    let file = home.write("t.json", json);
    let file = file.to_str().unwrap();
    for from in [json, file, &format!("@{file}")] {
        home.ok(["timer", "set", "--from", from]);
        home.ok(["timer", "remove", "t"]);
    }
}

#[test]
fn a_value_with_a_minus_is_named_with_its_option() {
    let home = Home::new();
    home.method("m", "true");
    for (command, option, value) in [
        (&["task", "add", "m"][..], "--at", "-1x"),
        (&["task", "add", "m"], "--retries", "-1"),
        (&["task", "add", "m"], "--priority", "-x"),
        (&["task", "list"], "--limit", "-1"),
        (&["task", "list"], "--since", "-1x"),
        (&["task", "list"], "--until", "-1x"),
        (&["rehearse"], "--until", "-1x"),
    ] {
        let answer = home.run(command.iter().chain(&[option, value]));
        assert_eq!(answer.code(), 2, "{command:?} {option}: {}", answer.err());
        let named = answer.err().contains(option) && answer.err().contains(value);
        assert!(named, "{command:?} {option}: {}", answer.err());
        assert!(!answer.err().contains("unexpected"), "{}", answer.err());
    }
}
