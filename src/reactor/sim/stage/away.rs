//! Requests that are answered by others: late, early, by halves, or for nobody.

use std::cell::RefCell;
use std::rc::Rc;

use super::{GET, Stage, answers, calm_limits, heard, say};
use crate::config::{Dispatch, Limits};
use crate::gateway::handler::{BodyPlan, Echo, Place, Plaintext};
use crate::gateway::route::Terms;
use crate::gateway::{Exchange, Gateway, IntoResponse};
use crate::http::{BodySource, Piece, Response, Status};
use crate::reactor::sim::wire::Wire;
use crate::reactor::sim::world::{Kind, back, get, post, throw};
use crate::reactor::{CloseReason, Dispatching, Refusal};
use crate::worker::pipe::Taken;
use crate::worker::{Errand, Job};

const AWAY: Terms = Terms {
    place: Some(Place::Worker),
    body: None,
    body_bytes_max: None,
    request_ms_max: None,
    priority: crate::gateway::route::Priority::Normal,
};
const STREAM: Terms = Terms { body: Some(BodyPlan::Stream), ..AWAY };

const WORK: &[u8] = b"GET /work HTTP/1.1\r\nHost: a\r\n\r\n";
const REQUEST_MS: u32 = 2_000;
const QUEUE_MS: u32 = 500;

fn gateway(dispatch: Dispatch) -> Gateway {
    let gateway = Gateway::new().with_dispatch(dispatch).with("/", Plaintext).with("/echo", Echo);
    let gateway = get(gateway, "/work", AWAY, |_: &mut Exchange| "worked");
    let gateway = get(gateway, "/panics", AWAY, throw);
    let gateway = get(gateway, "/flow", AWAY, |_: &mut Exchange| Kind::Flow.answer(true));
    let gateway = get(gateway, "/sized", AWAY, |_: &mut Exchange| Kind::Sized.answer(false));
    let gateway = get(gateway, "/nothing", AWAY, |_: &mut Exchange| Kind::Nothing.answer(false));
    let gateway = get(gateway, "/flow/here", Terms::default(), |_: &mut Exchange| Kind::Flow.answer(false));
    let gateway = post(gateway, "/early", STREAM, |_: &mut Exchange| Kind::Flow.answer(true));
    post(gateway, "/stream", STREAM, back)
}

/// Requests may wait for half a second and take two.
fn dispatching(out_max: u32) -> Dispatching {
    Dispatching {
        out_max,
        depth_max: 64,
        queue_ms_max: Some(QUEUE_MS),
        request_ms_max: Some(REQUEST_MS),
        ..Dispatching::nowhere()
    }
}

fn stage(out_max: u32) -> Stage {
    Stage::manned(gateway(Dispatch::Auto), calm_limits(), dispatching(out_max))
}

fn statuses(wire: &Rc<RefCell<Wire>>) -> Vec<u16> {
    let text = heard(wire);
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().expect("a status")).collect()
}

/// So many milliseconds pass, a tenth of a second at a time.
fn wait(stage: &mut Stage, ms: u32) {
    (0..=ms / 100).for_each(|_| stage.turn(100));
}

#[test]
fn an_answer_that_comes_home_after_504_reaches_nobody() {
    let mut stage = stage(8);
    let wire = stage.connect(WORK);
    stage.turn(0);
    let late = stage.take();
    assert!(late.ticket.begin());
    wait(&mut stage, REQUEST_MS);
    assert_eq!(statuses(&wire), [504]);
    assert!(late.ticket.is_cancelled(), "the handler is told");
    // The next request is away when the answer to the one before comes.
    say(&wire, WORK);
    stage.turn(0);
    let next = stage.take();
    assert_eq!((late.to.generation, late.to.number), (next.to.generation, next.to.number - 1));
    let mut late = late;
    late.errand = Errand::Answered("late".into_response());
    stage.shop.as_ref().unwrap().deliver(late);
    stage.turn(0);
    assert_eq!((answers(&wire), stage.floor.tally.late_answers.value(), stage.floor.out()), (0, 1, 1));
    stage.bring(next);
    stage.turn(0);
    assert!(heard(&wire).ends_with("worked"));
    assert_eq!(stage.floor.out(), 0);
}

