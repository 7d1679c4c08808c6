//! `runner schedule`

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::Invocation;
use super::output::or_dash;
use super::schedule_import::Import;
use super::task_add::WorkArgs;
use crate::enqueue::{Enqueue, file_name};
use crate::error::{Error, Result};
use crate::model::schedule::{Missed, Overlap, Schedule};
use crate::schedule::run_now;
use crate::store::schedule::ScheduleFile;
use crate::time::{CronExpression, Duration, Timestamp, Zone};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Define one, or define it anew: runner schedule set nightly --cron '30 2 * * *' Backup:run
    Set(Box<Set>),
    /// List the schedules
    List,
    /// Show all of one
    Show { name: String },
    /// Show what comes next
    Next(Next),
    /// Add what is in a crontab: a method and a schedule for each line; all of it or nothing
    Import(Import),
    /// Add one task of it now
    Run { name: String },
    /// Remove one; its tasks stay
    Remove { name: String },
}

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    name: String,
    /// When: five fields (minute, hour, day, month, weekday), or @hourly, @daily, @weekly, @monthly, @yearly
    #[arg(long, value_name = "EXPR", required_unless_present = "every", conflicts_with = "every", value_parser = cron)]
    cron: Option<String>,
    /// How often, such as 15m or 1d
    #[arg(long, value_name = "D", allow_hyphen_values = true, value_parser = Duration::positive)]
    every: Option<Duration>,
    /// When an interval begins [default: one interval from now]
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        conflicts_with = "cron"
    )]
    first: Option<String>,
    /// The time zone that it is meant in [default: the setting time.zone, else the system's]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<String>,
    /// What becomes of occurrences that were missed: one task for all of them, or one for each
    #[arg(long, value_enum, default_value_t = Missed::Last)]
    missed: Missed,
    /// Add no task that would be later than this
    #[arg(long, value_name = "D", allow_hyphen_values = true, value_parser = Duration::positive)]
    limit: Option<Duration>,
    /// What becomes of an occurrence while a task of an earlier one is not over
    #[arg(long, value_enum, default_value_t = Overlap::Skip)]
    overlap: Overlap,
    /// The method of its tasks
    method: String,
    #[command(flatten)]
    work: WorkArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Next {
    /// Of this schedule alone
    name: Option<String>,
    /// So many at most
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value_t = 20
    )]
    limit: usize,
}

/// An occurrence that is to come.
#[derive(Debug, Serialize)]
struct Upcoming {
    schedule: String,
    at: Timestamp,
}

fn cron(text: &str) -> Result<String, String> {
    CronExpression::parse(text).map(|_| text.trim().to_owned())
}

fn zone(name: &str) -> Result<String, String> {
    Zone::parse(name).map(|_| name.to_owned())
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        match self {
            Self::Set(set) => set.run(invocation),
            Self::List => list(invocation),
            Self::Show { name } => show(invocation, &name),
            Self::Next(next) => next.run(invocation),
            Self::Import(import) => import.run(invocation),
            Self::Run { name } => run(invocation, &name),
            Self::Remove { name } => {
                let store = invocation.store()?;
                store.transact(|store| store.delete_schedule(&name))
            }
        }
    }
}

