//! An exchange that is passed on: what is remembered of it between two steps.
//!
//! ```text
//!  Choosing -> Connecting -> Asking -> Answering -> Over
//!   ^  |  \________________^   |  \--> Tunnel ------^
//!   |  Queued                  |
//!   Resting <------------------+  a try failed, and another is allowed
//! ```
//! Promises: memory is bounded by what was read of one side and not yet taken by the other, a buffer each; a
//! request is sent again only from its first byte.
//! Not here: what is done in a step, see `client::relay`.

mod upload;

use std::sync::Arc;

use crate::base::buffer::ReadBuffer;
use crate::base::clock::Tick;
use crate::gateway::access_log;
use crate::http::Method;
use crate::proto::h1::answer::AnswerReader;
use crate::reactor::epoch::Epoch;
use crate::reactor::lines::LineName;
use upload::Upload;

/// See the module. Reused by one exchange after the other.
pub(super) struct Relay {
    pub stage: Stage,
    /// Whether only the server, or time, can bring it forward.
    pub waits: bool,
    /// Whether more of the request is wanted meanwhile.
    pub reads: bool,
    /// By which kind of listener its client came.
    pub entrance: u8,
    pub route: usize,
    pub cluster: usize,
    /// The server that is asked, while [`is_counted`](Relay::is_counted).
    pub member: usize,
    /// Whether the chooser counts this as under way at the server.
    pub is_counted: bool,
    pub line: Option<LineName>,
    /// Whether the line had carried other requests before.
    pub is_reused: bool,
    /// Whether a line that had gone stale has been forgiven once.
    pub was_stale: bool,
    /// Numbers of the servers that failed this request.
    pub tried: Vec<u32>,
    pub tries: u32,
    /// How often servers were asked.
    pub asked: u32,
    /// What chooses the server, where one key is to meet one server.
    pub key: Option<u64>,
    pub upload: Upload,
    pub reader: AnswerReader,
    pub input: Option<Box<ReadBuffer>>,
    /// Field lines of the answer, while they are made.
    pub fields: Vec<u8>,
    /// Trailer lines of the answer.
    pub trailers: Vec<u8>,
    pub method: Method,
    pub asks_upgrade: bool,
    /// Whether `Host` is the server's name, which is put in when it is known.
    pub names_server: bool,
    /// Whether the client waits to be asked for its body.
    pub awaits_continue: bool,
    /// What either side of a tunnel has said about its end.
    pub has_ended_upstream: bool,
    pub has_client_ended: bool,
    pub has_said_end: bool,
    /// What went wrong last, and what made another upstream answer in place of the first.
    pub trouble: Option<Trouble>,
    pub cause: Option<Trouble>,
    /// What it was decided by. Out of it during a step.
    pub epoch: Option<Arc<Epoch>>,
    pub has_fallen_back: bool,
    /// Whether the answer has a body.
    pub has_body: bool,
    pub is_server_failure: bool,
    /// Bytes of body that may still come.
    pub room: u64,
    /// How long the head of the answer may take from the end of the request, in milliseconds.
    pub head_ms_max: u32,
    pub dues: Dues,
    pub phases: Phases,
}

/// When something is overdue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dues {
    /// What this try waits for.
    pub step: Option<Tick>,
    /// The head of the answer, once the request is whole.
    pub head: Option<Tick>,
    /// The whole answer.
    pub total: Option<Tick>,
    /// A connection has come free.
    pub queue: Option<Tick>,
    /// The client is asked for its body, whatever the server says.
    pub ask: Option<Tick>,
    /// A client that has said that it sends no more is taken for gone.
    pub gone: Option<Tick>,
}

/// When what happened, in nanoseconds; 0: not yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phases {
    pub chosen_ns: u64,
    pub connected_ns: u64,
    pub sent_ns: u64,
    pub first_byte_ns: u64,
}

impl Phases {
    /// How long what took, until now. What was still waited for has the time until then. `is_reused`: the
    /// connection stood before.
    pub(super) fn tell(&self, is_reused: bool, began_ns: u64, now_ns: u64, told: &mut access_log::Phases) {
        let happened = |at_ns: u64| if at_ns > 0 { at_ns } else { now_ns };
        let us = |from_ns: u64, until_ns: u64| until_ns.saturating_sub(from_ns) / 1_000;
        let chosen_ns = happened(self.chosen_ns);
        // Of an earlier try it is older than the choice.
        let stood_ns = match self.connected_ns >= self.chosen_ns {
            true => happened(self.connected_ns),
            false if is_reused => chosen_ns,
            false => now_ns,
        };
        let first_byte_ns = happened(self.first_byte_ns);
        told.queue_us = us(began_ns, chosen_ns);
        told.connect_us = us(chosen_ns, stood_ns);
        told.first_byte_us = us(stood_ns, first_byte_ns);
        told.body_us = us(first_byte_ns, now_ns);
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// A server is to be chosen.
    Choosing,
    /// The next try comes later.
    Resting(Tick),
    /// As many connections as may be are in use.
    Queued,
    /// The connection is under way.
    Connecting,
    /// The request goes out; no head of an answer has come.
    Asking,
    /// The answer has begun, and goes out to the client.
    Answering,
    /// Another protocol is spoken: bytes go both ways as they are.
    Tunnel,
    /// It is done with.
    #[default]
    Over,
}

/// Why a try, or all of them, failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No server may be asked.
    NoServer,
    /// Nothing is left here to connect with: ports, descriptors, memory.
    NoMeans,
    /// Too many wait for a connection.
    QueueFull,
    /// It has waited too long for a connection.
    QueueTimeout,
    /// The server cannot be reached.
    Unreachable,
    /// It did not say whether it can, in time.
    ConnectTimeout,
    /// It did not begin to answer, or to take the request, in time.
    Silent,
    /// The connection broke before an answer.
    Broken,
    /// What it said is no answer.
    Malformed,
}

