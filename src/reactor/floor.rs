//! The floor on which connections are served: who is here, whose turn it is, who waits for a buffer, when
//! each is looked at again.
//!
//! Promises: a connection stands in at most one queue; one that stands in none is watched and has a deadline
//! in the wheel; what it was lent comes back when it rests or closes.
//! Not here: where connections and edges come from. That is the [`Reactor`](super::Reactor) with the kernel
//! behind it, or a simulation; so that what is simulated is what runs.

mod mail;
mod surplus;
pub(super) mod upstream;
#[cfg(test)]
mod validate;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crate::base::clock::{Clock, Tick};
use crate::base::pool::Pool;
use crate::base::slots::{Key, Slots};
use crate::base::spare::Spare;
use crate::base::wheel::Wheel;
use crate::config::{AccessFormat, Limits};
use crate::gateway::handler::files::Folders;
use crate::gateway::{Arrival, Gateway, Notes};
use crate::http::HeadIndex;
use crate::observe::Tally;
use crate::observe::log::{Level, Log};
use crate::proto::h1::Stamp;
use crate::reactor::access::Access;
use crate::reactor::client::{Busy, Client};
use crate::reactor::dispatch::{Dispatch, Dispatching};
use crate::reactor::epoch::Epoch;
use crate::reactor::lines::{Dialer, Lines, UpstreamMeans};
use crate::reactor::peers::Peers;
use crate::reactor::stream::Stream;
use crate::reactor::turn::{CloseReason, Step, Turn};
use crate::reactor::{ENTRANCE_ADMIN, ENTRANCE_MAIN};

/// What connections are served with.
pub struct Means {
    /// What each kind of listener serves: [`ENTRANCE_MAIN`](super::ENTRANCE_MAIN), [`ENTRANCE_ADMIN`].
    pub gateways: Arc<[Gateway]>,
    /// Connections to upstreams.
    pub upstream: UpstreamMeans,
    /// Counters.
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
    /// How requests go to workers.
    pub dispatching: Dispatching,
    /// Asks the allocator to give what was freed back to the system; called after a burst, seldom.
    pub release_memory: fn(),
    /// Gives memory that holds nothing back to the system; called after many have left, seldom.
    pub discard: fn(Spare<'_>),
}

/// Tells of edges: the kernel's poll, or a simulated one.
pub(super) trait Watcher<S: Stream> {
    /// Watches a stream for input and, if said so, for room; `again`: it is watched already, for less.
    ///
    /// # Errors
    /// When there is no memory to watch it with.
    fn watch(&self, stream: &S, key: Key<Client<S>>, for_writing: bool, again: bool) -> io::Result<()>;
}

/// What a watcher tells of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    pub readable: bool,
    pub writable: bool,
    /// The peer is done sending, or gone.
    pub ending: bool,
    /// Nothing that is sent to it will arrive.
    pub broken: bool,
}

/// Connections that go on with what they were at, driven in one turn: those with news come first, and wait
/// behind no more of it than these write.
const UNFINISHED_PER_TURN: usize = 8;

