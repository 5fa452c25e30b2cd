//! A new configuration takes effect while the old one serves: no connection is closed, no request fails.
//!
//! ```text
//!   SIGHUP, a changed file ---> read ---> check ---> make ---> hand to every reactor ---> wait for each
//!   other addresses of a name ------------------------^               (Notice::Reload)        |
//!                                                                                    drop the old one
//! ```
//! Promises: everything is checked before anything changes, so a configuration with a mistake changes
//! nothing and says so; what only a restart can change is named. A generation is made and dropped on this
//! thread, never on a reactor: a thousand routes take a while. It holds no descriptor, since those of this
//! thread are not those of a reactor. Wishes that come during a reload are one wish.
//! Not here: what a request that is under way holds on to (`reactor::epoch`).

mod source;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use source::Source;

use crate::base::guarded::guarded;
use crate::config::Config;
use crate::config::site::{NameBook, ServerSpec};
use crate::gateway::Gateway;
use crate::gateway::handler::Lifecycle;
use crate::gateway::site::{Kept, Made, Site};
use crate::gateway::upstream::Directory;
use crate::observe::Reloads;
use crate::observe::Shown;
use crate::observe::log::{Level, Log};
use crate::reactor::{ENTRANCE_MAIN, Generation, Inbox, Notice};
use crate::server::keeper::{Duties, Keeper, Resolver, Sights, files_of, names_of, resolve_all};
use crate::server::topology;

/// How long a start or a reload waits for addresses: a name that is found later is used from then on.
const NAMES_PATIENCE: Duration = Duration::from_secs(2);
/// How long a reactor may take before somebody should know.
const TAKEN_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is seen whether an old generation can go.
const RETIRED_LOOK: Duration = Duration::from_secs(1);
/// How often a full inbox is tried.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// What one generation's site leaves to the next.
pub(super) struct Legacy {
    directory: Directory,
    kept: Kept,
    /// What makes hashes unforeseeable, and the same from one generation to the next.
    seed: u64,
    /// What names were found to be.
    pub(super) book: NameBook,
    /// The site in force, for those who ask how it does.
    pub(super) shown: Arc<Shown<Site>>,
}

impl Legacy {
    pub(super) fn new(seed: u64, reactors: u32) -> Legacy {
        Legacy {
            directory: Directory::new().for_reactors(reactors),
            kept: Kept::default(),
            seed,
            book: NameBook::default(),
            shown: Arc::default(),
        }
    }

    /// The site that a configuration asks for, if it does, with these addresses of names. Nothing of what is
    /// in force changes.
    ///
    /// # Errors
    /// Every mistake that shows only now.
    pub(super) fn site(
        &mut self,
        config: &Config,
        book: &NameBook,
    ) -> Result<Option<Arc<Site>>, Vec<String>> {
        if config.site.routes.is_empty() {
            return Ok(None);
        }
        let Legacy { directory, kept, seed, .. } = self;
        let resolve = |server: &ServerSpec| book.addresses(&server.address).collect();
        Site::new(&config.site, &mut Made { directory, kept, resolve: &resolve, seed: *seed })
            .map(|site| Some(Arc::new(site)))
    }

    /// What is known of a configuration's names, once those that are new are looked up. Waits a little.
    pub(super) fn look_up(&self, config: &Config, resolver: &Resolver, log: &Log) -> NameBook {
        let names: Vec<_> = config.site.upstreams.iter().flat_map(names_of).collect();
        let unknown = names.iter().map(|name| &*name.host).filter(|host| !self.book.knows(host));
        let (mut book, lost) = resolve_all(resolver, unknown.collect::<Vec<_>>(), NAMES_PATIENCE);
        for name in lost {
            log.event(Level::Warn, "resolve", format_args!("{}: {}; it is tried again", name.host, name.why));
        }
        for name in &names {
            book.learn(&name.host, self.book.of(&name.host).iter().copied());
        }
        book
    }

    /// Takes down what was found of the names that it knows or that are used. Whoever looks may not have
    /// heard yet of those that came with the last reload.
    fn learn(&mut self, config: &Config, found: &NameBook) {
        for name in config.site.upstreams.iter().flat_map(names_of) {
            self.book.learn(&name.host, found.of(&name.host).iter().copied());
        }
    }
}

/// What is wished for.
enum Wish {
    /// The configuration is read anew.
    Reload,
    /// The same one, with these addresses.
    Addresses(NameBook),
    Stop,
}

/// Asks for reloads, from anywhere. Clones are cheap.
#[derive(Clone)]
pub struct Reloader {
    wishes: mpsc::Sender<Wish>,
    /// Whether a reload is wished for that has not begun.
    is_asked: Arc<AtomicBool>,
}

impl Reloader {
    /// Has the configuration read anew and, if it is sound, take effect: soon, beside the reactors.
    pub fn reload(&self) {
        if !self.is_asked.swap(true, Ordering::AcqRel) {
            let _ = self.wishes.send(Wish::Reload);
        }
    }

