//! Lets so many requests of a key be under way at once: 503 beyond.
//!
//! A request is under way from its head until its exchange is over, however it ends: answered, given up, or
//! deserted by its client. One that a worker has is, until the worker returns it. The permit is held by the
//! request's [`Notes`], and comes back when the last copy of them is cleared.

use std::sync::Arc;

use super::Secret;
use super::counts::{Counted, Counts, Seat};
use crate::config::site::{ConcurrencyLimit, KeyOf};
use crate::gateway::Exchange;
use crate::gateway::middleware::{Flow, Middleware};
use crate::http::{Response, Status};

/// See the module.
pub struct Concurrency {
    counts: Arc<Counts>,
    secret: Secret,
    by: KeyOf,
    requests_max: u32,
}

/// The right to be under way.
struct Permit {
    counts: Arc<Counts>,
    seat: Option<Seat>,
}

impl Concurrency {
    /// A limit that counts in that table.
    #[must_use]
    pub fn new(limit: &ConcurrencyLimit, counts: Arc<Counts>, secret: Secret) -> Concurrency {
        Concurrency { counts, secret, by: limit.by.clone(), requests_max: limit.requests }
    }
}

impl Middleware for Concurrency {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        let key = self.secret.key(&self.by, exchange);
        match self.counts.enter(key, self.requests_max) {
            Counted::In(seat) => {
                exchange.notes_mut().hold(Permit { counts: Arc::clone(&self.counts), seat: Some(seat) });
                Flow::On
            }
            Counted::NoRoom => Flow::On,
            Counted::Over => Flow::Answer(refusal()),
        }
    }
}

#[cold]
fn refusal() -> Response {
    // Nobody knows when one of the others ends; a second is what clients can wait at least.
    Response::plain(Status::SERVICE_UNAVAILABLE).with("Retry-After", "1")
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.counts.leave(seat);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Notes;
    use crate::gateway::guard::tests::{Asked, value};

    fn limit(requests: u32) -> Concurrency {
        let limit = ConcurrencyLimit { requests, by: KeyOf::Client, keys_max: 100 };
        Concurrency::new(&limit, Arc::new(Counts::new(limit.keys_max)), Secret::of(1))
    }

    fn enters(limit: &Concurrency, notes: &mut Notes) -> bool {
        Asked::from("192.0.2.1").ask_with(notes, |exchange| matches!(limit.enter(exchange), Flow::On))
    }

    #[test]
    fn a_permit_comes_back_when_the_last_notes_of_a_request_are_cleared() {
        let limit = limit(1);
        let (mut first, mut away, mut second) = (Notes::default(), Notes::default(), Notes::default());
        assert!(enters(&limit, &mut first));
        away.copy_from(&first);
        first.clear();
        assert!(!enters(&limit, &mut second), "it is still with a worker");
        away.clear();
        assert!(enters(&limit, &mut second));
        drop(second);
        assert!(enters(&limit, &mut first), "a connection that is gone needs nothing");
    }

    #[test]
    fn two_limits_hold_a_permit_each() {
        let (one, other) = (limit(1), limit(2));
        let mut notes = Notes::default();
        assert!(enters(&one, &mut notes) && enters(&other, &mut notes));
        assert!(!enters(&one, &mut Notes::default()));
        let mut second = Notes::default();
        assert!(enters(&other, &mut second) && !enters(&other, &mut Notes::default()));
        notes.clear();
        assert!(enters(&one, &mut notes) && enters(&other, &mut notes));
    }

    #[test]
    fn who_is_refused_is_told_to_come_back_and_others_are_not_refused() {
        let limit = limit(1);
        let mut notes = Notes::default();
        assert!(enters(&limit, &mut notes));
        let (_, refused) = Asked::from("192.0.2.1").pass(&limit);
        assert_eq!(refused.status, Status::SERVICE_UNAVAILABLE);
        assert_eq!(value(&refused, "Retry-After"), Some("1"));
        assert_eq!(Asked::from("192.0.2.2").pass(&limit).1.status, Status::OK);
    }
}
