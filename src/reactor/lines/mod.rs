//! Connections to upstreams: dialled, lent to one exchange at a time, kept while nobody uses them.
//!
//! ```text
//!  dial -> under way -> lent to a client <-> idle -> closed: too old, too many, or the server said something
//! ```
//! Promises: a line has one user or none; what comes on an idle line closes it, so no answer is ever taken
//! for another's (RFC 9112 section 9.3); an idle line is closed when its time is up.
//! Not here: what is said on a line (`proto::h1`), who talks to whom (`client::relay`), which server
//! (`gateway::upstream`).

mod dial;
mod line;
#[cfg(test)]
mod validate;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

pub(super) use dial::KernelDialer;
pub(super) use line::Line;

use crate::base::buffer::ReadBuffer;
use crate::base::clock::Tick;
use crate::base::pool::Pool;
use crate::base::slots::{Key, Slots};
use crate::gateway::upstream::{Chooser, Endpoint, Place};
use crate::proto::h1::answer::AnswerIndex;
use crate::reactor::floor::Edge;
use crate::reactor::relay::Relay;
use crate::reactor::stream::Stream;

/// Begins connections: the kernel's, or the simulator's.
pub trait Dialer<S> {
    /// Begins to connect, and has both directions watched under that slot and generation.
    ///
    /// # Errors
    /// What the kernel says; the connection may also fail later.
    fn dial(&mut self, place: &Place, slot: u32, generation: u32) -> io::Result<S>;
}

/// See the module.
///
/// Invariant: a key in `idle` names a line without a user, or nobody any more.
pub(super) struct Lines<S: Stream> {
    slots: Slots<Line<S>>,
    /// Those without a user, by their server's number, the longest idle first.
    idle: Vec<Vec<Key<Line<S>>>>,
    /// Whether a server of that number is one of the gateway's now: lines to others are not kept.
    wanted: Vec<bool>,
    dialer: Box<dyn Dialer<S>>,
    buffers: Pool<ReadBuffer>,
    buffer_bytes: u32,
    /// Memory of clients' inputs that nobody needs for now.
    shelf: Vec<ReadBuffer>,
    relays: Pool<Relay>,
    sweep_at: Option<Tick>,
    look_at: Option<Tick>,
    pub chooser: Chooser,
    /// Which reactor counts.
    pub reactor: u32,
    pub index: Box<AnswerIndex>,
    /// Clients that wait for a line, by the name of their upstream.
    waiting: HashMap<Box<str>, VecDeque<(u32, u32)>>,
    /// Clients that need not wait any more.
    woken: Vec<((u32, u32), Box<str>)>,
}

/// What connections to upstreams are made with.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamMeans {
    /// Connections at once.
    pub lines_max: u32,
    /// What makes choices differ from those of other reactors.
    pub seed: u64,
    /// Reactors there are.
    pub reactors: u32,
    /// Which of them this is.
    pub reactor: u32,
}

/// Inputs whose memory is kept while their clients wait. The newest are warm, and the others go.
const SHELF_MAX: usize = 32;

/// Clients that may wait for a line of one upstream, on each reactor. Over it: 503.
const WAITING_MAX: usize = 1024;

/// How often, in milliseconds, some of them look whether they still need to, and how many of each upstream.
const LOOK_MS: u32 = 50;
const LOOKERS: usize = 8;

/// Which line, as whoever uses it remembers.
pub(super) type LineName = (u32, u32);

impl<S: Stream> Lines<S> {
    pub(super) fn new(dialer: Box<dyn Dialer<S>>, means: &UpstreamMeans, buffer_bytes: u32) -> Lines<S> {
        Lines {
            slots: Slots::with_limit(means.lines_max),
            idle: Vec::new(),
            wanted: Vec::new(),
            dialer,
            buffers: Pool::with_limit(u32::MAX),
            buffer_bytes,
            shelf: Vec::new(),
            relays: Pool::with_limit(u32::MAX),
            sweep_at: None,
            look_at: None,
            reactor: means.reactor,
            chooser: Chooser::new(means.seed, means.reactors),
            index: Box::default(),
            waiting: HashMap::new(),
            woken: Vec::new(),
        }
    }

