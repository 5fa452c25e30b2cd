//! Client side of one HTTP/1 exchange, as a machine over bytes: what an upstream answers.
//!
//! Read as strictly as requests are: what cannot be framed with certainty is a [`Fault`], and its connection
//! is not used again. However an answer is cut, the verdict is the same. A reader lives for one exchange.
//!
//! ```text
//!  Head --> Body ---> Whole        by length or in chunks; Head -> Whole where there is no body
//!   | \---> ToEnd --> Whole        the rest of the connection
//!   |  \--> Switched               101: what follows is not HTTP
//!   \_^                            1xx
//! ```
//! No sockets, no clock. How a request is written is [`ask`](crate::proto::h1::ask)'s.

mod fault;
mod head;
mod relay;

pub use fault::Fault;
pub use head::{AnswerFraming, AnswerIndex};
pub use relay::relay_fields;
pub(super) use relay::write_line;

use crate::base::buffer::ReadBuffer;
use crate::http::{Framing, HEAD_BYTES_MAX, Method};
use crate::proto::h1::body::{BodyDecoder, Piece, TrailerBounds};
use head::{Halt, STATUS_AT_END};

/// Bounds on what an upstream may make us read. Its body has none: whoever asked for it takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerLimits {
    /// Bytes of a head, status line and final empty line included; no more than the buffer has room for.
    pub head_bytes_max: u32,
    /// Field lines of a head, and of a trailer section.
    pub fields_max: u32,
    /// Interim answers before the final one.
    pub interims_max: u32,
}

impl Default for AnswerLimits {
    fn default() -> AnswerLimits {
        AnswerLimits { head_bytes_max: 16 * 1024, fields_max: 100, interims_max: 8 }
    }
}

/// What came of looking at the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerStep {
    /// Nothing can be done before more bytes come, or the end of them was [said](AnswerReader::end).
    Starved,
    /// An interim answer: the index describes its head, of which the caller consumes `head_len` bytes.
    Interim,
    /// 101: as [`Interim`](AnswerStep::Interim), and the bytes behind it are of another protocol.
    Switched,
    /// The head of the answer: the index describes it, the caller consumes `head_len` bytes.
    Head,
    /// So many bytes at the front are body; the caller uses and consumes them.
    Body(usize),
    /// So many bytes at the front are one sound trailer line, CRLF included; the caller consumes them.
    Trailer(usize),
    /// The answer is complete. Told once.
    Whole,
}

/// See the module.
#[derive(Debug)]
pub struct AnswerReader {
    state: State,
    method: Method,
    asked_upgrade: bool,
    has_begun: bool,
    persistent: bool,
    interims: u32,
}

#[derive(Debug)]
enum State {
    /// A head is to come, or arriving; `scanned` bytes of it were searched for its end.
    Head { scanned: u32 },
    /// A body that says where it ends.
    Body(BodyDecoder),
    /// A body that ends with the connection, which has `ended` or not.
    ToEnd { ended: bool },
    /// The answer is complete.
    Whole,
    /// The connection is no longer HTTP's.
    Switched,
    /// A rule was broken; nothing that follows can be trusted.
    Broken(Fault),
}

impl AnswerReader {
    /// A reader of the answer to a request of that method, which asked for another protocol or not.
    #[must_use]
    pub fn new(method: Method, asked_upgrade: bool) -> AnswerReader {
        AnswerReader {
            state: State::Head { scanned: 0 },
            method,
            asked_upgrade,
            has_begun: false,
            persistent: true,
            interims: 0,
        }
    }

    /// Looks at the input and tells what is next.
    ///
    /// # Errors
    /// The rule that the upstream broke, again at each call.
    pub fn receive(
        &mut self,
        input: &mut ReadBuffer,
        index: &mut AnswerIndex,
        limits: &AnswerLimits,
    ) -> Result<AnswerStep, Fault> {
        let step = self.step(input, index, limits);
        if let Err(fault) = step {
            self.state = State::Broken(fault);
        }
        step
    }

    /// Says that the input has ended, after [`receive`](AnswerReader::receive) said that it starves. What
    /// ends with the connection is whole now, which the next `receive` tells.
    ///
    /// # Errors
    /// [`Fault::NoAnswer`] before any byte of an answer, [`Fault::Cut`] within one.
    pub fn end(&mut self) -> Result<(), Fault> {
        self.persistent = false;
        let fault = match &mut self.state {
            State::ToEnd { ended } => {
                *ended = true;
                return Ok(());
            }
            State::Whole | State::Switched => return Ok(()),
            State::Body(body) if body.left() == Some(0) => return Ok(()),
            State::Head { .. } if !self.has_begun => Fault::NoAnswer,
            State::Head { .. } | State::Body(_) => Fault::Cut,
            State::Broken(fault) => *fault,
        };
        self.state = State::Broken(fault);
        Err(fault)
    }

