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
/// It is asked where its handler ran: on a worker it may wait for what it needs, on a reactor it may not.
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
    /// Bytes to send; at best some tens of kilobytes at once.
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

    /// Adds a line. A value with CR, LF or NUL would be a second field in disguise (CWE-113), so those bytes
    /// become spaces.
    pub fn push(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        debug_assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        self.more.extend_from_slice(name.as_bytes());
        self.more.extend_from_slice(b": ");
        self.more.extend(
            value.as_ref().iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte }),
        );
        self.more.extend_from_slice(b"\r\n");
    }

    /// [`push`](Fields::push), for building in one expression.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Fields {
        self.push(name, value);
        self
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
    fn a_plain_answer_tells_its_status_and_nothing_else() {
        let response = Response::plain(Status::NOT_FOUND);
        assert!(matches!(response.body, Body::Static(b"404 Not Found\n")));
        assert!(Response::plain(Status::NO_CONTENT).body.is_empty());
    }
}
