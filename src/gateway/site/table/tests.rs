//! Stories of routes, and a second matcher that looks at one route after the other.

use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;
use crate::config::site::{Action, FixedReply, HostPattern};
use crate::http::Status;

fn route(name: &str, path: PathPattern) -> Route {
    let reply = FixedReply { status: Status::OK, content_type: String::new(), body: Vec::new() };
    Route {
        name: name.to_owned(),
        hosts: Vec::new(),
        path,
        methods: None,
        fields: Vec::new(),
        action: Action::Respond(reply),
        steps: Vec::new(),
        body_bytes_max: None,
        line: 0,
    }
}

/// A route as in `GET,POST a.example/users/{id} x=1`; `/api/*` is a prefix.
fn written(text: &str) -> Route {
    let mut words: Vec<&str> = text.split(' ').collect();
    let methods = (!words[0].contains('/')).then(|| words.remove(0));
    let (host, path) = words[0].split_at(words[0].find('/').unwrap());
    let path = match path.strip_suffix("/*") {
        Some(prefix) => PathPattern::Prefix(format!("{prefix}/")),
        None => PathPattern::Pattern(path.to_owned()),
    };
    let mut route = route(text, path);
    let hosts = host.split(',').filter(|host| !host.is_empty());
    route.hosts = hosts.map(host_pattern).collect();
    route.methods = methods.map(|list| {
        let methods: Vec<Method> =
            list.split(',').map(|method| Method::from_bytes(method.as_bytes())).collect();
        MethodSet::of(&methods)
    });
    route.fields = words[1..].iter().map(|word| field_match(word)).collect();
    route
}

fn host_pattern(host: &str) -> HostPattern {
    match host.strip_prefix('*') {
        Some(suffix) => HostPattern::Below(suffix.to_owned()),
        None => HostPattern::Exact(host.to_owned()),
    }
}

fn field_match(word: &str) -> FieldMatch {
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    FieldMatch { name: name.to_owned(), value: value.map(str::to_owned) }
}

struct Site {
    routes: Vec<Route>,
    table: Table,
}

impl Site {
    fn new(routes: &[&str]) -> Site {
        let routes: Vec<Route> = routes.iter().map(|text| written(text)).collect();
        Site { table: Table::new(&routes).unwrap(), routes }
    }

    /// What a request as `GET a.example/x y=1` finds: the route's text and its parameters, or the methods.
    fn find(&self, request: &str) -> String {
        let words: Vec<&str> = request.split(' ').collect();
        let method = Method::from_bytes(words[0].as_bytes());
        let (host, path) = words[1].split_at(words[1].find('/').unwrap());
        let fields: Vec<(&str, &str)> = words[2..].iter().filter_map(|word| word.split_once('=')).collect();
        let field = |name: &str| {
            let named = fields.iter().find(|(known, _)| *known == name);
            named.map(|(_, value)| value.as_bytes())
        };
        match self.table.find(host.as_bytes(), path, method, field) {
            Found::Route { number, params } => {
                let values: Vec<&str> = (0..).map_while(|place| params.of(path, place)).collect();
                let name = &self.routes[number].name;
                if values.is_empty() { name.clone() } else { format!("{name} [{}]", values.join(" ")) }
            }
            Found::WrongMethod(methods) => format!("only {methods}"),
            Found::Nothing => String::from("nothing"),
        }
    }
}

#[track_caller]
fn assert_found(routes: &[&str], cases: &[(&str, &str)]) {
    let site = Site::new(routes);
    for (request, found) in cases {
        assert_eq!(site.find(request), *found, "{request}");
    }
}

#[test]
fn what_says_more_about_the_path_wins() {
    assert_found(
        &["/*", "/api/*", "/api/users/*", "/api/{x}/me", "/api/users/{id}", "/api/users/me", "/{*rest}"],
        &[
            ("GET /api/users/me", "/api/users/me"),
            ("GET /api/users/7", "/api/users/{id} [7]"),
            ("GET /api/groups/me", "/api/{x}/me [groups]"),
            ("GET /api/users/7/x", "/{*rest} [api/users/7/x]"),
            ("GET /", "/*"),
        ],
    );
    assert_found(
        &["/*", "/api/*", "/api/users/*"],
        &[
            ("GET /api/users/7", "/api/users/*"),
            ("GET /api/users", "/api/users/*"),
            ("GET /api/usersx", "/api/*"),
            ("GET /api/", "/api/*"),
            ("GET /apix", "/*"),
        ],
    );
}

