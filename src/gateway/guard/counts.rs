//! How many of each key are under way, in a table of fixed size that all threads share.
//!
//! A counter and the print of its key are one word of 64 bits; eight are a set, and one cache line. A counter
//! at 0 belongs to whoever needs it.
//!
//! Promises: of one key never more than its limit are in at the same time. Whoever is let in gets a seat, and
//! gives it back; nobody else's counter is touched, whatever became of the set in between.
//!
//! **Where it is full**, all eight counters of a set at work for others, it fails open: whoever has no
//! counter is let in uncounted. Under a flood of keys the limits of new ones are lost, not the service.
//! Two keys share a counter if they meet in a set and have the same 40 bits of print: never, in practice.
//!
//! # Why no more are in
//!
//! Two threads that bring the same new key may make two counters of it. So who counted itself in looks at
//! the sum of all counters of its key, and goes out again if that is too much. Between the two it passes a
//! SeqCst fence: of those that are in, the last to pass it sees all others. `loom/` has tried it.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

// A model of all eight would take years.
const WAYS: usize = if cfg!(loom) { 2 } else { 8 };
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
/// Far below what a counter holds, since threads go a little over it before they go back.
const LIMIT_MAX: u32 = 1 << 23;
/// Someone else was quicker so often in a row; then the answer is no.
const TRIES_MAX: usize = 64;
/// Beyond that a table would take 512 MiB.
pub const KEYS_MAX: u32 = 1 << 24;

/// See the module.
///
/// ```
/// use myriapod::gateway::guard::counts::{Counted, Counts};
///
/// let counts = Counts::new(1_000);
/// let Counted::In(seat) = counts.enter(7, 1) else { panic!("nobody is in") };
/// assert!(matches!(counts.enter(7, 1), Counted::Over));
/// counts.leave(seat);
/// assert!(matches!(counts.enter(7, 1), Counted::In(_)));
/// ```
pub struct Counts(Box<[Set]>);

/// Whether one more is in.
#[derive(Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is, and has this seat until it gives it back.
    In(Seat),
    /// It is not: there are as many as may be.
    Over,
    /// Nobody knows: its set has no counter left.
    NoRoom,
}

/// Where somebody is counted: the number of a counter.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a seat is given back"]
pub struct Seat(u32);

#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// What a look at a set found.
struct Found {
    /// All that are in of the key.
    sum: u64,
    /// Its counter or else a free one, and what was read there.
    way: Option<(usize, u64)>,
}

impl Counts {
    /// A table that counts at least so many keys at once, unless they crowd in few sets.
    #[must_use]
    pub fn new(keys_max: u32) -> Counts {
        let sets = (keys_max.clamp(1, KEYS_MAX) as usize).div_ceil(WAYS / 2).next_power_of_two();
        Counts((0..sets).map(|_| Set::default()).collect())
    }

    /// Counts one more of a key in, if there are less than so many.
    pub fn enter(&self, key: u64, max: u32) -> Counted {
        let max = u64::from(max.min(LIMIT_MAX));
        let number = key as usize & (self.0.len() - 1);
        let (set, print) = (&self.0[number], (key >> COUNT_BITS).max(1));
        for _ in 0..TRIES_MAX {
            let found = set.find(print);
            if found.sum >= max {
                return Counted::Over;
            }
            let Some((way, word)) = found.way else { return Counted::NoRoom };
            let more = print << COUNT_BITS | ((word & COUNT_MASK) + 1);
            if set.0[way].compare_exchange(word, more, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            fence(Ordering::SeqCst);
            let seat = Seat((number * WAYS + way) as u32);
            if set.find(print).sum <= max {
                return Counted::In(seat);
            }
            self.leave(seat);
        }
        Counted::Over
    }

    /// Counts out who had that seat.
    pub fn leave(&self, seat: Seat) {
        let (number, way) = (seat.0 as usize / WAYS, seat.0 as usize % WAYS);
        let before = self.0[number].0[way].fetch_sub(1, Ordering::Release);
        debug_assert!(before & COUNT_MASK > 0, "a seat was given back twice");
    }
}

impl Set {
    fn find(&self, print: u64) -> Found {
        let mut found = Found { sum: 0, way: None };
        let mut is_own = false;
        for (way, counter) in self.0.iter().enumerate() {
            let word = counter.load(Ordering::Relaxed);
            if word >> COUNT_BITS == print {
                found.sum += word & COUNT_MASK;
                if !is_own {
                    (is_own, found.way) = (true, Some((way, word)));
                }
            } else if word & COUNT_MASK == 0 && found.way.is_none() {
                found.way = Some((way, word));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    fn key(number: u64) -> u64 {
        number << COUNT_BITS
    }

    fn seat(counts: &Counts, key: u64, max: u32) -> Seat {
        match counts.enter(key, max) {
            Counted::In(seat) => seat,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn as_many_are_in_as_may_be_and_who_leaves_makes_room() {
        let counts = Counts::new(100);
        let (first, _second) = (seat(&counts, key(1), 2), seat(&counts, key(1), 2));
        assert_eq!(counts.enter(key(1), 2), Counted::Over);
        let _other = seat(&counts, key(2), 2);
        counts.leave(first);
        let _third = seat(&counts, key(1), 2);
        assert_eq!(counts.enter(key(1), 2), Counted::Over);
        assert_eq!(counts.enter(key(3), 0), Counted::Over);
    }

    #[test]
    fn a_full_set_lets_in_uncounted_and_counters_at_rest_are_used_again() {
        let counts = Counts::new(1);
        assert_eq!(counts.0.len(), 1);
        let mut seats: Vec<Seat> = (1..=8).map(|number| seat(&counts, key(number), 1)).collect();
        assert_eq!(counts.enter(key(9), 1), Counted::NoRoom);
        assert_eq!(counts.enter(key(8), 1), Counted::Over, "who has a counter is counted");
        counts.leave(seats.remove(2));
        for number in 100..1_000 {
            counts.leave(seat(&counts, key(number), 1));
        }
        assert_eq!(counts.0.len(), 1);
    }

    /// Few keys in one set, so that counters change hands all the time.
    #[test]
    fn never_more_are_in_than_may_be_however_many_threads_ask() {
        const THREADS: u64 = 4;
        const KEYS: u64 = 11;
        const MAX: u32 = 2;
        let counts = Counts::new(1);
        let inside: Vec<AtomicU32> = (0..KEYS).map(|_| AtomicU32::new(0)).collect();
        let start = Barrier::new(THREADS as usize);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (counts, inside, start) = (&counts, &inside, &start);
                scope.spawn(move || {
                    start.wait();
                    for round in 0..20_000_u64 {
                        let number = (round * 7 + thread * 3) / 5 % KEYS;
                        let Counted::In(seat) = counts.enter(key(number + 1), MAX) else { continue };
                        let before = inside[number as usize].fetch_add(1, Ordering::SeqCst);
                        assert!(before < MAX, "{before} were in");
                        if round % 16 == 0 {
                            thread::yield_now();
                        }
                        inside[number as usize].fetch_sub(1, Ordering::SeqCst);
                        counts.leave(seat);
                    }
                });
            }
        });
        let left: u64 = counts.0[0].0.iter().map(|counter| counter.load(Ordering::SeqCst) & COUNT_MASK).sum();
        assert_eq!(left, 0, "everybody is out");
    }
}
