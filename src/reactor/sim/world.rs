//! What a simulated floor serves, and how: limits, routes, handlers good and bad.

use std::io::Read;
use std::sync::Arc;

use crate::config::{AccessFormat, Dispatch, Limits};
use crate::gateway::handler::{BodyPlan, Echo, Handler, Place, Plaintext};
use crate::gateway::middleware::Middleware;
use crate::gateway::route::{Priority, Terms};
use crate::gateway::{Exchange, Gateway, IntoResponse, Notes};
use crate::http::{BodySource, Method, MethodSet, Piece, Response, Status};
use crate::observe::Tally;
use crate::observe::log::Log;
use crate::proto::Violation;
use crate::reactor::floor::Means;
use crate::reactor::lines::UpstreamMeans;
use crate::reactor::sim::dice::Dice;
use crate::reactor::sim::script::BIG;
use crate::reactor::{CloseReason, Dispatching, Refusal};

/// Bytes of a collected body at `/gather` and `/send`. Over it: 413.
pub(super) const COLLECTED_MAX: usize = 20_000;
/// How long an answer from `/hasty` may take.
const HASTY_MS: u32 = 150;

const METHOD_LABELS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "OTHER"];

/// What visitors find and what they may hear.
#[derive(Clone, Copy)]
pub(super) struct World {
    /// Whether anybody works here.
    pub is_manned: bool,
    pub dispatch: Dispatch,
    pub has_middleware: bool,
    pub queue_ms_max: Option<u32>,
    pub request_ms_max: Option<u32>,
}

impl World {
    /// Half of all worlds have no workers.
    pub(super) fn new(dice: &mut Dice) -> World {
        let is_manned = dice.one_in(2);
        let dispatches = [
            Dispatch::Auto,
            Dispatch::Auto,
            Dispatch::Auto,
            Dispatch::Queue,
            Dispatch::Queue,
            Dispatch::Inline,
        ];
        let dispatch = *dice.pick(&dispatches);
        World {
            is_manned,
            dispatch: if is_manned { dispatch } else { Dispatch::Auto },
            has_middleware: dice.one_in(3),
            queue_ms_max: *dice.pick(&[None, Some(100), Some(1_000)]),
            request_ms_max: *dice.pick(&[None, Some(300), Some(2_000)]),
        }
    }

    /// What may be heard instead of an answer from a worker.
    pub(super) fn failures(&self) -> &'static [u16] {
        if self.request_ms_max.is_some() { &[503, 504] } else { &[503] }
    }

    pub(super) fn gateway(&self) -> Gateway {
        let gateway = Gateway::new().with_dispatch(self.dispatch);
        let gateway = if self.has_middleware { gateway.with_middleware(Stamps) } else { gateway };
        let gateway = gateway.with("/", Plaintext).with("/echo", Echo).with("/big", Big);
        if self.is_manned { self.with_workers(gateway) } else { gateway }
    }

    fn with_workers(&self, gateway: Gateway) -> Gateway {
        let here = Terms::default();
        let away = Terms { place: Some(Place::Worker), ..here };
        let small = Some(COLLECTED_MAX as u64);
        let stream = Terms { body: Some(BodyPlan::Stream), ..here };
        let mut gateway = get(gateway, "/work", away, |_: &mut Exchange| "Hello, World!");
        gateway = get(gateway, "/never", away, |_: &mut Exchange| "at last");
        let hasty = Terms { request_ms_max: Some(Some(HASTY_MS)), ..away };
        gateway = get(gateway, "/hasty", hasty, |_: &mut Exchange| "Hello, World!");
        let urgent = Terms { priority: Priority::High, ..away };
        gateway = get(gateway, "/urgent", urgent, |_: &mut Exchange| "Hello, World!");
        gateway = get(gateway, "/panics/away", away, throw);
        gateway = get(gateway, "/panics/here", here, throw);
        gateway = post(gateway, "/panics/gather", here, throw);
        gateway = post(gateway, "/gather", Terms { body_bytes_max: small, ..here }, back);
        gateway = post(gateway, "/send", Terms { body_bytes_max: small, ..away }, back);
        gateway = post(gateway, "/stream", stream, back);
        gateway = post(gateway, "/early", stream, |_: &mut Exchange| "early");
        for (name, terms) in [("here", here), ("away", away)] {
            for kind in Kind::ALL {
                let path = format!("/{name}/{}", kind.name());
                gateway = get(gateway, &path, terms, move |_: &mut Exchange| kind.answer(true));
            }
        }
        gateway
    }
}