#[test]
fn of_patterns_the_first_segment_that_differs_decides() {
    assert_found(
        &["/{a}/x", "/v1/{b}", "/v{n}/{b}", "/v{n}.0/{b}", "/{a}/{*rest}", "/files/{name}.png"],
        &[
            ("GET /v1/x", "/v1/{b} [x]"),
            ("GET /v2/x", "/v{n}/{b} [2 x]"),
            ("GET /v2.0/x", "/v{n}.0/{b} [2 x]"),
            ("GET /w/x", "/{a}/x [w]"),
            ("GET /w/y", "/{a}/{*rest} [w y]"),
            ("GET /v2/x/y", "/{a}/{*rest} [v2 x/y]"),
            ("GET /files/a.png", "/files/{name}.png [a]"),
            ("GET /files/.png", "/{a}/{*rest} [files .png]"),
            ("GET /v1/", "nothing"),
        ],
    );
}

#[test]
fn of_hosts_the_name_wins_then_the_longer_suffix() {
    let routes = ["/*", "a.example/*", "*.example/*", "*.b.example/*", "[::1]/*", "c.b.example/x"];
    assert_found(
        &routes,
        &[
            ("GET a.example/", "a.example/*"),
            ("GET A.Example:8080/", "a.example/*"),
            ("GET a.example./", "a.example/*"),
            ("GET x.a.example/", "*.example/*"),
            ("GET x.b.example/", "*.b.example/*"),
            ("GET c.b.example/", "*.b.example/*"),
            ("GET c.b.example/x", "c.b.example/x"),
            ("GET b.example/", "*.example/*"),
            ("GET example/", "/*"),
            ("GET .example/", "/*"),
            ("GET /", "/*"),
            ("GET [0:0::1]:80/", "[::1]/*"),
            ("GET [::2]/", "/*"),
        ],
    );
    let long = format!("GET {}.example/", "a".repeat(300));
    assert_eq!(Site::new(&routes).find(&long), "/*");
}

#[test]
fn the_path_counts_before_the_host() {
    let cases = [("GET a.example/api/x", "/api/*"), ("GET a.example/x", "a.example/*")];
    assert_found(&["a.example/*", "/api/*"], &cases);
}

#[test]
fn who_has_conditions_comes_first_and_lets_the_next_one_have_it() {
    assert_found(
        &["/x", "/x canary=1", "POST /x", "/x canary", "DELETE /y", "/y/*", "PUT,GET /z"],
        &[
            ("GET /x", "/x"),
            ("GET /x canary=1", "/x canary=1"),
            ("GET /x canary=2", "/x canary"),
            ("POST /x", "POST /x"),
            ("POST /x canary=1", "/x canary=1"),
            ("GET /y", "/y/*"),
            ("DELETE /y", "DELETE /y"),
            ("HEAD /z", "PUT,GET /z"),
            ("POST /z", "only GET, HEAD, PUT"),
            ("POST /none", "nothing"),
        ],
    );
}

#[test]
fn methods_of_all_routes_that_would_fit_are_told() {
    assert_found(
        &["POST /x/{id}", "DELETE a.example/x/*", "PATCH b.example/x/*", "PUT /x/* k=1"],
        &[
            ("GET a.example/x/1", "only POST, DELETE"),
            ("GET a.example/x/1 k=1", "only POST, PUT, DELETE"),
            ("DELETE a.example/x/1", "DELETE a.example/x/*"),
        ],
    );
}

#[test]
fn every_mistake_is_told() {
    let routes = ["/a/{x}", "/{", "/a/{y}", "GET /b", "/b", "GET /b", "a.example,b.example/*", "b.example/*"];
    let routes: Vec<Route> = routes.iter().map(|text| written(text)).collect();
    let mistakes = Table::new(&routes).unwrap_err();
    let starts: Vec<&str> = mistakes.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
    let expected = ["route \"/{\"", "route \"/a/{y}\"", "route \"GET /b\"", "route \"b.example/*\""];
    assert_eq!(starts, expected, "{mistakes:#?}");
}

#[test]
fn what_is_no_path_finds_nothing() {
    let table = Table::new(&[written("/*")]).unwrap();
    assert_eq!(table.find(b"", "*", Method::Options, |_| None), Found::Nothing);
    assert_eq!(table.find(b"", "", Method::Get, |_| None), Found::Nothing);
}

/// The rank of a path's match, the best first, and what stands for its names. Another way to say what the
/// table does: by going through the pattern as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum PathRank {
    /// For each segment how much it says: text, then a hole with so much text, then a rest.
    Whole(Vec<(u8, Reverse<usize>, Reverse<usize>)>),
    Prefix(Reverse<usize>),
}

