//! The outbox: a mail is a row, written in the transaction of what causes it and sent after it.
//!
//! Claim one, send it, record what became of it: no transaction is open while a mail is sent. A mail is sent at least
//! once: when a worker dies before it has recorded that, the next tick sends it again, with the same Message-ID.
//!
//! A mail of a timer is tried again as its level is, by each tick. Any other is tried again after a growing pause, and
//! given up after some attempts, or at once when the server refuses it for good.

use std::time::{Duration, SystemTime};

use super::delivery::{Delivery, DeliveryError, Failure, Refusal};
use super::message::Message;
use super::{Transport, address, default_sender};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::lock::Registration;
use crate::model::email::{Content, Email};
use crate::model::issue::{Issue, Subject};
use crate::model::settings::Settings;
use crate::model::summary::Summary;
use crate::model::task::{Severity, next_attempt};
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::mail::{BEFORE_ALL, ClaimedMail, Retry};
use crate::time::Timestamp;

/// For how long mails are sent before tasks have their turn: a slow server does not hold them up.
const SEND_BUDGET: Duration = Duration::from_secs(10);

/// How often a mail is tried again that no level waits for: eight attempts in all.
const MAX_RETRIES: u32 = 7;

/// How often a database that others hold is asked again to record that a mail is sent: what is not recorded is sent again.
const MAX_BUSY: u32 = 12;

/// Sends mails for one run, over one connection that the first of them opens.
pub(crate) struct Outbox<'a> {
    pub(crate) store: &'a Store<'a>,
    pub(crate) clock: &'a Clock,
    pub(crate) settings: &'a Settings,
    worker: Option<Registration>,
    transport: Option<Transport>,
    /// The last mail that was tried: ids only grow, so that each is tried once.
    last_tried: i64,
    /// Why no mail goes out any more in this run.
    down: Option<String>,
}

/// A mail that was tried.
struct Attempt {
    claim: ClaimedMail,
    result: Result<Delivery, DeliveryError>,
    /// When it is tried again, if it did not go out.
    retry: Retry,
}

/// A mail that was sent without having been queued.
pub(crate) struct Sent {
    /// The id of its record, if that could be written.
    pub(crate) id: Option<i64>,
    /// What the server answered.
    pub(crate) answer: String,
}

impl<'a> Outbox<'a> {
    /// Nothing is claimed, connected or started yet.
    pub(crate) fn new(store: &'a Store<'a>, clock: &'a Clock, settings: &'a Settings) -> Self {
        Self {
            store,
            clock,
            settings,
            worker: None,
            transport: None,
            last_tried: BEFORE_ALL,
            down: None,
        }
    }

    /// Sends what is queued, for some seconds at most; each mail is tried once by a run.
    pub(crate) fn send_queued(&mut self, shutdown: &Shutdown, summary: &mut Summary) -> Result<()> {
        if self.down.is_some() {
            return Ok(());
        }
        let until = self.clock.elapsed() + SEND_BUDGET;
        while !shutdown.is_requested() && self.clock.elapsed() < until {
            let Some(mut claim) = self.claim_next()? else {
                break;
            };
            let message = self.message(&mut claim.email);
            let result = self.send(message);
            let attempt = Attempt::new(claim, result, self.clock.now());
            attempt.count(summary);
            self.record(&attempt, shutdown)?;
        }
        if let Some(why) = &self.down {
            summary.report(Issue {
                subject: Subject::Transport,
                ..Issue::of_run(format!("mail does not go out: {why}"))
            });
            // A reason that is there already is not written again: a long outage does not flood the history.
            let (last, now) = (self.last_tried, self.clock.now());
            self.store
                .transact(|store| store.mark_waiting_mails(last, why, now))?;
        }
        Ok(())
    }

