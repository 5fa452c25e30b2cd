//! Stories of the whole thread, on real threads and sockets.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::net::SocketType;

use super::*;
use crate::config::site::{Health, Jwt, Step};
use crate::gateway::upstream::Directory;
use crate::http::Status;

const SOON: Duration = Duration::from_secs(20);

/// What the keeper tells, as text.
fn keeper(resolver: Resolver) -> (Keeper, Receiver<String>) {
    let (tell, told) = channel();
    let keeper = Keeper::start(resolver, Log::silent(), move |_, news| {
        let text = match news {
            News::Addresses(book) => {
                let name = Address::Name("a.test".to_owned(), 80);
                let found: Vec<_> = book.addresses(&name).map(|address| address.to_string()).collect();
                found.join(" ")
            }
            News::Files => "files".to_owned(),
            News::Probe { .. } => return,
        };
        let _ = tell.send(text);
    });
    (keeper.expect("a thread"), told)
}

fn name(every_ms: u32) -> Duties {
    Duties { names: vec![Name { host: "a.test".to_owned(), every_ms }], ..Duties::default() }
}

fn address(text: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(vec![text.parse().expect("an address")])
}

/// How often the kernel has let this thread run.
fn runs_of_thread(id: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).expect("it lives");
    stat.split_ascii_whitespace().nth(2).and_then(|runs| runs.parse().ok()).expect("a number")
}

#[test]
fn a_name_that_moves_is_told_and_one_that_is_lost_keeps_its_address() {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let resolver: Resolver = Arc::new(move |_: &str| match counted.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => address("10.0.0.1:0"),
        2 => Err(io::Error::other("no such name")),
        _ => address("10.0.0.2:0"),
    });
    let (keeper, told) = keeper(resolver);
    keeper.hand().attend(name(100));
    assert_eq!(told.recv_timeout(SOON).expect("found"), "10.0.0.1:80");
    assert_eq!(told.recv_timeout(SOON).expect("moved"), "10.0.0.2:80", "and nothing of the failure");
    let tally = Arc::clone(keeper.hand().tally());
    assert_eq!((tally.lookups.value(), tally.lookup_failures.value()), (4, 1));
    assert!(keeper.stop());
}

#[test]
fn look_ups_that_hang_hold_neither_each_other_nor_the_end() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let resolver: Resolver = Arc::new(move |host: &str| match host {
        "a.test" => address("10.0.0.1:0"),
        _ => {
            let _ = released.lock().expect("one at a time").recv();
            Err(io::Error::other("too late"))
        }
    });
    let (keeper, told) = keeper(resolver);
    let hanging = ["b.test", "c.test"].map(|host| Name { host: host.to_owned(), every_ms: 1_000 });
    let mut duties = name(1_000);
    duties.names.extend(hanging);
    keeper.hand().attend(duties);
    assert_eq!(told.recv_timeout(SOON).expect("found"), "10.0.0.1:80");
    let began = Instant::now();
    assert!(keeper.stop());
    assert!(began.elapsed() < Duration::from_secs(1));
    drop(release);
}

#[test]
fn who_is_told_may_panic_and_may_give_new_duties() {
    let resolver: Resolver = Arc::new(|_: &str| address("10.0.0.1:0"));
    let (tell, told): (Sender<()>, _) = channel();
    let keeper = Keeper::start(resolver, Log::silent(), move |hand, _| {
        // Knowing nothing again makes the same answer news again.
        hand.attend(name(100));
        let _ = tell.send(());
        panic!("as told");
    });
    let keeper = keeper.expect("a thread");
    keeper.hand().attend(name(100));
    for _ in 0..3 {
        told.recv_timeout(SOON).expect("told again after a panic");
    }
    assert!(keeper.stop());
}

#[test]
fn a_bug_of_its_own_does_not_end_it() {
    let resolver: Resolver = Arc::new(|_: &str| address("10.0.0.1:0"));
    let (keeper, told) = keeper(resolver);
    // An answer to a question that nobody asked does not add up.
    keeper.hand().bring(Letter::Found("b.test".to_owned(), Err("as told".to_owned())));
    keeper.hand().attend(name(1_000));
    assert_eq!(told.recv_timeout(SOON).expect("it goes on"), "10.0.0.1:80");
    assert!(keeper.stop());
}

#[test]
fn files_that_a_site_is_read_from_are_known() {
    let jwt = Jwt {
        keys: vec![KeySource::Jwks("/etc/keys.json".into())],
        issuer: None,
        audiences: Vec::new(),
        leeway_seconds: 0,
        cookie: None,
        claims: Vec::new(),
        realm: String::new(),
        forwards_token: false,
    };
    let mut spec = testing::upstream("api", [], None);
    spec.fallback = Some(Fallback::File { path: "/etc/sorry.html".into(), status: Status::BAD_GATEWAY });
    let step = Step { name: "jwt".to_owned(), kind: StepKind::Jwt(jwt) };
    let site = Site { upstreams: vec![spec], steps: vec![step], ..Site::default() };
    assert_eq!(files_of(&site).collect::<Vec<_>>(), ["/etc/keys.json", "/etc/sorry.html"].map(Path::new));
}

