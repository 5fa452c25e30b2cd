//! The floor's promises, looked at from outside: for simulations.

use super::Floor;
use crate::base::slots::Key;
use crate::reactor::client::Client;
use crate::reactor::stream::Stream;

impl<S: Stream> Floor<S> {
    /// Permits that are out.
    pub(in crate::reactor) fn out(&self) -> u32 {
        self.dispatch.out()
    }

    /// Whether a connection wants a permit.
    pub(in crate::reactor) fn has_hungry(&mut self) -> bool {
        let keys: Vec<_> = self.clients.keys().collect();
        keys.into_iter().any(|key| self.clients.get_mut(key).is_some_and(|client| client.is_hungry()))
    }

    /// Whether a connection waits for that job.
    pub(in crate::reactor) fn is_awaited(&mut self, to: crate::worker::ReplyTo) -> bool {
        let key = Key::from_parts(to.slot, to.generation);
        self.clients.get_mut(key).is_some_and(|client| client.awaits(to.number))
    }

    /// Walks everything and panics if a promise is broken; `is_lost` tells of a parked client whether it
    /// could go on and will not be told.
    pub(in crate::reactor) fn validate(&mut self, is_lost: impl Fn(&Client<S>) -> bool) {
        self.wheel.validate(&mut self.clients);
        let (mut lent, mut armed, mut waiting, mut at_home) = (0, 0, 0, 0);
        let keys: Vec<_> = self.clients.keys().collect();
        for key in keys {
            let Some(client) = self.clients.get_mut(key) else { continue };
            let queues = self.ready.iter().chain(&self.unfinished).chain(&self.thirsty);
            let queues = queues.filter(|queued| **queued == key).count();
            assert_eq!(
                queues,
                usize::from(client.readiness.is_queued()),
                "{key:?} stands in {queues} queues"
            );
            assert!(client.readiness.is_armed() && client.is_in_wheel(), "{key:?} has no deadline");
            assert!(client.deadline.has_reached(client.armed_for), "{key:?} is looked at too late");
            assert!(queues > 0 || !is_lost(client), "{key:?} lost its wake-up: {:?}", client.readiness);
            assert!(queues > 0 || !client.hoards(), "{key:?} is idle and keeps its buffer");
            // With a permit left, nobody is hungry who was told.
            let may_eat = self.dispatch.has_permit() && client.is_hungry();
            assert!(queues > 0 || !may_eat, "{key:?} is hungry beside a permit");
            assert!(queues > 0 || !client.is_idle_with_answer(), "{key:?} has an answer and does not go on");
            waiting += u32::from(client.awaits_job());
            at_home += u32::from(client.keeps_job());
            lent += u32::from(client.is_lent());
            armed += 1;
        }
        assert_eq!((lent, armed), (self.pool.lent(), self.wheel.armed()), "buffers lent, entries armed");
        assert_eq!(at_home, self.dispatch.at_home(), "jobs that lie with connections");
        assert!(waiting <= self.dispatch.out(), "{waiting} wait for a job and fewer are out");
        let clients = &mut self.clients;
        let is_anybody_thirsty = self.thirsty.iter().any(|key| clients.get_mut(*key).is_some());
        assert!(
            !is_anybody_thirsty || self.pool.available() == 0 || self.is_busy(),
            "thirsty beside a full well"
        );
        assert!(self.thirsty.len() <= 2 * self.clients.limit() as usize, "a queue without a bound");
    }

    /// Walks the lines to upstreams, and those who use them or wait for one; `hides_news` tells of a line's
    /// stream whether something lies there that will not be told any more, given what was noted.
    pub(in crate::reactor) fn validate_lines(&mut self, hides_news: impl Fn(&S, bool) -> bool) {
        self.lines.validate(hides_news);
        let now = self.clock.now();
        let (mut used, mut inputs, mut relays) = (0, 0, 0);
        let keys: Vec<_> = self.clients.keys().collect();
        for key in keys {
            let Some(client) = self.clients.get_mut(key) else { continue };
            let is_queued = client.readiness.is_queued();
            let Some(look) = client.look_at_relay(&mut self.lines) else { continue };
            relays += 1;
            inputs += u32::from(look.has_input);
            if let Some(line) = look.line {
                let user = self.lines.line(line).expect("the line of a client is there").user();
                assert_eq!(user, Some((key.index(), key.generation())), "another's line");
                used += 1;
            }
            assert!(
                is_queued || look.could_move.is_none(),
                "{key:?} lost its wake-up: {:?}",
                look.could_move
            );
            // The wheel may be a little late.
            let is_late = look.next_moment.is_some_and(|moment| now.has_reached(moment.after_ms(500)));
            assert!(
                is_queued || !is_late,
                "{key:?} is looked at in vain for ever: {:?} {:?}, now {now:?}, by {:?}, {:?}",
                look.stage,
                look.dues,
                client.deadline,
                client.readiness
            );
            assert!(look.unsent <= 64 * 1024, "{key:?} keeps {} bytes of a request", look.unsent);
        }
        assert_eq!(used, self.lines.used(), "lines that nobody uses, and that are not idle");
        assert_eq!((inputs, relays), self.lines.lent(), "inputs and relays lent");
    }

    pub(in crate::reactor) fn is_empty(&self) -> bool {
        let is_settled = self.dispatch.out() == 0 && self.dispatch.at_home() == 0;
        self.clients.is_empty()
            && self.pool.lent() == 0
            && self.wheel.armed() == 0
            && is_settled
            && self.lines.open() == 0
    }
}
