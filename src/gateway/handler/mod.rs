//! What answers requests.

mod builtin;
pub mod files;
mod health;
mod metrics;
mod welcome;

pub use builtin::{Echo, Json, Plaintext};
pub use health::{Alive, Lifecycle, Ready};
pub use metrics::Metrics;
pub use welcome::Welcome;

use crate::http::{MethodSet, Request, Response};

/// Makes an answer, on the reactor: within microseconds and without blocking.
pub trait Handler: Send + Sync + 'static {
    /// The methods it answers; others are refused with `Allow`, and OPTIONS is answered, before it is asked.
    fn methods(&self) -> MethodSet {
        MethodSet::READ
    }

    /// The answer. For HEAD it is the same as for GET: the protocol leaves the body out.
    fn handle(&self, request: &Request<'_>) -> Response;
}
