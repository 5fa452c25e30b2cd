//! A coarse timer wheel over slot numbers: O(1) to arm and to disarm, nothing to allocate.
//!
//! ```text
//!  heads   [ 0 | 1 | 2 | ... | BUCKETS - 1 ]     a bucket covers GRAIN ticks
//!                |
//!                v
//!  links       slot 7 <-> slot 2 <-> slot 9      a doubly linked list through 8 bytes in each slot
//! ```
//! The links lie with whoever lives in the slots: they come and go with them, and what is armed is about to
//! be touched anyway.
//! Lazy by design: a deadline that moves *later* need not touch the wheel. The owner stores it, and when the
//! old entry fires, arms again. Deadlines beyond the horizon fire at the horizon and are armed again
//! likewise. An entry never fires before its tick, and at most one grain after it. Who owns the time is not
//! its business.

use crate::base::clock::Tick;

const BUCKETS: usize = 1024;
/// Ticks in one bucket.
const GRAIN: u32 = 8;
/// No slot, or no bucket.
const NONE: u32 = u32::MAX;
/// Marks a `prev` that names the bucket whose head the slot is.
const HEAD: u32 = 1 << 31;

/// See the module.
///
/// Invariant: a slot is in at most one bucket; `occupied` has a bit for exactly the buckets with a head.
pub struct Wheel {
    heads: Box<[u32; BUCKETS]>,
    occupied: [u64; BUCKETS / 64],
    /// The last bucket that was emptied, counted from the beginning of time; wraps with the ticks.
    passed: u32,
    armed: u32,
}

/// A slot's place in the wheel.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    next: u32,
    prev: u32,
}

impl Link {
    /// Of a slot that is not armed.
    pub const FREE: Link = Link { next: NONE, prev: NONE };

    /// Whether the slot has an entry.
    #[cfg(test)]
    pub(crate) fn is_armed(self) -> bool {
        self.prev != NONE
    }
}

/// Where the links lie.
pub trait Links {
    /// The link of that slot; `None` if nobody is there. Who is armed stays until it fires or is disarmed.
    fn link_mut(&mut self, slot: u32) -> Option<&mut Link>;
}

/// Slots in which somebody lives always.
impl Links for Vec<Link> {
    fn link_mut(&mut self, slot: u32) -> Option<&mut Link> {
        self.get_mut(slot as usize)
    }
}

impl Wheel {
    /// How far ahead an entry can lie; what is later fires here and is armed again.
    pub const HORIZON_MS: u32 = (BUCKETS as u32 - 2) * GRAIN * Tick::MS;

    /// A wheel that stands at `now`.
    #[must_use]
    pub fn new(now: Tick) -> Wheel {
        Wheel {
            heads: Box::new([NONE; BUCKETS]),
            occupied: [0; BUCKETS / 64],
            passed: now.0 / GRAIN,
            armed: 0,
        }
    }

    /// Arms the slot's entry, moving it if it is armed already. Slots are numbered below 2^31.
    pub fn arm(&mut self, links: &mut impl Links, slot: u32, at: Tick) {
        debug_assert!(slot < HEAD, "slot numbers must leave the top bit free");
        self.disarm(links, slot);
        let bucket = self.bucket_for(at);
        let head = self.heads[bucket];
        let Some(link) = links.link_mut(slot) else { return };
        *link = Link { next: head, prev: HEAD | bucket as u32 };
        if head != NONE {
            set(links, head, |next| next.prev = slot);
        }
        self.heads[bucket] = slot;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        self.armed += 1;
    }

    /// Takes the slot's entry out, if there is one.
    pub fn disarm(&mut self, links: &mut impl Links, slot: u32) {
        let Some(own) = links.link_mut(slot) else { return };
        let link = std::mem::replace(own, Link::FREE);
        if link.prev == NONE {
            return;
        }
        if link.next != NONE {
            set(links, link.next, |next| next.prev = link.prev);
        }
        if link.prev & HEAD == 0 {
            set(links, link.prev, |prev| prev.next = link.next);
        } else {
            let bucket = (link.prev & !HEAD) as usize;
            self.heads[bucket] = link.next;
            if link.next == NONE {
                self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            }
        }
        self.armed -= 1;
    }

