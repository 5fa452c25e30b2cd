//! Reading the head of an answer: status line, field lines, and how the body behind it is framed.
//!
//! As strict as [`head`](crate::proto::h1::head) is with requests, and by the same splitter of field lines.

use super::{AnswerLimits, Fault};
use crate::http::{FIELDS_MAX, FieldSpan, HEAD_BYTES_MAX, Method, Status, Version};
use crate::proto::h1::head::split_field_line;
use crate::proto::h1::hop::Persistence;
use crate::proto::h1::lexis::{Stop, byte_at, decimal, line_end, value_end};

/// How the body of an answer is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerFraming {
    /// There is none, whatever the fields say.
    #[default]
    Nothing,
    /// So many bytes follow the head; may be 0.
    Length(u64),
    /// Chunks follow the head.
    Chunked,
    /// Whatever follows the head, up to the end of the connection.
    ToEnd,
}

/// Where the parts of an answer's head lie. Offsets count from its first byte.
///
/// Large, so there is one scratch copy per reactor.
#[derive(Clone, Debug)]
pub struct AnswerIndex {
    /// The status.
    pub status: Status,
    /// The version.
    pub version: Version,
    /// How the body is delimited.
    pub framing: AnswerFraming,
    /// What `Content-Length` says. It frames nothing where `framing` is not a length, but for an answer to
    /// HEAD and a 304 it tells what GET would have got (RFC 9110 section 8.6).
    pub said_length: Option<u64>,
    /// Whether the upstream keeps the connection, as far as it says (RFC 9112 section 9.3).
    pub persistent: bool,
    /// Whether `Connection` says more than whether it stays, so that its options must be looked at.
    pub names_options: bool,
    /// The length of the head, final empty line included.
    pub head_len: u16,
    /// How many of `fields` are in use.
    pub field_count: u8,
    /// The field lines in the order sent.
    pub fields: [FieldSpan; FIELDS_MAX],
}

impl Default for AnswerIndex {
    fn default() -> AnswerIndex {
        AnswerIndex {
            status: Status::OK,
            version: Version::Http11,
            framing: AnswerFraming::Nothing,
            said_length: None,
            persistent: false,
            names_options: false,
            head_len: 0,
            field_count: 0,
            fields: [FieldSpan::default(); FIELDS_MAX],
        }
    }
}

impl AnswerIndex {
    /// The field lines in the order sent.
    #[must_use]
    pub fn fields(&self) -> &[FieldSpan] {
        &self.fields[..usize::from(self.field_count)]
    }

    /// The value of the first field of that name, in any case. `bytes` begin with the head.
    #[must_use]
    pub fn field<'b>(&self, bytes: &'b [u8], name: &str) -> Option<&'b [u8]> {
        let is_it = |field: &&FieldSpan| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes());
        self.fields().iter().find(is_it).map(|field| field.value.of(bytes))
    }
}

/// What the field lines said, before it is weighed together.
#[derive(Default)]
struct Facts {
    length: Option<u64>,
    chunked: bool,
    connection: Persistence,
    upgrades: bool,
}

/// What besides the index came out of a head.
pub(super) struct Weighed {
    /// `Upgrade` is there.
    pub(super) upgrades: bool,
    /// The fields promise a body that the status or method rules out. Whoever sends it all the same would
    /// have it taken for the next answer, so that connection is not kept.
    pub(super) is_doubtful: bool,
}

/// Splits the head that `bytes` begin with into `index`.
pub(super) fn split(
    bytes: &[u8],
    method: Method,
    index: &mut AnswerIndex,
    limits: &AnswerLimits,
) -> Result<Weighed, Halt> {
    let bytes = &bytes[..bytes.len().min(limits.head_bytes_max as usize).min(HEAD_BYTES_MAX)];
    let mut facts = Facts::default();
    let mut at = split_status_line(bytes, index)?;
    let mut count = 0;
    while byte_at(bytes, at)? != b'\r' {
        if count == FIELDS_MAX || count == limits.fields_max as usize {
            return Err(Fault::TooManyFields.into());
        }
        let (field, end) = split_field_line(bytes, at)?;
        index.fields[count] = field;
        facts.note(field.name.of(bytes), field.value.of(bytes))?;
        count += 1;
        at = end;
    }
    index.head_len = line_end(bytes, at)? as u16;
    index.field_count = count as u8;
    Ok(facts.settle(method, index)?)
}

/// Why splitting came to no end.
pub(super) enum Halt {
    /// The bytes ran out; so far they are sound.
    Partial,
    /// A rule is broken.
    Broken(Fault),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Halt {
        Halt::Broken(fault)
    }
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Halt {
        match stop {
            Stop::Partial => Halt::Partial,
            Stop::BadLine => Halt::Broken(Fault::BadStatusLine),
            Stop::Broken(violation) => Halt::Broken(violation.into()),
        }
    }
}

/// `HTTP/1.1 200`
pub(super) const STATUS_AT_END: usize = 12;

