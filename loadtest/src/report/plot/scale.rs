//! Scales: where on an axis a value lies, and the round values that are written beside it.
//!
//! Promises: ticks ascend, lie within the scale and are round in their unit (1, 2 or 5 of a power, of two
//! for bytes); a value within the data lies between 0 and 1. No pixels here.

use crate::report::{Unit, units};

/// An axis: values from one end to the other.
#[derive(Clone, Debug)]
pub struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
    pub ticks: Vec<Tick>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Linear,
    Log,
}

/// A value with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    pub value: f64,
    pub label: String,
    /// Where there is no room for all labels, the lowest stay.
    pub rank: u32,
}

/// Data must be this many times as much at its end as at its beginning for powers to be worth it.
const LOG_SPAN_MIN: f64 = 1.6;

impl Scale {
    /// From 0 (or below) to a round value that is not less than any.
    pub fn linear(values: impl Iterator<Item = f64>, unit: Unit, ticks_max: usize) -> Scale {
        let (low, high) = ends(values.chain([0.0]));
        let high = if high > low { high } else { low + 1.0 };
        Scale::between(low, high, unit, ticks_max)
    }

    /// As [`linear`](Scale::linear), with whole numbers for ticks: there is no half connection.
    pub fn counted(values: impl Iterator<Item = f64>, ticks_max: usize) -> Scale {
        let mut scale = Scale::linear(values, Unit::Count, ticks_max);
        scale.ticks.retain(|tick| tick.value.fract() == 0.0);
        scale
    }

    /// As [`linear`](Scale::linear) where the data grows from little; else around the data, since growth on
    /// top of much would be a level line.
    pub fn grown(values: impl Iterator<Item = f64> + Clone, unit: Unit, ticks_max: usize) -> Scale {
        let (low, high) = ends(values.clone());
        if low > high / 2.0 && low < high {
            return Scale::between(low - (high - low) * 0.05, high, unit, ticks_max);
        }
        Scale::linear(values, unit, ticks_max)
    }

    /// From the first to the last value exactly, ticks between.
    pub fn exact(low: f64, high: f64, unit: Unit, ticks_max: usize) -> Scale {
        let high = if high > low { high } else { low + 1.0 };
        let wide = Scale::between(low, high, unit, ticks_max);
        let is_within = |tick: &Tick| tick.value >= low && tick.value <= high;
        Scale { low, high, ticks: wide.ticks.into_iter().filter(is_within).collect(), ..wide }
    }

    /// Powers of ten with halves and fifths between; what is not positive lies at its foot.
    pub fn log(values: impl Iterator<Item = f64>, unit: Unit, ticks_max: usize) -> Scale {
        let (low, high) = ends(values.filter(|value| *value > 0.0));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 10.0) };
        let (low, high) = (round_down(low), round_up(high));
        let high = if high > low { high } else { round_up(low * 1.01) };
        Scale { kind: Kind::Log, low, high, ticks: powers(low, high, unit, ticks_max) }
    }

    /// Ratios: logarithmic, so that half lies as far from 1 as double, unless all are near one another.
    pub fn ratios(values: impl Iterator<Item = f64>, ticks_max: usize) -> Scale {
        let (low, high) = ends(values.filter(|value| *value > 0.0).chain([1.0]));
        if high / low > LOG_SPAN_MIN {
            return Scale::log([low, high].into_iter(), Unit::Ratio, ticks_max);
        }
        // Air on both sides, so that 1 is not the edge of the picture.
        let air = ((high - low) * 0.08).max(0.005);
        Scale::between(low - air, high + air, Unit::Ratio, ticks_max)
    }

    fn between(low: f64, high: f64, unit: Unit, ticks_max: usize) -> Scale {
        let (size, name) = unit_of(high.abs().max(low.abs()), unit);
        let step = step((high - low) / size, ticks_max) * size;
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let tick = |number: f64| {
            let value = number * step;
            Tick { value, label: label(value, unit, size, name), rank: 0 }
        };
        let count = (last - first) as usize;
        let ticks = (0..=count).map(|at| tick(first + at as f64)).collect();
        Scale { kind: Kind::Linear, low: first * step, high: last * step, ticks }
    }

    /// With ticks of one's own.
    pub fn with_ticks(low: f64, high: f64, ticks: Vec<Tick>) -> Scale {
        Scale { kind: Kind::Linear, low, high, ticks }
    }

    /// 0 at the low end, 1 at the high one; beyond them for what lies outside.
    pub fn at(&self, value: f64) -> f64 {
        match self.kind {
            Kind::Linear => (value - self.low) / (self.high - self.low),
            Kind::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        }
    }
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// 1, 2 or 5 of a power of ten, so that no more than so many fit.
fn step(span: f64, ticks_max: usize) -> f64 {
    let least = span / ticks_max.max(1) as f64;
    let power = 10_f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= least * (1.0 - 1e-9));
    times.unwrap_or(10.0) * power
}

fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf((value.log10() + 1e-9).floor());
    [5.0, 2.0, 1.0]
        .into_iter()
        .map(|times| times * power)
        .find(|round| *round <= value * 1.000_001)
        .unwrap_or(power)
}

fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf((value.log10() + 1e-9).floor());
    let rounds = [1.0, 2.0, 5.0].into_iter().map(|times| times * power);
    rounds.into_iter().find(|round| *round >= value * 0.999_999).unwrap_or(power * 10.0)
}

/// The densest of a few families that has no more ticks than asked for.
fn powers(low: f64, high: f64, unit: Unit, ticks_max: usize) -> Vec<Tick> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let families: [(&[f64], usize); 6] =
        [(&[1.0, 2.0, 5.0], 1), (&[1.0, 3.0], 1), (&[1.0], 1), (&[1.0], 2), (&[1.0], 3), (&[1.0], 6)];
    let ticks = |(times, every): &(&[f64], usize)| -> Vec<Tick> {
        let values = (first..=last)
            .step_by(*every)
            .flat_map(|power| times.iter().map(move |times| times * 10_f64.powi(power)));
        let values = values.filter(|value| *value >= low * 0.999 && *value <= high * 1.001);
        values.map(|value| Tick { value, label: label_of(value, unit), rank: 0 }).collect()
    };
    let fits = families.iter().map(ticks).find(|ticks| ticks.len() <= ticks_max.max(2));
    fits.unwrap_or_else(|| ticks(&families[5]))
}

/// The unit all ticks of a linear axis share, where powers of ten would not be round.
fn unit_of(high: f64, unit: Unit) -> (f64, &'static str) {
    if unit != Unit::Bytes {
        return (1.0, "");
    }
    let sizes =
        [(1_099_511_627_776.0, "TiB"), (1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1_024.0, "KiB")];
    sizes.into_iter().find(|(size, _)| high >= *size).unwrap_or((1.0, "B"))
}

fn label(value: f64, unit: Unit, size: f64, name: &str) -> String {
    if unit == Unit::Bytes && value != 0.0 {
        return format!("{} {name}", trimmed(value / size));
    }
    label_of(value, unit)
}

/// `250 k`, `1 M`, `20 ms`, `40 %`: short, since many stand beside one another.
fn label_of(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count | Unit::PerSecond => thousands(value),
        Unit::Ratio => trimmed(value),
        _ if value == 0.0 => "0".to_owned(),
        // Minutes are not round in seconds, nor are hours.
        Unit::Seconds if value >= 600.0 => format!("{} s", units::number(value)),
        Unit::Nanoseconds if value >= 600e9 => format!("{} s", units::number(value / 1e9)),
        _ => units::chosen(value, unit),
    }
}

fn thousands(value: f64) -> String {
    let sizes = [(1e9, " G"), (1e6, " M"), (1e3, " k")];
    // A thousand of something small is easier to read in full.
    let (size, name) = sizes.into_iter().find(|(size, _)| value.abs() >= *size).unwrap_or((1.0, ""));
    format!("{}{name}", trimmed(value / size))
}

