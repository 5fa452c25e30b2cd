//! One thread that sleeps in a way of its own, and many who may have to wake it.
//!
//! Somebody who brings work asks whether the sleeper must be woken, so that one who is awake costs a fence
//! and a load, and not a system call. No wake-up is lost: of a bringer who makes work visible and then asks,
//! and a sleeper who announces itself and then looks for work, at least one sees the other. `loom/` has the
//! proof. Nobody ever waits for anybody.
//!
//! How to sleep (in epoll), how to wake (by an eventfd) and where the work lies is the callers' business.
//! A wake-up must stick: it may come when the sleeper has not lain down yet, or has risen by itself.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// See the module.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::thread;
///
/// use myriapod::base::sleeper::Sleeper;
///
/// let (sleeper, work) = (Sleeper::new(), AtomicU32::new(0));
/// let here = thread::current();
/// thread::scope(|scope| {
///     scope.spawn(|| {
///         work.store(1, Ordering::Release);
///         if sleeper.must_be_woken() {
///             here.unpark();
///         }
///     });
///     while work.load(Ordering::Acquire) == 0 {
///         sleeper.announce();
///         if work.load(Ordering::Acquire) == 0 {
///             thread::park();
///         }
///         sleeper.rise();
///     }
/// });
/// ```
#[derive(Debug, Default)]
pub struct Sleeper {
    asleep: AtomicBool,
}

impl Sleeper {
    /// One who is awake.
    #[must_use]
    pub fn new() -> Sleeper {
        Sleeper { asleep: AtomicBool::new(false) }
    }

    /// Says that the caller is about to sleep. It must look for work once more before it does: what was
    /// brought until now may have come without a wake-up.
    pub fn announce(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `must_be_woken`: whichever comes second sees what the other side wrote
        // before its own. Release and acquire alone would let both look before either is seen.
        fence(Ordering::SeqCst);
    }

    /// Says that the caller is awake, whether it slept or found work in its last look.
    pub fn rise(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Whether the caller, who has just made work visible, must wake the sleeper. Of all who ask during one
    /// announced sleep one hears yes, and the others may rely on its doing so.
    #[must_use]
    pub fn must_be_woken(&self) -> bool {
        fence(Ordering::SeqCst);
        // The load spares the cache line, which many share, a write in the common case. Not a swap: one that
        // comes too late must not write at all.
        self.asleep.load(Ordering::Relaxed)
            && self.asleep.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::thread;

    use crossbeam_queue::ArrayQueue;

    use super::*;

    const WAKERS: u32 = 3;
    // Miri is some thousand times slower.
    const ITEMS_EACH: u32 = if cfg!(miri) { 50 } else { 30_000 };

    #[test]
    fn is_woken_once_for_each_announced_sleep_and_never_when_awake() {
        let sleeper = Sleeper::new();
        assert!(!sleeper.must_be_woken());
        for _ in 0..2 {
            sleeper.announce();
            assert!(sleeper.must_be_woken());
            assert!(!sleeper.must_be_woken());
        }
        sleeper.announce();
        sleeper.rise();
        assert!(!sleeper.must_be_woken());
    }

    #[test]
    fn sleeps_over_no_item_and_is_woken_no_oftener_than_announced() {
        let sleeper = Sleeper::new();
        let queue = ArrayQueue::new(8);
        let wakes = AtomicU32::new(0);
        let here = thread::current();
        let (mut taken, mut announced) = (0, 0);
        let bring = |item| {
            while queue.push(item).is_err() {
                thread::yield_now();
            }
            if sleeper.must_be_woken() {
                wakes.fetch_add(1, Ordering::Relaxed);
                here.unpark();
            }
        };
        thread::scope(|scope| {
            for _ in 0..WAKERS {
                scope.spawn(|| (0..ITEMS_EACH).for_each(bring));
            }
            while taken < WAKERS * ITEMS_EACH {
                sleeper.announce();
                announced += 1;
                if queue.is_empty() {
                    thread::park();
                }
                sleeper.rise();
                while queue.pop().is_some() {
                    taken += 1;
                }
            }
        });
        assert!(queue.is_empty());
        assert!(wakes.into_inner() <= announced);
    }
}