impl Trouble {
    /// Its name in logs, metrics and `X-Fallback-Cause`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Trouble::NoServer => "no_server",
            Trouble::NoMeans => "no_means",
            Trouble::QueueFull => "queue_full",
            Trouble::QueueTimeout => "queue_timeout",
            Trouble::Unreachable => "unreachable",
            Trouble::ConnectTimeout => "connect_timeout",
            Trouble::Silent => "silent",
            Trouble::Broken => "broken",
            Trouble::Malformed => "malformed",
        }
    }
}

impl Default for Relay {
    fn default() -> Relay {
        Relay {
            stage: Stage::Over,
            waits: false,
            reads: false,
            entrance: 0,
            route: 0,
            cluster: 0,
            member: 0,
            is_counted: false,
            line: None,
            is_reused: false,
            was_stale: false,
            tried: Vec::new(),
            tries: 0,
            asked: 0,
            key: None,
            upload: Upload::default(),
            reader: AnswerReader::new(Method::Get, false),
            input: None,
            fields: Vec::new(),
            trailers: Vec::new(),
            method: Method::Get,
            asks_upgrade: false,
            names_server: false,
            awaits_continue: false,
            has_ended_upstream: false,
            has_client_ended: false,
            has_said_end: false,
            trouble: None,
            cause: None,
            epoch: None,
            has_fallen_back: false,
            has_body: false,
            is_server_failure: false,
            room: 0,
            head_ms_max: 0,
            dues: Dues::default(),
            phases: Phases::default(),
        }
    }
}

impl Relay {
    /// Makes it as new, for another exchange. What was lent to it has been given back.
    pub(super) fn open(&mut self, method: Method, asks_upgrade: bool) {
        debug_assert!(self.line.is_none() && self.input.is_none() && !self.is_counted);
        let (mut tried, mut upload) = (std::mem::take(&mut self.tried), std::mem::take(&mut self.upload));
        let (mut fields, mut trailers) =
            (std::mem::take(&mut self.fields), std::mem::take(&mut self.trailers));
        tried.clear();
        upload.open();
        fields.clear();
        trailers.clear();
        *self = Relay {
            stage: Stage::Choosing,
            method,
            asks_upgrade,
            reader: AnswerReader::new(method, asks_upgrade),
            tried,
            upload,
            fields,
            trailers,
            ..Relay::default()
        };
    }

    /// Makes it ready to ask again.
    pub(super) fn begin_try(&mut self) {
        debug_assert!(self.line.is_none() && !self.is_counted);
        self.upload.rewind();
        self.reader = AnswerReader::new(self.method, self.asks_upgrade);
        self.dues.step = None;
        // Each try may wait for a connection anew.
        self.dues.queue = None;
        self.phases.sent_ns = 0;
    }

    /// When it is to be looked at, whatever happens.
    pub(super) fn next_moment(&self, now: Tick) -> Option<Tick> {
        let resting = match self.stage {
            Stage::Resting(until) => Some(until),
            _ => None,
        };
        let dues = self.dues;
        let queue = dues.queue.filter(|_| self.stage == Stage::Queued);
        let moments = [resting, queue, dues.step, dues.head, dues.total, dues.ask, dues.gone];
        moments.into_iter().flatten().min_by_key(|moment| moment.since(now))
    }

    /// Whether another server could still answer in time.
    pub(super) fn has_time(&self, now: Tick) -> bool {
        let has_passed = |moment: Option<Tick>| moment.is_some_and(|moment| now.has_reached(moment));
        !has_passed(self.dues.head) && !has_passed(self.dues.total)
    }

    /// Whether the client has heard of an answer.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.stage, Stage::Answering | Stage::Tunnel)
    }

    /// Whether the request may be sent again after that: nothing of it can have been acted on, or acting on
    /// it twice is as good as once (RFC 9110 section 9.2.2) and no byte of an answer has come.
    pub(super) fn may_send_again(&self) -> bool {
        let is_idempotent = matches!(
            self.method,
            Method::Get | Method::Head | Method::Options | Method::Put | Method::Delete
        );
        let is_untouched = self.upload.is_untouched();
        self.upload.may_rewind() && (is_untouched || (is_idempotent && !self.reader.has_begun()))
    }
}
