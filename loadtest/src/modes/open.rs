//! Open loop: requests are due by a schedule that does not wait for answers, as users do not.
//!
//! Latency counts from when a request was due. One that is due takes the connection that was idle longest, or
//! waits in a queue for the first that is free: a server that stalls makes all those wait who came meanwhile,
//! and the figures say so. Every request that was due within the span is counted exactly once: answered, also
//! after the span's end (up to the timeout), or an error by its kind. What the generator itself did late is
//! told apart.

use std::collections::VecDeque;
use std::io;

use clap::{ArgGroup, Args};

use crate::cli::{Aim, Output, Size};
use crate::engine::conduct::Duty;
use crate::engine::faults::Fault;
use crate::engine::idle::Idle;
use crate::engine::lot::{Happening, Lot};
use crate::engine::progress::Progress;
use crate::engine::schedule::{Arrivals, Pace, Schedule};
use crate::engine::tally::Post;
use crate::modes::closed::{RETRY_NS, connect};
use crate::modes::sweep::{self, Sweeping};
use crate::report::{Load, Report};
use crate::run::{Ready, explain, share_of};
use crate::units;

/// The flags of `open`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("load").required(true).args(["rate", "sweep"]))]
pub struct Open {
    #[command(flatten)]
    pub aim: Aim,
    #[command(flatten)]
    pub size: Size,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub sweeping: Sweeping,
    #[command(flatten)]
    pub output: Output,
}

/// When requests are due.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Schedule")]
pub struct Timing {
    /// Requests per second, over all threads
    #[arg(short = 'R', long, value_parser = units::positive, value_name = "RATE")]
    pub rate: Option<u64>,
    /// How they are spread
    #[arg(long, value_enum, default_value = "constant", value_name = "HOW")]
    pub arrivals: Arrivals,
    /// What random arrivals are drawn from: the same seed, the same schedule
    #[arg(long, default_value = "1", value_name = "NUMBER")]
    pub seed: u64,
}

/// A load that brings about less than this share of its rate has not taken place.
pub const ACHIEVED_MIN: f64 = 0.99;
/// A generator's thread that takes more of a CPU than this had no time to spare.
const BUSY: f64 = 0.95;
/// The generator may be so late with a hundredth of what it sends before a reader is told.
const LAG_NS_MAX: u64 = 1_000_000;

impl Open {
    /// Runs it.
    ///
    /// # Errors
    /// Why it could not, for people.
    pub fn run(&self, progress: &mut Progress) -> Result<Report, String> {
        let Some(rate) = self.timing.rate else {
            return sweep::run(self, progress);
        };
        let mut ready = self.aim.ready("open", false)?;
        self.size.fits()?;
        let load = ready.open_load("open", rate as f64, self, progress)?;
        ready.report.invalid.extend(shortfall(&load));
        ready.report.remarks.extend(own_limits(&load));
        ready.report.loads.push(load);
        Ok(ready.report)
    }
}

impl Ready {
    /// Runs one load by a schedule.
    ///
    /// # Errors
    /// Why it could not, for people.
    pub fn open_load(
        &self,
        name: &str,
        rate: f64,
        open: &Open,
        progress: &mut Progress,
    ) -> Result<Load, String> {
        let size = &open.size;
        let mut plan = self.plan(name, &open.aim, size);
        plan.rate_wanted = Some(rate);
        let pace = open.timing.pace_of(rate, size.threads);
        let timeout_ns = open.aim.timeout.as_nanos() as u64;
        let load = plan.run(progress, |duty| {
            let connections = share_of(size.connections, size.threads, duty.number);
            drive(duty, Manner { connections, pace, timeout_ns })
        });
        let mut load = explain(load)?;
        open.timing.want(&mut load);
        Ok(load)
    }
}

impl Timing {
    /// What schedules are drawn from, if there is a rate.
    pub fn pace(&self, threads: u64) -> Option<Pace> {
        self.rate.map(|rate| self.pace_of(rate as f64, threads))
    }

    fn pace_of(&self, rate: f64, threads: u64) -> Pace {
        Pace { rate, arrivals: self.arrivals, seed: self.seed, threads: threads as u32 }
    }

