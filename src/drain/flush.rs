//! What a run writes: one transaction for the ends of attempts, for what others say, and for the next claims.

use std::io;
use std::path::Path;

use super::attempt::{Attempt, Ended};
use super::{CLAIM_AHEAD, Drain, LONGEST_ERROR, MOST_AHEAD, Problem, Wanted};
use crate::error::{Error, Result};
use crate::model::issue::cut;
use crate::model::task::{LogEntry, Severity, Status, next_attempt};
use crate::store::Store;
use crate::store::task::{Claim, Ending};
use crate::store::task_file::FileKind;
use crate::time::Timestamp;
use crate::worker::{self, Worker};

/// What a transaction came to, once it is committed.
struct Written {
    registered: Option<Worker>,
    places: usize,
    used: usize,
    given_back: bool,
    claims: Vec<Claim>,
    asked: usize,
    ends: Vec<End>,
    /// Of each attempt that had something to say, in their order, what its log answered.
    bases: Vec<Option<i64>>,
}

/// What the end of an attempt led to.
struct End {
    again_at: Option<Timestamp>,
    /// The attachment that waits for it still, and how often its level has failed.
    level: Option<(i64, u32)>,
}

impl Drain<'_> {
    /// Nothing that the run remembers of what it writes changes before the transaction is committed, so that it can be
    /// tried again. What no thread has begun is taken back to the queue before, and is there still when that fails.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.queue_is_stale() {
            self.take_back(|_| true);
        }
        let written = self.around.store.transact(|store| self.write(store))?;
        let took = self.elapsed().saturating_sub(self.flushed_at);
        self.flushed_at = self.elapsed();
        self.note_rate(took);
        self.places = written.places;
        self.noted_places = written.used;
        if let Some(worker) = written.registered {
            self.worker = Some(worker);
        }
        if written.given_back {
            self.queue.clear();
        }
        if !written.claims.is_empty() {
            self.claimed_at = self.flushed_at;
            self.last_claimed = written.claims.len();
        }
        self.claim_next = self.wanted == Wanted::Pending
            && match written.asked {
                _ if written.given_back => true,
                0 => self.claim_next && written.places > 0,
                asked => written.claims.len() == asked,
            };
        self.queue.extend(written.claims);
        self.count_ended(written.ends);
        self.attempts_mut()
            .filter(|attempt| attempt.record.is_unwritten())
            .zip(written.bases)
            .for_each(|(attempt, base)| attempt.record.mark_written(base));
        Ok(())
    }

    /// How many attempts end in a second decides how many are claimed ahead.
    fn note_rate(&mut self, took: std::time::Duration) {
        if !self.ended.is_empty() && !took.is_zero() {
            let ended = u32::try_from(self.ended.len()).unwrap_or(u32::MAX);
            self.rate = f64::from(ended) / took.as_secs_f64();
        }
    }

    /// What no thread has begun, and is wanted back, goes back to the queue.
    pub(super) fn take_back(&mut self, wanted: impl Fn(&Attempt) -> bool) {
        let taken = self
            .pool
            .as_mut()
            .map(|pool| pool.take_back(wanted))
            .unwrap_or_default();
        self.unbegin(taken);
    }

    /// What resident handlers have not heard of and never will, or must not, goes back to the queue. Whether there was any.
    pub(super) fn take_back_untold(&mut self, is_lost: bool) -> bool {
        let residents = self.residents.iter_mut();
        let untold: Vec<Attempt> = residents
            .flat_map(|resident| resident.untold(is_lost))
            .collect();
        let any = !untold.is_empty();
        self.unbegin(untold);
        any
    }

    /// These attempts turn out not to have begun: their tasks go back to the queue.
    pub(super) fn unbegin(&mut self, attempts: Vec<Attempt>) {
        for attempt in attempts.into_iter().rev() {
            let (claim, note) = attempt.unbegun();
            if let Some(worker) = &mut self.worker {
                worker.forget(note);
            }
            self.queue.push_front(claim);
        }
    }

    fn write(&self, store: &Store) -> Result<Written> {
        let now = self.around.clock.now();
        let (worker, registered) =
            Worker::known_or_new(self.worker.as_ref(), store, self.around.clock)?;
        let followed = !self.ended.is_empty() && store.has_waiting_task()?;
        let ends = self
            .ended
            .iter()
            .map(|ended| self.end(store, worker, ended, followed))
            .collect::<Result<_>>()?;
        let bases = self.write_words(store, worker)?;
        let given_back = self.queue_is_stale();
        if given_back {
            self.queue
                .iter()
                .try_for_each(|claim| worker::give_back(store, claim.id, worker, now))?;
        }
        let places = self.free_places(store, worker)?;
        let (asked, claims) = self.claim(store, worker, places, given_back)?;
        let waiting = if given_back { 0 } else { self.queue.len() };
        let used = places.min(self.busy_places() + waiting + claims.len());
        if used != self.noted_places {
            store.set_slots(worker, used)?;
        }
        log::debug!(
            "{now}: {} ended, {} claimed",
            self.ended.len(),
            claims.len()
        );
        Ok(Written {
            registered,
            places,
            used,
            given_back,
            claims,
            asked,
            ends,
            bases,
        })
    }

    fn write_words(&self, store: &Store, worker: i64) -> Result<Vec<Option<i64>>> {
        let mut bases = Vec::new();
        for attempt in self
            .attempts()
            .filter(|attempt| attempt.record.is_unwritten())
        {
            let task = (attempt.claim.id, attempt.claim.attempt);
            bases.push(attempt.record.write_log(store, task)?);
            if let Some(progress) = attempt.record.unwritten_progress() {
                store.set_progress(task, worker, progress)?;
            }
        }
        Ok(bases)
    }

    fn free_places(&self, store: &Store, worker: i64) -> Result<usize> {
        Ok(match self.wanted {
            Wanted::One(_) => 1,
            Wanted::Pending => {
                let left = self
                    .max_running
                    .saturating_sub(store.slots_of_others(worker)?);
                left.max(self.busy_places())
            }
        })
    }

    fn claim(
        &self,
        store: &Store,
        worker: i64,
        places: usize,
        given_back: bool,
    ) -> Result<(usize, Vec<Claim>)> {
        let now = self.around.clock.now();
        match self.wanted {
            Wanted::One(id) if self.claim_next => {
                Ok((0, store.claim_task(id, worker, now)?.into_iter().collect()))
            }
            Wanted::Pending
                if (self.may_claim() || !self.ended.is_empty())
                    && !given_back
                    && !self.outcome.left =>
            {
                let free = places.saturating_sub(self.busy_places()) + self.resident_room();
                let ahead = if places > 0 { self.ahead() } else { 0 };
                let asked = (free + ahead).saturating_sub(self.queue.len());
                if asked == 0 {
                    return Ok((0, Vec::new()));
                }
                store.release_held(now)?;
                let claims = store.claim_tasks(worker, asked, now)?;
                Ok((asked, claims))
            }
            _ => Ok((0, Vec::new())),
        }
    }

    /// How many more to claim than can start now: as many as end while an end is committed, none when tasks take
    /// longer than that.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float's cast saturates"
    )]
    fn ahead(&self) -> usize {
        ((self.rate * CLAIM_AHEAD.as_secs_f64()) as usize).min(MOST_AHEAD)
    }

    /// When an attempt is tried again, if it is: a timer's task only while its level waits for it.
    fn again_at(&self, store: &Store, ended: &Ended) -> Result<Option<Timestamp>> {
        if !matches!(ended.status, Status::Failed | Status::Interrupted) {
            return Ok(None);
        }
        let again_at = next_attempt(ended.claim.attempt, ended.retries, ended.at);
        match (again_at, ended.claim.attachment) {
            (Some(_), Some(attachment))
                if store
                    .attempts_at_level_of(attachment, ended.claim.id)?
                    .is_none() =>
            {
                Ok(None)
            }
            _ => Ok(again_at),
        }
    }

    /// Ends an attempt in the database, and lets go of what follows it, when anything is `followed`.
    fn end(&self, store: &Store, worker: i64, ended: &Ended, followed: bool) -> Result<End> {
        let task = (ended.claim.id, ended.claim.attempt);
        let again_at = self.again_at(store, ended)?;
        let ending = Ending {
            status: ended.status,
            attachment: ended.claim.attachment,
            again_at,
            at: ended.at,
            lasted: ended.lasted,
            exit_code: ended.exit_code,
            progress: ended.record.progress.clone(),
            result: ended.record.result.clone(),
        };
        if !store.finish_task(task, worker, &ending)? {
            log::warn!(
                "task {}: it is not this run's any more; its end is not noted",
                task.0
            );
            return Ok(End {
                again_at: None,
                level: None,
            });
        }
        ended.record.write_log(store, task)?;
        if let Some(output) = &ended.record.output {
            self.keep_output(store, task, output, ended)?;
        }
        if followed && ended.status == Status::Completed {
            store.release_followers(task.0)?;
        }
        let level = match (ended.claim.attachment, ended.status) {
            (Some(attachment), Status::Failed | Status::Interrupted) => {
                let attempts = store.attempts_at_level_of(attachment, task.0)?;
                attempts.map(|attempts| (attachment, attempts))
            }
            _ => None,
        };
        Ok(End { again_at, level })
    }

    /// A file that cannot be kept is said in the log: the task came to its end all the same.
    fn keep_output(
        &self,
        store: &Store,
        task: (i64, u32),
        output: &Path,
        ended: &Ended,
    ) -> Result<()> {
        let path = self.around.folder.join(output);
        let name = output
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("output");
        let name = ended.record.hide(name.to_owned());
        let kept = match self.no_room_for_files {
            true => Err(Error::io(&path, io::ErrorKind::StorageFull.into())),
            false => {
                store.attempt(|store| store.put_task_file(task.0, FileKind::Output, &name, &path))
            }
        };
        match kept {
            Err(error) if store.in_transaction() => {
                let message =
                    format!("the file that the handler gave back cannot be kept: {error}");
                let entry = LogEntry {
                    at: ended.at,
                    level: Severity::Error,
                    message: ended.record.hide(message),
                    details: None,
                };
                store.put_log(task, store.last_log_seq(task.0)? + 1, &entry)
            }
            kept => kept,
        }
    }

    fn count_ended(&mut self, ends: Vec<End>) {
        for (ended, end) in self.ended.drain(..).zip(ends) {
            if let (Some(worker), Some(note)) = (&mut self.worker, ended.note) {
                worker.forget(note);
            }
            match ended.status {
                Status::Completed => self.outcome.completed += 1,
                Status::Failed => self.outcome.failed += 1,
                Status::Interrupted => self.outcome.interrupted += 1,
                _ => self.outcome.cancelled += 1,
            }
            if matches!(ended.status, Status::Failed | Status::Interrupted) {
                let error = ended.record.last_error.unwrap_or_default();
                self.outcome.tell(Problem {
                    task: ended.claim.id,
                    method: ended.claim.method,
                    attempt: ended.claim.attempt,
                    status: ended.status,
                    error: cut(&error, LONGEST_ERROR),
                    again_at: end.again_at,
                    level: end.level,
                });
            }
        }
    }

    /// Processes that went their own way and outlived their handlers are left alone, but not in silence.
    pub(super) fn report_leftovers(&self, worker: &Worker) -> Result<()> {
        let left = worker::gone_their_own_way(&worker.mark());
        if left.is_empty() {
            return Ok(());
        }
        let now = self.around.clock.now();
        self.around.store.transact(|store| {
            for (task, pid, name) in left {
                let message = format!("its handler has left a process running: {pid} ({name})");
                let entry = LogEntry {
                    at: now,
                    level: Severity::Warning,
                    message,
                    details: None,
                };
                store.note_on_task(task, &entry)?;
            }
            Ok(())
        })
    }
}
