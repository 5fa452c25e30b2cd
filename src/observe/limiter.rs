//! How often a kind of event may be told: the first at once, then one a second with the count of those left
//! out. Of those that name what only they know, a handler for example, a few more come before that.
//!
//! Asked by any thread without a lock, and before the event is put into words: what is left out costs a look
//! at the table and an addition. Not here: the clock, and the words.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A small table of classes, filled as they appear. The last place is shared by all that find it full.
#[derive(Debug)]
pub(super) struct Limiter {
    classes: [Class; CLASSES_MAX],
}

#[derive(Debug, Default)]
struct Class {
    name: OnceLock<&'static str>,
    /// When all that was told is paid for, at a second each.
    paid_ms: AtomicU64,
    left_out: AtomicU64,
}

impl Limiter {
    pub(super) fn new() -> Limiter {
        Limiter { classes: std::array::from_fn(|_| Class::default()) }
    }

    /// Whether an event of this class may be told now, and if so how many were left out before it.
    pub(super) fn admit(&self, name: &'static str, now_ms: u64) -> Option<u64> {
        let class = self.class(name);
        if class.take_turn(now_ms) {
            return Some(class.left_out.swap(0, Ordering::Relaxed));
        }
        class.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// The classes whose left-out events have waited long enough, with their number; never 0.
    pub(super) fn due(&self, now_ms: u64) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.classes.iter().filter_map(move |class| {
            let name = class.name.get()?;
            let waiting = class.left_out.load(Ordering::Relaxed) > 0 && class.take_turn(now_ms);
            let left_out = if waiting { class.left_out.swap(0, Ordering::Relaxed) } else { 0 };
            (left_out > 0).then_some((*name, left_out))
        })
    }

    fn class(&self, name: &'static str) -> &Class {
        let (shared, own) = self.classes.split_last().expect("the table has places");
        let theirs = |class: &&Class| {
            // Two threads may both find a place free: the name that got there first has it, the other looks
            // on.
            *class.name.get_or_init(|| name) == name
        };
        own.iter().find(theirs).unwrap_or_else(|| {
            shared.name.get_or_init(|| "other");
            shared
        })
    }
}

impl Class {
    fn take_turn(&self, now_ms: u64) -> bool {
        let paid_ms = self.paid_ms.load(Ordering::Relaxed);
        let credit_ms = (self.name.get().map_or(1, |name| at_once(name)) - 1) * INTERVAL_MS;
        let next_ms = paid_ms.max(now_ms) + INTERVAL_MS;
        paid_ms <= now_ms + credit_ms
            && self.paid_ms.compare_exchange(paid_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// How many of a class may be told in a row.
fn at_once(name: &str) -> u64 {
    match name {
        // Each of them says which handler it was and which request.
        "panic" | "stuck" => 16,
        // And these which server.
        "breaker_opened" | "ejected" | "health" => 16,
        _ => 1,
    }
}

const CLASSES_MAX: usize = 64;
const INTERVAL_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_next_a_second_later() {
        let limiter = Limiter::new();
        assert_eq!(limiter.admit("accept", 0), Some(0));
        assert_eq!(limiter.admit("accept", 0), None);
        assert_eq!(limiter.admit("accept", 999), None);
        assert_eq!(limiter.admit("accept", 1_000), Some(2));
        assert_eq!(limiter.admit("accept", 1_001), None);
    }

    #[test]
    fn those_that_name_a_handler_are_told_a_few_at_once() {
        let limiter = Limiter::new();
        assert_eq!((0..40).filter(|_| limiter.admit("panic", 10).is_some()).count(), 16);
        assert_eq!(limiter.admit("panic", 1_010), Some(24), "one more a second later");
        assert_eq!(limiter.admit("panic", 1_011), None);
    }

    #[test]
    fn classes_do_not_wait_for_each_other() {
        let limiter = Limiter::new();
        assert_eq!(limiter.admit("accept", 0), Some(0));
        assert_eq!(limiter.admit("worker", 0), Some(0));
        assert_eq!(limiter.admit("accept", 1), None);
    }

    #[test]
    fn left_out_events_fall_due_when_no_other_follows() {
        let limiter = Limiter::new();
        assert_eq!((0..5).filter(|_| limiter.admit("accept", 10).is_some()).count(), 1);
        assert_eq!(limiter.due(500).count(), 0);
        assert_eq!(limiter.due(1_010).collect::<Vec<_>>(), [("accept", 4)]);
        assert_eq!(limiter.due(9_000).count(), 0, "told once");
    }

    #[test]
    fn a_full_table_still_limits() {
        let limiter = Limiter::new();
        for at in 0..CLASSES_MAX - 1 {
            assert_eq!(limiter.admit(Box::leak(at.to_string().into_boxed_str()), 0), Some(0));
        }
        assert_eq!(limiter.admit("one more", 0), Some(0));
        assert_eq!(limiter.admit("and another", 0), None, "they share the last place");
        assert_eq!(limiter.due(1_000).collect::<Vec<_>>(), [("other", 1)]);
    }
}
