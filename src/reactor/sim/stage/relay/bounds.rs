//! Who is slow slows the other side down, and only itself is blamed for it.

use super::*;
use crate::config::site::Timeouts;

/// A server is not to blame for a client that does not read.
#[test]
fn a_client_that_pauses_is_not_a_server_that_is_silent() {
    let limits = Limits { write_ms_max: 10_000, output_bytes_high: 1_000, ..calm_limits() };
    let mut stage = gate_of(&site(vec![servers(1)]), limits, &mut Directory::new());
    let client = stage.connect(GET);
    client.borrow_mut().outbox_max = 1_000;
    stage.turn(0);
    let line = stage.pick_up();
    stage.tell(&line, b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n");
    stage.tell(&line, &[b'x'; 3_999]);
    stage.pass(3_000);
    let mut got = 0;
    for _ in 0..60 {
        got += heard(&client).matches('x').count();
        stage.turn(20);
        if got == 3_999 {
            break;
        }
    }
    assert_eq!(got, 3_999, "all that the server had said");
    assert!(!is_closed(&client));
    stage.tell(&line, b"x");
    assert_eq!(heard(&client), "x");
}

/// The client is asked for its body, and answered 408 when that is overdue: the server has done nothing
/// wrong.
#[test]
fn a_client_that_uploads_slowly_is_not_a_server_that_is_silent() {
    let limits = Limits { body_ms_max: 2_500, ..calm_limits() };
    let mut stage = gate_of(&site(vec![servers(1)]), limits, &mut Directory::new());
    let (client, line) = stage.ask(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbegin");
    stage.pass(2_000);
    assert_eq!(heard(&client), "", "the server waits as long as we do");
    stage.pass(900);
    assert_eq!(status(&client), 408);
    assert!(is_closed(&line));
}

#[test]
fn a_server_that_does_not_take_the_request_is_overdue() {
    let mut stage = gate(servers(1));
    let client = stage.connect(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    stage.turn(0);
    stage.lines[0].wire.borrow_mut().outbox_max = 1_000;
    stage.pick_up();
    say(&client, &[b'x'; 100_000]);
    stage.pass(900);
    assert_eq!(heard(&client), "");
    stage.pass(300);
    assert_eq!(status(&client), 504);
}

/// As much is read of a client as its server takes, and a little more.
#[test]
fn a_slow_server_slows_its_client() {
    let mut stage = gate(servers(1));
    let client = stage.connect(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n");
    stage.turn(0);
    stage.lines[0].wire.borrow_mut().outbox_max = 1_000;
    let line = stage.pick_up();
    say(&client, &[b'x'; 400_000]);
    let (mut taken, mut ahead_max) = (0, 0);
    for _ in 0..1_000 {
        stage.turn(0);
        let read = stage.floor.tally.bytes_in.value() as usize;
        ahead_max = ahead_max.max(read.saturating_sub(taken));
        taken += heard(&line).len();
    }
    assert!(taken > 400_000 && ahead_max < 64 * 1024, "{ahead_max} bytes were kept, {taken} taken");
    stage.tell(&line, OK);
    assert!(heard(&client).ends_with("hello"));
}

#[test]
fn a_slow_client_slows_its_server() {
    let mut stage = gate(servers(1));
    let client = stage.connect(GET);
    client.borrow_mut().outbox_max = 1_000;
    stage.turn(0);
    let line = stage.pick_up();
    say(&line, b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n");
    say(&line, &[b'x'; 400_000]);
    let mut got = 0;
    for _ in 0..1_000 {
        stage.turn(0);
        got += heard(&client).matches('x').count();
        let ahead = 400_000usize.saturating_sub(line.borrow().unread() + got);
        assert!(ahead < 128 * 1024, "{ahead} bytes were kept");
    }
    assert_eq!(got, 400_000);
}

#[test]
fn a_body_over_the_limit_of_its_route() {
    let spec = Spec {
        routes: vec![proxied("all", "/", HostRule::Keep, Some(8))],
        upstreams: vec![servers(1)],
        ..Spec::default()
    };
    let mut stage = gate_of(&spec, calm_limits(), &mut Directory::new());
    let client = stage.connect(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    stage.turn(0);
    assert_eq!((status(&client), stage.lines.len()), (413, 0));
    let head = b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (client, line) = stage.ask(head);
    stage.tell(&client, b"8\r\n12345678\r\n1\r\n9\r\n0\r\n\r\n");
    assert_eq!(status(&client), 413);
    let text = heard(&line);
    assert!(is_closed(&line) && !text.contains("0\r\n\r\n"), "{text}");
}

#[test]
fn an_answer_has_so_much_time_in_all() {
    let timeouts = Timeouts { total_ms_max: Some(2_000), ..upstream("").timeouts };
    let mut stage = gate(Upstream { timeouts, ..servers(1) });
    let (client, line) = stage.ask(GET);
    stage.tell(&line, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    for _ in 0..30 {
        stage.pass(100);
        stage.tell(&line, b"x");
    }
    assert!(heard(&client).matches('x').count() < 30 && client.borrow().was_reset && is_closed(&line));
}

/// Nobody looked at the time while only the client was waited for.
#[test]
fn a_client_that_does_not_read_does_not_stop_the_time() {
    let timeouts = Timeouts { total_ms_max: Some(2_000), ..upstream("").timeouts };
    let limits = Limits { write_ms_max: 10_000, output_bytes_high: 1_000, ..calm_limits() };
    let spec = site(vec![Upstream { timeouts, ..servers(1) }]);
    let mut stage = gate_of(&spec, limits, &mut Directory::new());
    let client = stage.connect(GET);
    client.borrow_mut().outbox_max = 1_000;
    stage.turn(0);
    let line = stage.pick_up();
    stage.tell(&line, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    stage.tell(&line, &[b'x'; 100_000]);
    stage.pass(1_900);
    assert!(!is_closed(&line));
    stage.pass(400);
    assert!(is_closed(&client) && is_closed(&line) && client.borrow().was_reset);
}
