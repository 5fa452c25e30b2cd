//! Base64, read strictly (RFC 4648): of each sequence of bytes there is one spelling, and no other is taken.
//!
//! No line ends, no blanks, no bits that do not count; padding where the alphabet has it and nowhere else.

/// Which letters, and whether the end is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// `+` and `/`, padded with `=`: fields of HTTP, PEM.
    Standard,
    /// `-` and `_`, without padding: JSON Web Tokens.
    Url,
}

/// What the text stands for. `None`: for nothing.
///
/// ```
/// use myriapod::base::base64::{Alphabet, decode};
///
/// assert_eq!(decode(b"aGk=", Alphabet::Standard).as_deref(), Some(&b"hi"[..]));
/// assert_eq!(decode(b"aGk", Alphabet::Url).as_deref(), Some(&b"hi"[..]));
/// assert_eq!(decode(b"aGl", Alphabet::Url), None, "a bit that does not count is set");
/// ```
#[must_use]
pub fn decode(text: &[u8], alphabet: Alphabet) -> Option<Vec<u8>> {
    let text = match alphabet {
        Alphabet::Url => text,
        Alphabet::Standard if text.len().is_multiple_of(4) => unpadded(text),
        Alphabet::Standard => return None,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut groups = text.chunks_exact(4);
    for group in &mut groups {
        let bits = bits(group, alphabet)?;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    let rest = groups.remainder();
    // Two letters have one byte and four bits too many, three have two bytes and two bits.
    let spare_bits = match rest.len() {
        0 => return Some(bytes),
        1 => return None,
        2 => 4,
        _ => 2,
    };
    let bits = bits(rest, alphabet)?;
    if bits & ((1 << spare_bits) - 1) != 0 {
        return None;
    }
    let whole = (bits >> spare_bits).to_be_bytes();
    bytes.extend_from_slice(&whole[whole.len() - (rest.len() - 1)..]);
    Some(bytes)
}

/// Without its padding, of which there are at most two letters.
fn unpadded(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text)
}

fn bits(letters: &[u8], alphabet: Alphabet) -> Option<u32> {
    letters.iter().try_fold(0, |bits, letter| Some(bits << 6 | u32::from(value(*letter, alphabet)?)))
}

fn value(letter: u8, alphabet: Alphabet) -> Option<u8> {
    match (letter, alphabet) {
        (b'A'..=b'Z', _) => Some(letter - b'A'),
        (b'a'..=b'z', _) => Some(letter - b'a' + 26),
        (b'0'..=b'9', _) => Some(letter - b'0' + 52),
        (b'+', Alphabet::Standard) | (b'-', Alphabet::Url) => Some(62),
        (b'/', Alphabet::Standard) | (b'_', Alphabet::Url) => Some(63),
        _ => None,
    }
}

/// Bytes as text, as few letters as it takes.
#[must_use]
pub fn encode(bytes: &[u8], alphabet: Alphabet) -> String {
    let letters: &[u8; 64] = match alphabet {
        Alphabet::Standard => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        Alphabet::Url => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            [16, 8, 0].iter().zip(group).fold(0, |bits, (shift, byte)| bits | u32::from(*byte) << shift);
        for place in 0..=group.len() {
            text.push(char::from(letters[(bits >> (18 - 6 * place)) as usize & 63]));
        }
        if alphabet == Alphabet::Standard {
            text.extend(std::iter::repeat_n('=', 3 - group.len()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_the_standard_are_read_and_written() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(decode(text.as_bytes(), Alphabet::Standard).as_deref(), Some(bytes.as_bytes()));
            assert_eq!(encode(bytes.as_bytes(), Alphabet::Standard), text);
            let bare = text.trim_end_matches('=');
            assert_eq!(decode(bare.as_bytes(), Alphabet::Url).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(decode(b"-_-_", Alphabet::Url), decode(b"+/+/", Alphabet::Standard));
    }

    #[test]
    fn what_has_two_spellings_is_refused_in_all_but_one() {
        for text in ["Zg", "Zg=", "Zh==", "Zm9=", "Zm 8", "Zm8\n", "Zg==Zg==", "=", "====", "Z===", "Zm-_"] {
            assert_eq!(decode(text.as_bytes(), Alphabet::Standard), None, "{text:?}");
        }
        for text in ["Z", "Zg==", "Zh", "Zm9", "Zm8=", "Zm9vZ", "+/+/", "Zm8 ", "Zm8\0"] {
            assert_eq!(decode(text.as_bytes(), Alphabet::Url), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same_again(text in "[A-Za-z0-9_-]{0,40}") {
            if let Some(bytes) = decode(text.as_bytes(), Alphabet::Url) {
                prop_assert_eq!(encode(&bytes, Alphabet::Url), text);
            }
        }

        #[test]
        fn what_is_written_is_read_the_same_again(bytes: Vec<u8>) {
            for alphabet in [Alphabet::Url, Alphabet::Standard] {
                let text = encode(&bytes, alphabet);
                let read = decode(text.as_bytes(), alphabet);
                prop_assert_eq!(read.as_ref(), Some(&bytes));
            }
        }
    }
}
