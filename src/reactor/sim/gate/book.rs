//! What was asked and what was said, by everybody, so that each can be held against the other.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::reactor::sim::dice::Dice;

/// A request, as its client means it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub method: &'static str,
    pub body_len: usize,
    pub is_chunked: bool,
    pub has_body: bool,
    pub asks_upgrade: bool,
}

/// An answer, as its server meant it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// For which request; `None`: for none.
    pub id: Option<u32>,
    pub status: u16,
    pub body_len: usize,
    pub has_body: bool,
    /// Whether all of it is said, by all rules.
    pub is_whole: bool,
    /// On which connection.
    pub line: usize,
}

/// See the module.
#[derive(Default)]
pub(super) struct Book {
    pub asked: Vec<Asked>,
    pub said: Vec<Said>,
    /// By request: on which connections anything of it was written.
    pub seen: HashMap<u32, Vec<usize>>,
    /// Connections on which a request was written before the floor could know that something had come.
    pub raced: HashSet<usize>,
    /// What a server has to complain of.
    pub wrong: Option<String>,
    /// Whether anything has gone wrong so far that is not the gate's fault.
    pub has_erred: bool,
    /// What came about, and how often.
    pub events: BTreeMap<&'static str, u64>,
    /// How often a request may be written.
    pub tries_max: usize,
}

impl Book {
    pub(super) fn ask(&mut self, asked: Asked) -> u32 {
        self.asked.push(asked);
        self.asked.len() as u32 - 1
    }

    pub(super) fn say(&mut self, said: Said) -> usize {
        self.said.push(said);
        self.said.len() - 1
    }

    pub(super) fn complain(&mut self, text: String) {
        self.wrong.get_or_insert(text);
    }

    pub(super) fn note(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    /// Something of that request was written there.
    pub(super) fn see(&mut self, id: u32, line: usize) {
        let seen = self.seen.entry(id).or_default();
        if seen.contains(&line) {
            let text = format!("request {id} came twice on line {line}");
            return self.complain(text);
        }
        seen.push(line);
        let (times, method) = (seen.len(), self.asked[id as usize].method);
        if times > 1 {
            self.note("sent again");
        }
        if times > 1 && method == "POST" {
            self.complain(format!("{method} {id} was sent {times} times"));
        }
        if times > self.tries_max {
            self.complain(format!("request {id} was sent {times} times, with {} allowed", self.tries_max));
        }
    }
}

/// A body that tells whose it is in each of its parts.
pub(super) fn fill(name: &str, len: usize) -> Vec<u8> {
    name.bytes().cycle().take(len).collect()
}

pub(super) fn body_of_request(id: u32, len: usize) -> Vec<u8> {
    fill(&format!("<{id}>"), len)
}

pub(super) fn body_of_answer(number: usize, len: usize) -> Vec<u8> {
    fill(&format!("({number})"), len)
}

/// A body in chunks of all sizes, with these trailers.
pub(super) fn chunked(dice: &mut Dice, body: &[u8], trailers: &str) -> Vec<u8> {
    let (mut wire, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(dice.size(1, rest.len()));
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
        rest = after;
    }
    wire.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    wire
}

/// What a body in chunks says, and where it ends; `None`: it is not complete. Nothing that a strict reader
/// would doubt is let pass.
pub(super) fn unchunked(mut rest: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let whole_len = rest.len();
    let mut body = Vec::new();
    loop {
        let Some(at) = memchr::memmem::find(rest, b"\r\n") else { return Ok(None) };
        let digits = std::str::from_utf8(&rest[..at]).map_err(|error| error.to_string())?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!("chunk size {digits:?}"));
        }
        let size = usize::from_str_radix(digits, 16).map_err(|_| format!("chunk size {digits:?}"))?;
        if size == 0 {
            rest = &rest[at + 2..];
            break;
        }
        let Some(chunk) = rest.get(at + 2..at + 2 + size + 2) else { return Ok(None) };
        if &chunk[size..] != b"\r\n" {
            return Err(String::from("a chunk without its end"));
        }
        body.extend_from_slice(&chunk[..size]);
        rest = &rest[at + 2 + size + 2..];
    }
    loop {
        let Some(at) = memchr::memmem::find(rest, b"\r\n") else { return Ok(None) };
        let line = &rest[..at];
        rest = &rest[at + 2..];
        if line.is_empty() {
            return Ok(Some((body, whole_len - rest.len())));
        }
        if !line.contains(&b':') {
            return Err(format!("trailer {}", line.escape_ascii()));
        }
    }
}
