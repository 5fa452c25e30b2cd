//! The program that the kernel runs for each client that knocks: it picks the reactor with the least load.
//!
//! In words, where a rank is a load with a tie-breaker behind it:
//!
//! ```text
//! if the packet is not a SYN: let the hash decide      (a stray, or the answer to a SYN cookie)
//! best = nothing
//! for each reactor:
//!     if its turn has taken a second: skip it                                      (it is stuck)
//!     rank = (sent - gone, whether its turn among equals is over, its number)
//!     best = min(best, rank)
//! if the best is paused:   let the hash decide                       (clients wait in a backlog)
//! if the best has left:    refuse                                              (all are leaving)
//! last = best's number
//! hand the packet to that reactor's listener; if it is not there, let the hash decide
//! sent += 1
//! ```
//! Two processors that choose at once may choose the same reactor; the next choice makes good for it.
//! Nothing here talks to the kernel: see [`kernel`](super::kernel).

use std::mem::offset_of;
use std::os::fd::{AsRawFd, OwnedFd};

use super::assembler::Operation::{Add, And, Or, Set, ShiftLeft, ShiftRight, Subtract};
use super::assembler::Test::{Above, AtLeast, Before, Below, Differs};
use super::assembler::With::{Of, Value};
use super::assembler::{
    Assembler, Instruction, Map, Register, Width, add_at, call, compute, exit, load, set_map, set_wide, store,
};
use super::page::{Head, REACTORS_MAX, STUCK_NS, Slot, Standing};

/// What a program chooses from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub reactors: u32,
    /// Where this address's listeners begin in the map of all: one for each reactor, in their order.
    pub first_listener: u32,
    /// The descriptor of the page's map.
    pub page: i32,
    /// The descriptor of the map of listeners.
    pub listeners: i32,
}

impl Choice {
    pub(super) fn new(reactors: u32, first_listener: u32, page: &OwnedFd, listeners: &OwnedFd) -> Choice {
        Choice { reactors, first_listener, page: page.as_raw_fd(), listeners: listeners.as_raw_fd() }
    }
}

/// What came back from a helper, and where arguments go.
const R0: Register = Register(0);
const R1: Register = Register(1);
const R2: Register = Register(2);
const R3: Register = Register(3);
const R4: Register = Register(4);
const R5: Register = Register(5);
const STACK: Register = Register(10);
// These outlive a call.
const CONTEXT: Register = Register(6);
const PAGE: Register = Register(7);
const BEST: Register = Register(8);
const LONG_AGO: Register = Register(9);
// These live between two calls.
const SLOT: Register = R3;
const NUMBER: Register = R4;
const LAST: Register = R5;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Each,
    Next,
    Chosen,
    Seek,
    Further,
    Hash,
}

/// Helpers of the kernel, by their numbers.
pub(super) const KTIME_GET_NS: i32 = 5;
pub(super) const SK_SELECT_REUSEPORT: i32 = 82;
/// Verdicts.
pub(super) const REFUSE: i32 = 0;
pub(super) const PASS: i32 = 1;

/// Of `struct sk_reuseport_md`: where the TCP header begins, and where what may be read ends.
const DATA: i16 = 0;
const DATA_END: i16 = 8;
/// The flags of a TCP header, and those that tell a first packet.
const FLAGS: i16 = 13;
const SYN: i32 = 0x02;
const ACK: i32 = 0x10;

const HEAD_BYTES: i32 = size_of::<Head>() as i32;
const SLOT_BYTES: i32 = size_of::<Slot>() as i32;
const LAST_AT: i16 = offset_of!(Head, last) as i16;
const SENT_AT: i16 = offset_of!(Slot, sent) as i16;
const GONE_AT: i16 = offset_of!(Slot, gone) as i16;
const BUSY_AT: i16 = offset_of!(Slot, busy_since_ns) as i16;

const NUMBER_BITS: i32 = REACTORS_MAX.trailing_zeros() as i32;
const NUMBER_MASK: i32 = REACTORS_MAX as i32 - 1;
/// Behind a load: one bit for who has had its turn, then the number.
const LOAD_SHIFT: i32 = NUMBER_BITS + 1;

/// Half a weight is more than any count, so a load near one belongs to it.
const fn rank_from(standing: Standing) -> u64 {
    (standing.weight() / 2) << LOAD_SHIFT
}

const _: () = assert!(Standing::Paused.weight() < Standing::Left.weight() / 2);

/// From here on a load is less than nothing: a count was read while another was already taken off.
const NONSENSE: u64 = 1 << 63;

