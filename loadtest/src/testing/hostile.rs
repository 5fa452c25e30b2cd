//! Servers that misbehave, and what the loops make of them: every run ends in time, and counts what happened.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::engine::conduct::{Origin, Plan};
use crate::engine::faults::Fault;
use crate::engine::progress::Progress;
use crate::engine::schedule::{Arrivals, Pace};
use crate::modes::{closed, open};
use crate::report::Load;
use crate::wire::answer::Expected;
use crate::wire::target::{Question, Target};

/// A server that does something to each connection, on a thread of its own.
struct Server {
    plan: Plan<'static>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicU64,
    /// Right answers that were begun.
    answers: AtomicU64,
    is_over: AtomicBool,
}

const RIGHT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
const MEASURED: Duration = Duration::from_millis(400);
const TIMEOUT: Duration = Duration::from_millis(300);
/// For those that are to have no errors, however crowded the machine is.
const PATIENT: Duration = Duration::from_secs(10);

impl Server {
    fn new(treat: impl Fn(&mut TcpStream, &Seen) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, treat) = (Arc::new(Seen::default()), Arc::new(treat));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, treat) = (Arc::clone(&shared), Arc::clone(&treat));
                // Or an answer that waits to be sent would be lost by a reset.
                stream.set_nodelay(true).unwrap();
                std::thread::spawn(move || treat(&mut stream, &seen));
            }
        });
        let (method, path, host) = ("GET".into(), "/".into(), "h".into());
        let question = Question { method, path, host, ..Question::default() };
        let expected = Expected { status: Some(200), length: Some(5), body: Some(b"hello".to_vec()) };
        let plan = Plan {
            name: "test".into(),
            target: Arc::new(Target::new(address, &question, expected)),
            threads: 1,
            sources: Origin::Loopback,
            timeout: TIMEOUT,
            warm_up: Duration::ZERO,
            measured: MEASURED,
            rate_wanted: None,
            server: None,
        };
        Server { plan, seen }
    }

    /// Four connections in a closed loop, which must end when it should.
    fn closed(&self, depth: u32, rate_max: Option<f64>) -> Load {
        let manner = closed::Manner { connections: 4, depth, rate_max };
        self.timed(|plan| plan.run(&mut Progress::new(true), |duty| closed::drive(duty, manner)).unwrap())
    }

    /// Four connections and a schedule.
    fn open(&self, rate: f64) -> Load {
        let pace = Pace { rate, arrivals: Arrivals::Constant, seed: 1, threads: 1 };
        let manner = open::Manner { connections: 4, pace, timeout_ns: TIMEOUT.as_nanos() as u64 };
        self.timed(|plan| plan.run(&mut Progress::new(true), |duty| open::drive(duty, manner)).unwrap())
    }

    fn timed(&self, run: impl FnOnce(&Plan) -> Load) -> Load {
        let begun = Instant::now();
        let load = run(&self.plan);
        // Generous to a crowded machine; what it guards against takes forever.
        assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
        assert!(load.answers <= load.requests, "{load:?}");
        assert_eq!(load.answers, load.latency.count());
        load
    }

    fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.seen.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.plan.target.address));
    }
}

impl Seen {
    fn answer(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        self.answers.fetch_add(1, Ordering::SeqCst);
        stream.write_all(RIGHT)
    }
}

/// Takes in one question; none when the other side is gone.
fn question(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    Some(())
}

fn error(load: &Load, fault: Fault) -> u64 {
    load.errors.get(fault.label()).copied().unwrap_or(0)
}

#[test]
fn an_answer_without_end_does_not_stop_the_clock() {
    let server = Server::new(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 1 << 20]).is_ok() {}
    });
    let load = server.closed(1, None);
    assert_eq!(load.answers, 0);
    assert!(error(&load, Fault::Timeout) > 0 && load.bytes_received > 1 << 20, "{:?}", load.errors);
}

#[test]
fn interim_answers_without_end_are_no_answer() {
    let server =
        Server::new(
            |stream, _| {
                while stream.write_all(&b"HTTP/1.1 102 Processing\r\n\r\n".repeat(1000)).is_ok() {}
            },
        );
    let load = server.closed(1, None);
    assert_eq!(load.answers, 0);
    assert!(error(&load, Fault::Timeout) > 0, "{:?}", load.errors);
}

#[test]
fn a_server_that_hangs_up_at_once_is_not_hammered() {
    let server = Server::new(|_, _| {});
    let load = server.closed(1, None);
    assert!(error(&load, Fault::Closed) + error(&load, Fault::Reset) >= 4, "{:?}", load.errors);
    assert!(server.connections() <= 4 * (2 + 400 / 100), "{}", server.connections());
    assert_eq!((load.answers, server.seen.answers.load(Ordering::SeqCst)), (0, 0));
}

#[test]
fn one_that_hangs_up_on_whoever_may_not_ask_yet_is_not_hammered_either() {
    let server = Server::new(|_, _| {});
    server.closed(1, Some(1.0));
    assert!(server.connections() <= 4 * (2 + 400 / 100), "{}", server.connections());
}

#[test]
fn one_that_never_answers_costs_next_to_nothing_to_wait_for() {
    let server = Server::new(|stream, _| drop(stream.read_to_end(&mut Vec::new())));
    let load = server.closed(2, None);
    assert!(error(&load, Fault::Timeout) >= 8, "{:?}", load.errors);
    assert_eq!(load.errors_total(), error(&load, Fault::Timeout));
    assert!(load.busiest_thread < 0.5, "spins: {}", load.busiest_thread);
    let load = server.open(100.0);
    assert_eq!((load.requests, load.answers), (40, 0));
    assert!(load.errors_total() >= 40 && load.busiest_thread < 0.5, "{load:?}");
}

