//! What an event is about, packed into the 64 bits that the kernel keeps for us.

use mio::Token;

use crate::base::slots::Key;

/// Packed as `generation(32) | kind(2) | index(30)`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source<C> {
    Listener(u32),
    Inbox,
    Client(Key<C>),
    /// A connection to an upstream.
    Line(Key<()>),
}

const _: () = assert!(usize::BITS == 64);
const KIND_SHIFT: u32 = 30;
/// Slots that a token can name.
pub(super) const INDEX_MAX: u32 = (1 << KIND_SHIFT) - 1;

impl<C> Source<C> {
    pub(super) fn token(&self) -> Token {
        let (generation, kind, index) = match self {
            Source::Client(key) => (key.generation(), 0, key.index()),
            Source::Listener(index) => (0, 1, *index),
            Source::Inbox => (0, 2, 0),
            Source::Line(key) => (key.generation(), 3, key.index()),
        };
        debug_assert!(index <= INDEX_MAX);
        Token((generation as usize) << 32 | kind << KIND_SHIFT | index as usize)
    }

    pub(super) fn of(token: Token) -> Source<C> {
        let index = token.0 as u32 & INDEX_MAX;
        match (token.0 as u32) >> KIND_SHIFT {
            0 => Source::Client(Key::from_parts(index, (token.0 >> 32) as u32)),
            1 => Source::Listener(index),
            2 => Source::Inbox,
            _ => Source::Line(Key::from_parts(index, (token.0 >> 32) as u32)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_the_kernel() {
        for source in [
            Source::<()>::Inbox,
            Source::Listener(0),
            Source::Listener(7),
            Source::Client(Key::from_parts(0, 0)),
            Source::Client(Key::from_parts(INDEX_MAX, u32::MAX)),
            Source::Line(Key::from_parts(INDEX_MAX, u32::MAX)),
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
    }
}
