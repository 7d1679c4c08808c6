//! `runner timer`

use serde_json::json;

use super::firing::Filter;
use super::output::or_dash;
use super::{Invocation, attachment, firing, timer_forecast, values};
use crate::error::{Error, Result};
use crate::firing::attach::detach_timer;
use crate::firing::define::define;
use crate::json::read_object;
use crate::model::firing::FiringStatus;
use crate::model::timer::{Action, Definition, Timer};
use crate::time::Zone;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Define a timer, or define it anew
    Set(Box<Set>),
    /// List the definitions
    List,
    /// Show a definition; with --json as 'timer set --from' takes it
    Show { name: String },
    /// Remove a definition
    Remove {
        name: String,
        /// Detach it first from all documents
        #[arg(long)]
        force: bool,
    },
    /// Say when the levels fall
    Forecast(timer_forecast::Args),
    /// Hang a timer on a document; prints the attachment's id
    Attach(attachment::Attach),
    /// Take a timer, or all of them, off a document
    Detach(attachment::Detach),
    /// What will fire, the soonest first
    Next(Filter),
    /// What fired, oldest first
    Done(Filter),
    /// What was skipped and can be fired by hand, oldest first
    Skipped(Filter),
    /// Fire a skipped level by hand
    Fire {
        /// Its id in 'timer skipped'
        id: i64,
    },
    /// Drop the records of old firings
    Purge(firing::Purge),
}

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    /// What it is called [default: with --from, what the definition says]
    #[arg(required_unless_present = "from")]
    name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "T", conflicts_with = "from")]
    title: Option<String>,
    /// Count from the date in this attribute of the document [default: the moment of attachment]
    #[arg(long, value_name = "ATTR", conflicts_with = "from")]
    reference: Option<String>,
    /// Add this to the date that it counts from, such as -5d
    #[arg(
        long,
        value_name = "D",
        allow_hyphen_values = true,
        conflicts_with = "from"
    )]
    delta: Option<String>,
    /// Attach it to documents of this family alone
    #[arg(
        long,
        value_name = "F",
        requires = "while_state",
        conflicts_with = "from"
    )]
    family: Option<String>,
    /// Attach it to documents that enter this state, and detach it from those that leave it; may repeat
    #[arg(long, value_name = "S", conflicts_with = "from")]
    while_state: Vec<String>,
    /// Attach it to the documents that are in its states already and were not in those of its definition before; prints to how
    /// many
    #[arg(long)]
    existing: bool,
    /// 'delay=5d, iterations=3, limit=1d, state=S, mail=T, method=M'; mail= may repeat, and a value with a comma in it
    /// stands in double quotes
    #[arg(long, value_name = "ACTION", required_unless_present = "from")]
    action: Vec<String>,
    /// The whole definition, as 'timer show --json' prints it: JSON, FILE or @FILE, or - for standard input
    #[arg(long, value_name = "JSON", conflicts_with = "action")]
    from: Option<String>,
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        match self {
            Self::Set(set) => set.run(invocation),
            Self::List => list(invocation),
            Self::Show { name } => show(invocation, &name),
            Self::Remove { name, force } => remove(invocation, &name, force),
            Self::Forecast(args) => args.run(invocation),
            Self::Attach(args) => args.run(invocation),
            Self::Detach(args) => args.run(invocation),
            Self::Next(filter) => attachment::next(invocation, &filter),
            Self::Done(filter) => firing::list(invocation, FiringStatus::Done, &filter),
            Self::Skipped(filter) => firing::list(invocation, FiringStatus::Skipped, &filter),
            Self::Fire { id } => firing::fire(invocation, id),
            Self::Purge(args) => args.run(invocation),
        }
    }
}

