//! What the slow ones did to the others and to the server's memory, as figures of a report.

use crate::host::machine;
use crate::host::process::Process;
use crate::report::{Known, Load, Report, Unit};

/// The single figures of the mode.
pub const FACTS: [Known; 32] = [
    Known::new("slow_standing", "slow ones that stood", Unit::Count),
    Known::new("rate_ratio", "rate, beside over alone", Unit::Ratio),
    Known::new("p50_ratio", "p50, beside over alone", Unit::Ratio),
    Known::new("p99_ratio", "p99, beside over alone", Unit::Ratio),
    Known::new("p999_ratio", "p99.9, beside over alone", Unit::Ratio),
    Known::new("server_bytes_before", "server memory before", Unit::Bytes),
    Known::new("server_bytes_beside", "server memory beside them", Unit::Bytes),
    Known::new("server_bytes_after", "server memory after they left", Unit::Bytes),
    Known::new("bytes_per_slow_connection", "server memory for each", Unit::Bytes),
    Known::new("tcp_bytes_per_slow_connection", "kernel's buffers, both ends", Unit::Bytes),
    Known::new("drip_408", "drips answered 408", Unit::Count),
    Known::new("drip_408_seconds", "median time until then", Unit::Seconds),
    Known::new("drip_answered", "drips answered too early", Unit::Count),
    Known::new("drip_answered_seconds", "median time until then", Unit::Seconds),
    Known::new("drip_served", "drips served in the end", Unit::Count),
    Known::new("drip_served_seconds", "median time until then", Unit::Seconds),
    Known::new("drip_closed", "drips closed without a word", Unit::Count),
    Known::new("drip_closed_seconds", "median time until then", Unit::Seconds),
    Known::new("drip_reset", "drips reset", Unit::Count),
    Known::new("drip_reset_seconds", "median time until then", Unit::Seconds),
    Known::new("drip_failed", "drips that did not get in", Unit::Count),
    Known::new("drip_stayed", "drips there at the end", Unit::Count),
    Known::new("drip_stayed_seconds", "median time they had been", Unit::Seconds),
    Known::new("drip_stay_max_seconds", "longest stay of a drip", Unit::Seconds),
    Known::new("never_reader_closed", "never-readers closed", Unit::Count),
    Known::new("never_reader_closed_seconds", "median time until then", Unit::Seconds),
    Known::new("never_reader_reset", "never-readers reset", Unit::Count),
    Known::new("never_reader_reset_seconds", "median time until then", Unit::Seconds),
    Known::new("never_reader_failed", "never-readers not let in", Unit::Count),
    Known::new("never_reader_stayed", "never-readers at the end", Unit::Count),
    Known::new("never_reader_stayed_seconds", "median time they had been", Unit::Seconds),
    Known::new("never_reader_stay_max_seconds", "longest stay of one", Unit::Seconds),
];

/// Memory at one moment, and how many slow ones were there then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Level {
    pub server: Option<u64>,
    pub tcp: u64,
    pub standing: u64,
}

impl Level {
    /// As it is.
    pub fn now(server: Option<&Process>, standing: u64) -> Level {
        Level { server: server.and_then(Process::memory_bytes), tcp: machine::tcp_bytes(), standing }
    }

    /// Of two moments the one when the slow ones cost more.
    pub fn most(self, other: Level) -> Level {
        if (other.server, other.tcp) > (self.server, self.tcp) { other } else { self }
    }

    /// The least of both.
    pub fn least(self, other: Level) -> Level {
        Level { server: self.server.min(other.server), tcp: self.tcp.min(other.tcp), standing: self.standing }
    }
}

/// Tells what the others noticed.
pub fn tell_ratios(alone: &Load, beside: &Load, report: &mut Report) {
    report.fact(&FACTS, "rate_ratio", beside.rate / alone.rate.max(1e-9));
    for (name, share) in [("p50_ratio", 0.5), ("p99_ratio", 0.99), ("p999_ratio", 0.999)] {
        let (alone, beside) = (alone.latency.quantile(share), beside.latency.quantile(share));
        report.fact(&FACTS, name, beside as f64 / (alone as f64).max(1.0));
    }
}

/// Tells what the slow ones cost.
pub fn tell_memory(before: Level, beside: Level, after: Level, report: &mut Report) {
    let each = |before: u64, now: u64| (now as f64 - before as f64) / beside.standing.max(1) as f64;
    if let (Some(before), Some(now), Some(after)) = (before.server, beside.server, after.server) {
        report.fact(&FACTS, "server_bytes_before", before as f64);
        report.fact(&FACTS, "server_bytes_beside", now as f64);
        report.fact(&FACTS, "server_bytes_after", after as f64);
        report.fact(&FACTS, "bytes_per_slow_connection", each(before, now));
    }
    // Of the whole machine: when others have given back more than the slow ones took, it says nothing.
    if beside.tcp >= before.tcp {
        report.fact(&FACTS, "tcp_bytes_per_slow_connection", each(before.tcp, beside.tcp));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(report: &Report, name: &str) -> f64 {
        report.facts.iter().find(|fact| fact.name == name).unwrap().value
    }

    #[test]
    fn a_slow_one_costs_what_was_added_by_those_that_were_there() {
        let before = Level { server: Some(1_000_000), tcp: 0, standing: 0 };
        let many = Level { server: Some(3_000_000), tcp: 4_000_000, standing: 1000 };
        let few = Level { server: Some(1_500_000), tcp: 0, standing: 1 };
        let mut report = Report::default();
        tell_memory(before, few.most(many), before.least(many), &mut report);
        assert_eq!(value(&report, "bytes_per_slow_connection"), 2_000.0);
        assert_eq!(value(&report, "tcp_bytes_per_slow_connection"), 4_000.0);
        assert_eq!(value(&report, "server_bytes_after"), 1_000_000.0);
    }

    #[test]
    fn a_server_that_is_not_known_has_no_memory() {
        let mut report = Report::default();
        let level = Level::default();
        tell_memory(level, level, level, &mut report);
        assert_eq!(
            report.facts.iter().map(|fact| fact.name).collect::<Vec<_>>(),
            ["tcp_bytes_per_slow_connection"]
        );
    }

    #[test]
    fn ratios_are_beside_over_alone() {
        let (mut alone, mut beside) = (Load { rate: 1000.0, ..Load::default() }, Load::default());
        beside.rate = 500.0;
        (0..1000).for_each(|_| alone.latency.record(1_000_000));
        (0..1000).for_each(|place| beside.latency.record(if place < 985 { 1_000_000 } else { 3_000_000 }));
        let mut report = Report::default();
        tell_ratios(&alone, &beside, &mut report);
        let ratios = ["rate_ratio", "p50_ratio", "p99_ratio"].map(|name| value(&report, name));
        assert!(ratios.iter().zip([0.5, 1.0, 3.0]).all(|(is, should)| (is - should).abs() < 0.01));
    }
}
