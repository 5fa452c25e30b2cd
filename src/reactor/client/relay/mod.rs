//! Requests that are passed on to a server, and its answers on their way back.
//!
//! One step at a time, driven as everything else is: [`open`](Client::pass_on) writes the request anew,
//! [`choose`](Client) finds it a line, `upload` and `answer` move what either side says, [`retry`](Client)
//! decides what becomes of a try that failed. A tunnel moves bytes of another protocol.
//!
//! Promises: the client gets one answer, whatever the servers do; what is read of one side and not taken by
//! the other is bounded, so a slow reader slows its writer down; a line goes back to the others only after a
//! whole exchange with nothing behind it.
//! Not here: the state (`reactor::relay`), lines (`reactor::lines`), decisions (`gateway::upstream`).

mod answer;
mod choose;
mod expire;
#[cfg(test)]
mod look;
mod open;
mod retry;
mod tunnel;

use super::Client;
use super::busy::{Busy, Share};
use super::deferred::Stand;
use crate::gateway::site::Site;
use crate::gateway::upstream::{Change, Endpoint, Outcome};
use crate::http::{Response, Status};
use crate::observe::log::Level;
use crate::proto::h1::encode::trailer_name;
use crate::reactor::pending::Pending;
use crate::reactor::relay::{Relay, Stage, Trouble};
use crate::reactor::stream::Stream;
use crate::reactor::turn::Turn;

/// Steps that one of a relay counts as: it may read and pass on a whole buffer.
const STEP_COST: u32 = 8;
/// How long a client that has said that it will send no more is taken for one that listens.
const LISTENS_MS_MAX: u32 = 4_000;

impl<S: Stream> Client<S> {
    /// Does what can be done for it now.
    pub(super) fn relay(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>, share: &mut Share) -> Stand {
        let Some(mut relay) = busy.pending.relay.take() else { return Stand::Broken };
        // Out of it for as long as the step lasts, so that both can be had at once.
        let Some(epoch) = relay.epoch.take() else { return Stand::Broken };
        share.steps = share.steps.saturating_sub(STEP_COST);
        let was_waiting = relay.waits;
        let stand = match epoch.gateway(self.entrance).site() {
            Some(site) => {
                let stand = self.step(&mut relay, site, busy, turn, share);
                // The time in which the client took nothing is not the server's.
                if !was_waiting && stand == Stand::Waits && relay.is_answering() {
                    self.renew_step_due(&mut relay, site, turn);
                }
                stand
            }
            None => Stand::Broken,
        };
        if relay.stage == Stage::Over {
            let_go(relay, turn);
            return stand;
        }
        relay.epoch = Some(epoch);
        relay.waits = stand != Stand::Moved;
        relay.reads = stand == Stand::Reads;
        if relay.waits {
            self.rest_relay(&mut relay, busy, turn);
        }
        busy.pending.relay = Some(relay);
        stand
    }

    /// A piece of the request's body has come.
    pub(super) fn relay_body(&mut self, count: usize, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        let Some(relay) = &mut busy.pending.relay else { return busy.input.consume(count) };
        if let Some(room) = relay.room.checked_sub(count as u64) {
            relay.room = room;
            relay.upload.body(&busy.input.unread()[..count]);
            return busy.input.consume(count);
        }
        busy.input.consume(count);
        let (is_answering, route) = (relay.is_answering(), relay.route);
        busy.pending.relay.take().into_iter().for_each(|relay| let_go(relay, turn));
        self.note_body_refused(route, busy);
        if is_answering {
            self.break_off(busy, turn);
        } else {
            self.answer_deferred(Response::plain(Status::CONTENT_TOO_LARGE), busy, turn);
        }
    }

    /// Its route takes no body of that size: counted and logged as where its length tells so at once.
    #[cold]
    fn note_body_refused(&self, route: usize, busy: &mut Busy) {
        let Some(site) = busy.pending.epoch.as_ref().and_then(|epoch| epoch.gateway(self.entrance).site())
        else {
            return;
        };
        let Some((last, others)) = site.routes()[route].series().refusers.split_last() else { return };
        busy.pending.notes.set_refuser(others.len());
        busy.pending.note.way_mut().refused_by.push_str(last);
    }

