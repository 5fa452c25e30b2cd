//! Server side of one HTTP/1 connection, as a machine over bytes.
//!
//! Bytes go in by [`receive`](Machine::receive), which tells what they are; answers go out by
//! [`respond`](Machine::respond) or, piece by piece, by [`begin`](Machine::begin), [`more`](Machine::more)
//! and [`finish`](Machine::finish). Answers leave in the order requests came; `Done, Done` always rolls on.
//! No sockets, no clock, no routes: see `reactor::client` and `gateway`.

mod relayed;

use crate::base::buffer::ReadBuffer;
use crate::base::write_queue::WriteQueue;
use crate::config::Limits;
use crate::http::{Body, Fields, FixedAnswer, Framing, HeadIndex, Method, Response, Status, Version};
use crate::proto::h1::body::{BodyDecoder, Piece};
use crate::proto::h1::encode::{self, Connection, Delimiter, Stamp};
use crate::proto::h1::head::{self, HeadScan};
use crate::proto::{Progress, Violation, Wait};

/// Bytes of a body nobody wants that are read and dropped, so that the connection can go on.
const DISCARDED_MAX: u64 = 64 * 1024;
/// Empty lines before a request that are ignored (RFC 9112 section 2.2 asks for one).
const EMPTY_LINES_MAX: u8 = 8;

/// See the module.
///
/// Invariant: (recv, send) is a pair of the table in `proto::h1`.
#[derive(Debug)]
pub struct Machine {
    recv: Recv,
    send: Send,
    number: u32,
    persistent: bool,
    head_only: bool,
    version: Version,
    owes_continue: bool,
    peer_may_send: bool,
}

#[derive(Debug)]
enum Recv {
    /// A head is to come, or arriving.
    Head { scan: HeadScan, empty_lines: u8 },
    /// A body is arriving that somebody wants.
    Body(BodyDecoder),
    /// A body is arriving that nobody wants; so much of it is put up with.
    Unwanted { body: BodyDecoder, patience: u64 },
    /// The request is complete.
    Done,
}

