//! `runner status`

use std::collections::BTreeMap;

use serde::Serialize;

use super::output::complain;
use super::{Exit, Invocation};
use crate::error::{Error, Result};
use crate::firing::settle_all;
use crate::model::task::Status;
use crate::outbox::MailStatus;
use crate::store::Store;
use crate::store::mail::BEFORE_ALL;
use crate::tick::last_tick;
use crate::time::{Duration, Timestamp, Zone};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Exit with 1 when the last finished tick is older than this, or there was none
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    max_age: Option<String>,
}

#[derive(Serialize)]
struct Report {
    database: String,
    now: Timestamp,
    last_tick: Option<Timestamp>,
    last_tick_age_s: Option<i64>,
    tasks: BTreeMap<&'static str, i64>,
    mails: BTreeMap<&'static str, i64>,
    timers: Timers,
    next_due: Option<Timestamp>,
    attention: Vec<String>,
}

#[derive(Serialize)]
struct Timers {
    attached: i64,
    waiting: i64,
    failing: i64,
    skipped: i64,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let store = invocation.store_to_read()?;
        let max_age = self.max_age.as_deref().map(Duration::positive).transpose();
        let max_age = max_age.map_err(|reason| Error::usage("--max-age", reason))?;
        let (_, zone, clock) = invocation.times(&store)?;
        settle_all(&store, (zone, clock.now()), drop)?;
        let report = Report::new(&store, clock.now())?;
        match invocation.out.json {
            true => invocation.out.json(&report)?,
            false => report.print(invocation, &zone)?,
        }
        Ok(max_age.map_or(Exit::Done, |max_age| report.alarm(&max_age, &zone)))
    }
}

impl Report {
    fn new(store: &Store, now: Timestamp) -> Result<Self> {
        let counted: BTreeMap<_, _> = store.count_tasks()?.into_iter().collect();
        let count = |status: Status| counted.get(&status).copied().unwrap_or(0);
        // Those that are sent grow without end, and are not counted.
        let mails = [MailStatus::Queued, MailStatus::Sending, MailStatus::Failed]
            .map(|status| Ok((status.word(), store.count_mails(status)?)));
        let mails: BTreeMap<_, _> = mails.into_iter().collect::<Result<_>>()?;
        let last_tick = last_tick(store.files())?;
        let ready = count(Status::ToRun) > 0 && store.has_ready_task(now)?;
        let next_due = match ready || store.has_queued_mail(BEFORE_ALL, now)? {
            true => Some(now),
            false => store.next_due()?,
        };
        let timers = Timers::new(store)?;
        Ok(Self {
            database: store.files().beside("").display().to_string(),
            now,
            last_tick,
            last_tick_age_s: last_tick.map(|at| now.seconds_since(at)),
            tasks: Status::ALL
                .iter()
                .map(|&status| (status.word(), count(status)))
                .collect(),
            next_due,
            attention: attention(&count, &mails, &timers, last_tick),
            mails,
            timers,
        })
    }

    fn print(&self, invocation: &Invocation, zone: &Zone) -> Result<()> {
        let out = &invocation.out;
        let at = |time: Option<Timestamp>, none: &str| {
            time.map_or_else(|| none.to_owned(), |time| zone.show(time))
        };
        out.line(format!("database   {}", self.database))?;
        out.line(format!("last tick  {}", at(self.last_tick, "never")))?;
        out.line(format!("next due   {}", at(self.next_due, "nothing")))?;
        let counts = Status::ALL.iter().filter_map(|status| {
            let count = self.tasks.get(status.word()).filter(|count| **count > 0)?;
            Some(format!("{count} {status}"))
        });
        let counts = counts.collect::<Vec<_>>().join(", ");
        out.line(format!(
            "tasks      {}",
            if counts.is_empty() { "none" } else { &counts }
        ))?;
        let mails = self.mails.iter().filter(|(_, count)| **count > 0);
        let mails = mails.map(|(status, count)| format!("{count} {status}"));
        let mails = mails.collect::<Vec<_>>().join(", ");
        out.line(format!(
            "mails      {}",
            if mails.is_empty() { "none" } else { &mails }
        ))?;
        let Timers {
            attached,
            waiting,
            failing,
            skipped,
        } = self.timers;
        let levels = if skipped == 1 { "level" } else { "levels" };
        out.line(format!(
            "timers     {attached} attached, {waiting} waiting for a date, {failing} failing, {skipped} {levels} skipped"
        ))?;
        self.attention
            .iter()
            .try_for_each(|sentence| out.line(format!("attention  {sentence}")))
    }

    /// Nobody else notices that cron has died.
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

impl Timers {
    fn new(store: &Store) -> Result<Self> {
        let counts = store.count_attachments()?;
        Ok(Self {
            attached: counts.attached,
            waiting: counts.waiting,
            failing: counts.failing,
            skipped: store.count_skipped()?,
        })
    }
}

fn attention(
    count: &impl Fn(Status) -> i64,
    mails: &BTreeMap<&str, i64>,
    timers: &Timers,
    last_tick: Option<Timestamp>,
) -> Vec<String> {
    let failed = MailStatus::Failed.word();
    let found = [
        (
            count(Status::Failed),
            ("task failed", "tasks failed"),
            "task list --status FAILED",
        ),
        (
            count(Status::Interrupted),
            ("task was interrupted", "tasks were interrupted"),
            "task list --status INTERRUPTED",
        ),
        (
            mails.get(failed).copied().unwrap_or(0),
            ("mail failed", "mails failed"),
            "mail list --status failed",
        ),
        (timers.failing, ("timer fails", "timers fail"), "timer next"),
        (
            timers.skipped,
            ("level was skipped", "levels were skipped"),
            "timer skipped",
        ),
    ];
    let sentence = |(count, (one, more), command): (i64, (&str, &str), &str)| {
        let what = if count == 1 { one } else { more };
        (count > 0).then(|| format!("{count} {what}: 'runner {command}'"))
    };
    let mut sentences: Vec<_> = found.into_iter().filter_map(sentence).collect();
    if last_tick.is_none() {
        sentences.push("no tick has run yet: 'runner crontab --install'".to_owned());
    }
    sentences
}
