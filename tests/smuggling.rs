//! Every case of `tests/corpus/` has one reading, however it is cut on its way, and an upstream behind a gateway has the
//! same.

mod common;

use std::fs;
use std::path::Path;

use common::upstream::{self, Fake};
use common::{Client, Server};
use myriapod::base::buffer::ReadBuffer;
use myriapod::base::write_queue::{Front, WriteQueue};
use myriapod::config::Limits;
use myriapod::gateway::Gateway;
use myriapod::gateway::handler::{Echo, Plaintext};
use myriapod::http::{Body, Framing, HeadIndex, Request, Response};
use myriapod::proto::Progress;
use myriapod::proto::h1::{Machine, Stamp};

/// A case of the corpus.
struct Case {
    name: String,
    statuses: Vec<u16>,
    closed: bool,
    /// The body of the last answer.
    body: Option<Vec<u8>>,
    bytes: Vec<u8>,
    /// Over a socket its verdict depends on time.
    machine_only: bool,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    answers: Vec<u8>,
    closed: bool,
}

fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let files = fs::read_dir(folder).expect("the corpus").flatten().map(|entry| entry.path());
    let texts = files.filter(|path| path.extension().is_some_and(|ext| ext == "txt"));
    let texts = texts.map(|path| fs::read_to_string(path).expect("text"));
    let cases: Vec<Case> =
        texts.flat_map(|text| text.split("\n== ").skip(1).map(case).collect::<Vec<_>>()).collect();
    assert!(cases.len() > 150, "{}", cases.len());
    cases
}

fn case(text: &str) -> Case {
    let mut lines = text.lines();
    let name = lines.next().expect("a name").to_owned();
    let mut case = Case {
        name,
        statuses: Vec::new(),
        closed: false,
        body: None,
        bytes: Vec::new(),
        machine_only: false,
    };
    for line in lines {
        if let Some(verdict) = line.strip_prefix("> ") {
            let words = String::from_utf8(unescaped(verdict)).expect("a verdict");
            case.closed = words.ends_with("closed");
            case.statuses = words.split(' ').filter_map(|word| word.parse().ok()).collect();
        } else if let Some(body) = line.strip_prefix('<') {
            case.body = Some(unescaped(body.trim_start()));
        } else if line.starts_with("! ") {
            case.machine_only = true;
        } else {
            case.bytes.extend(unescaped(line));
        }
    }
    assert!(!case.bytes.is_empty(), "{}", case.name);
    case
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (kind, tail) = rest[at + 1..].split_at(1);
        rest = tail;
        match kind {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "s" => bytes.push(b' '),
            "0" => bytes.push(0),
            "\\" => bytes.push(b'\\'),
            "x" => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).expect("two digits"));
                rest = &rest[2..];
            }
            "{" => {
                let (inner, tail) = rest.split_once('}').expect("an end");
                let (piece, count) = inner.rsplit_once('*').expect("a count");
                bytes.extend(unescaped(piece).repeat(count.parse().expect("a count")));
                rest = tail;
            }
            other => panic!("no such escape: {other} in {text}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// A connection without a socket: the machine, and a gateway of two endpoints.
struct Desk {
    machine: Machine,
    gateway: Gateway,
    stamp: Stamp,
    limits: Limits,
    input: ReadBuffer,
    index: Box<HeadIndex>,
    output: WriteQueue,
    /// The body of a request that will be sent back, and the answer it belongs to.
    held: Option<(Response, Vec<u8>)>,
    outcome: Outcome,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            machine: Machine::new(0),
            gateway: Gateway::new().with("/echo", Echo).with("/plaintext", Plaintext),
            stamp: Stamp::new(Some("myriapod")),
            limits: Limits::default(),
            input: ReadBuffer::with_size(16 * 1024),
            index: Box::default(),
            output: WriteQueue::default(),
            held: None,
            outcome: Outcome { answers: Vec::new(), closed: false },
        }
    }

    fn run<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut desk = Desk::new();
        for part in parts {
            desk.take(part);
        }
        desk.outcome
    }

    fn take(&mut self, mut part: &[u8]) {
        while !part.is_empty() && !self.outcome.closed {
            let room = self.input.room();
            let count = room.len().min(part.len());
            assert!(count > 0, "a machine that starves over a full buffer");
            room[..count].copy_from_slice(&part[..count]);
            self.input.received(count);
            part = &part[count..];
            self.work();
            self.flush();
        }
    }

    fn work(&mut self) {
        loop {
            match self.machine.receive(&mut self.input, &mut self.index, &self.limits) {
                Ok(Progress::Starved | Progress::Waiting) => return,
                Ok(Progress::Over) => return self.outcome.closed = true,
                Ok(Progress::Head) => self.answer(),
                Ok(Progress::Body(count)) => {
                    let (_, held) = self.held.as_mut().expect("a body that was asked for");
                    held.extend_from_slice(&self.input.unread()[..count]);
                    self.input.consume(count);
                }
                Ok(Progress::Trailer(_)) => unreachable!("nobody asked for trailers"),
                Ok(Progress::Whole) => self.reflect(),
                Err(violation) => {
                    self.machine.refuse(violation, &mut self.stamp, &mut self.output);
                    return self.outcome.closed = true;
                }
            }
        }
    }

    fn answer(&mut self) {
        let request = Request::new(&self.index, self.input.unread());
        let response = self.gateway.answer(request).expect("answered at the head");
        if matches!(response.body, Body::Reflect) && request.framing() != Framing::None {
            self.held = Some((response, Vec::new()));
            self.machine.ask_for_body(&mut self.output);
        } else {
            self.machine.respond(response, true, &mut self.stamp, &mut self.output);
        }
        self.input.consume(usize::from(self.index.head_len));
    }

    fn reflect(&mut self) {
        let (response, body) = self.held.take().expect("a body that was asked for");
        let length = Some(body.len() as u64);
        self.machine.begin(response.status, &response.fields, length, true, &self.stamp, &mut self.output);
        self.machine.more(&body, &mut self.output);
        self.machine.finish(&mut self.output);
    }

    fn flush(&mut self) {
        loop {
            let count = match self.output.front() {
                Front::Empty => return,
                Front::Bytes { bytes, .. } => {
                    self.outcome.answers.extend_from_slice(bytes);
                    bytes.len()
                }
                Front::File(_) => panic!("there are no files here"),
            };
            self.output.sent(count);
        }
    }
}

