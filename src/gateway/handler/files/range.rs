//! The `Range` field (RFC 9110 section 14.1.2).

use crate::http::Request;

/// Which bytes of a file a client is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of them.
    Whole,
    /// Some; never none, and all of them exist.
    Part {
        /// The first byte.
        first: u64,
        /// How many.
        len: u64,
    },
    /// None of those it asked for exists.
    Unsatisfiable,
}

/// What the `Range` field of a request asks for, from a file of `len` bytes.
pub(super) fn asked(request: &Request<'_>, len: u64) -> Asked {
    let mut lines = request.fields_named("range");
    match (lines.next(), lines.next()) {
        (Some(value), None) => read(value, len),
        // The field is no list, so two lines of it are as broken as any other nonsense.
        _ => Asked::Whole,
    }
}

/// What is broken is ignored (section 14.2): the client gets the whole file and sees so by the status.
fn read(value: &[u8], len: u64) -> Asked {
    ranges(value).and_then(single).and_then(|range| resolve(range, len)).unwrap_or(Asked::Whole)
}

/// What stands behind `bytes=`.
fn ranges(value: &[u8]) -> Option<&[u8]> {
    let (unit, set) = value.split_at_checked("bytes=".len())?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// The only range of a set. Several are not served: a server may ignore any `Range`, parts sent one by one
/// would cost more than the whole, and a thousand overlapping ones are an attack (CVE-2011-3192).
fn single(set: &[u8]) -> Option<&[u8]> {
    // Section 5.6.1.2: empty members of a list are overlooked.
    let mut members =
        set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|range| !range.is_empty());
    match (members.next(), members.next()) {
        (Some(range), None) => Some(range),
        _ => None,
    }
}

fn resolve(range: &[u8], len: u64) -> Option<Asked> {
    let dash = memchr::memchr(b'-', range)?;
    let (first, last) = (&range[..dash], &range[dash + 1..]);
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => suffix(number(last)?, len),
        (false, true) => between(number(first)?, u64::MAX, len),
        (false, false) => between(number(first)?, number(last)?, len),
    }
}

/// The last `count` bytes.
fn suffix(count: u64, len: u64) -> Option<Asked> {
    match count.min(len) {
        _ if count == 0 => Some(Asked::Unsatisfiable),
        // Satisfiable, but `Content-Range` has no way to say "no bytes".
        0 => None,
        count => Some(Asked::Part { first: len - count, len: count }),
    }
}

/// The bytes from `first` to `last`, both included.
fn between(first: u64, last: u64, len: u64) -> Option<Asked> {
    if last < first {
        return None;
    }
    if first >= len {
        return Some(Asked::Unsatisfiable);
    }
    // No overflow: first < len, hence len - 1 exists and the sum is at most len.
    Some(Asked::Part { first, len: last.min(len - 1) - first + 1 })
}

/// A run of digits and nothing else. What is too large for 64 bits is beyond the end of any file, and so is
/// [`u64::MAX`] (CVE-2017-7529 was such a number wrapping round).
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, byte| {
        byte.is_ascii_digit().then(|| number.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEN: u64 = 100;

    fn part(first: u64, last: u64) -> Asked {
        Asked::Part { first, len: last - first + 1 }
    }

    #[test]
    fn one_range_is_cut_to_what_exists() {
        let table = [
            ("bytes=0-4", part(0, 4)),
            ("bytes=3-6", part(3, 6)),
            ("bytes=0-0", part(0, 0)),
            ("bytes=99-99", part(99, 99)),
            ("bytes=5-", part(5, 99)),
            ("bytes=-5", part(95, 99)),
            ("bytes=-100", part(0, 99)),
            ("bytes=-109", part(0, 99)),
            ("bytes=2-999999999", part(2, 99)),
            ("Bytes=0-4", part(0, 4)),
            ("bytes=,0-4 ,", part(0, 4)),
            ("bytes=007-8", part(7, 8)),
        ];
        for (value, asked) in table {
            assert_eq!(read(value.as_bytes(), LEN), asked, "{value}");
        }
    }

    #[test]
    fn a_range_of_no_existing_byte_is_unsatisfiable() {
        for value in ["bytes=100-", "bytes=105-", "bytes=100-100", "bytes=-0", "bytes=-00"] {
            assert_eq!(read(value.as_bytes(), LEN), Asked::Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn a_broken_range_is_ignored() {
        let table = [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=,",
            "bytes=abc",
            "bytes=5-2",
            "bytes=1-2x",
            "bytes=--5",
            "bytes=0x1-4",
            "bytes=+1-4",
            "bytes=1-+4",
            "bytes=1 - 4",
            "bytes=0-4-",
            "items=0-4",
            "bytes 0-4",
            "bytes =0-4",
            "=0-4",
            "0-4",
        ];
        for value in table {
            assert_eq!(read(value.as_bytes(), LEN), Asked::Whole, "{value}");
        }
        assert_eq!(read(b"bytes=\xff-4", LEN), Asked::Whole);
    }

    #[test]
    fn several_ranges_are_answered_with_the_whole() {
        for value in ["bytes=0-1,98-", "bytes=0-1, 5-6", "bytes=-9223372036854775808,-5"] {
            assert_eq!(read(value.as_bytes(), LEN), Asked::Whole, "{value}");
        }
        let killer = format!("bytes={}", ["0-"; 1000].join(","));
        assert_eq!(read(killer.as_bytes(), LEN), Asked::Whole);
    }

    #[test]
    fn numbers_near_2_to_the_63_and_64_do_not_wrap() {
        let table = [
            ("bytes=0-18446744073709551615", part(0, 99)),
            ("bytes=0-18446744073709551616", part(0, 99)),
            ("bytes=18446744073709551616-4", Asked::Whole),
            ("bytes=-18446744073709551616", part(0, 99)),
            ("bytes=9223372036854775807-", Asked::Unsatisfiable),
            ("bytes=18446744073709551615-", Asked::Unsatisfiable),
            ("bytes=-9223372036854775607", part(0, 99)),
            ("bytes=4294967296-4294967300", Asked::Unsatisfiable),
            ("bytes=99999999999999999999999-99999999999999999999999", Asked::Unsatisfiable),
        ];
        for (value, asked) in table {
            assert_eq!(read(value.as_bytes(), LEN), asked, "{value}");
        }
        let huge = u64::MAX;
        assert_eq!(read(b"bytes=0-18446744073709551615", huge), Asked::Part { first: 0, len: huge });
    }

    #[test]
    fn an_empty_file_has_no_part() {
        assert_eq!(read(b"bytes=0-", 0), Asked::Unsatisfiable);
        assert_eq!(read(b"bytes=-5", 0), Asked::Whole);
        assert_eq!(read(b"bytes=-0", 0), Asked::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_file(value in "(bytes=)?[0-9]{0,21}-?[0-9]{0,21}[,x]?", len: u64) {
            if let Asked::Part { first, len: count } = read(value.as_bytes(), len) {
                prop_assert!(count > 0);
                prop_assert!(first.checked_add(count).unwrap() <= len);
            }
        }
    }
}
