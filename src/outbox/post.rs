//! One run's way with mails: claim one, send it, note what became of it.
//!
//! No transaction is open while a mail is sent. The one that notes what became of a mail also claims the next, so that
//! a mail costs one wait for the disk.

use std::time::Duration;

use super::tried::Tried;
use super::{queue_letter, transport};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::firing;
use crate::mail::{Accepted, Failure, Letter, SendError, Sender};
use crate::model::issue::{Issue, Subject};
use crate::model::settings::Settings;
use crate::store::Store;
use crate::store::mail::{BEFORE_ALL, MailClaim};
use crate::worker::Worker;

/// For how long mails are sent before tasks have their turn: a slow server does not hold them up.
const TURN: Duration = Duration::from_secs(20);
/// How many waiting mails are told in one transaction why they wait.
const TOLD_AT_ONCE: u32 = 200;
/// How often a database that others hold is asked again to note that a mail is sent: what is not noted is sent again.
const BUSY_PATIENCE: u32 = 12;

/// Sends mails for one run, over one connection that the first of them opens.
pub struct Post<'a> {
    pub(crate) store: &'a Store,
    pub(crate) clock: &'a Clock,
    pub(crate) settings: &'a Settings,
    worker: Option<Worker>,
    sender: Option<Sender>,
    /// The last mail that was tried: ids only grow, so that each is tried once.
    tried: i64,
    /// Levels of timers that were done by a mail, and not told yet.
    fired: u64,
    /// Why no mail goes out any more in this run.
    down: Option<String>,
}

/// What one turn of sending came to.
#[derive(Debug, Default)]
pub struct Round {
    /// Mails that went out.
    pub sent: u64,
    /// Mails that were tried and did not.
    pub failed: u64,
    /// Levels of timers that were done by it.
    pub fired: u64,
    /// What went wrong.
    pub issues: Vec<Issue>,
}

impl<'a> Post<'a> {
    /// Nothing is claimed, connected or started yet.
    pub fn new(store: &'a Store, clock: &'a Clock, settings: &'a Settings) -> Self {
        Self {
            store,
            clock,
            settings,
            worker: None,
            sender: None,
            tried: BEFORE_ALL,
            fired: 0,
            down: None,
        }
    }

    /// Sends what waits in the outbox, for some seconds at most, and for as long as it may go on; each mail is tried once
    /// by a run.
    ///
    /// # Errors
    /// SQLite's. A mail that went wrong is in the round's issues.
    pub fn send_queued(&mut self, should_continue: &dyn Fn() -> bool) -> Result<Round> {
        let mut round = Round::default();
        let waiting = |post: &Self| post.store.has_queued_mail(post.tried, post.clock.now());
        if self.down.is_some() || !waiting(self)? {
            return Ok(round);
        }
        let until = self.clock.elapsed() + TURN;
        let mut tried = None;
        loop {
            let wanted = should_continue() && self.clock.elapsed() < until && self.sender().is_ok();
            if !wanted && tried.is_none() {
                break;
            }
            let Some(claim) = self.note_and_claim(tried.take(), wanted, should_continue)? else {
                break;
            };
            let done = self.send(claim, false);
            self.count(&done, &mut round);
            tried = Some(done);
        }
        round.fired = std::mem::take(&mut self.fired);
        if let Some(why) = self.down.clone() {
            round.issues.push(Issue {
                subject: Subject::Transport,
                ..Issue::of_run(format!("mail does not go out: {why}"))
            });
            self.tell_waiting(&why)?;
        }
        Ok(round)
    }

    /// Sends this letter at once, with a row of the outbox as its record: what was answered, or why it did not go out.
    /// Then there is no record: whoever asked is told, and a row each time would pile up.
    ///
    /// # Errors
    /// SQLite's, before anything is sent.
    pub fn send_now(&mut self, letter: &Letter) -> Result<(Option<i64>, Result<Accepted, String>)> {
        if let Err(why) = self.sender() {
            return Ok((None, Err(why)));
        }
        let claimed = self.store.transact(|store| {
            let (worker, registered) =
                Worker::known_or_new(self.worker.as_ref(), store, self.clock)?;
            let id = queue_letter(store, letter, self.clock.now())?;
            Ok((registered, store.claim_mail(id, worker)?))
        });
        let (registered, claim) = claimed?;
        self.worker = self.worker.take().or(registered);
        let Some(claim) = claim else {
            return Err(Error::invalid("mail", "another run has taken it"));
        };
        let id = claim.mail.id;
        let tried = self.send(claim, true);
        let answer = match &tried.result {
            Ok(accepted) => Ok(accepted.clone()),
            Err(error) => Err(error.sentence.clone()),
        };
        if let Err(error) = self.note_and_claim(Some(tried), false, &|| true) {
            log::warn!(
                "mail {id}: what became of it cannot be noted, the next tick sends it again: {error}"
            );
        }
        Ok((Some(id), answer))
    }

    /// Sends this letter without the database, for when that is the issue: what was answered, or why it did not go
    /// out.
    ///
    /// # Errors
    /// The reason as a sentence.
    pub fn send_unrecorded(&mut self, letter: &Letter) -> Result<Accepted, String> {
        let outgoing = letter.unrecorded(self.clock.now());
        let sent = self.sender()?.send(&outgoing);
        sent.map_err(|error| error.sentence)
    }

