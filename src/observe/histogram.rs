//! A histogram of durations: log-linear buckets from 1 µs to 69 s, eight to each power of two.
//!
//! Recording is a subtraction, a count of leading zeros, a shift and three stores; any quantile read back is
//! at most one eighth too large and never too small. A bucket is `(lower, upper]`, closed above as
//! Prometheus' `le` is, and every [bound](Snapshot::bounds) told to Prometheus is a border between buckets:
//! its counts are exact, not estimates.
//! Not here: the clock.

use super::{Counter, Gauge};

/// Durations seen by one thread.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_ns: Counter,
    longest_ns: Gauge,
}

impl Histogram {
    /// Notes that `count` things took `ns` each; only the owning thread may.
    #[inline]
    pub fn record(&self, ns: u64, count: u64) {
        self.buckets[bucket(ns)].add(count);
        self.sum_ns.add(ns.wrapping_mul(count));
        self.longest_ns.raise(ns);
    }

    /// A copy to reckon with, from any thread.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.add_to(&mut snapshot);
        snapshot
    }

    /// Merges what was seen here into `snapshot`.
    pub fn add_to(&self, snapshot: &mut Snapshot) {
        for (total, bucket) in snapshot.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.value();
        }
        snapshot.sum_ns = snapshot.sum_ns.wrapping_add(self.sum_ns.value());
        snapshot.longest_ns = snapshot.longest_ns.max(self.longest_ns.value());
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: std::array::from_fn(|_| Counter::default()),
            sum_ns: Counter::default(),
            longest_ns: Gauge::default(),
        }
    }
}

/// What one or several histograms had seen at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    buckets: [u64; BUCKETS],
    sum_ns: u64,
    longest_ns: u64,
}

impl Snapshot {
    /// How many durations were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All durations together.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The longest duration, exactly.
    #[must_use]
    pub fn longest_ns(&self) -> u64 {
        self.longest_ns
    }

    /// Adds what another snapshot holds.
    pub fn merge(&mut self, other: &Snapshot) {
        for (total, bucket) in self.buckets.iter_mut().zip(&other.buckets) {
            *total += bucket;
        }
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    /// A duration that the fraction `q` of all did not exceed: never too small, at most an eighth too large
    /// (below 1 µs: at most 1 µs). 0 if nothing was recorded.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = ((self.count() as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_ns(index).map_or(self.longest_ns, |upper| upper.min(self.longest_ns));
            }
        }
        self.longest_ns
    }

    /// How many durations were at most each bound, exactly, for the bounds 2^10, 2^11, .. 2^36 nanoseconds.
    ///
    /// Powers of two because those are borders of ours; a round 0.001 s would lie inside a bucket and need a
    /// guess.
    pub fn bounds(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut seen = 0;
        self.buckets[..BUCKETS - 1].iter().enumerate().filter_map(move |(index, count)| {
            seen += count;
            let upper = upper_ns(index)?;
            upper.is_power_of_two().then_some((upper, seen))
        })
    }
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot { buckets: [0; BUCKETS], sum_ns: 0, longest_ns: 0 }
    }
}

/// Bucket 0 ends at 2^10 ns, the last has no end.
#[inline]
fn bucket(ns: u64) -> usize {
    // One less, so that a duration on a border belongs below it.
    let ns = ns.saturating_sub(1);
    if ns < 1 << EXPONENT_MIN {
        return 0;
    }
    let exponent = u64::BITS - 1 - ns.leading_zeros();
    if exponent >= EXPONENT_END {
        return BUCKETS - 1;
    }
    let eighth = (ns >> (exponent - STEP_BITS)) as usize & (STEPS - 1);
    1 + (exponent - EXPONENT_MIN) as usize * STEPS + eighth
}

/// The longest duration a bucket takes; `None`: it takes any.
fn upper_ns(index: usize) -> Option<u64> {
    let Some(steps) = index.checked_sub(1) else { return Some(1 << EXPONENT_MIN) };
    let exponent = EXPONENT_MIN + (steps / STEPS) as u32;
    let eighths = (STEPS + steps % STEPS + 1) as u64;
    (exponent < EXPONENT_END).then(|| eighths << (exponent - STEP_BITS))
}

const EXPONENT_MIN: u32 = 10;
const EXPONENT_END: u32 = 36;
const STEP_BITS: u32 = 3;
const STEPS: usize = 1 << STEP_BITS;
const BUCKETS: usize = (EXPONENT_END - EXPONENT_MIN) as usize * STEPS + 2;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_join_without_gap_or_overlap() {
        for index in 0..BUCKETS - 1 {
            let upper = upper_ns(index).unwrap();
            assert_eq!(bucket(upper), index, "the border belongs below");
            assert_eq!(bucket(upper + 1), index + 1, "and what follows it above");
        }
        assert_eq!(upper_ns(BUCKETS - 1), None);
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn bounds_are_the_powers_of_two_from_1_us_to_69_s() {
        let bounds: Vec<u64> = Snapshot::default().bounds().map(|(bound, _)| bound).collect();
        assert_eq!(bounds, (10..=36).map(|exponent| 1 << exponent).collect::<Vec<u64>>());
    }

    #[test]
    fn bounds_count_a_duration_on_the_border_below_it() {
        let histogram = Histogram::default();
        histogram.record(1 << 20, 3);
        histogram.record((1 << 20) + 1, 5);
        histogram.record(u64::MAX / 64, 1);
        let seen = |bound| histogram.snapshot().bounds().find(|(b, _)| *b == bound).unwrap().1;
        assert_eq!((seen(1 << 19), seen(1 << 20), seen(1 << 21), seen(1 << 36)), (0, 3, 8, 8));
        assert_eq!(histogram.snapshot().count(), 9);
    }

    #[test]
    fn nothing_recorded_has_a_quantile_of_zero() {
        assert_eq!(Snapshot::default().quantile(0.99), 0);
    }

    proptest! {
        #[test]
        fn a_quantile_is_never_too_small_and_at_most_an_eighth_too_large(
            mut seen in proptest::collection::vec(1_100_u64..60_000_000_000, 1..200),
            q in 0.0_f64..=1.0,
        ) {
            let histogram = Histogram::default();
            seen.iter().for_each(|ns| histogram.record(*ns, 1));
            seen.sort_unstable();
            let rank = ((seen.len() as f64 * q).ceil() as usize).max(1);
            let (exact, told) = (seen[rank - 1], histogram.snapshot().quantile(q));
            prop_assert!(told >= exact && told <= exact + exact / 8 + 1, "{told} for {exact}");
        }

        #[test]
        fn merging_is_recording_in_one(
            a in proptest::collection::vec(any::<u32>(), 0..50),
            b in proptest::collection::vec(any::<u32>(), 0..50),
        ) {
            let (left, right, both) = (Histogram::default(), Histogram::default(), Histogram::default());
            a.iter().for_each(|ns| { left.record(u64::from(*ns), 1); both.record(u64::from(*ns), 1); });
            b.iter().for_each(|ns| { right.record(u64::from(*ns), 2); both.record(u64::from(*ns), 2); });
            let mut merged = left.snapshot();
            merged.merge(&right.snapshot());
            prop_assert_eq!(&merged, &both.snapshot());
            let mut added = left.snapshot();
            right.add_to(&mut added);
            prop_assert_eq!(added, merged);
        }
    }
}
