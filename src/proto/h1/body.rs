//! Where a body ends: by length, or chunk by chunk (RFC 9112 sections 6 and 7).
//!
//! A decoder names the next bytes that are body and swallows the framing around them; it never copies. Every
//! line must end in CRLF and every size is bounded: a lone LF, a missing CRLF or an overlong size is a
//! smuggling bug in somebody's reader (`httparse`'s own chunk reader takes all three, so it is not used).

use crate::base::buffer::ReadBuffer;
use crate::config::Limits;
use crate::http::Framing;
use crate::proto::Violation;
use crate::proto::h1::lexis::is_token;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// More is needed.
    Starved,
    /// So many bytes at the front are body; they must be consumed before the next call.
    Bytes(usize),
    /// So many bytes at the front are one sound trailer line, CRLF included; they must be consumed before the
    /// next call. Told only by a decoder that was [asked to](BodyDecoder::tell_trailers).
    Trailer(usize),
    /// The body is over.
    End,
}

/// Bounds on a trailer section.
#[derive(Clone, Copy, Debug)]
pub struct TrailerBounds {
    /// The longest head: a buffer need not be larger, so a trailer line has to be shorter.
    pub head_bytes_max: u32,
    /// Its field lines.
    pub lines_max: u32,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct BodyDecoder {
    state: State,
    /// Decoded bytes that may still come.
    allowance: u64,
    /// Bytes of the current extension or trailer section.
    extra: u32,
    trailer_lines: u16,
    tells_trailers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length { left: u64 },
    ChunkSize,
    ChunkData { left: u64 },
    ChunkEnd,
    Trailer,
    End,
}

/// Bytes of a chunk size: 16 hexadecimal digits fill 64 bits, and the limit on bodies is far below.
const SIZE_DIGITS_MAX: usize = 15;
/// Bytes of all extensions of one chunk. Nobody sends them but attackers.
const EXTENSION_BYTES_MAX: usize = 256;
/// Both, and CRLF.
const SIZE_LINE_MAX: usize = SIZE_DIGITS_MAX + EXTENSION_BYTES_MAX + 2;
/// Bytes of a trailer section; fewer where the longest head is shorter still.
const TRAILER_BYTES_MAX: u32 = 4096;

impl BodyDecoder {
    /// A decoder for a body of that framing.
    #[must_use]
    pub fn new(framing: Framing, limits: &Limits) -> BodyDecoder {
        BodyDecoder::within(framing, limits.body_bytes_max)
    }

    /// A decoder for a body of that framing and so many bytes at most, decoded.
    #[must_use]
    pub fn within(framing: Framing, bytes_max: u64) -> BodyDecoder {
        let state = match framing {
            Framing::None => State::End,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::ChunkSize,
        };
        BodyDecoder { state, allowance: bytes_max, extra: 0, trailer_lines: 0, tells_trailers: false }
    }

    /// From now on trailers are told, not dropped: somebody passes them on.
    pub fn tell_trailers(&mut self) {
        self.tells_trailers = true;
    }

