//! Faults, and that the server outlives them. After each: a new client is served in a second, descriptors and memory
//! are back, nobody panicked.
//!
//! Numbers are those of the catalogue. Elsewhere: 7 `server`, 8 and 10 also `tests/corpus`, 14 `drain`, 19 `start`, 30
//! and 32 `listeners`. 2, 3, 6, 16 and 17 need tools or rights and are scripts, see `scripts/faults.sh`. 9 does not
//! apply: nothing is inflated here.

mod common;

use std::fs;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use common::{Client, Folder, Server, binary, eventually, pause, sum_of};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

const REQUEST: &str = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
const MEBIBYTE: usize = 1024 * 1024;

fn limit_descriptors(server: &Server, count: u64) -> Rlimit {
    let pid = Pid::from_raw(server.pid() as i32);
    let limit = prlimit(pid, Resource::Nofile, Rlimit { current: Some(count), maximum: Some(20_000) });
    limit.expect("allowed")
}

/// A connection to the admin listener that stays, for when no new one can be had.
struct Observer(Client);

impl Observer {
    fn metric(&mut self, prefix: &str) -> f64 {
        sum_of(&self.0.ask("/metrics").text(), prefix)
    }
}

/// Fault 1.
#[test]
fn descriptors_run_out_and_come_back() {
    let server = Server::start(&["--reactors", "1"]);
    let base = server.base();
    let mut observer = Observer(Client::connect(&server.admin));
    let mut held: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    held.iter_mut().for_each(|client| assert_eq!(client.ask("/plaintext").status, 200));

    let before = limit_descriptors(&server, 40);
    let mut waiting: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(REQUEST));
    eventually("accepting pauses", || observer.metric("myriapod_accept_pauses_total") > 0.0);
    for client in &mut held {
        assert_eq!(client.ask("/plaintext").status, 200, "held connections go on");
    }
    let (began, cpu) = (Instant::now(), server.cpu());
    while began.elapsed() < Duration::from_secs(1) {
        pause();
    }
    let used = server.cpu() - cpu;
    assert!(used < began.elapsed() / 10, "spins: {used:?}");
    assert!(server.told().matches("accepting pauses").count() <= 5, "{}", server.told());

    let pid = Pid::from_raw(server.pid() as i32);
    prlimit(pid, Resource::Nofile, before).expect("allowed");
    waiting.iter_mut().for_each(|client| assert_eq!(client.response().status, 200, "resumes by itself"));
    drop((waiting, held, observer));
    server.is_back_at(base);
}

/// Fault 1: a file that cannot be opened for now is not missing.
#[test]
fn a_file_that_no_descriptor_is_left_for_is_503() {
    let folder = Folder::new();
    folder.write("page", b"page");
    let server = Server::start(&[folder.text(), "--reactors", "1"]);
    let base = server.base();
    let mut client = server.connect();
    assert_eq!(client.ask("/page").text(), "page");
    let before = limit_descriptors(&server, 3);
    let page = client.ask("/page");
    assert!(page.status == 503 && page.field("retry-after").is_some(), "{}", page.head);
    prlimit(Pid::from_raw(server.pid() as i32), Resource::Nofile, before).expect("allowed");
    assert_eq!(client.ask("/page").text(), "page");
    drop(client);
    server.is_back_at(base);
}

/// Fault 5.
#[test]
fn a_flood_of_connections_waits_its_turn() {
    let server = Server::start(&["--max-connections", "50", "--reactors", "1"]);
    let base = server.base();
    let mut held: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    held.iter_mut().for_each(|client| assert_eq!(client.ask("/plaintext").status, 200));
    let mut flood: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    flood.iter_mut().for_each(|client| client.send(REQUEST));
    for client in &mut held {
        let began = Instant::now();
        assert_eq!(client.ask("/plaintext").status, 200);
        assert!(began.elapsed() < Duration::from_millis(500));
    }
    for mut client in flood {
        assert_eq!(client.response().status, 200);
    }
    drop(held);
    server.is_back_at(base);
    assert!(server.told().matches("every connection slot is taken").count() <= 5, "{}", server.told());
}

/// Fault 5, without a limit in the way.
#[test]
fn a_storm_of_new_connections_leaves_held_ones_alone() {
    let server = Server::start(&[]);
    let base = server.base();
    let mut held = server.connect();
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            for _ in 0..2_000 {
                let _ = Client::try_connect(server.address());
            }
        });
        while !storm.is_finished() {
            let began = Instant::now();
            assert_eq!(held.ask("/plaintext").status, 200);
            assert!(began.elapsed() < Duration::from_millis(500));
        }
    });
    drop(held);
    server.is_back_at(base);
}

fn hurried() -> Server {
    Server::start(&[
        "--head-timeout",
        "400ms",
        "--body-timeout",
        "400ms",
        "--idle-timeout",
        "400ms",
        "--write-timeout",
        "400ms",
    ])
}

