//! SIGTERM: every accepted request is answered, idle connections close, and the process ends.

mod common;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Server, eventually};
use rustix::process::Signal;

const SLOW: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab";

fn slow_client(server: &Server) -> Client {
    client_that_sent(server, SLOW)
}

/// A connection that has begun a request, and the server has taken it in.
fn client_that_sent(server: &Server, part: &str) -> Client {
    let before = server.metric("myriapod_reactor_buffers_lent");
    let mut client = server.connect();
    client.send(part);
    eventually("it is under way", || server.metric("myriapod_reactor_buffers_lent") > before);
    client
}

fn exit_line(server: &Server) -> String {
    server.told().lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_request_under_way_is_finished_while_idle_ones_close() {
    let mut server = Server::start(&[]);
    let mut idle = server.connect();
    idle.ask("/plaintext");
    let mut slow = slow_client(&server);
    server.signal(Signal::TERM);

    idle.is_closed();
    eventually("not ready", || Client::get(&server.admin, "/readyz").status == 503);
    assert_eq!(Client::get(&server.admin, "/healthz").status, 200);
    // Each reactor closes its own listener, in its own turn.
    let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    eventually("nobody listens", || Client::try_connect(server.address()).is_err_and(refused));
    assert!(!server.has_exited());

    slow.send("cd");
    let response = slow.response();
    assert!(response.ends_connection() && response.text() == "abcd");
    slow.is_closed();
    assert_eq!(server.wait().code(), Some(0));
    // Who came in while it was tried whether anybody listens may be among them.
    let line = exit_line(&server);
    assert!(line.starts_with("myriapod: drained ") && line.contains(", cut 0, in "), "{line}");
}

#[test]
fn nothing_to_do_means_gone_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&[]);
        server.signal(signal);
        let began = Instant::now();
        assert_eq!(server.wait().code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(
            exit_line(&server).starts_with("myriapod: drained 0 connections, cut 0, in "),
            "{}",
            server.told()
        );
    }
}

#[test]
fn what_is_not_done_in_time_is_cut() {
    let mut server = Server::start(&["--drain-timeout", "300ms"]);
    let mut slow = slow_client(&server);
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert!(slow.try_response().is_err());
    assert_eq!(server.wait().code(), Some(0));
    assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < Duration::from_secs(3));
    assert!(
        exit_line(&server).starts_with("myriapod: drained 0 connections, cut 1, in "),
        "{}",
        server.told()
    );
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&[]);
    let _slow = slow_client(&server);
    // Both within a blink are one wish: `timeout` signals a process and its group.
    server.signal(Signal::TERM);
    server.signal(Signal::TERM);
    eventually("it drains", || Client::get(&server.admin, "/readyz").status == 503);
    let began = Instant::now();
    eventually("it ends", || {
        server.signal(Signal::TERM);
        server.has_exited()
    });
    let status = server.wait();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(status.code(), Some(143));
    assert!(exit_line(&server).contains("second signal"), "{}", server.told());
}

#[test]
fn a_client_that_trickles_its_first_request_in_is_answered() {
    let mut server = Server::start(&[]);
    let mut client = client_that_sent(&server, "GET /plaintext HTTP/1.1\r\n");
    server.signal(Signal::TERM);
    eventually("it drains", || Client::get(&server.admin, "/readyz").status == 503);
    client.send("Host: a\r\n\r\n");
    let response = client.response();
    assert!(response.status == 200 && response.ends_connection());
    client.is_closed();
    assert_eq!(server.wait().code(), Some(0));
}

/// What a client under load saw.
#[derive(Default)]
struct Seen {
    answered: AtomicU64,
    /// Sent and not answered, on a connection that had been answered before: the race every keep-alive client knows
    /// (RFC 9112 section 9.5), and no byte of an answer came.
    raced: AtomicU64,
}

fn hammer(address: &str, is_over: &AtomicBool, seen: &Seen, pipelined: usize) {
    let body = "x".repeat(2_000);
    let request =
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n{body}").repeat(pipelined);
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::try_connect(address) else { return };
        for round in 0..20 {
            let is_sent = client.try_send(&request).is_ok();
            for _ in 0..pipelined {
                match client.try_response() {
                    Ok(response) => {
                        assert!(response.status == 200 && response.body == body.as_bytes());
                        seen.answered.fetch_add(1, Ordering::Relaxed);
                        if response.ends_connection() {
                            return client.is_closed();
                        }
                    }
                    Err(error) => {
                        assert!(client.unread().is_empty(), "an answer was cut: {error}");
                        assert!(round > 0, "accepted and not answered: {error}, sent: {is_sent}");
                        seen.raced.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
            }
        }
    }
}

/// Fault 14.
#[test]
fn under_load_every_accepted_request_is_answered_whole() {
    for pipelined in [1, 8] {
        let mut server = Server::start(&[]);
        let address = server.address().to_owned();
        let (is_over, seen) = (AtomicBool::new(false), Seen::default());
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| hammer(&address, &is_over, &seen, pipelined));
            }
            eventually("load", || seen.answered.load(Ordering::Relaxed) > 500);
            server.signal(Signal::TERM);
            let began = Instant::now();
            assert_eq!(server.wait().code(), Some(0), "{}", server.told());
            assert!(began.elapsed() < Duration::from_secs(5));
            is_over.store(true, Ordering::Relaxed);
        });
        assert!(exit_line(&server).contains("cut 0"), "{}", server.told());
    }
}
