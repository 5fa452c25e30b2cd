//! Answers as handlers make them: a status, fields, and where the body comes from.
//!
//! A static answer allocates nothing. Framing (`Content-Length`, chunks, `Connection`, `Date`, `Server`) is
//! not here: the protocol writes it, so that no handler can get it wrong.

use std::fmt;

use crate::base::write_queue::FileRange;
use crate::http::Status;

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: Status,
    /// The fields that the handler chose; the protocol adds framing.
    pub fields: Fields,
    /// The body; left out by the protocol where the method or status forbids one.
    pub body: Body,
}

/// Where the bytes of a body come from.
#[derive(Debug)]
pub enum Body {
    /// None.
    Empty,
    /// Bytes that live as long as the program.
    Static(&'static [u8]),
    /// Bytes made for this answer.
    Owned(Vec<u8>),
    /// A part of an open file, sent by `sendfile` where that pays.
    File(FileRange),
    /// The request's own body, sent back as it comes.
    Reflect,
    /// Pieces made as they are sent.
    Source(Source),
}

/// A body that is made as it is sent: it is asked for the next piece only when the client has taken most of
/// what it was given before, so a body of any length needs the memory of two pieces.
///
/// It is asked where its handler ran: on a worker it may wait for what it needs, on a reactor it may not. How
/// long it will be is asked on a reactor in either case.
///
/// ```
/// use myriapod::http::{BodySource, Piece, Response, Status};
///
/// struct Countdown(u32);
///
/// impl BodySource for Countdown {
///     fn next(&mut self) -> Piece {
///         match self.0 {
///             0 => Piece::End,
///             left => {
///                 self.0 -= 1;
///                 Piece::Bytes(format!("{left}\n").into_bytes())
///             }
///         }
///     }
/// }
/// let response = Response::stream(Status::OK, "text/plain", Countdown(10));
/// ```
pub trait BodySource: Send + 'static {
    /// The next piece.
    fn next(&mut self) -> Piece;

    /// How many bytes it will have in all, if it knows. Otherwise it is sent in chunks.
    fn len(&self) -> Option<u64> {
        None
    }

    /// Whether it is known to have no bytes.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

/// What a [`BodySource`] gives when it is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes to send, at best some tens of kilobytes at once. None at all means that it is to be asked again
    /// soon, as a compressor may want that has taken its input and has nothing to show yet. Who waits for
    /// something to happen says so by waiting, on a worker: a reactor would ask again and again.
    Bytes(Vec<u8>),
    /// The body is complete.
    End,
    /// It will never be complete: the connection is cut, so that the client does not take it for whole.
    Broken,
}

/// A [`BodySource`] of any kind.
pub struct Source(pub Box<dyn BodySource>);

impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Source({:?} bytes)", self.0.len())
    }
}

impl Body {
    /// How many bytes it has, where that is known before it is sent.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Static(bytes) => Some(bytes.len() as u64),
            Body::Owned(bytes) => Some(bytes.len() as u64),
            Body::File(range) => Some(range.len),
            Body::Source(source) => source.0.len(),
            Body::Reflect => None,
        }
    }

    /// Whether it is known to have no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

/// Field lines, kept as they will be written.
#[derive(Debug, Default)]
pub struct Fields {
    fixed: &'static str,
    more: Vec<u8>,
}

impl Fields {
    /// Lines written in the source: `"Content-Type: text/plain\r\n"`, each with its line end. Costs nothing.
    #[must_use]
    pub const fn fixed(lines: &'static str) -> Fields {
        Fields { fixed: lines, more: Vec::new() }
    }

    /// Lines that are known to be sound, each with its line end.
    pub(crate) fn of_lines(lines: Vec<u8>) -> Fields {
        Fields { fixed: "", more: lines }
    }

    /// The lines, each with its line end, to be used again.
    pub(crate) fn into_lines(mut self) -> Vec<u8> {
        if !self.fixed.is_empty() {
            self.more.extend_from_slice(self.fixed.as_bytes());
        }
        self.more
    }

    /// Adds a line. A value with CR, LF or NUL would be a second field in disguise (CWE-113), so those bytes
    /// become spaces. Where the body ends is said by who sends it: a second `Content-Length`, or any
    /// `Transfer-Encoding`, from elsewhere would let a client take a part of it for the next answer
    /// (CWE-444).
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        debug_assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        let frames = |framing: &str| name.eq_ignore_ascii_case(framing);
        debug_assert!(!frames("content-length") && !frames("transfer-encoding"), "{name} is not a handler's");
        let value = value.as_ref();
        self.more.reserve(name.len() + value.len() + 4);
        self.more.extend_from_slice(name.as_bytes());
        self.more.extend_from_slice(b": ");
        self.more
            .extend(value.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte }));
        self.more.extend_from_slice(b"\r\n");
    }

    /// [`push`](Fields::push), for building in one expression.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Fields {
        self.push(name, value);
        self
    }

    /// Replaces every field of that name, or adds it.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Takes every field of that name out, in any case.
    pub fn remove(&mut self, name: &str) {
        if let Some(kept) = without(&self.more, name) {
            self.more = kept;
        }
        // What is written in the source cannot be changed, so what remains of it is copied.
        if let Some(mut kept) = without(self.fixed.as_bytes(), name) {
            kept.append(&mut self.more);
            *self = Fields { fixed: "", more: kept };
        }
    }

    /// Whether there is a field of that name, in any case.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    /// The values of every field of that name, in any case, in their order.
    pub fn named<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f [u8]> {
        self.lines().into_iter().flat_map(each_line).filter_map(move |line| value_of(line, name))
    }

    /// The lines, if all of them were written in the source.
    #[must_use]
    #[inline]
    pub fn as_fixed(&self) -> Option<&'static str> {
        self.more.is_empty().then_some(self.fixed)
    }

    /// The lines as two runs of bytes, to be written one after the other.
    #[must_use]
    pub fn lines(&self) -> [&[u8]; 2] {
        [self.fixed.as_bytes(), &self.more]
    }
}

