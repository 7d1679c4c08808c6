//! One deadline for many steps: a timeout of each read would let a server that drips hold us for ever.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The longest limit that counts; the clock could not hold any length of time.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A moment on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit.min(LONGEST))
    }

    /// The earlier of this one and `limit` from now.
    pub(super) fn within(self, limit: Duration) -> Self {
        Self(self.0.min(Self::after(limit).0))
    }

    /// What is left, never zero: sockets take a zero for “for ever”.
    ///
    /// # Errors
    ///
    /// `TimedOut` when nothing is left.
    pub(super) fn left(self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(left)
        }
    }
}

/// A connection of which every read and write ends at the deadline.
#[derive(Debug)]
pub(super) struct Timed {
    socket: TcpStream,
    deadline: Deadline,
}

impl Timed {
    /// Connects to the first of the host's addresses that accepts.
    pub(super) fn connect(
        host: &str,
        port: u16,
        limit: Duration,
        deadline: Deadline,
    ) -> io::Result<Self> {
        let soon = deadline.within(limit);
        let socket = connect_to_one(&resolve(host, port, soon)?, soon)?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, deadline })
    }

    pub(super) fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// Whether the other end is on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.socket
            .peer_addr()
            .is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
    }
}

/// Each address has its share of the time that is left: one that does not answer must not keep the next from its turn.
fn connect_to_one(addresses: &[SocketAddr], deadline: Deadline) -> io::Result<TcpStream> {
    let mut result = Err(io::Error::new(
        io::ErrorKind::NotFound,
        "the name has no address",
    ));
    for (address, still) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = deadline.left()? / u32::try_from(still).unwrap_or(u32::MAX);
        // A zero would be an error of its own.
        result = TcpStream::connect_timeout(address, share.max(Duration::from_millis(1)));
        if result.is_ok() {
            break;
        }
    }
    result
}

/// The system's resolver knows no deadline, so a thread of its own waits for it and is left behind if need be.
fn resolve(host: &str, port: u16, deadline: Deadline) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let (sender, receiver) = mpsc::channel();
    let host = host.to_owned();
    thread::Builder::new().spawn(move || {
        let found = (host.as_str(), port)
            .to_socket_addrs()
            .map(Iterator::collect);
        // Nobody may be waiting any more.
        let _ = sender.send(found);
    })?;
    receiver
        .recv_timeout(deadline.left()?)
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A socket's own timeout shows as `WouldBlock` on some systems.
fn name_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A signal interrupts a call that has a timeout, whatever its handler says of that.
        again(|| {
            self.socket.set_read_timeout(Some(self.deadline.left()?))?;
            self.socket.read(buffer).map_err(name_timeout)
        })
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        again(|| {
            self.socket.set_write_timeout(Some(self.deadline.left()?))?;
            self.socket.write(bytes).map_err(name_timeout)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::{Deadline, connect_to_one};

    #[test]
    #[allow(unsafe_code)]
    fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let (mute, good) = (
            TcpListener::bind("127.0.0.1:0").unwrap(),
            TcpListener::bind("127.0.0.1:0").unwrap(),
        );
        let (mute_at, good_at) = (mute.local_addr().unwrap(), good.local_addr().unwrap());
        // SAFETY: it is the descriptor of a listening socket, which only gets a shorter queue.
        assert_eq!(unsafe { libc::listen(mute.as_raw_fd(), 0) }, 0);
        let soon = Duration::from_millis(100);
        let queue: Vec<_> =
            std::iter::from_fn(|| TcpStream::connect_timeout(&mute_at, soon).ok()).collect();
        assert!(!queue.is_empty());
        let deadline = Deadline::after(Duration::from_secs(2));
        let socket = connect_to_one(&[mute_at, good_at], deadline).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), good_at);
        assert!(deadline.left().is_ok());
    }
}
