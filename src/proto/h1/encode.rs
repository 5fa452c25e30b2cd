//! Writing answers: status line, `Server`, `Date`, the handler's fields, framing.
//!
//! The lines that are the same for a whole second are written once a second, see [`Stamp`].

use std::ptr;

use crate::http::date::HttpDate;
use crate::http::{Fields, Status};
pub use crate::proto::h1::hop::is_trailer_allowed;

/// What every answer of this second begins with.
pub struct Stamp {
    server: String,
    second: Option<u64>,
    /// Status line, `Server` and `Date` of a 200, ready to be copied.
    ok: Vec<u8>,
    /// `Server` and `Date`, for every other status.
    lines: Vec<u8>,
    prepared: Option<Prepared>,
}

/// The last answer that was made of nothing but the program's own bytes, whole. Its next sending is one copy.
struct Prepared {
    second: Option<u64>,
    fields: &'static str,
    body: &'static [u8],
    bytes: Vec<u8>,
}

impl Stamp {
    /// A stamp that names the server so, or not at all. Must be [set](Stamp::set) before it is used.
    #[must_use]
    pub fn new(server: Option<&str>) -> Stamp {
        let server = server.map(|name| format!("Server: {name}\r\n")).unwrap_or_default();
        let mut stamp = Stamp { server, second: None, ok: Vec::new(), lines: Vec::new(), prepared: None };
        stamp.set(0);
        stamp
    }

    /// Writes the date anew; `second` counts from 1970.
    pub fn set(&mut self, second: u64) {
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        self.lines.clear();
        self.lines.extend_from_slice(self.server.as_bytes());
        self.lines.extend_from_slice(b"Date: ");
        self.lines.extend_from_slice(HttpDate::at(second).as_bytes());
        self.lines.extend_from_slice(b"\r\n");
        self.ok.clear();
        self.ok.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        self.ok.extend_from_slice(&self.lines);
    }

    /// A 200 with these fields and this body on a connection that stays, head and all.
    #[inline]
    pub(super) fn prepared(&mut self, fields: &'static str, body: &'static [u8]) -> &[u8] {
        // By address: two texts at one address with one length are the same text.
        let second = self.second;
        let is_it = |known: &Prepared| {
            known.second == second && ptr::eq(known.fields, fields) && ptr::eq(known.body, body)
        };
        if !self.prepared.as_ref().is_some_and(is_it) {
            self.prepared = Some(self.prepare(fields, body));
        }
        self.prepared.as_ref().map_or(&[], |known| &known.bytes)
    }

    #[cold]
    fn prepare(&mut self, fields: &'static str, body: &'static [u8]) -> Prepared {
        let mut bytes = self.prepared.take().map(|old| old.bytes).unwrap_or_default();
        bytes.clear();
        let length = Delimiter::Length(body.len() as u64);
        head(&mut bytes, self, Status::OK, &Fields::fixed(fields), length, Connection::Stays);
        bytes.extend_from_slice(body);
        Prepared { second: self.second, fields, body, bytes }
    }

    /// The second it was set to, counted from 1970.
    #[must_use]
    pub fn second(&self) -> u64 {
        self.second.unwrap_or_default()
    }
}

/// How the body of an answer is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// The status forbids a body.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunks,
    /// The end of the connection, for a client that knows no chunks.
    End,
}

/// What an answer says about the connection (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It stays, and in HTTP/1.1 that goes without saying.
    Stays,
    /// It stays, and an HTTP/1.0 client must be told.
    StaysSaid,
    /// It ends behind this answer.
    Ends,
}

/// Appends a whole head.
#[inline]
pub fn head(
    out: &mut Vec<u8>,
    stamp: &Stamp,
    status: Status,
    fields: &Fields,
    delimiter: Delimiter,
    connection: Connection,
) {
    if status == Status::OK {
        out.extend_from_slice(&stamp.ok);
    } else {
        status_line(out, status);
        out.extend_from_slice(&stamp.lines);
    }
    for lines in fields.lines() {
        out.extend_from_slice(lines);
    }
    end_of_head(out, delimiter, connection);
}

/// Appends the head of another server's answer, with that one's field lines and its date, if it has one.
pub fn relayed_head(
    out: &mut Vec<u8>,
    stamp: &Stamp,
    relayed: &Relayed<'_>,
    delimiter: Delimiter,
    connection: Connection,
) {
    out.reserve(relayed.lines.len() + 256);
    match (relayed.status, relayed.has_date) {
        (Status::OK, false) => out.extend_from_slice(&stamp.ok),
        (status, has_date) => {
            status_line(out, status);
            out.extend_from_slice(if has_date { stamp.server.as_bytes() } else { &stamp.lines });
        }
    }
    out.extend_from_slice(relayed.lines);
    end_of_head(out, delimiter, connection);
}

/// Appends an interim answer (RFC 9110 section 15.2).
pub fn interim_head(out: &mut Vec<u8>, status: Status, lines: &[u8]) {
    debug_assert!(status.class() == 1);
    status_line(out, status);
    out.extend_from_slice(lines);
    out.extend_from_slice(b"\r\n");
}

