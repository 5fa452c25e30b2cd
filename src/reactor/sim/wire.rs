//! A connection between a visitor and the floor, with the manners of the kernel: edges are told once.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use crate::base::slots::Key;
use crate::base::write_queue::FileRange;
use crate::reactor::client::Client;
use crate::reactor::floor::{Edge, Watcher};
use crate::reactor::sim::dice::Dice;
use crate::reactor::stream::Stream;

/// What the visitor and the floor's end share.
pub(super) struct Wire {
    dice: Dice,
    /// Sent by the visitor, on its way.
    pub transit: Vec<u8>,
    /// Behind what is on its way comes the end.
    pub fin_in_transit: bool,
    /// Arrived, not read by the floor.
    inbox: Vec<u8>,
    inbox_max: usize,
    fin: bool,
    /// The visitor broke the connection.
    pub reset: bool,
    /// Written by the floor, not taken by the visitor.
    pub outbox: Vec<u8>,
    pub outbox_max: usize,
    /// A write found no room, so the kernel will tell when there is some.
    was_full: bool,
    /// The floor said that it will send no more.
    pub write_closed: bool,
    /// The floor let go of it.
    pub closed: bool,
    /// The floor's close destroyed what the visitor had not taken yet.
    pub was_cut: bool,
    /// The floor's close was a reset.
    pub was_reset: bool,
    resets_on_close: bool,
    watched: Option<(Key<Client<Socket>>, bool)>,
    /// An edge was not told yet.
    pending: bool,
    pub standing: Standing,
    /// All that the floor has written, where somebody reads along.
    pub tap: Option<Tap>,
}

/// How far a connection that the floor has begun has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It stands.
    Open,
    /// Nothing was heard of it.
    UnderWay,
    /// It does not and never will, for this reason.
    Failed(i32),
}

/// What the floor has written to a server, and what it knew when it did.
#[derive(Default)]
pub(super) struct Tap {
    pub bytes: Vec<u8>,
    /// For each write: where it begins, and what there was to be read.
    pub marks: Vec<(usize, News)>,
}

/// What there was to be read when something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Nothing,
    /// Something that the floor could not know of.
    Untold,
    /// Something that the floor was told of.
    Told,
}

impl Wire {
    /// A tight one has room for a few bytes at a time.
    pub(super) fn new(dice: Dice, is_tight: bool) -> Wire {
        let (least, most) = if is_tight { (1, 100) } else { (2_000, 60_000) };
        Wire::with_room(dice, least, most)
    }

    /// One with room for so many bytes at a time, either way.
    pub(super) fn with_room(mut dice: Dice, least: usize, most: usize) -> Wire {
        let (inbox_max, outbox_max) = (dice.size(least, most), dice.size(least, most));
        Wire {
            dice,
            transit: Vec::new(),
            fin_in_transit: false,
            inbox: Vec::new(),
            inbox_max,
            fin: false,
            reset: false,
            outbox: Vec::new(),
            outbox_max,
            was_full: false,
            write_closed: false,
            closed: false,
            was_cut: false,
            was_reset: false,
            resets_on_close: false,
            watched: None,
            pending: false,
            standing: Standing::Open,
            tap: None,
        }
    }

    /// One that the floor begins, watched in both directions under that slot and generation.
    pub(super) fn dialled(self, slot: u32, generation: u32) -> Wire {
        let watched = Some((Key::from_parts(slot, generation), true));
        Wire { standing: Standing::UnderWay, watched, tap: Some(Tap::default()), ..self }
    }

    /// It is heard whether the connection stands.
    pub(super) fn settle(&mut self, standing: Standing) {
        self.standing = standing;
        self.pending = true;
    }

    /// Whether there is something to be read, and whether that was told.
    fn news(&self) -> News {
        let has_some = !self.inbox.is_empty() || self.fin || self.reset;
        match (has_some, self.pending) {
            (true, false) => News::Told,
            (true, true) => News::Untold,
            (false, _) if !self.transit.is_empty() || self.fin_in_transit => News::Untold,
            (false, _) => News::Nothing,
        }
    }

    /// A wide one on which nothing happens unless it is told.
    pub(super) fn calm() -> Wire {
        let wire = Wire::new(Dice::new(0), false);
        Wire { dice: Dice::still(), inbox_max: usize::MAX, outbox_max: 1 << 30, ..wire }
    }

    /// Up to so many bytes arrive, and the end behind the last of them.
    pub(super) fn arrive(&mut self, bytes_max: usize) {
        if self.closed {
            self.arrive_late();
            return;
        }
        let count =
            bytes_max.min(self.transit.len()).min(self.inbox_max - self.inbox.len().min(self.inbox_max));
        let was_drained = self.inbox.is_empty();
        self.inbox.extend(self.transit.drain(..count));
        // The kernel may tell of bytes behind unread ones too; nobody may count on it.
        if count > 0 && (was_drained || self.dice.one_in(4)) {
            self.pending = true;
        }
        if self.transit.is_empty() && self.fin_in_transit && !self.fin {
            self.fin = true;
            self.pending = true;
        }
    }

