//! What the mail says.

use crate::error::{Result, one_line};
use crate::model::issue::{Issue, Subject, cut};
use crate::outbox::Post;
use crate::store::Store;
use crate::time::Zone;

/// How many lines of a task's log are told.
const LOG_LINES: u32 = 20;
/// How much of one line is told, in characters.
const LINE_LIMIT: usize = 2000;
/// How many errors are told in one mail; of the rest, how many there are.
const TOLD_AT_MOST: usize = 100;
/// How long a subject may be, in characters.
const SUBJECT_LIMIT: usize = 150;

pub(super) fn subject(news: &[&Issue]) -> String {
    let subject = match news {
        [one] => format!("runner: {}", one.sentence),
        all => format!("runner: {} errors", count(all)),
    };
    cut(&one_line(&subject), SUBJECT_LIMIT)
}

fn count(news: &[&Issue]) -> u64 {
    news.iter().map(|issue| issue.count()).sum()
}

/// The errors with all that helps to understand them.
pub(super) fn detail(post: &Post<'_>, news: &[&Issue]) -> String {
    let zone = post.settings.zone().unwrap_or_default();
    let mut lines = vec![
        format!("Database: {}", post.store.files().beside("").display()),
        format!("Time:     {}", zone.show(post.clock.now())),
    ];
    let (sums, single): (Vec<&Issue>, Vec<&Issue>) = news.iter().partition(|issue| issue.is_sum());
    for issue in single.iter().take(TOLD_AT_MOST).chain(&sums) {
        lines.push(String::new());
        lines.push(issue.sentence.clone());
        // What the database cannot tell is left out: the error itself matters more.
        lines.extend(about(post.store, &issue.about, &zone).unwrap_or_default());
    }
    if let Some(more) = single
        .len()
        .checked_sub(TOLD_AT_MOST)
        .filter(|more| *more > 0)
    {
        lines.push(String::new());
        lines.push(format!("and {more} more errors: see 'runner status'"));
    }
    let lines = lines
        .iter()
        .map(|line| cut(&one_line(line), LINE_LIMIT) + "\n");
    lines.collect()
}

fn about(store: &Store, about: &Subject, zone: &Zone) -> Result<Vec<String>> {
    match about {
        Subject::Task(id) => about_task(store, *id, zone),
        Subject::Mail(id) => {
            let mail = store.mail(*id)?;
            let written = zone.show(mail.created_at);
            Ok(vec![format!(
                "  written at {written}, attempts so far: {}",
                mail.attempts
            )])
        }
        Subject::Level { attachment, .. } => about_level(store, *attachment),
        Subject::Method {
            task, attachment, ..
        } => {
            let mut lines = about_level(store, *attachment)?;
            lines.extend(about_task(store, *task, zone)?);
            Ok(lines)
        }
        Subject::Mailing | Subject::MoreLevels(_) | Subject::MoreTasks(_) | Subject::Run => {
            Ok(Vec::new())
        }
    }
}

fn about_level(store: &Store, attachment: i64) -> Result<Vec<String>> {
    let sentence = store.describe_attachment(attachment)?;
    let line = sentence.map(|sentence| format!("  {sentence}"));
    Ok(line.into_iter().collect())
}

/// The log of a task is masked as it is stored: no hidden value is in it.
fn about_task(store: &Store, id: i64, zone: &Zone) -> Result<Vec<String>> {
    let task = store.task(id)?;
    let mut lines = vec![format!(
        "  {} {}, attempt {}{}",
        task.method,
        task.status,
        task.attempt,
        task.signature
            .map(|signature| format!(", signature {signature}"))
            .unwrap_or_default()
    )];
    for entry in store.last_logs(id, LOG_LINES)? {
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
