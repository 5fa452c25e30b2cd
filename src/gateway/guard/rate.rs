//! A token bucket for each key (GCRA), in a table of fixed size that all reactors share.
//!
//! A bucket is one number: the time at which it would be full again, called TAT ("theoretical arrival time").
//! It lives with a print of its key in one word, so taking a token is one compare-exchange, and nothing is
//! ever half written. Eight words are a set, and one cache line:
//!
//! ```text
//!   key, hashed with a secret --> set, and  | print: 24 bits | TAT: 40 bits |
//! ```
//! Promises: of one key, in any time t, at most burst + rate * t pass, however many threads ask. No flood of
//! keys makes the table larger.
//!
//! **Where it is full** it fails open: a new key takes the place of the one in its set that was idle longest.
//! Most such are full buckets, and nothing is forgotten; one that was not full begins anew.
//!
//! Two keys share a bucket if they meet in a set and have the same print: of 100 000 keys in their table, a
//! pair in one of a hundred processes. Nobody can choose which. Numbers wrap around after 2^40 units, at
//! least 39 hours: a key that was idle for just that long and not evicted waits once more, for at most ten
//! seconds and a bucket's time.
//!
//! # Why two threads do not make two buckets of one key
//!
//! As long as only full buckets make room, the words of a set only ever grow (by TAT, then by place; an empty
//! one is the least), and a new key takes the least. Say A takes place i and B place j for the same key. When
//! A looked at j it saw either B's word, and would have found the key, or an earlier one, which was not
//! larger than what B replaced there; and A found i less than that. B found j less than what it saw in i,
//! which was not larger than what A replaced. Both cannot be. It needs no order among words, so all is
//! relaxed.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

// A model of all eight would take years.
const WAYS: usize = if cfg!(loom) { 2 } else { 8 };
const TAT_BITS: u32 = 40;
const TAT_MASK: u64 = (1 << TAT_BITS) - 1;
/// So far ahead of a reactor's time may be what another has written: turns begin at different times.
const SKEW_NS_MAX: u64 = 10_000_000_000;
/// Less would wrap around too soon, more would round the rate: this is 128 ns.
const UNIT_SHIFT_MIN: u32 = 7;
/// A token takes at least so many units where it can, so that rounding costs less than 0.03 % of the rate.
const TOKEN_UNITS: u128 = 4096;
/// A fourth of what the numbers hold, so that ahead and behind cannot be mixed up.
const BUCKET_UNITS_MAX: u128 = 1 << (TAT_BITS - 2);
/// Someone else was quicker so often in a row. Never seen; refused, since nobody knows how many passed.
const TRIES_MAX: usize = 128;
/// Beyond that a table would take 512 MiB.
pub const KEYS_MAX: u32 = 1 << 24;

/// How fast, and how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many...
    pub requests: u32,
    /// ... in so many milliseconds.
    pub per_ms: u32,
    /// And so many at once.
    pub burst: u32,
}

/// See the module.
///
/// ```
/// use myriapod::gateway::guard::Secret;
/// use myriapod::gateway::guard::rate::{Rate, RateTable};
///
/// let table = RateTable::new(Rate { requests: 1, per_ms: 1_000, burst: 2 }, 1_000);
/// let key = Secret::of(7).client(None);
/// assert!(table.take(key, 0).is_passed && table.take(key, 0).is_passed);
/// let refused = table.take(key, 0);
/// assert!(!refused.is_passed && refused.wait_ns / 1_000_000_000 == 1);
/// assert!(table.take(key, refused.wait_ns).is_passed);
/// ```
pub struct RateTable {
    sets: Box<[Set]>,
    bucket: Bucket,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether there was a token for it.
    pub is_passed: bool,
    /// How many there are still.
    pub remaining: u32,
    /// Nanoseconds until there is one, if none was; else until all are back.
    pub wait_ns: u64,
}

/// A cache line of buckets; 0 is none.
#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// A [`Rate`] in units of 2^shift nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    shift: u32,
    /// What one token takes to come back.
    token: u64,
    /// What all of them take.
    whole: u64,
    /// More ahead than that is no bucket, but one of the last round of numbers.
    ahead_max: u64,
}

impl Bucket {
    fn of(rate: Rate) -> Bucket {
        let (requests, burst) = (u128::from(rate.requests.max(1)), u128::from(rate.burst.max(1)));
        let ns = u128::from(rate.per_ms.max(1)) * 1_000_000;
        // Rounded up: rather a little less than promised to clients than more than promised to servers.
        let token = |shift: u32| ns.div_ceil(requests << shift);
        let is_fine = |shift: u32| token(shift) >= TOKEN_UNITS || token(shift) * burst > BUCKET_UNITS_MAX;
        let mut shift = UNIT_SHIFT_MIN;
        while is_fine(shift + 1) {
            shift += 1;
        }
        let token = token(shift) as u64;
        let whole = token * burst as u64;
        Bucket { shift, token, whole, ahead_max: whole + (SKEW_NS_MAX >> shift) }
    }