/// See the module.
///
/// Invariant: a key of a living client is in `ready`, `unfinished` or `thirsty`, once, exactly when its
/// `queued` is set;
/// the wheel has an entry exactly for those whose `armed` is set.
pub(super) struct Floor<S: Stream> {
    pub clock: Clock,
    pub stamp: Stamp,
    pub limits: Limits,
    pub tally: Arc<Tally>,
    pub log: Log,
    epoch: Arc<Epoch>,
    /// Those of the epoch, open in this thread's table.
    folders: Folders,
    arrival: Arrival,
    lines: Lines<S>,
    peers: Peers,
    access: Option<Access>,
    clients: Slots<Client<S>>,
    admin_clients: u32,
    /// Those with news.
    ready: VecDeque<Key<Client<S>>>,
    /// Those who go on with what they were at: their share of a turn was spent, or there is room to write
    /// again.
    unfinished: VecDeque<Key<Client<S>>>,
    /// Those who have something to read and no buffer for it.
    thirsty: VecDeque<Key<Client<S>>>,
    wheel: Wheel,
    due: Vec<u32>,
    pool: Pool<Busy>,
    buffer_bytes: u32,
    index: Box<HeadIndex>,
    notes: Notes,
    dispatch: Dispatch,
    draining: bool,
    trim_at: Option<Tick>,
    /// Buffers were freed that the allocator may still hold.
    owes_memory: bool,
    release_memory: fn(),
    discard: fn(Spare<'_>),
}

impl<S: Stream> Floor<S> {
    pub(super) fn new(means: Means, clock: Clock, dialer: Box<dyn Dialer<S>>) -> Floor<S> {
        let access = means.log.access_lines();
        let mut floor = Floor {
            stamp: Stamp::new(means.server_name.as_deref()),
            limits: means.limits,
            tally: means.tally,
            access: access.map(|lines| Access { lines, format: means.access_format }),
            log: means.log,
            lines: Lines::new(dialer, &means.upstream, means.buffer_bytes),
            arrival: Arrival::UNKNOWN,
            peers: Peers::default(),
            folders: means.gateways[usize::from(ENTRANCE_MAIN)].open_folders(),
            epoch: Epoch::new(means.gateways),
            clients: Slots::with_limit(means.clients_max),
            admin_clients: 0,
            ready: VecDeque::new(),
            unfinished: VecDeque::new(),
            thirsty: VecDeque::new(),
            wheel: Wheel::new(clock.now()),
            due: Vec::new(),
            pool: Pool::with_limit(means.buffers_max),
            buffer_bytes: means.buffer_bytes,
            index: Box::default(),
            notes: Notes::default(),
            dispatch: Dispatch::new(means.dispatching, means.buffers_max, means.buffer_bytes),
            draining: false,
            trim_at: None,
            owes_memory: false,
            release_memory: means.release_memory,
            discard: means.discard,
            clock,
        };
        floor.look_at_site();
        floor
    }

    /// Whether somebody could go on at once.
    pub(super) fn is_busy(&self) -> bool {
        !self.ready.is_empty() || !self.unfinished.is_empty()
    }

    /// Whether workers have to be woken before the reactor may sleep.
    pub(super) fn owes_wake(&self) -> bool {
        self.dispatch.owes_wake()
    }

    /// Wakes them.
    pub(super) fn wake_workers(&mut self) {
        self.dispatch.announce(&self.tally);
    }

    /// When something is to be done even if nothing happens.
    pub(super) fn next_moment(&self) -> Option<Tick> {
        let now = self.clock.now();
        [self.wheel.next(), self.trim_at, self.lines.next_moment(now)]
            .into_iter()
            .flatten()
            .min_by_key(|moment| moment.since(now))
    }

    pub(super) fn is_full(&self) -> bool {
        self.clients.is_full()
    }

    /// Whether a tenth of the places is free, so that who begins to admit again will not stop at once.
    pub(super) fn has_room(&self) -> bool {
        u64::from(self.clients.len()) * 10 <= u64::from(self.clients.limit()) * 9
    }

    /// All connections.
    pub(super) fn open(&self) -> u32 {
        self.clients.len()
    }

    /// Connections that are not the administrator's.
    pub(super) fn visitors(&self) -> u32 {
        self.clients.len() - self.admin_clients
    }

    /// Takes a connection in; its first bytes are often here, so it is driven at once. Drops it when all is
    /// full, or its address has as many as it may.
    pub(super) fn admit(&mut self, stream: S, entrance: u8, peer: Option<IpAddr>) {
        let mut client = Client::new(stream, entrance, self.clock.now(), &self.limits);
        let is_introduced = entrance == ENTRANCE_MAIN && self.peers.are_introduced();
        if is_introduced {
            client.await_introduction();
        }
        let Ok(key) = self.clients.insert(client) else { return };
        self.tally.accepted.add(1);
        self.admin_clients += u32::from(entrance == ENTRANCE_ADMIN);
        // A balancer has many, and says whose they are. An operator may come when all others are refused.
        let peer = peer.filter(|_| entrance == ENTRANCE_MAIN && !is_introduced);
        if self.peers.enter(key.index(), peer).is_err() {
            upstream::tell_of_crowd(peer, &self.log);
            return self.close(key, CloseReason::Crowded);
        }
        self.enqueue(key, true);
    }

