//! Requests that workers answer: overload, deadlines, clients that go, order, the end.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Server, eventually};
use rustix::process::{Resource, Signal, getrlimit};

/// Ends when its client goes, and never before.
const LONG: &str = "/work?ms=600000";
/// Ends never.
const DEAF: &str = "/work?ms=600000&deaf";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// One reactor, so that there is one queue.
fn server(words: &[&str]) -> Server {
    let mut all = vec!["--demo", "--reactors", "1"];
    all.extend(words);
    Server::start(&all)
}

/// Connections that asked for the same, not answered yet.
fn asking(server: &Server, count: usize, path: &str) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(get(path)));
    clients
}

/// Waits until so many jobs are at workers and so many wait for one.
fn stand(server: &Server, at_workers: usize, waiting: usize) {
    eventually(&format!("{at_workers} at work, {waiting} waiting"), || {
        let page = Client::get(&server.admin, "/metrics").text();
        let value = |name| common::sum_of(&page, name) as usize;
        (value("myriapod_queue_out"), value("myriapod_queue_waiting")) == (at_workers + waiting, waiting)
    });
}

/// Clients that keep workers busy until they are dropped.
fn occupy(server: &Server, workers: usize) -> Vec<Client> {
    let holders = asking(server, workers, LONG);
    stand(server, workers, 0);
    holders
}

fn refused(server: &Server, reason: &str) -> f64 {
    server.metric(&format!("myriapod_requests_refused_total{{reason=\"{reason}\"}}"))
}

fn is_refusal(client: &mut Client) {
    let response = client.response();
    assert_eq!((response.status, response.field("retry-after")), (503, Some("1")), "{}", response.head);
    assert!(!response.ends_connection());
}

#[test]
fn overload_is_answered_at_once_and_once_each() {
    let server = server(&["--workers", "4", "--queue-depth", "64", "--queue-timeout", "off"]);
    let base = server.base();
    let holders = occupy(&server, 4);
    let mut waiting = asking(&server, 64, "/work?ms=1");
    stand(&server, 4, 64);
    let mut turned_away = asking(&server, 132, "/work?ms=1");
    for client in &mut turned_away {
        is_refusal(client);
        assert_eq!(client.ask("/plaintext").status, 200, "its connection lives on");
        client.send(get("/work?ms=1"));
        is_refusal(client);
    }
    for client in &mut waiting {
        assert!(client.is_silent());
    }
    assert_eq!(refused(&server, "queue_full"), 264.0);

    drop(holders);
    for client in &mut waiting {
        assert_eq!(client.response().text(), "done\n");
        assert!(client.is_silent(), "one answer each");
    }
    for client in &mut turned_away {
        assert_eq!(client.ask("/work?ms=0").status, 200);
        assert!(client.is_silent(), "one answer each");
    }
    stand(&server, 0, 0);
    drop((waiting, turned_away));
    server.is_back_at(base);
}

/// What somebody under load saw.
#[derive(Default)]
struct Seen {
    asked: AtomicU64,
    done: AtomicU64,
    refused: AtomicU64,
}

