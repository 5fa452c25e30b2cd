//! A request on its way to a server: written here, kept until it is sent and, while it is short, until an
//! answer comes, so that it can be sent again.

use crate::proto::h1::encode;

/// See the module.
///
/// Invariant: sent <= bytes.len(); all since the first byte of the request is in `bytes` while `is_complete`.
#[derive(Default)]
pub(in crate::reactor) struct Upload {
    bytes: Vec<u8>,
    sent: usize,
    /// Lines that follow the body; bounded by who reads them.
    trailers: Vec<u8>,
    /// Whether the first byte of the request is still here.
    is_complete: bool,
    /// Whether bodies are sent in chunks.
    is_chunked: bool,
    /// Whether the last byte of the request is here, or was.
    is_whole: bool,
    /// The server takes no more.
    is_given_up: bool,
    /// The line takes no more.
    is_broken: bool,
}

/// Bytes of a request that are kept to be sent again.
const KEPT_BYTES_MAX: usize = 16 * 1024;
/// Bytes that may wait to be sent before the client is read on.
const UNSENT_BYTES_MAX: usize = 16 * 1024;
/// Memory that is kept from one request to the next.
const CAPACITY_KEPT: usize = 4 * 1024;

impl Upload {
    /// As new, for another request.
    pub(super) fn open(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(CAPACITY_KEPT);
        self.trailers.clear();
        let (bytes, trailers) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.trailers));
        *self = Upload { bytes, trailers, is_complete: true, ..Upload::default() };
    }

    /// The head is to be written here. `is_chunked`: so its body will be sent; `is_whole`: it has none.
    pub(in crate::reactor) fn begin(&mut self, is_chunked: bool, is_whole: bool) -> &mut Vec<u8> {
        self.is_chunked = is_chunked;
        self.is_whole = is_whole;
        &mut self.bytes
    }

    /// A piece of the body.
    pub(in crate::reactor) fn body(&mut self, bytes: &[u8]) {
        if self.is_given_up {
            return;
        }
        match self.is_chunked {
            true => encode::chunk(&mut self.bytes, bytes),
            false => self.bytes.extend_from_slice(bytes),
        }
        if self.bytes.len() > KEPT_BYTES_MAX {
            self.let_go_of_sent();
        }
    }

    /// Bytes that are no body, since another protocol is spoken.
    pub(in crate::reactor) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A trailer line, for the end of the body.
    pub(in crate::reactor) fn trailer(&mut self, line: &[u8]) {
        self.trailers.extend_from_slice(line);
    }

    /// The body is complete.
    pub(in crate::reactor) fn finish(&mut self) {
        if self.is_chunked && !self.is_given_up {
            encode::last_chunk(&mut self.bytes, &self.trailers);
        }
        self.is_whole = true;
    }

    /// What is to be sent.
    pub(in crate::reactor) fn unsent(&self) -> &[u8] {
        if self.is_broken { &[] } else { &self.bytes[self.sent..] }
    }

    /// So much of it was.
    pub(in crate::reactor) fn sent(&mut self, count: usize) {
        self.sent += count;
        debug_assert!(self.sent <= self.bytes.len());
        if !self.is_complete || self.bytes.len() > KEPT_BYTES_MAX {
            self.let_go_of_sent();
        }
    }

    /// It will not be sent again.
    pub(in crate::reactor) fn forget(&mut self) {
        self.let_go_of_sent();
        if self.bytes.is_empty() && self.bytes.capacity() > CAPACITY_KEPT {
            self.bytes = Vec::new();
        }
    }

    fn let_go_of_sent(&mut self) {
        self.is_complete = false;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent >= UNSENT_BYTES_MAX {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// The server takes no more of it.
    pub(in crate::reactor) fn give_up(&mut self) {
        self.is_given_up = true;
        self.is_complete = false;
        self.bytes.clear();
        self.sent = 0;
    }

    /// The line broke: nothing more goes out on it, though another may take it from the first byte.
    pub(in crate::reactor) fn break_off(&mut self) {
        self.is_broken = true;
    }

    /// From the first byte again.
    pub(in crate::reactor) fn rewind(&mut self) {
        debug_assert!(self.is_complete);
        self.sent = 0;
        self.is_broken = false;
    }

    /// Puts another name into the head's `Host`, which stands behind the request line.
    pub(in crate::reactor) fn set_host(&mut self, host: &[u8]) {
        debug_assert!(self.sent == 0, "a host that the server has heard");
        let Some(line) = memchr::memmem::find(&self.bytes, b"\r\nHost: ") else { return };
        let start = line + b"\r\nHost: ".len();
        let Some(len) = memchr::memchr(b'\r', &self.bytes[start..]) else { return };
        self.bytes.splice(start..start + len, host.iter().copied());
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.is_complete && self.sent == 0
    }

    pub(super) fn may_rewind(&self) -> bool {
        self.is_complete && !self.is_given_up
    }

    /// Whether the server has all of it.
    pub(in crate::reactor) fn is_out(&self) -> bool {
        self.is_whole && !self.is_given_up && !self.is_broken && self.sent == self.bytes.len()
    }

    /// Whether the client should be read on.
    pub(in crate::reactor) fn has_room(&self) -> bool {
        !self.is_given_up && !self.is_broken && self.bytes.len() - self.sent < UNSENT_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(head: &[u8], is_chunked: bool) -> Upload {
        let mut upload = Upload::default();
        upload.open();
        upload.begin(is_chunked, false).extend_from_slice(head);
        upload
    }

    #[test]
    fn a_short_request_can_be_sent_again_from_its_first_byte() {
        let mut upload = upload(b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", true);
        upload.body(b"abc");
        let count = upload.unsent().len();
        upload.sent(count);
        upload.finish();
        assert!(!upload.is_untouched() && upload.may_rewind() && !upload.is_out());
        upload.rewind();
        assert!(upload.is_untouched() && upload.unsent().ends_with(b"3\r\nabc\r\n0\r\n\r\n"));
    }

    #[test]
    fn a_long_request_cannot_and_is_not_kept() {
        let mut upload = upload(b"head", false);
        for _ in 0..100 {
            upload.body(&[b'x'; 8 * 1024]);
            assert!(upload.unsent().len() <= UNSENT_BYTES_MAX + 8 * 1024);
            let count = upload.unsent().len();
            upload.sent(count);
        }
        assert!(!upload.may_rewind() && upload.bytes.capacity() <= 64 * 1024);
    }

    #[test]
    fn another_server_has_another_name() {
        let mut upload = upload(b"GET / HTTP/1.1\r\nHost: a\r\nX-Host: b\r\n\r\n", false);
        upload.set_host(b"longer.example:81");
        assert_eq!(upload.unsent(), b"GET / HTTP/1.1\r\nHost: longer.example:81\r\nX-Host: b\r\n\r\n");
    }
}
