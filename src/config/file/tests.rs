//! Files as operators write them, and the pages they get back.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::config::raw::{Place, Written};
use crate::config::site::*;
use crate::config::{Config, Loaded};
use crate::http::{Method, MethodSet, Status};

/// Reads a text as `site.toml` in the root folder.
fn file(text: &str) -> File {
    read(&Source::new("site.toml", text), Path::new("/"))
}

/// Without mistakes. That something is not used says nothing in a test.
fn sound(text: &str) -> File {
    let mut file = file(text);
    file.warnings.retain(|warning| !warning.problem.starts_with("no route "));
    assert!(
        file.mistakes.is_empty() && file.warnings.is_empty(),
        "{}{}",
        page(&file.mistakes),
        page(&file.warnings)
    );
    file
}

fn page(found: &[ConfigError]) -> String {
    found.iter().map(|mistake| format!("{mistake}\n")).collect()
}

/// What is told of the only mistake, without its place.
fn problem(text: &str) -> String {
    let file = file(text);
    assert_eq!(file.mistakes.len(), 1, "{text}\n{}", page(&file.mistakes));
    file.mistakes[0].problem.clone()
}

#[test]
fn an_empty_file_says_nothing() {
    let file = sound("# nothing\n");
    assert_eq!((file.raw, file.site), (Raw::default(), Site::default()));
}

#[test]
fn settings_have_the_names_and_spellings_of_their_flags() {
    let file = sound(
        "listen = [\":80\", 8081, \"unix:run/a.sock,:82\"]\nidle-timeout = 30\nhead-timeout = 1.5\n\
         defer-accept = false\nmax-body = \"1m\"\npin = [0, 2]\nroot = \"public\"\naccess-log = \"access.log\"\n\
         max-headers = 0x10\nadmin = \"unix:admin.sock\"\n",
    );
    let text =
        |written: &Option<Written>| written.as_ref().map(|written| written.text.to_str().unwrap().to_owned());
    let raw = file.raw;
    let listen: Vec<&str> = raw.listen.iter().map(|written| written.text.to_str().unwrap()).collect();
    assert_eq!(listen, [":80", "8081", "unix:/run/a.sock", ":82"]);
    assert_eq!(text(&raw.idle_timeout).as_deref(), Some("30"));
    assert_eq!(text(&raw.head_timeout).as_deref(), Some("1.5"));
    assert_eq!(text(&raw.defer_accept).as_deref(), Some("off"));
    assert_eq!(text(&raw.max_body).as_deref(), Some("1m"));
    assert_eq!(text(&raw.max_headers).as_deref(), Some("16"));
    assert_eq!(text(&raw.pin).as_deref(), Some("0,2"));
    assert_eq!(text(&raw.root).as_deref(), Some("/public"));
    assert_eq!(text(&raw.access_log).as_deref(), Some("/access.log"));
    assert_eq!(text(&raw.admin).as_deref(), Some("unix:/admin.sock"));
    assert_eq!(raw.idle_timeout.unwrap().place, Place::File(Spot { line: 2, column: 16, length: 2 }));
}