fn rank_path(pattern: &PathPattern, path: &str) -> Option<(PathRank, Vec<String>)> {
    let pattern = match pattern {
        PathPattern::Prefix(prefix) => {
            let prefix = prefix.trim_end_matches('/');
            let rest = path.strip_prefix(prefix)?;
            let is_match = rest.is_empty() || rest.starts_with('/');
            return is_match.then(|| (PathRank::Prefix(Reverse(prefix.len())), Vec::new()));
        }
        PathPattern::Pattern(pattern) => pattern,
    };
    let (mut ranks, mut values) = (Vec::new(), Vec::new());
    let (mut patterns, mut rest) = (pattern[1..].split('/'), Some(&path[1..]));
    loop {
        let (pattern, path) = match (patterns.next(), rest) {
            (None, None) => return Some((PathRank::Whole(ranks), values)),
            (Some(pattern), Some(path)) => (pattern, path),
            _ => return None,
        };
        if pattern.starts_with("{*") {
            values.push(path.to_owned());
            ranks.push((2, Reverse(0), Reverse(0)));
            return (!path.is_empty()).then_some((PathRank::Whole(ranks), values));
        }
        let segment = path.split('/').next().unwrap();
        rest = path.get(segment.len() + 1..);
        match (pattern.find('{'), pattern.find('}')) {
            (Some(open), Some(close)) => {
                let (before, after) = (&pattern[..open], &pattern[close + 1..]);
                let value = segment.strip_prefix(before)?.strip_suffix(after)?;
                values.push((!value.is_empty()).then(|| value.to_owned())?);
                ranks.push((1, Reverse(before.len() + after.len()), Reverse(before.len())));
            }
            _ if pattern == segment => ranks.push((0, Reverse(0), Reverse(0))),
            _ => return None,
        }
    }
}

fn rank_host(hosts: &[HostPattern], host: &str) -> Option<Reverse<usize>> {
    if hosts.is_empty() {
        return Some(Reverse(0));
    }
    let ranks = hosts.iter().filter_map(|pattern| match pattern {
        HostPattern::Exact(name) => (name == host).then_some(usize::MAX),
        HostPattern::Below(suffix) => {
            (host.ends_with(suffix.as_str()) && host.len() > suffix.len()).then_some(suffix.len())
        }
    });
    ranks.max().map(Reverse)
}

/// What the table must find, and what stands for the names.
fn expected(
    routes: &[Route],
    request: &(String, String, Method, Vec<(String, String)>),
) -> (Found, Vec<String>) {
    let (host, path, method, fields) = request;
    let mut fits = Vec::new();
    let mut allowed = MethodSet::default();
    for (number, route) in routes.iter().enumerate() {
        let Some((path_rank, values)) = rank_path(&route.path, path) else { continue };
        let Some(host_rank) = rank_host(&route.hosts, host) else { continue };
        let has = |wanted: &FieldMatch| {
            let value = fields.iter().find(|(name, _)| *name == wanted.name).map(|(_, value)| value);
            value.is_some_and(|value| wanted.value.as_ref().is_none_or(|wanted| wanted == value))
        };
        if !route.fields.iter().all(has) {
            continue;
        }
        let is_plain = route.methods.is_none() && route.fields.is_empty();
        let or_get = |methods: MethodSet| *method == Method::Head && methods.contains(Method::Get);
        match route.methods {
            Some(methods) if !methods.contains(*method) && !or_get(methods) => {
                allowed = allowed.union(methods);
            }
            _ => fits.push(((path_rank, host_rank, is_plain, number), values)),
        }
    }
    let best = fits.into_iter().min();
    let head = MethodSet::of(&[Method::Head]);
    match best {
        Some(((.., number), values)) => (Found::Route { number, params: Params::NONE }, values),
        None if allowed == MethodSet::default() => (Found::Nothing, Vec::new()),
        None if allowed.contains(Method::Get) => (Found::WrongMethod(allowed.union(head)), Vec::new()),
        None => (Found::WrongMethod(allowed), Vec::new()),
    }
}

fn paths() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "aab", "c"]);
    (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(segments, ends_open)| {
        let path = format!("/{}", segments.join("/"));
        if ends_open && path.len() > 1 { format!("{path}/") } else { path }
    })
}

