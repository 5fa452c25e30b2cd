//! What does the way to a worker and back cost: with nobody to wake, with threads, one at a time and many at once?
//!
//! The handler is `/plaintext`'s, so that what is timed is the way. Round trips are timed for a reactor that watches for
//! its answer and for one that sleeps, as in an idle server; the worker sleeps in between either way.

mod common;

use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use common::{WRK, receive};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use myriapod::base::clock::monotonic_ns;
use myriapod::base::crew::Crew;
use myriapod::base::pool::Pool;
use myriapod::base::sleeper::Sleeper;
use myriapod::config::Dispatch;
use myriapod::gateway::handler::Plaintext;
use myriapod::gateway::route::Route;
use myriapod::gateway::{Decision, Exchange, Gateway, Notes};
use myriapod::http::{HeadIndex, Method, Request, Span};
use myriapod::observe::log::Log;
use myriapod::worker::{Errand, Hatch, Job, ReplyDesk, ReplyTo, Staff, Workers, Workshop};

const OUT_MAX: u32 = 64;
/// The second CPU belongs to the reactor.
const STAFF: Staff = Staff { workers: 1, substitutes: 0 };

/// What a reactor's inbox is to workers.
struct Desk {
    done: ArrayQueue<Box<Job>>,
    sleeper: Sleeper,
    reactor: OnceLock<Thread>,
}

impl ReplyDesk for Desk {
    fn complete(&self, job: Box<Job>) -> bool {
        assert!(self.done.push(job).is_ok(), "more came home than were let out");
        let must = self.sleeper.must_be_woken();
        if must && let Some(reactor) = self.reactor.get() {
            reactor.unpark();
        }
        must
    }

    fn room(&self, _: ReplyTo) {}
}

/// One reactor's part of a workshop, on this thread.
struct Bench {
    shop: Arc<Workshop>,
    hatch: Hatch,
    desk: Arc<Desk>,
    route: Arc<Route>,
}

impl Bench {
    fn new() -> Bench {
        let reactor = OnceLock::from(thread::current());
        let desk =
            Arc::new(Desk { done: ArrayQueue::new(OUT_MAX as usize), sleeper: Sleeper::new(), reactor });
        let desks = vec![Arc::clone(&desk) as Arc<dyn ReplyDesk>];
        let tallies: Vec<_> = (0..STAFF.posts()).map(|_| Arc::default()).collect();
        let shop = Arc::new(Workshop::new(desks, OUT_MAX, &tallies));
        Bench { hatch: Hatch::new(&shop, 0), shop, desk, route: route() }
    }

    fn start(&self) -> Workers {
        Workers::start(&self.shop, STAFF, &Arc::default(), &Log::silent()).expect("threads")
    }

    fn job(&self) -> Job {
        let mut job = Job::with_size(16 * 1024);
        receive(&mut job.head, WRK);
        job.index = index();
        job.route = Some(Arc::clone(&self.route));
        job
    }

    fn submit(&self, mut job: Box<Job>) {
        job.errand = Errand::Call;
        job.ticket.renew();
        job.submitted_ns = monotonic_ns();
        assert!(self.hatch.push(job).is_ok(), "a lane has room for all");
    }

    fn watch(&self) -> Box<Job> {
        loop {
            if let Some(job) = self.desk.done.pop() {
                return answered(job);
            }
            std::hint::spin_loop();
        }
    }

    fn sleep(&self) -> Box<Job> {
        loop {
            self.desk.sleeper.announce();
            if self.desk.done.is_empty() {
                thread::park();
            }
            self.desk.sleeper.rise();
            if let Some(job) = self.desk.done.pop() {
                return answered(job);
            }
        }
    }
}

fn answered(job: Box<Job>) -> Box<Job> {
    assert!(matches!(job.errand, Errand::Answered(_)));
    job
}

fn index() -> HeadIndex {
    HeadIndex { method: Method::Get, path: Span::new(4, "/plaintext".len()), ..HeadIndex::default() }
}

