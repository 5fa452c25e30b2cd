//! The server over real sockets: connections, requests and answers as a client meets them.

mod common;

use std::thread;
use std::time::Duration;

use common::{Client, Server, eventually};

const MEBIBYTE: usize = 1024 * 1024;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for _ in 0..100 {
        let response = client.ask("/plaintext");
        assert_eq!((response.status, response.text().as_str()), (200, "Hello, World!"));
        assert_eq!(response.field("content-type"), Some("text/plain"));
        assert_eq!(response.field("connection"), None);
    }
    assert_eq!(client.ask("/json").text(), r#"{"message":"Hello, World!"}"#);
    assert_eq!(client.ask("/nothing").status, 404);
    assert_eq!(client.ask("/healthz").status, 200);
    assert_eq!(client.ask("/").field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(server.metric("myriapod_connections_accepted_total"), 2.0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let bodies: Vec<String> = (0..500).map(|number| format!("{number:0100}")).collect();
    let requests = bodies.iter().map(|body| post(&format!("Content-Length: {}\r\n", body.len()), body));
    client.send(requests.collect::<String>());
    for body in bodies {
        assert_eq!(client.response().text(), body);
    }
}

#[test]
fn a_client_that_pipelines_without_reading_neither_fills_memory_nor_starves_others() {
    let server = Server::start(&["--reactors", "1", "--server-header", &"x".repeat(128)]);
    let base = server.base();
    let before = server.rss_bytes();
    let mut greedy = server.connect();
    greedy.wait_at_most(Duration::from_millis(300));
    // What the kernel's buffers take is sent; then the server reads no more, and nor can this be sent.
    let sent = greedy.try_send(get("/plaintext").repeat(200_000));
    assert!(sent.is_err(), "the server must stop reading");
    for _ in 0..20 {
        server.serves();
    }
    assert!(server.rss_bytes() < before + 8 * MEBIBYTE as u64, "{before} -> {}", server.rss_bytes());
    drop(greedy);
    server.is_back_at(base);
}

#[test]
fn twenty_thousand_pipelined_requests_are_all_answered() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let socket = client.tcp().try_clone().expect("a second handle");
    let sender = thread::spawn(move || {
        use std::io::Write;
        (&socket).write_all(get("/plaintext").repeat(20_000).as_bytes()).expect("taken in the end");
    });
    for _ in 0..20_000 {
        assert_eq!(client.response().body, b"Hello, World!");
    }
    sender.join().expect("sent");
}

#[test]
fn old_clients_are_closed_unless_they_ask_to_stay() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert!(response.ends_connection() && response.status == 200);
    client.is_closed();

    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET /plaintext HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        assert_eq!(client.response().field("connection"), Some("keep-alive"));
    }
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(client.response().ends_connection());
    client.is_closed();
}

#[test]
fn head_has_the_head_of_get_and_no_body() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("HEAD /plaintext HTTP/1.1\r\nHost: a\r\n\r\nHEAD /none HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.response_to_head();
    assert_eq!((response.status, response.field("content-length")), (200, Some("13")));
    assert_eq!(client.response_to_head().status, 404);
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 204);
    assert_eq!(client.ask("/plaintext").body, b"Hello, World!");
}

