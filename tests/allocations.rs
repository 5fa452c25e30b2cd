//! No request costs an allocation once a connection is warm: not as bytes, not over a socket, not when the second turns.
//!
//! The allocator of this program counts: what one thread asks for, and what all reactors and workers do while they are
//! watched.
//! So the test harness may allocate as it likes. Not here: how long anything takes, see `benches/`.

#[path = "../benches/common/mod.rs"]
mod exchange;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use exchange::{Connection, TECHEMPOWER, WRK, WRK_ABSENT, WRK_JSON};
use myriapod::config::{Config, Dispatch, Listen, LogLevel, Pin};
use myriapod::server::Server;

const WARM_UP_REQUESTS: u32 = 500;
const MEASURED_REQUESTS: u32 = 10_000;

#[global_allocator]
static COUNTING: Counting = Counting;

/// The system's allocator, and a count of what was asked of it.
struct Counting;

/// Whether reactors and workers are watched; naming a thread is a system call, which nobody else should pay for.
static WATCHES: AtomicBool = AtomicBool::new(false);
/// Asked by reactors while they were watched.
static BY_REACTORS: AtomicU64 = AtomicU64::new(0);
/// Asked by workers while they were watched.
static BY_WORKERS: AtomicU64 = AtomicU64::new(0);
/// One test at a time has reactors and workers, or threads that call themselves so.
static ALONE: Mutex<()> = Mutex::new(());

thread_local! {
    /// Asked by this thread.
    static BY_THIS_THREAD: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came, and counting neither allocates nor unwinds: the
// thread-local is const and has no destructor, and naming a thread writes to the stack.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the memory is the system's, as all that this allocator gives, and the rest is passed on.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the memory is the system's, as all that this allocator gives.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn count() {
    BY_THIS_THREAD.set(BY_THIS_THREAD.get() + 1);
    if !WATCHES.load(Ordering::Relaxed) {
        return;
    }
    let name = thread_name();
    for (kind, count) in [(&b"reactor-"[..], &BY_REACTORS), (b"worker-", &BY_WORKERS)] {
        count.fetch_add(u64::from(name.starts_with(kind)), Ordering::Relaxed);
    }
}

/// Asks the kernel each time: a thread allocates before it has its name.
fn thread_name() -> [u8; 16] {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes, the final NUL included, to the address it is given.
    let _ = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}

/// Allocations of this thread while it does that.
fn counted_here(work: impl FnOnce()) -> u64 {
    let before = BY_THIS_THREAD.get();
    work();
    BY_THIS_THREAD.get() - before
}

/// What others allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Elsewhere {
    reactors: u64,
    workers: u64,
}

/// Allocations of all reactors and workers while this thread does that.
fn counted_elsewhere(_: &MutexGuard<'_, ()>, work: impl FnOnce()) -> Elsewhere {
    BY_REACTORS.store(0, Ordering::SeqCst);
    BY_WORKERS.store(0, Ordering::SeqCst);
    WATCHES.store(true, Ordering::SeqCst);
    work();
    WATCHES.store(false, Ordering::SeqCst);
    Elsewhere { reactors: BY_REACTORS.load(Ordering::SeqCst), workers: BY_WORKERS.load(Ordering::SeqCst) }
}

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints the row of a case.
fn per_request(name: &str, allocations: u64, requests: u32) -> f64 {
    let rate = allocations as f64 / f64::from(requests);
    println!("allocations per request: {name} {rate:.4}");
    rate
}

#[test]
fn what_reactors_and_workers_allocate_is_counted_and_nothing_else() {
    let alone = alone();
    let allocates = |name: &str| {
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(|| drop(vec![0u8; 100])).expect("a thread").join().expect("no panic");
    };
    let counted = |name| counted_elsewhere(&alone, || allocates(name));
    assert!(matches!(counted("reactor-7"), Elsewhere { reactors: 1.., workers: 0 }));
    assert!(matches!(counted("worker-7"), Elsewhere { reactors: 0, workers: 1.. }));
    assert_eq!(counted("actor-7"), Elsewhere { reactors: 0, workers: 0 });
    assert_eq!(counted_here(|| drop(vec![0u8; 100])), 1);
}

