//! What is still to be sent, in order.
//!
//! Small pieces are copied together, so that many pipelined answers leave in one system call; large bodies
//! are referenced where they lie; files go by `sendfile`. Does no I/O itself: the caller sends what
//! [`front`](WriteQueue::front) shows and reports it with [`sent`](WriteQueue::sent).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// A part of an open file.
#[derive(Debug)]
pub struct FileRange {
    /// The file, open for reading. Belongs to the thread that opened it.
    pub file: OwnedFd,
    /// The first byte to send.
    pub offset: u64,
    /// How many bytes to send.
    pub len: u64,
}

/// See the module.
///
/// ```text
///  text   [ sent |--- run ---|--- run ---| appended here ]
///                            ^ a large piece is sent between two runs: `after` names the place
/// ```
/// Invariant: text_sent <= the first piece's `after` <= ... <= text.len(); `queued` is the sum of what is
/// unsent.
#[derive(Default)]
pub struct WriteQueue {
    text: Vec<u8>,
    text_sent: usize,
    pieces: VecDeque<Piece>,
    queued: u64,
}

struct Piece {
    /// The offset in `text` behind which it is sent.
    after: usize,
    large: Large,
}

enum Large {
    Static { bytes: &'static [u8], sent: usize },
    Owned { bytes: Vec<u8>, sent: usize },
    File(FileRange),
}

/// What is to be sent next.
#[derive(Debug)]
pub enum Front<'a> {
    /// Nothing is left.
    Empty,
    /// These bytes; `more` when something else follows them.
    Bytes {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether anything is queued behind them.
        more: bool,
    },
    /// A part of a file.
    File(&'a FileRange),
}

impl WriteQueue {
    /// Bodies up to this size are copied: a copy of 8 KiB costs less than a second system call.
    pub const COPIED_MAX: usize = 8 * 1024;
    /// Text capacity kept when everything was sent.
    const CAPACITY_KEPT: usize = 32 * 1024;

    /// Appends by a closure that writes behind what is queued.
    pub fn write<R>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.text.len();
        let result = encode(&mut self.text);
        debug_assert!(self.text.len() >= before, "an encoder may only append");
        self.queued += (self.text.len() - before) as u64;
        result
    }

    /// Appends a copy of the bytes.
    pub fn copy(&mut self, bytes: &[u8]) {
        self.write(|text| text.extend_from_slice(bytes));
    }

    /// Appends bytes that live as long as the program.
    pub fn share(&mut self, bytes: &'static [u8]) {
        match bytes.len() {
            0..=Self::COPIED_MAX => self.copy(bytes),
            _ => self.push(Large::Static { bytes, sent: 0 }, bytes.len() as u64),
        }
    }

    /// Appends bytes and takes them over.
    pub fn own(&mut self, bytes: Vec<u8>) {
        match bytes.len() {
            0..=Self::COPIED_MAX => self.copy(&bytes),
            len => self.push(Large::Owned { bytes, sent: 0 }, len as u64),
        }
    }

    /// Appends a part of a file.
    pub fn file(&mut self, range: FileRange) {
        if range.len > 0 {
            let len = range.len;
            self.push(Large::File(range), len);
        }
    }

