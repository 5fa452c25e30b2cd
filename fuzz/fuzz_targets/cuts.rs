//! Cutting bytes as the fuzzer tells: the first byte of its data is a seed, the rest is what is cut.

/// Seed and bytes.
pub fn split(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(seed, bytes)| (*seed, bytes))
}

/// Parts of at least one byte: all of one size for a small seed, of changing sizes for others.
pub fn parts(seed: u8, mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut state = u32::from(seed) | 1;
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let size = if seed < 32 { usize::from(seed) + 1 } else { (state >> 26) as usize + 1 };
        let (part, rest) = bytes.split_at(size.min(bytes.len()));
        parts.push(part);
        bytes = rest;
    }
    parts
}
