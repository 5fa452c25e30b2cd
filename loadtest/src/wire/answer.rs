//! Reads answers as they come, in pieces of any size, and checks each against what is expected.
//!
//! Most answers of a run are alike but for their date: a head that equals the last one outside its `Date` is
//! recognised by comparing bytes, without parsing. All others go through httparse and the framing rules of
//! RFC 9112 section 6.3. A wrong status, length or body does not end the connection, as long as the framing
//! is sound.

use crate::engine::faults::Fault;
use crate::wire::chunks::Chunks;

/// Heads longer than this are malformed.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 128;
const END: &[u8] = b"\r\n\r\n";

/// What every right answer has in common; `None` is not checked.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Any 2xx unless told.
    pub status: Option<u16>,
    pub length: Option<u64>,
    pub body: Option<Vec<u8>>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// What a head says that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meaning {
    status: u16,
    framing: Framing,
    closes: bool,
}

/// The last head that was parsed: most that follow are the same but for the date.
#[derive(Debug, Default)]
pub struct Memory {
    head: Vec<u8>,
    /// Where the value of `Date` lies.
    date: std::ops::Range<usize>,
    meaning: Option<Meaning>,
}

/// The reading side of one connection. Small while nothing is half read.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    /// A head that has not ended yet; empty, without memory, between heads.
    held: Vec<u8>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Body {
        status: u16,
        check: Check,
        closes: bool,
        left: Left,
    },
}

#[derive(Debug)]
enum Left {
    Bytes(u64),
    Chunks(Box<Chunks>),
    UntilClose,
}

/// How much of a body was seen, and the first thing found wrong.
#[derive(Clone, Copy, Debug, Default)]
struct Check {
    seen: u64,
    fault: Option<Fault>,
}

/// One answer, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is wrong with it, if anything.
    pub fault: Option<Fault>,
    /// The server will close behind it.
    pub closes: bool,
    pub status: u16,
    /// Bytes of its body, without what frames them.
    pub length: u64,
}

/// What a piece of input led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// All was used and the answer goes on.
    More,
    /// An answer ended after so many bytes of the input.
    Done(usize, Answer),
}

impl Reader {
    /// Whether an answer has begun and not ended.
    pub fn is_amid(&self) -> bool {
        !self.held.is_empty() || !matches!(self.state, State::Head)
    }

    /// Reads up to the end of one answer.
    ///
    /// # Errors
    /// [`Fault::Malformed`]: where the next answer begins cannot be known any more.
    pub fn read(
        &mut self,
        input: &[u8],
        is_head_request: bool,
        expected: &Expected,
        memory: &mut Memory,
    ) -> Result<Read, Fault> {
        let mut used = 0;
        while let State::Head = self.state {
            let Some((meaning, after)) = self.head(&input[used..], memory)? else { return Ok(Read::More) };
            used += after;
            // Interim answers: 100, 102, 103. The real one follows (RFC 9110 section 15.2).
            if meaning.status >= 200 {
                self.state = begin(meaning, is_head_request, expected);
            }
        }
        self.body(&input[used..], used, expected)
    }

    /// The connection has ended: an answer that goes until the close is complete.
    pub fn end(&mut self, expected: &Expected) -> Option<Answer> {
        match std::mem::take(&mut self.state) {
            State::Body { status, check, left: Left::UntilClose, .. } => {
                Some(check.answer(status, true, expected))
            }
            _ => None,
        }
    }

    /// A complete head and the bytes of this input it took.
    fn head(&mut self, input: &[u8], memory: &mut Memory) -> Result<Option<(Meaning, usize)>, Fault> {
        if self.held.is_empty() {
            if let Some(found) = memory.recognise(input) {
                return Ok(Some(found));
            }
            if let Some(end) = head_end(input, 0)? {
                return Ok(Some((memory.learn(&input[..end])?, end)));
            }
        }
        let before = self.held.len();
        self.held.extend_from_slice(input);
        // What was searched before is not searched again, but for an end that was cut.
        let Some(end) = head_end(&self.held, before.saturating_sub(END.len() - 1))? else { return Ok(None) };
        let meaning = memory.learn(&std::mem::take(&mut self.held)[..end])?;
        Ok(Some((meaning, end - before)))
    }

    fn body(&mut self, input: &[u8], before: usize, expected: &Expected) -> Result<Read, Fault> {
        let State::Body { status, check, closes, left } = &mut self.state else { return Ok(Read::More) };
        let used = match left {
            Left::Bytes(left) => {
                let here = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                check.take(&input[..here], expected);
                *left -= here as u64;
                (*left == 0).then_some(here)
            }
            Left::Chunks(chunks) => chunks.take(input, |data| check.take(data, expected))?,
            Left::UntilClose => {
                check.take(input, expected);
                None
            }
        };
        let Some(used) = used else { return Ok(Read::More) };
        let answer = check.answer(*status, *closes, expected);
        self.state = State::Head;
        Ok(Read::Done(before + used, answer))
    }
}

