//! One thread beside the reactors that looks after upstreams, so that no reactor ever waits: it has names
//! looked up, probes servers, and sees when files change.
//!
//! ```text
//!   attend(duties) ---> mail ----.                       .---> names ---> look-ups, a thread each
//!   answers of look-ups -> mail -+--> one poll, one turn +---> prober --> sockets, none of which blocks
//!   the kernel ------------------'                       '---> watch ---> inotify
//!                                         |
//!                                         v
//!                                    tell(news)
//! ```
//! A start goes so, and a reload the same way from the second line on, with the book that was told last:
//!
//! ```text
//!   let keeper = Keeper::start(of_machine(), log, tell)?;       before any reactor has a table of its own
//!   let mut sights = Sights::of([file]);                        before the file is read
//!   let loaded = config::load(raw)?;                            reads it
//!   let hosts = all names_of(upstream) of the site
//!   let (book, not_found) = resolve_all(&of_machine(), hosts, patience);    at the start only
//!   sights.add(files_of(&loaded.config.site));                  before they are read, too
//!   let site = Site::new(..)?;                                  by `book.addresses(&server.address)`
//!   ... reactors run with it ...
//!   keeper.hand().attend(Duties::of(site.clusters(), book, sights));
//! ```
//!
//! Promises: at rest it sleeps without a tick; it ends within a second whatever is under way; what it finds
//! it tells by one function, on its own thread, whose panics it outlives. What it opens stays in the
//! process's own table of descriptors: start it *before* the reactors, so that their copies of its waker wake
//! it too, and give it duties *after* they have left that table, so that they have no copies of its sockets.
//! Not here: what is made of the news. A new generation of the site is the server's business.

mod chance;
mod lookup;
mod names;
mod probe;
mod prober;
mod round;
mod schedule;
mod sights;
mod target;
#[cfg(test)]
mod testing;
mod waker;
mod watch;

use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use lookup::{NotFound, Resolver, of_machine, resolve_all};
pub use names::Name;
pub use sights::Sights;
pub use target::{OUTCOMES, ProbeFailure, Target};

use crate::config::site::{Address, Fallback, KeySource, NameBook, Site, StepKind, Upstream};
use crate::gateway::upstream::{Change, Cluster};
use crate::observe::KeeperTally;
use crate::observe::log::Log;
use crate::server::keeper::names::Found;
use crate::server::keeper::round::Round;
use crate::server::keeper::waker::Waker;

/// What the keeper is to look after; each set takes the place of the one before.
#[derive(Debug, Default)]
pub struct Duties {
    /// Names that servers have.
    pub names: Vec<Name>,
    /// What is known of them: the site at work was made with it.
    pub book: NameBook,
    /// Servers to be probed.
    pub targets: Vec<Target>,
    /// Files to be watched, as they looked before they were read; none: none.
    pub files: Sights,
}

impl Duties {
    /// Those that these upstreams bring, which were made with what `book` knows.
    #[must_use]
    pub fn of<'a>(clusters: impl IntoIterator<Item = &'a Cluster>, book: NameBook, files: Sights) -> Duties {
        let mut duties = Duties { book, files, ..Duties::default() };
        for cluster in clusters {
            duties.names.extend(names_of(&cluster.spec));
            duties.targets.extend(Target::of(cluster));
        }
        duties
    }
}

/// What the keeper has found.
#[derive(Debug)]
pub enum News<'a> {
    /// Names have other addresses than those the keeper was told of or has told last.
    Addresses(&'a NameBook),
    /// A file that is watched looks other than it did.
    Files,
    /// A server was probed. Its vitals know by now.
    Probe {
        /// Which one.
        target: &'a Target,
        /// Whether it is well, and if not why.
        outcome: Result<(), ProbeFailure>,
        /// What that makes of it, if anything.
        change: Option<Change>,
    },
}