    /// What chance drew is what was asked for; it may be some percent off the mean.
    pub fn want(&self, load: &mut Load) {
        if load.rate_wanted.is_some() && self.arrivals == Arrivals::Poisson {
            load.rate_wanted = Some(load.requests as f64 / load.seconds);
        }
    }
}

/// Why a load must not be used, if it must not.
pub fn shortfall(load: &Load) -> Option<String> {
    let wanted = load.rate_wanted.filter(|_| load.achieved() < ACHIEVED_MIN)?;
    let culprit = if is_busy(load) {
        "the generator had no time left: give it more threads (-t), or CPUs of its own"
    } else {
        "the server, or the connections to it (-c), did not keep up"
    };
    Some(format!(
        "{:.0} of {wanted:.0} requests/s came about, {:.1} %: under {:.0} % the latencies are those of \
         another load; {culprit}",
        load.rate,
        load.achieved() * 100.0,
        ACHIEVED_MIN * 100.0,
    ))
}

/// Whether the generator sent what was due so late that a reader must know.
pub fn is_late(load: &Load) -> bool {
    load.lag.quantile(0.99) > LAG_NS_MAX
}

/// Whether a thread of the generator had no time to spare.
pub fn is_busy(load: &Load) -> bool {
    load.busiest_thread > BUSY
}

/// What of the figures is the generator's own doing.
pub fn own_limits(load: &Load) -> Vec<String> {
    let late = is_late(load).then(|| {
        let lag_ms = load.lag.quantile(0.99) as f64 / 1e6;
        format!(
            "the generator itself sent 1 % of the requests more than {lag_ms:.1} ms late, with a connection \
             free; that is part of their latency",
        )
    });
    let busy = is_busy(load).then(|| {
        let percent = load.busiest_thread * 100.0;
        format!(
            "a thread of the generator took {percent:.0} % of a CPU: some latency may be its own; raise -t"
        )
    });
    late.into_iter().chain(busy).collect()
}

/// What each thread keeps up.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub connections: u64,
    pub pace: Pace,
    /// Longest time a request waits to be sent, and how long late answers are waited for.
    pub timeout_ns: u64,
}

/// Requests sent between two looks at what came: an answer must not wait for long while others are sent.
const SENT_PER_TURN_MAX: usize = 32;

/// Drives one thread's connections by its schedule, and waits for what comes late.
///
/// # Errors
/// When the poll fails.
pub fn drive(mut duty: Duty, manner: Manner) -> io::Result<()> {
    let (early, told) = connect(&mut duty.lot, manner.connections)?;
    let (go_ns, mut post) = duty.begin();
    early.into_iter().for_each(|fault| post.failed(fault, 1));
    let mut crowd = Crowd {
        schedule: manner.pace.of_thread(duty.number, go_ns),
        drained_ns: post.until_ns().saturating_add(manner.timeout_ns),
        timeout_ns: manner.timeout_ns,
        lot: duty.lot,
        post,
        told,
        waiting: VecDeque::new(),
        idle: Idle::default(),
        retries: VecDeque::new(),
        under_way: 0,
        replaced: None,
    };
    let missing = manner.connections as usize - crowd.lot.len();
    crowd.retries.extend(std::iter::repeat_n(go_ns, missing));
    crowd.lot.keys().into_iter().for_each(|key| crowd.idle.push(key, go_ns));
    while crowd.goes_on() {
        crowd.turn()?;
    }
    crowd.give_up();
    Ok(())
}

/// One thread's part.
///
/// Invariant: a request that was due is in `waiting`, on a connection, or settled.
struct Crowd {
    lot: Lot,
    post: Post,
    schedule: Schedule,
    timeout_ns: u64,
    /// When even late answers are not waited for any more.
    drained_ns: u64,
    /// Intended starts of what is due and not sent, oldest first.
    waiting: VecDeque<u64>,
    idle: Idle,
    /// When connections that were lost are opened again.
    retries: VecDeque<u64>,
    /// Requests sent and not answered.
    under_way: usize,
    /// A connection that has a successor before its end is told.
    replaced: Option<usize>,
    told: Vec<Happening>,
}

