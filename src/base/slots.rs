//! A bounded slab whose keys expire with their tenant, and whose memory goes back when its tenants have gone.
//!
//! ```text
//!  key 130 = entry 2, place 2
//!                  |
//!  entries  [ - |  1 |  0 |  2 ]     by number: where its block lies, and what is vacant in it; 0 has none
//!
//!  blocks   [ of 2 | of 1 | of 3 ]   64 slots each; behind them is room for more, which is not touched
//! ```
//! Promises: a key that was kept too long finds nobody, never a stranger. A full slab gives the value back.
//! Who moves in takes the lowest place that has memory already, so that tenants settle low.
//! [`trim`](Slots::trim) takes empty blocks away, and the last ones move into their places: then all that is
//! not in use lies in one piece at the end. Nobody's key changes by that.
//! Not here: how memory goes back to the system; see [`Spare`].

use std::fmt;
use std::marker::PhantomData;

use crate::base::spare::Spare;

/// Slots in a block: as many as a word has bits. A block of connections is 3 KiB, so each of them that stays
/// keeps at most this from going back.
const PLACES: u32 = u64::BITS;
/// What is vacant in a block where nobody lives.
const ALL: u64 = u64::MAX;
/// Where the block of an entry lies that has none.
const NOWHERE: u32 = u32::MAX;

/// Names one tenancy of a slot, not the slot.
///
/// Generations come from one counter per [`Slots`], so a key repeats only after 2^32 insertions and only in
/// the same slot. No holder of keys (an epoll batch, a timer, a job) lives that long.
pub struct Key<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// Rebuilds a key from its parts, as they come back from the kernel.
    #[must_use]
    pub fn from_parts(index: u32, generation: u32) -> Key<T> {
        Key { index, generation, of: PhantomData }
    }

    /// The slot. Two tenants may share it one after the other.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// The tenancy.
    #[must_use]
    pub fn generation(self) -> u32 {
        self.generation
    }
}

// Derives would ask the same of T, which a key does not hold.
impl<T> Clone for Key<T> {
    fn clone(&self) -> Key<T> {
        *self
    }
}
impl<T> Copy for Key<T> {}
impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Key<T>) -> bool {
        (self.index, self.generation) == (other.index, other.generation)
    }
}
impl<T> Eq for Key<T> {}
impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.index, self.generation)
    }
}

/// See the module.
///
/// ```
/// use myriapod::base::slots::Slots;
///
/// let mut slots = Slots::with_limit(1);
/// let key = slots.insert("first").expect("room for one");
/// assert_eq!(slots.insert("second"), Err("second"));
/// assert_eq!(slots.remove(key), Some("first"));
/// slots.insert("third").expect("room again");
/// assert_eq!(slots.get_mut(key), None); // never the stranger who moved in
/// ```
///
/// Invariant: `entries[owners[at]].at == at` for each block, and all other entries lie `NOWHERE`; `open` has
/// the numbers of the blocks with a vacancy; `empty_least <= empty <= blocks.len() == owners.len()`.
pub struct Slots<T> {
    entries: Vec<Entry>,
    blocks: Vec<Block<T>>,
    /// The numbers of the blocks' entries.
    owners: Vec<u32>,
    open: Numbers,
    len: u32,
    limit: u32,
    generation: u32,
    /// Blocks in which nobody lives.
    empty: u32,
    /// The fewest of these since the last trim: nobody needed them.
    empty_least: u32,
}

/// Invariant: without a block all is vacant.
struct Entry {
    at: u32,
    /// A bit for each place that can be taken.
    vacant: u64,
}

type Block<T> = [Slot<T>; PLACES as usize];

struct Slot<T> {
    generation: u32,
    tenant: Option<T>,
}

impl<T> Slot<T> {
    const VACANT: Slot<T> = Slot { generation: 0, tenant: None };
}

impl<T> Slots<T> {
    /// Blocks without tenants that are always kept.
    const EMPTY_KEPT: u32 = 4;
    /// Blocks taken away by one trim. To move 256 blocks of connections takes a fraction of a millisecond.
    const TRIMMED_MAX: u32 = 256;

    /// Room for `limit` tenants. The address space is reserved at once, so that nothing moves under load;
    /// pages that nobody touched cost nothing.
    #[must_use]
    pub fn with_limit(limit: u32) -> Slots<T> {
        let blocks_max = limit.div_ceil(PLACES) as usize;
        Slots {
            entries: Vec::with_capacity(blocks_max),
            blocks: Vec::with_capacity(blocks_max),
            owners: Vec::with_capacity(blocks_max),
            open: Numbers::with_capacity(blocks_max),
            len: 0,
            limit,
            generation: 0,
            empty: 0,
            empty_least: 0,
        }
    }

