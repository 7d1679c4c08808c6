//! `runner mail send`: one mail without a timer.

use super::Invocation;
use super::values::body;
use crate::error::{Error, Result};
use crate::mail;
use crate::model::document::DocumentRef;
use crate::model::email::{Content, Template};
use crate::model::settings::Settings;
use crate::store::Store;
use crate::time::Timestamp;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The recipients
    #[arg(long, required = true, num_args = 1.., value_name = "ADDRESS")]
    to: Vec<String>,
    /// The sender; the template's, or the setting mail.from, when not given
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// The template that it is filled from, but for its recipients
    #[arg(long, value_name = "NAME", required_unless_present = "subject", conflicts_with_all = ["subject", "body", "html"])]
    template: Option<String>,
    /// The document that the template is filled from
    #[arg(
        long,
        value_name = "DOC",
        requires = "template",
        conflicts_with = "subject"
    )]
    document: Option<String>,
    /// The subject
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        requires = "body"
    )]
    subject: Option<String>,
    /// The body as plain text: itself, @FILE or - for standard input
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        requires = "subject"
    )]
    body: Option<String>,
    /// The same as HTML
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        requires = "subject"
    )]
    html: Option<String>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let to = recipients(&self.to)?;
        let session = invocation.open()?;
        let now = session.now();
        let id = if let Some(name) = &self.template {
            let queue = |store: &Store<'_>| self.queue_template(store, name, &to, now);
            session.store.transact(queue)?
        } else {
            let content = self.content(to, &session.settings)?;
            let queue = |store: &Store<'_>| mail::queue_alone(store, &content, now);
            session.store.transact(queue)?
        };
        invocation.id(id)
    }

    fn queue_template(
        &self,
        store: &Store<'_>,
        name: &str,
        to: &[String],
        now: Timestamp,
    ) -> Result<i64> {
        let mut template = Template {
            to: to.join(", "),
            cc: String::new(),
            bcc: String::new(),
            ..store.template(name)?
        };
        template.from = self.sender()?.or(template.from);
        let document = self.document.clone().map(DocumentRef::Key);
        let document = document.map(|named| store.document_id(&named));
        let document = document.transpose()?;
        let content = mail::compose_alone(store, &template, document)?;
        let id = mail::queue_alone(store, &content, now)?;
        store.set_mail_source(id, name, document)?;
        Ok(id)
    }

    fn content(&self, to: Vec<String>, settings: &Settings) -> Result<Content> {
        let read = |given: &Option<String>| given.as_deref().map(body).transpose();
        let sender = self.sender()?;
        Ok(Content {
            from: sender.map_or_else(|| mail::default_sender(settings), Ok)?,
            to,
            subject: self.subject.clone().unwrap_or_default(),
            body: read(&self.body)?.unwrap_or_default(),
            html: read(&self.html)?,
            ..Content::default()
        })
    }

    fn sender(&self) -> Result<Option<String>> {
        let Some(given) = &self.from else {
            return Ok(None);
        };
        let sender = mail::parse(given).map_err(|reason| Error::invalid("--from", reason))?;
        Ok(Some(sender.to_string()))
    }
}

fn recipients(given: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for list in given {
        let list = mail::parse_list(list).map_err(|reason| Error::invalid("--to", reason))?;
        all.extend(list.iter().map(ToString::to_string));
    }
    if all.is_empty() {
        return Err(Error::invalid("--to", "there is nobody to send to"));
    }
    Ok(all)
}