/// Sends a byte now and then, until the other side has had enough; tells after how long.
fn drip(client: &mut Client, first: &str, bytes: &[u8]) -> Duration {
    client.send(first);
    let began = Instant::now();
    for byte in bytes.iter().cycle() {
        assert!(began.elapsed() < common::PATIENCE, "a drip is put up with for ever");
        if client.try_send([*byte]).is_err() || !client.is_silent() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

/// Fault 4.
#[test]
fn a_drip_of_a_request_is_given_up() {
    let server = hurried();
    let base = server.base();
    let echo = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    let long = format!("{echo}Content-Length: 1000000\r\n\r\n");
    let chunked = format!("{echo}Transfer-Encoding: chunked\r\n\r\n");
    for (first, bytes) in [
        ("GET /plaintext HTTP/1.1\r\nX: ", "y"),
        ("G", "E"),
        ("GET /plaintext HTTP/1.1\r\n", "X: y\r\n"),
        (long.as_str(), "x"),
        (chunked.as_str(), "1\r\nx\r\n"),
        (&format!("{chunked}1;"), "x"),
        (&format!("{chunked}0\r\n"), "X: y\r\n"),
    ] {
        for is_first in [true, false] {
            let mut client = server.connect();
            if !is_first {
                client.ask("/plaintext");
            }
            let after = drip(&mut client, first, bytes.as_bytes());
            assert!(
                after > Duration::from_millis(300) && after < Duration::from_secs(2),
                "{first:?}: {after:?}"
            );
            let response = client.response();
            assert!(response.status == 408 && response.ends_connection(), "{first:?}: {}", response.head);
        }
    }
    server.is_back_at(base);
}

/// Fault 4: an answer that has begun cannot become 408; it is cut, and its framing shows it.
#[test]
fn a_drip_behind_a_stream_is_cut_short() {
    let server = hurried();
    let base = server.base();
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let first =
            format!("POST /echo HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\nfffff\r\n{}", "x".repeat(100_000));
        let mut client = server.connect();
        client.send(first);
        assert!(client.try_response().is_err(), "never a whole answer");
        assert!(client.rest().is_ok_and(|rest| !rest.ends_with(b"0\r\n\r\n")));
    }
    server.is_back_at(base);
}

/// Fault 4.
#[test]
fn silence_is_ended_in_silence() {
    let server = hurried();
    let base = server.base();
    let mut mute = server.connect();
    mute.is_closed();
    let mut idle = server.connect();
    idle.ask("/plaintext");
    idle.is_closed();
    server.is_back_at(base);
    assert_eq!(server.metric("myriapod_connections_closed_total{reason=\"idle_timeout\"}"), 1.0);
    assert_eq!(server.metric("myriapod_violations_total{kind=\"head_timeout\"}"), 0.0);
}

/// Faults 4 and 7.
#[test]
fn clients_that_never_read_are_reset() {
    // The other timeouts are long, so that a slow machine cannot end a client for another reason.
    let server = Server::start(&["--write-timeout", "400ms"]);
    let base = server.base();
    let requests = REQUEST.repeat(300_000);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let mut mute = Client::that_takes_little(server.address());
            let requests = &requests;
            scope.spawn(move || assert!(mute.try_send(requests).is_err(), "the server must stop reading"));
        }
        for _ in 0..20 {
            server.serves();
        }
    });
    let reset = || server.metric("myriapod_connections_closed_total{reason=\"write_timeout\"}");
    eventually("all of them are given up", || reset() == 3.0);
    server.is_back_at(base);
}

/// Buffers of the kernel are ours as well, and are shared by all of the host.
#[test]
fn clients_that_never_read_do_not_fill_the_kernel_s_buffers() {
    let server = Server::start(&[]);
    let base = server.base();
    let requests = REQUEST.repeat(300_000);
    let sent = || server.metric("myriapod_bytes_sent_total");
    let before = sent();
    let mut mutes: Vec<Client> = (0..3).map(|_| Client::that_takes_little(server.address())).collect();
    for mute in &mut mutes {
        assert!(mute.try_send(&requests).is_err(), "the server must stop reading");
    }
    // What their own kernel took, what ours may hold unsent, and a last write; it was 2.5 MiB each.
    assert!(sent() - before < 3.0 * 768.0 * 1024.0, "{}", sent() - before);
    drop(mutes);
    server.is_back_at(base);
}