#[test]
fn an_exchange_of_bytes_allocates_nothing() {
    for (name, request) in
        [("/plaintext", WRK), ("/plaintext with more fields", TECHEMPOWER), ("/json", WRK_JSON)]
    {
        for depth in [1, 16] {
            let (allocations, requests) = exchange_bytes(request, depth);
            assert_eq!(per_request(&format!("bytes, {depth} deep, {name}"), allocations, requests), 0.0);
        }
    }
}

/// Answers of different endpoints in turn are never the one that was prepared.
#[test]
fn answers_that_alternate_allocate_nothing() {
    let (allocations, requests) = exchange_bytes(&[WRK, WRK_JSON].concat(), 1);
    assert_eq!(per_request("bytes, /plaintext and /json in turn", allocations, requests), 0.0);
}

/// What scanners ask for.
#[test]
fn what_is_not_here_allocates_nothing() {
    let (allocations, requests) = exchange_bytes(WRK_ABSENT, 1);
    assert_eq!(per_request("bytes, a path that is not there", allocations, requests), 0.0);
}

/// Allocations and requests of a warm connection without a socket, whose second turns now and then.
fn exchange_bytes(requests: &[u8], depth: usize) -> (u64, u32) {
    let requests = requests.repeat(depth);
    let mut connection = Connection::new();
    let mut rounds = |count: u32| {
        let mut answered = 0;
        for round in 0..count {
            if round % 100 == 0 {
                connection.turn_second();
            }
            answered += connection.serve(&requests, |bytes| assert!(bytes.starts_with(b"HTTP/1.1 ")));
        }
        answered
    };
    let in_a_round = rounds(WARM_UP_REQUESTS) / WARM_UP_REQUESTS;
    let mut answered = 0;
    let allocations = counted_here(|| answered = rounds(MEASURED_REQUESTS));
    assert!(in_a_round as usize >= depth && answered == in_a_round * MEASURED_REQUESTS);
    (allocations, answered)
}

#[test]
fn a_request_over_a_socket_allocates_nothing() {
    let alone = alone();
    let server = Server::start(&config()).unwrap_or_else(|error| panic!("{error}"));
    let [Listen::Tcp(address)] = server.listen() else { panic!("one address: {:?}", server.listen()) };
    let (body, by_length) = kibibyte_to_echo();
    let by_chunks = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{0:x}\r\n{1}\r\n{0:x}\r\n{1}\r\n0\r\n\r\n",
        body.len() / 2,
        &body[..body.len() / 2],
    );
    let cases = [
        ("/plaintext", WRK, "Hello, World!"),
        ("/json", WRK_JSON, r#"{"message":"Hello, World!"}"#),
        ("/echo of 1 KiB", by_length.as_bytes(), &body),
        ("/echo of 1 KiB in chunks", by_chunks.as_bytes(), &body),
    ];
    for (name, request, body) in cases {
        let (elsewhere, requests) = called(&alone, *address, request, body);
        assert_eq!(per_request(name, elsewhere.reactors, requests), 0.0, "{elsewhere:?} in {requests}");
    }
}