/// RFC 9112 section 4: `HTTP-version SP status-code SP [ reason-phrase ] CRLF`, one space each. Tells the
/// offset behind it. A line that ends right behind the status is taken too, though a sender must write the
/// space: many old ones do not, and no two readers of such a line come to different framings, which is what
/// strictness here is for.
fn split_status_line(bytes: &[u8], index: &mut AnswerIndex) -> Result<usize, Halt> {
    index.version = read_version(bytes)?;
    let code = read_code(&bytes[9..])?;
    index.status = Status::from_code(code).ok_or(Fault::BadStatus)?;
    match byte_at(bytes, STATUS_AT_END)? {
        b' ' => {}
        b'\r' => return end_of_status_line(bytes, STATUS_AT_END),
        b'\n' => return Err(Fault::BareLineFeed.into()),
        _ => return Err(Fault::BadStatusLine.into()),
    }
    let reason_end = value_end(bytes, STATUS_AT_END + 1)?;
    end_of_status_line(bytes, reason_end)
}

fn end_of_status_line(bytes: &[u8], at: usize) -> Result<usize, Halt> {
    match &bytes[at..] {
        [b'\r', b'\n', ..] => Ok(at + 2),
        [b'\r'] => Err(Halt::Partial),
        [b'\n', ..] => Err(Fault::BareLineFeed.into()),
        _ => Err(Fault::BadStatusLine.into()),
    }
}

/// `HTTP/1.0 ` or `HTTP/1.1 `. What cannot become one of them is refused at once: a peer that speaks
/// something else may never send a line end.
fn read_version(bytes: &[u8]) -> Result<Version, Halt> {
    const BEGIN: &[u8] = b"HTTP/";
    match bytes.first_chunk::<9>() {
        Some(b"HTTP/1.1 ") => return Ok(Version::Http11),
        Some(b"HTTP/1.0 ") => return Ok(Version::Http10),
        _ => {}
    }
    let begin_len = bytes.len().min(BEGIN.len());
    if bytes[..begin_len] != BEGIN[..begin_len] {
        return Err(Fault::BadStatusLine.into());
    }
    // RFC 9112 section 2.3: `HTTP/` DIGIT `.` DIGIT, of which two are spoken.
    for (at, byte) in bytes.iter().enumerate().take(9).skip(BEGIN.len()) {
        let (is_sound, is_ours) = match at {
            5 => (byte.is_ascii_digit(), *byte == b'1'),
            6 => (*byte == b'.', true),
            7 => (byte.is_ascii_digit(), matches!(byte, b'0' | b'1')),
            _ => (*byte == b' ', true),
        };
        if !is_sound {
            return Err(Fault::BadStatusLine.into());
        }
        if !is_ours {
            return Err(Fault::BadVersion.into());
        }
    }
    Err(Halt::Partial)
}

/// Three digits.
fn read_code(bytes: &[u8]) -> Result<u16, Halt> {
    let digits = &bytes[..bytes.len().min(3)];
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::BadStatusLine.into());
    }
    if digits.len() < 3 {
        return Err(Halt::Partial);
    }
    Ok(digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
}

impl Facts {
    /// Notes a field that the protocol itself must understand. Told apart by length first.
    #[inline]
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrades = true,
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection.note(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                // RFC 9112 section 6.3, 5: no more lenient than with requests, equal or not.
                if self.length.is_some() {
                    return Err(Fault::LengthTwice);
                }
                self.length = Some(decimal(value).ok_or(Fault::BadLength)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                // RFC 9112 section 6.1: `chunked`, once. Any other was never asked for by `TE`.
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::BadCoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Weighs the fields together.
    fn settle(self, method: Method, index: &mut AnswerIndex) -> Result<Weighed, Fault> {
        let is_http11 = index.version == Version::Http11;
        // RFC 9112 section 6.3, 3
        if self.chunked && self.length.is_some() {
            return Err(Fault::LengthAndCoding);
        }
        // RFC 9112 section 6.1
        if self.chunked && !is_http11 {
            return Err(Fault::CodingInHttp10);
        }
        // RFC 9110 section 15.2: HTTP/1.0 has none, so whoever sends one does not know what it speaks.
        if index.status.class() == 1 && !is_http11 {
            return Err(Fault::InterimInHttp10);
        }
        // RFC 9112 section 6.3, 1
        let is_bodiless = method == Method::Head || index.status.is_bodiless();
        index.framing = match self.length {
            _ if is_bodiless => AnswerFraming::Nothing,
            _ if self.chunked => AnswerFraming::Chunked,
            Some(length) => AnswerFraming::Length(length),
            None => AnswerFraming::ToEnd,
        };
        index.said_length = self.length;
        index.persistent = self.connection.stays(is_http11);
        index.names_options = self.connection.names_options;
        // RFC 9110 section 8.6 and RFC 9112 section 6.1: neither may stand in a 1xx or 204.
        let forbids_framing = index.status.class() == 1 || index.status == Status::NO_CONTENT;
        let promises_body = self.chunked || self.length.is_some_and(|length| length > 0);
        Ok(Weighed { upgrades: self.upgrades, is_doubtful: forbids_framing && promises_body })
    }
}