fn patterns() -> impl Strategy<Value = PathPattern> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "{}", "a{}", "{}b", "a{}b"]);
    let last = prop::sample::select(vec!["", "", "", "", "/", "/{*rest}"]);
    let pattern = (prop::collection::vec(segment, 1..4), last).prop_map(|(segments, last)| {
        let named = segments.iter().enumerate().map(|(at, text)| text.replace("{}", &format!("{{n{at}}}")));
        PathPattern::Pattern(format!("/{}{last}", named.collect::<Vec<_>>().join("/")))
    });
    prop_oneof![pattern, paths().prop_map(PathPattern::Prefix), paths().prop_map(PathPattern::Pattern)]
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let host = prop::sample::select(vec!["a.x", "*.x", "*.b.x", "b.x", "c.b.x"]);
    let hosts = prop::collection::vec(host, 0..3);
    let methods = prop::sample::select(vec![
        None,
        None,
        Some(MethodSet::of(&[Method::Get])),
        Some(MethodSet::of(&[Method::Post, Method::Head])),
    ]);
    let fields = prop::sample::select(vec![vec![], vec![], vec!["k"], vec!["k=1"], vec!["k=1", "j"]]);
    let route = (patterns(), hosts, methods, fields).prop_map(|(path, hosts, methods, fields)| Route {
        hosts: hosts.into_iter().map(host_pattern).collect(),
        methods,
        fields: fields.into_iter().map(field_match).collect(),
        ..route("r", path)
    });
    prop::collection::vec(route, 1..24)
}

fn requests() -> impl Strategy<Value = (String, String, Method, Vec<(String, String)>)> {
    let host = prop::sample::select(vec!["", "a.x", "b.x", "c.b.x", "d.c.b.x", "x", "y"]);
    let method = prop::sample::select(vec![Method::Get, Method::Head, Method::Post, Method::Put]);
    let field = (prop::sample::select(vec!["k", "j"]), prop::sample::select(vec!["1", "2"]));
    let fields = prop::collection::vec(field, 0..3);
    (host, paths(), method, fields).prop_map(|(host, path, method, fields)| {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        (host.to_owned(), path, method, fields.into_iter().map(owned).collect())
    })
}

/// Drops routes until none is never reached.
fn reachable(mut routes: Vec<Route>) -> (Vec<Route>, Table) {
    routes.iter_mut().enumerate().for_each(|(number, route)| route.name = format!("r{number}"));
    loop {
        match Table::new(&routes) {
            Ok(table) => return (routes, table),
            Err(mistakes) => {
                let is_named = |route: &Route| {
                    mistakes.iter().any(|it| it.starts_with(&format!("route {:?}", route.name)))
                };
                let before = routes.len();
                routes.retain(|route| !is_named(route));
                assert!(routes.len() < before, "{mistakes:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_table_finds_what_looking_at_every_route_finds(
        routes in routes(),
        requests in prop::collection::vec(requests(), 16),
    ) {
        let (routes, table) = reachable(routes);
        for request in &requests {
            let (host, path, method, fields) = request;
            let field = |name: &str| {
                let named = fields.iter().find(|(known, _)| known == name);
                named.map(|(_, value)| value.as_bytes())
            };
            let (wanted, values) = expected(&routes, request);
            match (table.find(host.as_bytes(), path, *method, field), wanted) {
                (Found::Route { number, params }, Found::Route { number: wanted, .. }) => {
                    prop_assert_eq!(number, wanted, "{:?}", request);
                    let found: Vec<&str> = (0..).map_while(|place| params.of(path, place)).collect();
                    prop_assert_eq!(found, values);
                }
                (found, wanted) => prop_assert_eq!(found, wanted, "{:?}", request),
            }
        }
    }

    /// Where `matchit` takes patterns, which it does if they do not overlap too much, both agree.
    #[test]
    fn the_table_agrees_with_matchit(
        patterns in prop::collection::vec(patterns(), 1..12),
        paths in prop::collection::vec(paths(), 16),
    ) {
        let mut tree = matchit::Router::new();
        let mut routes = Vec::new();
        for pattern in patterns {
            let PathPattern::Pattern(text) = &pattern else { continue };
            // It takes text beside a name elsewhere than this table does where both begin alike.
            let is_bare = |part: &str| part.starts_with('{') && part.ends_with('}');
            let is_whole = text.split('/').all(|part| !part.contains('{') || is_bare(part));
            if is_whole && tree.insert(text.clone(), routes.len()).is_ok() {
                routes.push(route(text, pattern.clone()));
            }
        }
        let table = Table::new(&routes).unwrap();
        for path in &paths {
            let theirs = tree.at(path).ok().map(|found| {
                let values: Vec<&str> = found.params.iter().map(|(_, value)| value).collect();
                (*found.value, values)
            });
            let ours = match table.find(b"", path, Method::Get, |_| None) {
                Found::Route { number, params } => {
                    Some((number, (0..).map_while(|place| params.of(path, place)).collect()))
                }
                _ => None,
            };
            prop_assert_eq!(ours, theirs, "{}", path);
        }
    }
}