    /// Sends this mail at once, and keeps it in the outbox when it has gone out. When it has not, whoever asked gets the
    /// reason, and nothing is kept: a row each time would pile up. A database that is out of reach keeps no mail back.
    pub(crate) fn send_now(&mut self, content: &Content) -> Result<Sent, String> {
        let (now, process) = (self.clock.now(), std::process::id());
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let (unique, domain) = (since_epoch.as_nanos(), content.domain());
        let message_id = format!("<{unique}.{process}@{domain}>");
        let sent = self.send(Message::new(content, &message_id, now));
        let delivery = sent.map_err(|error| error.reason)?;
        let refused = delivery.reasons();
        let kept = self.store.transact(|store| {
            store.insert_sent_mail(content, &message_id, refused.as_deref(), now)
        });
        if let Err(error) = &kept {
            log::info!("a mail was sent, which cannot be recorded: {error}");
        }
        Ok(Sent {
            id: kept.ok(),
            answer: delivery.answer,
        })
    }

    /// Says goodbye to the server, and signs off from the database.
    pub(crate) fn close(mut self) -> Result<()> {
        if let Some(transport) = self.transport.take() {
            transport.close();
        }
        let Some(worker) = self.worker.take() else {
            return Ok(());
        };
        self.store
            .transact(|store| store.delete_worker(worker.id))?;
        worker.sign_off();
        Ok(())
    }

    /// The way out, read by the first who asks; else why there is none.
    fn transport(&mut self) -> Result<&mut Transport, String> {
        if let Some(why) = &self.down {
            return Err(why.clone());
        }
        let transport = match self.transport.take() {
            Some(transport) => transport,
            None => match super::transport(self.store, self.settings) {
                Ok(transport) => transport,
                Err(error) => return Err(self.down.insert(error.to_string()).clone()),
            },
        };
        Ok(self.transport.insert(transport))
    }

    /// This run as a worker, from its first mail on.
    fn worker(&mut self) -> Result<i64> {
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => self
                .store
                .transact(|store| Registration::register(store, self.clock))?,
        };
        Ok(self.worker.insert(worker).id)
    }

    fn claim_next(&mut self) -> Result<Option<ClaimedMail>> {
        let (last, now) = (self.last_tried, self.clock.now());
        if !self.store.has_queued_mail(last, now)? || self.transport().is_err() {
            return Ok(None);
        }
        let worker = self.worker()?;
        let claim = self
            .store
            .transact(|store| store.claim_next_mail(last, worker, now))?;
        if let Some(claim) = &claim {
            self.last_tried = claim.email.id;
        }
        Ok(claim)
    }

    /// A mail as it is sent. One without a sender gets that of the settings.
    fn message(&self, email: &mut Email) -> Result<Message, String> {
        if email.content.from.is_empty() {
            email.content.from =
                default_sender(self.settings).map_err(|error| error.to_string())?;
        }
        Message::of(email)
    }

    fn send(&mut self, message: Result<Message, String>) -> Result<Delivery, DeliveryError> {
        let ready = message.and_then(|message| Ok((self.transport()?, message)));
        let result = match ready {
            Ok((transport, message)) => {
                let id = message.id.clone();
                let result = transport.send(message);
                match &result {
                    Ok(delivery) => log::info!("mail <{id}>: {}", delivery.answer),
                    Err(error) => log::info!("mail <{id}>: {error}"),
                }
                result
            }
            Err(reason) => Err(DeliveryError::new(Failure::Refused, &reason)),
        };
        if let Err(error) = &result
            && error.kind == Failure::Unreachable
        {
            self.down = Some(error.reason.clone());
        }
        result
    }

    /// Writes what became of a mail, to a database that others may hold for a while.
    fn record(&self, attempt: &Attempt, shutdown: &Shutdown) -> Result<()> {
        let write = || self.store.transact(|store| self.write(store, attempt));
        let mut written = write();
        for _ in 0..MAX_BUSY {
            let is_busy = written.as_ref().is_err_and(Error::is_busy);
            if !is_busy || shutdown.is_requested() {
                break;
            }
            written = write();
        }
        if written.is_err() && attempt.result.is_ok() {
            let id = attempt.claim.email.id;
            log::warn!(
                "mail {id} was sent, which cannot be recorded: the next tick sends it again, with the same Message-ID"
            );
        }
        written
    }

    fn write(&self, store: &Store, attempt: &Attempt) -> Result<()> {
        let now = self.clock.now();
        let ClaimedMail { email, worker, .. } = &attempt.claim;
        let is_written = match &attempt.result {
            Ok(delivery) => {
                let refused = delivery.reasons();
                store.finish_mail(email.id, *worker, refused.as_deref(), now)?
            }
            Err(error) => store.put_back_mail(email.id, *worker, &error.reason, attempt.retry)?,
        };
        if !is_written {
            let id = email.id;
            log::warn!("mail {id}: another run has it now; what became of it here is not recorded");
            return Ok(());
        }
        attempt.write_history(store, now)
    }
}