/// Without the noise of binary fractions.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_in_their_unit() {
        let scale = Scale::linear([137_910.0].into_iter(), Unit::PerSecond, 5);
        assert_eq!(labels(&scale), ["0", "50 k", "100 k", "150 k"]);
        let scale = Scale::linear([8.1e9].into_iter(), Unit::Bytes, 5);
        assert_eq!(labels(&scale), ["0", "2 GiB", "4 GiB", "6 GiB", "8 GiB"]);
        let scale = Scale::linear([1_000_000.0].into_iter(), Unit::Count, 5);
        assert_eq!(labels(&scale), ["0", "200 k", "400 k", "600 k", "800 k", "1 M"]);
        let scale = Scale::exact(0.0, 30.0, Unit::Seconds, 6);
        assert_eq!(labels(&scale), ["0", "5 s", "10 s", "15 s", "20 s", "25 s", "30 s"]);
    }

    #[test]
    fn powers_have_halves_and_fifths_where_there_is_room() {
        let scale = Scale::log([415e3, 14.8e6].into_iter(), Unit::Nanoseconds, 8);
        assert_eq!(labels(&scale), ["200 µs", "500 µs", "1 ms", "2 ms", "5 ms", "10 ms", "20 ms"]);
        let scale = Scale::log([415e3, 14.8e6].into_iter(), Unit::Nanoseconds, 4);
        assert_eq!(labels(&scale), ["300 µs", "1 ms", "3 ms", "10 ms"]);
        let scale = Scale::log([600.0, 4e12].into_iter(), Unit::Nanoseconds, 7);
        assert_eq!(labels(&scale), ["10 µs", "1 ms", "100 ms", "10 s", "1 000 s"]);
    }

    #[test]
    fn ratios_near_one_another_are_linear() {
        let near = Scale::ratios([0.98, 1.03].into_iter(), 6);
        assert_eq!(labels(&near), ["0.97", "0.98", "0.99", "1", "1.01", "1.02", "1.03", "1.04"]);
        let far = Scale::ratios([0.1, 1.01].into_iter(), 6);
        assert_eq!(labels(&far), ["0.1", "0.2", "0.5", "1", "2"]);
    }

    #[test]
    fn growth_on_top_of_much_is_not_a_level_line() {
        const MIB: f64 = 1_048_576.0;
        let scale = |values: [f64; 2]| Scale::grown(values.map(|mib| mib * MIB).into_iter(), Unit::Bytes, 5);
        assert_eq!(labels(&scale([6.37, 6.55])), ["6.35 MiB", "6.4 MiB", "6.45 MiB", "6.5 MiB", "6.55 MiB"]);
        assert_eq!(labels(&scale([29.6, 88.1]))[0], "0");
        assert_eq!(labels(&scale([7.0, 7.0]))[0], "0");
    }

    #[test]
    fn one_value_none_or_nothing_has_a_scale_all_the_same() {
        for values in [vec![], vec![0.0], vec![7.0], vec![f64::NAN, f64::INFINITY]] {
            for scale in [
                Scale::linear(values.iter().copied(), Unit::Count, 5),
                Scale::log(values.iter().copied(), Unit::Nanoseconds, 5),
                Scale::ratios(values.iter().copied(), 5),
            ] {
                assert!(scale.high > scale.low && scale.ticks.len() >= 2, "{scale:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn data_lies_within_and_ticks_ascend(
            values in proptest::collection::vec(1.0..1e13_f64, 1..20), ticks_max in 3_usize..12, kind in 0..3,
        ) {
            let scale = match kind {
                0 => Scale::linear(values.iter().copied(), Unit::Bytes, ticks_max),
                1 => Scale::log(values.iter().copied(), Unit::Nanoseconds, ticks_max),
                _ => Scale::ratios(values.iter().copied(), ticks_max),
            };
            for value in &values {
                let at = scale.at(*value);
                prop_assert!((-0.001..=1.001).contains(&at), "{value} at {at} of {scale:?}");
            }
            prop_assert!(scale.ticks.len() >= 2, "{scale:?}");
            prop_assert!(scale.ticks.len() <= ticks_max + 3, "{scale:?}");
            prop_assert!(scale.ticks.windows(2).all(|two| two[0].value < two[1].value), "{scale:?}");
            let ends = scale.ticks.iter().map(|tick| scale.at(tick.value));
            prop_assert!(ends.into_iter().all(|at| (-0.01..=1.01).contains(&at)), "{scale:?}");
            let mut labels = labels(&scale);
            labels.dedup();
            prop_assert_eq!(labels.len(), scale.ticks.len(), "{:?}", scale);
        }

        #[test]
        fn linear_ticks_are_one_two_or_five_of_a_power(high in 1.0..1e12_f64, ticks_max in 3_usize..12) {
            let scale = Scale::linear([high].into_iter(), Unit::Count, ticks_max);
            let step = scale.ticks[1].value - scale.ticks[0].value;
            let digit = step / 10_f64.powf((step.log10() + 1e-9).floor());
            prop_assert!([1.0, 2.0, 5.0].iter().any(|round| (digit - round).abs() < 1e-6), "{step}");
        }
    }
}
