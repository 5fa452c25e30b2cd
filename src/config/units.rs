//! Durations and sizes as people write them, and back.
//!
//! What is shown here reads back as the same number. A value that is nothing (zero, negative, rounded away)
//! is refused: every setting that may be switched off has a word for it.
//! Which bounds a setting has is [`resolve`](super::resolve)'s business.

/// Fraction digits that are read; more would be below any unit's resolution.
const FRACTION_DIGITS_MAX: usize = 9;

const DURATION_FIX: &str = "write 500ms, 30s or 2m";
const SIZE_FIX: &str = "write 512, 16k, 1m or 1g";

/// The first fitting unit shows a duration, so the largest come first.
const DURATION_UNITS: [(&str, u64); 6] =
    [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1), ("min", 60_000), ("d", 86_400_000)];

const SIZE_UNITS: [(&str, u64); 13] = [
    ("t", 1 << 40),
    ("g", 1 << 30),
    ("m", 1 << 20),
    ("k", 1 << 10),
    ("b", 1),
    ("tb", 1 << 40),
    ("gb", 1 << 30),
    ("mb", 1 << 20),
    ("kb", 1 << 10),
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
];

/// Milliseconds from `500ms`, `1.5s`, `30` (seconds), `2m`, `1h`; else what is wrong and how to write it.
pub fn duration_ms(text: &str) -> Result<u32, String> {
    let ms = scaled(text, &DURATION_UNITS, 1_000).map_err(|fault| match fault {
        Fault::Empty => format!("no duration given; {DURATION_FIX}"),
        Fault::Nonsense => format!("not a duration; {DURATION_FIX}"),
        Fault::Negative => String::from("a duration cannot be negative; write 1ms or more"),
        Fault::Nothing => String::from("too short to be a duration; write 1ms or more"),
        Fault::TooLarge => String::from("too long for a duration; write 1000h or less"),
    })?;
    u32::try_from(ms).map_err(|_| String::from("too long for a duration; write 1000h or less"))
}

/// Bytes from `512`, `16k`, `1.5m`, `64kb`, `1GiB`, all in powers of 1024; else what is wrong and how to
/// write it.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    scaled(text, &SIZE_UNITS, 1).map_err(|fault| match fault {
        Fault::Empty => format!("no size given; {SIZE_FIX}"),
        Fault::Nonsense => format!("not a size; {SIZE_FIX}"),
        Fault::Negative => String::from("a size cannot be negative; write 1 or more"),
        Fault::Nothing => String::from("too small to be a size; write 1 or more"),
        Fault::TooLarge => String::from("too large for a size; write 1024t or less"),
    })
}

/// `75s`, `2m`, `1500ms`: the largest unit that fits exactly.
pub fn duration_text(ms: u32) -> String {
    exact(u64::from(ms), &DURATION_UNITS[..4])
}

/// `16k`, `1g`, `65535`: the largest unit that fits exactly.
pub fn size_text(bytes: u64) -> String {
    let text = exact(bytes, &SIZE_UNITS[..5]);
    text.strip_suffix('b').map(String::from).unwrap_or(text)
}

/// `64 B`, `3.8 KiB`, `151 MiB`: three digits, for reading and not for reading back.
pub fn size_about(bytes: u64) -> String {
    let Some(&(name, unit)) = SIZE_UNITS[..4].iter().find(|(_, unit)| bytes >= *unit) else {
        return format!("{bytes} B");
    };
    let prefix = name.to_ascii_uppercase();
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    match tenths {
        0..100 => format!("{}.{} {prefix}iB", tenths / 10, tenths % 10),
        _ => format!("{} {prefix}iB", tenths / 10),
    }
}

/// `1 048 576`: digits in threes.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

enum Fault {
    Empty,
    Nonsense,
    Negative,
    Nothing,
    TooLarge,
}

