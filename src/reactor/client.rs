//! One downstream connection: drive, fill, flush, settle.
//!
//! ```text
//!            +---------------------------- Again: its share of the turn is used up
//!            v                                   |
//!  ready -> drive: advance <-> fill, flush -> settle -> Park: a reason to wake, a deadline
//!                                                |
//!  life:  Open --> Ending (what is queued goes out) --> Lingering (input is thrown away) --> Close
//! ```
//! Promises: [`settle`](Client::settle) is the only way out of a drive, and proves that a parked connection can wake.
//! An idle connection is this struct and nothing else; what only a busy one needs is lent to it as [`Busy`].
//! Not here: what a request means (`gateway`), how it is written (`proto`), which key this is (`reactor`).

use std::io;

use crate::base::buffer::ReadBuffer;
use crate::base::clock::Tick;
use crate::base::write_queue::{Front, WriteQueue};
use crate::config::Limits;
use crate::http::{Body, Framing, Method, Request};
use crate::observe::log::Level;
use crate::proto::h1::Machine;
use crate::proto::{Progress, Violation, Wait};
use crate::reactor::readiness::Readiness;
use crate::reactor::reflection::Reflection;
use crate::reactor::stream::{Socket, Stream};
use crate::reactor::turn::{CloseReason, Step, Turn};

/// See the module.
///
/// Invariant: `busy` is there unless the connection is idle or closed; `deadline` is set whenever it is parked.
pub(super) struct Client<S: Stream = Socket> {
    stream: S,
    /// When what it waits for is overdue. Moves freely; the wheel's entry is corrected when it fires.
    pub deadline: Tick,
    /// When the wheel will look at it, if it is armed.
    pub armed_for: Tick,
    /// Requests answered, which is the number of the exchange to come.
    number: u32,
    wait: Wait,
    life: Life,
    /// Which kind of listener it came by, hence which gateway answers.
    site: u8,
    pub readiness: Readiness,
    busy: Option<Box<Busy>>,
}

// 15 000 or a million of these lie idle: one cache line with its generation and its links in the wheel.
const _: () = assert!(size_of::<Client>() <= 40);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Requests are served.
    Open,
    /// What is queued goes out, then it is over for that reason.
    Ending(CloseReason),
    /// All was said; input is thrown away until the peer has read it and goes (RFC 9112 section 9.6).
    Lingering(CloseReason),
}

/// What only a busy connection has. Lent by the reactor's pool.
pub(super) struct Busy {
    machine: Machine,
    input: ReadBuffer,
    output: WriteQueue,
    reflection: Reflection,
    /// Bytes that moved since the wait began, in the direction it waits for.
    moved: u64,
    /// Answers completed in this drive.
    answered: u64,
}

impl Busy {
    pub(super) fn new(input: ReadBuffer) -> Busy {
        Busy {
            machine: Machine::new(0),
            input,
            output: WriteQueue::default(),
            reflection: Reflection::default(),
            moved: 0,
            answered: 0,
        }
    }

    /// Makes it as new for a connection whose next exchange has that number.
    pub(super) fn open(&mut self, number: u32) {
        debug_assert!(self.input.is_empty() && self.output.is_empty());
        self.machine = Machine::new(number);
        self.moved = 0;
        self.answered = 0;
    }

    fn is_idle(&self) -> bool {
        self.input.is_empty() && self.output.is_empty() && self.machine.is_between_requests()
    }

    /// Forgets what one client left, before another gets it.
    pub(super) fn wipe(&mut self) {
        self.input.clear();
        self.output.clear();
        self.reflection.clear();
    }
}

/// What is left of a connection's share of a turn.
struct Share {
    requests: u32,
    /// Bytes to read.
    bytes: u32,
    /// Bytes to write.
    written: u32,
}

impl Share {
    /// Bytes a connection may write in one turn: four calls of `sendfile`.
    const WRITTEN_MAX: u32 = 1024 * 1024;

    fn of(limits: &Limits) -> Share {
        Share {
            requests: limits.requests_per_turn,
            bytes: limits.read_bytes_per_turn,
            written: Share::WRITTEN_MAX,
        }
    }

    fn is_spent(&self) -> bool {
        self.requests == 0 || self.bytes == 0
    }
}