    /// An edge was told. The key of a connection that was closed meanwhile finds nobody.
    #[inline]
    pub(super) fn note(&mut self, key: Key<Client<S>>, edge: Edge) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if edge.readable {
            client.readiness.note_readable();
        }
        if edge.writable {
            client.readiness.note_writable();
        }
        if edge.ending {
            client.readiness.note_ending();
        }
        if edge.broken {
            client.readiness.note_broken();
        }
        if !client.readiness.set_queued(true) {
            let is_news = edge.readable || edge.ending || edge.broken;
            let queue = if is_news { &mut self.ready } else { &mut self.unfinished };
            queue.push_back(key);
        }
    }

    /// From here on answers end their connections. Wakes everybody, so that the idle ones go.
    pub(super) fn begin_drain(&mut self) {
        self.draining = true;
        let keys: Vec<_> = self.clients.keys().collect();
        for key in keys {
            // A last look: a request may lie in the socket whose edge has not come up yet.
            self.note(key, Edge { readable: true, ..Edge::default() });
        }
    }

    /// Closes everybody, and tells how many visitors that were.
    pub(super) fn cut_all(&mut self) -> u32 {
        let visitors = self.visitors();
        let keys: Vec<_> = self.clients.keys().collect();
        for key in keys {
            let Some(client) = self.clients.get_mut(key) else { continue };
            let reason = client.cut();
            self.close(key, reason);
        }
        visitors
    }

    /// Turns deadlines that have passed into 408 or a close.
    pub(super) fn expire(&mut self, watcher: &impl Watcher<S>) {
        let now = self.clock.now();
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(&mut self.clients, now, &mut due);
        for slot in due.drain(..) {
            let Some(key) = self.clients.key_at(slot) else { continue };
            let (mut turn, clients) = self.turn(key);
            let Some(client) = clients.get_mut(key) else { continue };
            client.readiness.set_armed(false);
            match client.expire(&mut turn) {
                Some(step) => self.follow(key, step, watcher),
                None => self.arm(key),
            }
        }
        self.due = due;
        self.wake_waiting();
        self.quench();
        self.dispatch.end_batch(&self.tally, self.clock.now_ns());
    }

