//! What does writing a head cost, what a chunk, and what the date once a second?

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use myriapod::http::{Fields, Status};
use myriapod::proto::h1::Stamp;
use myriapod::proto::h1::encode::{self, Connection, Delimiter};

fn heads(criterion: &mut Criterion) {
    let stamp = Stamp::new(Some("myriapod"));
    let fields = Fields::fixed("Content-Type: text/plain\r\n");
    let cases = [
        ("ok", Status::OK, Delimiter::Length(13)),
        ("ok-in-chunks", Status::OK, Delimiter::Chunks),
        ("not-modified", Status::NOT_MODIFIED, Delimiter::Nothing),
        ("not-found", Status::NOT_FOUND, Delimiter::Length(14)),
    ];
    let mut out = Vec::with_capacity(4096);
    for (name, status, delimiter) in cases {
        criterion.bench_function(&format!("encode/{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode::head(&mut out, &stamp, black_box(status), &fields, delimiter, Connection::Stays);
                black_box(&out);
            });
        });
    }
}

fn chunk(criterion: &mut Criterion) {
    let mut out = Vec::with_capacity(4096);
    criterion.bench_function("encode/chunk-of-1024", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode::chunk(&mut out, black_box(&[b'x'; 1024]));
            black_box(&out);
        });
    });
}

fn date(criterion: &mut Criterion) {
    let mut stamp = Stamp::new(Some("myriapod"));
    let mut second = 1_764_000_000;
    criterion.bench_function("encode/date", |bencher| {
        bencher.iter(|| {
            second += 1;
            stamp.set(black_box(second));
        });
    });
}

criterion_group!(benches, heads, chunk, date);
criterion_main!(benches);
