//! What do deadlines cost while a hundred thousand others stand, and what does it cost to ask for the next?

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use myriapod::base::clock::Tick;
use myriapod::base::wheel::{Link, Wheel};

const SLOTS: u32 = 100_000;
/// Far from any power of two, so that neighbours in time are not neighbours in memory.
const STRIDE: u32 = 61_803;
const START: Tick = Tick(1_000_000);

/// Every slot armed, spread over the minute behind `START`.
fn full() -> (Wheel, Vec<Link>) {
    let mut wheel = Wheel::new(START);
    let mut links = vec![Link::FREE; SLOTS as usize];
    for slot in 0..SLOTS {
        wheel.arm(&mut links, slot, START.after_ms(1_000 + slot % 60_000));
    }
    (wheel, links)
}

fn wheel(criterion: &mut Criterion) {
    let (mut wheel, mut links) = full();
    let mut slot = 0;
    criterion.bench_function("wheel/arm", |bencher| {
        bencher.iter(|| {
            slot = (slot + STRIDE) % SLOTS;
            wheel.arm(&mut links, black_box(slot), START.after_ms(1_000 + slot % 60_000));
        });
    });
    criterion.bench_function("wheel/disarm-and-arm", |bencher| {
        bencher.iter(|| {
            slot = (slot + STRIDE) % SLOTS;
            wheel.disarm(&mut links, black_box(slot));
            wheel.arm(&mut links, slot, START.after_ms(1_000 + slot % 60_000));
        });
    });
    criterion.bench_function("wheel/next", |bencher| bencher.iter(|| black_box(&wheel).next()));
}

/// As a reactor does it every ten milliseconds: what comes due, 17 slots a tick, is armed again a minute later.
fn advance(criterion: &mut Criterion) {
    let (mut wheel, mut links) = full();
    let mut now = START;
    let mut due = Vec::new();
    criterion.bench_function("wheel/advance-a-tick", |bencher| {
        bencher.iter(|| {
            now = now + 1;
            wheel.advance(&mut links, now, &mut due);
            for slot in due.drain(..) {
                wheel.arm(&mut links, slot, now.after_ms(60_000));
            }
        });
    });
}

criterion_group!(benches, wheel, advance);
criterion_main!(benches);
