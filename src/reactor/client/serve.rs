//! From input to answers: parse, decide, answer, refuse.

use std::net::IpAddr;

use super::busy::{Busy, Share};
use super::deferred::Stand;
use super::transfer::{Filled, Flushed};
use super::{Client, Life, Rest};
use crate::gateway::site::client;
use crate::gateway::{Arrival, Decision, Exchange, Gateway};
use crate::http::{Body, Framing, Method, Request, Response, Status};
use crate::observe::Tally;
use crate::observe::log::{Level, Log};
use crate::proto::{Progress, Violation};
use crate::reactor::access::{Sent, passage_of};
use crate::reactor::pending::count_route;
use crate::reactor::stream::Stream;
use crate::reactor::turn::{CloseReason, Step, Turn};
use crate::worker::{Errand, Job, ReplyTo, RequestName};

/// How far the input could be worked off.
#[derive(PartialEq, Eq)]
enum Advance {
    /// All of it; more may be in the socket.
    Starved,
    /// As far as the output has room.
    Full,
    /// To a request whose answer others make.
    Waits,
    /// As far as this turn's share goes.
    Spent,
    /// To the end of the connection.
    Over,
}

impl<S: Stream> Client<S> {
    pub(super) fn work(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) -> Result<Rest, CloseReason> {
        let mut share = Share::of(turn.limits);
        if let Life::Lingering(reason) = self.life {
            return self.linger(reason, busy, turn, &mut share);
        }
        if self.life == Life::Unintroduced && !self.introduce(busy, turn, &mut share)? {
            return Ok(Rest::Waits);
        }
        loop {
            match self.advance(busy, turn, &mut share) {
                Advance::Starved if share.bytes > 0 => match self.fill(busy, turn, &mut share)? {
                    Filled::Bytes => {}
                    Filled::Nothing => break,
                    Filled::End => self.end_of_input(busy, turn),
                },
                Advance::Full if self.flush(busy, turn, &mut share)? == Flushed::All => {}
                // Only `advance` may say that the share is spent: it leaves no exchange half closed behind
                // it.
                Advance::Starved | Advance::Full | Advance::Waits | Advance::Spent | Advance::Over => break,
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
    fn advance(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>, share: &mut Share) -> Advance {
        if self.life != Life::Open {
            return Advance::Over;
        }
        loop {
            if busy.output.queued() > u64::from(turn.limits.output_bytes_high) {
                return Advance::Full;
            }
            if busy.pending.is_open() {
                match self.proceed(busy, turn, share) {
                    Stand::Reads => {}
                    Stand::Waits => return Advance::Waits,
                    Stand::Moved if share.steps == 0 && busy.pending.is_open() => return Advance::Spent,
                    Stand::Moved => {
                        share.steps = share.steps.saturating_sub(1);
                        continue;
                    }
                    Stand::Broken => {
                        self.break_off(busy, turn);
                        return Advance::Over;
                    }
                }
            }
            // Without input it costs nothing to hear that an exchange is over, and what to wait for depends
            // on it.
            if share.requests == 0 && !busy.input.is_empty() {
                return Advance::Spent;
            }
            match busy.machine.receive(&mut busy.input, turn.index, turn.limits) {
                Ok(Progress::Starved | Progress::Waiting) => return Advance::Starved,
                Ok(Progress::Head) => {
                    share.requests -= 1;
                    self.answer(busy, turn);
                }
                Ok(Progress::Body(count)) if busy.pending.is_open() => self.take_body(count, busy, turn),
                Ok(Progress::Whole) if busy.pending.is_open() => self.body_is_whole(busy, turn),
                Ok(Progress::Body(count)) => {
                    busy.reflection.piece(
                        &busy.input.unread()[..count],
                        &mut busy.machine,
                        &mut busy.output,
                        turn,
                    );
                    busy.input.consume(count);
                }
                Ok(Progress::Trailer(count)) => Self::relay_trailer(count, busy),
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

    #[inline]
    fn answer(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        self.begin_answer(busy, turn);
        // What is still under way has a copy of the notes. These would lie here until the next request,
        // perhaps for hours, and keep a permit from whoever wants it.
        if turn.notes.holds() {
            turn.notes.clear();
        }
    }

    /// A head is complete: decide and answer, or begin to send its body back.
    #[inline]
    fn begin_answer(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        let request = Request::new(turn.index, busy.input.unread());
        if !turn.notes.is_blank() {
            turn.notes.clear();
        }
        let gateway = turn.epoch.gateway(self.entrance);
        let when = (turn.clock.now_ns(), turn.stamp.second());
        let arrival = note_arrival(&request, gateway, turn.peers.address(turn.here.0), when, turn.arrival);
        let mut exchange = Exchange::new(request, turn.notes).arrived(arrival).beside(turn.folders);
        let decision = gateway.decide(&mut exchange);
        let keep = !turn.draining && busy.machine.number() + 1 < turn.limits.requests_max;
        let head_len = usize::from(turn.index.head_len);
        if matches!(decision, Decision::Panicked(_)) {
            let (slot, generation) = turn.here;
            let number = busy.machine.number();
            let to = ReplyTo { reactor: turn.dispatch.reactor(), slot, generation, number };
            let id = RequestName { given: exchange.notes().request_id(), to };
            tell_of_panic(&request, id, "answered 500", turn.tally, turn.log);
        }
        let sent = match decision {
            Decision::Fixed(answer) => {
                let body_bytes = busy.machine.respond_fixed(answer, keep, turn.stamp, &mut busy.output);
                Sent { status: Status::OK, body_bytes }
            }
            Decision::Defer(route) => {
                let params = exchange.params();
                return self.defer(route, params, busy, turn);
            }
            Decision::Relay(route) => {
                let params = exchange.params();
                return self.pass_on(route, params, busy, turn);
            }
            Decision::Answer(response) | Decision::Panicked(response) => {
                if matches!(response.body, Body::Source(_)) {
                    return self.answer_with_source(response, busy, turn);
                }
                if matches!(response.body, Body::Reflect) && request.framing() != Framing::None {
                    busy.reflection.open(response, &request, keep, &self.stream, turn);
                    busy.machine.ask_for_body(&mut busy.output);
                    return busy.input.consume(head_len);
                }
                let status = response.status;
                let body_bytes = busy.machine.respond(response, keep, turn.stamp, &mut busy.output);
                Sent { status, body_bytes }
            }
        };
        turn.tally.answers.add(request.method() as usize, sent.status.code(), 1);
        busy.answered += 1;
        count_answer(sent.status, turn);
        if let Some(access) = &mut turn.access {
            let passage = passage_of(turn.epoch, turn.notes, turn.arrival);
            let when = (turn.clock, &*turn.stamp);
            access.write(&request, turn.notes, sent, passage, &self.stream, when);
        }
        busy.input.consume(head_len);
    }

    /// The peer broke a rule: say which, if an answer can still be said, and end.
    #[cold]
    fn refuse(&mut self, violation: Violation, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        turn.tally.violations.add(violation as usize, 1);
        // Within a body the input is not a head, and the note knows the line.
        let head = if busy.machine.is_between_requests() { busy.input.unread() } else { &[] };
        let mut response = Response::plain(violation.status());
        if busy.pending.is_unanswered() {
            self.finish_by_gateway(busy, &mut response, turn);
        }
        if busy.machine.refuse_by(response, turn.stamp, &mut busy.output) {
            turn.tally.answers.add(Method::Unknown as usize, violation.status().code(), 1);
            let note = if busy.pending.is_open() { &busy.pending.note } else { &busy.reflection.note };
            if let Some(access) = &mut turn.access {
                access.write_refusal(violation, head, note, &self.stream, turn.stamp);
            }
        }
        if turn.log.is_told(Level::Debug) {
            let (peer, label, status) = (self.stream.peer(), violation.label(), violation.status());
            turn.log.event(Level::Debug, "refused", format_args!("{peer}: {label}, answered {status}"));
        }
        busy.reflection.clear();
        busy.pending.abandon(turn);
        self.life = Life::Ending(CloseReason::Refused);
    }

    /// A deadline of the peer's has passed: 408, if an answer can still be said.
    pub(super) fn give_up(&mut self, violation: Violation, turn: &mut Turn<'_, S>) -> Step {
        let Some(mut busy) = self.busy.take() else { return Step::Close(CloseReason::ReadTimeout) };
        self.refuse(violation, &mut busy, turn);
        self.life = Life::Ending(CloseReason::ReadTimeout);
        let rest = self.work(&mut busy, turn);
        self.settle(busy, rest, turn)
    }

    /// The peer will send no more. What it has sent was answered; what it began to send will never be whole.
    fn end_of_input(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        // A handler that reads the body as it comes is not to wait for the rest until the output is out.
        busy.pending.abandon(turn);
        let is_clean = busy.machine.is_between_requests() && busy.input.is_empty();
        self.life = Life::Ending(if is_clean { CloseReason::PeerClosed } else { CloseReason::PeerCut });
    }
}

/// When and from where a request came, as far as a site's trust goes; nobody else asks.
#[inline]
fn note_arrival<'a>(
    request: &Request<'_>,
    gateway: &Gateway,
    peer: Option<IpAddr>,
    (now_ns, unix_seconds): (u64, u64),
    arrival: &'a mut Arrival,
) -> &'a Arrival {
    let Some(site) = gateway.site() else { return &Arrival::UNKNOWN };
    let (client, is_trusted) = client::of(peer, request, site.trust());
    *arrival = Arrival { client, peer, is_trusted, now_ns, unix_seconds };
    arrival
}

/// Notes down what a site's route has answered at once.
#[inline]
fn count_answer<S: Stream>(status: Status, turn: &Turn<'_, S>) {
    if turn.notes.route().is_some() {
        let took_ns = turn.clock.precise_ns().saturating_sub(turn.clock.now_ns());
        count_route(turn.epoch, turn.notes, status, took_ns, turn.lines.reactor);
    }
}

/// Tells of it if a job was run and what others wrote has panicked.
pub(in crate::reactor) fn tell_of_panic_in(job: &Job, tally: &Tally, log: &Log) {
    match job.errand {
        Errand::Panicked(_) => tell_of_panic(&job.request(), job.id(), "answered 500", tally, log),
        Errand::Burst => tell_of_panic(&job.request(), job.id(), "its answer is cut short", tally, log),
        _ => {}
    }
}

#[cold]
pub(super) fn tell_of_panic(
    request: &Request<'_>,
    id: RequestName<'_>,
    outcome: &str,
    tally: &Tally,
    log: &Log,
) {
    tally.panics.add(1);
    let line = String::from_utf8_lossy(request.line());
    log.event(
        Level::Error,
        "panic",
        format_args!("the handler of {line:?} panicked; {outcome} (request {id})"),
    );
}
