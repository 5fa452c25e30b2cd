//! Answers of others, passed on: their fields and dates, interim answers, trailers, other protocols.

use super::{Machine, Recv, Send};
use crate::base::write_queue::WriteQueue;
use crate::http::{Status, Version};
use crate::proto::h1::encode::{self, Delimiter, Relayed, Stamp};

impl Machine {
    /// [`begin`](Machine::begin) with another server's answer. `false`: no body follows, so it is complete.
    pub fn begin_relayed(
        &mut self,
        relayed: &Relayed<'_>,
        keep: bool,
        stamp: &Stamp,
        out: &mut WriteQueue,
    ) -> bool {
        let status = relayed.status;
        let is_bodiless = self.head_only || status.is_bodiless();
        let delimiter = match (relayed.length, self.version) {
            // RFC 9110 section 8.6: a length of nothing is said to HEAD and with 304 alone.
            (Some(length), _) if self.head_only && !status.is_bodiless() => Delimiter::Length(length),
            (Some(length), _) if status == Status::NOT_MODIFIED => Delimiter::Length(length),
            _ if is_bodiless => Delimiter::Nothing,
            (Some(length), _) => Delimiter::Length(length),
            (None, Version::Http11) => Delimiter::Chunks,
            (None, Version::Http10) => Delimiter::End,
        };
        self.settle_persistence(keep && delimiter != Delimiter::End);
        let connection = self.connection();
        out.write(|text| encode::relayed_head(text, stamp, relayed, delimiter, connection));
        self.send = if is_bodiless { Send::Done } else { Send::Body(delimiter) };
        !is_bodiless
    }

    /// Passes an interim answer on (RFC 9110 section 15.2): not to a client of HTTP/1.0, which knows none,
    /// and 100 only to one that waits for it.
    pub fn interim(&mut self, status: Status, lines: &[u8], out: &mut WriteQueue) {
        debug_assert!(status.class() == 1 && status.code() != 101);
        if self.version != Version::Http11 || self.send != Send::Awaited {
            return;
        }
        if status == Status::CONTINUE {
            return self.ask_for_body(out);
        }
        out.write(|text| encode::interim_head(text, status, lines));
    }