/// How far the input could be worked off.
#[derive(PartialEq, Eq)]
enum Advance {
    /// All of it; more may be in the socket.
    Starved,
    /// As far as the output has room.
    Full,
    /// As far as this turn's share goes.
    Spent,
    /// To the end of the connection.
    Over,
}

#[derive(PartialEq, Eq)]
enum Filled {
    Bytes,
    Nothing,
    End,
}

#[derive(PartialEq, Eq)]
enum Flushed {
    /// Everything is out.
    All,
    /// The peer takes no more for now.
    Blocked,
    /// This turn's share is used up.
    Spent,
}

/// Where a drive ended, when the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It waits for something to happen.
    Waits,
    /// It could go on at once; others have their turn first.
    Yields,
}

impl<S: Stream> Client<S> {
    pub(super) fn new(stream: S, site: u8, now: Tick, limits: &Limits) -> Client<S> {
        Client {
            stream,
            deadline: now.after_ms(limits.head_ms_max),
            armed_for: now,
            number: 0,
            wait: Wait::Head,
            life: Life::Open,
            site,
            readiness: Readiness::FRESH,
            busy: None,
        }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    pub(super) fn site(&self) -> u8 {
        self.site
    }

    /// Whether it waits for the kernel to take more output.
    pub(super) fn is_blocked(&self) -> bool {
        self.wait == Wait::Drain && !self.readiness.is_writable()
    }

    /// Whether it holds a workplace that it does not need.
    #[cfg(test)]
    pub(super) fn hoards(&self) -> bool {
        self.life == Life::Open && self.busy.as_deref().is_some_and(Busy::is_idle)
    }

    /// Whether it holds a workplace.
    #[cfg(test)]
    pub(super) fn is_lent(&self) -> bool {
        self.busy.is_some()
    }

    /// Does what can be done now.
    pub(super) fn drive(&mut self, turn: &mut Turn<'_>) -> Step {
        let Some(mut busy) = self.busy.take().or_else(|| turn.lend(self.number)) else {
            return Step::Thirsty;
        };
        let rest = self.work(&mut busy, turn);
        if busy.answered > 0 {
            let ns = turn.clock.precise_ns().saturating_sub(turn.clock.now_ns());
            turn.tally.latency.record(ns, std::mem::take(&mut busy.answered));
        }
        self.settle(busy, rest, turn)
    }

    /// Its deadline has passed. `None`: it was moved meanwhile, or enough bytes moved to earn another span.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) -> Option<Step> {
        if !turn.clock.now().has_reached(self.deadline) || self.earns_another_span(turn) {
            return None;
        }
        let is_untouched = self.busy.is_none();
        Some(match self.wait {
            Wait::NextRequest => Step::Close(CloseReason::IdleTimeout),
            // nginx and others say nothing to a client that never spoke.
            Wait::Head if is_untouched => Step::Close(CloseReason::ReadTimeout),
            Wait::Head => self.give_up(Violation::HeadTimeout, turn),
            Wait::Body => self.give_up(Violation::BodyTimeout, turn),
            Wait::Drain => {
                self.stream.reset_on_close();
                Step::Close(CloseReason::WriteTimeout)
            }
            Wait::Linger => Step::Close(self.ending_reason()),
        })
    }

    /// The end of a drain: whatever it is doing, it is over.
    pub(super) fn cut(&mut self) -> CloseReason {
        self.stream.reset_on_close();
        CloseReason::DrainCut
    }

    /// Gives its workplace back, when the connection is taken apart.
    pub(super) fn dismantle(&mut self) -> Option<Box<Busy>> {
        let mut busy = self.busy.take()?;
        busy.wipe();
        Some(busy)
    }

    fn work(&mut self, busy: &mut Busy, turn: &mut Turn<'_>) -> Result<Rest, CloseReason> {
        let mut share = Share::of(turn.limits);
        if let Life::Lingering(reason) = self.life {
            return self.linger(reason, busy, turn, &mut share);
        }
        loop {
            match self.advance(busy, turn, &mut share) {
                Advance::Starved if share.bytes > 0 => match self.fill(busy, turn, &mut share)? {
                    Filled::Bytes => {}
                    Filled::Nothing => break,
                    Filled::End => self.end_of_input(busy),
                },
                Advance::Full if self.flush(busy, turn, &mut share)? == Flushed::All => {}
                // Only `advance` may say that the share is spent: it leaves no exchange half closed behind it.
                Advance::Starved | Advance::Full | Advance::Spent | Advance::Over => break,
            }
        }
        match self.flush(busy, turn, &mut share)? {
            Flushed::All => self.part_or_rest(busy, turn, &mut share),
            Flushed::Blocked => Ok(Rest::Waits),
            Flushed::Spent => Ok(Rest::Yields),
        }
    }

