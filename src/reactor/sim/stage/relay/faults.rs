//! What servers do wrong, and what their clients hear of it.

use super::*;

/// Refused by one, answered by the other: a request of which nothing was sent may always be sent again.
#[test]
fn who_is_refused_asks_another() {
    for request in [GET, POST] {
        let mut stage = gate(servers(2));
        let client = stage.connect(request);
        stage.turn(0);
        stage.turn_down();
        let line = stage.pick_up();
        assert_ne!(stage.lines[0].server, stage.lines[1].server);
        assert!(heard(&line).ends_with(if request == GET { "\r\n\r\n" } else { "body" }));
        stage.tell(&line, OK);
        assert!(heard(&client).ends_with("hello"));
    }
}

#[test]
fn all_refuse() {
    let mut stage = gate(servers(2));
    let client = stage.connect(GET);
    stage.turn(0);
    stage.turn_down();
    stage.turn_down();
    stage.pass(200);
    assert_eq!((status(&client), stage.lines.len()), (502, 2));
}

#[test]
fn a_black_hole_is_504_when_a_connection_is_overdue() {
    let mut stage = gate(servers(1));
    let client = stage.connect(GET);
    stage.pass(280);
    assert_eq!(heard(&client), "");
    stage.pass(200);
    assert_eq!(status(&client), 504);
    assert!(is_closed(&stage.lines[0].wire));
}

#[test]
fn silence_is_504_when_an_answer_is_overdue() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(POST);
    stage.pass(980);
    assert_eq!(heard(&client), "");
    stage.pass(400);
    assert_eq!(status(&client), 504);
    assert!(is_closed(&line));
}

#[test]
fn a_slow_answer_is_passed_on_as_it_comes() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(GET);
    stage.tell(&line, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    assert!(heard(&client).contains("Content-Length: 10"));
    for _ in 0..10 {
        stage.pass(900);
        stage.tell(&line, b"x");
        assert_eq!(heard(&client), "x");
    }
    assert!(!is_closed(&line), "it can be used again");
}

#[test]
fn what_is_no_answer_is_502_and_the_end_of_its_line() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(500));
    let endless = "HTTP/1.1 102 Processing\r\n\r\n".repeat(100);
    let cases = [
        "nonsense\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        &long,
        &many,
    ];
    for case in cases {
        let mut stage = gate(servers(1));
        let (client, line) = stage.ask(POST);
        stage.tell(&line, case.as_bytes());
        assert_eq!(status(&client), 502, "{}", &case[..case.len().min(80)]);
        assert!(is_closed(&line));
    }
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(POST);
    stage.tell(&line, endless.as_bytes());
    assert!(heard(&client).contains("HTTP/1.1 502 ") && is_closed(&line));
}

#[test]
fn a_broken_chunk_breaks_the_answer_off() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(GET);
    stage.tell(&line, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n");
    assert!(!heard(&client).contains("\r\n0\r\n") && client.borrow().was_reset && is_closed(&line));
}

