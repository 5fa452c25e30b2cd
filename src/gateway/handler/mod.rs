//! What answers requests.

mod builtin;
mod demo;
pub mod files;
mod health;
mod metrics;
mod tuned;
mod welcome;

pub use builtin::{Echo, Json, Plaintext};
pub use demo::{Cpu, Work};
pub use health::{Alive, Lifecycle, Ready};
pub use metrics::Metrics;
pub use tuned::{Tune, Tuned};
pub use welcome::Welcome;

use crate::gateway::answer::IntoResponse;
use crate::gateway::exchange::Exchange;
use crate::gateway::route::Terms;
use crate::http::{FixedAnswer, MethodSet, Response};

/// Makes an answer.
///
/// Every `Fn(&mut Exchange) -> impl IntoResponse` is one. A closure needs its argument's type written out:
///
/// ```
/// use myriapod::gateway::{Exchange, IntoResponse, handler::Handler};
///
/// fn greet(exchange: &mut Exchange) -> String {
///     format!("Hello, {}!", exchange.param("name").unwrap_or("stranger"))
/// }
/// fn welcome(_: &mut Exchange) -> impl IntoResponse {
///     "Welcome!"
/// }
/// fn takes(_: impl Handler) {}
/// takes(greet);
/// takes(welcome);
/// takes(|_: &mut Exchange| "Hello!");
/// ```
///
/// How one is called, where it runs for example, is said by the methods of [`Tune`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not answer requests",
    note = "a handler is a `fn(&mut Exchange) -> impl IntoResponse`, or a type with `impl Handler`",
    note = "a closure's argument must be written out: `|exchange: &mut Exchange| ...`"
)]
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

    /// How else it is to be called; what is said here wins over [`place`](Handler::place) and
    /// [`body`](Handler::body).
    fn terms(&self) -> Terms {
        Terms::default()
    }

    /// An answer that is always the same, for probes and the like: on a reactor it is given without asking
    /// [`handle`](Handler::handle), which elsewhere has to give the same.
    fn fixed(&self) -> Option<FixedAnswer> {
        None
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

/// A function from `A` to an answer, whose type may borrow from `A`: from edition 2024 on, an
/// `impl IntoResponse` behind an arrow is taken to do so. Implemented by functions only.
pub trait Call<A>: Fn(A) -> Self::Answer {
    /// What it returns.
    type Answer: IntoResponse;
}

impl<A, F, R> Call<A> for F
where
    F: Fn(A) -> R,
    R: IntoResponse,
{
    type Answer = R;
}

impl<F> Handler for F
where
    F: for<'x, 'r> Call<&'x mut Exchange<'r>> + Send + Sync + 'static,
{
    fn handle(&self, exchange: &mut Exchange<'_>) -> Response {
        self(exchange).into_response()
    }
}
