//! What does it cost to find an endpoint, and is the table of written-out paths worth having beside the tree?
//!
//! `tree` is `matchit` alone with the same routes. `table` is what a gateway's routes are found in: a
//! thousand of them, each with two parameters, on ten hosts; the tree beside it knows nothing of hosts.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use myriapod::config::site::{Action, FixedReply, HostPattern, PathPattern, Route};
use myriapod::gateway::route::Router;
use myriapod::gateway::site::table::{Found, Table};
use myriapod::http::{Method, MethodSet, Status};

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

/// A route as in a file.
fn written(number: usize, host: Option<String>, path: PathPattern, methods: Option<MethodSet>) -> Route {
    let reply = FixedReply { status: Status::OK, content_type: String::new(), body: Vec::new() };
    Route {
        name: format!("r{number}"),
        hosts: host.map(HostPattern::Exact).into_iter().collect(),
        path,
        methods,
        fields: Vec::new(),
        action: Action::Respond(reply),
        steps: Vec::new(),
        body_bytes_max: None,
        line: 0,
    }
}

fn table(criterion: &mut Criterion) {
    const ROUTES: usize = 1_000;
    let pattern =
        |number: usize| format!("/api/v{}/service-{number}/users/{{id}}/posts/{{post}}", number % 7);
    let read = MethodSet::of(&[Method::Get, Method::Post]);
    let mut routes: Vec<Route> = (0..ROUTES)
        .map(|number| {
            let host = Some(format!("host-{}.example.com", number % 10));
            written(number, host, PathPattern::Pattern(pattern(number)), Some(read))
        })
        .collect();
    routes.push(written(ROUTES, None, PathPattern::Prefix("/".to_owned()), None));
    routes.push(written(ROUTES + 1, None, PathPattern::Prefix("/api/v6".to_owned()), None));
    let table = Table::new(&routes).expect("sound routes");
    let mut tree = matchit::Router::new();
    (0..ROUTES).for_each(|number| tree.insert(pattern(number), number).expect("a sound route"));

    let paths = [
        ("pattern", "/api/v6/service-762/users/1764/posts/a-thousand-legs", 762),
        ("prefix", "/api/v6/service-762/users/1764/posts", ROUTES + 1),
        ("root", "/favicon.ico", ROUTES),
    ];
    let mut group = criterion.benchmark_group("table");
    for (name, path, number) in paths {
        let find = |path: &str| table.find(black_box(b"host-2.example.com"), path, Method::Get, |_| None);
        assert!(matches!(find(path), Found::Route { number: found, .. } if found == number));
        group.bench_function(BenchmarkId::new("myriapod", name), |bencher| {
            bencher.iter(|| find(black_box(path)));
        });
        group.bench_function(BenchmarkId::new("tree", name), |bencher| {
            bencher.iter(|| tree.at(black_box(path)).ok().map(|found| *found.value));
        });
    }
    group.finish();
}

criterion_group!(benches, route, table);
criterion_main!(benches);
