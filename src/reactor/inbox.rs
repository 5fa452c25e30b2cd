//! What other threads bring and tell a reactor, and the waker that makes it listen.

use std::fmt;
use std::io;
use std::sync::{Arc, mpsc};

use crossbeam_queue::ArrayQueue;
use mio::{Poll, Waker};

use crate::base::sleeper::Sleeper;
use crate::config::Limits;
use crate::gateway::Gateway;
use crate::reactor::token::Source;
use crate::worker::{Job, ReplyDesk, ReplyTo};

/// What may be told.
pub enum Notice {
    /// Stop listening, finish what is under way, then end; cut what is left after so many milliseconds.
    Drain {
        /// Milliseconds.
        ms_max: u32,
    },
    /// Answer by these from now on.
    Reload(Arc<Generation>),
    /// Every other reactor has ended.
    Last,
    /// End now.
    Stop,
}

/// What requests are answered by between two reloads. Holds no descriptor: it is made and dropped by a thread
/// that has another table of them.
pub struct Generation {
    /// Its number, from 1 on: the start's is 0.
    pub number: u64,
    /// What each kind of listener serves. Whoever makes a generation drops it too, see `server::reload`: it
    /// may take long.
    pub gateways: Arc<[Gateway]>,
    /// Bounds on each connection.
    pub limits: Limits,
    /// Where it is said that a reactor answers by it.
    pub taken: mpsc::Sender<u64>,
}

impl fmt::Debug for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Drain { ms_max } => write!(out, "Drain({ms_max} ms)"),
            Notice::Reload(generation) => write!(out, "Reload({})", generation.number),
            Notice::Last => out.write_str("Last"),
            Notice::Stop => out.write_str("Stop"),
        }
    }
}

/// Bounded queues of notices and of jobs that come home. Made, with its waker, before the reactor takes a
/// descriptor table of its own.
pub struct Inbox {
    notices: ArrayQueue<Notice>,
    done: ArrayQueue<Box<Job>>,
    /// Exchanges whose handler has room for more of the body.
    room: ArrayQueue<ReplyTo>,
    sleeper: Sleeper,
    waker: Waker,
}

/// Notices that may lie unread.
const NOTICES_MAX: usize = 64;

impl Inbox {
    /// An inbox whose waker ends the waits of `poll`, for a reactor that has so many jobs out at most.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new(poll: &Poll, jobs_max: u32) -> io::Result<Inbox> {
        let waker = Waker::new(poll.registry(), Source::<()>::Inbox.token())?;
        let jobs_max = jobs_max.max(1) as usize;
        Ok(Inbox {
            notices: ArrayQueue::new(NOTICES_MAX),
            done: ArrayQueue::new(jobs_max),
            // One wish from before a turn and one from within it, for every pipe that is read.
            room: ArrayQueue::new(2 * jobs_max),
            sleeper: Sleeper::new(),
            waker,
        })
    }

    /// Tells the reactor.
    ///
    /// # Errors
    /// Gives the notice back when too many lie unread.
    pub fn notify(&self, notice: Notice) -> Result<(), Notice> {
        self.notices.push(notice)?;
        self.wake();
        Ok(())
    }

    /// The reactor is about to sleep. `false`: something has come that it should see first.
    pub(super) fn may_sleep(&self) -> bool {
        self.sleeper.announce();
        !self.has_mail()
    }

    /// The reactor is awake.
    pub(super) fn rise(&self) {
        self.sleeper.rise();
    }

    pub(super) fn has_mail(&self) -> bool {
        !(self.done.is_empty() && self.room.is_empty())
    }

    pub(super) fn next(&self) -> Option<Notice> {
        self.notices.pop()
    }

    pub(super) fn next_done(&self) -> Option<Box<Job>> {
        self.done.pop()
    }

    pub(super) fn next_room(&self) -> Option<ReplyTo> {
        self.room.pop()
    }

    fn wake_sleeper(&self) -> bool {
        let must = self.sleeper.must_be_woken();
        if must {
            self.wake();
        }
        must
    }

    fn wake(&self) {
        // Fails only when the counter behind it is full, and then the reactor is awake already.
        let _ = self.waker.wake();
    }
}

impl ReplyDesk for Inbox {
    fn complete(&self, job: Box<Job>) -> bool {
        let pushed = self.done.push(job);
        debug_assert!(pushed.is_ok(), "more jobs came home than were let out");
        self.wake_sleeper()
    }

    fn room(&self, to: ReplyTo) {
        let pushed = self.room.push(to);
        debug_assert!(pushed.is_ok(), "a pipe asks once for each time it is full");
        self.wake_sleeper();
    }
}
