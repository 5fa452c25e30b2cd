//! Whether the process lives, and whether it wants requests: for load balancers and orchestrators.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::gateway::handler::Handler;
use crate::http::{Request, Response, Status};

const FIELDS: &str = "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n";

/// What the process is about to do, shared by all reactors.
#[derive(Debug, Default)]
pub struct Lifecycle {
    draining: AtomicBool,
}

impl Lifecycle {
    /// From here on the server is on its way out.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the server is on its way out.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// 200 as long as a reactor turns.
pub struct Alive;

impl Handler for Alive {
    fn handle(&self, _: &Request<'_>) -> Response {
        Response::fixed(Status::OK, FIELDS, b"ok\n")
    }
}

/// 200 until the drain begins, then 503.
pub struct Ready(pub Arc<Lifecycle>);

impl Handler for Ready {
    fn handle(&self, _: &Request<'_>) -> Response {
        match self.0.is_draining() {
            false => Response::fixed(Status::OK, FIELDS, b"ready\n"),
            true => Response::fixed(Status::SERVICE_UNAVAILABLE, FIELDS, b"draining\n"),
        }
    }
}
