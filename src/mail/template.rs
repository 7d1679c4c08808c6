//! Templates of mails, filled from a document.
//!
//! Every part is a Jinja template over `doc`, `attr` and `timer`. A variable that does not exist is an error, not a
//! blank; a null is a blank. Values are escaped in the HTML body alone. **No value adds a header or a recipient:**
//!
//! - In `from`, `to`, `cc`, `bcc` and `subject` a value with a control character is refused.
//! - An item between the commas of a list that is one `{{ expression }}` may be a list itself: a text with commas, or an
//!   array of texts that are one address each. There, and only there, a value brings recipients.
//! - Any other item must come out as one address. Between quotes, `"{{ attr.name }}" <{{ attr.mail }}>`, a value may hold
//!   anything printable.

use lettre::message::Mailbox;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use serde_json::json;

use super::address::{parse, parse_list, split};
use super::message::Message;
use crate::error::{Error as Refused, OrNotFound, Result};
use crate::model::email::{Cause, Content, Template};
use crate::model::settings::{MAIL_FROM, Settings};
use crate::store::Store;
use crate::time::Timestamp;

/// Steps that one part of a template may take, so that no loop in it can hold a tick.
const FUEL: u64 = 1_000_000;

/// The parts that are lists of addresses.
const ADDRESS_PARTS: [&str; 4] = ["from", "to", "cc", "bcc"];

const NOBODY: &str = "there is nobody to send to: to, cc and bcc are empty";

/// A Message-ID to look with whether a mail could be sent.
const SAMPLE_ID: &str = "<sample@localhost>";

/// Fills a template from a document as it is now and puts the mail into the outbox, inside the transaction of the step
/// that causes it; its id. One that could never be sent is refused.
pub(crate) fn queue(store: &Store, cause: &Cause<'_>, now: Timestamp) -> Result<i64> {
    let content = compose(store, cause)?;
    Message::new(&content, SAMPLE_ID, now).map_err(|reason| about(cause.template, reason))?;
    store.insert_mail(&content, Some(cause), now)
}

/// Fills a template from a document as it is now. It sees the due date in local time: it is for people to read.
pub(crate) fn compose(store: &Store, cause: &Cause<'_>) -> Result<Content> {
    let settings = store.settings()?;
    let template = store.template(cause.template)?;
    let found = store.document_for_handler(cause.document)?;
    let document = found.or_not_found("document", cause.document)?.value();
    let values = json!({
        "attr": document.get("attributes"),
        "doc": document,
        "timer": {
            "name": cause.timer,
            "level": cause.level,
            "due_at": settings.zone()?.show(cause.due_at),
        },
    });
    let mut content = template
        .render(&values)
        .map_err(|reason| about(cause.template, reason))?;
    if content.from.is_empty() {
        content.from = default_sender(&settings)?;
    }
    Ok(content)
}

fn about(template: &str, reason: String) -> Refused {
    Refused::invalid(format!("template '{template}'"), reason)
}

/// The sender of mails that name none.
pub(crate) fn default_sender(settings: &Settings) -> Result<String> {
    let setting = format!("setting {MAIL_FROM}");
    match settings.text(MAIL_FROM)? {
        "" => Err(Refused::invalid(
            setting,
            "it is not set, and no mail goes out without a sender: 'runner config set mail.from ADDRESS'",
        )),
        text => match parse(text) {
            Ok(sender) => Ok(sender.to_string()),
            Err(reason) => Err(Refused::invalid(setting, reason)),
        },
    }
}

impl Template {
    /// Checks what can be known before there is a document: the syntax of every part, the names of filters, tests and
    /// functions, and addresses without variables.
    pub(crate) fn check(&self) -> Result<(), String> {
        if [&self.to, &self.cc, &self.bcc]
            .iter()
            .all(|list| list.trim().is_empty())
        {
            return Err(NOBODY.to_owned());
        }
        check_part("subject", &self.subject)?;
        check_part("body", &self.body)?;
        check_part("html", self.html.as_deref().unwrap_or_default())?;
        for (part, list) in [
            ("from", self.from.as_deref().unwrap_or_default()),
            ("to", &self.to),
            ("cc", &self.cc),
            ("bcc", &self.bcc),
        ] {
            for item in split(&one_line(list)) {
                check_part(part, item)?;
                if !item.contains("{{") && !item.contains("{%") {
                    parse(item).map_err(|reason| format!("{part}: {reason}"))?;
                }
            }
        }
        Ok(())
    }

