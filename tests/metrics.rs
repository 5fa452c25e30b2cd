//! What an operator reads at `/metrics` while workers are at work, and when it is over.

mod common;

use common::{Client, Server, eventually};

#[test]
fn the_numbers_of_a_full_queue_rise_and_are_back_when_it_is_empty() {
    let flags =
        ["--demo", "--reactors", "1", "--workers", "1", "--queue-depth", "1", "--queue-timeout", "off"];
    let server = Server::start(&flags);
    let is = |prefix: &str, value: f64| server.metric(prefix) == value;
    eventually("the worker is there", || is("myriapod_workers", 1.0));
    assert!(is("myriapod_workers_busy", 0.0));

    let mut holder = server.connect();
    holder.send("GET /work?ms=600000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the worker has it in hand", || is("myriapod_workers_busy", 1.0));
    let mut waiter = server.connect();
    waiter.send("GET /work?ms=0 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it waits", || is("myriapod_queue_waiting", 1.0) && is("myriapod_queue_out", 2.0));
    assert_eq!(Client::get(server.address(), "/work?ms=0").status, 503);
    assert!(is("myriapod_requests_refused_total{reason=\"queue_full\"}", 1.0));
    assert!(is("myriapod_requests_refused_total{reason=\"queue_delay\"}", 0.0));

    // The handler looks now and then whether its client is still there.
    drop(holder);
    assert_eq!(waiter.response().status, 200);
    eventually("the queue is empty", || is("myriapod_queue_waiting", 0.0) && is("myriapod_queue_out", 0.0));
    for (prefix, value) in [
        ("myriapod_workers_busy", 0.0),
        ("myriapod_workers_stuck", 0.0),
        ("myriapod_queue_submitted_total", 2.0),
        ("myriapod_worker_jobs_total", 2.0),
        ("myriapod_worker_jobs_unrun_total", 0.0),
        ("myriapod_queue_wait_seconds_count", 2.0),
        ("myriapod_handler_duration_seconds_count", 2.0),
    ] {
        assert!(is(prefix, value), "{prefix} is not {value}");
    }
    assert!(server.metric("myriapod_worker_busy_seconds_total") > 0.0);
}

#[test]
fn without_workers_their_numbers_are_zero() {
    let server = Server::start(&[]);
    for name in ["myriapod_workers", "myriapod_worker_jobs_total", "myriapod_queue_wait_seconds_count"] {
        assert_eq!(server.metric(name), 0.0, "{name}");
    }
}
