//! What does reading a head cost, and how far is that from `httparse`, which does less?
//!
//! `httparse` splits lines and stops there, with vector instructions where the machine has them; ours also refuses lone
//! LF, checks Host, target and framing, and says how the body is delimited. So `httparse` is a mark to aim at, not what a
//! server on top of it would pay. Both get scratch space that is not cleared between heads, and ours knows the host from
//! the head before, as in a reactor. In parts, the same head comes 100 bytes at a time and is looked at each time:
//! `httparse` has no memory and starts anew.

mod common;

use std::hint::black_box;
use std::mem::MaybeUninit;

use common::HEADS;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use myriapod::config::Limits;
use myriapod::http::{FIELDS_MAX, HeadIndex};
use myriapod::proto::h1::head::{self, HeadScan};

const PART_BYTES: usize = 100;

fn whole(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("head");
    for (name, bytes) in HEADS {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::new("myriapod", name), bytes, |bencher, bytes| {
            let mut index = HeadIndex::default();
            bencher.iter(|| assert!(ours(black_box(bytes), &mut { HeadScan::NEW }, &mut index, &limits)));
        });
        group.bench_with_input(BenchmarkId::new("httparse", name), bytes, |bencher, bytes| {
            bencher.iter(|| assert!(theirs(black_box(bytes))));
        });
    }
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("head-in-parts");
    for (name, bytes) in HEADS {
        let ends = (PART_BYTES..bytes.len()).step_by(PART_BYTES).chain([bytes.len()]);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::new("myriapod", name), bytes, |bencher, bytes| {
            let mut index = HeadIndex::default();
            bencher.iter(|| {
                let mut scan = HeadScan::NEW;
                ends.clone()
                    .filter(|end| ours(black_box(&bytes[..*end]), &mut scan, &mut index, &limits))
                    .count()
            });
        });
        group.bench_with_input(BenchmarkId::new("httparse", name), bytes, |bencher, bytes| {
            bencher.iter(|| ends.clone().filter(|end| theirs(black_box(&bytes[..*end]))).count());
        });
    }
    group.finish();
}

/// Whether the head is complete.
fn ours(bytes: &[u8], scan: &mut HeadScan, index: &mut HeadIndex, limits: &Limits) -> bool {
    let outcome = head::read(bytes, scan, index, limits).expect("a sound head");
    black_box(index);
    outcome.is_some()
}

/// Whether the head is complete.
fn theirs(bytes: &[u8]) -> bool {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let outcome = request.parse_with_uninit_headers(bytes, &mut fields).expect("a sound head");
    black_box(&request);
    outcome.is_complete()
}

criterion_group!(benches, whole, parts);
criterion_main!(benches);