    /// How far ahead of now a word's TAT is: what is missing in its bucket.
    #[inline]
    fn missing(&self, word: u64, now: u64) -> u64 {
        let ahead = word.wrapping_sub(now) & TAT_MASK;
        if ahead <= self.ahead_max { ahead } else { 0 }
    }
}

impl RateTable {
    /// A table that knows at least so many keys at once, unless they crowd in few sets.
    #[must_use]
    pub fn new(rate: Rate, keys_max: u32) -> RateTable {
        // Sets half full at most: of a table as large as its keys, one in six would be over its set.
        let sets = (keys_max.clamp(1, KEYS_MAX) as usize).div_ceil(WAYS / 2).next_power_of_two();
        RateTable { sets: (0..sets).map(|_| Set::default()).collect(), bucket: Bucket::of(rate) }
    }

    /// Takes a token for a key, if there is one.
    pub fn take(&self, key: u64, now_ns: u64) -> Taken {
        let bucket = &self.bucket;
        let now = (now_ns >> bucket.shift) & TAT_MASK;
        let (set, print) = self.place(key);
        for _ in 0..TRIES_MAX {
            let (slot, word) = set.find(print, now, bucket);
            let missing = if print_of(word) == print { bucket.missing(word, now) } else { 0 };
            let after = missing + bucket.token;
            if after > bucket.whole {
                return bucket.refused(after - bucket.whole);
            }
            let fresh = print << TAT_BITS | (now + after) & TAT_MASK;
            if slot.compare_exchange_weak(word, fresh, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return bucket.passed(after);
            }
        }
        bucket.refused(bucket.token)
    }

    fn place(&self, key: u64) -> (&Set, u64) {
        // The upper bits are the print, the lower ones the set: they say nothing of each other.
        // 0 is no print.
        (&self.sets[key as usize & (self.sets.len() - 1)], print_of(key).max(1))
    }
}

impl Bucket {
    fn passed(&self, missing: u64) -> Taken {
        let remaining = ((self.whole - missing) / self.token) as u32;
        Taken { is_passed: true, remaining, wait_ns: missing << self.shift }
    }

    fn refused(&self, wait: u64) -> Taken {
        // One unit more: now was rounded down.
        Taken { is_passed: false, remaining: 0, wait_ns: (wait + 1) << self.shift }
    }
}

impl Set {
    /// The key's word, or the one that it may replace, and what was read there.
    #[inline]
    fn find(&self, print: u64, now: u64, bucket: &Bucket) -> (&AtomicU64, u64) {
        let mut oldest = (&self.0[0], 0, u64::MAX);
        for slot in &self.0 {
            let word = slot.load(Ordering::Relaxed);
            if print_of(word) == print {
                return (slot, word);
            }
            let age = age(word, now, bucket);
            if age < oldest.2 {
                oldest = (slot, word, age);
            }
        }
        (oldest.0, oldest.1)
    }
}

fn print_of(word: u64) -> u64 {
    word >> TAT_BITS
}

