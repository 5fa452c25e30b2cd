//! Edges seen and not yet used up.
//!
//! An edge-triggered poll tells each change once. What it told is kept here until a system call proves that
//! it is used up: `WouldBlock`, or a read that did not fill its buffer.

/// See the module. Small, since every idle connection has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Readiness(u16);

const READABLE: u16 = 1;
const WRITABLE: u16 = 2;
/// The peer has said that it will send no more, or the connection broke: there is an end to be read.
const ENDING: u16 = 4;
/// The end was read.
const ENDED: u16 = 8;
const REGISTERED: u16 = 16;
const REGISTERED_FOR_WRITING: u16 = 32;
const QUEUED: u16 = 64;
const ARMED: u16 = 128;
/// The connection broke, or both sides of it are closed.
const BROKEN: u16 = 256;

impl Readiness {
    /// A fresh socket: worth a read, since its first bytes have often come already, and sure to be writable.
    pub(super) const FRESH: Readiness = Readiness(READABLE | WRITABLE);

    pub(super) fn note_readable(&mut self) {
        self.0 |= READABLE;
    }

    pub(super) fn note_writable(&mut self) {
        self.0 |= WRITABLE;
    }

    /// The peer is done sending, or gone.
    pub(super) fn note_ending(&mut self) {
        self.0 |= ENDING | READABLE;
    }

    /// Nothing that is sent will arrive.
    pub(super) fn note_broken(&mut self) {
        self.0 |= BROKEN;
    }

    pub(super) fn is_broken(self) -> bool {
        self.0 & BROKEN != 0
    }

    /// Whether the peer was heard to be done sending, even if there are bytes before its end.
    pub(super) fn is_ending(self) -> bool {
        self.0 & (ENDING | ENDED) != 0
    }

    /// A read that left room in its buffer emptied the socket, unless an end was announced behind the bytes.
    pub(super) fn read_short(&mut self) {
        if self.0 & ENDING == 0 {
            self.0 &= !READABLE;
        }
    }

    pub(super) fn read_blocked(&mut self) {
        self.0 &= !READABLE;
    }

    pub(super) fn write_blocked(&mut self) {
        self.0 &= !WRITABLE;
    }

    pub(super) fn read_end(&mut self) {
        self.0 = (self.0 | ENDED) & !READABLE;
    }

    pub(super) fn is_readable(self) -> bool {
        self.0 & READABLE != 0
    }

    pub(super) fn is_writable(self) -> bool {
        self.0 & WRITABLE != 0
    }

    pub(super) fn has_ended(self) -> bool {
        self.0 & ENDED != 0
    }

    /// Whether it stands in the ready queue; tells the old state and sets the new one.
    pub(super) fn set_queued(&mut self, queued: bool) -> bool {
        self.swap(QUEUED, queued)
    }

    /// Whether the wheel has an entry for it; tells the old state and sets the new one.
    pub(super) fn set_armed(&mut self, armed: bool) -> bool {
        self.swap(ARMED, armed)
    }

    pub(super) fn is_armed(self) -> bool {
        self.0 & ARMED != 0
    }

    #[cfg(test)]
    pub(super) fn is_queued(self) -> bool {
        self.0 & QUEUED != 0
    }

    pub(super) fn is_registered(self) -> bool {
        self.0 & REGISTERED != 0
    }

    pub(super) fn is_registered_for_writing(self) -> bool {
        self.0 & REGISTERED_FOR_WRITING != 0
    }

    pub(super) fn set_registered(&mut self, for_writing: bool) {
        self.0 |= REGISTERED | if for_writing { REGISTERED_FOR_WRITING } else { 0 };
    }

    fn swap(&mut self, flag: u16, on: bool) -> bool {
        let was = self.0 & flag != 0;
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_uses_the_edge_up_unless_an_end_was_announced() {
        let mut readiness = Readiness::FRESH;
        readiness.read_short();
        assert!(!readiness.is_readable());
        readiness.note_ending();
        readiness.read_short();
        assert!(readiness.is_readable(), "the end is still to be read");
        readiness.read_end();
        assert!(!readiness.is_readable() && readiness.has_ended());
    }

    #[test]
    fn flags_tell_their_old_state() {
        let mut readiness = Readiness::FRESH;
        assert!(!readiness.set_queued(true));
        assert!(readiness.set_queued(false));
        assert!(readiness.is_readable() && readiness.is_writable());
    }
}
