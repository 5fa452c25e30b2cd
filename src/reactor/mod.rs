//! Threads that do I/O: one reactor each, which owns everything it touches.
//!
//! A turn is [`wait, gather, serve`](Reactor::run): causes of work only mark a connection and put its key
//! into one ready queue; then each key is driven once. Nothing is shared between reactors but counters, the
//! inbox and immutable gateways. The only layer that names `mio` and `socket2`.

mod accept;
mod access;
pub mod balance;
mod client;
pub mod descriptors;
mod dispatch;
mod epoch;
mod floor;
mod inbox;
mod lines;
mod peers;
mod pending;
mod readiness;
mod reflection;
mod relay;
#[cfg(test)]
mod sim;
mod stream;
mod token;
mod turn;
mod watch;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};

pub use accept::{Manner, claim};
pub use dispatch::{Dispatching, Refusal};
pub use floor::Means;
pub use inbox::{Generation, Inbox, Notice};
pub use lines::UpstreamMeans;
pub use turn::CloseReason;

use crate::base::clock::{Clock, Tick};
use crate::config::Listen;
use crate::observe::log::Level;
use crate::reactor::accept::{AcceptError, Listener};
use crate::reactor::balance::{Seat, Standing};
use crate::reactor::floor::Floor;
use crate::reactor::lines::KernelDialer;
use crate::reactor::stream::Socket;
use crate::reactor::token::Source;
use crate::reactor::watch::edge_of;

/// The main listeners' gateway.
pub const ENTRANCE_MAIN: u8 = 0;
/// The admin listener's gateway.
pub const ENTRANCE_ADMIN: u8 = 1;

/// What a reactor is made of. Everything in it was made before the thread took a descriptor table of its own.
pub struct Setup {
    /// Its poll.
    pub poll: Poll,
    /// Its inbox, whose waker is registered with `poll`.
    pub inbox: Arc<Inbox>,
    /// What connections are served with.
    pub means: Means,
    /// How the kernel is told who should have the next client, where it asks.
    pub seat: Option<Seat>,
}

/// How a reactor ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Farewell {
    /// Connections that were open when the drain began and ended in their own time.
    pub drained: u32,
    /// Connections that were cut at the end of the drain's time.
    pub cut: u32,
}

impl Farewell {
    /// Both together.
    #[must_use]
    pub fn with(self, other: Farewell) -> Farewell {
        Farewell { drained: self.drained + other.drained, cut: self.cut + other.cut }
    }
}

/// See the module.
pub struct Reactor {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    inbox: Arc<Inbox>,
    floor: Floor<Socket>,
    accepting: Accepting,
    seat: Option<Seat>,
    drain: Option<Drain>,
    /// Whether every other reactor has ended.
    is_last: bool,
    /// Whether jobs may come home. Where none can, no turn looks for them.
    has_workers: bool,
}

/// Whether new connections are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Yes,
    /// The kernel had no room; no edge will tell when it has.
    PausedUntil(Tick),
    /// Every slot is taken; goes on when a tenth is free again, so that it does not flap.
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Drain {
    cut_at: Tick,
    /// When the main listeners are closed at the latest, as long as they are open.
    doors_close_at: Option<Tick>,
    /// Connections there were, and those that were on their way.
    begun_with: u32,
}

/// Events taken from the kernel in one turn.
const EVENTS_MAX: usize = 256;
/// Jobs that come home in one turn.
const HOMECOMINGS_MAX: usize = 256;
/// How long a drain waits for handshakes that are under way.
const DOORS_OPEN_MS_MAX: u32 = 1_000;
/// How long accepting pauses when the kernel has no room.
const ACCEPT_PAUSE_MS: u32 = 100;

