//! The mail that tells of a run's errors (seed 004, “Gestion des erreurs”; `design`, “Mail”).
//!
//! One mail a run, with the detail of what is new. An error that persists is told when it starts and when it is given
//! up: what was told is remembered in the table `reported`. A failure of the run itself, which may well be the
//! database's, is remembered in a file beside the database.

mod detail;
mod memory;

pub(crate) use memory::has_failed;
pub use memory::settle;

use crate::error::{Error, Result};
use crate::mail::{Letter, parse_list};
use crate::model::issue::{Issue, Subject};
use crate::model::settings::{ERRORS_TO, Settings};
use crate::outbox::{Post, sender};
use detail::{detail, subject};
use memory::{is_new, is_new_failure, remember};

/// What became of the errors of a run.
#[derive(Debug)]
pub enum Told {
    /// There is nothing that was not told before.
    Nothing,
    /// They are on their way.
    Mailed,
    /// The mail could not go out.
    NotMailed {
        /// Why.
        why: String,
        /// What it would have said.
        detail: String,
    },
}

/// Whether errors of a run that nobody watches are mailed to somebody.
///
/// # Errors
/// When there is no such setting.
pub fn is_wanted(settings: &Settings) -> Result<bool> {
    Ok(!settings.text(ERRORS_TO)?.trim().is_empty())
}

/// Mails what is new of a run's issues and its own failure, and remembers what was told.
pub fn tell(post: &mut Post<'_>, issues: &[Issue], failure: Option<&Error>) -> Told {
    let failure = failure.map(|error| Issue::new(Subject::Run, error.to_string()));
    let mut news: Vec<&Issue> = issues
        .iter()
        .filter(|issue| is_new(post.store, issue))
        .collect();
    news.extend(
        failure
            .iter()
            .filter(|failure| is_new_failure(post.store, &failure.sentence)),
    );
    let told = match news.as_slice() {
        [] => Told::Nothing,
        news => {
            let detail = detail(post, news);
            match mail(post, subject(news), &detail) {
                Ok(()) => Told::Mailed,
                Err(why) => Told::NotMailed { why, detail },
            }
        }
    };
    if let Err(error) = remember(post, issues, failure.as_ref()) {
        log::info!("what was told of the errors cannot be remembered: {error}");
    }
    told
}

fn mail(post: &mut Post<'_>, subject: String, detail: &str) -> Result<(), String> {
    let letter = letter(post.settings, subject, detail).map_err(|error| error.to_string())?;
    match post.send_now(&letter) {
        Ok((_, answer)) => answer.map(drop),
        // The outbox is out of reach; the server may not be.
        Err(_) => post.send_unrecorded(&letter).map(drop),
    }
}

fn letter(settings: &Settings, subject: String, detail: &str) -> Result<Letter> {
    let to = parse_list(settings.text(ERRORS_TO)?)
        .map_err(|error| Error::invalid(format!("setting {ERRORS_TO}"), error.to_string()))?;
    Ok(Letter {
        from: sender(settings)?,
        to,
        cc: Vec::new(),
        bcc: Vec::new(),
        subject,
        body: detail.to_owned(),
        html: None,
    })
}
