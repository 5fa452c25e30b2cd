//! What the keeper of upstreams counts: probes, look-ups, files that changed.

use std::fmt;
use std::sync::Arc;

use super::{Escaped, Kind, Page};
use crate::observe::{KeeperTally, ProbeTally};

/// The labels that name a server.
struct Probed<'a>(&'a ProbeTally);

impl fmt::Display for Probed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "upstream=\"{}\",server=\"{}\"", Escaped(&self.0.upstream), Escaped(&self.0.server))
    }
}

impl Page<'_> {
    pub(super) fn keeper(&mut self, keeper: &KeeperTally) {
        self.probes(&keeper.probed());
        let counters = [
            ("myriapod_resolves", "Names of servers that were looked up.", &keeper.lookups),
            ("myriapod_resolve_failures", "Names of servers that were not found.", &keeper.lookup_failures),
            ("myriapod_file_changes", "Times that a file that is watched has changed.", &keeper.file_changes),
        ];
        for (name, help, counter) in counters {
            self.family(name, Kind::Counter, help);
            self.plain(name, "_total", counter.value());
        }
    }

    fn probes(&mut self, probed: &[Arc<ProbeTally>]) {
        const PROBES: &str = "myriapod_upstream_probes";
        if probed.is_empty() {
            return;
        }
        self.family(PROBES, Kind::Counter, "Requests of our own that ask whether a server is well.");
        for server in probed {
            for (at, outcome) in server.outcomes.labels().iter().enumerate() {
                let labels = format_args!("{},outcome=\"{outcome}\"", Probed(server));
                self.sample(PROBES, "_total", labels, server.outcomes.value(at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Exposition;
    use super::*;
    use crate::observe::Family;

    #[test]
    fn every_outcome_of_every_server_is_shown_at_zero_too() {
        let keeper = KeeperTally::default();
        let show = |keeper: &KeeperTally| {
            let mut out = String::new();
            Page { out: &mut out, format: Exposition::OpenMetrics, tallies: &[] }.keeper(keeper);
            out
        };
        keeper.lookup_failures.add(2);
        let page = show(&keeper);
        assert!(page.contains("myriapod_resolve_failures_total 2\n"), "{page}");
        assert!(!page.contains("probes"), "a family without samples: {page}");

        let outcomes = Family::new(&["good", "cut"]);
        outcomes.add(1, 3);
        let (upstream, server) = ("a\"b".to_owned(), "10.0.0.1:80".to_owned());
        keeper.show([Arc::new(ProbeTally { upstream, server, outcomes })]);
        let page = show(&keeper);
        for (outcome, count) in [("good", 0), ("cut", 3)] {
            let labels = format!(r#"upstream="a\"b",server="10.0.0.1:80",outcome="{outcome}""#);
            let line = format!("myriapod_upstream_probes_total{{{labels}}} {count}\n");
            assert!(page.contains(&line), "{page}");
        }
    }
}
