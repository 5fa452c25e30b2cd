//! Access lines as a reactor writes them: what a line needs, kept until the answer is complete.

use std::net::IpAddr;

use crate::base::clock::Clock;
use crate::config::AccessFormat;
use crate::gateway::access_log::{self, Entry, Passage, Phases};
use crate::gateway::{Arrival, Notes};
use crate::http::{Request, Status};
use crate::observe::log::AccessLines;
use crate::proto::Violation;
use crate::proto::h1::Stamp;
use crate::reactor::ENTRANCE_MAIN;
use crate::reactor::epoch::Epoch;
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
    request_id: String,
    trace_id: Option<u128>,
    way: Way,
}

/// What a site adds to a line, kept likewise.
#[derive(Default)]
pub(super) struct Way {
    pub client: Option<IpAddr>,
    pub route: String,
    pub refused_by: String,
    pub upstream: String,
    pub server: String,
    pub tries: u32,
    pub trouble: &'static str,
    pub fallback: &'static str,
    pub phases: Option<Phases>,
}

/// A line that is written when the answer is out.
#[derive(Default)]
pub(super) struct Due {
    note: AccessNote,
    sent: Option<Sent>,
    began_ns: u64,
    ended_ns: u64,
}

/// What was answered.
pub(super) struct Sent {
    pub status: Status,
    pub body_bytes: u64,
}

impl AccessNote {
    pub(super) fn keep<S: Stream>(&mut self, request: &Request<'_>, notes: &Notes, stream: &S) {
        self.clear();
        self.peer = stream.peer();
        self.line.extend_from_slice(request.line());
        self.host.extend_from_slice(request.host());
        self.referer.extend_from_slice(request.field("referer").unwrap_or_default());
        self.agent.extend_from_slice(request.field("user-agent").unwrap_or_default());
        self.request_id.push_str(notes.request_id());
        self.trace_id = notes.trace().map(|trace| trace.trace_id);
    }

    /// Where what a site adds is kept.
    pub(super) fn way_mut(&mut self) -> &mut Way {
        &mut self.way
    }

    pub(super) fn clear(&mut self) {
        self.way.clear();
        self.peer.clear();
        self.request_id.clear();
        self.trace_id = None;
        for text in [&mut self.line, &mut self.host, &mut self.referer, &mut self.agent] {
            text.clear();
        }
    }
}

impl Way {
    fn passage(&self) -> Option<Passage<'_>> {
        (!self.route.is_empty()).then_some(Passage {
            client: self.client,
            route: &self.route,
            refused_by: &self.refused_by,
            upstream: &self.upstream,
            server: &self.server,
            tries: self.tries,
            trouble: self.trouble,
            fallback: self.fallback,
            phases: self.phases,
        })
    }

    fn clear(&mut self) {
        for text in [&mut self.route, &mut self.refused_by, &mut self.upstream, &mut self.server] {
            text.clear();
        }
        (self.client, self.phases, self.tries) = (None, None, 0);
        (self.trouble, self.fallback) = ("", "");
    }
}

impl Due {
    /// Whether a line is to be written.
    pub(super) fn is_due(&self) -> bool {
        self.sent.is_some()
    }

    /// The answer is whole, and not out yet.
    pub(super) fn set(&mut self, note: &mut AccessNote, sent: Sent, began_ns: u64, ended_ns: u64) {
        debug_assert!(self.sent.is_none(), "a line that was never written");
        std::mem::swap(&mut self.note, note);
        (self.sent, self.began_ns, self.ended_ns) = (Some(sent), began_ns, ended_ns);
    }

    /// The answer is out, as far as it will ever be.
    #[cold]
    #[inline(never)]
    pub(super) fn write(&mut self, access: Option<&mut Access>, clock: &Clock, stamp: &Stamp) {
        let Some(sent) = self.sent.take() else { return };
        if let Some(phases) = &mut self.note.way.phases {
            phases.write_us = clock.precise_ns().saturating_sub(self.ended_ns) / 1_000;
        }
        if let Some(access) = access {
            access.write_note(&self.note, sent, self.began_ns, clock, stamp);
        }
        self.note.clear();
    }
}

/// What a site adds to the line of a request that was answered at once.
pub(super) fn passage_of<'a>(epoch: &'a Epoch, notes: &Notes, arrival: &Arrival) -> Option<Passage<'a>> {
    let route = &epoch.gateway(ENTRANCE_MAIN).site()?.routes()[notes.route()?];
    let refusers = &route.series().refusers;
    let refused_by = notes.refuser().and_then(|number| refusers.get(number)).map_or("", |name| name);
    let client = arrival.client.filter(|_| arrival.is_trusted);
    Some(Passage { client, route: route.name(), refused_by, ..Passage::default() })
}

