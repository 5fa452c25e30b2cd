//! The numbers of one reactor: written by its thread alone, read by anybody.
//!
//! One writer makes `load; add; store` as good as an atomic addition, at the price of a plain one. Readers
//! see every number whole, never torn, though two numbers read together may be a moment apart.
//! Not here: how they are written out, see [`exposition`](super::exposition).

use std::sync::atomic::{AtomicU64, Ordering};

use super::Histogram;

/// A number that only rises. One thread writes it; a second writer would lose counts, nothing worse.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owning thread may.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count as of about now, from any thread.
    #[inline]
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down. One thread writes it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it; only the owning thread may.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Sets it if that makes it larger: for the longest and the highest.
    #[inline]
    pub fn raise(&self, value: u64) {
        if value > self.value() {
            self.set(value);
        }
    }

    /// The value as of about now, from any thread.
    #[inline]
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One cache line of counters, so that two reactors' counters never share one.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([Counter; LINE_COUNTERS]);

/// A row of counters on cache lines of its own.
#[derive(Debug)]
struct Row(Box<[Line]>);

impl Row {
    fn new(len: usize) -> Row {
        Row((0..len.div_ceil(LINE_COUNTERS)).map(|_| Line::default()).collect())
    }

    #[inline]
    fn at(&self, index: usize) -> &Counter {
        &self.0[index / LINE_COUNTERS].0[index % LINE_COUNTERS]
    }
}

/// Counters of one kind, told apart by a label.
#[derive(Debug)]
pub struct Family {
    labels: &'static [&'static str],
    counters: Row,
}

impl Family {
    /// One counter for each label, all at zero.
    #[must_use]
    pub fn new(labels: &'static [&'static str]) -> Family {
        Family { labels, counters: Row::new(labels.len()) }
    }

    /// Adds to the counter of `labels[index]`; only the owning thread may.
    ///
    /// # Panics
    /// If there is no such label: the index is an enum's discriminant, never a peer's number.
    #[inline]
    pub fn add(&self, index: usize, n: u64) {
        assert!(index < self.labels.len(), "no label with this index");
        self.counters.at(index).add(n);
    }

    /// The count for `labels[index]`.
    #[must_use]
    pub fn value(&self, index: usize) -> u64 {
        self.counters.at(index).value()
    }

    /// The labels, in the order of their counters.
    #[must_use]
    pub fn labels(&self) -> &'static [&'static str] {
        self.labels
    }
}

/// Answers by method and status, one counter for each pair that can be.
#[derive(Debug)]
pub struct Answers {
    methods: &'static [&'static str],
    counters: Row,
}

impl Answers {
    /// The least status that is counted.
    pub const STATUS_MIN: u16 = 100;
    /// The status after the last that is counted.
    pub const STATUS_END: u16 = 600;
    /// How many statuses are counted.
    pub const STATUSES: usize = (Answers::STATUS_END - Answers::STATUS_MIN) as usize;

    /// A counter for every pair, all at zero: 4 KB a method.
    #[must_use]
    pub fn new(methods: &'static [&'static str]) -> Answers {
        Answers { methods, counters: Row::new(methods.len() * Answers::STATUSES) }
    }

    /// Counts `n` answers with this status to `methods[method]`; only the owning thread may.
    ///
    /// # Panics
    /// If the method has no label or the status not three digits: both come from types of ours, never from a
    /// peer.
    #[inline]
    pub fn add(&self, method: usize, status: u16, n: u64) {
        self.counters.at(self.place(method, status)).add(n);
    }

    /// The count for `methods[method]` and this status.
    #[must_use]
    pub fn value(&self, method: usize, status: u16) -> u64 {
        self.counters.at(self.place(method, status)).value()
    }

    /// Adds every count to `totals`, which has a place for each: [`STATUSES`](Answers::STATUSES) to a method.
    pub fn add_to(&self, totals: &mut [u64]) {
        for (total, counter) in totals.iter_mut().zip(self.counters.0.iter().flat_map(|line| &line.0)) {
            *total += counter.value();
        }
    }

    /// The methods, in the order of their index.
    #[must_use]
    pub fn methods(&self) -> &'static [&'static str] {
        self.methods
    }

    #[inline]
    fn place(&self, method: usize, status: u16) -> usize {
        assert!(method < self.methods.len(), "no method with this index");
        assert!((Answers::STATUS_MIN..Answers::STATUS_END).contains(&status), "not a status");
        method * Answers::STATUSES + usize::from(status - Answers::STATUS_MIN)
    }
}

