//! All probes: begins those that are due, lets those go on that can, and ends those whose time is up.
//!
//! Hundreds of servers are probed at once by one thread: nothing here waits. Only how a probe ended leaves
//! this place. A probe that could not be made for want of something of our own says nothing of the server and
//! is not reported.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::probe::{NotBegun, Outcome, Probe};
use super::schedule::Schedule;
use super::target::{GOOD, OUTCOMES, ProbeFailure, SKIPPED, Target};
use crate::observe::{Family, ProbeTally};
use crate::proto::h1::answer::AnswerIndex;

/// See the module.
///
/// Invariant: a slot has a probe if and only if the schedule has it away.
pub(super) struct Prober {
    slots: Vec<Option<Slot>>,
    schedule: Schedule,
    under_way: usize,
    /// What was in the way of probes, not told yet.
    short: Option<Errno>,
    index: Box<AnswerIndex>,
}

struct Slot {
    target: Arc<Target>,
    request: Vec<u8>,
    tally: Arc<ProbeTally>,
    probe: Option<Probe>,
}

/// How a probe ended.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) target: Arc<Target>,
    pub(super) outcome: Result<(), ProbeFailure>,
}

impl Prober {
    pub(super) fn new(seed: u64) -> Prober {
        let schedule = Schedule::new(seed);
        Prober { slots: Vec::new(), schedule, under_way: 0, short: None, index: Box::default() }
    }

    /// Probes these servers from now on, and no others. One that stays keeps its turn, its numbers and the
    /// probe under way.
    pub(super) fn attend(&mut self, targets: Vec<Target>, now_ms: u64) {
        let mut wanted: Vec<Option<Target>> = targets.into_iter().map(Some).collect();
        for number in 0..self.slots.len() {
            let Some(slot) = &mut self.slots[number] else { continue };
            let same =
                wanted.iter_mut().find(|one| one.as_ref().is_some_and(|one| is_same(one, &slot.target)));
            match same.and_then(Option::take) {
                Some(target) => {
                    self.schedule.set_interval(number, interval_ms(&target), now_ms);
                    slot.request = target.request();
                    slot.target = Arc::new(target);
                }
                None => self.remove(number),
            }
        }
        for target in wanted.into_iter().flatten() {
            if !self.slots.iter().flatten().any(|slot| is_same(&slot.target, &target)) {
                self.add(target, now_ms);
            }
        }
    }

    /// The numbers of all servers.
    pub(super) fn tallies(&self) -> impl Iterator<Item = Arc<ProbeTally>> {
        self.slots.iter().flatten().map(|slot| Arc::clone(&slot.tally))
    }

    /// One turn: those that are `ready` go on, those whose time is up end, those that are due begin.
    pub(super) fn turn(&mut self, ready: &[usize], now_ms: u64, reports: &mut Vec<Report>) {
        // What has come counts, even if it is seen late.
        for number in ready {
            self.advance(*number, now_ms, reports);
        }
        let expired: Vec<_> = self.probes().filter(|(_, probe)| probe.due_ms <= now_ms).map(of).collect();
        for (number, failure) in expired {
            self.end(number, Err(failure), now_ms, reports);
        }
        while self.under_way < PROBES_MAX
            && let Some(number) = self.schedule.depart(now_ms)
        {
            self.begin(number, now_ms, reports);
        }
    }

    /// Nobody looked for so long: that is not the servers' fault.
    pub(super) fn forgive(&mut self, ms: u64) {
        self.slots.iter_mut().flatten().filter_map(|slot| slot.probe.as_mut()).for_each(|probe| {
            probe.due_ms += ms;
        });
    }

    /// What was in the way of probes since the last call.
    pub(super) fn take_short(&mut self) -> Option<Errno> {
        self.short.take()
    }

    /// What probes wait for, and whose they are.
    pub(super) fn sources(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>, PollFlags)> {
        self.probes().map(|(number, probe)| {
            let (socket, flags) = probe.interest();
            (number, socket, flags)
        })
    }

