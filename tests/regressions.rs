//! Bugs that were found once, each by its cause.

mod common;

use std::time::Duration;

use common::{Client, Server, eventually};
use rustix::process::Signal;

const REQUEST: &str = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";

/// A connection may have 32 requests answered in one turn. When these were all there was, it was parked between two
/// requests while its machine still stood behind the last one: with the deadline of a blocked write, and with a request
/// not counted.
#[test]
fn share_of_a_turn_used_up_together_with_the_input() {
    let server = Server::start(&["--reactors", "1", "--keep-alive-requests", "129"]);
    let mut client = server.connect();
    for _ in 0..4 {
        client.send(REQUEST.repeat(32));
        for _ in 0..32 {
            assert!(!client.response().ends_connection());
        }
    }
    client.send(REQUEST);
    assert!(client.response().ends_connection(), "the 129th");
    client.is_closed();
}

/// The limit on heads may be below the size of a buffer. Then a request line over the limit that came whole was blamed
/// on the head, with 431, and on the target when it came in parts, with 414.
#[test]
fn target_over_a_limit_below_the_buffer() {
    let server = Server::start(&["--max-head", "1k"]);
    let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1024));
    for cut in [request.len(), 1024, 10] {
        let mut client = server.connect();
        client.send(&request[..cut]);
        if cut < 1024 {
            eventually("the first part has arrived", || {
                server.metric("myriapod_bytes_received_total") >= cut as f64
            });
        }
        // A refused client may find its connection closed while it is still sending.
        let _ = client.try_send(&request[cut..]);
        assert_eq!(client.response().status, 414);
    }
}

/// `HTTP/1.1` behind two spaces is no other version, but 505 was the answer; and 400 if the line came in two parts, since a
/// version was judged before its line had ended.
#[test]
fn version_judged_before_its_line_ended() {
    let server = Server::start(&[]);
    for (line, status) in [("GET /plaintext  HTTP/1.1\r\n", 400), ("GET /plaintext HTTP/2.0\r\n", 505)] {
        for cut in 0..line.len() - 1 {
            let mut client = server.connect();
            let (first, second) = line.split_at(cut);
            client.send(first);
            client.send(format!("{second}Host: a\r\n\r\n"));
            assert_eq!(client.response().status, status, "{line:?} cut at {cut}");
            client.is_closed();
        }
    }
}

/// The admin listener kept its number when a drain closed the others, but lost its place in the list: nobody was
/// accepted there any more.
#[test]
fn admin_listener_deaf_while_draining() {
    let mut server = Server::start(&["--reactors", "1"]);
    let mut slow = server.connect();
    slow.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
    eventually("it is under way", || server.metric("myriapod_reactor_buffers_lent") >= 1.0);
    server.signal(Signal::TERM);
    eventually("it drains", || Client::get(&server.admin, "/readyz").status == 503);
    for _ in 0..10 {
        assert_eq!(Client::get(&server.admin, "/healthz").status, 200);
    }
    slow.send("y");
    assert_eq!(slow.response().text(), "xy");
    drop(slow);
    assert_eq!(server.wait().code(), Some(0));
}

/// At the ceiling of connections accepting pauses until a tenth is free. When all of them closed in one turn, nobody looked
/// again, and whoever waited in the backlog waited until something else happened.
#[test]
fn room_that_came_up_in_one_turn() {
    let server = Server::start(&["--reactors", "1", "--max-connections", "20"]);
    let mut held: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    held.iter_mut().for_each(|client| assert_eq!(client.ask("/plaintext").status, 200));
    let mut waiting: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(REQUEST));
    eventually("accepting pauses", || server.told().contains("every connection slot is taken"));
    // Stopped, so that it finds all of them closed at once.
    server.freeze();
    drop(held);
    server.signal(Signal::CONT);
    waiting.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
}

/// A process that was stopped for longer than a timeout found deadlines passed and, next to them, the very bytes that
/// were waited for. It looked at the deadlines first.
#[test]
fn deadline_and_bytes_in_the_same_turn() {
    let server = Server::start(&["--head-timeout", "1s", "--body-timeout", "1s", "--idle-timeout", "1s"]);
    let mut head = server.connect();
    head.send(&REQUEST[..10]);
    let mut body = server.connect();
    body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
    let mut idle = server.connect();
    assert_eq!(idle.ask("/plaintext").status, 200);
    eventually("all is under way", || server.metric("myriapod_reactor_buffers_lent") >= 2.0);

    server.freeze();
    head.send(&REQUEST[10..]);
    body.send("y");
    idle.send(REQUEST);
    assert!(head.stays_silent_for(Duration::from_millis(1_500)));
    server.signal(Signal::CONT);
    for client in [&mut head, &mut body, &mut idle] {
        assert_eq!(client.response().status, 200);
    }
}