fn begin(meaning: Meaning, is_head_request: bool, expected: &Expected) -> State {
    let fault = match expected.status {
        Some(status) => meaning.status != status,
        None => !(200..300).contains(&meaning.status),
    };
    let check = Check { seen: 0, fault: fault.then_some(Fault::Status) };
    // RFC 9112 section 6.3: these never have a body, whatever their fields say.
    let left = if is_head_request || meaning.status == 204 || meaning.status == 304 {
        Left::Bytes(0)
    } else {
        match meaning.framing {
            Framing::Length(length) => Left::Bytes(length),
            Framing::Chunked => Left::Chunks(Box::default()),
            Framing::UntilClose => Left::UntilClose,
        }
    };
    State::Body { status: meaning.status, check, closes: meaning.closes, left }
}

impl Check {
    fn take(&mut self, data: &[u8], expected: &Expected) {
        if let (Some(body), None) = (&expected.body, self.fault) {
            let from = usize::try_from(self.seen).unwrap_or(usize::MAX);
            if body.get(from..from.saturating_add(data.len())) != Some(data) {
                self.fault = Some(Fault::Body);
            }
        }
        self.seen += data.len() as u64;
    }

    fn answer(&self, status: u16, closes: bool, expected: &Expected) -> Answer {
        Answer { fault: self.verdict(expected), closes, status, length: self.seen }
    }

    /// A wrong length is told as such, even where a wrong body gave it away first.
    fn verdict(&self, expected: &Expected) -> Option<Fault> {
        let length = expected.length.or(expected.body.as_ref().map(|body| body.len() as u64));
        match self.fault {
            Some(Fault::Status) => self.fault,
            _ if length.is_some_and(|length| length != self.seen) => Some(Fault::Length),
            _ => self.fault,
        }
    }
}

impl Memory {
    fn recognise(&mut self, input: &[u8]) -> Option<(Meaning, usize)> {
        let meaning = self.meaning?;
        let length = self.head.len();
        let head = input.get(..length)?;
        if head == self.head {
            return Some((meaning, length));
        }
        let is_same = head[..self.date.start] == self.head[..self.date.start]
            && head[self.date.end..] == self.head[self.date.end..]
            // A date that is no date could hold the end of a line, and more fields.
            && head[self.date.clone()].iter().all(|byte| (b' '..=b'~').contains(byte));
        if is_same {
            // The next ones have this date too.
            self.head.copy_from_slice(head);
        }
        is_same.then_some((meaning, length))
    }

    fn learn(&mut self, head: &[u8]) -> Result<Meaning, Fault> {
        let (meaning, date) = understand(head)?;
        self.head.clear();
        self.head.extend_from_slice(head);
        self.date = date;
        self.meaning = Some(meaning);
        Ok(meaning)
    }
}

/// Where the head that begins `input` ends, searched for behind `from`. One that is too long is refused whole
/// as it would be in pieces.
fn head_end(input: &[u8], from: usize) -> Result<Option<usize>, Fault> {
    let end = memchr::memmem::find(&input[from..], END).map(|at| from + at + END.len());
    if end.unwrap_or(input.len()) > HEAD_BYTES_MAX { Err(Fault::Malformed) } else { Ok(end) }
}

/// What a whole head means, and where its date lies.
fn understand(head: &[u8]) -> Result<(Meaning, std::ops::Range<usize>), Fault> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    match parsed.parse(head) {
        // With bare line feeds it may end earlier, and what follows would be lost.
        Ok(httparse::Status::Complete(end)) if end == head.len() => {}
        _ => return Err(Fault::Malformed),
    }
    let status = parsed.code.ok_or(Fault::Malformed)?;
    // Nobody asked for another protocol, and below 100 there are no statuses.
    if status < 100 || status == 101 {
        return Err(Fault::Malformed);
    }
    let mut framing = None;
    let mut closes = parsed.version == Some(0);
    let mut date = head.len()..head.len();
    for field in &*parsed.headers {
        let value = field.value.trim_ascii();
        if field.name.eq_ignore_ascii_case("content-length") {
            let length = Framing::Length(decimal(value).ok_or(Fault::Malformed)?);
            if framing.is_some_and(|before| before != length) {
                return Err(Fault::Malformed);
            }
            framing = Some(length);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") || framing.is_some() {
                return Err(Fault::Malformed);
            }
            framing = Some(Framing::Chunked);
        } else if field.name.eq_ignore_ascii_case("connection") {
            let mut tokens = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            if tokens.clone().any(|token| token.eq_ignore_ascii_case(b"close")) {
                closes = true;
            } else if tokens.any(|token| token.eq_ignore_ascii_case(b"keep-alive")) {
                closes = false;
            }
        } else if field.name.eq_ignore_ascii_case("date") {
            let from = field.value.as_ptr() as usize - head.as_ptr() as usize;
            date = from..from + field.value.len();
        }
    }
    let framing = framing.unwrap_or(Framing::UntilClose);
    Ok((Meaning { status, framing, closes }, date))
}

