//! Threads that do I/O: one reactor each, which owns everything it touches.
//!
//! A turn is [`wait, gather, serve`](Reactor::run): causes of work only mark a connection and put its key into one
//! ready queue; then each key is driven once. Nothing is shared between reactors but counters, the inbox and immutable
//! gateways. The only layer that names `mio` and `socket2`.

mod accept;
mod access;
mod client;
pub mod descriptors;
mod inbox;
mod readiness;
mod reflection;
mod stream;
mod token;
mod turn;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};

pub use accept::claim;
pub use inbox::{Inbox, Notice};
pub use turn::CloseReason;

use crate::base::clock::{Clock, Tick};
use crate::base::pool::Pool;
use crate::base::slots::{Key, Slots};
use crate::base::wheel::Wheel;
use crate::config::{AccessFormat, Limits, Listen};
use crate::gateway::Gateway;
use crate::http::HeadIndex;
use crate::observe::Tally;
use crate::observe::log::{Level, Log};
use crate::proto::h1::Stamp;
use crate::reactor::accept::{AcceptError, Listener};
use crate::reactor::access::Access;
use crate::reactor::client::{Busy, Client};
use crate::reactor::stream::Socket;
use crate::reactor::token::Source;
use crate::reactor::turn::{Step, Turn};

type ClientKey = Key<Client<Socket>>;

/// The main listeners' gateway.
pub const SITE_MAIN: u8 = 0;
/// The admin listener's gateway.
pub const SITE_ADMIN: u8 = 1;

/// What a reactor is made of. Everything in it was made before the thread took a descriptor table of its own.
pub struct Setup {
    /// Its poll.
    pub poll: Poll,
    /// Its inbox, whose waker is registered with `poll`.
    pub inbox: Arc<Inbox>,
    /// What each kind of listener serves: [`SITE_MAIN`], [`SITE_ADMIN`].
    pub gateways: Arc<[Gateway]>,
    /// Its counters.
    pub tally: Arc<Tally>,
    /// Bounds on each connection.
    pub limits: Limits,
    /// Connections at once.
    pub clients_max: u32,
    /// Buffers lent at once.
    pub buffers_max: u32,
    /// The size of a buffer.
    pub buffer_bytes: u32,
    /// What `Server` says.
    pub server_name: Option<String>,
    /// Where events and access lines go.
    pub log: Log,
    /// How access lines are written.
    pub access_format: AccessFormat,
}

/// How a reactor ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Farewell {
    /// Connections that were open when the drain began and ended in their own time.
    pub drained: u32,
    /// Connections that were cut at the end of the drain's time.
    pub cut: u32,
}

/// See the module.
pub struct Reactor {
    poll: Poll,
    events: Events,
    clock: Clock,
    stamp: Stamp,
    listeners: Vec<Listener>,
    clients: Slots<Client<Socket>>,
    admin_clients: u32,
    ready: VecDeque<ClientKey>,
    thirsty: VecDeque<ClientKey>,
    wheel: Wheel,
    due: Vec<u32>,
    pool: Pool<Busy>,
    buffer_bytes: u32,
    index: Box<HeadIndex>,
    inbox: Arc<Inbox>,
    gateways: Arc<[Gateway]>,
    tally: Arc<Tally>,
    limits: Limits,
    log: Log,
    access: Option<Access>,
    accepting: Accepting,
    drain: Option<Drain>,
    /// Whether every other reactor has ended.
    is_last: bool,
    trim_at: Option<Tick>,
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
    open_at_start: u32,
}

/// Events taken from the kernel in one turn.
const EVENTS_MAX: usize = 1024;
/// How long accepting pauses when the kernel has no room.
const ACCEPT_PAUSE_MS: u32 = 100;
/// How often a surplus of buffers is trimmed.
const TRIM_MS: u32 = 100;

