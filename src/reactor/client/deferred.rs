//! Requests that cannot be answered where their head is read: their body is gathered, a worker answers.
//!
//! Everything here is apart from the way of an ordinary request, which pays one comparison for it. Not here:
//! bodies that are made as they are sent, see `sourced`.

use std::sync::Arc;

use super::Client;
use super::busy::{Busy, Share};
use super::serve::tell_of_panic_in;
use crate::base::clock::{Deadline, Tick};
use crate::gateway::handler::{BodyPlan, Place};
use crate::gateway::route::{Params, Route};
use crate::http::{Body, Framing, Method, Request, Response, Status};
use crate::reactor::dispatch::Refusal;
use crate::reactor::pending::Stage;
use crate::reactor::stream::Stream;
use crate::reactor::turn::{CloseReason, Step, Turn};
use crate::worker::{Errand, Job, ReplyTo};

/// Where a deferred exchange stands after a step.
#[derive(PartialEq, Eq)]
pub(super) enum Stand {
    /// More of the request is wanted.
    Reads,
    /// It waits for others.
    Waits,
    /// It is answered, or a piece of it is; look again.
    Moved,
    /// The answer broke off: the connection cannot go on.
    Broken,
}

impl<S: Stream> Client<S> {
    /// A head is complete whose route wants its body first, or runs on a worker. Takes the head out of the
    /// input.
    #[cold]
    #[inline(never)]
    pub(super) fn defer(
        &mut self,
        route: &Arc<Route>,
        params: Params,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) {
        let pending = &mut busy.pending;
        pending.keep = busy.machine.number() + 1 < turn.limits.requests_max;
        pending.method = Some(turn.index.method);
        pending.began_ns = turn.clock.now_ns();
        pending.notes.copy_from(turn.notes);
        if !turn.notes.is_blank() {
            pending.epoch = Some(Arc::clone(turn.epoch));
        }
        self.keep_note(busy, turn);
        let head_len = usize::from(turn.index.head_len);
        let Some(mut job) = turn.dispatch.lend() else {
            busy.input.consume(head_len);
            return self.refuse_request(Refusal::NoBuffer, busy, turn);
        };
        job.index.copy_from(turn.index);
        move_head(busy, &mut job, head_len);
        job.route = Some(Arc::clone(route));
        job.params = params;
        job.notes.copy_from(&busy.pending.notes);
        let plan = match job.index.framing {
            Framing::None => BodyPlan::Ignore,
            _ => route.body(),
        };
        match plan {
            BodyPlan::Ignore => self.call(job, busy, turn),
            BodyPlan::Stream => self.call_with_stream(job, busy, turn),
            BodyPlan::Collect => self.collect(job, busy, turn),
        }
    }

    /// What the access log will tell of the request whose head was just read.
    pub(super) fn keep_note(&self, busy: &mut Busy, turn: &Turn<'_, S>) {
        if turn.access.is_some() {
            let request = Request::new(turn.index, busy.input.unread());
            busy.pending.note.keep(&request, turn.notes, &self.stream);
        }
    }

    fn collect(&mut self, job: Box<Job>, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        let bytes_max = job.route.as_ref().and_then(|route| route.terms().body_bytes_max);
        let bytes_max = bytes_max.unwrap_or(turn.limits.collected_bytes_max).min(turn.limits.body_bytes_max);
        let is_too_large = matches!(job.index.framing, Framing::Length(length) if length > bytes_max);
        busy.pending.job = Some(job);
        busy.pending.stage = Stage::Collecting;
        busy.pending.room = bytes_max;
        if is_too_large {
            return self.answer_deferred(Response::plain(Status::CONTENT_TOO_LARGE), busy, turn);
        }
        busy.machine.ask_for_body(&mut busy.output);
    }

    fn call_with_stream(&mut self, job: Box<Job>, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        let mut job = job;
        busy.pending.pipe = turn.dispatch.pipe(self.reply_to(busy, turn));
        job.stream = busy.pending.pipe.clone();
        self.call(job, busy, turn);
        if busy.pending.stage == Stage::Away {
            busy.machine.ask_for_body(&mut busy.output);
        }
    }

