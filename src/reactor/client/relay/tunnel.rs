//! Another protocol than HTTP, as WebSocket: bytes go both ways as they are, until one side is done.

use super::super::Life;
use super::super::busy::{Busy, Share};
use super::super::deferred::Stand;
use super::super::transfer::Filled;
use super::answer::latency_us;
use super::{Client, end_try, note_way};
use crate::gateway::site::Site;
use crate::gateway::upstream::Outcome;
use crate::http::{Body, Fields, Response, Status};
use crate::proto::h1::answer::relay_fields;
use crate::reactor::relay::{Relay, Stage};
use crate::reactor::stream::Stream;
use crate::reactor::turn::{CloseReason, Turn};

impl<S: Stream> Client<S> {
    /// The server has agreed to speak what the client asked for.
    #[cold]
    pub(super) fn open_tunnel(
        &mut self,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) {
        let Some(input) = &mut relay.input else { return };
        let mut lines = std::mem::take(&mut relay.fields);
        lines.clear();
        relay_fields(&turn.lines.index, input.unread(), &mut lines, |_| false);
        input.consume(usize::from(turn.lines.index.head_len));
        let status = Status::SWITCHING_PROTOCOLS;
        let mut response = Response { status, fields: Fields::of_lines(lines), body: Body::Empty };
        self.finish_by_gateway(busy, &mut response, turn);
        let lines = response.fields.into_lines();
        busy.machine.switch(b"websocket", &lines, &mut busy.output);
        relay.fields = lines;
        busy.pending.status = Some(status);
        if let Some(method) = busy.pending.method {
            turn.tally.answers.add(method as usize, status.code(), 1);
        }
        site.clusters()[relay.cluster].tallies.of(turn.lines.reactor).tunnels.add(1);
        relay.upload.forget();
        relay.stage = Stage::Tunnel;
        relay.dues.head = None;
        relay.dues.total = None;
        // A tunnel has a deadline of its own.
        relay.dues.total = None;
        relay.dues.gone = None;
        relay.phases.first_byte_ns = turn.clock.now_ns();
        self.renew_step_due(relay, site, turn);
    }

    /// Moves what can be moved either way.
    pub(super) fn tunnel(
        &mut self,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
        share: &mut Share,
    ) -> Stand {
        let Ok(up) = self.tunnel_up(relay, site, busy, turn, share) else {
            return self.collapse(relay, site, turn);
        };
        let Ok(down) = self.tunnel_down(relay, site, busy, turn) else {
            return self.collapse(relay, site, turn);
        };
        if relay.has_ended_upstream {
            // What it said last goes out, then the client hears the end too.
            let outcome = Outcome::Success { latency_us: latency_us(relay, turn.clock.now_ns()) };
            end_try(relay, site, outcome, turn);
            relay.stage = Stage::Over;
            note_way(relay, site, &mut busy.pending, turn);
            self.conclude(busy, turn);
            self.life = Life::Ending(CloseReason::Finished);
            return Stand::Waits;
        }
        if up || down { Stand::Moved } else { Stand::Waits }
    }

    fn tunnel_up(
        &mut self,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
        share: &mut Share,
    ) -> Result<bool, ()> {
        let mut has_moved = false;
        if relay.upload.has_room() {
            if busy.input.is_empty() && share.bytes > 0 {
                match self.fill(busy, turn, share).map_err(drop)? {
                    // Interrupted, it may have read nothing, and the edge stands.
                    Filled::Bytes => has_moved = true,
                    Filled::Nothing => {}
                    Filled::End => {
                        relay.has_client_ended = true;
                        self.renew_step_due(relay, site, turn);
                    }
                }
            }
            if !busy.input.is_empty() {
                relay.upload.raw(busy.input.unread());
                busy.input.clear();
                has_moved = true;
            }
        }
        has_moved |= self.send_upload(relay, site, turn);
        if relay.has_client_ended && relay.upload.unsent().is_empty() && !relay.has_said_end {
            relay.has_said_end = true;
            if let Some(line) = relay.line.and_then(|name| turn.lines.line(name)) {
                line.close_write();
            }
        }
        if share.bytes == 0 && self.readiness.is_readable() {
            // More is there, and others have their turn first.
            share.steps = 0;
            return Ok(true);
        }
        Ok(has_moved)
    }

    fn tunnel_down(
        &mut self,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) -> Result<bool, ()> {
        if busy.output.queued() > u64::from(turn.limits.output_bytes_high) {
            return Ok(false);
        }
        let has_bytes = relay.input.as_ref().is_some_and(|input| !input.is_empty());
        if !has_bytes {
            let has_news =
                relay.line.and_then(|name| turn.lines.line(name)).is_some_and(|line| line.has_news());
            if !has_news {
                return Ok(false);
            }
            if relay.input.is_none() {
                relay.input = Some(turn.lines.lend_buffer());
            }
            match self.read_line(relay, turn).map_err(drop)? {
                Some(0) => relay.has_ended_upstream = true,
                Some(_) => self.renew_step_due(relay, site, turn),
                None => {}
            }
        }
        let Some(input) = relay.input.as_mut().filter(|input| !input.is_empty()) else { return Ok(false) };
        busy.output.copy(input.unread());
        busy.pending.sent += input.unread().len() as u64;
        input.clear();
        Ok(true)
    }

    /// One of the two connections broke.
    fn collapse(&mut self, relay: &mut Relay, site: &Site, turn: &mut Turn<'_, S>) -> Stand {
        end_try(relay, site, Outcome::Abandoned, turn);
        relay.stage = Stage::Over;
        Stand::Broken
    }
}