    /// A trailer line of the request has come. What the gateway says itself, or takes out, is not to come in
    /// by the back door.
    pub(super) fn relay_trailer(count: usize, busy: &mut Busy) {
        let line = &busy.input.unread()[..count];
        if let Some(relay) = &mut busy.pending.relay
            && !busy.pending.notes.upstream().takes(trailer_name(line))
        {
            relay.upload.trailer(line);
        }
        busy.input.consume(count);
    }

    fn step(
        &mut self,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
        share: &mut Share,
    ) -> Stand {
        match relay.stage {
            Stage::Choosing => self.choose(relay, site, busy, turn),
            Stage::Resting(until) if turn.clock.now().has_reached(until) => {
                relay.stage = Stage::Choosing;
                Stand::Moved
            }
            Stage::Resting(_) | Stage::Queued => Stand::Waits,
            Stage::Connecting => self.see_connection(relay, site, busy, turn),
            Stage::Asking | Stage::Answering => self.converse(relay, site, busy, turn),
            Stage::Tunnel => self.tunnel(relay, site, busy, turn, share),
            Stage::Over => Stand::Broken,
        }
    }

    /// Moves what can be moved in both directions.
    fn converse(&mut self, relay: &mut Relay, site: &Site, busy: &mut Busy, turn: &mut Turn<'_, S>) -> Stand {
        let has_sent = self.send_upload(relay, site, turn);
        match self.hear(relay, site, busy, turn) {
            Ok(true) => Stand::Moved,
            // All of it is out, and the server has not answered since.
            Ok(false) if has_sent && relay.upload.is_out() => Stand::Waits,
            Ok(false) if has_sent => Stand::Moved,
            Ok(false) if !busy.machine.has_whole_request() && relay.upload.has_room() => {
                // Both wait for the client, who has a deadline of its own: the server is not silent.
                if relay.upload.unsent().is_empty() {
                    relay.dues.step = None;
                }
                Stand::Reads
            }
            Ok(false) => Stand::Waits,
            Err(trouble) => self.stumble(trouble, relay, site, busy, turn),
        }
    }

    /// Sends what there is room for. Tells whether anything went out.
    fn send_upload(&mut self, relay: &mut Relay, site: &Site, turn: &mut Turn<'_, S>) -> bool {
        if relay.upload.unsent().is_empty() {
            // The end of a body of known length adds no bytes, and it is the server's turn all the same.
            if relay.upload.is_out() && relay.phases.sent_ns == 0 {
                self.renew_step_due(relay, site, turn);
            }
            return false;
        }
        let Some(line) = relay.line.and_then(|name| turn.lines.line(name)) else { return false };
        match line.write(relay.upload.unsent()) {
            Ok(0) => false,
            Ok(count) => {
                relay.upload.sent(count);
                self.renew_step_due(relay, site, turn);
                true
            }
            // What it had said before it broke may still be read, a refusal of the body for example; the
            // reading tells.
            Err(_) => {
                relay.upload.break_off();
                false
            }
        }
    }

    /// Something moved, or was asked for: what is waited for next has a span of its own.
    fn renew_step_due(&self, relay: &mut Relay, site: &Site, turn: &Turn<'_, S>) {
        let timeouts = &site.clusters()[relay.cluster].spec.timeouts;
        let ms = match relay.stage {
            Stage::Tunnel if self.readiness.is_ending() => LISTENS_MS_MAX.min(timeouts.tunnel_ms_max),
            Stage::Tunnel => timeouts.tunnel_ms_max,
            Stage::Asking if relay.upload.is_out() => {
                relay.phases.sent_ns = turn.clock.now_ns();
                timeouts.first_byte_ms_max
            }
            _ => timeouts.idle_ms_max,
        };
        relay.dues.step = Some(turn.clock.after_ms(ms));
    }

    /// It waits: what it does not need meanwhile goes back, and a client that goes is noticed.
    fn rest_relay(&mut self, relay: &mut Relay, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        if let Some(input) = relay.input.take_if(|input| input.is_empty()) {
            turn.lines.take_back_buffer(input);
        }
        // Thousands may wait for a slow server, and what they said went out long ago.
        if busy.input.is_empty() && !busy.input.is_taken() && busy.machine.has_whole_request() {
            turn.lines.shelve(busy.input.take());
        }
        let is_leaving = self.readiness.is_ending() && busy.machine.has_whole_request();
        if is_leaving && !relay.is_answering() && relay.dues.gone.is_none() {
            relay.dues.gone = Some(turn.clock.after_ms(LISTENS_MS_MAX));
        }
    }
}

