//! What does finding the end of a body cost, by length and by chunks of different sizes?
//!
//! The same 8 KiB each time. They are copied into the buffer as the kernel would do it; `copy` is that alone, to be
//! taken off the others.

mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use myriapod::base::buffer::ReadBuffer;
use myriapod::config::Limits;
use myriapod::http::Framing;
use myriapod::proto::h1::body::{BodyDecoder, Piece};
use myriapod::proto::h1::encode;

const BODY_BYTES: usize = 8 * 1024;

fn body(criterion: &mut Criterion) {
    let plain = vec![b'x'; BODY_BYTES];
    let mut input = ReadBuffer::with_size(64 * 1024);
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Bytes(BODY_BYTES as u64));
    group.bench_function("copy", |bencher| {
        bencher.iter(|| {
            common::receive(&mut input, black_box(&plain));
            input.consume(BODY_BYTES);
        });
    });
    group.bench_function("length", |bencher| {
        bencher.iter(|| read(Framing::Length(BODY_BYTES as u64), black_box(&plain), &mut input));
    });
    for chunk_bytes in [16, 256, 4096] {
        let chunks = chunked(&plain, chunk_bytes);
        group.bench_function(format!("chunks-of-{chunk_bytes}"), |bencher| {
            bencher.iter(|| read(Framing::Chunked, black_box(&chunks), &mut input));
        });
    }
    group.finish();
}

/// Reads a body to its end, as a machine does.
fn read(framing: Framing, bytes: &[u8], input: &mut ReadBuffer) {
    let limits = Limits::default();
    let mut decoder = BodyDecoder::new(framing, &limits);
    common::receive(input, bytes);
    let mut sum = 0;
    while let Piece::Bytes(count) = decoder.next(input, &limits).expect("a sound body") {
        black_box(&input.unread()[..count]);
        input.consume(count);
        sum += count;
    }
    assert_eq!(sum, BODY_BYTES);
}

fn chunked(body: &[u8], chunk_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in body.chunks(chunk_bytes) {
        encode::chunk(&mut bytes, piece);
    }
    bytes.extend_from_slice(encode::LAST_CHUNK);
    bytes
}

criterion_group!(benches, body);
criterion_main!(benches);