    /// Moves to `to` and appends every slot whose entry has come due. Its entry is gone: the owner arms again
    /// what should live on.
    pub fn advance(&mut self, links: &mut impl Links, to: Tick, due: &mut Vec<u32>) {
        let last = to.0 / GRAIN;
        // The bucket of `to` itself is not over yet: an entry in it may still lie ahead.
        let steps = last.wrapping_sub(self.passed).saturating_sub(1) & (u32::MAX / GRAIN);
        for _ in 0..steps.min(BUCKETS as u32) {
            self.passed = self.passed.wrapping_add(1);
            self.empty(links, self.passed as usize % BUCKETS, due);
        }
        if steps > BUCKETS as u32 {
            self.passed = last.wrapping_sub(1);
        }
    }

    /// When [`advance`](Wheel::advance) will next have something to say; `None` when nothing is armed.
    #[must_use]
    pub fn next(&self) -> Option<Tick> {
        if self.armed == 0 {
            return None;
        }
        let distance = self.distance_to_next()?;
        Some(Tick(self.passed.wrapping_add(distance + 1).wrapping_mul(GRAIN)))
    }

    /// Buckets from the last one passed to the next that has an entry. A word of the bitmap at a time:
    /// this is asked in every turn, and the usual deadline lies 900 buckets ahead.
    fn distance_to_next(&self) -> Option<u32> {
        let first = self.passed.wrapping_add(1) as usize % BUCKETS;
        let words = self.occupied.len();
        // The first word twice: once from the first bucket on, and at the end up to it.
        (0..=words).find_map(|step| {
            let at = (first / 64 + step) % words;
            let word = match step {
                0 => self.occupied[at] & (u64::MAX << (first % 64)),
                _ => self.occupied[at],
            };
            let bucket = at * 64 + word.trailing_zeros() as usize;
            (word != 0).then(|| ((bucket + BUCKETS - first) % BUCKETS) as u32 + 1)
        })
    }

    /// How many entries are armed.
    #[must_use]
    pub fn armed(&self) -> u32 {
        self.armed
    }

    /// The bucket that is over at or after `at`, within the horizon.
    fn bucket_for(&self, at: Tick) -> usize {
        // Buckets are counted in 32 - log2(GRAIN) bits, so the distance's sign sits there too.
        let ahead = (at.0 / GRAIN).wrapping_sub(self.passed).wrapping_mul(GRAIN) as i32 / GRAIN as i32;
        let ahead = ahead.clamp(1, BUCKETS as i32 - 1) as u32;
        self.passed.wrapping_add(ahead) as usize % BUCKETS
    }

    fn empty(&mut self, links: &mut impl Links, bucket: usize, due: &mut Vec<u32>) {
        let mut slot = std::mem::replace(&mut self.heads[bucket], NONE);
        self.occupied[bucket / 64] &= !(1 << (bucket % 64));
        while slot != NONE {
            due.push(slot);
            self.armed -= 1;
            let mut next = NONE;
            set(links, slot, |link| next = std::mem::replace(link, Link::FREE).next);
            slot = next;
        }
    }

    /// Walks everything and panics if the invariant is broken.
    #[cfg(test)]
    pub(crate) fn validate(&self, links: &mut impl Links) {
        let mut seen = 0;
        for bucket in 0..BUCKETS {
            let occupied = self.occupied[bucket / 64] & (1 << (bucket % 64)) != 0;
            assert_eq!(occupied, self.heads[bucket] != NONE);
            let (mut slot, mut prev) = (self.heads[bucket], HEAD | bucket as u32);
            while slot != NONE {
                let link = *links.link_mut(slot).expect("an armed slot has a tenant");
                assert_eq!(link.prev, prev);
                (prev, slot) = (slot, link.next);
                seen += 1;
            }
        }
        assert_eq!(seen, self.armed);
    }
}

