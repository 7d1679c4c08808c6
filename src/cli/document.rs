//! `runner doc`

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::batch::Batch;
use super::output::or_dash;
use super::{Invocation, Session, attachment, values};
use crate::error::{Error, Result};
use crate::firing::{attach, reschedule};
use crate::json::Json;
use crate::model::attachment::AttachmentView;
use crate::model::document::{
    Changes, Document, DocumentFilter, DocumentRef, HistoryEntry, NewDocument, check_key,
};
use crate::model::timer::definition::check_attribute;
use crate::store::Store;
use crate::time::{Timestamp, When, Zone};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Add a document; prints its id
    Add(Add),
    /// Change a document's attributes: key=text, key:=json, key@=+15d for a date, and key= to clear one
    Set(Set),
    /// Give a document another state
    State { doc: String, state: String },
    /// Show all of one, with the timers that hang on it
    Show { doc: String },
    /// List documents
    List(List),
    /// Show what happened to one
    History { doc: String },
    /// Delete one with its history; its timers are detached
    Delete { doc: String },
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    #[command(flatten)]
    document: DocumentArgs,
    /// Add many: a JSON object a line with the same fields; all of them or none
    #[arg(long, value_name = "FILE", conflicts_with = "DocumentArgs")]
    batch: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct DocumentArgs {
    /// A name to call it by, instead of its id
    #[arg(long, value_name = "K")]
    key: Option<String>,
    #[arg(long, value_name = "F", default_value = "")]
    family: String,
    #[arg(long, value_name = "T", default_value = "")]
    title: String,
    #[arg(long, value_name = "S", default_value = "")]
    state: String,
    /// An attribute: key=text, key:=json, or key@=TIME for a date, such as key@=+15d; one with an empty value is left out
    #[arg(short, value_name = "KEY=VALUE")]
    attribute: Vec<String>,
    /// All attributes: a JSON object, @FILE or - for standard input
    #[arg(long, value_name = "JSON")]
    attributes: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    /// Its id or key
    doc: String,
    /// key=text, key:=json, or key@=TIME for a date; an empty value clears the attribute
    #[arg(value_name = "KEY=VALUE", required_unless_present_any = ["family", "title", "key"])]
    attributes: Vec<String>,
    /// Another family
    #[arg(long, value_name = "F")]
    family: Option<String>,
    /// Another title
    #[arg(long, value_name = "T")]
    title: Option<String>,
    /// Another key
    #[arg(long, value_name = "K")]
    key: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[arg(long, value_name = "F")]
    family: Option<String>,
    #[arg(long, value_name = "S")]
    state: Option<String>,
    /// Those whose title has this in it
    #[arg(long = "match", value_name = "TEXT")]
    title: Option<String>,
    /// Those with this attribute: key=text, whatever its type, or key:=json
    #[arg(short, value_name = "KEY=VALUE")]
    attribute: Vec<String>,
    /// So many at most
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    limit: Option<u32>,
}

/// A document with what hangs on it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    document: Document,
    timers: Vec<AttachmentView>,
}

impl Shown {
    /// With the dates as they are now.
    fn new(session: &Session, document: Document) -> Result<Self> {
        reschedule::reschedule_to_show(&session.store, document.id, session.when())?;
        let timers = session.store.attachment_views_on(document.id)?.into_iter();
        Ok(Self {
            document,
            timers: timers.map(|row| row.with_delta(&session.zone)).collect(),
        })
    }
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        match self {
            Self::Add(new) => new.run(invocation),
            Self::Set(set) => set.run(invocation),
            Self::State { doc, state } => {
                let session = invocation.open()?;
                session.store.transact(|store| {
                    let id = store.document_id(&DocumentRef::Key(doc))?;
                    store.change_state(id, &state, session.now())
                })
            }
            Self::Show { doc } => show(invocation, doc),
            Self::List(list) => list.run(invocation),
            Self::History { doc } => history(invocation, doc),
            Self::Delete { doc } => delete(invocation, doc),
        }
    }
}

impl Add {
    fn run(self, invocation: &Invocation) -> Result<()> {
        if let Some(path) = &self.batch {
            return add_batch(invocation, path);
        }
        let session = invocation.open()?;
        let new = self.document.read(session.when())?;
        let id = session
            .store
            .transact(|store| add(store, &new, session.now()))?;
        invocation.id(id)
    }
}

/// Adds all documents of a file in one transaction, and prints their ids.
fn add_batch(invocation: &Invocation, path: &Path) -> Result<()> {
    let batch = Batch::open(path)?;
    let session = invocation.open()?;
    let mut ids = Vec::new();
    session.store.transact(|store| {
        batch.for_each("document", |new: NewDocument| {
            ids.push(add(store, &new, session.now())?);
            Ok(())
        })
    })?;
    invocation.ids(&ids)
}

fn add(store: &Store, new: &NewDocument, now: Timestamp) -> Result<i64> {
    new.check()?;
    if let Some(key) = &new.key {
        refuse_taken(store, key)?;
    }
    store.insert_document(new, now)
}

