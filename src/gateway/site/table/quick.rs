//! A hash that costs little: what it is asked for may come from anybody, but what is in the maps comes from
//! the configuration alone. Whoever finds texts that collide finds nothing but longer misses, bounded by what
//! is written there.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from configured texts.
pub(super) type Map<K> = HashMap<K, u32, BuildHasherDefault<Quick>>;

/// Folded multiplication, eight bytes at a time.
#[derive(Default)]
pub(super) struct Quick(u64);

impl Quick {
    #[inline]
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for Quick {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        // The length keeps texts apart that differ in zeros at their end.
        let tail = rest.iter().fold(bytes.len() as u64, |tail, byte| tail << 8 | u64::from(*byte));
        self.add(tail);
    }

    // Both come with every text, and say nothing that the length does not.
    #[inline]
    fn write_u8(&mut self, _: u8) {}

    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;

    fn hash(text: &str) -> u64 {
        let mut hasher = Quick::default();
        text.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn texts_that_are_alike_hash_apart_in_every_part_of_the_hash() {
        let texts: Vec<String> = (0..4_096).map(|number| format!("service-{number}")).collect();
        assert_eq!(texts.iter().map(|text| hash(text)).collect::<HashSet<_>>().len(), texts.len());
        // Maps take the low bits for a place and the high ones for a tag.
        let low: HashSet<u64> = texts.iter().map(|text| hash(text) & 0xffff).collect();
        let high: HashSet<u64> = texts.iter().map(|text| hash(text) >> 48).collect();
        assert!(low.len() > 3_800 && high.len() > 3_800, "{} {}", low.len(), high.len());
        let odd = ["", "\0", "\0\0", "a", "a\0", "12345678", "12345678\0", "123456781"];
        assert_eq!(odd.iter().map(|text| hash(text)).collect::<HashSet<_>>().len(), odd.len());
    }
}
