//! What a server does about a request: mostly it answers, and there are many ways not to.

use std::collections::VecDeque;

use super::book::{Book, Said, body_of_answer, chunked};
use super::ear::Heard;
use crate::reactor::sim::dice::Dice;

/// One thing after the other, each so many milliseconds later.
pub(super) enum Act {
    Send(Vec<u8>),
    /// Nothing more will be sent.
    Fin,
    Reset,
}

/// See the module.
pub(super) struct Deed {
    /// Begun when the head is there; else when the request is whole.
    pub is_early: bool,
    pub acts: VecDeque<(u64, Act)>,
    /// Whether the request is taken to its end.
    pub reads_on: bool,
    /// Whether another request may follow.
    pub stays: bool,
    /// Behind it another protocol is spoken.
    pub switches: bool,
}

/// How a server is disposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It does everything right, and soon.
    Good,
    /// It does something wrong, one time in so many.
    Flaky(usize),
    /// It refuses connections.
    Refuses,
    /// It says nothing, not even that it is there.
    BlackHole,
}

/// An answer as it is to be sent.
struct Answer {
    bytes: Vec<u8>,
    head_len: usize,
    number: usize,
    /// Only the end of the connection tells that it is whole.
    is_to_end: bool,
    stays: bool,
}

/// Heads that are none. A client gets 502 for each.
const GARBAGE: &[&str] = &[
    "hello, this is not HTTP at all\r\n\r\n",
    "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n folded\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\nraw",
    "\0\0\0\0",
];

impl Deed {
    /// What that server does now. `line`: on which connection.
    pub(super) fn new(dice: &mut Dice, mood: Mood, heard: &Heard, line: usize, book: &mut Book) -> Deed {
        let errs = matches!(mood, Mood::Flaky(n) if dice.one_in(n));
        let may_doubt = matches!(mood, Mood::Flaky(_));
        book.has_erred |= errs;
        if heard.asks_upgrade && !dice.one_in(4) {
            return Deed::switching(dice, heard, errs, line, book);
        }
        let answer = Answer::new(dice, heard, may_doubt, line, book);
        let mut deed = Deed::begun(dice, heard);
        deed.stays = answer.stays;
        match errs {
            true => deed.err(dice, answer, heard, line, book),
            false => {
                deed.send(dice, &answer.bytes);
                // Who is told that the connection ends mostly sees it end.
                if answer.is_to_end || (!answer.stays && !dice.one_in(3)) {
                    deed.then(dice, 20, Act::Fin);
                } else if may_doubt && dice.one_in(6) {
                    // It has had enough of it, without a word.
                    book.has_erred = true;
                    let act = if dice.one_in(4) { Act::Reset } else { Act::Fin };
                    deed.then(dice, 400, act);
                }
            }
        }
        deed
    }

