//! The servers behind the gate: they take connections, or not, hear strictly and do what chance has them do.

use std::cell::RefCell;
use std::rc::Rc;

use super::book::Book;
use super::deed::{Act, Deed, Mood};
use super::ear::Ear;
use crate::reactor::sim::dial::{Call, Switchboard};
use crate::reactor::sim::dice::Dice;
use crate::reactor::sim::wire::{Standing, Wire};

/// See the module.
pub(super) struct Town {
    board: Rc<RefCell<Switchboard>>,
    book: Rc<RefCell<Book>>,
    /// By the last part of their addresses.
    pub moods: Vec<Mood>,
    pub lines: Vec<ServerLine>,
    dice: Dice,
}

/// A connection as its server has it.
pub(super) struct ServerLine {
    pub wire: Rc<RefCell<Wire>>,
    mood: Mood,
    number: usize,
    dice: Dice,
    ear: Ear,
    /// When it is heard whether it stands; `None`: never, or it was.
    stands_at_ms: Option<u64>,
    /// Bytes that were taken.
    taken: usize,
    /// Requests that were answered, or begun to be.
    begun: usize,
    deed: Option<Deed>,
    next_ms: u64,
    reads: bool,
    /// Whether it was left, by all rules or against them.
    is_over: bool,
    has_ended: bool,
}

impl Town {
    pub(super) fn new(
        board: Rc<RefCell<Switchboard>>,
        book: Rc<RefCell<Book>>,
        moods: Vec<Mood>,
        dice: Dice,
    ) -> Town {
        Town { board, book, moods, lines: Vec::new(), dice }
    }

    /// Does something, or not. Tells whether it did or could have.
    pub(super) fn act(&mut self, now_ms: u64) -> bool {
        loop {
            let Some(call) = self.board.borrow_mut().calls.pop_front() else { break };
            let line = self.take(call, now_ms);
            self.lines.push(line);
        }
        let mut book = self.book.borrow_mut();
        let mut could = false;
        for line in &mut self.lines {
            could |= line.act(now_ms, &mut book);
        }
        could
    }

    /// How each connection stands that the floor has not closed, for who looks into a failure.
    pub(super) fn shown(&self) -> String {
        let lines = self.lines.iter().filter(|line| !line.wire.borrow().closed || line.deed.is_some());
        lines.map(ServerLine::shown).collect::<Vec<_>>().join("; ")
    }

    fn take(&mut self, call: Call, now_ms: u64) -> ServerLine {
        let mood = self.moods[usize::from(call.server)];
        self.book.borrow_mut().has_erred |= mood == Mood::BlackHole;
        let late_ms = if self.dice.one_in(2) { 0 } else { self.dice.size(0, 100) as u64 };
        ServerLine {
            wire: call.wire,
            mood,
            number: self.lines.len(),
            dice: self.dice.fork(),
            ear: Ear::default(),
            stands_at_ms: (mood != Mood::BlackHole).then_some(now_ms + late_ms),
            taken: 0,
            begun: 0,
            deed: None,
            next_ms: 0,
            reads: true,
            is_over: false,
            has_ended: false,
        }
    }
}

impl ServerLine {
    fn act(&mut self, now_ms: u64, book: &mut Book) -> bool {
        self.listen(book);
        if let Some(at_ms) = self.stands_at_ms {
            return self.stand(at_ms, now_ms, book);
        }
        let mut wire = self.wire.borrow_mut();
        let mut could = wire.may_arrive();
        if self.dice.one_in(2) {
            let count = self.dice.size(1, 20_000);
            wire.arrive(count);
        }
        if self.reads && !wire.outbox.is_empty() {
            could = true;
            if self.dice.one_in(2) {
                let bytes = wire.take(self.dice.size(1, 60_000));
                self.taken += bytes.len();
                if self.ear.is_raw && !self.has_ended {
                    wire.transit.extend(bytes);
                } else if self.has_ended && !wire.closed && self.mood != Mood::Good {
                    // Nobody is there any more.
                    wire.break_off();
                }
            }
        }
        if self.ear.is_raw && wire.write_closed && wire.outbox.is_empty() && !self.has_ended {
            (wire.fin_in_transit, self.has_ended, could) = (true, true, true);
        }
        drop(wire);
        could | self.go_on(now_ms, book)
    }

