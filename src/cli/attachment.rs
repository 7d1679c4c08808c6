//! `runner timer attach`, `detach` and `next`: timers that are attached to documents.

use super::output::{confirm, or_dash};
use super::{Invocation, Session, firing::Filter, values};
use crate::error::{Error, Result};
use crate::firing::attach::{attach, detach, detach_by_title};
use crate::firing::reschedule::reschedule_all;
use crate::model::attachment::{AttachmentRow, AttachmentView};
use crate::model::document::{DocumentFilter, DocumentRef};
use crate::store::Store;
use crate::time::{Timestamp, Zone};

#[derive(Debug, clap::Args)]
pub(super) struct Attach {
    name: String,
    /// The document's id or key
    #[arg(required_unless_present = "family")]
    doc: Option<String>,
    #[command(flatten)]
    many: Many,
    /// Count from this date, whatever the document's attributes say
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    reference: Option<String>,
    /// Who attaches it: all of one origin can be detached at once
    #[arg(long, value_name = "O")]
    origin: Option<String>,
    /// If it is attached already, start it over
    #[arg(long)]
    reset: bool,
}

/// The documents that a timer is attached to, where they are many.
#[derive(Debug, clap::Args)]
struct Many {
    /// All documents of this family, and in its states, that it is not attached to; prints the attachments' ids
    #[arg(long, value_name = "F", conflicts_with = "doc")]
    family: Option<String>,
    /// Of them those in this state
    #[arg(long, value_name = "S", requires = "family", conflicts_with = "doc")]
    state: Option<String>,
    /// Of them those with this attribute: key=text, whatever its type, or key:=json
    #[arg(
        short,
        value_name = "KEY=VALUE",
        requires = "family",
        conflicts_with = "doc"
    )]
    attribute: Vec<String>,
    /// Do not ask
    #[arg(long, requires = "family", conflicts_with = "doc")]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Detach {
    /// The timer
    #[arg(required_unless_present_any = ["all", "title"])]
    name: Option<String>,
    /// The document's id or key
    #[arg(required_unless_present_any = ["all", "title"])]
    doc: Option<String>,
    /// All timers of this document
    #[arg(long, value_name = "DOC", conflicts_with_all = ["name", "doc", "title"])]
    all: Option<String>,
    /// Only those that were attached by this origin
    #[arg(long, value_name = "O", requires = "all", conflicts_with_all = ["name", "doc", "title"])]
    origin: Option<String>,
    /// All timers of all documents whose title has this in it; prints how many
    #[arg(long = "match", value_name = "TEXT", conflicts_with_all = ["name", "doc"])]
    title: Option<String>,
    /// Do not ask
    #[arg(long, requires = "title")]
    yes: bool,
}

impl Attach {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open()?;
        let fixed_reference = session.time("--reference", self.reference.as_deref())?;
        let Some(doc) = self.doc.clone() else {
            return self.attach_many(invocation, &session, fixed_reference);
        };
        let id = session.store.transact(|store| {
            let new = AttachmentRow {
                timer: store.timer_id(&self.name)?,
                document: store.document_id(&DocumentRef::Key(doc))?,
                origin: self.origin.as_deref(),
                fixed_reference,
            };
            attach(store, &new, self.reset, session.when())
        })?;
        invocation.id(id)
    }

    /// Attaches it to all of the documents that it is for, or to none.
    fn attach_many(
        self,
        invocation: &Invocation,
        session: &Session<'_>,
        fixed_reference: Option<Timestamp>,
    ) -> Result<()> {
        let timer = session.store.timer_id(&self.name)?;
        let definition = session.store.timer(timer)?.definition;
        let wanted = DocumentFilter {
            family: self.many.family,
            state: self.many.state,
            attributes: values::attributes("-a", &self.many.attribute, session.when())?,
            without_timer: (!self.reset).then_some(timer),
            ..DocumentFilter::default()
        };
        let find = |store: &Store| {
            let mut found = store.documents(&wanted)?;
            found.retain(|document| definition.admits(&document.family, &document.state));
            Ok::<_, Error>(found)
        };
        let found = find(&session.store)?.len();
        let question = format!("attach '{}' to {found} documents?", self.name);
        if found > 0 && !self.many.yes && !confirm(&question) {
            return Ok(());
        }
        let ids = session.store.transact(|store| {
            let documents = find(store)?.into_iter();
            let attached = documents.map(|document| {
                let new = AttachmentRow {
                    timer,
                    document: document.id,
                    origin: self.origin.as_deref(),
                    fixed_reference,
                };
                attach(store, &new, self.reset, session.when())
            });
            attached.collect::<Result<Vec<_>>>()
        })?;
        invocation.ids(&ids)?;
        invocation.suggest(&format!("{} attached", ids.len()), "timer next")
    }
}

impl Detach {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        if self.title.as_deref() == Some("") {
            return Err(Error::usage(
                "--match",
                "it is empty, and every title has that in it; say what the titles have in them",
            ));
        }
        let session = invocation.open()?;
        if let Some(title) = &self.title {
            return detach_all(invocation, &session, title, self.yes);
        }
        session.store.transact(|store| {
            let document = self.all.or(self.doc).unwrap_or_default();
            let document = store.document_id(&DocumentRef::Key(document))?;
            let attached = match &self.name {
                Some(name) => {
                    let timer = store.timer_id(name)?;
                    Vec::from_iter(store.find_attachment(timer, document)?)
                }
                None => store.attachments_on(document, self.origin.as_deref())?,
            };
            let mut attached = attached.iter();
            attached.try_for_each(|row| detach(store, row, None, session.now()))
        })
    }
}

fn detach_all(invocation: &Invocation, session: &Session, title: &str, yes: bool) -> Result<()> {
    let found = session.store.count_attachments_by_title(title)?;
    let question = format!("detach {found} timers from documents with '{title}' in their title?");
    if found > 0 && !yes && !confirm(&question) {
        return Ok(());
    }
    let detached = detach_by_title(&session.store, title, session.now())?;
    invocation.count("detached", detached)
}

/// `runner timer next`
pub(super) fn next(invocation: &Invocation, filter: &Filter) -> Result<()> {
    let session = invocation.open_to_read()?;
    reschedule_all(&session.store, session.when(), drop)?;
    let next = session
        .store
        .next_attachments(filter.title.as_deref(), filter.limit)?;
    let next = next.into_iter().map(|row| row.with_delta(&session.zone));
    print(invocation, &session.zone, &next.collect::<Vec<_>>())
}

pub(super) fn print(invocation: &Invocation, zone: &Zone, rows: &[AttachmentView]) -> Result<()> {
    let headings = ["DUE", "TIMER", "LEVEL", "DOC", "TITLE", "ORIGIN", "ERROR"];
    invocation.out.list(rows, headings, |row| {
        let due = row.due_at.map(|due| zone.show(due));
        let error = match (&row.last_error, row.paused) {
            (Some(error), _) => error.clone(),
            (None, true) => "paused".to_owned(),
            (None, false) => String::new(),
        };
        [
            due.unwrap_or_else(|| "waits for a date".to_owned()),
            row.timer.clone(),
            row.level.to_string(),
            row.document.to_string(),
            row.title.clone(),
            or_dash(row.origin.as_ref()),
            match row.attempts {
                0 => error,
                attempts => format!("{error} ({attempts} attempts)"),
            },
        ]
    })
}
