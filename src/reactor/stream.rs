//! The socket as the driver of a connection sees it.
//!
//! Two implementors: the kernel's socket here, and the simulator's, which splits, delays, blocks and resets
//! at every byte. `rustix` wraps the system calls; the one option it does not know is set here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::net::{RecvFlags, SendFlags, Shutdown};

use crate::base::write_queue::FileRange;

/// Bytes one `sendfile` may move, so that one download does not hold a turn.
const SENDFILE_BYTES_MAX: u64 = 256 * 1024;

/// Both directions of one connection, never blocking.
pub trait Stream {
    /// Takes what has come; 0 is the end of input.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; else the connection is broken.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;

    /// Sends; `more`: something follows at once, so a short packet should wait for it.
    ///
    /// # Errors
    /// `WouldBlock` when the peer's window is full; else the connection is broken.
    fn write(&mut self, bytes: &[u8], more: bool) -> io::Result<usize>;

    /// Sends from a file; 0 is the end of the file, hence a file that shrank.
    ///
    /// # Errors
    /// As [`write`](Stream::write).
    fn send_file(&mut self, range: &FileRange) -> io::Result<usize>;

    /// Says that nothing more will be sent.
    fn close_write(&mut self);

    /// Makes the coming close a reset, so that the kernel drops what it still holds for the peer.
    fn reset_on_close(&mut self);

    /// What became of a connection that was begun: it stands, or why not.
    ///
    /// # Errors
    /// Why not.
    fn outcome(&self) -> io::Result<()>;

    /// The peer's address. `None`: a unix socket has none.
    fn peer_address(&self) -> Option<IpAddr> {
        None
    }

    /// The peer's address, for logs.
    fn peer(&self) -> String;
}

/// A connected socket of any family.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Takes over a connected socket in non-blocking mode.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Socket {
        Socket(fd)
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Stream for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (count, _) = rustix::net::recv(&self.0, into, RecvFlags::empty())?;
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8], more: bool) -> io::Result<usize> {
        let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
        Ok(rustix::net::send(&self.0, bytes, flags)?)
    }

    fn send_file(&mut self, range: &FileRange) -> io::Result<usize> {
        let mut offset = range.offset;
        let count = range.len.min(SENDFILE_BYTES_MAX) as usize;
        Ok(rustix::fs::sendfile(&self.0, range.file.as_fd(), Some(&mut offset), count)?)
    }

    fn close_write(&mut self) {
        // Fails only when the peer is gone already, and then the next read says so.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Write);
    }

    fn reset_on_close(&mut self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.0, Some(std::time::Duration::ZERO));
    }

    fn outcome(&self) -> io::Result<()> {
        rustix::net::sockopt::socket_error(&self.0)?.map_err(io::Error::from)
    }

    fn peer_address(&self) -> Option<IpAddr> {
        let address = rustix::net::getpeername(&self.0).ok().flatten()?;
        Some(SocketAddr::try_from(address).ok()?.ip())
    }

    fn peer(&self) -> String {
        // A peer of a unix socket has no address; the word is nginx's.
        self.peer_address().map_or_else(|| "unix:".to_owned(), |address| address.to_string())
    }
}

/// Has the kernel hold back new connections of a listener until their first bytes have come, for a second at
/// most.
///
/// # Errors
/// What the kernel says.
pub(super) fn defer_accept(listener: &impl AsRawFd) -> io::Result<()> {
    let seconds: libc::c_int = 1;
    let (value, size) = ((&raw const seconds).cast(), size_of_val(&seconds) as libc::socklen_t);
    // SAFETY: `value` points at `size` bytes that live through the call, which copies them.
    let outcome = unsafe {
        libc::setsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, value, size)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
