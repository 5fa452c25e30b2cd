//! Requests that are answered by others: late, early, by halves, or for nobody.

use std::cell::RefCell;
use std::rc::Rc;

use super::{GET, Stage, answers, calm_limits, heard, say};
use crate::config::{Dispatch, Limits};
use crate::gateway::handler::{BodyPlan, Echo, Place, Plaintext};
use crate::gateway::route::{Priority, Terms};
use crate::gateway::{Exchange, Gateway, IntoResponse};
use crate::reactor::sim::wire::Wire;
use crate::reactor::sim::world::{Kind, back, get, post, throw};
use crate::reactor::{CloseReason, Dispatching, Refusal};
use crate::worker::Errand;

pub(super) const AWAY: Terms = Terms {
    place: Some(Place::Worker),
    body: None,
    body_bytes_max: None,
    request_ms_max: None,
    priority: Priority::Normal,
};
pub(super) const STREAM: Terms = Terms { body: Some(BodyPlan::Stream), ..AWAY };

pub(super) const WORK: &[u8] = b"GET /work HTTP/1.1\r\nHost: a\r\n\r\n";
pub(super) const REQUEST_MS: u32 = 2_000;
pub(super) const QUEUE_MS: u32 = 500;

pub(super) fn gateway(dispatch: Dispatch) -> Gateway {
    let gateway = Gateway::new().with_dispatch(dispatch).with("/", Plaintext).with("/echo", Echo);
    let gateway = get(gateway, "/work", AWAY, |_: &mut Exchange| "worked");
    let urgent = Terms { priority: Priority::High, ..AWAY };
    let gateway = get(gateway, "/urgent", urgent, |_: &mut Exchange| "urgent");
    let gateway = get(gateway, "/panics", AWAY, throw);
    let gateway = get(gateway, "/flow", AWAY, |_: &mut Exchange| Kind::Flow.answer(true));
    let gateway = get(gateway, "/sized", AWAY, |_: &mut Exchange| Kind::Sized.answer(false));
    let gateway = get(gateway, "/nothing", AWAY, |_: &mut Exchange| Kind::Nothing.answer(false));
    let gateway = get(gateway, "/flow/here", Terms::default(), |_: &mut Exchange| Kind::Flow.answer(false));
    let gateway = post(gateway, "/early", STREAM, |_: &mut Exchange| Kind::Flow.answer(true));
    post(gateway, "/stream", STREAM, back)
}

/// Requests may wait for half a second and take two.
pub(super) fn dispatching(out_max: u32) -> Dispatching {
    Dispatching {
        out_max,
        urgent_reserve: 0,
        depth_max: 64,
        queue_ms_max: Some(QUEUE_MS),
        request_ms_max: Some(REQUEST_MS),
        ..Dispatching::nowhere()
    }
}

pub(super) fn stage(out_max: u32) -> Stage {
    Stage::manned(gateway(Dispatch::Auto), calm_limits(), dispatching(out_max))
}

pub(super) fn statuses(wire: &Rc<RefCell<Wire>>) -> Vec<u16> {
    let text = heard(wire);
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().expect("a status")).collect()
}

/// So many milliseconds pass, a tenth of a second at a time.
pub(super) fn wait(stage: &mut Stage, ms: u32) {
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
fn ordinary_requests_do_not_keep_urgent_ones_out() {
    let dispatching = Dispatching { urgent_reserve: 1, depth_max: 2, ..dispatching(3) };
    let mut stage = Stage::manned(gateway(Dispatch::Auto), calm_limits(), dispatching);
    let waiting = [stage.connect(WORK), stage.connect(WORK)];
    stage.turn(0);
    let refused = stage.connect(WORK);
    let urgent = stage.connect(b"GET /urgent HTTP/1.1\r\nHost: a\r\n\r\n");
    stage.turn(0);
    assert_eq!((statuses(&refused), statuses(&urgent)), (vec![503], vec![]));
    let first = stage.take();
    stage.bring(first);
    stage.turn(0);
    assert!(heard(&urgent).ends_with("urgent"), "and they are taken first");
    assert!(waiting.iter().all(|wire| answers(wire) == 0));
    for _ in 0..2 {
        let job = stage.take();
        stage.bring(job);
    }
    stage.turn(0);
    assert_eq!(stage.floor.out(), 0);
}

/// Nobody had noticed yet that it was overdue.
#[test]
fn an_overdue_request_that_a_worker_did_not_begin_is_504() {
    let mut stage = stage(8);
    let wire = stage.connect(WORK);
    stage.turn(0);
    let mut job = stage.take();
    job.ticket.cancel();
    job.run_away();
    stage.shop.as_ref().unwrap().deliver(job);
    stage.turn(0);
    assert_eq!((statuses(&wire), stage.floor.tally.overdue.value()), (vec![504], 1));
}

/// Whoever came first, the reactor's look at the time or the handler that gave up, it was 504 or not.
#[test]
fn an_answer_that_was_done_too_late_is_504_whoever_notices_first() {
    let mut stage = stage(8);
    for (late_ns, status) in [(0, 504), (1, 200)] {
        let wire = stage.connect(WORK);
        stage.turn(0);
        let mut job = stage.take();
        job.run_away();
        job.ended_ns = job.deadline.ns() - late_ns;
        stage.shop.as_ref().unwrap().deliver(job);
        stage.turn(0);
        assert_eq!(statuses(&wire), [status]);
    }
    assert_eq!((stage.floor.tally.overdue.value(), stage.floor.out()), (1, 0));
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