    /// Bytes that are not sent yet.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Whether everything was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// What to send next.
    #[must_use]
    #[inline]
    pub fn front(&self) -> Front<'_> {
        let run_end = self.pieces.front().map_or(self.text.len(), |piece| piece.after);
        if self.text_sent < run_end {
            return Front::Bytes {
                bytes: &self.text[self.text_sent..run_end],
                more: !self.pieces.is_empty(),
            };
        }
        let Some(piece) = self.pieces.front() else { return Front::Empty };
        let more = self.pieces.len() > 1 || piece.after < self.text.len();
        match &piece.large {
            Large::Static { bytes, sent } => Front::Bytes { bytes: &bytes[*sent..], more },
            Large::Owned { bytes, sent } => Front::Bytes { bytes: &bytes[*sent..], more },
            Large::File(range) => Front::File(range),
        }
    }

    /// Says that `count` bytes of [`front`](WriteQueue::front) were sent.
    #[inline]
    pub fn sent(&mut self, count: usize) {
        self.queued -= count as u64;
        let run_end = self.pieces.front().map_or(self.text.len(), |piece| piece.after);
        if self.text_sent < run_end {
            self.text_sent += count;
        } else {
            self.sent_of_piece(count);
        }
        if self.queued == 0 {
            self.clear();
        } else if self.text_sent >= Self::CAPACITY_KEPT && self.text_sent * 2 >= self.text.len() {
            self.slide();
        }
    }

    /// Forgets everything, and memory that a large answer needed.
    pub fn clear(&mut self) {
        self.text.clear();
        self.pieces.clear();
        self.text_sent = 0;
        self.queued = 0;
        if self.text.capacity() > 2 * Self::CAPACITY_KEPT {
            self.text.shrink_to(Self::CAPACITY_KEPT);
        }
    }

    fn push(&mut self, large: Large, len: u64) {
        self.pieces.push_back(Piece { after: self.text.len(), large });
        self.queued += len;
    }

    fn sent_of_piece(&mut self, count: usize) {
        let Some(piece) = self.pieces.front_mut() else { return };
        let done = match &mut piece.large {
            Large::Static { bytes, sent } => advance(sent, count, bytes.len()),
            Large::Owned { bytes, sent } => advance(sent, count, bytes.len()),
            Large::File(range) => {
                range.offset += count as u64;
                range.len -= count as u64;
                range.len == 0
            }
        };
        if done {
            self.pieces.pop_front();
        }
    }

    /// Drops text that was sent, so that a queue that is never quite empty does not grow.
    fn slide(&mut self) {
        self.text.drain(..self.text_sent);
        for piece in &mut self.pieces {
            piece.after -= self.text_sent;
        }
        self.text_sent = 0;
    }
}

fn advance(sent: &mut usize, count: usize, len: usize) -> bool {
    *sent += count;
    debug_assert!(*sent <= len);
    *sent == len
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sends at most `step` bytes at a time until nothing is left.
    fn drained(queue: &mut WriteQueue, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let count = match queue.front() {
                Front::Empty => break,
                Front::Bytes { bytes, .. } => {
                    let count = bytes.len().min(step);
                    out.extend_from_slice(&bytes[..count]);
                    count
                }
                Front::File(_) => unreachable!("no files here"),
            };
            queue.sent(count);
        }
        assert!(queue.is_empty());
        out
    }

    #[test]
    fn small_pieces_leave_as_one_run() {
        let mut queue = WriteQueue::default();
        queue.copy(b"head ");
        queue.share(b"body ");
        queue.own(b"tail".to_vec());
        assert!(matches!(queue.front(), Front::Bytes { bytes: b"head body tail", more: false }));
    }

    #[test]
    fn what_follows_is_announced() {
        let mut queue = WriteQueue::default();
        queue.copy(b"head");
        queue.own(vec![b'x'; WriteQueue::COPIED_MAX + 1]);
        assert!(matches!(queue.front(), Front::Bytes { bytes: b"head", more: true }));
        queue.sent(4);
        assert!(matches!(queue.front(), Front::Bytes { more: false, .. }));
    }

    #[test]
    fn a_large_answer_does_not_keep_its_memory() {
        let mut queue = WriteQueue::default();
        queue.write(|text| text.resize(1 << 20, b'x'));
        queue.sent(1 << 20);
        assert!(queue.text.capacity() <= 2 * WriteQueue::CAPACITY_KEPT);
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_whatever_the_steps(
            sizes in prop::collection::vec(0usize..20_000, 0..20),
            step in 1usize..30_000,
        ) {
            let mut queue = WriteQueue::default();
            let mut want = Vec::new();
            for (at, size) in sizes.iter().enumerate() {
                let bytes = vec![at as u8; *size];
                want.extend_from_slice(&bytes);
                if at % 2 == 0 { queue.copy(&bytes) } else { queue.own(bytes) }
            }
            prop_assert_eq!(queue.queued(), want.len() as u64);
            prop_assert_eq!(drained(&mut queue, step), want);
        }
    }
}
