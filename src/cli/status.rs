//! `runner status`

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};

use super::output::{Output, complain, counted};
use super::{Exit, Invocation};
use crate::error::Result;
use crate::firing::reschedule::reschedule_all;
use crate::model::attachment::AttachmentCounts;
use crate::model::email::EmailStatus;
use crate::model::pause::Pausable;
use crate::model::schedule::Schedule;
use crate::model::task::Status;
use crate::store::Store;
use crate::store::mail::BEFORE_ALL;
use crate::store::pause::Pauses;
use crate::store::task::StuckTask;
use crate::tick::note::last_tick;
use crate::time::{Duration, Timestamp, When, Zone};

/// How many of a kind are named one by one.
const MAX_NAMED: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Exit with 1 when the last finished tick is older than this, or there was none
    #[arg(long, value_name = "D", allow_hyphen_values = true, value_parser = Duration::positive)]
    max_age: Option<Duration>,
}

#[derive(Serialize)]
struct Report {
    database: String,
    now: Timestamp,
    last_tick: Option<Timestamp>,
    last_tick_age_s: Option<i64>,
    tasks: Counts,
    mails: Counts,
    timers: AttachmentCounts,
    schedules: ScheduleCounts,
    paused: Pauses,
    next_due: Option<Timestamp>,
    attention: Vec<String>,
}

/// How many schedules there are, are paused, and cannot add their tasks.
#[derive(Serialize)]
struct ScheduleCounts {
    defined: usize,
    paused: usize,
    failing: usize,
}

/// How many there are of each status.
type Counts = Map<String, Value>;

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let session = invocation.open_to_read()?;
        reschedule_all(&session.store, session.when(), drop)?;
        let report = Report::new(&session.store, session.when())?;
        let out = &invocation.out;
        out.show(&report, || report.print(out, &session.zone))?;
        Ok(match self.max_age {
            Some(max_age) => report.alarm(&max_age, &session.zone),
            None => Exit::Done,
        })
    }
}

impl Report {
    fn new(store: &Store, when: When) -> Result<Self> {
        let now = when.now;
        let schedules = store.schedules()?;
        let count = |is_meant: fn(&Schedule) -> bool| {
            schedules
                .iter()
                .filter(|schedule| is_meant(schedule))
                .count()
        };
        let last_tick = last_tick(store.files())?;
        let mut report = Self {
            database: store.files().beside("").display().to_string(),
            now,
            last_tick,
            last_tick_age_s: last_tick.map(|at| now.seconds_since(at)),
            tasks: count_tasks(store)?,
            mails: count_mails(store)?,
            timers: store.count_attachments()?,
            schedules: ScheduleCounts {
                defined: schedules.len(),
                paused: count(|schedule| schedule.paused),
                failing: count(|schedule| schedule.error.is_some()),
            },
            paused: store.pauses()?,
            next_due: if store.has_ready_task(now)? || store.has_queued_mail(BEFORE_ALL, now)? {
                Some(now)
            } else {
                store.next_due(None)?
            },
            attention: Vec::new(),
        };
        report.attention = paused(&report.paused);
        report.attention.extend(report.attention());
        report.attention.extend(put_off(store)?);
        let late = schedules
            .iter()
            .filter(|schedule| schedule.is_set_back(when));
        report.attention.extend(late.map(|schedule| {
            let name = &schedule.name;
            format!("the clock was ahead when the next date of schedule '{name}' was worked out: remove it and set it again")
        }));
        report.attention.extend(stuck_chains(store)?);
        Ok(report)
    }

    /// What somebody should look at, with the command that shows it.
    fn attention(&self) -> Vec<String> {
        let tasks = |status: Status| self.tasks[status.as_str()].as_i64().unwrap_or(0);
        let mails = self.mails[EmailStatus::Failed.as_str()].as_i64();
        let (failing, skipped) = (self.timers.failing, self.timers.skipped);
        let found = [
            (
                counted(tasks(Status::Failed), "task", "failed"),
                "task list --status FAILED",
            ),
            (
                counted(tasks(Status::Interrupted), "task", "interrupted"),
                "task list --status INTERRUPTED",
            ),
            (
                counted(mails.unwrap_or(0), "mail", "failed"),
                "mail list --status failed",
            ),
            (counted(failing, "timer", "failing"), "timer next"),
            (counted(skipped, "level", "skipped"), "timer skipped"),
            (
                self.last_tick
                    .is_none()
                    .then(|| "no tick has run yet".to_owned()),
                "crontab --install",
            ),
            (
                counted(self.schedules.failing as i64, "schedule", "failing"),
                "schedule list",
            ),
        ];
        let found = found.into_iter();
        found
            .filter_map(|(what, command)| Some(format!("{}: 'runner {command}'", what?)))
            .collect()
    }

