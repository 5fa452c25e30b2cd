//! A floor without chance: what stands in its way is told by the test.

mod away;
mod crowd;
mod pieces;
mod relay;
mod uploads;

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::clock::Clock;
use crate::config::Limits;
use crate::gateway::Gateway;
use crate::gateway::handler::Plaintext;
use crate::reactor::floor::{Floor, Means};
use crate::reactor::lines::NoDialer;
use crate::reactor::sim::dial::{Call, Switchboard};
use crate::reactor::sim::dice::Dice;
use crate::reactor::sim::hands::Shop;
use crate::reactor::sim::wire::{Poll, Socket, Wire};
use crate::reactor::sim::world::{Big, limits, means};
use crate::reactor::{CloseReason, Dispatching, ENTRANCE_MAIN};
use crate::worker::Job;

/// See the module.
struct Stage {
    floor: Floor<Socket>,
    wires: Vec<Rc<RefCell<Wire>>>,
    poll: Poll,
    /// Where jobs go, if they go anywhere.
    shop: Option<Shop>,
    /// Who is dialled, by whom it is to be taken up.
    board: Rc<RefCell<Switchboard>>,
    /// Connections to servers.
    lines: Vec<Call>,
}

impl Stage {
    fn new(limits: Limits, buffers_max: u32) -> Stage {
        let gateway = Gateway::new().with("/", Plaintext).with("/big", Big);
        let floor =
            Floor::new(means(gateway, limits, 64, buffers_max, 1024), Clock::scripted(), Box::new(NoDialer));
        Stage::of(floor, None, Rc::default())
    }

    /// With workers who do what the test says.
    fn manned(gateway: Gateway, limits: Limits, dispatching: Dispatching) -> Stage {
        let shop = Shop::new(dispatching.out_max);
        let means = means(gateway, limits, 64, 8, 1024);
        let dispatching = Dispatching { hatch: Some(shop.hatch.clone()), ..dispatching };
        let floor = Floor::new(Means { dispatching, ..means }, Clock::scripted(), Box::new(NoDialer));
        Stage::of(floor, Some(shop), Rc::default())
    }

    fn of(floor: Floor<Socket>, shop: Option<Shop>, board: Rc<RefCell<Switchboard>>) -> Stage {
        let poll = Poll { has_no_memory: false };
        Stage { floor, wires: Vec::new(), poll, shop, board, lines: Vec::new() }
    }

    /// A connection, with these bytes arrived.
    fn connect(&mut self, bytes: &[u8]) -> Rc<RefCell<Wire>> {
        let wire = Rc::new(RefCell::new(Wire::calm()));
        self.floor.admit(Socket(Rc::clone(&wire)), ENTRANCE_MAIN, None);
        self.wires.push(Rc::clone(&wire));
        say(&wire, bytes);
        wire
    }

    /// One turn, so many milliseconds later.
    fn turn(&mut self, ms: u64) {
        self.floor.clock.advance_ms(ms);
        self.floor.clock.tick();
        self.gather_inbox();
        for wire in &self.wires {
            let told = wire.borrow_mut().tell();
            told.into_iter().for_each(|(key, edge)| self.floor.note(key, edge));
        }
        for Call { wire, .. } in &self.lines {
            let told = wire.borrow_mut().tell();
            if let Some((key, edge)) = told {
                self.floor.note_line(key.index(), key.generation(), edge);
            }
        }
        self.floor.serve(&self.poll);
        self.floor.expire(&self.poll);
        self.floor.end_turn();
        self.lines.extend(self.board.borrow_mut().calls.drain(..));
        self.floor.validate(|client| client.is_lost(|blocked| client.stream().0.borrow().is_lost(blocked)));
        self.floor.validate_lines(|stream, is_noted| stream.0.borrow().hides_news(is_noted));
    }

    fn gather_inbox(&mut self) {
        let Some(shop) = &self.shop else { return };
        while let Some(job) = shop.desk.done.pop() {
            self.floor.take_home(job);
        }
        while let Some(to) = shop.desk.room.pop() {
            self.floor.make_room(to);
        }
    }

    /// The next job, in a worker's hand.
    fn take(&self) -> Box<Job> {
        let shop = self.shop.as_ref().expect("a stage with workers");
        shop.take(1, self.floor.clock.now_ns()).expect("a job waits")
    }

    /// The job is done and goes home.
    fn bring(&self, mut job: Box<Job>) {
        job.run_away();
        self.shop.as_ref().expect("a stage with workers").deliver(job);
    }

    /// Everything that waits is done, and one turn sees it.
    fn work(&mut self) {
        while self.shop.as_ref().is_some_and(|shop| shop.hatch.waiting() > 0) {
            self.bring(self.take());
            self.turn(0);
        }
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        self.floor.tally.closed.value(reason as usize)
    }
}