/// Changes the link of a slot that is armed, so somebody is there.
fn set(links: &mut impl Links, slot: u32, change: impl FnOnce(&mut Link)) {
    let link = links.link_mut(slot);
    debug_assert!(link.is_some(), "slot {slot} was left and not disarmed");
    if let Some(link) = link {
        change(link);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A wheel and the links that it needs.
    struct Rig {
        wheel: Wheel,
        links: Vec<Link>,
    }

    impl Rig {
        fn at(now: Tick) -> Rig {
            Rig { wheel: Wheel::new(now), links: vec![Link::FREE; 20] }
        }

        fn arm(&mut self, slot: u32, at: Tick) {
            self.wheel.arm(&mut self.links, slot, at);
        }

        fn due_at(&mut self, to: Tick) -> Vec<u32> {
            let mut due = Vec::new();
            self.wheel.advance(&mut self.links, to, &mut due);
            self.wheel.validate(&mut self.links);
            due
        }
    }

    #[test]
    fn an_entry_fires_once_never_early_and_at_most_a_grain_late() {
        let mut rig = Rig::at(Tick(0));
        rig.arm(3, Tick(100));
        assert_eq!(rig.due_at(Tick(100)), [0u32; 0]);
        assert_eq!(rig.due_at(Tick(100 + GRAIN)), [3]);
        assert_eq!(rig.due_at(Tick(5000)), [0u32; 0]);
    }

    #[test]
    fn next_is_the_moment_at_which_advance_has_something() {
        let mut rig = Rig::at(Tick(0));
        assert_eq!(rig.wheel.next(), None);
        rig.arm(1, Tick(777));
        let next = rig.wheel.next().unwrap();
        assert_eq!(rig.due_at(Tick(next.0 - 1)), [0u32; 0]);
        assert_eq!(rig.due_at(next), [1]);
    }

    #[test]
    fn a_deadline_beyond_the_horizon_fires_at_the_horizon() {
        let mut rig = Rig::at(Tick(0));
        rig.arm(1, Tick(1_000_000));
        assert_eq!(rig.due_at(Tick(Wheel::HORIZON_MS / Tick::MS + 2 * GRAIN)), [1]);
    }

    #[test]
    fn a_long_sleep_empties_every_bucket() {
        let mut rig = Rig::at(Tick(0));
        rig.arm(1, Tick(50));
        rig.arm(2, Tick(4000));
        assert_eq!(rig.due_at(Tick(10_000_000)), [1, 2]);
        rig.arm(1, Tick(10_000_050));
        assert_eq!(rig.due_at(Tick(10_000_100)), [1]);
    }

    #[test]
    fn where_nobody_lives_nothing_is_armed() {
        let mut rig = Rig::at(Tick(0));
        rig.arm(20, Tick(50));
        rig.wheel.disarm(&mut rig.links, 20);
        assert_eq!((rig.wheel.armed(), rig.wheel.next()), (0, None));
        assert_eq!(rig.due_at(Tick(1000)), [0u32; 0]);
    }

    #[test]
    fn entries_survive_the_wrap_of_the_ticks() {
        let start = Tick(u32::MAX - 10 * GRAIN);
        let mut rig = Rig::at(start);
        for round in 1..4 {
            let now = start + round * 400;
            rig.due_at(now);
            rig.arm(1, now + 100);
            assert_eq!(rig.due_at(now + 99), [0u32; 0], "round {round}");
            assert_eq!(rig.due_at(now + 100 + GRAIN), [1], "round {round}");
        }
    }

    proptest! {
        /// Against a plain map: nothing fires early, everything fires within a grain, disarmed entries never.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0u32..20, 0u32..3000, 0u32..4), 1..200)) {
            let mut rig = Rig::at(Tick(0));
            let mut model = std::collections::BTreeMap::new();
            let mut now = 0;
            for (slot, ticks, what) in steps {
                match what {
                    0 => { rig.wheel.disarm(&mut rig.links, slot); model.remove(&slot); }
                    1 | 2 => { rig.arm(slot, Tick(now + ticks)); model.insert(slot, now + ticks); }
                    _ => {
                        now += ticks / 4;
                        for slot in rig.due_at(Tick(now)) {
                            let at = model.remove(&slot).expect("fired but not armed");
                            prop_assert!(at <= now);
                        }
                        prop_assert!(model.values().all(|at| now < at + 2 * GRAIN));
                    }
                }
                rig.wheel.validate(&mut rig.links);
                prop_assert_eq!(rig.wheel.armed() as usize, model.len());
                if let Some(next) = rig.wheel.next() {
                    prop_assert!(next.0 > now && model.values().all(|at| next.0 <= at.max(&now) + 2 * GRAIN));
                }
            }
        }
    }
}
