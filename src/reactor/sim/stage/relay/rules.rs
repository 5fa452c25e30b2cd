//! Lines, tries, queues, fallbacks, tunnels: each rule by its own story.

use super::*;
use crate::config::site::{Fallback, FixedReply, Retries, Timeouts};
use crate::gateway::upstream::{Ask, Chooser, Outcome};
use crate::http::Status;

#[test]
fn a_line_is_used_again_and_only_while_that_is_sound() {
    let keeps = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ];
    let ends = [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ];
    for (answer, stays) in keeps.map(|answer| (answer, true)).into_iter().chain(ends.map(|it| (it, false))) {
        let mut stage = gate(servers(1));
        let (client, line) = stage.ask(GET);
        stage.tell(&line, answer.as_bytes());
        assert_eq!(is_closed(&line), !stays, "{answer:?}");
        heard(&line);
        say(&client, GET);
        stage.turn(0);
        assert_eq!(heard(&line).starts_with("GET "), stays);
        assert_eq!(stage.lines.len(), if stays { 1 } else { 2 });
    }
}

#[test]
fn a_line_that_nobody_uses_is_closed_when_its_time_is_up() {
    let mut stage = gate(servers(1));
    let (_, line) = stage.ask(GET);
    stage.tell(&line, OK);
    stage.pass(2_900);
    assert!(!is_closed(&line));
    stage.pass(300);
    assert!(is_closed(&line));
}

/// The one with the longer time had set when lines are looked at.
#[test]
fn each_line_has_its_own_time() {
    let brief = Upstream { idle_ms_max: 100, servers: vec![server(7, 1, false)], ..upstream("brief") };
    let mut spec = site(vec![servers(1), brief]);
    let mut other = proxied("brief", "/brief", HostRule::Keep, None);
    if let crate::config::site::Action::Proxy(proxy) = &mut other.action {
        proxy.upstream = 1;
    }
    spec.routes.push(other);
    let mut stage = gate_of(&spec, calm_limits(), &mut Directory::new());
    let (_, long) = stage.ask(GET);
    stage.tell(&long, OK);
    let (_, brief) = stage.ask(b"GET /brief HTTP/1.1\r\nHost: a\r\n\r\n");
    stage.tell(&brief, OK);
    stage.pass(300);
    assert!(is_closed(&brief) && !is_closed(&long));
}

/// A number that is given to another server after a reload brought it the first one's lines.
#[test]
fn lines_of_a_server_that_is_no_more_are_not_anothers() {
    let mut directory = Directory::new();
    let before = site(vec![servers(1)]);
    let mut stage = gate_of(&before, calm_limits(), &mut directory);
    let (client, line) = stage.ask(GET);
    stage.tell(&line, OK);
    heard(&line);
    let nobody = Spec::default();
    stage.floor.reload([gateway(&nobody, &mut directory), Gateway::new()].into(), calm_limits());
    stage.turn(0);
    let other = Upstream { servers: vec![server(9, 1, false)], ..upstream("other") };
    stage.floor.reload([gateway(&site(vec![other]), &mut directory), Gateway::new()].into(), calm_limits());
    say(&client, GET);
    stage.turn(0);
    assert_eq!(heard(&line), "");
    assert_eq!(stage.lines.last().map(|call| call.server), Some(9));
}

#[test]
fn a_request_is_tried_so_often_and_not_more() {
    for count_max in 0..3 {
        let retries = Retries { count_max, budget_percent: 10_000, backoff_ms: 25 };
        let mut stage = gate(Upstream { retries, ..servers(4) });
        let client = stage.connect(GET);
        stage.turn(0);
        for _ in 0..=count_max {
            assert_eq!(heard(&client), "");
            let line = stage.pick_up();
            stage.end(&line);
            stage.pass(100);
        }
        assert_eq!((status(&client), stage.lines.len()), (502, 1 + count_max as usize));
    }
}

/// It is not begun anew when a byte of an answer has come.
#[test]
fn an_answer_that_has_begun_is_not_asked_for_again() {
    let mut stage = gate(servers(2));
    let (client, line) = stage.ask(GET);
    say(&line, b"HTTP/1.1 2");
    stage.end(&line);
    assert_eq!((status(&client), stage.lines.len()), (502, 1));
}

#[test]
fn another_upstream_answers_in_place_of_one_that_cannot() {
    let first = Upstream { fallback: Some(Fallback::Upstream(1)), ..servers(1) };
    let other = Upstream { servers: vec![server(5, 1, false)], ..upstream("other") };
    let mut stage = gate_of(&site(vec![first, other]), calm_limits(), &mut Directory::new());
    let client = stage.connect(POST);
    stage.turn(0);
    stage.turn_down();
    let line = stage.pick_up();
    assert_eq!(stage.lines[1].server, 5);
    stage.tell(&line, OK);
    let text = heard(&client);
    assert!(text.ends_with("hello") && text.contains("X-Fallback-Cause: unreachable\r\n"), "{text}");
}

