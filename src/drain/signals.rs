//! The signals that a run listens to: a child that ended, and somebody who wants it to leave.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;

/// Signals as something that can be waited on together with pipes, for as long as it lives.
#[derive(Debug)]
pub(super) struct Signals {
    wake: UnixStream,
    leave: Arc<AtomicBool>,
    registered: Vec<SigId>,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let mut signals = Self {
            wake,
            leave: Arc::new(AtomicBool::new(false)),
            registered: Vec::new(),
        };
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            let leave = signal_hook::flag::register(signal, Arc::clone(&signals.leave))?;
            signals.registered.push(leave);
        }
        for signal in [SIGCHLD, SIGTERM, SIGINT, SIGHUP] {
            let wakes = low_level::pipe::register(signal, write.try_clone()?)?;
            signals.registered.push(wakes);
        }
        Ok(signals)
    }

    /// What becomes readable when a signal came.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes note of the signals that came, so that the next wait waits for others.
    pub(super) fn clear(&mut self) {
        let mut bytes = [0; 64];
        while self
            .wake
            .read(&mut bytes)
            .is_ok_and(|read| read == bytes.len())
        {}
    }

    pub(super) fn told_to_leave(&self) -> bool {
        self.leave.load(Ordering::Relaxed)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for &id in &self.registered {
            low_level::unregister(id);
        }
    }
}