    /// The line of that name, if it still is that line.
    pub(super) fn line(&mut self, name: LineName) -> Option<&mut Line<S>> {
        self.slots.get_mut(Key::from_parts(name.0, name.1))
    }

    /// A line that is open already and that nobody uses: the one used last, since the server is least likely
    /// to be about to close it.
    pub(super) fn pick_idle(&mut self, endpoint: &Arc<Endpoint>, user: (u32, u32)) -> Option<LineName> {
        let shelf = self.idle.get_mut(endpoint.id as usize)?;
        while let Some(key) = shelf.pop() {
            if let Some(line) = self.slots.get_mut(key) {
                line.lend_to(user);
                endpoint.tallies.of(self.reactor).reused.add(1);
                return Some((key.index(), key.generation()));
            }
        }
        None
    }

    /// A new line.
    ///
    /// # Errors
    /// What the kernel says, or that there are as many as may be.
    pub(super) fn dial(&mut self, endpoint: &Arc<Endpoint>, user: (u32, u32)) -> io::Result<LineName> {
        if self.slots.is_full() && !self.close_longest_idle() {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let key = match self.slots.insert(Line::vacant(Arc::clone(endpoint), self.reactor, user)) {
            Ok(key) => key,
            Err(_) => return Err(io::Error::from_raw_os_error(libc::EMFILE)),
        };
        let mut dialled = self.dialer.dial(&endpoint.place, key.index(), key.generation());
        if dialled.as_ref().is_err_and(is_out_of_descriptors) && self.close_longest_idle() {
            dialled = self.dialer.dial(&endpoint.place, key.index(), key.generation());
        }
        match dialled {
            Ok(stream) => {
                if let Some(line) = self.slots.get_mut(key) {
                    line.connect(stream);
                }
                Ok((key.index(), key.generation()))
            }
            Err(error) => {
                self.slots.remove(key);
                Err(error)
            }
        }
    }

    /// Nobody uses it any more, and it can be used again.
    pub(super) fn rest(&mut self, name: LineName, idle_max: u32, expires: Tick) {
        let key = Key::from_parts(name.0, name.1);
        let Some(line) = self.slots.get_mut(key) else { return };
        let endpoint = line.endpoint() as usize;
        // It was told of while somebody used it and will not be told of again; or a reload has taken its
        // server out meanwhile.
        if !line.is_quiet() || self.wanted.get(endpoint) != Some(&true) {
            self.slots.remove(key);
            return;
        }
        line.rest(expires);
        if self.idle.len() <= endpoint {
            self.idle.resize_with(endpoint + 1, Vec::new);
        }
        let shelf = &mut self.idle[endpoint];
        shelf.push(key);
        if shelf.len() > idle_max as usize {
            let slots = &mut self.slots;
            shelf.retain(|key| slots.get_mut(*key).is_some());
        }
        if self.idle[endpoint].len() > idle_max as usize {
            let oldest = self.idle[endpoint].remove(0);
            self.slots.remove(oldest);
        }
        if self.sweep_at.is_none_or(|at| at.has_reached(expires)) {
            self.sweep_at = Some(expires);
        }
    }

    /// Keeps lines to the servers of these numbers from here on, and closes the idle ones to others; who uses
    /// one goes on.
    pub(super) fn keep_only(&mut self, endpoints: impl Iterator<Item = u32>) {
        self.wanted.clear();
        for endpoint in endpoints.map(|id| id as usize) {
            if self.wanted.len() <= endpoint {
                self.wanted.resize(endpoint + 1, false);
            }
            self.wanted[endpoint] = true;
        }
        for (endpoint, shelf) in self.idle.iter_mut().enumerate() {
            if self.wanted.get(endpoint) != Some(&true) {
                std::mem::take(shelf).into_iter().for_each(|key| drop(self.slots.remove(key)));
            }
        }
    }

    /// It is not to be used again.
    pub(super) fn hang_up(&mut self, name: LineName) {
        self.slots.remove(Key::from_parts(name.0, name.1));
    }

    /// An edge was told. Whose client it concerns, if anybody uses the line.
    pub(super) fn note(&mut self, name: LineName, edge: Edge) -> Option<(u32, u32)> {
        let key = Key::from_parts(name.0, name.1);
        let line = self.slots.get_mut(key)?;
        line.note(edge);
        let user = line.user();
        if user.is_none() && (edge.readable || edge.ending || edge.broken) {
            // The end, or bytes that nobody asked for: either way not to be used again.
            self.slots.remove(key);
        }
        user
    }

    /// When idle lines are to be looked at, or those who wait for one.
    pub(super) fn next_moment(&self, now: Tick) -> Option<Tick> {
        [self.sweep_at, self.look_at].into_iter().flatten().min_by_key(|moment| moment.since(now))
    }

    /// Lets some of those who wait look for themselves: what comes free at other reactors, or because a
    /// server is asked again, is told to nobody here.
    pub(super) fn look_around(&mut self, now: Tick) {
        if self.waiting.is_empty() {
            self.look_at = None;
            return;
        }
        let look_at = *self.look_at.get_or_insert_with(|| now.after_ms(LOOK_MS));
        if now.has_reached(look_at) {
            self.look_at = Some(now.after_ms(LOOK_MS));
            let mut names: Vec<Box<str>> = self.waiting.keys().cloned().collect();
            // So that a simulation can be played again.
            names.sort_unstable();
            names.iter().for_each(|name| (0..LOOKERS).for_each(|_| self.wake_waiting(name)));
        }
    }

    /// Closes the idle lines whose time is up.
    pub(super) fn sweep(&mut self, now: Tick) {
        if !self.sweep_at.is_some_and(|at| now.has_reached(at)) {
            return;
        }
        let slots = &mut self.slots;
        let mut next: Option<Tick> = None;
        for shelf in &mut self.idle {
            shelf.retain(|key| {
                let Some(line) = slots.get_mut(*key) else { return false };
                if now.has_reached(line.expires) {
                    slots.remove(*key);
                    return false;
                }
                let expires = line.expires;
                if next.is_none_or(|soonest| soonest.since(now) > expires.since(now)) {
                    next = Some(expires);
                }
                true
            });
        }
        self.sweep_at = next;
    }

    /// Makes room for another.
    fn close_longest_idle(&mut self) -> bool {
        for shelf in &mut self.idle {
            while !shelf.is_empty() {
                if self.slots.remove(shelf.remove(0)).is_some() {
                    return true;
                }
            }
        }
        false
    }

    /// Lines there are.
    #[cfg(test)]
    pub(super) fn open(&self) -> u32 {
        self.slots.len()
    }

    /// A buffer for what a server says.
    pub(super) fn lend_buffer(&mut self) -> Box<ReadBuffer> {
        let size = self.buffer_bytes;
        self.buffers
            .lend(|| ReadBuffer::with_size(size))
            .unwrap_or_else(|| Box::new(ReadBuffer::with_size(size)))
    }

    pub(super) fn take_back_buffer(&mut self, mut buffer: Box<ReadBuffer>) {
        buffer.clear();
        self.buffers.give_back(buffer);
    }

    /// Takes the memory of a client's input that lies empty while its answer is waited for.
    pub(super) fn shelve(&mut self, input: ReadBuffer) {
        if self.shelf.len() < SHELF_MAX {
            self.shelf.push(input);
        }
    }

    /// Memory for a client's input.
    pub(super) fn unshelve(&mut self) -> ReadBuffer {
        self.shelf.pop().unwrap_or_else(|| ReadBuffer::with_size(self.buffer_bytes))
    }

    pub(super) fn lend_relay(&mut self) -> Box<Relay> {
        self.relays.lend(Relay::default).unwrap_or_default()
    }

    pub(super) fn take_back_relay(&mut self, relay: Box<Relay>) {
        self.relays.give_back(relay);
    }

    pub(super) fn has_surplus(&self) -> bool {
        self.buffers.has_surplus() || self.relays.has_surplus()
    }

    pub(super) fn trim(&mut self) -> usize {
        self.buffers.trim() + self.relays.trim()
    }

    /// Lets a client wait until somebody is done with that upstream. `false`: too many do.
    pub(super) fn wait_at(&mut self, upstream: &str, user: (u32, u32)) -> bool {
        let queue = self.waiting.entry(upstream.into()).or_default();
        if queue.len() >= WAITING_MAX {
            return false;
        }
        queue.push_back(user);
        true
    }

    /// Somebody is done there, so the first who waits may look again.
    pub(super) fn wake_waiting(&mut self, upstream: &str) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(queue) = self.waiting.get_mut(upstream) else { return };
        self.woken.extend(queue.pop_front().map(|user| (user, upstream.into())));
        if queue.is_empty() {
            self.waiting.remove(upstream);
        }
    }