/// There is no time left to ask anybody.
#[test]
fn no_other_upstream_is_asked_when_time_is_up() {
    let mut timeouts = upstream("").timeouts;
    (timeouts.request_ms_max, timeouts.first_byte_ms_max) = (500, 1_000);
    let first = Upstream { fallback: Some(Fallback::Upstream(1)), timeouts, ..servers(1) };
    let other = Upstream { servers: vec![server(5, 1, false)], ..upstream("other") };
    let mut stage = gate_of(&site(vec![first, other]), calm_limits(), &mut Directory::new());
    let (client, _) = stage.ask(GET);
    stage.pass(700);
    assert_eq!((status(&client), stage.lines.len()), (504, 1));
}

#[test]
fn a_fixed_answer_in_place_of_servers() {
    let reply = FixedReply {
        status: Status::SERVICE_UNAVAILABLE,
        content_type: String::from("text/plain"),
        body: b"later".to_vec(),
    };
    let mut stage = gate(Upstream { fallback: Some(Fallback::Respond(reply)), ..servers(1) });
    let client = stage.connect(GET);
    stage.turn(0);
    stage.turn_down();
    let text = heard(&client);
    assert!(text.starts_with("HTTP/1.1 503 ") && text.ends_with("later"), "{text}");
    assert!(text.contains("X-Fallback-Cause: unreachable\r\n"));
}

#[test]
fn who_waits_for_a_connection_gets_it_when_it_comes_free() {
    let mut stage = gate(Upstream { connections_max: Some(1), ..servers(1) });
    let (first, line) = stage.ask(GET);
    let second = stage.connect(GET);
    stage.turn(0);
    assert_eq!(stage.lines.len(), 1);
    stage.tell(&line, OK);
    assert!(heard(&first).ends_with("hello"));
    assert_eq!(heard(&line).matches("GET ").count(), 2, "the second on the same line");
    stage.tell(&line, OK);
    assert!(heard(&second).ends_with("hello"));
}

#[test]
fn who_waits_for_a_connection_too_long_is_sent_away() {
    let mut stage = gate(Upstream { connections_max: Some(1), ..servers(1) });
    stage.ask(GET);
    let second = stage.connect(GET);
    stage.pass(400);
    assert_eq!(status(&second), 503);
}

/// The end of the first one's time was seen to when nobody looks who waits.
#[test]
fn who_waits_goes_on_when_the_one_before_has_run_out_of_time() {
    let upstream = Upstream { connections_max: Some(1), queue_ms_max: 3_000, ..servers(1) };
    let mut stage = gate(Upstream { retries: Retries { count_max: 0, ..upstream.retries }, ..upstream });
    let (first, _) = stage.ask(GET);
    let second = stage.connect(GET);
    stage.pass(1_100);
    assert_eq!((status(&first), stage.lines.len()), (504, 2));
    let line = stage.pick_up();
    stage.tell(&line, OK);
    assert!(heard(&second).ends_with("hello"));
}

/// Nobody tells it here.
#[test]
fn who_waits_for_a_connection_that_comes_free_at_another_reactor() {
    let upstream = Upstream { connections_max: Some(1), queue_ms_max: 3_000, ..servers(1) };
    let site = made(&site(vec![upstream]), &mut Directory::new());
    let (mut elsewhere, cluster) = (Chooser::new(7, 2), &site.clusters()[0]);
    let member = elsewhere.choose(cluster, &Ask::default()).expect("it is free");
    elsewhere.began(cluster, member);
    let mut stage = gate_with(Arc::clone(&site), calm_limits());
    let client = stage.connect(GET);
    stage.pass(500);
    assert_eq!(stage.lines.len(), 0);
    elsewhere.ended(cluster, member, Outcome::Abandoned, 0);
    while stage.floor.next_moment().is_some_and(|moment| !stage.floor.clock.now().has_reached(moment)) {
        stage.floor.clock.advance_ms(10);
        stage.floor.clock.tick();
    }
    stage.turn(0);
    stage.turn(0);
    let line = stage.pick_up();
    stage.tell(&line, OK);
    assert!(heard(&client).ends_with("hello"));
}

/// It had waited for so long before its first try.
#[test]
fn each_try_may_wait_for_a_connection() {
    let mut stage = gate(Upstream { connections_max: Some(1), ..servers(2) });
    let (_, line) = stage.ask(GET);
    let (second, other) = stage.ask(GET);
    let third = stage.connect(GET);
    stage.turn(0);
    stage.tell(&line, OK);
    assert_eq!(heard(&line).matches("GET ").count(), 2, "the third's turn");
    stage.pass(600);
    stage.end(&other);
    assert_eq!(heard(&second), "", "it waits for the one that is in use");
    stage.tell(&line, OK);
    assert!(heard(&third).ends_with("hello"));
    stage.turn(0);
    assert_eq!(heard(&line).matches("GET ").count(), 1);
    stage.tell(&line, OK);
    assert!(heard(&second).ends_with("hello"));
}

