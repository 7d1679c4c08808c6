use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use super::{Action, Limit};
use crate::time::Duration;

fn read(text: &str) -> Result<Action, String> {
    text.parse()
        .map_err(|error: crate::error::Error| error.to_string())
}

#[test]
fn an_action_is_written_as_keys_and_values() {
    let action =
        |delay: &str, iterations, state: Option<&str>, mail: &[&str], method: Option<&str>| {
            Action {
                delay: delay.parse().unwrap(),
                iterations,
                limit: None,
                state: state.map(str::to_owned),
                mail: mail.iter().map(|&name| name.to_owned()).collect(),
                method: method.map(str::to_owned),
                params: None,
            }
        };
    for (text, expected) in [
        (
            "delay=5d, iterations=3, state=S, mail=T, method=M",
            action("5d", 3, Some("S"), &["T"], Some("M")),
        ),
        ("state=late", action("0", 1, Some("late"), &[], None)),
        (
            " method = Doc:archive ,delay=-5d",
            action("-5d", 1, None, &[], Some("Doc:archive")),
        ),
        (
            "mail=to the author, mail=to the reader",
            action("0", 1, None, &["to the author", "to the reader"], None),
        ),
        (
            r#"delay="1mo 3d", state="not valid, \"late\" \\ lost ""#,
            action("1mo 3d", 1, Some(r#"not valid, "late" \ lost "#), &[], None),
        ),
        (r#"state="""#, action("0", 1, Some(""), &[], None)),
    ] {
        assert_eq!(read(text).as_ref(), Ok(&expected), "{text}");
    }
}

#[test]
fn what_is_no_action_is_refused_with_a_sentence() {
    for (text, sentence) in [
        ("", "it has nothing to do"),
        ("late", "'late' should be key=value"),
        ("state=late,", "it has nothing to do"),
        ("state=", "state= has no value"),
        ("state=a, state=b", "state= stands there twice"),
        ("state=\"a", "a quote that is not closed"),
        ("state=\"a\\", "a quote that is not closed"),
        ("state=\"a\" b", "after a closing quote"),
        ("colour=red", "there is no colour="),
        ("method=M, params={}", "params= is for the JSON form"),
        ("iterations=many", "iterations=many is not a whole number"),
        ("iterations=-1", "iterations=-1 is not a whole number"),
        ("delay=soon", "duration \"soon\""),
        ("limit=0", "limit=0: '0' must be longer than nothing"),
        ("limit=soon", "limit=soon: duration \"soon\""),
    ] {
        let refused = read(text).unwrap_err();
        assert!(refused.contains(sentence), "{text}: {refused}");
    }
}

pub(crate) fn actions() -> impl Strategy<Value = Action> {
    let text = || "[ -~é→]{0,12}";
    (
        (-1000..1000_i64, 1..50_u32),
        prop::option::of(prop_oneof![
            Just(Limit::None),
            (1..1000_i64).prop_map(|hours| Limit::Within(Duration::new(0, 0, hours * 3600)))
        ]),
        prop::option::of(text()),
        prop::collection::vec(text(), 0..3),
        prop::option::of(text()),
    )
        .prop_map(|((hours, iterations), limit, state, mail, method)| Action {
            delay: Duration::new(0, 0, hours * 3600),
            iterations,
            limit,
            state,
            mail,
            method,
            params: None,
        })
}

proptest! {
    #[test]
    fn an_action_is_read_back_as_it_is_shown(action in actions()) {
        prop_assert_eq!(read(&action.to_string()), Ok(action));
    }

    #[test]
    fn reading_anything_never_panics(text in any::<String>()) {
        let _ = read(&text);
    }
}
