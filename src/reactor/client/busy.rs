//! What only a busy connection has, and its share of a turn.

use crate::base::buffer::ReadBuffer;
use crate::base::clock::Tick;
use crate::base::write_queue::WriteQueue;
use crate::config::Limits;
use crate::proto::h1::Machine;
use crate::reactor::pending::Pending;
use crate::reactor::reflection::Reflection;
use crate::reactor::stream::Stream;
use crate::reactor::turn::Turn;

/// What only a busy connection has. Lent by the reactor's pool.
pub(in crate::reactor) struct Busy {
    pub(super) machine: Machine,
    pub(super) input: ReadBuffer,
    pub(super) output: WriteQueue,
    pub(super) reflection: Reflection,
    pub(super) pending: Pending,
    /// When what its client is asked for is overdue, where it is looked at before that.
    pub(super) asked_by: Option<Tick>,
    /// Bytes that moved since the wait began, in the direction it waits for.
    pub(super) moved: u64,
    /// Answers completed in this drive.
    pub(super) answered: u64,
}

impl Busy {
    pub(in crate::reactor) fn new(input: ReadBuffer) -> Busy {
        Busy {
            machine: Machine::new(0),
            input,
            output: WriteQueue::default(),
            reflection: Reflection::default(),
            pending: Pending::default(),
            asked_by: None,
            moved: 0,
            answered: 0,
        }
    }

    /// Makes it as new for a connection whose next exchange has that number.
    pub(in crate::reactor) fn open(&mut self, number: u32) {
        debug_assert!(self.input.is_empty() && self.output.is_empty());
        self.machine = Machine::new(number);
        self.asked_by = None;
        self.moved = 0;
        self.answered = 0;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.input.is_empty() && self.output.is_empty() && self.machine.is_between_requests()
    }

    /// The answer to the last exchange that was passed on is out, or will never be.
    #[inline]
    pub(super) fn write_due_line<S: Stream>(&mut self, turn: &mut Turn<'_, S>) {
        if self.pending.due_line.is_due() {
            self.pending.due_line.write(turn.access.as_deref_mut(), turn.clock, turn.stamp);
        }
    }

    /// Forgets what one client left, before another gets it.
    pub(in crate::reactor) fn wipe<S: Stream>(&mut self, turn: &mut Turn<'_, S>) {
        self.pending.desert(turn);
        self.write_due_line(turn);
        if self.input.is_taken() {
            self.input = turn.lines.unshelve();
        }
        self.input.clear();
        self.output.clear();
        self.reflection.clear();
    }
}

/// What is left of a connection's share of a turn.
pub(super) struct Share {
    pub(super) requests: u32,
    /// Bytes to read.
    pub(super) bytes: u32,
    /// Bytes to write.
    pub(super) written: u32,
    /// Steps of exchanges that are answered by and by. A piece of an answer takes two.
    pub(super) steps: u32,
}

impl Share {
    /// Bytes a connection may write in one turn: one call of `sendfile`.
    const WRITTEN_MAX: u32 = 256 * 1024;
    /// Small pieces cost their making, and hardly count as bytes.
    const STEPS_MAX: u32 = 128;

    pub(super) fn of(limits: &Limits) -> Share {
        Share {
            requests: limits.requests_per_turn,
            bytes: limits.read_bytes_per_turn,
            written: Share::WRITTEN_MAX,
            steps: Share::STEPS_MAX,
        }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.requests == 0 || self.bytes == 0 || self.steps == 0
    }
}