fn refuse_taken(store: &Store, key: &str) -> Result<()> {
    if store.has_document_key(key)? {
        let reason = "another document has it; take another one";
        return Err(Error::invalid(format!("the key '{key}'"), reason));
    }
    Ok(())
}

impl DocumentArgs {
    fn read(self, when: When) -> Result<NewDocument> {
        Ok(NewDocument {
            attributes: self.attributes(when)?,
            key: self.key,
            family: self.family,
            title: self.title,
            state: self.state,
        })
    }

    fn attributes(&self, when: When) -> Result<Json> {
        let whole = self.attributes.as_deref();
        if let (Some(whole), []) = (whole, self.attribute.as_slice()) {
            return values::json("--attributes", whole);
        }
        let mut object = values::object("--attributes", whole, "-a")?;
        for (key, value) in values::attributes("-a", &self.attribute, when)? {
            match Value::from(value) {
                Value::String(text) if text.is_empty() => object.shift_remove(&key),
                value => object.insert(key, value),
            };
        }
        Ok(Json::from(&Value::Object(object)))
    }
}

impl Set {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open()?;
        let pairs = values::attributes("attribute", &self.attributes, session.when())?;
        let mut names = pairs.iter().map(|(name, _)| name);
        names
            .try_for_each(|name| check_attribute(name))
            .map_err(|reason| Error::invalid("attributes", reason))?;
        if let Some(key) = &self.key {
            check_key(key)?;
        }
        session.store.transact(|store| {
            let id = store.document_id(&DocumentRef::Key(self.doc))?;
            let Document {
                key,
                mut attributes,
                ..
            } = store.document(id)?;
            let another_key = self.key.filter(|another| key.as_ref() != Some(another));
            if let Some(key) = &another_key {
                refuse_taken(store, key)?;
            }
            let has_pairs = !pairs.is_empty();
            for (name, value) in pairs {
                let value = Value::from(value);
                let value = (value != "").then(|| Json::from(&value));
                attributes = store.with_attribute(&attributes, &name, value.as_ref())?;
            }
            let changes = Changes {
                key: another_key,
                family: self.family,
                title: self.title,
                attributes: has_pairs.then_some(attributes),
            };
            store.update_document(id, &changes, session.now())?;
            reschedule::reschedule_document(store, id, session.when())
        })
    }
}

fn show(invocation: &Invocation, doc: String) -> Result<()> {
    let session = invocation.open_to_read()?;
    let id = session.store.document_id(&DocumentRef::Key(doc))?;
    let shown = Shown::new(&session, session.store.document(id)?)?;
    let out = &invocation.out;
    if out.json {
        return out.json(&shown);
    }
    out.fields(&shown.document, &[], &session.zone)?;
    if !shown.timers.is_empty() {
        out.line("")?;
    }
    attachment::print(invocation, &session.zone, &shown.timers)
}

impl List {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open_to_read()?;
        let documents = session.store.documents(&DocumentFilter {
            family: self.family,
            state: self.state,
            title: self.title,
            attributes: values::attributes("-a", &self.attribute, session.when())?,
            limit: self.limit,
            without_timer: None,
        })?;
        if invocation.out.json {
            let shown = documents.into_iter();
            let shown = shown.map(|document| Shown::new(&session, document));
            return invocation.out.json(&shown.collect::<Result<Vec<_>>>()?);
        }
        let rows = documents.into_iter().map(|document| {
            [
                document.id.to_string(),
                or_dash(document.key),
                document.family,
                document.state,
                document.title,
                session.zone.show(document.updated_at),
            ]
        });
        invocation
            .out
            .table(["ID", "KEY", "FAMILY", "STATE", "TITLE", "UPDATED"], rows)
    }
}

fn history(invocation: &Invocation, doc: String) -> Result<()> {
    let session = invocation.open_to_read()?;
    let id = session.store.document_id(&DocumentRef::Key(doc))?;
    let history = session.store.history(id)?;
    let out = &invocation.out;
    if out.json {
        return out.json(&history);
    }
    let mut entries = history.iter();
    entries.try_for_each(|entry| out.line(history_text(&session.zone, entry)))
}

fn history_text(zone: &Zone, entry: &HistoryEntry) -> String {
    let timer = match (&entry.timer, entry.timer_level) {
        (Some(name), Some(level)) => format!("  [{name}, level {level}]"),
        (Some(name), None) => format!("  [{name}]"),
        _ => String::new(),
    };
    let HistoryEntry { level, message, .. } = entry;
    format!("{}  {level:<7}  {message}{timer}", zone.show(entry.at))
}

fn delete(invocation: &Invocation, doc: String) -> Result<()> {
    let session = invocation.open()?;
    session.store.transact(|store| {
        let id = store.document_id(&DocumentRef::Key(doc))?;
        for attachment in store.attachments_on(id, None)? {
            attach::detach(store, &attachment, None, session.now())?;
        }
        store.delete_document(id)
    })
}
