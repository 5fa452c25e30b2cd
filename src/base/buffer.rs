//! Bytes received and not yet consumed: they come in at one end and leave at the other.
//!
//! Copies nothing but a rest that must slide down to make room. Does no I/O.

/// See the module.
///
/// Invariant: consumed <= filled <= bytes.len().
/// Memory is zeroed once, when it is made; afterwards the kernel writes into initialised bytes, so no
/// `unsafe` is needed. Stale bytes past `filled` belong to former requests and are unreachable.
pub struct ReadBuffer {
    bytes: Box<[u8]>,
    consumed: u32,
    filled: u32,
}

impl ReadBuffer {
    /// Takes its memory away, and what is left has none: who waits long need not keep any.
    ///
    /// Only when nothing is unread.
    #[must_use]
    pub fn take(&mut self) -> ReadBuffer {
        debug_assert!(self.is_empty());
        std::mem::replace(self, ReadBuffer { bytes: Box::default(), consumed: 0, filled: 0 })
    }

    /// Whether its memory was [taken](ReadBuffer::take).
    #[must_use]
    #[inline]
    pub fn is_taken(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A buffer of so many bytes; its size never changes.
    #[must_use]
    pub fn with_size(size: u32) -> ReadBuffer {
        ReadBuffer { bytes: vec![0; size as usize].into_boxed_slice(), consumed: 0, filled: 0 }
    }

    /// What came and was not consumed.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.consumed as usize..self.filled as usize]
    }

    /// Where the next bytes go. Slides the unread bytes down first when there is no room behind them; empty
    /// only when the whole buffer is unread.
    pub fn room(&mut self) -> &mut [u8] {
        if self.filled as usize == self.bytes.len() && self.consumed > 0 {
            self.bytes.copy_within(self.consumed as usize..self.filled as usize, 0);
            self.filled -= self.consumed;
            self.consumed = 0;
        }
        &mut self.bytes[self.filled as usize..]
    }

    /// Says that `count` bytes were written at the start of [`room`](ReadBuffer::room).
    pub fn received(&mut self, count: usize) {
        self.filled += count as u32;
        self.check();
    }

    /// Drops `count` bytes off the front.
    pub fn consume(&mut self, count: usize) {
        self.consumed += count as u32;
        if self.consumed == self.filled {
            // Start again at the front: the next read touches the memory that is still in cache.
            self.consumed = 0;
            self.filled = 0;
        }
        self.check();
    }

    /// Drops all but the first `len` unread bytes.
    pub fn truncate(&mut self, len: usize) {
        self.filled = self.filled.min(self.consumed + len as u32);
        self.check();
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.consume(self.unread().len());
    }

    /// Whether every byte that came was consumed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.consumed == self.filled
    }

    /// Whether nothing more fits, not even after sliding.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.unread().len() == self.bytes.len()
    }

    fn check(&self) {
        debug_assert!(self.consumed <= self.filled && self.filled as usize <= self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(buffer: &mut ReadBuffer, bytes: &[u8]) {
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.received(bytes.len());
    }

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut buffer = ReadBuffer::with_size(8);
        feed(&mut buffer, b"abcdef");
        buffer.consume(2);
        assert_eq!(buffer.unread(), b"cdef");
        feed(&mut buffer, b"gh");
        assert_eq!(buffer.unread(), b"cdefgh");
    }

    #[test]
    fn a_rest_slides_down_when_room_is_short() {
        let mut buffer = ReadBuffer::with_size(4);
        feed(&mut buffer, b"abcd");
        assert!(buffer.is_full());
        assert!(buffer.room().is_empty());
        buffer.consume(3);
        feed(&mut buffer, b"efg");
        assert_eq!(buffer.unread(), b"defg");
    }

    #[test]
    fn an_empty_buffer_offers_all_its_room() {
        let mut buffer = ReadBuffer::with_size(4);
        feed(&mut buffer, b"abc");
        buffer.clear();
        assert_eq!(buffer.room().len(), 4);
        assert!(buffer.is_empty());
    }
}
