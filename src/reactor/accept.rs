//! Listeners: made ready for a storm, accepted from in bounded steps, paused when there is no room.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::config::Listen;
use crate::reactor::stream::defer_accept;

/// How a listener listens.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Clients that may wait to be accepted.
    pub backlog: u32,
    /// Whether they wait until they have said something.
    pub defers: bool,
}

/// An open listener. Belongs to the reactor that made it.
pub(super) struct Listener {
    socket: Socket,
    /// The file of a unix socket, removed with the listener.
    path: Option<PathBuf>,
    /// By which the poll names it.
    pub number: u32,
    /// Which gateway answers those who come this way.
    pub entrance: u8,
    /// An edge was seen and not yet used up.
    pub is_ready: bool,
    /// The kernel asks us, by way of a [`Seat`](super::balance::Seat), who gets its clients.
    pub is_balanced: bool,
}

/// How long sent bytes may stay unacknowledged before the peer is taken for gone.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// Bytes that may lie in the kernel before it has begun to send them, which is all that a client who does
/// not read can make it hold. Without this it was 2 to 4 MiB each: three hundred such clients took 1.1 GiB,
/// a few hundred more all that `tcp_mem` has for this host, and each was written as much in one burst,
/// beside which the p99 of others was 32 ms, not 2. What is under way to a client that reads is not
/// counted: the same CPU time for a file of 1 MB or 10 KiB, 2 % more or less.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// Claims an address for this process, without listening yet, and tells its port when any was asked for.
///
/// Bound first *without* `SO_REUSEPORT`: so that a second process is refused and does not share the port in
/// silence.
///
/// # Errors
/// What `bind` says.
pub fn claim(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    // From here on this process's own listeners may join.
    socket.set_reuse_port(true)?;
    let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket.into(), bound))
}

impl Listener {
    /// Binds and listens.
    pub(super) fn open(listen: &Listen, manner: Manner, entrance: u8, number: u32) -> io::Result<Listener> {
        let (socket, path) = match listen {
            Listen::Tcp(address) => (tcp(*address, manner.defers)?, None),
            Listen::Unix(path) => (unix(path)?, Some(path.clone())),
        };
        socket.set_nonblocking(true)?;
        socket.listen(i32::try_from(manner.backlog).unwrap_or(i32::MAX))?;
        // Worth a look at once: whoever connected before it was registered gives no edge.
        Ok(Listener { socket, path, number, entrance, is_ready: true, is_balanced: false })
    }

    /// One connection that waits, in non-blocking mode. Its address is asked for only where it is wanted.
    pub(super) fn accept(&self, asks_peer: bool) -> io::Result<(OwnedFd, Option<IpAddr>)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        if !asks_peer {
            return Ok((rustix::net::accept_with(&self.socket, flags)?, None));
        }
        let (fd, peer) = rustix::net::acceptfrom_with(&self.socket, flags)?;
        let peer = peer.and_then(|any| SocketAddr::try_from(any).ok());
        Ok((fd, peer.map(|peer| peer.ip().to_canonical())))
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Options are set on the listener: Linux hands them on to accepted sockets, which saves calls for each.
///
/// Not `SO_KEEPALIVE`: every wait has a deadline of ours, so a peer that vanished is noticed without the
/// kernel's timer per connection.
fn tcp(address: SocketAddr, defers: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    spare_pacing(&socket, address);
    if defers {
        // Accepting a client that has said something already spares a wake-up, a read in vain and a
        // registration: 13.5 against 23.3 us of CPU for one `ab -c 100` request. The kernel waits for one
        // SYN-ACK timeout, a second, and then hands over whoever is still silent.
        defer_accept(&socket)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// On loopback nothing is congested, and pacing (BBR) costs CPU with each packet: 2.5 % of what a proxied
/// request takes. Where the kernel has no such thing it stays as it is.
pub(super) fn spare_pacing(socket: &Socket, address: SocketAddr) {
    if address.ip().is_loopback() {
        let _ = socket.set_tcp_congestion(b"reno");
    }
}

fn unix(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// What a failed accept means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// Nobody waits.
    Empty,
    /// This one is gone; there may be others.
    Gone,
    /// There is no room in the kernel: wait a little, since no edge will tell when there is.
    NoRoom,
}

impl AcceptError {
    pub(super) fn of(error: &io::Error) -> AcceptError {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => AcceptError::Empty,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => AcceptError::NoRoom,
            _ => AcceptError::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANNER: Manner = Manner { backlog: 16, defers: true };

    #[test]
    fn a_second_claim_of_an_address_is_refused_and_our_own_listeners_are_not() {
        let (_claim, address) = claim("127.0.0.1:0".parse().unwrap()).unwrap();
        let listen = Listen::Tcp(address);
        let _first = Listener::open(&listen, MANNER, 0, 0).unwrap();
        let _second = Listener::open(&listen, MANNER, 0, 0).unwrap();
        assert_eq!(claim(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn accept_errors_are_told_apart() {
        let verdict = |code| AcceptError::of(&io::Error::from_raw_os_error(code));
        assert_eq!(verdict(libc::EAGAIN), AcceptError::Empty);
        assert_eq!(verdict(libc::EMFILE), AcceptError::NoRoom);
        assert_eq!(verdict(libc::ECONNABORTED), AcceptError::Gone);
    }
}
