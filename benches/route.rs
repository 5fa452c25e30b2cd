//! What does it cost to find an endpoint, and is the table of written-out paths worth having beside the tree?
//!
//! `tree` is `matchit` alone with the same routes.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use myriapod::gateway::route::Router;

const ROUTES: [&str; 8] =
    ["/", "/plaintext", "/json", "/echo", "/healthz", "/readyz", "/metrics", "/users/{id}/posts/{post}"];

const PATHS: [(&str, &str); 4] = [
    ("written-out", "/plaintext"),
    ("root", "/"),
    ("pattern", "/users/1764/posts/a-thousand-legs"),
    ("absent", "/favicon.ico"),
];

fn route(criterion: &mut Criterion) {
    let (mut router, mut tree) = (Router::<usize>::default(), matchit::Router::new());
    for (number, route) in ROUTES.into_iter().enumerate() {
        *router.entry(route) = number;
        tree.insert(route, number).expect("a sound route");
    }
    let mut group = criterion.benchmark_group("route");
    for (name, path) in PATHS {
        group.bench_function(BenchmarkId::new("myriapod", name), |bencher| {
            bencher.iter(|| router.find(black_box(path.as_bytes())).map(|(target, _)| *target));
        });
        group.bench_function(BenchmarkId::new("tree", name), |bencher| {
            bencher.iter(|| tree.at(black_box(path)).ok().map(|found| *found.value));
        });
    }
    group.finish();
}

criterion_group!(benches, route);
criterion_main!(benches);
