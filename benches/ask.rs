//! What does it cost to pass a head on: to write a request anew for an upstream, to read its answer's head, and to write
//! that answer's fields for the client? All of it is paid once for each request that is passed on.

mod common;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use common::HEADS;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use myriapod::base::buffer::ReadBuffer;
use myriapod::config::Limits;
use myriapod::http::{HeadIndex, Method, Request};
use myriapod::proto::h1::answer::{AnswerIndex, AnswerLimits, AnswerReader, AnswerStep, relay_fields};
use myriapod::proto::h1::ask::{self, Ask, Forwarded};
use myriapod::proto::h1::head::{self, HeadScan};

/// What a command-line client or a service sends: eight fields.
const SERVICE: &[u8] = b"POST /v1/orders?dry=1 HTTP/1.1\r\n\
    Host: api.example.org\r\n\
    User-Agent: shop/4.2\r\n\
    Accept: application/json\r\n\
    Accept-Encoding: gzip\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 512\r\n\
    Authorization: Bearer 3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b\r\n\
    X-Request-Id: 5e15153d-264f-4c7e-9d53-0d2b0a6f1f77\r\n\r\n";

/// What a service answers.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx/1.29.3\r\n\
    Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: no-store\r\n\
    ETag: W/\"5e15153d-264\"\r\n\
    Vary: Accept-Encoding\r\n\r\n";

fn asking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ask");
    for (name, bytes) in HEADS.into_iter().chain([("service", SERVICE)]) {
        let mut index = HeadIndex::default();
        let limits = Limits::default();
        assert_eq!(head::read(bytes, &mut { HeadScan::NEW }, &mut index, &limits), Ok(Some(())));
        let mut out = Vec::with_capacity(4096);
        group.bench_with_input(BenchmarkId::from_parameter(name), bytes, |bencher, bytes| {
            bencher.iter(|| {
                out.clear();
                let request = Request::new(&index, black_box(bytes));
                let client = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));
                let ask = Ask {
                    request,
                    method: request.method_token(),
                    target: request.raw_path(),
                    host: b"127.0.0.1:9000",
                    framing: request.framing(),
                    forwarded: Forwarded { client, keeps: false, proto: "http", host: request.host() },
                    added: b"",
                    upgrade: false,
                    expects_continue: false,
                };
                ask::write(&mut out, &ask, |_| false);
                black_box(&out);
            });
        });
    }
    group.finish();
}

fn answer(criterion: &mut Criterion) {
    let limits = AnswerLimits::default();
    let (mut input, mut index) = (ReadBuffer::with_size(16 * 1024), AnswerIndex::default());
    input.room()[..ANSWER.len()].copy_from_slice(ANSWER);
    input.received(ANSWER.len());
    criterion.bench_function("answer/read", |bencher| {
        bencher.iter(|| {
            let mut reader = AnswerReader::new(black_box(Method::Get), false);
            assert_eq!(reader.receive(&mut input, &mut index, &limits), Ok(AnswerStep::Head));
        });
    });
    let mut lines = Vec::with_capacity(4096);
    criterion.bench_function("answer/fields", |bencher| {
        bencher.iter(|| {
            lines.clear();
            relay_fields(&index, black_box(ANSWER), &mut lines, |_| false)
        });
    });
}

criterion_group!(benches, asking, answer);
criterion_main!(benches);