#[test]
fn a_file_that_changes_is_told_once() {
    let path = std::env::temp_dir().join(format!("myriapod-keeper-file-{}", std::process::id()));
    std::fs::write(&path, "one").expect("written");
    let (keeper, told) = keeper(of_machine());
    keeper.hand().attend(Duties { files: Sights::of([&path]), ..Duties::default() });
    for round in 1..4 {
        std::fs::write(&path, "more".repeat(round)).expect("written");
        assert_eq!(told.recv_timeout(SOON).expect("it changed"), "files");
        assert_eq!(keeper.hand().tally().file_changes.value(), round as u64);
    }
    assert!(keeper.stop());
    assert!(told.recv().is_err(), "nothing was told twice");
    std::fs::remove_file(path).expect("removed");
}

/// Answers by the path that is asked for; each connection on a thread of its own.
fn fake_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || converse(stream));
        }
    });
    address
}

fn converse(mut stream: impl Read + Write) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.contains("\r\nHost: ") && head.contains("\r\nConnection: close\r\n"), "{head}");
    let answer: &[u8] = match head.split(' ').nth(1).expect("a path") {
        "/good" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "/interim" => b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "/to-end" => b"HTTP/1.0 200 OK\r\n\r\nall that comes",
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
        "/500" => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 9\r\n\r\n",
        "/garbage" => b"SSH-2.0-OpenSSH_9.6\r\n",
        "/lengths" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "/half-head" => b"HTTP/1.1 200 OK\r\nContent-Le",
        "/half-body" => b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        "/half-chunks" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "/nothing" => b"",
        "/drip" => {
            // Never an end, and never silent for long: only the whole time can be bounded.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
            while stream.write_all(b"x").is_ok() {
                thread::yield_now();
            }
            return;
        }
        "/endless" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 65_536]).is_ok() {}
            return;
        }
        _ => {
            // Until whoever asked gives up.
            let _ = stream.read(&mut [0]);
            return;
        }
    };
    let _ = stream.write_all(answer);
}

/// An upstream of one server, named after the path that it is asked for.
fn cluster(book: &mut Directory, address: Address, path: &str, timeout_ms: u32) -> Cluster {
    let health =
        Health { path: path.to_owned(), interval_ms: 50, timeout_ms, rise: 1, fall: 2, ..Health::default() };
    let spec = testing::upstream(path, [address], Some(health));
    book.cluster(0, &spec, &NameBook::default().resolve(&spec))
}

fn duties<'a>(clusters: impl IntoIterator<Item = &'a Cluster>) -> Duties {
    Duties::of(clusters, NameBook::default(), Sights::default())
}

/// A keeper, and how each probe ended: upstream, outcome, what that makes of the server.
fn prober() -> (Keeper, Receiver<(String, String, Option<Change>)>) {
    let (tell, told) = channel();
    let keeper = Keeper::start(of_machine(), Log::silent(), move |_, news| {
        if let News::Probe { target, outcome, change } = news {
            let outcome = outcome.map_or_else(|failure| failure.label(), |()| "good");
            let _ = tell.send((target.upstream.clone(), outcome.to_owned(), change));
        }
    });
    (keeper.expect("a thread"), told)
}

const PATIENT_MS: u32 = 20_000;

#[test]
fn servers_are_known_by_how_they_answer() {
    let expected: &[(&str, &str, u32)] = &[
        ("/good", "good", PATIENT_MS),
        ("/interim", "good", PATIENT_MS),
        ("/to-end", "good", PATIENT_MS),
        ("/chunked", "good", PATIENT_MS),
        ("/endless", "good", PATIENT_MS),
        ("/500", "status", PATIENT_MS),
        ("/garbage", "garbled", PATIENT_MS),
        ("/lengths", "garbled", PATIENT_MS),
        ("/half-head", "cut", PATIENT_MS),
        ("/half-body", "cut", PATIENT_MS),
        ("/half-chunks", "cut", PATIENT_MS),
        ("/nothing", "cut", PATIENT_MS),
        ("/hang", "answer_timeout", 300),
        // Its head outgrows every limit, or its time is up before.
        ("/drip", "garbled answer_timeout", 2_000),
    ];
    let (address, mut directory) = (Address::Socket(fake_server()), Directory::new());
    let clusters: Vec<_> = expected
        .iter()
        .map(|(path, _, timeout_ms)| cluster(&mut directory, address.clone(), path, *timeout_ms))
        .collect();
    let (keeper, told) = prober();
    keeper.hand().attend(duties(&clusters));
    let mut seen = BTreeMap::new();
    while seen.len() < expected.len() {
        let (path, outcome, _) = told.recv_timeout(SOON).expect("all are probed");
        let before = seen.insert(path.clone(), outcome.clone());
        assert!(before.is_none_or(|before| before == outcome || path == "/drip"), "{path} {outcome}");
    }
    for (path, outcome, _) in expected {
        assert!(outcome.contains(&*seen[*path]), "{path}: {}", seen[*path]);
    }
    let shown = keeper.hand().tally().probed();
    assert_eq!(shown.len(), expected.len());
    for tally in shown.iter().filter(|tally| tally.upstream == "/500") {
        let status = OUTCOMES.iter().position(|word| *word == "status").expect("a word");
        assert!(tally.outcomes.value(status) >= 1 && tally.outcomes.value(0) == 0);
    }
    assert!(keeper.stop());
}

