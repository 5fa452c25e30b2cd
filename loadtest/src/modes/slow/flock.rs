//! The slow connections of one thread: each sends its script at once or byte by byte, and reads or does not.
//!
//! As many are kept up as are wanted: one that the server ends is replaced, unless that was not asked for.
//! Nothing is decided here about what is slow: see [`Manner`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::ends::{Ends, Way};
use crate::engine::addresses::Sources;
use crate::engine::socket;

/// What every slow connection of a flock does.
#[derive(Clone, Debug)]
pub struct Manner {
    pub address: SocketAddr,
    /// What it has to say.
    pub script: Arc<[u8]>,
    /// How much of that it says when it is connected.
    pub at_once: usize,
    /// How long it waits before each further byte.
    pub every: Duration,
    /// Begins the script anew at its end. Otherwise it waits there for its answer, and leaves with it.
    pub is_endless: bool,
    pub reads: bool,
    /// Room for what it does not read; the kernel's choice when none.
    pub receive_bytes: Option<usize>,
    /// Longest time to wait for being connected.
    pub timeout: Duration,
    pub replaces: bool,
}

/// The slow connections of one thread.
pub struct Flock {
    poll: Poll,
    manner: Manner,
    sources: Sources,
    epoch: Instant,
    pokes: Slab<Poke>,
    /// When each has something to do next: its time, its serial number and its key. Who has ended since is
    /// not found by key and number.
    due: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// When those that are missing are to be opened.
    missing: BinaryHeap<Reverse<u64>>,
    connecting: usize,
    /// Nobody is opened before: one that failed speaks for all.
    paused_until_ns: u64,
    serial: u64,
    random: fastrand::Rng,
    ends: Ends,
    /// How many are connected, over all flocks of a kind.
    standing: Arc<AtomicU64>,
}

/// One slow connection.
struct Poke {
    stream: TcpStream,
    serial: u64,
    is_open: bool,
    /// Connecting since then, or there since then.
    since_ns: u64,
    sent: u64,
    /// Sent as soon as the kernel takes it.
    allowed: u64,
    /// The first bytes of an answer, as far as its status.
    opening: Vec<u8>,
}

/// Connections on their way at once: a backlog may be as short as 128.
const CONNECTING_MAX: usize = 64;
const EVENTS_PER_TURN_MAX: usize = 1024;
/// Who ended within this time is replaced only after it, so that a server that refuses is not hammered.
const RETRY_NS: u64 = 100_000_000;
/// `HTTP/1.1 408`
const OPENING_BYTES: usize = 12;

impl Flock {
    /// A flock of `count`, none of them opened yet. Made on the thread it belongs to.
    ///
    /// # Errors
    /// When the kernel has no poll left.
    pub fn new(manner: Manner, count: u64, sources: Sources, standing: Arc<AtomicU64>) -> io::Result<Flock> {
        Ok(Flock {
            poll: Poll::new()?,
            manner,
            sources,
            epoch: Instant::now(),
            pokes: Slab::new(),
            due: BinaryHeap::new(),
            missing: std::iter::repeat_n(Reverse(0), count as usize).collect(),
            connecting: 0,
            paused_until_ns: 0,
            serial: 0,
            random: fastrand::Rng::new(),
            ends: Ends::default(),
            standing,
        })
    }

    /// Opens who is missing, moves who is due, and takes what comes, for at most `time_max`.
    ///
    /// # Errors
    /// What the poll says; all else happens to single connections.
    pub fn turn(&mut self, events: &mut Events, time_max: Duration) -> io::Result<()> {
        let now_ns = self.now_ns();
        self.open_missing(now_ns);
        self.move_due(now_ns);
        let next = self.next_ns().map(|next| Duration::from_nanos(next.saturating_sub(now_ns)));
        match self.poll.poll(events, Some(next.map_or(time_max, |next| next.min(time_max)))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            outcome => outcome?,
        }
        for event in &*events {
            self.serve(event);
        }
        Ok(())
    }