pub(super) fn get<R: IntoResponse>(
    gateway: Gateway,
    path: &str,
    terms: Terms,
    handler: impl Fn(&mut Exchange<'_>) -> R + Send + Sync + 'static,
) -> Gateway {
    gateway.with_route(MethodSet::READ, path, Box::new(handler), terms)
}

pub(super) fn post<R: IntoResponse>(
    gateway: Gateway,
    path: &str,
    terms: Terms,
    handler: impl Fn(&mut Exchange<'_>) -> R + Send + Sync + 'static,
) -> Gateway {
    gateway.with_route(MethodSet::of(&[Method::Post]), path, Box::new(handler), terms)
}

/// Panics without the noise of one.
pub(super) fn throw(_: &mut Exchange<'_>) -> Response {
    std::panic::resume_unwind(Box::new("as told"))
}

/// The body, read as it comes or gathered.
pub(super) fn back(exchange: &mut Exchange<'_>) -> Response {
    let mut body = Vec::new();
    match exchange.body_reader().read_to_end(&mut body) {
        Ok(_) => Response::bytes(Status::OK, "text/plain", body),
        Err(_) => Response::plain(Status::FORBIDDEN),
    }
}

/// A body that takes several rounds to send.
pub(super) struct Big;

impl Handler for Big {
    fn handle(&self, _: &mut Exchange<'_>) -> Response {
        Response::fixed(Status::OK, "", BIG)
    }
}

/// Leaves one trace on each answer that passes.
struct Stamps;

impl Middleware for Stamps {
    fn leave(&self, _: &Notes, response: &mut Response) {
        response.fields.push("X-Passed", "once");
    }
}

/// How a body that is made as it is sent comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole, without telling its length before.
    Flow,
    /// Whole, and as long as it said.
    Sized,
    /// It has no bytes, and says so.
    Nothing,
    /// More than may be queued.
    Flood,
    /// It breaks after a piece.
    Breaks,
    /// It is shorter than it said.
    Short,
    /// It is longer than it said.
    Long,
    /// It panics after a piece.
    Throws,
}

impl Kind {
    pub(super) const ALL: [Kind; 8] = [
        Kind::Flow,
        Kind::Sized,
        Kind::Nothing,
        Kind::Flood,
        Kind::Breaks,
        Kind::Short,
        Kind::Long,
        Kind::Throws,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Flow => "flow",
            Kind::Sized => "sized",
            Kind::Nothing => "nothing",
            Kind::Flood => "flood",
            Kind::Breaks => "breaks",
            Kind::Short => "short",
            Kind::Long => "long",
            Kind::Throws => "throws",
        }
    }

    /// Pieces of so many bytes.
    fn pieces(self) -> &'static [usize] {
        match self {
            Kind::Flow | Kind::Sized | Kind::Short | Kind::Long => &[10, 3_000, 1],
            Kind::Nothing => &[],
            Kind::Flood => &[30_000; 6],
            Kind::Breaks | Kind::Throws => &[10, 500],
        }
    }

    /// What comes out, unless it is spoiled.
    pub(super) fn body(self) -> Vec<u8> {
        vec![b'f'; self.pieces().iter().sum()]
    }

    pub(super) fn len(self) -> Option<u64> {
        let len = self.pieces().iter().sum::<usize>() as u64;
        match self {
            Kind::Sized | Kind::Nothing => Some(len),
            Kind::Short => Some(len + 1),
            Kind::Long => Some(15),
            Kind::Flow | Kind::Flood | Kind::Breaks | Kind::Throws => None,
        }
    }

    pub(super) fn is_spoiled(self) -> bool {
        matches!(self, Kind::Breaks | Kind::Short | Kind::Long | Kind::Throws)
    }

    /// `may_pause`: with a piece in it that is empty.
    pub(super) fn answer(self, may_pause: bool) -> Response {
        Response::stream(Status::OK, "text/plain", Flow { kind: self, given: 0, may_pause })
    }
}

struct Flow {
    kind: Kind,
    given: usize,
    may_pause: bool,
}

impl BodySource for Flow {
    fn next(&mut self) -> Piece {
        if self.given > 0 && std::mem::take(&mut self.may_pause) {
            return Piece::Bytes(Vec::new());
        }
        let piece = self.kind.pieces().get(self.given);
        self.given += 1;
        match (piece, self.kind) {
            (Some(bytes), _) => Piece::Bytes(vec![b'f'; *bytes]),
            (None, Kind::Breaks) => Piece::Broken,
            (None, Kind::Throws) => std::panic::resume_unwind(Box::new("as told")),
            (None, _) => Piece::End,
        }
    }

    fn len(&self) -> Option<u64> {
        self.kind.len()
    }
}

pub(super) fn limits(dice: &mut Dice, requests_max: u32) -> Limits {
    Limits {
        head_bytes_max: 1024,
        body_bytes_max: 500_000,
        head_ms_max: 3_000,
        body_ms_max: 3_000,
        idle_ms_max: 5_000,
        write_ms_max: 3_000,
        linger_ms_max: 500,
        requests_max,
        output_bytes_high: *dice.pick(&[1_000, 16 * 1024, 64 * 1024]),
        requests_per_turn: *dice.pick(&[1, 3, 32]),
        read_bytes_per_turn: *dice.pick(&[2_000, 64 * 1024]),
        ..Limits::default()
    }
}

pub(super) fn means(
    gateway: Gateway,
    limits: Limits,
    clients_max: u32,
    buffers_max: u32,
    buffer_bytes: u32,
) -> Means {
    Means {
        upstream: UpstreamMeans::NONE,
        gateways: Arc::new([gateway, Gateway::new()]),
        tally: Arc::new(Tally::new(
            &CloseReason::LABELS,
            &Violation::LABELS,
            &Refusal::LABELS,
            &METHOD_LABELS,
        )),
        limits,
        clients_max,
        buffers_max,
        buffer_bytes,
        server_name: Some(String::from("sim")),
        log: Log::silent(),
        access_format: AccessFormat::Combined,
        dispatching: Dispatching::nowhere(),
        release_memory: || {},
        discard: |_| {},
    }
}
