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
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        requires = "name"
    )]
    reference: Option<String>,
    /// What is to come on this document; a timer that is not attached counts as if it were
    #[arg(long, value_name = "DOC")]
    document: Option<String>,
    /// So many levels at most [default: 1000; with --json, all]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    limit: Option<u32>,
}

/// How many levels people are shown unless they ask for more.
const SHOWN: usize = 1000;

const OUTSIDE: &str = "outside the years 0000 to 9999";

/// A level and its date; none while the document has no date to count from, and where it cannot be written.
#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    coming: Option<Coming>,
    level: u32,
    action: usize,
    iteration: u32,
    due_at: Option<Timestamp>,
    state: Option<String>,
    mail: Vec<String>,
    method: Option<String>,
}

/// A level on a document.
#[derive(Serialize)]
struct Coming {
    timer: String,
    /// How many seconds there are until it is due; negative when that is past.
    in_s: Option<i64>,
    /// What must come first, but for its date.
    waits_for: Option<String>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open_to_read()?;
        let Session { store, zone, .. } = &session;
        let out = &invocation.out;
        let shown = if out.json { usize::MAX } else { SHOWN };
        let most = self.limit.map_or(shown, |limit| limit as usize);
        let given = session.time("--reference", self.reference.as_deref())?;
        let name = self.name.as_deref();
        let hidden = match (&self.document, name) {
            (Some(document), _) if given.is_none() => {
                let (coming, all) = on_document(&session, document, name, most)?;
                let headings = ["DUE", "IN", "TIMER", "LEVEL", "STATE", "MAIL", "METHOD"];
                out.list(&coming, headings, |level| level.row_on_document(zone))?;
                all - coming.len()
            }
            _ => {
                let timer = store.timer(store.timer_id(name.unwrap_or_default())?)?;
                let from = given.unwrap_or_else(|| session.now());
                let levels: Vec<_> = levels(&timer, zone, Some(from), 0).take(most).collect();
                let headings = ["LEVEL", "DUE", "STATE", "MAIL", "METHOD"];
                out.list(&levels, headings, |level| level.row(zone))?;
                timer.levels() as usize - levels.len()
            }
        };
        if hidden > 0 && !out.json {
            out.line(format!("and {hidden} more: --limit"))?;
        }
        Ok(())
    }
}

/// The first so many levels that are to come on a document, and how many there are in all: those of this timer, else of
/// all that are attached to it.
fn on_document(
    session: &Session<'_>,
    document: &str,
    timer: Option<&str>,
    most: usize,
) -> Result<(Vec<Entry>, usize)> {
    let store = &session.store;
    let document = store.document_id(&DocumentRef::Key(document.to_owned()))?;
    reschedule_to_show(store, document, session.when())?;
    let timers: Vec<(i64, Option<Attachment>)> = match timer {
        Some(name) => {
            let id = store.timer_id(name)?;
            vec![(id, store.find_attachment(id, document)?)]
        }
        None => {
            let attached = store.attachments_on(document, None)?.into_iter();
            attached.map(|row| (row.timer, Some(row))).collect()
        }
    };
    let (mut coming, mut all) = (Vec::new(), 0);
    for (id, row) in timers {
        let (of_timer, count) = of_timer(session, document, (id, row.as_ref()), most)?;
        coming.extend(of_timer);
        all += count;
    }
    coming.sort_by_key(|level| (level.due_at.is_none(), level.due_at));
    coming.truncate(most);
    Ok((coming, all))
}

