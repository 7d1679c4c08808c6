//! The mail that reports a run's errors (`docs/mail.md`, “Error mail”): one a run, with the detail of what is new. An
//! error that persists is reported when it starts and when it is given up.

use super::outbox::Outbox;
use super::{default_sender, parse_list};
use crate::error::{Error, Result, one_line};
use crate::model::email::Content;
use crate::model::issue::{Issue, Subject, cut};
use crate::model::settings::{ERRORS_TO, Settings};
use crate::store::Store;
use crate::time::Zone;

/// How many lines of a task's log are reported.
const MAX_LOG_LINES: u32 = 20;
/// How much of one line is reported, in characters.
const MAX_LINE: usize = 2000;
/// How long a subject may be, in characters.
const MAX_SUBJECT: usize = 150;

/// What became of a run's errors.
#[derive(Debug)]
pub(crate) enum Alert {
    /// There is nothing that was not reported before.
    NoNews,
    Sent,
    /// The mail could not go out.
    Failed {
        why: String,
        /// What it would have contained.
        detail: String,
    },
}

/// Whether errors of a run that nobody watches are mailed to somebody.
pub(crate) fn is_wanted(settings: &Settings) -> Result<bool> {
    Ok(!settings.text(ERRORS_TO)?.trim().is_empty())
}

/// Mails what is news among these issues.
pub(crate) fn send(outbox: &mut Outbox<'_>, issues: &[Issue]) -> Alert {
    let news: Vec<&Issue> = issues.iter().filter(|issue| issue.is_news).collect();
    if news.is_empty() {
        return Alert::NoNews;
    }
    let detail = detail(outbox, &news);
    let content = content(outbox.settings, subject(&news), &detail);
    let sent = content
        .map_err(|error| error.to_string())
        .and_then(|content| outbox.send_now(&content));
    match sent {
        Ok(_) => Alert::Sent,
        Err(why) => Alert::Failed { why, detail },
    }
}

fn content(settings: &Settings, subject: String, detail: &str) -> Result<Content> {
    let to = parse_list(settings.text(ERRORS_TO)?)
        .map_err(|reason| Error::invalid(format!("setting {ERRORS_TO}"), reason))?;
    Ok(Content {
        from: default_sender(settings)?,
        to: to.iter().map(ToString::to_string).collect(),
        subject,
        body: detail.to_owned(),
        ..Content::default()
    })
}

fn subject(news: &[&Issue]) -> String {
    let subject = match news {
        [one] => format!("runner: {}", one.message),
        all => {
            let count: u64 = all.iter().map(|issue| issue.count()).sum();
            format!("runner: {count} errors")
        }
    };
    cut(&one_line(&subject), MAX_SUBJECT)
}

/// The errors with all that helps to understand them.
fn detail(outbox: &Outbox<'_>, news: &[&Issue]) -> String {
    let zone = outbox.settings.zone().unwrap_or_default();
    let mut lines = vec![
        format!("Database: {}", outbox.store.files().beside("").display()),
        format!("Time:     {}", zone.show(outbox.clock.now())),
    ];
    for issue in news {
        lines.push(String::new());
        lines.push(issue.message.clone());
        // What cannot be read from the database is left out: the error itself matters more.
        lines.extend(more_about(outbox.store, issue.subject, &zone).unwrap_or_default());
    }
    let lines = lines
        .iter()
        .map(|line| cut(&one_line(line), MAX_LINE) + "\n");
    lines.collect()
}

fn more_about(store: &Store, subject: Subject, zone: &Zone) -> Result<Vec<String>> {
    match subject {
        Subject::Task(task) => about_task(store, task, zone),
        Subject::Mail(mail) => {
            let mail = store.mail(mail)?;
            let written = zone.show(mail.created_at);
            let attempts = mail.attempts;
            Ok(vec![format!(
                "  written at {written}, attempts so far: {attempts}"
            )])
        }
        Subject::Level { attachment, task } => {
            let mut lines = about_level(store, attachment, zone)?;
            if let Some(task) = task {
                lines.extend(about_task(store, task, zone)?);
            }
            Ok(lines)
        }
        Subject::Transport | Subject::More(..) | Subject::Run => Ok(Vec::new()),
    }
}

fn about_level(store: &Store, attachment: i64, zone: &Zone) -> Result<Vec<String>> {
    let found = store.attachment_view(attachment)?;
    let line = found.map(|level| {
        let due = level
            .due_at
            .map(|due| format!(", due at {}", zone.show(due)));
        format!(
            "  timer {}, level {}, on document {} ({}){}",
            level.timer,
            level.level,
            level.document,
            level.title,
            due.unwrap_or_default()
        )
    });
    Ok(line.into_iter().collect())
}

/// The log of a task is masked as it is stored: no hidden value is in it.
fn about_task(store: &Store, id: i64, zone: &Zone) -> Result<Vec<String>> {
    let task = store.task(id)?;
    let signature = task
        .signature
        .as_ref()
        .map(|text| format!(", signature {text}"));
    let mut lines = vec![format!(
        "  {} {}, attempt {}{}",
        task.label(),
        task.status,
        task.attempt,
        signature.unwrap_or_default()
    )];
    for entry in store.last_logs(id, MAX_LOG_LINES)? {
        let details = entry.details.as_ref().map(|details| details.text());
        lines.push(format!(
            "    {} {:<7} {} {}",
            zone.show(entry.at),
            entry.level,
            entry.message,
            details.unwrap_or_default()
        ));
    }
    Ok(lines)
}
