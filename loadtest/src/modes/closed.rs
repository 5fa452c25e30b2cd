//! Closed loop, as wrk has it: each connection asks again when it is answered. For peak throughput.
//!
//! Its latencies are those of a crowd that waits politely: while the server stalls, nobody asks. What a stall
//! costs those who do not wait, `open` tells.

use std::collections::{HashSet, VecDeque};
use std::io;

use clap::Args;

use crate::cli::{Aim, Output, Size};
use crate::engine::conduct::Duty;
use crate::engine::faults::Fault;
use crate::engine::lot::{Happening, Lot};
use crate::engine::progress::Progress;
use crate::engine::schedule::Schedule;
use crate::engine::tally::Post;
use crate::report::Report;
use crate::run::{explain, share_of};
use crate::units;

/// The flags of `closed`.
#[derive(Debug, Args)]
pub struct Closed {
    #[command(flatten)]
    pub aim: Aim,
    #[command(flatten)]
    pub size: Size,
    /// Requests under way on each connection (pipelining)
    #[arg(long, default_value = "1", value_parser = units::positive, value_name = "N")]
    pub depth: u64,
    /// Requests per second not to be exceeded
    #[arg(long, value_parser = units::positive, value_name = "RATE")]
    pub rate_limit: Option<u64>,
    #[command(flatten)]
    pub output: Output,
}

impl Closed {
    /// Runs it.
    ///
    /// # Errors
    /// Why it could not, for people.
    pub fn run(&self, progress: &mut Progress) -> Result<Report, String> {
        let mut ready = self.aim.ready("closed", false)?;
        let size = &self.size;
        size.fits()?;
        let load = ready.plan("closed", &self.aim, size).run(progress, |duty| {
            let manner = Manner {
                connections: share_of(size.connections, size.threads, duty.number),
                depth: self.depth as u32,
                rate_max: self.rate_limit.map(|rate| rate as f64 / size.threads as f64),
            };
            drive(duty, manner)
        });
        let load = explain(load)?;
        if load.answers == 0 {
            ready.report.invalid.push("not one right answer came".to_string());
        }
        ready.report.loads.push(load);
        Ok(ready.report)
    }
}

/// What each thread keeps up.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub connections: u64,
    /// Requests under way on each connection.
    pub depth: u32,
    /// Requests per second that are not to be exceeded.
    pub rate_max: Option<f64>,
}

/// Longest time a thread waits for all its connections before it begins with those it has.
const CONNECT_NS_MAX: u64 = 10_000_000_000;
/// A connection that failed is tried again after this long, so that a dead server is not hammered.
pub const RETRY_NS: u64 = 100_000_000;
/// How long a server may take to close as it said. What comes of it is no error.
const PARTING_NS: u64 = 1_000_000_000;

/// Drives one thread's connections through the span.
///
/// # Errors
/// When the poll fails.
pub fn drive(mut duty: Duty, manner: Manner) -> io::Result<()> {
    let (early, mut told) = connect(&mut duty.lot, manner.connections)?;
    let (go_ns, mut post) = duty.begin();
    early.into_iter().for_each(|fault| post.failed(fault, 1));
    let schedule = manner.rate_max.map(|rate| Schedule::constant(rate, go_ns));
    let missing = manner.connections as usize - duty.lot.len();
    let mut state = Loop {
        lot: duty.lot,
        schedule,
        waiting: VecDeque::new(),
        retries: VecDeque::new(),
        leaving: VecDeque::new(),
        under_way: 0,
        is_over: false,
    };
    state.retries.extend(std::iter::repeat_n(go_ns, missing));
    for key in state.lot.keys() {
        (0..manner.depth).for_each(|_| state.ask(key, go_ns, &mut post));
    }
    while state.goes_on(&mut post) {
        let until_ns = state.next_ns(&post);
        let received = state.lot.received;
        told.clear();
        state.lot.turn(until_ns, &mut told)?;
        post.received(state.lot.now_ns(), state.lot.received - received);
        for happening in told.drain(..) {
            state.take(happening, manner.depth, &mut post);
        }
    }
    Ok(())
}

/// Opens all connections; what went wrong with some.
pub fn connect(lot: &mut Lot, count: u64) -> io::Result<(Vec<Fault>, Vec<Happening>)> {
    let mut faults = Vec::new();
    let mut told = Vec::new();
    // Some are over as soon as they are there.
    let mut pending = HashSet::new();
    let until_ns = lot.now_ns() + CONNECT_NS_MAX;
    let mut begun = 0;
    while (begun < count || !pending.is_empty()) && lot.now_ns() < until_ns {
        // A backlog may be as short as 128.
        while begun < count && pending.len() < 64 {
            begun += 1;
            match lot.open() {
                Ok(key) => _ = pending.insert(key),
                Err(fault) => faults.push(fault),
            }
        }
        if pending.is_empty() {
            break;
        }
        lot.turn(Some(until_ns), &mut told)?;
        for happening in told.drain(..) {
            match happening {
                Happening::Opened { key } => _ = pending.remove(&key),
                Happening::Over { key, fault, .. } => {
                    pending.remove(&key);
                    faults.push(fault.unwrap_or(Fault::Closed));
                }
                Happening::Answered { .. } => {}
            }
        }
    }
    Ok((faults, told))
}

