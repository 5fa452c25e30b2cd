//! One connection's bytes through a machine, cut as told: what comes out and how it ends.
//!
//! Shared by the property tests here and by the fuzz target of the same name. A policy small enough to be obvious
//! stands where a gateway would: bodies of POST go back once they are whole, bodies of PUT as they come, all others
//! are answered before they are read.

use myriapod::base::buffer::ReadBuffer;
use myriapod::base::write_queue::{Front, WriteQueue};
use myriapod::config::Limits;
use myriapod::http::{Body, Fields, Framing, HeadIndex, Method, Response, Status};
use myriapod::proto::h1::{Machine, Stamp};
use myriapod::proto::{Progress, Violation};

/// What came of a connection's bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Everything sent before a refusal, if there was one.
    pub sent: Vec<u8>,
    /// What was sent to refuse.
    pub refusal: Vec<u8>,
    /// Requests whose heads were accepted.
    pub requests: u32,
    /// How it ended.
    pub end: End,
    /// Whether an empty line, which ends any head, brings a refusal or there was one.
    pub is_hopeless: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It would read on.
    Open,
    /// The last answer was given.
    Over,
    /// A rule was broken.
    Refused(Violation),
}

/// Limits small enough for short inputs to meet.
pub fn limits() -> Limits {
    Limits { head_bytes_max: 512, fields_max: 8, body_bytes_max: 2048, ..Limits::default() }
}

/// Feeds the parts one after the other.
pub fn run<'a>(parts: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Outcome {
    let mut line = Line::new(limits);
    for part in parts {
        for part in part.chunks(limits.head_bytes_max as usize) {
            line.feed(part);
            if line.end != End::Open {
                return line.finish();
            }
        }
    }
    line.finish()
}

struct Line<'l> {
    limits: &'l Limits,
    machine: Machine,
    input: ReadBuffer,
    output: WriteQueue,
    index: HeadIndex,
    stamp: Stamp,
    sent: Vec<u8>,
    refusal: Vec<u8>,
    requests: u32,
    held: Option<Vec<u8>>,
    end: End,
}

impl<'l> Line<'l> {
    fn new(limits: &'l Limits) -> Line<'l> {
        Line {
            limits,
            machine: Machine::new(0),
            // The least that the server may be given.
            input: ReadBuffer::with_size(limits.head_bytes_max),
            output: WriteQueue::default(),
            index: HeadIndex::default(),
            stamp: Stamp::new(Some("m")),
            sent: Vec::new(),
            refusal: Vec::new(),
            requests: 0,
            held: None,
            end: End::Open,
        }
    }

    fn feed(&mut self, mut part: &[u8]) {
        while self.end == End::Open {
            let room = self.input.room();
            let count = room.len().min(part.len());
            room[..count].copy_from_slice(&part[..count]);
            self.input.received(count);
            part = &part[count..];
            self.advance();
            if part.is_empty() {
                return;
            }
            assert!(self.end != End::Open || !self.input.is_full(), "starves over a full buffer");
        }
    }

    fn advance(&mut self) {
        loop {
            match self.machine.receive(&mut self.input, &mut self.index, self.limits) {
                Ok(Progress::Starved) => break,
                Ok(Progress::Head) => self.answer(),
                Ok(Progress::Body(count)) => {
                    let bytes = &self.input.unread()[..count];
                    match &mut self.held {
                        Some(held) => held.extend_from_slice(bytes),
                        None => self.machine.more(bytes, &mut self.output),
                    }
                    self.input.consume(count);
                }
                Ok(Progress::Whole) => match self.held.take() {
                    Some(held) => self.respond(Body::Owned(held)),
                    None => self.machine.finish(&mut self.output),
                },
                Ok(Progress::Trailer(_)) => unreachable!("nobody asked for trailers"),
                Ok(Progress::Waiting) => unreachable!("every answer here is made at once"),
                Ok(Progress::Over) => {
                    self.end = End::Over;
                    break;
                }
                Err(violation) => {
                    drain(&mut self.output, &mut self.sent);
                    self.machine.refuse(violation, &mut self.stamp, &mut self.output);
                    drain(&mut self.output, &mut self.refusal);
                    self.end = End::Refused(violation);
                    break;
                }
            }
        }
        drain(&mut self.output, &mut self.sent);
    }

    fn answer(&mut self) {
        self.requests += 1;
        let head_len = usize::from(self.index.head_len);
        match (self.index.framing, self.index.method) {
            (Framing::Length(length), Method::Put) => {
                let fields = Fields::default();
                self.machine.ask_for_body(&mut self.output);
                self.machine.begin(Status::OK, &fields, Some(length), true, &self.stamp, &mut self.output);
            }
            (Framing::Length(_) | Framing::Chunked, Method::Post) => {
                self.held = Some(Vec::new());
                self.machine.ask_for_body(&mut self.output);
            }
            _ => self.respond(Body::Static(b"hello")),
        }
        self.input.consume(head_len);
    }

    fn respond(&mut self, body: Body) {
        let response = Response { body, ..Response::empty(Status::OK) };
        self.machine.respond(response, true, &mut self.stamp, &mut self.output);
    }

    fn finish(mut self) -> Outcome {
        let (sent, refusal) = (self.sent.clone(), self.refusal.clone());
        let (requests, end) = (self.requests, self.end);
        self.feed(b"\r\n\r\n");
        Outcome { sent, refusal, requests, end, is_hopeless: matches!(self.end, End::Refused(_)) }
    }
}

fn drain(output: &mut WriteQueue, into: &mut Vec<u8>) {
    while let Front::Bytes { bytes, .. } = output.front() {
        let count = bytes.len();
        into.extend_from_slice(bytes);
        output.sent(count);
    }
}

/// What must hold between two ways to cut the same bytes.
///
/// Everything accepted is the same to the byte. What breaks a rule may be refused earlier by one than by the other,
/// and then for another reason, since a head has many: but never accepted by one and refused by the other.
pub fn agree(whole: &Outcome, cut: &Outcome) -> Result<(), String> {
    let differ = |what: &str| Err(format!("{what}: whole {whole:?}, cut {cut:?}"));
    if whole.requests != cut.requests || whole.sent != cut.sent {
        return differ("accepted differently");
    }
    match (whole.end, cut.end) {
        // A parser that sees the rest of a broken head at once may see that it is broken before its end has come.
        (End::Refused(_), End::Refused(_)) => Ok(()),
        (End::Refused(_), End::Open) | (End::Open, End::Refused(_))
            if whole.is_hopeless && cut.is_hopeless =>
        {
            Ok(())
        }
        (one, other) if one == other => Ok(()),
        _ => differ("ended differently"),
    }
}
