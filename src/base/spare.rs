//! Memory of ours that holds nothing for now, shown to whoever can have it back.
//!
//! Whoever sees a [`Spare`] may lose what is in it: its owner reads nothing there that was not written later.
//! How it goes back is not known here, since that takes a system call; see `server`.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// See the module.
///
/// Invariant: from `start` on `bytes` bytes are ours alone for `'a`, and nobody counts on what is in them.
pub struct Spare<'a> {
    start: *mut u8,
    bytes: usize,
    owner: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

impl<'a> Spare<'a> {
    /// The whole of that room.
    #[must_use]
    pub fn of<T>(room: &'a mut [MaybeUninit<T>]) -> Spare<'a> {
        Spare { start: room.as_mut_ptr().cast(), bytes: size_of_val(room), owner: PhantomData }
    }

    /// Where it begins.
    #[must_use]
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// How long it is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_long_as_the_room() {
        let mut numbers: Vec<u64> = Vec::with_capacity(10);
        numbers.extend([1, 2, 3]);
        let begin = numbers.as_ptr();
        let spare_bytes = (numbers.capacity() - 3) * size_of::<u64>();
        let spare = Spare::of(numbers.spare_capacity_mut());
        assert_eq!(spare.start().cast_const(), begin.wrapping_add(3).cast());
        assert_eq!(spare.bytes(), spare_bytes);
    }
}