fn say(wire: &Rc<RefCell<Wire>>, bytes: &[u8]) {
    wire.borrow_mut().transit.extend_from_slice(bytes);
    wire.borrow_mut().arrive(usize::MAX);
}

/// What has come, as text.
fn heard(wire: &Rc<RefCell<Wire>>) -> String {
    String::from_utf8(wire.borrow_mut().take(usize::MAX)).expect("text")
}

fn answers(wire: &Rc<RefCell<Wire>>) -> usize {
    wire.borrow_mut().take(usize::MAX).windows(9).filter(|nine| nine == b"HTTP/1.1 ").count()
}

fn calm_limits() -> Limits {
    Limits { requests_per_turn: 3, ..limits(&mut Dice::new(0), u32::MAX) }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The last exchange of a full turn was left open: an idle connection then waited under the deadline of a
/// write.
#[test]
fn as_many_requests_as_one_turn_serves() {
    let limits = Limits { requests_per_turn: 3, ..calm_limits() };
    for output_bytes_high in [10, 64 * 1024] {
        let mut stage = Stage::new(Limits { output_bytes_high, ..limits }, 8);
        let wire = stage.connect(&GET.repeat(3));
        stage.turn(0);
        assert_eq!(answers(&wire), 3);
        stage.turn(u64::from(limits.write_ms_max) + 200);
        assert!(!wire.borrow().closed, "it is idle, and nothing is to be written");
        stage.turn(u64::from(limits.idle_ms_max - limits.write_ms_max));
        assert_eq!(stage.closed(CloseReason::IdleTimeout), 1);
    }
}

/// As above, and the last answer had said that it was the last.
#[test]
fn as_many_requests_as_one_turn_serves_and_then_the_end() {
    let mut stage = Stage::new(calm_limits(), 8);
    let last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let wire = stage.connect(&[GET, GET, last].concat());
    stage.turn(0);
    assert_eq!(answers(&wire), 3);
    assert!(!wire.borrow().closed, "who has pipelined may have more on the way");
    stage.turn(u64::from(calm_limits().linger_ms_max) + 200);
    assert_eq!(stage.closed(CloseReason::Finished), 1);
}

/// The wake-up that belonged to a buffer was spent on a connection that had been closed.
#[test]
fn a_closed_connection_in_the_queue_of_the_thirsty() {
    let mut stage = Stage::new(calm_limits(), 1);
    stage.connect(b"GET / HT");
    let dead = stage.connect(GET);
    stage.turn(1_500);
    let alive = stage.connect(GET);
    stage.turn(0);
    stage.turn(1_700);
    assert!(dead.borrow().closed && !alive.borrow().closed);
    stage.turn(700);
    stage.turn(0);
    assert_eq!(answers(&alive), 1, "the buffer is free again");
}

/// Each edge put it into the queue of the thirsty once more.
#[test]
fn edges_for_a_thirsty_connection() {
    let mut stage = Stage::new(calm_limits(), 1);
    let idle = stage.connect(b"");
    stage.turn(0);
    stage.connect(b"GET / HT");
    stage.turn(0);
    for byte in GET {
        say(&idle, &[*byte]);
        stage.turn(0);
    }
    say(&stage.wires[1], b"TP/1.1\r\nHost: a\r\n\r\n");
    (0..3).for_each(|_| stage.turn(0));
    assert_eq!(answers(&idle), 1);
}

/// The rest of a body met a closed socket, and the reset that came of it destroyed the answer.
#[test]
fn an_answer_over_a_body_that_is_still_coming() {
    let mut stage = Stage::new(calm_limits(), 8);
    let wire = stage.connect(b"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    stage.turn(0);
    assert!(wire.borrow().write_closed && !wire.borrow().closed);
    say(&wire, &[b'x'; 1_000]);
    stage.turn(0);
    assert_eq!(answers(&wire), 1);
    wire.borrow_mut().fin_in_transit = true;
    say(&wire, b"");
    stage.turn(0);
    assert!(wire.borrow().closed && !wire.borrow().was_cut);
}

#[test]
fn more_output_than_one_turn_may_write() {
    let mut stage = Stage::new(Limits { requests_per_turn: 100, ..calm_limits() }, 8);
    let wire = stage.connect(&b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n".repeat(30));
    stage.turn(0);
    let first = answers(&wire);
    assert!((3..10).contains(&first), "{first} answers of 70 kB in the first turn");
    let rest: usize = (0..10)
        .map(|_| {
            stage.turn(0);
            answers(&wire)
        })
        .sum();
    assert_eq!(first + rest, 30);
}
