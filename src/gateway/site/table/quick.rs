//! A map from configured texts to numbers, made for few nanoseconds a look-up.
//!
//! What it is asked for may come from anybody, but what is in it comes from the configuration alone, so its
//! hash needs no secret: whoever finds texts that collide makes a miss longer by what is written there.
//! Texts are compared by words: a call of `memcmp` for each segment was two thirds of finding a route.

/// See the module.
///
/// Invariant: at least half of the places are empty, and there is a power of two of them.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// Each text as near behind the place its hash says as there was room.
    places: Vec<Option<Box<Known>>>,
    /// Beside it, so that the wrong ones need not be looked up: hashes; 0 where there is none.
    hashes: Vec<u64>,
    len: usize,
}

#[derive(Debug)]
struct Known {
    text: Box<[u8]>,
    number: u32,
}

impl Map {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of a text.
    #[inline]
    pub(super) fn get(&self, text: &[u8]) -> Option<u32> {
        if self.hashes.is_empty() {
            return None;
        }
        let place = self.find(text, hash(text));
        self.places[place].as_ref().map(|known| known.number)
    }

    /// The number of a text; this one, if it has none.
    pub(super) fn get_or_insert(&mut self, text: &[u8], number: u32) -> u32 {
        if let Some(known) = self.get(text) {
            return known;
        }
        if self.hashes.len() < 2 * (self.len + 1) {
            self.grow();
        }
        self.put(Box::new(Known { text: text.into(), number }));
        self.len += 1;
        number
    }

    /// All texts and their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.places.iter().flatten().map(|known| (&*known.text, known.number))
    }

    /// Where a text is, or would be.
    #[inline]
    fn find(&self, text: &[u8], hash: u64) -> usize {
        let mask = self.hashes.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            let found = self.hashes[place];
            let is_it = || self.places[place].as_ref().is_some_and(|known| is_same(&known.text, text));
            if found == 0 || (found == hash && is_it()) {
                return place;
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let room = (2 * self.hashes.len()).max(4);
        let old = std::mem::take(&mut self.places);
        self.hashes = vec![0; room];
        self.places.resize_with(room, || None);
        old.into_iter().flatten().for_each(|known| self.put(known));
    }

    fn put(&mut self, known: Box<Known>) {
        let hash = hash(&known.text);
        let place = self.find(&known.text, hash);
        self.hashes[place] = hash;
        self.places[place] = Some(known);
    }
}

/// Folded multiplication, eight bytes at a time. Never 0.
#[inline]
fn hash(text: &[u8]) -> u64 {
    let add = |sum: u64, word: u64| {
        let product = u128::from(sum ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        product as u64 ^ (product >> 64) as u64
    };
    let (words, tail) = words(text);
    // The length keeps texts apart that differ in zeros at their end.
    let sum = words.iter().fold(text.len() as u64, |sum, word| add(sum, u64::from_le_bytes(*word)));
    add(sum, tail) | 1 << 63
}

#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ((one, one_tail), (other, other_tail)) = (words(one), words(other));
    let mut pairs = one.iter().zip(other);
    one_tail == other_tail && pairs.all(|(one, other)| u64::from_le_bytes(*one) == u64::from_le_bytes(*other))
}

/// A text in words of eight bytes, and what is left of it.
#[inline]
fn words(text: &[u8]) -> (&[[u8; 8]], u64) {
    let (words, rest) = text.as_chunks::<8>();
    // Behind a whole word the tail may overlap it: one load for up to seven.
    let tail = match (text.last_chunk::<8>(), rest) {
        (_, []) => 0,
        (Some(last), _) => u64::from_le_bytes(*last),
        (None, few) => few.iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte)),
    };
    (words, tail)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_are_alike_hash_apart_in_the_low_bits() {
        let texts: Vec<String> = (0..4_096).map(|number| format!("service-{number}")).collect();
        let low: HashSet<u64> = texts.iter().map(|text| hash(text.as_bytes()) & 0xffff).collect();
        assert!(low.len() > 3_800, "{}", low.len());
        let odd = ["", "\0", "\0\0", "a", "a\0", "12345678", "12345678\0", "123456781"];
        assert_eq!(odd.iter().map(|text| hash(text.as_bytes())).collect::<HashSet<_>>().len(), odd.len());
    }

    proptest! {
        #[test]
        fn it_knows_what_any_map_knows(
            texts in prop::collection::vec("[ab\0]{0,20}", 0..60),
            asked in prop::collection::vec("[ab\0]{0,20}", 60),
        ) {
            let (mut ours, mut theirs) = (Map::default(), HashMap::new());
            for (number, text) in texts.iter().enumerate() {
                let number = number as u32;
                let known = *theirs.entry(text.clone()).or_insert(number);
                prop_assert_eq!(ours.get_or_insert(text.as_bytes(), number), known);
            }
            for text in texts.iter().chain(&asked) {
                prop_assert_eq!(ours.get(text.as_bytes()), theirs.get(text).copied(), "{:?}", text);
            }
            prop_assert_eq!(ours.iter().count(), theirs.len());
            prop_assert!(ours.iter().all(|(text, number)| ours.get(text) == Some(number)));
            prop_assert_eq!(ours.is_empty(), theirs.is_empty());
        }

        #[test]
        fn words_tell_texts_apart_as_bytes_do(
            one in prop::collection::vec(0..3u8, 0..20),
            other in prop::collection::vec(0..3u8, 0..20),
        ) {
            prop_assert_eq!(is_same(&one, &other), one == other);
            prop_assert!(is_same(&one, &one.clone()));
        }
    }
}