    /// A client that need not wait any more, and for what it has waited; it may be gone.
    pub(super) fn next_woken(&mut self) -> Option<((u32, u32), Box<str>)> {
        self.woken.pop()
    }
}

/// For tests in which nobody is dialled.
#[cfg(test)]
pub(super) struct NoDialer;

#[cfg(test)]
impl<S> Dialer<S> for NoDialer {
    fn dial(&mut self, _: &Place, _: u32, _: u32) -> io::Result<S> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[cfg(test)]
impl UpstreamMeans {
    pub(super) const NONE: UpstreamMeans = UpstreamMeans { lines_max: 0, seed: 0, reactors: 1, reactor: 0 };
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;
    use crate::config::site::{Address, ServerSpec};
    use crate::gateway::upstream::{Cluster, Directory};
    use crate::reactor::stream::Socket;

    /// Whoever is dialled answers at once.
    struct Pairs(Vec<std::os::unix::net::UnixStream>);

    impl Dialer<Socket> for Pairs {
        fn dial(&mut self, _: &Place, _: u32, _: u32) -> io::Result<Socket> {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            self.0.push(theirs);
            Ok(Socket::new(ours.into()))
        }
    }

    fn cluster(directory: &mut Directory, name: &str, address: &str) -> Cluster {
        let text = format!(
            "[upstream.{name}]\nservers = \"{address}\"\n[[route]]\npath = \"/*\"\nproxy = \"{name}\"\n"
        );
        let file = file::read(&file::Source::new("site", text), "/".as_ref());
        let address = Address::Socket(address.parse().unwrap());
        let server = ServerSpec { address, weight: 1, is_backup: false };
        directory.cluster(0, &file.site.upstreams[0], &[(server, Vec::new())])
    }