/// See the module. Dropping it ends it.
pub struct Keeper {
    hand: Hand,
    /// Hangs up when the thread has ended.
    ended: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread, which sleeps until it has duties. `tell` is called there: what takes long holds
    /// probes and look-ups, but no request.
    ///
    /// # Errors
    /// When there is no thread or no descriptor left.
    pub fn start(
        resolver: Resolver,
        log: Log,
        tell: impl FnMut(&Hand, News<'_>) + Send + 'static,
    ) -> io::Result<Keeper> {
        Keeper::start_with(Arc::default(), resolver, log, tell)
    }

    /// Starts the thread with numbers that somebody else knows already; see [`start`](Keeper::start).
    ///
    /// # Errors
    /// When there is no thread or no descriptor left.
    pub fn start_with(
        tally: Arc<KeeperTally>,
        resolver: Resolver,
        log: Log,
        tell: impl FnMut(&Hand, News<'_>) + Send + 'static,
    ) -> io::Result<Keeper> {
        let (mail, letters) = mpsc::channel();
        let hand = Hand { mail, waker: Arc::new(Waker::new()?), tally };
        let round = Round::new(letters, hand.clone(), resolver, log, Box::new(tell));
        let (alive, ended) = mpsc::channel::<()>();
        let run = move || {
            round.run();
            drop(alive);
        };
        let thread = thread::Builder::new().name("keeper".to_owned()).spawn(run)?;
        Ok(Keeper { hand, ended, thread: Some(thread) })
    }

    /// What brings it new duties, from anywhere.
    #[must_use]
    pub fn hand(&self) -> &Hand {
        &self.hand
    }

    /// Ends it. Whether it did within [`STOP_MAX`](Keeper::STOP_MAX): if not, whoever it told something has
    /// not returned, and the thread is left behind.
    pub fn stop(mut self) -> bool {
        self.end()
    }

    fn end(&mut self) -> bool {
        let Some(thread) = self.thread.take() else { return true };
        self.hand.bring(Letter::Stop);
        match self.ended.recv_timeout(Keeper::STOP_MAX) {
            Err(mpsc::RecvTimeoutError::Timeout) => false,
            _ => thread.join().is_ok(),
        }
    }

    /// How long [`stop`](Keeper::stop) may take.
    pub const STOP_MAX: Duration = Duration::from_secs(1);
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// A way to the keeper. Clones are cheap.
#[derive(Clone)]
pub struct Hand {
    mail: mpsc::Sender<Letter>,
    waker: Arc<Waker>,
    tally: Arc<KeeperTally>,
}

impl Hand {
    /// Gives it these duties instead of those it has. What stays the same goes on undisturbed.
    pub fn attend(&self, duties: Duties) {
        self.bring(Letter::Attend(Box::new(duties)));
    }

    /// Its numbers.
    #[must_use]
    pub fn tally(&self) -> &Arc<KeeperTally> {
        &self.tally
    }

    fn bring(&self, letter: Letter) {
        // Nobody reads any more: then nobody is to be woken either.
        if self.mail.send(letter).is_ok() {
            self.waker.wake();
        }
    }
}

/// What others bring.
enum Letter {
    Attend(Box<Duties>),
    Found(String, Found),
    Stop,
}

/// Files besides the configuration that a site is read from when it is made.
pub fn files_of(site: &Site) -> impl Iterator<Item = &Path> {
    let key_sets = site.steps.iter().flat_map(|step| match &step.kind {
        StepKind::Jwt(jwt) => &jwt.keys[..],
        _ => &[],
    });
    let key_sets = key_sets.filter_map(|key| match key {
        KeySource::Jwks(path) => Some(&**path),
        KeySource::Local { .. } => None,
    });
    let fallbacks = site.upstreams.iter().filter_map(|upstream| match &upstream.fallback {
        Some(Fallback::File { path, .. }) => Some(&**path),
        _ => None,
    });
    site.files.iter().map(|path| &**path).chain(key_sets).chain(fallbacks)
}

/// Descriptors that the keeper may have open in the process's own table, for a site with so many servers to
/// be probed: its waker and inotify, a socket for each probe and for each look-up.
#[must_use]
pub fn descriptors(servers_probed: usize) -> u32 {
    2 + servers_probed.min(prober::PROBES_MAX) as u32 + round::LOOKUPS_MAX as u32
}

/// Every name of an upstream's servers, and how often it is looked up.
pub fn names_of(upstream: &Upstream) -> impl Iterator<Item = Name> {
    upstream.servers.iter().filter_map(|server| match &server.address {
        Address::Name(host, _) => Some(Name { host: host.clone(), every_ms: upstream.resolve_ms }),
        Address::Socket(_) | Address::Unix(_) => None,
    })
}

#[cfg(test)]
mod tests;
