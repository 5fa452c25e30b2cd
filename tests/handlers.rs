//! Handlers that misbehave and bodies that are read as they come: a server built with the library, in a process of its
//! own, so that its log, its memory and its end can be seen.

mod common;

use std::io::{ErrorKind, Read};
use std::panic::{self, panic_any};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::{Client, Server, eventually};
use myriapod::gateway::handler::Tune;
use myriapod::http::{BodySource, Piece, Response, Status};
use myriapod::{Exchange, Server as Library};

const MEBIBYTE: usize = 1024 * 1024;

/// Panics once more when it is dropped, as a payload or as a body.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("as told");
        }
    }
}

/// So many pieces, then what it is told to do.
struct Pieces(u32, fn() -> Piece);

impl BodySource for Pieces {
    fn next(&mut self) -> Piece {
        if self.0 == 0 {
            return (self.1)();
        }
        self.0 -= 1;
        Piece::Bytes(vec![b'x'; 1_000])
    }
}

/// A body whose length is a bomb, or its end.
struct Trap(Option<Bomb>);

impl BodySource for Trap {
    fn next(&mut self) -> Piece {
        Piece::Bytes(vec![b'x'; 100_000])
    }

    fn len(&self) -> Option<u64> {
        self.0.is_none().then(|| panic!("as told"))
    }
}

/// What handlers saw of bodies.
#[derive(Default)]
struct Seen {
    errors: Mutex<Vec<ErrorKind>>,
    bytes: AtomicU64,
}

fn stream(source: impl BodySource) -> Response {
    Response::stream(Status::OK, "text/plain", source)
}

/// Reads all of the body and tells how much it was.
fn read(exchange: &mut Exchange) -> Result<String, Status> {
    let mut piece = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match exchange.body_reader().read(&mut piece) {
            Ok(0) => return Ok(format!("{total}")),
            Ok(count) => {
                total += count;
                exchange.state::<Seen>().bytes.fetch_add(count as u64, Ordering::Relaxed);
            }
            Err(error) => {
                exchange.state::<Seen>().errors.lock().unwrap().push(error.kind());
                return Err(Status::BAD_REQUEST);
            }
        }
    }
}

fn sip(exchange: &mut Exchange) -> String {
    let mut piece = [0; 3];
    let _ = exchange.body_reader().read_exact(&mut piece);
    String::from_utf8_lossy(&piece).into_owned()
}

fn bomb(_: &mut Exchange) {
    panic_any(Bomb);
}

fn panics(_: &mut Exchange) {
    panic!("as told");
}

fn errors(exchange: &mut Exchange) -> String {
    let seen = exchange.state::<Seen>();
    format!("{:?} {}", seen.errors.lock().unwrap(), seen.bytes.load(Ordering::Relaxed))
}

/// The server that the tests below talk to. Not a test: they start it in a process of its own.
#[test]
#[ignore = "serves until it is ended"]
fn serves() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let is_told = panic.payload_as_str() == Some("as told") || panic.payload().is::<Bomb>();
        if !is_told {
            usual(panic);
        }
    }));
    let _ = Library::builder()
        .listen("127.0.0.1:0")
        .admin("127.0.0.1:0")
        .health()
        .reactors(1)
        .workers(2)
        .queue_timeout(Duration::from_millis(200))
        .state(Seen::default())
        .get("/hello", |_: &mut Exchange| "hello")
        .get("/works", (|_: &mut Exchange| "works").on_workers())
        .get("/here/panics", panics)
        .get("/there/panics", panics.on_workers())
        .get("/here/bomb", bomb)
        .get("/there/bomb", bomb.on_workers())
        .get("/here/breaks", |_: &mut Exchange| stream(Pieces(3, || panic!("as told"))))
        .get("/there/breaks", (|_: &mut Exchange| stream(Pieces(3, || panic!("as told")))).on_workers())
        .get("/there/blows", (|_: &mut Exchange| stream(Pieces(3, || panic_any(Bomb)))).on_workers())
        .get("/here/blows", |_: &mut Exchange| stream(Pieces(3, || panic_any(Bomb))))
        .get("/here/stream", |_: &mut Exchange| stream(Pieces(100, || Piece::End)))
        .get("/there/stream", (|_: &mut Exchange| stream(Pieces(100, || Piece::End))).on_workers())
        .get("/here/endless", |_: &mut Exchange| stream(Trap(Some(Bomb))))
        .get("/there/endless", (|_: &mut Exchange| stream(Trap(Some(Bomb)))).on_workers())
        .get("/here/length", |_: &mut Exchange| stream(Trap(None)))
        .get("/there/length", (|_: &mut Exchange| stream(Trap(None))).on_workers())
        .post("/read", read.streams_body())
        .post("/hurried", read.streams_body().timeout(Duration::from_millis(200)))
        .post("/sip", sip.streams_body())
        .post("/never", (|_: &mut Exchange| "unread").streams_body())
        .post(
            "/whole",
            (|exchange: &mut Exchange| exchange.body().len().to_string()).on_workers().body_max(10),
        )
        .get("/errors", errors)
        .run();
}

