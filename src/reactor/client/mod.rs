//! One downstream connection: driven ([`serve`]), its bytes moved ([`transfer`]), settled (here); requests
//! that are not answered at once wait ([`deferred`]), bodies come piece by piece ([`sourced`]), others answer
//! ([`relay`]).
//!
//! ```text
//!            +---------------------------- Again: its share of the turn is used up
//!            v                                   |
//!  ready -> drive: advance <-> fill, flush -> settle -> Park: a reason to wake, a deadline
//!                                                |
//!  life:  Open --> Ending (what is queued goes out) --> Lingering (input is thrown away) --> Close
//!          ^--- Unintroduced (behind a balancer: who is it?) --> Close
//! ```
//! Promises: [`settle`](Client::settle) is the only way out of a drive, and proves that a parked connection
//! can wake.
//! An idle connection is this struct and nothing else; what only a busy one needs is lent to it as [`Busy`].
//! Not here: what a request means (`gateway`), how it is written (`proto`), which key this is (`reactor`).

mod busy;
mod deferred;
mod introduce;
mod relay;
mod serve;
mod sourced;
mod transfer;

pub(super) use busy::Busy;
pub(super) use relay::let_go;
pub(super) use serve::tell_of_panic_in;

use crate::base::clock::Tick;
use crate::base::slots::Slots;
use crate::base::wheel::{Link, Links};
use crate::config::Limits;
use crate::proto::{Violation, Wait};
#[cfg(test)]
use crate::reactor::pending::Stage;
use crate::reactor::readiness::Readiness;
use crate::reactor::stream::{Socket, Stream};
use crate::reactor::turn::{CloseReason, Step, Turn};

/// See the module.
///
/// Invariant: `busy` is there unless the connection is idle, lingers or is closed; `deadline` is set whenever
/// it is parked.
pub(super) struct Client<S: Stream = Socket> {
    stream: S,
    /// When what it waits for is overdue. Moves freely; the wheel's entry is corrected when it fires.
    pub deadline: Tick,
    /// When the wheel will look at it, if it is armed.
    pub armed_for: Tick,
    /// Where it stands in the wheel.
    link: Link,
    /// Requests answered, which is the number of the exchange to come.
    number: u32,
    wait: Wait,
    life: Life,
    /// Which kind of listener it came by, hence which gateway answers.
    entrance: u8,
    pub readiness: Readiness,
    busy: Option<Box<Busy>>,
}

// 15 000 or a million of these lie idle: less than a cache line with its generation.
const _: () = assert!(size_of::<Client>() <= 40);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// A balancer is to say first who its client is.
    Unintroduced,
    /// Requests are served.
    Open,
    /// What is queued goes out, then it is over for that reason.
    Ending(CloseReason),
    /// All was said; input is thrown away until the peer has read it and goes (RFC 9112 section 9.6).
    Lingering(CloseReason),
}

/// Where a drive ended, when the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It waits for something to happen.
    Waits,
    /// It could go on at once; others have their turn first.
    Yields,
}

impl<S: Stream> Links for Slots<Client<S>> {
    fn link_mut(&mut self, slot: u32) -> Option<&mut Link> {
        self.tenant_at(slot).map(|client| &mut client.link)
    }
}

