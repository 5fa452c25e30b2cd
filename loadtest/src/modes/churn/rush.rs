//! One thread's visitors: each connects, asks once, is answered and leaves.
//!
//! ```text
//!   waiting --> connecting, asking --> answered --> (end = server) leaving --> settled
//! ```
//! A visit is settled exactly once, with what became of it. With `--end server` an answer counts only when
//! the close has come as well; its latency ends with the answer all the same.

use std::collections::VecDeque;
use std::io;

use crate::engine::conduct::Duty;
use crate::engine::faults::Fault;
use crate::engine::latency::Latency;
use crate::engine::lot::{Happening, Lot};
use crate::engine::schedule::{Pace, Schedule};
use crate::engine::tally::Post;
use crate::modes::churn::End;
use crate::modes::closed::RETRY_NS;

/// What each thread keeps up.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Connections under way at once.
    pub connections: usize,
    /// When they are due; without, as soon as another has ended.
    pub pace: Option<Pace>,
    /// Longest time a visitor waits to begin, and how long late ones are waited for.
    pub timeout_ns: u64,
    pub end: End,
}

/// Connections begun between two looks at what came.
const BEGUN_PER_TURN_MAX: usize = 32;

/// Drives one thread's visitors; how long connecting alone took.
///
/// # Errors
/// When the poll fails.
pub fn drive(mut duty: Duty, manner: Manner) -> io::Result<Latency> {
    let (go_ns, post) = duty.begin();
    let mut rush = Rush {
        manner,
        schedule: manner.pace.map(|pace| pace.of_thread(duty.number, go_ns)),
        drained_ns: post.until_ns().saturating_add(manner.timeout_ns),
        lot: duty.lot,
        post,
        waiting: VecDeque::new(),
        visits: Vec::new(),
        under_way: 0,
        room_ns: 0,
        leaving: VecDeque::new(),
        pauses: VecDeque::new(),
        connect: Latency::default(),
        told: Vec::new(),
    };
    while rush.goes_on() {
        rush.turn()?;
    }
    rush.give_up();
    Ok(rush.connect)
}

/// One thread's part.
///
/// Invariant: `under_way` is the number of visits; one that waits, or is a visit, is not settled yet.
struct Rush {
    manner: Manner,
    lot: Lot,
    post: Post,
    schedule: Option<Schedule>,
    /// When even late answers are not waited for any more.
    drained_ns: u64,
    /// Intended starts of those that are due and have not begun, oldest first.
    waiting: VecDeque<u64>,
    /// By key of the connection.
    visits: Vec<Option<Visit>>,
    under_way: usize,
    /// When there was room for one more again.
    room_ns: u64,
    /// Those whose end is awaited, in the order they were answered; some have left meanwhile.
    leaving: VecDeque<(usize, Visit)>,
    /// Until when a failure keeps a place empty: a closed loop would hammer a server that is gone.
    pauses: VecDeque<u64>,
    connect: Latency,
    told: Vec<Happening>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Visit {
    intended_ns: u64,
    begun_ns: u64,
    answered_ns: Option<u64>,
}

impl Rush {
    fn goes_on(&mut self) -> bool {
        let now_ns = self.lot.now_ns();
        self.post.beat(now_ns);
        self.collect(now_ns);
        let is_over = self.is_last() && self.waiting.is_empty() && self.under_way == 0;
        now_ns < self.post.until_ns() || !(is_over || now_ns >= self.drained_ns)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.begin_some();
        let until_ns = self.next_ns();
        let received = self.lot.received;
        self.lot.turn(Some(until_ns), &mut self.told)?;
        self.post.received(self.lot.now_ns(), self.lot.received - received);
        let mut told = std::mem::take(&mut self.told);
        told.drain(..).for_each(|happening| self.take(happening));
        self.told = told;
        self.expel();
        Ok(())
    }

    /// Whether nothing will be due any more within the span.
    fn is_last(&self) -> bool {
        self.schedule.as_ref().is_none_or(|schedule| schedule.next_ns() >= self.post.until_ns())
    }

    /// Takes what has become due off the schedule, and gives up what waited too long.
    fn collect(&mut self, now_ns: u64) {
        while let Some(schedule) = &mut self.schedule
            && schedule.next_ns() <= now_ns
            && schedule.next_ns() < self.post.until_ns()
        {
            let intended_ns = schedule.take();
            self.post.asked(intended_ns);
            self.waiting.push_back(intended_ns);
        }
        while let Some(intended_ns) = self.waiting.pop_front_if(|due| *due + self.manner.timeout_ns <= now_ns)
        {
            self.post.settled(intended_ns, now_ns, Some(Fault::Unsent));
        }
        while self.pauses.pop_front_if(|until| *until <= now_ns).is_some() {}
    }

