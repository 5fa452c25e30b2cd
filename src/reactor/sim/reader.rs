//! A client's strict reader: answers in order, one for each request, framed and filled as they must be.

use std::collections::VecDeque;

use memchr::memmem;

use crate::reactor::sim::script::Expected;

pub(super) struct Reader {
    got: Vec<u8>,
    expected: VecDeque<Expected>,
    /// Answers read to their end.
    pub answers: usize,
    /// Whether the answer to come was asked for its body already.
    pub was_asked: bool,
    /// An answer said that it is the last.
    pub is_over: bool,
    /// More of a body may have come than is read over, so that the connection ends behind its answer.
    may_stop: bool,
    /// Every answer that a handler made, or others in its place, leaves by a middleware.
    is_passed: bool,
}

/// Why an answer may be other than expected.
#[derive(Clone, Copy, Default)]
pub(super) struct Leave {
    /// The connection may end at any answer: the server drains, counts requests, or has no buffers.
    pub to_end: bool,
    /// The client is so slow that it may be given up on.
    pub to_give_up: bool,
    /// What was on its way may be lost to a reset.
    pub to_cut: bool,
    /// An answer may end in its middle, without a reset.
    pub to_break: bool,
}

impl Reader {
    pub(super) fn new(expected: VecDeque<Expected>, is_passed: bool) -> Reader {
        Reader {
            got: Vec::new(),
            expected,
            answers: 0,
            was_asked: false,
            is_over: false,
            may_stop: false,
            is_passed,
        }
    }

    /// Whether an answer may come to grief on its way, and take those before it along that were not read.
    pub(super) fn may_break(&self) -> bool {
        self.expected.iter().any(|expected| expected.may_break || expected.is_spoiled)
    }

    /// Whether every answer has come.
    pub(super) fn is_done(&self) -> bool {
        self.expected.is_empty() || self.is_over
    }

    pub(super) fn receive(&mut self, bytes: &[u8], leave: Leave) -> Result<(), String> {
        self.got.extend_from_slice(bytes);
        while self.answer(leave)? {}
        if self.is_over && !self.got.is_empty() {
            return Err(format!("bytes behind the last answer: {:?}", self.got.escape_ascii().to_string()));
        }
        Ok(())
    }

    /// The server has closed; `was_reset`: and not in the way that lets everything arrive.
    pub(super) fn end(&mut self, leave: Leave, was_reset: bool) -> Result<(), String> {
        if !self.got.is_empty() && self.expected.front().is_some_and(|expected| expected.is_open_ended) {
            self.end_of_open_ended(was_reset)?;
        }
        let front = self.expected.front();
        let may_break = front.is_some_and(|expected| expected.may_break || expected.is_spoiled)
            || was_reset && self.may_break();
        let is_whole = self.got.is_empty();
        if !(is_whole || was_reset || leave.to_break || leave.to_give_up || may_break) {
            return Err(format!("cut short: {}", self.got.escape_ascii()));
        }
        let may_end =
            self.is_over || self.may_stop || may_break || leave.to_end || leave.to_give_up || leave.to_cut;
        if !self.expected.is_empty() && !may_end {
            let next = self.expected.front().map(|expected| (expected.status, expected.body.len()));
            return Err(format!("{} answers never came, next {next:?}", self.expected.len()));
        }
        Ok(())
    }

    /// The end of the connection is the end of an answer in HTTP/1.0 whose length was not told.
    fn end_of_open_ended(&mut self, was_reset: bool) -> Result<(), String> {
        let Some(head_len) = memmem::find(&self.got, b"\r\n\r\n").map(|at| at + 4) else { return Ok(()) };
        let has_framing = [&b"\r\nContent-Length: "[..], b"\r\nTransfer-Encoding: "]
            .iter()
            .any(|field| memmem::find(&self.got[..head_len], field).is_some());
        let Some(expected) = self.expected.front() else { return Ok(()) };
        if has_framing || was_reset {
            return Ok(());
        }
        if expected.is_spoiled || self.got[head_len..] != expected.body {
            let got = self.got.len() - head_len;
            return Err(format!("{got} bytes pass for the whole of {}", expected.body.len()));
        }
        self.got.clear();
        self.answers += 1;
        self.expected.pop_front();
        self.is_over = true;
        Ok(())
    }

