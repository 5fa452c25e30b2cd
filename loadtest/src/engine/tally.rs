//! What one thread counts, handed over once a second to whoever adds it up.

use std::sync::mpsc::Sender;

use crate::engine::faults::Fault;
use crate::engine::latency::Latency;

/// Counts of one thread over one second, or of all of them over a whole run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub requests: u64,
    /// Right ones.
    pub answers: u64,
    /// Right answers that came within the span, whenever they were due: what a rate is made of.
    pub timely: u64,
    pub received: u64,
    pub errors: [u64; Fault::ALL.len()],
    pub latency: Latency,
    pub lag: Latency,
    /// Share of a CPU that the busiest thread took over the whole span.
    pub busiest: f64,
}

/// One thread's counts of one second.
#[derive(Debug)]
pub struct Beat {
    /// Seconds since measuring began.
    pub second: u32,
    pub tally: Tally,
}

/// Where a thread counts. What happens outside the measured span is dropped.
pub struct Post {
    sender: Sender<Beat>,
    tally: Tally,
    second: u32,
    from_ns: u64,
    until_ns: u64,
    next_ns: u64,
    /// When this thread was first seen within the span, and the CPU time it had taken by then.
    cpu_before: Option<(u64, u64)>,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Post {
    /// Counts between two times of the run's clock.
    pub fn new(sender: Sender<Beat>, from_ns: u64, until_ns: u64) -> Post {
        let next_ns = from_ns.saturating_add(SECOND_NS).min(until_ns);
        let tally = Tally::default();
        Post { sender, tally, second: 0, from_ns, until_ns, next_ns, cpu_before: None }
    }

    /// Whether `now_ns` lies in the measured span.
    pub fn measures(&self, now_ns: u64) -> bool {
        (self.from_ns..self.until_ns).contains(&now_ns)
    }

    /// The end of the measured span.
    pub fn until_ns(&self) -> u64 {
        self.until_ns
    }

    /// When the next second ends: nobody should sleep longer.
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Counts one request, at the time it is sent or was due.
    pub fn asked(&mut self, intended_ns: u64) {
        self.tally.requests += u64::from(self.measures(intended_ns));
    }

    /// Counts how late a request was sent that nothing but this generator held back.
    pub fn lagged(&mut self, intended_ns: u64, lag_ns: u64) {
        if self.measures(intended_ns) {
            self.tally.lag.record(lag_ns);
        }
    }

    /// Counts one answer of a closed loop, or what was wrong with it: by when it came.
    pub fn answered(&mut self, intended_ns: u64, at_ns: u64, fault: Option<Fault>) {
        if self.measures(at_ns) {
            self.outcome(intended_ns, at_ns, fault);
            self.tally.timely += u64::from(fault.is_none());
        }
    }

    /// Counts what became of a request of a schedule: by when it was due. What was due within the span and is
    /// answered after it belongs to the run, or the slowest would be missing; the rate counts what came
    /// within.
    pub fn settled(&mut self, intended_ns: u64, at_ns: u64, fault: Option<Fault>) {
        if self.measures(intended_ns) {
            self.outcome(intended_ns, at_ns, fault);
        }
        self.tally.timely += u64::from(fault.is_none() && self.measures(at_ns));
    }

    fn outcome(&mut self, intended_ns: u64, at_ns: u64, fault: Option<Fault>) {
        match fault {
            None => {
                self.tally.answers += 1;
                self.tally.latency.record(at_ns.saturating_sub(intended_ns));
            }
            Some(fault) => self.tally.errors[fault as usize] += 1,
        }
    }

    /// Counts an error `times` over, whenever it happens: a connection that fails before the span matters
    /// too.
    pub fn failed(&mut self, fault: Fault, times: usize) {
        self.tally.errors[fault as usize] += times as u64;
    }

    /// Counts bytes that came.
    pub fn received(&mut self, now_ns: u64, bytes: u64) {
        if self.measures(now_ns) {
            self.tally.received += bytes;
        }
    }

    /// Hands over the second that has ended, if one has. Called at every turn.
    pub fn beat(&mut self, now_ns: u64) {
        if now_ns >= self.from_ns && self.cpu_before.is_none() {
            self.cpu_before = Some((now_ns, cpu_ns()));
        }
        if let (Some((from_ns, cpu_before)), true) = (self.cpu_before, now_ns >= self.until_ns) {
            // The first look after the span counts: what follows is the wait for late answers.
            if self.tally.busiest == 0.0 && now_ns > from_ns {
                self.tally.busiest = (cpu_ns() - cpu_before) as f64 / (now_ns - from_ns) as f64;
            }
        }
        while now_ns >= self.next_ns && self.next_ns < self.until_ns {
            self.hand_over();
            self.next_ns = (self.next_ns + SECOND_NS).min(self.until_ns);
        }
    }

    fn hand_over(&mut self) {
        let beat = Beat { second: self.second, tally: std::mem::take(&mut self.tally) };
        self.second += 1;
        // Whoever added up has gone: so will this thread.
        let _ = self.sender.send(beat);
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// CPU time this thread has taken.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * SECOND_NS + time.tv_nsec as u64
}

impl Tally {
    /// Adds all of another.
    pub fn merge(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.answers += other.answers;
        self.timely += other.timely;
        self.received += other.received;
        self.errors.iter_mut().zip(other.errors).for_each(|(sum, one)| *sum += one);
        self.latency.merge(&other.latency);
        self.lag.merge(&other.lag);
        self.busiest = self.busiest.max(other.busiest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn only_what_falls_into_the_span_is_counted_second_by_second() {
        let (sender, beats) = mpsc::channel();
        let mut post = Post::new(sender, SECOND_NS, 3 * SECOND_NS);
        post.answered(0, SECOND_NS - 1, None);
        post.answered(SECOND_NS, SECOND_NS + 500, None);
        post.beat(2 * SECOND_NS);
        post.answered(SECOND_NS, 2 * SECOND_NS + 7, Some(Fault::Status));
        post.answered(SECOND_NS, 3 * SECOND_NS, None);
        post.beat(3 * SECOND_NS);
        drop(post);
        let beats: Vec<Beat> = beats.iter().collect();
        let seen = beats
            .iter()
            .map(|beat| (beat.second, beat.tally.answers, beat.tally.errors[Fault::Status as usize]));
        assert_eq!(seen.collect::<Vec<_>>(), [(0, 1, 0), (1, 0, 1)]);
    }

    #[test]
    fn what_was_due_in_the_span_counts_whenever_it_is_answered() {
        let (sender, beats) = mpsc::channel();
        let mut post = Post::new(sender, SECOND_NS, 2 * SECOND_NS);
        post.settled(SECOND_NS - 1, SECOND_NS + 1, None);
        post.settled(SECOND_NS, 5 * SECOND_NS, None);
        post.settled(2 * SECOND_NS - 1, 6 * SECOND_NS, Some(Fault::Timeout));
        post.settled(2 * SECOND_NS, 3 * SECOND_NS, None);
        drop(post);
        let Tally { answers, timely, errors, latency, .. } = beats.recv().unwrap().tally;
        assert_eq!((answers, timely, errors[Fault::Timeout as usize]), (1, 1, 1));
        assert_eq!(latency.count(), 1);
        assert!(latency.max() >= 4 * SECOND_NS);
    }

    #[test]
    fn a_long_pause_leaves_no_second_out() {
        let (sender, beats) = mpsc::channel();
        let mut post = Post::new(sender, 0, 5 * SECOND_NS);
        post.beat(4 * SECOND_NS + 1);
        drop(post);
        assert_eq!(beats.iter().map(|beat| beat.second).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }
}
