//! `runner doc`

use serde::Serialize;
use serde_json::{Map, Value};

use super::output::or_dash;
use super::{Exit, Invocation, values};
use crate::error::Result;
use crate::firing;
use crate::firing::attach::{self, AttachmentView};
use crate::json::Json;
use crate::model::document::{
    Changes, Document, DocumentFilter, DocumentRef, HistoryEntry, NewDocument, add, change,
    change_state,
};
use crate::store::Store;
use crate::time::Zone;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Add a document; prints its id
    Add(Add),
    /// Change a document's attributes: key=text, key:=json, and key= to clear one
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
    /// A name to call it by, instead of its id
    #[arg(long, value_name = "K")]
    key: Option<String>,
    #[arg(long, value_name = "F", default_value = "")]
    family: String,
    #[arg(long, value_name = "T", default_value = "")]
    title: String,
    #[arg(long, value_name = "S", default_value = "")]
    state: String,
    /// An attribute: key=text or key:=json; one with an empty value is left out
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
    /// key=text or key:=json; an empty value clears the attribute
    #[arg(value_name = "KEY=VALUE", required_unless_present_any = ["family", "title"])]
    attributes: Vec<String>,
    /// Another family
    #[arg(long, value_name = "F")]
    family: Option<String>,
    /// Another title
    #[arg(long, value_name = "T")]
    title: Option<String>,
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
    /// So many at most
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

/// A document with what hangs on it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    document: Document,
    timers: Vec<AttachmentView>,
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        match self {
            Self::Add(new) => new.run(invocation)?,
            Self::Set(set) => set.run(invocation)?,
            Self::State { doc, state } => {
                let store = invocation.store()?;
                let (_, _, clock) = invocation.times(&store)?;
                store.transact(|store| {
                    let id = store.document_id(&DocumentRef::Key(doc))?;
                    change_state(store, id, &state, clock.now())
                })?;
            }
            Self::Show { doc } => show(invocation, doc)?,
            Self::List(list) => list.run(invocation)?,
            Self::History { doc } => history(invocation, doc)?,
            Self::Delete { doc } => delete(invocation, doc)?,
        }
        Ok(Exit::Done)
    }
}

impl Add {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store()?;
        let attributes = values::object(
            "--attributes",
            self.attributes.as_deref(),
            "-a",
            &self.attribute,
        )?;
        let attributes = attributes.map(|given| without_cleared(given, &self.attribute));
        let new = NewDocument {
            key: self.key,
            family: self.family,
            title: self.title,
            state: self.state,
            attributes: attributes.unwrap_or_else(|| Json::from(&Value::Object(Map::new()))),
        };
        let (_, _, clock) = invocation.times(&store)?;
        let id = store.transact(|store| add(store, &new, clock.now()))?;
        invocation.id(id)
    }
}

/// The attributes without those that a pair gives an empty value, which clears one.
fn without_cleared(attributes: Json, pairs: &[String]) -> Json {
    let keys = pairs.iter().filter_map(|pair| pair.split_once('='));
    let keys: Vec<&str> = keys
        .map(|(key, _)| key.strip_suffix(':').unwrap_or(key))
        .collect();
    match attributes.value() {
        Value::Object(mut object) if !keys.is_empty() => {
            object.retain(|key, value| value.as_str() != Some("") || !keys.contains(&key.as_str()));
            Json::from(&Value::Object(object))
        }
        _ => attributes,
    }
}

impl Set {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store()?;
        let mut given = Map::new();
        values::add_pairs("attribute", &mut given, &self.attributes)?;
        let attributes = given.iter().map(|(name, value)| {
            let value = (value.as_str() != Some("")).then(|| Json::from(value));
            (name.clone(), value)
        });
        let changes = Changes {
            family: self.family,
            title: self.title,
            attributes: attributes.collect(),
        };
        let (_, zone, clock) = invocation.times(&store)?;
        store.transact(|store| {
            let id = store.document_id(&DocumentRef::Key(self.doc))?;
            change(store, id, changes, (zone, clock.now()))
        })
    }
}

/// What hangs on a document, with its dates as they are now.
fn timers(store: &Store, document: i64, zone: &Zone) -> Result<Vec<AttachmentView>> {
    let timers = store.attachments_of(document)?.into_iter();
    Ok(timers
        .map(|attachment| attachment.with_delta(zone))
        .collect())
}

fn show(invocation: &Invocation, doc: String) -> Result<()> {
    let store = invocation.store_to_read()?;
    let (_, zone, clock) = invocation.times(&store)?;
    let id = store.document_id(&DocumentRef::Key(doc))?;
    firing::settle_to_show(&store, id, (zone, clock.now()))?;
    let timers = timers(&store, id, &zone)?;
    let document = store.document(id)?;
    if invocation.out.json {
        return invocation.out.json(&Shown { document, timers });
    }
    let out = &invocation.out;
    for (name, value) in [
        ("id", document.id.to_string()),
        ("key", or_dash(document.key)),
        ("family", document.family),
        ("title", document.title),
        ("state", document.state),
        ("created_at", zone.show(document.created_at)),
        ("updated_at", zone.show(document.updated_at)),
    ] {
        out.line(format!("{name:<14} {value}"))?;
    }
    for (name, value) in document
        .attributes
        .value()
        .as_object()
        .into_iter()
        .flatten()
    {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        out.line(format!("  {name:<12} {value}"))?;
    }
    if !timers.is_empty() {
        out.line("")?;
    }
    super::timer_list::print_attachments(invocation, &zone, timers)
}

impl List {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store_to_read()?;
        let (_, zone, clock) = invocation.times(&store)?;
        let filter = DocumentFilter {
            family: self.family,
            state: self.state,
            title: self.title,
            limit: self.limit,
        };
        let documents = store.documents(&filter)?;
        if invocation.out.json {
            let shown = documents.into_iter().map(|document| {
                firing::settle_to_show(&store, document.id, (zone, clock.now()))?;
                let timers = timers(&store, document.id, &zone)?;
                Ok(Shown { document, timers })
            });
            return invocation.out.json(&shown.collect::<Result<Vec<_>>>()?);
        }
        let rows = documents.into_iter().map(|document| {
            [
                document.id.to_string(),
                or_dash(document.key),
                document.family,
                document.state,
                document.title,
                zone.show(document.updated_at),
            ]
        });
        invocation
            .out
            .table(["ID", "KEY", "FAMILY", "STATE", "TITLE", "UPDATED"], rows)
    }
}

fn history(invocation: &Invocation, doc: String) -> Result<()> {
    let store = invocation.store_to_read()?;
    let id = store.document_id(&DocumentRef::Key(doc))?;
    let history = store.history(id)?;
    if invocation.out.json {
        return invocation.out.json(&history);
    }
    let zone = store.settings()?.zone()?;
    history
        .iter()
        .try_for_each(|entry| invocation.out.line(history_text(&zone, entry)))
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
    let store = invocation.store()?;
    let (_, _, clock) = invocation.times(&store)?;
    store.transact(|store| {
        let id = store.document_id(&DocumentRef::Key(doc))?;
        for hanging in store.hanging_on(id, None)? {
            attach::detach(store, &hanging, clock.now())?;
        }
        store.delete_document(id)
    })
}
