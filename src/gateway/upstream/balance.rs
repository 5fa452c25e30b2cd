//! Which of those that may be chosen is: by turns, by what is under way, by chance or by key.
//!
//! Knows nothing of health: whoever is a candidate is as good as any other.

use super::slot::Slot;
use super::{Cluster, Member};
use crate::config::site::Balance;

/// Members that may be chosen, and what the reactor knows of them.
pub(super) struct Field<'a> {
    pub(super) members: &'a [Member],
    /// By endpoint id.
    pub(super) slots: &'a mut [Slot],
    /// Places in `members`; at least one.
    pub(super) candidates: &'a [u32],
    pub(super) dice: &'a mut Dice,
}

impl Field<'_> {
    /// The place, among the members, of the one that is chosen.
    pub(super) fn pick(&mut self, cluster: &Cluster, key: Option<u64>) -> usize {
        if let [only] = self.candidates {
            return *only as usize;
        }
        match (&cluster.spec.balance, key) {
            // A request without a key belongs to nobody.
            (Balance::RoundRobin, _) | (Balance::Hash(_), None) => self.by_turns(),
            (Balance::Least, _) => self.least(),
            (Balance::TwoChoices, _) => self.two_choices(),
            (Balance::Hash(_), Some(key)) => self.by_key(key),
        }
    }

    /// Smooth weighted round robin, as in nginx: everybody gains its weight, the richest pays for all. In
    /// any window everybody gets its share but for rounding, and nobody's turns come in a row.
    pub(super) fn by_turns(&mut self) -> usize {
        self.turn_among(|_, _| true)
    }

    /// The fewest requests under way for its weight. Among equals, by turns: without load it is as fair as
    /// turns are, and weights keep counting.
    fn least(&mut self) -> usize {
        let mut least = (u32::MAX, 1);
        for place in self.candidates {
            let load = self.load(*place as usize);
            if is_lighter(load, least) {
                least = load;
            }
        }
        self.turn_among(|slot, member| !is_lighter(least, (slot.under_way, member.weight)))
    }

    fn turn_among(&mut self, may: impl Fn(&Slot, &Member) -> bool) -> usize {
        let (mut total, mut richest) = (0, None);
        for place in self.candidates {
            let member = &self.members[*place as usize];
            let slot = &mut self.slots[member.endpoint.id as usize];
            if !may(slot, member) {
                continue;
            }
            let weight = i64::from(member.weight);
            slot.credit += weight;
            total += weight;
            if richest.is_none_or(|(_, credit)| slot.credit > credit) {
                richest = Some((*place as usize, slot.credit));
            }
        }
        let place = richest.map_or(0, |(place, _)| place);
        self.slots[self.members[place].endpoint.id as usize].credit -= total;
        place
    }

    /// Two different ones by chance and weight; then the one with fewer requests under way for its weight.
    fn two_choices(&mut self) -> usize {
        let one = self.by_chance(None);
        let other = self.by_chance(Some(one));
        if is_lighter(self.load(other), self.load(one)) { other } else { one }
    }

    fn by_chance(&mut self, but: Option<usize>) -> usize {
        let others =
            || self.candidates.iter().map(|place| *place as usize).filter(|place| but != Some(*place));
        let weight = |place: usize| u64::from(self.members[place].weight);
        let total: u64 = others().map(weight).sum();
        let mut rest = self.dice.below(total.max(1));
        let found = others().find(|place| {
            let is_here = rest < weight(*place);
            rest = rest.saturating_sub(weight(*place));
            is_here
        });
        found.or(but).unwrap_or(0)
    }

    /// Weighted rendezvous: the highest score of key and server, weight / -ln(chance). Whoever leaves gives
    /// its keys to all others in proportion and moves nobody else's; nothing is to be built or kept, and who
    /// is out makes no difference to the rest. A ring of 160 points a server is asked in 11 ns among 4 and in
    /// 22 among 100, this in some 50 and 300 (`benches/choose.rs`); but a ring shares less evenly, has to be
    /// built anew with every list of servers, and to be walked on where servers are out.
    fn by_key(&mut self, key: u64) -> usize {
        // Weight and logarithm of the best; the quotients are compared without dividing.
        let mut best = (self.candidates[0] as usize, 0.0, 1.0);
        for place in self.candidates {
            let member = &self.members[*place as usize];
            let weight = f64::from(member.weight);
            let chance = mix(key ^ member.endpoint.point);
            // -ln(x) is at least 1 - x: most need no more to see that they are not the best.
            if weight * best.2 <= best.1 * at_least(chance) {
                continue;
            }
            let log = minus_ln(chance);
            if weight * best.2 > best.1 * log {
                best = (*place as usize, weight, log);
            }
        }
        best.0
    }

    fn load(&self, place: usize) -> (u32, u32) {
        let member = &self.members[place];
        (self.slots[member.endpoint.id as usize].under_way, member.weight)
    }
}

/// Whether the first has less under way for its weight.
fn is_lighter((one, one_weight): (u32, u32), (other, other_weight): (u32, u32)) -> bool {
    u64::from(one) * u64::from(other_weight) < u64::from(other) * u64::from(one_weight)
}

/// What a server is by when keys are shared out: FNV-1a, the same in every process, so that two gateways
/// send a key the same way.
pub(super) fn point(label: &str, name: &str) -> u64 {
    let bytes = label.bytes().chain([0]).chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// -ln of a number in (0, 1) that is made of so many bits. Right to five digits, a few multiplications, and
/// the same on every machine, which the C library's need not be.
fn minus_ln(bits: u64) -> f64 {
    let bits = bits | 1;
    let halvings = bits.leading_zeros();
    // In (1/2, 1].
    let mantissa = (bits << halvings) as f64 / (1u128 << 64) as f64;
    // Twice the inverse hyperbolic tangent, up to the seventh power; what is left out is below 2e-5.
    let z = (1.0 - mantissa) / (1.0 + mantissa);
    let square = z * z;
    let series = 2.0 * z * (1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square / 7.0)));
    // Never 0, or it would win by any weight.
    f64::from(halvings) * std::f64::consts::LN_2 + series + f64::MIN_POSITIVE
}

/// What [`minus_ln`] is not below, by a little to spare.
fn at_least(bits: u64) -> f64 {
    (!bits as f64 / (1u128 << 64) as f64) * 0.999
}

/// Spreads what differs little over all bits: the last step of splitmix64.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Chance from a seed: splitmix64. Guarantees nothing but that load is spread.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(mix(seed))
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mix(self.0)) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_right() {
        let mut dice = Dice::new(1);
        for shift in (0..63).cycle().take(10_000) {
            let bits = (dice.below(u64::MAX) >> shift) | 1;
            let exact = -((bits as f64) / (1u128 << 64) as f64).ln();
            let ours = minus_ln(bits);
            assert!(at_least(bits) <= ours);
            assert!((ours - exact).abs() <= exact * 1e-4 + 1e-12, "{bits:#x}: {ours} for {exact}");
        }
        assert!(minus_ln(u64::MAX) > 0.0 && minus_ln(0).is_finite());
    }
}
