//! What becomes of a try that failed: another, a fallback, or an answer that says what is wrong.

use super::super::busy::Busy;
use super::super::deferred::Stand;
use super::{Client, end_try, note_way, now_ms};
use crate::gateway::site::{Fallback, Site};
use crate::gateway::upstream::{FailureKind, Member, Outcome};
use crate::http::{Response, Status};
use crate::reactor::relay::{Relay, Stage, Trouble};
use crate::reactor::stream::Stream;
use crate::reactor::turn::Turn;

impl<S: Stream> Client<S> {
    /// A try failed.
    #[cold]
    pub(super) fn stumble(
        &mut self,
        trouble: Trouble,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) -> Stand {
        // A line that had been idle may have been closed by the server just when it was used: nobody's fault.
        let is_stale = relay.is_reused && trouble == Trouble::Broken && !relay.reader.has_begun();
        let outcome = match trouble {
            Trouble::NoMeans => Outcome::Abandoned,
            _ if is_stale => Outcome::Abandoned,
            _ => Outcome::Failure(blame(trouble)),
        };
        let cluster = &site.clusters()[relay.cluster];
        let tally = cluster.tallies.of(turn.lines.reactor);
        let server = relay.is_counted.then(|| &cluster.members[relay.member].endpoint);
        if let Some(server) = server.filter(|_| !is_stale) {
            server.tallies.of(turn.lines.reactor).failures[trouble as usize].add(1);
        }
        end_try(relay, site, outcome, turn);
        if let Some(input) = &mut relay.input {
            input.clear();
        }
        if relay.is_answering() {
            // The client sees by the framing that it is not whole.
            relay.stage = Stage::Over;
            return Stand::Broken;
        }
        relay.trouble = Some(trouble);
        let may_again = relay.may_send_again();
        if is_stale && may_again && !relay.was_stale {
            relay.was_stale = true;
            tally.stale.add(1);
            self.again(relay, 0, turn);
            return Stand::Moved;
        }
        relay.tried.extend(server.filter(|_| !is_stale).map(|server| server.id));
        let retries = &cluster.spec.retries;
        // Each server is asked once: who waits for another where there is none only comes too late.
        let is_other = |member: &Member| member.weight > 0 && !relay.tried.contains(&member.endpoint.id);
        let may_again = may_again && relay.tries < retries.count_max && cluster.members.iter().any(is_other);
        let is_in_budget = may_again && turn.lines.chooser.may_retry(cluster, now_ms(turn));
        if !is_in_budget {
            tally.retries_refused.add(u64::from(may_again));
            return self.fail(trouble, relay, site, busy, turn);
        }
        relay.tries += 1;
        tally.retries.add(1);
        // The first goes at once, to another server; the next ones wait, each twice as long.
        let wait_ms = match relay.tries {
            1 => 0,
            tries => retries.backoff_ms.saturating_mul(1 << (tries - 2).min(8)),
        };
        self.again(relay, wait_ms, turn);
        Stand::Moved
    }

    fn again(&self, relay: &mut Relay, wait_ms: u32, turn: &Turn<'_, S>) {
        relay.begin_try();
        relay.stage = match wait_ms {
            0 => Stage::Choosing,
            ms => Stage::Resting(turn.clock.after_ms(ms)),
        };
    }

    /// No try is left, or none was possible.
    #[cold]
    pub(super) fn fail(
        &mut self,
        trouble: Trouble,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) -> Stand {
        end_try(relay, site, Outcome::Abandoned, turn);
        // It may have been woken for a connection that is free, and does not take it.
        turn.lines.wake_waiting(&site.clusters()[relay.cluster].spec.name);
        let fallback = if relay.has_fallen_back { None } else { site.fallback(relay.cluster) };
        relay.has_fallen_back = true;
        if let Some(Fallback::Cluster(number)) = fallback
            && relay.may_send_again()
            && relay.has_time(turn.clock.now())
        {
            note_fallback(trouble, relay, site, turn);
            relay.cluster = *number;
            relay.tried.clear();
            relay.tries = 0;
            relay.cause = Some(trouble);
            self.again(relay, 0, turn);
            return Stand::Moved;
        }
        let mut response = fallback.and_then(Fallback::answer).unwrap_or_else(|| refusal(trouble));
        if fallback.is_some() {
            note_fallback(trouble, relay, site, turn);
            response.fields.push("X-Fallback-Cause", trouble.label());
            relay.cause = Some(trouble);
        }
        relay.stage = Stage::Over;
        busy.pending.trouble = Some(trouble);
        note_way(relay, site, busy, turn);
        self.answer_deferred(response, busy, turn);
        Stand::Moved
    }
}

fn note_fallback<S: Stream>(trouble: Trouble, relay: &Relay, site: &Site, turn: &Turn<'_, S>) {
    let tallies = &site.clusters()[relay.cluster].tallies;
    tallies.of(turn.lines.reactor).fallbacks[trouble as usize].add(1);
}

/// What is held against the server.
fn blame(trouble: Trouble) -> FailureKind {
    match trouble {
        Trouble::ConnectTimeout => FailureKind::ConnectTimeout,
        Trouble::Silent => FailureKind::Silent,
        Trouble::Broken | Trouble::Malformed => FailureKind::Broken,
        _ => FailureKind::Connect,
    }
}

fn refusal(trouble: Trouble) -> Response {
    let status = match trouble {
        Trouble::NoServer | Trouble::NoMeans | Trouble::QueueFull | Trouble::QueueTimeout => {
            return Response::plain(Status::SERVICE_UNAVAILABLE).with("Retry-After", "1");
        }
        Trouble::Unreachable | Trouble::Broken | Trouble::Malformed => Status::BAD_GATEWAY,
        Trouble::ConnectTimeout | Trouble::Silent => Status::GATEWAY_TIMEOUT,
    };
    Response::plain(status)
}