    /// Begins as many as may begin now.
    fn begin_some(&mut self) {
        for _ in 0..BEGUN_PER_TURN_MAX {
            let now_ns = self.lot.now_ns();
            self.collect(now_ns);
            if self.is_full() {
                return;
            }
            let next = match self.schedule {
                Some(_) => self.waiting.pop_front(),
                None if now_ns >= self.post.until_ns() => None,
                None => {
                    self.post.asked(now_ns);
                    Some(now_ns)
                }
            };
            let Some(intended_ns) = next else { return };
            self.begin(intended_ns, now_ns);
        }
    }

    fn is_full(&self) -> bool {
        self.under_way + self.pauses.len() >= self.manner.connections
    }

    fn begin(&mut self, intended_ns: u64, now_ns: u64) {
        if self.schedule.is_some() {
            // To have waited for room is no fault of the generator's.
            self.post.lagged(intended_ns, now_ns.saturating_sub(intended_ns.max(self.room_ns)));
        }
        match self.lot.open() {
            Ok(key) => {
                if self.visits.len() <= key {
                    self.visits.resize(key + 1, None);
                }
                self.visits[key] = Some(Visit { intended_ns, begun_ns: now_ns, answered_ns: None });
                self.under_way += 1;
                // One that was just begun takes questions.
                _ = self.lot.ask(key, intended_ns, now_ns);
            }
            Err(fault) => self.failed(intended_ns, now_ns, fault),
        }
    }

    /// One did not get an answer.
    fn failed(&mut self, intended_ns: u64, now_ns: u64, fault: Fault) {
        self.post.settled(intended_ns, now_ns, Some(fault));
        if self.schedule.is_none() {
            self.pauses.push_back(now_ns + RETRY_NS);
        }
    }

    /// When there is something to do without anything happening.
    fn next_ns(&self) -> u64 {
        let now_ns = self.lot.now_ns();
        let is_measuring = now_ns < self.post.until_ns();
        let may_begin = !self.is_full() && (!self.waiting.is_empty() || self.schedule.is_none());
        if may_begin && (is_measuring || self.schedule.is_some()) {
            return now_ns;
        }
        let due =
            self.schedule.as_ref().filter(|_| !self.is_last() && !self.is_full()).map(Schedule::next_ns);
        let beat = is_measuring.then(|| self.post.next_ns());
        let too_late = self.waiting.front().map(|due| due + self.manner.timeout_ns);
        let stays = self.leaving.front().map(|(_, visit)| self.last_ns(visit));
        let pause = self.pauses.front().copied();
        let all = [due, beat, too_late, stays, pause].into_iter().flatten().min();
        all.map_or(self.drained_ns, |soonest| soonest.min(self.drained_ns))
    }