/// The statuses of what was answered, and the last body. Bodies here hold no status line.
fn summary(answers: &[u8]) -> (Vec<u16>, Vec<u8>) {
    let text = String::from_utf8_lossy(answers);
    let statuses = text.split("HTTP/1.1 ").skip(1).map(|rest| rest[..3].parse().expect("a status")).collect();
    let body_at = text.rfind("\r\n\r\n").map_or(0, |at| at + 4);
    (statuses, answers[body_at..].to_vec())
}

fn check(case: &Case, outcome: &Outcome, how: &str) {
    let (statuses, body) = summary(&outcome.answers);
    let answers = String::from_utf8_lossy(&outcome.answers);
    assert_eq!(
        (&statuses, outcome.closed),
        (&case.statuses, case.closed),
        "{} ({how}): {answers}",
        case.name
    );
    if let Some(wanted) = &case.body {
        assert_eq!(&body, wanted, "{} ({how})", case.name);
    }
    let says_so =
        answers.rsplit("HTTP/1.1 ").next().unwrap_or_default().contains("\r\nConnection: close\r\n");
    // Nobody can take back an answer that was sent before its own request turned out malformed.
    let is_late = case.name.contains("that nobody wants");
    assert!(says_so == case.closed || is_late, "{} ({how}): {answers}", case.name);
}

/// Where to cut: everywhere, or for what is very long near its ends and here and there.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (1..length)
        .filter(move |at| length < 2_000 || *at < 200 || length - *at < 200 || *at % (length / 100) == 0)
}

#[test]
fn a_case_that_comes_whole_has_its_verdict() {
    for case in corpus() {
        check(&case, &Desk::run([case.bytes.as_slice()]), "whole");
    }
}

#[test]
fn a_case_that_comes_byte_by_byte_has_the_same_answers() {
    for case in corpus() {
        let whole = Desk::run([case.bytes.as_slice()]);
        let parts = Desk::run(case.bytes.chunks(1));
        assert!(parts == whole, "{}: {}", case.name, String::from_utf8_lossy(&parts.answers));
    }
}

#[test]
fn a_case_cut_anywhere_has_the_same_answers() {
    for case in corpus() {
        let whole = Desk::run([case.bytes.as_slice()]);
        for at in cuts(case.bytes.len()) {
            let (first, second) = case.bytes.split_at(at);
            let cut = Desk::run([first, second]);
            assert!(cut == whole, "{} cut at {at}: {}", case.name, String::from_utf8_lossy(&cut.answers));
        }
    }
}

