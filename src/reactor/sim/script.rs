//! What visitors say, and what they may expect to hear.

use std::collections::VecDeque;

use crate::config::Dispatch;
use crate::reactor::sim::dice::Dice;
use crate::reactor::sim::world::{COLLECTED_MAX, Kind, World};

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
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub status: u16,
    /// What may be heard instead, as chance has it: nobody had room for the request, or time.
    pub instead: &'static [u16],
    pub body: Vec<u8>,
    /// The length is told and the body left out.
    pub is_head: bool,
    /// It may be asked for its body first.
    pub is_asked: bool,
    /// The connection ends behind it.
    pub is_last: bool,
    /// Where something else is heard, the connection may end behind it: a body may be on its way that nobody
    /// wants.
    pub may_end: bool,
    /// If nobody reads its body, more may come of it than is put up with, and that shows behind the answer.
    pub may_stop: bool,
    /// The answer may be cut short: a body breaks a rule when it may have begun, or its next piece is
    /// overdue.
    pub may_break: bool,
    /// Its body comes to grief, so it must be cut short, and in a way that can be seen.
    pub is_spoiled: bool,
    /// Its length is not told before.
    pub is_open_ended: bool,
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
    pub(super) fn new(dice: &mut Dice, is_small: bool, world: &World) -> Script {
        let mut script = Script::default();
        for _ in 0..dice.size(1, 12) {
            let known = script.expected.len();
            match world.is_manned && !dice.one_in(3) {
                true => script.errand(dice, is_small, world),
                false => script.request(dice, is_small),
            }
            if world.dispatch == Dispatch::Queue {
                script.may_fail(known, world);
            }
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
        self.expected.push_back(Expected { status, body: body.to_vec(), ..Expected::default() });
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
        let may_begin = body.len() > 32 * 1024;
        self.with_body(dice, "/echo", body, is_http10);
        let last = self.last();
        last.may_break = last.status == 400 && may_begin;
    }

    /// A request with a body, of which the whole is expected back, unless it breaks a rule.
    fn with_body(&mut self, dice: &mut Dice, path: &str, body: Vec<u8>, is_http10: bool) {
        let is_chunked = !is_http10 && dice.one_in(2);
        let (field, mut wire) = framed(dice, &body, is_chunked);
        let expects = !is_http10 && dice.one_in(4);
        let (version, more) = match (is_http10, expects) {
            (true, _) => ("1.0", "Connection: keep-alive\r\n"),
            (false, true) => ("1.1", "Expect: 100-continue\r\n"),
            (false, false) => ("1.1", ""),
        };
        self.plain(&format!("POST {path} HTTP/{version}\r\nHost: a\r\n{more}{field}\r\n"), 200, b"");
        self.last().is_asked = expects && (is_chunked || !body.is_empty());
        if is_chunked && wire.ends_with(b"0\r\n\r\n") && dice.one_in(8) {
            // The last chunk's line becomes nonsense.
            wire.truncate(wire.len() - 5);
            wire.extend_from_slice(b"nonsense\r\n");
            let last = self.last();
            (last.is_last, last.status) = (true, 400);
        }
        self.last().may_stop = is_chunked && body.len() > 60_000;
        let answer = self.expected.len();
        let awaits = self.last().is_asked && dice.one_in(2);
        if self.last().status == 200 {
            self.last().body = body;
        }
        self.last().may_end = true;
        self.say.push_back(match awaits {
            true => Say::AwaitContinue { answer, body: wire },
            false => Say::Bytes(wire),
        });
    }

    /// A request that cannot be answered where its head is read.
    fn errand(&mut self, dice: &mut Dice, is_small: bool, world: &World) {
        let bytes_max = if is_small { 300 } else { 80_000 };
        let known = self.expected.len();
        match dice.below(16) {
            0..=2 => {
                let (path, method) = (*dice.pick(&["/work", "/urgent"]), *dice.pick(&["GET", "GET", "HEAD"]));
                self.plain(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"), 200, b"Hello, World!");
                self.last().is_head = method == "HEAD";
                self.may_fail(known, world);
            }
            3 => {
                self.plain("GET /hasty HTTP/1.1\r\nHost: a\r\n\r\n", 200, b"Hello, World!");
                self.may_fail(known, world);
                self.last().instead = &[503, 504];
            }
            // Nobody would wait for it without a limit, and nobody else be served in the end.
            4 if world.request_ms_max.is_some() && dice.one_in(2) => {
                self.plain("GET /never HTTP/1.1\r\nHost: a\r\n\r\n", 200, b"at last");
                self.may_fail(known, world);
            }
            5 => {
                let path = *dice.pick(&["/panics/here", "/panics/away"]);
                self.plain(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), 500, b"");
                self.may_fail(known, world);
            }
            6 => {
                self.plain("POST /panics/gather HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 500, b"");
            }
            7..=9 => self.gathered(dice, bytes_max, world),
            10 | 11 => {
                let body = sized(dice, bytes_max);
                self.with_body(dice, "/stream", body, false);
                self.may_fail(known, world);
            }
            12 => self.early(dice, bytes_max, world),
            _ => self.flow(dice, is_small, world),
        }
    }

    /// A body that is collected, here or for a worker.
    fn gathered(&mut self, dice: &mut Dice, bytes_max: usize, world: &World) {
        let (known, body) = (self.expected.len(), sized(dice, bytes_max));
        let is_too_large = body.len() > COLLECTED_MAX;
        let (path, is_http10) = (*dice.pick(&["/gather", "/send"]), dice.one_in(8));
        self.with_body(dice, path, body, is_http10);
        let last = self.last();
        if is_too_large {
            // What is left of it may end the connection, or be read over; nonsense in it ends it for sure.
            (last.status, last.instead) = (413, &[413]);
            last.body.clear();
        } else if path == "/send" {
            self.may_fail(known, world);
        }
    }

    /// A body that its handler does not wait for.
    fn early(&mut self, dice: &mut Dice, bytes_max: usize, world: &World) {
        let (known, body) = (self.expected.len(), sized(dice, bytes_max));
        self.with_body(dice, "/early", body, false);
        self.may_fail(known, world);
        let last = self.last();
        last.body = b"early".to_vec();
        // The body's end, or its mistake, may come before the answer or behind it.
        last.status = 200;
        last.instead = &[200, 400, 413, 503, 504];
    }

    /// An answer whose body is made as it is sent.
    fn flow(&mut self, dice: &mut Dice, is_small: bool, world: &World) {
        let (kind, place) = (*dice.pick(&Kind::ALL), *dice.pick(&["here", "away", "away"]));
        if is_small && kind == Kind::Flood {
            return self.flow(dice, is_small, world);
        }
        let known = self.expected.len();
        let (method, version, more) = *dice.pick(&[
            ("GET", "1.1", ""),
            ("GET", "1.1", ""),
            ("HEAD", "1.1", ""),
            ("GET", "1.0", "Connection: keep-alive\r\n"),
        ]);
        let name = kind.name();
        self.plain(
            &format!("{method} /{place}/{name} HTTP/{version}\r\nHost: a\r\n{more}\r\n"),
            200,
            &kind.body(),
        );
        let last = self.last();
        last.is_head = method == "HEAD";
        last.is_spoiled = kind.is_spoiled() && !last.is_head;
        // The length of what is spoiled may be told, and be wrong.
        last.is_open_ended = kind.len().is_none() || kind.is_spoiled();
        // To old clients the end of the connection is the end of a body whose length is not told.
        last.is_last = last.is_spoiled || (version == "1.0" && kind.len().is_none());
        if place == "away" {
            self.may_fail(known, world);
        }
    }

    /// Whoever asked for it since may be told that there is no room or no time.
    fn may_fail(&mut self, known: usize, world: &World) {
        for expected in self.expected.range_mut(known..).filter(|each| matches!(each.status, 200 | 400 | 500))
        {
            if expected.instead.is_empty() {
                expected.instead = world.failures();
            }
            // A piece may be overdue when the answer has begun.
            expected.may_break |= world.request_ms_max.is_some();
        }
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
