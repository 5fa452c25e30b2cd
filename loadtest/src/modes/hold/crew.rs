//! All keepers: told what to do together, and waited for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};

use crate::engine::conduct::Origin;
use crate::engine::faults::Fault;
use crate::engine::lot::{Lot, Setup};
use crate::engine::table;
use crate::engine::tally::{Beat, Tally};
use crate::modes::hold::keeper::{Board, Keeper, Order};
use crate::run::share_of;
use crate::wire::target::Target;

/// Threads that hold connections.
pub struct Crew<'scope> {
    desks: Vec<Desk<'scope>>,
    pub board: Arc<Board>,
    pub epoch: Instant,
}

/// Where one keeper is reached.
struct Desk<'scope> {
    orders: Sender<Order>,
    waker: Waker,
    thread: ScopedJoinHandle<'scope, io::Result<()>>,
}

/// What keepers have in common.
pub struct Means {
    pub target: Arc<Target>,
    pub sources: Origin,
    pub timeout: Duration,
    pub threads: u64,
    /// Connections under way at once, over all threads.
    pub window: u64,
}

impl<'scope> Crew<'scope> {
    /// Starts the threads, with nothing to do yet.
    ///
    /// # Errors
    /// When a poll or a thread cannot be made.
    pub fn start(scope: &'scope Scope<'scope, '_>, means: &Means) -> io::Result<Crew<'scope>> {
        let epoch = Instant::now();
        let board = Arc::new(Board::default());
        let window = means.window.div_ceil(means.threads) as usize;
        let mut desks = Vec::new();
        // Polls and wakers are made in the common table, before anybody leaves it.
        for number in 0..means.threads as u32 {
            let sources = means.sources.of_thread(number);
            let target = Arc::clone(&means.target);
            let setup = Setup { poll: Poll::new()?, target, sources, epoch, timeout: means.timeout };
            let waker = setup.waker()?;
            let (sender, orders) = mpsc::channel();
            let board = Arc::clone(&board);
            let thread = scope.spawn(move || {
                let _ = table::make_private();
                Keeper { lot: Lot::new(setup)?, orders, board, window }.run()
            });
            desks.push(Desk { orders: sender, waker, thread });
        }
        Ok(Crew { desks, board, epoch })
    }

    /// Gives every keeper its part of the connections to hold.
    pub fn hold(&self, connections: u64, pace: Option<f64>) {
        let threads = self.desks.len() as u64;
        self.tell(|number| Order::Hold {
            connections: share_of(connections, threads, number),
            pace: pace.map(|pace| pace / threads as f64),
        });
    }

    /// Lets every connection ask once; the counts arrive as they are made.
    pub fn sweep(&self) -> Receiver<Beat> {
        self.board.swept.store(0, Ordering::Relaxed);
        let (sender, beats) = mpsc::channel();
        self.tell(|_| Order::Sweep { sender: sender.clone() });
        beats
    }

    /// Keeps some of the connections busy for a while.
    pub fn keep_active(&self, connections: u64, rate: f64, lasts: Duration) -> Receiver<Beat> {
        let threads = self.desks.len() as u64;
        let (sender, beats) = mpsc::channel();
        let from_ns = self.epoch.elapsed().as_nanos() as u64;
        let until_ns = from_ns + lasts.as_nanos() as u64;
        self.tell(|number| Order::Active {
            connections: share_of(connections, threads, number).max(1),
            rate: rate / threads as f64,
            // Staggered, so that the schedules of all threads make one even schedule.
            from_ns: from_ns + (f64::from(number) * 1e9 / rate) as u64,
            until_ns,
            sender: sender.clone(),
        });
        beats
    }

    /// Closes all connections at once.
    pub fn close(&self) {
        self.tell(|_| Order::Close);
    }

    /// Connections that are held, and everything that went wrong with connections so far.
    pub fn standing(&self) -> (u64, u64) {
        let errors = self.board.errors.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        (self.board.held.load(Ordering::Relaxed), errors)
    }

    /// Errors of connections by kind.
    pub fn errors(&self) -> Vec<(Fault, u64)> {
        let count = |fault: &Fault| (*fault, self.board.errors[*fault as usize].load(Ordering::Relaxed));
        Fault::ALL.iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    /// Whether a keeper has given up.
    pub fn has_failed(&self) -> bool {
        self.desks.iter().any(|desk| desk.thread.is_finished())
    }

    /// Lets all threads end, with what they still hold.
    ///
    /// # Errors
    /// Of the first that failed.
    pub fn dismiss(self) -> io::Result<()> {
        for Desk { orders, waker, thread } in self.desks {
            drop(orders);
            waker.wake()?;
            thread.join().map_err(|_| io::Error::other("a load thread panicked"))??;
        }
        Ok(())
    }

    fn tell(&self, order: impl Fn(u32) -> Order) {
        for (number, desk) in (0..).zip(&self.desks) {
            // A keeper that has given up shows when it is waited for.
            let _ = desk.orders.send(order(number));
            let _ = desk.waker.wake();
        }
    }
}

/// Everything that was counted, once all have handed over; `look` is called ten times a second meanwhile.
pub fn add_up(beats: &Receiver<Beat>, mut look: impl FnMut(&Tally)) -> Tally {
    let mut total = Tally::default();
    loop {
        match beats.recv_timeout(Duration::from_millis(100)) {
            Ok(beat) => total.merge(&beat.tally),
            Err(mpsc::RecvTimeoutError::Timeout) => look(&total),
            Err(mpsc::RecvTimeoutError::Disconnected) => return total,
        }
    }
}
