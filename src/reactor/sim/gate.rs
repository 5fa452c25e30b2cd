//! The floor as a gate: clients in front of it and servers behind it, all of whom do their worst.
//!
//! Every request is told from every other, and so is every answer, so that whatever one side hears can be
//! held against what the other said: one answer for each request, some server's whole answer to just that
//! request or a failure that had a reason; nothing sent twice that must not be; no line used again that may
//! not. In a good world nothing at all may fail. `MYRIAPOD_SEED` and `MYRIAPOD_SEEDS` as everywhere here.

mod book;
mod deed;
mod ear;
mod guest;
pub(super) mod site;
mod town;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use crate::base::clock::{Clock, Tick};
use crate::gateway::Gateway;
use crate::gateway::upstream::Directory;
use crate::reactor::floor::{Floor, Means};
use crate::reactor::lines::UpstreamMeans;
use crate::reactor::sim::dial::{Operator, Switchboard};
use crate::reactor::sim::dice::Dice;
use crate::reactor::sim::wire::{Poll, Socket, Wire};
use crate::reactor::sim::world::{limits, means};
use crate::reactor::{CloseReason, ENTRANCE_MAIN};
use book::Book;
use guest::{EVENTS, Guest, Leave};
use site::Plan;
use town::Town;

/// Seeds in one plain run.
const SEEDS: u64 = 256;
/// Turns after which a scene must have come to its end.
const STEPS_MAX: u32 = 40_000;

struct Scene {
    dice: Dice,
    floor: Floor<Socket>,
    poll: Poll,
    town: Town,
    book: Rc<RefCell<Book>>,
    board: Rc<RefCell<Switchboard>>,
    lobby: Vec<Guest>,
    inside: Vec<Guest>,
    now_ms: u64,
    drain_at: Option<u32>,
    reload_at: Option<u32>,
    directory: Directory,
    plan: Plan,
    is_good: bool,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let mut dice = Dice::new(seed);
        let is_good = dice.one_in(3);
        let plan = Plan::new(&mut dice, is_good);
        let book = Rc::new(RefCell::new(Book { tries_max: plan.tries_max, ..Book::default() }));
        let drain_at = dice.one_in(4).then(|| dice.below(300) as u32);
        let lines_max = if is_good { 64 } else { *dice.pick(&[2, 64]) };
        let to_wait = lines_max == 2 || plan.spec.upstreams[0].connections_max.is_some();
        let leave = Leave { to_fail: !is_good, to_end: drain_at.is_some(), to_wait };
        let guests = 1 + dice.below(10);
        let lobby = (0..guests).map(|_| Guest::new(&mut dice, leave, &book)).collect();
        let mut directory = Directory::new();
        let limits = limits(&mut dice, u32::MAX);
        let buffer_bytes = *dice.pick(&[1024, 4096, 16 * 1024]);
        let means = means(plan.gateway(&mut directory), limits, 64, 64, buffer_bytes);
        let means = Means { upstream: UpstreamMeans { lines_max, seed, reactors: 1, reactor: 0 }, ..means };
        let board = Rc::new(RefCell::new(Switchboard::default()));
        let mut lay_dice = dice.fork();
        let lay = Box::new(move || {
            let least = *lay_dice.pick(&[100, 2_000, 2_000, 2_000]);
            Wire::with_room(lay_dice.fork(), least, 30 * least)
        });
        let operator = Operator { board: Rc::clone(&board), lay };
        let reload_at = dice.one_in(4).then(|| dice.below(300) as u32);
        Scene {
            floor: Floor::new(means, Clock::scripted(), Box::new(operator)),
            poll: Poll { has_no_memory: false },
            town: Town::new(Rc::clone(&board), Rc::clone(&book), plan.moods.clone(), dice.fork()),
            book,
            board,
            lobby,
            inside: Vec::new(),
            now_ms: 0,
            drain_at,
            reload_at,
            directory,
            plan,
            is_good,
            dice,
        }
    }

    /// One turn of the world, and one of the floor if anything could have woken it. `false`: all is over.
    fn step(&mut self, step: u32) -> Result<bool, String> {
        let mut is_quiet = true;
        for (number, guest) in self.inside.iter_mut().enumerate() {
            match guest.act(self.now_ms) {
                Ok(acted) => is_quiet &= !acted,
                Err(text) => return Err(self.tell(number, &text)),
            }
        }
        is_quiet &= !self.town.act(self.now_ms);
        if let Some(text) = self.book.borrow_mut().wrong.take() {
            return Err(text);
        }
        let has_edges = self.wires().any(|wire| wire.borrow().has_edge());
        let may_admit = !self.lobby.is_empty() && !self.floor.is_full();
        is_quiet &= !has_edges && !self.floor.is_busy() && !may_admit;
        let ms = if is_quiet { 20 } else { self.dice.below(2) as u64 };
        self.now_ms += ms;
        self.floor.clock.advance_ms(ms);
        let drains_now = self.drain_at == Some(step);
        if self.reload_at == Some(step) {
            let other = self.plan.gateway(&mut self.directory);
            let limits = self.floor.limits;
            self.floor.reload([other, Gateway::new()].into(), limits);
        }
        let is_due = self.floor.next_moment().is_some_and(|moment| self.now().has_reached(moment));
        // A floor that sleeps is not driven: who forgets to wake it waits for ever.
        if drains_now || is_due || has_edges || may_admit || self.floor.is_busy() {
            self.turn(drains_now);
        }
        let is_deserted = self.inside.iter().all(|guest| guest.is_gone) && self.lobby.is_empty();
        Ok(!(is_deserted && self.floor.is_empty()))
    }

    fn tell(&self, number: usize, text: &str) -> String {
        let guest = &self.inside[number];
        let (manner, answers, now_ms, is_good) = (guest.manner, guest.answers, self.now_ms, self.is_good);
        let (closes, town) = (self.closes(), self.town.shown());
        format!(
            "guest {number}, {manner:?}, {answers} answers, good {is_good}, {now_ms} ms: {text}\n\
             {closes:?}\n{town}"
        )
    }

    /// How many connections were closed so far, by reason.
    fn closes(&self) -> Vec<(&'static str, u64)> {
        let closes = CloseReason::LABELS.into_iter().enumerate();
        let closes = closes.map(|(at, label)| (label, self.floor.tally.closed.value(at)));
        closes.filter(|(_, count)| *count > 0).collect()
    }

    /// Who is still here, for who looks into a scene without an end.
    fn remains(&self) -> String {
        let guests = self.inside.iter().enumerate().filter(|(_, guest)| !guest.is_gone);
        let guests: Vec<_> = guests.map(|(number, guest)| (number, guest.manner, guest.answers)).collect();
        let (waiting, open) = (self.lobby.len(), self.floor.open());
        let (now_ms, closes) = (self.now_ms, self.closes());
        let (town, is_busy) = (self.town.shown(), self.floor.is_busy());
        format!(
            "no end: {guests:?}, {waiting} outside, {open} open, busy {is_busy}, {now_ms} ms, {closes:?}\n{town}"
        )
    }

    fn now(&self) -> Tick {
        Tick((self.now_ms / u64::from(Tick::MS)) as u32)
    }

    fn wires(&self) -> impl Iterator<Item = &Rc<RefCell<Wire>>> {
        let guests = self.inside.iter().map(|guest| &guest.wire);
        guests.chain(self.town.lines.iter().map(|line| &line.wire))
    }

    /// As [`Reactor::run`](crate::reactor::Reactor::run) does it.
    fn turn(&mut self, drains_now: bool) {
        self.floor.clock.tick();
        self.gather_edges();
        if drains_now {
            while let Some(guest) = self.lobby.pop() {
                self.admit(guest);
            }
            self.floor.begin_drain();
        }
        if !self.lobby.is_empty() && self.dice.one_in(2) {
            let guest = self.lobby.pop().expect("somebody waits");
            self.admit(guest);
        }
        if !self.is_good && self.dice.one_in(50) {
            let code = *self.dice.pick(&[libc::EADDRNOTAVAIL, libc::EMFILE, libc::ENETUNREACH]);
            self.board.borrow_mut().refusals.push_back(code);
            self.book.borrow_mut().has_erred = true;
        }
        self.floor.serve(&self.poll);
        self.floor.expire(&self.poll);
        self.floor.end_turn();
        self.floor.validate(|client| client.is_lost(|blocked| client.stream().0.borrow().is_lost(blocked)));
        self.floor.validate_lines(|stream, is_noted| stream.0.borrow().hides_news(is_noted));
    }

    fn gather_edges(&mut self) {
        let guests = self.inside.len();
        let all = guests + self.town.lines.len();
        let offset = self.dice.below(all.max(1));
        for at in 0..all {
            let at = (at + offset) % all;
            // Some edges come with the next turn.
            if self.dice.one_in(8) {
                continue;
            }
            let is_guest = at < guests;
            let wire = if is_guest { &self.inside[at].wire } else { &self.town.lines[at - guests].wire };
            let told = wire.borrow_mut().tell();
            match told {
                Some((key, edge)) if is_guest => self.floor.note(key, edge),
                Some((key, edge)) => self.floor.note_line(key.index(), key.generation(), edge),
                None => {}
            }
        }
    }

    fn admit(&mut self, guest: Guest) {
        self.floor.admit(Socket(Rc::clone(&guest.wire)), ENTRANCE_MAIN, None);
        self.inside.push(guest);
    }

    fn play(&mut self, step: &mut u32) -> Result<(), String> {
        while self.step(*step)? {
            *step += 1;
            if *step == STEPS_MAX {
                return Err(self.remains());
            }
        }
        Ok(())
    }
}

