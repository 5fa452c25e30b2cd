//! Answers that are made as they are sent: begun, fed, starved, cut short.

use std::cell::RefCell;
use std::rc::Rc;

use super::away::{REQUEST_MS, WORK, dispatching, stage, statuses, wait};
use super::{GET, Stage, answers, calm_limits, heard, say};
use crate::gateway::handler::Plaintext;
use crate::gateway::route::Terms;
use crate::gateway::{Exchange, Gateway};
use crate::http::{BodySource, Piece, Response, Status};
use crate::reactor::CloseReason;
use crate::reactor::sim::wire::Wire;
use crate::reactor::sim::world::get;
use crate::worker::Errand;

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