    /// Ends all: how those ended that did before, and those that had to be ended.
    pub fn leave(mut self) -> Ends {
        let now_ns = self.now_ns();
        for (_, poke) in &self.pokes {
            if poke.is_open {
                self.ends.count(Way::Stayed, now_ns.saturating_sub(poke.since_ns), None);
                self.standing.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.ends
    }

    /// Room for what one turn may be told.
    pub fn events() -> Events {
        Events::with_capacity(EVENTS_PER_TURN_MAX)
    }

    fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn next_ns(&self) -> Option<u64> {
        let due = self.due.peek().map(|Reverse((at_ns, ..))| *at_ns);
        let missing = self.missing.peek().map(|Reverse(at_ns)| *at_ns);
        let missing = missing.filter(|_| self.connecting < CONNECTING_MAX);
        let missing = missing.map(|at_ns| at_ns.max(self.paused_until_ns));
        due.into_iter().chain(missing).min()
    }

    fn open_missing(&mut self, now_ns: u64) {
        while self.connecting < CONNECTING_MAX
            && self.paused_until_ns <= now_ns
            && let Some(Reverse(at_ns)) = self.missing.peek()
            && *at_ns <= now_ns
        {
            self.missing.pop();
            if self.open(now_ns).is_err() {
                self.ends.count(Way::Failed, 0, None);
                self.paused_until_ns = now_ns + RETRY_NS;
                self.replace(0, now_ns);
            }
        }
    }

    fn open(&mut self, now_ns: u64) -> io::Result<()> {
        let Manner { address, receive_bytes, timeout, .. } = self.manner;
        let mut stream = socket::connect(address, self.sources.next(), receive_bytes)?;
        let entry = self.pokes.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(key), interest)?;
        self.serial += 1;
        self.due.push(Reverse((now_ns + timeout.as_nanos() as u64, self.serial, key)));
        entry.insert(Poke {
            stream,
            serial: self.serial,
            is_open: false,
            since_ns: now_ns,
            sent: 0,
            allowed: self.manner.at_once as u64,
            opening: Vec::new(),
        });
        self.connecting += 1;
        Ok(())
    }

    fn move_due(&mut self, now_ns: u64) {
        while let Some(Reverse((at_ns, serial, key))) = self.due.peek().copied()
            && at_ns <= now_ns
        {
            self.due.pop();
            let Some(poke) = self.pokes.get_mut(key).filter(|poke| poke.serial == serial) else { continue };
            if !poke.is_open {
                self.end(key, Way::Failed);
                continue;
            }
            poke.allow_more(&self.manner);
            let every_ns = self.manner.every.as_nanos() as u64;
            self.due.push(Reverse((now_ns + every_ns, serial, key)));
            self.send(key);
        }
    }

    fn serve(&mut self, event: &Event) {
        let key = event.token().0;
        if !self.pokes.contains(key) {
            return;
        }
        if !self.pokes[key].is_open && !self.begin(key, event) {
            return;
        }
        if self.manner.reads && event.is_readable() {
            self.receive(key);
        } else if event.is_error() || event.is_read_closed() {
            // Who does not read learns of an end only here.
            let error = self.pokes[key].stream.take_error();
            self.end(key, if matches!(error, Ok(None)) { Way::Closed } else { Way::Reset });
        }
        if event.is_writable() && self.pokes.contains(key) {
            self.send(key);
        }
    }

    /// Whether it is there now.
    fn begin(&mut self, key: usize, event: &Event) -> bool {
        let now_ns = self.now_ns();
        let poke = &mut self.pokes[key];
        let is_fine = matches!(poke.stream.take_error(), Ok(None)) && !event.is_error();
        if !is_fine {
            self.end(key, Way::Failed);
            return false;
        }
        if !event.is_writable() {
            return false;
        }
        poke.is_open = true;
        poke.since_ns = now_ns;
        // The first byte falls anywhere in the first period: a crowd that drips in step would be a drum.
        let wait_ns = self.random.u64(0..=self.manner.every.as_nanos() as u64);
        // The old entry, which waits for the timeout, is overtaken by the new number.
        self.serial += 1;
        poke.serial = self.serial;
        self.due.push(Reverse((now_ns + wait_ns, self.serial, key)));
        self.connecting -= 1;
        self.standing.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn send(&mut self, key: usize) {
        // What a failed write means, the reading tells: an answer may still lie there.
        if self.pokes[key].send(&self.manner.script).is_err() && self.manner.reads {
            self.receive(key);
        }
    }

    fn receive(&mut self, key: usize) {
        let poke = &mut self.pokes[key];
        let way = match poke.receive() {
            Some(way) => Some(way),
            None if poke.is_complete(&self.manner) && poke.status().is_some() => Some(Way::Served),
            None => None,
        };
        if let Some(way) = way {
            let way = match poke.status() {
                Some(_) if poke.is_complete(&self.manner) => Way::Served,
                Some(408) => Way::TimedOut,
                Some(_) => Way::Answered,
                None => way,
            };
            self.end(key, way);
        }
    }

    fn end(&mut self, key: usize, way: Way) {
        let poke = self.pokes.remove(key);
        let now_ns = self.now_ns();
        let stay_ns = now_ns.saturating_sub(poke.since_ns);
        if poke.is_open {
            self.standing.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.connecting -= 1;
        }
        if way == Way::Failed {
            self.paused_until_ns = now_ns + RETRY_NS;
        }
        self.ends.count(way, stay_ns, poke.status());
        self.replace(stay_ns, now_ns);
    }

    fn replace(&mut self, stay_ns: u64, now_ns: u64) {
        if self.manner.replaces {
            let pause_ns = if stay_ns < RETRY_NS { RETRY_NS } else { 0 };
            self.missing.push(Reverse(now_ns + pause_ns));
        }
    }
}

impl Poke {
    /// One more byte, unless there is nothing more to say or what was said before was not taken.
    fn allow_more(&mut self, manner: &Manner) {
        let is_done = !manner.is_endless && self.allowed == manner.script.len() as u64;
        if self.sent == self.allowed && !is_done {
            self.allowed += 1;
        }
    }

    fn is_complete(&self, manner: &Manner) -> bool {
        !manner.is_endless && self.sent == manner.script.len() as u64
    }

    fn send(&mut self, script: &[u8]) -> io::Result<()> {
        while self.sent < self.allowed {
            let from = (self.sent % script.len() as u64) as usize;
            let rest = &script[from..];
            let piece = &rest[..rest.len().min((self.allowed - self.sent) as usize)];
            match self.stream.write(piece) {
                Ok(count) => self.sent += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes all that came; how the connection ended, if it did.
    fn receive(&mut self) -> Option<Way> {
        let mut input = [0; 4096];
        loop {
            match self.stream.read(&mut input) {
                Ok(0) => return Some(Way::Closed),
                Ok(count) => {
                    let room = OPENING_BYTES - self.opening.len();
                    self.opening.extend_from_slice(&input[..count.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Some(Way::Reset),
            }
        }
    }

    fn status(&self) -> Option<u16> {
        let digits = self.opening.strip_prefix(b"HTTP/1.")?.get(2..5)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// A flock of `count` before a server that does `treat` to each connection in turn, until so many have
    /// ended that way.
    fn ends(
        change: impl FnOnce(&mut Manner),
        treat: fn(std::net::TcpStream),
        (count, way, wanted): (u64, Way, u64),
    ) -> (Ends, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Ends with the test, at the latest with the process.
        std::thread::spawn(move || listener.incoming().flatten().for_each(treat));
        let mut manner = Manner {
            address,
            script: REQUEST.into(),
            at_once: 0,
            every: Duration::from_millis(1),
            is_endless: false,
            reads: true,
            receive_bytes: None,
            timeout: Duration::from_secs(10),
            replaces: false,
        };
        change(&mut manner);
        let standing = Arc::new(AtomicU64::new(0));
        let mut flock = Flock::new(manner, count, Sources::any(), Arc::clone(&standing)).unwrap();
        let mut events = Flock::events();
        let begun = Instant::now();
        while flock.ends.of(way) < wanted {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", flock.ends);
            flock.turn(&mut events, Duration::from_millis(10)).unwrap();
        }
        let ends = flock.leave();
        (ends, standing.load(Ordering::Relaxed))
    }

    #[test]
    fn a_request_that_drips_to_its_end_is_served() {
        let treat = |mut stream: std::net::TcpStream| {
            let mut seen = Vec::new();
            while seen != REQUEST {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                seen.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        };
        let (ends, standing) = ends(|_| (), treat, (3, Way::Served, 3));
        assert_eq!((ends.of(Way::Served), ends.of(Way::Stayed), standing), (3, 0, 0));
    }

    #[test]
    fn an_answer_amid_the_request_is_told_even_behind_a_reset() {
        let treat = |mut stream: std::net::TcpStream| {
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap();
            // What comes now is answered with a reset.
        };
        let (ends, _) = ends(|_| (), treat, (5, Way::TimedOut, 5));
        assert_eq!((ends.of(Way::TimedOut), ends.of(Way::Reset)), (5, 0));
    }

    #[test]
    fn those_that_were_ended_come_back() {
        let treat = |mut stream: std::net::TcpStream| drop(stream.read_exact(&mut [0]));
        let (ends, standing) = ends(|manner| manner.replaces = true, treat, (2, Way::Closed, 5));
        assert!(ends.of(Way::Closed) >= 5 && ends.of(Way::Served) == 0);
        assert_eq!(standing, 0);
    }

    #[test]
    fn who_never_reads_learns_by_knocking_that_nobody_listens_any_more() {
        let treat = |mut stream: std::net::TcpStream| {
            // Takes all that was asked, so that no reset comes of itself, and answers with more than is read.
            stream.read_exact(&mut [0; REQUEST.len()]).unwrap();
            stream.set_nonblocking(true).unwrap();
            while stream.write(&[b'x'; 65536]).is_ok() {}
            let _ = stream.shutdown(Shutdown::Write);
        };
        let never = |manner: &mut Manner| {
            (manner.reads, manner.is_endless) = (false, true);
            manner.at_once = REQUEST.len();
            manner.receive_bytes = Some(4096);
        };
        let (ends, _) = ends(never, treat, (2, Way::Reset, 2));
        assert_eq!(ends.of(Way::Stayed), 0);
    }

    #[test]
    fn nobody_there_is_a_failure_and_no_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let (ends, _) = ends(|manner| manner.address = address, |_| (), (3, Way::Failed, 3));
        assert_eq!(ends.of(Way::Failed), 3);
    }

    #[test]
    fn a_server_that_is_gone_is_not_hammered_however_many_are_missing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let begun = Instant::now();
        let gone = |manner: &mut Manner| (manner.address, manner.replaces) = (address, true);
        let (ends, _) = ends(gone, |_| (), (10_000, Way::Failed, 3 * CONNECTING_MAX as u64));
        assert!(ends.of(Way::Failed) <= 4 * CONNECTING_MAX as u64);
        assert!(begun.elapsed() >= 2 * Duration::from_nanos(RETRY_NS));
    }
}