impl Crowd {
    /// Whether anything is still to be sent or waited for.
    fn goes_on(&mut self) -> bool {
        let now_ns = self.lot.now_ns();
        self.post.beat(now_ns);
        self.collect(now_ns);
        let is_over = self.is_last() && self.waiting.is_empty() && self.under_way == 0;
        now_ns < self.post.until_ns() || !(is_over || now_ns >= self.drained_ns)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.reopen();
        self.send();
        let until_ns = self.next_ns();
        let received = self.lot.received;
        self.lot.turn(Some(until_ns), &mut self.told)?;
        self.post.received(self.lot.now_ns(), self.lot.received - received);
        self.take_told();
        Ok(())
    }

    /// Whether nothing will be due any more within the span.
    fn is_last(&self) -> bool {
        self.schedule.next_ns() >= self.post.until_ns()
    }

    /// Takes what has become due off the schedule, and gives up what waited too long.
    fn collect(&mut self, now_ns: u64) {
        while self.schedule.next_ns() <= now_ns && !self.is_last() {
            let intended_ns = self.schedule.take();
            self.post.asked(intended_ns);
            self.waiting.push_back(intended_ns);
        }
        while self.waiting.front().is_some_and(|due| due + self.timeout_ns <= now_ns) {
            self.settle_oldest(now_ns, Fault::Unsent);
        }
    }

    /// Gives idle connections to those who wait.
    fn send(&mut self) {
        let mut now_ns = self.lot.now_ns();
        for _ in 0..SENT_PER_TURN_MAX {
            self.collect(now_ns);
            if self.waiting.is_empty() {
                break;
            }
            let Some((key, free_ns)) = self.idle.pop() else { break };
            let Some(intended_ns) = self.waiting.pop_front() else { break };
            if !self.lot.ask(key, intended_ns, now_ns) {
                self.waiting.push_front(intended_ns);
                continue;
            }
            self.under_way += 1;
            // What lies behind both the due time and the end of the last answer is the generator's doing.
            self.post.lagged(intended_ns, now_ns.saturating_sub(intended_ns.max(free_ns)));
            self.lot.flush(&mut self.told);
            now_ns = self.lot.now_ns();
        }
        // A connection that could not send is over, and forgotten when the next turn begins.
        self.take_told();
    }

    /// Opens again what was lost a while ago.
    fn reopen(&mut self) {
        let now_ns = self.lot.now_ns();
        while self.retries.front().is_some_and(|due| *due <= now_ns) {
            self.retries.pop_front();
            self.open(now_ns);
        }
    }

    fn open(&mut self, now_ns: u64) {
        if let Err(fault) = self.lot.open() {
            self.missed(fault, now_ns);
        }
    }

