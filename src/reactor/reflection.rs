//! A request's own body on its way back to the client.
//!
//! A small body is gathered first, so that one that turns out malformed or too large is refused with a status
//! and not with half an answer. A larger one is sent on as it comes: reading stops while the client does not
//! take it back, so memory stays bounded whatever the body's length.

use crate::base::write_queue::WriteQueue;
use crate::http::{Fields, Framing, Method, Request, Response, Status};
use crate::proto::h1::Machine;
use crate::reactor::access::{AccessNote, Sent};
use crate::reactor::stream::Stream;
use crate::reactor::turn::Turn;

/// Bytes gathered before the answer begins.
const HELD_BYTES_MAX: u64 = 32 * 1024;
/// A body in chunks shows only at its end that it is too large. Where the limit is no more than this, it
/// is gathered whole, and the answer is 413 and not half an echo.
const JUDGED_WHOLE_BYTES_MAX: u64 = 1024 * 1024;
/// Memory that is kept from one body to the next.
const CAPACITY_KEPT: usize = 64 * 1024;

/// See the module. Reused by one request after the other, so that it allocates nothing in the steady state.
#[derive(Default)]
pub(super) struct Reflection {
    stage: Stage,
    held: Vec<u8>,
    fields: Fields,
    status: Option<Status>,
    length: Option<u64>,
    /// Bytes that are gathered before the answer begins.
    held_max: u64,
    method: Option<Method>,
    keep: bool,
    began_ns: u64,
    sent: u64,
    pub(super) note: AccessNote,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No body is under way.
    #[default]
    Closed,
    /// Gathered, the answer not begun.
    Holding,
    /// Passed on as it comes.
    Streaming,
}

impl Reflection {
    /// A head has come whose body is to go back.
    #[inline(never)]
    pub(super) fn open<S: Stream>(
        &mut self,
        response: Response,
        request: &Request<'_>,
        keep: bool,
        stream: &S,
        turn: &Turn<'_, S>,
    ) {
        debug_assert_eq!(self.stage, Stage::Closed);
        self.stage = Stage::Holding;
        self.status = Some(response.status);
        self.fields = response.fields;
        self.method = Some(request.method());
        self.length = match request.framing() {
            Framing::Length(length) => Some(length),
            Framing::None | Framing::Chunked => None,
        };
        self.held_max = match self.length {
            None if turn.limits.body_bytes_max <= JUDGED_WHOLE_BYTES_MAX => turn.limits.body_bytes_max,
            _ => HELD_BYTES_MAX,
        };
        self.keep = keep;
        self.began_ns = turn.clock.now_ns();
        self.sent = 0;
        if turn.access.is_some() {
            self.note.keep(request, turn.notes, stream);
        }
    }

    /// The head had come earlier, and this was kept of it then: the turn's notes are of another request now.
    pub(super) fn date_back(&mut self, began_ns: u64, note: &mut AccessNote) {
        self.began_ns = began_ns;
        std::mem::swap(&mut self.note, note);
    }

    /// Bytes of the body have come.
    #[inline(never)]
    pub(super) fn piece<S: Stream>(
        &mut self,
        bytes: &[u8],
        machine: &mut Machine,
        out: &mut WriteQueue,
        turn: &Turn<'_, S>,
    ) {
        match self.stage {
            Stage::Holding if (self.held.len() + bytes.len()) as u64 <= self.held_max => {
                self.held.extend_from_slice(bytes)
            }
            Stage::Holding => {
                self.begin(self.length, machine, out, turn);
                machine.more(bytes, out);
                self.sent += bytes.len() as u64;
            }
            Stage::Streaming => {
                machine.more(bytes, out);
                self.sent += bytes.len() as u64;
            }
            Stage::Closed => debug_assert!(false, "a body that nobody wants"),
        }
    }

    /// The body is complete.
    #[inline(never)]
    pub(super) fn whole<S: Stream>(
        &mut self,
        machine: &mut Machine,
        out: &mut WriteQueue,
        turn: &mut Turn<'_, S>,
    ) {
        if self.stage == Stage::Holding {
            self.begin(Some(self.held.len() as u64), machine, out, turn);
        }
        machine.finish(out);
        let (Some(status), Some(method)) = (self.status, self.method) else { return };
        turn.tally.answers.add(method as usize, status.code(), 1);
        turn.tally.latency.record(turn.clock.precise_ns().saturating_sub(self.began_ns), 1);
        if let Some(access) = &mut turn.access {
            let sent = Sent { status, body_bytes: self.sent };
            access.write_note(&self.note, sent, self.began_ns, turn.clock, turn.stamp);
        }
        self.clear();
    }

    /// Forgets everything, and memory that a large body needed.
    pub(super) fn clear(&mut self) {
        self.stage = Stage::Closed;
        self.held.clear();
        self.held.shrink_to(CAPACITY_KEPT);
        self.note.clear();
    }

    fn begin<S: Stream>(
        &mut self,
        length: Option<u64>,
        machine: &mut Machine,
        out: &mut WriteQueue,
        turn: &Turn<'_, S>,
    ) {
        let Some(status) = self.status else { return };
        machine.begin(status, &self.fields, length, self.keep && !turn.draining, turn.stamp, out);
        machine.more(&self.held, out);
        self.sent = self.held.len() as u64;
        self.held.clear();
        self.stage = Stage::Streaming;
    }
}
