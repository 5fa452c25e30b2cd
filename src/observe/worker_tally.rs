//! The numbers of one worker: written by its thread alone, read by anybody.

use super::{Counter, Gauge, Histogram};

/// See the module.
///
/// Invariant: no cache line of it belongs to another worker too.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerTally {
    /// Jobs done.
    pub jobs: Counter,
    /// Of them, taken from another lane than the home one.
    pub steals: Counter,
    /// Of them, not run, because nobody waited for them any more.
    pub unrun: Counter,
    /// Nanoseconds spent on jobs.
    pub busy_ns: Counter,
    /// How often it went to sleep.
    pub rests: Counter,
    /// How often it had to wake a reactor.
    pub wakes: Counter,
    /// From the queue to the worker's hand.
    pub wait: Histogram,
    /// From the worker's hand to the answer.
    pub service: Histogram,
    /// Whether somebody works here: 1, else 0.
    pub manned: Gauge,
    /// What the kernel calls whoever does.
    pub thread_id: Gauge,
    /// When the job at hand was begun, in nanoseconds of the machine's clock; 0: there is none.
    pub began_ns: Gauge,
    /// When its answer is due.
    pub due_ns: Gauge,
}
