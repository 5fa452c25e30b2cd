//! Tokens whose signatures were found good, so that they need not be verified again.
//!
//! To verify takes 20 to 60 µs of a reactor, to find a token here 1 (`benches/guard.rs`). Only that a
//! signature is good is remembered, which it is for ever; times and claims are looked at for each request. So
//! nothing here outlives anything. The keys belong to it: other keys, other memory.
//!
//! A token is known by all 256 bits of its SHA-256. Four words are written one by one and may be read in
//! between: then two tokens are mixed, and that is the hash of neither. To be found without being verified
//! takes a token that has, of several known ones, the very words that stand there; that is as hard as finding
//! one with a given hash. No token that was not verified gets in, so nobody without one can push others out.

use std::sync::atomic::{AtomicU64, Ordering};

use ring::digest;

/// Two to a cache line.
const WAYS: usize = 2;
const WORDS: usize = 4;

/// See the module.
pub struct Seen(Box<[Set]>);

/// How a token is known.
pub struct Mark([u64; WORDS]);

#[derive(Default)]
#[repr(align(64))]
struct Set([[AtomicU64; WORDS]; WAYS]);

impl Seen {
    /// Room for so many tokens, or a little more. None: nothing is remembered.
    #[must_use]
    pub fn new(tokens_max: usize) -> Seen {
        let sets = match tokens_max {
            0 => 0,
            tokens => tokens.div_ceil(WAYS).next_power_of_two(),
        };
        Seen((0..sets).map(|_| Set::default()).collect())
    }

    /// How a token is known; `None`: not at all, since nothing is remembered.
    #[must_use]
    pub fn mark(&self, token: &[u8]) -> Option<Mark> {
        if self.0.is_empty() {
            return None;
        }
        let mut words = [0; WORDS];
        let hash = digest::digest(&digest::SHA256, token);
        for (word, bytes) in words.iter_mut().zip(hash.as_ref().as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Some(Mark(words))
    }

    /// Whether it was remembered, and not forgotten since.
    #[must_use]
    pub fn contains(&self, mark: &Mark) -> bool {
        let is_it = |way: &[AtomicU64; WORDS]| {
            way.iter().zip(mark.0).all(|(known, word)| known.load(Ordering::Relaxed) == word)
        };
        self.set(mark).0.iter().any(is_it)
    }

    /// Remembers it, in place of another.
    pub fn remember(&self, mark: &Mark) {
        // Any of them: a bit that says nothing of the set.
        let way = &self.set(mark).0[(mark.0[1] % WAYS as u64) as usize];
        for (known, word) in way.iter().zip(mark.0) {
            known.store(word, Ordering::Relaxed);
        }
    }

    fn set(&self, mark: &Mark) -> &Set {
        &self.0[mark.0[0] as usize & (self.0.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_remembered_is_known() {
        let seen = Seen::new(100);
        let (one, other) = (seen.mark(b"one").unwrap(), seen.mark(b"other").unwrap());
        seen.remember(&one);
        assert!(seen.contains(&one) && !seen.contains(&other));
        let mut near = Mark(one.0);
        near.0[3] ^= 1;
        assert!(!seen.contains(&near), "every bit counts");
        assert!(Seen::new(0).mark(b"one").is_none());
    }

    #[test]
    fn the_memory_is_bounded_and_new_ones_push_out_old_ones() {
        let seen = Seen::new(4);
        let marks: Vec<Mark> = (0..100_u32).map(|number| seen.mark(&number.to_le_bytes()).unwrap()).collect();
        marks.iter().for_each(|mark| seen.remember(mark));
        assert!(seen.contains(&marks[99]));
        assert!(marks.iter().filter(|mark| seen.contains(mark)).count() <= 4);
    }
}
