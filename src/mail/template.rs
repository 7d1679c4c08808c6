//! Mail models, filled from a document.

use minijinja::value::{Serde, Value};
use serde::{Deserialize, Serialize};

use super::bounds::check_bounds;
use super::fill::{check_names, environment, explain, fill, fill_addresses, fill_subject};
use super::{Address, Invalid, Letter};

const NOBODY: &str = "there is nobody to send to: to, cc and bcc are empty";

/// A mail model (`design`, “Mail”): every part is a Jinja template over `doc`, `attr` and `timer`.
///
/// A variable that does not exist is an error, not a blank; a null is a blank. Values are escaped in the HTML body
/// alone. **No value can add a header or a recipient:**
///
/// - In `from`, `to`, `cc`, `bcc` and `subject` a value with a control character is refused. Line breaks of the
///   author's own count as spaces.
/// - A value that stands alone between the author's commas, `{{ attr.reviewers }}`, is a list of addresses: a text
///   with commas, or an array of texts that are one address each. There, and only there, a value brings recipients.
/// - Beside other text a value is part of one address: `"{{ attr.name }}" <{{ attr.mail }}>`. Between quotes it may
///   hold anything, commas included; outside of them nothing that has a meaning in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its name, by which timers call it.
    pub name: String,
    /// The sender; the setting `mail.from` when there is none.
    #[serde(default)]
    pub from: Option<String>,
    /// The recipients.
    pub to: String,
    /// Recipients of a copy.
    #[serde(default)]
    pub cc: String,
    /// Recipients of a copy that the others don't see.
    #[serde(default)]
    pub bcc: String,
    /// The subject.
    pub subject: String,
    /// The body as plain text.
    pub body: String,
    /// The same as HTML, if wanted.
    #[serde(default)]
    pub html: Option<String>,
}