/// Another server's answer, as it is passed on.
#[derive(Clone, Copy, Debug)]
pub struct Relayed<'a> {
    /// The status.
    pub status: Status,
    /// The field lines that are for the client, see [`relay_fields`](super::answer::relay_fields).
    pub lines: &'a [u8],
    /// What `Content-Length` said; it is said again even where no body follows, as to HEAD.
    pub length: Option<u64>,
    /// Whether `Date` is among the lines.
    pub has_date: bool,
}

#[inline]
fn end_of_head(out: &mut Vec<u8>, delimiter: Delimiter, connection: Connection) {
    match delimiter {
        Delimiter::Nothing | Delimiter::End => {}
        Delimiter::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Delimiter::Chunks => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    match connection {
        Connection::Stays => {}
        Connection::StaysSaid => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Connection::Ends => out.extend_from_slice(b"Connection: close\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut Vec<u8>, status: Status) {
    out.extend_from_slice(b"HTTP/1.1 ");
    match status.text() {
        "" => {
            out.extend_from_slice(itoa::Buffer::new().format(status.code()).as_bytes());
            // RFC 9112 section 4: the space stands there even where the phrase behind it is empty.
            out.push(b' ');
        }
        text => out.extend_from_slice(text.trim_end().as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk (RFC 9112 section 7.1). An empty one would end the body, so it is left out.
pub fn chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    chunk_head(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends what stands before the bytes of a chunk, of which there are some.
pub fn chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk ends the body");
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut rest = len;
    while rest > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest % 16];
        rest /= 16;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body with those trailer lines, each sound and with its line end. Left out are
/// those that may not be [trailers](is_trailer_allowed).
pub fn last_chunk(out: &mut Vec<u8>, trailer_lines: &[u8]) {
    out.extend_from_slice(b"0\r\n");
    for line in trailer_lines.split_inclusive(|byte| *byte == b'\n') {
        debug_assert!(line.ends_with(b"\r\n"));
        if is_trailer_allowed(trailer_name(line)) {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The name in a trailer line.
#[must_use]
pub fn trailer_name(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b':').next().unwrap_or_default()
}

/// The end of a chunked body, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The interim answer that asks for the body (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn written(status: Status, delimiter: Delimiter, connection: Connection) -> String {
        let mut stamp = Stamp::new(Some("myriapod"));
        stamp.set(784_111_777);
        let mut out = Vec::new();
        head(&mut out, &stamp, status, &Fields::fixed("X: y\r\n"), delimiter, connection);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_has_its_lines_in_order() {
        let lines = "Server: myriapod\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX: y\r\n";
        let got = written(Status::OK, Delimiter::Length(13), Connection::Stays);
        assert_eq!(got, format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 13\r\n\r\n"));
        let got = written(Status::NOT_FOUND, Delimiter::Chunks, Connection::Ends);
        assert_eq!(
            got,
            format!(
                "HTTP/1.1 404 Not Found\r\n{lines}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            )
        );
        let got = written(Status::NO_CONTENT, Delimiter::Nothing, Connection::StaysSaid);
        assert_eq!(got, format!("HTTP/1.1 204 No Content\r\n{lines}Connection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn a_head_of_another_server_keeps_its_date() {
        let relayed = |status: u16, has_date| {
            let mut stamp = Stamp::new(Some("m"));
            stamp.set(784_111_777);
            let (status, lines) = (Status::from_code(status).unwrap(), &b"A: b\r\n"[..]);
            let (mut out, length) = (Vec::new(), None);
            let relayed = Relayed { status, lines, length, has_date };
            relayed_head(&mut out, &stamp, &relayed, Delimiter::Nothing, Connection::Stays);
            String::from_utf8(out).unwrap()
        };
        let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(relayed(200, true), "HTTP/1.1 200 OK\r\nServer: m\r\nA: b\r\n\r\n");
        assert_eq!(relayed(200, false), format!("HTTP/1.1 200 OK\r\nServer: m\r\n{date}A: b\r\n\r\n"));
        assert_eq!(relayed(299, true), "HTTP/1.1 299 \r\nServer: m\r\nA: b\r\n\r\n");
    }

    /// Where trailers are merged with fields, these would change what was decided by the fields.
    #[test]
    fn trailers_that_steer_are_left_out() {
        let mut out = Vec::new();
        last_chunk(
            &mut out,
            b"X-Sum: 1\r\nContent-Length: 5\r\nSet_Cookie: a\r\nx-forwarded-for: x\r\nGrpc-Status:0\r\nHost: b\r\n",
        );
        assert_eq!(out, b"0\r\nX-Sum: 1\r\nGrpc-Status:0\r\n\r\n");
    }

    #[test]
    fn the_server_can_stay_unnamed() {
        assert!(!String::from_utf8(Stamp::new(None).ok).unwrap().contains("Server"));
    }

    #[test]
    fn chunks_have_their_size_in_hexadecimal_and_are_never_empty() {
        let mut out = Vec::new();
        chunk(&mut out, &[b'x'; 26]);
        chunk(&mut out, b"");
        assert_eq!(out, [b"1a\r\n", &[b'x'; 26][..], b"\r\n"].concat());
    }
}