/// Orders words from those that were idle longest; the same for whoever looks, whenever it is now.
fn age(word: u64, now: u64, bucket: &Bucket) -> u64 {
    match word {
        0 => 0,
        // Whatever is at most so far ahead counts up, then whatever is behind, from the farthest.
        _ => (word.wrapping_sub(now).wrapping_sub(bucket.ahead_max + 1) & TAT_MASK) + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::guard::Secret;
    use proptest::prelude::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    const MS: u64 = 1_000_000;
    const PER_SECOND: Rate = Rate { requests: 10, per_ms: 1_000, burst: 3 };

    fn table(rate: Rate, keys_max: u32) -> RateTable {
        RateTable::new(rate, keys_max)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let table = table(PER_SECOND, 100);
        let remaining: Vec<u32> = (0..3).map(|_| table.take(7, 5 * MS).remaining).collect();
        assert_eq!(remaining, [2, 1, 0]);
        let refused = table.take(7, 5 * MS);
        assert!(!refused.is_passed && refused.wait_ns.div_ceil(MS) == 101, "{refused:?}");
        assert!(!table.take(7, 5 * MS + refused.wait_ns - MS).is_passed);
        assert!(table.take(7, 5 * MS + refused.wait_ns).is_passed);
        assert!(table.take(8, 5 * MS).is_passed, "another key");
        assert_eq!(table.take(7, 1_000_000 * MS).remaining, 2, "full again");
    }

    #[test]
    fn a_reactor_that_is_behind_gives_nothing_away() {
        let table = table(PER_SECOND, 100);
        (0..3).for_each(|_| assert!(table.take(7, 9_000 * MS).is_passed));
        assert!(!table.take(7, 9_000 * MS).is_passed);
        assert!(!table.take(7, 0).is_passed, "nine seconds behind");
    }

    #[test]
    fn rates_of_every_size_are_kept_within_a_percent_and_never_exceeded() {
        for (requests, per_ms, burst) in
            [(1, u32::MAX, 1), (100_000, 1_000, 1_000), (7, 3, 2), (3, 60_000, 1)]
        {
            let bucket = Bucket::of(Rate { requests, per_ms, burst });
            let (exact, kept) =
                (f64::from(per_ms) * 1e6 / f64::from(requests), (bucket.token << bucket.shift) as f64);
            assert!(kept >= exact && kept <= exact * 1.012, "{requests} in {per_ms} ms: {exact} as {kept}");
        }
        let bucket = Bucket::of(Rate { requests: u32::MAX, per_ms: u32::MAX, burst: u32::MAX });
        assert!(bucket.ahead_max < 1 << (TAT_BITS - 1));
    }

    #[test]
    fn a_flood_of_keys_evicts_full_buckets_first_and_the_longest_idle_then() {
        let table = table(PER_SECOND, 4);
        assert_eq!(table.sets.len(), 1);
        let key = |number: u64| number << TAT_BITS;
        (0..3).for_each(|_| assert!(table.take(key(1), 1_000 * MS).is_passed));
        for number in 2..=8 {
            assert!(table.take(key(number), 500 * MS).is_passed);
        }
        // All eight places are taken; those of 500 ms are full again.
        for number in 100..107 {
            assert!(table.take(key(number), 1_000 * MS).is_passed);
        }
        assert!(!table.take(key(1), 1_000 * MS).is_passed, "it was the last to go");
        for number in 200..300 {
            assert!(table.take(key(number), 1_000 * MS).is_passed, "fails open");
        }
        assert_eq!(table.sets.len(), 1);
    }

    #[test]
    fn what_was_idle_for_a_round_of_numbers_is_full() {
        let table = table(PER_SECOND, 4);
        let round = 1_u64 << (TAT_BITS + table.bucket.shift);
        (0..3).for_each(|_| assert!(table.take(1 << TAT_BITS, round - MS).is_passed));
        assert!(!table.take(1 << TAT_BITS, round + MS).is_passed, "over the edge");
        assert_eq!(table.take(1 << TAT_BITS, round + round / 3).remaining, 2);
        assert_eq!(table.take(1 << TAT_BITS, round * 2 + round / 9).remaining, 2);
    }

    /// Fresh keys, all at once from everywhere: the hardest moment is when a key is new.
    #[test]
    fn never_more_than_the_burst_passes_however_many_threads_ask() {
        const THREADS: usize = 4;
        const ROUNDS: u64 = 2_000;
        let rate = Rate { requests: 1, per_ms: 3_600_000, burst: 5 };
        let table = table(rate, 100_000);
        let passed: Vec<AtomicU32> = (0..ROUNDS).map(|_| AtomicU32::new(0)).collect();
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        if round % 64 == 0 {
                            start.wait();
                        }
                        let key = Secret::of(1).name(&round.to_string());
                        let count = (0..4).filter(|_| table.take(key, MS).is_passed).count();
                        passed[round as usize].fetch_add(count as u32, Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(passed.iter().all(|count| count.load(Ordering::Relaxed) == 5));
    }

    proptest! {
        /// The definition itself, over every window of a random history.
        #[test]
        fn in_any_time_at_most_the_burst_and_the_rate_pass(
            gaps_ms in proptest::collection::vec(0u64..400, 1..80), burst in 1u32..6, requests in 1u32..30
        ) {
            let table = table(Rate { requests, per_ms: 1_000, burst }, 10);
            let mut now = 0;
            let mut passed = Vec::new();
            for gap in gaps_ms {
                now += gap * MS;
                if table.take(3, now).is_passed {
                    passed.push(now);
                }
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    // The unit's rounding, once.
                    let seconds = (to - from + (1 << table.bucket.shift)) as f64 / 1e9;
                    let most = f64::from(burst) + f64::from(requests) * seconds;
                    prop_assert!((last - first + 1) as f64 <= most, "{first} to {last}");
                }
            }
        }
    }
}
