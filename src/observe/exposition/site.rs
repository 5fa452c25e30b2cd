//! What a site's routes and upstreams are counted by, as text.

use std::fmt;

use super::{Escaped, Kind, Page, Seconds};
use crate::observe::Counter;
use crate::observe::site::{
    BOUNDS_US, CHANGES, CLASSES, Latency, PerReactor, RouteSeries, ServerTally, TROUBLES, UpstreamTally,
};

/// What is to be told of a site.
#[derive(Default)]
pub struct SiteView<'a> {
    /// Its routes.
    pub routes: Vec<&'a RouteSeries>,
    /// Its upstreams.
    pub upstreams: Vec<UpstreamView<'a>>,
}

/// What is to be told of an upstream.
pub struct UpstreamView<'a> {
    /// Its name.
    pub name: &'a str,
    /// What was counted of it.
    pub tallies: &'a PerReactor<UpstreamTally>,
    /// Its servers.
    pub servers: Vec<ServerView<'a>>,
}

/// What is to be told of a server.
pub struct ServerView<'a> {
    /// Its address.
    pub label: &'a str,
    /// What was counted of it.
    pub tallies: &'a PerReactor<ServerTally>,
    /// Whether our probes, and its clients, find it good.
    pub is_available: bool,
    /// The state of its breaker.
    pub breaker: &'a str,
    /// Why that opened last; empty: it never did.
    pub reason: &'a str,
    /// How long it has been in that state, in milliseconds; `None`: it always was.
    pub breaker_ms: Option<u64>,
}

/// The labels that name a server.
struct Server<'a>(&'a str, &'a str);

impl fmt::Display for Server<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "upstream=\"{}\",server=\"{}\"", Escaped(self.0), Escaped(self.1))
    }
}