    pub(super) fn renew(&self, book: NameBook) {
        let _ = self.wishes.send(Wish::Addresses(book));
    }
}

/// Where wishes arrive, until there is a thread that fulfils them.
pub(super) struct Desk {
    reloader: Reloader,
    wishes: mpsc::Receiver<Wish>,
}

impl Desk {
    pub(super) fn new() -> Desk {
        let (sender, wishes) = mpsc::channel();
        Desk { reloader: Reloader { wishes: sender, is_asked: Arc::default() }, wishes }
    }

    pub(super) fn reloader(&self) -> &Reloader {
        &self.reloader
    }
}

/// The thread of reloads. Dropping it ends it.
pub(super) struct Reloading {
    pub(super) reloader: Reloader,
    /// Whether a configuration can be read anew.
    pub(super) has_source: bool,
    thread: Option<JoinHandle<()>>,
}

impl Reloading {
    pub(super) fn start(desk: Desk, office: Office) -> io::Result<Reloading> {
        let reloader = desk.reloader.clone();
        let has_source = office.source.is_some();
        let thread = thread::Builder::new().name("reload".to_owned()).spawn(move || office.run(&desk))?;
        Ok(Reloading { reloader, has_source, thread: Some(thread) })
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        let _ = self.reloader.wishes.send(Wish::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What reloads are done with.
pub(super) struct Office {
    /// The configuration in force.
    pub config: Config,
    pub source: Option<Source>,
    /// How its files looked before they were read for the start.
    pub sights: Sights,
    pub legacy: Legacy,
    /// What serves now. All but the site is the same in every generation.
    pub gateways: Arc<[Gateway]>,
    /// What served before, and still does for somebody.
    pub retired: Vec<Arc<[Gateway]>>,
    pub inboxes: Arc<[Arc<Inbox>]>,
    pub lifecycle: Arc<Lifecycle>,
    pub reloads: Arc<Reloads>,
    pub keeper: Option<Keeper>,
    pub resolver: Resolver,
    pub log: Log,
}

/// What is said of a configuration that would take every route away.
const NO_ROUTES: &str = "it has no routes any more, as a file that is being written; to serve none, restart";

impl Office {
    /// Whether anything may ever change.
    pub(super) fn is_needed(&self) -> bool {
        self.source.is_some() || self.keeper.is_some()
    }

    fn run(mut self, desk: &Desk) {
        // Of the two it is the reactors that somebody waits for.
        topology::give_way();
        let files = std::mem::take(&mut self.sights);
        self.attend(files);
        loop {
            match self.next_wish(&desk.wishes) {
                // Nobody is to be served any more by what it says.
                Some(Wish::Reload | Wish::Addresses(_)) if self.lifecycle.is_draining() => {}
                Some(Wish::Reload) => {
                    // Before the file is read: whoever writes it later wishes again.
                    desk.reloader.is_asked.store(false, Ordering::Release);
                    self.reload();
                }
                Some(Wish::Addresses(book)) => self.renew(&book),
                Some(Wish::Stop) => return,
                None => {}
            }
            self.retired.retain(|gateways| Arc::strong_count(gateways) > 1);
        }
    }

    /// `None`: it is time to look whether something old can go.
    fn next_wish(&self, wishes: &mpsc::Receiver<Wish>) -> Option<Wish> {
        if self.retired.is_empty() {
            return Some(wishes.recv().unwrap_or(Wish::Stop));
        }
        match wishes.recv_timeout(RETIRED_LOOK) {
            Ok(wish) => Some(wish),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Wish::Stop),
        }
    }

    fn sights_again(&self) -> Sights {
        Source::sights(self.source.as_ref(), &self.config, Sights::again)
    }

    fn reload(&mut self) {
        // Taken before it is read: what changes meanwhile is seen then.
        let mut files = self.sights_again();
        let Some(source) = &mut self.source else { return };
        // What others wrote is called here, and a reload that panics must not be the last one.
        let read = guarded(|| (source.read)()).unwrap_or_else(|| Err(vec![String::from("a panic")]));
        let outcome = read.and_then(|config| {
            if self.config.fixed.watches {
                files.add(files_of(&config.site));
            }
            self.adopt(config)
        });
        match outcome {
            Ok(told) => {
                self.reloads.ok.add(1);
                self.log.event(Level::Info, "reload", told);
                self.attend(files);
            }
            Err(mistakes) => {
                self.reloads.refused.add(1);
                // An event is one line: where it stands and what it is, without the excerpt below.
                let told: Vec<&str> = mistakes.iter().filter_map(|mistake| mistake.lines().next()).collect();
                let (count, all) = (mistakes.len(), told.join("; "));
                let plural = if count == 1 { "" } else { "s" };
                let text =
                    format_args!("refused, and nothing is changed, for {count} mistake{plural}: {all}");
                self.log.event(Level::Error, "reload", text);
            }
        }
    }

    /// Checks it all, then has it take effect. Tells what it came to.
    fn adopt(&mut self, mut config: Config) -> Result<String, Vec<String>> {
        // Who saves in place empties the file first, and an empty file is sound.
        if config.site.routes.is_empty() && !self.config.site.routes.is_empty() {
            return Err(vec![String::from(NO_ROUTES)]);
        }
        let restart = self.keep_fixed(&mut config);
        let book = self.legacy.look_up(&config, &self.resolver, &self.log);
        let site = self.legacy.site(&config, &book)?;
        self.legacy.book = book;
        let told = format!(
            "took effect: {} routes, {} upstreams{restart}",
            config.site.routes.len(),
            config.site.upstreams.len()
        );
        self.config = config;
        self.put_in_force(site);
        Ok(told)
    }

    /// Addresses have changed, and nothing else.
    fn renew(&mut self, found: &NameBook) {
        self.legacy.learn(&self.config, found);
        let book = self.legacy.book.clone();
        match self.legacy.site(&self.config, &book) {
            Ok(site) => {
                self.put_in_force(site);
                self.log.event(Level::Info, "resolve", "names have other addresses, which are used now");
                let files = self.sights_again();
                self.attend(files);
            }
            // A key file, say, that is gone by now: the addresses come with the next reload.
            Err(mistakes) => {
                let text = format_args!("names have other addresses, but: {}", mistakes.join("; "));
                self.log.event(Level::Error, "resolve", text);
            }
        }
    }

    /// Takes back what cannot change while it runs. Tells what that is, if it is anything.
    fn keep_fixed(&self, config: &mut Config) -> String {
        let wished = config.describe();
        config.fixed = self.config.fixed.clone();
        config.limits.head_bytes_max = config.limits.head_bytes_max.min(config.fixed.buffer_bytes);
        let had = config.describe();
        let differ = wished.iter().filter(|setting| !had.contains(setting)).map(|setting| setting.name);
        let mut names: Vec<&str> = differ.collect();
        if self.config.site.upstreams.is_empty() && !config.site.upstreams.is_empty() {
            // No room was kept for connections to them, and clients may take all there is.
            names.push("max-connections");
        }
        match names.is_empty() {
            true => String::new(),
            false => format!("; needs a restart: {}", names.join(", ")),
        }
    }

    /// Hands it to every reactor, and waits until each of them answers by it.
    fn put_in_force(&mut self, site: Option<Arc<Site>>) {
        self.legacy.shown.show(site.clone());
        let number = self.reloads.generation.value() + 1;
        let (mut site, main) = (site, usize::from(ENTRANCE_MAIN));
        let renewed = |(at, gateway): (usize, &Gateway)| match at == main {
            true => gateway.renewed(site.take()),
            false => gateway.renewed(None),
        };
        let gateways: Arc<[Gateway]> = self.gateways.iter().enumerate().map(renewed).collect();
        let (taken, takings) = mpsc::channel();
        let limits = self.config.limits;
        let generation = Arc::new(Generation { number, gateways: Arc::clone(&gateways), limits, taken });
        let sent = self.inboxes.iter().filter(|inbox| self.send(inbox, &generation)).count();
        drop(generation);
        self.retired.push(std::mem::replace(&mut self.gateways, gateways));
        self.await_all(sent, &takings);
        self.reloads.took_effect(number, unix_seconds());
    }

    /// Never lost as long as there is somebody to read it.
    fn send(&self, inbox: &Inbox, generation: &Arc<Generation>) -> bool {
        let mut notice = Notice::Reload(Arc::clone(generation));
        while let Err(back) = inbox.notify(notice) {
            if self.lifecycle.is_draining() {
                return false;
            }
            notice = back;
            thread::sleep(FULL_PAUSE);
        }
        true
    }

    /// A reactor that drains may be gone, and takes nothing.
    fn await_all(&self, sent: usize, takings: &mpsc::Receiver<u64>) {
        let began = Instant::now();
        for _ in 0..sent {
            while takings.recv_timeout(FULL_PAUSE * 100) == Err(RecvTimeoutError::Timeout) {
                if self.lifecycle.is_draining() || began.elapsed() > TAKEN_PATIENCE {
                    let text = "a reactor does not come to take a new configuration; it has it before it";
                    self.log.event(Level::Warn, "reload", text);
                    return;
                }
            }
        }
    }

    /// Has the keeper look after what is in force.
    fn attend(&self, files: Sights) {
        let Some(keeper) = &self.keeper else { return };
        let site = self.gateways[usize::from(ENTRANCE_MAIN)].site();
        let clusters = site.map_or(&[][..], Site::clusters);
        keeper.hand().attend(Duties::of(clusters, self.legacy.book.clone(), files));
    }
}

/// The wall clock.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