/// The word that a connection is free was spent on one who went just then.
#[test]
fn who_waits_behind_one_that_is_gone() {
    let mut stage = gate(Upstream { connections_max: Some(1), ..servers(1) });
    let (_, line) = stage.ask(GET);
    let second = stage.connect(GET);
    stage.turn(0);
    let third = stage.connect(GET);
    stage.turn(0);
    heard(&line);
    // The first is answered, and the second, whose turn it is, is gone before it is looked at.
    say(&line, OK);
    second.borrow_mut().break_off();
    stage.turn(0);
    stage.turn(0);
    assert!(heard(&line).starts_with("GET "));
    stage.tell(&line, OK);
    assert!(heard(&third).ends_with("hello"));
}

/// It had waited for a connection once, and was looked at for ever since then.
#[test]
fn a_wait_that_is_over_is_not_looked_at_again() {
    let mut stage = gate(Upstream { connections_max: Some(1), ..servers(1) });
    let (_, line) = stage.ask(GET);
    let second = stage.connect(GET);
    stage.turn(0);
    stage.tell(&line, OK);
    stage.pass(900);
    assert_eq!(heard(&second), "");
    stage.tell(&line, OK);
    assert!(heard(&second).ends_with("hello"));
}

const EXPECTS: &[u8] = b"PUT /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

#[test]
fn a_body_is_asked_for_by_the_server_or_in_its_place() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(EXPECTS);
    assert!(heard(&line).contains("Expect: 100-continue\r\n"));
    stage.tell(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(heard(&client), "HTTP/1.1 100 Continue\r\n\r\n");
    stage.tell(&client, b"body");
    assert_eq!(heard(&line), "body");
    stage.tell(&line, OK);
    assert!(heard(&client).ends_with("hello"));

    let (client, line) = (stage.connect(EXPECTS), line);
    stage.turn(0);
    heard(&line);
    let mut waited_ms = 0;
    while client.borrow().outbox.is_empty() {
        stage.pass(100);
        waited_ms += 100;
        assert!(waited_ms < 2_000);
    }
    assert_eq!(heard(&client), "HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn a_body_that_the_server_does_not_want_is_not_asked_for() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(EXPECTS);
    stage.tell(&line, b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
    let text = heard(&client);
    assert!(text.starts_with("HTTP/1.1 417 ") && text.ends_with("no"), "{text}");
    assert!(is_closed(&line), "nobody knows what it waits for");
}

#[test]
fn early_hints_go_before_the_answer() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(GET);
    stage.tell(&line, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    assert_eq!(heard(&client), "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    stage.tell(&line, OK);
    assert!(heard(&client).ends_with("hello"));
}

const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn a_tunnel_carries_bytes_both_ways_until_both_have_ended() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(&[UPGRADE, b"first"].concat());
    assert!(heard(&line).ends_with("\r\n\r\n"), "what is behind the request waits for the answer");
    stage.tell(&line, &[SWITCH, b"hello"].concat());
    assert!(heard(&client).ends_with("\r\n\r\nhello"));
    assert_eq!(heard(&line), "first");
    stage.tell(&client, b"second");
    stage.end(&client);
    assert_eq!(heard(&line), "second");
    assert!(line.borrow().write_closed && !is_closed(&line), "half a tunnel goes on");
    stage.tell(&line, b"last words");
    assert_eq!(heard(&client), "last words");
    stage.end(&line);
    assert!(is_closed(&line) && is_closed(&client) && !client.borrow().was_reset);
}

#[test]
fn a_tunnel_in_which_nobody_speaks_is_closed() {
    let mut stage = gate(servers(1));
    let (client, line) = stage.ask(UPGRADE);
    stage.tell(&line, SWITCH);
    for _ in 0..3 {
        stage.pass(1_800);
        stage.tell(&line, b"ping");
    }
    assert!(!is_closed(&client));
    stage.pass(2_200);
    assert!(is_closed(&client) && is_closed(&line));
}

/// It would be the end of every WebSocket.
#[test]
fn the_time_for_an_answer_is_not_for_a_tunnel() {
    let timeouts = Timeouts { total_ms_max: Some(500), ..upstream("").timeouts };
    let mut stage = gate(Upstream { timeouts, ..servers(1) });
    let (client, line) = stage.ask(UPGRADE);
    stage.tell(&line, SWITCH);
    stage.pass(1_500);
    assert!(!is_closed(&client) && !is_closed(&line));
}

#[test]
fn a_client_that_half_closes_behind_its_request_hears_the_answer() {
    let mut stage = gate(servers(1));
    let client = stage.connect(POST);
    client.borrow_mut().fin_in_transit = true;
    stage.turn(0);
    let line = stage.pick_up();
    stage.pass(800);
    stage.tell(&line, OK);
    assert!(heard(&client).ends_with("hello"));
}
