//! How a handler is called, said beside the handler.
//!
//! What is said ends up in the route's [`Terms`] when the server is put together, so it costs nothing when a
//! request comes.

use std::time::Duration;

use crate::gateway::exchange::Exchange;
use crate::gateway::handler::{BodyPlan, Handler, Place};
use crate::gateway::route::{Priority, Terms};
use crate::http::{FixedAnswer, MethodSet, Response};

/// Says how a handler is called; every [`Handler`] can be told. What is said last wins.
///
/// ```
/// use std::time::Duration;
/// use myriapod::gateway::{Exchange, handler::{Handler, Tune}};
///
/// fn report(exchange: &mut Exchange) -> String {
///     format!("{:?} are left", exchange.remaining())
/// }
/// fn takes(_: impl Handler) {}
/// takes(report.on_workers().timeout(Duration::from_secs(5)));
/// takes((|_: &mut Exchange| "now").on_workers().urgent());
/// ```
pub trait Tune: Handler + Sized {
    /// Runs it on a worker thread: it may block, and compute for long.
    fn on_workers(self) -> Tuned<Self> {
        self.tuned(Terms { place: Some(Place::Worker), ..Terms::default() })
    }

    /// Runs it on the reactor, as functions do that say nothing: it promises microseconds and no blocking.
    fn on_reactor(self) -> Tuned<Self> {
        self.tuned(Terms { place: Some(Place::Reactor), ..Terms::default() })
    }

    /// From the complete request to its answer; over it, the client has 504 and
    /// [`Exchange::cancelled`] is true. For handlers on workers: who blocks a reactor cannot be stopped.
    fn timeout(self, time: Duration) -> Tuned<Self> {
        let ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX).clamp(1, TIMEOUT_MS_MAX);
        self.tuned(Terms { request_ms_max: Some(Some(ms)), ..Terms::default() })
    }

    /// It may take as long as it likes, whatever the server's settings say.
    fn no_timeout(self) -> Tuned<Self> {
        self.tuned(Terms { request_ms_max: Some(None), ..Terms::default() })
    }

    /// Bytes of a body that is collected for it. Over it: 413, and it is not called.
    fn body_max(self, bytes: u64) -> Tuned<Self> {
        self.tuned(Terms { body_bytes_max: Some(bytes), ..Terms::default() })
    }

    /// Calls it as soon as the head is there, to read the body as it comes with
    /// [`Exchange::body_reader`]. On a worker, since it waits for the client.
    fn streams_body(self) -> Tuned<Self> {
        let (place, body) = (Some(Place::Worker), Some(BodyPlan::Stream));
        self.tuned(Terms { place, body, ..Terms::default() })
    }

    /// Lets it overtake others that wait for a worker.
    fn urgent(self) -> Tuned<Self> {
        self.tuned(Terms { priority: Priority::High, ..Terms::default() })
    }

    /// Says several things at once.
    fn tuned(self, terms: Terms) -> Tuned<Self> {
        Tuned { handler: self, terms }
    }
}

/// A week: deadlines are kept in 32 bits of milliseconds.
const TIMEOUT_MS_MAX: u32 = 7 * 24 * 3_600_000;

impl<H: Handler> Tune for H {}

/// A handler, and how it is called. See [`Tune`].
#[derive(Clone, Copy, Debug)]
pub struct Tuned<H> {
    handler: H,
    terms: Terms,
}

impl<H: Handler> Handler for Tuned<H> {
    fn methods(&self) -> MethodSet {
        self.handler.methods()
    }

    fn place(&self) -> Place {
        self.handler.place()
    }

    fn body(&self) -> BodyPlan {
        self.handler.body()
    }

    fn terms(&self) -> Terms {
        self.terms.over(self.handler.terms())
    }

    fn fixed(&self) -> Option<FixedAnswer> {
        self.handler.fixed()
    }

    fn handle(&self, exchange: &mut Exchange<'_>) -> Response {
        self.handler.handle(exchange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(_: &mut Exchange) -> &'static str {
        "hello"
    }

    #[test]
    fn what_is_said_adds_up() {
        let handler = hello.on_workers().timeout(Duration::from_millis(250)).body_max(10).urgent();
        let told = Terms {
            place: Some(Place::Worker),
            body: None,
            body_bytes_max: Some(10),
            request_ms_max: Some(Some(250)),
            priority: Priority::High,
        };
        assert_eq!(handler.terms(), told);
        assert_eq!(hello.terms(), Terms::default());
        assert_eq!(hello.streams_body().terms().body, Some(BodyPlan::Stream));
        assert_eq!(hello.streams_body().terms().place, Some(Place::Worker));
        assert_eq!(hello.no_timeout().terms().request_ms_max, Some(None));
    }

    #[test]
    fn what_is_said_last_wins() {
        assert_eq!(hello.on_reactor().on_workers().terms().place, Some(Place::Worker));
    }

    #[test]
    fn a_timeout_is_never_nothing() {
        let ms = |time| hello.timeout(time).terms().request_ms_max;
        assert_eq!(ms(Duration::ZERO), Some(Some(1)));
        assert_eq!(ms(Duration::MAX), Some(Some(TIMEOUT_MS_MAX)));
    }
}