/// What one reactor counts. Its thread writes, `/metrics` reads.
///
/// Invariant: no cache line of it belongs to another reactor too. 128, not 64: processors fetch lines in
/// pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct Tally {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections open now.
    pub open: Gauge,
    /// Connections that the kernel has sent here and that are not accepted yet.
    pub coming: Gauge,
    /// Accepts that failed, and connections turned away because there was no room.
    pub refused: Counter,
    /// How often accepting was paused, for want of descriptors, memory or slots.
    pub accept_pauses: Counter,
    /// Bytes read from clients.
    pub bytes_in: Counter,
    /// Bytes written to clients.
    pub bytes_out: Counter,
    /// Handlers that panicked.
    pub panics: Counter,
    /// Turns of the loop.
    pub turns: Counter,
    /// Events the kernel reported, over all turns.
    pub events: Counter,
    /// Nanoseconds spent working.
    pub busy_ns: Counter,
    /// Nanoseconds spent waiting for events.
    pub waiting_ns: Counter,
    /// Read buffers that connections hold now.
    pub buffers_lent: Gauge,
    /// Read buffers that wait to be lent.
    pub buffers_spare: Gauge,
    /// Entries in the timer wheel.
    pub timers: Gauge,
    /// Connections closed, by reason.
    pub closed: Family,
    /// Rules of the protocol that peers broke, by rule.
    pub violations: Family,
    /// Requests turned away although nothing was wrong with them, by reason.
    pub refusals: Family,
    /// Requests handed to the queue for workers.
    pub queued: Counter,
    /// Requests out on that way now.
    pub out: Gauge,
    /// Of them, those that wait for a worker.
    pub waiting: Gauge,
    /// Answers that came when nobody waited for them any more.
    pub late_answers: Counter,
    /// Answers that took too long: 504, or a break where they had begun.
    pub overdue: Counter,
    /// How often a worker had to be woken.
    pub worker_wakes: Counter,
    /// Requests answered, by method and status.
    pub answers: Answers,
    /// From the first byte of a request to the last byte of its answer handed to the kernel.
    pub latency: Histogram,
    /// The work of each turn, waiting left out.
    pub turn_work: Histogram,
}

impl Tally {
    /// All at zero. The labels belong to the enums whose discriminants are the indexes.
    #[must_use]
    pub fn new(
        close_labels: &'static [&'static str],
        violation_labels: &'static [&'static str],
        refusal_labels: &'static [&'static str],
        method_labels: &'static [&'static str],
    ) -> Tally {
        Tally {
            accepted: Counter::default(),
            open: Gauge::default(),
            coming: Gauge::default(),
            refused: Counter::default(),
            accept_pauses: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            panics: Counter::default(),
            turns: Counter::default(),
            events: Counter::default(),
            busy_ns: Counter::default(),
            waiting_ns: Counter::default(),
            buffers_lent: Gauge::default(),
            buffers_spare: Gauge::default(),
            timers: Gauge::default(),
            closed: Family::new(close_labels),
            violations: Family::new(violation_labels),
            refusals: Family::new(refusal_labels),
            queued: Counter::default(),
            out: Gauge::default(),
            waiting: Gauge::default(),
            late_answers: Counter::default(),
            overdue: Counter::default(),
            worker_wakes: Counter::default(),
            answers: Answers::new(method_labels),
            latency: Histogram::default(),
            turn_work: Histogram::default(),
        }
    }
}

const LINE_COUNTERS: usize = 8;

const _: () = assert!(size_of::<Line>() == 64);
const _: () = assert!(size_of::<Tally>().is_multiple_of(128));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_method_and_status_has_a_counter_of_its_own() {
        let answers = Answers::new(&["GET", "POST", "OTHER"]);
        for method in 0..3 {
            for status in Answers::STATUS_MIN..Answers::STATUS_END {
                answers.add(method, status, method as u64 * 1_000 + u64::from(status));
            }
        }
        for method in 0..3 {
            for status in Answers::STATUS_MIN..Answers::STATUS_END {
                assert_eq!(answers.value(method, status), method as u64 * 1_000 + u64::from(status));
            }
        }
    }

    #[test]
    fn totals_hold_each_pair_at_its_place() {
        let answers = Answers::new(&["GET", "POST"]);
        answers.add(0, 100, 1);
        answers.add(1, 599, 2);
        let mut totals = vec![10; 2 * Answers::STATUSES];
        answers.add_to(&mut totals);
        assert_eq!((totals[0], totals[1], totals[998], totals[999]), (11, 10, 10, 12));
    }

    #[test]
    #[should_panic(expected = "not a status")]
    fn a_status_of_four_digits_is_a_bug_not_another_methods_count() {
        Answers::new(&["GET", "POST"]).add(0, 600, 1);
    }

    #[test]
    #[should_panic(expected = "no label")]
    fn padding_behind_the_last_label_is_out_of_bounds() {
        Family::new(&["idle", "peer"]).add(2, 1);
    }

    #[test]
    fn a_raised_gauge_keeps_the_largest() {
        let longest = Gauge::default();
        for value in [3, 7, 5] {
            longest.raise(value);
        }
        assert_eq!(longest.value(), 7);
    }

    #[test]
    fn another_thread_reads_what_the_owner_counted() {
        let tally = std::sync::Arc::new(Tally::new(&["idle"], &["bad"], &["full"], &["GET"]));
        let owner = std::sync::Arc::clone(&tally);
        std::thread::spawn(move || (0..1_000).for_each(|_| owner.accepted.add(2))).join().unwrap();
        assert_eq!(tally.accepted.value(), 2_000);
    }
}
