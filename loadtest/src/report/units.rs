//! Figures as people read them: `83 µs`, `137 910/s`, `3.84 KiB`, `39 964`.
//!
//! Three significant digits, as the histogram has them. What is not a
//! number is told as unknown, never as zero. Nothing here knows what a figure means.

use super::Unit;

/// What stands where there is nothing to tell.
pub const UNKNOWN: &str = "–";

const TIMES: &[(f64, &str)] = &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")];
const SIZES: &[(f64, &str)] = &[
    (1.0, "B"),
    (1_024.0, "KiB"),
    (1_048_576.0, "MiB"),
    (1_073_741_824.0, "GiB"),
    (1_099_511_627_776.0, "TiB"),
];

/// Below this the seconds are told alone: nobody reads 90 s as a minute and a half.
const SECONDS_ALONE_MAX: f64 = 600.0;

/// A figure in its unit.
#[must_use]
pub fn told(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => number(value),
        Unit::PerSecond => rate(value),
        Unit::Seconds => seconds(value),
        Unit::Nanoseconds => nanoseconds(value),
        Unit::Bytes => bytes(value),
        Unit::Share => share(value),
        Unit::Ratio => ratio(value),
    }
}

/// A figure that somebody chose, without zeros at its end: `2 ms`, not `2.00 ms`.
#[must_use]
pub fn chosen(value: f64, unit: Unit) -> String {
    if unit == Unit::Nanoseconds { seconds(value / 1e9) } else { told(value, unit) }
}

/// `512 ns`, `83.4 µs`, `83.0 µs`, `1.24 ms`, `12.5 s`: always three digits, since columns are made of them.
#[must_use]
pub fn nanoseconds(value: f64) -> String {
    if value.abs() >= SECONDS_ALONE_MAX * 1e9 { seconds(value / 1e9) } else { scaled(value, TIMES, exact) }
}

/// `83.4 µs`, `12.5 s`, `10 min 5 s`.
#[must_use]
pub fn seconds(value: f64) -> String {
    if value.abs() < SECONDS_ALONE_MAX || !value.is_finite() {
        return scaled(value * 1e9, TIMES, digits);
    }
    let whole = value.abs().round() as u64;
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    let sign = if value < 0.0 { "-" } else { "" };
    if hours > 0 {
        format!("{sign}{hours} h {minutes} min")
    } else {
        format!("{sign}{minutes} min {seconds} s")
    }
}

/// `48 B`, `3.84 KiB`, `12.4 GiB`.
#[must_use]
pub fn bytes(value: f64) -> String {
    scaled(value, SIZES, digits)
}

/// `137 910/s`, `12.5/s`.
#[must_use]
pub fn rate(value: f64) -> String {
    if value.is_finite() { format!("{}/s", number(value)) } else { UNKNOWN.to_owned() }
}

/// `25 %`, `99.97 %`, `0.5 %`: two decimals at most, and never 0 % or 100 % of what is not.
#[must_use]
pub fn share(value: f64) -> String {
    if !value.is_finite() {
        return UNKNOWN.to_owned();
    }
    let mut hundredths = (value * 10_000.0).round() / 100.0;
    if value < 1.0 && hundredths >= 100.0 {
        hundredths = 99.99;
    }
    if value > 0.0 && hundredths == 0.0 {
        return "<0.01 %".to_owned();
    }
    format!("{} %", trimmed(&format!("{hundredths:.2}")))
}

/// `1.07`, `281`: two decimals, fewer for large factors.
#[must_use]
pub fn ratio(value: f64) -> String {
    let decimals = ratio_decimals(value);
    if value.is_finite() { format!("{value:.decimals$}") } else { UNKNOWN.to_owned() }
}

/// How many decimals a ratio of this size is worth.
#[must_use]
pub fn ratio_decimals(value: f64) -> usize {
    match value.abs() {
        large if large >= 100.0 => 0,
        tens if tens >= 10.0 => 1,
        _ => 2,
    }
}

/// A number without a unit, at least its three first digits: `39 964`, `12.5`, `0.016`.
#[must_use]
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return UNKNOWN.to_owned();
    }
    let text = if value.abs() >= 100.0 { format!("{value:.0}") } else { digits(value) };
    let (sign, rest) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    match rest.split_once('.') {
        Some((whole, decimals)) => format!("{sign}{}.{decimals}", grouped(whole)),
        None => format!("{sign}{}", grouped(rest)),
    }
}

/// A whole number in groups of three: `39 964`.
#[must_use]
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Three digits in the largest unit that leaves at least one before the point.
fn scaled(value: f64, units: &[(f64, &str)], digits: fn(f64) -> String) -> String {
    if !value.is_finite() {
        return UNKNOWN.to_owned();
    }
    let fits = |(size, _): &&(f64, &str)| rounded(value.abs() / size) >= 1.0;
    let (size, unit) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    let scaled = value / size;
    // 1000 to 1023 KiB have four digits before the point, and stay whole.
    let is_whole = scaled.abs() >= 1_000.0 || scaled == 0.0;
    let text = if is_whole { number(scaled) } else { digits(scaled) };
    format!("{text} {unit}")
}

