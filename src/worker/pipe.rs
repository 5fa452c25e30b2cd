//! A request's body on its way to a handler that reads it as it comes.
//!
//! Bounded: when the handler does not keep up, the reactor stops reading, and so the client has to stop
//! sending. The reactor never waits here; the handler does.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use crate::base::clock::Deadline;
use crate::base::sleeper::Sleeper;
use crate::gateway::Ticket;
use crate::worker::ReplyDesk;
use crate::worker::job::ReplyTo;

/// Pieces under way at once; each is at most a read's worth.
const PIECES_MAX: usize = 8;

/// How long after its deadline a reader waits to be told of it: the reactor's 504 comes before whatever a
/// handler would make of a body that is not whole.
const GRACE_NS: u64 = 100_000_000;

const COMING: u8 = 0;
const WHOLE: u8 = 1;
const BROKEN: u8 = 2;

/// See the module. One writer, the reactor; one reader, the handler.
pub struct Pipe {
    pieces: ArrayQueue<Vec<u8>>,
    /// Pieces that were read, to be filled again.
    spare: ArrayQueue<Vec<u8>>,
    end: AtomicU8,
    reader: OnceLock<Thread>,
    sleeper: Sleeper,
    wants_room: AtomicBool,
    desk: Arc<dyn ReplyDesk>,
    to: ReplyTo,
}

impl Pipe {
    /// An empty pipe whose reader says at that desk when there is room again.
    #[must_use]
    pub fn new(desk: Arc<dyn ReplyDesk>, to: ReplyTo) -> Pipe {
        Pipe {
            pieces: ArrayQueue::new(PIECES_MAX),
            spare: ArrayQueue::new(PIECES_MAX),
            end: AtomicU8::new(COMING),
            reader: OnceLock::new(),
            sleeper: Sleeper::new(),
            wants_room: AtomicBool::new(false),
            desk,
            to,
        }
    }

    /// Whether there is room for another piece. If not, the desk will hear when there is.
    pub fn has_room(&self) -> bool {
        if !self.pieces.is_full() {
            return true;
        }
        self.wants_room.store(true, Ordering::Relaxed);
        // The reader pops, passes a fence and looks at the wish; one of us sees the other.
        fence(Ordering::SeqCst);
        !self.pieces.is_full() && self.wants_room.swap(false, Ordering::Relaxed)
    }

    /// Takes a copy of the bytes. `false`: it is full, and the desk will hear when it no longer is.
    pub fn offer(&self, bytes: &[u8]) -> bool {
        if !self.has_room() {
            return false;
        }
        let mut piece = self.spare.pop().unwrap_or_default();
        piece.clear();
        piece.extend_from_slice(bytes);
        let pushed = self.pieces.push(piece);
        debug_assert!(pushed.is_ok(), "there is one writer, and it saw room");
        self.wake();
        true
    }

    /// No more will come: because it is complete, or because the client or the time is gone.
    pub fn close(&self, is_whole: bool) {
        self.end.store(if is_whole { WHOLE } else { BROKEN }, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if self.sleeper.must_be_woken()
            && let Some(thread) = self.reader.get()
        {
            thread.unpark();
        }
    }

    /// What is there to be read, for simulations, in which nobody may wait.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Taken {
        let end = self.end.load(Ordering::Acquire);
        match (self.pop(), end) {
            (Some(piece), _) => Taken::Piece(piece),
            (None, COMING) => Taken::Nothing,
            (None, WHOLE) => Taken::Whole,
            (None, _) => Taken::Broken,
        }
    }

    /// Whether its reader need not wait for more.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.end.load(Ordering::Acquire) != COMING
    }

    /// The next piece, if it is there; tells the writer if he waits for room.
    fn pop(&self) -> Option<Vec<u8>> {
        let piece = self.pieces.pop()?;
        fence(Ordering::SeqCst);
        if self.wants_room.swap(false, Ordering::Relaxed) {
            self.desk.room(self.to);
        }
        Some(piece)
    }

    /// The reading end, for the thread that calls this.
    pub(super) fn reader<'p>(&'p self, ticket: &'p Ticket, deadline: Deadline) -> PipeReader<'p> {
        let _ = self.reader.set(thread::current());
        PipeReader { pipe: self, ticket, deadline, piece: Vec::new(), read: 0 }
    }
}

/// See [`Pipe::take`].
#[cfg(test)]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Piece(Vec<u8>),
    /// More is to come.
    Nothing,
    Whole,
    Broken,
}