    /// A piece of the body has come.
    #[inline(never)]
    pub(super) fn take_body(&mut self, count: usize, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        if busy.pending.stage == Stage::Relaying {
            return self.relay_body(count, busy, turn);
        }
        let bytes = &busy.input.unread()[..count];
        let pending = &mut busy.pending;
        match (&mut pending.job, &pending.pipe) {
            (None, Some(pipe)) => {
                let is_taken = pipe.offer(bytes);
                debug_assert!(is_taken, "there was room when the machine was asked");
            }
            (Some(job), _) if count as u64 <= pending.room => {
                pending.room -= count as u64;
                job.body.extend_from_slice(bytes);
            }
            _ => self.answer_deferred(Response::plain(Status::CONTENT_TOO_LARGE), busy, turn),
        }
        busy.input.consume(count);
    }

    /// The body is complete.
    #[inline(never)]
    pub(super) fn body_is_whole(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        if let Some(relay) = &mut busy.pending.relay {
            relay.upload.finish();
            // Until here it was the client's time, who has deadlines of its own.
            relay.dues.head = Some(turn.clock.after_ms(relay.head_ms_max));
        } else if let Some(pipe) = &busy.pending.pipe {
            pipe.close(true);
        } else if let Some(job) = busy.pending.job.take() {
            self.call(job, busy, turn);
        }
    }

    /// The request is as complete as its handler wants it: here or on a worker, it is answered.
    fn call(&mut self, mut job: Box<Job>, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        let place = job.route.as_ref().map_or(Place::Reactor, |route| route.place());
        let ms_max = answer_ms_max(&job, turn);
        let now_ns = turn.clock.now_ns();
        job.errand = Errand::Call;
        job.to = self.reply_to(busy, turn);
        job.deadline =
            ms_max.map_or(Deadline::NEVER, |ms| Deadline::at_ns(now_ns + u64::from(ms) * 1_000_000));
        if place == Place::Reactor {
            job.run();
            tell_of_panic_in(&job, turn.tally, turn.log);
            return busy.pending.come_home(job);
        }
        let ticket = Arc::clone(&job.ticket);
        match turn.dispatch.submit(job, now_ns) {
            Ok(()) => {
                turn.tally.queued.add(1);
                busy.pending.stage = Stage::Away;
                busy.pending.ticket = Some(ticket);
                busy.pending.due = ms_max.map(|ms| turn.clock.after_ms(ms));
                busy.pending.withdraw_at = turn.dispatch.queue_ms_max().map(|ms| turn.clock.after_ms(ms));
            }
            Err((job, refusal)) => {
                drop(ticket);
                busy.pending.job = Some(job);
                self.refuse_request(refusal, busy, turn);
            }
        }
    }

    /// Does what can be done for it now.
    #[inline(never)]
    pub(super) fn proceed(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>, share: &mut Share) -> Stand {
        match busy.pending.stage {
            Stage::Closed | Stage::Collecting => Stand::Reads,
            Stage::Away => self.wait_for_answer(busy),
            Stage::Answered => self.take_answer(busy, turn),
            Stage::Sending => self.pull(busy, turn),
            Stage::Pulling | Stage::Hungry => Stand::Waits,
            Stage::Pulled => self.take_piece(busy, turn),
            Stage::Relaying => self.relay(busy, turn, share),
        }
    }

    fn wait_for_answer(&mut self, busy: &mut Busy) -> Stand {
        // A body that is read as it comes goes on coming while its handler runs. Room for it is looked for
        // first: what the machine has told of once must be taken, or it would tell of it twice, and take
        // what lies behind for another request.
        let pending = &mut busy.pending;
        let Some(pipe) = pending.pipe.as_ref().filter(|_| !busy.machine.has_whole_request()) else {
            // Before the end of its request there are bytes, and who reads them is not to give up.
            if self.readiness.is_ending()
                && let Some(ticket) = &pending.ticket
            {
                ticket.client_leaves();
            }
            return Stand::Waits;
        };
        pending.is_stalled = !pipe.has_room();
        if pending.is_stalled { Stand::Waits } else { Stand::Reads }
    }