impl Access {
    /// A request that was answered while its bytes are still at hand.
    #[inline(never)]
    pub(super) fn write<S: Stream>(
        &mut self,
        request: &Request<'_>,
        notes: &Notes,
        sent: Sent,
        passage: Option<Passage<'_>>,
        stream: &S,
        (clock, stamp): (&Clock, &Stamp),
    ) {
        self.put(&Entry {
            passage,
            peer: &stream.peer(),
            unix_ms: stamp.second() * 1_000,
            request_line: request.line(),
            host: request.host(),
            status: sent.status,
            body_bytes: sent.body_bytes,
            referer: request.field("referer").unwrap_or_default(),
            agent: request.field("user-agent").unwrap_or_default(),
            duration_us: clock.precise_ns().saturating_sub(clock.now_ns()) / 1_000,
            request_id: notes.request_id(),
            trace_id: notes.trace().map(|trace| trace.trace_id),
        });
    }

    /// A request that took longer than its bytes were kept.
    pub(super) fn write_note(
        &mut self,
        note: &AccessNote,
        sent: Sent,
        began_ns: u64,
        clock: &Clock,
        stamp: &Stamp,
    ) {
        self.put(&Entry {
            duration_us: clock.precise_ns().saturating_sub(began_ns) / 1_000,
            body_bytes: sent.body_bytes,
            ..note.entry(sent.status, stamp)
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
            request_id: &self.request_id,
            trace_id: self.trace_id,
            passage: self.way.passage(),
        }
    }
}

/// Of a line that was not understood, as much as helps to recognise it.
const LINE_BYTES_MAX: usize = 256;

fn first_line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    &bytes[..end.min(LINE_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slots::Key;
    use crate::base::write_queue::FileRange;
    use crate::config::Limits;
    use crate::gateway::handler::{BodyPlan, Echo, Place};
    use crate::gateway::middleware::{RequestId, Tracing};
    use crate::gateway::route::Terms;
    use crate::gateway::{Exchange, Gateway};
    use crate::http::{BodySource, Method, MethodSet, Piece, Response};
    use crate::observe::Tally;
    use crate::observe::log::{AccessTarget, Level, Log};
    use crate::reactor::client::Client;
    use crate::reactor::floor::{Floor, Means, Watcher};
    use crate::reactor::lines::{NoDialer, UpstreamMeans};
    use crate::reactor::{CloseReason, Dispatching, ENTRANCE_MAIN, Refusal};
    use crate::worker::{Hatch, Job, ReplyDesk, ReplyTo, Workshop};
    use std::io;
    use std::sync::Arc;

    /// A client that has said all it will say, and hears nothing.
    struct Said(Vec<u8>);

    impl Stream for Said {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = into.len().min(self.0.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
        }

        fn write(&mut self, bytes: &[u8], _: bool) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn send_file(&mut self, _: &FileRange) -> io::Result<usize> {
            unreachable!("no files are served here")
        }

        fn close_write(&mut self) {}

        fn reset_on_close(&mut self) {}

        fn outcome(&self) -> io::Result<()> {
            Ok(())
        }

        fn peer(&self) -> String {
            String::from("192.0.2.1")
        }
    }

    struct Blind;

    impl Watcher<Said> for Blind {
        fn watch(&self, _: &Said, _: Key<Client<Said>>, _: bool, _: bool) -> io::Result<()> {
            Ok(())
        }
    }

    struct Once(bool);

    impl BodySource for Once {
        fn next(&mut self) -> Piece {
            if std::mem::replace(&mut self.0, true) { Piece::End } else { Piece::Bytes(b"piece".to_vec()) }
        }
    }

    struct Breaks(bool);

    impl BodySource for Breaks {
        fn next(&mut self) -> Piece {
            if std::mem::replace(&mut self.0, true) { Piece::Broken } else { Piece::Bytes(b"piece".to_vec()) }
        }
    }

    fn gateway() -> Gateway {
        let both = MethodSet::of(&[Method::Get, Method::Post]);
        let inline = Box::new(|_: &mut Exchange| "inline");
        let length = Box::new(|exchange: &mut Exchange| exchange.body().len().to_string());
        let source = Box::new(|_: &mut Exchange| Response::stream(Status::OK, "text/plain", Once(false)));
        let broken = Box::new(|_: &mut Exchange| Response::stream(Status::OK, "text/plain", Breaks(false)));
        let away = Terms { place: Some(Place::Worker), body: Some(BodyPlan::Ignore), ..Terms::default() };
        Gateway::new()
            .with_middleware(RequestId::with_seed(1))
            .with_middleware(Tracing::with_seed(2))
            .with_route(both, "/inline", inline.clone(), Terms::default())
            .with_route(both, "/length", length, Terms::default())
            .with_route(both, "/source", source, Terms::default())
            .with_route(both, "/away", inline, away)
            .with_route(both, "/echo-away", Box::new(Echo), away)
            .with_route(both, "/broken", broken.clone(), Terms::default())
            .with_route(both, "/broken-away", broken, away)
            .with("/echo", Echo)
    }

    struct NoDesk;

    impl ReplyDesk for NoDesk {
        fn complete(&self, _: Box<Job>) -> bool {
            false
        }

        fn room(&self, _: ReplyTo) {}
    }

    /// Work that this thread does itself, when it likes.
    fn shop() -> Arc<Workshop> {
        Arc::new(Workshop::new(vec![Arc::new(NoDesk)], 8, &[]))
    }

    fn means(log: &Log) -> Means {
        Means {
            gateways: Arc::new([gateway(), Gateway::new()]),
            upstream: UpstreamMeans::NONE,
            tally: Arc::new(Tally::new(
                &CloseReason::LABELS,
                &Violation::LABELS,
                &Refusal::LABELS,
                &[""; Method::ALL.len()],
            )),
            limits: Limits::default(),
            clients_max: 4,
            buffers_max: 4,
            buffer_bytes: 4096,
            server_name: None,
            log: log.clone(),
            access_format: AccessFormat::Json,
            dispatching: Dispatching::nowhere(),
            release_memory: || {},
            discard: |_| {},
        }
    }

    /// Status, line, request id and trace of each line that comes of it. Work is done when all is said.
    fn logged(name: &str, shop: Option<&Arc<Workshop>>, said: &[&str]) -> Vec<(u64, String, String, String)> {
        let path = std::env::temp_dir().join(format!("myriapod-access-{}-{name}", std::process::id()));
        let log = Log::start(Level::Error, AccessTarget::open(&path).unwrap()).unwrap();
        let hatch = shop.map(|shop| Hatch::new(shop, 0));
        let dispatching = Dispatching { hatch, out_max: 8, depth_max: 8, ..Dispatching::nowhere() };
        let mut floor =
            Floor::new(Means { dispatching, ..means(&log) }, Clock::scripted(), Box::new(NoDialer));
        for bytes in said {
            floor.admit(Said(bytes.as_bytes().to_vec()), ENTRANCE_MAIN, None);
            while floor.is_busy() {
                floor.serve(&Blind);
            }
        }
        while let Some((mut job, _)) = shop.and_then(|shop| shop.take(0, 0)) {
            job.run_away();
            floor.take_home(job);
            while floor.is_busy() {
                floor.serve(&Blind);
            }
        }
        floor.end_turn();
        assert!(log.stop());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        lines
            .map(|line| {
                let status = line["status"].as_u64().unwrap();
                (status, text(&line, "request"), text(&line, "request_id"), text(&line, "trace_id"))
            })
            .collect()
    }

    fn request(line: &str, id: u128, behind: &str) -> String {
        let trace = format!("00-{id:032x}-00000000000000ff-00");
        format!("{line} HTTP/1.1\r\nHost: a\r\nX-Request-Id: id-{id}\r\nTraceparent: {trace}\r\n{behind}")
    }

    #[test]
    fn every_answer_is_logged_with_its_id_and_trace_however_it_was_made() {
        let said = [
            ("GET /inline", "\r\n", 200),
            ("POST /length", "Content-Length: 3\r\n\r\nabc", 200),
            ("POST /echo", "Content-Length: 3\r\n\r\nabc", 200),
            ("GET /source", "\r\n", 200),
            ("GET /away", "\r\n", 503),
            ("GET /none", "\r\n", 404),
            ("POST /length", "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ];
        let text: String = (1..).zip(said).map(|(id, (line, behind, _))| request(line, id, behind)).collect();
        let lines = logged("every", None, &[&text]);
        assert_eq!(lines.len(), said.len(), "{lines:?}");
        for ((id, (line, _, status)), logged) in (1..).zip(said).zip(lines) {
            let expected = (status, format!("{line} HTTP/1.1"), format!("id-{id}"), format!("{id:032x}"));
            assert_eq!(logged, expected);
        }
    }

    #[test]
    fn a_body_that_a_worker_sends_back_is_logged_with_its_own_id_whoever_came_meanwhile() {
        let echo = request("POST /echo-away", 1, "Content-Length: 3\r\n\r\nabc");
        let lines = logged("echo", Some(&shop()), &[&echo, &request("GET /inline", 2, "\r\n")]);
        let ids: Vec<_> = lines.iter().map(|line| &*line.2).collect();
        assert_eq!(ids, ["id-2", "id-1"]);
    }

    #[test]
    fn an_answer_that_breaks_off_is_logged() {
        for path in ["/broken", "/broken-away"] {
            let lines = logged("broken", Some(&shop()), &[&request(&format!("GET {path}"), 1, "\r\n")]);
            assert_eq!(lines.len(), 1, "{path}: {lines:?}");
            assert_eq!((lines[0].0, &*lines[0].2), (200, "id-1"));
        }
    }

    #[test]
    fn what_no_middleware_has_seen_has_no_name_of_anothers() {
        let good = request("POST /echo", 1, "Content-Length: 3\r\n\r\nabc");
        let lines = logged("none", None, &[&(good.clone() + "nonsense\r\n\r\n"), "GET /a b c\r\n\r\n"]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!((lines[0].0, &*lines[0].2), (200, "id-1"));
        for line in &lines[1..] {
            assert_eq!((line.0, &*line.2, &*line.3), (400, "", ""));
        }
    }
}