/// Asks several things at once, again and again; the answers must come in that order.
fn ask_in_rounds(server: &Server, seed: usize, seen: &Seen) {
    let mut client = server.connect();
    for round in 0..30 {
        let paths = ["/plaintext", "/work?ms=1", "/json", "/cpu?us=100", "/work?ms=2"];
        let paths: Vec<&str> = (0..1 + round % 5).map(|at| paths[(seed + round + at) % 5]).collect();
        client.send(paths.iter().map(|path| get(path)).collect::<String>());
        for path in paths {
            let response = client.response();
            seen.asked.fetch_add(1, Ordering::Relaxed);
            let is_refused = response.status == 503;
            let expected = match path {
                _ if is_refused => "503 Service Unavailable\n",
                "/plaintext" => "Hello, World!",
                "/json" => r#"{"message":"Hello, World!"}"#,
                _ => "done\n",
            };
            assert_eq!(response.text(), expected, "{path}");
            assert!(!is_refused || (path.contains('?') && response.field("retry-after").is_some()), "{path}");
            let count = if is_refused { &seen.refused } else { &seen.done };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn answers_under_load_come_in_order_and_agree_with_the_metrics() {
    let server = Server::start(&["--demo", "--workers", "3", "--queue-depth", "2"]);
    let base = server.base();
    let before = server.metric("myriapod_requests_total");
    let seen = Seen::default();
    thread::scope(|scope| {
        (0..24).for_each(|seed| {
            let (server, seen) = (&server, &seen);
            scope.spawn(move || ask_in_rounds(server, seed, seen));
        });
    });
    let [asked, done, refused] =
        [&seen.asked, &seen.done, &seen.refused].map(|count| count.load(Ordering::Relaxed) as f64);
    assert_eq!(asked, 24.0 * 90.0);
    assert_eq!(done + refused, asked);
    assert_eq!(server.metric("myriapod_requests_refused_total"), refused);
    // Two looks at the metrics lie between.
    let answered = server.metric("myriapod_requests_total") - before;
    assert!((asked..asked + 4.0).contains(&answered), "{answered} answers to {asked} requests");
    stand(&server, 0, 0);
    server.is_back_at(base);
}

#[test]
fn pipelined_requests_are_away_one_at_a_time_and_answered_in_order() {
    let server = server(&["--workers", "4"]);
    let mut client = server.connect();
    // The later ones would be faster.
    client.send(get("/work?ms=60") + &get("/work") + &get("/plaintext") + &get("/work?ms=1") + &get("/none"));
    let statuses: Vec<u16> = (0..5).map(|_| client.response().status).collect();
    assert_eq!(statuses, [200, 400, 200, 200, 404]);
    client.send(get("/work?ms=0").repeat(300));
    (0..300).for_each(|_| assert_eq!(client.response().text(), "done\n"));
    client.send("HEAD /work?ms=0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response_to_head().field("content-length"), Some("5"));
    client.is_closed();
}

#[test]
fn an_overdue_answer_is_504_at_once_and_its_worker_is_free() {
    let server = server(&["--workers", "1", "--request-timeout", "100ms"]);
    let base = server.base();
    let mut client = server.connect();
    client.send(get(LONG) + &get("/plaintext"));
    let began = Instant::now();
    let response = client.response();
    assert!(response.status == 504 && !response.ends_connection(), "{}", response.head);
    assert!(began.elapsed() >= Duration::from_millis(90), "after {:?}", began.elapsed());
    assert_eq!(client.response().text(), "Hello, World!");
    assert_eq!(client.ask("/work?ms=0").text(), "done\n", "it was told to give up");
    eventually("late", || server.metric("myriapod_answers_late_total") == 1.0);
    assert_eq!(server.metric("myriapod_requests_overdue_total"), 1.0);
    stand(&server, 0, 0);
    drop(client);
    server.is_back_at(base);
}

#[test]
fn a_late_answer_is_dropped_and_its_permit_comes_home_with_it() {
    let server = server(&["--workers", "1", "--request-timeout", "50ms"]);
    let mut client = server.connect();
    client.send(get("/work?ms=300&deaf"));
    assert_eq!(client.response().status, 504);
    // The connection is at its next exchange, even its next one away, when the answer to the first comes.
    client.send(get("/work?ms=0") + &get("/plaintext"));
    assert!(matches!(client.response().status, 200 | 504));
    assert_eq!(client.response().text(), "Hello, World!");
    eventually("late", || server.metric("myriapod_answers_late_total") >= 1.0);
    stand(&server, 0, 0);
    assert!(client.is_silent());
    assert_eq!(client.ask("/work?ms=0").text(), "done\n");
}

#[test]
fn who_waited_too_long_for_a_worker_is_turned_away_unserved() {
    let server = server(&["--workers", "1", "--queue-timeout", "100ms"]);
    let holders = occupy(&server, 1);
    let mut client = server.connect();
    client.send(get(LONG) + &get("/plaintext"));
    is_refusal(&mut client);
    assert_eq!(client.response().text(), "Hello, World!");
    assert_eq!(refused(&server, "queue_timeout"), 1.0);
    drop(holders);
    // Had the long one been run, this would wait for it.
    eventually("a worker is free", || client.ask("/work?ms=0").status == 200);
    assert_eq!(server.metric("myriapod_worker_jobs_unrun_total"), 1.0);
    stand(&server, 0, 0);
}

#[test]
fn a_client_that_breaks_off_frees_its_worker() {
    let server = server(&["--workers", "1", "--queue-timeout", "off"]);
    let base = server.base();
    for breaks_off in [Client::reset, drop] {
        let holder = occupy(&server, 1).remove(0);
        breaks_off(holder);
        assert_eq!(server.connect().ask("/work?ms=0").text(), "done\n");
    }
    stand(&server, 0, 0);
    assert!(server.metric("myriapod_answers_late_total") >= 1.0);
    server.is_back_at(base);
}

#[test]
fn a_client_that_breaks_off_while_it_waits_is_never_served() {
    let server = server(&["--workers", "1", "--queue-timeout", "off"]);
    let holders = occupy(&server, 1);
    let waiting = asking(&server, 10, DEAF);
    stand(&server, 1, 10);
    waiting.into_iter().for_each(Client::reset);
    let reset = "myriapod_connections_closed_total{reason=\"peer_reset\"}";
    eventually("they are gone", || server.metric(reset) == 10.0);
    drop(holders);
    assert_eq!(server.connect().ask("/work?ms=0").text(), "done\n", "none of them was begun");
    assert_eq!(server.metric("myriapod_worker_jobs_unrun_total"), 10.0);
    stand(&server, 0, 0);
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let server = server(&["--workers", "1", "--queue-timeout", "off"]);
    let base = server.base();
    let mut client = server.connect();
    client.send(get("/work?ms=20").repeat(5));
    client.end();
    (0..5).for_each(|_| assert_eq!(client.response().text(), "done\n"));
    client.is_closed();
    // One that is not begun yet is begun all the same.
    let holders = occupy(&server, 1);
    let mut client = asking(&server, 1, "/work?ms=1").remove(0);
    client.end();
    stand(&server, 1, 1);
    drop(holders);
    assert_eq!(client.response().text(), "done\n");
    client.is_closed();
    server.is_back_at(base);
}

/// Whatever a worker answers, until the server has gone; an answer must be whole, and only a request on a
/// connection that was answered before may be lost in the race with its end.
fn work_on(server_address: &str, is_over: &AtomicBool, answers: &AtomicU64) {
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::try_connect(server_address) else { return };
        for round in 0..20 {
            if client.try_send(get("/work?ms=2").repeat(2)).is_err() {
                assert!(round > 0);
                return;
            }
            for _ in 0..2 {
                match client.try_response() {
                    Ok(response) => {
                        assert!(matches!(response.status, 200 | 503), "{}", response.head);
                        answers.fetch_add(1, Ordering::Relaxed);
                        if response.ends_connection() {
                            return client.is_closed();
                        }
                    }
                    Err(error) => {
                        assert!(client.unread().is_empty(), "an answer was cut: {error}");
                        assert!(round > 0, "accepted and not answered: {error}");
                        return;
                    }
                }
            }
        }
    }
}

#[test]
fn sigterm_lets_workers_answer_whoever_was_accepted() {
    let mut server = Server::start(&["--demo", "--workers", "2", "--queue-depth", "4"]);
    let address = server.address().to_owned();
    let (is_over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        (0..16).for_each(|_| {
            scope.spawn(|| work_on(&address, &is_over, &answers));
        });
        eventually("load", || answers.load(Ordering::Relaxed) > 200);
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0), "{}", server.told());
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(server.told().contains("cut 0"), "{}", server.told());
}

#[test]
fn requests_that_wait_for_a_worker_are_answered_before_the_end() {
    let mut server = server(&["--workers", "1", "--queue-timeout", "off"]);
    let holders = occupy(&server, 1);
    let mut waiting = asking(&server, 5, "/work?ms=1");
    stand(&server, 1, 5);
    server.signal(Signal::TERM);
    eventually("it drains", || Client::get(&server.admin, "/readyz").status == 503);
    drop(holders);
    for client in &mut waiting {
        let response = client.response();
        assert!(response.status == 200 && response.ends_connection(), "{}", response.head);
        client.is_closed();
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.told().contains("cut 0"), "{}", server.told());
}

#[test]
fn a_handler_that_does_not_return_holds_up_no_end() {
    let mut server = server(&["--workers", "1", "--drain-timeout", "200ms", "--queue-timeout", "off"]);
    let mut clients = asking(&server, 3, DEAF);
    stand(&server, 1, 2);
    let began = Instant::now();
    server.signal(Signal::TERM);
    for client in &mut clients {
        assert!(client.try_response().is_err() && client.unread().is_empty());
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let told = server.told();
    assert!(told.contains("cut 3") && told.contains("1 handlers have not returned"), "{told}");
}

/// Fault 13.
#[test]
fn a_stuck_handler_is_told_of_and_a_substitute_takes_its_place() {
    let mut server = server(&["--workers", "1", "--request-timeout", "100ms", "--drain-timeout", "200ms"]);
    let mut client = asking(&server, 1, DEAF).remove(0);
    assert_eq!(client.response().status, 504);
    eventually("it is told", || server.told().contains("worker 0 has been in the handler of GET /work"));
    assert!(server.told().contains("; a substitute takes its place"), "{}", server.told());
    eventually("a substitute serves", || client.ask("/work?ms=0").status == 200);
    let ready = Client::get(&server.admin, "/readyz");
    assert!(ready.status == 200 && ready.text().starts_with("degraded"), "{}", ready.text());
    assert_eq!(server.metric("myriapod_workers_stuck"), 1.0);
    assert_eq!(server.metric("myriapod_workers"), 2.0);

    // The substitute can be stuck too; then there is nobody left, and that is said to clients in time.
    client.send(get(DEAF));
    assert_eq!(client.response().status, 504);
    eventually("it is told", || server.told().contains("there is no substitute left"));
    assert_eq!(client.ask("/work?ms=0").status, 504);
    for _ in 0..10 {
        assert_eq!(client.ask("/plaintext").status, 200);
    }
    assert_eq!(server.told().matches("has been in the handler").count(), 2, "{}", server.told());
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn whatever_clients_do_every_permit_comes_home() {
    let timeouts = ["--request-timeout", "30ms", "--queue-timeout", "20ms", "--body-timeout", "2s"];
    for dispatch in ["auto", "queue"] {
        let mut words = vec!["--dispatch", dispatch, "--workers", "3", "--queue-depth", "8"];
        words.extend(timeouts);
        let server = server(&words);
        let base = server.base();
        let body = "x".repeat(3_000);
        let mut requests: Vec<String> =
            ["/work?ms=1", "/work?ms=20", "/work?ms=40&deaf", "/cpu?us=100", "/plaintext", "/none"]
                .map(get)
                .to_vec();
        requests.push(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n{body}"));
        requests.push(format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\n{body}\r\n0\r\n\r\n"
        ));
        thread::scope(|scope| {
            for seed in 0..12 {
                let (address, requests) = (server.address(), &requests);
                scope.spawn(move || common::let_loose(address, requests, seed, 40));
            }
        });
        stand(&server, 0, 0);
        server.is_back_at(base);
        eventually("buffers", || server.metric("myriapod_reactor_buffers_lent") <= 1.0);
    }
}

#[test]
fn ten_thousand_connections_wait_for_workers_and_none_is_lost() {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let count = descriptors.saturating_sub(500).min(10_000) as usize;
    let server = server(&["--workers", "2", "--queue-depth", "16384", "--queue-timeout", "off"]);
    let base = server.base();
    let mut clients = asking(&server, count, "/cpu?us=20");
    for client in &mut clients {
        assert_eq!(client.response().text(), "done\n");
    }
    assert_eq!(server.metric("myriapod_queue_submitted_total"), count as f64);
    stand(&server, 0, 0);
    drop(clients);
    server.is_back_at(base);
}
