//! A little chance, so that what many do by the clock is not done by all at once. The seed is an argument.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn of(seed: u64) -> Chance {
        Chance(seed)
    }

    /// Below `end`; 0 where that is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * u128::from(end)) >> 64) as u64
    }

    /// That span, a tenth shorter or longer, and never nothing.
    pub(super) fn about(&mut self, span_ms: u64) -> u64 {
        let tenth = span_ms / 10;
        (span_ms - tenth + self.below(2 * tenth + 1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_differ_by_a_tenth_at_most() {
        let mut chance = Chance::of(7);
        let spans: Vec<u64> = (0..1_000).map(|_| chance.about(5_000)).collect();
        assert!(spans.iter().all(|span| (4_500..=5_500).contains(span)));
        assert!(spans.iter().any(|span| *span < 4_600) && spans.iter().any(|span| *span > 5_400));
        assert_eq!(chance.about(0), 1, "nothing comes at once for ever");
        assert_eq!(chance.below(0), 0);
    }
}
