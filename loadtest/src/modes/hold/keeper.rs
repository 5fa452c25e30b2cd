//! One thread's held connections, and what it is told to do with them.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use crate::engine::faults::Fault;
use crate::engine::lot::{Happening, Lot};
use crate::engine::schedule::Schedule;
use crate::engine::tally::{Beat, Post};

/// What a keeper is told.
pub enum Order {
    /// Hold so many, opened at most so many a second. Each asks once, and counts when it is answered.
    Hold { connections: u64, pace: Option<f64> },
    /// Let every connection ask once.
    Sweep { sender: Sender<Beat> },
    /// Let the first so many ask by a schedule between two times of the run's clock.
    Active { connections: u64, rate: f64, from_ns: u64, until_ns: u64, sender: Sender<Beat> },
    /// Close all of them, now.
    Close,
}

/// Connections closed between two words about it.
const CLOSED_AT_ONCE: usize = 256;

/// What all keepers have done so far, for whoever waits for it.
#[derive(Debug, Default)]
pub struct Board {
    /// Connections that are there and have been answered once.
    pub held: AtomicU64,
    /// Answers of the sweep that is under way.
    pub swept: AtomicU64,
    /// Of connections: those of a sweep or a load are in its own counts.
    pub errors: [AtomicU64; Fault::ALL.len()],
}

/// One thread.
pub struct Keeper {
    pub lot: Lot,
    pub orders: Receiver<Order>,
    pub board: Arc<Board>,
    /// Connections under way at once.
    pub window: usize,
}

/// What a keeper is at.
enum Task {
    Rest,
    Open { left: u64, under_way: HashSet<usize>, schedule: Option<Schedule> },
    Sweep { rest: Vec<usize>, under_way: usize, post: Post },
    Active { keys: Vec<usize>, next: usize, under_way: usize, schedule: Schedule, post: Post },
}