    /// Works off the input: parse, decide, answer, pass a piece of body on.
    #[inline]
    fn advance(&mut self, busy: &mut Busy, turn: &mut Turn<'_>, share: &mut Share) -> Advance {
        if self.life != Life::Open {
            return Advance::Over;
        }
        loop {
            if busy.output.queued() > u64::from(turn.limits.output_bytes_high) {
                return Advance::Full;
            }
            // Without input it costs nothing to hear that an exchange is over, and what to wait for depends on it.
            if share.requests == 0 && !busy.input.is_empty() {
                return Advance::Spent;
            }
            match busy.machine.receive(&mut busy.input, turn.index, turn.limits) {
                Ok(Progress::Starved | Progress::Waiting) => return Advance::Starved,
                Ok(Progress::Head) => {
                    share.requests -= 1;
                    self.answer(busy, turn);
                }
                Ok(Progress::Body(count)) => {
                    busy.reflection.piece(
                        &busy.input.unread()[..count],
                        &mut busy.machine,
                        &mut busy.output,
                        turn,
                    );
                    busy.input.consume(count);
                }
                Ok(Progress::Whole) => {
                    busy.reflection.whole(&mut busy.machine, &mut busy.output, turn);
                }
                Ok(Progress::Over) => {
                    self.life = Life::Ending(CloseReason::Finished);
                    return Advance::Over;
                }
                Err(violation) => {
                    self.refuse(violation, busy, turn);
                    return Advance::Over;
                }
            }
        }
    }

    /// A head is complete: decide and answer, or begin to send its body back.
    #[inline]
    fn answer(&mut self, busy: &mut Busy, turn: &mut Turn<'_>) {
        let request = Request::new(turn.index, busy.input.unread());
        let response = turn.gateways[usize::from(self.site)].answer(&request);
        let keep = !turn.draining && busy.machine.number() + 1 < turn.limits.requests_max;
        let head_len = usize::from(turn.index.head_len);

        if matches!(response.body, Body::Reflect) && request.framing() != Framing::None {
            busy.reflection.open(response, &request, keep, &self.stream, turn.clock, turn.access.is_some());
            busy.machine.ask_for_body(&mut busy.output);
        } else {
            let status = response.status;
            let sent = busy.machine.respond(response, keep, turn.stamp, &mut busy.output);
            turn.tally.answers.add(request.method() as usize, status.code(), 1);
            busy.answered += 1;
            if let Some(access) = &mut turn.access {
                access.write(&request, status, sent, &self.stream, turn.clock, turn.stamp);
            }
        }
        busy.input.consume(head_len);
    }

    /// The peer broke a rule: say which, if an answer can still be said, and end.
    #[cold]
    fn refuse(&mut self, violation: Violation, busy: &mut Busy, turn: &mut Turn<'_>) {
        turn.tally.violations.add(violation as usize, 1);
        if busy.machine.refuse(violation, turn.stamp, &mut busy.output) {
            turn.tally.answers.add(Method::Unknown as usize, violation.status().code(), 1);
            if let Some(access) = &mut turn.access {
                access.write_refusal(violation, &busy.reflection, &self.stream, turn.stamp);
            }
        }
        if turn.log.is_told(Level::Debug) {
            let (peer, label, status) = (self.stream.peer(), violation.label(), violation.status());
            turn.log.event(Level::Debug, "refused", format_args!("{peer}: {label}, answered {status}"));
        }
        busy.reflection.clear();
        self.life = Life::Ending(CloseReason::Refused);
    }

    /// A deadline of the peer's has passed: 408, if an answer can still be said.
    fn give_up(&mut self, violation: Violation, turn: &mut Turn<'_>) -> Step {
        let Some(mut busy) = self.busy.take() else { return Step::Close(CloseReason::ReadTimeout) };
        self.refuse(violation, &mut busy, turn);
        self.life = Life::Ending(CloseReason::ReadTimeout);
        let rest = self.work(&mut busy, turn);
        self.settle(busy, rest, turn)
    }

