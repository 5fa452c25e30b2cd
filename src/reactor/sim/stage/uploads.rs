//! Bodies that a handler on a worker reads as they come.

use super::away::{QUEUE_MS, REQUEST_MS, WORK, dispatching, gateway, stage, statuses, wait};
use super::{GET, Stage, calm_limits, heard, say};
use crate::config::{Dispatch, Limits};
use crate::reactor::{CloseReason, Dispatching};
use crate::worker::Job;
use crate::worker::pipe::Taken;

fn post_head(path: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// The handler reads as much as has come, without waiting for more.
fn read(job: &mut Job, body: &mut Vec<u8>) {
    let Some(pipe) = job.stream.clone() else { return };
    loop {
        match pipe.take() {
            Taken::Piece(piece) => body.extend_from_slice(&piece),
            Taken::Whole => {
                (job.stream, job.body) = (None, body.clone());
                return;
            }
            Taken::Nothing | Taken::Broken => return,
        }
    }
}

/// The piece that found the pipe full was counted by the decoder each time it was offered, and in the end
/// bytes of the body were taken for the next request.
#[test]
fn a_body_that_comes_faster_than_its_handler_reads() {
    let body: Vec<u8> = (0..40_000u32).map(|at| at as u8).collect();
    let mut stage = stage(8);
    let wire = stage.connect(&post_head("/stream", body.len()));
    stage.turn(0);
    let (mut job, mut got) = (stage.take(), Vec::new());
    assert!(job.ticket.begin());
    for bytes in body.chunks(500).chain([WORK]) {
        say(&wire, bytes);
        stage.turn(0);
        stage.turn(0);
        if got.len() + 20_000 < body.len() {
            read(&mut job, &mut got);
        }
    }
    while job.stream.is_some() {
        read(&mut job, &mut got);
        stage.turn(0);
    }
    assert_eq!(got, body);
    stage.bring(job);
    stage.turn(0);
    stage.work();
    let text = wire.borrow_mut().take(usize::MAX);
    assert!(text.ends_with(b"worked") && text.windows(body.len()).any(|window| window == body));
}

/// The reader of the pipe was told that its client is leaving, and gave up over an empty pipe, while the rest
/// of the body was in the socket.
#[test]
fn who_half_closes_behind_a_body_is_read_to_its_end() {
    let limits = Limits { read_bytes_per_turn: 500, ..calm_limits() };
    let mut stage = Stage::manned(gateway(Dispatch::Auto), limits, dispatching(8));
    let wire = stage.connect(&post_head("/stream", 3_000));
    stage.turn(0);
    wire.borrow_mut().fin_in_transit = true;
    say(&wire, &[b'x'; 3_000]);
    stage.turn(0);
    let (mut job, mut got) = (stage.take(), Vec::new());
    assert!(job.ticket.begin());
    while job.stream.is_some() {
        read(&mut job, &mut got);
        assert!(job.stream.is_none() || !job.ticket.is_cancelled());
        stage.turn(0);
    }
    stage.turn(0);
    assert!(job.ticket.is_cancelled(), "from here on it may");
    stage.bring(job);
    stage.turn(0);
    assert!(heard(&wire).ends_with(&"x".repeat(3_000)));
}

/// The reactor waited in the handler for bytes that it should have read itself.
#[test]
fn where_all_runs_on_the_reactor_a_streamed_body_is_collected() {
    let mut stage = Stage::manned(gateway(Dispatch::Inline), calm_limits(), dispatching(8));
    let wire = stage.connect(&post_head("/stream", 3_000));
    stage.turn(0);
    say(&wire, &[b'x'; 3_000]);
    (0..3).for_each(|_| stage.turn(0));
    assert!(heard(&wire).ends_with(&"x".repeat(3_000)));
}

/// When a request had waited for a worker as long as it may, but one had it by then, its client was judged
/// too: by a deadline that was not yet over.
#[test]
fn a_slow_body_outlives_the_time_to_wait_for_a_worker() {
    let mut stage = stage(8);
    let wire = stage.connect(&post_head("/stream", 100));
    stage.turn(0);
    let job = stage.take();
    assert!(job.ticket.begin());
    wait(&mut stage, QUEUE_MS);
    assert!(statuses(&wire).is_empty(), "no 408");
    wait(&mut stage, REQUEST_MS - QUEUE_MS);
    assert_eq!(statuses(&wire), [504]);
}

/// A client that kept up the least rate earned another span, and with it its handler did.
#[test]
fn a_fast_body_does_not_put_its_answer_off() {
    let request_ms_max = Some(calm_limits().body_ms_max + 1_000);
    let means = Dispatching { request_ms_max, ..dispatching(8) };
    let mut stage = Stage::manned(gateway(Dispatch::Auto), calm_limits(), means);
    let wire = stage.connect(&post_head("/stream", 100_000));
    stage.turn(0);
    let (mut job, mut got) = (stage.take(), Vec::new());
    assert!(job.ticket.begin());
    for _ in 0..calm_limits().body_ms_max / 100 - 1 {
        say(&wire, &[b'x'; 800]);
        stage.turn(100);
        read(&mut job, &mut got);
    }
    // Nothing comes any more that would have it looked at by chance.
    wait(&mut stage, 1_200);
    assert_eq!(statuses(&wire), [504]);
}

/// While a worker made the next piece, the connection waited for a body that nobody read any more: it was
/// parked beside bytes that it would have had to read.
#[test]
fn an_answer_that_flows_while_its_request_is_still_coming() {
    let mut stage = stage(8);
    let wire = stage.connect(&post_head("/early", 3_000));
    stage.turn(0);
    stage.bring(stage.take());
    stage.turn(0);
    say(&wire, &[b'x'; 2_000]);
    stage.turn(0);
    stage.work();
    say(&wire, &[&[b'x'; 1_000], WORK].concat());
    (0..3).for_each(|_| stage.turn(0));
    stage.work();
    assert!(heard(&wire).ends_with("worked"));
}

/// Its handler waited for the rest of the body until the answer before had been taken.
#[test]
fn a_client_that_breaks_its_body_off_is_told_of_at_once() {
    let mut stage = stage(8);
    let wire = stage.connect(b"");
    wire.borrow_mut().outbox_max = 10;
    say(&wire, &[GET, &post_head("/stream", 100)].concat());
    stage.turn(0);
    let job = stage.take();
    assert!(job.ticket.begin());
    wire.borrow_mut().fin_in_transit = true;
    say(&wire, b"x");
    stage.turn(0);
    assert!(job.ticket.is_cancelled());
    wire.borrow_mut().outbox_max = 10_000;
    assert_eq!(wire.borrow_mut().take(usize::MAX).len(), 10);
    stage.turn(0);
    assert_eq!(stage.closed(CloseReason::PeerCut), 1);
    stage.bring(job);
    stage.turn(0);
    assert!(stage.floor.is_empty());
}

/// A handler that reads on for nobody made the connection's next exchange ask for a permit out of its turn.
#[test]
fn room_in_the_pipe_of_a_former_exchange_concerns_nobody() {
    let mut stage = stage(2);
    let wire = stage.connect(&post_head("/stream", 3_000));
    stage.turn(0);
    let late = stage.take();
    assert!(late.ticket.begin());
    wait(&mut stage, REQUEST_MS);
    say(&wire, &[&[b'x'; 3_000][..], b"GET /flow HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    (0..2).for_each(|_| stage.turn(0));
    assert_eq!(statuses(&wire), [504]);
    stage.bring(stage.take());
    stage.connect(WORK);
    stage.turn(0);
    assert!(stage.floor.has_hungry());
    stage.floor.make_room(late.to);
    assert!(stage.floor.has_hungry() && !stage.floor.is_busy());
    stage.bring(late);
    stage.turn(0);
    stage.work();
    assert!(heard(&wire).ends_with("0\r\n\r\n"));
}