/// The way through the queues: buffer, index and body make it in a box that is used again and again.
#[test]
fn a_request_that_goes_to_a_worker_allocates_nothing() {
    let alone = alone();
    let mut config = config();
    config.fixed.dispatch = Dispatch::Queue;
    config.fixed.workers = Some(2);
    let server = Server::start(&config).unwrap_or_else(|error| panic!("{error}"));
    let [Listen::Tcp(address)] = server.listen() else { panic!("one address: {:?}", server.listen()) };
    let (body, by_length) = kibibyte_to_echo();
    // How long a request may wait is a deadline, a second off. The first that comes up makes room for all others.
    let mut first = Caller::connect(*address, WRK, "Hello, World!");
    for _ in 0..3 {
        first.call_until_the_second_turns(1);
    }
    let cases = [
        ("/plaintext by a worker", WRK, "Hello, World!"),
        ("/json by a worker", WRK_JSON, r#"{"message":"Hello, World!"}"#),
        ("/echo of 1 KiB by a worker", by_length.as_bytes(), &body),
    ];
    let mut queued = 0;
    for (name, request, body) in cases {
        let (elsewhere, requests) = called(&alone, *address, request, body);
        per_request(&format!("{name}, there"), elsewhere.workers, requests);
        per_request(&format!("{name}, on the reactor"), elsewhere.reactors, requests);
        assert_eq!(elsewhere, Elsewhere { reactors: 0, workers: 0 }, "in {requests}");
        queued += requests;
    }
    assert!(jobs_of_workers(*address) >= u64::from(queued), "they went another way");
}

/// As when each client asks once: slots are taken and left, deadlines set and dropped.
#[test]
fn connections_that_come_and_go_allocate_nothing() {
    let alone = alone();
    let server = Server::start(&config()).unwrap_or_else(|error| panic!("{error}"));
    let [Listen::Tcp(address)] = server.listen() else { panic!("one address: {:?}", server.listen()) };
    let come_and_go = |rounds: u32| {
        for _ in 0..rounds {
            let crowd: Vec<_> = (0..20).map(|_| Caller::connect(*address, WRK, "Hello, World!")).collect();
            crowd.into_iter().for_each(|mut caller| caller.call(1));
        }
        rounds * 20
    };
    come_and_go(50);
    let mut connections = 0;
    let elsewhere = counted_elsewhere(&alone, || connections = come_and_go(100));
    // A queue may still grow when more of them happen to go at once than ever before.
    assert!(per_request("a connection for two requests", elsewhere.reactors, connections) < 0.005);
}

fn kibibyte_to_echo() -> (String, String) {
    let body = "x".repeat(1024);
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    (body.clone(), head + &body)
}

/// As the metrics tell.
fn jobs_of_workers(address: SocketAddr) -> u64 {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("an answer");
    let jobs = page.lines().filter_map(|line| line.strip_prefix("myriapod_worker_jobs_total{"));
    jobs.filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Allocations elsewhere, and requests, of a warm connection.
fn called(alone: &MutexGuard<'_, ()>, address: SocketAddr, request: &[u8], body: &str) -> (Elsewhere, u32) {
    let mut caller = Caller::connect(address, request, body);
    caller.call(WARM_UP_REQUESTS);
    let (mut requests, mut own) = (0, 0);
    let elsewhere = counted_elsewhere(alone, || {
        own = counted_here(|| requests = caller.call_until_the_second_turns(MEASURED_REQUESTS));
    });
    assert_eq!(own, 0, "the client itself allocates");
    (elsewhere, requests)
}

/// One reactor on a port of the kernel's choice. No deadline comes up while all is answered there: the first to do so
/// makes room for all others, once in a reactor's life.
fn config() -> Config {
    let mut config = Config::default();
    config.fixed.listen = vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))];
    config.fixed.reactors = Some(1);
    config.fixed.pin = Pin::Off;
    config.fixed.connections_max = Some(64);
    config.fixed.log_level = LogLevel::Error;
    config.limits.head_ms_max = config.limits.idle_ms_max;
    config
}

/// A client that asks the same again and again, with everything it needs in its hands.
struct Caller<'a> {
    stream: TcpStream,
    request: &'a [u8],
    body: &'a str,
    /// The answer to the last request; every answer has the length of the first.
    answer: Vec<u8>,
}

impl<'a> Caller<'a> {
    fn connect(address: SocketAddr, request: &'a [u8], body: &'a str) -> Caller<'a> {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        stream.write_all(request).expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(body.as_bytes()) {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).expect("an answer");
            assert!(count > 0, "closed after {}", answer.escape_ascii());
            answer.extend_from_slice(&piece[..count]);
        }
        Caller { stream, request, body, answer }
    }

    fn call(&mut self, count: u32) {
        for _ in 0..count {
            self.stream.write_all(self.request).expect("sent");
            self.stream.read_exact(&mut self.answer).expect("an answer");
            assert!(self.answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
            assert!(self.answer.ends_with(self.body.as_bytes()));
        }
    }

    /// At least so many, and on until an answer bears another date than the first. Tells how many there were.
    fn call_until_the_second_turns(&mut self, count: u32) -> u32 {
        let first = self.date();
        self.call(count);
        let mut sum = count;
        while self.date() == first {
            self.call(1);
            sum += 1;
        }
        sum
    }

    fn date(&self) -> [u8; 29] {
        let begin = b"Date: ";
        let at = self.answer.windows(begin.len()).position(|window| window == begin).expect("a date");
        self.answer[at + begin.len()..].first_chunk().copied().expect("a whole date")
    }
}
