//! What the kernel's choice is made from: a page of counts that reactors and the kernel both write.
//!
//! A reactor's load is what the kernel has sent it less what is gone of that, in its own words:
//! `sent - gone`. Each of the two has one writer, so neither ever waits for the other, and a connection
//! counts from the moment its first packet comes, long before its reactor knows.
//! Who cannot take clients says so by a load that nobody has, see [`Standing`].

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

/// Reactors there is room for in a choice's rank.
pub(super) const REACTORS_MAX: u32 = 1 << 10;
const _: () = assert!(REACTORS_MAX >= crate::config::resolve::REACTORS_MAX);

/// What stands before the slots.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Head {
    /// The reactor that was chosen last; ties go to the next behind it.
    pub last: AtomicU32,
}

/// One reactor's part, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Slot {
    /// Connections sent to it; written by the kernel alone.
    pub sent: AtomicU64,
    /// What is not to be counted of them any more; written by the reactor alone, as is the rest.
    pub gone: AtomicU64,
    /// When its turn began, in nanoseconds of the monotonic clock, or [`ASLEEP`].
    pub busy_since_ns: AtomicI64,
}

/// A reactor that waits for events: it cannot be stuck.
pub(super) const ASLEEP: i64 = i64::MAX;
/// A turn that takes this long is taken for stuck, and its reactor gets no more clients until it is over.
pub(super) const STUCK_NS: i64 = 1_000_000_000;

/// Whether a reactor takes clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum Standing {
    /// It does.
    Open,
    /// Not now. If none does, clients wait in the backlog that the hash gives them.
    Paused,
    /// Never again. If none does, clients are refused.
    Left,
}

impl Standing {
    /// What it adds to a load. Distances are so large that no count makes one pass for another.
    pub(super) const fn weight(self) -> u64 {
        match self {
            Standing::Open => 0,
            Standing::Paused => 1 << 42,
            Standing::Left => 1 << 44,
        }
    }
}

impl Slot {
    /// Nothing is done here until something happens.
    pub(super) fn sleep(&self) {
        self.busy_since_ns.store(ASLEEP, Ordering::Relaxed);
    }

    /// A turn begins.
    pub(super) fn rise(&self, now_ns: u64) {
        self.busy_since_ns.store(now_ns as i64, Ordering::Relaxed);
    }

    /// Says that this is to be taken off what was sent.
    pub(super) fn set_gone(&self, gone: i64, standing: Standing) {
        self.gone.store((gone as u64).wrapping_sub(standing.weight()), Ordering::Relaxed);
    }
}
