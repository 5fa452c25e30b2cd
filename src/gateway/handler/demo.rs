//! Endpoints that keep a worker busy on demand: to see the queues at work and to try limits out.

use std::thread;
use std::time::Duration;

use crate::base::clock::Deadline;
use crate::gateway::exchange::Exchange;
use crate::gateway::handler::{Handler, Place};
use crate::http::{Response, Status};

/// `/work?ms=50` sleeps for so long, as who waits for a database does. It wakes up when nobody waits for it
/// any more; `&deaf` has it sleep through.
pub struct Work;

/// `/cpu?us=200` computes for so long.
pub struct Cpu;

/// No request may keep a worker for longer, in milliseconds.
const WORK_MS_MAX: u64 = 600_000;
/// As [`WORK_MS_MAX`], in microseconds.
const CPU_US_MAX: u64 = 10_000_000;
/// How often a sleeper looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(10);

const FIELDS: &str = "Content-Type: text/plain\r\nCache-Control: no-store\r\n";

impl Handler for Work {
    fn place(&self) -> Place {
        Place::Worker
    }

    fn handle(&self, exchange: &mut Exchange<'_>) -> Response {
        let Some(ms) = number(exchange.query(), b"ms=", WORK_MS_MAX) else { return explain("/work?ms=50") };
        let until = Deadline::within(Duration::from_millis(ms));
        let is_deaf = exchange.query().split(|byte| *byte == b'&').any(|part| part == b"deaf");
        loop {
            let left = until.remaining();
            if left == Duration::ZERO || (exchange.cancelled() && !is_deaf) {
                return Response::fixed(Status::OK, FIELDS, b"done\n");
            }
            thread::sleep(left.min(LOOK_EVERY));
        }
    }
}

impl Handler for Cpu {
    fn place(&self) -> Place {
        Place::Worker
    }

    fn handle(&self, exchange: &mut Exchange<'_>) -> Response {
        let Some(us) = number(exchange.query(), b"us=", CPU_US_MAX) else { return explain("/cpu?us=200") };
        let until = Deadline::within(Duration::from_micros(us));
        while until.remaining() > Duration::ZERO && !exchange.cancelled() {
            std::hint::spin_loop();
        }
        Response::fixed(Status::OK, FIELDS, b"done\n")
    }
}

/// The number behind that name in a query.
fn number(query: &[u8], name: &[u8], max: u64) -> Option<u64> {
    let value = query.split(|byte| *byte == b'&').find_map(|part| part.strip_prefix(name))?;
    let number = std::str::from_utf8(value).ok()?.parse().ok()?;
    (number <= max).then_some(number)
}

fn explain(example: &str) -> Response {
    Response::bytes(Status::BAD_REQUEST, "text/plain", format!("say how long, as in {example}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_is_read_from_the_query() {
        assert_eq!(number(b"ms=50", b"ms=", 100), Some(50));
        assert_eq!(number(b"deaf&ms=0", b"ms=", 100), Some(0));
        for mistaken in [&b"ms=101"[..], b"ms=", b"ms=x", b"us=5", b""] {
            assert_eq!(number(mistaken, b"ms=", 100), None);
        }
    }
}
