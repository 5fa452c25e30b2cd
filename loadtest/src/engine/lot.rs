//! The connections of one thread: opened, asked, read and ended without blocking.
//!
//! Mechanism only. [`Lot::turn`] tells what happened; whoever drives it decides what to do about that: ask
//! again (`closed`), ask when a schedule says so (`open`), or nothing at all (`hold`). A key stays valid
//! until the next turn begins, also when its connection has ended meanwhile.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use socket2::SockRef;

use crate::engine::addresses::Sources;
use crate::engine::alarm::Alarm;
use crate::engine::faults::Fault;
use crate::engine::session::{Session, Stage};
use crate::engine::socket;
use crate::wire::answer::{Answer, Memory, Read};
use crate::wire::target::Target;

/// Connections of one thread.
pub struct Lot {
    poll: Poll,
    events: Events,
    alarm: Alarm,
    sessions: Slab<Session>,
    target: Arc<Target>,
    sources: Sources,
    epoch: Instant,
    timeout_ns: u64,
    memory: Memory,
    input: Box<[u8]>,
    /// Keys with something to send.
    listed: Vec<usize>,
    /// Keys of connections where more lies than one turn may read.
    unread: Vec<usize>,
    /// Keys of connections that are over.
    ended: Vec<usize>,
    /// Questions without an answer, and connections under way: whether timeouts need a look.
    under_way: usize,
    looked_ns: u64,
    /// Bytes that came, heads and all.
    pub received: u64,
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It is there.
    Opened { key: usize },
    /// An answer is complete, right or (`fault`) wrong. Who `closes` takes no more questions.
    Answered { key: usize, intended_ns: u64, at_ns: u64, fault: Option<Fault>, closes: bool },
    /// It is over, with so many questions unanswered. Without a fault nothing was under way, or the server
    /// had said that it would close.
    Over { key: usize, fault: Option<Fault>, unanswered: usize },
}

const EVENTS_PER_TURN_MAX: usize = 1024;
const INPUT_BYTES: usize = 256 * 1024;
/// Reads of one connection in a turn: an answer without end must not keep the others, and the clock, waiting.
const READS_PER_TURN_MAX: u32 = 4;
const WAKER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);
/// How often those who wait too long are looked for.
const LOOK_NS: u64 = 250_000_000;

/// What a lot is made of.
pub struct Setup {
    pub poll: Poll,
    pub target: Arc<Target>,
    pub sources: Sources,
    pub epoch: Instant,
    pub timeout: Duration,
}

impl Setup {
    /// A waker for a lot that is still to be made: belongs in the common table, since other threads use it.
    pub fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), WAKER)
    }
}