fn server() -> Server {
    Server::spawn(&mut common::itself("serves"))
}

fn reason(server: &Server, reason: &str) -> f64 {
    server.metric(&format!("myriapod_connections_closed_total{{reason=\"{reason}\"}}"))
}

/// Nothing is under way any more, and whoever comes is served here and on workers.
fn is_well(server: &Server) {
    eventually("every permit is home", || server.metric("myriapod_queue_out") == 0.0);
    assert_eq!(Client::get(server.address(), "/works").text(), "works");
    assert_eq!(Client::get(server.address(), "/hello").text(), "hello");
    eventually("every buffer is home", || server.metric("myriapod_reactor_buffers_lent") <= 1.0);
    assert!(!server.told().contains("broke"), "{}", server.told());
}

/// Fault 12.
#[test]
fn a_panic_costs_its_own_request_and_nothing_else() {
    for path in ["/there/panics", "/here/panics"] {
        let server = server();
        let base = server.base();
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\nGET /works HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status, response.ends_connection()), (500, false), "{path}");
        assert_eq!(client.response().text(), "works");
        assert_eq!(server.metric("myriapod_handler_panics_total"), 1.0);
        let line = format!("the handler of \"GET {path} HTTP/1.1\" panicked; answered 500 (request 0-");
        eventually("it is told", || server.told().matches(&line).count() == 1);
        drop(client);
        is_well(&server);
        server.is_back_at(base);
    }
}

/// Fault 12: what was thrown may throw again when it is dropped.
#[test]
fn a_panic_within_a_panic_costs_no_more() {
    let server = server();
    for path in ["/there/bomb", "/here/bomb"] {
        let mut client = server.connect();
        assert_eq!(client.ask(path).status, 500, "{path}");
        assert_eq!(client.ask("/works").text(), "works", "{path}");
        drop(client);
        is_well(&server);
    }
    assert_eq!(server.metric("myriapod_handler_panics_total"), 2.0);
}

/// Fault 12: the answer has begun, so all that can be done is to show that it is not whole.
#[test]
fn a_body_that_panics_is_cut_short() {
    let server = server();
    for (count, path) in (1..).zip(["/there/breaks", "/here/breaks", "/there/blows", "/here/blows"]) {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\nGET /works HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(client.try_response().is_err(), "{path}: never a whole answer");
        eventually("it is told", || reason(&server, "truncated") == f64::from(count));
        assert_eq!(server.metric("myriapod_handler_panics_total"), f64::from(count));
        is_well(&server);
    }
    let told = "the handler of \"GET /there/breaks HTTP/1.1\" panicked; its answer is cut short (request 0-";
    eventually("it is told", || server.told().contains(told));
}