#[test]
fn all_that_can_be_said_of_an_upstream_arrives() {
    let site = sound(
        r#"
[upstream.other]
servers = "app.internal:80"
[upstream.app]
servers = ["http://127.0.0.1:9000", { url = "http://127.0.0.1:9001", weight = 5 }, { url = "unix:/run/a.sock", backup = true }]
hash-by = "cookie:sid"
connect-timeout = "2s"
first-byte-timeout = "3s"
idle-timeout = "4s"
request-timeout = "5s"
total-timeout = "6s"
tunnel-timeout = "7s"
retries = 1
retry-budget = "10%"
retry-backoff = "8ms"
keep-alive = 9
keep-alive-timeout = "10s"
max-connections = 11
queue-timeout = "12s"
resolve-interval = "13s"
health = { path = "/healthz", interval = "14s", timeout = "1s", status = "200-299,404", rise = 4, fall = 5, host = "x" }
eject = { failures = 6, time = "15s", slower-than = 3, max = "40%" }
breaker = { failures = 7, share = "60%", requests = 21, window = "16s", open = "17s", probes = 2 }
fallback = { upstream = "other" }
"#,
    )
    .site;
    let server = |address| ServerSpec { address, weight: 1, is_backup: false };
    let socket = |text: &str| Address::Socket(text.parse().unwrap());
    assert_eq!(
        site.upstreams[0],
        upstream::usual("other", vec![server(Address::Name("app.internal".into(), 80))])
    );
    let app = Upstream {
        name: "app".into(),
        servers: vec![
            server(socket("127.0.0.1:9000")),
            ServerSpec { weight: 5, ..server(socket("127.0.0.1:9001")) },
            ServerSpec { is_backup: true, ..server(Address::Unix("/run/a.sock".into())) },
        ],
        balance: Balance::Hash(KeyOf::Cookie("sid".into())),
        timeouts: Timeouts {
            connect_ms_max: 2_000,
            first_byte_ms_max: 3_000,
            idle_ms_max: 4_000,
            request_ms_max: 5_000,
            total_ms_max: Some(6_000),
            tunnel_ms_max: 7_000,
        },
        retries: Retries { count_max: 1, budget_percent: 10, backoff_ms: 8 },
        idle_max: 9,
        idle_ms_max: 10_000,
        connections_max: Some(11),
        queue_ms_max: 12_000,
        resolve_ms: 13_000,
        health: Some(Health {
            path: "/healthz".into(),
            host: Some("x".into()),
            statuses: vec![(200, 299), (404, 404)],
            interval_ms: 14_000,
            timeout_ms: 1_000,
            rise: 4,
            fall: 5,
        }),
        ejection: Some(Ejection { failures: 6, slower_than: Some(3), ms: 15_000, share_max_percent: 40 }),
        breaker: Some(Breaker {
            failures: 7,
            share_percent: 60,
            requests_min: 21,
            window_ms: 16_000,
            open_ms: 17_000,
            probes: 2,
        }),
        fallback: Some(Fallback::Upstream(0)),
    };
    assert_eq!(site.upstreams[1], app);
}

#[test]
fn parts_of_an_upstream_can_be_switched_off_and_on() {
    let site =
        sound("[upstream.a]\nservers = [9000]\nhealth = true\neject = false\nbreaker = \"off\"\n").site;
    let Upstream { health, ejection, breaker, .. } = &site.upstreams[0];
    assert_eq!((health, ejection, breaker), (&Some(Health::default()), &None, &None));
}

#[test]
fn all_that_can_be_said_of_a_route_arrives() {
    let site = sound(
        r#"
[[route]]
name = "users"
host = ["Api.example.com", "*.example.org"]
path = "/users/{id}"
methods = ["GET", "POST"]
headers = { X-Canary = "1", x-any = true }
proxy = "http://127.0.0.1:9000"
host-header = "server"
rewrite = "/v2/{id}"
upgrades = true
max-body = "1m"
[[route]]
path = "/old/*"
redirect = "https://{host}{path}{query}"
status = 301
[[route]]
path = "/gone"
respond = { status = 410, body = "gone", content-type = "text/html" }
[[route]]
files = "/"
"#,
    )
    .site;
    let users = Route {
        name: "users".into(),
        hosts: vec![HostPattern::Exact("api.example.com".into()), HostPattern::Below(".example.org".into())],
        path: PathPattern::Pattern("/users/{id}".into()),
        methods: Some(MethodSet::of(&[Method::Get, Method::Post])),
        fields: vec![
            FieldMatch { name: "x-canary".into(), value: Some("1".into()) },
            FieldMatch { name: "x-any".into(), value: None },
        ],
        action: Action::Proxy(Proxy {
            upstream: 0,
            host: HostRule::Server,
            path: PathRule::Rewrite(Template(vec![Part::Text("/v2/".into()), Part::Param(0)])),
            upgrades: true,
        }),
        steps: Vec::new(),
        body_bytes_max: Some(1 << 20),
        line: 2,
    };
    assert_eq!(site.routes[0], users);
    assert_eq!(site.upstreams[0].name, "127.0.0.1:9000");
    let to = Template(vec![Part::Text("https://".into()), Part::Host, Part::Path, Part::Query]);
    assert_eq!(site.routes[1].action, Action::Redirect { status: Status::MOVED_PERMANENTLY, to });
    assert_eq!(site.routes[1].name, "/old/*");
    let gone = FixedReply { status: Status::GONE, content_type: "text/html".into(), body: b"gone".to_vec() };
    assert_eq!(site.routes[2].action, Action::Respond(gone));
    assert_eq!(site.routes[3].path, PathPattern::Prefix("/".into()));
    assert_eq!(site.routes[3].action, Action::Files { root: PathBuf::from("/"), strip: String::new() });
}