    /// When there is something to do by the clock.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let begins = self.schedule.next_ms().filter(|_| self.under_way < PROBES_MAX);
        self.probes().map(|(_, probe)| probe.due_ms).chain(begins).min()
    }

    fn probes(&self) -> impl Iterator<Item = (usize, &Probe)> {
        let numbered = self.slots.iter().enumerate();
        numbered.filter_map(|(number, slot)| Some((number, slot.as_ref()?.probe.as_ref()?)))
    }

    fn add(&mut self, target: Target, now_ms: u64) {
        let number = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if number == self.slots.len() {
            self.slots.push(None);
        }
        let tally = ProbeTally {
            upstream: target.upstream.clone(),
            server: target.endpoint.label.to_string(),
            outcomes: Family::new(OUTCOMES),
        };
        self.schedule.add(number, interval_ms(&target), now_ms);
        let request = target.request();
        self.slots[number] =
            Some(Slot { target: Arc::new(target), request, tally: Arc::new(tally), probe: None });
    }

    fn remove(&mut self, number: usize) {
        self.schedule.remove(number);
        let Some(slot) = self.slots[number].take() else { return };
        self.under_way -= usize::from(slot.probe.is_some());
        // Whom nobody probes any more nobody would ever find well again.
        slot.target.endpoint.vitals().note_probe(true, 1, 1);
    }

    fn begin(&mut self, number: usize, now_ms: u64, reports: &mut Vec<Report>) {
        let Some(slot) = &mut self.slots[number] else { return };
        let timeout_ms = u64::from(slot.target.health.timeout_ms.max(1));
        self.under_way += 1;
        match Probe::begin(&slot.target.endpoint.place, now_ms + timeout_ms) {
            Ok(probe) => slot.probe = Some(probe),
            Err(NotBegun::Failed(failure)) => self.end(number, Err(failure), now_ms, reports),
            Err(NotBegun::Short(errno)) => {
                self.short = Some(errno);
                slot.tally.outcomes.add(SKIPPED, 1);
                self.rest(number, now_ms);
            }
        }
    }

    fn advance(&mut self, number: usize, now_ms: u64, reports: &mut Vec<Report>) {
        let Some(Slot { target, request, probe: Some(probe), .. }) = &mut self.slots[number] else { return };
        let outcome: Outcome = probe.advance(target, request, &mut self.index);
        if let Some(outcome) = outcome {
            self.end(number, outcome, now_ms, reports);
        }
    }

    fn end(
        &mut self,
        number: usize,
        outcome: Result<(), ProbeFailure>,
        now_ms: u64,
        reports: &mut Vec<Report>,
    ) {
        let Some(slot) = &self.slots[number] else { return };
        slot.tally.outcomes.add(outcome.map_or_else(ProbeFailure::outcome, |()| GOOD), 1);
        reports.push(Report { target: Arc::clone(&slot.target), outcome });
        self.rest(number, now_ms);
    }

    /// Until its next probe is due.
    fn rest(&mut self, number: usize, now_ms: u64) {
        let Some(slot) = &mut self.slots[number] else { return };
        slot.probe = None;
        self.under_way -= 1;
        self.schedule.come_back(number, now_ms);
    }
}

fn is_same(one: &Target, other: &Target) -> bool {
    Arc::ptr_eq(&one.endpoint, &other.endpoint)
}

fn interval_ms(target: &Target) -> u64 {
    u64::from(target.health.interval_ms).max(INTERVAL_MS_MIN)
}

fn of((number, probe): (usize, &Probe)) -> (usize, ProbeFailure) {
    (number, probe.expired())
}

/// Probes under way at once, hence descriptors. Those that find no room wait.
pub(super) const PROBES_MAX: usize = 1_000;
/// No server is probed more often, whatever is written.
const INTERVAL_MS_MIN: u64 = 10;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use rustix::event::{PollFd, poll};

    use super::super::testing;
    use super::*;
    use crate::config::site::{Address, Health, NameBook};
    use crate::gateway::upstream::Directory;

    /// Takes connections, for the kernel does, and never says a word.
    fn silent() -> (TcpListener, Vec<Target>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = Address::Socket(listener.local_addr().expect("bound"));
        let health = Health { interval_ms: 10, timeout_ms: 100, ..Health::default() };
        let spec = testing::upstream("api", [address], Some(health));
        let cluster = Directory::new().cluster(0, &spec, &NameBook::default().resolve(&spec));
        (listener, Target::of(&cluster).collect())
    }

    #[test]
    fn time_that_nobody_looked_is_not_the_servers_fault() {
        let (_listener, targets) = silent();
        let (mut prober, mut reports) = (Prober::new(1), Vec::new());
        prober.attend(targets, 0);
        prober.turn(&[], 10, &mut reports);
        assert_eq!((prober.sources().count(), prober.next_ms()), (1, Some(110)));
        prober.forgive(1_000);
        prober.turn(&[], 1_109, &mut reports);
        assert_eq!(reports.len(), 0);
        prober.turn(&[0], 1_109, &mut reports);
        prober.turn(&[], 1_110, &mut reports);
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].outcome, Err(ProbeFailure::AnswerTimeout));
        assert_eq!(prober.sources().count(), 1, "the next was due by then");
    }

    /// Waits until the only probe can go on.
    fn await_ready(prober: &Prober) {
        let (_, socket, flags) = prober.sources().next().expect("a probe");
        poll(&mut [PollFd::from_borrowed_fd(socket, flags)], None).expect("it can go on");
    }

    #[test]
    fn an_answer_that_is_there_counts_however_late_it_is_seen() {
        let (listener, targets) = silent();
        let (mut prober, mut reports) = (Prober::new(3), Vec::new());
        prober.attend(targets, 0);
        prober.turn(&[], 10, &mut reports);
        await_ready(&prober);
        prober.turn(&[0], 20, &mut reports);
        let (mut stream, _) = listener.accept().expect("a probe came");
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("it listens");
        await_ready(&prober);
        prober.turn(&[0], 60_000, &mut reports);
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].outcome, Ok(()));
    }

    #[test]
    fn a_server_that_goes_takes_its_probe_along() {
        let (_listener, targets) = silent();
        let (mut prober, mut reports) = (Prober::new(2), Vec::new());
        prober.attend(targets.clone(), 0);
        prober.turn(&[], 10, &mut reports);
        prober.attend(targets.clone(), 20);
        assert_eq!((prober.sources().count(), prober.tallies().count()), (1, 1), "who stays goes on");
        prober.attend(Vec::new(), 30);
        assert_eq!((prober.sources().count(), prober.tallies().count(), prober.next_ms()), (0, 0, None));
        prober.attend(targets, 40);
        prober.turn(&[], 50, &mut reports);
        assert_eq!((prober.sources().count(), prober.under_way, reports.len()), (1, 1, 0));
    }
}