    fn take_answer(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) -> Stand {
        let Some(job) = &mut busy.pending.job else { return Stand::Broken };
        let response = match std::mem::take(&mut job.errand) {
            Errand::Answered(response) if !job.is_late() => response,
            Errand::Panicked(response) => response,
            // Its time was up when it was taken or when it was done, before that was noticed here.
            overdue => {
                // A body goes with the job to where it is dropped.
                job.errand = overdue;
                turn.tally.overdue.add(1);
                Response::plain(Status::GATEWAY_TIMEOUT)
            }
        };
        match response.body {
            Body::Reflect => self.reflect(response, busy, turn),
            _ => self.answer_deferred(response, busy, turn),
        }
        Stand::Moved
    }

    /// The handler wants the body sent back that it did not ask for: that lies still with the client.
    fn reflect(&mut self, mut response: Response, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        self.finish_by_gateway(busy, &mut response, turn);
        let keep = busy.pending.keep && !turn.draining;
        if let Some(job) = &busy.pending.job {
            busy.reflection.open(response, &job.request(), keep, &self.stream, turn);
            busy.reflection.date_back(busy.pending.began_ns, &mut busy.pending.note);
            busy.machine.ask_for_body(&mut busy.output);
        }
        busy.pending.close(turn.dispatch);
    }

    /// What every answer has in common, said by the gateway that the request had entered.
    pub(super) fn finish_by_gateway(&self, busy: &Busy, response: &mut Response, turn: &Turn<'_, S>) {
        let epoch = busy.pending.epoch.as_ref().unwrap_or(turn.epoch);
        epoch.gateway(self.entrance).finish(&busy.pending.notes, response);
    }

    /// The one way out of a deferred exchange, whoever made the answer.
    pub(super) fn answer_deferred(
        &mut self,
        mut response: Response,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) {
        self.finish_by_gateway(busy, &mut response, turn);
        // Whatever is still to come of the body, nobody reads it any more.
        if let Some(pipe) = busy.pending.pipe.take() {
            pipe.close(false);
        }
        let response = self.measured(response, busy, turn);
        let keep = busy.pending.keep && !turn.draining;
        let status = response.status;
        let method = busy.pending.method.unwrap_or(Method::Unknown);
        turn.tally.answers.add(method as usize, status.code(), 1);
        busy.pending.status = Some(status);
        if let Body::Source(source) = response.body {
            busy.machine.forgo_body(keep);
            let has_body = busy.machine.begin(
                status,
                &response.fields,
                busy.pending.announced,
                keep,
                turn.stamp,
                &mut busy.output,
            );
            if let Some(job) = &mut busy.pending.job {
                job.errand = Errand::Pull(source);
            }
            if has_body {
                busy.pending.stage = Stage::Sending;
                self.end_if_whole(busy, turn);
                return;
            }
        } else {
            busy.pending.sent = busy.machine.respond(response, keep, turn.stamp, &mut busy.output);
        }
        self.conclude(busy, turn);
    }

    pub(super) fn conclude(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        busy.pending.account(turn);
        busy.pending.close(turn.dispatch);
    }

    /// Tells the client at once that its request is not going to be served.
    pub(super) fn refuse_request(&mut self, refusal: Refusal, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        turn.tally.refusals.add(refusal as usize, 1);
        self.answer_deferred(Refusal::ANSWER, busy, turn);
    }