/// Neither the length nor the last chunk, nor for old clients the end of the connection, may say that it is
/// whole.
#[test]
fn half_an_answer_never_looks_whole() {
    const OLD: &[u8] = b"GET /a HTTP/1.0\r\n\r\n";
    let cases = [
        (GET, "Content-Length: 10\r\n\r\nhello"),
        (GET, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        (GET, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: "),
        (OLD, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ];
    for (request, case) in cases {
        let mut stage = gate(servers(1));
        let (client, line) = stage.ask(request);
        say(&line, format!("HTTP/1.1 200 OK\r\n{case}").as_bytes());
        stage.turn(0);
        let text = heard(&client);
        assert!(text.contains("hello") && !text.contains("\r\n0\r\n"), "{text:?}");
        stage.end(&line);
        stage.pass(600);
        assert_eq!(heard(&client), "");
        assert!(client.borrow().was_reset && is_closed(&line), "{case:?}");
    }
}

#[test]
fn what_stands_behind_an_answer_is_for_nobody() {
    let cases: [(&[u8], &str); 4] = [
        (GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        (b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, "HTTP/1.1 304 Not Modified\r\n\r\n"),
    ];
    for (request, answer) in cases {
        let mut stage = gate(servers(1));
        let (client, line) = stage.ask(request);
        stage.tell(&line, format!("{answer}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray").as_bytes());
        assert!(is_closed(&line), "{answer:?}");
        assert!(!heard(&client).contains("stray"));
        stage.tell(&client, GET);
        let other = stage.pick_up();
        stage.tell(&other, OK);
        assert!(heard(&client).ends_with("hello"));
    }
}

/// The edge of what came behind the answer was told while the line was in use, and so never again.
#[test]
fn what_was_heard_behind_an_answer_before_it_was_out() {
    let body = "x".repeat(10_000);
    for stray in ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray", ""] {
        let mut stage = gate(servers(1));
        let (client, line) = stage.ask(GET);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n{body}");
        // Its end comes at the end of a full buffer.
        let head_len = answer.len() - body.len();
        let fits = 4 * 1024 * 3 - head_len;
        let answer = answer.replace("10000", &format!("{fits:05}")).replace(&body, &"x".repeat(fits));
        line.borrow_mut().fin_in_transit = stray.is_empty();
        stage.tell(&line, format!("{answer}{stray}").as_bytes());
        assert!(is_closed(&line), "{stray:?}");
        assert_eq!(heard(&client).matches('x').count(), fits);
    }
}

#[test]
fn a_line_that_speaks_while_nobody_uses_it() {
    for stray in [&b"HTTP/1.1 408 Request Timeout\r\n\r\n"[..], b""] {
        let mut stage = gate(servers(1));
        let (client, line) = stage.ask(GET);
        stage.tell(&line, OK);
        assert!(heard(&client).ends_with("hello") && !is_closed(&line));
        line.borrow_mut().fin_in_transit = stray.is_empty();
        stage.tell(&line, stray);
        assert!(is_closed(&line));
    }
}

/// The answer is passed on, and the rest of the body is nobody's.
#[test]
fn an_early_answer_ends_the_upload() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegin");
    stage.tell(&line, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    assert!(heard(&client).ends_with("no"));
    assert!(is_closed(&line), "it would take the rest of the body for another request");
    assert!(!heard(&line).contains("more"));
}

/// A server that has said no and closed, while the body was still on its way to it.
#[test]
fn an_early_answer_of_a_server_that_then_breaks_off() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegin");
    line.borrow_mut().fin_in_transit = true;
    say(&line, b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    say(&client, b"more of it");
    stage.turn(0);
    stage.turn(0);
    assert!(heard(&client).ends_with("no"));
}

/// A line may be closed by its server just when it is used again: nobody's fault.
#[test]
fn a_stale_line_is_forgiven_once() {
    let mut stage = gate(Upstream { retries: Default::default(), ..servers(1) });
    let (client, line) = stage.ask(GET);
    stage.tell(&line, OK);
    heard(&client);
    heard(&line);
    say(&client, GET);
    stage.turn(0);
    assert!(heard(&line).starts_with("GET"), "it was open still");
    stage.end(&line);
    let other = stage.pick_up();
    stage.tell(&other, OK);
    assert!(heard(&client).ends_with("hello"));
}

#[test]
fn what_may_not_be_done_twice_is_not_sent_twice() {
    let mut stage = gate(servers(2));
    let (client, line) = stage.ask(GET);
    let number = stage.lines[0].server;
    stage.tell(&line, OK);
    heard(&client);
    // The other server's turn, then the first one's again.
    let (_, line_of_other) = stage.ask(GET);
    stage.tell(&line_of_other, OK);
    assert_ne!(stage.lines[1].server, number);
    say(&client, POST);
    stage.turn(0);
    stage.end(&line);
    assert_eq!((status(&client), stage.lines.len()), (502, 2));
}

#[test]
fn a_client_that_is_gone_is_no_reason_to_go_on() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(GET);
    client.borrow_mut().break_off();
    stage.turn(0);
    assert!(is_closed(&client) && is_closed(&line), "at once, when that is sure");
    let mut stage = gate(Upstream { timeouts: slow(), ..servers(1) });
    let (client, line) = stage.ask(GET);
    stage.end(&client);
    assert!(!is_closed(&line), "it may have sent all it had to say");
    stage.pass(5_000);
    assert!(is_closed(&client) && is_closed(&line));
}

fn slow() -> crate::config::site::Timeouts {
    crate::config::site::Timeouts::default()
}