pub(super) fn choose(choice: Choice) -> Vec<Instruction> {
    debug_assert!(choice.reactors <= REACTORS_MAX);
    let mut to = Assembler::new();
    to.put([compute(CONTEXT, Set, Of(R1))]);
    pass_unless_syn(&mut to);
    find_best(&mut to, choice);
    judge(&mut to);
    hand_over(&mut to, choice);
    count(&mut to, choice);
    to.here(Place::Hash);
    to.put([compute(R0, Set, Value(PASS)), exit()]);
    to.finish()
}

/// Only a SYN opens a connection. Nothing else is counted, and the hash will do.
fn pass_unless_syn(to: &mut Assembler<Place>) {
    to.put([
        load(R2, Width::Double, CONTEXT, DATA),
        load(R3, Width::Double, CONTEXT, DATA_END),
        compute(R1, Set, Of(R2)),
        compute(R1, Add, Value(FLAGS as i32 + 1)),
    ]);
    to.jump_if(R1, Above, Of(R3), Place::Hash);
    to.put([load(R1, Width::Byte, R2, FLAGS), compute(R1, And, Value(SYN | ACK))]);
    to.jump_if(R1, Differs, Value(SYN), Place::Hash);
}

fn find_best(to: &mut Assembler<Place>, choice: Choice) {
    to.put([call(KTIME_GET_NS), compute(LONG_AGO, Set, Of(R0))]);
    to.put([compute(LONG_AGO, Subtract, Value(STUCK_NS as i32))]);
    to.put(set_map(PAGE, Map::Contents(choice.page)));
    to.put(set_wide(BEST, u64::MAX));
    to.put([load(LAST, Width::Word, PAGE, LAST_AT)]);
    walk(to);

    to.here(Place::Each);
    to.put([load(R1, Width::Double, SLOT, BUSY_AT)]);
    to.jump_if(R1, Before, Of(LONG_AGO), Place::Next);
    to.put([
        load(R1, Width::Double, SLOT, SENT_AT),
        load(R2, Width::Double, SLOT, GONE_AT),
        compute(R1, Subtract, Of(R2)),
        compute(R1, ShiftLeft, Value(LOAD_SHIFT)),
        // The sign of `number - last - 1`: set for those up to the last one, so equals take turns.
        compute(R2, Set, Of(NUMBER)),
        compute(R2, Subtract, Of(LAST)),
        compute(R2, Subtract, Value(1)),
        compute(R2, ShiftRight, Value(63)),
        compute(R2, ShiftLeft, Value(NUMBER_BITS)),
        compute(R1, Or, Of(R2)),
        compute(R1, Or, Of(NUMBER)),
    ]);
    to.jump_if(R1, AtLeast, Of(BEST), Place::Next);
    to.put([compute(BEST, Set, Of(R1))]);

    to.here(Place::Next);
    step(to, choice, Place::Each);
}

/// What is done when the best is not good.
fn judge(to: &mut Assembler<Place>) {
    to.put(set_wide(R1, rank_from(Standing::Paused)));
    to.jump_if(BEST, Below, Of(R1), Place::Chosen);
    to.put(set_wide(R1, rank_from(Standing::Left)));
    to.jump_if(BEST, Below, Of(R1), Place::Hash);
    to.put(set_wide(R1, NONSENSE));
    to.jump_if(BEST, AtLeast, Of(R1), Place::Hash);
    to.put([compute(R0, Set, Value(REFUSE)), exit()]);
}

fn hand_over(to: &mut Assembler<Place>, choice: Choice) {
    to.here(Place::Chosen);
    to.put([
        compute(BEST, And, Value(NUMBER_MASK)),
        // Read back, the number may be any to the kernel's verifier, which would else follow each of them to
        // the end: more steps for a thousand reactors than it is willing to make.
        store(PAGE, LAST_AT, Width::Word, BEST),
        load(BEST, Width::Word, PAGE, LAST_AT),
    ]);
    to.jump_if(BEST, AtLeast, Value(choice.reactors as i32), Place::Hash);
    to.put([
        compute(R1, Set, Of(BEST)),
        compute(R1, Add, Value(choice.first_listener as i32)),
        store(STACK, -4, Width::Word, R1),
        compute(R1, Set, Of(CONTEXT)),
    ]);
    to.put(set_map(R2, Map::Whole(choice.listeners)));
    to.put([
        compute(R3, Set, Of(STACK)),
        compute(R3, Add, Value(-4)),
        compute(R4, Set, Value(0)),
        call(SK_SELECT_REUSEPORT),
    ]);
    to.jump_if(R0, Differs, Value(0), Place::Hash);
}

