//! When a crowd is there, and when it has left.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::reactor::client::Client;

const CROWD: usize = 2_000;

fn hang_up(wire: &Rc<RefCell<Wire>>) {
    wire.borrow_mut().fin_in_transit = true;
    say(wire, b"");
}

/// A request for a few bytes waited behind a share of the turn for each of all downloads under way: 140 ms
/// with 250 of them.
#[test]
fn whoever_comes_does_not_wait_behind_all_that_go_on() {
    let mut stage = Stage::new(calm_limits(), 64);
    let crowd: Vec<_> = (0..40).map(|_| stage.connect(&GET.repeat(30))).collect();
    let answered = |crowd: &[Rc<RefCell<Wire>>]| crowd.iter().map(answers).sum::<usize>();
    stage.turn(0);
    assert_eq!(answered(&crowd), 40 * 3, "each had its share when it came");
    let newcomer = stage.connect(GET);
    stage.turn(0);
    assert_eq!(answers(&newcomer), 1);
    let meanwhile = answered(&crowd);
    assert!((1..40).contains(&meanwhile), "a few of those that go on went on: {meanwhile}");
    let mut left = 40 * 27 - meanwhile;
    while stage.floor.is_busy() {
        stage.turn(0);
        left -= answered(&crowd);
    }
    assert_eq!(left, 0);
}

/// Turns for a second, and tells whether nothing is to be done soon after it.
fn is_settled_in_a_second(stage: &mut Stage) -> bool {
    for _ in 0..10 {
        stage.floor.end_turn();
        stage.turn(100);
    }
    stage.floor.end_turn();
    let now = stage.floor.clock.now();
    stage.floor.next_moment().is_none_or(|moment| moment.since(now) >= now.after_ms(1_000).since(now))
}

/// Whoever sat in the highest slot kept all of them, and nothing ever gave back what many had once used.
#[test]
fn a_crowd_that_has_left_leaves_no_memory_behind() {
    static SHOWN: AtomicUsize = AtomicUsize::new(0);
    static RELEASED: AtomicUsize = AtomicUsize::new(0);
    let means = Means {
        release_memory: || {
            RELEASED.fetch_add(1, Ordering::Relaxed);
        },
        discard: |spare| SHOWN.store(spare.bytes(), Ordering::Relaxed),
        ..means(Gateway::new().with("/", Plaintext), calm_limits(), CROWD as u32, 8, 1024)
    };
    let mut stage = Stage::new(calm_limits(), 8);
    stage.floor = Floor::new(means, Clock::scripted(), Box::new(NoDialer));
    let crowd: Vec<_> = (0..CROWD).map(|_| stage.connect(GET)).collect();
    stage.turn(0);
    assert!(is_settled_in_a_second(&mut stage));
    assert_eq!(SHOWN.load(Ordering::Relaxed), 0, "all is in use");

    let last = Rc::clone(&crowd[CROWD - 1]);
    crowd[..CROWD - 1].iter().for_each(hang_up);
    stage.turn(0);
    assert_eq!(stage.floor.visitors(), 1);
    assert!(is_settled_in_a_second(&mut stage));
    let all = CROWD * size_of::<Client<Socket>>();
    assert!(SHOWN.load(Ordering::Relaxed) > all * 4 / 5, "of {all}: {SHOWN:?}");
    assert_eq!(RELEASED.load(Ordering::Relaxed), 1);

    assert_eq!(answers(&last), 1);
    say(&last, GET);
    stage.turn(0);
    assert_eq!(answers(&last), 1, "who stayed is served as before");
}
