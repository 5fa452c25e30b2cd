//! Connections begun by the kernel and watched by this reactor's poll.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use socket2::{Domain, Protocol, SockAddr, Type};

use super::Dialer;
use crate::base::slots::Key;
use crate::gateway::upstream::Place;
use crate::reactor::accept::spare_pacing;
use crate::reactor::stream::Socket;
use crate::reactor::token::Source;

/// See the module.
pub(in crate::reactor) struct KernelDialer(pub Registry);

/// How long sent bytes may stay unacknowledged before a server is taken for gone.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

impl Dialer<Socket> for KernelDialer {
    fn dial(&mut self, place: &Place, slot: u32, generation: u32) -> io::Result<Socket> {
        let socket = match place {
            Place::Socket(address) => tcp(*address)?,
            Place::Unix(path) => unix(path)?,
        };
        // Both directions at once and for good: a line carries many requests, and each would pay for more.
        let token = Source::<()>::Line(Key::from_parts(slot, generation)).token();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.0.register(&mut SourceFd(&socket.as_raw_fd()), token, interest)?;
        Ok(Socket::new(OwnedFd::from(socket)))
    }
}

fn tcp(address: SocketAddr) -> io::Result<socket2::Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = socket2::Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    spare_pacing(&socket, address);
    begin(socket.connect(&address.into()))?;
    Ok(socket)
}

/// A unix socket connects at once or, while its queue is full, not at all.
fn unix(path: &Path) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    begin(socket.connect(&SockAddr::unix(path)?))?;
    Ok(socket)
}

fn begin(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        outcome => outcome,
    }
}