    /// Passes 101 on, to that protocol (RFC 9110 section 7.8). What follows on this connection, either way,
    /// is not HTTP: the machine is [over](crate::proto::Progress::Over).
    pub fn switch(&mut self, protocol: &[u8], lines: &[u8], out: &mut WriteQueue) {
        debug_assert!(self.send == Send::Awaited && matches!(self.recv, Recv::Done));
        out.copy(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ");
        out.copy(protocol);
        out.copy(b"\r\n");
        out.copy(lines);
        out.copy(b"\r\n");
        self.recv = Recv::Done;
        self.send = Send::Done;
        self.persistent = false;
    }

    /// [`finish`](Machine::finish) with those trailer lines, where the body goes out in chunks: else there is
    /// no place for them, and they are dropped, as a gateway may (RFC 9110 section 6.5.1).
    pub fn finish_with(&mut self, trailer_lines: &[u8], out: &mut WriteQueue) {
        if self.send != Send::Body(Delimiter::Chunks) {
            return self.finish(out);
        }
        out.write(|text| encode::last_chunk(text, trailer_lines));
        self.send = Send::Done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::buffer::ReadBuffer;
    use crate::base::write_queue::Front;
    use crate::config::Limits;
    use crate::http::HeadIndex;
    use crate::proto::Progress;

    const STAMP: &str = "Server: m\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

    /// What a client that sent this hears when an upstream's answer is passed on so.
    fn heard(request: &str, relay: impl Fn(&mut Machine, &Stamp, &mut WriteQueue)) -> (String, Machine) {
        let (mut machine, mut output) = (Machine::new(0), WriteQueue::default());
        let (mut input, mut index) = (ReadBuffer::with_size(1024), HeadIndex::default());
        input.room()[..request.len()].copy_from_slice(request.as_bytes());
        input.received(request.len());
        assert_eq!(machine.receive(&mut input, &mut index, &Limits::default()), Ok(Progress::Head));
        relay(&mut machine, &Stamp::new(Some("m")), &mut output);
        let text = match output.front() {
            Front::Bytes { bytes, .. } => {
                String::from_utf8(bytes.to_vec()).unwrap().replace(STAMP, "<stamp>")
            }
            _ => String::new(),
        };
        (text, machine)
    }

    fn begun(request: &str, status: u16, length: Option<u64>) -> String {
        let status = Status::from_code(status).unwrap();
        let relayed = Relayed { status, lines: b"", length, has_date: false };
        heard(request, |machine, stamp, out| {
            if machine.begin_relayed(&relayed, true, stamp, out) {
                machine.more(b"body", out);
                machine.finish_with(b"X-Sum: 1\r\n", out);
            }
        })
        .0
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    const OLD: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";

    #[test]
    fn bodies_are_framed_anew_for_the_client() {
        let chunks = "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n";
        assert_eq!(begun(GET, 200, None), format!("HTTP/1.1 200 OK\r\n<stamp>{chunks}"));
        assert_eq!(begun(GET, 200, Some(4)), "HTTP/1.1 200 OK\r\n<stamp>Content-Length: 4\r\n\r\nbody");
        assert_eq!(begun(OLD, 200, None), "HTTP/1.1 200 OK\r\n<stamp>Connection: close\r\n\r\nbody");
        assert_eq!(
            begun(OLD, 200, Some(4)),
            "HTTP/1.1 200 OK\r\n<stamp>Content-Length: 4\r\nConnection: keep-alive\r\n\r\nbody"
        );
    }

    #[test]
    fn answers_without_body_say_the_length_they_were_told() {
        assert_eq!(begun(HEAD, 200, Some(9)), "HTTP/1.1 200 OK\r\n<stamp>Content-Length: 9\r\n\r\n");
        assert_eq!(begun(HEAD, 200, None), "HTTP/1.1 200 OK\r\n<stamp>\r\n");
        assert_eq!(begun(GET, 304, Some(9)), "HTTP/1.1 304 Not Modified\r\n<stamp>Content-Length: 9\r\n\r\n");
        assert_eq!(begun(GET, 304, None), "HTTP/1.1 304 Not Modified\r\n<stamp>\r\n");
        assert_eq!(begun(GET, 204, Some(0)), "HTTP/1.1 204 No Content\r\n<stamp>\r\n");
        assert_eq!(begun(HEAD, 204, Some(9)), "HTTP/1.1 204 No Content\r\n<stamp>\r\n");
    }

    #[test]
    fn interim_answers_reach_who_can_read_them() {
        let hints = Status::from_code(103).unwrap();
        let hint = |machine: &mut Machine, _: &Stamp, out: &mut WriteQueue| {
            machine.interim(hints, b"Link: x\r\n", out);
            machine.interim(Status::CONTINUE, b"", out);
            machine.interim(Status::CONTINUE, b"", out);
        };
        let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        assert_eq!(heard(GET, hint).0, early);
        assert_eq!(heard(OLD, hint).0, "");
        let expects = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(heard(expects, hint).0, format!("{early}HTTP/1.1 100 Continue\r\n\r\n"));
    }

    #[test]
    fn a_switch_ends_http_on_the_connection() {
        let wire = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let (text, mut machine) =
            heard(wire, |machine, _, out| machine.switch(b"websocket", b"A: b\r\n", out));
        let want =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n";
        assert_eq!(text, want);
        let (mut input, mut index) = (ReadBuffer::with_size(64), HeadIndex::default());
        assert_eq!(machine.receive(&mut input, &mut index, &Limits::default()), Ok(Progress::Over));
    }

    /// They are dropped unless somebody passes them on.
    #[test]
    fn trailers_of_a_request_are_told_to_who_asks() {
        let wire = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n";
        for asks in [true, false] {
            let (mut machine, limits) = (Machine::new(0), Limits::default());
            let (mut input, mut index) = (ReadBuffer::with_size(1024), HeadIndex::default());
            input.room()[..wire.len()].copy_from_slice(wire);
            input.received(wire.len());
            assert_eq!(machine.receive(&mut input, &mut index, &limits), Ok(Progress::Head));
            input.consume(usize::from(index.head_len));
            if asks {
                machine.tell_trailers();
                assert_eq!(machine.receive(&mut input, &mut index, &limits), Ok(Progress::Trailer(10)));
                assert_eq!(&input.unread()[..10], b"X-Sum: 1\r\n");
                input.consume(10);
            }
            assert_eq!(machine.receive(&mut input, &mut index, &limits), Ok(Progress::Whole));
            assert!(input.is_empty());
        }
    }
}
