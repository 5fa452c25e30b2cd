//! The floor with everything on it, and a world around it that does its worst: simulated, seeded, repeatable.
//!
//! Real: `Client`, `Machine`, `Gateway`, `Dispatch`, `Job`, `Pool`, `Wheel`, `Slots` and the queues between
//! them. Made up: sockets, the poll, workers, time. Visitors say what visitors say, well and badly; each reads
//! its answers strictly. After each turn the floor's promises are checked. A failure tells its seed:
//! `MYRIAPOD_SEED=... cargo test sim` repeats it, and `MYRIAPOD_SEEDS=...` plays more of them.

mod dial;
mod dice;
mod gate;
mod hands;
mod reader;
mod script;
mod stage;
mod visitor;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use crate::base::clock::{Clock, Tick};
use crate::reactor::floor::Floor;
use crate::reactor::lines::NoDialer;
use crate::reactor::sim::dice::Dice;
use crate::reactor::sim::hands::{Hands, Shop};
use crate::reactor::sim::reader::Leave;
use crate::reactor::sim::visitor::Visitor;
use crate::reactor::sim::wire::{Poll, Socket};
use crate::reactor::sim::world::{World, limits, means};
use crate::reactor::{CloseReason, Dispatching, ENTRANCE_MAIN, Refusal};
use crate::worker::Errand;