    /// Bytes still to come, where that is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match self.state {
            State::Length { left } => Some(left),
            State::End => Some(0),
            _ => None,
        }
    }

    /// Looks at the front of the input.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn next(&mut self, input: &mut ReadBuffer, limits: &Limits) -> Result<Piece, Violation> {
        let bounds = TrailerBounds { head_bytes_max: limits.head_bytes_max, lines_max: limits.fields_max };
        self.next_within(input, &bounds)
    }

    /// [`next`](BodyDecoder::next) for those who have no [`Limits`].
    ///
    /// # Errors
    /// The rule that was broken.
    #[inline(never)]
    pub fn next_within(
        &mut self,
        input: &mut ReadBuffer,
        bounds: &TrailerBounds,
    ) -> Result<Piece, Violation> {
        loop {
            match self.state {
                State::Length { left: 0 } => self.state = State::End,
                State::Length { left } => {
                    let count = available(input, left);
                    self.state = State::Length { left: left - count as u64 };
                    return Ok(if count == 0 { Piece::Starved } else { Piece::Bytes(count) });
                }
                State::ChunkData { left: 0 } => self.state = State::ChunkEnd,
                State::ChunkData { left } => {
                    let count = available(input, left);
                    self.state = State::ChunkData { left: left - count as u64 };
                    return Ok(if count == 0 { Piece::Starved } else { Piece::Bytes(count) });
                }
                State::ChunkSize => match self.read_size(input)? {
                    true => {}
                    false => return Ok(Piece::Starved),
                },
                State::ChunkEnd => match self.read_chunk_end(input)? {
                    true => {}
                    false => return Ok(Piece::Starved),
                },
                State::Trailer => match self.read_trailer(input, bounds)? {
                    None => return Ok(Piece::Starved),
                    Some(0) => {}
                    Some(line_len) if self.tells_trailers => return Ok(Piece::Trailer(line_len)),
                    Some(line_len) => input.consume(line_len),
                },
                State::End => return Ok(Piece::End),
            }
        }
    }

    /// RFC 9112 section 7.1: `1*HEXDIG [ chunk-ext ] CRLF`. `false`: the line is not complete.
    fn read_size(&mut self, input: &mut ReadBuffer) -> Result<bool, Violation> {
        // What is behind the longest line is not looked at, so that a cut there changes no verdict.
        let bytes = up_to(input.unread(), SIZE_LINE_MAX);
        let Some(line_len) = line_len(bytes)? else {
            // A line that cannot become good is refused before its end comes.
            let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            if digits > SIZE_DIGITS_MAX || (digits == 0 && !bytes.is_empty()) {
                return Err(Violation::BadChunk);
            }
            // The CR of its end may be here already.
            if bytes.len() == SIZE_LINE_MAX {
                return Err(Violation::ExtensionTooLong);
            }
            return Ok(false);
        };
        let size = chunk_size(&bytes[..line_len])?;
        input.consume(line_len + 2);
        // RFC 9112 section 7.1: the last chunk has size 0; its data is nothing, and no CRLF follows but the
        // trailer's.
        if size == 0 {
            self.state = State::Trailer;
            return Ok(true);
        }
        self.allowance = self.allowance.checked_sub(size).ok_or(Violation::BodyTooLarge)?;
        self.state = State::ChunkData { left: size };
        Ok(true)
    }

    fn read_chunk_end(&mut self, input: &mut ReadBuffer) -> Result<bool, Violation> {
        match input.unread() {
            [b'\r', b'\n', ..] => {
                input.consume(2);
                self.state = State::ChunkSize;
                Ok(true)
            }
            [] | [b'\r'] => Ok(false),
            _ => Err(Violation::BadChunk),
        }
    }

    /// RFC 9112 section 7.1.2: field lines up to an empty one. The length of the next, CRLF included; 0 when
    /// the section is over, and the empty line consumed. `None`: the line is not complete.
    fn read_trailer(
        &mut self,
        input: &mut ReadBuffer,
        bounds: &TrailerBounds,
    ) -> Result<Option<usize>, Violation> {
        // A buffer need not be larger than the longest head: a line that fills it would wait for room for
        // ever.
        let bytes_max = TRAILER_BYTES_MAX.min(bounds.head_bytes_max.saturating_sub(1));
        let bytes = up_to(input.unread(), bytes_max.saturating_sub(self.extra) as usize + 1);
        let Some(line_len) = line_len(bytes)? else {
            let too_long = self.extra + bytes.len() as u32 > bytes_max;
            return if too_long { Err(Violation::TrailerTooLong) } else { Ok(None) };
        };
        self.extra += line_len as u32 + 2;
        self.trailer_lines += 1;
        if self.extra > bytes_max || u32::from(self.trailer_lines) > bounds.lines_max.saturating_add(1) {
            return Err(Violation::TrailerTooLong);
        }
        if line_len == 0 {
            input.consume(2);
            self.state = State::End;
            return Ok(Some(0));
        }
        if !is_field_line(&bytes[..line_len]) {
            return Err(Violation::BadTrailer);
        }
        Ok(Some(line_len + 2))
    }
}

fn up_to(bytes: &[u8], len_max: usize) -> &[u8] {
    &bytes[..bytes.len().min(len_max)]
}

fn available(input: &ReadBuffer, left: u64) -> usize {
    (input.unread().len() as u64).min(left) as usize
}