fn each_line(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|byte| *byte == b'\n')
}

/// The value of a line, if the field is of that name.
fn value_of<'f>(line: &'f [u8], name: &str) -> Option<&'f [u8]> {
    let (sent, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":").filter(|_| sent.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(value.trim_ascii())
}

/// The lines but for those of that name; `None` when there are none.
fn without(lines: &[u8], name: &str) -> Option<Vec<u8>> {
    let is_other = |line: &&[u8]| value_of(line, name).is_none();
    match each_line(lines).all(|line| is_other(&line)) {
        true => None,
        false => Some(each_line(lines).filter(is_other).flatten().copied().collect()),
    }
}

/// An answer of 200 that is written in the source, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedAnswer {
    /// Its field lines, each with its line end.
    pub fields: &'static str,
    /// Its body.
    pub body: &'static [u8],
}

impl From<FixedAnswer> for Response {
    fn from(answer: FixedAnswer) -> Response {
        Response::fixed(Status::OK, answer.fields, answer.body)
    }
}

impl Response {
    /// An answer whose fields and body are written in the source; costs no allocation.
    #[must_use]
    pub const fn fixed(status: Status, fields: &'static str, body: &'static [u8]) -> Response {
        Response { status, fields: Fields::fixed(fields), body: Body::Static(body) }
    }

    /// An answer without a body.
    #[must_use]
    pub const fn empty(status: Status) -> Response {
        Response { status, fields: Fields::fixed(""), body: Body::Empty }
    }

    /// A short plain text that says only what the status says, for errors. Never carries internal text.
    #[must_use]
    pub const fn plain(status: Status) -> Response {
        if status.is_bodiless() {
            return Response::empty(status);
        }
        Response::fixed(status, "Content-Type: text/plain; charset=utf-8\r\n", status.text().as_bytes())
    }

    /// An answer of these bytes.
    #[must_use]
    pub fn bytes(status: Status, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        let fields = Fields::default().with("Content-Type", content_type);
        Response { status, fields, body: Body::Owned(body.into()) }
    }

    /// An answer whose body is made as it is sent.
    #[must_use]
    pub fn stream(status: Status, content_type: &str, source: impl BodySource) -> Response {
        let fields = Fields::default().with("Content-Type", content_type);
        Response { status, fields, body: Body::Source(Source(Box::new(source))) }
    }

    /// Adds a field line; see [`Fields::push`].
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Response {
        self.fields.push(name, value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_start_a_second_field() {
        let fields = Fields::default().with("X-Name", "a\r\nSet-Cookie: b\0c");
        assert_eq!(fields.lines()[1], b"X-Name: a  Set-Cookie: b c\r\n");
    }

    #[test]
    #[should_panic(expected = "content-LENGTH is not a handler's")]
    fn where_a_body_ends_is_not_said_twice() {
        let _ = Response::plain(Status::OK).with("content-LENGTH", "7");
    }

    const TWO: &str = "Content-Type: text/plain\r\nVary: Accept\r\n";

    #[test]
    fn fields_are_found_and_replaced_in_any_case_wherever_they_stand() {
        let mut fields = Fields::fixed(TWO).with("Vary", "Origin").with("X-Name", "a");
        assert!(fields.contains("content-type") && !fields.contains("Content") && !fields.contains(""));
        assert_eq!(fields.named("vary").collect::<Vec<_>>(), [&b"Accept"[..], b"Origin"]);
        fields.set("VARY", "*");
        assert_eq!(fields.lines().concat(), b"Content-Type: text/plain\r\nX-Name: a\r\nVARY: *\r\n");
        fields.set("X-Other", "b");
        assert_eq!(fields.named("x-other").collect::<Vec<_>>(), [b"b"]);
    }

    #[test]
    fn what_is_written_in_the_source_is_copied_only_when_it_changes() {
        let mut fields = Fields::fixed(TWO).with("X-Name", "a");
        fields.remove("x-name");
        fields.remove("x-absent");
        assert_eq!(fields.as_fixed(), Some(TWO));
        fields.remove("vary");
        assert_eq!(fields.lines(), [&b""[..], b"Content-Type: text/plain\r\n"]);
        fields.remove("content-type");
        assert_eq!(fields.as_fixed(), Some(""), "as good as an answer without fields");
    }

    #[test]
    fn a_plain_answer_tells_its_status_and_nothing_else() {
        let response = Response::plain(Status::NOT_FOUND);
        assert!(matches!(response.body, Body::Static(b"404 Not Found\n")));
        assert!(Response::plain(Status::NO_CONTENT).body.is_empty());
    }
}