/// All cases behind an ordinary request, so that nothing depends on being the first.
#[test]
fn a_case_has_the_same_verdict_behind_another_request() {
    let before = b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
    let ahead = Desk::run([before.as_slice()]).answers;
    for case in corpus() {
        let alone = Desk::run([case.bytes.as_slice()]);
        let behind = Desk::run([[before, case.bytes.as_slice()].concat().as_slice()]);
        assert_eq!(behind.answers, [ahead.as_slice(), &alone.answers].concat(), "{}", case.name);
        assert_eq!(behind.closed, alone.closed, "{}", case.name);
    }
}

/// Over a real socket the server gives the answers of the machine.
fn over_the_wire(server: &Server, case: &Case, part_len: usize) -> Outcome {
    let mut client = server.connect();
    let is_sent = case.bytes.chunks(part_len).all(|part| client.try_send(part).is_ok());
    // Who is not told that the connection ends says so himself.
    if !case.closed && is_sent {
        client.end();
    }
    let answers = client.rest().unwrap_or_else(|error| panic!("{}: {error}", case.name));
    Outcome { answers: without_dates(&answers), closed: case.closed }
}

fn without_dates(answers: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answers);
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect::<String>().into_bytes()
}

#[test]
fn the_server_says_what_the_machine_says() {
    let server = Server::start(&[]);
    let base = server.base();
    for case in corpus().into_iter().filter(|case| !case.machine_only) {
        let wanted = without_dates(&Desk::run([case.bytes.as_slice()]).answers);
        for part_len in [case.bytes.len(), case.bytes.len() / 2 + 1, 7] {
            // A megabyte in parts of seven bytes is another test's business. Who goes on sending behind
            // his own end may find the connection reset, which can cost him the answer; in one part all
            // of it is there in time.
            let sends_on = case.name.starts_with("nothing behind") && part_len < case.bytes.len();
            if sends_on || case.bytes.len() / part_len > 1_000 {
                continue;
            }
            let outcome = over_the_wire(&server, &case, part_len);
            check(&case, &outcome, "over the wire");
            assert!(
                outcome.answers == wanted,
                "{}: {}",
                case.name,
                String::from_utf8_lossy(&outcome.answers)
            );
        }
    }
    server.is_back_at(base);
    assert_eq!(Client::get(server.address(), "/plaintext").status, 200);
}

/// Fault 28: what the gateway refuses nobody behind it sees; what it passes on is seen as it was understood, once.
#[test]
fn an_upstream_sees_what_the_gateway_understood() {
    let is_refusal = |status: &u16| matches!(status, 400 | 413 | 414 | 417 | 431 | 501 | 505);
    // Decided by the server's own routes, which a gateway that passes on everything has not.
    let is_by_route = |status: &u16| matches!(status, 404 | 405);
    let cases = corpus().into_iter().filter(|case| !case.machine_only);
    for case in cases.filter(|case| !case.statuses.iter().any(is_by_route)) {
        // The fake reads strictly, and fails the test if anything is framed in another way than it should be.
        let fake = Fake::echoes();
        let gateway = upstream::Gateway::before(&[&fake], "");
        for part_len in [case.bytes.len(), case.bytes.len() / 2 + 1] {
            if case.name.starts_with("nothing behind") && part_len < case.bytes.len() {
                continue;
            }
            let before = fake.seen().len();
            let answers = over_the_wire(&gateway, &case, part_len).answers;
            let (text, statuses) = (String::from_utf8_lossy(&answers), summary(&answers).0);
            let seen = fake.seen().split_off(before);
            let passed_on = text.matches("X-Fake: yes\r\n").count();
            assert_eq!(seen.len(), passed_on, "{}: {text}\n{seen:?}", case.name);
            let refused = |statuses: &[u16]| statuses.iter().filter(|status| is_refusal(status)).count();
            // More where nobody wanted the body, and a server need not look at it: a gateway passes it on.
            assert!(refused(&statuses) >= refused(&case.statuses), "{}: {text}", case.name);
            let last =
                seen.last().filter(|last| last.line().contains(" /echo") && case.statuses.ends_with(&[200]));
            if let (Some(body), Some(last)) = (&case.body, last) {
                assert_eq!(&last.body, body, "{}", case.name);
            }
        }
    }
}
