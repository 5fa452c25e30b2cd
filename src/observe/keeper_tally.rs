//! The numbers of the keeper, who looks after upstreams: written by its thread alone, read by anybody.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Counter, Family};

/// See the module.
#[derive(Debug, Default)]
pub struct KeeperTally {
    /// Names that were looked up.
    pub lookups: Counter,
    /// Of them, those that were not found: `myriapod_resolve_failures_total`.
    pub lookup_failures: Counter,
    /// How often a file that is watched has changed.
    pub file_changes: Counter,
    /// Those of servers that are probed now. Locked by a reload and by who reads, never for a request.
    probed: Mutex<Arc<[Arc<ProbeTally>]>>,
}

/// Probes of one server: `myriapod_upstream_probes_total{upstream,server,outcome}`.
#[derive(Debug)]
pub struct ProbeTally {
    /// The upstream's name.
    pub upstream: String,
    /// The server's address.
    pub server: String,
    /// By outcome.
    pub outcomes: Family,
}

impl KeeperTally {
    /// The numbers of all servers that are probed now.
    #[must_use]
    pub fn probed(&self) -> Arc<[Arc<ProbeTally>]> {
        Arc::clone(&self.probed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says whose numbers are shown from now on. A server that stays brings the numbers it has.
    pub fn show(&self, probed: impl IntoIterator<Item = Arc<ProbeTally>>) {
        let probed = probed.into_iter().collect();
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner) = probed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_come_and_go_while_somebody_reads() {
        let tally = KeeperTally::default();
        assert!(tally.probed().is_empty());
        let server = |name: &str| {
            let outcomes = Family::new(&["good"]);
            Arc::new(ProbeTally { upstream: "api".to_owned(), server: name.to_owned(), outcomes })
        };
        let (first, second) = (server("10.0.0.1:80"), server("10.0.0.2:80"));
        tally.show([Arc::clone(&first)]);
        let read = tally.probed();
        first.outcomes.add(0, 3);
        tally.show([first, second]);
        assert_eq!((read.len(), read[0].outcomes.value(0)), (1, 3));
        assert_eq!(tally.probed().len(), 2);
    }
}