    /// Says goodbye to the server, and signs off from the database.
    ///
    /// # Errors
    /// SQLite's.
    pub fn close(mut self) -> Result<()> {
        if let Some(sender) = &mut self.sender {
            sender.close();
        }
        let Some(worker) = self.worker.take() else {
            return Ok(());
        };
        self.store
            .transact(|store| store.delete_worker(worker.id))?;
        worker.sign_off();
        Ok(())
    }

    /// The way out, opened by the first who asks; else why there is none.
    fn sender(&mut self) -> Result<&mut Sender, String> {
        if let Some(why) = &self.down {
            return Err(why.clone());
        }
        let sender = match self.sender.take() {
            Some(sender) => sender,
            None => match transport(self.store, self.settings) {
                Ok(transport) => Sender::open(&transport),
                Err(error) => return Err(self.down.insert(error.to_string()).clone()),
            },
        };
        Ok(self.sender.insert(sender))
    }

    fn send(&mut self, claim: MailClaim, only_now: bool) -> Tried {
        let refused = |sentence: String| SendError {
            kind: Failure::Refused,
            sentence,
        };
        let result = match claim.mail.outgoing() {
            Err(error) => Err(refused(error.to_string())),
            Ok(outgoing) => match self.sender() {
                Ok(sender) => sender.send(&outgoing),
                Err(why) => Err(refused(why)),
            },
        };
        match &result {
            Ok(accepted) => log::info!("mail {}: {}", claim.mail.id, accepted.answer),
            Err(error) if error.kind == Failure::Unreachable => {
                self.down = Some(error.sentence.clone());
            }
            Err(error) => log::info!("mail {}: {error}", claim.mail.id),
        }
        Tried {
            claim,
            result,
            only_now,
        }
    }

    /// One transaction: what became of a mail, and the next one if it is wanted.
    fn note_and_claim(
        &mut self,
        tried: Option<Tried>,
        wanted: bool,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Option<MailClaim>> {
        let mut patience = if tried.is_some() { BUSY_PATIENCE } else { 0 };
        let (registered, claim, fired) = loop {
            let noted = self.store.transact(|store| {
                let fired = match &tried {
                    Some(tried) => self.note(store, tried)?,
                    None => false,
                };
                if !wanted {
                    return Ok((None, None, fired));
                }
                let (worker, registered) =
                    Worker::known_or_new(self.worker.as_ref(), store, self.clock)?;
                let claim = store.claim_next_mail(self.tried, worker, self.clock.now())?;
                Ok((registered, claim, fired))
            });
            match noted {
                Err(error) if error.is_busy() && patience > 0 => {
                    // Who is told to leave asks once more.
                    patience = if should_continue() { patience - 1 } else { 0 };
                }
                Err(error) => {
                    tried.iter().for_each(Tried::warn_unnoted);
                    return Err(error);
                }
                noted => break noted?,
            }
        };
        self.worker = self.worker.take().or(registered);
        self.fired += u64::from(fired);
        if let Some(claim) = &claim {
            self.tried = claim.mail.id;
        }
        Ok(claim)
    }

    /// Whether the level that the mail was of is done by it.
    fn note(&self, store: &Store, tried: &Tried) -> Result<bool> {
        let (id, now) = (tried.claim.mail.id, self.clock.now());
        let worker = tried.claim.worker;
        let noted = match &tried.result {
            Ok(_) => store.finish_mail(id, worker, now)?,
            Err(_) if tried.only_now => store.drop_unsent_mail(id, worker)?,
            Err(error) => store.put_back_mail(id, worker, &tried.unsent(error, now))?,
        };
        match noted {
            true => tried.tell(store, now),
            false => {
                log::warn!(
                    "mail {id}: it is not this run's any more; what became of it is not noted"
                );
                Ok(false)
            }
        }
    }

    fn count(&self, tried: &Tried, round: &mut Round) {
        let Err(error) = &tried.result else {
            round.sent += 1;
            return;
        };
        round.failed += 1;
        let issue = tried.issue(error, self.clock.now());
        // A server that is not there is one issue, not one for each mail that waits for it.
        if error.kind != Failure::Unreachable || issue.is_final {
            round.issues.push(issue);
        }
    }

    /// Notes on the mails that are not tried any more in this run why they wait, and on their levels. A mail that has
    /// waited for the same reason before is not told again: a long outage does not flood the history.
    fn tell_waiting(&self, why: &str) -> Result<()> {
        let now = self.clock.now();
        let mut told = self.tried;
        loop {
            let waiting = self.store.mails_to_tell(told, why, now, TOLD_AT_ONCE)?;
            let Some((last, _)) = waiting.last() else {
                return Ok(());
            };
            told = *last;
            self.store.transact(|store| {
                for &(mail, attachment) in &waiting {
                    if store.tell_mail(mail, why)?
                        && let Some(attachment) = attachment
                    {
                        firing::mail_failed(store, attachment, mail, (why, true), now)?;
                    }
                }
                Ok(())
            })?;
        }
    }
}