impl Reactor {
    /// A reactor that listens nowhere yet. Call it on the thread that will run it, after that thread took its
    /// descriptor table.
    #[must_use]
    pub fn new(setup: Setup) -> Reactor {
        let mut clock = Clock::of_machine();
        clock.tick();
        let access = setup.log.access_lines();
        Reactor {
            poll: setup.poll,
            events: Events::with_capacity(EVENTS_MAX),
            stamp: Stamp::new(setup.server_name.as_deref()),
            listeners: Vec::new(),
            clients: Slots::with_limit(setup.clients_max),
            admin_clients: 0,
            ready: VecDeque::new(),
            thirsty: VecDeque::new(),
            wheel: Wheel::with_limit(setup.clients_max, clock.now()),
            due: Vec::new(),
            pool: Pool::with_limit(setup.buffers_max),
            buffer_bytes: setup.buffer_bytes,
            index: Box::default(),
            inbox: setup.inbox,
            gateways: setup.gateways,
            tally: setup.tally,
            limits: setup.limits,
            access: access.map(|lines| Access { lines, format: setup.access_format }),
            log: setup.log,
            accepting: Accepting::Yes,
            drain: None,
            is_last: false,
            trim_at: None,
            clock,
        }
    }

    /// Opens a listener on this reactor, for that site.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn listen(&mut self, listen: &Listen, backlog: u32, site: u8) -> io::Result<()> {
        let number = self.listeners.len() as u32;
        let listener = Listener::open(listen, backlog, site, number)?;
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
            self.wait()?; //           epoll; no sleep while anything is ready; then one look at the time
            self.gather_events(); //   mark readiness, enqueue keys; do no work yet
            if let Some(farewell) = self.gather_inbox() {
                return Ok(farewell);
            }
            self.gather_expired(); //  turn passed deadlines into 408 or close, enqueue keys
            self.accept_some(); //     bounded; new keys are enqueued, their first bytes are often here
            self.serve(); //           drive each key once; the unfinished go to the back
            self.end_turn();
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let worked_until = self.clock.precise_ns();
        let worked = worked_until - self.clock.now_ns();
        self.tally.busy_ns.add(worked);
        self.tally.turn_ns_longest.raise(worked);
        let patience = self.patience();
        match self.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.clock.tick();
        self.tally.waiting_ns.add(self.clock.now_ns() - worked_until);
        Ok(())
    }

    /// How long nothing needs to be done unless something happens.
    fn patience(&self) -> Option<Duration> {
        if !self.ready.is_empty() || self.may_accept() || self.is_drained() {
            return Some(Duration::ZERO);
        }
        let paused_until = match self.accepting {
            Accepting::PausedUntil(tick) => Some(tick),
            Accepting::Yes | Accepting::Full => None,
        };
        let moments = [self.wheel.next(), paused_until, self.trim_at, self.drain.map(|drain| drain.cut_at)];
        let now = self.clock.now();
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
                Source::Client(key) => {
                    // A key of a connection that was closed after the kernel reported it finds nobody.
                    let Some(client) = self.clients.get_mut(key) else { continue };
                    if event.is_readable() {
                        client.readiness.note_readable();
                    }
                    if event.is_writable() {
                        client.readiness.note_writable();
                    }
                    if event.is_read_closed() || event.is_error() {
                        client.readiness.note_ending();
                    }
                    if !client.readiness.set_queued(true) {
                        self.ready.push_back(key);
                    }
                }
            }
        }
        self.tally.turns.add(1);
        self.tally.events.add(count);
        if let Some(second) = self.clock.second_turned() {
            self.stamp.set(second);
        }
    }

    /// Listens to what other threads say. `Some`: the end has come.
    fn gather_inbox(&mut self) -> Option<Farewell> {
        while let Some(notice) = self.inbox.next() {
            match notice {
                Notice::Drain { ms_max } => self.begin_drain(ms_max),
                Notice::Last => self.is_last = true,
                Notice::Stop => return Some(self.end_drain()),
            }
        }
        let is_late = self.drain.is_some_and(|drain| self.clock.now().has_reached(drain.cut_at));
        (is_late || self.is_drained()).then(|| self.end_drain())
    }

    /// Whether a drain is complete here. Who has the admin listener stays until the others are gone, since somebody
    /// may ask there how they are doing.
    fn is_drained(&self) -> bool {
        let may_go = self.is_last || self.listeners.is_empty();
        self.drain.is_some() && may_go && self.clients.len() == self.admin_clients
    }

    /// Takes in who waits at the main listeners, closes these, and wakes every connection so that the idle ones go.
    fn begin_drain(&mut self, ms_max: u32) {
        if self.drain.is_some() {
            return;
        }
        // Closing a listener resets whoever waits in its queue: they were accepted by the kernel, so they are served.
        for listener in &mut self.listeners {
            listener.is_ready = true;
        }
        while self.may_accept() {
            self.accept_some();
        }
        let (admin, main): (Vec<_>, Vec<_>) =
            self.listeners.drain(..).partition(|listener| listener.site == SITE_ADMIN);
        drop(main);
        self.listeners = admin;
        let cut_at = self.clock.now().after_ms(ms_max);
        self.drain = Some(Drain { cut_at, open_at_start: self.clients.len() - self.admin_clients });
        let keys: Vec<ClientKey> = self.clients.keys().collect();
        for key in keys {
            let Some(client) = self.clients.get_mut(key) else { continue };
            // A last look: a request may lie in the socket whose edge has not come up yet.
            client.readiness.note_readable();
            if !client.readiness.set_queued(true) {
                self.ready.push_back(key);
            }
        }
    }

    fn end_drain(&mut self) -> Farewell {
        let keys: Vec<ClientKey> = self.clients.keys().collect();
        let mut cut = 0;
        for key in keys {
            let Some(client) = self.clients.get_mut(key) else { continue };
            cut += u32::from(client.site() == SITE_MAIN);
            let reason = client.cut();
            self.close(key, reason);
        }
        let open_at_start = self.drain.map_or(cut, |drain| drain.open_at_start);
        self.end_turn();
        Farewell { drained: open_at_start.saturating_sub(cut), cut }
    }

    fn gather_expired(&mut self) {
        let now = self.clock.now();
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(now, &mut due);
        for slot in due.drain(..) {
            let Some(key) = self.clients.key_at(slot) else { continue };
            let (mut turn, clients) = self.turn();
            let Some(client) = clients.get_mut(key) else { continue };
            client.readiness.set_armed(false);
            match client.expire(&mut turn) {
                Some(step) => self.follow(key, step),
                None => self.arm(key),
            }
        }
        self.due = due;
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
            for _ in 0..self.limits.accepts_per_turn {
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
            Accepting::PausedUntil(tick) => self.clock.now().has_reached(tick),
            Accepting::Full => u64::from(self.clients.len()) * 10 <= u64::from(self.clients.limit()) * 9,
        };
        if resumes {
            self.accepting = Accepting::Yes;
        }
    }

    fn accept_one(&mut self, at: usize) {
        if self.clients.is_full() {
            self.pause_accepting(Accepting::Full, "every connection slot is taken");
            return;
        }
        let listener = &mut self.listeners[at];
        let site = listener.site;
        let fd = match listener.accept() {
            Ok(fd) => fd,
            Err(error) => {
                match AcceptError::of(&error) {
                    AcceptError::Empty => listener.is_ready = false,
                    AcceptError::Gone => self.tally.refused.add(1),
                    AcceptError::NoRoom => {
                        self.tally.refused.add(1);
                        let until = self.clock.now().after_ms(ACCEPT_PAUSE_MS);
                        self.pause_accepting(Accepting::PausedUntil(until), &error.to_string());
                    }
                }
                return;
            }
        };
        let client = Client::new(Socket::new(fd), site, self.clock.now(), &self.limits);
        let Ok(key) = self.clients.insert(client) else { return };
        self.tally.accepted.add(1);
        self.admin_clients += u32::from(site == SITE_ADMIN);
        if let Some(client) = self.clients.get_mut(key) {
            client.readiness.set_queued(true);
        }
        self.ready.push_back(key);
    }

    fn pause_accepting(&mut self, how: Accepting, why: &str) {
        self.accepting = how;
        self.tally.accept_pauses.add(1);
        self.log.event(
            Level::Warn,
            "accept",
            format_args!("{why}; accepting pauses, new clients wait in the backlog"),
        );
    }

    fn serve(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else { break };
            let (mut turn, clients) = self.turn();
            let Some(client) = clients.get_mut(key) else { continue };
            client.readiness.set_queued(false);
            let step = client.drive(&mut turn);
            self.follow(key, step);
        }
        self.quench();
    }

    /// Does what a drive asked for.
    fn follow(&mut self, key: ClientKey, step: Step) {
        match step {
            Step::Park => self.park(key),
            Step::Again => {
                self.enqueue(key);
                self.arm(key);
            }
            Step::Thirsty => {
                self.thirsty.push_back(key);
                self.arm(key);
            }
            Step::Close(reason) => self.close(key, reason),
        }
    }

    fn enqueue(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if !client.readiness.set_queued(true) {
            self.ready.push_back(key);
        }
    }

    /// Buffers came back: those who wait for one go on.
    fn quench(&mut self) {
        for _ in 0..self.pool.available().min(self.thirsty.len()) {
            let Some(key) = self.thirsty.pop_front() else { return };
            self.enqueue(key);
        }
    }

    /// A parked connection is watched by the kernel and by the wheel.
    fn park(&mut self, key: ClientKey) {
        if self.watch(key).is_err() {
            self.log.event(
                Level::Error,
                "watch",
                "the kernel refuses to watch another connection; it is closed",
            );
            self.close(key, CloseReason::Exhausted);
            return;
        }
        self.arm(key);
    }

    /// Registers late and rarely: a connection that is answered and closed in its first drive never is, and writability
    /// is asked for at the first short write only.
    fn watch(&mut self, key: ClientKey) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(key) else { return Ok(()) };
        let for_writing = client.is_blocked();
        let readiness = client.readiness;
        if readiness.is_registered() && (!for_writing || readiness.is_registered_for_writing()) {
            return Ok(());
        }
        let interest = if for_writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let (fd, token) = (client.stream().as_raw_fd(), Source::Client(key).token());
        let registry = self.poll.registry();
        match readiness.is_registered() {
            false => registry.register(&mut SourceFd(&fd), token, interest)?,
            true => registry.reregister(&mut SourceFd(&fd), token, interest)?,
        }
        client.readiness.set_registered(for_writing);
        Ok(())
    }

    /// Sees to it that the wheel looks at the connection by its deadline. A later deadline leaves the entry alone.
    fn arm(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.readiness.is_armed() && client.deadline.has_reached(client.armed_for) {
            return;
        }
        client.readiness.set_armed(true);
        client.armed_for = client.deadline;
        self.wheel.arm(key.index(), client.deadline);
    }

    fn close(&mut self, key: ClientKey, reason: CloseReason) {
        let Some(mut client) = self.clients.remove(key) else { return };
        if let Some(busy) = client.dismantle() {
            self.pool.give_back(busy);
        }
        if client.readiness.is_armed() {
            self.wheel.disarm(key.index());
        }
        self.admin_clients -= u32::from(client.site() == SITE_ADMIN);
        self.tally.closed.add(reason as usize, 1);
        // Closing the last descriptor takes the socket out of the poll, so no call is spent on that.
    }

    fn end_turn(&mut self) {
        let now = self.clock.now();
        if self.trim_at.is_some_and(|tick| now.has_reached(tick)) {
            self.pool.trim();
            self.trim_at = None;
        }
        if self.trim_at.is_none() && self.pool.has_surplus() {
            self.trim_at = Some(now.after_ms(TRIM_MS));
        }
        if let Some(access) = &mut self.access {
            access.lines.hand_over();
        }
        self.tally.open.set(u64::from(self.clients.len()));
        self.tally.buffers_lent.set(u64::from(self.pool.lent()));
        self.tally.buffers_spare.set(self.pool.spare() as u64);
        self.tally.timers.set(u64::from(self.wheel.armed()));
    }

    /// All that a connection may touch, and the connections, borrowed apart.
    fn turn(&mut self) -> (Turn<'_>, &mut Slots<Client<Socket>>) {
        let turn = Turn {
            clock: &self.clock,
            stamp: &self.stamp,
            limits: &self.limits,
            gateways: &self.gateways,
            pool: &mut self.pool,
            buffer_bytes: self.buffer_bytes,
            index: &mut self.index,
            tally: &self.tally,
            access: self.access.as_mut(),
            log: &self.log,
            draining: self.drain.is_some(),
        };
        (turn, &mut self.clients)
    }
}