/// A decimal number times its unit, in whole numbers all the way: what is written is what is meant.
fn scaled(text: &str, units: &[(&str, u64)], unit_when_bare: u64) -> Result<u64, Fault> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Fault::Empty);
    }
    let (text, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let number_len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..number_len], text[number_len..].trim_start());
    let unit = match unit {
        "" => unit_when_bare,
        name => named(name, units).ok_or(Fault::Nonsense)?,
    };
    let value = times(number, unit)?;
    match value {
        _ if negative => Err(Fault::Negative),
        0 => Err(Fault::Nothing),
        value => Ok(value),
    }
}

fn named(name: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, unit)| unit)
}

fn times(number: &str, unit: u64) -> Result<u64, Fault> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(Fault::Nonsense);
    }
    let whole: u64 = whole.parse().map_err(|_| Fault::TooLarge)?;
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let parts: u64 = fraction.parse().map_err(|_| Fault::Nonsense)?;
    let below_one = u128::from(parts) * u128::from(unit) / 10u128.pow(fraction.len() as u32);
    let value = u128::from(whole) * u128::from(unit) + below_one;
    u64::try_from(value).map_err(|_| Fault::TooLarge)
}

fn exact(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, unit)| value >= *unit && value.is_multiple_of(*unit))
        .map_or_else(|| value.to_string(), |(name, unit)| format!("{}{name}", value / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_in_every_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("30", 30_000),
            ("1.5s", 1_500),
            ("0.25", 250),
            ("2m", 120_000),
            ("2min", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            (" 7 S ", 7_000),
            ("4294967295ms", u32::MAX),
        ] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn reads_sizes_in_powers_of_1024_whatever_the_case() {
        for (text, bytes) in [
            ("1", 1),
            ("512b", 512),
            ("16k", 16_384),
            ("16K", 16_384),
            ("64kb", 65_536),
            ("64KiB", 65_536),
            ("1m", 1 << 20),
            ("1.5m", 3 << 19),
            ("2GB", 2 << 30),
            ("1t", 1 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_duration() {
        for (text, told) in [
            ("", "no duration given"),
            ("10x", "not a duration; write 500ms, 30s or 2m"),
            ("s", "not a duration"),
            ("1.", "not a duration"),
            (".5", "not a duration"),
            ("1.2.3", "not a duration"),
            ("+5", "not a duration"),
            ("1e3", "not a duration"),
            ("5é", "not a duration"),
            ("0", "too short"),
            ("0.0001s", "too short"),
            ("-3s", "negative"),
            ("4294967296ms", "too long"),
            ("99999999999999999999999s", "too long"),
        ] {
            let error = duration_ms(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_size() {
        for (text, told) in [
            ("", "no size given"),
            ("16q", "not a size; write 512, 16k"),
            ("30s", "not a size"),
            ("0", "too small"),
            ("0.1", "too small"),
            ("-1k", "negative"),
            ("18446744073709551616", "too large"),
            ("16777216t", "too large"),
        ] {
            let error = size_bytes(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for ms in [1, 999, 1_000, 1_500, 60_000, 75_000, 120_000, 3_600_000, 86_400_000, u32::MAX] {
            assert_eq!(duration_ms(&duration_text(ms)), Ok(ms));
        }
        for bytes in [1, 1_023, 1_024, 16_384, 65_535, 1 << 20, 1 << 30, 1 << 40, u64::MAX] {
            assert_eq!(size_bytes(&size_text(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn shows_the_largest_unit_that_fits() {
        assert_eq!(duration_text(75_000), "75s");
        assert_eq!(duration_text(120_000), "2m");
        assert_eq!(duration_text(1_500), "1500ms");
        assert_eq!(size_text(16_384), "16k");
        assert_eq!(size_text(65_535), "65535");
        assert_eq!(size_about(63), "63 B");
        assert_eq!(size_about(3_891), "3.7 KiB");
        assert_eq!(size_about(158 << 20), "158 MiB");
        assert_eq!(size_about(u64::MAX), "16777215 TiB");
    }

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_000), "1 000");
        assert_eq!(grouped(1_048_576), "1 048 576");
    }
}