fn route() -> Arc<Route> {
    let gateway = Gateway::new().with_dispatch(Dispatch::Queue).with("/plaintext", Plaintext);
    let (index, mut notes) = (index(), Notes::default());
    match gateway.decide(&mut Exchange::new(Request::new(&index, WRK), &mut notes)) {
        Decision::Defer(route) => Arc::clone(route),
        _ => panic!("it is for workers"),
    }
}

/// All that is done for a job besides waking somebody, on one thread.
fn without_threads(criterion: &mut Criterion) {
    let bench = Bench::new();
    let mut job = Some(Box::new(bench.job()));
    let mut group = criterion.benchmark_group("queue");
    group.bench_function("push-take-complete", |bencher| {
        bencher.iter(|| {
            assert!(bench.hatch.push(job.take().expect("at home")).is_ok());
            let (taken, _) = bench.shop.take(0, 1).expect("it was pushed");
            bench.shop.deliver(taken);
            job = bench.desk.done.pop();
        });
    });
    group.bench_function("push-take-run-complete", |bencher| {
        bencher.iter(|| {
            bench.submit(job.take().expect("at home"));
            let (mut taken, _) = bench.shop.take(0, 1).expect("it was pushed");
            taken.run_away();
            bench.shop.deliver(taken);
            job = bench.desk.done.pop().map(answered);
        });
    });
    group.bench_function("take-from-nothing", |bencher| bencher.iter(|| bench.shop.take(0, 1).is_none()));
    group.finish();
}

fn round_trips(criterion: &mut Criterion) {
    let bench = Bench::new();
    let workers = bench.start();
    let mut job = Some(Box::new(bench.job()));
    let mut group = criterion.benchmark_group("queue");
    type Wait = fn(&Bench) -> Box<Job>;
    let waits: [(&str, Wait); 2] = [("watching", Bench::watch), ("sleeping", Bench::sleep)];
    for (name, wait) in waits {
        group.bench_function(format!("round-trip/{name}"), |bencher| {
            bencher.iter(|| {
                bench.submit(job.take().expect("at home"));
                bench.hatch.wake();
                job = Some(wait(&bench));
            });
        });
    }
    group.finish();
    assert_eq!(workers.stop(Duration::MAX), 0);
}

/// As under load: who comes home goes out again, and the reactor sleeps when nobody does.
fn in_flight(criterion: &mut Criterion) {
    let bench = Bench::new();
    let workers = bench.start();
    let mut home = Pool::with_limit(OUT_MAX);
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("in-flight/{OUT_MAX}"), |bencher| {
        bencher.iter_custom(|count| go_round(&bench, &mut home, count));
    });
    group.finish();
    assert_eq!(workers.stop(Duration::MAX), 0);
}

fn go_round(bench: &Bench, home: &mut Pool<Job>, count: u64) -> Duration {
    let began = Instant::now();
    let (mut submitted, mut done) = (0, 0);
    while done < count {
        let before = submitted;
        while submitted < count
            && let Some(job) = home.lend(|| bench.job())
        {
            bench.submit(job);
            submitted += 1;
        }
        if submitted > before {
            bench.hatch.wake();
        }
        let mut next = bench.desk.done.pop().or_else(|| Some(bench.sleep()));
        while let Some(job) = next {
            home.give_back(answered(job));
            done += 1;
            next = bench.desk.done.pop();
        }
    }
    began.elapsed()
}

fn submitted(criterion: &mut Criterion) {
    let crew = Crew::with_limit(4);
    criterion.bench_function("queue/submitted-to-the-awake", |bencher| bencher.iter(|| crew.submitted()));
    let sleeper = Sleeper::new();
    criterion.bench_function("queue/completed-to-the-awake", |bencher| {
        bencher.iter(|| sleeper.must_be_woken());
    });
}

criterion_group!(benches, without_threads, submitted, round_trips, in_flight);
criterion_main!(benches);
