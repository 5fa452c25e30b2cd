//! What ends the keeper's sleep, from any thread.
//!
//! Made before reactors leave the process's table of descriptors: their copy of it wakes as well as ours.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// See the module. A wake-up sticks until [`rest`](Waker::rest).
#[derive(Debug)]
pub(super) struct Waker(OwnedFd);

impl Waker {
    pub(super) fn new() -> io::Result<Waker> {
        Ok(Waker(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes. What was brought before is seen by who wakes up.
    pub(super) fn wake(&self) {
        // Full means that more wake-ups than can be counted wait to be seen: one is enough.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Forgets the wake-ups so far. To be called before looking for what was brought.
    pub(super) fn rest(&self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
