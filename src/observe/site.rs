//! What is counted of a site's routes, upstreams and servers.
//!
//! Each reactor writes counters of its own, on cache lines of their own; whoever asks adds them up. They
//! belong to a name, not to a generation: a reload that keeps a route keeps what was counted of it.

use super::Counter;

/// One of these for each reactor.
#[derive(Debug)]
pub struct PerReactor<T>(Box<[Alone<T>]>);

/// On cache lines of its own: two, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Alone<T>(T);

impl<T> PerReactor<T> {
    /// As many as there are reactors.
    pub fn new(reactors: u32, make: impl Fn() -> T) -> PerReactor<T> {
        PerReactor((0..reactors.max(1)).map(|_| Alone(make())).collect())
    }

    /// The one that this reactor writes.
    #[must_use]
    #[inline]
    pub fn of(&self, reactor: u32) -> &T {
        &self.0[reactor as usize % self.0.len()].0
    }

    /// The one beyond those of the reactors, where one more was made: for the thread that looks after
    /// servers.
    #[must_use]
    pub fn last(&self) -> &T {
        &self.0[self.0.len() - 1].0
    }

    /// All of them, to be added up.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|alone| &alone.0)
    }

    /// A counter of all of them together.
    pub fn sum(&self, counter: impl Fn(&T) -> &Counter) -> u64 {
        self.all().map(|one| counter(one).value()).sum()
    }
}

/// Answers by the first digit of their status; 0 is none of them: the client went before.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The class of a status.
#[must_use]
pub fn class(status: u16) -> usize {
    usize::from(status / 100).min(CLASSES.len() - 1)
}

/// What a reactor counts of a route.
#[derive(Debug)]
pub struct RouteTally {
    /// Answers, by [class](CLASSES).
    pub answers: [Counter; CLASSES.len()],
    /// From the head of a request to the last byte of its answer.
    pub latency: Latency,
    /// Refusals, by what refused: the steps in their order, then the limit of the body.
    pub refusals: Box<[Counter]>,
}

/// What is known of a route by its name.
#[derive(Debug)]
pub struct RouteSeries {
    /// Its name.
    pub name: Box<str>,
    /// What may refuse its requests, by name.
    pub refusers: Box<[Box<str>]>,
    /// The counters.
    pub tallies: PerReactor<RouteTally>,
}

impl RouteSeries {
    /// One of which nothing was counted.
    #[must_use]
    pub fn new(name: &str, refusers: &[Box<str>], reactors: u32) -> RouteSeries {
        let tally = || RouteTally {
            answers: Default::default(),
            latency: Latency::default(),
            refusals: refusers.iter().map(|_| Counter::default()).collect(),
        };
        RouteSeries {
            name: name.into(),
            refusers: refusers.into(),
            tallies: PerReactor::new(reactors, tally),
        }
    }
}

/// What a reactor counts of an upstream.
#[derive(Debug, Default)]
pub struct UpstreamTally {
    /// From the choice of a server to the head of its answer.
    pub latency: Latency,
    /// Requests that were sent again.
    pub retries: Counter,
    /// Requests that were not, because too many were.
    pub retries_refused: Counter,
    /// Lines that had gone stale when they were used again, and requests that had another for it.
    pub stale: Counter,
    /// Requests that waited for a connection.
    pub queued: Counter,
    /// Answers by the fallback, by [trouble](TROUBLES).
    pub fallbacks: [Counter; TROUBLES.len()],
    /// Protocols switched.
    pub tunnels: Counter,
}

/// What a reactor counts of a server.
#[derive(Debug, Default)]
pub struct ServerTally {
    /// Answers, by [class](CLASSES).
    pub answers: [Counter; CLASSES.len()],
    /// Tries that failed, by [trouble](TROUBLES).
    pub failures: [Counter; TROUBLES.len()],
    /// Requests that were to be sent there, and those that are over.
    pub begun: Counter,
    /// See `begun`.
    pub done: Counter,
    /// Connections begun, and those that are no more.
    pub dialled: Counter,
    /// See `dialled`.
    pub hung_up: Counter,
    /// Requests that found a line that stood.
    pub reused: Counter,
    /// What became of it, by [change](CHANGES).
    pub changes: [Counter; CHANGES.len()],
}

/// Why a try failed, or all of them.
pub const TROUBLES: [&str; 9] = [
    "no_server",
    "no_means",
    "queue_full",
    "queue_timeout",
    "unreachable",
    "connect_timeout",
    "silent",
    "broken",
    "malformed",
];

/// What becomes of a server. The last two are found out by probes, the others by requests.
pub const CHANGES: [&str; 7] = [
    "breaker_opened",
    "breaker_half_opened",
    "breaker_closed",
    "ejected",
    "returned",
    "unhealthy",
    "healthy",
];

impl ServerTally {
    /// Notes down what became of it, by its [name](CHANGES); only the owner may.
    pub fn note_change(&self, label: &str) {
        let at = CHANGES.iter().position(|known| *known == label);
        at.into_iter().for_each(|at| self.changes[at].add(1));
    }
}

/// Durations in a few buckets: a thousand routes have one of these for each reactor.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [Counter; BOUNDS_US.len() + 1],
    sum_us: Counter,
}

/// Upper bounds of the buckets, in microseconds; the last bucket has none.
pub const BOUNDS_US: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

impl Latency {
    /// Notes a duration; only the owning reactor may.
    #[inline]
    pub fn record_ns(&self, ns: u64) {
        let us = ns.div_ceil(1_000);
        self.buckets[BOUNDS_US.partition_point(|bound| *bound < us)].add(1);
        self.sum_us.add(us);
    }

    /// Adds what was seen here to `buckets`, the last of which has no bound, and returns the sum in
    /// microseconds.
    pub fn add_to(&self, buckets: &mut [u64; BOUNDS_US.len() + 1]) -> u64 {
        for (total, bucket) in buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.value();
        }
        self.sum_us.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let latency = Latency::default();
        for ns in [0, 250_000, 250_001, 10_000_000_000, 10_000_000_001] {
            latency.record_ns(ns);
        }
        let mut buckets = [0; BOUNDS_US.len() + 1];
        assert_eq!(latency.add_to(&mut buckets), 250 + 251 + 10_000_000 + 10_000_001);
        assert_eq!((buckets[0], buckets[1], buckets[14], buckets[15]), (2, 1, 1, 1));
    }

    #[test]
    fn reactors_count_apart_and_are_added_up() {
        let series = RouteSeries::new("a", &["limit".into()], 2);
        series.tallies.of(0).answers[class(204)].add(2);
        series.tallies.of(1).answers[class(200)].add(3);
        series.tallies.of(1).refusals[0].add(1);
        assert_eq!(series.tallies.sum(|tally| &tally.answers[2]), 5);
        assert_eq!(series.tallies.sum(|tally| &tally.refusals[0]), 1);
    }
}
