//! Every limit there is to look at, each a pure decision over a [`Case`].

mod memory;
mod network;
mod rights;
mod tables;
pub mod threads;

use super::case::Case;
use super::check::Check;

/// The verdicts on all of them: what bounds the number first, then what bounds the pace.
pub fn all(case: &Case<'_>) -> Vec<Check> {
    let bounds = [
        Some(tables::descriptors(case)),
        Some(tables::nr_open(case)),
        Some(tables::file_max(case)),
        Some(memory::memory(case)),
        network::conntrack(case),
        Some(threads::threads(case)),
    ];
    let paces = [
        network::somaxconn(case),
        network::syn_backlog(case),
        network::tcp_mem(case),
        network::tcp_rmem(case),
        network::tcp_wmem(case),
        network::orphans(case),
        network::time_waits(case),
        network::ports(case),
        network::device_backlog(case),
        rights::bpf(case),
        threads::cpus(case),
    ];
    bounds.into_iter().flatten().chain(paces).collect()
}