    fn print(&self, out: &Output, zone: &Zone) -> Result<()> {
        let at = |time: Option<Timestamp>, none: &str| {
            time.map_or_else(|| none.to_owned(), |time| zone.show(time))
        };
        let timers = &self.timers;
        let (attached, undated, failing) = (timers.attached, timers.undated, timers.failing);
        let skipped = counted(timers.skipped, "level", "skipped");
        let skipped = skipped.unwrap_or_else(|| "0 levels skipped".to_owned());
        for (name, text) in [
            ("database", self.database.clone()),
            ("last tick", at(self.last_tick, "never")),
            ("next due", at(self.next_due, "nothing")),
            ("tasks", in_words(&self.tasks)),
            ("mails", in_words(&self.mails)),
            (
                "timers",
                format!(
                    "{attached} attached, {undated} waiting for a date, {failing} failing, {skipped}"
                ),
            ),
        ] {
            out.line(format!("{name:<9}  {text}"))?;
        }
        let ScheduleCounts {
            defined,
            paused,
            failing,
        } = self.schedules;
        if defined > 0 {
            out.line(format!(
                "schedules  {defined} defined, {paused} paused, {failing} failing"
            ))?;
        }
        let mut attention = self.attention.iter();
        attention.try_for_each(|sentence| out.line(format!("attention  {sentence}")))
    }

    /// Complains when the last tick is too old: cron cannot report its own death.
    fn alarm(&self, max_age: &Duration, zone: &Zone) -> Exit {
        let oldest = zone.add(self.now, &-*max_age);
        match self.last_tick {
            Some(last) if oldest.is_none_or(|oldest| last >= oldest) => return Exit::Done,
            Some(last) => complain(&format!(
                "the last tick ended at {}, more than {max_age} ago; is cron running?",
                zone.show(last)
            )),
            None => complain(
                &"no tick has ended yet; 'runner crontab --install' makes cron run it each minute",
            ),
        }
        Exit::Failed
    }
}

/// What is started by nobody until somebody resumes it.
pub(super) fn paused(pauses: &Pauses) -> Vec<String> {
    let everything = "everything is paused: 'runner resume'".to_owned();
    let everything = pauses.everything.then_some(everything).into_iter();
    let all = [
        (Pausable::Method, &pauses.methods),
        (Pausable::Timer, &pauses.timers),
        (Pausable::Schedule, &pauses.schedules),
    ];
    let named = all.into_iter().flat_map(|(what, names)| {
        let what = what.as_str();
        let say = move |name| format!("{what} {name} is paused: 'runner resume {what} {name}'");
        names.iter().map(say)
    });
    everything.chain(named).collect()
}

/// What goes from state to state in a circle, and would else never end.
fn put_off(store: &Store) -> Result<Vec<String>> {
    let put_off = store.put_off_attachments()?;
    let others = |count| {
        let more = counted(count, "other timer", "put off")?;
        Some(format!("{more}: 'runner timer next'"))
    };
    Ok(named(&put_off, others, |row| {
        let (timer, document) = (&row.timer, row.document);
        format!(
            "timer {timer} on document {document} is put off to the next tick: it was attached twice in one"
        )
    }))
}

/// A sentence for each of the first of a kind, and one for the others, if there are any.
fn named<T>(
    all: &[T],
    others: impl Fn(i64) -> Option<String>,
    sentence: impl Fn(&T) -> String,
) -> Vec<String> {
    let named = all.iter().take(MAX_NAMED).map(sentence);
    let left = all.len().saturating_sub(MAX_NAMED) as i64;
    named.chain(others(left)).collect()
}

/// The tasks that wait for one that will not be completed unless somebody restarts it.
pub(super) fn stuck_chains(store: &Store) -> Result<Vec<String>> {
    let stuck = store.stuck_tasks()?;
    let others = |count| {
        let more = counted(count, "other task", "not going on")?;
        Some(format!("{more}: 'runner task list --status WAITING'"))
    };
    Ok(named(
        &stuck,
        others,
        |StuckTask { id, before }| match before {
            Some((before, status)) => {
                let how = match status {
                    Status::Failed => "has failed",
                    Status::Interrupted => "was interrupted",
                    _ => "was cancelled",
                };
                format!(
                    "task {id} waits for task {before}, which {how}: 'runner task restart {before}' or 'runner task cancel {id}'"
                )
            }
            None => format!("task {id} waits for a task that is gone: 'runner task cancel {id}'"),
        },
    ))
}

fn count_tasks(store: &Store) -> Result<Counts> {
    let counted = store.count_tasks()?;
    let counts = Status::value_variants().iter().map(|status| {
        let found = counted.iter().find(|(found, _)| found == status);
        let count = found.map_or(0, |(_, count)| *count);
        (status.to_string(), count.into())
    });
    Ok(counts.collect())
}

/// Those that were sent grow without end, and are not counted.
fn count_mails(store: &Store) -> Result<Counts> {
    let statuses = [
        EmailStatus::Queued,
        EmailStatus::Sending,
        EmailStatus::Failed,
    ];
    let counts = statuses.map(|status| Ok((status.to_string(), store.count_mails(status)?.into())));
    counts.into_iter().collect()
}

fn in_words(counts: &Counts) -> String {
    let counts = counts.iter().filter(|(_, count)| **count != 0);
    let words = counts.map(|(status, count)| format!("{count} {status}"));
    match words.collect::<Vec<_>>() {
        none if none.is_empty() => "none".to_owned(),
        words => words.join(", "),
    }
}
