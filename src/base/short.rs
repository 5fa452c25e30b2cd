//! Whether two short texts are the same, without the call that comparing slices costs.
//!
//! A call of `memcmp` is 4 to 6 ns where the code around it is cold, as it is behind every system call;
//! two words are compared in one. Paths and hosts are mostly of 8 to 16 bytes, and those are two words
//! that may overlap.

/// First and last eight bytes of a text of 8 to 16 bytes, which together are all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends(u64, u64);

impl Ends {
    /// The ends of a text; `None` when it is shorter than 8 bytes or longer than 16.
    #[must_use]
    #[inline]
    pub fn of(text: &[u8]) -> Option<Ends> {
        match (text.first_chunk(), text.last_chunk()) {
            (Some(first), Some(last)) if text.len() <= 16 => {
                Some(Ends(u64::from_ne_bytes(*first), u64::from_ne_bytes(*last)))
            }
            _ => None,
        }
    }
}

/// Whether both are the same.
#[must_use]
#[inline]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && match Ends::of(one) {
            Some(ends) => Some(ends) == Ends::of(other),
            None => one == other,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_equality_at_every_length_and_place() {
        let text: Vec<u8> = (0..40).collect();
        for len in 0..=text.len() {
            let one = &text[..len];
            assert!(is_same(one, one), "{len}");
            assert!(len == 0 || !is_same(one, &one[1..]), "{len}");
            for place in 0..len {
                let mut other = one.to_vec();
                other[place] ^= 1;
                assert!(!is_same(one, &other), "{place} of {len}");
            }
        }
    }
}
