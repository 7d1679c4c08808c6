//! How somebody asks a run to end: SIGTERM, SIGINT or SIGHUP.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use crate::error::{Error, Result};

/// What asks a run to end.
const REQUESTS: [i32; 3] = [SIGTERM, SIGINT, SIGHUP];

/// Whether a run was asked to end. It listens from the moment on that it begins something: one that finds nothing to do is
/// ended by these signals as any program is.
#[derive(Debug, Default)]
pub(crate) struct Shutdown {
    listening: OnceCell<Listening>,
}

#[derive(Debug)]
struct Listening {
    requested: Arc<AtomicBool>,
    registered: Vec<SigId>,
}

impl Shutdown {
    /// Listens from now on, if it does not yet. A signal that the run was started to ignore, as nohup(1) does, stays
    /// ignored.
    pub(crate) fn listen(&self) -> Result<()> {
        if self.listening.get().is_none() {
            let listening = Listening::new().map_err(|source| Error::Io {
                thing: "signals".to_owned(),
                source,
            })?;
            self.listening.get_or_init(|| listening);
        }
        Ok(())
    }

    /// Whether the run was asked to end: then it begins nothing any more.
    pub(crate) fn is_requested(&self) -> bool {
        let listening = self.listening.get();
        listening.is_some_and(|listening| listening.requested.load(Ordering::Relaxed))
    }
}

impl Listening {
    fn new() -> io::Result<Self> {
        let mut listening = Self {
            requested: Arc::default(),
            registered: Vec::new(),
        };
        let ignored = ignored_signals();
        for signal in REQUESTS {
            if ignored & (1 << (signal - 1)) == 0 {
                let requested = Arc::clone(&listening.requested);
                let registered = signal_hook::flag::register(signal, requested)?;
                listening.registered.push(registered);
            }
        }
        // Who was started to ignore the ends of its children would never learn how they ended.
        let unread = signal_hook::flag::register(SIGCHLD, Arc::default())?;
        listening.registered.push(unread);
        Ok(listening)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        for &id in &self.registered {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// The signals that this process was started to ignore, a bit each.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(ignored.unwrap_or_default().trim(), 16).unwrap_or(0)
}

/// Lets all signals through that this process was started with blocked: requests to end, and those of handlers, which
/// inherit what is blocked.
#[allow(unsafe_code)]
pub(crate) fn unblock_signals() {
    // SAFETY: a set of signals is plain data, for which all zeros is a value; the calls only write and read it.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