/// Fault 10: what is looked up by name or split is bounded, and costs no more than its length.
#[test]
fn many_names_and_parameters_cost_little() {
    let server = Server::start(&["--max-head", "64k", "--max-headers", "128"]);
    let base = server.base();
    let fields: String = (0..120).map(|number| format!("X{number}: {}\r\n", "y".repeat(400))).collect();
    let query: String = (0..8_000).map(|number| format!("a{number}&")).collect();
    let began = Instant::now();
    let mut client = server.connect();
    for _ in 0..50 {
        client.send(format!("GET /plaintext HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        client.send(format!("GET /plaintext?{query} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response().status, 200);
        assert_eq!(client.response().status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(client);
    server.is_back_at(base);
}

/// Fault 18.
#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let words =
        ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log", "stderr", "--pin", "off"];
    let (mut server, pipe) = Server::spawn_unread(&mut binary(&words));
    let base = server.base();
    let mut client = server.connect();
    for _ in 0..100 {
        client.send(REQUEST.repeat(100));
        for _ in 0..100 {
            assert_eq!(client.response().status, 200);
        }
    }
    eventually("lines are dropped", || server.metric("myriapod_log_lines_dropped_total") > 0.0);
    server.serves();
    // Then nobody is there at all.
    drop(pipe);
    for _ in 0..100 {
        assert_eq!(client.ask("/plaintext").status, 200);
    }
    drop(client);
    server.is_back_at(base);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "the farewell is no reason to break");
}

/// Fault 18: nor does a full pipe hold up the end.
#[test]
fn a_farewell_that_nobody_reads_is_not_waited_for() {
    let words =
        ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log", "stderr", "--pin", "off"];
    let (mut server, _pipe) = Server::spawn_unread(&mut binary(&words));
    let mut client = server.connect();
    while server.metric("myriapod_log_lines_dropped_total") == 0.0 {
        client.send(REQUEST.repeat(100));
        (0..100).for_each(|_| assert_eq!(client.response().status, 200));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

/// Fault 18: a reader that comes back finds whole lines.
#[test]
fn a_log_that_is_read_late_has_whole_lines() {
    let words =
        ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log", "stderr", "--pin", "off"];
    let (mut server, pipe) = Server::spawn_unread(&mut binary(&words));
    let mut client = server.connect();
    for _ in 0..100 {
        client.send(REQUEST.repeat(50));
        (0..50).for_each(|_| assert_eq!(client.response().status, 200));
    }
    eventually("lines are dropped", || server.metric("myriapod_log_lines_dropped_total") > 0.0);
    let reader = std::thread::spawn(move || pipe.lines().map_while(Result::ok).collect::<Vec<String>>());
    client.ask("/json");
    drop(client);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    let lines = reader.join().expect("read");
    let access: Vec<&String> = lines.iter().filter(|line| line.contains("HTTP/1.1")).collect();
    assert!(access.len() > 100);
    for line in access {
        assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with("\"-\" \"-\""), "{line}");
    }
}

/// Fault 20.
#[test]
fn a_pause_of_the_process_costs_nothing_but_its_time() {
    let server = Server::start(&["--head-timeout", "2s", "--idle-timeout", "2s", "--body-timeout", "2s"]);
    let base = server.base();
    let mut idle = server.connect();
    idle.ask("/plaintext");
    let mut slow = server.connect();
    slow.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    for _ in 0..5 {
        server.freeze();
        let mut late = server.connect();
        late.send(REQUEST);
        assert!(late.is_silent());
        server.signal(Signal::CONT);
        assert_eq!(late.response().status, 200);
    }
    assert_eq!(idle.ask("/plaintext").status, 200);
    slow.send("cd");
    assert_eq!(slow.response().text(), "abcd");
    drop((idle, slow));
    server.is_back_at(base);
}

/// Fault 21.
#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_its_connection() {
    let folder = Folder::new();
    let file = folder.write("large", &vec![b'x'; 32 * MEBIBYTE]);
    let server = Server::start(&[folder.text()]);
    let base = server.base();
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() + REQUEST);
    let head = client.exactly(15).expect("it begins");
    assert_eq!(head, b"HTTP/1.1 200 OK");
    fs::OpenOptions::new().write(true).open(&file).expect("ours").set_len(1_000).expect("shrunk");
    let rest = client.rest().unwrap_or_default();
    assert!(rest.len() < 32 * MEBIBYTE, "short, and nothing in the place of what is missing");
    assert!(!rest.windows(8).any(|window| window == b"HTTP/1.1"), "no answer where body was promised");
    eventually("it is told", || {
        server.metric("myriapod_connections_closed_total{reason=\"truncated\"}") == 1.0
    });
    assert_eq!(Client::get(server.address(), "/large").body.len(), 1_000);
    drop(client);
    server.is_back_at(base);
}

/// Fault 21: who began to read a file reads it to its end, whatever is put in its place.
#[test]
fn a_file_that_is_replaced_while_it_is_sent_is_sent_as_it_was() {
    let folder = Folder::new();
    folder.write("large", &vec![b'x'; 32 * MEBIBYTE]);
    let next = folder.write("next", b"new");
    let server = Server::start(&[folder.text()]);
    let base = server.base();
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    fs::rename(next, folder.path().join("large")).expect("replaced");
    let response = client.response();
    assert!(response.body.len() == 3 || response.body == vec![b'x'; 32 * MEBIBYTE]);
    assert_eq!(client.ask("/large").text(), "new");
    // A file that grows is sent with the length it had.
    let path = folder.write("log", &vec![b'a'; 8 * MEBIBYTE]);
    client.send("GET /log HTTP/1.1\r\nHost: a\r\n\r\n");
    fs::OpenOptions::new().append(true).open(path).expect("ours").write_all(&[b'b'; 4096]).expect("grown");
    assert!(client.response().body.len() >= 8 * MEBIBYTE);
    assert_eq!(client.ask("/large").text(), "new");
    drop(client);
    server.is_back_at(base);
}