impl Set {
    fn run(self, invocation: &Invocation) -> Result<()> {
        check_name(&self.name)?;
        let session = invocation.open()?;
        let (now, zone) = (session.now(), session.zone);
        let task = self.work.read(self.method)?;
        let (file, unique) = (
            task.file.as_deref().map(read_file).transpose()?,
            task.unique,
        );
        let first_at = session.time("--first", self.first.as_deref())?;
        session.store.transact(|store| {
            let enqueue = Enqueue::new(store, &invocation.functions, session.when())?;
            let mut schedule = Schedule {
                cron: self.cron,
                every: self.every.map(|every| every.to_string()),
                first_at,
                zone: self.zone,
                missed: self.missed,
                limit: self.limit.map(|limit| limit.to_string()),
                overlap: self.overlap,
                unique,
                ..enqueue.check(task)?.into_schedule(self.name, now)
            };
            // A first date that is now is an occurrence too.
            let before_first = first_at.and_then(|first| first.plus_seconds(-1));
            schedule.since_at = before_first
                .filter(|_| first_at >= Some(now))
                .unwrap_or(now);
            schedule.next_at = Some(first_date(&schedule, zone)?);
            // What it was due for already, it still is, unless its dates are others now.
            let former = store.find_schedule(&schedule.name)?;
            if let Some(former) = former.filter(|former| former.has_dates_of(&schedule)) {
                schedule.since_at = former.since_at;
                schedule.next_at = former.next_at;
            }
            store.upsert_schedule(&schedule, file.as_ref())
        })
    }
}

fn first_date(schedule: &Schedule, zone: Zone) -> Result<Timestamp> {
    let date = schedule.first_date(zone);
    date.map_err(|reason| Error::invalid(format!("schedule '{}'", schedule.name), reason))
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        let reason = "a schedule needs a name without control characters, such as nightly-backup";
        return Err(Error::invalid(format!("schedule '{name}'"), reason));
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<ScheduleFile> {
    Ok(ScheduleFile {
        name: file_name(path)?.to_owned(),
        content: fs::read(path).map_err(|source| Error::io(path, source))?,
    })
}

fn list(invocation: &Invocation) -> Result<()> {
    let session = invocation.open_to_read()?;
    let schedules = session.store.schedules()?;
    let headings = ["SCHEDULE", "WHEN", "METHOD", "NEXT", "LAST TASK", "NOTE"];
    let show = |at: Option<Timestamp>| or_dash(at.map(|at| session.zone.show(at)));
    invocation.out.list(&schedules, headings, |schedule| {
        let every = schedule.every.iter().map(|every| format!("every {every}"));
        [
            schedule.name.clone(),
            schedule.cron.iter().cloned().chain(every).collect(),
            schedule.method.clone(),
            show(schedule.next_at),
            or_dash(schedule.last_task),
            match (&schedule.error, schedule.paused) {
                (Some(error), _) => error.clone(),
                (None, true) => "paused".to_owned(),
                (None, false) => String::new(),
            },
        ]
    })
}

fn show(invocation: &Invocation, name: &str) -> Result<()> {
    let session = invocation.open_to_read()?;
    let schedule = session.store.schedule(name)?;
    let out = &invocation.out;
    out.show(&schedule, || out.fields(&schedule, &[], &session.zone))
}

impl Next {
    fn run(self, invocation: &Invocation) -> Result<()> {
        let session = invocation.open_to_read()?;
        let schedules = match &self.name {
            Some(name) => vec![session.store.schedule(name)?],
            None => session.store.schedules()?,
        };
        let mut upcoming = Vec::new();
        for schedule in schedules.iter().filter(|schedule| !schedule.paused) {
            // What is wrong with one is told by the tick and by status.
            let dates = schedule.dates(session.zone).into_iter().flatten();
            upcoming.extend(dates.take(self.limit).map(|at| Upcoming {
                schedule: schedule.name.clone(),
                at,
            }));
        }
        upcoming.sort_by_key(|next| next.at);
        upcoming.truncate(self.limit);
        let headings = ["SCHEDULE", "AT"];
        invocation.out.list(&upcoming, headings, |next| {
            [next.schedule.clone(), session.zone.show(next.at)]
        })
    }
}

fn run(invocation: &Invocation, name: &str) -> Result<()> {
    let session = invocation.open()?;
    let id = session.store.transact(|store| {
        let enqueue = Enqueue::new(store, &invocation.functions, session.when())?;
        run_now(store, &enqueue, &store.schedule(name)?)
    })?;
    invocation.id(id)
}
