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
    let mut values = document_values(store, cause.document)?;
    values["timer"] = json!({
        "name": cause.timer,
        "level": cause.level,
        "due_at": settings.zone()?.show(cause.due_at),
    });
    fill(&template, &values, &settings)
}

/// Fills a template from a document, if there is one, for a mail that no timer asks for.
pub(crate) fn compose_alone(
    store: &Store,
    template: &Template,
    document: Option<i64>,
) -> Result<Content> {
    let values = document.map(|id| document_values(store, id));
    let values = values.transpose()?.unwrap_or_else(|| json!({}));
    fill(template, &values, &store.settings()?)
}

/// What a template sees of a document.
fn document_values(store: &Store, id: i64) -> Result<serde_json::Value> {
    let found = store.document_for_handler(id)?;
    let document = found.or_not_found("document", id)?.value();
    Ok(json!({"attr": document.get("attributes"), "doc": document}))
}

fn fill(template: &Template, values: &serde_json::Value, settings: &Settings) -> Result<Content> {
    let content = template.render(values);
    let mut content = content.map_err(|reason| about(&template.name, reason))?;
    if content.from.is_empty() {
        content.from = default_sender(settings)?;
    }
    Ok(content)
}

/// Puts a mail into the outbox that no timer asks for; its id. One that could never be sent is refused.
pub(crate) fn queue_alone(store: &Store, content: &Content, now: Timestamp) -> Result<i64> {
    Message::new(content, SAMPLE_ID, now).map_err(|reason| Refused::invalid("mail", reason))?;
    store.insert_mail(content, None, now)
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
        _ if error.kind() == ErrorKind::OutOfFuel => {
            format!("it runs without end, or for more than {FUEL} steps")
        }
        Some(detail) => detail.replace('\n', " "),
        None => error.kind().to_string(),
    };
    format!("{part}{place}: {detail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::Template;
    use crate::model::email::Content;

    fn template() -> Template {
        Template {
            name: "reminder".into(),
            to: "ann@example.org".into(),
            subject: "{{ doc.title }}".into(),
            body: "Hello".into(),
            ..Template::default()
        }
    }

    fn fill(template: &Template, attributes: Value) -> Result<Content, String> {
        template.render(&json!({"doc": {"title": "Contract", "id": 7}, "attr": attributes}))
    }

    /// The recipients, where an attribute `v` has this value.
    fn to(source: &str, value: &Value) -> Result<Vec<String>, String> {
        let to = source.into();
        let filled = fill(&Template { to, ..template() }, json!({"v": value}));
        filled.map(|content| content.to)
    }

    /// A part of a list, the attribute `v` as JSON, and who gets the mail; after a `!` what the refusal says.
    const RECIPIENTS: &str = r#"
        # It is one expression: a list with commas, an array, nothing.
        {{ attr.v }}                       => "a@x.org, b@x.org,c@x.org, "       => a@x.org, b@x.org, c@x.org
        {{- attr.v -}}                     => ["a@x.org", "b@x.org"]             => a@x.org, b@x.org
        {{ attr.v | join(', ') }}          => ["a@x.org", "b@x.org"]             => a@x.org, b@x.org
        {{ attr.v }}, a@x.org, b@x.org     => null                               => a@x.org, b@x.org
        {{ attr.v }}, a@x.org              => []                                 => a@x.org
        {{ attr.v }}                       => []                                 => ! nobody
        # Each element of an array is one address.
        {{ attr.v }}                       => ["a@x.org, b@x.org"]               => ! address
        {{ attr.v }}                       => ["nobody"]                         => ! address
        {{ attr.v }}                       => [7]                                => ! no address
        {{ attr.v }}                       => [null]                             => ! no address
        {{ attr.v }}                       => [["a@x.org"]]                      => ! no address
        # It is empty at times.
        {% if attr.v %}{{ attr.v }}@x.org{% endif %}, b@x.org => "a"             => a@x.org, b@x.org
        {% if attr.v %}{{ attr.v }}@x.org{% endif %}, b@x.org => ""              => b@x.org
        # Between quotes, a value is a name.
        "{{ attr.v }}" <b@x.org>           => "Doe, Bob"                         => "Doe, Bob" <b@x.org>
        "{{ attr.v }}" <b@x.org>           => "e@x.org\" <e@x.org>, \""          => "e@x.org\" <e@x.org>, \"" <b@x.org>
        # Beside other text, a value brings no other address.
        {{ attr.v }} <b@x.org>             => "Doe, Bob"                         => ! address
        {{ attr.v }} <b@x.org>             => "e@x.org, Bob"                     => ! address
        {{ attr.v }} <b@x.org>             => "e@x.org"                          => ! address
        Bob <{{ attr.v }}>                 => "b@x.org>, <e@x.org"               => ! address
        Bob <{{ attr.v }}>                 => "b@x.org, e@x.org"                 => ! address
        {{ attr.v }}@x.org                 => "e@y.org, bob"                     => ! address
        {{ attr.v }}{{ attr.v }}           => "e@y.org,"                         => ! address
        # No value brings a line.
        {{ attr.v }}                       => "a@x.org\r\nBcc: e@x.org"          => ! control
        {{ attr.v }}                       => "a@x.org\u0085"                    => ! control
        "{{ attr.v }}" <b@x.org>           => "Bob\n"                            => ! control
        "{{ attr.v }}" <b@x.org>           => "Bob\u0000"                        => ! control
        # What does not exist is named.
        {{ attr.w }}                       => 0                                  => ! attr.w
        {{ attr.w.mail }}                  => 0                                  => ! attr.w
        {{ attr.w }}@x.org                 => 0                                  => ! attr.w
    "#;

    #[test]
    fn only_a_value_that_stands_alone_brings_recipients() {
        let cases = RECIPIENTS.lines().map(str::trim);
        for case in cases.filter(|case| !case.is_empty() && !case.starts_with('#')) {
            let mut columns = case.split("=>").map(str::trim);
            let mut next = || columns.next().unwrap();
            let (source, value, expected) = (next(), next(), next());
            let found = to(source, &serde_json::from_str(value).unwrap());
            match expected.strip_prefix("! ") {
                Some(words) => assert!(found.unwrap_err().contains(words), "{case}"),
                None => assert_eq!(found.unwrap().join(", "), expected, "{case}"),
            }
        }
    }

    #[test]
    fn a_subject_is_one_line() {
        let subject = |subject: &str, value: &str| {
            let subject = subject.into();
            let template = Template {
                subject,
                ..template()
            };
            fill(&template, json!({"v": value})).map(|content| content.subject)
        };
        assert_eq!(subject("\n one\n{{ attr.v }}\n", "two").unwrap(), "one two");
        for control in ["\r\nBcc: e@x.org", "\n", "\0", "\t", "\u{85}"] {
            let refusal = subject("{{ attr.v }}", control).unwrap_err();
            assert!(refusal.contains("control"), "{control:?}: {refusal}");
        }
    }

    #[test]
    fn a_mail_has_one_sender_and_an_end() {
        let refused = |template| fill(&template, json!({})).unwrap_err();
        let from = Some("a@x.org, b@x.org".into());
        let refusal = refused(Template { from, ..template() });
        assert!(refusal.contains("one sender"), "{refusal}");
        let body = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        let body = body.into();
        let refusal = refused(Template { body, ..template() });
        assert!(refusal.contains("it runs without end"), "{refusal}");
        let row =
            "<tr><td>{{ doc.title }}</td><td>{% if doc.id %}{{ doc.id }} €{% endif %}</td></tr>\n";
        let html = Some(row.repeat(3000));
        let newsletter = Template { html, ..template() };
        newsletter.check().unwrap();
        fill(&newsletter, json!({})).unwrap();
    }

    #[test]
    fn checking_finds_what_is_wrong_before_any_document() {
        let body = |body: &str| Template {
            body: body.into(),
            ..template()
        };
        let to = |to: &str| Template {
            to: to.into(),
            ..template()
        };
        let good = "{% for n in range(doc.id) recursive %}{{ loop.index }}{% if n is odd %}{{ loop([n|upper]) }}{% endif %}{% endfor %}";
        let named = "\"Doe, {{ attr.name }}\" <{{ attr.mail }}>, {{ attr.all }},\nb@x.org";
        for good in [template(), body(good), to(named)] {
            assert_eq!(good.check(), Ok(()));
        }
        for (wrong, words) in [
            (body("{{ doc.title | uper }}"), "filter uper is unknown"),
            (
                body("{% if doc.title is misssing %}{% endif %}"),
                "test misssing is unknown",
            ),
            (
                body("{% for n in rnge(doc.id) %}{% endfor %}"),
                "rnge is unknown",
            ),
            (to("{{ attr.all | uper }}"), "filter uper is unknown"),
            (to("{{ attr.all"), "to"),
        ] {
            let refusal = wrong.check().unwrap_err();
            assert!(refusal.contains(words), "{words}: {refusal}");
        }
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
            if let Ok(list) = to(source, &json!(value)) {
                prop_assert_eq!(list.len(), 1);
            }
        }
    }
}