    /// Fills every part with the values, an object of `doc`, `attr` and `timer`; `from` stays empty when the template names
    /// no sender. An error names the part.
    pub(crate) fn render(&self, values: &serde_json::Value) -> Result<Content, String> {
        let filler = Filler::new(values);
        let mut from = filler.addresses("from", self.from.as_deref().unwrap_or_default())?;
        if from.len() > 1 {
            return Err("from: a mail has one sender".to_owned());
        }
        let content = Content {
            from: from.pop().unwrap_or_default(),
            to: filler.addresses("to", &self.to)?,
            cc: filler.addresses("cc", &self.cc)?,
            bcc: filler.addresses("bcc", &self.bcc)?,
            subject: filler.subject(&self.subject)?,
            body: filler.text("body", &self.body)?,
            html: self
                .html
                .as_ref()
                .map(|html| filler.text("html", html))
                .transpose()?,
        };
        if content.recipients().next().is_none() {
            return Err(NOBODY.to_owned());
        }
        Ok(content)
    }
}

/// Fills a part with nothing, which brings names to light that no document can give a meaning.
fn check_part(part: &str, source: &str) -> Result<(), String> {
    let is_certain = |error: &Error| {
        use ErrorKind::{SyntaxError, UnknownFilter, UnknownFunction, UnknownTest};
        let kind = error.kind();
        matches!(
            kind,
            SyntaxError | UnknownFilter | UnknownTest | UnknownFunction
        )
    };
    let filled = environment(UndefinedBehavior::Chainable).render_named_str(part, source, ());
    match filled {
        Err(error) if is_certain(&error) => Err(explain(part, source, &error)),
        _ => Ok(()),
    }
}

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(undefined);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|part| match part {
        "html" => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    environment.set_formatter(write_value);
    environment
}