impl Page<'_> {
    pub(super) fn site(&mut self, site: &SiteView<'_>) {
        if !site.routes.is_empty() {
            self.routes(&site.routes);
        }
        if !site.upstreams.is_empty() {
            self.upstreams(&site.upstreams);
            self.servers(&site.upstreams);
            self.health(&site.upstreams);
            self.breaker_times(&site.upstreams);
        }
    }

    fn routes(&mut self, routes: &[&RouteSeries]) {
        const REQUESTS: &str = "myriapod_route_requests";
        self.family(REQUESTS, Kind::Counter, "Requests that a route took, by the class of their answer.");
        for route in routes {
            for (at, class) in CLASSES.iter().enumerate() {
                let labels = format_args!("route=\"{}\",class=\"{class}\"", Escaped(&route.name));
                self.sample(REQUESTS, "_total", labels, route.tallies.sum(|tally| &tally.answers[at]));
            }
        }
        const REFUSALS: &str = "myriapod_route_refusals";
        self.family(REFUSALS, Kind::Counter, "Requests that something on a route's way refused.");
        for route in routes {
            for (at, step) in route.refusers.iter().enumerate() {
                let labels = format_args!("route=\"{}\",step=\"{}\"", Escaped(&route.name), Escaped(step));
                self.sample(REFUSALS, "_total", labels, route.tallies.sum(|tally| &tally.refusals[at]));
            }
        }
        const LATENCY: &str = "myriapod_route_duration_seconds";
        self.family(LATENCY, Kind::Histogram, "From a request's head to the last byte of its answer.");
        for route in routes {
            let labels = format_args!("route=\"{}\"", Escaped(&route.name)).to_string();
            self.latency(LATENCY, &labels, route.tallies.all().map(|tally| &tally.latency));
        }
    }

    fn upstreams(&mut self, upstreams: &[UpstreamView<'_>]) {
        type Of = fn(&UpstreamTally) -> &Counter;
        let counters: [(&str, &str, Of); 5] = [
            ("myriapod_upstream_retries", "Requests sent again.", |tally| &tally.retries),
            (
                "myriapod_upstream_retries_refused",
                "Requests not sent again: the budget is used up.",
                |tally| &tally.retries_refused,
            ),
            ("myriapod_upstream_stale", "Idle connections found closed when they were used.", |tally| {
                &tally.stale
            }),
            ("myriapod_upstream_queued", "Requests that waited for a connection.", |tally| &tally.queued),
            ("myriapod_upstream_tunnels", "Connections handed to another protocol.", |tally| &tally.tunnels),
        ];
        for (name, help, of) in counters {
            self.family(name, Kind::Counter, help);
            for upstream in upstreams {
                let labels = format_args!("upstream=\"{}\"", Escaped(upstream.name));
                self.sample(name, "_total", labels, upstream.tallies.sum(of));
            }
        }
        const FALLBACKS: &str = "myriapod_upstream_fallbacks";
        self.family(FALLBACKS, Kind::Counter, "Requests answered by the fallback, by cause.");
        for upstream in upstreams {
            for (at, cause) in TROUBLES.iter().enumerate() {
                let labels = format_args!("upstream=\"{}\",cause=\"{cause}\"", Escaped(upstream.name));
                self.sample(FALLBACKS, "_total", labels, upstream.tallies.sum(|tally| &tally.fallbacks[at]));
            }
        }
        const LATENCY: &str = "myriapod_upstream_duration_seconds";
        self.family(LATENCY, Kind::Histogram, "From the choice of a server to the head of its answer.");
        for upstream in upstreams {
            let labels = format_args!("upstream=\"{}\"", Escaped(upstream.name)).to_string();
            self.latency(LATENCY, &labels, upstream.tallies.all().map(|tally| &tally.latency));
        }
    }

    fn servers(&mut self, upstreams: &[UpstreamView<'_>]) {
        type Of = fn(&ServerTally) -> &[Counter];
        let families: [(&str, &str, &str, &[&str], Of); 3] = [
            ("myriapod_upstream_requests", "Answers of a server, by class.", "class", &CLASSES, |tally| {
                &tally.answers
            }),
            ("myriapod_upstream_failures", "Tries that failed, by kind.", "kind", &TROUBLES, |tally| {
                &tally.failures
            }),
            ("myriapod_upstream_changes", "What became of a server.", "change", &CHANGES, |tally| {
                &tally.changes
            }),
        ];
        for (name, help, label, values, of) in families {
            self.family(name, Kind::Counter, help);
            for (upstream, server) in each_server(upstreams) {
                for (at, value) in values.iter().enumerate() {
                    let labels = format_args!("{upstream},{label}=\"{value}\"");
                    self.sample(name, "_total", labels, server.tallies.sum(|tally| &of(tally)[at]));
                }
            }
        }
        const CONNECTIONS: &str = "myriapod_upstream_connections";
        self.family(CONNECTIONS, Kind::Gauge, "Connections to a server, in use or idle.");
        for (upstream, server) in each_server(upstreams) {
            let (used, idle) = connections(server.tallies);
            self.sample(CONNECTIONS, "", format_args!("{upstream},state=\"used\""), used);
            self.sample(CONNECTIONS, "", format_args!("{upstream},state=\"idle\""), idle);
        }
        for (name, help, is_reuse) in [
            ("myriapod_upstream_dialled", "Connections begun.", false),
            ("myriapod_upstream_reused", "Requests that found a connection.", true),
        ] {
            self.family(name, Kind::Counter, help);
            for (upstream, server) in each_server(upstreams) {
                let of =
                    |tally: &ServerTally| if is_reuse { tally.reused.value() } else { tally.dialled.value() };
                let count: u64 = server.tallies.all().map(of).sum();
                self.sample(name, "_total", upstream, count);
            }
        }
    }

    fn health(&mut self, upstreams: &[UpstreamView<'_>]) {
        const AVAILABLE: &str = "myriapod_upstream_available";
        self.family(AVAILABLE, Kind::Gauge, "1 while a server is neither ill, nor ejected, nor broken.");
        for (upstream, server) in each_server(upstreams) {
            self.sample(AVAILABLE, "", upstream, u8::from(server.is_available));
        }
        const BREAKER: &str = "myriapod_upstream_breaker_state";
        self.family(BREAKER, Kind::Gauge, "1 for the state that a server's breaker is in.");
        for (upstream, server) in each_server(upstreams) {
            for state in ["closed", "open", "half_open"] {
                let reason = Escaped(if state == server.breaker { server.reason } else { "" });
                let labels = format_args!("{upstream},state=\"{state}\",reason=\"{reason}\"");
                self.sample(BREAKER, "", labels, u8::from(state == server.breaker));
            }
        }
    }

    fn breaker_times(&mut self, upstreams: &[UpstreamView<'_>]) {
        const SINCE: &str = "myriapod_upstream_breaker_state_seconds";
        self.family(
            SINCE,
            Kind::Gauge,
            "How long a server's breaker has been in its state; 0: it always was.",
        );
        for (upstream, server) in each_server(upstreams) {
            self.sample(SINCE, "", upstream, Seconds(server.breaker_ms.unwrap_or(0) * 1_000_000));
        }
    }

    fn latency<'l>(&mut self, name: &str, labels: &str, each: impl Iterator<Item = &'l Latency>) {
        let mut buckets = [0; BOUNDS_US.len() + 1];
        let sum_us: u64 = each.map(|latency| latency.add_to(&mut buckets)).sum();
        let mut seen = 0;
        for (bound_us, count) in BOUNDS_US.iter().zip(buckets) {
            seen += count;
            self.sample(name, "_bucket", format_args!("{labels},le=\"{}\"", Seconds(bound_us * 1_000)), seen);
        }
        seen += buckets[BOUNDS_US.len()];
        self.sample(name, "_bucket", format_args!("{labels},le=\"+Inf\""), seen);
        self.sample(name, "_sum", labels, Seconds(sum_us * 1_000));
        self.sample(name, "_count", labels, seen);
    }
}

fn each_server<'v>(
    upstreams: &'v [UpstreamView<'_>],
) -> impl Iterator<Item = (Server<'v>, &'v ServerView<'v>)> {
    upstreams.iter().flat_map(|upstream| {
        upstream.servers.iter().map(|server| (Server(upstream.name, server.label), server))
    })
}

/// In use and idle. Counters of one reactor are read one after the other, so that for a moment more may seem
/// to be done than was begun.
fn connections(tallies: &PerReactor<ServerTally>) -> (u64, u64) {
    let sum = |of: fn(&ServerTally) -> &Counter| tallies.sum(of);
    let used = sum(|tally| &tally.begun).saturating_sub(sum(|tally| &tally.done));
    let open = sum(|tally| &tally.dialled).saturating_sub(sum(|tally| &tally.hung_up));
    (used, open.saturating_sub(used))
}