    /// When there is something to do without anything happening.
    fn next_ns(&self) -> u64 {
        let now_ns = self.lot.now_ns();
        let is_measuring = now_ns < self.post.until_ns();
        if !self.waiting.is_empty() && !self.idle.is_empty() {
            return now_ns;
        }
        // While nothing is idle, what becomes due can wait until somebody is.
        let due = (!self.is_last() && !self.idle.is_empty()).then(|| self.schedule.next_ns());
        let beat = is_measuring.then(|| self.post.next_ns());
        let too_late = self.waiting.front().map(|due| due + self.timeout_ns);
        let retry = self.retries.front().copied();
        [due, beat, too_late, retry]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.drained_ns)
            .min(self.drained_ns)
    }

    fn take_told(&mut self) {
        let mut told = std::mem::take(&mut self.told);
        told.drain(..).for_each(|happening| self.take(happening));
        self.told = told;
    }

    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Opened { key } => {
                let now_ns = self.lot.now_ns();
                self.idle.push(key, now_ns);
            }
            Happening::Answered { key, intended_ns, at_ns, fault, closes } => {
                self.under_way -= 1;
                self.post.settled(intended_ns, at_ns, fault);
                if closes {
                    self.replace(key, at_ns);
                } else {
                    self.idle.push(key, at_ns);
                }
            }
            Happening::Over { key, fault, unanswered } => self.over(key, fault, unanswered),
        }
    }

    /// The other side said that it will close.
    fn replace(&mut self, key: usize, now_ns: u64) {
        if self.lot.is_open(key) {
            self.lot.end(key);
        } else {
            // It has closed already, which is told next.
            self.replaced = Some(key);
        }
        self.open(now_ns);
    }

    fn over(&mut self, key: usize, fault: Option<Fault>, unanswered: usize) {
        let now_ns = self.lot.now_ns();
        self.idle.remove(key);
        self.under_way -= unanswered;
        for intended_ns in self.lot.unanswered(key) {
            self.post.settled(intended_ns, now_ns, Some(fault.unwrap_or(Fault::Closed)));
        }
        if self.replaced.take() == Some(key) {
            return;
        }
        match fault {
            Some(fault) if unanswered == 0 => self.missed(fault, now_ns),
            _ => self.retries.push_back(now_ns + RETRY_NS),
        }
    }

    /// A connection failed with nothing asked on it: whoever waits longest would have been its first.
    fn missed(&mut self, fault: Fault, now_ns: u64) {
        if !self.waiting.is_empty() {
            self.settle_oldest(now_ns, fault);
        } else if now_ns < self.post.until_ns() {
            self.post.failed(fault, 1);
        }
        self.retries.push_back(now_ns + RETRY_NS);
    }

    fn settle_oldest(&mut self, now_ns: u64, fault: Fault) {
        if let Some(intended_ns) = self.waiting.pop_front() {
            self.post.settled(intended_ns, now_ns, Some(fault));
        }
    }

    /// What has no outcome by now gets one.
    fn give_up(&mut self) {
        let now_ns = self.lot.now_ns();
        while !self.waiting.is_empty() {
            self.settle_oldest(now_ns, Fault::Unsent);
        }
        for key in self.lot.keys() {
            for intended_ns in self.lot.unanswered(key) {
                self.post.settled(intended_ns, now_ns, Some(Fault::Timeout));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::conduct::Plan;
    use crate::modes::closed;
    use crate::testing::stub::{Move, Stub};

    const STALL: Duration = Duration::from_millis(300);

    fn run(stub: &Stub, connections: u64, rate: f64, timeout_ms: u64, measured_ms: u64) -> Load {
        let timeout = Duration::from_millis(timeout_ms);
        let mut plan = Plan::on(stub, false, timeout, Duration::from_millis(measured_ms));
        plan.rate_wanted = Some(rate);
        plan.threads = 2;
        let pace = Pace { rate, arrivals: Arrivals::Constant, seed: 1, threads: 2 };
        let timeout_ns = timeout.as_nanos() as u64;
        let drive = |duty| drive(duty, Manner { connections: connections / 2, pace, timeout_ns });
        plan.run(&mut Progress::new(true), drive).unwrap()
    }

    fn error(load: &Load, fault: Fault) -> u64 {
        load.errors.get(fault.label()).copied().unwrap_or(0)
    }

    #[test]
    fn a_stall_is_felt_by_all_who_came_meanwhile() {
        let stub = Stub::new(|number| if number == 400 { Move::Stall(STALL) } else { Move::Answer });
        let load = run(&stub, 8, 1000.0, 10_000, 1000);
        assert_eq!((load.requests, load.answers, load.errors_total()), (1000, 1000, 0));
        assert_eq!(stub.asked(), 1000);
        // Three hundred of a thousand came while it stalled, evenly spread over the stall.
        assert!(load.latency.max() >= 290_000_000, "{}", load.latency.max());
        assert!(load.latency.quantile(0.99) >= 270_000_000, "{}", load.latency.quantile(0.99));
        assert!(load.latency.quantile(0.85) >= 100_000_000, "{}", load.latency.quantile(0.85));
        // They waited for connections, which is no fault of the generator's.
        assert!(load.lag.count() == 1000 && load.lag.quantile(0.85) < 100_000_000);
    }

    #[test]
    fn a_closed_loop_hardly_notices_the_same_stall() {
        let stub = Stub::new(|number| if number == 400 { Move::Stall(STALL) } else { Move::Answer });
        let plan = Plan::on(&stub, false, Duration::from_secs(10), Duration::from_secs(1));
        let manner = closed::Manner { connections: 4, depth: 1, rate_max: None };
        let load = plan.run(&mut Progress::new(true), |duty| closed::drive(duty, manner)).unwrap();
        assert!(load.latency.max() >= 290_000_000);
        // Four requests wait, however many could have been asked.
        let slow = load.latency.buckets().filter(|(at_ns, _)| *at_ns >= 100_000_000).map(|(_, count)| count);
        assert!(slow.sum::<u64>() <= load.answers / 20);
        assert!(load.answers > 400);
    }

    #[test]
    fn every_request_that_was_due_has_one_outcome() {
        let stub = Stub::new(|number| match number % 50 {
            7 => Move::Fail,
            17 => Move::Close,
            27 => Move::Silence,
            37 => Move::Part,
            47 => Move::Linger,
            _ => Move::Answer,
        });
        let load = run(&stub, 64, 500.0, 1000, 1000);
        assert_eq!(load.requests, 500);
        assert_eq!(load.answers + load.errors_total(), 500, "{:?}", load.errors);
        assert_eq!(load.answers, load.latency.count());
        let each = [Fault::Status, Fault::Closed, Fault::Timeout].map(|fault| error(&load, fault));
        assert_eq!(each, [10, 10, 10], "{:?}", load.errors);
        // Those that closed or parted are replaced, each once.
        assert!((64 + 25..=64 + 40).contains(&stub.connections()), "{}", stub.connections());
    }

    #[test]
    fn what_is_answered_after_the_span_counts_with_its_true_latency() {
        let stub = Stub::new(|number| if number == 300 { Move::Stall(STALL) } else { Move::Answer });
        let load = run(&stub, 2, 1000.0, 10_000, 400);
        assert_eq!((load.requests, load.answers, load.errors_total()), (400, 400, 0));
        assert!(load.latency.max() >= 290_000_000);
        // The rate is that of the span, where a quarter is missing.
        assert!(load.achieved() < 0.8, "{}", load.achieved());
        assert!(shortfall(&load).unwrap().contains("did not keep up"));
    }

    #[test]
    fn what_is_never_sent_or_answered_is_an_error_of_its_kind() {
        let stub = Stub::new(|number| if number >= 100 { Move::Silence } else { Move::Answer });
        let load = run(&stub, 4, 500.0, 300, 400);
        assert_eq!((load.requests, load.answers), (200, 100));
        assert_eq!(load.errors_total(), 100, "{:?}", load.errors);
        let (unsent, timeout) = (error(&load, Fault::Unsent), error(&load, Fault::Timeout));
        assert!(timeout >= 4 && unsent > timeout && unsent + timeout == 100, "{:?}", load.errors);
    }

    #[test]
    fn a_server_that_is_gone_is_told_by_kind() {
        let stub = Stub::new(|_| Move::Answer);
        let mut plan = Plan::on(&stub, false, Duration::from_millis(200), Duration::from_millis(500));
        plan.rate_wanted = Some(200.0);
        // Nobody listens there any more.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut target = (*plan.target).clone();
        target.address = free;
        plan.target = std::sync::Arc::new(target);
        let pace = Pace { rate: 200.0, arrivals: Arrivals::Constant, seed: 1, threads: 1 };
        let manner = Manner { connections: 2, pace, timeout_ns: 200_000_000 };
        let load = plan.run(&mut Progress::new(true), |duty| drive(duty, manner)).unwrap();
        assert_eq!((load.requests, load.answers), (100, 0));
        // Two that failed before anything was due are errors as well.
        let (refused, unsent) = (error(&load, Fault::Refused), error(&load, Fault::Unsent));
        assert!(refused > 2 && unsent > 50 && (100..=104).contains(&(refused + unsent)), "{:?}", load.errors);
    }

    #[test]
    fn a_run_under_its_rate_says_whose_fault_it_is() {
        let load = Load { rate: 985.0, rate_wanted: Some(1000.0), seconds: 1.0, ..Load::default() };
        assert!(shortfall(&load).unwrap().starts_with("985 of 1000 requests/s came about, 98.5 %"));
        assert_eq!(shortfall(&Load { rate: 991.0, ..load.clone() }), None);
        let mut load = Load { busiest_thread: 0.99, ..load };
        assert!(shortfall(&load).unwrap().contains("more threads"));
        (0..100).for_each(|_| load.lag.record(5_000_000));
        assert_eq!(own_limits(&load).len(), 2, "{:?}", own_limits(&load));
    }
}
