//! What one reactor counts of one server.

use super::Endpoint;
use super::breaker::{Window, local_requests_min};
use super::ejection::Latency;
use super::vitals::Reason;
use crate::config::site::Breaker;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// Whose it is: an id may have been another's.
    pub(super) serial: u64,
    pub(super) under_way: u32,
    /// What it is owed, by turns.
    pub(super) credit: i64,
    /// Failures in a row, as the breaker counts them.
    pub(super) breaker_failures: u32,
    /// Failures in a row, as ejection counts them.
    pub(super) ejection_failures: u32,
    /// Trials that this reactor has under way, of that round of the breaker.
    pub(super) trials: u8,
    pub(super) round: u8,
    /// Ejections it knows of.
    pub(super) ejections: u32,
    pub(super) latency: Latency,
    pub(super) window: Window,
}

impl Slot {
    /// A verdict was spoken since, here or elsewhere: what was counted before it does not count again.
    pub(super) fn forget_what_is_over(&mut self, endpoint: &Endpoint) {
        let round = endpoint.vitals.word().round;
        if self.round != round {
            *self = Slot { round, trials: 0, breaker_failures: 0, window: Window::default(), ..*self };
        }
        let ejections = endpoint.vitals.ejections();
        if self.ejections != ejections {
            *self = Slot { ejections, ejection_failures: 0, latency: Latency::default(), ..*self };
        }
    }

    /// Why its breaker is to open, if it is; after a failure.
    pub(super) fn reason_to_open(&self, breaker: &Breaker, reactors: u32) -> Option<Reason> {
        let requests_min = local_requests_min(breaker.requests_min, reactors);
        if self.breaker_failures >= breaker.failures {
            Some(Reason::FailuresInRow)
        } else if self.window.is_bad(requests_min, breaker.share_percent) {
            Some(Reason::FailureShare)
        } else {
            None
        }
    }
}
