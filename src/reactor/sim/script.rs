//! What visitors say, and what they may expect to hear.

use std::collections::VecDeque;

use crate::reactor::sim::dice::Dice;

/// Bytes of the body at `/big`: more than may be queued, so that it takes several rounds.
pub(super) const BIG: &[u8] = &[b'b'; 70_000];

/// One thing after the other.
pub(super) enum Say {
    Bytes(Vec<u8>),
    /// Goes on when it was asked to, and leaves the rest of this request out when it got its answer instead.
    AwaitContinue {
        answer: usize,
        body: Vec<u8>,
    },
}

/// The answer to one request.
#[derive(Debug)]
pub(super) struct Expected {
    pub status: u16,
    pub body: Vec<u8>,
    /// The length is told and the body left out.
    pub is_head: bool,
    /// It may be asked for its body first.
    pub is_asked: bool,
    /// The connection ends behind it.
    pub is_last: bool,
    /// The body breaks a rule when the answer may have begun: it may be cut short.
    pub may_break: bool,
}

#[derive(Default)]
pub(super) struct Script {
    pub say: VecDeque<Say>,
    pub expected: VecDeque<Expected>,
}

const MALFORMED: &[(&str, u16)] = &[
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\nxxxxx", 413),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\nx", 417),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
];

impl Script {
    /// A few requests; `is_small`: none of them large.
    pub(super) fn new(dice: &mut Dice, is_small: bool) -> Script {
        let mut script = Script::default();
        for _ in 0..dice.size(1, 12) {
            script.request(dice, is_small);
            if script.expected.back().is_some_and(|expected| expected.is_last) {
                break;
            }
        }
        script
    }

    fn request(&mut self, dice: &mut Dice, is_small: bool) {
        let bytes_max = if is_small { 300 } else { 80_000 };
        match dice.below(20) {
            0..=5 => self.plain("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, b"Hello, World!"),
            6 => {
                self.plain("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, b"Hello, World!");
                self.last().is_head = true;
            }
            7 => self.plain("\r\nGET /none HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n", 404, b"404 Not Found\n"),
            8 => self.plain("PUT / HTTP/1.1\r\nHost: a\r\n\r\n", 405, b"405 Method Not Allowed\n"),
            9 => self.plain("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", 204, b""),
            10 => self.plain("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, b"Hello, World!"),
            11 if dice.one_in(3) => {
                self.plain("GET / HTTP/1.0\r\n\r\n", 200, b"Hello, World!");
                self.last().is_last = true;
            }
            12 if dice.one_in(3) => {
                self.plain("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, b"Hello, World!");
                self.last().is_last = true;
            }
            13 if dice.one_in(2) => {
                let (text, status) = *dice.pick(MALFORMED);
                self.plain(text, status, b"");
                self.last().is_last = true;
            }
            14 if !is_small => self.plain("GET /big HTTP/1.1\r\nHost: a\r\n\r\n", 200, BIG),
            15 => {
                let body = sized(dice, bytes_max);
                self.unwanted(dice, &body);
            }
            _ => {
                let body = sized(dice, bytes_max);
                self.echo(dice, body);
            }
        }
    }

    fn plain(&mut self, text: &str, status: u16, body: &[u8]) {
        self.say.push_back(Say::Bytes(text.as_bytes().to_vec()));
        self.expected.push_back(Expected {
            status,
            body: body.to_vec(),
            is_head: false,
            is_asked: false,
            is_last: false,
            may_break: false,
        });
    }

    fn last(&mut self) -> &mut Expected {
        self.expected.back_mut().expect("just pushed")
    }

    /// A body for whom nobody wants one: read over when it is short, else the end of the connection.
    fn unwanted(&mut self, dice: &mut Dice, body: &[u8]) {
        let is_chunked = dice.one_in(2);
        // A chunked body's length is known only when it has come; what is just over the limit may go either
        // way.
        if is_chunked && body.len() > 60_000 {
            return;
        }
        let (field, wire) = framed(dice, body, is_chunked);
        self.plain(&format!("POST /none HTTP/1.1\r\nHost: a\r\n{field}\r\n"), 404, b"404 Not Found\n");
        self.last().is_last = body.len() > 64 * 1024;
        self.say.push_back(Say::Bytes(wire));
    }

    fn echo(&mut self, dice: &mut Dice, body: Vec<u8>) {
        let is_http10 = dice.one_in(8);
        let is_chunked = !is_http10 && dice.one_in(2);
        let (field, mut wire) = framed(dice, &body, is_chunked);
        let expects = !is_http10 && dice.one_in(4);
        let (version, more) = match (is_http10, expects) {
            (true, _) => ("1.0", "Connection: keep-alive\r\n"),
            (false, true) => ("1.1", "Expect: 100-continue\r\n"),
            (false, false) => ("1.1", ""),
        };
        self.plain(&format!("POST /echo HTTP/{version}\r\nHost: a\r\n{more}{field}\r\n"), 200, b"");
        self.last().is_asked = expects && (is_chunked || !body.is_empty());
        if is_chunked && wire.ends_with(b"0\r\n\r\n") && dice.one_in(8) {
            // The last chunk's line becomes nonsense.
            wire.truncate(wire.len() - 5);
            wire.extend_from_slice(b"nonsense\r\n");
            let last = self.last();
            (last.is_last, last.status, last.may_break) = (true, 400, body.len() > 32 * 1024);
        }
        let answer = self.expected.len();
        let awaits = self.last().is_asked && dice.one_in(2);
        if self.last().status == 200 {
            self.last().body = body;
        }
        self.say.push_back(match awaits {
            true => Say::AwaitContinue { answer, body: wire },
            false => Say::Bytes(wire),
        });
    }
}

fn sized(dice: &mut Dice, bytes_max: usize) -> Vec<u8> {
    let count = dice.size(0, bytes_max);
    dice.bytes(count)
}

/// The field that tells the framing, and the body in it.
fn framed(dice: &mut Dice, body: &[u8], is_chunked: bool) -> (String, Vec<u8>) {
    if !is_chunked {
        return (format!("Content-Length: {}\r\n", body.len()), body.to_vec());
    }
    let (mut wire, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(dice.size(1, rest.len()));
        let extension = *dice.pick(&["", "", ";a", ";a=\"b\""]);
        wire.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
        rest = after;
    }
    let last = *dice.pick(&["0\r\n\r\n", "0\r\n\r\n", "000;x\r\nX-Sum: 1\r\nY:\r\n\r\n"]);
    wire.extend_from_slice(last.as_bytes());
    (String::from("Transfer-Encoding: chunked\r\n"), wire)
}
