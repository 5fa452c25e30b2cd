//! A client that speaks by its script, after its manner, and listens strictly.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::reactor::sim::dice::Dice;
use crate::reactor::sim::reader::{Leave, Reader};
use crate::reactor::sim::script::{Say, Script};
use crate::reactor::sim::wire::Wire;
use crate::reactor::sim::world::World;

/// How a visitor behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Sends, reads, goes when it has every answer.
    Polite,
    /// Says that it has sent everything, then reads.
    HalfCloses,
    /// Has read everything and stays, until it is shown out.
    Stays,
    /// Sends a byte now and then.
    Drips,
    /// Takes nothing.
    NeverReads,
    /// Breaks off at some point.
    Resets,
    /// Stops sending at some point, and reads on.
    Leaves,
}

pub(super) struct Visitor {
    pub wire: Rc<RefCell<Wire>>,
    pub manner: Manner,
    say: VecDeque<Say>,
    pub reader: Reader,
    leave: Leave,
    dice: Dice,
    /// When one that drips sends on.
    next_ms: u64,
    pub is_gone: bool,
}

impl Visitor {
    pub(super) fn new(dice: &mut Dice, leave: Leave, world: &World) -> Visitor {
        use Manner::{Drips, HalfCloses, Leaves, NeverReads, Polite, Resets, Stays};
        let manner = *dice
            .pick(&[Polite, Polite, Polite, Polite, HalfCloses, Stays, Drips, NeverReads, Resets, Leaves]);
        let is_tight = dice.one_in(3);
        let script = Script::new(dice, is_tight || manner == Drips, world);
        let is_slow = matches!(manner, Drips | NeverReads | Resets | Leaves);
        let leave = Leave {
            to_give_up: leave.to_give_up || is_slow,
            to_cut: leave.to_cut || is_slow,
            to_end: leave.to_end || is_slow,
            to_break: leave.to_break,
        };
        Visitor {
            wire: Rc::new(RefCell::new(Wire::new(dice.fork(), is_tight))),
            manner,
            say: script.say,
            reader: Reader::new(script.expected, world.has_middleware),
            leave,
            dice: dice.fork(),
            next_ms: 0,
            is_gone: false,
        }
    }

    /// Does something, or not. Tells whether it did or could have.
    pub(super) fn act(&mut self, now_ms: u64) -> Result<bool, String> {
        if self.is_gone {
            return Ok(false);
        }
        let could = self.speak(now_ms) | self.wire.borrow().may_arrive();
        if self.dice.one_in(2) {
            let count = self.dice.size(1, 20_000);
            self.wire.borrow_mut().arrive(count);
        }
        Ok(could | self.listen()?)
    }

    fn speak(&mut self, now_ms: u64) -> bool {
        if self.manner == Manner::Resets && self.dice.one_in(100) {
            self.wire.borrow_mut().break_off();
            self.is_gone = true;
            return true;
        }
        if self.manner == Manner::Leaves && self.dice.one_in(10) {
            self.say.clear();
        }
        if self.manner == Manner::Drips && now_ms < self.next_ms {
            return false;
        }
        let mut wire = self.wire.borrow_mut();
        match self.say.pop_front() {
            Some(Say::Bytes(mut bytes)) => {
                let count = match self.manner {
                    Manner::Drips => 1,
                    // All at once, often enough that requests are pipelined.
                    _ if self.dice.one_in(2) => bytes.len(),
                    _ => self.dice.size(1, bytes.len().max(1)),
                };
                let rest = bytes.split_off(count.min(bytes.len()));
                wire.transit.extend(bytes);
                if !rest.is_empty() {
                    self.say.push_front(Say::Bytes(rest));
                }
                self.next_ms = now_ms + self.dice.size(1, 1_000) as u64;
                true
            }
            Some(Say::AwaitContinue { answer, body }) => {
                let has_answer = self.reader.answers >= answer;
                if has_answer || self.reader.answers + 1 == answer && self.reader.was_asked {
                    // Answered without being asked: the body is owed no more.
                    self.say.push_front(Say::Bytes(if has_answer { Vec::new() } else { body }));
                    return true;
                }
                self.say.push_front(Say::AwaitContinue { answer, body });
                false
            }
            None if wire.fin_in_transit => false,
            None => {
                let is_done = self.reader.is_done();
                wire.fin_in_transit = match self.manner {
                    Manner::HalfCloses | Manner::Leaves => true,
                    Manner::Polite | Manner::Drips => is_done,
                    Manner::Stays | Manner::NeverReads | Manner::Resets => false,
                };
                wire.fin_in_transit
            }
        }
    }

    fn listen(&mut self) -> Result<bool, String> {
        let mut could = false;
        if self.manner != Manner::NeverReads && !self.wire.borrow().outbox.is_empty() {
            could = true;
            if self.dice.one_in(2) {
                let count = self.dice.size(1, 60_000);
                let bytes = self.wire.borrow_mut().take(count);
                self.reader.receive(&bytes, self.leave)?;
            }
        }
        let wire = self.wire.borrow();
        let has_all = wire.outbox.is_empty() || self.manner == Manner::NeverReads;
        if (wire.closed || wire.write_closed) && has_all {
            if wire.was_cut && !self.leave.to_cut && !self.reader.may_break() {
                return Err(String::from("the close destroyed an answer on its way"));
            }
            self.reader.end(self.leave, wire.was_reset)?;
            drop(wire);
            self.go();
            return Ok(true);
        }
        Ok(could)
    }

    /// Lets go of its own end.
    fn go(&mut self) {
        let mut wire = self.wire.borrow_mut();
        wire.fin_in_transit = true;
        if !wire.closed {
            // Whoever has its last answer sends no more of what nobody wanted.
            wire.transit.clear();
            wire.arrive(0);
        }
        self.is_gone = true;
    }
}
