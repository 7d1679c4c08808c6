//! Waiting for handlers, and hearing what they say.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::attempt::Watch;
use super::own::Own;
use super::pool::Pool;
use super::resident::{MOST_DEATHS, Resident};
use super::{Drain, GATHER, KEEP_CLAIM, LOOK_FOR_STOPS, SHOWN_AFTER, system};
use crate::error::Result;
use crate::handler::process::{Process, Stream};
use crate::shutdown::Shutdown;

/// What a wait ended with.
pub(super) struct Readiness {
    /// A signal came, or may have been missed: some handler may have ended.
    pub(super) signal: bool,
    /// The pipes that have something, or have ended.
    pub(super) pipes: Vec<RawFd>,
}

impl Drain<'_> {
    /// Waits until a handler says or ends something, a signal comes, or the time for something has come.
    pub(super) fn wait(&self, shutdown: &Shutdown) -> Result<Readiness> {
        let mut wanted = Vec::new();
        wanted.extend(
            shutdown
                .fd()
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
        );
        wanted.extend(
            self.pool
                .as_ref()
                .map(|pool| PollFd::from_borrowed_fd(pool.fd(), PollFlags::IN)),
        );
        for process in self.processes() {
            let outputs = [Stream::Out, Stream::Err].map(|stream| process.output(stream));
            wanted.extend(
                outputs
                    .into_iter()
                    .flatten()
                    .map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN)),
            );
            let input = process.wants_to_write();
            wanted.extend(input.map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::OUT)));
        }
        let timeout = self.next_deadline().saturating_sub(self.elapsed());
        let timeout = Timespec::try_from(timeout).unwrap_or_default();
        match poll(&mut wanted, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(system("waiting for handlers", error.into())),
        }
        let ready = wanted.iter().filter(|wanted| !wanted.revents().is_empty());
        let pipes: Vec<RawFd> = ready.map(|ready| ready.as_fd().as_raw_fd()).collect();
        // Whoever embeds this may have taken the signal for themselves: so it is not all that is relied on.
        let is_time = self.elapsed() >= self.looked_at + LOOK_FOR_STOPS;
        Ok(Readiness {
            signal: is_time
                || shutdown
                    .fd()
                    .is_some_and(|fd| pipes.contains(&fd.as_raw_fd())),
            pipes,
        })
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        let own = self.own.iter().map(|own| &own.process);
        own.chain(self.residents.iter().map(|resident| &resident.process))
    }

    fn next_deadline(&self) -> Duration {
        let own = self.own.iter().filter_map(Own::next_deadline);
        let residents = self.residents.iter().filter_map(Resident::next_deadline);
        let functions = self.pool.iter().filter_map(Pool::next_deadline);
        let ends = (!self.ended.is_empty()).then(|| self.flushed_at + GATHER);
        let words = self.attempts().any(|attempt| attempt.record.is_unwritten());
        let words = words.then(|| self.flushed_at + SHOWN_AFTER);
        let claim = (!self.queue.is_empty()).then(|| self.claimed_at + KEEP_CLAIM);
        let write = match &self.held_up {
            Some(held_up) => Some(held_up.try_at),
            None => ends.into_iter().chain(words).chain(claim).min(),
        };
        let look = self.looked_at + LOOK_FOR_STOPS;
        own.chain(residents)
            .chain(functions)
            .chain(write)
            .fold(look, Duration::min)
    }

    /// Reads what the handlers print, and takes note of those that have ended.
    pub(super) fn hear(&mut self, ready: &Readiness, watch: Watch<'_>) -> Result<()> {
        let at = self.around.clock.now();
        let Some(worker) = &self.worker else {
            return Ok(());
        };
        let mut index = 0;
        while let Some(own) = self.own.get_mut(index) {
            own.process.push_input();
            own.process.end_input();
            if own.process.is_among(&ready.pipes) {
                own.listen(&mut self.buffer, at, watch);
            }
            match ready.signal.then(|| own.process.ended()).flatten() {
                Some(exit) => {
                    let own = self.own.swap_remove(index);
                    self.ended.push(own.end(exit, &self.around, worker, watch));
                }
                None => index += 1,
            }
        }
        let mut untold = Vec::new();
        index = 0;
        while let Some(resident) = self.residents.get_mut(index) {
            resident.push();
            if resident.process.is_among(&ready.pipes) {
                resident.listen(&self.around, &mut self.buffer, watch, &mut self.ended);
            }
            match ready.signal.then(|| resident.process.ended()).flatten() {
                Some(exit) => {
                    let mut resident = self.residents.swap_remove(index);
                    note_death(&mut self.deaths, &mut self.outcome.errors, &resident);
                    untold.extend(resident.untold(true));
                    self.ended.extend(resident.end(exit, &self.around, watch));
                }
                None => index += 1,
            }
        }
        if let Some(pool) = &mut self.pool {
            pool.listen(&self.around, watch, &mut self.ended);
        }
        self.unbegin(untold);
        self.take_back_untold(false);
        Ok(())
    }
}

fn note_death(deaths: &mut HashMap<String, u32>, errors: &mut Vec<String>, resident: &Resident) {
    if resident.held.is_empty() || resident.done > 0 {
        deaths.remove(&resident.method);
        return;
    }
    let count = deaths.entry(resident.method.clone()).or_default();
    *count += 1;
    if *count == MOST_DEATHS {
        let method = &resident.method;
        errors.push(format!(
            "method {method}: its resident handler died {MOST_DEATHS} times before it was done with a task; the rest of its tasks stay pending"
        ));
    }
}
