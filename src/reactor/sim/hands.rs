//! Workers without threads: they take jobs, keep them for a while or for ever, and bring them back in any
//! order.
//!
//! Real: the lane, the jobs, the handlers, the way back as far as the desk. Made up: who works, and for how
//! long.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::reactor::sim::dice::Dice;
use crate::worker::pipe::Taken;
use crate::worker::{Errand, Hatch, Job, ReplyDesk, ReplyTo, Workshop};

/// As much of a reactor's inbox as workers know.
pub(super) struct Desk {
    pub done: ArrayQueue<Box<Job>>,
    pub room: ArrayQueue<ReplyTo>,
}

impl Desk {
    pub(super) fn has_mail(&self) -> bool {
        !(self.done.is_empty() && self.room.is_empty())
    }
}

impl ReplyDesk for Desk {
    fn complete(&self, job: Box<Job>) -> bool {
        assert!(self.done.push(job).is_ok(), "more jobs came home than were let out");
        false
    }

    fn room(&self, to: ReplyTo) {
        assert!(self.room.push(to).is_ok(), "a pipe asks once for each time it is full");
    }
}

/// A workshop in which nobody works unless told to.
#[derive(Clone)]
pub(super) struct Shop {
    shop: Arc<Workshop>,
    pub desk: Arc<Desk>,
    pub hatch: Hatch,
}

impl Shop {
    pub(super) fn new(out_max: u32) -> Shop {
        let queue_max = out_max.max(1) as usize;
        let desk = Arc::new(Desk { done: ArrayQueue::new(queue_max), room: ArrayQueue::new(2 * queue_max) });
        let shop = Arc::new(Workshop::new(vec![Arc::clone(&desk) as Arc<dyn ReplyDesk>], out_max, &[]));
        Shop { hatch: Hatch::new(&shop, 0), shop, desk }
    }

    /// The next job, as a worker takes it.
    pub(super) fn take(&self, turn: usize, now_ns: u64) -> Option<Box<Job>> {
        let (job, was_stolen) = self.shop.take(0, turn)?;
        assert!(!was_stolen, "there is one lane");
        self.hatch.waits().note(now_ns - job.submitted_ns);
        Some(job)
    }

    pub(super) fn deliver(&self, job: Box<Job>) {
        self.shop.deliver(job);
    }

    /// Jobs on their way, unless a worker has them.
    pub(super) fn under_way(&self) -> usize {
        self.hatch.waiting() + self.desk.done.len()
    }
}

/// See the module.
pub(super) struct Hands {
    pub shop: Shop,
    dice: Dice,
    workers: usize,
    held: Vec<Held>,
    turn: usize,
}

/// A job at a worker.
struct Held {
    job: Box<Job>,
    until_ms: u64,
    stage: Progress,
    body: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Taken, and not begun.
    InHand,
    /// Its handler reads the body.
    Reads,
    /// Its handler has done what it does.
    Done,
}

impl Hands {
    pub(super) fn new(shop: Shop, dice: Dice, workers: usize) -> Hands {
        Hands { shop, dice, workers, held: Vec::new(), turn: 0 }
    }

    /// Jobs at workers.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// What workers have in hand.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.held.iter().map(|held| &*held.job)
    }

    /// Does something, or not. Tells whether it did or could have. `is_busy`: others go on in this turn too;
    /// mostly then jobs are brought back, since what is close together may collide.
    pub(super) fn act(&mut self, now_ms: u64, is_busy: bool) -> bool {
        let mut could = false;
        if self.held.len() < self.workers && self.shop.hatch.waiting() > 0 {
            could = true;
            if self.dice.one_in(2) {
                self.begin_one(now_ms);
            }
        }
        for at in 0..self.held.len() {
            if self.held[at].stage == Progress::Reads && self.dice.one_in(2) {
                could |= self.held[at].read();
            }
        }
        let is_ready = |held: &Held| held.until_ms <= now_ms && held.stage != Progress::Reads;
        let ready: Vec<_> = (0..self.held.len()).filter(|at| is_ready(&self.held[*at])).collect();
        if ready.is_empty() {
            return could;
        }
        if self.dice.one_in(if is_busy { 2 } else { 8 }) {
            let held = self.held.swap_remove(*self.dice.pick(&ready));
            self.bring_back(held);
        }
        true
    }

    /// Everything comes back, even what would never have.
    pub(super) fn let_go(&mut self) {
        while let Some(job) = self.shop.take(0, u64::MAX) {
            self.held.push(Held::new(job, 0));
        }
        while let Some(held) = self.held.pop() {
            self.bring_back(held);
        }
    }

    fn begin_one(&mut self, now_ms: u64) {
        self.turn += 1;
        let Some(job) = self.shop.take(self.turn, now_ms * 1_000_000) else { return };
        let is_call = matches!(job.errand, Errand::Call);
        let never = is_call && job.route.as_ref().is_some_and(|route| route.pattern() == "/never");
        let span_ms = self.dice.size(0, 1_500) as u64;
        let mut held = Held::new(job, if never { u64::MAX } else { now_ms + span_ms });
        if is_call && held.job.stream.is_some() {
            held.stage = if held.job.ticket.begin() { Progress::Reads } else { Progress::InHand };
        } else if never {
            held.job.ticket.begin();
        } else if !self.dice.one_in(4) {
            held.run();
        }
        self.held.push(held);
    }

    fn bring_back(&mut self, mut held: Held) {
        if held.stage != Progress::Done {
            held.run();
        }
        self.shop.deliver(held.job);
    }
}

impl Held {
    fn new(job: Box<Job>, until_ms: u64) -> Held {
        Held { job, until_ms, stage: Progress::InHand, body: Vec::new() }
    }

    fn run(&mut self) {
        self.job.run_away();
        self.stage = Progress::Done;
    }

    /// Takes what came of the body. A thread would wait for the rest of it; nobody waits here, so the
    /// handler is called when all has come, or when it would learn that no more will.
    fn read(&mut self) -> bool {
        let reads = self.job.route.as_ref().is_some_and(|route| route.pattern() != "/early");
        let Some(pipe) = self.job.stream.clone().filter(|_| reads) else {
            self.run();
            return true;
        };
        match pipe.take() {
            Taken::Piece(piece) => self.body.extend_from_slice(&piece),
            Taken::Nothing if self.job.ticket.is_cancelled() => self.run(),
            Taken::Nothing => return false,
            Taken::Whole => {
                self.job.stream = None;
                self.job.body = std::mem::take(&mut self.body);
                self.run();
            }
            Taken::Broken => self.run(),
        }
        true
    }
}
