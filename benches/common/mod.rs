//! Requests as clients send them, and a connection without a socket: bytes in, bytes out.
//!
//! Shared with `tests/allocations.rs`, so that what is timed is what is counted.
#![allow(dead_code)]

use myriapod::base::buffer::ReadBuffer;
use myriapod::base::write_queue::{Front, WriteQueue};
use myriapod::config::Limits;
use myriapod::gateway::handler::{Json, Plaintext};
use myriapod::gateway::{Decision, Exchange, Gateway, Notes};
use myriapod::http::{HeadIndex, Request};
use myriapod::proto::Progress;
use myriapod::proto::h1::{Machine, Stamp};

/// What `wrk` sends.
pub const WRK: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
/// As [`WRK`], for the other answer.
pub const WRK_JSON: &[u8] = b"GET /json HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
/// As [`WRK`], for what is not there.
pub const WRK_ABSENT: &[u8] = b"GET /absent HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
/// What the TechEmpower benchmarks send.
pub const TECHEMPOWER: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: server:8080\r\n\
    Accept: text/plain,text/html;q=0.9,application/xhtml+xml;q=0.9,application/xml;q=0.8,*/*;q=0.7\r\n\
    Connection: keep-alive\r\n\r\n";
/// What a browser sends.
pub const BROWSER: &[u8] = b"GET /articles/2026/a-thousand-legs?from=front&page=2 HTTP/1.1\r\n\
    Host: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.org/articles/2026/\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b; theme=dark; seen=1764\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-User: ?1\r\n\
    If-None-Match: \"5e15153d-264\"\r\n\
    Priority: u=0, i\r\n\r\n";

/// Each with its name.
pub const HEADS: [(&str, &[u8]); 3] = [("wrk", WRK), ("techempower", TECHEMPOWER), ("browser", BROWSER)];

/// One connection and what a reactor has for it, without the reactor.
pub struct Connection {
    gateway: Gateway,
    notes: Notes,
    limits: Limits,
    machine: Machine,
    input: ReadBuffer,
    output: WriteQueue,
    index: HeadIndex,
    stamp: Stamp,
}

impl Connection {
    pub fn new() -> Connection {
        Connection {
            gateway: Gateway::new().with("/plaintext", Plaintext).with("/json", Json),
            notes: Notes::default(),
            limits: Limits::default(),
            machine: Machine::new(0),
            input: ReadBuffer::with_size(16 * 1024),
            output: WriteQueue::default(),
            index: HeadIndex::default(),
            stamp: Stamp::new(Some("myriapod")),
        }
    }

    /// The second turns: the date is written anew.
    pub fn turn_second(&mut self) {
        self.stamp.set(self.stamp.second() + 1);
    }

    /// Takes in requests without bodies, whole, and shows every answer as it would be sent. Tells how many there were.
    pub fn serve(&mut self, requests: &[u8], mut show: impl FnMut(&[u8])) -> u32 {
        receive(&mut self.input, requests);
        let mut count = 0;
        while let Ok(Progress::Head) = self.machine.receive(&mut self.input, &mut self.index, &self.limits) {
            let request = Request::new(&self.index, self.input.unread());
            match self.gateway.decide(&mut Exchange::new(request, &mut self.notes)) {
                Decision::Fixed(answer) => {
                    self.machine.respond_fixed(answer, true, &mut self.stamp, &mut self.output)
                }
                Decision::Answer(response) => {
                    self.machine.respond(response, true, &mut self.stamp, &mut self.output)
                }
                _ => panic!("not answered at the head"),
            };
            self.input.consume(usize::from(self.index.head_len));
            count += 1;
        }
        while let Front::Bytes { bytes, .. } = self.output.front() {
            show(bytes);
            let len = bytes.len();
            self.output.sent(len);
        }
        count
    }
}

/// Puts bytes where the kernel would.
pub fn receive(input: &mut ReadBuffer, bytes: &[u8]) {
    input.room()[..bytes.len()].copy_from_slice(bytes);
    input.received(bytes.len());
}
