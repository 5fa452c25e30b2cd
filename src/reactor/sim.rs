//! The floor with everything on it, and a world around it that does its worst: simulated, seeded, repeatable.
//!
//! Real: `Client`, `Machine`, `Gateway`, `Pool`, `Wheel`, `Slots` and the queues between them. Made up:
//! sockets, the poll, time. Visitors say what visitors say, well and badly; each reads its answers strictly.
//! After each turn the floor's promises are checked. A failure tells its seed: `MYRIAPOD_SEED=... cargo test
//! sim` repeats it, and `MYRIAPOD_SEEDS=...` plays more of them.

mod dice;
mod reader;
mod script;
mod visitor;
mod wire;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crate::base::clock::{Clock, Tick};
use crate::config::{AccessFormat, Limits};
use crate::gateway::handler::{Echo, Handler, Plaintext};
use crate::gateway::{Exchange, Gateway};
use crate::http::{Response, Status};
use crate::observe::Tally;
use crate::observe::log::Log;
use crate::proto::Violation;
use crate::reactor::floor::{Floor, Means};
use crate::reactor::sim::dice::Dice;
use crate::reactor::sim::reader::Leave;
use crate::reactor::sim::script::BIG;
use crate::reactor::sim::visitor::Visitor;
use crate::reactor::sim::wire::{Poll, Socket, Wire};
use crate::reactor::{CloseReason, Dispatching, Refusal, SITE_MAIN};

/// Seeds in one plain run.
const SEEDS: u64 = 256;
/// Turns after which a scene must have come to its end.
const STEPS_MAX: u32 = 40_000;

/// A body that takes several rounds to send.
struct Big;

impl Handler for Big {
    fn handle(&self, _: &mut Exchange<'_>) -> Response {
        Response::fixed(Status::OK, "", BIG)
    }
}

struct Scene {
    dice: Dice,
    floor: Floor<Socket>,
    poll: Poll,
    lobby: Vec<Visitor>,
    inside: Vec<Visitor>,
    now_ms: u64,
    drain_at: Option<u32>,
    cuts: bool,
    has_rare_failures: bool,
}

fn limits(dice: &mut Dice, requests_max: u32) -> Limits {
    Limits {
        head_bytes_max: 1024,
        body_bytes_max: 500_000,
        head_ms_max: 3_000,
        body_ms_max: 3_000,
        idle_ms_max: 5_000,
        write_ms_max: 3_000,
        linger_ms_max: 500,
        requests_max,
        output_bytes_high: *dice.pick(&[1_000, 16 * 1024, 64 * 1024]),
        requests_per_turn: *dice.pick(&[1, 3, 32]),
        read_bytes_per_turn: *dice.pick(&[2_000, 64 * 1024]),
        ..Limits::default()
    }
}

