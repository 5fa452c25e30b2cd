//! What does an exchange cost when there is no kernel? Our speed of light: no server of ours is faster than this.
//!
//! Bytes in, bytes out: a read buffer, the machine, a gateway, a write queue. Depth is how many requests come at once,
//! as a client pipelines them; the time is for all of them, so elements per second is what compares.

mod common;

use std::hint::black_box;

use common::{Connection, TECHEMPOWER, WRK, WRK_ABSENT, WRK_JSON};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const CASES: [(&str, &[u8]); 4] = [
    ("plaintext", WRK),
    ("plaintext-techempower", TECHEMPOWER),
    ("json", WRK_JSON),
    ("not-found", WRK_ABSENT),
];

fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    for (name, request) in CASES {
        for depth in [1, 16] {
            let requests = request.repeat(depth);
            let mut connection = Connection::new();
            group.throughput(Throughput::Elements(depth as u64));
            group.bench_function(BenchmarkId::new(name, depth), |bencher| {
                bencher.iter(|| {
                    let count = connection.serve(black_box(&requests), |bytes| {
                        black_box(bytes);
                    });
                    assert_eq!(count as usize, depth);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, exchange);
criterion_main!(benches);
