//! Answers whose body is made as it is sent: one piece after the other, where the handler ran.
//!
//! Promises: a piece is asked for when there is room for it; a body that breaks off, lies about its length or
//! panics costs its own connection only, and is never taken for whole.
//! Not here: how the answer's head came about, see `deferred`.

use std::sync::Arc;

use super::busy::Busy;
use super::deferred::{Stand, answer_ms_max, move_head};
use super::serve::{tell_of_panic, tell_of_panic_in};
use super::{Client, Life};
use crate::base::guarded::guarded;
use crate::gateway::handler::Place;
use crate::http::{Body, Piece, Response, Status};
use crate::reactor::dispatch::{Refusal, drop_guarded};
use crate::reactor::pending::Stage;
use crate::reactor::stream::Stream;
use crate::reactor::turn::{CloseReason, Turn};
use crate::worker::{Errand, RequestName};

impl<S: Stream> Client<S> {
    /// A handler has answered at the head, with a body that is made as it is sent. Takes the head out of the
    /// input.
    #[cold]
    #[inline(never)]
    pub(super) fn answer_with_source(&mut self, response: Response, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        let head_len = usize::from(turn.index.head_len);
        let pending = &mut busy.pending;
        pending.keep = busy.machine.number() + 1 < turn.limits.requests_max;
        pending.method = Some(turn.index.method);
        pending.began_ns = turn.clock.now_ns();
        self.keep_note(busy, turn);
        let Some(mut job) = turn.dispatch.lend() else {
            if let Body::Source(source) = response.body {
                drop_guarded(source);
            }
            // The handler's answer has left the middleware; this one has not.
            busy.pending.notes.copy_from(turn.notes);
            busy.input.consume(head_len);
            return self.refuse_request(Refusal::NoBuffer, busy, turn);
        };
        job.index.copy_from(turn.index);
        move_head(busy, &mut job, head_len);
        job.to = self.reply_to(busy, turn);
        job.notes.copy_from(turn.notes);
        job.errand = Errand::Answered(response);
        busy.pending.come_home(job);
    }

    /// Asks a body how long it will be. One that panics over it was its handler's answer, so that is 500.
    pub(super) fn measured(&self, response: Response, busy: &mut Busy, turn: &Turn<'_, S>) -> Response {
        let Body::Source(source) = &response.body else { return response };
        if let Some(announced) = guarded(|| source.0.len()) {
            busy.pending.announced = announced;
            return response;
        }
        let to = self.reply_to(busy, turn);
        if let (Some(job), Body::Source(source)) = (&mut busy.pending.job, response.body) {
            let id = RequestName { given: busy.pending.notes.request_id(), to };
            tell_of_panic(&job.request(), id, "answered 500", turn.tally, turn.log);
            // Goes with the job to where it is dropped.
            job.errand = Errand::Pull(source);
        }
        Response::plain(Status::INTERNAL_SERVER_ERROR)
    }

    /// Asks for the next piece of the answer, where its handler ran.
    pub(super) fn pull(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) -> Stand {
        let Some(mut job) = busy.pending.job.take() else { return Stand::Broken };
        let place = job.route.as_ref().map_or(Place::Reactor, |route| route.place());
        if place == Place::Reactor {
            job.run();
            tell_of_panic_in(&job, turn.tally, turn.log);
            busy.pending.come_home(job);
            return Stand::Moved;
        }
        job.to = self.reply_to(busy, turn);
        let ticket = Arc::clone(&job.ticket);
        let ms_max = answer_ms_max(&job, turn);
        match turn.dispatch.fetch(job, turn.clock.now_ns()) {
            Ok(()) => {
                busy.pending.stage = Stage::Pulling;
                busy.pending.ticket = Some(ticket);
            }
            Err(job) => {
                busy.pending.stage = Stage::Hungry;
                busy.pending.job = Some(job);
            }
        }
        busy.pending.withdraw_at = None;
        busy.pending.due = ms_max.map(|ms| turn.clock.after_ms(ms));
        Stand::Waits
    }

    pub(super) fn take_piece(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) -> Stand {
        let errand = busy.pending.job.as_mut().map(|job| std::mem::take(&mut job.errand));
        let Some(Errand::Pulled(piece, source)) = errand else { return Stand::Broken };
        if let (Some(source), Some(job)) = (source, &mut busy.pending.job) {
            job.errand = Errand::Pull(source);
        }
        busy.pending.stage = Stage::Sending;
        let is_right = |sent: u64| busy.pending.announced.is_none_or(|announced| sent <= announced);
        match piece {
            Piece::Bytes(bytes) if is_right(busy.pending.sent + bytes.len() as u64) => {
                busy.pending.sent += bytes.len() as u64;
                busy.machine.more_owned(bytes, &mut busy.output);
                self.end_if_whole(busy, turn);
                Stand::Moved
            }
            Piece::End if busy.pending.announced.is_none() => {
                self.end(busy, turn);
                Stand::Moved
            }
            Piece::Bytes(_) | Piece::End | Piece::Broken => Stand::Broken,
        }
    }

    /// What was announced is the answer, and the client has it. To ask the source for its end too would cost
    /// a worker's time, and an answer that is whole could still be overdue.
    pub(super) fn end_if_whole(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        if busy.pending.announced == Some(busy.pending.sent) {
            self.end(busy, turn);
        }
    }

    fn end(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        busy.machine.finish(&mut busy.output);
        self.conclude(busy, turn);
    }

    /// The answer broke off. The client sees by the framing that it is not whole.
    pub(super) fn break_off(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        busy.pending.abandon(turn);
        self.stream.reset_on_close();
        self.life = Life::Ending(CloseReason::Truncated);
    }
}
