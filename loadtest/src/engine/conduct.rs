//! Runs one load: threads with their own tables and connections, one measured span, everything added up.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mio::Poll;

use crate::engine::addresses::Sources;
use crate::engine::faults::Fault;
use crate::engine::lot::{Lot, Setup};
use crate::engine::progress::Progress;
use crate::engine::table;
use crate::engine::tally::{Beat, Post, Tally};
use crate::host::process::Process;
use crate::report::{Load, Moment};
use crate::wire::target::Target;

/// One load to be run.
pub struct Plan<'a> {
    pub name: String,
    pub target: Arc<Target>,
    pub threads: u32,
    pub sources: Origin,
    pub timeout: Duration,
    pub warm_up: Duration,
    pub measured: Duration,
    pub rate_wanted: Option<f64>,
    /// Whose CPU time is read, if it is known.
    pub server: Option<&'a Process>,
}

/// Where connections come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// As the kernel likes.
    Any,
    /// All of loopback, shared out.
    Loopback,
    /// These, used by every thread in turn.
    Given(Vec<std::net::IpAddr>),
}

/// What one thread drives.
pub struct Duty {
    pub number: u32,
    pub lot: Lot,
    /// Nothing is sent: that it is dropped tells that this thread is ready, or has failed and need not be
    /// waited for.
    ready: Option<mpsc::Sender<Infallible>>,
    /// When to begin.
    go: Receiver<u64>,
    sender: mpsc::Sender<Beat>,
    span: (Duration, Duration),
}

impl Origin {
    /// The addresses of one thread.
    pub fn of_thread(&self, number: u32) -> Sources {
        match self {
            Origin::Any => Sources::any(),
            Origin::Loopback => Sources::loopback(number),
            Origin::Given(all) => Sources::of(all.clone()),
        }
    }
}

impl Duty {
    /// Waits for the others; the time when all begin, and where to count from then on.
    pub fn begin(&mut self) -> (u64, Post) {
        self.ready = None;
        // When the others could not be started, the span is over before it begins.
        let Ok(go_ns) = self.go.recv() else { return (0, Post::new(self.sender.clone(), 0, 0)) };
        let from_ns = go_ns + self.span.0.as_nanos() as u64;
        (go_ns, Post::new(self.sender.clone(), from_ns, from_ns + self.span.1.as_nanos() as u64))
    }
}

impl Plan<'_> {
    /// Runs it to the end.
    ///
    /// # Errors
    /// When a thread cannot begin or its poll fails.
    pub fn run(
        &self,
        progress: &mut Progress,
        drive: impl Fn(Duty) -> io::Result<()> + Sync,
    ) -> io::Result<Load> {
        let epoch = Instant::now();
        let (sender, beats) = mpsc::channel();
        let (ready, all_ready) = mpsc::channel();
        // Whatever fails from here on drops its ends of these, so that nobody waits for it.
        std::thread::scope(|scope| {
            let (mut threads, mut starters) = (Vec::new(), Vec::new());
            for number in 0..self.threads {
                let setup = self.setup(number, epoch)?;
                let (starter, go) = mpsc::channel();
                starters.push(starter);
                let (ready, sender, drive) = (Some(ready.clone()), sender.clone(), &drive);
                let span = (self.warm_up, self.measured);
                let work = move || {
                    let lot = own_table().and_then(|()| Lot::new(setup))?;
                    drive(Duty { number, lot, ready, go, sender, span })
                };
                threads.push(std::thread::Builder::new().spawn_scoped(scope, work)?);
            }
            drop((sender, ready));
            // Nothing ever comes, until all have gone.
            let _ = all_ready.recv();
            let go_ns = epoch.elapsed().as_nanos() as u64;
            let begins = Instant::now() + self.warm_up;
            for starter in starters {
                // One that has failed is told of when it is joined.
                let _ = starter.send(go_ns);
            }
            let load = self.add_up(&beats, begins, progress);
            for thread in threads {
                thread.join().map_err(|_| io::Error::other("a load thread panicked"))??;
            }
            Ok(load)
        })
    }

    fn setup(&self, number: u32, epoch: Instant) -> io::Result<Setup> {
        Ok(Setup {
            poll: Poll::new()?,
            target: Arc::clone(&self.target),
            sources: self.sources.of_thread(number),
            epoch,
            timeout: self.timeout,
        })
    }

    /// Adds up what the threads hand over, until the last of them has ended.
    fn add_up(&self, beats: &Receiver<Beat>, begins: Instant, progress: &mut Progress) -> Load {
        let mut sum = Sum::new(self);
        let ends = begins + self.measured;
        let (mut cpu_before, mut cpu_after) = (None, None);
        loop {
            let now = Instant::now();
            if now >= begins && cpu_before.is_none() {
                cpu_before = Some(self.server.and_then(Process::cpu_seconds));
            }
            if now >= ends && cpu_after.is_none() {
                cpu_after = Some(self.server.and_then(Process::cpu_seconds));
            }
            let until = [begins, ends].into_iter().find(|time| *time > now);
            // After the span only late answers are waited for, until the last thread has gone.
            let wait = until.map_or(Duration::from_secs(1), |until| until - now);
            match beats.recv_timeout(wait) {
                Ok(beat) => sum.take(beat, progress),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Of threads that end, /proc forgets the time.
        let server_cpu_seconds =
            cpu_before.flatten().zip(cpu_after.flatten()).map(|(from, to)| (to - from).max(0.0));
        Load { server_cpu_seconds, ..sum.load() }
    }
}

/// Falls back to the common table in silence: only the limit on descriptors is lower then, and whoever needs
/// more than it gives is told.
fn own_table() -> io::Result<()> {
    let _ = table::make_private();
    Ok(())
}

/// Everything that was handed over so far.
struct Sum<'a> {
    plan: &'a Plan<'a>,
    total: Tally,
    /// Seconds that not all threads have handed over.
    open: BTreeMap<u32, (u32, Tally)>,
    timeline: Vec<Moment>,
}