/// The length of the first line without its CRLF. A lone LF, and a CR before anything but LF, is no line end.
fn line_len(bytes: &[u8]) -> Result<Option<usize>, Violation> {
    match memchr::memchr2(b'\r', b'\n', bytes) {
        Some(at) if bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n') => Ok(Some(at)),
        Some(at) if bytes[at] == b'\r' && at + 1 == bytes.len() => Ok(None),
        Some(_) => Err(Violation::BadChunk),
        None => Ok(None),
    }
}

/// RFC 9112 sections 7.1 and 7.1.1.
fn chunk_size(line: &[u8]) -> Result<u64, Violation> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 || digits > SIZE_DIGITS_MAX {
        return Err(Violation::BadChunk);
    }
    let extension = &line[digits..];
    if extension.len() > EXTENSION_BYTES_MAX {
        return Err(Violation::ExtensionTooLong);
    }
    // BWS before `;` is bad white space that must be parsed; behind the `;` any visible text passes unread.
    let blanks = extension.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let text = &extension[blanks..];
    let is_extension =
        text.first() == Some(&b';') && text.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if !extension.is_empty() && !is_extension {
        return Err(Violation::BadChunk);
    }
    let value = |byte: u8| u64::from((byte as char).to_digit(16).unwrap_or(0));
    Ok(line[..digits].iter().fold(0, |sum, byte| sum * 16 + value(*byte)))
}

