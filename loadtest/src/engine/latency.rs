//! Latencies: a high dynamic range histogram in nanoseconds, three digits deep.
//!
//! What is longer than the longest it can tell counts as the longest, so nothing is ever left out.

use hdrhistogram::Histogram;

/// The shortest and longest that are told apart; three digits everywhere between.
const SHORTEST_NS: u64 = 128;
const LONGEST_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// Nanoseconds of many answers.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Latency {
        let histogram = Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, DIGITS);
        Latency { histogram: histogram.expect("bounds are constants that fit") }
    }
}

impl Latency {
    /// Counts one.
    pub fn record(&mut self, nanoseconds: u64) {
        self.histogram.saturating_record(nanoseconds.max(1));
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Latency) {
        self.histogram.add(&other.histogram).expect("all have the same bounds");
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Nanoseconds that this share (0 to 1) of all stayed within; 0 when nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        // The histogram answers with the end of a bucket, which may lie above the longest there was.
        self.histogram.value_at_quantile(share).min(self.max())
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// The mean, from the middles of the buckets.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.histogram.mean()
    }

    /// The shortest.
    #[must_use]
    pub fn min(&self) -> u64 {
        self.histogram.min()
    }

    /// Upper ends of the buckets in use and how many each holds, ascending: for drawing.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut latency = Latency::default();
        (1..=100_000_u64).for_each(|step| latency.record(step * 1_000));
        for (share, expected) in [(0.5, 50_000_000.0), (0.99, 99_000_000.0), (0.9999, 99_990_000.0)] {
            let found = latency.quantile(share) as f64;
            assert!((found / expected - 1.0).abs() < 0.002, "{share}: {found}");
        }
        assert_eq!(latency.count(), 100_000);
    }

    #[test]
    fn what_is_too_long_to_tell_counts_as_the_longest() {
        let mut latency = Latency::default();
        latency.record(u64::MAX);
        latency.record(5);
        assert_eq!(latency.count(), 2);
        assert!(latency.max() >= LONGEST_NS);
    }

    #[test]
    fn merging_is_adding() {
        let (mut one, mut two) = (Latency::default(), Latency::default());
        one.record(1_000);
        two.record(2_000_000);
        one.merge(&two);
        assert_eq!(one.count(), 2);
        assert!(one.quantile(1.0) >= 1_990_000);
        assert_eq!(Latency::default().quantile(0.5), 0);
    }
}
