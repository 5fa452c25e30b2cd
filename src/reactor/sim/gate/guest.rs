//! A client behind whose back servers do what they do: it asks, and listens strictly.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::book::{Asked, Book, body_of_answer, body_of_request, chunked, fill, unchunked};
use crate::reactor::sim::dice::Dice;
use crate::reactor::sim::wire::Wire;

/// Bytes of body that are taken at `/small`.
pub(super) const SMALL_MAX: usize = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Polite,
    HalfCloses,
    Drips,
    NeverReads,
    Slow,
    Resets,
    Leaves,
}

enum Say {
    Bytes(Vec<u8>),
    /// Goes on when it was asked to, or has its answer.
    AwaitContinue {
        answer: usize,
        body: Vec<u8>,
    },
    /// Goes on when that answer has come, and leaves it out if that was no switch.
    AwaitSwitch {
        answer: usize,
        bytes: Vec<u8>,
    },
}

#[derive(Debug)]
struct Due {
    id: u32,
    method: &'static str,
    expects: bool,
    is_http10: bool,
    is_last: bool,
    asks_upgrade: bool,
    is_too_large: bool,
    has_body: bool,
}

/// What may go wrong without anybody here being to blame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    /// Servers may fail.
    pub to_fail: bool,
    /// Connections may end at any answer.
    pub to_end: bool,
    /// There may be no connection to a server for a while.
    pub to_wait: bool,
}

pub(super) struct Guest {
    pub wire: Rc<RefCell<Wire>>,
    pub manner: Manner,
    book: Rc<RefCell<Book>>,
    say: VecDeque<Say>,
    due: VecDeque<Due>,
    got: Vec<u8>,
    pub answers: usize,
    was_asked: bool,
    /// The number of the last answer before which it was asked for a body.
    asked_before: usize,
    is_over: bool,
    may_end: bool,
    /// What was said in another protocol, which comes back.
    tunnel: Option<Vec<u8>>,
    echoed: usize,
    leave: Leave,
    is_slow: bool,
    dice: Dice,
    next_ms: u64,
    pub is_gone: bool,
}

impl Guest {
    pub(super) fn new(dice: &mut Dice, leave: Leave, book: &Rc<RefCell<Book>>) -> Guest {
        use Manner::{Drips, HalfCloses, Leaves, NeverReads, Polite, Resets, Slow};
        let manner = *dice
            .pick(&[Polite, Polite, Polite, Polite, HalfCloses, Drips, NeverReads, Slow, Resets, Leaves]);
        let is_tight = dice.one_in(4);
        let mut guest = Guest {
            wire: Rc::new(RefCell::new(Wire::with_room(
                dice.fork(),
                if is_tight { 50 } else { 2_000 },
                if is_tight { 500 } else { 60_000 },
            ))),
            manner,
            book: Rc::clone(book),
            say: VecDeque::new(),
            due: VecDeque::new(),
            got: Vec::new(),
            answers: 0,
            was_asked: false,
            asked_before: 0,
            is_over: false,
            may_end: false,
            tunnel: None,
            echoed: 0,
            leave,
            is_slow: !matches!(manner, Polite | HalfCloses),
            dice: dice.fork(),
            next_ms: 0,
            is_gone: false,
        };
        let is_small = is_tight || manner == Drips;
        for _ in 0..dice.size(1, 8) {
            guest.plan(dice, is_small);
            if guest.due.back().is_some_and(|due| due.is_last || due.asks_upgrade) {
                break;
            }
        }
        guest
    }