/// An old client takes the end of the connection for that of the body, so it must see another one.
#[test]
fn a_body_that_breaks_is_not_taken_for_whole_by_an_old_client() {
    let server = server();
    for path in ["/there/breaks", "/here/breaks"] {
        let mut client = server.connect();
        client.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.response().text(), "hello");
        client.send(format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert_eq!(client.rest().unwrap_err().kind(), ErrorKind::ConnectionReset, "{path}");
    }
}

/// Fault 12: a body is dropped where it was made, and whatever that does costs nobody else.
#[test]
fn a_body_that_panics_when_it_is_dropped_or_measured_costs_its_own_connection() {
    for path in ["/there/endless", "/here/endless", "/there/length", "/here/length"] {
        let server = server();
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let _ = client.exactly(15);
        drop(client);
        is_well(&server);
    }
}

#[test]
fn bodies_made_as_they_are_sent_are_whole() {
    let server = server();
    let base = server.base();
    let mut client = server.connect();
    for path in ["/there/stream", "/here/stream"] {
        assert!(client.ask(path).body == vec![b'x'; 100_000], "{path}");
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response_to_head().field("transfer-encoding"), Some("chunked"));
    }
    client.send("GET /there/stream HTTP/1.0\r\n\r\n");
    let bytes = client.rest().expect("up to the end");
    assert!(bytes.ends_with(&[b'x'; 100_000]));
    drop(client);
    is_well(&server);
    server.is_back_at(base);
}

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn a_large_body_is_read_as_it_comes_in_little_memory() {
    const LENGTH: usize = 50 * MEBIBYTE;
    let server = server();
    let base = server.base();
    let before = server.rss_bytes();
    let mut client = server.connect();
    client.send(post("/read", LENGTH));
    let piece = vec![b'x'; MEBIBYTE];
    let mut highest = 0;
    for _ in 0..LENGTH / MEBIBYTE {
        client.send(&piece);
        highest = highest.max(server.rss_bytes());
    }
    assert_eq!(client.response().text(), LENGTH.to_string());
    assert!(highest < before + 8 * MEBIBYTE as u64, "{before} -> {highest}");
    // In chunks, one that is waited for, and the connection goes on.
    client
        .send("POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 100);
    for _ in 0..100 {
        client.send(format!("2710\r\n{}\r\n", "x".repeat(10_000)));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().text(), "1000000");
    drop(client);
    is_well(&server);
    server.is_back_at(base);
}

#[test]
fn who_sends_slowly_is_waited_for_and_holds_up_nobody() {
    let server = server();
    let mut slow = server.connect();
    slow.send(post("/read", 100));
    let mut other = server.connect();
    for sent in 1..=100 {
        slow.send("x");
        assert_eq!(other.ask("/works").text(), "works");
        let taken = || Client::get(server.address(), "/errors").text() == format!("[] {sent}");
        if sent % 25 == 0 {
            eventually("it is with the handler", taken);
        }
    }
    assert_eq!(slow.response().text(), "100");
}

#[test]
fn a_handler_learns_that_its_body_will_never_be_whole() {
    let server = server();
    let base = server.base();
    let mut expected = Vec::new();
    for breaks_off in [Client::reset, drop, |client: Client| client.end()] {
        let mut client = server.connect();
        client.send(post("/read", 1_000) + "x");
        let seen = || Client::get(server.address(), "/errors").text();
        eventually("the handler reads", || seen().ends_with(&format!(" {}", expected.len() + 1)));
        breaks_off(client);
        expected.push("UnexpectedEof");
        eventually("it is told", || {
            let errors = Client::get(server.address(), "/errors").text();
            errors.starts_with(&format!("[{}]", expected.join(", ")))
        });
    }
    is_well(&server);
    server.is_back_at(base);
}

/// The time that a request may wait for a worker says nothing about how fast it is sent.
#[test]
fn who_sends_slowly_has_the_time_that_bodies_have() {
    let server = server();
    let mut client = server.connect();
    client.send(post("/read", 2) + "x");
    assert!(client.stays_silent_for(Duration::from_millis(400)));
    client.send("y");
    assert_eq!(client.response().text(), "2");
}

/// Nor does it afterwards, about what is left of the body.
#[test]
fn what_nobody_reads_may_come_slowly_too() {
    let server = server();
    let mut client = server.connect();
    client.send(post("/sip", 4) + "abc");
    assert_eq!(client.response().text(), "abc");
    assert!(client.stays_silent_for(Duration::from_millis(400)));
    client.send("dGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
}

/// One that says that it is done has said everything, however long it takes to read.
#[test]
fn a_half_closed_client_has_all_of_its_body_read() {
    let server = server();
    for _ in 0..20 {
        let mut client = server.connect();
        client.send(post("/read", MEBIBYTE));
        client.send(vec![b'x'; MEBIBYTE]);
        client.end();
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "1048576"));
        client.is_closed();
    }
    is_well(&server);
}