    /// Reads one answer off the front, if it is there. `false`: it is not complete.
    fn answer(&mut self, leave: Leave) -> Result<bool, String> {
        let Some(head_len) = memmem::find(&self.got, b"\r\n\r\n").map(|at| at + 4) else {
            return Ok(false);
        };
        let head = std::str::from_utf8(&self.got[..head_len]).map_err(|error| error.to_string())?.to_owned();
        let wrong = |what: &str| Err(format!("{what}: {head:?}"));
        let Some(expected) = self.expected.front() else { return wrong("an answer to nothing") };
        if head == "HTTP/1.1 100 Continue\r\n\r\n" {
            if !expected.is_asked || self.was_asked {
                return wrong("asked without need");
            }
            self.was_asked = true;
            self.got.drain(..head_len);
            return Ok(true);
        }
        let status: u16 = head.get(9..12).and_then(|text| text.parse().ok()).unwrap_or_default();
        let field = |name: &str| {
            let mut values = head.lines().filter_map(|line| line.strip_prefix(name));
            (values.next(), values.next().is_some())
        };
        let ((length, length_twice), (coding, _)) = (field("Content-Length: "), field("Transfer-Encoding: "));
        if !head.starts_with("HTTP/1.1 ") || length_twice || (length.is_some() && coding.is_some()) {
            return wrong("malformed");
        }
        let rest = &self.got[head_len..];
        let is_given_up = status == 408 && expected.status != 408;
        let has_body = status != 204 && (is_given_up || !expected.is_head);
        let (body, body_len) = match (has_body, length, coding) {
            (false, _, _) => (Vec::new(), 0),
            (true, Some(length), None) => {
                let length = length.parse().map_err(|_| format!("length of {head:?}"))?;
                let Some(body) = rest.get(..length) else { return Ok(false) };
                (body.to_vec(), length)
            }
            (true, None, Some("chunked")) => match unchunked(rest)? {
                Some(body) => body,
                None => return Ok(false),
            },
            (true, None, None) if expected.is_open_ended => return Ok(false),
            _ => return wrong("no framing"),
        };
        let passes = head.matches("X-Passed: once\r\n").count();
        // What breaks a rule is answered before it has come so far.
        let is_refused = matches!(status, 400 | 408 | 413 | 417 | 501 | 505);
        if passes > 1 || !is_refused && (passes == 1) != self.is_passed {
            return wrong("left by the middleware not once");
        }
        if status == 503 && field("Retry-After: ").0.is_none() {
            return wrong("sent away without a word when to return");
        }
        let ends = field("Connection: ").0 == Some("close");
        if is_given_up {
            if !leave.to_give_up || !ends {
                return wrong("given up on");
            }
        } else if let Err(what) = expected.check(status, &body, length, ends, leave) {
            return wrong(&what);
        }
        let was_read = status == expected.status && !expected.instead.contains(&status);
        self.may_stop |= expected.may_stop && !was_read;
        self.is_over = ends;
        self.answers += 1;
        self.was_asked = false;
        self.expected.pop_front();
        self.got.drain(..head_len + body_len);
        Ok(true)
    }
}

impl Expected {
    fn check(
        &self,
        status: u16,
        body: &[u8],
        length: Option<&str>,
        ends: bool,
        leave: Leave,
    ) -> Result<(), String> {
        if status != self.status || self.instead.contains(&status) {
            let is_known = self.instead.contains(&status) && (status != 200 || self.body == body);
            let may_end = !ends || self.may_end || self.is_last || leave.to_end;
            return match is_known && may_end {
                true => Ok(()),
                false => Err(format!("expected {} or {:?}, ended {ends}", self.status, self.instead)),
            };
        }
        // What an error's body says is nobody's business.
        let is_same = self.is_head || (self.status >= 400 && self.body.is_empty()) || self.body == body;
        if !is_same {
            let (want, got) = (self.body.len(), body.len());
            return Err(format!("expected {} with {want} bytes, got {got}", self.status));
        }
        if self.is_spoiled {
            return Err(String::from("a spoiled body passes for whole"));
        }
        if self.is_head && !self.is_open_ended && length != Some(&*self.body.len().to_string()) {
            return Err(String::from("HEAD without the length"));
        }
        if ends != self.is_last && !(ends && leave.to_end) {
            return Err(String::from("end of connection"));
        }
        Ok(())
    }
}

/// A chunked body and its length on the wire; `None`: it is not complete.
fn unchunked(mut rest: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let whole_len = rest.len();
    let mut body = Vec::new();
    loop {
        let Some(at) = memmem::find(rest, b"\r\n") else { return Ok(None) };
        let digits = std::str::from_utf8(&rest[..at]).map_err(|error| error.to_string())?;
        let size = usize::from_str_radix(digits, 16).map_err(|_| format!("chunk size {digits:?}"))?;
        let Some(chunk) = rest.get(at + 2..at + 2 + size + 2) else { return Ok(None) };
        if &chunk[size..] != b"\r\n" {
            return Err(String::from("chunk without its end"));
        }
        body.extend_from_slice(&chunk[..size]);
        rest = &rest[at + 2 + size + 2..];
        if size == 0 {
            return Ok(Some((body, whole_len - rest.len())));
        }
    }
}
