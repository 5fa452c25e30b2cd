//! Access lines as a reactor writes them: what a line needs, kept until the answer is complete.

use crate::base::clock::Clock;
use crate::config::AccessFormat;
use crate::gateway::access_log::{self, Entry};
use crate::http::{Request, Status};
use crate::observe::log::AccessLines;
use crate::proto::Violation;
use crate::proto::h1::Stamp;
use crate::reactor::stream::Stream;

/// A reactor's hand on the access log.
pub(super) struct Access {
    pub lines: AccessLines,
    pub format: AccessFormat,
}

/// What a line tells about a request whose bytes will be gone when it is written.
#[derive(Default)]
pub(super) struct AccessNote {
    peer: String,
    line: Vec<u8>,
    host: Vec<u8>,
    referer: Vec<u8>,
    agent: Vec<u8>,
}

impl AccessNote {
    pub(super) fn keep<S: Stream>(&mut self, request: &Request<'_>, stream: &S) {
        self.clear();
        self.peer = stream.peer();
        self.line.extend_from_slice(request.line());
        self.host.extend_from_slice(request.host());
        self.referer.extend_from_slice(request.field("referer").unwrap_or_default());
        self.agent.extend_from_slice(request.field("user-agent").unwrap_or_default());
    }

    pub(super) fn clear(&mut self) {
        self.peer.clear();
        for text in [&mut self.line, &mut self.host, &mut self.referer, &mut self.agent] {
            text.clear();
        }
    }
}

impl Access {
    /// A request that was answered while its bytes are still at hand.
    #[inline(never)]
    pub(super) fn write<S: Stream>(
        &mut self,
        request: &Request<'_>,
        status: Status,
        body_bytes: u64,
        stream: &S,
        clock: &Clock,
        stamp: &Stamp,
    ) {
        self.put(&Entry {
            peer: &stream.peer(),
            unix_ms: stamp.second() * 1_000,
            request_line: request.line(),
            host: request.host(),
            status,
            body_bytes,
            referer: request.field("referer").unwrap_or_default(),
            agent: request.field("user-agent").unwrap_or_default(),
            duration_us: clock.precise_ns().saturating_sub(clock.now_ns()) / 1_000,
        });
    }

    /// A request that took longer than its bytes were kept.
    pub(super) fn write_note(
        &mut self,
        note: &AccessNote,
        status: Status,
        body_bytes: u64,
        began_ns: u64,
        clock: &Clock,
        stamp: &Stamp,
    ) {
        self.put(&Entry {
            duration_us: clock.precise_ns().saturating_sub(began_ns) / 1_000,
            body_bytes,
            ..note.entry(status, stamp)
        });
    }

    /// A request that broke a rule; perhaps before anything of it was understood, so its line is what
    /// `bytes` begin with.
    pub(super) fn write_refusal<S: Stream>(
        &mut self,
        violation: Violation,
        bytes: &[u8],
        note: &AccessNote,
        stream: &S,
        stamp: &Stamp,
    ) {
        let entry = note.entry(violation.status(), stamp);
        let request_line = if entry.request_line.is_empty() { first_line(bytes) } else { entry.request_line };
        self.put(&Entry { peer: &stream.peer(), request_line, ..entry });
    }

    fn put(&mut self, entry: &Entry<'_>) {
        access_log::write_line(self.lines.line(), self.format, entry);
    }
}

impl AccessNote {
    fn entry<'a>(&'a self, status: Status, stamp: &Stamp) -> Entry<'a> {
        Entry {
            peer: &self.peer,
            unix_ms: stamp.second() * 1_000,
            request_line: &self.line,
            host: &self.host,
            status,
            body_bytes: 0,
            referer: &self.referer,
            agent: &self.agent,
            duration_us: 0,
        }
    }
}

/// Of a line that was not understood, as much as helps to recognise it.
const LINE_BYTES_MAX: usize = 256;

fn first_line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    &bytes[..end.min(LINE_BYTES_MAX)]
}
