//! Deadlines of an exchange that is passed on.

use super::super::busy::Busy;
use super::{Client, end_try};
use crate::base::clock::Tick;
use crate::gateway::site::Site;
use crate::gateway::upstream::{FailureKind, Outcome};
use crate::reactor::relay::{Relay, Stage, Trouble};
use crate::reactor::stream::Stream;
use crate::reactor::turn::{CloseReason, Step, Turn};

/// What a deadline that has passed means.
enum Verdict {
    /// Nothing: another look later.
    Goes,
    /// It is to be looked at now.
    Moves,
    /// The client has heard the beginning of an answer and will not hear its end.
    Cut,
    /// The client is gone, or has been silent in a tunnel.
    Ends(CloseReason),
}

impl<S: Stream> Client<S> {
    /// A deadline has passed. `None`: it was none of these.
    pub(in crate::reactor::client) fn expire_relay(&mut self, turn: &mut Turn<'_, S>) -> Option<Step> {
        let mut busy = self.busy.take()?;
        let verdict = self.judge(&mut busy, turn);
        let step = match verdict {
            Verdict::Goes => {
                self.busy = Some(busy);
                return None;
            }
            Verdict::Moves => {
                if busy.input.is_taken() {
                    busy.input = turn.lines.unshelve();
                }
                let rest = self.work(&mut busy, turn);
                return Some(self.settle(busy, rest, turn));
            }
            Verdict::Cut => {
                turn.tally.overdue.add(1);
                self.stream.reset_on_close();
                Step::Close(CloseReason::Truncated)
            }
            Verdict::Ends(reason) => Step::Close(reason),
        };
        self.busy = Some(busy);
        Some(step)
    }

    fn judge(&mut self, busy: &mut Busy, turn: &mut Turn<'_, S>) -> Verdict {
        let Some(mut relay) = busy.pending.relay.take() else { return Verdict::Goes };
        let Some(epoch) = relay.epoch.take() else { return Verdict::Goes };
        let verdict = match epoch.gateway(self.entrance).site() {
            Some(site) => self.judge_relay(&mut relay, site, busy, turn),
            None => Verdict::Goes,
        };
        relay.epoch = Some(epoch);
        match relay.stage {
            Stage::Over => super::let_go(relay, turn),
            _ => busy.pending.relay = Some(relay),
        }
        verdict
    }

    fn judge_relay(
        &mut self,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) -> Verdict {
        let now = turn.clock.now();
        let has_passed = |moment: Option<Tick>| moment.is_some_and(|moment| now.has_reached(moment));
        if relay.waits && has_passed(relay.dues.gone) {
            return Verdict::Ends(CloseReason::PeerClosed);
        }
        if has_passed(relay.dues.total) || relay.waits && has_passed(relay.dues.head) {
            if relay.is_answering() {
                return Verdict::Cut;
            }
            turn.tally.overdue.add(1);
            let trouble = self.blame_for_delay(relay, site, turn);
            self.fail(trouble, relay, site, busy, turn);
            return Verdict::Moves;
        }
        if !relay.waits {
            // It is the client that is waited for now.
            return Verdict::Goes;
        }
        if has_passed(relay.dues.ask) {
            relay.dues.ask = None;
            busy.machine.ask_for_body(&mut busy.output);
            return Verdict::Moves;
        }
        if has_passed(relay.dues.queue) && relay.stage == Stage::Queued {
            self.fail(Trouble::QueueTimeout, relay, site, busy, turn);
            return Verdict::Moves;
        }
        if let Stage::Resting(until) = relay.stage
            && now.has_reached(until)
        {
            return Verdict::Moves;
        }
        if !has_passed(relay.dues.step) {
            return Verdict::Goes;
        }
        relay.dues.step = None;
        match relay.stage {
            Stage::Connecting => self.stumble(Trouble::ConnectTimeout, relay, site, busy, turn),
            Stage::Asking => self.stumble(Trouble::Silent, relay, site, busy, turn),
            Stage::Answering => {
                end_try(relay, site, Outcome::Failure(FailureKind::Silent), turn);
                return Verdict::Cut;
            }
            Stage::Tunnel => return Verdict::Ends(CloseReason::Finished),
            Stage::Choosing | Stage::Resting(_) | Stage::Queued | Stage::Over => return Verdict::Goes,
        };
        Verdict::Moves
    }

    /// The request's time is up, whatever it was at.
    fn blame_for_delay(&self, relay: &mut Relay, site: &Site, turn: &mut Turn<'_, S>) -> Trouble {
        match relay.stage {
            Stage::Connecting => {
                end_try(relay, site, Outcome::Failure(FailureKind::ConnectTimeout), turn);
                Trouble::ConnectTimeout
            }
            Stage::Asking => {
                // Without a deadline for the server, it was the client that was waited for.
                let outcome = match relay.dues.step {
                    Some(_) => Outcome::Failure(FailureKind::Silent),
                    None => Outcome::Abandoned,
                };
                end_try(relay, site, outcome, turn);
                Trouble::Silent
            }
            _ => relay.trouble.unwrap_or(Trouble::Silent),
        }
    }
}