    /// Takes the value in, or gives it back when every slot is taken.
    pub fn insert(&mut self, value: T) -> Result<Key<T>, T> {
        if self.is_full() {
            return Err(value);
        }
        let number = match self.open.lowest() {
            Some(number) => number,
            None => self.settle(),
        };
        let (at, place) = self.occupy(number);
        self.len += 1;
        self.generation = self.generation.wrapping_add(1);
        self.blocks[at as usize][place as usize] = Slot { generation: self.generation, tenant: Some(value) };
        Ok(Key::from_parts(number * PLACES + place, self.generation))
    }

    /// The tenant that the key names, if it still lives here.
    #[inline]
    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let slot = self.slot_mut(key.index)?;
        if slot.generation == key.generation { slot.tenant.as_mut() } else { None }
    }

    /// Whoever lives in this slot now.
    #[inline]
    pub fn tenant_at(&mut self, index: u32) -> Option<&mut T> {
        self.slot_mut(index)?.tenant.as_mut()
    }

    /// Moves the tenant out; every copy of its key is void from here on.
    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        let slot = self.slot_mut(key.index).filter(|slot| slot.generation == key.generation)?;
        let value = slot.tenant.take()?;
        self.vacate(key.index);
        self.len -= 1;
        Some(value)
    }

    /// The key of whoever lives in this slot now.
    #[must_use]
    pub fn key_at(&self, index: u32) -> Option<Key<T>> {
        let entry = self.entries.get((index / PLACES) as usize)?;
        let slot = &self.blocks.get(entry.at as usize)?[(index % PLACES) as usize];
        slot.tenant.is_some().then(|| Key::from_parts(index, slot.generation))
    }

    /// The keys of all tenants.
    pub fn keys(&self) -> impl Iterator<Item = Key<T>> {
        (0..self.entries.len() as u32 * PLACES).filter_map(|index| self.key_at(index))
    }

    /// Takes away some blocks that nobody has needed since the last trim, and shows all memory that is not in
    /// use to `discard`; call it a few times a second while [`has_surplus`](Slots::has_surplus). Returns how
    /// many were taken away.
    pub fn trim(&mut self, discard: impl FnOnce(Spare<'_>)) -> usize {
        let surplus = self.empty_least.saturating_sub(Self::EMPTY_KEPT).min(Self::TRIMMED_MAX);
        if surplus > 0 {
            self.take_away(surplus);
            discard(Spare::of(self.blocks.spare_capacity_mut()));
        }
        self.empty_least = self.empty;
        surplus as usize
    }

    /// Whether [`trim`](Slots::trim) may have something to do.
    #[must_use]
    pub fn has_surplus(&self) -> bool {
        self.empty > Self::EMPTY_KEPT
    }

    /// How many tenants there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nobody is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the next [`insert`](Slots::insert) would be refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    /// How many tenants fit.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    #[inline]
    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let entry = self.entries.get((index / PLACES) as usize)?;
        let block = self.blocks.get_mut(entry.at as usize)?;
        Some(&mut block[(index % PLACES) as usize])
    }

    /// Gives the lowest entry that has none a block, and tells its number. All others are full.
    #[cold]
    fn settle(&mut self) -> u32 {
        let has_hole = self.blocks.len() < self.entries.len();
        let hole = has_hole.then(|| self.entries.iter().position(|entry| entry.at == NOWHERE)).flatten();
        let number = hole.unwrap_or(self.entries.len());
        let entry = Entry { at: self.blocks.len() as u32, vacant: ALL };
        match hole {
            Some(number) => self.entries[number] = entry,
            None => self.entries.push(entry),
        }
        self.blocks.push([const { Slot::VACANT }; PLACES as usize]);
        self.owners.push(number as u32);
        self.open.add(number as u32);
        self.empty += 1;
        number as u32
    }

    /// Takes the lowest place of a block that has one: where the block lies, and which place.
    fn occupy(&mut self, number: u32) -> (u32, u32) {
        let entry = &mut self.entries[number as usize];
        if entry.vacant == ALL {
            self.empty -= 1;
            self.empty_least = self.empty_least.min(self.empty);
        }
        let place = entry.vacant.trailing_zeros();
        entry.vacant &= !(1 << place);
        if entry.vacant == 0 {
            self.open.remove(number);
        }
        (entry.at, place)
    }

    /// Notes that a slot can be taken again.
    fn vacate(&mut self, index: u32) {
        let number = index / PLACES;
        let entry = &mut self.entries[number as usize];
        if entry.vacant == 0 {
            self.open.add(number);
        }
        entry.vacant |= 1 << (index % PLACES);
        self.empty += u32::from(entry.vacant == ALL);
    }

    /// Takes so many empty blocks away, the last first, since that moves the fewest of the others.
    fn take_away(&mut self, mut count: u32) {
        debug_assert!(count <= self.empty);
        for at in (0..self.blocks.len()).rev() {
            let number = self.owners[at];
            if self.entries[number as usize].vacant != ALL {
                continue;
            }
            self.blocks.swap_remove(at);
            self.owners.swap_remove(at);
            self.entries[number as usize].at = NOWHERE;
            if let Some(moved) = self.owners.get(at) {
                self.entries[*moved as usize].at = at as u32;
            }
            self.open.remove(number);
            self.empty -= 1;
            count -= 1;
            if count == 0 {
                return;
            }
        }
    }

    /// Walks everything and panics if the invariant is broken.
    #[cfg(test)]
    fn validate(&self) {
        assert_eq!(self.owners.len(), self.blocks.len());
        let (mut taken, mut empty) = (0, 0);
        for (number, entry) in self.entries.iter().enumerate() {
            let block = self.blocks.get(entry.at as usize);
            assert_eq!(block.is_some(), entry.at != NOWHERE);
            assert_eq!(self.open.has(number as u32), block.is_some() && entry.vacant != 0);
            let Some(block) = block else {
                assert_eq!(entry.vacant, ALL, "tenants without memory");
                continue;
            };
            assert_eq!(self.owners[entry.at as usize], number as u32);
            for (place, slot) in block.iter().enumerate() {
                assert_eq!(slot.tenant.is_none(), entry.vacant & (1 << place) != 0);
            }
            taken += entry.vacant.count_zeros();
            empty += u32::from(entry.vacant == ALL);
        }
        assert_eq!((taken, empty), (self.len, self.empty));
        assert!(self.empty_least <= self.empty);
    }
}

