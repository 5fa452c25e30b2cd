//! Chance from a seed: xorshift64*, enough for simulations and nothing else.

#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Seeds that differ little must not begin alike.
        (0..8).for_each(|_| _ = dice.next());
        dice
    }

    /// Another one, so that one place's throws do not move another's.
    pub(super) fn fork(&mut self) -> Dice {
        Dice::new(self.next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// One that never throws what is rare.
    pub(super) fn still() -> Dice {
        Dice(0)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.0 != 0 && self.below(n) == 0
    }

    /// Between the two, small ones as likely as large ones.
    pub(super) fn size(&mut self, min: usize, max: usize) -> usize {
        let bits = usize::BITS - (max - min).leading_zeros();
        let cap = 1usize << self.below(bits as usize + 1);
        min + self.below(cap.min(max - min + 1))
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes()[..6]);
        }
        bytes.truncate(count);
        bytes
    }
}
