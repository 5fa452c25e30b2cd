//! Closed loop, as wrk has it: each connection asks again when it is answered. For peak throughput.
//!
//! Its latencies are those of a crowd that waits politely: while the server stalls, nobody asks. What a stall
//! costs those who do not wait, `open` tells.

use std::collections::VecDeque;
use std::io;

use clap::Args;

use crate::cli::{Aim, Output, Size};
use crate::conduct::Duty;
use crate::faults::Fault;
use crate::lot::{Happening, Lot};
use crate::progress::Progress;
use crate::report::Report;
use crate::run::{explain, share_of};
use crate::schedule::Schedule;
use crate::tally::Post;
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
        ready.report.loads.push(explain(load)?);
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
    let mut state = Loop { lot: duty.lot, schedule, waiting: VecDeque::new(), retries: VecDeque::new() };
    state.retries.extend(std::iter::repeat_n(go_ns, missing));
    for key in state.lot.keys() {
        (0..manner.depth).for_each(|_| state.ask(key, go_ns, &mut post));
    }
    loop {
        let now_ns = state.lot.now_ns();
        post.beat(now_ns);
        if now_ns >= post.until_ns() {
            return Ok(());
        }
        state.release(now_ns, &mut post);
        let until = state.next_ns().map_or(post.next_ns(), |due| due.min(post.next_ns()));
        let received = state.lot.received;
        told.clear();
        state.lot.turn(Some(until), &mut told)?;
        post.received(state.lot.now_ns(), state.lot.received - received);
        for happening in told.drain(..) {
            state.take(happening, manner.depth, &mut post);
        }
    }
}

/// Opens all connections; what went wrong with some.
pub fn connect(lot: &mut Lot, count: u64) -> io::Result<(Vec<Fault>, Vec<Happening>)> {
    let mut faults = Vec::new();
    let mut told = Vec::new();
    let mut open = 0;
    let mut pending = 0;
    let until_ns = lot.now_ns() + CONNECT_NS_MAX;
    let mut begun = 0;
    while open + (faults.len() as u64) < count && lot.now_ns() < until_ns {
        // A backlog may be as short as 128.
        while begun < count && pending < 64 {
            begun += 1;
            match lot.open() {
                Ok(_) => pending += 1,
                Err(fault) => faults.push(fault),
            }
        }
        lot.turn(Some(until_ns), &mut told)?;
        for happening in told.drain(..) {
            pending -= 1;
            match happening {
                Happening::Opened { .. } => open += 1,
                Happening::Over { fault, .. } => faults.push(fault.unwrap_or(Fault::Closed)),
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
}

impl Loop {
    fn ask(&mut self, key: usize, now_ns: u64, post: &mut Post) {
        if self.schedule.is_some() {
            self.waiting.push_back(key);
        } else if self.lot.ask(key, now_ns, now_ns) {
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
            if self.lot.is_open(key) && self.lot.ask(key, now_ns, now_ns) {
                post.asked(now_ns);
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

    fn next_ns(&self) -> Option<u64> {
        let due = self.schedule.as_ref().filter(|_| !self.waiting.is_empty()).map(Schedule::next_ns);
        let retry = self.retries.front().copied();
        due.into_iter().chain(retry).min()
    }

    fn take(&mut self, happening: Happening, depth: u32, post: &mut Post) {
        match happening {
            Happening::Opened { key } => {
                let now_ns = self.lot.now_ns();
                (0..depth).for_each(|_| self.ask(key, now_ns, post));
            }
            Happening::Answered { key, intended_ns, at_ns, fault, closes } => {
                post.answered(intended_ns, at_ns, fault);
                if !closes {
                    self.ask(key, at_ns, post);
                }
            }
            Happening::Over { fault, unanswered, .. } => {
                if let Some(fault) = fault {
                    post.failed(fault, unanswered.max(1));
                }
                let pause_ns = if fault.is_some() { RETRY_NS } else { 0 };
                self.retries.push_back(self.lot.now_ns() + pause_ns);
            }
        }
    }
}
