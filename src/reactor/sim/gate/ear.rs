//! A server's strict reader: what it hears is one request after the other, each just as its client meant it.

use super::book::{Book, body_of_request, unchunked};
use crate::reactor::sim::wire::{News, Tap};

/// A request that was heard, as far as it came. Places count from the beginning of the connection.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub id: u32,
    pub head_end: usize,
    /// Where it ends, once that is known.
    pub end: Option<usize>,
    pub expects: bool,
    pub asks_upgrade: bool,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Nothing,
    Length(usize),
    Chunked,
}

/// See the module.
#[derive(Default)]
pub(super) struct Ear {
    bytes: Vec<u8>,
    marks: Vec<(usize, News)>,
    /// Where the request begins that is to be read next.
    at: usize,
    pub requests: Vec<Heard>,
    /// Another protocol is spoken.
    pub is_raw: bool,
    /// The request whose head is not complete is known already.
    has_seen_part: bool,
}

impl Ear {
    pub(super) fn listen(&mut self, tap: &mut Tap, line: usize, book: &mut Book) -> Result<(), String> {
        let from = self.bytes.len();
        self.marks.extend(tap.marks.drain(..).map(|(at, news)| (from + at, news)));
        self.bytes.append(&mut tap.bytes);
        while !self.is_raw && self.read(line, book)? {}
        if !self.is_raw && !self.has_seen_part && self.is_between_requests() {
            self.see_part(line, book);
        }
        Ok(())
    }

    /// Whether every request it has begun to hear is complete.
    fn is_between_requests(&self) -> bool {
        self.requests.last().is_none_or(|heard| heard.end.is_some())
    }

    /// Whose request it is shows before its head is complete.
    fn see_part(&mut self, line: usize, book: &mut Book) {
        let part = &self.bytes[self.at..];
        let Some(at) = memchr::memmem::find(part, b"\r\nX-Id: ") else { return };
        let rest = &part[at + 8..];
        let Some(end) = memchr::memchr(b'\r', rest) else { return };
        if let Some(id) = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse().ok()) {
            self.has_seen_part = true;
            book.see(id, line);
        }
    }

    fn read(&mut self, line: usize, book: &mut Book) -> Result<bool, String> {
        if self.is_between_requests() { self.read_head(line, book) } else { self.read_body(book) }
    }

    fn read_head(&mut self, line: usize, book: &mut Book) -> Result<bool, String> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(false);
        }
        let news = self.marks.iter().find(|(at, _)| *at == self.at).map(|(_, news)| *news);
        match news {
            None => return Err(String::from("a request begins within a write of another")),
            Some(News::Told) => return Err(String::from("a line is used that has said something")),
            Some(News::Untold) => {
                book.raced.insert(line);
                book.note("raced");
            }
            Some(News::Nothing) => {}
        }
        let Some(head_len) = memchr::memmem::find(rest, b"\r\n\r\n").map(|at| at + 4) else {
            return Ok(false);
        };
        if self.at > 0 {
            book.note("line used again");
        }
        let mut heard = understand(&rest[..head_len], book)?;
        heard.head_end = self.at + head_len;
        if !std::mem::take(&mut self.has_seen_part) {
            book.see(heard.id, line);
        }
        if heard.framing == Framing::Nothing {
            heard.end = Some(heard.head_end);
            self.at = heard.head_end;
        }
        self.requests.push(heard);
        Ok(true)
    }

    fn read_body(&mut self, book: &Book) -> Result<bool, String> {
        let Some(heard) = self.requests.last_mut() else { return Ok(false) };
        let rest = &self.bytes[heard.head_end..];
        let (body, len) = match heard.framing {
            Framing::Nothing => return Ok(false),
            Framing::Length(length) => match rest.get(..length) {
                Some(body) => (body.to_vec(), length),
                None => return Ok(false),
            },
            Framing::Chunked => match unchunked(rest)? {
                Some(body) => body,
                None => return Ok(false),
            },
        };
        let asked = &book.asked[heard.id as usize];
        if body != body_of_request(heard.id, asked.body_len) {
            return Err(format!("body of {}: {} bytes of {}", heard.id, body.len(), asked.body_len));
        }
        heard.end = Some(heard.head_end + len);
        self.at = heard.head_end + len;
        Ok(true)
    }
}

/// Reads a head with another reader than ours, and holds it against what was asked.
fn understand(head: &[u8], book: &Book) -> Result<Heard, String> {
    let shown = || head.escape_ascii().to_string();
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        other => return Err(format!("{other:?} of {}", shown())),
    }
    let values = |name: &str| {
        let fields = request.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        fields.map(|field| String::from_utf8_lossy(field.value).into_owned()).collect::<Vec<_>>()
    };
    let one = |name: &str| match &values(name)[..] {
        [] => Ok(None),
        [value] => Ok(Some(value.clone())),
        _ => Err(format!("{name} twice: {}", shown())),
    };
    let id: u32 = one("x-id")?.and_then(|id| id.parse().ok()).ok_or_else(|| format!("no id: {}", shown()))?;
    let asked = &book.asked[id as usize];
    let target =
        format!("/{}?id={id}", request.path.unwrap_or_default().split(['/', '?']).nth(1).unwrap_or(""));
    if request.method != Some(asked.method) || request.path != Some(&target) || request.version != Some(1) {
        return Err(format!("not what was asked: {}", shown()));
    }
    if values("host").len() != 1 || !values("x-hop").is_empty() || !values("keep-alive").is_empty() {
        return Err(format!("hop by hop: {}", shown()));
    }
    let framing = match (one("content-length")?, one("transfer-encoding")?) {
        (None, None) => Framing::Nothing,
        (Some(length), None) if !asked.is_chunked => {
            Framing::Length(length.parse().map_err(|_| format!("length: {}", shown()))?)
        }
        (None, Some(coding)) if asked.is_chunked && coding == "chunked" => Framing::Chunked,
        _ => return Err(format!("framing: {}", shown())),
    };
    let is_right = match framing {
        Framing::Nothing => !asked.has_body || (asked.body_len == 0 && !asked.is_chunked),
        Framing::Length(length) => length == asked.body_len,
        Framing::Chunked => true,
    };
    let asks_upgrade = one("upgrade")?.is_some();
    if !is_right || (asks_upgrade && !asked.asks_upgrade) {
        return Err(format!("other framing, or an upgrade: {}", shown()));
    }
    Ok(Heard { id, head_end: 0, end: None, expects: one("expect")?.is_some(), asks_upgrade, framing })
}
