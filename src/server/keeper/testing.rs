//! Upstreams for tests.

use crate::config::site::{Address, Balance, Health, Retries, ServerSpec, Timeouts, Upstream};

pub(super) fn upstream(
    name: &str,
    servers: impl IntoIterator<Item = Address>,
    health: Option<Health>,
) -> Upstream {
    let server = |address| ServerSpec { address, weight: 1, is_backup: false };
    Upstream {
        name: name.to_owned(),
        servers: servers.into_iter().map(server).collect(),
        balance: Balance::RoundRobin,
        timeouts: Timeouts::default(),
        retries: Retries::default(),
        idle_max: 0,
        idle_ms_max: 0,
        connections_max: None,
        queue_ms_max: 0,
        resolve_ms: 30_000,
        health,
        ejection: None,
        breaker: None,
        fallback: None,
    }
}
