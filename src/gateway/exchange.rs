//! A request on its way through the gateway, as handlers and middleware see it.
//!
//! One view for all places: on a reactor it borrows the connection's buffer, on a worker the buffer that
//! travelled. Knows what belongs to the request: parameters of its path, its body, how long its answer may
//! take, whether anybody still waits for it, and what middleware noted.

use std::io::{self, Read};
use std::net::IpAddr;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Deadline;
use crate::gateway::handler::files::Folders;
use crate::gateway::notes::Notes;
use crate::gateway::problem::Problem;
use crate::gateway::route::{Params, Route};
use crate::gateway::ticket::{Cancel, Ticket};
use crate::http::{Request, Status};

/// See the module. Reads as a [`Request`], so `exchange.path()` and `exchange.field("accept")` work.
pub struct Exchange<'a> {
    request: Request<'a>,
    route: Option<&'a Route>,
    params: Params,
    notes: &'a mut Notes,
    arrival: &'a Arrival,
    folders: Option<&'a Folders>,
    /// What only a request has that was not answered at its head. Apart, since most are.
    errand: Option<Errand<'a>>,
}

/// When and from where a request came. Known where a gateway's routes want to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Who asks: the peer, or whom trusted proxies say they speak for. `None`: a unix socket, or nobody
    /// looked.
    pub client: Option<IpAddr>,
    /// The peer itself.
    pub peer: Option<IpAddr>,
    /// Whether the peer is a trusted proxy, so that what it says of its client is passed on.
    pub is_trusted: bool,
    /// Monotonic time in nanoseconds.
    pub now_ns: u64,
    /// Wall clock, in seconds since 1970.
    pub unix_seconds: u64,
}

impl Arrival {
    /// Of a request that nobody asked about.
    pub const UNKNOWN: Arrival =
        Arrival { client: None, peer: None, is_trusted: false, now_ns: 0, unix_seconds: 0 };
}

/// See [`Exchange::on_errand`].
struct Errand<'a> {
    body: Incoming<'a>,
    deadline: Deadline,
    ticket: &'a Arc<Ticket>,
}

/// What a handler gets of the body.
pub enum Incoming<'a> {
    /// All of it, perhaps nothing.
    Whole(&'a [u8]),
    /// As it comes.
    Stream(&'a mut dyn Read),
}

impl<'a> Deref for Exchange<'a> {
    type Target = Request<'a>;

    fn deref(&self) -> &Request<'a> {
        &self.request
    }
}