    /// Bytes for a closed socket are answered with a reset, which destroys what the visitor has not taken
    /// yet.
    fn arrive_late(&mut self) {
        if !self.transit.is_empty() {
            self.transit.clear();
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.was_reset = true;
        self.was_cut |= !self.outbox.is_empty();
        self.outbox.clear();
    }

    pub(super) fn break_off(&mut self) {
        self.reset = true;
        self.pending = true;
        self.transit.clear();
        self.inbox.clear();
        self.outbox.clear();
    }

    /// The visitor takes up to so many bytes.
    pub(super) fn take(&mut self, bytes_max: usize) -> Vec<u8> {
        let count = bytes_max.min(self.outbox.len());
        let taken = self.outbox.drain(..count).collect();
        if count > 0 && std::mem::take(&mut self.was_full) {
            self.pending |= self.watched.is_some_and(|(_, for_writing)| for_writing);
        }
        taken
    }

    /// Whether something could arrive if it were let.
    pub(super) fn may_arrive(&self) -> bool {
        let has_window = self.inbox.len() < self.inbox_max;
        (!self.transit.is_empty() && (has_window || self.closed))
            || (self.transit.is_empty() && self.fin_in_transit && !self.fin && !self.closed)
    }

    /// What the poll reports, once.
    pub(super) fn tell(&mut self) -> Option<(Key<Client<Socket>>, Edge)> {
        let (key, for_writing) = self.watched?;
        if !std::mem::take(&mut self.pending) || self.closed {
            return None;
        }
        let has_failed = matches!(self.standing, Standing::Failed(_));
        let edge = Edge {
            readable: self.is_readable(),
            writable: for_writing && self.is_writable(),
            ending: self.fin || self.reset || has_failed,
            broken: self.reset || has_failed,
        };
        (edge != Edge::default()).then_some((key, edge))
    }

    /// Whether the poll has something to report.
    pub(super) fn has_edge(&self) -> bool {
        self.pending && self.watched.is_some() && !self.closed
    }

    /// Whether a connection parked here, blocked on room or not, could go on and will not be told.
    pub(super) fn is_lost(&self, is_blocked: bool) -> bool {
        let could_move = if is_blocked { self.is_writable() } else { self.is_readable() };
        self.watched.is_none() || could_move && !self.pending
    }

    /// Bytes that were sent to the floor and that it has not read.
    pub(super) fn unread(&self) -> usize {
        self.transit.len() + self.inbox.len()
    }

    /// Whether something lies here that the floor was not told of and will not be.
    pub(super) fn hides_news(&self, is_noted: bool) -> bool {
        !is_noted && !self.pending && self.is_readable()
    }

    fn is_readable(&self) -> bool {
        match self.standing {
            Standing::Open => !self.inbox.is_empty() || self.fin || self.reset,
            Standing::UnderWay => false,
            Standing::Failed(_) => true,
        }
    }

    fn is_writable(&self) -> bool {
        match self.standing {
            Standing::Open => self.outbox.len() < self.outbox_max || self.reset,
            Standing::UnderWay => false,
            Standing::Failed(_) => true,
        }
    }

    /// Things happen on the network between any two system calls.
    fn meanwhile(&mut self) {
        if self.dice.one_in(4) {
            let count = self.dice.size(1, 5_000);
            self.arrive(count);
        }
    }
}

/// The floor's end of a [`Wire`].
pub(super) struct Socket(pub Rc<RefCell<Wire>>);

impl Stream for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        assert!(!into.is_empty(), "a read into nothing looks like the end");
        assert_eq!(wire.standing, Standing::Open, "read before it stands");
        if wire.dice.one_in(32) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if wire.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        // A short read means that the socket was drained: `man 7 epoll` promises as much for streams.
        let count = into.len().min(wire.inbox.len());
        into[..count].copy_from_slice(&wire.inbox[..count]);
        wire.inbox.drain(..count);
        let has_ended = wire.fin;
        wire.meanwhile();
        match count {
            0 if has_ended => Ok(0),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn write(&mut self, bytes: &[u8], _more: bool) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        assert!(!bytes.is_empty() && !wire.write_closed, "nothing to write, or after the end");
        assert_eq!(wire.standing, Standing::Open, "written before it stands");
        if wire.dice.one_in(32) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if wire.reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(wire.outbox_max - wire.outbox.len());
        wire.outbox.extend_from_slice(&bytes[..count]);
        let news = wire.news();
        if let Some(tap) = wire.tap.as_mut().filter(|_| count > 0) {
            tap.marks.push((tap.bytes.len(), news));
            tap.bytes.extend_from_slice(&bytes[..count]);
        }
        wire.was_full |= count < bytes.len();
        wire.meanwhile();
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn send_file(&mut self, _range: &FileRange) -> io::Result<usize> {
        unreachable!("no files are served here")
    }

    fn close_write(&mut self) {
        self.0.borrow_mut().write_closed = true;
    }

    fn reset_on_close(&mut self) {
        self.0.borrow_mut().resets_on_close = true;
    }

    fn outcome(&self) -> io::Result<()> {
        let wire = self.0.borrow();
        match wire.standing {
            Standing::Failed(code) => Err(io::Error::from_raw_os_error(code)),
            _ if wire.reset => Err(io::Error::from_raw_os_error(libc::ECONNRESET)),
            _ => Ok(()),
        }
    }

    fn peer(&self) -> String {
        String::from("192.0.2.1")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut wire = self.0.borrow_mut();
        wire.closed = true;
        // Closing over unread bytes resets.
        if wire.resets_on_close || !wire.inbox.is_empty() {
            wire.cut();
        }
    }
}

/// The poll: a registration reports what is so already.
pub(super) struct Poll {
    /// Whether registering fails now.
    pub has_no_memory: bool,
}

impl Watcher<Socket> for Poll {
    fn watch(
        &self,
        stream: &Socket,
        key: Key<Client<Socket>>,
        for_writing: bool,
        again: bool,
    ) -> io::Result<()> {
        if self.has_no_memory {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let mut wire = stream.0.borrow_mut();
        assert_eq!(wire.watched.is_some(), again, "EEXIST or ENOENT");
        wire.watched = Some((key, for_writing));
        wire.pending |= wire.is_readable() || for_writing && wire.is_writable();
        Ok(())
    }
}
