//! The letters of HTTP/1: classes of bytes, runs of them, line ends.
//!
//! What runs to the end of the bytes is [partial](Stop::Partial): the byte that ends it may still come.

use crate::proto::Violation;

/// Why splitting came to no end.
pub(super) enum Stop {
    /// The bytes ran out; so far they are sound.
    Partial,
    /// The request line cannot be split. What is wrong shows when all of it is here.
    BadLine,
    /// A rule is broken.
    Broken(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Stop {
        Stop::Broken(violation)
    }
}

/// RFC 9110 section 5.6.3: optional white space.
#[inline]
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[inline]
pub(super) fn byte_at(bytes: &[u8], at: usize) -> Result<u8, Stop> {
    bytes.get(at).copied().ok_or(Stop::Partial)
}

/// The offset behind the CRLF that must stand at `at`.
#[inline]
pub(super) fn line_end(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    match bytes.get(at..at + 2) {
        Some(b"\r\n") => Ok(at + 2),
        _ => Err(no_line_end(&bytes[at..])),
    }
}

#[cold]
fn no_line_end(bytes: &[u8]) -> Stop {
    match bytes {
        [] | [b'\r'] => Stop::Partial,
        [b'\n', ..] => Violation::BareLineFeed.into(),
        _ => Violation::BadField.into(),
    }
}

/// Where the run of bytes of that class that begins at `from` ends, at a byte that is there.
#[inline]
pub(super) fn run_end(bytes: &[u8], from: usize, class: u8) -> Result<usize, Stop> {
    let rest = bytes.get(from..).unwrap_or_default();
    let len = rest.iter().position(|byte| CLASSES[usize::from(*byte)] & class == 0);
    len.map(|len| from + len).ok_or(Stop::Partial)
}

/// Where a field value ends: at a control, but for HTAB (RFC 9110 section 5.5). Eight bytes at a time, since
/// values are most of a head.
#[inline]
pub(super) fn value_end(bytes: &[u8], from: usize) -> Result<usize, Stop> {
    let mut at = from;
    loop {
        at = match bytes[at..].first_chunk() {
            Some(eight) => match first_control(u64::from_le_bytes(*eight)) {
                Some(ahead) => at + ahead,
                None => {
                    at += 8;
                    continue;
                }
            },
            None => at + bytes[at..].iter().position(|byte| is_control(*byte)).ok_or(Stop::Partial)?,
        };
        if bytes[at] != b'\t' {
            return Ok(at);
        }
        at += 1;
    }
}

/// What no line holds but at its end, HTAB included.
#[inline]
pub(super) fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
}

/// Where the first byte below 0x20, or DEL, is among eight.
#[inline]
fn first_control(eight: u64) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let below_space = eight.wrapping_sub(ONES * 0x20) & !eight;
    let delete = eight ^ (ONES * 0x7f);
    let delete = delete.wrapping_sub(ONES) & !delete;
    // A borrow can mark a byte behind a marked one, never one before it.
    let marked = (below_space | delete) & TOPS;
    (marked != 0).then(|| marked.trailing_zeros() as usize / 8)
}

/// RFC 9110 section 8.6: digits, nothing else, within 64 bits.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && is_all(text, TOKEN)
}

/// RFC 9110 section 5.6.2.
pub(super) const TOKEN: u8 = 1;
/// RFC 9112 section 3.2: visible ASCII, without the fragment that no client may send.
pub(super) const TARGET: u8 = 2;
/// RFC 3986 `reg-name`: unreserved, percent escapes and sub-delims.
pub(super) const HOST: u8 = 4;

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0x21;
    while byte <= 0x7e {
        let b = byte as u8;
        let is_token = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        let is_host = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            );
        table[byte] = if is_token { TOKEN } else { 0 }
            | if is_host { HOST } else { 0 }
            | if b == b'#' { 0 } else { TARGET };
        byte += 1;
    }
    table
};

/// Whether every byte is of that class.
#[inline]
pub(super) fn is_all(text: &[u8], class: u8) -> bool {
    text.iter().all(|byte| CLASSES[usize::from(*byte)] & class != 0)
}
