//! `runner timer forecast`

use serde::Serialize;

use super::output::or_dash;
use super::{Invocation, Session};
use crate::error::Result;
use crate::firing::reschedule::forecast_from;
use crate::model::document::DocumentRef;
use crate::model::timer::Timer;
use crate::time::{Timestamp, Zone};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    name: String,
    /// Count from this date [default: the document's, else now]
    #[arg(long, value_name = "TIME")]
    reference: Option<String>,
    /// Count from the date of this document, attached or not
    #[arg(long, value_name = "DOC")]
    document: Option<String>,
    /// So many levels at most [default: 1000; with --json, all]
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

/// How many levels people are shown unless they ask for more.
const SHOWN: u32 = 1000;

/// A level and its date; none while the document has no date to count from, and where it cannot be written.
#[derive(Serialize)]
struct Entry<'a> {
    level: u32,
    action: usize,
    iteration: u32,
    due_at: Option<Timestamp>,
    state: Option<&'a str>,
    mail: &'a [String],
    method: Option<&'a str>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open_to_read()?;
        let Session { store, zone, .. } = &session;
        let id = store.timer_id(&self.name)?;
        let timer = store.timer(id)?;
        let given = session.time("--reference", self.reference.as_deref())?;
        let from = match (given, self.document) {
            (Some(given), _) => Some(given),
            (None, Some(doc)) => {
                let document = store.document_id(&DocumentRef::Key(doc))?;
                forecast_from(store, (id, &timer), document, session.when())?
            }
            (None, None) => Some(session.now()),
        };
        let most = match (self.limit, invocation.out.json) {
            (Some(limit), _) => limit,
            (None, true) => timer.levels(),
            (None, false) => SHOWN,
        };
        let levels = 0..timer.levels().min(most);
        let entries = levels.filter_map(|level| entry(&timer, zone, from, level));
        let entries: Vec<_> = entries.collect();
        if invocation.out.json {
            return invocation.out.json(&entries);
        }
        let no_date = match from {
            Some(_) => "outside the years 0000 to 9999",
            None => "waits for a date",
        };
        print(invocation, zone, no_date, &entries)?;
        match timer.levels() - timer.levels().min(most) {
            0 => Ok(()),
            more => invocation.out.line(format!("and {more} more: --limit")),
        }
    }
}

fn entry<'a>(
    timer: &'a Timer,
    zone: &Zone,
    from: Option<Timestamp>,
    number: u32,
) -> Option<Entry<'a>> {
    let due_at = from.and_then(|from| timer.due_at(zone, from, number).ok().flatten());
    timer.level(number).map(|(level, action)| Entry {
        level: number,
        action: level.action,
        iteration: level.iteration,
        due_at,
        state: action.state.as_deref(),
        mail: &action.mail,
        method: action.method.as_deref(),
    })
}

fn print(invocation: &Invocation, zone: &Zone, no_date: &str, entries: &[Entry<'_>]) -> Result<()> {
    let rows = entries.iter().map(|entry| {
        let due = entry.due_at.map(|due| zone.show(due));
        [
            entry.level.to_string(),
            due.unwrap_or_else(|| no_date.to_owned()),
            or_dash(entry.state),
            match entry.mail {
                [] => "-".to_owned(),
                mails => mails.join(", "),
            },
            or_dash(entry.method),
        ]
    });
    invocation
        .out
        .table(["LEVEL", "DUE", "STATE", "MAIL", "METHOD"], rows)
}
