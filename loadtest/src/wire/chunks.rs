//! The chunked transfer coding, read strictly (RFC 9112 section 7.1).

use crate::engine::faults::Fault;

/// A size line or a trailer longer than this is malformed.
const LINE_BYTES_MAX: u32 = 16 * 1024;
/// Digits of a size that fit 64 bits for certain.
const DIGITS_MAX: u32 = 15;

/// Where in a chunked body the reading stands.
#[derive(Debug, Default)]
pub struct Chunks {
    at: At,
    line_bytes: u32,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Size { value: u64, digits: u32 },
    Extension { value: u64 },
    SizeEnd { value: u64 },
    Data { left: u64 },
    DataReturn,
    DataEnd,
    Trailer { is_empty: bool },
    TrailerEnd { is_empty: bool },
}

impl Default for At {
    fn default() -> At {
        At::Size { value: 0, digits: 0 }
    }
}

impl Chunks {
    /// Gives the data in `input` to `sink`; the bytes used once the body has ended, else none.
    ///
    /// # Errors
    /// [`Fault::Malformed`].
    pub fn take(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        while at < input.len() {
            if let At::Data { left } = &mut self.at {
                let here = (input.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                sink(&input[at..at + here]);
                *left -= here as u64;
                at += here;
                if *left == 0 {
                    self.at = At::DataReturn;
                }
                continue;
            }
            let byte = input[at];
            at += 1;
            self.line_bytes += 1;
            if self.line_bytes > LINE_BYTES_MAX {
                return Err(Fault::Malformed);
            }
            match self.step(byte)? {
                Some(next) => self.at = next,
                None => return Ok(Some(at)),
            }
        }
        Ok(None)
    }

    /// The state behind one byte outside the data; none behind the last.
    fn step(&mut self, byte: u8) -> Result<Option<At>, Fault> {
        Ok(Some(match (self.at, byte) {
            (At::Size { value, digits }, _) if byte.is_ascii_hexdigit() && digits < DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                At::Size { value: value * 16 + u64::from(digit), digits: digits + 1 }
            }
            (At::Size { value, digits: 1.. } | At::Extension { value }, b'\r') => At::SizeEnd { value },
            (At::Size { value, digits: 1.. }, b';' | b' ' | b'\t') => At::Extension { value },
            (At::Extension { value }, _) if byte != b'\n' => At::Extension { value },
            (At::SizeEnd { value: 0 }, b'\n') => self.line(At::Trailer { is_empty: true }),
            (At::SizeEnd { value }, b'\n') => self.line(At::Data { left: value }),
            (At::DataReturn, b'\r') => At::DataEnd,
            (At::DataEnd, b'\n') => self.line(At::default()),
            (At::Trailer { is_empty }, b'\r') => At::TrailerEnd { is_empty },
            (At::Trailer { .. }, _) if byte != b'\n' => At::Trailer { is_empty: false },
            (At::TrailerEnd { is_empty: true }, b'\n') => return Ok(None),
            (At::TrailerEnd { is_empty: false }, b'\n') => At::Trailer { is_empty: true },
            _ => return Err(Fault::Malformed),
        }))
    }

    fn line(&mut self, next: At) -> At {
        self.line_bytes = 0;
        next
    }
}
