//! `runner timer forecast`

use serde::Serialize;

use super::output::or_dash;
use super::{Invocation, Session};
use crate::error::Result;
use crate::firing::reschedule::{forecast_from, reschedule_to_show};
use crate::model::attachment::Attachment;
use crate::model::document::DocumentRef;
use crate::model::timer::{Step, Timer};
use crate::store::Store;
use crate::time::{Duration, Timestamp, Zone};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The timer [default: with --document, all that are attached to it]
    #[arg(required_unless_present = "document")]
    name: Option<String>,
    /// Count from this date [default: the document's, else now]
    #[arg(long, value_name = "TIME", requires = "name")]
    reference: Option<String>,
    /// Say what is to come on this document; a timer that is not attached counts as if it were
    #[arg(long, value_name = "DOC")]
    document: Option<String>,
    /// So many levels at most [default: 1000; with --json, all]
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

/// How many levels people are shown unless they ask for more.
const SHOWN: usize = 1000;

/// A level and its date; none while the document has no date to count from, and where it cannot be written.
#[derive(Serialize)]
struct Entry {
    level: u32,
    action: usize,
    iteration: u32,
    due_at: Option<Timestamp>,
    state: Option<String>,
    mail: Vec<String>,
    method: Option<String>,
}

/// A level that is to come on a document.
#[derive(Serialize)]
struct Coming {
    timer: String,
    #[serde(flatten)]
    entry: Entry,
    /// How many seconds there are until then; negative when it is past.
    in_s: Option<i64>,
    /// What must come first, but for its date.
    waits_for: Option<String>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open_to_read()?;
        let from = session.time("--reference", self.reference.as_deref())?;
        match (&self.document, &self.name) {
            (Some(document), _) if from.is_none() => {
                self.of_document(invocation, &session, document)
            }
            (_, name) => {
                let name = name.as_deref().unwrap_or_default();
                self.of_timer(invocation, &session, name, from)
            }
        }
    }

    fn of_timer(
        &self,
        invocation: &Invocation,
        session: &Session<'_>,
        name: &str,
        from: Option<Timestamp>,
    ) -> Result<()> {
        let Session { store, zone, .. } = session;
        let timer = store.timer(store.timer_id(name)?)?;
        let from = from.unwrap_or_else(|| session.now());
        let most = self.most(invocation);
        let entries = entries(&timer, zone, Some(from), 0).take(most);
        let headings = ["LEVEL", "DUE", "STATE", "MAIL", "METHOD"];
        invocation
            .out
            .list(&entries.collect::<Vec<_>>(), headings, |entry| {
                let due = entry.due_at.map(|due| zone.show(due));
                let [state, mail, method] = entry.steps();
                let due = due.unwrap_or_else(|| OUTSIDE.to_owned());
                [entry.level.to_string(), due, state, mail, method]
            })?;
        more(invocation, (timer.levels() as usize).saturating_sub(most))
    }

    fn of_document(
        &self,
        invocation: &Invocation,
        session: &Session<'_>,
        document: &str,
    ) -> Result<()> {
        let store = &session.store;
        let document = store.document_id(&DocumentRef::Key(document.to_owned()))?;
        reschedule_to_show(store, document, session.when())?;
        let most = self.most(invocation);
        let (mut coming, mut levels) = (Vec::new(), 0);
        for (id, row) in self.timers(session, document)? {
            let timer = store.timer(id)?;
            let from = match &row {
                Some(row) => row.counted_from,
                None => forecast_from(store, (id, &timer), document, session.when())?,
            };
            let first = row.as_ref().map_or(0, |row| row.level);
            let waits_for = match &row {
                _ if from.is_none() => no_date(&timer),
                Some(row) => under_way(store, row)?,
                None => None,
            };
            let entries = entries(&timer, &session.zone, from, first).take(most);
            coming.extend(entries.map(|entry| {
                Coming {
                    timer: timer.definition.name.clone(),
                    in_s: entry.due_at.map(|due| due.seconds_since(session.now())),
                    waits_for: waits_for
                        .clone()
                        .filter(|_| from.is_none() || entry.level == first),
                    entry,
                }
            }));
            levels += (timer.levels() - first) as usize;
        }
        coming.sort_by_key(|level| (level.entry.due_at.is_none(), level.entry.due_at));
        coming.truncate(most);
        let headings = ["DUE", "IN", "TIMER", "LEVEL", "STATE", "MAIL", "METHOD"];
        invocation
            .out
            .list(&coming, headings, |level| level.row(&session.zone))?;
        more(invocation, levels - coming.len())
    }

    /// The timers to look at by their ids, each with its attachment if it has one.
    fn timers(
        &self,
        session: &Session<'_>,
        document: i64,
    ) -> Result<Vec<(i64, Option<Attachment>)>> {
        let store = &session.store;
        let Some(name) = &self.name else {
            let attached = store.attachments_on(document, None)?.into_iter();
            return Ok(attached.map(|row| (row.timer, Some(row))).collect());
        };
        let id = store.timer_id(name)?;
        Ok(vec![(id, store.find_attachment(id, document)?)])
    }

    fn most(&self, invocation: &Invocation) -> usize {
        let shown = if invocation.out.json {
            usize::MAX
        } else {
            SHOWN
        };
        self.limit.map_or(shown, |limit| limit as usize)
    }
}