    fn lines() -> Lines<Socket> {
        let means = UpstreamMeans { lines_max: 8, ..UpstreamMeans::NONE };
        Lines::new(Box::new(Pairs(Vec::new())), &means, 4096)
    }

    #[test]
    fn a_line_never_leads_to_a_server_that_came_after_its_own_went() {
        let (mut directory, mut lines) = (Directory::new(), lines());
        let old = cluster(&mut directory, "old", "127.0.0.1:1");
        let endpoint = &old.members[0].endpoint;
        lines.keep_only([endpoint.id].into_iter());
        let used = lines.dial(endpoint, (0, 0)).unwrap();
        let idle = lines.dial(endpoint, (1, 0)).unwrap();
        lines.rest(idle, 8, Tick(1_000));
        drop(old);

        let new = cluster(&mut directory, "new", "127.0.0.1:2");
        let endpoint = &new.members[0].endpoint;
        lines.keep_only([endpoint.id].into_iter());
        assert!(lines.line(idle).is_none(), "nobody wants it any more");
        assert!(lines.pick_idle(endpoint, (2, 0)).is_none());
        assert!(lines.line(used).is_some(), "who uses it goes on");
        lines.rest(used, 8, Tick(1_000));
        assert!(lines.line(used).is_none() && lines.pick_idle(endpoint, (2, 0)).is_none());
    }

    #[test]
    fn lines_to_servers_that_stay_are_kept() {
        let (mut directory, mut lines) = (Directory::new(), lines());
        let before = cluster(&mut directory, "app", "127.0.0.1:1");
        lines.keep_only([before.members[0].endpoint.id].into_iter());
        let idle = lines.dial(&before.members[0].endpoint, (0, 0)).unwrap();
        lines.rest(idle, 8, Tick(1_000));
        let after = cluster(&mut directory, "app", "127.0.0.1:1");
        drop(before);
        lines.keep_only([after.members[0].endpoint.id].into_iter());
        assert_eq!(lines.pick_idle(&after.members[0].endpoint, (0, 0)), Some(idle));
    }
}