    /// Until when a server may take its time to close.
    fn last_ns(&self, visit: &Visit) -> u64 {
        visit.answered_ns.unwrap_or(visit.begun_ns) + self.manner.timeout_ns
    }

    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Opened { key } => {
                let now_ns = self.lot.now_ns();
                if let Some(visit) = self.visits[key].filter(|visit| self.post.measures(visit.intended_ns)) {
                    self.connect.record(now_ns - visit.begun_ns);
                }
            }
            Happening::Answered { key, at_ns, fault, .. } => self.answered(key, at_ns, fault),
            Happening::Over { key, fault, .. } => self.over(key, fault),
        }
    }

    fn answered(&mut self, key: usize, at_ns: u64, fault: Option<Fault>) {
        let Some(visit) = &mut self.visits[key] else { return };
        if fault.is_none() && self.manner.end == End::Server {
            visit.answered_ns = Some(at_ns);
            self.leaving.push_back((key, *visit));
            return;
        }
        let intended_ns = visit.intended_ns;
        self.leave(key);
        self.post.settled(intended_ns, at_ns, fault);
        match self.manner.end {
            End::Reset => self.lot.reset(key),
            _ => self.lot.end(key),
        }
    }

    /// The other side has closed, or the connection never was.
    fn over(&mut self, key: usize, fault: Option<Fault>) {
        let Some(visit) = self.leave(key) else { return };
        let now_ns = self.lot.now_ns();
        match (visit.answered_ns, fault) {
            (Some(at_ns), None) => self.post.settled(visit.intended_ns, at_ns, None),
            (_, fault) => self.failed(visit.intended_ns, now_ns, fault.unwrap_or(Fault::Closed)),
        }
    }

    /// A visit has ended.
    fn leave(&mut self, key: usize) -> Option<Visit> {
        let visit = self.visits.get_mut(key).and_then(Option::take);
        if visit.is_some() && self.is_full() {
            self.room_ns = self.lot.now_ns();
        }
        self.under_way -= usize::from(visit.is_some());
        visit
    }

    /// Ends connections that the server was to close and did not.
    fn expel(&mut self) {
        let now_ns = self.lot.now_ns();
        while let Some((key, visit)) = self.leaving.front().copied() {
            let stays = self.visits[key] == Some(visit);
            if stays && self.last_ns(&visit) > now_ns {
                return;
            }
            self.leaving.pop_front();
            if stays {
                self.leave(key);
                self.lot.end(key);
                self.post.settled(visit.intended_ns, now_ns, Some(Fault::Unclosed));
            }
        }
    }

    /// What has no outcome by now gets one.
    fn give_up(&mut self) {
        let now_ns = self.lot.now_ns();
        for intended_ns in self.waiting.drain(..) {
            self.post.settled(intended_ns, now_ns, Some(Fault::Unsent));
        }
        for visit in self.visits.drain(..).flatten() {
            let fault = if visit.answered_ns.is_some() { Fault::Unclosed } else { Fault::Timeout };
            self.post.settled(visit.intended_ns, now_ns, Some(fault));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::conduct::Plan;
    use crate::engine::progress::Progress;
    use crate::engine::schedule::Arrivals;
    use crate::report::Load;
    use crate::testing::stub::{Move, Stub};

    fn run(stub: &Stub, rate: Option<f64>, connections: usize, end: End) -> Load {
        let timeout = Duration::from_secs(1);
        let mut plan = Plan::on(stub, end == End::Server, timeout, Duration::from_secs(1));
        plan.rate_wanted = rate;
        let pace = rate.map(|rate| Pace { rate, arrivals: Arrivals::Constant, seed: 1, threads: 1 });
        let manner = Manner { connections, pace, timeout_ns: timeout.as_nanos() as u64, end };
        let drive = |duty| {
            let connect = drive(duty, manner)?;
            assert!(connect.count() > 0 && connect.max() > 0);
            Ok(())
        };
        plan.run(&mut Progress::new(true), drive).unwrap()
    }

    fn error(load: &Load, fault: Fault) -> u64 {
        load.errors.get(fault.label()).copied().unwrap_or(0)
    }

    #[test]
    fn every_visit_has_one_outcome() {
        let stub = Stub::new(|number| match number % 40 {
            7 => Move::Fail,
            17 => Move::Close,
            27 => Move::Silence,
            37 => Move::Linger,
            _ => Move::Part,
        });
        let load = run(&stub, Some(400.0), 128, End::Server);
        assert_eq!(load.requests, 400);
        assert_eq!(load.answers + load.errors_total(), 400, "{:?}", load.errors);
        let faults = [Fault::Status, Fault::Closed, Fault::Timeout, Fault::Unclosed];
        assert_eq!(faults.map(|fault| error(&load, fault)), [10; 4], "{:?}", load.errors);
        assert_eq!((stub.connections(), stub.asked(), stub.resets()), (400, 400, 0));
    }

    #[test]
    fn without_a_rate_a_visit_follows_another() {
        let stub = Stub::new(|_| Move::Answer);
        let load = run(&stub, None, 4, End::Client);
        assert_eq!(load.answers, load.requests);
        assert!(load.answers > 20 && load.errors.is_empty(), "{} {:?}", load.answers, load.errors);
        assert_eq!((stub.connections(), stub.asked(), stub.resets()), (load.requests, load.requests, 0));
        assert_eq!(load.lag.count(), 0, "nothing was due");
    }

    #[test]
    fn a_reset_is_one() {
        let stub = Stub::new(|_| Move::Answer);
        let load = run(&stub, Some(50.0), 4, End::Reset);
        assert_eq!((load.answers, load.errors_total()), (50, 0));
        stub.wait_for_resets(50);
    }

    #[test]
    fn who_comes_during_a_stall_waits_for_its_end() {
        let stall = Duration::from_millis(300);
        let stub = Stub::new(move |number| if number == 50 { Move::Stall(stall) } else { Move::Answer });
        let load = run(&stub, Some(200.0), 4, End::Client);
        assert_eq!((load.requests, load.answers, load.errors_total()), (200, 200, 0));
        // Sixty of two hundred came meanwhile; four of them were let in.
        assert!(load.latency.max() >= 290_000_000 && load.latency.quantile(0.85) >= 100_000_000);
        assert!(load.lag.quantile(0.85) < 100_000_000);
    }

    #[test]
    fn a_server_that_is_gone_is_not_hammered() {
        let stub = Stub::new(|_| Move::Close);
        let load = run(&stub, None, 2, End::Client);
        // Two places, each tried again every tenth of a second.
        assert!(load.answers == 0 && (2..=22).contains(&load.requests), "{}", load.requests);
        assert_eq!(error(&load, Fault::Closed), load.requests);
    }
}
