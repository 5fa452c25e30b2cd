//! What does it cost to find a connection by its key, in cache and out of it, and to let one go and another in?

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use myriapod::base::slots::{Key, Slots};

/// Shares no factor with the numbers of tenants, so that it visits all of them, never two neighbours in turn.
const STRIDE: usize = 61_803;

/// About as large as a connection.
type Tenant = [u64; 16];

fn full(count: u32) -> (Slots<Tenant>, Vec<Key<Tenant>>) {
    let mut slots = Slots::with_limit(count);
    let keys = (0..count).map(|number| slots.insert([u64::from(number); 16]).expect("room")).collect();
    (slots, keys)
}

fn slots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slots");
    for count in [100, 100_000] {
        let (mut slots, mut keys) = full(count);
        let mut at = 0;
        group.bench_function(BenchmarkId::new("find", count), |bencher| {
            bencher.iter(|| {
                at = (at + STRIDE) % keys.len();
                slots.get_mut(black_box(keys[at])).map(|tenant| tenant[0])
            });
        });
        group.bench_function(BenchmarkId::new("replace", count), |bencher| {
            bencher.iter(|| {
                at = (at + STRIDE) % keys.len();
                let tenant = slots.remove(black_box(keys[at])).expect("a tenant");
                keys[at] = slots.insert(tenant).expect("room");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, slots);
criterion_main!(benches);
