//! What every request of a gateway passes on its way in and every answer on its way out.
//!
//! Two hooks, not an onion: an answer may come back on a later turn, so there is no call stack to return
//! through. What must be remembered in between goes into the [`Notes`].
//!
//! Those that most servers want are here, in the order in which they belong: [`RequestId`], so that every
//! answer has one; [`Tracing`]; [`SetFields`]; [`Cors`], before whatever asks for credentials. The access log
//! is none of them: it sees requests that no middleware has seen.
//!
//! ```
//! use myriapod::gateway::middleware::{Flow, Middleware, RequestId, SetFields};
//! use myriapod::gateway::{Exchange, Gateway};
//! use myriapod::http::{Response, Status};
//!
//! /// Lets nobody in who does not know the word.
//! struct Guard(&'static [u8]);
//!
//! impl Middleware for Guard {
//!     fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
//!         match exchange.field("x-word") == Some(self.0) {
//!             true => Flow::On,
//!             false => Flow::Answer(Response::plain(Status::FORBIDDEN)),
//!         }
//!     }
//! }
//!
//! let gateway = Gateway::new()
//!     .with_middleware(RequestId::new())
//!     .with_middleware(SetFields::secure())
//!     .with_middleware(Guard(b"sesame"));
//! ```

mod cors;
mod fields;
mod numbers;
mod request_id;
mod trace;

pub use cors::Cors;
pub(in crate::gateway) use cors::mistake_in as mistake_in_origin;
pub use fields::SetFields;
pub use request_id::RequestId;
pub use trace::Tracing;

use std::sync::Arc;

use crate::gateway::exchange::Exchange;
use crate::gateway::notes::Notes;
use crate::http::Response;

/// Runs on the reactor and must not block.
pub trait Middleware: Send + Sync + 'static {
    /// A request comes in, before its route is known.
    fn enter(&self, _exchange: &mut Exchange<'_>) -> Flow {
        Flow::On
    }

    /// Its answer goes out, whoever made it: a handler, a worker, a deadline, a refusal, another middleware.
    /// Where the client goes first, there is no answer, so a count of requests under way does not belong
    /// here.
    ///
    /// A body that is made as it is sent may be wrapped, but not dropped: where reactors have descriptor
    /// tables of their own, one that a worker made may hold a descriptor that means another file here.
    fn leave(&self, _notes: &Notes, _response: &mut Response) {}
}

/// Where a request goes from a middleware.
#[derive(Debug)]
pub enum Flow {
    /// On its way.
    On,
    /// Back, with this answer.
    Answer(Response),
}

/// Middleware in its order: entered first to last, left last to first, and only those that were entered.
#[derive(Clone, Default)]
pub struct Chain(Vec<Arc<dyn Middleware>>);