/// Counts who was sent. Walks to the slot in steps that are known, since an address that is computed from
/// what is not makes the verifier give up unless the process has all rights.
fn count(to: &mut Assembler<Place>, choice: Choice) {
    walk(to);
    to.here(Place::Seek);
    to.jump_if(NUMBER, Differs, Of(BEST), Place::Further);
    to.put([compute(R1, Set, Value(1)), add_at(SLOT, SENT_AT, R1)]);
    to.put([compute(R0, Set, Value(PASS)), exit()]);
    to.here(Place::Further);
    step(to, choice, Place::Seek);
}

/// Before the first slot.
fn walk(to: &mut Assembler<Place>) {
    to.put([
        compute(NUMBER, Set, Value(0)),
        compute(SLOT, Set, Of(PAGE)),
        compute(SLOT, Add, Value(HEAD_BYTES)),
    ]);
}

/// On to the next slot, and back to that place as long as there is one.
fn step(to: &mut Assembler<Place>, choice: Choice, back: Place) {
    to.put([compute(SLOT, Add, Value(SLOT_BYTES)), compute(NUMBER, Add, Value(1))]);
    to.jump_if(NUMBER, Below, Value(choice.reactors as i32), back);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::page::ASLEEP;
    use super::*;

    const NOW_NS: i64 = 60_000_000_000;

    /// What the program is to be run on, and what it did.
    struct Machine {
        reactors: u32,
        /// The page's bytes, in words of eight.
        page: Vec<u64>,
        /// The listeners that are there.
        listeners: Vec<bool>,
        flags: u8,
        chosen: Option<u32>,
    }

    /// A slot as the program sees it.
    #[derive(Clone, Copy, Debug)]
    struct Load {
        sent: u64,
        gone: u64,
        busy_since_ns: i64,
    }

    /// Where things lie in the machine's memory.
    const PAGE_START: u64 = 1 << 32;
    const HEADER_START: u64 = 2 << 32;
    const STACK_END: u64 = 3 << 32;
    const CONTEXT_START: u64 = 4 << 32;
    const SLOT_WORDS: usize = size_of::<Slot>() / 8;
    const HEAD_WORDS: usize = size_of::<Head>() / 8;

    impl Machine {
        fn new(loads: &[Load], last: u32) -> Machine {
            let mut page = vec![0; HEAD_WORDS + (loads.len() + 1) * SLOT_WORDS];
            page[0] = u64::from(last);
            for (load, slot) in loads.iter().zip(page[HEAD_WORDS..].chunks_mut(SLOT_WORDS)) {
                slot[..3].copy_from_slice(&[load.sent, load.gone, load.busy_since_ns as u64]);
            }
            let listeners = vec![true; loads.len()];
            Machine { reactors: loads.len() as u32, page, listeners, flags: SYN as u8, chosen: None }
        }

        fn sent(&self, number: usize) -> u64 {
            self.page[HEAD_WORDS + number * SLOT_WORDS]
        }

        fn read(&self, address: u64, width: u8, key: u32) -> u64 {
            let at = address & 0xFFFF_FFFF;
            match address >> 32 << 32 {
                PAGE_START => {
                    self.page[at as usize / 8] & if width == Width::Word as u8 { 0xFFFF_FFFF } else { !0 }
                }
                HEADER_START => u64::from(if at == 13 { self.flags } else { 0 }),
                CONTEXT_START => [HEADER_START, HEADER_START + 20][at as usize / 8],
                // The stack grows down from its end.
                _ => u64::from(key),
            }
        }

        /// Runs it to its verdict. Knows just the instructions that the program has.
        fn run(&mut self) -> i32 {
            let choice = Choice { reactors: self.reactors, first_listener: 100, page: 7, listeners: 8 };
            let code = choose(choice);
            let (mut registers, mut at, mut key) = ([0_u64; 11], 0, 0_u32);
            (registers[1], registers[10]) = (CONTEXT_START, STACK_END);
            loop {
                let step = code[at];
                let (to, from) = (usize::from(step.registers & 15), usize::from(step.registers >> 4));
                let with = if step.code & 8 == 0 { step.value as i64 as u64 } else { registers[from] };
                at += 1;
                match (step.code & 7, step.code & 0xf0) {
                    (0, _) => {
                        let high = u64::from(code[at].value as u32) << 32;
                        let value = high | u64::from(step.value as u32);
                        registers[to] = if from == 2 { PAGE_START } else { value };
                        at += 1;
                    }
                    (1, _) => {
                        let address = registers[from].wrapping_add_signed(step.offset.into());
                        registers[to] = self.read(address, step.code & 0x18, key);
                    }
                    (3, operation) => {
                        let address = registers[to].wrapping_add_signed(step.offset.into());
                        let word = (address & 0xFFFF_FFFF) as usize / 8;
                        match address >> 32 << 32 {
                            PAGE_START if operation >= 0xc0 => self.page[word] += registers[from],
                            PAGE_START => self.page[word] = registers[from],
                            _ => key = registers[from] as u32,
                        }
                    }
                    (5, 0x80) => registers[0] = self.call(step.value, key),
                    (5, 0x90) => return registers[0] as i32,
                    (5, test) => {
                        let left = registers[to];
                        let holds = match test {
                            0x20 => left > with,
                            0x30 => left >= with,
                            0x50 => left != with,
                            0xa0 => left < with,
                            0xc0 => (left as i64) < with as i64,
                            _ => panic!("no such test"),
                        };
                        at = if holds { at.wrapping_add_signed(step.offset.into()) } else { at };
                    }
                    (7, operation) => {
                        let left = registers[to];
                        registers[to] = match operation {
                            0x00 => left.wrapping_add(with),
                            0x10 => left.wrapping_sub(with),
                            0x40 => left | with,
                            0x50 => left & with,
                            0x60 => left << with,
                            0x70 => left >> with,
                            0xb0 => with,
                            _ => panic!("no such operation"),
                        };
                    }
                    _ => panic!("no such instruction"),
                }
            }
        }

        fn call(&mut self, helper: i32, key: u32) -> u64 {
            match helper {
                KTIME_GET_NS => NOW_NS as u64,
                SK_SELECT_REUSEPORT => {
                    let number = key - 100;
                    let is_there = self.listeners[number as usize];
                    self.chosen = is_there.then_some(number);
                    if is_there { 0 } else { -2_i64 as u64 }
                }
                _ => panic!("no such helper"),
            }
        }
    }

    fn loaded(load: u64) -> Load {
        Load { sent: 1_000_000 + load, gone: 1_000_000, busy_since_ns: ASLEEP }
    }

    fn standing(load: Load, standing: Standing) -> Load {
        Load { gone: load.gone.wrapping_sub(standing.weight()), ..load }
    }

    fn chosen(loads: &[Load], last: u32) -> Option<u32> {
        let mut machine = Machine::new(loads, last);
        assert_eq!(machine.run(), PASS);
        machine.chosen
    }

    #[test]
    fn the_least_loaded_gets_it_and_is_counted() {
        let mut machine = Machine::new(&[loaded(5), loaded(3), loaded(4)], 0);
        assert_eq!((machine.run(), machine.chosen), (PASS, Some(1)));
        assert_eq!([machine.sent(0), machine.sent(1), machine.sent(2)], [1_000_005, 1_000_004, 1_000_004]);
        machine.run();
        assert_eq!(machine.chosen, Some(2), "equals take turns");
    }

    #[test]
    fn equals_take_turns() {
        let mut machine = Machine::new(&[loaded(7); 5], 2);
        let turns: Vec<_> = (0..10)
            .map(|_| {
                machine.run();
                machine.chosen.unwrap()
            })
            .collect();
        assert_eq!(turns, [3, 4, 0, 1, 2, 3, 4, 0, 1, 2]);
    }

    /// One client after the other, each gone before the next: nobody would ever be loaded more than others.
    #[test]
    fn an_idle_server_spreads_its_clients_too() {
        let turns: Vec<_> = (0..4).map(|last| chosen(&[loaded(0); 4], last).unwrap()).collect();
        assert_eq!(turns, [1, 2, 3, 0]);
        assert_eq!(chosen(&[loaded(0), loaded(9), loaded(0)], 0), Some(2));
        assert_eq!(chosen(&[loaded(0), loaded(9), loaded(0)], 2), Some(0));
    }

    #[test]
    fn who_is_stuck_or_paused_or_has_left_is_passed_over() {
        let busy_for = |ns| Load { busy_since_ns: NOW_NS - ns, ..loaded(0) };
        assert_eq!(chosen(&[loaded(9), busy_for(STUCK_NS + 1), loaded(9)], 0), Some(2));
        assert_eq!(chosen(&[loaded(9), busy_for(STUCK_NS - 1), loaded(9)], 0), Some(1));
        for away in [Standing::Paused, Standing::Left] {
            assert_eq!(chosen(&[loaded(9), standing(loaded(0), away), loaded(9)], 0), Some(2));
        }
    }

    #[test]
    fn the_hash_decides_when_nobody_can() {
        let paused = |load| standing(loaded(load), Standing::Paused);
        let left = |load| standing(loaded(load), Standing::Left);
        assert_eq!(chosen(&[paused(0), paused(5)], 0), None);
        assert_eq!(chosen(&[paused(0), left(0)], 0), None);
        let stuck = Load { busy_since_ns: 0, ..loaded(0) };
        assert_eq!(chosen(&[stuck, stuck], 0), None);
        // Taken off before it was counted, for a moment.
        let odd = Load { sent: 3, gone: 4, busy_since_ns: ASLEEP };
        assert_eq!(chosen(&[odd, odd], 0), None);
        assert_eq!(chosen(&[odd, loaded(8)], 0), Some(1));
        assert_eq!(chosen(&[standing(odd, Standing::Paused), loaded(8)], 0), Some(1));
    }

    #[test]
    fn clients_are_refused_when_all_have_left() {
        let left = standing(loaded(3), Standing::Left);
        let mut machine = Machine::new(&[left, left], 0);
        assert_eq!((machine.run(), machine.chosen), (REFUSE, None));
        let odd = standing(Load { sent: 3, gone: 4, busy_since_ns: ASLEEP }, Standing::Left);
        assert_eq!(Machine::new(&[left, odd], 0).run(), REFUSE);
    }

    #[test]
    fn a_listener_that_is_not_there_is_not_counted() {
        let mut machine = Machine::new(&[loaded(5), loaded(3)], 0);
        machine.listeners[1] = false;
        assert_eq!((machine.run(), machine.chosen), (PASS, None));
        assert_eq!(machine.sent(1), 1_000_003);
    }

    #[test]
    fn only_what_opens_a_connection_is_counted() {
        for flags in [0x10, 0x12, 0x11, 0x04, 0x00] {
            let mut machine = Machine::new(&[loaded(5), loaded(3)], 0);
            machine.flags = flags;
            assert_eq!((machine.run(), machine.chosen), (PASS, None), "{flags:#x}");
            assert_eq!(machine.sent(1), 1_000_003);
        }
        // With the flags of explicit congestion notification.
        let mut machine = Machine::new(&[loaded(5), loaded(3)], 0);
        machine.flags = 0xc2;
        assert_eq!((machine.run(), machine.chosen), (PASS, Some(1)));
    }

    /// The same in so many words.
    fn expected(loads: &[Load], last: u32) -> Option<u32> {
        let able = (0..).zip(loads).filter(|(_, load)| load.busy_since_ns >= NOW_NS - STUCK_NS);
        let able = able.map(|(number, load)| (load.sent.wrapping_sub(load.gone), number <= last, number));
        able.filter(|(load, ..)| *load < 1 << 40).min().map(|(.., number)| number)
    }

    fn any_load() -> impl Strategy<Value = Load> {
        let standings = prop::sample::select(vec![Standing::Open, Standing::Paused, Standing::Left]);
        let busy = prop::sample::select(vec![ASLEEP, NOW_NS, NOW_NS - 2 * STUCK_NS]);
        (0..1_u64 << 30, 0..4_u64, standings, busy).prop_map(|(gone, load, kind, busy_since_ns)| {
            standing(Load { sent: gone + load, gone, busy_since_ns }, kind)
        })
    }

    proptest! {
        #[test]
        fn the_program_does_what_it_says(
            loads in prop::collection::vec(any_load(), 1..40),
            last in 0..REACTORS_MAX,
        ) {
            let mut machine = Machine::new(&loads, last);
            let verdict = machine.run();
            prop_assert_eq!(machine.chosen, expected(&loads, last));
            prop_assert!(verdict == PASS || machine.chosen.is_none());
            for (number, load) in (0..).zip(&loads) {
                let sent = load.sent + u64::from(machine.chosen == Some(number));
                prop_assert_eq!(machine.sent(number as usize), sent);
            }
        }
    }

    /// Whatever the processor, the program is short: it runs for each client that knocks.
    #[test]
    fn the_program_is_of_one_length_for_any_number_of_reactors() {
        let choice = |reactors| Choice { reactors, first_listener: 0, page: 3, listeners: 4 };
        assert_eq!(choose(choice(2)).len(), choose(choice(1_024)).len());
        assert!(choose(choice(2)).len() <= 80, "{}", choose(choice(2)).len());
    }
}
