//! Refuses early instead of being late: keeps the wait for a worker from standing.
//!
//! A queue may fill in a burst and drain again; that is what it is for. A queue in which even the luckiest
//! job of an interval waited longer than the target does not drain: it only makes everybody late. From then
//! on new jobs are refused as long as the last one taken had waited too long, until an interval passes in
//! which one did not (after CoDel, RFC 8289, whose observation this is; its answer, to drop at a rising
//! rate, is for senders that slow down when they lose a packet).

use crate::worker::lane::Waits;

/// How long is looked at before a queue is called standing.
const INTERVAL_NS: u64 = 100_000_000;
/// The target is this part of the longest wait allowed.
const TARGET_PART: u64 = 20;

/// See the module. One per lane, asked by its reactor.
#[derive(Debug)]
pub struct Delay {
    target_ns: u64,
    interval_ends_ns: u64,
    is_standing: bool,
}

impl Delay {
    /// Keeps waits to a small part of the longest one allowed; `None`: lets them grow.
    #[must_use]
    pub fn new(wait_ms_max: Option<u32>) -> Delay {
        let target_ns = wait_ms_max.map_or(u64::MAX, |ms| u64::from(ms) * 1_000_000 / TARGET_PART);
        Delay { target_ns, interval_ends_ns: 0, is_standing: false }
    }

    /// Whether another job may join the queue. Whether any waits there is asked only where it matters.
    pub fn admits(&mut self, waits: &Waits, is_queue_empty: impl Fn() -> bool, now_ns: u64) -> bool {
        if now_ns >= self.interval_ends_ns {
            self.look_back(waits, &is_queue_empty, now_ns);
        }
        // Who finds the queue empty waits no longer than one job takes.
        !self.is_standing || waits.last_ns() <= self.target_ns || is_queue_empty()
    }

    fn look_back(&mut self, waits: &Waits, is_queue_empty: impl Fn() -> bool, now_ns: u64) {
        self.is_standing = match waits.take_least_ns() {
            Some(least_ns) => least_ns > self.target_ns,
            // Nobody took anything, and who stands there has waited through, unless nobody was here to see
            // him come.
            None => self.is_standing && !is_queue_empty(),
        };
        self.interval_ends_ns = now_ns + INTERVAL_NS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A target of 50 ms.
    fn delay() -> (Delay, Waits) {
        (Delay::new(Some(1_000)), Waits::default())
    }

    #[test]
    fn a_burst_may_wait() {
        let (mut delay, waits) = delay();
        assert!(delay.admits(&waits, || true, 1));
        waits.note(90 * MS);
        waits.note(2 * MS);
        assert!(delay.admits(&waits, || false, 99 * MS));
        assert!(delay.admits(&waits, || false, 101 * MS), "one of them had to wait 2 ms only");
    }

    #[test]
    fn a_standing_queue_turns_the_newest_away_until_it_has_drained() {
        let (mut delay, waits) = delay();
        assert!(delay.admits(&waits, || true, 1));
        waits.note(60 * MS);
        assert!(!delay.admits(&waits, || false, 150 * MS));
        assert!(delay.admits(&waits, || true, 151 * MS), "nobody is ahead");
        waits.note(10 * MS);
        assert!(delay.admits(&waits, || false, 152 * MS), "it has drained");
        waits.note(70 * MS);
        assert!(!delay.admits(&waits, || false, 153 * MS));
        assert!(delay.admits(&waits, || false, 260 * MS), "one of the interval had waited 10 ms only");
    }

    #[test]
    fn workers_that_take_nothing_leave_the_verdict_as_it_was() {
        let (mut delay, waits) = delay();
        assert!(delay.admits(&waits, || true, 1));
        assert!(delay.admits(&waits, || false, 150 * MS), "the bound of the queue is what holds here");
        waits.note(51 * MS);
        assert!(!delay.admits(&waits, || false, 300 * MS));
        assert!(!delay.admits(&waits, || false, 450 * MS));
    }

    #[test]
    fn without_a_limit_everybody_may_wait() {
        let (mut delay, waits) = (Delay::new(None), Waits::default());
        for ms in 0..10 {
            waits.note(ms * 1_000 * MS);
            assert!(delay.admits(&waits, || false, ms * 200 * MS));
        }
    }
}