impl<S: Stream> Client<S> {
    pub(super) fn new(stream: S, entrance: u8, now: Tick, limits: &Limits) -> Client<S> {
        Client {
            stream,
            deadline: now.after_ms(limits.head_ms_max),
            armed_for: now,
            link: Link::FREE,
            number: 0,
            wait: Wait::Head,
            life: Life::Open,
            entrance,
            readiness: Readiness::FRESH,
            busy: None,
        }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    pub(super) fn entrance(&self) -> u8 {
        self.entrance
    }

    /// Whether it is at an exchange that is answered by and by.
    pub(super) fn is_deferred(&self) -> bool {
        self.busy.as_deref().is_some_and(|busy| busy.pending.is_open())
    }

    /// Whether it waits for the kernel to take more output.
    pub(super) fn is_blocked(&self) -> bool {
        self.wait == Wait::Drain && !self.readiness.is_writable()
    }

    /// Whether the poll will tell what it waits for.
    pub(super) fn is_watched(&self) -> bool {
        let readiness = self.readiness;
        readiness.is_registered() && (readiness.is_registered_for_writing() || !self.is_blocked())
    }

    /// Whether the wheel will look at it, by its deadline.
    pub(super) fn is_looked_at(&self) -> bool {
        self.readiness.is_armed() && self.deadline.has_reached(self.armed_for)
    }

    /// Whether it holds a workplace that it does not need.
    #[cfg(test)]
    pub(super) fn hoards(&self) -> bool {
        self.life == Life::Open && self.busy.as_deref().is_some_and(Busy::is_idle)
    }

    /// Whether it has an entry in the wheel.
    #[cfg(test)]
    pub(super) fn is_in_wheel(&self) -> bool {
        self.link.is_armed()
    }

    /// Whether it holds a workplace.
    #[cfg(test)]
    pub(super) fn is_lent(&self) -> bool {
        self.busy.is_some()
    }

    /// Whether it could go on and will not be told, given whether the kernel would tell it. Who waits for
    /// others leaves unread what came meanwhile.
    #[cfg(test)]
    pub(super) fn is_lost(&self, is_lost: impl Fn(bool) -> bool) -> bool {
        self.wait != Wait::Answer && is_lost(self.is_blocked())
    }

    /// Whether its job is out, and not for nobody.
    #[cfg(test)]
    pub(super) fn awaits_job(&self) -> bool {
        let stage = self.busy.as_deref().map(|busy| busy.pending.stage);
        matches!(stage, Some(Stage::Away | Stage::Pulling))
    }

    /// Whether its job is here.
    #[cfg(test)]
    pub(super) fn keeps_job(&self) -> bool {
        self.busy.as_deref().is_some_and(|busy| busy.pending.job.is_some())
    }

    /// Whether it could go on with its answer, which only the output may keep it from.
    #[cfg(test)]
    pub(super) fn is_idle_with_answer(&self) -> bool {
        self.wait != Wait::Drain
            && self.busy.as_deref().is_some_and(|busy| busy.pending.has_something_to_say())
    }

    /// Whether it wants a permit.
    #[cfg(test)]
    pub(super) fn is_hungry(&self) -> bool {
        self.busy.as_deref().is_some_and(|busy| busy.pending.stage == Stage::Hungry)
    }

    /// Does what can be done now.
    pub(super) fn drive(&mut self, turn: &mut Turn<'_, S>) -> Step {
        let Some(mut busy) = self.busy.take().or_else(|| turn.lend(self.number)) else {
            return Step::Thirsty;
        };
        if busy.input.is_taken() {
            busy.input = turn.lines.unshelve();
        }
        let mut rest = self.work(&mut busy, turn);
        // Also where the request was found behind the news that its connection had broken.
        if busy.pending.is_open() && self.readiness.is_broken() {
            rest = Err(CloseReason::PeerReset);
        }
        if busy.answered > 0 {
            let ns = turn.clock.precise_ns().saturating_sub(turn.clock.now_ns());
            turn.tally.latency.record(ns, std::mem::take(&mut busy.answered));
        }
        self.settle(busy, rest, turn)
    }

    /// Its deadline has passed. `None`: it was moved meanwhile, or enough bytes moved to earn another span.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_, S>) -> Option<Step> {
        if !turn.clock.now().has_reached(self.deadline) {
            return None;
        }
        if self.has_deadlines()
            && let Some(step) = self.expire_pending(turn)
        {
            return Some(step);
        }
        if self.was_looked_at_early(turn) || self.earns_another_span(turn) {
            return None;
        }
        let is_untouched = self.busy.is_none();
        Some(match self.wait {
            Wait::NextRequest => Step::Close(CloseReason::IdleTimeout),
            // nginx and others say nothing to a client that never spoke.
            Wait::Head if is_untouched => Step::Close(CloseReason::ReadTimeout),
            // Nothing can be answered to what is no HTTP yet.
            Wait::Head if self.life == Life::Unintroduced => Step::Close(CloseReason::ReadTimeout),
            Wait::Head => self.give_up(Violation::HeadTimeout, turn),
            Wait::Body => self.give_up(Violation::BodyTimeout, turn),
            // Nothing is asked of the client, so nothing of it can be overdue.
            Wait::Answer => return None,
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

    /// It is about to be closed for want of something. An answer that is not out must not look whole, as one
    /// would that is told from its rest by the end of the connection only.
    pub(super) fn forsake(&mut self) {
        let is_answering = |busy: &Busy| !busy.output.is_empty() || busy.machine.is_answering();
        if self.busy.as_deref().is_some_and(is_answering) {
            self.stream.reset_on_close();
        }
    }

    /// Gives its workplace back, when the connection is taken apart.
    pub(super) fn dismantle(&mut self, turn: &mut Turn<'_, S>) {
        if let Some(mut busy) = self.busy.take() {
            busy.wipe(turn);
            turn.pool.give_back(busy);
        }
    }

    /// The one way out of a drive. Gives an idle connection's workplace back, sets the deadline, decides what
    /// comes next.
    ///
    /// A parked connection must be wakeable. Forgetting that is the classic bug of edge-triggered servers, so
    /// it is not left to memory: it is computed here, and asserted.
    #[inline]
    fn settle(
        &mut self,
        mut busy: Box<Busy>,
        rest: Result<Rest, CloseReason>,
        turn: &mut Turn<'_, S>,
    ) -> Step {
        let rest = match rest {
            Ok(rest) => rest,
            Err(reason) => {
                busy.wipe(turn);
                turn.pool.give_back(busy);
                return Step::Close(reason);
            }
        };
        let wait = self.waits_for(&busy);
        let number = busy.machine.number();
        if let Some(asked_by) = busy.asked_by.take() {
            self.deadline = asked_by;
        }
        if (wait, number) != (self.wait, self.number) {
            self.deadline = turn.clock.now().after_ms(span_ms(wait, turn.limits));
            busy.moved = 0;
        }
        (self.wait, self.number) = (wait, number);
        if busy.pending.has_deadlines() {
            self.look_early(&mut busy, turn);
        }

        let is_idle = matches!(self.life, Life::Open | Life::Unintroduced) && busy.is_idle();
        if is_idle {
            turn.pool.give_back(busy);
        } else if wait == Wait::Linger {
            // What comes now is thrown away, so nothing needs to be kept for it.
            busy.wipe(turn);
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

    /// Who makes the answer has deadlines too. The client's own is kept where another comes before it.
    #[cold]
    fn look_early(&mut self, busy: &mut Busy, turn: &Turn<'_, S>) {
        let now = turn.clock.now();
        let moment = busy.pending.next_moment(now);
        if self.wait == Wait::Answer {
            // Nothing is asked of anybody but others: it is looked at now and then.
            self.deadline = moment.unwrap_or(now.after_ms(span_ms(self.wait, turn.limits)));
        } else if let Some(moment) = moment
            && self.deadline.has_reached(moment)
        {
            busy.asked_by = Some(std::mem::replace(&mut self.deadline, moment));
        }
    }

    /// Whether the deadline that has passed was not the client's; then the next one is set.
    fn was_looked_at_early(&mut self, turn: &Turn<'_, S>) -> bool {
        if !self.has_deadlines() {
            return false;
        }
        let Some(mut busy) = self.busy.take() else { return false };
        if let Some(asked_by) = busy.asked_by.take() {
            self.deadline = asked_by;
        }
        let was_early = self.wait == Wait::Answer || !turn.clock.now().has_reached(self.deadline);
        if was_early {
            self.look_early(&mut busy, turn);
        }
        self.busy = Some(busy);
        was_early
    }

    /// An idle connection while the server leaves. One that never spoke may have its first request on the
    /// way.
    fn drain(&mut self, turn: &Turn<'_, S>) -> Step {
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
            _ if busy.pending.blocks_reading() => Wait::Answer,
            (_, wait) => wait,
        }
    }

    fn check_wakeable(&self) {
        debug_assert!(
            match self.wait {
                Wait::Drain => !self.readiness.is_writable(),
                Wait::Answer => self.waits_for_others() && !self.readiness.is_broken(),
                _ => !self.readiness.is_readable(),
            },
            "parked with work to do: {:?} {:?} {:?}",
            self.wait,
            self.life,
            self.readiness
        );
    }

    /// A wait for bytes is renewed as long as they keep up the least rate.
    fn earns_another_span(&mut self, turn: &Turn<'_, S>) -> bool {
        let Some(mut busy) = self.busy.take() else { return false };
        let span_ms = span_ms(self.wait, turn.limits);
        let least = Limits::RATE_BYTES_PER_SECOND_MIN * u64::from(span_ms) / 1_000;
        let earns = matches!(self.wait, Wait::Body | Wait::Drain) && busy.moved >= least.max(1);
        if earns {
            busy.moved = 0;
            self.deadline = turn.clock.now().after_ms(span_ms);
            if busy.pending.has_deadlines() {
                self.look_early(&mut busy, turn);
            }
        }
        self.busy = Some(busy);
        earns
    }

    fn ending_reason(&self) -> CloseReason {
        match self.life {
            Life::Ending(reason) | Life::Lingering(reason) => reason,
            Life::Open | Life::Unintroduced => CloseReason::Finished,
        }
    }
}

/// How often a connection is looked at whose answer has no deadline.
const ANSWER_LOOK_MS: u32 = 60_000;
/// How long a first request is waited for while the server leaves, in milliseconds.
const FIRST_REQUEST_GRACE_MS: u32 = 500;

fn span_ms(wait: Wait, limits: &Limits) -> u32 {
    match wait {
        Wait::NextRequest => limits.idle_ms_max,
        Wait::Head => limits.head_ms_max,
        Wait::Body => limits.body_ms_max,
        // Who makes the answer has deadlines of its own.
        Wait::Answer => ANSWER_LOOK_MS,
        Wait::Drain => limits.write_ms_max,
        Wait::Linger => limits.linger_ms_max,
    }
}