impl<'a> Exchange<'a> {
    /// An exchange that nobody has looked at yet.
    #[inline]
    pub fn new(request: Request<'a>, notes: &'a mut Notes) -> Exchange<'a> {
        Exchange {
            request,
            route: None,
            params: Params::NONE,
            notes,
            arrival: &Arrival::UNKNOWN,
            folders: None,
            errand: None,
        }
    }

    /// Says when and from where it came.
    #[must_use]
    pub fn arrived(self, arrival: &'a Arrival) -> Exchange<'a> {
        Exchange { arrival, ..self }
    }

    /// Says where directories are open that its gateway serves.
    #[must_use]
    pub fn beside(self, folders: &'a Folders) -> Exchange<'a> {
        Exchange { folders: Some(folders), ..self }
    }

    /// Where directories are open.
    pub(crate) fn folders(&self) -> Option<&'a Folders> {
        self.folders
    }

    /// Says which route answers it.
    #[inline]
    pub(crate) fn take_route(&mut self, route: &'a Route) {
        self.route = Some(route);
    }

    /// Says what stands for the names in its route's pattern.
    pub(crate) fn take_params(&mut self, params: Params) {
        self.params = params;
    }

    /// Says what stands for the names in the pattern of the site's route.
    pub(crate) fn with_params(self, params: Params) -> Exchange<'a> {
        Exchange { params, ..self }
    }

    /// Gives it its body, and says until when its answer is awaited and whether it still is.
    #[must_use]
    pub fn on_errand(self, body: Incoming<'a>, deadline: Deadline, ticket: &'a Arc<Ticket>) -> Exchange<'a> {
        Exchange { errand: Some(Errand { body, deadline, ticket }), ..self }
    }

    /// What stands for the names in the pattern of its route.
    pub(crate) fn params(&self) -> Params {
        self.params
    }

    /// When and from where it came.
    #[must_use]
    pub fn arrival(&self) -> &'a Arrival {
        self.arrival
    }

    /// The request's head.
    #[must_use]
    pub fn request(&self) -> Request<'a> {
        self.request
    }

    /// The pattern of the route that answers it, as `/users/{id}`; empty where none does.
    #[must_use]
    pub fn pattern(&self) -> &'a str {
        self.route.map_or("", |route| route.pattern())
    }

    /// What stands in the path for `{name}`, decoded.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a str> {
        let place = self.route?.names().position(|known| known == name)?;
        self.params.of(self.request.path(), place)
    }

    /// What stands in the path for `{name}`, as a number or any other type that can be read from text.
    ///
    /// # Errors
    /// 400 when it reads as none; 404 when the pattern has no such name.
    pub fn parse_param<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        let text = self.param(name).ok_or(Status::NOT_FOUND)?;
        text.parse().map_err(|_| {
            let detail = format!("{name} in the path is not what is expected here");
            Problem::new(Status::BAD_REQUEST).detail(detail).with("parameter", name)
        })
    }

    /// The value of the first field of that name, in any case, where it is text.
    #[must_use]
    pub fn field_text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.field(name)?).ok()
    }

    /// The collected body; empty when there is none, or when it is streamed.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.errand {
            Some(Errand { body: Incoming::Whole(bytes), .. }) => bytes,
            _ => &[],
        }
    }

    /// The body as it comes; waits for the client, at most until the deadline. A collected body reads too.
    pub fn body_reader(&mut self) -> BodyReader<'_, 'a> {
        BodyReader(self.errand.as_mut().map(|errand| &mut errand.body))
    }

    /// How long the answer may still take; [`Duration::MAX`] where there is no limit.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline().remaining()
    }

    /// When the answer is due, to be handed on to whatever is called.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.errand.as_ref().map_or(Deadline::NEVER, |errand| errand.deadline)
    }

    /// Whether nobody wants the answer any more: the deadline passed, or the client went. A handler that
    /// takes long looks now and then, and returns whatever it likes.
    ///
    /// A client that only closes its sending side looks like one that goes, and is taken for one, as nginx
    /// and Go do: what the handler returns is sent to it all the same.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.errand.as_ref().is_some_and(|errand| errand.ticket.is_cancelled())
    }

    /// [`cancelled`](Exchange::cancelled) as a value of its own, to be handed on.
    #[must_use]
    pub fn cancel(&self) -> Cancel {
        self.errand.as_ref().map_or_else(Cancel::never, |errand| Cancel::of(errand.ticket))
    }

    /// What middleware noted.
    #[must_use]
    pub fn notes(&self) -> &Notes {
        self.notes
    }

    /// Where middleware notes what it needs when the exchange leaves, and what handlers are to know.
    pub fn notes_mut(&mut self) -> &mut Notes {
        self.notes
    }

    /// The server's shared state of that type, as it was given to `Builder::state`.
    ///
    /// # Panics
    /// When there is none: a program knows what it shares.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(&self) -> &'a T {
        self.find_state().unwrap_or_else(|| panic!("no {} was given as state", std::any::type_name::<T>()))
    }

    /// The server's shared state of that type, if there is any.
    #[must_use]
    pub fn find_state<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.route?.state().of()
    }
}

/// See [`Exchange::body_reader`].
pub struct BodyReader<'r, 'a>(Option<&'r mut Incoming<'a>>);

impl Read for BodyReader<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            None => Ok(0),
            Some(Incoming::Whole(bytes)) => bytes.read(into),
            Some(Incoming::Stream(stream)) => stream.read(into),
        }
    }
}