const FRESH: Recv = Recv::Head { scan: HeadScan::NEW, empty_lines: 0 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Send {
    /// There is no request to answer.
    Idle,
    /// A head was told; its answer has not begun.
    Awaited,
    /// An answer is being sent piece by piece.
    Body(Delimiter),
    /// The answer is complete.
    Done,
}

impl Machine {
    /// A machine whose next exchange has that number.
    #[must_use]
    pub fn new(number: u32) -> Machine {
        Machine {
            recv: FRESH,
            send: Send::Idle,
            number,
            persistent: true,
            head_only: false,
            version: Version::Http11,
            owes_continue: false,
            peer_may_send: false,
        }
    }

    /// Looks at the input and tells what is next. After [`Progress::Head`], `index` describes the front of
    /// the input and the caller consumes `index.head_len` bytes when it has read them.
    ///
    /// # Errors
    /// The rule the peer broke. Only [`refuse`](Machine::refuse) may follow.
    #[inline]
    pub fn receive(
        &mut self,
        input: &mut ReadBuffer,
        index: &mut HeadIndex,
        limits: &Limits,
    ) -> Result<Progress, Violation> {
        if matches!((&self.recv, self.send), (Recv::Done, Send::Done)) {
            if !self.persistent {
                return Ok(Progress::Over);
            }
            self.roll_on();
        }
        match &mut self.recv {
            Recv::Head { .. } => self.receive_head(input, index, limits),
            Recv::Body(body) => match body.next(input, limits)? {
                Piece::Starved => Ok(Progress::Starved),
                Piece::Bytes(count) => Ok(Progress::Body(count)),
                Piece::Trailer(count) => Ok(Progress::Trailer(count)),
                Piece::End => {
                    self.recv = Recv::Done;
                    Ok(Progress::Whole)
                }
            },
            Recv::Unwanted { .. } => self.drop_unwanted(input, index, limits),
            Recv::Done => Ok(Progress::Waiting),
        }
    }

    /// Tells the trailers of the body at hand, which are dropped otherwise: somebody passes them on.
    pub fn tell_trailers(&mut self) {
        if let Recv::Body(body) = &mut self.recv {
            body.tell_trailers();
        }
    }

    /// Asks for the body, if the client waits to be asked (RFC 9110 section 10.1.1).
    pub fn ask_for_body(&mut self, out: &mut WriteQueue) {
        if std::mem::take(&mut self.owes_continue) {
            out.copy(encode::CONTINUE);
        }
    }

    /// Writes a whole answer. `keep`: whether the server is willing to keep the connection. Returns the bytes
    /// of body that will be sent.
    ///
    /// [`Body::Reflect`] and [`Body::Source`] have no bytes at hand: the caller gathers them and uses
    /// [`begin`](Machine::begin).
    #[inline]
    pub fn respond(
        &mut self,
        response: Response,
        keep: bool,
        stamp: &mut Stamp,
        out: &mut WriteQueue,
    ) -> u64 {
        self.settle_persistence(keep);
        self.leave_body();
        if let (Some(fields), Body::Static(body)) = (response.fields.as_fixed(), &response.body)
            && self.is_plain_exchange()
            && response.status == Status::OK
            && body.len() <= WriteQueue::COPIED_MAX
        {
            self.send = Send::Done;
            out.copy(stamp.prepared(fields, body));
            return body.len() as u64;
        }
        self.respond_in_full(response, keep, stamp, out)
    }

    /// [`respond`](Machine::respond) with what is the same for everybody.
    #[inline]
    pub fn respond_fixed(
        &mut self,
        answer: FixedAnswer,
        keep: bool,
        stamp: &mut Stamp,
        out: &mut WriteQueue,
    ) -> u64 {
        self.settle_persistence(keep);
        self.leave_body();
        if !self.is_plain_exchange() || answer.body.len() > WriteQueue::COPIED_MAX {
            return self.respond_in_full(answer.into(), keep, stamp, out);
        }
        self.send = Send::Done;
        out.copy(stamp.prepared(answer.fields, answer.body));
        answer.body.len() as u64
    }

    /// Any answer, line by line. Apart from [`respond`](Machine::respond), so that what every benchmark
    /// and most health checks take stays small.
    #[inline(never)]
    fn respond_in_full(
        &mut self,
        response: Response,
        keep: bool,
        stamp: &Stamp,
        out: &mut WriteQueue,
    ) -> u64 {
        let length = response.body.len().unwrap_or(0);
        let delimiter =
            if response.status.is_bodiless() { Delimiter::Nothing } else { Delimiter::Length(length) };
        self.write_head(response.status, &response.fields, delimiter, keep, stamp, out);
        self.send = Send::Done;
        if self.head_only || delimiter == Delimiter::Nothing {
            return 0;
        }
        match response.body {
            Body::Empty | Body::Reflect | Body::Source(_) => {}
            Body::Static(bytes) => out.share(bytes),
            Body::Owned(bytes) => out.own(bytes),
            Body::File(range) => out.file(range),
        }
        length
    }

    /// Begins an answer whose body follows by [`more`](Machine::more), of that length, in chunks, or to a
    /// client that does not know chunks up to the end of the connection. `false`: the answer has no body,
    /// so it is complete.
    pub fn begin(
        &mut self,
        status: Status,
        fields: &Fields,
        length: Option<u64>,
        keep: bool,
        stamp: &Stamp,
        out: &mut WriteQueue,
    ) -> bool {
        let delimiter = match (length, self.version) {
            _ if status.is_bodiless() => Delimiter::Nothing,
            (Some(length), _) => Delimiter::Length(length),
            (None, Version::Http11) => Delimiter::Chunks,
            (None, Version::Http10) => Delimiter::End,
        };
        let keep = keep && delimiter != Delimiter::End;
        self.write_head(status, fields, delimiter, keep, stamp, out);
        let has_body = !self.head_only && delimiter != Delimiter::Nothing;
        self.send = if has_body { Send::Body(delimiter) } else { Send::Done };
        has_body
    }

    /// Sends a piece of the body that was [begun](Machine::begin).
    pub fn more(&mut self, bytes: &[u8], out: &mut WriteQueue) {
        match self.send {
            // An empty chunk would end the body.
            _ if bytes.is_empty() => {}
            Send::Body(Delimiter::Chunks) => out.write(|text| encode::chunk(text, bytes)),
            Send::Body(Delimiter::Length(_) | Delimiter::End) => out.copy(bytes),
            _ => debug_assert!(false, "more of a body that was not begun"),
        }
    }

    /// [`more`](Machine::more) of bytes that are taken over, so that a large piece is not copied.
    pub fn more_owned(&mut self, bytes: Vec<u8>, out: &mut WriteQueue) {
        if bytes.len() <= WriteQueue::COPIED_MAX {
            return self.more(&bytes, out);
        }
        let is_chunked = self.send == Send::Body(Delimiter::Chunks);
        if is_chunked {
            out.write(|text| encode::chunk_head(text, bytes.len()));
        }
        out.own(bytes);
        if is_chunked {
            out.copy(b"\r\n");
        }
    }

    /// Ends the body that was [begun](Machine::begin).
    pub fn finish(&mut self, out: &mut WriteQueue) {
        debug_assert!(matches!(self.send, Send::Body(_)));
        if self.send == Send::Body(Delimiter::Chunks) {
            out.copy(encode::LAST_CHUNK);
        }
        self.send = Send::Done;
    }

    /// Answers a broken rule and ends the connection. `false`: an answer had begun, so all that can be done
    /// is to cut it short, which the client sees by its framing.
    pub fn refuse(&mut self, violation: Violation, stamp: &mut Stamp, out: &mut WriteQueue) -> bool {
        self.refuse_by(Response::plain(violation.status()), stamp, out)
    }

    /// [`refuse`](Machine::refuse) by an answer that says more than its status.
    pub fn refuse_by(&mut self, response: Response, stamp: &mut Stamp, out: &mut WriteQueue) -> bool {
        let may_answer = matches!(self.send, Send::Idle | Send::Awaited);
        self.recv = Recv::Done;
        if may_answer {
            self.respond(response, false, stamp, out);
        }
        self.persistent = false;
        self.send = Send::Done;
        may_answer
    }

    /// What it waits for, given whether input is left.
    #[must_use]
    pub fn wait(&self, has_input: bool) -> Wait {
        match self.recv {
            Recv::Head { .. } if !has_input => Wait::NextRequest,
            Recv::Head { .. } => Wait::Head,
            Recv::Body(_) | Recv::Unwanted { .. } => Wait::Body,
            Recv::Done if self.is_answering() => Wait::Answer,
            Recv::Done => Wait::Drain,
        }
    }

    /// Whether it stands between two requests.
    #[must_use]
    pub fn is_between_requests(&self) -> bool {
        match (&self.recv, self.send) {
            (Recv::Head { .. }, _) => true,
            (Recv::Done, Send::Done) => self.persistent,
            _ => false,
        }
    }

    /// Whether the request at hand has come to its end.
    #[must_use]
    pub fn has_whole_request(&self) -> bool {
        matches!(self.recv, Recv::Done)
    }

    /// Whether an answer is awaited or under way.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        matches!(self.send, Send::Awaited | Send::Body(_))
    }

    /// Whether the peer may be sending behind its last answer: a body that nobody read, or further requests,
    /// because the end was not its own wish.
    #[must_use]
    pub fn may_be_sent_more(&self) -> bool {
        self.peer_may_send
    }

    /// Of the exchange now open, or to come next; never reused on this connection.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// A GET or the like in HTTP/1.1 on a connection that stays: the answer has no special line.
    fn is_plain_exchange(&self) -> bool {
        self.persistent && !self.head_only && self.version == Version::Http11
    }

    fn roll_on(&mut self) {
        self.recv = FRESH;
        self.send = Send::Idle;
        // What the last request was says nothing about the next one, and that may be refused before it is
        // read.
        self.head_only = false;
        self.version = Version::Http11;
        self.number = self.number.wrapping_add(1);
    }

    #[inline]
    fn receive_head(
        &mut self,
        input: &mut ReadBuffer,
        index: &mut HeadIndex,
        limits: &Limits,
    ) -> Result<Progress, Violation> {
        let Recv::Head { scan, empty_lines } = &mut self.recv else { return Ok(Progress::Waiting) };
        // Whatever begins a request stands behind CR and LF in the alphabet.
        while input.unread().first().is_none_or(|first| *first <= b'\r') {
            match head::empty_line(input.unread())? {
                Some(0) if input.is_empty() => return Ok(Progress::Starved),
                Some(0) => break,
                None => return Ok(Progress::Starved),
                Some(_) if *empty_lines == EMPTY_LINES_MAX => return Err(Violation::BadRequestLine),
                Some(len) => {
                    *empty_lines += 1;
                    input.consume(len);
                }
            }
        }
        if head::read(input.unread(), scan, index, limits)?.is_none() {
            return Ok(Progress::Starved);
        }
        self.open_exchange(index, limits);
        Ok(Progress::Head)
    }

    #[inline]
    fn open_exchange(&mut self, index: &HeadIndex, limits: &Limits) {
        self.send = Send::Awaited;
        self.persistent = index.persistent;
        self.head_only = index.method == Method::Head;
        self.version = index.version;
        self.owes_continue = index.expects_continue;
        self.recv = match index.framing {
            Framing::None => Recv::Done,
            framing => Recv::Body(BodyDecoder::new(framing, limits)),
        };
    }

    /// Reads on over a body that was answered without being wanted, so that what follows it is found.
    #[cold]
    fn drop_unwanted(
        &mut self,
        input: &mut ReadBuffer,
        index: &mut HeadIndex,
        limits: &Limits,
    ) -> Result<Progress, Violation> {
        while let Recv::Unwanted { body, patience } = &mut self.recv {
            match body.next(input, limits)? {
                Piece::Starved => return Ok(Progress::Starved),
                Piece::Trailer(count) => input.consume(count),
                Piece::Bytes(count) if count as u64 <= *patience => {
                    *patience -= count as u64;
                    input.consume(count);
                }
                Piece::Bytes(_) => {
                    self.peer_may_send = true;
                    self.persistent = false;
                    self.recv = Recv::Done;
                }
                Piece::End => self.recv = Recv::Done,
            }
        }
        self.receive(input, index, limits)
    }

    /// The answer is about to be [begun](Machine::begin), and nobody wants the rest of the body.
    pub fn forgo_body(&mut self, keep: bool) {
        self.settle_persistence(keep);
        self.leave_body();
    }

    /// Nobody wants the rest of the body: put up with a little, or end the connection behind the answer.
    #[inline]
    fn leave_body(&mut self) {
        let Recv::Body(body) = &self.recv else { return };
        let is_short = body.left().is_none_or(|left| left <= DISCARDED_MAX);
        // A client that was not asked for its body may send it or not (RFC 9110 section 10.1.1): what follows
        // is anyone's guess.
        self.persistent &= is_short && !self.owes_continue;
        self.peer_may_send |= !self.persistent && body.left() != Some(0);
        self.recv = match self.persistent {
            true => Recv::Unwanted { body: *body, patience: DISCARDED_MAX },
            false => Recv::Done,
        };
    }

    #[inline]
    fn settle_persistence(&mut self, keep: bool) {
        self.peer_may_send |= self.persistent && !keep;
        self.persistent &= keep;
    }

    #[inline]
    fn write_head(
        &mut self,
        status: Status,
        fields: &Fields,
        delimiter: Delimiter,
        keep: bool,
        stamp: &Stamp,
        out: &mut WriteQueue,
    ) {
        self.settle_persistence(keep);
        let connection = self.connection();
        out.write(|text| encode::head(text, stamp, status, fields, delimiter, connection));
    }

    /// What the answer says about the connection.
    #[inline]
    fn connection(&self) -> Connection {
        match (self.persistent, self.version) {
            (true, Version::Http11) => Connection::Stays,
            (true, Version::Http10) => Connection::StaysSaid,
            (false, _) => Connection::Ends,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::write_queue::Front;

    /// The method of the request before once decided about the body of a refusal.
    #[test]
    fn refusal_behind_a_head_request() {
        let (mut machine, mut output) = (Machine::new(0), WriteQueue::default());
        let (mut input, mut index) = (ReadBuffer::with_size(1024), HeadIndex::default());
        let (mut stamp, limits) = (Stamp::new(None), Limits::default());
        let wire = b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nnonsense\r\n\r\n";
        input.room()[..wire.len()].copy_from_slice(wire);
        input.received(wire.len());
        assert_eq!(machine.receive(&mut input, &mut index, &limits), Ok(Progress::Head));
        machine.respond(Response::plain(Status::NOT_FOUND), true, &mut stamp, &mut output);
        input.consume(usize::from(index.head_len));
        let violation = machine.receive(&mut input, &mut index, &limits).unwrap_err();
        assert!(machine.refuse(violation, &mut stamp, &mut output));
        let Front::Bytes { bytes, .. } = output.front() else { panic!("two answers") };
        let text = String::from_utf8_lossy(bytes);
        assert!(text.ends_with("Connection: close\r\n\r\n400 Bad Request\n"), "{text}");
        assert!(text.contains("Connection: keep-alive\r\n\r\nHTTP/1.1 400"), "no body behind HEAD: {text}");
    }
}