/// The handler's end of a [`Pipe`].
pub(super) struct PipeReader<'p> {
    pipe: &'p Pipe,
    ticket: &'p Ticket,
    deadline: Deadline,
    piece: Vec<u8>,
    read: usize,
}

impl PipeReader<'_> {
    /// The next piece, empty at the end of the body. Waits for it.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            // In this order: what was said to be the end has all of its pieces before it.
            let end = self.pipe.end.load(Ordering::Acquire);
            if let Some(piece) = self.pipe.pop() {
                return Ok(piece);
            }
            match end {
                COMING => self.sleep()?,
                WHOLE => return Ok(Vec::new()),
                _ => return Err(self.broken()),
            }
        }
    }

    /// Why there will be no more.
    fn broken(&self) -> io::Error {
        match self.deadline.remaining() {
            Duration::ZERO => io::ErrorKind::TimedOut.into(),
            _ => io::ErrorKind::UnexpectedEof.into(),
        }
    }

    fn sleep(&self) -> io::Result<()> {
        // Not for one who leaves: who has sent everything may say so before it is read.
        if self.ticket.is_given_up() {
            return Err(self.broken());
        }
        let patience = Deadline::at_ns(self.deadline.ns().saturating_add(GRACE_NS)).remaining();
        if patience == Duration::ZERO {
            return Err(self.broken());
        }
        self.pipe.sleeper.announce();
        if self.pipe.pieces.is_empty() && self.pipe.end.load(Ordering::Acquire) == COMING {
            thread::park_timeout(patience);
        }
        self.pipe.sleeper.rise();
        Ok(())
    }
}

impl Read for PipeReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.read == self.piece.len() {
            let piece = self.next()?;
            let _ = self.pipe.spare.push(std::mem::replace(&mut self.piece, piece));
            self.read = 0;
        }
        let count = into.len().min(self.piece.len() - self.read);
        into[..count].copy_from_slice(&self.piece[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::worker::job::Job;

    #[derive(Default)]
    struct Desk(AtomicU32);

    impl ReplyDesk for Desk {
        fn complete(&self, _: Box<Job>) -> bool {
            false
        }

        fn room(&self, _: ReplyTo) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pipe() -> (Pipe, Arc<Desk>) {
        let desk = Arc::new(Desk::default());
        (Pipe::new(Arc::clone(&desk) as Arc<dyn ReplyDesk>, ReplyTo::default()), desk)
    }

    #[test]
    fn a_body_comes_out_as_it_went_in() {
        let (pipe, desk) = pipe();
        let ticket = Ticket::default();
        let whole: Vec<u8> = (0..if cfg!(miri) { 20_000 } else { 100_000u32 }).map(|at| at as u8).collect();
        let got = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut got = Vec::new();
                pipe.reader(&ticket, Deadline::NEVER).read_to_end(&mut got).map(|_| got)
            });
            for piece in whole.chunks(1_000) {
                while !pipe.offer(piece) {
                    thread::yield_now();
                }
            }
            pipe.close(true);
            reader.join().unwrap()
        });
        assert_eq!(got.unwrap(), whole);
        let _ = desk;
    }

    #[test]
    fn a_full_pipe_says_when_it_has_room() {
        let (pipe, desk) = pipe();
        let ticket = Ticket::default();
        assert!((0..PIECES_MAX).all(|_| pipe.offer(b"x")));
        assert!(!pipe.offer(b"x"));
        assert_eq!(desk.0.load(Ordering::Relaxed), 0);
        let mut byte = [0];
        pipe.reader(&ticket, Deadline::NEVER).read_exact(&mut byte).unwrap();
        assert_eq!(desk.0.load(Ordering::Relaxed), 1);
        assert!(pipe.offer(b"x"));
    }

    #[test]
    fn who_waits_for_a_body_that_never_comes_is_told() {
        let ticket = Ticket::default();
        let kind = |pipe: &Pipe, deadline| pipe.reader(&ticket, deadline).read(&mut [0]).unwrap_err().kind();
        assert_eq!(kind(&pipe().0, Deadline::at_ns(1)), io::ErrorKind::TimedOut);
        let (broken, _) = pipe();
        broken.close(false);
        assert_eq!(kind(&broken, Deadline::NEVER), io::ErrorKind::UnexpectedEof);
        ticket.cancel();
        assert_eq!(kind(&pipe().0, Deadline::NEVER), io::ErrorKind::UnexpectedEof);
    }
}
