//! `runner schedule import`

use std::fs::{self, File};
use std::io::{self, Read};

use serde::Serialize;

use super::output::complain;
use super::session::Invocation;
use crate::error::{Error, Result};
use crate::model::crontab::{Crontab, Job};
use crate::model::method::Method;
use crate::store::Store;
use crate::store::task::TaskRow;
use crate::time::When;

/// What the names of imported methods begin with.
const SERVICE: &str = "cron:";

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// A crontab; - for standard input, as in: crontab -l | runner schedule import -
    file: String,
    /// It is one of the system, in which each line names a user
    #[arg(long)]
    system: bool,
    /// Say what would be added, and add nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Report {
    schedules: Vec<Imported>,
    left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
struct Imported {
    line: usize,
    schedule: String,
    cron: String,
    method: String,
    command: Vec<String>,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct LeftOut {
    line: usize,
    variable: String,
}

impl Import {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let text = read(&self.file)?;
        let refused =
            |reason: String| Error::invalid(&self.file, format!("{reason}; nothing was added"));
        let crontab = Crontab::parse(&text, self.system).map_err(refused)?;
        for job in &crontab.jobs {
            check_user(job).map_err(refused)?;
        }
        let session = invocation.open()?;
        session.store.transact(|store| {
            for job in &crontab.jobs {
                if let Some(reason) = taken(store, job)? {
                    return Err(refused(reason));
                }
                if !self.dry_run {
                    add(store, job, session.when()).map_err(|error| refused(error.to_string()))?;
                }
            }
            Ok(())
        })?;
        print(invocation, &Report::of(crontab))
    }
}

/// Who runs the ticks runs the commands too.
fn check_user(job: &Job) -> Result<(), String> {
    let Some(user) = &job.user else { return Ok(()) };
    let us = rustix::process::geteuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_us = users.lines().any(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        fields.first() == Some(&user.as_str()) && fields.get(2) == Some(&us.as_str())
    });
    if is_us {
        return Ok(());
    }
    let line = job.line;
    Err(format!(
        "line {line}: it runs as '{user}', and you are another user; import it with a database of that user"
    ))
}

/// A crontab, whatever the encoding of its comments; a mark of the byte order is none of its text.
fn read(path: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let read = match path {
        "-" => io::stdin().read_to_end(&mut bytes),
        path => File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.map_err(|source| Error::io(path.as_ref(), source))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// Why a job cannot have its name, if it cannot: what is there already stays.
fn taken(store: &Store, job: &Job) -> Result<Option<String>> {
    let Job { line, name, .. } = job;
    if store.find_schedule(name)?.is_some() {
        return Ok(Some(format!(
            "line {line}: there is a schedule '{name}' already; 'runner schedule remove {name}' makes room for it"
        )));
    }
    let method = method_name(job);
    let mut methods = store.list_methods()?.into_iter();
    let is_other = methods.any(|known| known.name == method && known.command != job.command);
    Ok(is_other.then(|| {
        format!("line {line}: there is another method '{method}' already; 'runner method remove {method}' makes room for it")
    }))
}

fn method_name(job: &Job) -> String {
    format!("{SERVICE}{}", job.name)
}

fn add(store: &Store, job: &Job, when: When) -> Result<()> {
    let method = Method::new(method_name(job), job.command.clone());
    store.set_method(&method)?;
    let task = TaskRow {
        method: method.name,
        ..TaskRow::default()
    };
    let mut schedule = task.into_schedule(job.name.clone(), when.now);
    schedule.cron = Some(job.cron.clone());
    schedule.zone.clone_from(&job.zone);
    let first = schedule.first_date(when.zone);
    schedule.next_at = Some(first.map_err(|reason| Error::invalid("its dates", reason))?);
    store.upsert_schedule(&schedule, None)
}

impl Report {
    fn of(crontab: Crontab) -> Self {
        let imported = |job: Job| Imported {
            line: job.line,
            method: method_name(&job),
            schedule: job.name,
            cron: job.cron,
            command: job.command,
            text: job.text,
        };
        let left_out = |(line, variable)| LeftOut { line, variable };
        Self {
            schedules: crontab.jobs.into_iter().map(imported).collect(),
            left_out: crontab.left_out.into_iter().map(left_out).collect(),
        }
    }
}

fn print(invocation: &Invocation, report: &Report) -> Result<()> {
    let headings = ["LINE", "SCHEDULE", "WHEN", "COMMAND"];
    let rows = report.schedules.iter().map(|imported| {
        [
            imported.line.to_string(),
            imported.schedule.clone(),
            imported.cron.clone(),
            imported.text.clone(),
        ]
    });
    let out = &invocation.out;
    out.show(report, || out.table(headings, rows))?;
    for LeftOut { line, variable } in report.left_out.iter().filter(|_| !out.json) {
        let hint = match variable.as_str() {
            "MAILTO" => ": the setting mail.errors_to says who is told of errors",
            _ => "",
        };
        complain(&format!("line {line}: {variable} is left out{hint}"));
    }
    Ok(())
}
