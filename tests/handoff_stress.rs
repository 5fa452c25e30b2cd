//! The whole way of jobs between reactors and workers, by the hundred thousand: none lost, none doubled, none astray.
//!
//! The workshop, its lanes, its crew and its threads are the real ones. Reactors are threads here that submit, cancel,
//! forget and take home as real ones do, and sleep in earnest, so that a lost wake-up shows. `MYRIAPOD_JOBS=10000000`
//! (with `--release`) makes it long.

use std::panic;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use myriapod::base::clock::monotonic_ns;
use myriapod::base::pool::Pool;
use myriapod::base::sleeper::Sleeper;
use myriapod::gateway::handler::Place;
use myriapod::gateway::route::{Priority, Route, Terms};
use myriapod::gateway::{Decision, Exchange, Gateway, Notes, Ticket};
use myriapod::http::{
    Body, BodySource, HeadIndex, Method, MethodSet, Piece, Request, Response, Source, Span, Status,
};
use myriapod::observe::WorkerTally;
use myriapod::observe::log::Log;
use myriapod::worker::{Errand, Hatch, Job, ReplyDesk, ReplyTo, Staff, Workers, Workshop};

const REACTORS: u32 = 3;
const WORKERS: Staff = Staff { workers: 3, substitutes: 1 };
const WAITING_MAX: usize = 32;
const OUT_MAX: u32 = 48;
const SLOTS: usize = 64;
/// Who sleeps for so long although jobs are out was not woken.
const PATIENCE: Duration = Duration::from_secs(60);

/// One job in so many panics, answers with a body made piece by piece, or lets others go first.
const PANICS_EVERY: u64 = 1_009;
const STREAMS_EVERY: u64 = 97;
const YIELDS_EVERY: u64 = 13;

fn jobs_wanted() -> u64 {
    let asked = std::env::var("MYRIAPOD_JOBS").ok();
    asked.map_or(300_000, |count| count.parse().expect("MYRIAPOD_JOBS is a number"))
}

/// What handlers saw.
struct Ledger {
    /// How often each job was run.
    runs: Box<[AtomicU8]>,
    sources_made: AtomicU64,
    sources_dropped: AtomicU64,
}

impl Ledger {
    fn of(jobs: u64) -> Arc<Ledger> {
        Arc::new(Ledger {
            runs: (0..jobs).map(|_| AtomicU8::new(0)).collect(),
            sources_made: AtomicU64::new(0),
            sources_dropped: AtomicU64::new(0),
        })
    }

    fn handle(self: &Arc<Ledger>, exchange: &Exchange<'_>) -> Response {
        let job = number_of(exchange.body());
        self.runs[job as usize].fetch_add(1, Ordering::Relaxed);
        if job.is_multiple_of(YIELDS_EVERY) {
            thread::yield_now();
        }
        assert!(!job.is_multiple_of(PANICS_EVERY), "as it was told to");
        if job.is_multiple_of(STREAMS_EVERY) {
            self.sources_made.fetch_add(1, Ordering::Relaxed);
            return Response::stream(Status::OK, "text/plain", Pieces { job, ledger: Arc::clone(self) });
        }
        Response::bytes(Status::OK, "text/plain", job.to_le_bytes())
    }
}

fn number_of(body: &[u8]) -> u64 {
    u64::from_le_bytes(body.try_into().expect("eight bytes"))
}

/// A body that only workers may touch.
struct Pieces {
    job: u64,
    ledger: Arc<Ledger>,
}