    /// A deadline of ours has passed. `None`: it has not.
    pub(super) fn expire_pending(&mut self, turn: &mut Turn<'_, S>) -> Option<Step> {
        let now = turn.clock.now();
        let has_passed = |moment: Option<Tick>| moment.is_some_and(|moment| now.has_reached(moment));
        let pending = &mut self.busy.as_deref_mut()?.pending;
        if !pending.has_deadlines() {
            return None;
        }
        if pending.stage == Stage::Relaying {
            return self.expire_relay(turn);
        }
        let is_overdue = has_passed(pending.due);
        if !is_overdue && has_passed(pending.withdraw_at) {
            pending.withdraw_at = None;
            if !pending.ticket.as_ref()?.withdraw() {
                return None;
            }
        } else if !is_overdue {
            return None;
        }
        if pending.stage != Stage::Away {
            turn.tally.overdue.add(1);
            self.stream.reset_on_close();
            return Some(Step::Close(CloseReason::Truncated));
        }
        Some(self.give_up_waiting(is_overdue, turn))
    }

    /// Answers in place of the handler; what that still makes of it is dropped when it comes home.
    fn give_up_waiting(&mut self, is_overdue: bool, turn: &mut Turn<'_, S>) -> Step {
        let Some(mut busy) = self.busy.take() else { return Step::Close(CloseReason::WriteTimeout) };
        if let Some(ticket) = busy.pending.ticket.take() {
            ticket.cancel();
        }
        if is_overdue {
            turn.tally.overdue.add(1);
            self.answer_deferred(Response::plain(Status::GATEWAY_TIMEOUT), &mut busy, turn);
        } else {
            self.refuse_request(Refusal::QueueTimeout, &mut busy, turn);
        }
        let rest = self.work(&mut busy, turn);
        self.settle(busy, rest, turn)
    }

    /// Whether it waits for that job.
    pub(in crate::reactor) fn awaits(&self, number: u32) -> bool {
        let busy = self.busy.as_deref();
        busy.is_some_and(|busy| {
            busy.machine.number() == number && matches!(busy.pending.stage, Stage::Away | Stage::Pulling)
        })
    }

    /// Its job is back.
    pub(in crate::reactor) fn come_home(&mut self, job: Box<Job>) {
        if let Some(busy) = &mut self.busy {
            busy.pending.come_home(job);
        }
    }

    /// Its handler has room for more of the body.
    pub(in crate::reactor) fn has_room(&mut self) {
        if let Some(busy) = &mut self.busy {
            busy.pending.is_stalled = false;
        }
    }

    /// A permit came home. Returns whether it has waited for one.
    pub(in crate::reactor) fn takes_permit(&mut self) -> bool {
        let Some(busy) = &mut self.busy else { return false };
        let was_hungry = busy.pending.stage == Stage::Hungry;
        if was_hungry {
            busy.pending.stage = Stage::Sending;
        }
        was_hungry
    }

    /// Whether its exchange has deadlines besides its own.
    pub(super) fn has_deadlines(&self) -> bool {
        self.busy.as_deref().is_some_and(|busy| busy.pending.has_deadlines())
    }

    /// Whether it waits for others: a worker, room in a pipe, a permit.
    pub(super) fn waits_for_others(&self) -> bool {
        let busy = self.busy.as_deref();
        busy.is_some_and(|busy| busy.pending.is_away())
    }

    pub(super) fn reply_to(&self, busy: &Busy, turn: &Turn<'_, S>) -> ReplyTo {
        let (slot, generation) = turn.here;
        ReplyTo { reactor: turn.dispatch.reactor(), slot, generation, number: busy.machine.number() }
    }
}

/// How long the answer, or the next piece of it, may take.
pub(super) fn answer_ms_max<S: Stream>(job: &Job, turn: &Turn<'_, S>) -> Option<u32> {
    let own = job.route.as_ref().and_then(|route| route.terms().request_ms_max);
    own.unwrap_or(turn.dispatch.request_ms_max())
}

/// The buffer goes with the job; what came behind the head stays, in the buffer that the job had.
pub(super) fn move_head(busy: &mut Busy, job: &mut Job, head_len: usize) {
    std::mem::swap(&mut busy.input, &mut job.head);
    let behind = &job.head.unread()[head_len..];
    busy.input.room()[..behind.len()].copy_from_slice(behind);
    busy.input.received(behind.len());
    job.head.truncate(head_len);
}
