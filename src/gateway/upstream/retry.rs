//! How many retries an upstream's requests may cause: so many in a hundred, over the last ten seconds.
//!
//! A bucket whose tokens wither: each request brings a part of one, and what is not used within ten seconds
//! is gone, so that a quiet hour does not pay for a storm. Besides, all reactors together may make three a
//! second whatever the traffic, or a quiet site could never retry.

use crate::config::site::Retries;

/// See the module. One for each upstream and reactor.
///
/// Invariant: within any ten seconds no more retries are granted than `percent` of the requests that were
/// noted within them and the second before, and the floor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    seconds: [Second; Budget::SECONDS],
    /// The newest second since time began.
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    requests: u32,
    retries: u32,
}

impl Budget {
    const SECONDS: usize = 10;
    /// Retries in ten seconds that all reactors together may make without traffic.
    const FLOOR: u32 = 30;

    pub(super) fn note_request(&mut self, now_ms: u64) {
        self.now(now_ms).requests += 1;
    }

    /// Takes a retry out of it. `0` percent: there is none.
    pub(super) fn take(&mut self, retries: &Retries, reactors: u32, now_ms: u64) -> bool {
        if retries.budget_percent == 0 {
            return false;
        }
        self.now(now_ms);
        let sum = |count: fn(&Second) -> u32| self.seconds.iter().map(|one| u64::from(count(one))).sum();
        let (requests, taken): (u64, u64) = (sum(|one| one.requests), sum(|one| one.retries));
        let floor = u64::from(Budget::FLOOR.div_ceil(reactors.max(1)));
        let is_granted = taken < requests * u64::from(retries.budget_percent) / 100 + floor;
        self.now(now_ms).retries += u32::from(is_granted);
        is_granted
    }

    fn now(&mut self, now_ms: u64) -> &mut Second {
        let place = |second: u64| (second % Budget::SECONDS as u64) as usize;
        let newest = (now_ms / 1_000).max(self.newest);
        let gone = (newest - self.newest).min(Budget::SECONDS as u64);
        (0..gone).for_each(|back| self.seconds[place(newest - back)] = Second::default());
        self.newest = newest;
        &mut self.seconds[place(newest)]
    }
}
