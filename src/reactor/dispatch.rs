//! A reactor's hand on the workers: who may go, who is refused, who comes home.
//!
//! A permit is counted for every job that is out, and comes back with it, not with the answer to its client:
//! so overload stays visible while a handler runs on for nobody, and the desk has room for whatever comes
//! home.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::guarded::guarded;
use crate::base::pool::Pool;
use crate::gateway::handler::Place;
use crate::gateway::route::Priority;
use crate::http::{Response, Source, Status};
use crate::observe::Tally;
use crate::worker::delay::Delay;
use crate::worker::pipe::Pipe;
use crate::worker::{Errand, Hatch, Job, ReplyTo};

/// Jobs that a busy reactor hands in before it has somebody woken for them: a wake-up costs it as much as
/// answering one of them.
const UNANNOUNCED_MAX: u32 = 32;
/// And how long it may take until then, in nanoseconds.
const UNANNOUNCED_NS_MAX: u64 = 100_000;

/// How requests go to workers.
pub struct Dispatching {
    /// The way there; `None`: there are no workers.
    pub hatch: Option<Hatch>,
    /// Jobs out at once.
    pub out_max: u32,
    /// Of them, those that only urgent requests may have: many ordinary ones do not keep them out.
    pub urgent_reserve: u32,
    /// Requests of one priority that may wait for a worker. Over it: 503.
    pub depth_max: u32,
    /// How long a request may wait for a worker, in milliseconds. Over it: 503.
    pub queue_ms_max: Option<u32>,
    /// How long an answer may take, in milliseconds. Over it: 504.
    pub request_ms_max: Option<u32>,
}

impl Dispatching {
    /// No workers at all.
    #[must_use]
    pub fn nowhere() -> Dispatching {
        Dispatching {
            hatch: None,
            out_max: 0,
            urgent_reserve: 0,
            depth_max: 0,
            queue_ms_max: None,
            request_ms_max: None,
        }
    }
}

/// Why a request was turned away although nothing was wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// As many wait as may.
    QueueFull,
    /// The queue stands, so the newest are refused before all are late.
    QueueDelay,
    /// It has waited for a worker as long as it may.
    QueueTimeout,
    /// As many are out as may be, most of them in handlers that nobody waits for any more.
    NoPermit,
    /// No memory is left to keep it in.
    NoBuffer,
}

impl Refusal {
    /// The labels, in the order of the enum, for metrics.
    pub const LABELS: [&'static str; 5] =
        ["queue_full", "queue_delay", "queue_timeout", "no_permit", "no_buffer"];

    /// What a client is told whom we have no room for. A second is what a full queue takes to drain.
    pub const ANSWER: Response = Response::fixed(
        Status::SERVICE_UNAVAILABLE,
        "Content-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n",
        b"503 Service Unavailable\n",
    );
}

const _: () = assert!(Refusal::NoBuffer as usize + 1 == Refusal::LABELS.len());

/// Drops a body here. What that does is its author's business, but it must not take the reactor down.
pub(super) fn drop_guarded(source: Source) {
    let _ = guarded(|| drop(source));
}

/// See the module.
///
/// Invariant: out <= out_max; `out` jobs are in the lane, at workers or on the desk.
pub(super) struct Dispatch {
    means: Dispatching,
    jobs: Pool<Job>,
    buffer_bytes: u32,
    out: u32,
    delay: Delay,
    /// Jobs that were handed in and nobody was woken for, and when the first of them was.
    unannounced: u32,
    unannounced_since_ns: u64,
    /// Connections that want the next piece of a body and had no permit, by slot and generation.
    hungry: VecDeque<(u32, u32)>,
}

impl Dispatch {
    pub(super) fn new(means: Dispatching, jobs_max: u32, buffer_bytes: u32) -> Dispatch {
        Dispatch {
            delay: Delay::new(means.queue_ms_max),
            jobs: Pool::with_limit(jobs_max.saturating_add(means.out_max)),
            means,
            buffer_bytes,
            out: 0,
            unannounced: 0,
            unannounced_since_ns: 0,
            hungry: VecDeque::new(),
        }
    }

    /// A job to keep a request in; `None` when as many are kept as may be.
    pub(super) fn lend(&mut self) -> Option<Box<Job>> {
        let size = self.buffer_bytes;
        self.jobs.lend(|| Job::with_size(size))
    }

    /// Takes back what was lent.
    pub(super) fn give_back(&mut self, mut job: Box<Job>) {
        let is_of_worker = job.route.as_ref().is_some_and(|route| route.place() == Place::Worker);
        if let Some(source) = job.take_source() {
            match self.means.hatch.as_ref().filter(|_| is_of_worker) {
                Some(hatch) => hatch.discard(source),
                None => drop_guarded(source),
            }
        }
        job.wipe();
        self.jobs.give_back(job);
    }

    /// The pipe for a body that is read as it comes.
    pub(super) fn pipe(&self, to: ReplyTo) -> Option<Arc<Pipe>> {
        let desk = self.means.hatch.as_ref()?.desk();
        Some(Arc::new(Pipe::new(Arc::clone(desk), to)))
    }

