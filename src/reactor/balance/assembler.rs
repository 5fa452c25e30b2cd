//! Instructions of the kernel's eBPF machine, and jumps by name.
//!
//! Just what [`program`](super::program) is written with: eleven registers of 64 bits, of which `R0` has
//! results and `R10` the end of the stack, loads and stores, a little arithmetic, jumps, calls of helpers.
//! The names are the operation's, the destination comes first. Nothing here talks to the kernel, which checks
//! every program itself before it takes it.

use std::collections::HashMap;
use std::hash::Hash;

/// One instruction, as the kernel lays it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    pub code: u8,
    /// Destination in the low half, source in the high one; the other way about where bytes are.
    pub registers: u8,
    pub offset: i16,
    pub value: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// A register of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Register(pub u8);

/// How many bytes a load or a store moves; what is loaded is filled up with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Width {
    Byte = 0x10,
    Word = 0x00,
    Double = 0x18,
}

/// What is done with a register, in 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Add = 0x00,
    Subtract = 0x10,
    Or = 0x40,
    And = 0x50,
    ShiftLeft = 0x60,
    ShiftRight = 0x70,
    Set = 0xb0,
}

/// When a jump is taken; registers are compared in 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Test {
    Differs = 0x50,
    Above = 0x20,
    AtLeast = 0x30,
    Below = 0xa0,
    /// As signed numbers.
    Before = 0xc0,
}

/// The other side of an operation or a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum With {
    Value(i32),
    Of(Register),
}

/// What a map stands for in a program: the descriptor is looked up when the program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Map {
    /// The map itself, for helpers.
    Whole(i32),
    /// The address of the first value of an array with a single one.
    Contents(i32),
}

/// Classes of instructions.
const LOAD_WIDE: u8 = 0x18;
const LOAD: u8 = 0x01;
const STORE: u8 = 0x03;
const JUMP: u8 = 0x05;
const ARITHMETIC: u8 = 0x07;
/// The other side is a register.
const BY_REGISTER: u8 = 0x08;
/// A load or store at a register's address plus an offset.
const MEMORY: u8 = 0x60;
/// As one step that no other processor can divide.
const ATOMIC: u8 = 0xc0;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;

impl Instruction {
    const fn new(code: u8, to: Register, from: Register, offset: i16, value: i32) -> Instruction {
        let registers = match cfg!(target_endian = "little") {
            true => to.0 | (from.0 << 4),
            false => (to.0 << 4) | from.0,
        };
        Instruction { code, registers, offset, value }
    }
}

const NONE: Register = Register(0);

/// `to = *(from + offset)`
pub(super) const fn load(to: Register, width: Width, from: Register, offset: i16) -> Instruction {
    Instruction::new(LOAD | MEMORY | width as u8, to, from, offset, 0)
}

/// `*(to + offset) = from`
pub(super) const fn store(to: Register, offset: i16, width: Width, from: Register) -> Instruction {
    Instruction::new(STORE | MEMORY | width as u8, to, from, offset, 0)
}

/// `*(to + offset) += from`, undivided.
pub(super) const fn add_at(to: Register, offset: i16, from: Register) -> Instruction {
    Instruction::new(STORE | ATOMIC | Width::Double as u8, to, from, offset, Operation::Add as i32)
}

/// `to = to operation with`
pub(super) const fn compute(to: Register, operation: Operation, with: With) -> Instruction {
    match with {
        With::Value(value) => Instruction::new(ARITHMETIC | operation as u8, to, NONE, 0, value),
        With::Of(from) => Instruction::new(ARITHMETIC | operation as u8 | BY_REGISTER, to, from, 0, 0),
    }
}

/// `R0 = helper(R1, ...)`, whose arguments are gone afterwards.
pub(super) const fn call(helper: i32) -> Instruction {
    Instruction::new(JUMP | CALL, NONE, NONE, 0, helper)
}

/// Ends the program with the verdict in `R0`.
pub(super) const fn exit() -> Instruction {
    Instruction::new(JUMP | EXIT, NONE, NONE, 0, 0)
}

/// `to = value`, which takes the room of two.
pub(super) const fn set_wide(to: Register, value: u64) -> [Instruction; 2] {
    wide(to, 0, value as u32 as i32, (value >> 32) as u32 as i32)
}