#[test]
fn a_server_named_in_two_routes_is_one_upstream() {
    let site = sound(
        "[[route]]\npath = \"/a\"\nproxy = \"http://127.0.0.1:9000\"\n\
         [[route]]\npath = \"/b\"\nproxy = 9000\n[[route]]\npath = \"/c\"\nproxy = \"127.0.0.1:9000\"\n",
    )
    .site;
    assert_eq!(site.upstreams.len(), 1);
    assert!(
        site.routes.iter().all(|route| matches!(&route.action, Action::Proxy(proxy) if proxy.upstream == 0))
    );
}

#[test]
fn every_mistake_is_shown_where_it_stands() {
    let told = file(
        r#"idel-timeout = "30s"
[upstream.app]
servers = ["http://127.0.0.1:9000", { url = "https://127.0.0.1:9001", weight = 5 }]
balance = "leest"
retry-budget = "120%"
max-head = "1k"
[[route]]
path = "/users/{id}"
proxy = "ap"
rewrite = "/v2/{idd}"
[[route]]
path = "/x"
"#,
    );
    assert_eq!(
        page(&told.mistakes),
        r#"site.toml:1:1: no such key; did you mean `idle-timeout`?
    1 | idel-timeout = "30s"
      | ^^^^^^^^^^^^
site.toml:3:45: https:// upstreams are not yet supported; write http://, or put a TLS tunnel between
    3 | servers = ["http://127.0.0.1:9000", { url = "https://127.0.0.1:9001", weight = 5 }]
      |                                             ^^^^^^^^^^^^^^^^^^^^^^^^
site.toml:4:11: no such choice; did you mean least? (one of round-robin, least, two-choices, hash)
    4 | balance = "leest"
      |           ^^^^^^^
site.toml:5:16: more than everything; write "0%" to "100%"
    5 | retry-budget = "120%"
      |                ^^^^^^
site.toml:6:1: no such key here; a setting of the server stands above the first [table]
    6 | max-head = "1k"
      | ^^^^^^^^
site.toml:9:9: no such upstream; did you mean `app`?
    9 | proxy = "ap"
      |         ^^^^
site.toml:10:11: nothing stands for `{idd}`; did you mean `{id}`?
   10 | rewrite = "/v2/{idd}"
      |           ^^^^^^^^^^^
site.toml:11:1: nothing becomes of its requests; give it proxy, files, redirect or respond
   11 | [[route]]
      | ^^^^^^^^^
"#
    );
}