#[test]
fn what_was_asked_behind_the_last_answer_is_no_error() {
    let mut server = Server::new(|stream, seen| {
        for _ in 0..3 {
            if question(stream).is_none() || seen.answer(stream).is_err() {
                return;
            }
        }
        let _ = question(stream);
        let _ = stream.write_all(LAST);
        // Pipelined questions lie unread, so that this close is a reset.
    });
    server.plan.timeout = PATIENT;
    let load = server.closed(8, None);
    assert_eq!(load.errors_total(), 0, "{:?}", load.errors);
    assert!(load.answers > 4 && server.connections() > 4, "{} {}", load.answers, server.connections());
}

#[test]
fn a_close_that_is_announced_and_does_not_come_is_not_waited_for() {
    let mut server = Server::new(|stream, _| {
        let _ = question(stream);
        let _ = stream.write_all(LAST);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    server.plan.measured = Duration::from_secs(2);
    server.plan.timeout = PATIENT;
    let load = server.closed(1, None);
    assert_eq!(load.errors_total(), 0, "{:?}", load.errors);
    assert!(load.answers > 4, "{}", load.answers);
}

#[test]
fn an_early_refusal_is_read_before_the_reset_behind_it() {
    let mut server = Server::new(|stream, _| {
        let _ = question(stream);
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        // The body lies unread: a reset.
    });
    let body = vec![b'x'; 8 << 20];
    let question = Question { method: "POST".into(), path: "/".into(), body, ..Question::default() };
    let target = &server.plan.target;
    server.plan.target = Arc::new(Target::new(target.address, &question, target.expected.clone()));
    server.plan.timeout = PATIENT;
    let load = server.closed(1, None);
    assert!(error(&load, Fault::Status) >= 4, "{:?}", load.errors);
    assert_eq!(load.errors_total(), error(&load, Fault::Status), "{:?}", load.errors);
}

#[test]
fn answers_that_nobody_asked_for_are_malformed() {
    let server = Server::new(|stream, seen| {
        while question(stream).is_some() && seen.answer(stream).is_ok() && stream.write_all(RIGHT).is_ok() {}
    });
    let load = server.closed(1, None);
    assert!(error(&load, Fault::Malformed) >= 4, "{:?}", load.errors);
}

/// One connection's worth of whatever can go wrong.
fn misbehave(stream: &mut TcpStream, seen: &Seen, random: &mut fastrand::Rng) -> Option<()> {
    let pieces = |stream: &mut TcpStream, bytes: &[u8], size: usize| {
        bytes.chunks(size.max(1)).try_for_each(|piece| stream.write_all(piece)).ok()
    };
    loop {
        match random.u32(0..40) {
            0 => return pieces(stream, &random.u128(..).to_le_bytes(), 5),
            1 => return stream.write_all(RIGHT).ok(),
            2 => pieces(stream, b"HTTP/1.1 100 Continue\r\n\r\n", 3)?,
            3 => return Some(()),
            4 => {
                let _ = rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO));
                return Some(());
            }
            _ => question(stream)?,
        }
        match random.u32(0..40) {
            0 => return Some(()),
            1 => {
                let _ = rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO));
                return pieces(stream, &RIGHT[..random.usize(..RIGHT.len())], 9);
            }
            2 => return pieces(stream, &RIGHT[..random.usize(..RIGHT.len())], 7),
            3 => pieces(stream, b"HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nno!", 11)?,
            4 => return stream.write_all(LAST).ok(),
            5 => pieces(stream, b"HTTP/1.1 204 None\r\n\r\n", 2)?,
            6 => pieces(stream, &b"X-Filler: a\r\n".repeat(random.usize(1..9000)), 5000)?,
            7 => return stream.read_to_end(&mut Vec::new()).map(drop).ok(),
            8 => {
                seen.answers.fetch_add(1, Ordering::SeqCst);
                return stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").ok();
            }
            9 => {
                seen.answers.fetch_add(1, Ordering::SeqCst);
                let chunked =
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
                pieces(stream, chunked, random.usize(1..30))?;
            }
            _ => {
                seen.answers.fetch_add(1, Ordering::SeqCst);
                pieces(stream, RIGHT, random.usize(1..90))?;
            }
        }
    }
}

#[test]
fn whatever_a_server_does_runs_end_and_count_no_answer_it_did_not_give() {
    for seed in 0..3 {
        let stirred = AtomicU64::new(seed * 1000);
        let server = Server::new(move |stream, seen| {
            let mut random = fastrand::Rng::with_seed(stirred.fetch_add(1, Ordering::SeqCst));
            misbehave(stream, seen, &mut random);
        });
        let given = |load: &Load, before: u64| {
            let answers = server.seen.answers.load(Ordering::SeqCst) - before;
            // An answer nobody asked for and one that is the last may be taken for right ones.
            let bound = answers + 2 * server.connections();
            assert!(load.answers <= bound, "seed {seed}: {} > {bound}", load.answers);
            assert!(load.answers > 0 && load.errors_total() > 0, "seed {seed}: {load:?}");
            server.seen.answers.load(Ordering::SeqCst)
        };
        let before = given(&server.closed(1, None), 0);
        let before = given(&server.closed(5, None), before);
        let load = server.open(2000.0);
        given(&load, before);
        assert_eq!(load.requests, 800);
        assert!(load.answers + load.errors_total() >= 800, "seed {seed}: {load:?}");
    }
}