impl<'a> Sum<'a> {
    fn new(plan: &'a Plan<'a>) -> Sum<'a> {
        Sum { plan, total: Tally::default(), open: BTreeMap::new(), timeline: Vec::new() }
    }

    fn take(&mut self, beat: Beat, progress: &mut Progress) {
        self.total.merge(&beat.tally);
        let (count, tally) = self.open.entry(beat.second).or_default();
        *count += 1;
        tally.merge(&beat.tally);
        if *count == self.plan.threads {
            let (_, tally) = self.open.remove(&beat.second).unwrap_or_default();
            self.close_second(beat.second, &tally);
            let share = (f64::from(beat.second) + 1.0) / self.plan.measured.as_secs_f64();
            progress.show(&self.plan.name, self.timeline.last(), errors_of(&self.total), share);
        }
    }

    fn close_second(&mut self, second: u32, tally: &Tally) {
        let whole = self.plan.measured.as_secs_f64();
        let at_seconds = (f64::from(second) + 1.0).min(whole);
        let length = at_seconds - f64::from(second);
        // What is left of a second at the end is too short for a rate.
        if length > 0.1 {
            self.timeline.push(Moment {
                at_seconds,
                rate: tally.timely as f64 / length,
                errors: errors_of(tally),
                p50_ns: tally.latency.quantile(0.5),
                p99_ns: tally.latency.quantile(0.99),
                max_ns: tally.latency.max(),
            });
        }
    }

    fn load(self) -> Load {
        let seconds = self.plan.measured.as_secs_f64();
        load_of(self.plan.name.clone(), seconds, self.plan.rate_wanted, self.total, self.timeline)
    }
}

/// A load as reports have it, from what was counted.
pub fn load_of(
    name: String,
    seconds: f64,
    rate_wanted: Option<f64>,
    counted: Tally,
    timeline: Vec<Moment>,
) -> Load {
    let Tally { requests, answers, timely, received, errors, latency, lag, busiest } = counted;
    let named = Fault::ALL.iter().map(|fault| (fault.label(), errors[*fault as usize]));
    Load {
        name,
        seconds,
        rate_wanted,
        rate: timely as f64 / seconds,
        requests,
        answers,
        bytes_received: received,
        errors: named.filter(|(_, count)| *count > 0).collect(),
        latency,
        lag,
        timeline,
        server_cpu_seconds: None,
        busiest_thread: busiest,
    }
}

fn errors_of(tally: &Tally) -> u64 {
    tally.errors.iter().sum()
}

#[cfg(test)]
impl Plan<'static> {
    /// A load of one thread on the server of the tests, without warming up.
    pub fn on(
        stub: &crate::testing::stub::Stub,
        closes: bool,
        timeout: Duration,
        measured: Duration,
    ) -> Plan<'static> {
        let (method, path, host) = ("GET".into(), "/".into(), "stub".into());
        let question = crate::wire::target::Question { method, path, host, closes, ..Default::default() };
        let body = Some(b"hello".to_vec());
        let expected = crate::wire::answer::Expected { status: Some(200), length: Some(5), body };
        Plan {
            name: "test".into(),
            target: Arc::new(Target::new(stub.address, &question, expected)),
            threads: 1,
            sources: Origin::Loopback,
            timeout,
            warm_up: Duration::ZERO,
            measured,
            rate_wanted: None,
            server: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::stub::{Move, Stub};

    fn run(drive: impl Fn(Duty) -> io::Result<()> + Sync) -> io::Result<Load> {
        let stub = Stub::new(|_| Move::Answer);
        let mut plan = Plan::on(&stub, false, Duration::from_secs(1), Duration::from_millis(50));
        plan.threads = 3;
        plan.run(&mut Progress::new(true), drive)
    }

    #[test]
    fn a_thread_that_fails_before_it_begins_is_not_waited_for() {
        let failed = run(|mut duty| match duty.number {
            1 => Err(io::Error::other("no luck")),
            _ => {
                duty.begin();
                Ok(())
            }
        });
        assert_eq!(failed.unwrap_err().to_string(), "no luck");
    }

    #[test]
    fn nor_is_one_that_panics() {
        let failed = run(|mut duty| {
            assert!(duty.number != 2, "as it must in this test");
            duty.begin();
            Ok(())
        });
        assert_eq!(failed.unwrap_err().to_string(), "a load thread panicked");
    }

    #[test]
    fn all_begin_at_the_same_time() {
        let begun = std::sync::Mutex::new(Vec::new());
        let load = run(|mut duty| {
            let (go_ns, post) = duty.begin();
            begun.lock().unwrap().push((go_ns, post.until_ns()));
            Ok(())
        });
        let begun = begun.into_inner().unwrap();
        assert_eq!(load.unwrap().requests, 0);
        assert!(begun.len() == 3 && begun.iter().all(|times| *times == begun[0]), "{begun:?}");
    }
}
