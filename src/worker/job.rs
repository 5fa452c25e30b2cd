//! A request that has left its connection: what it takes to answer it elsewhere, and what came of it.
//!
//! The same box makes the way there and back, so that nothing is allocated for either: buffer, index and body
//! belong to it and are used again. Knows no connection: [`ReplyTo`] is an address that only a reactor can
//! resolve.

use std::fmt;
use std::sync::Arc;

use crate::base::buffer::ReadBuffer;
use crate::base::clock::Deadline;
use crate::base::guarded::guarded;
use crate::gateway::handler::BodyPlan;
use crate::gateway::route::{Params, Priority, Route};
use crate::gateway::{Exchange, Incoming, Notes, Ticket};
use crate::http::{Body, Framing, HeadIndex, Piece, Request, Response, Source, Status};
use crate::worker::file::FileSource;
use crate::worker::pipe::Pipe;

/// The return address. Two guards: the connection may be gone (`generation`), or alive but already past this
/// exchange (`number`), for example after a 504.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyTo {
    /// Which reactor.
    pub reactor: u32,
    /// Which slot of it.
    pub slot: u32,
    /// Which tenant of the slot.
    pub generation: u32,
    /// Which exchange of the connection.
    pub number: u32,
}

/// A name for the request where nothing better was given, for logs.
impl fmt::Display for ReplyTo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}-{}-{}", self.reactor, self.slot, self.generation, self.number)
    }
}

/// What a request is called in logs: the id that it was given, else its return address.
#[derive(Clone, Copy, Debug)]
pub struct RequestName<'a> {
    /// By a middleware or the client; may be empty.
    pub given: &'a str,
    /// Where its answer goes.
    pub to: ReplyTo,
}

impl fmt::Display for RequestName<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.given.is_empty() { self.to.fmt(out) } else { out.write_str(self.given) }
    }
}

/// See the module.
pub struct Job {
    /// Where the answer goes.
    pub to: ReplyTo,
    /// The head and behind it nothing: what followed it stayed with the connection.
    pub head: ReadBuffer,
    /// Describes `head`.
    pub index: HeadIndex,
    /// The body, as far as it was collected.
    pub body: Vec<u8>,
    /// The body, where it is streamed.
    pub stream: Option<Arc<Pipe>>,
    /// Who answers it.
    pub route: Option<Arc<Route>>,
    /// What stands for the names in the route's pattern.
    pub params: Params,
    /// What middleware noted.
    pub notes: Notes,
    /// Whether it was begun and whether anybody wants it.
    pub ticket: Arc<Ticket>,
    /// When the answer is due.
    pub deadline: Deadline,
    /// When it was handed to the queue, in nanoseconds of the machine's clock.
    pub submitted_ns: u64,
    /// When a worker was done with it, in nanoseconds of the machine's clock.
    pub ended_ns: u64,
    /// What is to be done, or what was done.
    pub errand: Errand,
}

/// What is to be done, or what was done.
#[derive(Debug, Default)]
pub enum Errand {
    /// Nothing: it lies in its pool, or gathers its body.
    #[default]
    None,
    /// Ask the handler.
    Call,
    /// Ask a body for its next piece.
    Pull(Source),
    /// It was cancelled before anybody began it.
    Unrun,
    /// The handler has answered.
    Answered(Response),
    /// The handler has panicked; this is the answer instead.
    Panicked(Response),
    /// The next piece, and the body it comes from unless this was the last.
    Pulled(Piece, Option<Source>),
    /// The body has panicked; there is no more of it.
    Burst,
}

impl Job {
    /// Memory for a body that is kept from one request to the next.
    const BODY_BYTES_KEPT: usize = 64 * 1024;

    /// A job with room for heads of that size.
    #[must_use]
    pub fn with_size(buffer_bytes: u32) -> Job {
        Job {
            to: ReplyTo::default(),
            head: ReadBuffer::with_size(buffer_bytes),
            index: HeadIndex::default(),
            body: Vec::new(),
            stream: None,
            route: None,
            params: Params::NONE,
            notes: Notes::default(),
            ticket: Arc::default(),
            deadline: Deadline::NEVER,
            submitted_ns: 0,
            ended_ns: 0,
            errand: Errand::None,
        }
    }

