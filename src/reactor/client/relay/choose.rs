//! A server is chosen, and a line to it: one that stands already, or a new one.

use std::io;

use super::super::busy::Busy;
use super::super::deferred::Stand;
use super::{Client, now_ms, tell_news};
use crate::gateway::site::Site;
use crate::gateway::upstream::{Ask, Nobody};
use crate::reactor::relay::{Relay, Stage, Trouble};
use crate::reactor::stream::Stream;
use crate::reactor::turn::Turn;

impl<S: Stream> Client<S> {
    pub(super) fn choose(
        &mut self,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) -> Stand {
        let cluster = &site.clusters()[relay.cluster];
        let ask = Ask { key: relay.key, tried: &relay.tried, now_ms: now_ms(turn) };
        let choice = turn.lines.chooser.choose(cluster, &ask);
        tell_news(turn);
        let member = match choice {
            Ok(member) => member,
            Err(Nobody::AllFull) => return self.queue(relay, site, busy, turn),
            Err(Nobody::AllOut | Nobody::AllTried) => {
                return self.fail(relay.trouble.unwrap_or(Trouble::NoServer), relay, site, busy, turn);
            }
        };
        let endpoint = &cluster.members[member].endpoint;
        turn.lines.chooser.began(cluster, member);
        endpoint.tallies.of(turn.lines.reactor).begun.add(1);
        relay.member = member;
        relay.is_counted = true;
        relay.asked += 1;
        relay.phases.chosen_ns = turn.clock.now_ns();
        if relay.names_server {
            relay.upload.set_host(endpoint.name.as_bytes());
        }
        if let Some(line) = turn.lines.pick_idle(endpoint, turn.here) {
            relay.line = Some(line);
            relay.is_reused = true;
            relay.stage = Stage::Asking;
            self.renew_step_due(relay, site, turn);
            return self.converse(relay, site, busy, turn);
        }
        relay.is_reused = false;
        match turn.lines.dial(endpoint, turn.here) {
            Ok(line) => {
                relay.line = Some(line);
                relay.stage = Stage::Connecting;
                relay.dues.step = Some(turn.clock.after_ms(cluster.spec.timeouts.connect_ms_max));
                self.see_connection(relay, site, busy, turn)
            }
            Err(error) => self.stumble(trouble_of(&error), relay, site, busy, turn),
        }
    }

    /// Whether the connection stands by now.
    pub(super) fn see_connection(
        &mut self,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) -> Stand {
        let stands =
            relay.line.and_then(|name| turn.lines.line(name)).map_or(Ok(false), |line| line.stands());
        match stands {
            Ok(false) => Stand::Waits,
            Ok(true) => {
                relay.phases.connected_ns = turn.clock.now_ns();
                relay.stage = Stage::Asking;
                self.renew_step_due(relay, site, turn);
                self.converse(relay, site, busy, turn)
            }
            Err(error) => self.stumble(trouble_of(&error), relay, site, busy, turn),
        }
    }

    /// As many connections as may be are in use: it waits for one.
    fn queue(&mut self, relay: &mut Relay, site: &Site, busy: &mut Busy, turn: &mut Turn<'_, S>) -> Stand {
        let cluster = &site.clusters()[relay.cluster];
        let spec = &cluster.spec;
        if !turn.lines.wait_at(&spec.name, turn.here) {
            return self.fail(Trouble::QueueFull, relay, site, busy, turn);
        }
        cluster.tallies.of(turn.lines.reactor).queued.add(1);
        relay.stage = Stage::Queued;
        if relay.dues.queue.is_none() {
            relay.dues.queue = Some(turn.clock.after_ms(spec.queue_ms_max));
        }
        Stand::Waits
    }

    /// A connection has come free. Tells whether it has waited for one.
    pub(in crate::reactor) fn may_choose_again(&mut self) -> bool {
        if let Some(relay) = self.busy.as_mut().and_then(|busy| busy.pending.relay.as_mut())
            && relay.stage == Stage::Queued
        {
            relay.stage = Stage::Choosing;
            relay.waits = false;
            return true;
        }
        false
    }
}

/// Who is to blame for a connection that cannot be made.
fn trouble_of(error: &io::Error) -> Trouble {
    match error.raw_os_error() {
        Some(
            libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
            | libc::EADDRNOTAVAIL
            | libc::EADDRINUSE
            | libc::ENOSPC,
        ) => Trouble::NoMeans,
        Some(libc::ETIMEDOUT) => Trouble::ConnectTimeout,
        _ => Trouble::Unreachable,
    }
}