impl Lot {
    /// Made on the thread it belongs to, once that has its own table.
    ///
    /// # Errors
    /// When the kernel has no timer left.
    pub fn new(setup: Setup) -> io::Result<Lot> {
        let Setup { poll, target, sources, epoch, timeout } = setup;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        Ok(Lot {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN_MAX),
            alarm,
            sessions: Slab::new(),
            target,
            sources,
            epoch,
            timeout_ns: timeout.as_nanos() as u64,
            memory: Memory::default(),
            input: vec![0; INPUT_BYTES].into_boxed_slice(),
            listed: Vec::new(),
            unread: Vec::new(),
            ended: Vec::new(),
            under_way: 0,
            looked_ns: 0,
            received: 0,
        })
    }

    /// Nanoseconds since the run's epoch.
    pub fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Connections that are there or on their way.
    pub fn len(&self) -> usize {
        self.sessions.len() - self.ended.len()
    }

    /// Begins a connection; its questions may be asked at once, and are sent when it is there.
    ///
    /// # Errors
    /// What stands in the way on this side.
    pub fn open(&mut self) -> Result<usize, Fault> {
        let mut stream = socket::connect(self.target.address, self.sources.next(), None)
            .map_err(|error| Fault::of(&error))?;
        let entry = self.sessions.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(key), interest)
            .map_err(|error| Fault::of(&error))?;
        entry.insert(Session::new(stream, self.epoch.elapsed().as_nanos() as u64));
        self.under_way += 1;
        Ok(key)
    }

    /// Asks once; sent at the beginning of the next turn, together with all that was asked by then. False
    /// when the connection is over, which whoever asks may not have been told yet: then nothing was asked.
    #[must_use]
    pub fn ask(&mut self, key: usize, intended_ns: u64, now_ns: u64) -> bool {
        let session = &mut self.sessions[key];
        if session.stage == Stage::Ended {
            return false;
        }
        session.owe(intended_ns, now_ns, self.target.request_bytes());
        self.under_way += 1;
        if session.stage == Stage::Open && !session.is_listed {
            session.is_listed = true;
            self.listed.push(key);
        }
        true
    }

    /// Ends a connection: what it had asked will not be answered.
    pub fn end(&mut self, key: usize) {
        let session = &mut self.sessions[key];
        if session.stage != Stage::Ended {
            self.under_way -= session.asked.len() + usize::from(session.stage == Stage::Connecting);
            session.stage = Stage::Ended;
            self.ended.push(key);
        }
    }

    /// Ends it by a reset: neither side keeps anything of it, and the other learns that at once.
    pub fn reset(&mut self, key: usize) {
        // Without it the end is an orderly one, which is no harm.
        let _ = SockRef::from(&self.sessions[key].stream).set_linger(Some(Duration::ZERO));
        self.end(key);
    }

    /// Keys of all connections that are there.
    pub fn keys(&self) -> Vec<usize> {
        let open = self.sessions.iter().filter(|(_, session)| session.stage == Stage::Open);
        open.map(|(key, _)| key).collect()
    }

    /// Whether it is there and takes questions.
    pub fn is_open(&self, key: usize) -> bool {
        self.sessions.get(key).is_some_and(|session| session.stage == Stage::Open)
    }

    /// Whether the other side has said that it will close, or has closed after that; known until the next
    /// turn.
    pub fn is_parting(&self, key: usize) -> bool {
        self.sessions.get(key).is_some_and(|session| session.is_parting)
    }

    /// Intended starts of what was asked and not answered; of one that is over too, until the next turn.
    pub fn unanswered(&self, key: usize) -> impl Iterator<Item = u64> + '_ {
        self.sessions.get(key).into_iter().flat_map(|session| session.asked.iter().copied())
    }

    /// Sends what was asked at once rather than at the next turn: for whoever notes when it was sent.
    pub fn flush(&mut self, told: &mut Vec<Happening>) {
        self.send_listed(told);
    }

    /// Sends what was asked, waits until something happens (or `until`, by the run's clock), and tells what.
    ///
    /// # Errors
    /// What the poll says; all else happens to single connections.
    pub fn turn(&mut self, until_ns: Option<u64>, told: &mut Vec<Happening>) -> io::Result<()> {
        self.forget_ended();
        self.send_listed(told);
        let unread = std::mem::take(&mut self.unread);
        let wait = self.wait_for(until_ns, !told.is_empty() || !unread.is_empty())?;
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => outcome?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() != WAKER && event.token() != ALARM {
                self.serve(event, told);
            }
        }
        self.events = events;
        self.go_on_reading(unread, told);
        self.expire(told);
        Ok(())
    }

    /// How long the poll may sleep. It counts milliseconds, rounded up, so that the alarm ends it.
    fn wait_for(&mut self, until_ns: Option<u64>, is_pressed: bool) -> io::Result<Option<Duration>> {
        let now_ns = self.now_ns();
        let look = (self.under_way > 0).then_some(LOOK_NS);
        let until = until_ns.map(|until| until.saturating_sub(now_ns));
        if is_pressed || until == Some(0) {
            return Ok(Some(Duration::ZERO));
        }
        let Some(left) = until else { return Ok(look.map(Duration::from_nanos)) };
        self.alarm.set(now_ns + left, now_ns)?;
        Ok(Some(Duration::from_nanos(left.min(look.unwrap_or(left)))))
    }

    /// Closes the descriptors of what has ended. Every turn begins with it.
    pub fn forget_ended(&mut self) {
        for key in self.ended.drain(..) {
            self.sessions.remove(key);
        }
        if self.sessions.is_empty() && self.sessions.capacity() > EVENTS_PER_TURN_MAX {
            self.sessions = Slab::new();
        }
    }

    fn send_listed(&mut self, told: &mut Vec<Happening>) {
        let mut listed = std::mem::take(&mut self.listed);
        for key in listed.drain(..) {
            // Ended and forgotten since, or even a stranger by now: to send what a stranger owes does no
            // harm.
            let Some(session) = self.sessions.get_mut(key) else { continue };
            session.is_listed = false;
            if session.stage == Stage::Open {
                self.send(key, told);
            }
        }
        self.listed = listed;
    }

    fn send(&mut self, key: usize, told: &mut Vec<Happening>) {
        let session = &mut self.sessions[key];
        if let Err(error) = session.send(&self.target) {
            // An answer may have come before the reset: one too early, with the reason for it.
            session.broken = Some(Fault::of(&error));
            self.drain(key, true, told);
            self.over(key, Some(Fault::of(&error)), told);
        }
    }

    fn serve(&mut self, event: &Event, told: &mut Vec<Happening>) {
        let key = event.token().0;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.stage == Stage::Connecting {
            match session.stream.take_error() {
                Ok(None) if event.is_writable() && !event.is_error() => {
                    session.stage = Stage::Open;
                    self.under_way -= 1;
                    told.push(Happening::Opened { key });
                }
                Ok(None) if !event.is_error() => return,
                Ok(Some(error)) | Err(error) => return self.over(key, Some(Fault::of(&error)), told),
                Ok(None) => return self.over(key, Some(Fault::Reset), told),
            }
        }
        // Reading comes first: to send on a connection that was reset takes the error away from who reads.
        let ends = event.is_read_closed() || event.is_error();
        if event.is_readable() || ends {
            self.drain(key, ends, told);
        }
        if event.is_writable() && self.sessions[key].stage == Stage::Open {
            self.send(key, told);
        }
    }

    /// What was left to be read by the turn before.
    fn go_on_reading(&mut self, unread: Vec<usize>, told: &mut Vec<Happening>) {
        for key in unread {
            // A stranger by now has nothing to read, at worst.
            let Some(session) = self.sessions.get_mut(key) else { continue };
            session.is_unread = false;
            self.drain(key, true, told);
        }
    }

    /// Reads until there is nothing more, or enough for now; a short read says that there is nothing more,
    /// unless the end was announced with it.
    fn drain(&mut self, key: usize, ends: bool, told: &mut Vec<Happening>) {
        let mut input = std::mem::take(&mut self.input);
        let mut reads = 0;
        while let Some(session) = self.sessions.get_mut(key).filter(|session| session.stage == Stage::Open) {
            if reads == READS_PER_TURN_MAX {
                if !std::mem::replace(&mut session.is_unread, true) {
                    self.unread.push(key);
                }
                break;
            }
            reads += 1;
            match session.receive(&mut input) {
                Ok(Some(0)) => self.at_end(key, told),
                Ok(Some(count)) => {
                    self.received += count as u64;
                    self.take(key, &input[..count], told);
                    if count < input.len() && !ends {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => self.over(key, Some(Fault::of(&error)), told),
            }
        }
        self.input = input;
    }

    fn take(&mut self, key: usize, mut input: &[u8], told: &mut Vec<Happening>) {
        let at_ns = self.epoch.elapsed().as_nanos() as u64;
        while !input.is_empty() {
            let session = &mut self.sessions[key];
            let target = &self.target;
            let read = session.reader.read(input, target.is_head_request, &target.expected, &mut self.memory);
            match read {
                Ok(Read::More) => return,
                Ok(Read::Done(used, answer)) => {
                    input = &input[used..];
                    if !self.answered(key, answer, at_ns, told) {
                        return self.over(key, Some(Fault::Malformed), told);
                    }
                }
                Err(fault) => return self.over(key, Some(fault), told),
            }
        }
    }

    /// Tells of one answer; false when nobody asked.
    fn answered(&mut self, key: usize, answer: Answer, at_ns: u64, told: &mut Vec<Happening>) -> bool {
        let session = &mut self.sessions[key];
        let Some(intended_ns) = session.asked.pop_front() else { return false };
        session.since_ns = at_ns;
        self.under_way -= 1;
        let Answer { fault, closes, .. } = answer;
        session.is_parting |= closes;
        told.push(Happening::Answered { key, intended_ns, at_ns, fault, closes });
        true
    }

    /// The other side has closed.
    fn at_end(&mut self, key: usize, told: &mut Vec<Happening>) {
        let at_ns = self.now_ns();
        let session = &mut self.sessions[key];
        if let Some(fault) = session.broken {
            // The end that a reset looks like, once it was told elsewhere.
            return self.over(key, Some(fault), told);
        }
        let is_amid = session.reader.is_amid();
        let fault = match session.reader.end(&self.target.expected) {
            Some(answer) if self.answered(key, answer, at_ns, told) => None,
            Some(_) => Some(Fault::Malformed),
            None => is_amid.then_some(Fault::Closed),
        };
        self.over(key, fault, told);
    }

    /// The one way a connection ends that the driver did not end.
    fn over(&mut self, key: usize, fault: Option<Fault>, told: &mut Vec<Happening>) {
        let session = &self.sessions[key];
        if session.stage == Stage::Ended {
            return;
        }
        let unanswered = session.asked.len();
        let fault = match fault {
            // It was said that it would close: what was asked behind that is not its fault, nor is how it
            // closes.
            Some(Fault::Reset | Fault::Closed | Fault::Timeout) | None if session.is_parting => None,
            None if unanswered > 0 => Some(Fault::Closed),
            fault => fault,
        };
        self.end(key);
        told.push(Happening::Over { key, fault, unanswered });
    }

    /// Gives up on those who wait too long.
    fn expire(&mut self, told: &mut Vec<Happening>) {
        let now_ns = self.now_ns();
        if self.under_way == 0 || now_ns < self.looked_ns + LOOK_NS {
            return;
        }
        self.looked_ns = now_ns;
        let is_late = |session: &Session| {
            (session.stage == Stage::Connecting || !session.asked.is_empty())
                && session.since_ns + self.timeout_ns < now_ns
        };
        let late: Vec<(usize, Fault)> = (self.sessions.iter())
            .filter(|(_, session)| session.stage != Stage::Ended && is_late(session))
            .map(|(key, session)| match session.stage {
                Stage::Connecting => (key, Fault::Unreachable),
                _ => (key, Fault::Timeout),
            })
            .collect();
        for (key, fault) in late {
            self.over(key, Some(fault), told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::stub::{Move, Stub};
    use crate::wire::target::Question;

    fn lot(stub: &Stub) -> Lot {
        let (method, path, host) = ("GET".into(), "/".into(), "stub".into());
        let question = Question { method, path, host, ..Question::default() };
        Lot::new(Setup {
            poll: Poll::new().unwrap(),
            target: Arc::new(Target::new(stub.address, &question, Default::default())),
            sources: Sources::any(),
            epoch: Instant::now(),
            timeout: Duration::from_secs(10),
        })
        .unwrap()
    }

    #[test]
    fn a_wait_ends_when_it_should_and_not_at_the_next_millisecond() {
        let mut lot = lot(&Stub::new(|_| Move::Answer));
        let mut late_by = || {
            let until_ns = lot.now_ns() + 60_050_000;
            while lot.now_ns() < until_ns {
                lot.turn(Some(until_ns), &mut Vec::new()).unwrap();
            }
            lot.now_ns() - until_ns
        };
        // A busy machine may be late now and then, but not each time.
        assert!((0..30).any(|_| late_by() < 700_000));
    }

    #[test]
    fn whoever_has_parted_takes_no_questions() {
        let stub = Stub::new(|_| Move::Part);
        let mut lot = lot(&stub);
        let key = lot.open().unwrap();
        assert!(lot.ask(key, 7, 7), "sent when the connection is there");
        let mut told = Vec::new();
        while !told.iter().any(|happening| matches!(happening, Happening::Over { .. })) {
            lot.turn(None, &mut told).unwrap();
        }
        assert!(matches!(told[1], Happening::Answered { intended_ns: 7, closes: true, fault: None, .. }));
        assert_eq!(told[2], Happening::Over { key, fault: None, unanswered: 0 });
        assert!(!lot.ask(key, 8, 8) && lot.unanswered(key).count() == 0);
        assert_eq!((lot.len(), lot.under_way), (0, 0));
    }

    #[test]
    fn what_was_asked_in_vain_can_be_told_by_its_intended_start() {
        let stub = Stub::new(|_| Move::Close);
        let mut lot = lot(&stub);
        let key = lot.open().unwrap();
        assert!(lot.ask(key, 5, 9) && lot.ask(key, 6, 9));
        let mut told = Vec::new();
        while !told.iter().any(|happening| matches!(happening, Happening::Over { .. })) {
            lot.turn(None, &mut told).unwrap();
        }
        assert!(matches!(told[1], Happening::Over { fault: Some(_), unanswered: 2, .. }), "{told:?}");
        assert_eq!(lot.unanswered(key).collect::<Vec<_>>(), [5, 6]);
        lot.forget_ended();
        assert_eq!((lot.unanswered(key).count(), lot.under_way), (0, 0));
    }
}