/// What the access log tells of it, when it ends before its time.
#[cold]
pub(in crate::reactor) fn note_way_so_far<S: Stream>(
    relay: &Relay,
    pending: &mut Pending,
    turn: &Turn<'_, S>,
) {
    if let Some(site) = relay.epoch.as_ref().and_then(|epoch| epoch.gateway(relay.entrance).site()) {
        note_way(relay, site, pending, turn);
    }
}

/// What the access log tells of it, when it ends.
fn note_way<S: Stream>(relay: &Relay, site: &Site, pending: &mut Pending, turn: &Turn<'_, S>) {
    if turn.access.is_none() {
        return;
    }
    let cluster = &site.clusters()[relay.cluster];
    let trouble = pending.trouble.map_or("", Trouble::label);
    let began_ns = pending.began_ns;
    let way = pending.note.way_mut();
    way.upstream.clear();
    way.upstream.push_str(&cluster.spec.name);
    way.server.clear();
    if relay.phases.chosen_ns > 0
        && let Some(member) = cluster.members.get(relay.member)
    {
        way.server.push_str(&member.endpoint.label);
    }
    way.tries = relay.asked;
    way.trouble = trouble;
    way.fallback = relay.cause.map_or("", Trouble::label);
    if let Some(phases) = &mut way.phases {
        relay.phases.tell(relay.is_reused, began_ns, turn.clock.precise_ns(), phases);
    }
}

/// Whatever it was at, it is over: what was lent to it goes back.
pub(in crate::reactor) fn let_go<S: Stream>(mut relay: Box<Relay>, turn: &mut Turn<'_, S>) {
    if let Some(epoch) = relay.epoch.take()
        && let Some(site) = epoch.gateway(relay.entrance).site()
    {
        end_try(&mut relay, site, Outcome::Abandoned, turn);
        if relay.stage == Stage::Choosing {
            // It was woken for a connection that is free, and goes without it.
            turn.lines.wake_waiting(&site.clusters()[relay.cluster].spec.name);
        }
    }
    debug_assert!(!relay.is_counted && relay.line.is_none(), "who ends it says how it went");
    if let Some(input) = relay.input.take() {
        turn.lines.take_back_buffer(input);
    }
    relay.stage = Stage::Over;
    turn.lines.take_back_relay(relay);
}

/// The server is not asked any more: the chooser is told how it went, once, and a line that did not go to
/// rest is not used again.
fn end_try<S: Stream>(relay: &mut Relay, site: &Site, outcome: Outcome, turn: &mut Turn<'_, S>) {
    if let Some(line) = relay.line.take() {
        turn.lines.hang_up(line);
    }
    if !std::mem::take(&mut relay.is_counted) {
        return;
    }
    let cluster = &site.clusters()[relay.cluster];
    let tally = cluster.members[relay.member].endpoint.tallies.of(turn.lines.reactor);
    tally.done.add(1);
    let change = turn.lines.chooser.ended(cluster, relay.member, outcome, now_ms(turn));
    if let Some(change) = change {
        tell_change(&cluster.members[relay.member].endpoint, change, turn);
    }
    tell_news(turn);
    turn.lines.wake_waiting(&cluster.spec.name);
}

/// Tells what else became of servers: that a breaker lets some through, that an ejection is over.
fn tell_news<S: Stream>(turn: &mut Turn<'_, S>) {
    while let Some((endpoint, change)) = turn.lines.chooser.news() {
        tell_change(&endpoint, change, turn);
    }
}

/// What became of a server: whoever is on duty wants to know, and why.
#[cold]
fn tell_change<S: Stream>(server: &Endpoint, change: Change, turn: &Turn<'_, S>) {
    let label = change.label();
    server.tallies.of(turn.lines.reactor).note_change(label);
    // Of a class of its own: a storm of bad answers is not to keep it out of the log.
    let level = match change {
        Change::BreakerOpened(_) | Change::Ejected(..) | Change::FellIll => Level::Warn,
        _ => Level::Info,
    };
    let (name, server) = (&server.upstream, &server.label);
    let why = change.reason().map(|reason| format!(": {}", reason.label())).unwrap_or_default();
    turn.log.event(level, label, format_args!("{server} of {name}{why}"));
}

/// Milliseconds that only ever go up.
fn now_ms<S: Stream>(turn: &Turn<'_, S>) -> u64 {
    turn.clock.now_ns() / 1_000_000
}