/// A set of small numbers whose lowest is found at once.
///
/// Invariant: the words before `first` are empty.
struct Numbers {
    words: Vec<u64>,
    first: usize,
}

impl Numbers {
    fn with_capacity(numbers: usize) -> Numbers {
        Numbers { words: Vec::with_capacity(numbers.div_ceil(64)), first: 0 }
    }

    fn add(&mut self, number: u32) {
        let at = (number / 64) as usize;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= 1 << (number % 64);
        self.first = self.first.min(at);
    }

    fn remove(&mut self, number: u32) {
        self.words[(number / 64) as usize] &= !(1 << (number % 64));
    }

    fn lowest(&mut self) -> Option<u32> {
        while let Some(word) = self.words.get(self.first) {
            if *word != 0 {
                return Some(self.first as u32 * 64 + word.trailing_zeros());
            }
            self.first += 1;
        }
        None
    }

    #[cfg(test)]
    fn has(&self, number: u32) -> bool {
        self.words.get((number / 64) as usize).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Trims until nothing more goes, and tells how many blocks went.
    fn trimmed(slots: &mut Slots<u32>) -> usize {
        slots.trim(|_| {});
        std::iter::from_fn(|| Some(slots.trim(|_| {})).filter(|taken| *taken > 0)).sum()
    }

    fn filled(count: u32) -> (Slots<u32>, Vec<Key<u32>>) {
        let mut slots = Slots::with_limit(count);
        let keys = (0..count).map(|number| slots.insert(number).unwrap()).collect();
        (slots, keys)
    }

    #[test]
    fn an_old_key_does_not_find_the_new_tenant() {
        let mut slots = Slots::with_limit(1);
        let first = slots.insert("first").unwrap();
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second").unwrap();
        assert_eq!(first.index(), second.index());
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut "second"));
    }

    #[test]
    fn a_full_slab_gives_the_value_back() {
        let mut slots = Slots::with_limit(2);
        let key = slots.insert(1).unwrap();
        slots.insert(2).unwrap();
        assert_eq!(slots.insert(3), Err(3));
        slots.remove(key);
        assert!(slots.insert(3).is_ok());
    }

    #[test]
    fn generations_wrap_without_a_panic() {
        let mut slots = Slots::with_limit(2);
        slots.generation = u32::MAX;
        let key = slots.insert(()).unwrap();
        assert_eq!(key.generation(), 0);
        assert!(slots.get_mut(key).is_some());
    }

    #[test]
    fn who_stays_keeps_the_key_while_all_others_blocks_go() {
        let (mut slots, keys) = filled(100_000);
        let (stay, go): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.index() % 9_000 == 8_999);
        go.into_iter().for_each(|key| assert!(slots.remove(key).is_some()));
        assert_eq!(trimmed(&mut slots), 100_000_usize.div_ceil(64) - 11 - 4);
        slots.validate();
        assert_eq!(slots.keys().collect::<Vec<_>>(), stay);
        stay.into_iter().for_each(|key| assert_eq!(slots.remove(key), Some(key.index())));
    }

    #[test]
    fn what_is_shown_to_go_is_all_that_nobody_lives_in() {
        let (mut slots, keys) = filled(64 * 100);
        keys[64..].iter().for_each(|key| assert!(slots.remove(*key).is_some()));
        let mut shown = 0;
        slots.trim(|_| panic!("all blocks were in use since the last trim"));
        slots.trim(|spare| shown = spare.bytes());
        let kept = 1 + Slots::<u32>::EMPTY_KEPT as usize;
        assert_eq!(shown, (slots.blocks.capacity() - kept) * size_of::<Block<u32>>());
    }

    #[test]
    fn a_burst_is_given_back_in_steps_and_what_is_used_is_kept() {
        let (mut slots, keys) = filled(64 * 600);
        keys.iter().for_each(|key| assert!(slots.remove(*key).is_some()));
        assert_eq!(slots.trim(|_| {}), 0, "all were in use since the last trim");
        assert!(slots.has_surplus());
        assert_eq!([(); 4].map(|()| slots.trim(|_| {})), [256, 256, 84, 0]);
        assert!(!slots.has_surplus());
        slots.validate();
    }

    #[test]
    fn a_crowd_that_comes_and_goes_between_two_trims_takes_nothing_from_the_system() {
        let (mut slots, keys) = filled(64 * 20);
        keys.iter().for_each(|key| assert!(slots.remove(*key).is_some()));
        for _ in 0..3 {
            let crowd: Vec<_> = (0..64 * 20).map(|number| slots.insert(number).unwrap()).collect();
            crowd.into_iter().for_each(|key| assert!(slots.remove(key).is_some()));
            assert_eq!(slots.trim(|_| {}), 0);
        }
        assert_eq!(slots.trim(|_| {}), 16);
    }

    #[test]
    fn who_moves_in_takes_the_lowest_place_that_has_memory() {
        let (mut slots, keys) = filled(64 * 10);
        for number in (0..64 * 9).chain([64 * 9 + 3]) {
            slots.remove(keys[number]).unwrap();
        }
        trimmed(&mut slots);
        // Blocks that lay last went first, so the lowest stayed; then comes the one with a survivor.
        let indices: Vec<_> = (0..64 * 4 + 2).map(|_| slots.insert(0).unwrap().index()).collect();
        assert!(indices[..64 * 4].iter().copied().eq(0..64 * 4));
        assert_eq!(indices[64 * 4..], [64 * 9 + 3, 64 * 4]);
    }

    proptest! {
        /// Against a plain map: whoever comes, goes, or is asked for, whenever memory is taken away.
        #[test]
        fn agrees_with_a_map(
            limit in 1u32..1_500,
            steps in prop::collection::vec((0u32..9, 1u32..400, any::<prop::sample::Index>()), 1..120),
        ) {
            let mut slots = Slots::with_limit(limit);
            let (mut model, mut gone, mut number) = (HashMap::new(), Vec::new(), 0);
            for (what, count, index) in steps {
                match what {
                    0..4 => for _ in 0..count {
                        number += 1;
                        let key = match slots.insert(number) {
                            Ok(key) => key,
                            Err(back) => {
                                prop_assert_eq!((back, model.len()), (number, limit as usize));
                                break;
                            }
                        };
                        prop_assert!(key.index() < limit.next_multiple_of(64));
                        prop_assert_eq!(model.insert(key.index(), (key.generation(), number)), None);
                    },
                    4..7 => {
                        // A run of neighbours, since single ones would leave no block empty.
                        let from = index.index(limit as usize) as u32;
                        for index in from..from + count {
                            let Some((generation, number)) = model.remove(&index) else { continue };
                            let key = Key::from_parts(index, generation);
                            prop_assert_eq!(slots.remove(key), Some(number));
                            gone.push(key);
                        }
                    }
                    7 => { trimmed(&mut slots); }
                    _ => { slots.trim(|_| {}); }
                }
                slots.validate();
                prop_assert_eq!(slots.len() as usize, model.len());
                prop_assert_eq!(slots.keys().count(), model.len());
                for (index, (generation, number)) in &model {
                    let key = Key::from_parts(*index, *generation);
                    prop_assert_eq!(slots.get_mut(key).copied(), Some(*number));
                    prop_assert_eq!(slots.tenant_at(*index).copied(), Some(*number));
                    prop_assert_eq!(slots.key_at(*index), Some(key));
                }
                for key in &gone {
                    prop_assert_eq!(slots.get_mut(*key), None);
                    prop_assert_eq!(slots.remove(*key), None);
                }
            }
        }
    }
}