impl Set {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let existing = self.existing;
        let definition = match &self.from {
            Some(from) => given(from, self.name)?,
            None => self.definition()?,
        };
        if existing && definition.while_state.is_empty() {
            let reason =
                "the timer is bound to no states that documents could be in; give it --while-state";
            return Err(Error::usage("--existing", reason));
        }
        let timer = Timer::new(definition)?;
        let session = invocation.open()?;
        let attached = session
            .store
            .transact(|store| define(session.context(), store, &timer, existing))?;
        match attached {
            Some(count) => invocation.count("attached", count),
            None => Ok(()),
        }
    }

    fn definition(self) -> Result<Definition> {
        let delta = self.delta.as_deref().unwrap_or("0");
        let actions = self.action.iter().map(|text| text.parse::<Action>());
        Ok(Definition {
            name: self.name.unwrap_or_default(),
            title: self.title.unwrap_or_default(),
            reference: self.reference,
            family: self.family,
            while_state: self.while_state,
            delta: delta
                .parse()
                .map_err(|reason: String| Error::usage("--delta", reason))?,
            actions: actions.collect::<Result<_>>()?,
        })
    }
}

/// A name on the command line is the one that counts: so a definition can be copied.
fn given(from: &str, name: Option<String>) -> Result<Definition> {
    let is_json = from.trim_start().starts_with('{');
    let text = if is_json || from == "-" || from.starts_with('@') {
        values::body(from)?
    } else {
        values::body(&format!("@{from}"))?
    };
    let what = if is_json { "--from" } else { from };
    let read = read_object::<Definition>(&text)
        .map_err(|reason| Error::invalid(what, format!("no definition of a timer: {reason}")))?;
    let name = name.unwrap_or(read.name);
    if name.is_empty() {
        let reason = "the definition has no name; give one, as in 'runner timer set NAME --from …'";
        return Err(Error::usage("--from", reason));
    }
    Ok(Definition { name, ..read })
}

fn list(invocation: &Invocation) -> Result<()> {
    let timers = invocation.store_to_read()?.list_timers()?;
    if invocation.out.json {
        let all = timers.into_iter().map(|timer| {
            let mut shown = match timer.definition {
                Ok(definition) => json!(definition),
                Err(error) => {
                    let mut shown = json!(timer.stored);
                    shown["error"] = json!(error.to_string());
                    shown
                }
            };
            shown["paused"] = json!(timer.stored.paused);
            shown
        });
        return invocation.out.json(&all.collect::<Vec<_>>());
    }
    let rows = timers.into_iter().map(|timer| {
        let stored = timer.stored;
        let (delta, states, actions, title) = match timer.definition {
            Ok(known) => (
                known.delta.to_string(),
                or_dash(Some(known.while_state.join(", ")).filter(|states| !states.is_empty())),
                known.actions.len().to_string(),
                stored.title,
            ),
            Err(error) => (
                stored.delta,
                "?".to_owned(),
                "?".to_owned(),
                error.to_string(),
            ),
        };
        let reference = stored.reference;
        [
            stored.name,
            reference.unwrap_or_else(|| "the attachment".to_owned()),
            delta,
            states,
            actions,
            timer.attached.to_string(),
            if stored.paused { "paused" } else { "" }.to_owned(),
            title,
        ]
    });
    let headings = [
        "TIMER",
        "COUNTS FROM",
        "DELTA",
        "WHILE",
        "ACTIONS",
        "ATTACHED",
        "NOTE",
        "TITLE",
    ];
    invocation.out.table(headings, rows)
}

fn show(invocation: &Invocation, name: &str) -> Result<()> {
    let store = invocation.store_to_read()?;
    let definition = store.timer(store.timer_id(name)?)?.definition;
    let out = &invocation.out;
    if out.json {
        return out.json(&definition);
    }
    out.fields(&definition, &["actions"], &Zone::default())?;
    let mut actions = definition.actions.iter();
    actions.try_for_each(|action| {
        out.line(format!("action         {action}"))?;
        match &action.params {
            Some(params) => out.line(format!("  params       {}", params.text())),
            None => Ok(()),
        }
    })
}

fn remove(invocation: &Invocation, name: &str, force: bool) -> Result<()> {
    let session = invocation.open()?;
    session.store.transact(|store| {
        let id = store.timer_id(name)?;
        if force {
            detach_timer(store, id, session.now())?;
        } else if !store.attachments_of_timer(id, i64::MIN, 1)?.is_empty() {
            return Err(Error::invalid(
                format!("timer '{name}'"),
                "it is attached to documents; --force detaches it first",
            ));
        }
        store.delete_timer(id)
    })
}