#[test]
fn methods_are_allowed_refused_or_unknown() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("POST /plaintext HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    let response = client.response();
    assert_eq!((response.status, response.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
    client.send("OPTIONS /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.field("allow")), (204, Some("GET, HEAD, OPTIONS")));
    for method in ["BREW", "TRACE", "get"] {
        client.send(format!("{method} /plaintext HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response().status, 501, "{method}");
    }
    client.send("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
    assert_eq!(client.response().status, 501);
    client.is_closed();
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let server = Server::start(&[]);
    let base = server.base();
    let mut client = server.connect();
    client.send(get("/plaintext").repeat(50));
    client.end();
    for _ in 0..50 {
        assert_eq!(client.response().status, 200);
    }
    client.is_closed();

    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n");
    client.end();
    client.is_closed();
    server.is_back_at(base);
    assert_eq!(server.metric("myriapod_connections_closed_total{reason=\"peer_cut\"}"), 1.0);
}

#[test]
fn an_error_answer_survives_a_body_that_nobody_read() {
    let server = Server::start(&["--max-body", "1k"]);
    let base = server.base();
    for _ in 0..20 {
        let mut client = server.connect();
        let mut request = post(&format!("Content-Length: {MEBIBYTE}\r\n"), "").into_bytes();
        request.resize(request.len() + MEBIBYTE, b'x');
        client.send(request);
        let response = client.response();
        assert!(response.status == 413 && response.ends_connection());
        client.is_closed();
    }
    server.is_back_at(base);
}

#[test]
fn a_body_that_is_waited_for_is_asked_for() {
    let server = Server::start(&["--max-body", "1k"]);
    let mut client = server.connect();
    client.send(post("Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
    assert_eq!(client.response().status, 100);
    client.send("hello");
    assert_eq!(client.response().text(), "hello");
    // Who already sent it is not kept waiting either.
    client.send(post("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"));
    let mut response = client.response();
    if response.status == 100 {
        response = client.response();
    }
    assert_eq!(response.text(), "hello");

    client.send(post("Expect: 100-continue\r\nContent-Length: 1025\r\n", ""));
    assert_eq!(client.response().status, 413, "before 100");
    client.is_closed();
    let mut client = server.connect();
    client.send(post("Expect: 200-maybe\r\nContent-Length: 5\r\n", ""));
    assert_eq!(client.response().status, 417);
    client.is_closed();
    // Nobody wants this body: the final answer comes without 100.
    let mut client = server.connect();
    client.send("POST /none HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let response = client.response();
    assert!(response.status == 404 && response.ends_connection());
    client.is_closed();
}

#[test]
fn echo_gives_back_what_came_however_it_was_framed() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(post("Content-Length: 5\r\nContent-Type: text/x\r\n", "hello"));
    let response = client.response();
    assert_eq!(
        (response.text().as_str(), response.field("content-type")),
        ("hello", Some("application/octet-stream"))
    );
    client.send(post("Content-Length: 0\r\n", ""));
    assert_eq!(client.response().text(), "");
    client.send(post("Transfer-Encoding: chunked\r\n", "3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"));
    assert_eq!(client.response().text(), "abcde");

    let large: Vec<u8> = (0..MEBIBYTE).map(|at| (at % 251) as u8).collect();
    client.send(post("Transfer-Encoding: chunked\r\n", ""));
    let socket = client.tcp().try_clone().expect("a second handle");
    let body = large.clone();
    let sender = thread::spawn(move || {
        use std::io::Write;
        let mut socket = &socket;
        for chunk in body.chunks(10_000) {
            write!(socket, "{:x}\r\n", chunk.len()).expect("sent");
            socket.write_all(chunk).expect("sent");
            socket.write_all(b"\r\n").expect("sent");
        }
        socket.write_all(b"0\r\n\r\n").expect("sent");
    });
    let response = client.response();
    assert_eq!(response.field("transfer-encoding"), Some("chunked"));
    assert!(response.body == large);
    sender.join().expect("sent");
}

#[test]
fn a_large_body_streams_through_a_slow_reader_in_little_memory() {
    const LENGTH: usize = 64 * MEBIBYTE;
    let server = Server::start(&[]);
    let base = server.base();
    let before = server.rss_bytes();
    let mut client = server.connect();
    client.send(post(&format!("Content-Length: {LENGTH}\r\n"), ""));
    let socket = client.tcp().try_clone().expect("a second handle");
    let sender = thread::spawn(move || {
        use std::io::Write;
        let piece = vec![b'x'; MEBIBYTE];
        for _ in 0..LENGTH / MEBIBYTE {
            (&socket).write_all(&piece).expect("taken as fast as it is read");
        }
    });
    // Reads nothing until the server can take no more, then in small pieces with pauses.
    let mut received = server.metric("myriapod_bytes_received_total");
    eventually("the server stops reading", || {
        thread::sleep(Duration::from_millis(30));
        let now = server.metric("myriapod_bytes_received_total");
        let stands = now - received < 10_000.0 && now > MEBIBYTE as f64 / 16.0;
        received = now;
        stands
    });
    let mut highest = 0;
    let head = client.exactly("HTTP/1.1 200 OK\r\n".len()).expect("a status line");
    assert_eq!(head, b"HTTP/1.1 200 OK\r\n");
    let mut left = LENGTH;
    while left > 0 {
        let count = left.min(4 * MEBIBYTE);
        client.exactly(count).expect("the body");
        left -= count;
        highest = highest.max(server.rss_bytes());
        common::pause();
    }
    sender.join().expect("sent");
    assert!(highest < before + 8 * MEBIBYTE as u64, "{before} -> {highest}");
    drop(client);
    server.is_back_at(base);
}

#[test]
fn a_body_over_the_limit_is_refused_as_soon_as_it_shows() {
    let server = Server::start(&["--max-body", "10"]);
    for (request, status) in [
        (post("Content-Length: 10\r\n", "0123456789"), 200),
        (post("Content-Length: 11\r\n", ""), 413),
        (post("Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n0\r\n\r\n"), 200),
        (post("Transfer-Encoding: chunked\r\n", "b\r\n"), 413),
        (post("Transfer-Encoding: chunked\r\n", "8\r\n01234567\r\n3\r\n"), 413),
        (post("Content-Length: 99999999999999999999\r\n", ""), 400),
    ] {
        let mut client = server.connect();
        client.send(&request);
        let response = client.response();
        assert_eq!((response.status, response.ends_connection()), (status, status != 200), "{request}");
    }
}

/// Half an echo is no answer: up to 1 MiB the limit is judged before the first byte goes back.
#[test]
fn a_body_in_chunks_is_judged_whole() {
    let server = Server::start(&["--max-body", "1m"]);
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    let mut client = server.connect();
    client.send(post("Transfer-Encoding: chunked\r\n", &(chunk.repeat(16) + "0\r\n\r\n")));
    let whole = client.response();
    assert_eq!((whole.status, whole.body.len()), (200, 1 << 20));
    client.send(post("Transfer-Encoding: chunked\r\n", &(chunk.repeat(16) + "1\r\nx\r\n0\r\n\r\n")));
    assert_eq!(client.response().status, 413);
    client.is_closed();
}

#[test]
fn the_last_request_of_a_connection_says_so() {
    let server = Server::start(&["--keep-alive-requests", "3"]);
    let mut client = server.connect();
    client.send(get("/plaintext").repeat(5));
    assert!(!client.response().ends_connection());
    assert!(!client.response().ends_connection());
    assert!(client.response().ends_connection());
    client.is_closed();
}

#[test]
fn what_is_too_long_is_named() {
    let server = Server::start(&["--max-head", "2k", "--max-headers", "10"]);
    let long = "a".repeat(3_000);
    for (request, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(9)), 200),
    ] {
        let mut client = server.connect();
        client.send(&request);
        assert_eq!(client.response().status, status, "{}", &request[..60]);
    }
}

#[test]
fn metrics_come_in_the_format_that_is_asked_for() {
    let server = Server::start(&[]);
    let plain = Client::get(server.address(), "/metrics");
    assert!(plain.field("content-type").is_some_and(|text| text.starts_with("text/plain; version=0.0.4")));
    let mut client = server.connect();
    client.send("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text\r\n\r\n");
    let open = client.response();
    assert!(open.field("content-type").is_some_and(|text| text.starts_with("application/openmetrics-text")));
    assert!(open.text().ends_with("# EOF\n"));
}