impl Template {
    /// Checks what can be known before there is a document: the syntax of every part, what it is filled with, and all of a
    /// part that has no variable.
    ///
    /// # Errors
    ///
    /// The first part that is wrong, and why.
    pub fn check(&self) -> Result<(), Invalid> {
        if [&self.to, &self.cc, &self.bcc]
            .iter()
            .all(|list| list.trim().is_empty())
        {
            return Err(Invalid::new(NOBODY));
        }
        let models = environment();
        for (part, source) in self.parts() {
            check_bounds(part, source)?;
            let model = models
                .template_from_named_str(part, source)
                .map_err(|error| explain(part, source, &error))?;
            check_names(part, &models, &model)?;
            if model.undeclared_variables(false).is_empty() {
                match part {
                    "body" | "html" => drop(fill(part, source, &Value::UNDEFINED)?),
                    "subject" => drop(fill_subject(source, &Value::UNDEFINED)?),
                    _ => drop(fill_addresses(part, source, &Value::UNDEFINED)?),
                }
            }
        }
        Ok(())
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("from", self.from.as_deref()),
            ("to", Some(&self.to)),
            ("cc", Some(&self.cc)),
            ("bcc", Some(&self.bcc)),
            ("subject", Some(&self.subject)),
            ("body", Some(&self.body)),
            ("html", self.html.as_deref()),
        ]
        .into_iter()
        .filter_map(|(part, source)| Some((part, source?)))
    }

    /// The sender, filled with the values as [`Template::render`] does; none when the template names none.
    ///
    /// # Errors
    ///
    /// As there, and when there are several.
    pub fn render_from(&self, values: &serde_json::Value) -> Result<Option<Address>, Invalid> {
        let Some(source) = &self.from else {
            return Ok(None);
        };
        let mut senders = fill_addresses("from", source, &Value::from(Serde(values)))?;
        if senders.len() > 1 {
            return Err(Invalid::new("from: a mail has one sender"));
        }
        Ok(senders.pop())
    }

    /// Fills every other part with the values, an object of `doc`, `attr` and `timer`.
    ///
    /// # Errors
    ///
    /// An unknown variable, a value that is not what its place asks for, or no recipient at all: one sentence that
    /// names the part.
    pub fn render(&self, values: &serde_json::Value, from: Address) -> Result<Letter, Invalid> {
        let values = Value::from(Serde(values));
        let letter = Letter {
            from,
            to: fill_addresses("to", &self.to, &values)?,
            cc: fill_addresses("cc", &self.cc, &values)?,
            bcc: fill_addresses("bcc", &self.bcc, &values)?,
            subject: fill_subject(&self.subject, &values)?,
            body: fill("body", &self.body, &values)?,
            html: self
                .html
                .as_deref()
                .map(|html| fill("html", html, &values))
                .transpose()?,
        };
        if letter.to.is_empty() && letter.cc.is_empty() && letter.bcc.is_empty() {
            return Err(Invalid::new(NOBODY));
        }
        Ok(letter)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Template;
    use crate::mail::{Address, Letter};

    fn template() -> Template {
        Template {
            name: "reminder".into(),
            from: None,
            to: "ann@example.org".into(),
            cc: String::new(),
            bcc: String::new(),
            subject: "{{ doc.title }}".into(),
            body: "Due {{ attr.deadline }}".into(),
            html: None,
        }
    }

    fn sender() -> Address {
        "runner@example.org".parse().unwrap()
    }

    fn values(attributes: serde_json::Value) -> serde_json::Value {
        json!({"doc": {"title": "Contract"}, "attr": attributes, "timer": {"name": "validation", "level": 0}})
    }

    fn to(source: &str, attributes: serde_json::Value) -> Result<Vec<String>, String> {
        let template = Template {
            to: source.into(),
            body: String::new(),
            ..template()
        };
        let letter = template
            .render(&values(attributes), sender())
            .map_err(|error| error.to_string())?;
        Ok(letter.to.iter().map(Address::to_string).collect())
    }

    fn subject(source: &str, attributes: serde_json::Value) -> Result<String, String> {
        let template = Template {
            subject: source.into(),
            body: String::new(),
            ..template()
        };
        template
            .render(&values(attributes), sender())
            .map(|letter| letter.subject)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_part_is_filled_and_only_html_is_escaped() {
        let template = Template {
            from: Some("\"{{ timer.name }}\" <runner@example.org>".into()),
            to: "{{ attr.valider }}".into(),
            cc: "{{ attr.readers }}, boss@example.org".into(),
            bcc: "{{ attr.nobody }}".into(),
            subject: "Relire « {{ doc.title }} »".into(),
            html: Some("<p>{{ attr.deadline }}</p>".into()),
            ..template()
        };
        let attributes = json!({
            "valider": "Ann <ann@example.org>, bob@example.org", "readers": ["c@example.org", "\"D, E\" <d@example.org>"],
            "nobody": null, "deadline": "<1 & 2>",
        });
        let filled = Letter {
            from: "validation <runner@example.org>".parse().unwrap(),
            to: vec![
                "Ann <ann@example.org>".parse().unwrap(),
                "bob@example.org".parse().unwrap(),
            ],
            cc: [
                "c@example.org",
                "\"D, E\" <d@example.org>",
                "boss@example.org",
            ]
            .map(|a| a.parse().unwrap())
            .into(),
            bcc: vec![],
            subject: "Relire « Contract »".into(),
            body: "Due <1 & 2>".into(),
            html: Some("<p>&lt;1 &amp; 2&gt;</p>".into()),
        };
        let values = values(attributes);
        let from = template.render_from(&values).unwrap().unwrap();
        assert_eq!(template.render(&values, from).unwrap(), filled);
    }

    #[test]
    fn a_variable_that_does_not_exist_is_an_error_that_names_its_place() {
        let refusal = template()
            .render(&values(json!({})), sender())
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains("body") && refusal.contains("attr.deadline"),
            "{refusal}"
        );
        let refusal = subject("{{ dok.title }}", json!({})).unwrap_err();
        assert!(
            refusal.contains("subject") && refusal.contains("dok"),
            "{refusal}"
        );
    }

    #[test]
    fn recipients_come_from_a_value_that_stands_alone() {
        let three = ["a@x.org", "b@x.org", "c@x.org"];
        for (source, attributes) in [
            ("{{ attr.all }}", json!({"all": "a@x.org, b@x.org,c@x.org"})),
            (
                "{{ attr.all }}",
                json!({"all": ["a@x.org", "b@x.org", "c@x.org"]}),
            ),
            (
                " {{ attr.one }} , {{ attr.two }}",
                json!({"one": "a@x.org", "two": ["b@x.org", "c@x.org"]}),
            ),
            (
                "{% for r in attr.all %}\n{{ r }},\n{% endfor %}",
                json!({"all": ["a@x.org", "b@x.org", "c@x.org"]}),
            ),
            (
                "{{ attr.none }}, a@x.org,\nb@x.org, c@x.org, {{ attr.nil }}",
                json!({"none": [], "nil": null}),
            ),
            ("{{ attr.all | join(', ') }}", json!({"all": three})),
            (
                "{{ attr.user }}@x.org, b@x.org, c@x.org",
                json!({"user": "a"}),
            ),
        ] {
            assert_eq!(to(source, attributes).unwrap(), three, "{source}");
        }
    }

    #[test]
    fn beside_other_text_a_value_brings_no_recipient() {
        let bob = "\"{{ attr.name }}\" <bob@x.org>";
        assert_eq!(
            to(bob, json!({"name": "Doe, Bob"})).unwrap(),
            ["\"Doe, Bob\" <bob@x.org>"]
        );
        assert_eq!(
            to(bob, json!({"name": "e@x.org\" <e@x.org>, \""}))
                .unwrap()
                .len(),
            1
        );
        for (source, value) in [
            ("{{ attr.name }} <bob@x.org>", "Doe, Bob"),
            ("{{ attr.name }} <bob@x.org>", "evil@x.org, Bob"),
            ("{{ attr.name }} <bob@x.org>", "evil@x.org"),
            ("Bob <{{ attr.name }}>", "bob@x.org>, <evil@x.org"),
            ("Bob <{{ attr.name }}>", "bob@x.org, evil@x.org"),
            ("{{ attr.name }}@x.org", "evil@y.org, bob"),
            ("{{ attr.name }}{{ attr.name }}", "evil@y.org,"),
        ] {
            assert!(
                to(source, json!({"name": value})).is_err(),
                "{source} with {value}"
            );
        }
    }

    #[test]
    fn an_element_of_an_array_is_one_address() {
        for element in [
            json!("a@x.org, b@x.org"),
            json!("nobody"),
            json!(7),
            json!(null),
            json!(["a@x.org"]),
        ] {
            assert!(to("{{ attr.all }}", json!({"all": [element]})).is_err());
        }
    }

    #[test]
    fn no_value_adds_a_header() {
        for control in ["\r\nBcc: e@x.org", "\n", "\r", "\0", "\t", "\u{85}"] {
            let value = json!({"v": format!("a{control}b")});
            assert!(
                subject("{{ attr.v }}", value.clone())
                    .unwrap_err()
                    .contains("control"),
                "{control:?}"
            );
            let value = json!({"v": format!("a@x.org{control}")});
            assert!(to("{{ attr.v }}", value.clone()).is_err(), "{control:?}");
            assert!(
                to("\"{{ attr.v }}\" <bob@x.org>", value).is_err(),
                "{control:?}"
            );
        }
        assert_eq!(subject("\n one\n two\n", json!({})).unwrap(), "one  two");
    }

    #[test]
    fn a_mail_without_recipient_or_with_two_senders_is_refused() {
        assert!(
            to("{{ attr.all }}", json!({"all": []}))
                .unwrap_err()
                .contains("nobody")
        );
        let template = Template {
            from: Some("a@x.org, b@x.org".into()),
            body: String::new(),
            ..template()
        };
        assert!(
            template
                .render_from(&values(json!({})))
                .unwrap_err()
                .to_string()
                .contains("one sender")
        );
    }

    #[test]
    fn a_loop_without_end_is_stopped() {
        let long = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        let template = Template {
            body: long.into(),
            ..template()
        };
        assert!(
            template
                .render(&values(json!({})), sender())
                .unwrap_err()
                .to_string()
                .contains("fuel")
        );
    }

    #[test]
    fn checking_finds_wrong_syntax_and_wrong_addresses_before_any_document() {
        assert_eq!(template().check(), Ok(()));
        let good = "{% for n in range(doc.id) recursive %}{{ loop.index }}{% if n is odd %}{{ loop([n|upper]) }}{% endif %}{% endfor %}";
        let good = Template {
            body: good.into(),
            ..template()
        };
        assert_eq!(good.check(), Ok(()));
        for (wrong, part) in [
            (
                Template {
                    subject: "{{ doc.title".into(),
                    ..template()
                },
                "subject",
            ),
            (
                Template {
                    html: Some("{% if %}".into()),
                    ..template()
                },
                "html",
            ),
            (
                Template {
                    from: Some("nobody".into()),
                    ..template()
                },
                "from",
            ),
            (
                Template {
                    to: "a@x.org b@x.org".into(),
                    ..template()
                },
                "to",
            ),
            (
                Template {
                    subject: "{{ doc.title | uper }}".into(),
                    ..template()
                },
                "subject: there is no filter “uper”",
            ),
            (
                Template {
                    body: "{% if doc.title is misssing %}{% endif %}".into(),
                    ..template()
                },
                "body: there is no test “misssing”",
            ),
            (
                Template {
                    body: "{% for n in rnge(doc.id) %}{% endfor %}".into(),
                    ..template()
                },
                "body: there is no function “rnge”",
            ),
            (
                Template {
                    to: " ".into(),
                    ..template()
                },
                "there is nobody to send to",
            ),
            (
                Template {
                    cc: "-oQ@x".into(),
                    ..template()
                },
                "cc",
            ),
        ] {
            let refusal = wrong.check().unwrap_err().to_string();
            assert!(refusal.starts_with(part), "{refusal}");
        }
    }

    #[test]
    fn no_template_is_so_deep_that_it_ends_the_run() {
        let many = |piece: &str| piece.repeat(40_000);
        let body = |body: String| Template { body, ..template() };
        let elifs = format!("{{% if 0 %}}{}{{% endif %}}", many("{% elif 0 %}"));
        for source in [
            format!("{{{{ 1{} }}}}", many("+1")),
            format!("{{{{ {}1 }}}}", many("-")),
            format!("{{{{ {}1 }}}}", many("not ")),
            format!("{{{{ 1{} }}}}", many("|abs")),
            format!("{{{{ a{} }}}}", many(".b")),
            format!("{{{{ \"}}}}\"{} }}}}", many(" ~ 'a'")),
            format!("{{{{ {}1{} }}}}", many("("), many(")")),
            format!("{{% if {}1 %}}{{% endif %}}", many("-")),
            many("{% if 1 %}"),
            elifs,
            many("{% set x = [x] %}"),
            "a".repeat(2_000_000),
        ] {
            let (start, template) = (source[..30.min(source.len())].to_owned(), body(source));
            for refusal in [
                template.check().unwrap_err(),
                template.render(&values(json!({})), sender()).unwrap_err(),
            ] {
                let refusal = refusal.to_string();
                assert!(
                    [
                        "body: it has more",
                        "body: one of",
                        "body at “if”: template exceeds"
                    ]
                    .iter()
                    .any(|expected| refusal.starts_with(expected)),
                    "{start}: {refusal}"
                );
            }
        }
    }

    #[test]
    fn a_newsletter_of_many_rows_is_a_template() {
        let row = "<tr><td>{{ attr.name }}</td><td>{% if attr.price %}{{ attr.price }} €{% endif %}</td></tr>\n";
        let newsletter = Template {
            html: Some(row.repeat(3000)),
            ..template()
        };
        newsletter.check().unwrap();
    }

    #[test]
    fn what_stays_within_the_limits_is_not_too_deep_for_a_small_stack() {
        let nested = "{% set x = [] %}".to_owned() + &("{% set x = [[[[[[x]]]]]] %}".repeat(600));
        let elifs = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(200));
        for source in [
            format!("{{{{ 1{} }}}}", "+1".repeat(249)),
            format!("{{{{ {}1 }}}}", "-".repeat(499)),
            format!("{{{{ {}1 }}}}", "not ".repeat(499)),
            elifs,
            nested,
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned(),
            "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_owned(),
            "{% block a %}{{ self.a() }}{% endblock %}".to_owned(),
            "{% set n = namespace(x=[]) %}{% for a in range(60000) %}{% set n.x = [n.x] %}{% endfor %}".to_owned(),
        ] {
            let template = Template {
                body: source,
                ..template()
            };
            // It may be refused; what matters is that an answer comes.
            let _ = template.render(&values(json!({})), sender());
        }
    }
}
