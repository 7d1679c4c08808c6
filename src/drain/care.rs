//! Time limits, what is asked of running tasks, and being told to leave.

use std::time::Duration;

use super::attempt::{Cause, Watch};
use super::{Drain, LOOK_FOR_STOPS};
use crate::error::Result;
use crate::model::task::{Severity, Stop};
use crate::shutdown::Shutdown;
use crate::worker::give_back;

impl Drain<'_> {
    /// Sees to time limits, to what was asked of running tasks, and to being told to leave.
    pub(super) fn look_after(&mut self, shutdown: &Shutdown, watch: Watch<'_>) -> Result<()> {
        let elapsed = self.elapsed();
        self.heed(shutdown);
        if elapsed >= self.looked_at + LOOK_FOR_STOPS {
            self.looked_at = elapsed;
            self.look_for_stops(elapsed)?;
        }
        self.own.iter_mut().for_each(|own| own.enforce(elapsed));
        self.residents
            .iter_mut()
            .for_each(|resident| resident.enforce(elapsed));
        let at = self.around.clock.now();
        for own in &mut self.own {
            if let Some(words) = own.process.out_of_reach() {
                own.attempt.say(Severity::Warning, &words, at, watch);
            }
        }
        for resident in &mut self.residents {
            if let Some(words) = resident.process.out_of_reach() {
                resident.say(&words, at, watch);
            }
        }
        if let Some(pool) = &mut self.pool {
            pool.enforce(&self.around, watch, &mut self.ended);
        }
        Ok(())
    }

    /// Once it is told to leave, it starts nothing more and ends its handlers.
    pub(super) fn heed(&mut self, shutdown: &Shutdown) {
        if shutdown.is_requested() && !self.outcome.left {
            self.outcome.left = true;
            self.outcome
                .errors
                .push("the run was told to leave before its tasks had ended".to_owned());
            self.ask_to_end(None, Cause::Leaving, self.elapsed());
        }
    }

    /// Ends the handler of a task, or all handlers.
    fn ask_to_end(&mut self, task: Option<i64>, cause: Cause, elapsed: Duration) {
        let wanted = |id: i64| task.is_none_or(|task| task == id);
        for own in self
            .own
            .iter_mut()
            .filter(|own| wanted(own.attempt.claim.id))
        {
            own.ask_to_end(cause, elapsed);
        }
        for resident in &mut self.residents {
            if task.is_none() || resident.held.iter().any(|attempt| wanted(attempt.claim.id)) {
                resident.ask_to_end(task, cause, elapsed);
            }
        }
        if let Some(pool) = &mut self.pool {
            pool.ask_to_end(task, cause, elapsed);
        }
    }

    /// Asks the database only when another connection has changed it.
    fn look_for_stops(&mut self, elapsed: Duration) -> Result<()> {
        let Some(worker) = &self.worker else {
            return Ok(());
        };
        let store = self.around.store;
        let looked =
            store
                .data_version()
                .and_then(|version| match self.seen_version == Some(version) {
                    true => Ok((version, Vec::new())),
                    false => Ok((version, store.stops_asked(worker.id)?)),
                });
        let noticed = looked.and_then(|(version, stops)| {
            self.give_up_unstarted(&stops)?;
            Ok((version, stops))
        });
        match noticed {
            Ok((version, stops)) => {
                self.seen_version = Some(version);
                let asked = stops
                    .into_iter()
                    .map(|(task, stop)| (task, Cause::Asked(stop)));
                asked.for_each(|(task, cause)| self.ask_to_end(Some(task), cause, elapsed));
                Ok(())
            }
            // What was not noticed now is the next time.
            Err(error) if error.is_temporary() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Of the tasks that are to end, those that were claimed and not started are given back, and so are over.
    fn give_up_unstarted(&mut self, stops: &[(i64, Stop)]) -> Result<()> {
        let is_asked = |id: i64| stops.iter().any(|(asked, _)| *asked == id);
        self.take_back(|attempt| is_asked(attempt.claim.id));
        let waiting = self.queue.iter().chain(&self.parked);
        let is_final: Vec<i64> = waiting
            .map(|claim| claim.id)
            .filter(|id| is_asked(*id))
            .collect();
        let (Some(worker), false) = (&self.worker, is_final.is_empty()) else {
            return Ok(());
        };
        let (worker, now) = (worker.id, self.around.clock.now());
        self.around.store.transact(|store| {
            let mut is_final = is_final.iter();
            is_final.try_for_each(|id| give_back(store, *id, worker, now))
        })?;
        self.queue.retain(|claim| !is_final.contains(&claim.id));
        self.parked.retain(|claim| !is_final.contains(&claim.id));
        Ok(())
    }
}
