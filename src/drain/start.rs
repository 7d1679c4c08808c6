//! Starting what is claimed, each task by the kind of handler that its method has.

use super::attempt::{Ready, Unready};
use super::own::{Begun, Own};
use super::pool::Pool;
use super::resident::{MOST_DEATHS, Resident};
use super::{Drain, system};
use crate::error::Result;
use crate::store::task::Claim;

impl Drain<'_> {
    /// Starts what is claimed, as far as there are places. What finds none keeps its turn.
    pub(super) fn start_queued(&mut self) -> Result<()> {
        loop {
            let mut no_place = Vec::new();
            while self.may_start()
                && let Some(claim) = self.queue.pop_front()
            {
                no_place.extend(self.start(claim)?);
            }
            no_place
                .into_iter()
                .rev()
                .for_each(|claim| self.queue.push_front(claim));
            let noted = match &mut self.worker {
                Some(worker) => worker.write_notes(),
                None => Ok(()),
            };
            match noted {
                Err(error) if error.is_shortage() => {
                    self.take_back_untold(true);
                    self.tell_shortage(&error.to_string());
                }
                noted => noted?,
            }
            self.residents.iter_mut().for_each(Resident::push);
            if !self.take_back_untold(false) {
                return Ok(());
            }
        }
    }

    fn may_start(&self) -> bool {
        let room = self.busy_places() < self.places
            || self
                .residents
                .iter()
                .any(|resident| resident.has_room() && !resident.held.is_empty())
            || self.pool.as_ref().is_some_and(Pool::has_room);
        room && !self.outcome.left && !self.short
    }

    /// Starts a task; hands it back when there is no place for it.
    fn start(&mut self, claim: Claim) -> Result<Option<Claim>> {
        let methods = self.methods;
        let method = methods.get(&claim.method);
        let free = self.busy_places() < self.places;
        let (native, resident) = method
            .as_ref()
            .map_or((false, false), |method| (method.native, method.resident));
        if resident {
            return self.start_resident(claim, free);
        }
        let waits_for_thread = native && self.pool.as_ref().is_some_and(Pool::has_room);
        if !free && !waits_for_thread {
            return Ok(Some(claim));
        }
        let Some(worker) = &mut self.worker else {
            return Ok(Some(claim));
        };
        let ready = match Ready::new(&self.around, worker.id, method, claim) {
            Ok(ready) => ready,
            Err(unready) => return Ok(self.unready(unready)),
        };
        if native {
            return self.start_native(ready, free).map(|()| None);
        }
        match Own::start(&self.around, worker, ready)? {
            Begun::Running(own) => self.own.push(own),
            Begun::Over(ended) => self.ended.push(*ended),
            Begun::Shortage(claim, reason) => return Ok(Some(self.run_short(claim, &reason))),
        }
        Ok(None)
    }

    fn start_native(&mut self, ready: Ready<'_>, free: bool) -> Result<()> {
        let Some(worker) = &mut self.worker else {
            return Ok(());
        };
        let pool = match &mut self.pool {
            Some(pool) => pool,
            none => none.insert(
                Pool::new(&self.around, worker.notes())
                    .map_err(|source| system("threads", source))?,
            ),
        };
        if free {
            pool.take_place()
                .map_err(|source| system("threads", source))?;
        }
        pool.give(ready, worker.reserve(), self.around.clock.elapsed());
        Ok(())
    }

    fn start_resident(&mut self, claim: Claim, free: bool) -> Result<Option<Claim>> {
        let method = match self.methods.get(&claim.method) {
            Ok(method) => method,
            Err(_) => return Ok(Some(claim)),
        };
        if self
            .deaths
            .get(&method.name)
            .is_some_and(|deaths| *deaths >= MOST_DEATHS)
        {
            self.parked.push(claim);
            return Ok(None);
        }
        let with_room = |resident: &&mut Resident| {
            resident.method == method.name
                && resident.has_room()
                && (free || !resident.held.is_empty())
        };
        let serving = self
            .residents
            .iter_mut()
            .filter(with_room)
            .min_by_key(|resident| resident.held.len());
        let Some(worker) = &mut self.worker else {
            return Ok(Some(claim));
        };
        if serving.is_none() && !free {
            return Ok(Some(claim));
        }
        let ready = match Ready::new(&self.around, worker.id, Ok(method), claim) {
            Ok(ready) => ready,
            Err(unready) => return Ok(self.unready(unready)),
        };
        match serving {
            // A process that is busy with others waits for a free place before it is doubled.
            Some(resident) if resident.held.is_empty() || !free => {
                resident.give(&self.around, worker, ready)
            }
            _ => match Resident::start(&self.around, worker, ready) {
                Begun::Running(resident) => self.residents.push(resident),
                Begun::Over(ended) => self.ended.push(*ended),
                Begun::Shortage(claim, reason) => return Ok(Some(self.run_short(claim, &reason))),
            },
        }
        Ok(None)
    }

    /// Takes note of a task that is not started; hands it back when it is to wait.
    fn unready(&mut self, unready: Unready) -> Option<Claim> {
        match unready {
            Unready::Over(ended) => {
                self.ended.push(*ended);
                None
            }
            Unready::Shortage(claim, reason) => Some(self.run_short(*claim, &reason)),
        }
    }

    fn run_short(&mut self, claim: Claim, reason: &str) -> Claim {
        self.tell_shortage(&format!("task {}: {reason}; it stays pending", claim.id));
        claim
    }

    fn tell_shortage(&mut self, sentence: &str) {
        self.outcome.errors.push(sentence.to_owned());
        self.outcome.parked = true;
        self.short = true;
    }
}