struct Loop {
    lot: Lot,
    schedule: Option<Schedule>,
    /// Connections that may ask once the schedule lets them.
    waiting: VecDeque<usize>,
    /// When connections that were lost are opened again.
    retries: VecDeque<u64>,
    /// Keys whose end was announced, and when it has been waited for long enough; some have ended meanwhile.
    leaving: VecDeque<(usize, u64)>,
    /// Requests sent and not answered.
    under_way: usize,
    /// The span has ended: nobody asks any more, but what was asked is waited for up to the timeout. A server
    /// that stalled before the end would have no errors otherwise.
    is_over: bool,
}

impl Loop {
    /// Whether there is anything left to do; does what is due.
    fn goes_on(&mut self, post: &mut Post) -> bool {
        let now_ns = self.lot.now_ns();
        post.beat(now_ns);
        self.is_over = now_ns >= post.until_ns();
        if !self.is_over {
            self.release(now_ns, post);
        }
        !self.is_over || self.under_way > 0
    }

    /// When there is something to do without anything happening.
    fn next_ns(&self, post: &Post) -> Option<u64> {
        if self.is_over {
            return None;
        }
        let due = self.schedule.as_ref().filter(|_| !self.waiting.is_empty()).map(Schedule::next_ns);
        let retry = self.retries.front().copied();
        let leaving = self.leaving.front().map(|(_, until_ns)| *until_ns);
        [due, retry, leaving, Some(post.next_ns())].into_iter().flatten().min()
    }

    fn ask(&mut self, key: usize, now_ns: u64, post: &mut Post) {
        if self.is_over {
            return;
        }
        if self.schedule.is_some() {
            self.waiting.push_back(key);
        } else {
            self.ask_now(key, now_ns, post);
        }
    }

    fn ask_now(&mut self, key: usize, now_ns: u64, post: &mut Post) {
        if self.lot.ask(key, now_ns, now_ns) {
            self.under_way += 1;
            post.asked(now_ns);
        }
    }

    /// Asks what the schedule now allows, and opens what was lost a while ago.
    fn release(&mut self, now_ns: u64, post: &mut Post) {
        while let (Some(schedule), false) = (&mut self.schedule, self.waiting.is_empty()) {
            if schedule.next_ns() > now_ns {
                break;
            }
            schedule.advance(now_ns);
            let Some(key) = self.waiting.pop_front() else { break };
            if self.lot.is_open(key) {
                self.ask_now(key, now_ns, post);
            }
        }
        while let Some((key, _)) = self.leaving.pop_front_if(|(_, until_ns)| *until_ns <= now_ns) {
            if self.lot.is_open(key) && self.lot.is_parting(key) {
                self.under_way -= self.lot.unanswered(key).count();
                self.lot.end(key);
                self.forget(key);
                self.retries.push_front(now_ns);
            }
        }
        while self.retries.front().is_some_and(|due| *due <= now_ns) {
            self.retries.pop_front();
            if let Err(fault) = self.lot.open() {
                post.failed(fault, 1);
                self.retries.push_back(now_ns + RETRY_NS);
            }
        }
    }

    fn take(&mut self, happening: Happening, depth: u32, post: &mut Post) {
        match happening {
            Happening::Opened { key } => {
                let now_ns = self.lot.now_ns();
                (0..depth).for_each(|_| self.ask(key, now_ns, post));
            }
            Happening::Answered { key, intended_ns, at_ns, fault, closes } => {
                self.under_way -= 1;
                post.answered(intended_ns, at_ns, fault);
                match closes {
                    true => self.leaving.push_back((key, at_ns + PARTING_NS)),
                    false => self.ask(key, at_ns, post),
                }
            }
            Happening::Over { key, fault, unanswered } => {
                self.under_way -= unanswered;
                if let Some(fault) = fault {
                    post.failed(fault, unanswered.max(1));
                }
                self.forget(key);
                let now_ns = self.lot.now_ns();
                // Who closes as agreed is visited again at once.
                match self.lot.is_parting(key) {
                    true => self.retries.push_front(now_ns),
                    false => self.retries.push_back(now_ns + RETRY_NS),
                }
            }
        }
    }
    /// A stranger who gets this key will wait in its own right.
    fn forget(&mut self, key: usize) {
        if self.schedule.is_some() {
            self.waiting.retain(|waiting| *waiting != key);
        }
    }
}