/// `to = map`
pub(super) const fn set_map(to: Register, map: Map) -> [Instruction; 2] {
    match map {
        Map::Whole(fd) => wide(to, 1, fd, 0),
        Map::Contents(fd) => wide(to, 2, fd, 0),
    }
}

const fn wide(to: Register, kind: u8, low: i32, high: i32) -> [Instruction; 2] {
    [Instruction::new(LOAD_WIDE, to, Register(kind), 0, low), Instruction::new(0, NONE, NONE, 0, high)]
}

/// A program under construction, whose places have names of type `L`.
pub(super) struct Assembler<L> {
    code: Vec<Instruction>,
    places: HashMap<L, usize>,
    jumps: Vec<(usize, L)>,
}

impl<L: Copy + Eq + Hash> Assembler<L> {
    pub(super) fn new() -> Assembler<L> {
        Assembler { code: Vec::new(), places: HashMap::new(), jumps: Vec::new() }
    }

    pub(super) fn put(&mut self, instructions: impl IntoIterator<Item = Instruction>) {
        self.code.extend(instructions);
    }

    /// Names the place where the next instruction will stand.
    pub(super) fn here(&mut self, place: L) {
        let before = self.places.insert(place, self.code.len());
        debug_assert!(before.is_none(), "a place has one name");
    }

    /// Goes to `place` if the test holds.
    pub(super) fn jump_if(&mut self, left: Register, test: Test, right: With, place: L) {
        self.jumps.push((self.code.len(), place));
        self.code.push(match right {
            With::Value(value) => Instruction::new(JUMP | test as u8, left, NONE, 0, value),
            With::Of(right) => Instruction::new(JUMP | test as u8 | BY_REGISTER, left, right, 0, 0),
        });
    }

    /// The program, with every jump going where its place came to stand.
    ///
    /// # Panics
    /// When a jump goes to a place that is nowhere, or too far: both are seen by the first test.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        for (at, place) in &self.jumps {
            let to = self.places.get(place).expect("every place is somewhere");
            // Counted from the instruction behind the jump.
            let distance = *to as isize - (*at as isize + 1);
            self.code[*at].offset = i16::try_from(distance).expect("programs are short");
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const R1: Register = Register(1);
    const R2: Register = Register(2);

    /// As the kernel's own assembler has them.
    #[test]
    fn instructions_are_laid_out_as_the_kernel_wants_them() {
        for (instruction, code, registers, offset, value) in [
            (load(R1, Width::Double, R2, 8), 0x79, 0x21_u8, 8, 0),
            (load(R1, Width::Word, R2, -4), 0x61, 0x21, -4, 0),
            (load(R1, Width::Byte, R2, 13), 0x71, 0x21, 13, 0),
            (store(R1, -4, Width::Word, R2), 0x63, 0x21, -4, 0),
            (add_at(R1, 64, R2), 0xdb, 0x21, 64, 0),
            (compute(R1, Operation::Add, With::Value(14)), 0x07, 0x01, 0, 14),
            (compute(R1, Operation::Set, With::Of(R2)), 0xbf, 0x21, 0, 0),
            (compute(R1, Operation::ShiftRight, With::Value(63)), 0x77, 0x01, 0, 63),
            (call(82), 0x85, 0, 0, 82),
            (exit(), 0x95, 0, 0, 0),
            (set_map(R1, Map::Whole(5))[0], 0x18, 0x11, 0, 5),
            (set_map(R1, Map::Contents(6))[0], 0x18, 0x21, 0, 6),
        ] {
            let registers =
                if cfg!(target_endian = "little") { registers } else { registers.rotate_right(4) };
            assert_eq!(instruction, Instruction { code, registers, offset, value });
        }
        let [low, high] = set_wide(R2, 0xFEDC_BA98_7654_3210);
        assert_eq!((low.value, high.value), (0x7654_3210, 0xFEDC_BA98_u32 as i32));
    }

    #[test]
    fn jumps_are_counted_from_the_instruction_behind_them() {
        let mut to = Assembler::new();
        to.here("start");
        to.jump_if(R1, Test::Below, With::Of(R2), "end");
        to.put(set_wide(R1, 1));
        to.jump_if(R1, Test::Differs, With::Value(0), "start");
        to.here("end");
        to.put([exit()]);
        let code = to.finish();
        assert_eq!((code[0].code, code[0].offset), (0xad, 3));
        assert_eq!((code[3].code, code[3].offset), (0x55, -4));
    }
}