    /// Whether any byte of an answer was seen.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the answer is whole and the connection may carry another request: provided that no byte stands
    /// behind the answer, which the caller knows.
    #[must_use]
    pub fn may_stay(&self) -> bool {
        self.persistent && matches!(self.state, State::Whole)
    }

    #[inline]
    fn step(
        &mut self,
        input: &mut ReadBuffer,
        index: &mut AnswerIndex,
        limits: &AnswerLimits,
    ) -> Result<AnswerStep, Fault> {
        match &mut self.state {
            State::Head { .. } => self.receive_head(input, index, limits),
            State::Body(body) => {
                let bounds =
                    TrailerBounds { head_bytes_max: limits.head_bytes_max, lines_max: limits.fields_max };
                match body.next_within(input, &bounds)? {
                    // A line that fills the buffer would wait for room for ever.
                    Piece::Starved if input.is_full() => Err(Fault::TrailerTooLong),
                    Piece::Starved => Ok(AnswerStep::Starved),
                    Piece::Bytes(count) => Ok(AnswerStep::Body(count)),
                    Piece::Trailer(count) => Ok(AnswerStep::Trailer(count)),
                    Piece::End => Ok(self.whole()),
                }
            }
            State::ToEnd { .. } if !input.is_empty() => Ok(AnswerStep::Body(input.unread().len())),
            State::ToEnd { ended: true } => Ok(self.whole()),
            State::ToEnd { ended: false } | State::Whole | State::Switched => Ok(AnswerStep::Starved),
            State::Broken(fault) => Err(*fault),
        }
    }

    fn whole(&mut self) -> AnswerStep {
        self.state = State::Whole;
        AnswerStep::Whole
    }

    fn receive_head(
        &mut self,
        input: &ReadBuffer,
        index: &mut AnswerIndex,
        limits: &AnswerLimits,
    ) -> Result<AnswerStep, Fault> {
        let State::Head { scanned } = &mut self.state else { return Ok(AnswerStep::Starved) };
        let bytes = input.unread();
        self.has_begun |= !bytes.is_empty();
        let is_over = bytes.len() >= limits.head_bytes_max as usize || input.is_full();
        if !is_worth_splitting(bytes, scanned) && !is_over {
            return Ok(AnswerStep::Starved);
        }
        let weighed = match head::split(bytes, self.method, index, limits) {
            Ok(weighed) => weighed,
            Err(Halt::Broken(fault)) => return Err(fault),
            Err(Halt::Partial) if is_over || bytes.len() >= HEAD_BYTES_MAX => return Err(Fault::HeadTooLong),
            Err(Halt::Partial) => return Ok(AnswerStep::Starved),
        };
        self.persistent &= !weighed.is_doubtful;
        match index.status.code() {
            101 if self.asked_upgrade && weighed.upgrades => {
                self.state = State::Switched;
                Ok(AnswerStep::Switched)
            }
            101 => Err(Fault::BadSwitch),
            100..200 => self.count_interim(limits),
            _ => Ok(self.open_body(index)),
        }
    }

    fn count_interim(&mut self, limits: &AnswerLimits) -> Result<AnswerStep, Fault> {
        if self.interims == limits.interims_max {
            return Err(Fault::TooManyInterims);
        }
        self.interims += 1;
        self.state = State::Head { scanned: 0 };
        Ok(AnswerStep::Interim)
    }

    fn open_body(&mut self, index: &AnswerIndex) -> AnswerStep {
        self.persistent &= index.persistent;
        let framing = match index.framing {
            AnswerFraming::ToEnd => {
                self.persistent = false;
                self.state = State::ToEnd { ended: false };
                return AnswerStep::Head;
            }
            AnswerFraming::Nothing => Framing::None,
            AnswerFraming::Length(length) => Framing::Length(length),
            AnswerFraming::Chunked => Framing::Chunked,
        };
        let mut body = BodyDecoder::within(framing, u64::MAX);
        body.tell_trailers();
        self.state = State::Body(body);
        AnswerStep::Head
    }
}

/// Whether splitting can come to another verdict than at the last look: at first, while the bytes are too few
/// to be told from another protocol, and when the head's end has come or a line end that is none. A head in
/// parts is split twice or thrice so, and not once for each part.
fn is_worth_splitting(bytes: &[u8], scanned: &mut u32) -> bool {
    let from = *scanned as usize;
    *scanned = bytes.len() as u32;
    if from <= STATUS_AT_END {
        return true;
    }
    memchr::memchr_iter(b'\n', &bytes[from..])
        .map(|at| from + at)
        .any(|at| bytes[at - 1] != b'\r' || bytes[..at].ends_with(b"\r\n\r"))
}

#[cfg(test)]
mod tests;
