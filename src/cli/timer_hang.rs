//! `runner timer attach` and `detach`

use super::Invocation;
use super::output::{confirm, is_interactive};
use crate::error::{Error, Result};
use crate::firing::attach::{NewAttachment, attach, detach, detach_matching};
use crate::model::document::DocumentRef;
use crate::store::Store;
use crate::time::Timestamp;

#[derive(Debug, clap::Args)]
pub(super) struct Attach {
    name: String,
    /// The document's id or key
    doc: String,
    /// Count from this date, whatever the document's attributes say
    #[arg(long, value_name = "TIME")]
    reference: Option<String>,
    /// Who attaches it: all of one origin can be detached at once
    #[arg(long, value_name = "O")]
    origin: Option<String>,
    /// If it is attached already, start it over
    #[arg(long)]
    reset: bool,
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
        let store = invocation.store()?;
        let (_, zone, clock) = invocation.times(&store)?;
        let reference = self.reference.as_deref();
        let reference_at = reference
            .map(|text| zone.parse_time(text))
            .transpose()
            .map_err(|reason| Error::invalid("--reference", reason))?;
        let id = store.transact(|store| {
            let new = NewAttachment {
                timer: store.timer_id(&self.name)?,
                document: store.document_id(&DocumentRef::Key(self.doc))?,
                origin: self.origin.as_deref(),
                reference_at,
            };
            attach(store, &new, self.reset, (zone, clock.now()))
        })?;
        invocation.id(id)
    }
}

impl Detach {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store()?;
        let (_, _, clock) = invocation.times(&store)?;
        let now = clock.now();
        if self.title.as_deref() == Some("") {
            return Err(Error::usage(
                "--match",
                "it is empty, and every title has that in it; say what the titles have in them",
            ));
        }
        match (&self.title, self.all, self.name.zip(self.doc)) {
            (Some(title), _, _) => detach_all(invocation, &store, (title, self.yes), now),
            (_, Some(doc), _) => store.transact(|store| {
                let document = store.document_id(&DocumentRef::Key(doc))?;
                let hanging = store.hanging_on(document, self.origin.as_deref())?;
                hanging.iter().try_for_each(|row| detach(store, row, now))
            }),
            (_, _, Some((name, doc))) => store.transact(|store| {
                let timer = store.timer_id(&name)?;
                let document = store.document_id(&DocumentRef::Key(doc))?;
                let hanging = store.find_attachment(timer, document)?;
                hanging.iter().try_for_each(|row| detach(store, row, now))
            }),
            _ => Ok(()),
        }
    }
}

fn detach_all(
    invocation: &Invocation,
    store: &Store,
    (title, yes): (&str, bool),
    now: Timestamp,
) -> Result<()> {
    let found = store.count_matching(title)?;
    let question = format!("detach {found} timers from documents with '{title}' in their title?");
    if found > 0 && !yes && is_interactive() && !confirm(&question) {
        return Ok(());
    }
    let detached = detach_matching(store, title, now)?;
    invocation.count("detached", detached)
}