    /// Drives each connection with news once, and a few of those that go on.
    pub(super) fn serve(&mut self, watcher: &impl Watcher<S>) {
        // Who is set aside now had its share of this turn.
        let unfinished = self.unfinished.len().min(UNFINISHED_PER_TURN);
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else { break };
            self.drive(key, watcher);
        }
        for _ in 0..unfinished {
            let Some(key) = self.unfinished.pop_front() else { break };
            self.drive(key, watcher);
        }
        self.wake_waiting();
        self.quench();
        self.dispatch.end_batch(&self.tally, self.clock.now_ns());
    }

    #[inline]
    fn drive(&mut self, key: Key<Client<S>>, watcher: &impl Watcher<S>) {
        let (mut turn, clients) = self.turn(key);
        let Some(client) = clients.get_mut(key) else { return };
        client.readiness.set_queued(false);
        let step = client.drive(&mut turn);
        // The usual: it goes back to where it waited before.
        if step != Step::Park || !client.is_watched() || !client.is_looked_at() {
            self.follow(key, step, watcher);
        }
    }

    pub(super) fn end_turn(&mut self) {
        self.tend_surplus();
        self.lines.sweep(self.clock.now());
        self.lines.look_around(self.clock.now());
        self.wake_waiting();
        if let Some(access) = &mut self.access {
            access.lines.hand_over();
        }
        self.dispatch.tell(&self.tally);
        self.tally.open.set(u64::from(self.clients.len()));
        self.tally.buffers_lent.set(u64::from(self.pool.lent()));
        self.tally.buffers_spare.set(self.pool.spare() as u64);
        self.tally.timers.set(u64::from(self.wheel.armed()));
    }

    /// Does what a drive asked for.
    fn follow(&mut self, key: Key<Client<S>>, step: Step, watcher: &impl Watcher<S>) {
        match step {
            Step::Park => self.park(key, watcher),
            Step::Again => {
                // An answer whose body gives nothing for now has nothing to write, and so would never notice
                // that its client is gone.
                match self.clients.get_mut(key).is_some_and(|client| client.is_deferred()) {
                    true => self.park(key, watcher),
                    false => self.arm(key),
                }
                self.enqueue(key, false);
            }
            Step::Thirsty => self.wait_for_buffer(key),
            Step::Close(reason) => self.close(key, reason),
        }
    }

    fn enqueue(&mut self, key: Key<Client<S>>, is_news: bool) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if !client.readiness.set_queued(true) {
            let queue = if is_news { &mut self.ready } else { &mut self.unfinished };
            queue.push_back(key);
        }
    }

    fn wait_for_buffer(&mut self, key: Key<Client<S>>) {
        if self.thirsty.len() >= 2 * self.clients.limit() as usize {
            let clients = &mut self.clients;
            self.thirsty.retain(|key| clients.get_mut(*key).is_some());
        }
        if let Some(client) = self.clients.get_mut(key) {
            // An edge must not put it into the other queue too.
            client.readiness.set_queued(true);
            self.thirsty.push_back(key);
        }
        self.arm(key);
    }

    /// Buffers came back: those who wait for one go on. Who was closed meanwhile does not use one up.
    fn quench(&mut self) {
        let mut buffers = self.pool.available();
        while buffers > 0 {
            let Some(key) = self.thirsty.pop_front() else { return };
            if self.clients.get_mut(key).is_some() {
                self.ready.push_back(key);
                buffers -= 1;
            }
        }
    }

    /// A parked connection is watched by the kernel and by the wheel.
    fn park(&mut self, key: Key<Client<S>>, watcher: &impl Watcher<S>) {
        if self.watch(key, watcher).is_err() {
            self.log.event(
                Level::Error,
                "watch",
                "the kernel refuses to watch another connection; it is closed",
            );
            self.clients.get_mut(key).into_iter().for_each(Client::forsake);
            self.close(key, CloseReason::Exhausted);
            return;
        }
        self.arm(key);
    }

    /// Registers late and rarely: a connection that is answered and closed in its first drive never is, and
    /// writability is asked for at the first short write only.
    fn watch(&mut self, key: Key<Client<S>>, watcher: &impl Watcher<S>) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(key) else { return Ok(()) };
        if client.is_watched() {
            return Ok(());
        }
        let for_writing = client.is_blocked();
        watcher.watch(client.stream(), key, for_writing, client.readiness.is_registered())?;
        client.readiness.set_registered(for_writing);
        Ok(())
    }

    /// Sees to it that the wheel looks at the connection by its deadline. A later deadline leaves the entry
    /// alone.
    fn arm(&mut self, key: Key<Client<S>>) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.is_looked_at() {
            return;
        }
        client.readiness.set_armed(true);
        client.armed_for = client.deadline;
        let deadline = client.deadline;
        self.wheel.arm(&mut self.clients, key.index(), deadline);
    }

    fn close(&mut self, key: Key<Client<S>>, reason: CloseReason) {
        if self.clients.get_mut(key).is_some_and(|client| client.readiness.is_armed()) {
            self.wheel.disarm(&mut self.clients, key.index());
        }
        let Some(mut client) = self.clients.remove(key) else { return };
        let (mut turn, _) = self.turn(key);
        client.dismantle(&mut turn);
        self.peers.leave(key.index());
        self.admin_clients -= u32::from(client.entrance() == ENTRANCE_ADMIN);
        self.tally.closed.add(reason as usize, 1);
        // Closing the last descriptor takes the socket out of the poll, so no call is spent on that.
    }

    /// All that a connection may touch, and the connections, borrowed apart.
    fn turn(&mut self, key: Key<Client<S>>) -> (Turn<'_, S>, &mut Slots<Client<S>>) {
        let turn = Turn {
            clock: &self.clock,
            stamp: &mut self.stamp,
            limits: &self.limits,
            epoch: &self.epoch,
            folders: &self.folders,
            arrival: &mut self.arrival,
            lines: &mut self.lines,
            peers: &mut self.peers,
            pool: &mut self.pool,
            buffer_bytes: self.buffer_bytes,
            index: &mut self.index,
            notes: &mut self.notes,
            dispatch: &mut self.dispatch,
            here: (key.index(), key.generation()),
            tally: &self.tally,
            access: self.access.as_mut(),
            log: &self.log,
            draining: self.draining,
        };
        (turn, &mut self.clients)
    }
}