impl Keeper {
    /// Does as it is told until nobody is left who could tell it anything.
    ///
    /// # Errors
    /// When the poll fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut told = Vec::new();
        let mut task = Task::Rest;
        loop {
            // All of them: one ring of the waker may stand for several.
            loop {
                match self.orders.try_recv() {
                    Ok(order) => task = self.obey(order),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            let until_ns = self.work(&mut task);
            let received = self.lot.received;
            self.lot.turn(until_ns, &mut told)?;
            task.received(self.lot.now_ns(), self.lot.received - received);
            for happening in told.drain(..) {
                self.settle(&mut task, happening);
            }
            if task.is_over(self.lot.now_ns()) {
                task = Task::Rest;
            }
        }
    }

    fn obey(&mut self, order: Order) -> Task {
        let now_ns = self.lot.now_ns();
        match order {
            Order::Hold { connections, pace } => Task::Open {
                left: connections.saturating_sub(self.lot.len() as u64),
                under_way: HashSet::new(),
                schedule: pace.map(|pace| Schedule::constant(pace, now_ns)),
            },
            Order::Sweep { sender } => {
                let post = Post::new(sender, now_ns, u64::MAX);
                Task::Sweep { rest: self.lot.keys(), under_way: 0, post }
            }
            Order::Active { connections, rate, from_ns, until_ns, sender } => {
                let mut keys = self.lot.keys();
                keys.truncate(connections as usize);
                let post = Post::new(sender, from_ns, until_ns);
                Task::Active {
                    keys,
                    next: 0,
                    under_way: 0,
                    schedule: Schedule::constant(rate, from_ns),
                    post,
                }
            }
            Order::Close => {
                for some in self.lot.keys().chunks(CLOSED_AT_ONCE) {
                    some.iter().for_each(|key| self.lot.end(*key));
                    self.lot.forget_ended();
                    // Told afterwards: whoever waits for it may rely on their being closed.
                    self.board.held.fetch_sub(some.len() as u64, Ordering::Relaxed);
                }
                Task::Rest
            }
        }
    }

    /// Begins what may begin now; until when there is nothing more to begin.
    fn work(&mut self, task: &mut Task) -> Option<u64> {
        let now_ns = self.lot.now_ns();
        match task {
            Task::Rest => None,
            Task::Open { left, under_way, schedule } => {
                while *left > 0 && under_way.len() < self.window {
                    if let Some(schedule) = schedule {
                        if schedule.next_ns() > now_ns {
                            return Some(schedule.next_ns());
                        }
                        schedule.take();
                    }
                    *left -= 1;
                    match self.lot.open() {
                        Ok(key) => {
                            under_way.insert(key);
                            _ = self.lot.ask(key, now_ns, now_ns);
                        }
                        Err(fault) => self.failed(fault),
                    }
                }
                None
            }
            Task::Sweep { rest, under_way, post } => {
                while *under_way < self.window
                    && let Some(key) = rest.pop()
                {
                    if self.lot.is_open(key) {
                        _ = self.lot.ask(key, now_ns, now_ns);
                        post.asked(now_ns);
                        *under_way += 1;
                    }
                }
                post.beat(now_ns);
                None
            }
            Task::Active { keys, next, under_way, schedule, post } => {
                while schedule.next_ns() <= now_ns && schedule.next_ns() < post.until_ns() && !keys.is_empty()
                {
                    let key = keys[*next % keys.len()];
                    *next += 1;
                    let due_ns = schedule.take();
                    if self.lot.is_open(key) {
                        _ = self.lot.ask(key, due_ns, now_ns);
                        post.asked(due_ns);
                        post.lagged(due_ns, now_ns - due_ns);
                        *under_way += 1;
                    } else {
                        post.failed(Fault::Unsent, 1);
                    }
                }
                post.beat(now_ns);
                Some(schedule.next_ns().min(post.next_ns()))
            }
        }
    }

    fn settle(&mut self, task: &mut Task, happening: Happening) {
        match happening {
            Happening::Opened { .. } => {}
            Happening::Answered { key, intended_ns, at_ns, fault, .. } => match task {
                Task::Open { under_way, .. } if under_way.contains(&key) => {
                    under_way.remove(&key);
                    self.prove(key, fault);
                }
                Task::Sweep { under_way, post, .. } => {
                    *under_way -= 1;
                    post.answered(intended_ns, at_ns, fault);
                    self.board.swept.fetch_add(1, Ordering::Relaxed);
                }
                Task::Active { under_way, post, .. } => {
                    *under_way -= 1;
                    post.settled(intended_ns, at_ns, fault);
                }
                _ => {}
            },
            Happening::Over { key, fault, unanswered } => self.lose(task, key, fault, unanswered),
        }
    }

    /// The first answer of a connection: from now on it is held.
    fn prove(&mut self, key: usize, fault: Option<Fault>) {
        match fault {
            None => _ = self.board.held.fetch_add(1, Ordering::Relaxed),
            Some(fault) => {
                self.failed(fault);
                self.lot.end(key);
            }
        }
    }

    /// A connection ended that nobody wanted to end.
    fn lose(&mut self, task: &mut Task, key: usize, fault: Option<Fault>, unanswered: usize) {
        let fault = fault.unwrap_or(Fault::Closed);
        match task {
            Task::Open { under_way, .. } if under_way.contains(&key) => {
                under_way.remove(&key);
                return self.failed(fault);
            }
            Task::Sweep { under_way, post, .. } if unanswered > 0 => {
                *under_way -= unanswered;
                post.failed(fault, unanswered);
                self.board.swept.fetch_add(unanswered as u64, Ordering::Relaxed);
            }
            Task::Active { under_way, post, .. } if unanswered > 0 => {
                *under_way -= unanswered;
                post.failed(fault, unanswered);
            }
            _ => self.failed(fault),
        }
        self.board.held.fetch_sub(1, Ordering::Relaxed);
    }

    fn failed(&self, fault: Fault) {
        self.board.errors[fault as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Task {
    /// Counts bytes, where there is a load to count them for.
    fn received(&mut self, now_ns: u64, bytes: u64) {
        if let Task::Sweep { post, .. } | Task::Active { post, .. } = self {
            post.received(now_ns, bytes);
        }
    }

    fn is_over(&self, now_ns: u64) -> bool {
        match self {
            Task::Rest => false,
            Task::Open { left, under_way, .. } => *left == 0 && under_way.is_empty(),
            Task::Sweep { rest, under_way, .. } => rest.is_empty() && *under_way == 0,
            Task::Active { under_way, post, .. } => now_ns >= post.until_ns() && *under_way == 0,
        }
    }
}
