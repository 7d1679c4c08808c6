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
        let shown = if invocation.out.json { u32::MAX } else { SHOWN };
        let most = self.limit.unwrap_or(shown).min(timer.levels());
        let entries = (0..most).filter_map(|level| entry(&timer, zone, from, level));
        let no_date = match from {
            Some(_) => "outside the years 0000 to 9999",
            None => "waits for a date",
        };
        let headings = ["LEVEL", "DUE", "STATE", "MAIL", "METHOD"];
        let out = &invocation.out;
        out.list(&entries.collect::<Vec<_>>(), headings, |entry| {
            let due = entry.due_at.map(|due| zone.show(due));
            let mails = Some(entry.mail.join(", ")).filter(|mails| !mails.is_empty());
            [
                entry.level.to_string(),
                due.unwrap_or_else(|| no_date.to_owned()),
                or_dash(entry.state),
                or_dash(mails),
                or_dash(entry.method),
            ]
        })?;
        match timer.levels() - most {
            more if more > 0 && !out.json => out.line(format!("and {more} more: --limit")),
            _ => Ok(()),
        }
    }
}

fn entry<'a>(
    timer: &'a Timer,
    zone: &Zone,
    from: Option<Timestamp>,
    number: u32,
) -> Option<Entry<'a>> {
    let (level, action) = timer.level(number)?;
    Some(Entry {
        level: number,
        action: level.action,
        iteration: level.iteration,
        due_at: from.and_then(|from| timer.due_at(zone, from, number).ok().flatten()),
        state: action.state.as_deref(),
        mail: &action.mail,
        method: action.method.as_deref(),
    })
}