    /// The request's head.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        Request::new(&self.index, self.head.unread())
    }

    /// The request's name for logs.
    #[must_use]
    pub fn id(&self) -> RequestName<'_> {
        RequestName { given: self.notes.request_id(), to: self.to }
    }

    /// Whether a worker was done with it only when its answer was overdue.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.ended_ns >= self.deadline.ns()
    }

    /// Which jobs are taken first.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.route.as_ref().map_or(Priority::Normal, |route| route.terms().priority)
    }

    /// Whether all there is of the body is here, and not still with the client because nobody asked for it.
    fn has_body(&self) -> bool {
        let plan = self.route.as_ref().map_or(BodyPlan::Ignore, |route| route.body());
        self.index.framing == Framing::None || plan != BodyPlan::Ignore
    }

    /// Does what is to be done, on whatever thread this is. Never panics.
    pub fn run(&mut self) {
        self.errand = match std::mem::take(&mut self.errand) {
            Errand::Call if self.ticket.begin() => self.call(),
            Errand::Call => Errand::Unrun,
            Errand::Pull(source) if self.ticket.begin() => pull(source),
            Errand::Pull(source) => {
                guarded(|| drop(source));
                Errand::Unrun
            }
            done => done,
        };
        let has_body = self.has_body();
        if let Errand::Answered(Response { body: body @ Body::Reflect, .. }) = &mut self.errand
            && has_body
        {
            *body = Body::Owned(std::mem::take(&mut self.body));
        }
    }

    /// [`run`](Job::run) on a worker, whose answer must be able to travel.
    pub fn run_away(&mut self) {
        self.run();
        let Errand::Answered(response) = &mut self.errand else { return };
        response.body = match std::mem::replace(&mut response.body, Body::Empty) {
            // Its descriptor means nothing on another thread: the table there is another one.
            Body::File(range) => Body::Source(Source(Box::new(FileSource::new(range)))),
            body => body,
        };
    }

    fn call(&mut self) -> Errand {
        let Some(route) = &self.route else { return Errand::Unrun };
        let mut reader;
        let body = match &self.stream {
            Some(pipe) => {
                reader = pipe.reader(&self.ticket, self.deadline);
                Incoming::Stream(&mut reader)
            }
            None => Incoming::Whole(&self.body),
        };
        let request = Request::new(&self.index, self.head.unread());
        let exchange = Exchange::new(request, &mut self.notes);
        let mut exchange = exchange.on_errand(body, self.deadline, &self.ticket);
        exchange.take_route(route);
        exchange.take_params(self.params);
        // What a handler shares with others is its own to guard; of this request nothing is used again.
        match guarded(|| route.handler().handle(&mut exchange)) {
            Some(response) => Errand::Answered(response),
            None => Errand::Panicked(Response::plain(Status::INTERNAL_SERVER_ERROR)),
        }
    }

    /// What a worker made and only a worker may drop: it may hold descriptors of the workers' table.
    #[must_use]
    pub fn take_source(&mut self) -> Option<Source> {
        match std::mem::take(&mut self.errand) {
            Errand::Pull(source) | Errand::Pulled(_, Some(source)) => Some(source),
            Errand::Answered(Response { body: Body::Source(source), .. }) => Some(source),
            _ => None,
        }
    }

    /// Forgets the request, for the next one.
    pub fn wipe(&mut self) {
        self.head.clear();
        self.body.clear();
        self.body.shrink_to(Job::BODY_BYTES_KEPT);
        self.stream = None;
        self.route = None;
        self.notes.clear();
        self.deadline = Deadline::NEVER;
        self.ended_ns = 0;
        self.errand = Errand::None;
        // Somebody else may still hold it: a thread of the handler's, that wants to know whether it is
        // wanted.
        match Arc::get_mut(&mut self.ticket) {
            Some(ticket) => ticket.renew(),
            None => self.ticket = Arc::default(),
        }
    }
}

fn pull(mut source: Source) -> Errand {
    let pulled = guarded(move || match source.0.next() {
        Piece::Bytes(bytes) => Errand::Pulled(Piece::Bytes(bytes), Some(source)),
        last => Errand::Pulled(last, None),
    });
    pulled.unwrap_or(Errand::Burst)
}
