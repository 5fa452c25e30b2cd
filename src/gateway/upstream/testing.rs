//! Upstreams for tests.

use std::net::SocketAddr;

use super::{Cluster, Directory};
use crate::config::site::{Address, Balance, Retries, ServerSpec, Timeouts, Upstream};

pub(super) fn upstream(name: &str) -> Upstream {
    Upstream {
        name: name.to_owned(),
        servers: Vec::new(),
        balance: Balance::RoundRobin,
        timeouts: Timeouts::default(),
        retries: Retries::default(),
        idle_max: 8,
        idle_ms_max: 60_000,
        connections_max: None,
        queue_ms_max: 1_000,
        resolve_ms: 30_000,
        health: None,
        ejection: None,
        breaker: None,
        fallback: None,
    }
}

/// Servers of these weights.
pub(super) fn servers(weights: &[u32]) -> Vec<(ServerSpec, Vec<SocketAddr>)> {
    let one = |(place, weight): (usize, &u32)| {
        let address = Address::Socket(SocketAddr::from(([192, 0, 2, 1 + place as u8], 8000)));
        (ServerSpec { address, weight: *weight, is_backup: false }, Vec::new())
    };
    weights.iter().enumerate().map(one).collect()
}

pub(super) fn cluster(spec: &Upstream, weights: &[u32]) -> Cluster {
    Directory::new().cluster(0, spec, &servers(weights))
}