type Events = BTreeMap<&'static str, u64>;

/// Plays one scene; whatever goes wrong in it is told with the way to see it again.
fn play(seed: u64) -> Events {
    let mut step = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut scene = Scene::new(seed);
        scene.play(&mut step).map(|()| std::mem::take(&mut scene.book.borrow_mut().events))
    }));
    let again = format!("at step {step}; again: MYRIAPOD_SEED={seed} cargo test gate");
    match outcome {
        Ok(Ok(events)) => events,
        Ok(Err(text)) => panic!("{text}\n{again}"),
        Err(panic) => {
            eprintln!("{again}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn whatever_servers_do_a_gate_keeps_its_promises() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("MYRIAPOD_SEED") {
        play(seed);
        return;
    }
    let mut events = Events::new();
    for seed in 0..number("MYRIAPOD_SEEDS").unwrap_or(0).max(SEEDS) {
        play(seed).into_iter().for_each(|(event, count)| *events.entry(event).or_default() += count);
    }
    // A world in which something never comes about would prove less than it says.
    let missing: Vec<_> = EVENTS.into_iter().filter(|event| !events.contains_key(event)).collect();
    assert_eq!(missing, [""; 0], "of {events:?}");
}

#[test]
fn a_seed_plays_the_same_scene_again() {
    let play = |seed| {
        let (mut scene, mut step) = (Scene::new(seed), 0);
        scene.play(&mut step).map(|()| (step, scene.now_ms, scene.floor.tally.bytes_out.value()))
    };
    for seed in 0..8 {
        assert_eq!(play(seed), play(seed));
    }
}
