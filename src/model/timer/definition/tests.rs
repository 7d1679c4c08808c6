use proptest::prelude::{Strategy, prop, prop_assert_eq, proptest};

use super::{Definition, Timer};
use crate::json::read_object;
use crate::model::timer::action::tests::actions;
use crate::time::Duration;

fn definition(json: &str) -> Result<Timer, String> {
    let definition: Definition = serde_json::from_str(json).map_err(|error| error.to_string())?;
    Timer::new(definition).map_err(|error| error.to_string())
}

#[test]
fn what_json_leaves_out_has_its_default() {
    let timer = definition(r#"{"name": "t", "actions": [{"state": "late"}]}"#).unwrap();
    assert_eq!(timer.levels(), 1);
    let (_, action) = timer.level(0).unwrap();
    assert_eq!((action.delay, action.iterations), (Duration::ZERO, 1));
    assert_eq!(timer.definition.delta, Duration::ZERO);
}

#[test]
fn definitions_that_cannot_be_are_refused_with_a_sentence() {
    for (json, sentence) in [
        (
            r#"{"name": "", "actions": [{"state": "s"}]}"#,
            "a timer needs a name",
        ),
        (r#"{"name": "t", "actions": []}"#, "at least one action"),
        (
            r#"{"name": "t", "actions": [{}]}"#,
            "action 1: it has nothing to do",
        ),
        (
            r#"{"name": "t", "actions": [{"state": "s"}, {"mail": [""]}]}"#,
            "action 2: a mail or a method needs a name",
        ),
        (
            r#"{"name": "t", "actions": [{"state": "s", "params": {"a": 1}}]}"#,
            "action 1: it has params and no method",
        ),
        (
            r#"{"name": "t", "reference": "a\"b", "actions": [{"state": "s"}]}"#,
            "the attribute 'a\"b' cannot be looked for",
        ),
        (
            r#"{"name": "t", "actions": [{"state": "s", "iterations": 0}]}"#,
            "action 1: 0 iterations would never happen",
        ),
        (
            r#"{"name": "t", "actions": [{"state": "s", "delay": "-1d", "iterations": 2}]}"#,
            "can be iterated only once",
        ),
        (
            r#"{"name": "t", "actions": [{"state": "s", "delay": "soon"}]}"#,
            "duration \"soon\"",
        ),
        (
            r#"{"name": "t", "actions": [{"states": "s"}]}"#,
            "unknown field `states`",
        ),
    ] {
        let refused = definition(json).unwrap_err();
        assert!(refused.contains(sentence), "{json}: {refused}");
    }
}

fn definitions() -> impl Strategy<Value = Definition> {
    (
        "[ -~é]{0,12}",
        prop::option::of("[a-z_é ]{1,9}"),
        -400..400_i64,
        prop::collection::vec(actions(), 0..4),
    )
        .prop_map(|(title, reference, days, actions)| Definition {
            name: "t".to_owned(),
            title,
            reference,
            delta: Duration::new(0, days, 0),
            family: None,
            while_state: Vec::new(),
            actions,
        })
}

proptest! {
    #[test]
    fn a_definition_is_read_back_as_json_shows_it(definition in definitions()) {
        let json = serde_json::to_string(&definition).unwrap();
        prop_assert_eq!(serde_json::from_str::<Definition>(&json).unwrap(), definition);
    }

    #[test]
    fn no_text_makes_reading_panic_and_what_is_read_makes_a_timer_or_a_sentence(
        text in r#"[\[{]?("(name|title|delta|reference|actions|delay|iterations|mail)"|[\[\]{}:,0-9]|"[a-z0-9 -]{0,6}"|null){0,24}"#,
    ) {
        if let Ok(definition) = read_object::<Definition>(&text) {
            let _ = Timer::new(definition);
        }
    }
}