#[test]
fn servers_without_anybody_behind_them_are_told_apart() {
    let refusing =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    // The kernel queues one connection more than it was told to and drops what comes then.
    let hole =
        rustix::net::socket(rustix::net::AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&hole, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    rustix::net::listen(&hole, 0).expect("it listens");
    let black: SocketAddr = rustix::net::getsockname(&hole).expect("bound").try_into().expect("IPv4");
    let _queued: Vec<_> =
        (0..4).map(|_| std::net::TcpStream::connect_timeout(&black, Duration::from_millis(50))).collect();
    let folder = std::env::temp_dir().join(format!("myriapod-keeper-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let unix = folder.join("server.sock");
    let listener = UnixListener::bind(&unix).expect("a path");
    thread::spawn(move || listener.incoming().flatten().for_each(converse));

    let mut directory = Directory::new();
    let clusters = [
        cluster(&mut directory, Address::Socket(refusing), "/refused", PATIENT_MS),
        cluster(&mut directory, Address::Socket(black), "/black", 200),
        cluster(&mut directory, Address::Unix(folder.join("none.sock")), "/none", PATIENT_MS),
        cluster(&mut directory, Address::Unix(folder.join("x".repeat(200))), "/long", PATIENT_MS),
        cluster(&mut directory, Address::Unix(unix), "/good", PATIENT_MS),
    ];
    let (keeper, told) = prober();
    keeper.hand().attend(duties(&clusters));
    let mut seen = BTreeMap::new();
    while seen.len() < clusters.len() {
        let (path, outcome, _) = told.recv_timeout(SOON).expect("all are probed");
        seen.insert(path, outcome);
    }
    let seen: Vec<_> = seen.iter().map(|(path, outcome)| (&**path, &**outcome)).collect();
    let expected = [
        ("/black", "connect_timeout"),
        ("/good", "good"),
        ("/long", "refused"),
        ("/none", "refused"),
        ("/refused", "refused"),
    ];
    assert_eq!(seen, expected);
    assert!(keeper.stop());
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn a_server_that_falls_ill_recovers_when_it_answers_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let mut directory = Directory::new();
    let upstream = cluster(&mut directory, Address::Socket(address), "/good", PATIENT_MS);
    let (keeper, told) = prober();
    keeper.hand().attend(duties([&upstream]));
    let changes = [None, Some(Change::FellIll), None];
    for change in changes {
        assert_eq!(told.recv_timeout(SOON).expect("probed"), ("/good".into(), "refused".into(), change));
    }
    assert!(upstream.members[0].endpoint.vitals().is_unwell());
    let listener = TcpListener::bind(address).expect("the port is free");
    thread::spawn(move || listener.incoming().flatten().for_each(converse));
    let recovered =
        std::iter::from_fn(|| told.recv_timeout(SOON).ok()).find(|(_, outcome, _)| outcome == "good");
    assert_eq!(recovered.expect("it answers again").2, Some(Change::Recovered));
    assert!(!upstream.members[0].endpoint.vitals().is_unwell());
    assert!(keeper.stop());
}

#[test]
fn who_is_not_probed_any_more_is_not_held_to_be_ill() {
    let refusing =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let mut directory = Directory::new();
    let upstream = cluster(&mut directory, Address::Socket(refusing), "/refused", PATIENT_MS);
    let (keeper, told) = prober();
    keeper.hand().attend(duties([&upstream]));
    while told.recv_timeout(SOON).expect("probed").2 != Some(Change::FellIll) {}
    keeper.hand().attend(Duties::default());
    let vitals = upstream.members[0].endpoint.vitals();
    let until = Instant::now() + SOON;
    while vitals.is_unwell() || !keeper.hand().tally().probed().is_empty() {
        assert!(Instant::now() < until, "for ever");
        thread::yield_now();
    }
    assert!(keeper.stop());
}

/// As the server does it: what is told makes another generation, which is what is attended to then.
#[test]
fn a_name_that_is_found_late_is_probed_from_then_on() {
    let port = fake_server().port();
    let mut directory = Directory::new();
    let health = Health { path: "/good".to_owned(), interval_ms: 50, ..Health::default() };
    let mut spec = testing::upstream("late", [Address::Name("a.test".to_owned(), port)], Some(health));
    spec.resolve_ms = 100;
    let asked = AtomicU32::new(0);
    let resolver: Resolver = Arc::new(move |_: &str| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Err(io::Error::other("no such name")),
        _ => address("127.0.0.1:0"),
    });
    let cluster = directory.cluster(0, &spec, &NameBook::default().resolve(&spec));
    assert!(cluster.members.is_empty(), "nobody knows where it is");
    let (tell, told) = channel();
    let keeper = Keeper::start(resolver, Log::silent(), move |hand, news| {
        let text = match news {
            News::Addresses(book) => {
                let cluster = directory.cluster(0, &spec, &book.resolve(&spec));
                hand.attend(Duties::of([&cluster], book.clone(), Sights::default()));
                "addresses".to_owned()
            }
            News::Files => "files".to_owned(),
            News::Probe { target, outcome, .. } => format!("{} {outcome:?}", target.endpoint.name),
        };
        let _ = tell.send(text);
    });
    let keeper = keeper.expect("a thread");
    keeper.hand().attend(duties([&cluster]));
    let heard: Vec<_> = std::iter::from_fn(|| told.recv_timeout(SOON).ok()).take(3).collect();
    let probed = format!("a.test:{port} Ok(())");
    assert_eq!(heard, ["addresses", &probed, &probed], "told once, and probed since");
    assert!(keeper.stop());
}

/// None is answered before all have come: who probed one after the other would wait for ever.
#[test]
fn five_hundred_servers_are_probed_at_once() {
    const SERVERS: usize = 500;
    let _ = crate::server::host::raise_descriptor_limit();
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let mut directory = Directory::new();
    let addresses =
        (0..SERVERS).map(|n| SocketAddr::from(([127, 0, 1 + (n / 250) as u8, 1 + (n % 250) as u8], port)));
    let mut spec =
        cluster(&mut directory, Address::Socket(([127, 0, 0, 1], 1).into()), "/good", PATIENT_MS).spec;
    let servers = testing::upstream("many", addresses.map(Address::Socket), None).servers;
    spec.servers = servers;
    let upstream = directory.cluster(0, &spec, &NameBook::default().resolve(&spec));

    let (keeper, told) = prober();
    let began = Instant::now();
    keeper.hand().attend(duties([&upstream]));
    let streams: Vec<_> = listener.incoming().flatten().take(SERVERS).collect();
    streams.into_iter().for_each(converse);
    for _ in 0..SERVERS {
        assert_eq!(told.recv_timeout(SOON).expect("all are probed").1, "good");
    }
    assert!(began.elapsed() < SOON);
    let shown = keeper.hand().tally().probed();
    assert!(shown.iter().all(|tally| tally.outcomes.value(0) == 1));

    // By now the next probes are on their way, and nobody accepts them.
    let began = Instant::now();
    assert!(keeper.stop());
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_reload_leaves_a_probe_under_way_alone() {
    let (address, mut directory) = (Address::Socket(fake_server()), Directory::new());
    let upstream = cluster(&mut directory, address, "/hang", 400);
    let (keeper, told) = prober();
    let (stop, stopped) = channel::<()>();
    let hand = keeper.hand().clone();
    let again = upstream.clone();
    let reloading = thread::spawn(move || {
        // Far more often than a probe takes: who began anew each time would never know.
        while stopped.recv_timeout(Duration::from_millis(5)).is_err() {
            hand.attend(duties([&again]));
        }
    });
    assert_eq!(told.recv_timeout(SOON).expect("probed").1, "answer_timeout");
    stop.send(()).expect("it waits");
    reloading.join().expect("no panic");
    assert!(keeper.stop());
}

#[test]
fn at_rest_it_does_nothing() {
    let resolver: Resolver = Arc::new(|_: &str| address("10.0.0.1:0"));
    let (tell, told) = channel();
    let keeper = Keeper::start(resolver, Log::silent(), move |_, _| {
        let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get());
    });
    let keeper = keeper.expect("a thread");
    keeper.hand().attend(name(3_600_000));
    let id = told.recv_timeout(SOON).expect("found");
    let before = runs_of_thread(id);
    assert!(told.recv_timeout(Duration::from_millis(500)).is_err(), "nothing is left to tell");
    // Once to lie down after what it told, and nothing more.
    assert!(runs_of_thread(id) - before <= 2, "it has risen although nothing was due");
    assert!(keeper.stop());
}
