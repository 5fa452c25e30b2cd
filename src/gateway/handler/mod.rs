//! What answers requests.

mod builtin;
mod demo;
pub mod files;
mod health;
mod metrics;
mod welcome;

pub use builtin::{Echo, Json, Plaintext};
pub use demo::{Cpu, Work};
pub use health::{Alive, Lifecycle, Ready};
pub use metrics::Metrics;
pub use welcome::Welcome;

use crate::gateway::answer::IntoResponse;
use crate::gateway::exchange::Exchange;
use crate::http::{MethodSet, Response};

/// Makes an answer.
///
/// Every `Fn(&mut Exchange) -> impl IntoResponse` is one. A closure needs its argument's type written out:
///
/// ```
/// use myriapod::gateway::{Exchange, handler::Handler};
///
/// fn greet(exchange: &mut Exchange) -> String {
///     format!("Hello, {}!", exchange.param("name").unwrap_or("stranger"))
/// }
/// fn takes(_: impl Handler) {}
/// takes(greet);
/// takes(|_: &mut Exchange| "Hello!");
/// ```
pub trait Handler: Send + Sync + 'static {
    /// The methods it answers where its route does not say; others are refused with `Allow`, and OPTIONS is
    /// answered, before it is asked.
    fn methods(&self) -> MethodSet {
        MethodSet::READ
    }

    /// Where it runs.
    fn place(&self) -> Place {
        Place::Reactor
    }

    /// What it wants of a body.
    fn body(&self) -> BodyPlan {
        BodyPlan::Collect
    }

    /// The answer. For HEAD it is the same as for GET: the protocol leaves the body out.
    fn handle(&self, exchange: &mut Exchange<'_>) -> Response;
}

/// Where a handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the reactor, between others: it promises microseconds and no blocking.
    Reactor,
    /// On a worker: it may block and compute for as long as its deadline lets it.
    Worker,
}

/// What a handler wants of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPlan {
    /// Nothing: it answers at the head, and the body is dropped or, for
    /// [`Body::Reflect`](crate::http::Body::Reflect), sent back.
    Ignore,
    /// All of it, within the route's limit, before it is called.
    Collect,
    /// As it comes. Only on workers, since it waits for the client.
    Stream,
}

impl<F, R> Handler for F
where
    F: Fn(&mut Exchange<'_>) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    fn handle(&self, exchange: &mut Exchange<'_>) -> Response {
        self(exchange).into_response()
    }
}
