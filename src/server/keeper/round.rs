//! The keeper's thread: sleep until something is due or comes, then look after everything once.

use std::sync::{Arc, mpsc};
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::lookup::{self, Reply};
use super::names::{Found, Learned, Names};
use super::prober::{Prober, Report};
use super::watch::Watch;
use super::{Duties, Hand, Letter, News, ProbeFailure, Resolver, Target};
use crate::base::clock::monotonic_ns;
use crate::base::guarded::guarded;
use crate::gateway::upstream::Change;
use crate::observe::log::{Level, Log};

/// Who is told.
pub(super) type Tell = Box<dyn FnMut(&Hand, News<'_>) + Send>;

/// See the module.
pub(super) struct Round {
    letters: mpsc::Receiver<Letter>,
    hand: Hand,
    log: Log,
    tell: Tell,
    resolver: Resolver,
    /// Where look-ups bring their answers.
    reply: Reply,
    names: Names,
    /// Look-ups under way.
    away: usize,
    watch: Watch,
    prober: Prober,
    /// Probes with something to do, by their numbers.
    ready: Vec<usize>,
    /// When this thread last lay down or rose.
    seen_ms: u64,
}

impl Round {
    pub(super) fn new(
        letters: mpsc::Receiver<Letter>,
        hand: Hand,
        resolver: Resolver,
        log: Log,
        tell: Tell,
    ) -> Round {
        let back = hand.clone();
        let reply: Reply = Arc::new(move |host, found| back.bring(Letter::Found(host, found)));
        let seed = monotonic_ns() ^ u64::from(std::process::id()) << 32;
        let (names, prober) = (Names::new(seed), Prober::new(!seed));
        let (watch, ready, seen_ms) = (Watch::default(), Vec::new(), now_ms());
        Round { letters, hand, log, tell, resolver, reply, names, away: 0, watch, prober, ready, seen_ms }
    }

    /// Until it is told to stop.
    pub(super) fn run(mut self) {
        loop {
            match guarded(|| self.turn()) {
                Some(true) => {}
                Some(false) => return,
                None => {
                    // Servers that nobody looks after any more would be worse than one turn that was cut.
                    self.log.event(Level::Error, "keeper", "a turn of the keeper panicked; it goes on");
                    self.ready.clear();
                    self.wait(Some(BREATH_MS));
                }
            }
        }
    }

    /// Whether to go on.
    fn turn(&mut self) -> bool {
        if !self.read_mail() {
            return false;
        }
        self.look_up_names();
        self.look_at_files();
        self.probe_servers();
        self.sleep();
        true
    }

    /// Whether to go on.
    fn read_mail(&mut self) -> bool {
        self.hand.waker.rest();
        while let Ok(letter) = self.letters.try_recv() {
            match letter {
                Letter::Attend(duties) => self.attend(*duties),
                Letter::Found(host, found) => self.learn(&host, &found),
                Letter::Stop => return false,
            }
        }
        true
    }

    fn attend(&mut self, duties: Duties) {
        self.names.attend(&duties.names, &duties.book, now_ms());
        self.watch.attend(duties.files, now_ms());
        self.prober.attend(duties.targets, now_ms());
        self.hand.tally.show(self.prober.tallies());
        // Sockets may have changed hands since the kernel was asked.
        self.ready.clear();
    }

    fn learn(&mut self, host: &str, found: &Found) {
        self.away -= 1;
        self.hand.tally.lookups.add(1);
        self.hand.tally.lookup_failures.add(u64::from(found.is_err()));
        let learned = self.names.learn(host, found, now_ms());
        match (learned, found) {
            (Learned::Lost, Err(why)) => {
                let text = format_args!("{host} is not found, what was known of it stays: {why}");
                self.log.event(Level::Warn, "resolve", text);
            }
            (Learned::Moved, _) => {
                self.log.event(Level::Info, "resolve", format_args!("{host} has other addresses"));
            }
            (Learned::Back, _) => {
                self.log.event(Level::Info, "resolve", format_args!("{host} is found again"));
            }
            _ => {}
        }
    }

    fn look_up_names(&mut self) {
        for host in self.names.depart(now_ms(), LOOKUPS_MAX - self.away) {
            self.away += 1;
            lookup::look_up(&self.resolver, &host, &self.reply);
        }
        if let Some(book) = self.names.news(now_ms()) {
            tell(&mut self.tell, &self.hand, &self.log, News::Addresses(&book));
        }
    }

    fn look_at_files(&mut self) {
        let was_blind = self.watch.blind().is_some();
        self.watch.drain(now_ms());
        let has_changed = self.watch.look(now_ms(), SystemTime::now());
        if let Some(why) = self.watch.blind().filter(|_| !was_blind) {
            let text = format_args!("files are looked at every second, since they cannot be watched: {why}");
            self.log.event(Level::Warn, "watch", text);
        }
        if has_changed {
            self.hand.tally.file_changes.add(1);
            tell(&mut self.tell, &self.hand, &self.log, News::Files);
        }
    }

    fn probe_servers(&mut self) {
        let mut reports = Vec::new();
        self.prober.turn(&self.ready, now_ms(), &mut reports);
        if let Some(short) = self.prober.take_short() {
            let text = format_args!("probes wait for what is short here: {short}");
            self.log.event(Level::Warn, "probe", text);
        }
        for Report { target, outcome } in reports {
            let health = &target.health;
            let vitals = target.endpoint.vitals();
            let change = vitals.note_probe(outcome.is_ok(), health.rise, health.fall);
            self.log_change(&target, outcome, change);
            tell(&mut self.tell, &self.hand, &self.log, News::Probe { target: &target, outcome, change });
        }
    }

    fn log_change(&self, target: &Target, outcome: Result<(), ProbeFailure>, change: Option<Change>) {
        let Target { upstream, endpoint, .. } = target;
        change.into_iter().for_each(|change| endpoint.tallies.last().note_change(change.label()));
        match (change, outcome) {
            (Some(_), Err(why)) => {
                let text = format_args!("{} of {upstream} is not well: {why}", endpoint.label);
                self.log.event(Level::Warn, "health", text);
            }
            (Some(_), Ok(())) => {
                let text = format_args!("{} of {upstream} is well again", endpoint.label);
                self.log.event(Level::Info, "health", text);
            }
            (None, _) => {}
        }
    }

    fn sleep(&mut self) {
        let room = self.away < LOOKUPS_MAX;
        let dues_ms = [self.names.next_ms(room), self.watch.next_ms(), self.prober.next_ms()];
        let lain_ms = now_ms();
        let patience_ms = dues_ms.into_iter().flatten().min().map(|due_ms| due_ms.saturating_sub(lain_ms));
        self.wait(patience_ms);
        let risen_ms = now_ms();
        // What was told may have taken its time, and the whole process may have been stopped.
        let worked_ms = lain_ms - self.seen_ms;
        let overslept_ms =
            patience_ms.map_or(0, |patience_ms| (risen_ms - lain_ms).saturating_sub(patience_ms));
        if worked_ms + overslept_ms >= STALL_MS_MIN {
            self.prober.forgive(worked_ms + overslept_ms);
        }
        self.seen_ms = risen_ms;
    }

    /// Until something comes or time is up.
    fn wait(&mut self, patience_ms: Option<u64>) {
        let mut polled = vec![PollFd::new(&*self.hand.waker, PollFlags::IN)];
        polled.extend(self.watch.source().map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN)));
        let others = polled.len();
        let mut numbers = Vec::new();
        for (number, socket, flags) in self.prober.sources() {
            polled.push(PollFd::from_borrowed_fd(socket, flags));
            numbers.push(number);
        }
        // A signal ends the wait as any news does.
        let _ = poll(&mut polled, patience_ms.map(span).as_ref());
        let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        let probes = polled[others..].iter().zip(numbers);
        self.ready = probes.filter(|(polled, _)| is_ready(polled)).map(|(_, number)| number).collect();
    }
}

/// A panic in there is a bug of ours, and no reason not to look after upstreams any more.
fn tell(tell: &mut Tell, hand: &Hand, log: &Log, news: News<'_>) {
    if guarded(|| tell(hand, news)).is_none() {
        log.event(Level::Error, "keeper", "what the keeper found could not be put to use: a panic");
    }
}

fn now_ms() -> u64 {
    monotonic_ns() / 1_000_000
}

fn span(ms: u64) -> Timespec {
    Timespec { tv_sec: (ms / 1_000) as i64, tv_nsec: (ms % 1_000 * 1_000_000) as i64 }
}

/// What goes wrong in every turn does not go wrong more often than this.
const BREATH_MS: u64 = 100;
/// So long a delay is nothing to speak of.
const STALL_MS_MIN: u64 = 20;
/// Look-ups at once, hence threads.
pub(super) const LOOKUPS_MAX: usize = 8;
