//! A set of two places in a table of limits, and threads that bring the same new key and another, in every
//! order that a few preemptions allow.

use std::sync::atomic::{AtomicU32, Ordering};

use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

use myriapod_loom::counts::{Counted, Counts};
use myriapod_loom::rate::{Rate, RateTable};

/// Two keys of one set: where their prints are, both tables look at the upper bits.
const KEY: u64 = 1 << 40;
const OTHER: u64 = 2 << 40;
const SECOND: u64 = 1_000_000_000;

fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// Loom does not look at what only counts.
fn all_of(threads: Vec<thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn of_two_who_bring_a_new_key_one_gets_its_only_token() {
    model(3, || {
        let table = Arc::new(RateTable::new(Rate { requests: 1, per_ms: 1_000, burst: 1 }, 1));
        // Both places are taken, by buckets that are full again.
        table.take(3 << 40, SECOND);
        table.take(4 << 40, 2 * SECOND);
        let passed = std::sync::Arc::new(AtomicU32::new(0));
        let threads = [(KEY, 9), (KEY, 9), (OTHER, 9)].map(|(key, second)| {
            let (table, passed) = (Arc::clone(&table), passed.clone());
            thread::spawn(move || {
                if table.take(key, second * SECOND).is_passed && key == KEY {
                    passed.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        all_of(threads.into());
        assert_eq!(passed.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn of_one_key_no_more_are_in_than_may_be_while_counters_change_hands() {
    // Three took a minute on a busy machine, and found nothing that two do not: without the fence, this.
    model(2, || {
        let counts = Arc::new(Counts::new(1));
        let inside = std::sync::Arc::new(AtomicU32::new(0));
        let threads = [KEY, KEY, OTHER].map(|key| {
            let (counts, inside) = (Arc::clone(&counts), inside.clone());
            thread::spawn(move || {
                let Counted::In(seat) = counts.enter(key, 1) else { return };
                if key == KEY {
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "two were in");
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::Relaxed);
                }
                counts.leave(seat);
            })
        });
        all_of(threads.into());
    });
}