    /// The peer will send no more. What it has sent was answered; what it began to send will never be whole.
    fn end_of_input(&mut self, busy: &Busy) {
        let is_clean = busy.machine.is_between_requests() && busy.input.is_empty();
        self.life = Life::Ending(if is_clean { CloseReason::PeerClosed } else { CloseReason::PeerCut });
    }

    /// Reads once, if there is anything to read.
    #[inline]
    fn fill(&mut self, busy: &mut Busy, turn: &Turn<'_>, share: &mut Share) -> Result<Filled, CloseReason> {
        if !self.readiness.is_readable() {
            return Ok(Filled::Nothing);
        }
        let room = busy.input.room();
        let room_len = room.len();
        debug_assert!(room_len > 0, "a machine that starves over a full buffer would starve for ever");
        match self.stream.read(room) {
            Ok(0) => {
                self.readiness.read_end();
                Ok(Filled::End)
            }
            Ok(count) => {
                if count < room_len {
                    self.readiness.read_short();
                }
                busy.input.received(count);
                busy.moved += count as u64;
                share.bytes = share.bytes.saturating_sub(count as u32);
                turn.tally.bytes_in.add(count as u64);
                Ok(Filled::Bytes)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    self.readiness.read_blocked();
                    Ok(Filled::Nothing)
                }
                io::ErrorKind::Interrupted => {
                    share.bytes -= 1;
                    Ok(Filled::Bytes)
                }
                _ => Err(CloseReason::PeerReset),
            },
        }
    }

    /// Writes until everything is out or the peer takes no more.
    #[inline]
    fn flush(&mut self, busy: &mut Busy, turn: &Turn<'_>, share: &mut Share) -> Result<Flushed, CloseReason> {
        let is_ending = self.life != Life::Open;
        loop {
            let (asked, written) = match busy.output.front() {
                Front::Empty => return Ok(Flushed::All),
                _ if !self.readiness.is_writable() => return Ok(Flushed::Blocked),
                _ if share.written == 0 => return Ok(Flushed::Spent),
                // The last bytes leave in one segment with the end of the connection, which follows at once: a packet
                // less to send, to take in and to wake somebody for.
                Front::Bytes { bytes, more } => (bytes.len(), self.stream.write(bytes, more || is_ending)),
                Front::File(range) => (0, self.stream.send_file(range)),
            };
            match written {
                // Only a file can have nothing left to give: it shrank behind its announced length.
                Ok(0) => return Err(CloseReason::Truncated),
                Ok(count) => {
                    if count < asked {
                        self.readiness.write_blocked();
                    }
                    busy.output.sent(count);
                    busy.moved += count as u64;
                    share.written = share.written.saturating_sub(count as u32);
                    turn.tally.bytes_out.add(count as u64);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.readiness.write_blocked(),
                    io::ErrorKind::Interrupted => share.written -= 1,
                    _ => return Err(CloseReason::PeerReset),
                },
            }
        }
    }

    /// Everything is out. If that was the last answer, part; in a way that lets the peer read it.
    fn part_or_rest(
        &mut self,
        busy: &mut Busy,
        turn: &mut Turn<'_>,
        share: &mut Share,
    ) -> Result<Rest, CloseReason> {
        let Life::Ending(reason) = self.life else {
            let yields = share.is_spent() && (self.readiness.is_readable() || !busy.input.is_empty());
            return Ok(if yields { Rest::Yields } else { Rest::Waits });
        };
        // Closing over unread input makes the kernel send a reset, which can destroy the answer on its way (RFC 9112
        // section 9.6). Who was refused may still be sending, and so may who was answered before the body was read.
        let may_have_more =
            self.readiness.is_readable() || !busy.input.is_empty() || busy.machine.has_left_body();
        let is_refused = matches!(reason, CloseReason::Refused | CloseReason::ReadTimeout);
        if self.readiness.has_ended() || !(may_have_more || is_refused) {
            return Err(reason);
        }
        self.stream.close_write();
        self.life = Life::Lingering(reason);
        self.linger(reason, busy, turn, share)
    }

    /// Throws input away until it ends, or the deadline does.
    fn linger(
        &mut self,
        reason: CloseReason,
        busy: &mut Busy,
        turn: &Turn<'_>,
        share: &mut Share,
    ) -> Result<Rest, CloseReason> {
        while share.bytes > 0 {
            busy.input.clear();
            match self.fill(busy, turn, share).map_err(|_| reason)? {
                Filled::Bytes => {}
                Filled::Nothing => return Ok(Rest::Waits),
                Filled::End => return Err(reason),
            }
        }
        Ok(Rest::Yields)
    }

    /// The one way out of a drive. Gives an idle connection's workplace back, sets the deadline, decides what comes next.
    ///
    /// A parked connection must be wakeable. Forgetting that is the classic bug of edge-triggered servers, so it is
    /// not left to memory: it is computed here, and asserted.
    #[inline]
    fn settle(&mut self, mut busy: Box<Busy>, rest: Result<Rest, CloseReason>, turn: &mut Turn<'_>) -> Step {
        let rest = match rest {
            Ok(rest) => rest,
            Err(reason) => {
                busy.wipe();
                turn.pool.give_back(busy);
                return Step::Close(reason);
            }
        };
        let wait = self.waits_for(&busy);
        let number = busy.machine.number();
        if (wait, number) != (self.wait, self.number) {
            self.deadline = turn.clock.now().after_ms(span_ms(wait, turn.limits));
            busy.moved = 0;
        }
        (self.wait, self.number) = (wait, number);

        let is_idle = self.life == Life::Open && busy.is_idle();
        if is_idle {
            turn.pool.give_back(busy);
        } else {
            self.busy = Some(busy);
        }
        if rest == Rest::Yields {
            return Step::Again;
        }
        if turn.draining && is_idle {
            return self.drain(turn);
        }
        self.check_wakeable();
        Step::Park
    }

    /// An idle connection while the server leaves. One that never spoke may have its first request on the way.
    fn drain(&mut self, turn: &Turn<'_>) -> Step {
        if self.wait == Wait::NextRequest {
            return Step::Close(CloseReason::Drained);
        }
        let soon = turn.clock.now().after_ms(FIRST_REQUEST_GRACE_MS);
        if self.deadline.has_reached(soon) {
            self.deadline = soon;
        }
        Step::Park
    }

    fn waits_for(&self, busy: &Busy) -> Wait {
        match (self.life, busy.machine.wait(!busy.input.is_empty())) {
            (Life::Lingering(_), _) => Wait::Linger,
            _ if !busy.output.is_empty() => Wait::Drain,
            // RFC 9112 leaves it open; the first request has the head's deadline, counted from the accept.
            (_, Wait::NextRequest) if busy.machine.number() == 0 => Wait::Head,
            (_, wait) => wait,
        }
    }

    fn check_wakeable(&self) {
        debug_assert!(
            if self.wait == Wait::Drain {
                !self.readiness.is_writable()
            } else {
                !self.readiness.is_readable()
            },
            "parked with work to do: {:?} {:?} {:?}",
            self.wait,
            self.life,
            self.readiness
        );
    }

    /// A wait for bytes is renewed as long as they keep up the least rate.
    fn earns_another_span(&mut self, turn: &Turn<'_>) -> bool {
        let Some(busy) = self.busy.as_deref_mut() else { return false };
        if !matches!(self.wait, Wait::Body | Wait::Drain) {
            return false;
        }
        let span_ms = span_ms(self.wait, turn.limits);
        let least = Limits::RATE_BYTES_PER_SECOND_MIN * u64::from(span_ms) / 1_000;
        if busy.moved < least.max(1) {
            return false;
        }
        busy.moved = 0;
        self.deadline = turn.clock.now().after_ms(span_ms);
        true
    }

    fn ending_reason(&self) -> CloseReason {
        match self.life {
            Life::Ending(reason) | Life::Lingering(reason) => reason,
            Life::Open => CloseReason::Finished,
        }
    }
}

/// How long a first request is waited for while the server leaves, in milliseconds.
const FIRST_REQUEST_GRACE_MS: u32 = 500;

fn span_ms(wait: Wait, limits: &Limits) -> u32 {
    match wait {
        Wait::NextRequest => limits.idle_ms_max,
        Wait::Head => limits.head_ms_max,
        Wait::Body => limits.body_ms_max,
        Wait::Drain => limits.write_ms_max,
        Wait::Linger => limits.linger_ms_max,
    }
}