    fn shown(&self) -> String {
        let wire = self.wire.borrow();
        let acts = self.deed.as_ref().map(|deed| (deed.acts.len(), deed.is_early, deed.switches));
        let heard = self.ear.requests.last();
        let rooms = (wire.unread(), wire.outbox.len(), wire.outbox_max);
        let flags = (wire.closed, wire.write_closed, wire.fin_in_transit, wire.reset, wire.standing);
        format!(
            "line {}: {:?}, deed {acts:?}, {heard:?}, taken {}, reads {}, over {}, {rooms:?}, {flags:?}",
            self.number, self.mood, self.taken, self.reads, self.is_over
        )
    }

    fn listen(&mut self, book: &mut Book) {
        let mut wire = self.wire.borrow_mut();
        let Some(tap) = &mut wire.tap else { return };
        if tap.bytes.is_empty() {
            return;
        }
        let was = self.ear.requests.len();
        if let Err(text) = self.ear.listen(tap, self.number, book) {
            book.complain(format!("line {}: {text}", self.number));
        }
        let has_more = self.ear.requests.len() > was && !self.ear.is_raw;
        if self.is_over && has_more && !book.raced.contains(&self.number) {
            let said = book.said.iter().rev().find(|said| said.line == self.number);
            let text = format!(
                "line {} is used though it was not to be: {said:?}, {:?}",
                self.number, self.ear.requests
            );
            book.complain(text);
        }
    }

    fn stand(&mut self, at_ms: u64, now_ms: u64, book: &mut Book) -> bool {
        if now_ms < at_ms {
            return false;
        }
        self.stands_at_ms = None;
        let refuses =
            self.mood == Mood::Refuses || matches!(self.mood, Mood::Flaky(n) if self.dice.one_in(2 * n));
        book.has_erred |= refuses;
        let standing = if refuses { Standing::Failed(libc::ECONNREFUSED) } else { Standing::Open };
        self.wire.borrow_mut().settle(standing);
        true
    }

    /// The next request is taken up when it has come so far; what is done about it is gone on with.
    fn go_on(&mut self, now_ms: u64, book: &mut Book) -> bool {
        if self.wire.borrow().closed || self.has_ended {
            return false;
        }
        if self.deed.is_none() {
            let Some(heard) = self.ear.requests.get(self.begun).cloned() else { return false };
            if self.taken < heard.head_end || self.is_over {
                return false;
            }
            let deed = Deed::new(&mut self.dice, self.mood, &heard, self.number, book);
            self.ear.is_raw = deed.switches;
            self.deed = Some(deed);
            self.begun += 1;
        }
        let Some(deed) = &mut self.deed else { return false };
        let heard = &self.ear.requests[self.begun - 1];
        let is_whole = heard.end.is_some_and(|end| self.taken >= end);
        if !is_whole && !deed.is_early {
            return false;
        }
        let Some((after_ms, _)) = deed.acts.front() else { return self.conclude(is_whole) };
        if self.next_ms == 0 {
            self.next_ms = now_ms + after_ms;
        }
        if now_ms < self.next_ms {
            return false;
        }
        self.next_ms = 0;
        let act = deed.acts.pop_front();
        let mut wire = self.wire.borrow_mut();
        let has_more = wire.tap.as_ref().is_some_and(|tap| !tap.bytes.is_empty());
        if has_more || self.ear.requests.len() > self.begun {
            // The next request is on its way already, and what is said now would be its answer.
            book.raced.insert(self.number);
            book.note("raced");
        }
        match act {
            Some((_, Act::Send(bytes))) => wire.transit.extend(bytes),
            Some((_, Act::Fin)) => (wire.fin_in_transit, self.has_ended) = (true, true),
            Some((_, Act::Reset)) => {
                wire.break_off();
                self.has_ended = true;
            }
            None => {}
        }
        true
    }

    /// All was done about a request.
    fn conclude(&mut self, is_whole: bool) -> bool {
        let Some(deed) = &self.deed else { return false };
        self.is_over |= !deed.stays;
        self.reads &= deed.reads_on;
        if !is_whole || deed.switches {
            // The rest of it is still to be heard.
            return false;
        }
        self.deed = None;
        true
    }
}
