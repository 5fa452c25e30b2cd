//! Things that are dear to make and quick to reuse, lent and given back.
//!
//! Last in, first out, so that the hot path touches the same memory again. Bounded: a pool at its limit lends
//! nothing. After a burst it gives memory back in small steps, see [`Pool::trim`].

/// See the module.
///
/// Invariant: lent <= lent_max; spare_least <= spare.len().
pub struct Pool<T> {
    spare: Vec<Box<T>>,
    lent: u32,
    lent_max: u32,
    /// The fewest spare ones since the last trim: nobody needed these.
    spare_least: usize,
}

impl<T> Pool<T> {
    /// Spare things that are always kept.
    const SPARE_KEPT: usize = 16;
    /// Things dropped by one trim. Freeing 512 buffers of 16 KiB takes well under a millisecond.
    const TRIMMED_MAX: usize = 512;

    /// A pool that lends at most so many at once.
    #[must_use]
    pub fn with_limit(lent_max: u32) -> Pool<T> {
        Pool { spare: Vec::new(), lent: 0, lent_max, spare_least: 0 }
    }

    /// A spare one, or a new one by `make`; `None` when as many are out as may be.
    pub fn lend(&mut self, make: impl FnOnce() -> T) -> Option<Box<T>> {
        if self.lent == self.lent_max {
            return None;
        }
        self.lent += 1;
        let thing = self.spare.pop();
        self.spare_least = self.spare_least.min(self.spare.len());
        Some(thing.unwrap_or_else(|| Box::new(make())))
    }

    /// Takes back what was lent.
    pub fn give_back(&mut self, thing: Box<T>) {
        debug_assert!(self.lent > 0, "given back more than was lent");
        self.lent -= 1;
        self.spare.push(thing);
    }

    /// Drops some of what nobody needed since the last trim; call it a few times a second while
    /// [`has_surplus`](Pool::has_surplus). Returns how many were dropped.
    pub fn trim(&mut self) -> usize {
        let surplus = self.spare_least.saturating_sub(Self::SPARE_KEPT).min(Self::TRIMMED_MAX);
        // The oldest go: the newest are warm.
        self.spare.drain(..surplus);
        if self.spare.capacity() > 4 * self.spare.len().max(Self::SPARE_KEPT) {
            self.spare.shrink_to(2 * self.spare.len());
        }
        self.spare_least = self.spare.len();
        surplus
    }

    /// Whether [`trim`](Pool::trim) may have something to do.
    #[must_use]
    pub fn has_surplus(&self) -> bool {
        self.spare.len() > Self::SPARE_KEPT
    }

    /// How many more may be lent.
    #[must_use]
    pub fn available(&self) -> usize {
        (self.lent_max - self.lent) as usize
    }

    /// How many are out.
    #[must_use]
    pub fn lent(&self) -> u32 {
        self.lent
    }

    /// How many lie ready.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.spare.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_given_back_is_lent_first() {
        let mut pool = Pool::with_limit(9);
        let (a, b) = (pool.lend(|| 'a').unwrap(), pool.lend(|| 'b').unwrap());
        pool.give_back(a);
        pool.give_back(b);
        assert_eq!(*pool.lend(|| 'c').unwrap(), 'b');
    }

    #[test]
    fn a_pool_at_its_limit_lends_nothing() {
        let mut pool = Pool::with_limit(1);
        let one = pool.lend(|| ()).unwrap();
        assert!(pool.lend(|| ()).is_none());
        pool.give_back(one);
        assert!(pool.lend(|| ()).is_some());
    }

    #[test]
    fn a_burst_is_given_back_and_what_is_used_is_kept() {
        let mut pool = Pool::with_limit(10_000);
        let burst: Vec<_> = (0..2000).map(|at| pool.lend(|| at).unwrap()).collect();
        burst.into_iter().for_each(|thing| pool.give_back(thing));
        assert_eq!(pool.trim(), 0, "all were in use since the last trim");
        let trims = std::iter::from_fn(|| Some(pool.trim()).filter(|dropped| *dropped > 0)).count();
        assert_eq!(trims, 4);
        assert_eq!(pool.spare(), Pool::<i32>::SPARE_KEPT);
        assert!(!pool.has_surplus());
    }
}
