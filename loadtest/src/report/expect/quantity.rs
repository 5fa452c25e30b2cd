//! A number with its unit, as written: `2ms`, `99 %`, `50k/s`, `64 MiB`, `1 000 000`.
//!
//! What it is worth depends on what it is compared with, so that is asked for later: `128` is bytes beside
//! bytes, and no time at all.

use std::fmt;

use crate::report::{Unit, units};

#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    number: f64,
    suffix: Suffix,
}

/// Each with its size in the smallest of its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Suffix {
    None,
    Nanoseconds(f64),
    Percent,
    Times(f64),
    Bytes(f64),
}

const UNITS: &[(&str, Suffix)] = &[
    ("", Suffix::None),
    ("ns", Suffix::Nanoseconds(1.0)),
    ("us", Suffix::Nanoseconds(1e3)),
    ("µs", Suffix::Nanoseconds(1e3)),
    ("ms", Suffix::Nanoseconds(1e6)),
    ("s", Suffix::Nanoseconds(1e9)),
    ("min", Suffix::Nanoseconds(60e9)),
    ("%", Suffix::Percent),
    ("k", Suffix::Times(1e3)),
    ("M", Suffix::Times(1e6)),
    ("G", Suffix::Times(1e9)),
    ("B", Suffix::Bytes(1.0)),
    ("kB", Suffix::Bytes(1e3)),
    ("MB", Suffix::Bytes(1e6)),
    ("GB", Suffix::Bytes(1e9)),
    ("KiB", Suffix::Bytes(1_024.0)),
    ("MiB", Suffix::Bytes(1_048_576.0)),
    ("GiB", Suffix::Bytes(1_073_741_824.0)),
];

impl Quantity {
    pub fn parse(text: &str) -> Result<Quantity, String> {
        let text = text.chars().filter(|c| !c.is_whitespace() && *c != '_').collect::<String>();
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
        let end = text.find(|c| !is_number(c)).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let number = digits.parse::<f64>().map_err(|_| format!("`{text}` does not begin with a number"))?;
        let unit = unit.strip_suffix("/s").unwrap_or(unit);
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, suffix) = known.ok_or_else(|| {
            format!("`{unit}` is no unit; there are ns us ms s min, %, k M G, B KiB MiB GiB kB MB GB")
        })?;
        Ok(Quantity { number, suffix: *suffix })
    }

    /// Its worth beside figures of that unit; else what such figures are and how to write them.
    pub fn in_unit(&self, unit: Unit) -> Result<f64, String> {
        let worth = match (unit, self.suffix) {
            (Unit::Nanoseconds, Suffix::Nanoseconds(size)) => self.number * size,
            (Unit::Seconds, Suffix::Nanoseconds(size)) => self.number * size / 1e9,
            (Unit::Bytes, Suffix::Bytes(size)) => self.number * size,
            (Unit::Count | Unit::PerSecond | Unit::Ratio, Suffix::Times(size)) => self.number * size,
            (Unit::Share | Unit::Ratio, Suffix::Percent) => self.number / 100.0,
            // Nothing is the same in every unit, but 2 of latency could be anything.
            (Unit::Nanoseconds, Suffix::None) if self.number != 0.0 => return Err(expected(unit)),
            (_, Suffix::None) => self.number,
            _ => return Err(expected(unit)),
        };
        Ok(worth)
    }
}

fn expected(unit: Unit) -> String {
    let (what, example) = match unit {
        Unit::Nanoseconds | Unit::Seconds => ("a time", "2ms or 1.5s"),
        Unit::Bytes => ("a number of bytes", "128 or 64MiB"),
        Unit::Count => ("a count", "0 or 20k"),
        Unit::PerSecond => ("a rate", "50k/s"),
        Unit::Share => ("a share", "99% or 0.99"),
        Unit::Ratio => ("a ratio", "1.05"),
    };
    format!("{what}: write {example}")
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, suffix)| *suffix == self.suffix).map_or("", |(name, _)| *name);
        let gap = if unit.is_empty() { "" } else { " " };
        write!(out, "{}{gap}{unit}", units::number(self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(text: &str, unit: Unit) -> Result<f64, String> {
        Quantity::parse(text)?.in_unit(unit)
    }

    #[test]
    fn units_are_what_they_are_beside_what_they_are_compared_with() {
        assert_eq!(worth(" 2 ms ", Unit::Nanoseconds), Ok(2_000_000.0));
        assert_eq!(worth("2ms", Unit::Seconds), Ok(0.002));
        assert_eq!(worth("1.5min", Unit::Seconds), Ok(90.0));
        assert_eq!(worth("40", Unit::Seconds), Ok(40.0));
        assert_eq!(worth("0", Unit::Nanoseconds), Ok(0.0));
        assert_eq!(worth("99%", Unit::Share), Ok(0.99));
        assert_eq!(worth("0.99", Unit::Share), Ok(0.99));
        assert_eq!(worth("50k/s", Unit::PerSecond), Ok(50_000.0));
        assert_eq!(worth("1 000 000", Unit::Count), Ok(1_000_000.0));
        assert_eq!(worth("1_000_000", Unit::Count), Ok(1_000_000.0));
        assert_eq!(worth("64MiB", Unit::Bytes), Ok(67_108_864.0));
        assert_eq!(worth("-12", Unit::Bytes), Ok(-12.0));
    }

    #[test]
    fn what_does_not_fit_says_how_to_write_it() {
        assert_eq!(worth("2", Unit::Nanoseconds), Err("a time: write 2ms or 1.5s".into()));
        assert_eq!(worth("2ms", Unit::Count), Err("a count: write 0 or 20k".into()));
        assert_eq!(worth("5k", Unit::Bytes), Err("a number of bytes: write 128 or 64MiB".into()));
        assert!(worth("2m", Unit::Nanoseconds).unwrap_err().starts_with("`m` is no unit; there are"));
        assert!(worth("", Unit::Count).is_err() && worth("ms", Unit::Count).is_err());
        assert!(worth("1.2.3", Unit::Count).is_err() && worth("inf", Unit::Count).is_err());
    }

    #[test]
    fn it_is_told_as_it_was_written() {
        assert_eq!(Quantity::parse("2ms").unwrap().to_string(), "2 ms");
        assert_eq!(Quantity::parse("1000000").unwrap().to_string(), "1 000 000");
    }
}
