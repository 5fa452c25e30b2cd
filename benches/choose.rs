//! What does it cost to choose a server and to count its request in and out; and is rendezvous, which asks
//! every server for each key, dear enough to keep a ring of points instead?
//!
//! `ring` is such a ring, as ketama has it: 160 points for each server, found by halves. It is what the hash
//! of `myriapod` would have to beat or be replaced by, health and weights left out.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use myriapod::config::site::{
    Address, Balance, Breaker, Ejection, KeyOf, Retries, ServerSpec, Timeouts, Upstream,
};
use myriapod::gateway::upstream::{Ask, Chooser, Cluster, Directory, Outcome};

fn cluster(balance: Balance, servers: u16) -> Cluster {
    let spec = Upstream {
        name: "app".to_owned(),
        servers: Vec::new(),
        balance,
        timeouts: Timeouts::default(),
        retries: Retries::default(),
        idle_max: 8,
        idle_ms_max: 60_000,
        connections_max: None,
        queue_ms_max: 1_000,
        resolve_ms: 30_000,
        health: None,
        ejection: Some(Ejection { slower_than: Some(3), ..Ejection::default() }),
        breaker: Some(Breaker::default()),
        fallback: None,
    };
    let server = |port| {
        let address = Address::Socket(SocketAddr::from(([127, 0, 0, 1], port)));
        (ServerSpec { address, weight: 1 + u32::from(port % 3), is_backup: false }, Vec::new())
    };
    Directory::new().cluster(0, &spec, &(9_000..9_000 + servers).map(server).collect::<Vec<_>>())
}

fn choose(criterion: &mut Criterion) {
    let balances = [
        ("round-robin", Balance::RoundRobin),
        ("least", Balance::Least),
        ("two-choices", Balance::TwoChoices),
        ("hash", Balance::Hash(KeyOf::Client)),
    ];
    let mut group = criterion.benchmark_group("choose");
    for (name, balance) in balances {
        for servers in [4, 16, 100] {
            let cluster = cluster(balance.clone(), servers);
            let mut chooser = Chooser::new(1, 2);
            let mut key = 0_u64;
            group.bench_function(BenchmarkId::new(name, servers), |bencher| {
                bencher.iter(|| {
                    key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    chooser.choose(black_box(&cluster), &Ask { key: Some(key), tried: &[], now_ms: 1 })
                });
            });
        }
    }
    group.finish();
}

/// All that a request asks of it: noted, chosen, begun, ended.
fn whole(criterion: &mut Criterion) {
    let cluster = cluster(Balance::RoundRobin, 4);
    let mut chooser = Chooser::new(1, 2);
    let mut now_ms = 1_000;
    criterion.bench_function("choose/whole-request", |bencher| {
        bencher.iter(|| {
            now_ms += 1;
            chooser.note_request(&cluster, now_ms);
            let member = chooser.choose(&cluster, &Ask { key: None, tried: &[], now_ms }).expect("a server");
            chooser.began(&cluster, member);
            chooser.ended(&cluster, member, Outcome::Success { latency_us: 900 }, now_ms)
        });
    });
}

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    for servers in [4_u64, 16, 100] {
        let point = |server: u64, number: u64| {
            (server << 32 | number)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
                .wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        let mut points: Vec<(u64, u32)> = (0..servers)
            .flat_map(|server| (0..160).map(move |number| (point(server, number), server as u32)))
            .collect();
        points.sort_unstable();
        let mut key = 0_u64;
        group.bench_function(BenchmarkId::new("ketama", servers), |bencher| {
            bencher.iter(|| {
                key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let place = points.partition_point(|(point, _)| *point < black_box(key));
                points[if place == points.len() { 0 } else { place }].1
            });
        });
    }
    group.finish();
}

criterion_group!(benches, choose, whole, ring);
criterion_main!(benches);
