//! What other threads tell a reactor, and the waker that makes it listen.

use std::io;

use crossbeam_queue::ArrayQueue;
use mio::{Poll, Waker};

use crate::reactor::token::Source;

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Stop listening, finish what is under way, then end; cut what is left after so many milliseconds.
    Drain {
        /// Milliseconds.
        ms_max: u32,
    },
    /// Every other reactor has ended.
    Last,
    /// End now.
    Stop,
}

/// A bounded queue of notices. Made, with its waker, before the reactor takes a descriptor table of its own.
pub struct Inbox {
    notices: ArrayQueue<Notice>,
    waker: Waker,
}

/// Notices that may lie unread.
const NOTICES_MAX: usize = 64;

impl Inbox {
    /// An inbox whose waker ends the waits of `poll`.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new(poll: &Poll) -> io::Result<Inbox> {
        let waker = Waker::new(poll.registry(), Source::<()>::Inbox.token())?;
        Ok(Inbox { notices: ArrayQueue::new(NOTICES_MAX), waker })
    }

    /// Tells the reactor.
    ///
    /// # Errors
    /// Gives the notice back when too many lie unread.
    pub fn notify(&self, notice: Notice) -> Result<(), Notice> {
        self.notices.push(notice)?;
        // Fails only when the counter behind it is full, and then the reactor is awake already.
        let _ = self.waker.wake();
        Ok(())
    }

    pub(super) fn next(&self) -> Option<Notice> {
        self.notices.pop()
    }
}
