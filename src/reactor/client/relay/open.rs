//! A request is taken over: written anew from what was understood, never as it came.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::busy::Busy;
use super::Client;
use crate::base::clock::Tick;
use crate::config::site::{HostRule, PathRule, Proxy};
use crate::gateway::Exchange;
use crate::gateway::access_log::Phases;
use crate::gateway::route::Params;
use crate::gateway::site::{Site, key, template};
use crate::http::{Framing, Request};
use crate::proto::Wait;
use crate::proto::h1::ask::{self, Ask, Forwarded};
use crate::reactor::pending::Stage as PendingStage;
use crate::reactor::relay::Relay;
use crate::reactor::stream::Stream;
use crate::reactor::turn::Turn;

impl<S: Stream> Client<S> {
    /// A head has come that the route of that number passes on. Takes the head out of the input.
    #[inline(never)]
    pub(in crate::reactor::client) fn pass_on(
        &mut self,
        route: usize,
        params: Params,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) {
        let epoch = Arc::clone(turn.epoch);
        let Some(site) = epoch.gateway(self.entrance).site() else { return };
        let Some(proxy) = site.routes()[route].pass() else { return };
        busy.write_due_line(turn);
        let arrived = self.arrival_us(busy, turn);
        let pending = &mut busy.pending;
        pending.keep = busy.machine.number() + 1 < turn.limits.requests_max;
        pending.method = Some(turn.index.method);
        pending.began_ns = turn.clock.now_ns();
        pending.notes.copy_from(turn.notes);
        self.keep_note(busy, turn);

        if turn.access.is_some() {
            let arrival = &*turn.arrival;
            let way = busy.pending.note.way_mut();
            way.client = arrival.client.filter(|_| arrival.is_trusted);
            way.route.push_str(site.routes()[route].name());
            way.phases = Some(arrived);
        }

        let mut relay = turn.lines.lend_relay();
        let request = Request::new(turn.index, busy.input.unread());
        let asks_upgrade = proxy.upgrades && ask::wants_switch(&request);
        relay.open(request.method(), asks_upgrade);
        relay.entrance = self.entrance;
        relay.route = route;
        relay.cluster = proxy.upstream;
        relay.room = site.routes()[route].body_bytes_max().unwrap_or(u64::MAX);
        relay.awaits_continue = turn.index.expects_continue;
        self.set_dues(&mut relay, site, turn);
        let exchange = Exchange::new(request, turn.notes).arrived(turn.arrival).with_params(params);
        relay.key = key::of_balance(&site.clusters()[proxy.upstream].spec.balance, &exchange);
        write_head(&mut relay, proxy, asks_upgrade, &exchange);

        turn.lines.chooser.note_request(&site.clusters()[relay.cluster], super::now_ms(turn));
        busy.machine.tell_trailers();
        busy.input.consume(usize::from(turn.index.head_len));
        relay.epoch = Some(Arc::clone(&epoch));
        busy.pending.epoch = Some(epoch);
        busy.pending.stage = PendingStage::Relaying;
        busy.pending.relay = Some(relay);
    }

    /// How long the head took to come, as far as deadlines remember it.
    fn arrival_us(&self, busy: &Busy, turn: &Turn<'_, S>) -> Phases {
        let span_ms = turn.limits.head_ms_max;
        let left = self.deadline.since(turn.clock.now()) * Tick::MS;
        let waited_us = u64::from(span_ms.saturating_sub(left)) * 1_000;
        match (self.wait, busy.machine.number()) {
            (Wait::Head, 0) => Phases { accept_us: waited_us, ..Phases::default() },
            (Wait::Head, _) => Phases { head_us: waited_us, ..Phases::default() },
            _ => Phases::default(),
        }
    }

    fn set_dues(&self, relay: &mut Relay, site: &Site, turn: &Turn<'_, S>) {
        let timeouts = &site.clusters()[relay.cluster].spec.timeouts;
        relay.head_ms_max = timeouts.request_ms_max;
        if turn.index.framing == Framing::None {
            relay.dues.head = Some(turn.clock.after_ms(timeouts.request_ms_max));
        }
        relay.dues.total = timeouts.total_ms_max.map(|ms| turn.clock.after_ms(ms));
        relay.dues.ask = relay.awaits_continue.then(|| turn.clock.after_ms(CONTINUE_MS_MAX));
    }
}

/// How long a server may take to ask for a body before that is done in its place: some never do, and their
/// clients wait (RFC 9110 section 10.1.1).
const CONTINUE_MS_MAX: u32 = 1_000;

fn write_head(relay: &mut Relay, proxy: &Proxy, asks_upgrade: bool, exchange: &Exchange<'_>) {
    let request = exchange.request();
    let host = match &proxy.host {
        HostRule::Keep => request.host(),
        HostRule::Server => b"",
        HostRule::Set(host) => host.as_bytes(),
    };
    // Also where an old client names none.
    relay.names_server = host.is_empty();
    let framing = request.framing();
    let arrival = exchange.arrival();
    let edits = exchange.notes().upstream();
    let ask = Ask {
        request,
        method: request.method_token(),
        target: &target(&proxy.path, exchange),
        host,
        framing,
        forwarded: Forwarded {
            client: arrival.peer,
            keeps: arrival.is_trusted,
            proto: "http",
            host: request.host(),
        },
        added: edits.lines(),
        upgrade: asks_upgrade,
        expects_continue: relay.awaits_continue,
    };
    let out = relay.upload.begin(framing == Framing::Chunked, framing == Framing::None);
    ask::write(out, &ask, |name| edits.takes(name));
}

/// What is asked for: the path as it was understood, decoded once and without dot segments, so that the
/// server sees what the route was chosen by.
fn target<'a>(rule: &PathRule, exchange: &Exchange<'a>) -> Cow<'a, [u8]> {
    let request = exchange.request();
    let mut target = Vec::new();
    match rule {
        PathRule::Keep => match request.plain_target() {
            Some(target) => return Cow::Borrowed(target),
            None => ask::push_path(&mut target, request.path_bytes()),
        },
        PathRule::Strip(prefix) => {
            let rest = request.path().strip_prefix(prefix.trim_end_matches('/')).unwrap_or(request.path());
            if !rest.starts_with('/') {
                target.push(b'/');
            }
            ask::push_path(&mut target, rest.as_bytes());
        }
        PathRule::Rewrite(to) => {
            target = template::render(to, exchange);
            if target.contains(&b'?') {
                return Cow::Owned(target);
            }
        }
    }
    if !request.query().is_empty() {
        target.push(b'?');
        target.extend_from_slice(request.query());
    }
    Cow::Owned(target)
}