/// Seeds in one plain run.
const SEEDS: u64 = 256;
/// Turns after which a scene must have come to its end.
const STEPS_MAX: u32 = 40_000;

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
    /// Who works here, if anybody does.
    hands: Option<Hands>,
    /// Answers that came home to nobody.
    late: u64,
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
        let world = World::new(&mut dice);
        let limits = limits(&mut dice, requests_max);
        let clients_max = if dice.one_in(3) { 4 } else { 64 };
        let buffers_max = if is_scarce { 1 + dice.below(3) as u32 } else { 64 };
        let buffer_bytes = *dice.pick(&[1024, 4096, 16 * 1024]);
        let mut means = means(world.gateway(), limits, clients_max, buffers_max, buffer_bytes);
        let hands = world.is_manned.then(|| hire(&mut dice, &world, &mut means.dispatching));
        Scene {
            lobby: (0..visitors).map(|_| Visitor::new(&mut dice, leave, &world)).collect(),
            inside: Vec::new(),
            floor: Floor::new(means, Clock::scripted(), Box::new(NoDialer)),
            poll: Poll { has_no_memory: false },
            now_ms: 0,
            drain_at: drains.then(|| dice.below(150) as u32),
            cuts,
            has_rare_failures,
            hands,
            late: 0,
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
        let is_busy =
            self.floor.is_busy() || self.inside.iter().any(|visitor| visitor.wire.borrow().has_edge());
        if let Some(hands) = &mut self.hands {
            is_quiet &= !hands.act(self.now_ms, is_busy);
        }
        let has_mail = self.hands.as_ref().is_some_and(|hands| hands.shop.desk.has_mail());
        let has_edges = has_mail || self.inside.iter().any(|visitor| visitor.wire.borrow().has_edge());
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
        if is_deserted && let Some(hands) = &mut self.hands {
            hands.let_go();
        }
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
        self.gather_inbox();
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
        self.floor.validate(|client| client.is_lost(|blocked| client.stream().0.borrow().is_lost(blocked)));
        let under_way = self.hands.as_ref().map_or(0, |hands| hands.shop.under_way() + hands.held());
        assert_eq!(self.floor.out() as usize, under_way, "permits, and jobs under way");
        assert_eq!(self.floor.tally.late_answers.value(), self.late, "late answers");
        for job in self.hands.iter().flat_map(Hands::jobs) {
            let is_wanted = self.floor.is_awaited(job.to);
            let is_told =
                job.ticket.is_cancelled() && job.stream.as_ref().is_none_or(|pipe| pipe.is_closed());
            assert!(is_wanted || is_told, "{} works for nobody and is not told", job.to);
        }
    }

    /// As [`Reactor::gather_inbox`](super::Reactor) does it; some mail comes with the next turn.
    fn gather_inbox(&mut self) {
        let Some(hands) = &self.hands else { return };
        while !self.dice.one_in(8) {
            let Some(job) = hands.shop.desk.done.pop() else { break };
            let is_late = !self.floor.is_awaited(job.to) && !matches!(job.errand, Errand::Unrun);
            self.late += u64::from(is_late);
            self.floor.take_home(job);
        }
        while let Some(to) = hands.shop.desk.room.pop() {
            self.floor.make_room(to);
        }
    }

    /// How many requests were refused so far, by reason.
    fn refusals(&self) -> Refusals {
        std::array::from_fn(|at| self.floor.tally.refusals.value(at))
    }

    /// How many connections were closed so far, by reason.
    fn closes(&self) -> Closes {
        std::array::from_fn(|at| self.floor.tally.closed.value(at))
    }

    fn admit(&mut self, visitor: Visitor) {
        self.floor.admit(Socket(Rc::clone(&visitor.wire)), ENTRANCE_MAIN, None);
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

/// Some workers, few enough that there is not room for everybody.
fn hire(dice: &mut Dice, world: &World, dispatching: &mut Dispatching) -> Hands {
    let out_max = *dice.pick(&[1, 1, 2, 4, 64]);
    let shop = Shop::new(out_max);
    *dispatching = Dispatching {
        hatch: Some(shop.hatch.clone()),
        out_max,
        urgent_reserve: 0,
        depth_max: *dice.pick(&[1, 3, 64, 64]),
        queue_ms_max: world.queue_ms_max,
        request_ms_max: world.request_ms_max,
    };
    Hands::new(shop, dice.fork(), *dice.pick(&[1, 2, 8]))
}

type Closes = [u64; CloseReason::LABELS.len()];
type Refusals = [u64; Refusal::LABELS.len()];

/// The reasons that occurred, for who looks into a failure.
fn told(closes: Closes) -> Vec<(&'static str, u64)> {
    CloseReason::LABELS.into_iter().zip(closes).filter(|(_, count)| *count > 0).collect()
}

/// Plays one scene; whatever goes wrong in it is told with the way to see it again.
fn play(seed: u64) -> (Closes, Refusals) {
    let mut step = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut scene = Scene::new(seed);
        scene.play(&mut step).map(|()| (scene.closes(), scene.refusals()))
    }));
    let again = format!("at step {step}; again: MYRIAPOD_SEED={seed} cargo test sim");
    match outcome {
        Ok(Ok(outcome)) => outcome,
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
    let (mut closes, mut refusals) = (Closes::default(), Refusals::default());
    for seed in 0..number("MYRIAPOD_SEEDS").unwrap_or(0).max(SEEDS) {
        let (more_closes, more_refusals) = play(seed);
        closes.iter_mut().zip(more_closes).for_each(|(sum, count)| *sum += count);
        refusals.iter_mut().zip(more_refusals).for_each(|(sum, count)| *sum += count);
    }
    // A world in which some ending never comes would prove less than it says.
    let missing = CloseReason::LABELS.into_iter().zip(closes).filter(|(_, count)| *count == 0);
    // Nobody is limited here, and there is no balancer in front.
    let elsewhere = [("bad_proxy_header", 0), ("address_limit", 0)];
    assert_eq!(missing.collect::<Vec<_>>(), elsewhere, "of {:?}", told(closes));
    // There are jobs for as many connections as have a workplace, and for those that are out.
    let missing = Refusal::LABELS.into_iter().zip(refusals).filter(|(_, count)| *count == 0);
    assert_eq!(missing.collect::<Vec<_>>(), [("no_buffer", 0)], "of {refusals:?}");
}

#[test]
fn a_seed_plays_the_same_scene_again() {
    let play = |seed| {
        let (mut scene, mut step) = (Scene::new(seed), 0);
        scene.play(&mut step).map(|()| (step, scene.now_ms, scene.floor.tally.bytes_out.value()))
    };
    assert_eq!(play(1), play(1));
}
