//! Decisions about a request: who answers it, and what every answer has in common.
//!
//! Pure: no sockets, no threads, no clock. Knows neither how a request came nor how its answer leaves.

pub mod access_log;
pub mod handler;
pub mod route;

use std::panic::{self, AssertUnwindSafe};

use crate::gateway::handler::Handler;
use crate::gateway::handler::files::Files;
use crate::gateway::route::Router;
use crate::http::{Body, Fields, Method, MethodSet, Request, Response, Status};

/// What one kind of listener serves: files first, then endpoints, then 404.
#[derive(Default)]
pub struct Gateway {
    files: Option<Files>,
    router: Router<Endpoint>,
}

/// A resource made by a handler.
struct Endpoint {
    handler: Box<dyn Handler>,
    methods: MethodSet,
}

impl Gateway {
    /// A gateway that answers 404 to everything.
    #[must_use]
    pub fn new() -> Gateway {
        Gateway::default()
    }

    /// Serves these files at `/`, before any endpoint.
    #[must_use]
    pub fn with_files(mut self, files: Files) -> Gateway {
        self.files = Some(files);
        self
    }

    /// Serves an endpoint at a pattern such as `/users/{id}`.
    ///
    /// # Panics
    /// When the pattern is malformed or stands in the way of another: patterns are written by programmers.
    #[must_use]
    pub fn with(mut self, pattern: &'static str, handler: impl Handler) -> Gateway {
        let methods = handler.methods();
        self.router.insert(pattern, Endpoint { handler: Box::new(handler), methods });
        self
    }

    /// The answer to a request, made here and now. `Err`: the handler panicked; its request is answered
    /// 500, and nobody else's is touched.
    ///
    /// # Errors
    /// The answer to give instead.
    #[inline]
    pub fn answer(&self, request: &Request<'_>) -> Result<Response, Response> {
        // A handler is shared by all requests and must stand a panic of one of them: what it keeps is its
        // own to guard, as with any value behind a lock.
        panic::catch_unwind(AssertUnwindSafe(|| self.decide(request)))
            .map_err(|_| Response::plain(Status::INTERNAL_SERVER_ERROR))
    }

    #[inline]
    fn decide(&self, request: &Request<'_>) -> Response {
        // RFC 9110 section 9.1: what nobody here knows is 501. TRACE would reflect credentials (section
        // 9.3.8).
        if matches!(request.method(), Method::Unknown | Method::Trace | Method::Connect) {
            return Response::plain(Status::NOT_IMPLEMENTED);
        }
        let endpoint = self.router.find(request.path_bytes());
        if let Some(answer) = self.files.as_ref().and_then(|files| files.answer(request)) {
            // A file for which there is no descriptor left need not exist: an endpoint of that name, as
            // for health, answers without one.
            if answer.status != Status::SERVICE_UNAVAILABLE || endpoint.is_none() {
                return answer;
            }
        }
        match endpoint {
            Some(endpoint) => endpoint.answer(request),
            // RFC 9110 section 9.3.7: `*` asks about the server as a whole.
            None if request.path_bytes() == b"*" => allowed(Status::NO_CONTENT, MethodSet::READ),
            None => Response::plain(Status::NOT_FOUND),
        }
    }
}

impl Endpoint {
    #[inline]
    fn answer(&self, request: &Request<'_>) -> Response {
        if !self.methods.contains(request.method()) {
            return allowed(Status::METHOD_NOT_ALLOWED, self.methods);
        }
        if request.method() == Method::Options {
            return allowed(Status::NO_CONTENT, self.methods);
        }
        self.handler.handle(request)
    }
}

/// RFC 9110 section 10.2.1.
#[cold]
fn allowed(status: Status, methods: MethodSet) -> Response {
    Response::plain(status).with("Allow", methods.to_string())
}

/// An answer of bytes made here, never to be stored by a cache in between.
fn fresh(content_type: &str, body: Vec<u8>) -> Response {
    let fields = Fields::fixed("Cache-Control: no-store\r\n").with("Content-Type", content_type);
    Response { status: Status::OK, fields, body: Body::Owned(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeadIndex, Span};

    fn status(gateway: &Gateway, method: Method, path: &str) -> Result<Status, Status> {
        let index = HeadIndex { method, path: Span::new(0, path.len()), ..HeadIndex::default() };
        let answer = gateway.answer(&Request::new(&index, path.as_bytes()));
        answer.map(|answer| answer.status).map_err(|answer| answer.status)
    }

    struct Panics;

    impl Handler for Panics {
        fn handle(&self, _: &Request<'_>) -> Response {
            panic!("as it was told to");
        }
    }

    #[test]
    fn methods_are_refused_by_who_knows_them() {
        let gateway = Gateway::new().with("/a", handler::Plaintext);
        assert_eq!(status(&gateway, Method::Get, "/a"), Ok(Status::OK));
        assert_eq!(status(&gateway, Method::Post, "/a"), Ok(Status::METHOD_NOT_ALLOWED));
        assert_eq!(status(&gateway, Method::Options, "/a"), Ok(Status::NO_CONTENT));
        assert_eq!(status(&gateway, Method::Options, "*"), Ok(Status::NO_CONTENT));
        assert_eq!(status(&gateway, Method::Trace, "/a"), Ok(Status::NOT_IMPLEMENTED));
        assert_eq!(status(&gateway, Method::Unknown, "/b"), Ok(Status::NOT_IMPLEMENTED));
        assert_eq!(status(&gateway, Method::Get, "/b"), Ok(Status::NOT_FOUND));
    }

    #[test]
    fn a_panic_costs_one_request() {
        let gateway = Gateway::new().with("/panics", Panics).with("/a", handler::Plaintext);
        assert_eq!(status(&gateway, Method::Get, "/panics"), Err(Status::INTERNAL_SERVER_ERROR));
        assert_eq!(status(&gateway, Method::Get, "/a"), Ok(Status::OK));
    }
}