#[test]
fn a_client_that_resets_while_its_request_is_away() {
    let mut stage = stage(8);
    let wire = stage.connect(WORK);
    stage.turn(0);
    let (begun, ticket) = (stage.take(), stage.connect(WORK));
    assert!(begun.ticket.begin());
    stage.turn(0);
    wire.borrow_mut().break_off();
    ticket.borrow_mut().break_off();
    stage.turn(0);
    assert_eq!(stage.closed(CloseReason::PeerReset), 2);
    assert!(begun.ticket.is_cancelled());
    assert_eq!(stage.floor.out(), 2, "a permit comes back with its job");
    let mut unbegun = stage.take();
    unbegun.run_away();
    assert!(matches!(unbegun.errand, Errand::Unrun), "nobody wants it");
    stage.bring(unbegun);
    stage.shop.as_ref().unwrap().deliver(begun);
    stage.turn(0);
    assert!(stage.floor.is_empty());
}

#[test]
fn who_half_closes_while_away_still_gets_its_answer() {
    let mut stage = stage(8);
    let wire = stage.connect(WORK);
    wire.borrow_mut().fin_in_transit = true;
    stage.turn(0);
    let job = stage.take();
    say(&wire, b"");
    stage.turn(0);
    assert!(job.ticket.is_cancelled(), "the handler may give up");
    stage.bring(job);
    stage.turn(0);
    assert!(heard(&wire).ends_with("worked"));
    assert_eq!(stage.closed(CloseReason::PeerClosed), 1);
}

#[test]
fn pipelined_requests_wait_behind_one_that_is_away() {
    let mut stage = stage(8);
    let wire = stage.connect(&[GET, WORK, GET, WORK, GET].concat());
    stage.turn(0);
    assert_eq!(answers(&wire), 1);
    assert_eq!(stage.floor.out(), 1, "one request of a connection is away at a time");
    stage.work();
    (0..3).for_each(|_| stage.turn(0));
    let text = heard(&wire);
    let bodies: Vec<_> = text.split("\r\n\r\n").skip(1).map(|rest| &rest[..6]).collect();
    assert_eq!(bodies, ["worked", "Hello,", "worked", "Hello,"]);
}

#[test]
fn a_drain_lets_those_who_are_away_finish() {
    let mut stage = stage(8);
    let wire = stage.connect(WORK);
    stage.turn(0);
    stage.floor.begin_drain();
    stage.turn(0);
    assert!(!wire.borrow().closed);
    stage.work();
    assert!(heard(&wire).contains("Connection: close\r\n"));
    stage.turn(u64::from(calm_limits().linger_ms_max) + 200);
    assert!(stage.floor.is_empty());
}

#[test]
fn the_end_of_a_drain_cuts_those_who_are_away() {
    let mut stage = stage(8);
    stage.connect(WORK);
    stage.turn(0);
    let job = stage.take();
    stage.floor.cut_all();
    assert!(job.ticket.is_cancelled());
    assert_eq!(stage.floor.out(), 1);
    stage.bring(job);
    stage.turn(0);
    assert!(stage.floor.is_empty());
}

#[test]
fn who_has_waited_too_long_is_told_when_to_return_and_may() {
    let mut stage = stage(8);
    let wire = stage.connect(&[WORK, GET].concat());
    stage.turn(0);
    wait(&mut stage, QUEUE_MS);
    let text = heard(&wire);
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("Retry-After: 1\r\n"), "{text}");
    assert!(text.ends_with("Hello, World!"), "the connection lives on");
    assert_eq!(stage.floor.tally.refusals.value(Refusal::QueueTimeout as usize), 1);
    let mut unbegun = stage.take();
    unbegun.run_away();
    assert!(matches!(unbegun.errand, Errand::Unrun));
    stage.bring(unbegun);
    stage.turn(0);
    assert_eq!(stage.floor.tally.late_answers.value(), 0, "it was no answer");
}