fn means(gateway: Gateway, limits: Limits, clients_max: u32, buffers_max: u32, buffer_bytes: u32) -> Means {
    Means {
        gateways: Arc::new([gateway, Gateway::new()]),
        tally: Arc::new(Tally::new(
            &CloseReason::LABELS,
            &Violation::LABELS,
            &Refusal::LABELS,
            &METHOD_LABELS,
        )),
        limits,
        clients_max,
        buffers_max,
        buffer_bytes,
        server_name: Some(String::from("sim")),
        log: Log::silent(),
        access_format: AccessFormat::Combined,
        dispatching: Dispatching::nowhere(),
        release_memory: || {},
    }
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let mut dice = Dice::new(seed);
        let is_scarce = dice.one_in(3);
        let drains = dice.one_in(3);
        let has_rare_failures = dice.one_in(8);
        let requests_max = if dice.one_in(4) { 3 } else { u32::MAX };
        let is_counted = requests_max != u32::MAX;
        let cuts = drains && dice.one_in(2);
        let leave = Leave {
            to_end: drains || is_counted || is_scarce || has_rare_failures,
            to_give_up: is_scarce,
            to_cut: drains || is_counted || is_scarce || has_rare_failures,
            to_break: has_rare_failures,
        };
        let visitors = 2 + dice.below(12);
        let gateway = Gateway::new().with("/", Plaintext).with("/echo", Echo).with("/big", Big);
        let limits = limits(&mut dice, requests_max);
        let clients_max = if dice.one_in(3) { 4 } else { 64 };
        let buffers_max = if is_scarce { 1 + dice.below(3) as u32 } else { 64 };
        let buffer_bytes = *dice.pick(&[1024, 4096, 16 * 1024]);
        let means = means(gateway, limits, clients_max, buffers_max, buffer_bytes);
        Scene {
            lobby: (0..visitors).map(|_| Visitor::new(&mut dice, leave)).collect(),
            inside: Vec::new(),
            floor: Floor::new(means, Clock::scripted()),
            poll: Poll { has_no_memory: false },
            now_ms: 0,
            drain_at: drains.then(|| dice.below(150) as u32),
            cuts,
            has_rare_failures,
            dice,
        }
    }

    /// One turn of the world, and one of the floor if anything could have woken it. `false`: all is over.
    fn step(&mut self, step: u32) -> Result<bool, String> {
        let mut is_quiet = true;
        for (number, visitor) in self.inside.iter_mut().enumerate() {
            match visitor.act(self.now_ms) {
                Ok(acted) => is_quiet &= !acted,
                Err(text) => {
                    let (manner, answers) = (visitor.manner, visitor.reader.answers);
                    let (now_ms, closes) = (self.now_ms, told(self.closes()));
                    return Err(format!(
                        "visitor {number}, {manner:?}, {answers} answers: {text}; {now_ms} ms, closed {closes:?}"
                    ));
                }
            }
        }
        let has_edges = self.inside.iter().any(|visitor| visitor.wire.borrow().has_edge());
        is_quiet &= !has_edges && !self.floor.is_busy() && (self.lobby.is_empty() || self.floor.is_full());
        self.pass_time(is_quiet);
        let drains_now = self.drain_at == Some(step);
        let is_due = self.floor.next_moment().is_some_and(|moment| self.now().has_reached(moment));
        let may_admit = !self.lobby.is_empty() && !self.floor.is_full();
        // A floor that sleeps is not driven: who forgets to wake it waits for ever.
        if drains_now || is_due || has_edges || may_admit || self.floor.is_busy() {
            self.turn(drains_now);
        }
        let is_deserted = self.inside.iter().all(|visitor| visitor.is_gone) && self.lobby.is_empty();
        Ok(!(is_deserted && self.floor.is_empty()))
    }

    fn now(&self) -> Tick {
        Tick((self.now_ms / u64::from(Tick::MS)) as u32)
    }

    fn pass_time(&mut self, is_quiet: bool) {
        // Little, so that the tightest of wires keeps up the least rate.
        let ms = if is_quiet { 100 } else { self.dice.below(2) as u64 };
        self.now_ms += ms;
        self.floor.clock.advance_ms(ms);
    }

    /// As [`Reactor::run`](super::Reactor::run) does it.
    fn turn(&mut self, drains_now: bool) {
        self.poll.has_no_memory = self.has_rare_failures && self.dice.one_in(16);
        self.floor.clock.tick();
        let offset = self.dice.below(self.inside.len().max(1));
        for at in 0..self.inside.len() {
            let visitor = &self.inside[(at + offset) % self.inside.len()];
            // Some edges come with the next turn.
            if self.dice.one_in(8) {
                continue;
            }
            let told = visitor.wire.borrow_mut().tell();
            if let Some((key, edge)) = told {
                self.floor.note(key, edge);
            }
        }
        if drains_now {
            while let Some(visitor) = self.lobby.pop() {
                self.admit(visitor);
            }
            self.floor.begin_drain();
        }
        if !self.lobby.is_empty() && !self.floor.is_full() && self.dice.one_in(2) {
            let visitor = self.lobby.pop().expect("somebody waits");
            self.admit(visitor);
        }
        self.floor.serve(&self.poll);
        self.floor.expire(&self.poll);
        self.floor.end_turn();
        self.floor.validate(|client| client.stream().0.borrow().is_lost(client.is_blocked()));
    }

    /// How many connections were closed so far, by reason.
    fn closes(&self) -> Closes {
        std::array::from_fn(|at| self.floor.tally.closed.value(at))
    }

    fn admit(&mut self, visitor: Visitor) {
        self.floor.admit(Socket(Rc::clone(&visitor.wire)), SITE_MAIN);
        self.inside.push(visitor);
    }

    fn play(&mut self, step: &mut u32) -> Result<(), String> {
        while self.step(*step)? {
            *step += 1;
            if self.cuts && self.drain_at.is_some_and(|at| *step == at + 100) {
                self.floor.cut_all();
            }
            if *step == STEPS_MAX {
                return Err(String::from("no end"));
            }
        }
        Ok(())
    }
}