impl Attempt {
    fn new(claim: ClaimedMail, result: Result<Delivery, DeliveryError>, now: Timestamp) -> Self {
        let attempt = claim.email.attempts.saturating_add(1);
        let retry = match &result {
            // A level decides on its own mails.
            _ if claim.attachment.is_some() => Retry::Soon,
            Err(error) if error.kind != Failure::Refused => {
                next_attempt(attempt, MAX_RETRIES, now).map_or(Retry::Never, Retry::At)
            }
            // What is refused now will be refused again.
            _ => Retry::Never,
        };
        Self {
            claim,
            result,
            retry,
        }
    }

    fn count(&self, summary: &mut Summary) {
        match &self.result {
            Ok(_) => summary.mails_sent += 1,
            Err(_) => summary.mails_failed += 1,
        }
        if let Some(issue) = self.issue() {
            summary.report(issue);
        }
    }

    /// What went wrong, unless it is reported elsewhere: a level reports its mails, and a server that is not there is one issue, not
    /// one for each mail that waits for it.
    fn issue(&self) -> Option<Issue> {
        let email = &self.claim.email;
        let (what, is_news) = match &self.result {
            Ok(delivery) => (
                format!(" was not sent to all: {}", delivery.reasons()?),
                true,
            ),
            Err(_) if self.claim.attachment.is_some() => return None,
            Err(error) if self.retry == Retry::Never => {
                (format!(": {error}; it is given up"), true)
            }
            Err(error) if error.kind == Failure::Unreachable => return None,
            Err(error) => (format!(": {error}"), email.attempts == 0),
        };
        Some(Issue {
            subject: Subject::Mail(email.id),
            message: email.describe() + &what,
            is_news,
        })
    }

    fn write_history(&self, store: &Store, now: Timestamp) -> Result<()> {
        let email = &self.claim.email;
        let Some(document) = email.document else {
            return Ok(());
        };
        let name = email.name();
        let level = email.timer.as_deref().zip(email.timer_level);
        let record = |severity, message: String| {
            store.insert_history(document, now, severity, &message, level)
        };
        match &self.result {
            Ok(delivery) => {
                let accepted = accepted(email, &delivery.refused).join(", ");
                let subject = &email.content.subject;
                record(
                    Severity::Info,
                    format!("{name} sent to {accepted}: {subject}"),
                )?;
                match delivery.reasons() {
                    Some(reasons) => record(
                        Severity::Error,
                        format!("{name} not sent to all: {reasons}"),
                    ),
                    None => Ok(()),
                }
            }
            // Its level reports it.
            Err(_) if self.claim.attachment.is_some() => Ok(()),
            Err(error) => record(Severity::Error, format!("{name}: {error}")),
        }
    }
}

/// Whether a mail can be sent at all.
pub(crate) fn check(email: &Email) -> Result<(), String> {
    Message::of(email).map(drop)
}

/// Those of a mail's recipients that the server has taken it for, as they are written.
fn accepted<'e>(email: &'e Email, refused: &[Refusal]) -> Vec<&'e str> {
    let is_refused = |text: &str| {
        let address = address::parse(text).map(|mailbox| mailbox.email.to_string());
        refused
            .iter()
            .any(|refusal| address.as_ref() == Ok(&refusal.address))
    };
    let all = email.content.recipients().map(String::as_str);
    all.filter(|text| !is_refused(text)).collect()
}
