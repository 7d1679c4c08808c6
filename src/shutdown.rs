//! The shutdown that a run listens to: a child that ended, and somebody who wants it to leave.

use std::cell::OnceCell;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;

use crate::error::{Error, Result};

/// What asks a run to leave.
const REQUESTS: [i32; 3] = [SIGTERM, SIGINT, SIGHUP];

/// The shutdown of a run, from the moment on that it begins something: a run that finds nothing to do need not listen, and
/// is ended by them as any program is.
#[derive(Debug, Default)]
pub struct Shutdown {
    listening: OnceCell<Listening>,
}

/// Shutdown as something that can be waited on together with pipes, for as long as it lives.
#[derive(Debug)]
struct Listening {
    wake: UnixStream,
    leave: Arc<AtomicBool>,
    registered: Vec<SigId>,
}

impl Shutdown {
    /// Listens from now on, if it does not yet. A request to leave that the run was started to ignore, as nohup(1) does,
    /// stays ignored; one that it was started with blocked would never come, and neither would the end of a child: so
    /// they are let through.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(&self) -> Result<()> {
        if self.listening.get().is_none() {
            let listening = Listening::new().map_err(|source| Error::Io {
                thing: "shutdown".to_owned(),
                source,
            })?;
            self.listening.get_or_init(|| listening);
        }
        Ok(())
    }

    /// What becomes readable when a signal came, while it listens.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.listening.get()?.wake.as_fd())
    }

    /// Takes note of the shutdown that came, so that the next wait waits for others.
    pub fn clear(&self) {
        let Some(listening) = self.listening.get() else {
            return;
        };
        let mut bytes = [0; 64];
        while (&listening.wake)
            .read(&mut bytes)
            .is_ok_and(|read| read == bytes.len())
        {}
    }

    /// Whether somebody wants the run to leave: then it begins nothing any more.
    pub fn is_requested(&self) -> bool {
        let listening = self.listening.get();
        listening.is_some_and(|listening| listening.leave.load(Ordering::Relaxed))
    }
}

impl Listening {
    fn new() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let mut listening = Self {
            wake,
            leave: Arc::new(AtomicBool::new(false)),
            registered: Vec::new(),
        };
        let requests = REQUESTS.into_iter().filter(|signal| !is_ignored(*signal));
        for signal in requests {
            let leave = signal_hook::flag::register(signal, Arc::clone(&listening.leave))?;
            let wakes = low_level::pipe::register(signal, write.try_clone()?)?;
            listening.registered.extend([leave, wakes]);
        }
        let wakes = low_level::pipe::register(SIGCHLD, write)?;
        listening.registered.push(wakes);
        let_through();
        Ok(listening)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        for &id in &self.registered {
            low_level::unregister(id);
        }
    }
}

#[allow(unsafe_code)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: an action is plain data, for which all zeros is a value; nothing is set, and what is set is written there.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// A set with no signal in it. A plain call: between clone(2) and exec it may be made too.
#[allow(unsafe_code)]
pub(crate) fn empty_signals() -> libc::sigset_t {
    // SAFETY: a set of shutdown is plain data, for which all zeros is a value; which of them are the empty set the call
    // says, and it may write less than the whole.
    unsafe {
        let mut empty: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut empty);
        empty
    }
}

#[allow(unsafe_code)]
fn let_through() {
    let mut wanted = empty_signals();
    // SAFETY: the calls only read and write the set.
    unsafe {
        libc::sigaddset(&raw mut wanted, SIGCHLD);
        for signal in REQUESTS {
            libc::sigaddset(&raw mut wanted, signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const wanted, std::ptr::null_mut());
    }
}
