//! A bounded slab whose keys expire with their tenant.
//!
//! A key that was kept too long finds nobody, never a stranger. A full slab gives the value back.

use std::fmt;
use std::marker::PhantomData;

use slab::Slab;

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
pub struct Slots<T> {
    slab: Slab<Tenant<T>>,
    limit: u32,
    generation: u32,
}

struct Tenant<T> {
    generation: u32,
    value: T,
}

impl<T> Slots<T> {
    /// Room for `limit` tenants. The address space is reserved at once, so that the slab never moves under
    /// load; pages that nobody touched cost nothing.
    #[must_use]
    pub fn with_limit(limit: u32) -> Slots<T> {
        Slots { slab: Slab::with_capacity(limit as usize), limit, generation: 0 }
    }

    /// Takes the value in, or gives it back when every slot is taken.
    pub fn insert(&mut self, value: T) -> Result<Key<T>, T> {
        if self.is_full() {
            return Err(value);
        }
        self.generation = self.generation.wrapping_add(1);
        let index = self.slab.insert(Tenant { generation: self.generation, value });
        Ok(Key::from_parts(index as u32, self.generation))
    }

    /// The tenant that the key names, if it still lives here.
    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let tenant = self.slab.get_mut(key.index as usize)?;
        (tenant.generation == key.generation).then_some(&mut tenant.value)
    }

    /// Whoever lives in this slot now.
    pub fn tenant_at(&mut self, index: u32) -> Option<&mut T> {
        self.slab.get_mut(index as usize).map(|tenant| &mut tenant.value)
    }

    /// Moves the tenant out; every copy of its key is void from here on.
    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        self.get_mut(key)?;
        Some(self.slab.remove(key.index as usize).value)
    }

    /// The key of whoever lives in this slot now.
    #[must_use]
    pub fn key_at(&self, index: u32) -> Option<Key<T>> {
        let tenant = self.slab.get(index as usize)?;
        Some(Key::from_parts(index, tenant.generation))
    }

    /// The keys of all tenants.
    pub fn keys(&self) -> impl Iterator<Item = Key<T>> {
        self.slab.iter().map(|(index, tenant)| Key::from_parts(index as u32, tenant.generation))
    }

    /// How many tenants there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.slab.len() as u32
    }

    /// Whether nobody is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Whether the next [`insert`](Slots::insert) would be refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.slab.len() >= self.limit as usize
    }

    /// How many tenants fit.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