/// A text beside others in an address is written as it stands between quotes: outside of them, what would need that can't
/// be part of an address anyway.
fn write_value(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        _ if value.is_none() => Ok(()),
        Some(text) if ADDRESS_PARTS.contains(&state.name()) => {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            Ok(out.write_str(&escaped)?)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// Fills the parts of one template.
struct Filler {
    environment: Environment<'static>,
    values: Value,
}

impl Filler {
    fn new(values: &serde_json::Value) -> Self {
        Self {
            environment: environment(UndefinedBehavior::Strict),
            values: Value::from(Serde(values)),
        }
    }

    fn text(&self, part: &str, source: &str) -> Result<String, String> {
        self.environment
            .render_named_str(part, source, self.values.clone())
            .map_err(|error| explain(part, source, &error))
    }

    fn subject(&self, source: &str) -> Result<String, String> {
        let subject = self.text("subject", &one_line(source))?;
        if subject.contains(char::is_control) {
            return Err(format!("subject: {subject:?} holds a control character"));
        }
        Ok(subject.trim().to_owned())
    }

    fn addresses(&self, part: &str, source: &str) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        for item in split(&one_line(source)) {
            match expression(item) {
                Some(expression) => all.extend(self.list(part, expression)?),
                None => {
                    let text = self.text(part, item)?;
                    if !text.trim().is_empty() {
                        all.push(parse(&text).map_err(|reason| format!("{part}: {reason}"))?);
                    }
                }
            }
        }
        Ok(all.iter().map(Mailbox::to_string).collect())
    }

    /// The addresses that an expression stands for: a text with commas, an array of single addresses, or null.
    fn list(&self, part: &str, expression: &str) -> Result<Vec<Mailbox>, String> {
        let value = self
            .environment
            .compile_expression(expression)
            .and_then(|compiled| compiled.eval(self.values.clone()))
            .map_err(|error| explain(part, expression, &error))?;
        let wrong = |reason: &str| format!("{part} at “{}”: {reason}", expression.trim());
        match value.kind() {
            ValueKind::Undefined => Err(wrong("undefined value")),
            ValueKind::None => Ok(Vec::new()),
            ValueKind::Seq | ValueKind::Iterable => {
                let elements = value
                    .try_iter()
                    .map_err(|error| wrong(&error.to_string()))?;
                elements
                    .map(|element| match element.as_str() {
                        Some(text) => parse(text),
                        None => Err(format!("{element} is no address")),
                    })
                    .collect::<Result<_, _>>()
                    .map_err(|reason| wrong(&reason))
            }
            _ => match value.as_str() {
                Some(text) => parse_list(text).map_err(|reason| wrong(&reason)),
                None => Err(wrong(&format!("{value} is no address"))),
            },
        }
    }
}

/// The expression of an item that is `{{ expression }}` and nothing else.
fn expression(item: &str) -> Option<&str> {
    let inner = item.strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix('-').unwrap_or(inner);
    let inner = inner.strip_suffix('-').unwrap_or(inner);
    (!inner.contains("{{") && !inner.contains("}}")).then_some(inner)
}

/// The line breaks of a template's author count as blanks where there can be only one line.
fn one_line(source: &str) -> String {
    source.replace(['\r', '\n', '\t'], " ")
}

/// The words of the template library, with the part and the expression that they are about.
fn explain(part: &str, source: &str, error: &Error) -> String {
    let place = error.range().and_then(|range| source.get(range));
    let place = place.map_or_else(String::new, |place| format!(" at “{}”", place.trim()));
    let detail = match error.detail() {
        Some(detail) => detail.replace('\n', " "),
        None => error.kind().to_string(),
    };
    format!("{part}{place}: {detail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::Template;

    fn template() -> Template {
        Template {
            name: "reminder".into(),
            to: "ann@example.org".into(),
            subject: "{{ doc.title }}".into(),
            body: "Due {{ attr.deadline }}".into(),
            ..Template::default()
        }
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
        let content = template.render(&values(attributes))?;
        Ok(content.to)
    }

    fn subject(source: &str, attributes: serde_json::Value) -> Result<String, String> {
        let template = Template {
            subject: source.into(),
            body: String::new(),
            ..template()
        };
        let content = template.render(&values(attributes))?;
        Ok(content.subject)
    }

    #[test]
    fn a_variable_that_does_not_exist_is_an_error_that_names_its_place() {
        let refusal = template().render(&values(json!({}))).unwrap_err();
        assert!(
            refusal.contains("body") && refusal.contains("attr.deadline"),
            "{refusal}"
        );
        let refusal = subject("{{ dok.title }}", json!({})).unwrap_err();
        assert!(
            refusal.contains("subject") && refusal.contains("dok"),
            "{refusal}"
        );
        for source in ["{{ attr.a }}", "{{ attr.a.mail }}", "{{ attr.a }}@x.org"] {
            let refusal = to(source, json!({})).unwrap_err();
            assert!(
                refusal.starts_with("to at ") && refusal.contains("attr.a"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn recipients_come_from_a_value_that_stands_alone() {
        let three = ["a@x.org", "b@x.org", "c@x.org"];
        for (source, attributes) in [
            (
                "{{ attr.all }}",
                json!({"all": "a@x.org, b@x.org,c@x.org, "}),
            ),
            (
                "{{- attr.all -}}",
                json!({"all": ["a@x.org", "b@x.org", "c@x.org"]}),
            ),
            (
                " {{ attr.one }} , {{ attr.two }}",
                json!({"one": "a@x.org", "two": ["b@x.org", "c@x.org"]}),
            ),
            (
                "{{ attr.none }}, a@x.org,\nb@x.org, c@x.org, {{ attr.nil }}",
                json!({"none": [], "nil": null}),
            ),
            ("{{ attr.all | join(', ') }}", json!({"all": three})),
            (
                "{% if attr.user %}{{ attr.user }}@x.org{% endif %}, b@x.org, {% if not attr.user %}d@x.org{% endif %}, c@x.org",
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
        let inner = json!({"name": "e@x.org\" <e@x.org>, \""});
        assert_eq!(to(bob, inner).unwrap().len(), 1);
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
            let refusal = subject("{{ attr.v }}", value).unwrap_err();
            assert!(refusal.contains("control"), "{control:?}: {refusal}");
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
        let refusal = to("{{ attr.all }}", json!({"all": []})).unwrap_err();
        assert!(refusal.contains("nobody"), "{refusal}");
        let template = Template {
            from: Some("a@x.org, b@x.org".into()),
            ..template()
        };
        let refusal = template
            .render(&values(json!({"deadline": ""})))
            .unwrap_err();
        assert!(refusal.contains("one sender"), "{refusal}");
    }

    #[test]
    fn a_loop_without_end_is_stopped() {
        let long = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        let template = Template {
            body: long.into(),
            ..template()
        };
        let refusal = template.render(&values(json!({}))).unwrap_err();
        assert!(refusal.contains("fuel"), "{refusal}");
    }

    #[test]
    fn checking_finds_what_is_wrong_before_any_document() {
        assert_eq!(template().check(), Ok(()));
        let body = |body: &str| Template {
            body: body.into(),
            ..template()
        };
        let good = "{% for n in range(doc.id) recursive %}{{ loop.index }}{% if n is odd %}{{ loop([n|upper]) }}{% endif %}{% endfor %}";
        assert_eq!(body(good).check(), Ok(()));
        let list = |to: &str| Template {
            to: to.into(),
            ..template()
        };
        let named = "\"Doe, {{ attr.name }}\" <{{ attr.mail }}>, {{ attr.all }},\nb@x.org";
        assert_eq!(list(named).check(), Ok(()));
        for (wrong, words) in [
            (
                Template {
                    subject: "{{ doc.title | uper }}".into(),
                    ..template()
                },
                "filter uper is unknown",
            ),
            (
                body("{% if doc.title is misssing %}{% endif %}"),
                "test misssing is unknown",
            ),
            (
                body("{% for n in rnge(doc.id) %}{% endfor %}"),
                "rnge is unknown",
            ),
            (list("{{ attr.all | uper }}"), "filter uper is unknown"),
            (list("{{ attr.all"), "to"),
        ] {
            let refusal = wrong.check().unwrap_err();
            assert!(refusal.contains(words), "{words}: {refusal}");
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
        let attributes = json!({"name": "a", "price": 1, "deadline": ""});
        newsletter.render(&values(attributes)).unwrap();
    }

    proptest! {
        #[test]
        fn a_value_inside_an_address_never_adds_one(
            value in "[a@.,;<>\"\\\\ :()]{0,12}|(\"[,<>@a. ]*\" <a@b>(, )?){0,3}",
            frame in 0..5usize,
        ) {
            let source = [
                "{{ attr.v }} <bob@x.org>", "\"{{ attr.v }}\" <bob@x.org>", "\"Doe, {{ attr.v }}, J\" <bob@x.org>",
                "Bob <{{ attr.v }}>", "{{ attr.v }}@x.org",
            ][frame];
            if let Ok(list) = to(source, json!({"v": value})) {
                prop_assert_eq!(list.len(), 1);
            }
        }

        #[test]
        fn between_the_authors_quotes_any_printable_value_is_only_a_name(value in "\\PC{1,40}") {
            let list = to("\"{{ attr.v }}\" <bob@x.org>, c@x.org", json!({"v": value})).unwrap();
            prop_assert_eq!(list.len(), 2);
            prop_assert!(list[0].ends_with("bob@x.org") || list[0].ends_with("<bob@x.org>"), "{:?}", list);
            prop_assert_eq!(&list[1], "c@x.org");
        }
    }
}