/// The first so many levels of a timer that are to come on a document, and how many there are in all: without those that
/// the next tick skips, and those after one that takes the document out of the timer's states.
fn of_timer(
    session: &Session<'_>,
    document: i64,
    (id, row): (i64, Option<&Attachment>),
    most: usize,
) -> Result<(Vec<Entry>, usize)> {
    let (store, zone, now) = (&session.store, &session.zone, session.now());
    let timer = store.timer(id)?;
    let definition = &timer.definition;
    let is_inside = store.admits(definition, document)?;
    let from = match row {
        Some(row) => row.counted_from,
        None if is_inside => forecast_from(store, (id, &timer), document, session.when())?,
        None => None,
    };
    let missing = match (&definition.reference, from) {
        _ if row.is_none() && !is_inside => Some(definition.own_states()),
        (Some(attribute), None) => Some(format!("a date in {attribute}")),
        _ => None,
    };
    let first = row.map_or(0, |row| row.level);
    let begun = row.map_or(Ok(None), |row| under_way(store, row))?;
    let has_changed_state = row.is_some_and(|row| row.step > Step::State);
    let hour_limit = session.context().settings.hour_limit()?;
    let (mut coming, mut left) = (Vec::new(), timer.levels().saturating_sub(first) as usize);
    for level in levels(&timer, zone, from, first) {
        left -= 1;
        let begun = begun.as_ref().filter(|_| level.level == first);
        let action = &definition.actions[level.action];
        let latest = |due_at| action.latest(due_at, zone, hour_limit);
        let is_too_late = level
            .due_at
            .and_then(latest)
            .is_some_and(|latest| now > latest);
        if begun.is_none() && is_too_late {
            continue;
        }
        let is_last = if level.level == first && has_changed_state {
            !is_inside
        } else {
            definition.is_left_for(level.state.as_deref())
        };
        let waits_for = missing.as_ref().or(begun).cloned();
        coming.push(level.on_document(&timer, waits_for, now));
        if is_last {
            left = 0;
        }
        if is_last || coming.len() == most {
            break;
        }
    }
    let all = coming.len() + left;
    Ok((coming, all))
}

/// What a level that is begun waits for.
fn under_way(store: &Store, row: &Attachment) -> Result<Option<String>> {
    Ok(match (row.step, row.task) {
        (Step::Mails, _) if row.mail_count > 0 => Some("its mails".to_owned()),
        (Step::Method, Some(task)) => {
            let status = store.task_status(task)?;
            let is_pending = status.is_some_and(|status| !status.is_ended());
            is_pending.then(|| format!("task {task}"))
        }
        _ => None,
    })
}

/// The levels of a timer from this one on.
fn levels(
    timer: &Timer,
    zone: &Zone,
    from: Option<Timestamp>,
    first: u32,
) -> impl Iterator<Item = Entry> {
    (first..timer.levels()).filter_map(move |number| {
        let (level, action) = timer.level(number)?;
        Some(Entry {
            coming: None,
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

impl Entry {
    fn on_document(self, timer: &Timer, waits_for: Option<String>, now: Timestamp) -> Self {
        let coming = Coming {
            timer: timer.definition.name.clone(),
            in_s: self.due_at.map(|due| due.seconds_since(now)),
            waits_for,
        };
        Self {
            coming: Some(coming),
            ..self
        }
    }

    fn row(&self, zone: &Zone) -> [String; 5] {
        let due = self.due_at.map(|due| zone.show(due));
        let mails = Some(self.mail.join(", ")).filter(|mails| !mails.is_empty());
        [
            self.level.to_string(),
            due.unwrap_or_else(|| OUTSIDE.to_owned()),
            or_dash(self.state.as_ref()),
            or_dash(mails),
            or_dash(self.method.as_ref()),
        ]
    }

    fn row_on_document(&self, zone: &Zone) -> [String; 7] {
        let [level, due, state, mail, method] = self.row(zone);
        let coming = self.coming.as_ref().expect("it is a level on a document");
        let waits = coming.waits_for.as_ref();
        let waits = waits.map(|what| format!("waits for {what}"));
        let timer = coming.timer.clone();
        let (due, until) = match coming.in_s {
            Some(seconds) => (due, waits.unwrap_or_else(|| until(seconds))),
            None => (waits.unwrap_or(due), "-".to_owned()),
        };
        [due, until, timer, level, state, mail, method]
    }
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
