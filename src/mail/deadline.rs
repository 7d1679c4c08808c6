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
        let mut result = Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
        for address in resolve(host, port, soon)? {
            result = TcpStream::connect_timeout(&address, soon.left()?);
            if result.is_ok() {
                break;
            }
        }
        let socket = result?;
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

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.deadline.left()?))?;
        self.socket.read(buffer).map_err(name_timeout)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.deadline.left()?))?;
        self.socket.write(bytes).map_err(name_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