impl BodySource for Pieces {
    fn next(&mut self) -> Piece {
        assert!(is_worker());
        Piece::Bytes(self.job.to_le_bytes().to_vec())
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        assert!(is_worker(), "dropped on {:?}", thread::current().name());
        self.ledger.sources_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

fn is_worker() -> bool {
    thread::current().name().is_some_and(|name| name.starts_with("worker-"))
}

/// What a reactor's inbox is to workers.
struct Desk {
    done: ArrayQueue<Box<Job>>,
    sleeper: Sleeper,
    reactor: OnceLock<Thread>,
}

impl Desk {
    fn new() -> Arc<Desk> {
        let done = ArrayQueue::new(OUT_MAX as usize);
        Arc::new(Desk { done, sleeper: Sleeper::new(), reactor: OnceLock::new() })
    }

    fn sleep(&self) {
        self.sleeper.announce();
        if self.done.is_empty() {
            let began = Instant::now();
            // A wake-up may be left over from an earlier sleep: then the caller looks in vain and comes again.
            thread::park_timeout(PATIENCE);
            assert!(began.elapsed() < PATIENCE, "nobody woke it");
        }
        self.sleeper.rise();
    }
}

impl ReplyDesk for Desk {
    fn complete(&self, job: Box<Job>) -> bool {
        assert!(self.done.push(job).is_ok(), "more came home than were let out");
        let must = self.sleeper.must_be_woken();
        if must {
            self.reactor.get().expect("it sleeps, so it is there").unpark();
        }
        must
    }

    fn room(&self, _: ReplyTo) {}
}

/// What a reactor knows of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unsent,
    Out,
    /// Nobody waits for it any more, and it had been begun.
    Late,
    /// Nobody waits for it any more, and it is not going to be run.
    Unwanted,
    /// It is on its second way, for a piece of its answer.
    Pulling,
    Home,
}

/// Who waits at a slot.
struct Tenant {
    to: ReplyTo,
    job: u64,
    ticket: Arc<Ticket>,
}

/// How jobs ended.
#[derive(Debug, Default)]
struct Ends {
    answered: u64,
    panicked: u64,
    unrun: u64,
    late: u64,
    pulled: u64,
}

/// A thread that does with jobs what a reactor does.
struct Reactor {
    number: u32,
    hatch: Hatch,
    desk: Arc<Desk>,
    routes: [Arc<Route>; 2],
    /// The first of its jobs, and what became of them.
    first: u64,
    fates: Vec<Fate>,
    next: usize,
    out: u32,
    tenants: [Option<Tenant>; SLOTS],
    spare: Pool<Job>,
    dice: u64,
    ends: Ends,
}

impl Reactor {
    fn run(mut self) -> Ends {
        self.desk.reactor.set(thread::current()).expect("one reactor to a desk");
        while self.next < self.fates.len() || self.out > 0 {
            let empties = self.roll(8) == 0;
            let submitted = self.submit_some();
            if self.roll(4) == 0 {
                self.cancel_some();
            }
            let came = self.take_home();
            if came == 0 && submitted == 0 && self.out > 0 {
                self.desk.sleep();
            }
            // So that workers, too, find nothing to do now and then.
            while empties && self.out > 0 {
                if self.take_home() == 0 {
                    self.desk.sleep();
                }
            }
        }
        assert!(self.fates.iter().all(|fate| *fate == Fate::Home), "not all came home");
        assert!(self.tenants.iter().all(Option::is_none), "somebody waits still");
        self.ends
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    fn submit_some(&mut self) -> u32 {
        let most = 1 + self.roll(40);
        let mut count = 0;
        for _ in 0..most {
            let may = self.out < OUT_MAX && self.hatch.waiting() < WAITING_MAX;
            let slot = self.tenants.iter().position(Option::is_none);
            let (true, Some(slot)) = (may && self.next < self.fates.len(), slot) else { break };
            self.submit(slot);
            count += 1;
        }
        if count > 0 {
            self.hatch.wake();
        }
        count
    }

    fn submit(&mut self, slot: usize) {
        let mut job = self.spare.lend(|| Job::with_size(64)).expect("no limit");
        let number = self.first + self.next as u64;
        let to = ReplyTo {
            reactor: self.number,
            slot: slot as u32,
            generation: self.next as u32 / 3,
            number: self.next as u32,
        };
        job.to = to;
        job.body.extend_from_slice(&number.to_le_bytes());
        job.route = Some(Arc::clone(&self.routes[(number % 2) as usize]));
        job.errand = Errand::Call;
        self.tenants[slot] = Some(Tenant { to, job: number, ticket: Arc::clone(&job.ticket) });
        self.fates[self.next] = Fate::Out;
        self.next += 1;
        self.let_out(job);
    }

    fn let_out(&mut self, mut job: Box<Job>) {
        job.submitted_ns = monotonic_ns();
        assert!(self.hatch.push(job).is_ok(), "a lane has room for all permits");
        self.out += 1;
        assert!(self.out <= OUT_MAX);
    }

    /// As when clients leave or deadlines pass: the slot is somebody else's at once.
    fn cancel_some(&mut self) {
        for _ in 0..1 + self.roll(4) {
            let slot = self.roll(SLOTS as u64) as usize;
            let Some(tenant) = &self.tenants[slot] else { continue };
            let fate = &mut self.fates[(tenant.job - self.first) as usize];
            if *fate == Fate::Pulling {
                continue;
            }
            let withdraws = tenant.job.is_multiple_of(3);
            let was_waiting = if withdraws { tenant.ticket.withdraw() } else { tenant.ticket.cancel() };
            match (was_waiting, withdraws) {
                (true, _) => *fate = Fate::Unwanted,
                (false, false) => *fate = Fate::Late,
                // A worker was faster, and its answer is waited for.
                (false, true) => continue,
            }
            self.tenants[slot] = None;
        }
    }

    fn take_home(&mut self) -> u32 {
        let mut count = 0;
        while let Some(job) = self.desk.done.pop() {
            self.out = self.out.checked_sub(1).expect("it was let out");
            count += 1;
            self.sort_in(job);
        }
        count
    }

    fn sort_in(&mut self, mut job: Box<Job>) {
        assert_eq!(job.to.reactor, self.number, "astray");
        let number = number_of(&job.body);
        let at = (number - self.first) as usize;
        let slot = &mut self.tenants[job.to.slot as usize];
        let is_awaited = slot.as_ref().is_some_and(|tenant| tenant.to == job.to);
        assert!(!is_awaited || slot.as_ref().is_some_and(|tenant| tenant.job == number), "somebody else's");
        let fate = self.fates[at];
        let errand = std::mem::take(&mut job.errand);
        assert_eq!(is_awaited, matches!(fate, Fate::Out | Fate::Pulling), "{fate:?} {errand:?}");
        let source = match (errand, fate) {
            (Errand::Unrun, Fate::Unwanted) => {
                self.ends.unrun += 1;
                None
            }
            (Errand::Answered(response), Fate::Out | Fate::Late) => {
                assert!(!number.is_multiple_of(PANICS_EVERY));
                self.ends.answered += 1;
                look_at(response, number)
            }
            (Errand::Panicked(response), Fate::Out | Fate::Late) => {
                assert!(number.is_multiple_of(PANICS_EVERY));
                assert_eq!(response.status, Status::INTERNAL_SERVER_ERROR);
                self.ends.panicked += 1;
                None
            }
            (Errand::Pulled(Piece::Bytes(piece), source), Fate::Pulling) => {
                assert_eq!(number_of(&piece), number);
                self.ends.pulled += 1;
                source
            }
            (errand, fate) => panic!("job {number} came home as {errand:?}, {fate:?}"),
        };
        self.ends.late += u64::from(fate == Fate::Late);
        match source {
            Some(source) if fate == Fate::Out && number.is_multiple_of(2) => {
                self.fates[at] = Fate::Pulling;
                job.errand = Errand::Pull(source);
                self.let_out(job);
                self.hatch.wake();
                return;
            }
            Some(source) => self.hatch.discard(source),
            None => {}
        }
        self.fates[at] = Fate::Home;
        if is_awaited {
            self.tenants[job.to.slot as usize] = None;
        }
        job.wipe();
        self.spare.give_back(job);
    }
}

/// The answer must be the job's own. Gives back what only workers may drop.
fn look_at(response: Response, job: u64) -> Option<Source> {
    match response.body {
        Body::Source(source) => {
            assert!(job.is_multiple_of(STREAMS_EVERY));
            Some(source)
        }
        Body::Owned(body) => {
            assert_eq!(number_of(&body), job);
            None
        }
        body => panic!("{body:?}"),
    }
}

/// One that is urgent and one that is not, for the same handler.
fn routes(ledger: &Arc<Ledger>) -> [Arc<Route>; 2] {
    let mut gateway = Gateway::new();
    for (path, priority) in [("/urgent", Priority::High), ("/ordinary", Priority::Normal)] {
        let ledger = Arc::clone(ledger);
        let terms = Terms { place: Some(Place::Worker), priority, ..Terms::default() };
        let handler = Box::new(move |exchange: &mut Exchange| ledger.handle(exchange));
        gateway = gateway.with_route(MethodSet::of(&[Method::Get]), path, handler, terms);
    }
    ["/urgent", "/ordinary"].map(|path| {
        let index = HeadIndex { method: Method::Get, path: Span::new(0, path.len()), ..HeadIndex::default() };
        let mut notes = Notes::default();
        match gateway.decide(&mut Exchange::new(Request::new(&index, path.as_bytes()), &mut notes)) {
            Decision::Defer(route) => Arc::clone(route),
            _ => panic!("{path} is for workers"),
        }
    })
}

struct House {
    staff: Staff,
    shop: Arc<Workshop>,
    desks: Vec<Arc<Desk>>,
    tallies: Vec<Arc<WorkerTally>>,
    stuck: Arc<AtomicU32>,
}

impl House {
    fn new(reactors: u32, staff: Staff) -> House {
        let desks: Vec<_> = (0..reactors).map(|_| Desk::new()).collect();
        let tallies: Vec<_> = (0..staff.posts()).map(|_| Arc::default()).collect();
        let for_workers = desks.iter().map(|desk| Arc::clone(desk) as Arc<dyn ReplyDesk>).collect();
        let shop = Arc::new(Workshop::new(for_workers, OUT_MAX, &tallies));
        House { staff, shop, desks, tallies, stuck: Arc::default() }
    }