impl Reactor {
    /// A reactor that listens nowhere yet. Call it on the thread that will run it, after that thread took its
    /// descriptor table.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new(setup: Setup) -> io::Result<Reactor> {
        let mut clock = Clock::of_machine();
        clock.tick();
        let dialer = KernelDialer(setup.poll.registry().try_clone()?);
        Ok(Reactor {
            poll: setup.poll,
            events: Events::with_capacity(EVENTS_MAX),
            listeners: Vec::new(),
            inbox: setup.inbox,
            has_workers: setup.means.dispatching.hatch.is_some(),
            floor: Floor::new(setup.means, clock, Box::new(dialer)),
            accepting: Accepting::Yes,
            seat: setup.seat,
            drain: None,
            is_last: false,
        })
    }

    /// Opens a listener on this reactor, for that entrance. `address`: which of those it is that are
    /// [balanced](balance), if it is one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn listen(
        &mut self,
        listen: &Listen,
        manner: Manner,
        entrance: u8,
        address: Option<u32>,
    ) -> io::Result<()> {
        let number = self.listeners.len() as u32;
        let mut listener = Listener::open(listen, manner, entrance, number)?;
        if let (Some(seat), Some(address)) = (&self.seat, address) {
            seat.enter(listener.as_raw_fd(), address)?;
            listener.is_balanced = true;
        }
        let token = Source::<()>::Listener(number).token();
        self.poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), token, Interest::READABLE)?;
        self.listeners.push(listener);
        Ok(())
    }

    /// Turns until it is drained or stopped.
    ///
    /// # Errors
    /// When waiting for events fails for good.
    pub fn run(mut self) -> io::Result<Farewell> {
        loop {
            self.wait()?; //                             epoll; then one look at the time
            self.gather_events(); //                     mark readiness, enqueue keys; do no work yet
            if let Some(farewell) = self.gather_inbox() {
                return Ok(farewell);
            }
            self.accept_some(); //                       bounded; first bytes are often here already
            self.close_doors();
            self.floor.serve(self.poll.registry()); //   drive each key once; the unfinished go to the back
            self.floor.expire(self.poll.registry()); //  who came in time was served; the rest: 408 or close
            self.floor.end_turn();
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        // The look behind the last answer is as good as one of our own.
        let worked_until = self.floor.clock.seen_ns();
        let worked = worked_until - self.floor.clock.now_ns();
        self.floor.tally.busy_ns.add(worked);
        self.floor.tally.turn_work.record(worked, 1);
        // Room may have come up in this turn, and nothing else would tell.
        self.reconsider_accepting();
        self.tell_kernel();
        let patience = self.patience();
        if self.floor.owes_wake() && patience != Some(Duration::ZERO) {
            // Under load there is more to do at once, and workers are woken for several turns together.
            self.poll(Some(Duration::ZERO))?;
            if self.events.is_empty() {
                self.floor.wake_workers();
                self.sleep(patience)?;
            }
        } else {
            self.sleep(patience)?;
        }
        self.floor.clock.tick();
        if let Some(seat) = &self.seat {
            seat.rise(self.floor.clock.now_ns());
        }
        self.floor.tally.waiting_ns.add(self.floor.clock.now_ns() - worked_until);
        Ok(())
    }

    /// Waits for events, unless there is mail to be read.
    fn sleep(&mut self, patience: Option<Duration>) -> io::Result<()> {
        if !self.has_workers || patience == Some(Duration::ZERO) {
            return self.poll(patience);
        }
        let slept = self.poll(if self.inbox.may_sleep() { patience } else { Some(Duration::ZERO) });
        self.inbox.rise();
        slept
    }

    fn poll(&mut self, mut patience: Option<Duration>) -> io::Result<()> {
        if let (Some(seat), true) = (&self.seat, patience != Some(Duration::ZERO)) {
            seat.sleep();
        }
        while let Err(error) = self.poll.poll(&mut self.events, patience) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
            // Who was stopped and goes on looks at what happened meanwhile before it looks at the time.
            patience = Some(Duration::ZERO);
        }
        Ok(())
    }

    /// How long nothing needs to be done unless something happens.
    fn patience(&self) -> Option<Duration> {
        if self.floor.is_busy() || self.may_accept() || self.is_drained() || self.has_mail() {
            return Some(Duration::ZERO);
        }
        let paused_until = match self.accepting {
            Accepting::PausedUntil(tick) => Some(tick),
            Accepting::Yes | Accepting::Full => None,
        };
        let cut_at = self.drain.map(|drain| drain.cut_at);
        let doors_close_at = self.drain.and_then(|drain| drain.doors_close_at);
        let count_again_at = self.seat.as_ref().map(Seat::again_at);
        let moments = [self.floor.next_moment(), paused_until, cut_at, doors_close_at, count_again_at];
        let now = self.floor.clock.now();
        let ticks = moments.into_iter().flatten().map(|moment| moment.since(now)).min()?;
        // One more than the distance: this tick is already under way.
        Some(Duration::from_millis(u64::from(ticks + 1) * u64::from(Tick::MS)))
    }

    fn gather_events(&mut self) {
        let mut count = 0;
        for event in &self.events {
            count += 1;
            match Source::of(event.token()) {
                Source::Inbox => {}
                Source::Listener(number) => {
                    // Not its place in the list, which changes when a drain closes others.
                    if let Some(listener) = self.listeners.iter_mut().find(|each| each.number == number) {
                        listener.is_ready = true;
                    }
                }
                Source::Client(key) => self.floor.note(key, edge_of(event)),
                Source::Line(key) => self.floor.note_line(key.index(), key.generation(), edge_of(event)),
            }
        }
        if count == EVENTS_MAX as u64 {
            // More waits in the kernel, in the order it came: behind very many clients that all leave at
            // once, a new one would wait until the last of them is gone. One look each turn lets it in.
            self.listeners.iter_mut().for_each(|listener| listener.is_ready = true);
        }
        self.floor.tally.turns.add(1);
        self.floor.tally.events.add(count);
        if let Some(second) = self.floor.clock.second_turned() {
            self.floor.stamp.set(second);
        }
    }

    /// Listens to what other threads say. `Some`: the end has come.
    fn gather_inbox(&mut self) -> Option<Farewell> {
        while let Some(notice) = self.inbox.next() {
            match notice {
                Notice::Drain { ms_max } => self.begin_drain(ms_max),
                Notice::Reload(generation) => self.take_over(&generation),
                Notice::Last => self.is_last = true,
                Notice::Stop => return Some(self.end_drain()),
            }
        }
        if self.has_workers {
            self.gather_jobs();
        }
        let is_late = self.drain.is_some_and(|drain| self.floor.clock.now().has_reached(drain.cut_at));
        (is_late || self.is_drained()).then(|| self.end_drain())
    }

    /// Answers by another generation from now on.
    fn take_over(&mut self, generation: &Generation) {
        self.floor.reload(Arc::clone(&generation.gateways), generation.limits);
        // Nobody waits for it any more when it took too long.
        let _ = generation.taken.send(generation.number);
    }

    /// Takes in what workers have brought: some of it, the rest in the next turn.
    fn gather_jobs(&mut self) {
        for _ in 0..HOMECOMINGS_MAX {
            let Some(job) = self.inbox.next_done() else { break };
            self.floor.take_home(job);
        }
        while let Some(to) = self.inbox.next_room() {
            self.floor.make_room(to);
        }
    }

    fn has_mail(&self) -> bool {
        self.has_workers && self.inbox.has_mail()
    }

    /// Whether a drain is complete here. Who has the admin listener stays until the others are gone, since
    /// somebody may ask there how they are doing.
    fn is_drained(&self) -> bool {
        let Some(drain) = self.drain else { return false };
        let may_go = self.is_last || self.listeners.is_empty();
        drain.doors_close_at.is_none() && may_go && self.floor.visitors() == 0
    }

    /// Sends no more clients here, and wakes every connection so that the idle ones go. The main listeners
    /// are closed when who is on the way to them is here.
    fn begin_drain(&mut self, ms_max: u32) {
        if self.drain.is_some() {
            return;
        }
        let now = self.floor.clock.now();
        self.drain = Some(Drain {
            cut_at: now.after_ms(ms_max),
            doors_close_at: Some(now.after_ms(ms_max.min(DOORS_OPEN_MS_MAX))),
            begun_with: self.floor.visitors(),
        });
        self.tell_kernel();
        self.floor.begin_drain();
        self.close_doors();
    }

    /// Takes in who waits at the main listeners, and closes these, once nobody is known to come.
    ///
    /// Closing a listener resets whoever waits in its queue or is half-way through a handshake: the kernel
    /// has told them that they are welcome, so they are served. Where the hash sends them, nobody knows who
    /// is half-way.
    fn close_doors(&mut self) {
        let Some(close_at) = self.drain.and_then(|drain| drain.doors_close_at) else { return };
        self.listeners.iter_mut().for_each(|listener| listener.is_ready = true);
        while self.may_accept() {
            self.accept_some();
        }
        let expected = self.seat.as_ref().map_or(0, Seat::expected);
        if expected > 0 && !self.floor.clock.now().has_reached(close_at) {
            return;
        }
        self.listeners.retain(|listener| listener.entrance == ENTRANCE_ADMIN);
        self.drain = self.drain.map(|drain| Drain { doors_close_at: None, ..drain });
    }

    fn end_drain(&mut self) -> Farewell {
        let cut = self.floor.cut_all();
        let begun_with = self.drain.map_or(cut, |drain| drain.begun_with);
        self.floor.end_turn();
        Farewell { drained: begun_with.saturating_sub(cut), cut }
    }

    /// Whether there is somebody to accept and room for them.
    fn may_accept(&self) -> bool {
        self.accepting == Accepting::Yes && self.listeners.iter().any(|listener| listener.is_ready)
    }

    fn accept_some(&mut self) {
        self.reconsider_accepting();
        if !self.may_accept() {
            return;
        }
        for at in 0..self.listeners.len() {
            for _ in 0..self.floor.limits.accepts_per_turn {
                if self.accepting != Accepting::Yes || !self.listeners[at].is_ready {
                    break;
                }
                self.accept_one(at);
            }
        }
    }

    fn reconsider_accepting(&mut self) {
        let resumes = match self.accepting {
            Accepting::Yes => return,
            Accepting::PausedUntil(tick) => self.floor.clock.now().has_reached(tick),
            Accepting::Full => self.floor.has_room(),
        };
        if resumes {
            self.accepting = Accepting::Yes;
        }
    }

    fn accept_one(&mut self, at: usize) {
        if self.floor.is_full() {
            self.pause_accepting(Accepting::Full, "every connection slot is taken");
            return;
        }
        let listener = &mut self.listeners[at];
        let entrance = listener.entrance;
        let (fd, peer) = match listener.accept(self.floor.wants_peers()) {
            Ok(accepted) => accepted,
            Err(error) => {
                match AcceptError::of(&error) {
                    AcceptError::Empty => listener.is_ready = false,
                    AcceptError::Gone => self.floor.tally.refused.add(1),
                    AcceptError::NoRoom => {
                        self.floor.tally.refused.add(1);
                        let until = self.floor.clock.now().after_ms(ACCEPT_PAUSE_MS);
                        self.pause_accepting(Accepting::PausedUntil(until), &error.to_string());
                    }
                }
                return;
            }
        };
        if let (Some(seat), true) = (&mut self.seat, listener.is_balanced) {
            seat.note_accepted();
        }
        if let (Some(drain), ENTRANCE_MAIN) = (&mut self.drain, entrance) {
            drain.begun_with += 1;
        }
        self.floor.admit(Socket::new(fd), entrance, peer);
    }

    fn standing(&self) -> Standing {
        match self.accepting {
            _ if self.drain.is_some() => Standing::Left,
            // Whether the pause is over is known when those are accepted who waited meanwhile.
            Accepting::Yes if self.may_accept() && self.seat.as_ref().is_some_and(Seat::is_paused) => {
                Standing::Paused
            }
            Accepting::Yes => Standing::Open,
            Accepting::PausedUntil(_) | Accepting::Full => Standing::Paused,
        }
    }

    /// Where the kernel chooses who gets the next client, it has to know how things stand here.
    fn tell_kernel(&mut self) {
        let standing = self.standing();
        let Some(seat) = &mut self.seat else { return };
        let waits = |listener: &Listener| listener.is_balanced && listener.is_ready;
        let is_quiet = standing == Standing::Open && !self.listeners.iter().any(waits);
        seat.tell(self.floor.open(), standing, is_quiet, self.floor.clock.now());
        self.floor.tally.coming.set(seat.expected());
    }

    fn pause_accepting(&mut self, how: Accepting, why: &str) {
        self.accepting = how;
        // At once: until the turn ends more would be sent here.
        self.tell_kernel();
        self.floor.tally.accept_pauses.add(1);
        self.floor.log.event(
            Level::Warn,
            "accept",
            format_args!("{why}; accepting pauses, new clients wait in the backlog"),
        );
    }
}
