//! Servers that are probed and names that are looked up, seen by a client of the gateway before them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use myriapod::Server;
use myriapod::config::site::{
    Action, Address, Balance, Health, HostRule, PathPattern, PathRule, Proxy, Retries, Route, ServerSpec,
    Site, Timeouts, Upstream,
};
use myriapod::config::{Config, Endpoints, Listen};

const SOON: Duration = Duration::from_secs(20);

/// A server that says its name, and how it is.
struct Fake {
    address: SocketAddr,
    is_well: Arc<AtomicBool>,
    probes: Arc<AtomicU32>,
}

impl Fake {
    fn new(name: &'static str) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let fake = Fake { address, is_well: Arc::new(AtomicBool::new(true)), probes: Arc::default() };
        let (is_well, probes) = (Arc::clone(&fake.is_well), Arc::clone(&fake.probes));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (is_well, probes) = (Arc::clone(&is_well), Arc::clone(&probes));
                thread::spawn(move || serve(stream, name, &is_well, &probes));
            }
        });
        fake
    }
}

fn serve(mut stream: TcpStream, name: &str, is_well: &AtomicBool, probes: &AtomicU32) {
    while let Some(head) = read_head(&mut stream) {
        let is_probe = head.starts_with("GET /healthz ");
        probes.fetch_add(u32::from(is_probe), Ordering::Relaxed);
        let status = match is_probe && !is_well.load(Ordering::Relaxed) {
            true => "503 Service Unavailable",
            false => "200 OK",
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        if stream.write_all(answer.as_bytes()).is_err() || is_probe {
            return;
        }
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !stream.read(&mut byte).is_ok_and(|count| count == 1) {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).expect("text"))
}

fn gateway(servers: impl IntoIterator<Item = Address>, timeout_ms: u32) -> Server {
    let health = Health {
        path: String::from("/healthz"),
        interval_ms: 20,
        timeout_ms,
        rise: 2,
        fall: 2,
        ..Health::default()
    };
    let server = |address| ServerSpec { address, weight: 1, is_backup: false };
    let upstream = Upstream {
        name: String::from("app"),
        servers: servers.into_iter().map(server).collect(),
        balance: Balance::RoundRobin,
        timeouts: Timeouts::default(),
        retries: Retries { count_max: 0, ..Retries::default() },
        idle_max: 32,
        idle_ms_max: 60_000,
        connections_max: None,
        queue_ms_max: 1_000,
        resolve_ms: 30_000,
        health: Some(health),
        ejection: None,
        breaker: None,
        fallback: None,
    };
    let proxy = Proxy { upstream: 0, host: HostRule::Keep, path: PathRule::Keep, upgrades: false };
    let route = Route {
        name: String::from("all"),
        hosts: Vec::new(),
        path: PathPattern::Pattern(String::from("/")),
        methods: None,
        fields: Vec::new(),
        action: Action::Proxy(proxy),
        steps: Vec::new(),
        body_bytes_max: None,
        line: 0,
    };
    let site = Site { routes: vec![route], upstreams: vec![upstream], ..Site::default() };
    let config = Config { site, ..Config::default() };
    let server = Server::builder().config(config).endpoints(Endpoints::All);
    server.listen("127.0.0.1:0").reactors(2).start().expect("it starts")
}

/// Status and body of one answer.
fn ask(server: &Server) -> (String, String) {
    ask_for(server, "/")
}

fn ask_for(server: &Server, path: &str) -> (String, String) {
    let Listen::Tcp(address) = &server.listen()[0] else { panic!("a port") };
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    (status.to_owned(), body.to_owned())
}

/// Until so many answers in a row are what they should be.
fn until_all(server: &Server, count: u32, are_right: impl Fn(&str) -> bool) {
    let until = Instant::now() + SOON;
    let mut in_row = 0;
    while in_row < count {
        let (status, body) = ask(server);
        assert_eq!(status, "200");
        in_row = if are_right(&body) { in_row + 1 } else { 0 };
        assert!(Instant::now() < until, "it never came to that");
    }
}

fn end(server: Server) {
    let began = Instant::now();
    server.drain();
    server.join().expect("no reactor broke");
    assert!(began.elapsed() < Duration::from_secs(5), "it did not end in time");
}

#[test]
fn a_server_that_says_it_is_not_well_is_let_be_until_it_is() {
    let (one, two) = (Fake::new("one"), Fake::new("two"));
    two.is_well.store(false, Ordering::Relaxed);
    let server = gateway([one.address, two.address].map(Address::Socket), 5_000);
    until_all(&server, 20, |body| body == "one");
    two.is_well.store(true, Ordering::Relaxed);
    until_all(&server, 1, |body| body == "two");
    one.is_well.store(false, Ordering::Relaxed);
    until_all(&server, 20, |body| body == "two");
    end(server);
}

#[test]
fn a_server_that_died_is_known_before_a_client_finds_out() {
    let one = Fake::new("one");
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let server = gateway([one.address, gone].map(Address::Socket), 5_000);
    let until = Instant::now() + SOON;
    let mut in_row = 0;
    while in_row < 20 {
        // Nothing is tried again here: whoever meets the dead one is told so.
        in_row = if ask(&server).0 == "200" { in_row + 1 } else { 0 };
        assert!(Instant::now() < until, "clients still meet it");
    }
    end(server);
}

#[test]
fn how_probes_end_is_counted() {
    let one = Fake::new("one");
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let server = gateway([one.address, gone].map(Address::Socket), 5_000);
    let until = Instant::now() + SOON;
    for (address, outcome) in [(one.address, "good"), (gone, "refused")] {
        let labels = format!(r#"upstream="app",server="{address}",outcome="{outcome}""#);
        let sample = format!("myriapod_upstream_probes_total{{{labels}}} ");
        loop {
            let (_, page) = ask_for(&server, "/metrics");
            let count = page.lines().find_map(|line| line.strip_prefix(&*sample));
            if count.is_some_and(|count| count != "0") {
                break;
            }
            assert!(Instant::now() < until, "no {sample}in {page}");
        }
    }
    end(server);
}

#[test]
fn when_all_are_not_well_they_are_asked_all_the_same() {
    let fakes = [Fake::new("one"), Fake::new("two")];
    fakes.iter().for_each(|fake| fake.is_well.store(false, Ordering::Relaxed));
    let server = gateway(fakes.iter().map(|fake| Address::Socket(fake.address)), 5_000);
    let until = Instant::now() + SOON;
    while fakes.iter().any(|fake| fake.probes.load(Ordering::Relaxed) < 5) {
        assert_eq!(ask(&server).0, "200");
        assert!(Instant::now() < until, "nobody probes");
    }
    end(server);
}

#[test]
fn a_name_is_looked_up_before_the_start() {
    let one = Fake::new("one");
    let server = gateway([Address::Name(String::from("localhost"), one.address.port())], 5_000);
    // It may be `::1` too, where nobody listens.
    let until = Instant::now() + SOON;
    while ask(&server) != ("200".to_owned(), "one".to_owned()) {
        assert!(Instant::now() < until, "it is not found");
    }
    end(server);
}

#[test]
fn a_name_that_nobody_knows_does_not_stop_the_start() {
    let one = Fake::new("one");
    let servers = [Address::Name(String::from("nobody.invalid"), 80), Address::Socket(one.address)];
    let server = gateway(servers, 5_000);
    until_all(&server, 10, |body| body == "one");
    end(server);
}

#[test]
fn probes_that_hang_do_not_hold_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = gateway([Address::Socket(listener.local_addr().expect("bound"))], 60_000);
    let (mut probe, _) = listener.accept().expect("a probe comes");
    assert!(
        read_head(&mut probe).expect("a request").starts_with("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:")
    );
    end(server);
}