    fn plan(&mut self, dice: &mut Dice, is_small: bool) {
        if dice.one_in(10) {
            return self.plan_upgrade(dice, is_small);
        }
        let method = *dice.pick(&["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE"]);
        let has_body = matches!(method, "POST" | "PUT");
        let most = if is_small { 300 } else { *dice.pick(&[300, 6_000, 100_000]) };
        let body_len = if has_body { dice.size(0, most) } else { 0 };
        let is_http10 = dice.one_in(8);
        let is_chunked = has_body && !is_http10 && dice.one_in(2);
        let expects = has_body && !is_http10 && (is_chunked || body_len > 0) && dice.one_in(4);
        let is_last = dice.one_in(10);
        let path = *dice.pick(&["up", "up", "up", "small"]);
        let asked = Asked { method, body_len, is_chunked, has_body, asks_upgrade: false };
        let id = self.book.borrow_mut().ask(asked);
        let body = body_of_request(id, body_len);
        let (framing, wire) = match (has_body, is_chunked) {
            (false, _) => (String::new(), Vec::new()),
            (true, false) => (format!("Content-Length: {body_len}\r\n"), body),
            (true, true) => {
                let trailers = *dice.pick(&["", "", "X-Sum: 1\r\n"]);
                (String::from("Transfer-Encoding: chunked\r\n"), chunked(dice, &body, trailers))
            }
        };
        let version = if is_http10 { "1.0" } else { "1.1" };
        let connection = match (is_http10, is_last) {
            (true, false) => "Connection: keep-alive\r\n",
            (false, true) => "Connection: close, x-hop\r\nX-Hop: 1\r\n",
            (false, false) if dice.one_in(4) => "Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n",
            _ => "",
        };
        let expect = if expects { "Expect: 100-continue\r\n" } else { "" };
        let head = format!(
            "{method} /{path}?id={id} HTTP/{version}\r\nHost: a.example\r\nX-Id: {id}\r\n\
             {connection}{expect}{framing}\r\n"
        );
        self.say.push_back(Say::Bytes(head.into_bytes()));
        let answer = self.due.len() + 1;
        self.due.push_back(Due {
            id,
            method,
            expects,
            is_http10,
            is_last,
            asks_upgrade: false,
            is_too_large: path == "small" && body_len > SMALL_MAX,
            has_body,
        });
        if !wire.is_empty() {
            self.say.push_back(match expects && dice.one_in(2) {
                true => Say::AwaitContinue { answer, body: wire },
                false => Say::Bytes(wire),
            });
        }
    }

