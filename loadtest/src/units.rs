//! Numbers as people write them: `100k`, `1M`, `10s`, `250ms`, `1%`.

use std::time::Duration;

/// `20000`, `20k`, `1M`, `1.5M`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn count(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.trim().to_ascii_lowercase() {
        text if text.ends_with('k') => (text[..text.len() - 1].to_string(), 1e3),
        text if text.ends_with('m') => (text[..text.len() - 1].to_string(), 1e6),
        text => (text.replace('_', ""), 1.0),
    };
    let value = number.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    let value = value.ok_or_else(|| format!("{text:?} is not a number; write 20000, 20k or 1M"))? * factor;
    if value.fract() != 0.0 || value > 1e15 {
        return Err(format!("{text:?} is not a whole number"));
    }
    Ok(value as u64)
}

/// The same, but nought makes no sense.
///
/// # Errors
/// What is wrong with it, for people.
pub fn positive(text: &str) -> Result<u64, String> {
    match count(text)? {
        0 => Err("must be at least 1".to_string()),
        value => Ok(value),
    }
}

/// `64MiB`, `16k`, `512`: bytes, where a bare `k` or `M` is a power of two as everywhere in memory.
///
/// # Errors
/// What is wrong with it, for people.
pub fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.trim_end_matches('b').trim_end_matches('i');
    let (number, factor) = match number.chars().last() {
        Some('k') => (&number[..number.len() - 1], 1_u64 << 10),
        Some('m') => (&number[..number.len() - 1], 1 << 20),
        Some('g') => (&number[..number.len() - 1], 1 << 30),
        _ => (number, 1),
    };
    let value = number.trim().parse::<u64>().ok().and_then(|value| value.checked_mul(factor));
    value.ok_or_else(|| format!("{text:?} is not a size; write 512, 16KiB or 64MiB"))
}

/// `10s`, `250ms`, `2m`, `1h`; bare numbers are seconds.
///
/// # Errors
/// What is wrong with it, for people.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?}: {unit:?} is no unit of time; write 250ms, 10s, 2m or 1h")),
    };
    let value = number.parse::<f64>().ok().filter(|value| (0.0..1e9).contains(value));
    let value = value.ok_or_else(|| format!("{text:?} is not a duration; write 250ms, 10s, 2m or 1h"))?;
    Ok(Duration::from_secs_f64(value * seconds))
}

/// The same, but nought makes no sense.
///
/// # Errors
/// What is wrong with it, for people.
pub fn span(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_string()),
        value => Ok(value),
    }
}

/// `1%` or `0.01`: a share of one.
///
/// # Errors
/// What is wrong with it, for people.
pub fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a share; write 1% or 0.01");
    let value = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => text.trim().parse().map_err(|_| wrong())?,
    };
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        assert_eq!(count("20000"), Ok(20_000));
        assert_eq!(count("1_000_000"), Ok(1_000_000));
        assert_eq!(count("1.5M"), Ok(1_500_000));
        assert_eq!(count("100k"), Ok(100_000));
        assert!(
            count("ten").is_err() && count("-1").is_err() && count("0.5").is_err() && count("k").is_err()
        );
        assert!(positive("0").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(duration("5 parsecs").unwrap_err().contains("parsecs"));
        assert!(duration("").is_err());
        assert!(duration("0s").is_ok() && span("0s").is_err() && span("1us").is_ok());
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("16k"), Ok(16 << 10));
        assert_eq!(bytes("512 B"), Ok(512));
        assert!(bytes("MiB").is_err() && bytes("-1").is_err() && bytes("99999999999G").is_err());
    }

    #[test]
    fn shares_are_percent_or_less_than_one() {
        assert_eq!(share("1%"), Ok(0.01));
        assert_eq!(share("0.5"), Ok(0.5));
        assert!(share("200%").is_err() && share("some").is_err());
    }
}
