//! Connections with nothing to do, the one that waits longest first, so that all of them are used in turn.
//!
//! A connection that ends may leave from anywhere in the queue: its entry stays and is passed over when its
//! turn comes, also if a stranger has its key by then.

use std::collections::VecDeque;

/// The queue.
///
/// Invariant: a key waits at most once; its live entry carries the time in `since_ns`.
#[derive(Debug, Default)]
pub struct Idle {
    queue: VecDeque<(usize, u64)>,
    /// By key: since when it has had nothing to do.
    since_ns: Vec<Option<u64>>,
    live: usize,
}

impl Idle {
    /// This one has nothing to do from now on.
    pub fn push(&mut self, key: usize, now_ns: u64) {
        self.remove(key);
        if self.since_ns.len() <= key {
            self.since_ns.resize(key + 1, None);
        }
        self.since_ns[key] = Some(now_ns);
        self.queue.push_back((key, now_ns));
        self.live += 1;
    }

    /// The one that has waited longest, and since when.
    pub fn pop(&mut self) -> Option<(usize, u64)> {
        while let Some((key, since_ns)) = self.queue.pop_front() {
            if self.since_ns[key] == Some(since_ns) {
                self.since_ns[key] = None;
                self.live -= 1;
                return Some((key, since_ns));
            }
        }
        None
    }

    /// This one is gone, or busy otherwise.
    pub fn remove(&mut self, key: usize) {
        if self.since_ns.get_mut(key).and_then(Option::take).is_some() {
            self.live -= 1;
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_is_used_first() {
        let mut idle = Idle::default();
        idle.push(3, 10);
        idle.push(1, 20);
        assert_eq!(idle.pop(), Some((3, 10)));
        idle.push(3, 30);
        assert_eq!((idle.pop(), idle.pop(), idle.pop()), (Some((1, 20)), Some((3, 30)), None));
    }

    #[test]
    fn one_that_ended_is_passed_over_even_if_a_stranger_has_its_key() {
        let mut idle = Idle::default();
        idle.push(0, 10);
        idle.push(1, 11);
        idle.remove(0);
        idle.remove(0);
        assert!(!idle.is_empty());
        idle.push(0, 12);
        assert_eq!((idle.pop(), idle.pop(), idle.pop()), (Some((1, 11)), Some((0, 12)), None));
        assert!(idle.is_empty());
    }
}
