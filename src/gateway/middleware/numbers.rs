//! Numbers that do not come twice, for naming requests and spans.
//!
//! Random once, when they are made; after that a counter, mixed. So the gateway asks no source of randomness
//! for a request, and a seed repeats everything. Names, not secrets: who knows a few can guess others.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module. Shared by all reactors, so that one count is enough.
pub(super) struct Numbers {
    seed: u64,
    count: AtomicU64,
}

impl Numbers {
    pub(super) fn with_seed(seed: u64) -> Numbers {
        Numbers { seed, count: AtomicU64::new(0) }
    }

    /// The next. 2^64 of them are different.
    pub(super) fn next(&self) -> u64 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        mix(self.seed.wrapping_add(count.wrapping_mul(GOLDEN)))
    }
}

/// A number that is another in each process and at each call.
pub(super) fn random() -> u64 {
    // What std keys its maps with, which is what it has of randomness without a crate.
    RandomState::new().hash_one(())
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finish of splitmix64: neighbours become strangers, and no two numbers become one.
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_number_comes_twice_and_a_seed_repeats_them() {
        let (one, other) = (Numbers::with_seed(7), Numbers::with_seed(7));
        let numbers: HashSet<u64> = (0..10_000).map(|_| one.next()).collect();
        assert_eq!(numbers.len(), 10_000);
        assert!((0..10_000).all(|_| numbers.contains(&other.next())));
    }

    #[test]
    fn every_call_is_random_anew() {
        assert_ne!(random(), random());
    }
}