#[test]
fn a_panic_on_a_worker_costs_one_request() {
    let mut stage = stage(8);
    let wire = stage.connect(b"GET /panics HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    stage.turn(0);
    stage.work();
    assert_eq!(statuses(&wire), [500, 200]);
    assert_eq!(stage.floor.tally.panics.value(), 1);
}

#[test]
fn with_no_permit_left_the_newest_are_refused() {
    let mut stage = stage(1);
    let (first, second) = (stage.connect(WORK), stage.connect(WORK));
    stage.turn(0);
    assert_eq!(statuses(&second), [503]);
    stage.work();
    say(&second, WORK);
    stage.turn(0);
    stage.work();
    assert_eq!((statuses(&first), statuses(&second)), (vec![200], vec![200]));
}

/// So many answers are begun and find, for their next piece, every permit with somebody else.
fn starve(stage: &mut Stage, count: usize) -> Vec<Rc<RefCell<Wire>>> {
    let hungry: Vec<_> =
        (0..count).map(|_| stage.connect(b"GET /flow HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    stage.turn(0);
    (0..count).for_each(|_| stage.bring(stage.take()));
    // Those who come now stand in the queue before those whose jobs come home.
    (0..count).for_each(|_| _ = stage.connect(WORK));
    stage.turn(0);
    assert!(hungry.iter().all(|wire| answers(wire) == 1));
    assert_eq!((stage.floor.out() as usize, stage.floor.has_hungry()), (count, true));
    hungry
}

#[test]
fn the_hungry_are_fed_in_their_order_and_the_dead_are_passed_over() {
    let mut stage = stage(3);
    let wires = starve(&mut stage, 3);
    wires[1].borrow_mut().break_off();
    stage.turn(0);
    // The work of somebody else is done, and the first has its permit; then the third.
    for _ in 0..2 {
        stage.bring(stage.take());
        stage.turn(0);
        assert_eq!(stage.floor.out(), 3);
    }
    assert!(!stage.floor.has_hungry());
    stage.work();
    for wire in [&wires[0], &wires[2]] {
        assert!(heard(wire).ends_with("0\r\n\r\n"));
    }
    assert_eq!(stage.floor.out(), 0);
}

/// What a client had of an answer is all it gets when the rest has no permit in time.
#[test]
fn the_hungry_do_not_wait_for_ever() {
    let mut stage = stage(1);
    let wires = starve(&mut stage, 1);
    wait(&mut stage, REQUEST_MS);
    assert!(wires[0].borrow().was_reset);
    assert_eq!(stage.closed(CloseReason::Truncated), 1);
    stage.work();
    assert_eq!(stage.floor.out(), 0);
}

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

/// As above, for a client that takes its time with the answer before.
#[test]
fn a_slow_reader_outlives_the_time_to_wait_for_a_worker() {
    let mut stage = stage(8);
    let wire = stage.connect(b"");
    wire.borrow_mut().outbox_max = 10;
    say(&wire, &[GET, WORK].concat());
    stage.turn(0);
    let job = stage.take();
    assert!(job.ticket.begin());
    wait(&mut stage, QUEUE_MS);
    assert!(!wire.borrow().closed);
    wire.borrow_mut().outbox_max = 10_000;
    assert_eq!(wire.borrow_mut().take(usize::MAX).len(), 10);
    stage.turn(0);
    stage.bring(job);
    stage.turn(0);
    assert!(heard(&wire).ends_with("worked"));
}

/// The deadline of an answer was kept for the client's once its job was home.
#[test]
fn a_slow_reader_of_what_came_home_has_its_own_time() {
    let mut stage = stage(8);
    let wire = stage.connect(b"");
    wire.borrow_mut().outbox_max = 10;
    say(&wire, &[GET, b"GET /flow HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    stage.turn(0);
    for _ in 0..2 {
        stage.bring(stage.take());
        wait(&mut stage, QUEUE_MS);
    }
    wait(&mut stage, REQUEST_MS - QUEUE_MS);
    assert_eq!(stage.closed(CloseReason::WriteTimeout), 0);
    wait(&mut stage, calm_limits().write_ms_max - QUEUE_MS - REQUEST_MS);
    assert_eq!(stage.closed(CloseReason::WriteTimeout) + stage.closed(CloseReason::Truncated), 1);
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

/// By the end of the connection an old client could not tell half an answer from a whole one.
#[test]
fn an_answer_that_is_given_up_for_want_of_memory_does_not_look_whole() {
    let mut stage = stage(8);
    stage.poll.has_no_memory = true;
    let wire = stage.connect(b"");
    wire.borrow_mut().outbox_max = 500;
    say(&wire, b"GET /flow/here HTTP/1.0\r\n\r\n");
    stage.turn(0);
    assert_eq!(stage.closed(CloseReason::Exhausted), 1);
    assert!(wire.borrow().was_reset);
}

/// The edge was used up before the request was found in the buffer, and its handler ran on for nobody.
#[test]
fn a_request_that_is_found_behind_a_reset() {
    let limits = Limits { requests_per_turn: 1, ..calm_limits() };
    let mut stage = Stage::manned(gateway(Dispatch::Auto), limits, dispatching(8));
    let wire = stage.connect(b"");
    stage.turn(0);
    say(&wire, &[GET, WORK].concat());
    stage.turn(0);
    wire.borrow_mut().break_off();
    (0..3).for_each(|_| stage.turn(0));
    assert!(wire.borrow().closed);
    if stage.floor.out() > 0 {
        stage.work();
    }
    assert!(stage.floor.is_empty());
}

/// A source was asked for a piece that nobody would get, and may have waited for it.
#[test]
fn the_next_piece_is_not_made_for_a_client_that_is_gone() {
    let mut stage = stage(8);
    let wire = stage.connect(b"GET /flow HTTP/1.1\r\nHost: a\r\n\r\n");
    stage.turn(0);
    stage.bring(stage.take());
    stage.turn(0);
    wire.borrow_mut().break_off();
    stage.turn(0);
    let mut pull = stage.take();
    pull.run_away();
    assert!(matches!(pull.errand, Errand::Unrun));
    stage.bring(pull);
    stage.turn(0);
    assert!(stage.floor.is_empty());
}

struct Crumbs(u32);

impl BodySource for Crumbs {
    fn next(&mut self) -> Piece {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Piece::Bytes(b"x".to_vec())
            }
            None => Piece::End,
        }
    }
}

/// A connection made pieces until it had its share of bytes, while everybody else waited.
#[test]
fn an_answer_of_many_small_pieces_takes_turns() {
    let crumbs = |_: &mut Exchange| Response::stream(Status::OK, "text/plain", Crumbs(1_000));
    let gateway = get(Gateway::new().with("/", Plaintext), "/crumbs", Terms::default(), crumbs);
    let mut stage = Stage::manned(gateway, calm_limits(), dispatching(8));
    let wire = stage.connect(b"GET /crumbs HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut turns = 0;
    while !heard(&wire).ends_with("0\r\n\r\n") {
        let other = stage.connect(GET);
        stage.turn(0);
        assert_eq!(answers(&other), 1);
        turns += 1;
    }
    assert!((10..50).contains(&turns), "{turns}");
}

/// The source was asked for its end too, and when that was overdue, whoever waited behind was cut off.
#[test]
fn an_answer_ends_with_the_last_byte_that_was_announced() {
    let mut stage = stage(8);
    for (path, jobs) in [("/sized", 4), ("/nothing", 1)] {
        let wire =
            stage.connect(&[format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), GET].concat());
        stage.turn(0);
        for _ in 0..jobs {
            stage.bring(stage.take());
            stage.turn(0);
        }
        assert_eq!((statuses(&wire), stage.floor.out()), (vec![200, 200], 0));
    }
}
