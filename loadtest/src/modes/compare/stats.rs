//! Middle values, and how sure one may be of them.
//!
//! The middle of ratios is the Hodges-Lehmann estimate, the median of the averages of all pairs; its interval
//! is what Wilcoxon's signed-rank test does not refuse. Both are nearly as sharp as a mean with Student's t
//! where noise is well behaved, and a block that something else disturbed does not move them. Ratios are
//! worked on by their logarithms, so that half and double are equally far from one.
//!
//! Promises: exact intervals, not approximations for large numbers. They ask for symmetric noise and nothing
//! else.

use crate::report::Ratio;

/// Fewer than this many values leave no interval that is right 95 times of a hundred.
pub const VALUES_MIN: usize = 6;
/// What the interval may miss on each side.
const UNLIKELY: f64 = 0.025;

/// The middle one, or the average of the two in the middle; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median_of_sorted(&sorted)
}

/// The middle of positive ratios with its 95 % confidence interval. Of fewer than [`VALUES_MIN`] it is the
/// least and the most.
pub fn ratio(values: &[f64]) -> Ratio {
    let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let (middle, low, high) = estimate(&logarithms);
    Ratio { middle: middle.exp(), low: low.exp(), high: high.exp() }
}

/// Middle, low and high end.
fn estimate(values: &[f64]) -> (f64, f64, f64) {
    let averages = averages_of_pairs(values);
    let left_out = left_out(values.len()).unwrap_or(0);
    let low = averages.get(left_out).copied().unwrap_or(0.0);
    let high = averages.iter().rev().nth(left_out).copied().unwrap_or(0.0);
    (median_of_sorted(&averages), low, high)
}

/// Averages of all pairs, each value with itself too, ascending.
fn averages_of_pairs(values: &[f64]) -> Vec<f64> {
    let pairs = values.iter().enumerate();
    let mut averages: Vec<f64> = pairs
        .flat_map(|(at, one)| values[at..].iter().map(move |other| f64::midpoint(*one, *other)))
        .collect();
    averages.sort_by(f64::total_cmp);
    averages
}

/// How many averages the interval leaves out at each end. None if even the widest is not wide enough.
///
/// It is the critical value of the signed-rank statistic, whose distribution counts the sets of ranks by
/// their sum: of `count` ranks, each is in a set or not.
fn left_out(count: usize) -> Option<usize> {
    let mut sets_by_sum = vec![1.0_f64];
    for rank in 1..=count {
        let mut wider = sets_by_sum.clone();
        wider.resize(sets_by_sum.len() + rank, 0.0);
        for (sum, sets) in sets_by_sum.iter().enumerate() {
            wider[sum + rank] += sets;
        }
        // Shares of all sets instead of their number, which would outgrow any float.
        wider.iter_mut().for_each(|sets| *sets /= 2.0);
        sets_by_sum = wider;
    }
    let mut share = 0.0;
    let within = sets_by_sum.iter().take_while(|sets| {
        share += **sets;
        share <= UNLIKELY
    });
    // Sums from nought to the critical value are within.
    within.count().checked_sub(1)
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (length, half) if length % 2 == 1 => sorted[half],
        (_, half) => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_values_are_those_of_the_tables() {
        // Two-sided, 5 %: any textbook's last pages.
        let table =
            [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (12, 13), (15, 25), (20, 52), (25, 89), (30, 137)];
        for (count, critical) in table {
            assert_eq!(left_out(count), Some(critical), "of {count}");
        }
        assert_eq!(left_out(VALUES_MIN - 1), None);
    }

    #[test]
    fn the_estimate_is_that_of_hollander_and_wolfe() {
        // Depression scale factors of nine patients before and after, "Nonparametric Statistical Methods",
        // 3.1, in thousandths.
        let before = [1830, 500, 1620, 2480, 1680, 1880, 1550, 3060, 1300];
        let after = [878, 647, 598, 2050, 1060, 1290, 1060, 3140, 1290];
        let changes: Vec<f64> =
            before.iter().zip(after).map(|(before, after)| f64::from(after - before) / 1000.0).collect();
        let (middle, low, high) = estimate(&changes);
        let near = |value: f64, known: f64| (value - known).abs() < 1e-9;
        assert!(near(middle, -0.46) && near(low, -0.786) && near(high, -0.010), "{middle} {low} {high}");
    }

    #[test]
    fn ratios_of_a_kind_have_their_own_value_and_no_doubt() {
        let Ratio { middle, low, high } = ratio(&[1.25; 8]);
        assert!([middle, low, high].iter().all(|value| (value - 1.25).abs() < 1e-12));
    }

    #[test]
    fn one_disturbed_block_moves_next_to_nothing() {
        let calm = [0.99, 1.00, 1.01, 1.00, 0.99, 1.01, 1.00, 1.00, 0.99, 1.01, 1.00, 1.00];
        let mut disturbed = calm;
        disturbed[3] = 7.0;
        let Ratio { middle, low, high } = ratio(&disturbed);
        assert!((middle - 1.0).abs() < 0.01 && low > 0.99 && high < 1.02, "{middle} {low} {high}");
    }

    #[test]
    fn the_interval_holds_the_truth_95_times_of_a_hundred() {
        let mut random = fastrand::Rng::with_seed(11);
        // The sum of twelve even ones is nearly normal.
        let mut noise = || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        let tries = 4000;
        let held = (0..tries).filter(|_| {
            let values: Vec<f64> = (0..12).map(|_| (0.03 * noise()).exp()).collect();
            let Ratio { low, high, .. } = ratio(&values);
            (low..=high).contains(&1.0)
        });
        let share = held.count() as f64 / f64::from(tries);
        assert!((0.945..0.97).contains(&share), "{share}");
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }
}