    fn plan_upgrade(&mut self, dice: &mut Dice, is_small: bool) {
        let asked =
            Asked { method: "GET", body_len: 0, is_chunked: false, has_body: false, asks_upgrade: true };
        let id = self.book.borrow_mut().ask(asked);
        let head = format!(
            "GET /up?id={id} HTTP/1.1\r\nHost: a.example\r\nX-Id: {id}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        self.say.push_back(Say::Bytes(head.into_bytes()));
        let len = dice.size(0, if is_small { 300 } else { 60_000 });
        let bytes = fill(&format!("[{id}]"), len);
        self.say.push_back(Say::AwaitSwitch { answer: self.due.len() + 1, bytes });
        self.due.push_back(Due {
            id,
            method: "GET",
            expects: false,
            is_http10: false,
            is_last: false,
            asks_upgrade: true,
            is_too_large: false,
            has_body: false,
        });
    }

    /// Does something, or not. Tells whether it did or could have.
    pub(super) fn act(&mut self, now_ms: u64) -> Result<bool, String> {
        if self.is_gone {
            return Ok(false);
        }
        let could = self.speak(now_ms) | self.wire.borrow().may_arrive();
        if self.is_gone {
            // What it has not read is lost to its own reset.
            return Ok(true);
        }
        if self.dice.one_in(2) {
            let count = self.dice.size(1, 20_000);
            self.wire.borrow_mut().arrive(count);
        }
        Ok(could | self.listen(now_ms)?)
    }

    fn speak(&mut self, now_ms: u64) -> bool {
        if self.manner == Manner::Resets && self.dice.one_in(100) {
            self.wire.borrow_mut().break_off();
            self.is_gone = true;
            return true;
        }
        if self.manner == Manner::Leaves && self.dice.one_in(10) {
            self.say.clear();
        }
        if self.manner == Manner::Drips && now_ms < self.next_ms {
            return false;
        }
        match self.say.pop_front() {
            Some(Say::Bytes(bytes)) => self.utter(bytes, now_ms),
            Some(Say::AwaitContinue { answer, body }) => {
                let (has_answer, is_asked) = (self.answers >= answer, self.asked_before == answer);
                if !has_answer && !is_asked {
                    self.say.push_front(Say::AwaitContinue { answer, body });
                    return false;
                }
                // Answered without being asked: the body is owed no more.
                self.say.push_front(Say::Bytes(if is_asked { body } else { Vec::new() }));
                true
            }
            Some(Say::AwaitSwitch { answer, bytes }) => {
                if self.answers < answer && !self.is_over {
                    self.say.push_front(Say::AwaitSwitch { answer, bytes });
                    return false;
                }
                if self.tunnel.is_some() {
                    self.tunnel = Some(bytes.clone());
                    self.say.push_front(Say::Bytes(bytes));
                }
                true
            }
            None => self.say_end(),
        }
    }

    fn utter(&mut self, mut bytes: Vec<u8>, now_ms: u64) -> bool {
        let count = match self.manner {
            Manner::Drips => 1,
            _ if self.dice.one_in(2) => bytes.len(),
            _ => self.dice.size(1, bytes.len().max(1)),
        };
        let rest = bytes.split_off(count.min(bytes.len()));
        self.wire.borrow_mut().transit.extend(bytes);
        if !rest.is_empty() {
            self.say.push_front(Say::Bytes(rest));
        }
        self.next_ms = now_ms + self.dice.size(1, 400) as u64;
        true
    }

    fn say_end(&mut self) -> bool {
        let mut wire = self.wire.borrow_mut();
        if wire.fin_in_transit {
            return false;
        }
        let is_done = match &self.tunnel {
            Some(said) => self.echoed == said.len(),
            None => self.due.is_empty() || self.is_over,
        };
        wire.fin_in_transit = match self.manner {
            Manner::HalfCloses | Manner::Leaves => true,
            Manner::Polite | Manner::Drips | Manner::Slow => is_done,
            Manner::NeverReads | Manner::Resets => false,
        };
        wire.fin_in_transit
    }

    fn listen(&mut self, now_ms: u64) -> Result<bool, String> {
        let mut could = false;
        let is_idle = self.manner == Manner::Slow && now_ms < self.next_ms;
        if self.manner != Manner::NeverReads && !is_idle && !self.wire.borrow().outbox.is_empty() {
            could = true;
            if self.dice.one_in(2) {
                let count = self.dice.size(1, 60_000);
                let bytes = self.wire.borrow_mut().take(count);
                self.got.extend_from_slice(&bytes);
                self.next_ms = now_ms + self.dice.size(1, 1_500) as u64;
                while self.answer()? {}
            }
        }
        let wire = self.wire.borrow();
        let has_all = wire.outbox.is_empty() || self.manner == Manner::NeverReads;
        if (wire.closed || wire.write_closed) && has_all {
            let (was_reset, was_cut) = (wire.was_reset, wire.was_cut);
            drop(wire);
            self.end(was_reset, was_cut)?;
            self.go();
            return Ok(true);
        }
        Ok(could)
    }

    fn go(&mut self) {
        let mut wire = self.wire.borrow_mut();
        wire.fin_in_transit = true;
        if !wire.closed {
            wire.transit.clear();
            wire.arrive(0);
        }
        self.is_gone = true;
    }

    /// The floor has closed.
    fn end(&mut self, was_reset: bool, was_cut: bool) -> Result<(), String> {
        if let Some(said) = &self.tunnel {
            let is_whole = self.echoed == said.len();
            self.book.borrow_mut().note(if is_whole { "tunnel whole" } else { "tunnel cut" });
            return match is_whole || self.leave.to_fail || self.leave.to_end || self.is_slow {
                true => Ok(()),
                false => Err(format!("a tunnel ended behind {} of {}", self.echoed, said.len())),
            };
        }
        if !was_reset && !self.got.is_empty() {
            self.end_of_open_ended()?;
        }
        let may_fail = self.leave.to_fail || self.is_slow;
        if !self.got.is_empty() {
            self.book.borrow_mut().note("answer cut");
        }
        let is_whole = self.got.is_empty();
        if !(is_whole || may_fail || self.leave.to_end && was_cut) {
            return Err(format!("cut short, reset {was_reset}: {}", shown(&self.got)));
        }
        // Who says that it is done is not waited for without end.
        let may_wait = self.leave.to_wait && self.manner == Manner::HalfCloses;
        let may_end = self.is_over || self.may_end || may_fail || may_wait || self.leave.to_end;
        if !self.due.is_empty() && !may_end {
            return Err(format!("{} answers never came, next {:?}", self.due.len(), self.due.front()));
        }
        Ok(())
    }

    /// To old clients, the end of the connection is the end of an answer of unknown length.
    fn end_of_open_ended(&mut self) -> Result<(), String> {
        let Some(head_len) = memchr::memmem::find(&self.got, b"\r\n\r\n").map(|at| at + 4) else {
            return Ok(());
        };
        let head = Head::read(&self.got[..head_len])?;
        let Some(due) = self.due.front() else { return Ok(()) };
        if head.length.is_some() || head.is_chunked || !due.is_http10 {
            return Ok(());
        }
        let due = self.due.pop_front().expect("looked at");
        let body = self.got.split_off(head_len);
        self.got.clear();
        self.is_over = true;
        self.check(&head, &due, &body)
    }

    /// Reads one answer off the front, if it is there.
    fn answer(&mut self) -> Result<bool, String> {
        if let Some(said) = &self.tunnel {
            let got = std::mem::take(&mut self.got);
            let is_echo = said.get(self.echoed..self.echoed + got.len()) == Some(&got[..]);
            self.echoed += got.len();
            return if is_echo { Ok(false) } else { Err(format!("no echo: {}", shown(&got))) };
        }
        if self.got.is_empty() {
            return Ok(false);
        }
        if self.is_over {
            return Err(format!("bytes behind the last answer: {}", shown(&self.got)));
        }
        let Some(head_len) = memchr::memmem::find(&self.got, b"\r\n\r\n").map(|at| at + 4) else {
            return Ok(false);
        };
        let head = Head::read(&self.got[..head_len])?;
        let Some(due) = self.due.front() else { return Err(format!("an answer to nothing: {head:?}")) };
        if (100..200).contains(&head.status) && head.status != 101 {
            self.interim(&head)?;
            self.got.drain(..head_len);
            return Ok(true);
        }
        let has_body = due.method != "HEAD" && !matches!(head.status, 101 | 204 | 304) || head.status == 408;
        let rest = &self.got[head_len..];
        let (body, len) = match (has_body, head.length, head.is_chunked) {
            (false, _, _) => (Vec::new(), 0),
            (true, Some(length), false) => match rest.get(..length) {
                Some(body) => (body.to_vec(), length),
                None => return Ok(false),
            },
            (true, None, true) if !due.is_http10 => match unchunked(rest)? {
                Some(body) => body,
                None => return Ok(false),
            },
            (true, None, false) if due.is_http10 => return Ok(false),
            _ => return Err(format!("framing: {head:?}")),
        };
        let due = self.due.pop_front().expect("looked at");
        self.got.drain(..head_len + len);
        self.answers += 1;
        self.was_asked = false;
        self.is_over = head.closes;
        self.check(&head, &due, &body)?;
        Ok(true)
    }

    fn interim(&mut self, head: &Head) -> Result<(), String> {
        self.book.borrow_mut().note(if head.status == 100 { "100" } else { "103" });
        let due = &self.due[0];
        match head.status {
            100 if due.expects && !self.was_asked => {
                self.was_asked = true;
                self.asked_before = self.answers + 1;
            }
            102 if !due.is_http10 => {}
            103 if !due.is_http10 && head.hint == Some(due.id) => {}
            _ => return Err(format!("an interim answer {head:?} to {due:?}")),
        }
        Ok(())
    }

    /// Whether that answer may be the answer to that request.
    fn check(&mut self, head: &Head, due: &Due, body: &[u8]) -> Result<(), String> {
        let wrong = |what: &str| {
            let body = shown(&body[..body.len().min(60)]);
            Err(format!("{what}: {head:?} for {due:?}, {body}"))
        };
        self.may_end |= due.has_body;
        let may_close = due.is_last || due.is_http10 || due.has_body || self.leave.to_end || self.is_slow;
        if head.closes && !may_close {
            return wrong("the end of the connection");
        }
        if !head.closes && (due.is_last && head.status != 101) {
            return wrong("no end of the connection");
        }
        let mut book = self.book.borrow_mut();
        book.note(event_of(head));
        let Some(number) = head.answer else {
            let is_allowed = match head.status {
                413 => due.is_too_large,
                408 => self.is_slow,
                // Not before anything has gone wrong anywhere.
                502..=504 if self.is_slow => true,
                502..=504 => self.leave.to_fail && (book.has_erred || self.leave.to_wait),
                _ => false,
            };
            return if is_allowed { Ok(()) } else { wrong("a failure") };
        };
        let said = &book.said[number];
        let is_stray = said.id.is_none() && book.raced.contains(&said.line);
        if said.id != Some(due.id) && !is_stray {
            return wrong(&format!("another's answer, {said:?}"));
        }
        if !said.is_whole && head.status != 101 {
            return wrong(&format!("what is not whole passes for it, {said:?}"));
        }
        if head.status != said.status {
            return wrong(&format!("another status, {said:?}"));
        }
        if due.method != "HEAD" && said.has_body && body != body_of_answer(number, said.body_len) {
            return wrong(&format!("{} bytes, {said:?}", body.len()));
        }
        drop(book);
        if head.status == 101 {
            if !due.asks_upgrade {
                return wrong("a switch that nobody asked for");
            }
            self.is_over = false;
            self.tunnel = Some(Vec::new());
        }
        Ok(())
    }
}

/// What another reader than ours makes of a head.
#[derive(Debug)]
struct Head {
    status: u16,
    length: Option<usize>,
    is_chunked: bool,
    closes: bool,
    answer: Option<usize>,
    hint: Option<u32>,
    /// Somebody answers in place of those who should.
    has_cause: bool,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Head, String> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
            other => return Err(format!("{other:?} of {}", shown(bytes))),
        }
        let one = |name: &str| {
            let mut fields = response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            let first = fields.next().map(|field| String::from_utf8_lossy(field.value).into_owned());
            match fields.next() {
                None => Ok(first),
                Some(_) => Err(format!("{name} twice: {}", shown(bytes))),
            }
        };
        let (length, coding) = (one("content-length")?, one("transfer-encoding")?);
        let has_both = length.is_some() && coding.is_some();
        let has_other = coding.as_ref().is_some_and(|coding| coding != "chunked");
        let is_hop = one("keep-alive")?.is_some() || one("server")?.is_some_and(|name| name == "fake");
        one("date")?;
        if response.version != Some(1) || has_both || has_other || is_hop {
            return Err(format!("malformed: {}", shown(bytes)));
        }
        Ok(Head {
            status: response.code.unwrap_or_default(),
            length: length.map(|text| text.parse().map_err(|_| shown(bytes))).transpose()?,
            is_chunked: coding.is_some(),
            closes: one("connection")?.is_some_and(|option| option == "close"),
            answer: one("x-answer")?.and_then(|text| text.parse().ok()),
            has_cause: one("x-fallback-cause")?.is_some(),
            hint: one("x-hint")?.and_then(|text| text.parse().ok()),
        })
    }
}

/// What is to come about in a world that proves something.
pub(super) const EVENTS: [&str; 18] = [
    "100",
    "103",
    "101",
    "answer",
    "failed answer",
    "fallback",
    "answer of another",
    "408",
    "413",
    "502",
    "503",
    "504",
    "answer cut",
    "tunnel whole",
    "tunnel cut",
    "sent again",
    "raced",
    "line used again",
];

fn event_of(head: &Head) -> &'static str {
    match (head.answer, head.status) {
        (Some(_), 101) => "101",
        (Some(_), 502..=504) => "failed answer",
        (Some(_), _) if head.has_cause => "answer of another",
        (Some(_), _) => "answer",
        (None, _) if head.has_cause => "fallback",
        (None, 408) => "408",
        (None, 413) => "413",
        (None, 502) => "502",
        (None, 503) => "503",
        (None, 504) => "504",
        (None, _) => "another failure",
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(600)].escape_ascii().to_string()
}