#[test]
fn what_a_handler_does_not_read_of_a_body_is_nobodys() {
    let server = server();
    let base = server.base();
    for (path, answer) in [("/sip", "abc"), ("/never", "unread")] {
        // A little is read over, and the connection goes on.
        let mut client = server.connect();
        client.send(post(path, 10) + "abcdefghij" + "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), answer);
        assert_eq!(client.response().text(), "hello");
        // More than that is not waited for, but the answer arrives.
        let mut client = server.connect();
        client.send(post(path, 50 * MEBIBYTE) + "abcdefghij");
        let response = client.response();
        assert_eq!((response.text().as_str(), response.ends_connection()), (answer, true));
        // Even at one that goes on sending.
        let mut client = server.connect();
        let mut request = post(path, 2 * MEBIBYTE).into_bytes();
        request.resize(request.len() + 2 * MEBIBYTE, b'x');
        client.send(request);
        assert!(client.response().status == 200);
    }
    is_well(&server);
    server.is_back_at(base);
}

#[test]
fn a_deadline_holds_while_a_body_is_read() {
    let server = server();
    let base = server.base();
    let mut client = server.connect();
    client.send(post("/hurried", 1_000) + "x");
    let response = client.response();
    assert_eq!(response.status, 504, "{}", response.head);
    eventually("the handler gave up", || server.metric("myriapod_queue_out") == 0.0);
    // The rest of the body is read over.
    assert!(!response.ends_connection());
    client.send("y".repeat(999) + "GET /works HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().text(), "works");
    drop(client);
    is_well(&server);
    server.is_back_at(base);
}

#[test]
fn whatever_clients_do_everything_comes_home() {
    let server = server();
    let base = server.base();
    let mut requests: Vec<String> = Vec::new();
    for path in ["panics", "breaks", "blows", "bomb", "stream", "length"] {
        requests.push(format!("GET /here/{path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        requests.push(format!("GET /there/{path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    for path in ["/read", "/hurried", "/never", "/whole", "/sip"] {
        requests.push(post(path, 10) + "abcdefghij");
        requests.push(post(path, 200_000) + &"x".repeat(200_000));
    }
    requests.push("GET /works HTTP/1.1\r\nHost: a\r\n\r\n".to_owned());
    thread::scope(|scope| {
        for seed in 0..8 {
            let (address, requests) = (server.address(), &requests);
            scope.spawn(move || common::let_loose(address, requests, seed, 60));
        }
    });
    is_well(&server);
    server.is_back_at(base);
}

#[test]
fn a_collected_body_has_the_limit_of_its_route() {
    let server = server();
    let mut client = server.connect();
    client.send(post("/whole", 10) + "0123456789");
    assert_eq!(client.response().text(), "10");
    client.send(post("/whole", 11) + "01234567890" + "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 413);
    assert_eq!(client.response().text(), "hello", "a little too much is read over");
    client.send("POST /whole HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("8\r\n01234567\r\n3\r\n890\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 413);
    assert_eq!(client.response().text(), "hello");
    client.send("POST /whole HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
    assert_eq!(client.response().status, 413, "before 100");
    client.is_closed();
    is_well(&server);
}