/// To three significant digits.
fn rounded(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { format!("{value:.2e}").parse().unwrap_or(value) }
}

/// Three significant digits, without decimals that are all zero.
fn digits(value: f64) -> String {
    let text = exact(value);
    if value.abs() < 1.0 || rounded(value).fract() == 0.0 { trimmed(&text) } else { text }
}

/// Three significant digits, zeros too.
fn exact(value: f64) -> String {
    let value = rounded(value);
    let decimals = match value.abs() {
        0.0 => 0,
        large if large >= 1.0 => 2_usize.saturating_sub(large.log10() as usize),
        small => 2 + (-small.log10()).ceil().min(12.0) as usize,
    };
    format!("{value:.decimals$}")
}

fn trimmed(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_suits_them() {
        for (value, expected) in [
            (0.0, "0 ns"),
            (512.0, "512 ns"),
            (512_000_000_000.0, "512 s"),
            (83_000.0, "83.0 µs"),
            (83_400.0, "83.4 µs"),
            (1_240_000.0, "1.24 ms"),
            (1_200_000.0, "1.20 ms"),
            (999_600.0, "1.00 ms"),
            (999_400.0, "999 µs"),
            (12_500_000_000.0, "12.5 s"),
            (599e9, "599 s"),
            (605e9, "10 min 5 s"),
            (7_260e9, "2 h 1 min"),
            (f64::NAN, UNKNOWN),
        ] {
            assert_eq!(nanoseconds(value), expected);
        }
    }

    #[test]
    fn bytes_may_be_negative_and_shares_of_one() {
        for (value, expected) in [
            (48.0, "48 B"),
            (47.93, "47.9 B"),
            (0.25, "0.25 B"),
            (-12.0, "-12 B"),
            (1_000.0, "1 000 B"),
            (3_932.0, "3.84 KiB"),
            (1_023.0 * 1_024.0, "1 023 KiB"),
            (25_769_803_776.0, "24 GiB"),
        ] {
            assert_eq!(bytes(value), expected);
        }
    }

    #[test]
    fn counts_and_rates_are_grouped_by_three() {
        assert_eq!((count(7), count(1_000), count(39_964)), ("7".into(), "1 000".into(), "39 964".into()));
        assert_eq!(rate(137_910.4), "137 910/s");
        assert_eq!(rate(12.5), "12.5/s");
        assert_eq!(rate(f64::INFINITY), UNKNOWN);
        assert_eq!(number(-1_234_567.0), "-1 234 567");
        assert_eq!(number(0.016), "0.016");
    }

    #[test]
    fn what_falls_short_of_all_is_not_told_as_all_nor_a_little_as_nothing() {
        assert_eq!(share(0.999_999), "99.99 %");
        assert_eq!(share(0.000_001), "<0.01 %");
        assert_eq!(share(0.0), "0 %");
        assert_eq!(share(1.0), "100 %");
        assert_eq!(share(0.25), "25 %");
        assert_eq!(share(0.005), "0.5 %");
        assert_eq!(
            (chosen(2e6, Unit::Nanoseconds), chosen(128.0, Unit::Bytes)),
            ("2 ms".into(), "128 B".into())
        );
        assert_eq!([1.068, 19.71, 281.76].map(|value| told(value, Unit::Ratio)), ["1.07", "19.7", "282"]);
    }

    proptest! {
        #[test]
        fn what_is_told_is_within_half_a_percent(value in 1_u64..600_000_000_000) {
            let text = nanoseconds(value as f64);
            let (number, unit) = text.rsplit_once(' ').unwrap();
            let size = TIMES.iter().find(|(_, name)| *name == unit).unwrap().0;
            let back = number.replace(' ', "").parse::<f64>().unwrap() * size;
            prop_assert!((back / value as f64 - 1.0).abs() <= 0.005_01, "{value}: {text}");
        }

        #[test]
        fn more_is_never_told_as_less(one in 0_u64..1_u64 << 50, more in 0_u64..1 << 40) {
            let (less, greater) = (bytes(one as f64), bytes((one + more) as f64));
            let parts = |text: &str| {
                let (number, unit) = text.rsplit_once(' ').unwrap();
                let place = SIZES.iter().position(|(_, name)| *name == unit).unwrap();
                (place, number.replace(' ', "").parse::<f64>().unwrap())
            };
            prop_assert!(parts(&less) <= parts(&greater), "{less} {greater}");
        }

        #[test]
        fn grouping_loses_no_digit(value: u64) {
            prop_assert_eq!(count(value).replace(' ', "").parse::<u64>().unwrap(), value);
        }
    }
}