    fn start(&self) -> Workers {
        Workers::start(&self.shop, self.staff, &self.stuck, &Log::silent()).expect("threads")
    }

    fn reactor(&self, number: u32, routes: &[Arc<Route>; 2], jobs: u64) -> Reactor {
        Reactor {
            number,
            hatch: Hatch::new(&self.shop, number),
            desk: Arc::clone(&self.desks[number as usize]),
            routes: routes.clone(),
            first: u64::from(number) * jobs,
            fates: vec![Fate::Unsent; jobs as usize],
            next: 0,
            out: 0,
            tenants: [const { None }; SLOTS],
            spare: Pool::with_limit(u32::MAX),
            dice: 0x9E37_79B9_7F4A_7C15 ^ u64::from(number),
            ends: Ends::default(),
        }
    }

    fn counted(&self, number: impl Fn(&WorkerTally) -> u64) -> u64 {
        self.tallies.iter().map(|tally| number(tally)).sum()
    }
}

/// Panics of handlers are part of it and would fill the screen.
fn hush_workers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            let is_told_to = what.payload_as_str().is_some_and(|text| text == "as it was told to");
            if !is_told_to {
                usual(what);
            }
        }));
    });
}

#[test]
fn every_job_comes_home_once_to_where_it_came_from() {
    hush_workers();
    let jobs = jobs_wanted() / u64::from(REACTORS);
    let (house, ledger) = (House::new(REACTORS, WORKERS), Ledger::of(jobs * u64::from(REACTORS)));
    let (workers, routes) = (house.start(), routes(&ledger));
    let began = Instant::now();
    let ends: Vec<Ends> = thread::scope(|scope| {
        let run = |number| {
            let reactor = house.reactor(number, &routes, jobs);
            scope.spawn(move || reactor.run())
        };
        let reactors: Vec<_> = (0..REACTORS).map(run).collect();
        reactors.into_iter().map(|reactor| reactor.join().expect("no panic")).collect()
    });
    let took = began.elapsed();
    assert_eq!(workers.stop(Duration::MAX), 0, "a handler has not returned");
    let sum = |of: fn(&Ends) -> u64| ends.iter().map(of).sum::<u64>();
    let (run, unrun) = (sum(|ends| ends.answered + ends.panicked), sum(|ends| ends.unrun));
    println!("{} jobs in {took:.2?}: {}", run + unrun, numbers(&house, &ends));

    assert_eq!(run + unrun, jobs * u64::from(REACTORS));
    let runs = |times| ledger.runs.iter().filter(|runs| runs.load(Ordering::Relaxed) == times).count() as u64;
    assert_eq!((runs(0), runs(1)), (unrun, run), "each that was not cancelled in time was run once");
    let [made, dropped] =
        [&ledger.sources_made, &ledger.sources_dropped].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(made, dropped, "bodies made and dropped");
    assert_eq!(house.counted(|tally| tally.jobs.value()), run + unrun + sum(|ends| ends.pulled));
    assert_eq!(house.counted(|tally| tally.unrun.value()), unrun);
    assert_eq!(house.stuck.load(Ordering::Relaxed), 0);
    // Each of the ways must have been gone, or nothing was proved of it.
    let ways: [fn(&Ends) -> u64; 4] =
        [|ends| ends.unrun, |ends| ends.late, |ends| ends.panicked, |ends| ends.pulled];
    for way in ways {
        assert!(sum(way) > 0, "{ends:?}");
    }
}

fn numbers(house: &House, ends: &[Ends]) -> String {
    let steals = house.counted(|tally| tally.steals.value());
    let rests = house.counted(|tally| tally.rests.value());
    let wakes = house.counted(|tally| tally.wakes.value());
    format!("{steals} stolen, {rests} rests of workers, {wakes} wakes of reactors, {ends:?}")
}

#[test]
fn whoever_stops_the_workers_finds_all_jobs_at_home() {
    let ledger = Ledger::of(3);
    let routes = routes(&ledger);
    let alone = Staff { workers: 1, substitutes: 0 };
    for round in 1..500 {
        let house = House::new(1, alone);
        let workers = house.start();
        let mut reactor = house.reactor(0, &routes, 3);
        // The first is one that answers.
        reactor.next = 1;
        reactor.submit(0);
        reactor.hatch.wake();
        while house.desks[0].done.is_empty() {
            std::hint::spin_loop();
        }
        // Now its worker looks for more, and may be about to rest.
        (0..round % 100).for_each(|_| std::hint::spin_loop());
        reactor.submit(1);
        workers.stop(Duration::MAX);
        assert_eq!(house.desks[0].done.len(), 2, "in round {round}");
    }
}