    pub(super) fn reactor(&self) -> u32 {
        self.means.hatch.as_ref().map_or(0, Hatch::reactor)
    }

    pub(super) fn queue_ms_max(&self) -> Option<u32> {
        self.means.queue_ms_max
    }

    pub(super) fn request_ms_max(&self) -> Option<u32> {
        self.means.request_ms_max
    }

    /// Sends a request to the workers, or says why not: its client is to be told at once.
    pub(super) fn submit(&mut self, mut job: Box<Job>, now_ns: u64) -> Result<(), (Box<Job>, Refusal)> {
        debug_assert!(matches!(job.errand, Errand::Call));
        let Some(hatch) = &self.means.hatch else { return Err((job, Refusal::NoPermit)) };
        let priority = job.priority();
        let is_urgent = priority == Priority::High;
        let out_max = self.means.out_max - if is_urgent { 0 } else { self.means.urgent_reserve };
        // Who waits is out, so while few are out nobody needs to count: the lane's ends are the workers' too,
        // and a look at them costs.
        let is_full = || hatch.waiting_of(priority) >= self.means.depth_max as usize;
        let refusal = if self.out >= self.means.depth_max && is_full() {
            Some(Refusal::QueueFull)
        } else if self.out >= out_max {
            Some(Refusal::NoPermit)
        // The urgent are few, and go first: it is not they who make a queue stand.
        } else if !is_urgent && !self.delay.admits(hatch.waits(), || hatch.waiting() == 0, now_ns) {
            Some(Refusal::QueueDelay)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Err((job, refusal));
        }
        job.submitted_ns = now_ns;
        hatch.push(job).map_err(|job| (job, Refusal::QueueFull))?;
        self.let_out(now_ns);
        Ok(())
    }

    /// Sends for the next piece of a body whose answer has begun. `Err`: there is no permit; the connection
    /// is [told](Dispatch::next_hungry) when one came home.
    pub(super) fn fetch(&mut self, mut job: Box<Job>, now_ns: u64) -> Result<(), Box<Job>> {
        debug_assert!(matches!(job.errand, Errand::Pull(_)));
        let to = (job.to.slot, job.to.generation);
        let Some(hatch) = self.means.hatch.as_ref().filter(|_| self.out < self.means.out_max) else {
            self.hungry.push_back(to);
            return Err(job);
        };
        job.submitted_ns = now_ns;
        if let Err(job) = hatch.push(job) {
            self.hungry.push_back(to);
            return Err(job);
        }
        self.let_out(now_ns);
        Ok(())
    }

    fn let_out(&mut self, now_ns: u64) {
        self.out += 1;
        if self.unannounced == 0 {
            self.unannounced_since_ns = now_ns;
        }
        self.unannounced += 1;
    }

    /// A job came home.
    pub(super) fn came_home(&mut self) {
        debug_assert!(self.out > 0, "a job came home that was not let out");
        self.out -= 1;
    }

    /// Who has waited longest for a permit; it may be gone.
    pub(super) fn next_hungry(&mut self) -> Option<(u32, u32)> {
        self.hungry.pop_front()
    }

    /// A turn's work is done. A busy reactor saves wake-ups up for a few turns, but not for long.
    pub(super) fn end_batch(&mut self, tally: &Tally, now_ns: u64) {
        let is_old = now_ns.saturating_sub(self.unannounced_since_ns) >= UNANNOUNCED_NS_MAX;
        if self.unannounced >= UNANNOUNCED_MAX || (self.unannounced > 0 && is_old) {
            self.announce(tally);
        }
    }

    /// Whether jobs lie in the lane that nobody was woken for.
    pub(super) fn owes_wake(&self) -> bool {
        self.unannounced > 0
    }

    /// Sees to it that somebody looks into the lane: whoever was submitted is told of by one call.
    pub(super) fn announce(&mut self, tally: &Tally) {
        self.unannounced = 0;
        if self.means.hatch.as_ref().is_some_and(Hatch::wake) {
            tally.worker_wakes.add(1);
        }
    }

    /// Writes its numbers down.
    pub(super) fn tell(&self, tally: &Tally) {
        if let Some(hatch) = &self.means.hatch {
            tally.out.set(u64::from(self.out));
            tally.waiting.set(hatch.waiting() as u64);
        }
    }

    pub(super) fn has_surplus(&self) -> bool {
        self.jobs.has_surplus()
    }

    pub(super) fn trim(&mut self) -> usize {
        self.jobs.trim()
    }

    #[cfg(test)]
    pub(super) fn out(&self) -> u32 {
        self.out
    }

    /// Whether a job could go out.
    #[cfg(test)]
    pub(super) fn has_permit(&self) -> bool {
        self.means.hatch.is_some() && self.out < self.means.out_max
    }

    /// Jobs that lie with connections: neither in the pool nor out.
    #[cfg(test)]
    pub(super) fn at_home(&self) -> u32 {
        self.jobs.lent() - self.out
    }
}