#[test]
fn what_is_not_toml_is_shown_in_the_same_way() {
    let text = "a = 1\na = 2\nb = app\nc 3\n[upstream.a\n";
    assert_eq!(
        page(&file(text).mistakes),
        "\
site.toml:2:1: not TOML: duplicate key
    2 | a = 2
      | ^
site.toml:3:5: text stands in quotes; write \"app\"
    3 | b = app
      |     ^^^
site.toml:4:3: not TOML: key with no value, expected `=`
    4 | c 3
      |   ^
site.toml:5:12: not TOML: unclosed table, expected `]`
    5 | [upstream.a
      |            ^
"
    );
}

#[test]
fn a_list_that_is_not_closed_is_one_mistake() {
    assert_eq!(
        page(&file("listen = [\":80\"\nidle-timeout = 30\n[upstream.a]\nservers = \"x:1\"\n").mistakes),
        "\
site.toml:2:1: the list above is not closed; write `]` behind it
    2 | idle-timeout = 30
      | ^
"
    );
    assert_eq!(problem("listen = []"), "this listens nowhere; name an address, or take it out");
}

#[test]
fn mistakes_in_an_upstream_are_put_right() {
    let of = |rest: &str| problem(&format!("[upstream.a]\n{rest}\n"));
    for (rest, told) in [
        ("", "an upstream needs servers"),
        ("servers = []", "at least one server"),
        ("servers = [{ weight = 1 }]", "a server needs a url"),
        ("servers = [9000, \"127.0.0.1:9000\"]", "listed twice"),
        ("servers = [{ url = \"a:1\", weight = 0 }]", "no server has a weight above 0"),
        ("servers = [{ url = \"a:1\", backup = true }]", "all are backups"),
        ("servers = [true]", "this is true or false, where text is needed"),
        ("servers = [9000]\nhash-by = \"client\"\nbalance = \"least\"", "unless balance = \"hash\""),
        ("servers = [9000]\nhash-by = \"everybody\"", "all would go to one server"),
        ("servers = [9000]\nretries = 11", "from 0 to 10"),
        ("servers = [9000]\nconnect-timeout = \"10x\"", "not a duration"),
        ("servers = [9000]\nhealth = 3", "health is true, false or a table"),
        ("servers = [9000]\nhealth = { status = \"399-200\" }", "no range of statuses"),
        ("servers = [9000]\nhealth = { pth = \"/\" }", "did you mean `path`?"),
        ("servers = [9000]\nfallback = { upstream = \"b\" }", "no such upstream"),
        ("servers = [9000]\nfallback = { upstream = \"a\" }", "in a circle: `a` to `a`"),
        ("servers = [9000]\nfallback = { file = \"/nonexistent/x\" }", "there is no /nonexistent/x"),
        ("servers = [9000]\nfallback = { file = \"/\" }", "is a folder"),
        ("servers = [9000]\nfallback = { status = 299 }", "no status that clients know"),
    ] {
        let problem = of(rest);
        assert!(problem.contains(told), "{rest}: {problem}");
    }
    let circle = "[upstream.a]\nservers = [1]\nfallback.upstream = \"b\"\n\
                  [upstream.b]\nservers = [2]\nfallback.upstream = \"c\"\n\
                  [upstream.c]\nservers = [3]\nfallback.upstream = \"b\"\n";
    assert!(problem(circle).contains("`b` to `c` to `b`"));
}

#[test]
fn mistakes_in_a_route_are_put_right() {
    let of = |rest: &str| problem(&format!("[[route]]\n{rest}\n"));
    for (rest, told) in [
        ("respond = \"a\"\nhost = \"a:80\"", "without a port"),
        ("respond = \"a\"\nhost = \"*\"", "leave `host` out"),
        ("respond = \"a\"\nmethods = [\"get\"]", "did you mean `GET`?"),
        ("respond = \"a\"\nmethods = [\"PTCH\"]", "did you mean `PATCH`?"),
        ("respond = \"a\"\nmethods = [\"TRACE\"]", "never let in"),
        ("respond = \"a\"\nmethods = []", "no method is left"),
        ("respond = \"a\"\nheaders = { \"a b\" = \"x\" }", "no name that a field can have"),
        ("respond = \"a\"\nheaders = { a = \"x\\n\" }", "no control characters"),
        ("respond = \"a\"\nheaders = { a = false }", "write true for any value"),
        ("respond = \"a\"\nuse = \"b\"", "no such middleware; there is none yet"),
        ("respond = \"a\"\nupgrades = true", "this goes with proxy, not with respond"),
        ("respond = { status = 204, body = \"x\" }", "has no body"),
        ("respond = \"a\"\nredirect = \"/\"", "stands beside"),
        ("files = \"/nonexistent\"", "no such directory"),
        ("redirect = \"example.com\"", "as `https://example.com`"),
        ("redirect = \"/a b\"", "as %20"),
        ("redirect = \"/\"\nstatus = 200", "one of 301, 302"),
        ("proxy = \"app\"", "no such upstream; there is none yet"),
        ("proxy = 9000\nrewrite = \"/{nonsense}\"", "nothing stands for `{nonsense}`"),
        ("proxy = 9000\nstrip-prefix = \"/api\"", "no path of this route begins so"),
        ("path = \"/a/*\"\nproxy = 9000\nstrip-prefix = \"/a\"\nrewrite = \"/b\"", "choose one"),
        ("path = \"a\"\nproxy = 9000\nrewrite = \"/{x}\"", "a path begins with a slash"),
        ("path = [\"/a\"]\nrespond = \"a\"", "a route for each path"),
    ] {
        let problem = of(rest);
        assert!(problem.contains(told), "{rest}: {problem}");
    }
    assert!(problem("[route]\nrespond = \"a\"").contains("[[route]]"));
}

#[test]
fn routes_that_nobody_can_tell_apart_are_a_mistake() {
    let told = file(
        "[[route]]\npath = \"/users/{id}\"\nrespond = \"a\"\n\n[[route]]\npath = \"/users/{name}\"\nrespond = \"b\"\n",
    );
    assert_eq!(
        page(&told.mistakes),
        "site.toml:5:1: takes the same requests as route `/users/{id}` (line 1); join them, or tell them apart\n    \
             5 | [[route]]\n      | ^^^^^^^^^\n"
    );
    assert!(problem(
        "[[route]]\nname = \"a\"\npath = \"/1\"\nrespond = \"a\"\n[[route]]\nname = \"a\"\npath = \"/2\"\nrespond = \"b\"\n"
    )
    .contains("has the name `a` too"));
}

#[test]
fn a_route_that_nothing_reaches_is_a_warning() {
    let pair = |first: &str, second: &str| {
        file(&format!("[[route]]\n{first}\nrespond = \"a\"\n[[route]]\n{second}\nrespond = \"b\"\n"))
    };
    let hidden = pair("methods = [\"GET\", \"PUT\"]", "methods = [\"GET\"]\nheaders = { a = \"1\" }");
    assert_eq!(hidden.warnings.len(), 1);
    assert!(hidden.warnings[0].problem.starts_with("is never reached: route `GET,PUT /*` (line 1)"));
    assert_eq!(pair("host = [\"a\", \"b\"]", "host = [\"b\", \"c\"]").mistakes.len(), 1);
    assert_eq!(pair("headers = { a = true }", "headers = { a = \"1\" }").warnings.len(), 1);
    for (first, second) in [
        // The closer one is asked first, wherever it stands.
        ("", "methods = [\"GET\"]"),
        ("", "host = \"a\""),
        ("host = \"*.a\"", "host = \"b.a\""),
        ("path = \"/*\"", "path = \"/a/*\""),
        ("path = \"/{a}\"", "path = \"/a\""),
        ("methods = [\"GET\"]", "methods = [\"GET\", \"PUT\"]"),
        ("headers = { a = \"1\" }", "headers = { a = \"2\" }"),
    ] {
        let both = pair(first, second);
        assert!(both.mistakes.is_empty() && both.warnings.is_empty(), "{first} {second}");
    }
}

#[test]
fn routes_without_names_are_numbered_where_they_would_be_called_the_same() {
    let site = sound(
        "[[route]]\nrespond = \"a\"\nheaders = { a = \"1\" }\n[[route]]\nrespond = \"b\"\nheaders = { a = \"2\" }\n",
    )
    .site;
    assert_eq!((&*site.routes[0].name, &*site.routes[1].name), ("/*", "/* #2"));
}

/// As `htpasswd -nbB` makes it.
const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

#[test]
fn all_that_requests_pass_through_arrives() {
    let site = sound(&format!(
        r#"
[trust]
proxies = ["10.0.0.0/8", "::1"]
proxy-protocol = true
connections-per-address = 100
[middleware.limit]
rate-limit = {{ requests = 100, per = "1m", burst = 50, by = "header:X-Key", keys = 10 }}
[middleware.plain]
rate-limit.requests = 7
[middleware.few]
concurrency = {{ requests = 3, by = "claim:sub" }}
[middleware.inside]
access = {{ allow = "10.0.0.0/8", deny = ["10.1.0.0/16"] }}
[middleware.who]
basic = {{ users = {{ alice = "{HASH}" }}, realm = "a b", field = "X-User" }}
[middleware.edit]
headers.request = {{ set = {{ X-A = "{{client}}", x-b = 1 }}, add = {{ x-c = ["1", "2"] }}, remove = ["cookie"] }}
headers.response.remove = "x-powered-by"
[middleware.pages]
cors.origins = "https://App.example.com"
[middleware.id]
request-id = true
[middleware.trace]
trace = true
[middleware.careful]
secure-headers = true
[middleware.token]
[middleware.token.jwt]
keys = {{ algorithm = "HS256", secret = "0123456789abcdef0123456789abcdef", id = "k1" }}
issuer = "me"
audience = ["a", "b"]
leeway = "30s"
cookie = "token"
claims = {{ sub = "X-Sub" }}
forward-token = true
[[route]]
respond = "a"
use = ["token", "few"]
"#
    ))
    .site;
    assert_eq!(
        site.trust.proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/8", "::1/128"]
    );
    assert_eq!((site.trust.proxy_protocol, site.trust.connections_per_address_max), (true, Some(100)));
    let text = |text: &str| Template(vec![Part::Text(String::from(text))]);
    let meant = [
        StepKind::RateLimit(RateLimit {
            requests: 100,
            per_ms: 60_000,
            burst: 50,
            by: KeyOf::Header("x-key".into()),
            keys_max: 10,
        }),
        StepKind::RateLimit(RateLimit {
            requests: 7,
            per_ms: 1_000,
            burst: 7,
            by: KeyOf::Client,
            keys_max: 65_536,
        }),
        StepKind::Concurrency(ConcurrencyLimit {
            requests: 3,
            by: KeyOf::Claim("sub".into()),
            keys_max: 65_536,
        }),
        StepKind::Access {
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            deny: vec!["10.1.0.0/16".parse().unwrap()],
        },
        StepKind::Basic(BasicAuth {
            realm: "a b".into(),
            users: vec![User { name: "alice".into(), hash: HASH.into() }],
            field: Some("x-user".into()),
        }),
        StepKind::Fields {
            request: vec![
                FieldEdit::Remove("cookie".into()),
                FieldEdit::Set("X-A".into(), Template(vec![Part::Client])),
                FieldEdit::Set("x-b".into(), text("1")),
                FieldEdit::Add("x-c".into(), text("1")),
                FieldEdit::Add("x-c".into(), text("2")),
            ],
            response: vec![FieldEdit::Remove("x-powered-by".into())],
        },
        StepKind::Cors { origins: vec!["https://app.example.com".into()] },
        StepKind::RequestId,
        StepKind::Trace,
        StepKind::SecureFields,
        StepKind::Jwt(Jwt {
            keys: vec![KeySource::Local {
                algorithm: Algorithm::Hs256,
                id: Some("k1".into()),
                key: b"0123456789abcdef0123456789abcdef".to_vec(),
            }],
            issuer: Some("me".into()),
            audiences: vec!["a".into(), "b".into()],
            leeway_seconds: 30,
            cookie: Some("token".into()),
            claims: vec![ClaimRule { claim: "sub".into(), field: "x-sub".into() }],
            realm: "myriapod".into(),
            forwards_token: true,
        }),
    ];
    let kinds: Vec<StepKind> = site.steps.into_iter().map(|step| step.kind).collect();
    assert_eq!(kinds, meant);
    assert_eq!(site.routes[0].steps, [10, 2]);
}

#[test]
fn mistakes_in_middleware_are_put_right() {
    let of = |rest: &str| problem(&format!("[middleware.a]\n{rest}\n"));
    for (rest, told) in [
        ("", "does nothing; give it one of rate-limit"),
        ("request-id = true\ntrace = true", "stands beside `request-id`"),
        ("trace = false", "take it out"),
        ("rate-limt = { requests = 1 }\ntrace = true", "did you mean `rate-limit`?"),
        ("rate-limit = {}", "how many?"),
        ("rate-limit = { requests = 0 }", "from 1"),
        ("rate-limit = { requests = 1, by = \"clint\" }", "did you mean client?"),
        ("rate-limit = { requests = 1, by = \"haeder:x\" }", "did you mean `header`?"),
        ("rate-limit = { requests = 1, by = \"cookie:\" }", "write cookie:NAME"),
        ("access = {}", "lets everybody in"),
        ("access = { allow = [] }", "lets nobody in"),
        ("access = { allow = \"10.0.0.1/8\" }", "has host bits set"),
        ("cors = {}", "whose pages"),
        ("cors = { origins = \"https://a/b\" }", "without a path"),
        ("cors = { origins = [\"*\", \"https://a\"] }", "write it alone"),
        ("headers = {}", "changes nothing"),
        ("headers = { response = { remove = [\"Server\"] } }", "write server-header above"),
        ("headers = { response = { set = { date = \"x\" } } }", "by the server alone"),
        ("headers.request.set = { Content-Length = \"1\" }", "by the server alone"),
        ("headers.request.set = { Host = \"a\" }", "write host-header"),
        ("headers.request.set = { a = \"{id}\" }", "nothing stands for `{id}`"),
        ("headers.request.set = { a = \"1\", A = \"2\" }", "set twice"),
        ("headers.response.set = { a = \"x\\r\\n\" }", "no control characters"),
        ("basic = {}", "lets nobody in"),
        ("basic.users.a = \"secret\"", "no hash of a password"),
        ("basic.users.a = \"$2b$99$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\"", "no hash"),
        ("basic.users.a = \"$argon2id$v=19$m=1,t=0,p=1$a$b\"", "no hash"),
        ("basic.users-file = \"/nonexistent\"", "there is no /nonexistent"),
        ("jwt = {}", "no token can be good"),
        ("jwt.keys = []", "no token can be good"),
        ("jwt.keys = {}", "a key needs one of secret"),
        ("jwt.keys = { secret = \"0123456789abcdef0123456789abcdef\" }", "good for one algorithm"),
        (
            "jwt.keys = { algorithm = \"none\", secret = \"0123456789abcdef0123456789abcdef\" }",
            "no such choice",
        ),
        ("jwt.keys = { algorithm = \"HS256\", secret = \"short\" }", "5 bytes are guessed"),
        ("jwt.keys = { algorithm = \"HS256\", secret-hex = \"0g\" }", "no hexadecimal"),
        ("jwt.keys = { algorithm = \"HS256\", secret-file = \"/nonexistent\" }", "there is no"),
        ("jwt.keys = { algorithm = \"HS256\", key = \"x\" }", "has a secret and no key"),
        (
            "jwt.keys = { algorithm = \"HS256\", secret = \"-----BEGIN PUBLIC KEY-----\\nx\" }",
            "this is a key and no secret",
        ),
        ("jwt.keys = { algorithm = \"RS256\", secret = \"x\" }", "a public key is no secret"),
        ("jwt.keys = { algorithm = \"RS256\", key = \"x\" }", "it begins with"),
        ("jwt.keys = { algorithm = \"ES256\", key = \"-----BEGIN EC PRIVATE KEY-----\" }", "a private key"),
        ("jwt.keys = { jwks = \"/nonexistent\" }", "there is no"),
        (
            "jwt = { keys = { algorithm = \"RS256\", key = \"-----BEGIN PUBLIC KEY-----\" }, leeway = \"61s\" }",
            "60s at most",
        ),
    ] {
        let problem = of(rest);
        assert!(problem.contains(told), "{rest}: {problem}");
    }
}

#[test]
fn a_claim_is_counted_behind_the_step_that_believes_it() {
    let text = "[middleware.few]\nrate-limit = { requests = 1, by = \"claim:sub\" }\n\
                [[route]]\nrespond = \"a\"\nuse = \"few\"\n";
    assert!(problem(text).contains("no jwt middleware stands before it"));
}

#[test]
fn what_no_route_uses_is_a_warning() {
    let told = file("[upstream.a]\nservers = 9000\n[middleware.b]\ntrace = true\n");
    assert_eq!(
        page(&told.warnings),
        "site.toml:1:11: no route goes to `a`\n    1 | [upstream.a]\n      |           ^\n\
         site.toml:3:13: no route uses `b`\n    3 | [middleware.b]\n      |             ^\n"
    );
}

/// Pieces that a file is made of, right and wrong.
fn pieces() -> impl Strategy<Value = String> {
    prop_oneof![sound_pieces(), any_pieces()]
}

/// Tables that are sound alone, and together mostly.
fn sound_pieces() -> impl Strategy<Value = String> {
    let route = |number: usize, what: &str| format!("[[route]]\npath = \"/{number}\"\n{what}\n");
    let what = prop::sample::select(vec![
        "proxy = \"a\"\nhost-header = \"{x}\"\nstrip-prefix = \"/1\"",
        "proxy = \"unix:x\"\nrewrite = \"/{{{path}}}{query}\"",
        "redirect = \"https://{host}\"\nstatus = 302\nuse = [\"b\", \"c\"]",
        "respond = { status = 503, body = \"\\u0000é\\\"\" }\nmax-body = 7\nmethods = [\"PUT\"]",
        "respond = \"\"\nheaders = { a = \"\", B = true }\nhost = \"*.a\"\nname = \"\\\"\"",
    ]);
    let tables = "[upstream.a]\nservers = [\"x\", { url = \"http://[::1]\", weight = 0 }]\nbreaker.share = 3\n\
                  [upstream.\"é.\"]\nservers = 1\nhash-by = \"cookie:a\"\neject = { slower-than = 2 }\n\
                  [middleware.b]\nheaders.request = { add = { a = [\"1\", \"2\"], b = 3 }, remove = \"c\" }\n\
                  [middleware.c]\naccess = { deny = [\"::/0\"] }\n";
    let tables = tables.replace("\"x\"", "\"http://x\"");
    prop::collection::vec(what, 0..8).prop_map(move |routes| {
        let routes = routes.iter().enumerate().map(|(number, what)| route(number, what));
        tables.clone() + &routes.collect::<String>()
    })
}

fn any_pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "[upstream.a]\n",
        "[middleware.b]\n",
        "[[route]]\n",
        "[trust]\n",
        "servers = [9000, \"x:1\"]\n",
        "proxy = \"a\"\n",
        "proxy = \"http://127.0.0.1:1\"\n",
        "path = \"/{a}/{*b}\"\n",
        "path = \"/x/*\"\n",
        "rewrite = \"/{b}{query}\"\n",
        "use = \"b\"\n",
        "rate-limit = { requests = 1 }\n",
        "jwt = { keys = [] }\n",
        "fallback = { upstream = \"a\" }\n",
        "respond = { body = \"é\" }\n",
        "host = [\"a\", \"*.b\"]\n",
        "methods = \"GET\"\n",
        "listen = [\":1\"]\n",
        "health = true\n",
        "= \u{1b}\t",
        "{",
        "\"",
        "é",
        "\r\n",
        "retries = ",
        "99999999999999999999",
        "1e400\n",
        "true\n",
        "1979-05-27\n",
        "[[upstream]]\n",
        "[route]\n",
        "route = 1\n",
        "middleware = [1]\n",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// A route begins on another line in another file.
fn without_lines(mut site: Site) -> Site {
    site.routes.iter_mut().for_each(|route| route.line = 0);
    site
}

proptest! {
    #[test]
    fn any_text_is_understood_or_refused_at_places_that_it_has(text in prop_oneof![pieces(), any::<String>()]) {
        let told = file(&text);
        let lines = text.split('\n').count() as u32;
        for mistake in told.mistakes.iter().chain(&told.warnings) {
            let excerpt = mistake.excerpt.as_ref().expect("a place");
            prop_assert!((1..=lines).contains(&excerpt.spot.line), "{mistake}");
            prop_assert_eq!(excerpt.text.lines().count(), 2);
            prop_assert!(!mistake.to_string().replace('\n', "").chars().any(char::is_control), "{mistake}");
        }
        // What has no mistakes has nothing that points nowhere.
        if told.mistakes.is_empty() {
            for route in &told.site.routes {
                prop_assert!(route.steps.iter().all(|step| *step < told.site.steps.len()));
                if let Action::Proxy(proxy) = &route.action {
                    prop_assert!(!told.site.upstreams[proxy.upstream].servers.is_empty());
                }
            }
            let config = Config { site: told.site.clone(), ..Config::default() };
            let (warnings, raw, lines) = (Vec::new(), Raw::default(), BTreeMap::new());
            let again = file(&Loaded { config, warnings, raw, file: None, lines }.dump());
            prop_assert!(again.mistakes.is_empty(), "{}", page(&again.mistakes));
            prop_assert_eq!(without_lines(again.site), without_lines(told.site));
        }
    }
}
