//! What an exchange that is away and those who wait for it agree on: whether it was begun, whether anybody
//! still wants it.
//!
//! One byte, moved only forward: who takes a job and who gives up waiting for it cannot both win.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Nobody has begun it.
const WAITING: u8 = 0;
/// A worker runs it.
const BEGUN: u8 = 1;
/// Nobody wants it any more; whether it was begun stands beside it.
const CANCELLED: u8 = 2;
/// The client has said that it will send no more, as one does that goes; but it may listen still.
const LEAVING: u8 = 4;

/// See the module.
#[derive(Debug, Default)]
pub struct Ticket(AtomicU8);

impl Ticket {
    /// The worker's side: from here on it runs. `false`: nobody wants it, so it is not to be run.
    pub fn begin(&self) -> bool {
        let begun = |state| (state & CANCELLED == 0).then_some(state | BEGUN);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, begun).is_ok()
    }

    /// Nobody wants the answer any more. `true`: it had not been begun and never will be.
    pub fn cancel(&self) -> bool {
        self.0.fetch_or(CANCELLED, Ordering::AcqRel) & (BEGUN | CANCELLED) == 0
    }

    /// The client is probably gone. What was begun may give up; what was not is done all the same, since a
    /// client may close its sending side and wait for the answer.
    pub fn client_leaves(&self) {
        self.0.fetch_or(LEAVING, Ordering::AcqRel);
    }

    /// Gives it up if it still waits. `false`: a worker was faster.
    pub fn withdraw(&self) -> bool {
        let withdrawn = |state| (state & (BEGUN | CANCELLED) == 0).then_some(state | CANCELLED);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, withdrawn).is_ok()
    }

    /// Whether nobody wants the answer any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (CANCELLED | LEAVING) != 0
    }

    /// Whether it is certain that nobody wants the answer: a client that leaves may listen still.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) & CANCELLED != 0
    }

    /// As new, for the next exchange. Only who holds it alone may.
    pub fn renew(&self) {
        self.0.store(WAITING, Ordering::Release);
    }
}

/// A handler's view of a [`Ticket`], to be handed on to whatever it calls.
///
/// ```
/// use myriapod::gateway::Cancel;
///
/// fn count(cancel: &Cancel) -> u64 {
///     (0..1_000).take_while(|_| !cancel.is_raised()).count() as u64
/// }
/// assert_eq!(count(&Cancel::never()), 1_000);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Ticket>);

impl Cancel {
    /// One that nobody raises, for calls outside an exchange.
    #[must_use]
    pub fn never() -> Cancel {
        Cancel::default()
    }

    pub(crate) fn of(ticket: &Arc<Ticket>) -> Cancel {
        Cancel(Arc::clone(ticket))
    }

    /// Whether nobody wants the answer any more: the deadline passed, or the client went.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_and_who_gives_up_cannot_both_win() {
        let taken = Ticket::default();
        assert!(taken.begin() && !taken.withdraw() && !taken.is_cancelled());
        let given_up = Ticket::default();
        assert!(given_up.withdraw() && !given_up.begin() && given_up.is_cancelled());
    }

    #[test]
    fn a_client_that_leaves_may_listen_still() {
        let ticket = Ticket::default();
        ticket.client_leaves();
        assert!(ticket.is_cancelled() && !ticket.is_given_up() && ticket.begin());
        ticket.renew();
        ticket.client_leaves();
        assert!(ticket.withdraw() && !ticket.begin());
    }

    #[test]
    fn one_that_runs_learns_that_nobody_wants_it() {
        let ticket = Arc::new(Ticket::default());
        let cancel = Cancel::of(&ticket);
        assert!(ticket.begin() && !cancel.is_raised());
        assert!(!ticket.cancel(), "it had been begun");
        assert!(cancel.is_raised());
        ticket.renew();
        assert!(ticket.cancel() && !ticket.begin());
    }
}