const METHOD_LABELS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "OTHER"];

type Closes = [u64; CloseReason::LABELS.len()];

/// The reasons that occurred, for who looks into a failure.
fn told(closes: Closes) -> Vec<(&'static str, u64)> {
    CloseReason::LABELS.into_iter().zip(closes).filter(|(_, count)| *count > 0).collect()
}

/// Plays one scene; whatever goes wrong in it is told with the way to see it again.
fn play(seed: u64) -> Closes {
    let mut step = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut scene = Scene::new(seed);
        scene.play(&mut step).map(|()| scene.closes())
    }));
    let again = format!("at step {step}; again: MYRIAPOD_SEED={seed} cargo test sim");
    match outcome {
        Ok(Ok(closes)) => closes,
        Ok(Err(text)) => panic!("{text}\n{again}"),
        Err(panic) => {
            eprintln!("{again}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn whatever_visitors_do_the_floor_keeps_its_promises() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("MYRIAPOD_SEED") {
        play(seed);
        return;
    }
    let mut closes = Closes::default();
    for seed in 0..number("MYRIAPOD_SEEDS").unwrap_or(0).max(SEEDS) {
        closes.iter_mut().zip(play(seed)).for_each(|(sum, count)| *sum += count);
    }
    // A world in which some ending never comes would prove less than it says. No files are served in this
    // one.
    let missing = CloseReason::LABELS.into_iter().zip(closes).filter(|(_, count)| *count == 0);
    assert_eq!(missing.collect::<Vec<_>>(), [("truncated", 0)], "of {:?}", told(closes));
}

#[test]
fn a_seed_plays_the_same_scene_again() {
    let play = |seed| {
        let (mut scene, mut step) = (Scene::new(seed), 0);
        scene.play(&mut step).map(|()| (step, scene.now_ms, scene.floor.tally.bytes_out.value()))
    };
    assert_eq!(play(1), play(1));
}

/// A floor without chance: what stands in its way is told by the test.
struct Stage {
    floor: Floor<Socket>,
    wires: Vec<Rc<RefCell<Wire>>>,
}

impl Stage {
    fn new(limits: Limits, buffers_max: u32) -> Stage {
        let gateway = Gateway::new().with("/", Plaintext).with("/big", Big);
        let floor = Floor::new(means(gateway, limits, 64, buffers_max, 1024), Clock::scripted());
        Stage { floor, wires: Vec::new() }
    }

    /// A connection, with these bytes arrived.
    fn connect(&mut self, bytes: &[u8]) -> Rc<RefCell<Wire>> {
        let wire = Rc::new(RefCell::new(Wire::calm()));
        self.floor.admit(Socket(Rc::clone(&wire)), SITE_MAIN);
        self.wires.push(Rc::clone(&wire));
        say(&wire, bytes);
        wire
    }

    /// One turn, so many milliseconds later.
    fn turn(&mut self, ms: u64) {
        let poll = Poll { has_no_memory: false };
        self.floor.clock.advance_ms(ms);
        self.floor.clock.tick();
        for wire in &self.wires {
            let told = wire.borrow_mut().tell();
            told.into_iter().for_each(|(key, edge)| self.floor.note(key, edge));
        }
        self.floor.serve(&poll);
        self.floor.expire(&poll);
        self.floor.validate(|client| client.stream().0.borrow().is_lost(client.is_blocked()));
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        self.floor.tally.closed.value(reason as usize)
    }
}

fn say(wire: &Rc<RefCell<Wire>>, bytes: &[u8]) {
    wire.borrow_mut().transit.extend_from_slice(bytes);
    wire.borrow_mut().arrive(usize::MAX);
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
    assert!((10..20).contains(&first), "{first} answers of 70 kB in the first turn");
    stage.turn(0);
    assert_eq!(first + answers(&wire), 30);
}