const OUTSIDE: &str = "outside the years 0000 to 9999";

/// The levels of a timer from this one on.
fn entries(
    timer: &Timer,
    zone: &Zone,
    from: Option<Timestamp>,
    first: u32,
) -> impl Iterator<Item = Entry> {
    (first..timer.levels()).filter_map(move |number| {
        let (level, action) = timer.level(number)?;
        Some(Entry {
            level: number,
            action: level.action,
            iteration: level.iteration,
            due_at: from.and_then(|from| timer.due_at(zone, from, number).ok().flatten()),
            state: action.state.clone(),
            mail: action.mail.clone(),
            method: action.method.clone(),
        })
    })
}

fn more(invocation: &Invocation, count: usize) -> Result<()> {
    if count == 0 || invocation.out.json {
        return Ok(());
    }
    invocation.out.line(format!("and {count} more: --limit"))
}

impl Entry {
    /// What is done at it, for a table.
    fn steps(&self) -> [String; 3] {
        let mails = Some(self.mail.join(", ")).filter(|mails| !mails.is_empty());
        [
            or_dash(self.state.as_ref()),
            or_dash(mails),
            or_dash(self.method.as_ref()),
        ]
    }
}

impl Coming {
    fn row(&self, zone: &Zone) -> [String; 7] {
        let waits = self
            .waits_for
            .as_ref()
            .map(|what| format!("waits for {what}"));
        let due = self.entry.due_at.map(|due| zone.show(due));
        let (due, until) = match (due, self.in_s) {
            (Some(due), Some(seconds)) => (due, waits.unwrap_or_else(|| until(seconds))),
            _ => (waits.unwrap_or_else(|| OUTSIDE.to_owned()), "-".to_owned()),
        };
        let [state, mail, method] = self.entry.steps();
        let level = self.entry.level.to_string();
        [due, until, self.timer.clone(), level, state, mail, method]
    }
}

fn no_date(timer: &Timer) -> Option<String> {
    let attribute = timer.definition.reference.as_ref()?;
    Some(format!("a date in {attribute}"))
}

/// What a level that is begun waits for.
fn under_way(store: &Store, row: &Attachment) -> Result<Option<String>> {
    Ok(match (row.step, row.task) {
        (Step::Mails, _) if row.mail_count > 0 => Some("its mails".to_owned()),
        (Step::Method, Some(task)) => {
            let is_pending = store
                .task_status(task)?
                .is_some_and(|status| !status.is_ended());
            is_pending.then(|| format!("task {task}"))
        }
        _ => None,
    })
}

/// How long there is to wait, to the hour when it is days, and to the minute when it is hours.
fn until(seconds: i64) -> String {
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    let length = match seconds {
        ..=0 => return "now".to_owned(),
        DAY.. => Duration::new(0, seconds / DAY, seconds % DAY / HOUR * HOUR),
        HOUR.. => Duration::new(0, 0, seconds / 60 * 60),
        _ => Duration::new(0, 0, seconds),
    };
    length.to_string()
}
