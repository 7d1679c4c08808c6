//! Mail addresses and lists of them.

use lettre::message::Mailbox;

/// Reads one address, with or without a display name: `ann@example.org`, `Ann <ann@example.org>`, `"Doe, Ann" <…>`.
///
/// Refused is what a header could not carry, a control character anywhere, and a local part that starts with `-`, which
/// a mail program would take for an option.
pub(crate) fn parse(text: &str) -> Result<Mailbox, String> {
    refuse_controls(text)?;
    let refused = |reason: &str| format!("address {text:?}: {reason}");
    let mailbox: Mailbox = text.parse().map_err(|_| {
        let one = "it must look like ann@example.org or Ann <ann@example.org>, with quotes around a name that has a sign like , or @";
        let is_list = split(text).count() > 1 && split(text).all(|item| parse(item).is_ok());
        refused(if is_list { "there can be only one here" } else { one })
    })?;
    if mailbox.email.user().starts_with('-') {
        return Err(refused(
            "it starts with “-”, as an option of a mail program does",
        ));
    }
    Ok(mailbox)
}

/// Reads addresses with commas between them; none at all is an empty list.
pub(crate) fn parse_list(text: &str) -> Result<Vec<Mailbox>, String> {
    refuse_controls(text)?;
    split(text).map(parse).collect()
}

fn refuse_controls(text: &str) -> Result<(), String> {
    if text.contains(char::is_control) {
        return Err(format!("address {text:?}: it holds a control character"));
    }
    Ok(())
}

/// The items between the commas of a list, without the blanks around them and without empty ones. A comma between quotes,
/// or within a `{{…}}` or `{%…%}` of a template, separates nothing.
pub(super) fn split(list: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped, mut braces) = (false, false, 0_u32);
    let mut previous = ' ';
    let is_separator = move |letter: char| {
        match (previous, letter) {
            _ if escaped => {}
            ('{', '{' | '%') => braces += 1,
            ('}' | '%', '}') => braces = braces.saturating_sub(1),
            (_, '"') if braces == 0 => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && letter == '\\' && !escaped;
        previous = letter;
        letter == ',' && !quoted && braces == 0
    };
    list.split(is_separator)
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{parse, parse_list, split};

    #[test]
    fn an_address_may_have_a_name() {
        for (text, name, email) in [
            ("ann@example.org", None, "ann@example.org"),
            (" <ann@example.org> ", None, "ann@example.org"),
            ("Ann <ann@example.org>", Some("Ann"), "ann@example.org"),
            (
                "Élodie Durand <e@example.org>",
                Some("Élodie Durand"),
                "e@example.org",
            ),
            (
                r#""Doe, \"J\" <x@y>" <j@example.org>"#,
                Some(r#"Doe, "J" <x@y>"#),
                "j@example.org",
            ),
            ("root@localhost", None, "root@localhost"),
            ("élodie@exemple.fr", None, "élodie@exemple.fr"),
        ] {
            let address = parse(text).unwrap();
            assert_eq!(
                (address.name.as_deref(), address.email.as_ref()),
                (name, email),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_single_safe_address_is_refused_with_a_sentence() {
        for text in [
            "",
            "ann",
            "@example.org",
            "ann@",
            "a@b@c.org",
            "-oQ@example.org",
            "-oQ@x",
            "Ann <-f@example.org>",
            "a@example.org, b@example.org",
            "a@example.org b@example.org",
            "a@example.org;b@example.org",
            "a@example.org <b@example.org>",
            "a@example.org, Ann <b@example.org>",
            "Ann <a@example.org",
            "Ann a@example.org>",
            "\"Ann <a@example.org>",
            "<a@example.org><b@example.org>",
            "\"a b\"@example.org",
            "a@example.org\r\nBcc: b@example.org",
            "Ann\n<a@example.org>",
            "a\0@example.org",
            "a\t@example.org",
            "a\u{85}@example.org",
            "a@exam ple.org",
        ] {
            let refusal = parse(text).unwrap_err();
            assert!(
                refusal.contains(": ") && !refusal.contains('\n'),
                "{text:?}: {refusal}"
            );
        }
    }

    #[test]
    fn a_list_has_commas_between_its_addresses() {
        let list = r#"ann@example.org, "Doe, J" <j@example.org>,, Bob <b@example.org>,"#;
        let list = parse_list(list).unwrap();
        let emails: Vec<&str> = list.iter().map(|address| address.email.as_ref()).collect();
        assert_eq!(
            emails,
            ["ann@example.org", "j@example.org", "b@example.org"]
        );
        assert_eq!(parse_list("  ").unwrap(), []);
        let refusal = parse_list("ann@example.org, nobody").unwrap_err();
        assert!(refusal.contains("nobody"), "{refusal}");
    }

    #[test]
    fn a_comma_between_quotes_or_braces_separates_nothing() {
        for (list, items) in [
            (r#""a, \", b" <x@y>, c"#, vec![r#""a, \", b" <x@y>"#, "c"]),
            (
                r#"{{ a|join(", ") }}, {{ b }}"#,
                vec![r#"{{ a|join(", ") }}"#, "{{ b }}"],
            ),
            (
                "{% if a in (1, 2) %}b{% endif %},c",
                vec!["{% if a in (1, 2) %}b{% endif %}", "c"],
            ),
        ] {
            assert_eq!(split(list).collect::<Vec<_>>(), items);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(name in "\\PC{0,30}", user in "[a-z0-9é.!#$&'*+/=?^_`{|}~]{1,20}") {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(address) = parse(&format!("\"{quoted}\" <{user}@example.org>")) {
                let shown = address.to_string();
                prop_assert_eq!(parse(&shown).unwrap().to_string(), shown);
            }
        }

        #[test]
        fn no_text_makes_reading_panic(text in "\\PC*") {
            let _ = parse_list(&text);
        }
    }
}
