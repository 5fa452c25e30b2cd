//! One reactor's jobs that wait for a worker: two bounded lock-free queues, the urgent and the ordinary, and
//! how long the last ones waited.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::gateway::route::Priority;
use crate::worker::job::Job;

/// See the module.
pub struct Lane {
    urgent: ArrayQueue<Box<Job>>,
    ordinary: ArrayQueue<Box<Job>>,
    waits: Waits,
}

/// How long jobs waited before they were taken.
#[derive(Debug)]
pub struct Waits {
    least_ns: AtomicU64,
    last_ns: AtomicU64,
}

impl Lane {
    /// A lane with room for so many jobs of each kind.
    #[must_use]
    pub fn with_room(jobs_max: u32) -> Lane {
        let queue = || ArrayQueue::new(jobs_max.max(1) as usize);
        Lane { urgent: queue(), ordinary: queue(), waits: Waits::default() }
    }

    /// Takes a job in.
    ///
    /// # Errors
    /// Gives it back when there is no room.
    pub fn push(&self, job: Box<Job>) -> Result<(), Box<Job>> {
        match job.priority() {
            Priority::High => self.urgent.push(job),
            Priority::Normal => self.ordinary.push(job),
        }
    }

    /// The job to be done next: an urgent one, or the other way about when it is the ordinary ones' turn.
    #[must_use]
    pub fn take(&self, ordinary_first: bool) -> Option<Box<Job>> {
        let (first, second) = match ordinary_first {
            true => (&self.ordinary, &self.urgent),
            false => (&self.urgent, &self.ordinary),
        };
        first.pop().or_else(|| second.pop())
    }

    /// Jobs that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.urgent.len() + self.ordinary.len()
    }

    /// Jobs of that priority that wait.
    #[must_use]
    pub fn len_of(&self, priority: Priority) -> usize {
        match priority {
            Priority::High => self.urgent.len(),
            Priority::Normal => self.ordinary.len(),
        }
    }

    /// Whether no job waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.ordinary.is_empty()
    }

    /// How long jobs waited.
    #[must_use]
    pub fn waits(&self) -> &Waits {
        &self.waits
    }
}

impl Waits {
    /// A job was taken that had waited so long.
    pub fn note(&self, waited_ns: u64) {
        self.last_ns.store(waited_ns, Ordering::Relaxed);
        // Seldom true, so the shared line is seldom written twice.
        if waited_ns < self.least_ns.load(Ordering::Relaxed) {
            self.least_ns.fetch_min(waited_ns, Ordering::Relaxed);
        }
    }

    /// The wait of the job that was taken last.
    #[must_use]
    pub fn last_ns(&self) -> u64 {
        self.last_ns.load(Ordering::Relaxed)
    }

    /// The least wait since this was asked last; `None` when no job was taken.
    pub fn take_least_ns(&self) -> Option<u64> {
        let least = self.least_ns.swap(u64::MAX, Ordering::Relaxed);
        (least != u64::MAX).then_some(least)
    }
}

impl Default for Waits {
    fn default() -> Waits {
        Waits { least_ns: AtomicU64::new(u64::MAX), last_ns: AtomicU64::new(0) }
    }
}
