//! What every request of a gateway passes on its way in and every answer on its way out.
//!
//! Two hooks, not an onion: an answer may come back on a later turn, so there is no call stack to return
//! through. What must be remembered in between goes into the [`Notes`].

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
#[derive(Default)]
pub struct Chain(Vec<Box<dyn Middleware>>);

impl Chain {
    /// Puts one behind the others.
    ///
    /// # Panics
    /// Beyond 255 of them.
    pub fn push(&mut self, middleware: impl Middleware) {
        assert!(self.0.len() < usize::from(u8::MAX), "too much middleware");
        self.0.push(Box::new(middleware));
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends a request in. `Some`: one of them has answered.
    pub fn enter(&self, exchange: &mut Exchange<'_>) -> Option<Response> {
        for (number, middleware) in self.0.iter().enumerate() {
            exchange.notes_mut().set_entered(number + 1);
            if let Flow::Answer(response) = middleware.enter(exchange) {
                return Some(response);
            }
        }
        None
    }

    /// Sends an answer out, past those that the request had passed.
    pub fn leave(&self, notes: &Notes, response: &mut Response) {
        for middleware in self.0[..notes.entered()].iter().rev() {
            middleware.leave(notes, response);
        }
    }
}