    fn begun(dice: &mut Dice, heard: &Heard) -> Deed {
        let is_early = heard.expects || dice.one_in(6);
        let mut deed = Deed { is_early, acts: VecDeque::new(), reads_on: true, stays: true, switches: false };
        if heard.expects && heard.end.is_none() {
            // It asks for the body, or is content without.
            deed.is_early = !dice.one_in(8);
            if deed.is_early && dice.one_in(2) {
                deed.then(dice, 50, Act::Send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()));
            }
        }
        while dice.one_in(8) {
            let hint = format!("HTTP/1.1 103 Early Hints\r\nX-Hint: {}\r\n\r\n", heard.id);
            deed.then(dice, 30, Act::Send(hint.into_bytes()));
        }
        deed
    }

    fn then(&mut self, dice: &mut Dice, ms_max: usize, act: Act) {
        let ms = if dice.one_in(2) { 0 } else { dice.size(0, ms_max) as u64 };
        self.acts.push_back((ms, act));
    }

    /// In pieces, with pauses now and then.
    fn send(&mut self, dice: &mut Dice, bytes: &[u8]) {
        self.acts.push_back((dice.size(0, 200) as u64, Act::Send(Vec::new())));
        let mut rest = bytes;
        let mut pauses = 4;
        while !rest.is_empty() {
            let count = if dice.one_in(2) || pauses == 0 { rest.len() } else { dice.size(1, rest.len()) };
            let (piece, after) = rest.split_at(count);
            pauses -= usize::from(pauses > 0);
            self.then(dice, 60, Act::Send(piece.to_vec()));
            rest = after;
        }
    }

    fn err(&mut self, dice: &mut Dice, answer: Answer, heard: &Heard, line: usize, book: &mut Book) {
        self.stays = false;
        let number = answer.number;
        let end = |dice: &mut Dice| match dice.below(3) {
            0 => Some(Act::Fin),
            1 => Some(Act::Reset),
            _ => None,
        };
        match dice.below(8) {
            // It says nothing.
            0 => {
                book.said[number].is_whole = false;
                self.acts.clear();
                let end = end(dice);
                self.acts.extend(end.map(|act| (dice.size(0, 300) as u64, act)));
                self.reads_on = dice.one_in(2);
            }
            // It breaks off.
            1..=3 => {
                book.said[number].is_whole = false;
                let cut = dice.below(answer.bytes.len());
                self.send(dice, &answer.bytes[..cut]);
                // The end would pass for the end of such an answer.
                let act =
                    if answer.is_to_end && cut >= answer.head_len { Some(Act::Reset) } else { end(dice) };
                self.acts.extend(act.map(|act| (dice.size(0, 300) as u64, act)));
            }
            4 | 5 => {
                book.said[number].is_whole = false;
                let text = *dice.pick(GARBAGE);
                self.send(dice, text.as_bytes());
            }
            6 => {
                book.said[number].is_whole = false;
                if dice.one_in(2) {
                    for _ in 0..20 {
                        self.send(dice, b"HTTP/1.1 102 Processing\r\n\r\n");
                    }
                } else {
                    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(40_000));
                    self.send(dice, long.as_bytes());
                }
            }
            _ => self.babble(dice, &answer, heard, line, book),
        }
    }

    /// Behind the answer comes more: another answer, to nothing.
    fn babble(&mut self, dice: &mut Dice, answer: &Answer, heard: &Heard, line: usize, book: &mut Book) {
        if answer.is_to_end {
            return self.send(dice, &answer.bytes);
        }
        let mut stray = Answer::new(dice, heard, false, line, book);
        book.said[stray.number].id = None;
        if stray.is_to_end {
            stray.bytes = b"\r\n".to_vec();
        }
        if dice.one_in(2) {
            // All at once, however it arrives.
            let bytes = [&answer.bytes[..], &stray.bytes].concat();
            self.acts.push_back((dice.size(0, 100) as u64, Act::Send(bytes)));
        } else {
            self.send(dice, &answer.bytes);
            self.acts.push_back((dice.size(0, 100) as u64, Act::Send(stray.bytes)));
        }
    }

    /// Another protocol: what comes is sent back, for a while.
    fn switching(dice: &mut Dice, heard: &Heard, errs: bool, line: usize, book: &mut Book) -> Deed {
        let said =
            Said { id: Some(heard.id), status: 101, body_len: 0, has_body: false, is_whole: !errs, line };
        let number = book.say(said);
        let mut deed = Deed::begun(dice, heard);
        (deed.stays, deed.switches) = (false, true);
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             X-Answer: {number}\r\n\r\n"
        );
        deed.send(dice, head.as_bytes());
        if errs {
            let act = if dice.one_in(2) { Act::Fin } else { Act::Reset };
            deed.then(dice, 300, act);
        }
        deed
    }
}

impl Answer {
    fn new(dice: &mut Dice, heard: &Heard, may_doubt: bool, line: usize, book: &mut Book) -> Answer {
        let asked = &book.asked[heard.id as usize];
        let is_head = asked.method == "HEAD";
        let status = match may_doubt && dice.one_in(10) {
            true => *dice.pick(&[502, 503, 504]),
            false => *dice.pick(&[200, 200, 200, 200, 200, 201, 204, 304, 404, 500]),
        };
        let has_body = !is_head && !matches!(status, 204 | 304);
        let body_len = if has_body {
            {
                let most = *dice.pick(&[20, 3_000, 60_000]);
                dice.size(0, most)
            }
        } else {
            0
        };
        let said = Said { id: Some(heard.id), status, body_len, has_body, is_whole: true, line };
        let number = book.say(said);
        let body = body_of_answer(number, body_len);
        let mut stays = true;
        let mut is_to_end = false;
        let mut version = "1.1";
        let mut wire = body.clone();
        let mut fields = match dice.below(8) {
            _ if status == 204 => String::new(),
            0..=3 => format!("Content-Length: {}\r\n", body.len()),
            4 | 5 => {
                let trailers = *dice.pick(&["", "", "X-Sum: 1\r\nX-Other:\r\n"]);
                wire = if has_body { chunked(dice, &body, trailers) } else { Vec::new() };
                String::from("Transfer-Encoding: chunked\r\n")
            }
            6 if has_body => {
                (is_to_end, stays) = (true, false);
                version = *dice.pick(&["1.0", "1.1"]);
                String::new()
            }
            _ => {
                (version, stays) = ("1.0", false);
                format!("Content-Length: {}\r\n", body.len())
            }
        };
        if stays && dice.one_in(8) {
            stays = false;
            fields.push_str("Connection: close\r\n");
        }
        if version == "1.0" && !is_to_end && dice.one_in(2) {
            stays = true;
            fields.push_str("Connection: keep-alive\r\n");
        }
        if dice.one_in(4) {
            fields
                .push_str("Keep-Alive: timeout=5\r\nServer: fake\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
        }
        let head = format!("HTTP/{version} {status} As It Is\r\nX-Answer: {number}\r\n{fields}\r\n");
        let head_len = head.len();
        Answer { bytes: [head.as_bytes(), &wire].concat(), head_len, number, is_to_end, stays }
    }
}