impl Chain {
    /// Puts one behind the others.
    ///
    /// # Panics
    /// Beyond 255 of them.
    pub fn push(&mut self, middleware: impl Middleware) {
        assert!(self.0.len() < usize::from(u8::MAX), "too much middleware");
        self.0.push(Arc::new(middleware));
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those, in that order.
    pub(crate) fn of(those: impl Iterator<Item = Arc<dyn Middleware>>) -> Chain {
        Chain(those.collect())
    }

    /// Sends a request in, and has it noted how many it has entered. `Some`: one of them has answered.
    pub fn enter(&self, exchange: &mut Exchange<'_>, note: fn(&mut Notes, usize)) -> Option<Response> {
        for (number, middleware) in self.0.iter().enumerate() {
            note(exchange.notes_mut(), number + 1);
            if let Flow::Answer(response) = middleware.enter(exchange) {
                return Some(response);
            }
        }
        None
    }

    /// Sends an answer out, past as many as the request has entered.
    pub fn leave(&self, entered: usize, notes: &Notes, response: &mut Response) {
        for middleware in self.0.iter().take(entered).rev() {
            middleware.leave(notes, response);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Dispatch;
    use crate::gateway::handler::Plaintext;
    use crate::gateway::{Decision, Gateway};
    use crate::http::{HeadIndex, Method, Request, Span, Status};

    /// A head that was never written by a client.
    pub(super) struct Head<'h> {
        method: Method,
        path: &'h str,
        fields: &'h [(&'h str, &'h str)],
    }

    impl<'h> Head<'h> {
        pub(super) fn get(path: &'h str, fields: &'h [(&'h str, &'h str)]) -> Head<'h> {
            Head { method: Method::Get, path, fields }
        }

        pub(super) fn by(self, method: Method) -> Head<'h> {
            Head { method, ..self }
        }

        fn read<T>(&self, look: impl FnOnce(Request<'_>) -> T) -> T {
            let mut bytes = self.path.to_owned();
            let mut index = HeadIndex { method: self.method, ..HeadIndex::default() };
            index.path = Span::new(0, bytes.len());
            let mut put = |text: &str| {
                bytes.push_str(text);
                Span::new(bytes.len() - text.len(), text.len())
            };
            for (field, (name, value)) in index.fields.iter_mut().zip(self.fields) {
                (field.name, field.value) = (put(name), put(value));
            }
            index.field_count = self.fields.len() as u8;
            look(Request::new(&index, bytes.as_bytes()))
        }

        /// In and out by one middleware, with a 200 in between unless it answers.
        pub(super) fn pass(&self, middleware: &impl Middleware) -> (Notes, Response) {
            let mut notes = Notes::default();
            let flow = self.read(|request| middleware.enter(&mut Exchange::new(request, &mut notes)));
            let mut response = match flow {
                Flow::On => Response::empty(Status::OK),
                Flow::Answer(response) => response,
            };
            middleware.leave(&notes, &mut response);
            (notes, response)
        }
    }

    pub(super) fn text(response: &Response) -> String {
        String::from_utf8(response.fields.lines().concat()).unwrap()
    }

    pub(super) fn value<'f>(response: &'f Response, name: &'f str) -> Option<&'f str> {
        response.fields.named(name).next().map(|value| str::from_utf8(value).unwrap())
    }

    fn with_everything(gateway: Gateway) -> Gateway {
        gateway
            .with_middleware(RequestId::with_seed(1))
            .with_middleware(Tracing::with_seed(2))
            .with_middleware(SetFields::secure())
            .with_middleware(Cors::of(["https://app.example"]))
            .with("/a", Plaintext)
    }

    #[test]
    fn a_deadlines_answer_has_what_a_handlers_answer_has() {
        let gateway = with_everything(Gateway::new().with_dispatch(Dispatch::Queue));
        let fields = [("Origin", "https://app.example"), ("X-Request-Id", "abc"), ("Traceparent", PARENT)];
        let mut notes = Notes::default();
        Head::get("/a", &fields).read(|request| {
            let decision = gateway.decide(&mut Exchange::new(request, &mut notes));
            assert!(matches!(decision, Decision::Defer(_)));
        });
        // The head is gone, the notes stay with the connection, and the reactor's go to the next request.
        let mut kept = Notes::default();
        kept.copy_from(&notes);
        notes.clear();
        let mut response = Response::plain(Status::GATEWAY_TIMEOUT);
        gateway.finish(&kept, &mut response);
        assert_eq!(value(&response, "X-Request-Id"), Some("abc"));
        assert_eq!(value(&response, "Access-Control-Allow-Origin"), Some("https://app.example"));
        assert_eq!(value(&response, "X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(kept.trace().map(|trace| trace.trace_id), Some(0xabc));
    }

    const PARENT: &str = "00-00000000000000000000000000000abc-000000000000001f-01";

    #[test]
    fn a_preflight_is_answered_for_a_path_that_is_not_there_and_by_name() {
        let gateway = with_everything(Gateway::new());
        let fields = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "PUT")];
        let head = Head::get("/nowhere", &fields).by(Method::Options);
        let response = head.read(|request| gateway.answer(request)).unwrap();
        assert_eq!(response.status, Status::NO_CONTENT);
        assert_eq!(value(&response, "Access-Control-Allow-Origin"), Some("https://app.example"));
        assert_eq!(value(&response, "X-Request-Id").map(str::len), Some(20));
    }

    #[test]
    fn nothing_of_one_request_is_said_to_the_next() {
        let gateway = with_everything(Gateway::new());
        let mut notes = Notes::default();
        let mut answer = |fields: &[(&str, &str)]| {
            notes.clear();
            Head::get("/a", fields).read(|request| {
                match gateway.decide(&mut Exchange::new(request, &mut notes)) {
                    Decision::Fixed(answer) => answer.into(),
                    Decision::Answer(response) => response,
                    _ => panic!("answered at its head"),
                }
            })
        };
        answer(&[("Origin", "https://app.example"), ("X-Request-Id", "abc")]);
        let next = answer(&[]);
        assert_ne!(value(&next, "X-Request-Id"), Some("abc"));
        assert_eq!(value(&next, "Access-Control-Allow-Origin"), None);
    }
}
