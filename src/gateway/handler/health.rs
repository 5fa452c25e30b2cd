//! Whether the process lives, and whether it wants requests: for load balancers and orchestrators.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::gateway::exchange::Exchange;
use crate::gateway::handler::{BodyPlan, Handler};
use crate::http::{FixedAnswer, Response, Status};

const FIELDS: &str = "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n";

const ALIVE: FixedAnswer = FixedAnswer { fields: FIELDS, body: b"ok\n" };

/// What the process is about to do, shared by all reactors.
#[derive(Debug, Default)]
pub struct Lifecycle {
    draining: AtomicBool,
    stuck_workers: Arc<AtomicU32>,
}

impl Lifecycle {
    /// From here on the server is on its way out.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// How many workers are in a handler that does not return; whoever watches them writes it.
    #[must_use]
    pub fn stuck_workers(&self) -> &Arc<AtomicU32> {
        &self.stuck_workers
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
    fn body(&self) -> BodyPlan {
        BodyPlan::Ignore
    }

    fn fixed(&self) -> Option<FixedAnswer> {
        Some(ALIVE)
    }

    fn handle(&self, _: &mut Exchange<'_>) -> Response {
        ALIVE.into()
    }
}

/// 200 until the drain begins, then 503. Says `degraded` while workers are stuck: it serves, but somebody
/// should look.
pub struct Ready(pub Arc<Lifecycle>);

impl Handler for Ready {
    fn body(&self) -> BodyPlan {
        BodyPlan::Ignore
    }

    fn handle(&self, _: &mut Exchange<'_>) -> Response {
        match self.0.is_draining() {
            false if self.0.stuck_workers.load(Ordering::Relaxed) > 0 => {
                Response::fixed(Status::OK, FIELDS, b"degraded: workers are stuck, see the log\n")
            }
            false => Response::fixed(Status::OK, FIELDS, b"ready\n"),
            true => Response::fixed(Status::SERVICE_UNAVAILABLE, FIELDS, b"draining\n"),
        }
    }
}