/// Digits only: `parse` would let a sign pass.
fn decimal(text: &[u8]) -> Option<u64> {
    let is_number = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] =
        b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 10:26:13 GMT\r\nContent-Length: 5\r\n\r\nhello";

    /// Every answer in `input`, which arrives in pieces of `size`.
    fn answers(input: &[u8], size: usize, expected: &Expected) -> Result<Vec<Answer>, Fault> {
        let (mut reader, mut memory) = (Reader::default(), Memory::default());
        let mut found = Vec::new();
        for piece in input.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                match reader.read(rest, false, expected, &mut memory)? {
                    Read::More => break,
                    Read::Done(used, answer) => {
                        found.push(answer);
                        rest = &rest[used..];
                    }
                }
            }
        }
        found.extend(reader.end(expected));
        Ok(found)
    }

    fn right() -> Expected {
        Expected { status: Some(200), length: Some(5), body: Some(b"hello".to_vec()) }
    }

    const FINE: Answer = Answer { fault: None, closes: false, status: 200, length: 5 };

    #[test]
    fn answers_cut_anywhere_are_the_same_answers() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n";
        let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let all = [PLAIN, chunked, interim, PLAIN, PLAIN].concat();
        for size in 1..=all.len() {
            assert_eq!(answers(&all, size, &right()), Ok(vec![FINE; 4]), "pieces of {size}");
        }
    }

    #[test]
    fn a_wrong_answer_is_named_and_the_next_one_is_read() {
        let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
        let long = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!";
        let other = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhallo";
        let all = [missing, &long[..], other, PLAIN].concat();
        let faults: Vec<_> =
            answers(&all, 7, &right()).unwrap().into_iter().map(|answer| answer.fault).collect();
        assert_eq!(faults, [Some(Fault::Status), Some(Fault::Length), Some(Fault::Body), None]);
    }

    #[test]
    fn what_goes_until_the_close_is_complete_with_it() {
        let input = b"HTTP/1.0 200 OK\r\n\r\nhello";
        assert_eq!(answers(input, 4, &right()), Ok(vec![Answer { closes: true, ..FINE }]));
        let short = b"HTTP/1.0 200 OK\r\n\r\nhell";
        assert_eq!(answers(short, 4, &right()).unwrap()[0].fault, Some(Fault::Length));
    }

    #[test]
    fn a_close_is_announced_by_field_or_version() {
        let closing = b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\nhello";
        assert!(answers(closing, 100, &right()).unwrap()[0].closes);
        let kept = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello";
        assert!(!answers(kept, 100, &right()).unwrap()[0].closes);
    }

    #[test]
    fn heads_and_empty_statuses_have_no_body() {
        let (mut reader, mut memory) = (Reader::default(), Memory::default());
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let expected = Expected::default();
        assert_eq!(
            reader.read(head, true, &expected, &mut memory),
            Ok(Read::Done(head.len(), Answer { length: 0, ..FINE }))
        );
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(
            reader.read(empty, false, &expected, &mut memory),
            Ok(Read::Done(empty.len(), Answer { length: 0, status: 204, ..FINE }))
        );
        assert!(!reader.is_amid());
    }

    #[test]
    fn broken_framing_is_malformed() {
        for input in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            b"HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ] {
            assert_eq!(answers(input, 3, &right()), Err(Fault::Malformed), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_head_that_differs_only_in_its_date_is_recognised() {
        let mut memory = Memory::default();
        let end = head_end(PLAIN, 0).unwrap().unwrap();
        let meaning = memory.learn(&PLAIN[..end]).unwrap();
        let later =
            PLAIN.to_vec().iter().map(|byte| if *byte == b'3' { b'4' } else { *byte }).collect::<Vec<_>>();
        assert_eq!(memory.recognise(&later), Some((meaning, end)));
        let longer =
            b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 10:26:13 GMT\r\nContent-Length: 6\r\n\r\nhello!";
        assert_eq!(memory.recognise(longer), None);
        let smuggled =
            b"HTTP/1.1 200 OK\r\nDate: x\nTransfer-Encoding:chunked  \r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(smuggled.len(), PLAIN.len());
        assert_eq!(memory.recognise(smuggled), None);
        // What was recognised meanwhile is no less well known.
        assert_eq!(memory.recognise(PLAIN), Some((meaning, end)));
    }

    #[test]
    fn a_head_that_is_too_long_is_malformed_whole_and_in_pieces() {
        let with = |bytes: usize| {
            let filler = "x".repeat(bytes);
            format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: {filler}\r\n\r\nhello").into_bytes()
        };
        let longest = with(HEAD_BYTES_MAX - (with(0).len() - 5));
        let longer = with(longest.len());
        for size in [1 << 20, 4096, 1] {
            assert_eq!(answers(&longest, size, &right()), Ok(vec![FINE]), "pieces of {size}");
            assert_eq!(answers(&longer, size, &right()), Err(Fault::Malformed), "pieces of {size}");
        }
    }
}
