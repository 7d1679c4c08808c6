//! `runner template`

use serde::Serialize;

use super::Invocation;
use super::output::Output;
use super::values::body;
use crate::error::{Error, Result};
use crate::mail::compose;
use crate::model::document::DocumentRef;
use crate::model::email::{Cause, Template};
use crate::time::Zone;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Define a template, or replace it; every value is text, @FILE, or - for standard input
    Set(Box<Set>),
    /// List the templates
    List,
    /// Show all of one
    Show { name: String },
    /// Remove one that no timer sends
    Remove { name: String },
    /// Show the mail that would be sent for a document
    Preview {
        name: String,
        /// Its id or its key
        #[arg(value_name = "DOC")]
        document: String,
    },
}

/// Every part is filled from doc, attr and timer: 'Relance : {{ doc.title }}'
#[derive(Debug, clap::Args)]
pub(super) struct Set {
    name: String,
    /// The recipients, with commas between them; {{ attr.reviewers }} may be a list
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    to: String,
    /// The subject
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    subject: String,
    /// The body as plain text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    body: String,
    /// The same as HTML, where values are escaped
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    html: Option<String>,
    /// The sender; the setting mail.from when not given
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    from: Option<String>,
    /// Recipients of a copy
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    cc: Option<String>,
    /// Recipients of a copy that the others don't see
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    bcc: Option<String>,
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        match self {
            Self::Set(set) => set.run(invocation),
            Self::List => list(invocation),
            Self::Show { name } => show(invocation, &name),
            Self::Remove { name } => remove(invocation, &name),
            Self::Preview { name, document } => preview(invocation, &name, document),
        }
    }
}

impl Set {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let template = self.read()?;
        template.check().map_err(|error| {
            Error::invalid(format!("template '{}'", template.name), error.to_string())
        })?;
        let store = invocation.store()?;
        store.transact(|store| store.set_template(&template))
    }

    fn read(self) -> Result<Template> {
        if self.name.is_empty() || self.name.contains(char::is_control) {
            return Err(Error::invalid(
                "template",
                "it needs a name without control characters",
            ));
        }
        let given = [
            Some(&self.to),
            Some(&self.subject),
            Some(&self.body),
            self.html.as_ref(),
            self.from.as_ref(),
            self.cc.as_ref(),
            self.bcc.as_ref(),
        ];
        let from_stdin = given.iter().flatten().filter(|text| text.as_str() == "-");
        if from_stdin.count() > 1 {
            return Err(Error::invalid(
                "-",
                "standard input can be one of the values only",
            ));
        }
        let list = |given: Option<String>| given.map(|given| body(&given)).transpose();
        Ok(Template {
            name: self.name,
            from: list(self.from)?,
            to: body(&self.to)?,
            cc: list(self.cc)?.unwrap_or_default(),
            bcc: list(self.bcc)?.unwrap_or_default(),
            subject: body(&self.subject)?,
            body: body(&self.body)?,
            html: list(self.html)?,
        })
    }
}

fn list(invocation: &Invocation) -> Result<()> {
    let templates = invocation.store_to_read()?.templates()?;
    let headings = ["TEMPLATE", "TO", "SUBJECT"];
    invocation.out.list(&templates, headings, |template| {
        [&template.name, &template.to, &template.subject].map(Clone::clone)
    })
}

fn show(invocation: &Invocation, name: &str) -> Result<()> {
    let template = invocation.store_to_read()?.template(name)?;
    print_mail(&invocation.out, &template, &Zone::default())
}

/// Prints a mail, or what one is filled from: the fields, then the bodies.
pub(super) fn print_mail(out: &Output, mail: &impl Serialize, zone: &Zone) -> Result<()> {
    if out.json {
        return out.json(mail);
    }
    out.fields(mail, &["body", "html"], zone)?;
    let mail = serde_json::to_value(mail).unwrap_or_default();
    let body = |name| {
        mail[name]
            .as_str()
            .map(|text| text.strip_suffix('\n').unwrap_or(text))
    };
    out.line("")?;
    out.lines(body("body").unwrap_or_default())?;
    if let Some(html) = body("html") {
        out.lines(format!("\n--- as HTML ---\n\n{html}"))?;
    }
    Ok(())
}

/// A timer that sends it would fail at the level that does.
fn remove(invocation: &Invocation, name: &str) -> Result<()> {
    let store = invocation.store()?;
    store.transact(|store| {
        let timers = store.timers_of_template(name)?;
        if timers.is_empty() {
            return store.delete_template(name);
        }
        let (thing, timers) = (format!("template '{name}'"), timers.join("', '"));
        let reason = format!(
            "it is sent by the timer '{timers}'; change that first with 'runner timer set'"
        );
        Err(Error::invalid(thing, reason))
    })
}

/// Filled for the first timer on the document that sends it; when there is none, `timer` stands for one that is due now.
fn preview(invocation: &Invocation, name: &str, document: String) -> Result<()> {
    let session = invocation.open_to_read()?;
    let store = &session.store;
    let document = store.document_id(&DocumentRef::Key(document))?;
    let found = store.occasion_of(document, name)?;
    let (timer, level, due_at) = found.unwrap_or_else(|| ("timer".to_owned(), 0, None));
    let cause = Cause {
        template: name,
        document,
        attachment: None,
        timer: &timer,
        level,
        due_at: due_at.unwrap_or(session.now()),
    };
    let content = compose(store, &cause)?;
    print_mail(&invocation.out, &content, &session.zone)
}