fn is_field_line(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    let (name, value) = line.split_at(colon);
    is_token(name) && value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in parts of `step`; returns the body and what is left behind it.
    fn decode(
        framing: Framing,
        bytes: &[u8],
        step: usize,
        limits: &Limits,
    ) -> Result<(Vec<u8>, Vec<u8>), Violation> {
        let mut input = ReadBuffer::with_size(1 << 16);
        let mut decoder = BodyDecoder::new(framing, limits);
        let (mut body, mut parts) = (Vec::new(), bytes.chunks(step));
        loop {
            match decoder.next(&mut input, limits)? {
                Piece::Bytes(count) => {
                    body.extend_from_slice(&input.unread()[..count]);
                    input.consume(count);
                }
                Piece::Trailer(_) => unreachable!("nobody asked for trailers"),
                Piece::End => {
                    let rest = [input.unread().to_vec(), parts.collect::<Vec<_>>().concat()].concat();
                    return Ok((body, rest));
                }
                Piece::Starved => {
                    let part = parts.next().expect("the body is complete");
                    input.room()[..part.len()].copy_from_slice(part);
                    input.received(part.len());
                }
            }
        }
    }

    #[test]
    fn chunks_are_read_the_same_however_they_are_cut() {
        let wire = b"5\r\nhello\r\n0006;a=\"b\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nNEXT";
        for step in 1..wire.len() {
            let (body, rest) = decode(Framing::Chunked, wire, step, &Limits::default()).unwrap();
            assert_eq!((&body[..], &rest[..]), (&b"hello world"[..], &b"NEXT"[..]), "in parts of {step}");
        }
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let (body, rest) = decode(Framing::Length(5), b"helloNEXT", 3, &Limits::default()).unwrap();
        assert_eq!((&body[..], &rest[..]), (&b"hello"[..], &b"NEXT"[..]));
    }

    #[test]
    fn malformed_chunks_are_refused_at_every_cut() {
        for wire in [
            "\r\nhello",
            "x\r\n",
            "-1\r\n",
            "+5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "5\nhello\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloX\r\n",
            "5;\0\r\nhello\r\n",
            "5;a\nb\r\nhello\r\n",
            "5 x\r\nhello\r\n",
            "FFFFFFFFFFFFFFFF\r\n",
            "00000000000000005\r\nhello\r\n",
            "0\r\nbad trailer\r\n\r\n",
            "0\r\n: x\r\n\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "5\rhello\r\n",
        ] {
            for step in 1..=wire.len() {
                let got = decode(Framing::Chunked, wire.as_bytes(), step, &Limits::default());
                assert!(
                    matches!(got, Err(Violation::BadChunk | Violation::BadTrailer)),
                    "{wire:?} by {step}: {got:?}"
                );
            }
        }
    }

    #[test]
    fn trailers_are_told_line_by_line_to_who_asks() {
        let wire = b"1\r\nx\r\n0\r\nX-Sum: 1\r\nB:2\r\n\r\nNEXT";
        for step in 1..wire.len() {
            let mut input = ReadBuffer::with_size(64);
            let mut decoder = BodyDecoder::new(Framing::Chunked, &Limits::default());
            decoder.tell_trailers();
            let (mut told, mut parts) = (Vec::new(), wire.chunks(step));
            loop {
                match decoder.next(&mut input, &Limits::default()).unwrap() {
                    Piece::Bytes(count) => input.consume(count),
                    Piece::Trailer(count) => {
                        told.push(String::from_utf8(input.unread()[..count].to_vec()).unwrap());
                        input.consume(count);
                    }
                    Piece::End => break,
                    Piece::Starved => {
                        let part = parts.next().expect("the body is complete");
                        input.room()[..part.len()].copy_from_slice(part);
                        input.received(part.len());
                    }
                }
            }
            assert_eq!(told, ["X-Sum: 1\r\n", "B:2\r\n"], "in parts of {step}");
        }
    }

    /// Digits and extension at their limits fill the line; a cut within its CRLF once made the CR one byte
    /// too many.
    #[test]
    fn longest_size_line_cut_within_its_end() {
        let extension = "x".repeat(EXTENSION_BYTES_MAX - 1);
        let wire = format!("000000000000005;{extension}\r\nhello\r\n0\r\n\r\n");
        for step in 1..wire.len() {
            let (body, _) = decode(Framing::Chunked, wire.as_bytes(), step, &Limits::default())
                .expect("within the limits");
            assert_eq!(body, b"hello", "in parts of {step}");
        }
    }

    /// A lone LF behind the longest line was seen first when all came at once, and was too late when it came in
    /// parts. Found by `fuzz/fuzz_targets/answer.rs`.
    #[test]
    fn lone_line_feed_behind_the_longest_line() {
        let long = "x".repeat(5000);
        for (wire, violation) in [
            (format!("1;{long}\nhello"), Violation::ExtensionTooLong),
            (format!("0\r\nA: {long}\nB"), Violation::TrailerTooLong),
        ] {
            for step in [1, 7, 300, wire.len()] {
                let got = decode(Framing::Chunked, wire.as_bytes(), step, &Limits::default());
                assert_eq!(got, Err(violation), "in parts of {step}");
            }
        }
    }

    /// A buffer of the longest head's size, the least there may be, once starved while it was full.
    #[test]
    fn trailer_line_longer_than_the_buffer() {
        let limits = Limits { head_bytes_max: 1024, ..Limits::default() };
        let mut input = ReadBuffer::with_size(limits.head_bytes_max);
        let mut decoder = BodyDecoder::new(Framing::Chunked, &limits);
        let wire = format!("0\r\nX: {}", "y".repeat(1024));
        let mut rest = wire.as_bytes();
        let end = loop {
            let count = rest.len().min(input.room().len());
            assert!(count > 0, "starves over a full buffer");
            input.room()[..count].copy_from_slice(&rest[..count]);
            input.received(count);
            rest = &rest[count..];
            match decoder.next(&mut input, &limits) {
                Ok(piece) => assert_eq!(piece, Piece::Starved),
                Err(violation) => break violation,
            }
        };
        assert_eq!(end, Violation::TrailerTooLong);
    }

    #[test]
    fn every_part_of_a_chunked_body_has_a_limit() {
        let limits = Limits { body_bytes_max: 10, ..Limits::default() };
        let refused = |wire: &str| decode(Framing::Chunked, wire.as_bytes(), 7, &limits).unwrap_err();
        assert_eq!(refused("6\r\nabcdef\r\n6\r\nabcdef\r\n"), Violation::BodyTooLarge);
        assert_eq!(refused(&format!("1;{}", "x".repeat(400))), Violation::ExtensionTooLong);
        assert_eq!(refused(&format!("0\r\nA: {}", "x".repeat(5000))), Violation::TrailerTooLong);
        assert_eq!(refused(&format!("0\r\n{}", "A: b\r\n".repeat(200))), Violation::TrailerTooLong);
    }
}
