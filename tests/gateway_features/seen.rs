//! What an operator sees: access lines with the way and the phases of a request, traces, metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::common::Folder;
use super::common::upstream::{Fake, Gateway, nobody, ok};
use super::{comes_to, eventually, get, named, page, upstream};

/// A gateway whose access lines go to a file.
struct Logged {
    gateway: Gateway,
    folder: Folder,
}

impl Logged {
    fn start(site: &str) -> Logged {
        let folder = Folder::new();
        let log = folder.join("access.log");
        let words = ["--access-log", &log, "--access-log-format", "json"];
        Logged { gateway: Gateway::with(site, &words), folder }
    }

    /// The lines of requests for that path, when there are so many.
    fn lines(&self, path: &str, count: usize) -> Vec<Value> {
        let read = || {
            let text = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
            let lines = text.lines().map(|line| serde_json::from_str(line).expect(line));
            let is_it = |line: &Value| line["request"].as_str().is_some_and(|text| text.contains(path));
            lines.filter(is_it).collect::<Vec<Value>>()
        };
        eventually("the lines are written", || read().len() >= count);
        read()
    }
}

const PHASES: [&str; 7] =
    ["accept_us", "head_us", "queue_us", "connect_us", "first_byte_us", "body_us", "write_us"];

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap_or_else(|| panic!("no {key} in {line}"))
}

#[test]
fn a_line_tells_the_way_of_a_request_and_what_took_how_long() {
    // The head after 30 ms, the rest of the body after 20 more.
    let fake = Fake::start(|talk| {
        while talk.request().is_some() {
            if talk.is_let_go_in(Duration::from_millis(30)) {
                return;
            }
            talk.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
            if talk.is_let_go_in(Duration::from_millis(20)) {
                return;
            }
            talk.say("llo");
        }
    });
    let servers = format!("servers = [{}, {{ url = \"http://{}\", weight = 10 }}]", fake.url(), nobody());
    let site =
        format!("[upstream.pool]\n{servers}\n[[route]]\nname = \"all\"\npath = \"/*\"\nproxy = \"pool\"\n");
    let logged = Logged::start(&site);
    let mut client = logged.gateway.connect();
    assert_eq!(client.ask("/one").text(), "hello");
    assert_eq!(client.ask("/two").text(), "hello");
    for (path, is_first) in [("/one", true), ("/two", false)] {
        let line = &logged.lines(path, 1)[0];
        assert_eq!(
            (&line["route"], &line["upstream"]),
            (&Value::from("all"), &Value::from("pool")),
            "{line}"
        );
        assert_eq!(line["server"], Value::from(fake.address().to_string()), "{line}");
        assert_eq!((number(line, "status"), number(line, "bytes")), (200, 5), "{line}");
        assert!((1..=2).contains(&number(line, "tries")), "{line}");
        assert!(line.get("refused_by").is_none() && line.get("fallback").is_none(), "{line}");
        let duration_us = number(line, "duration_us");
        assert!(duration_us >= 49_000, "{line}");
        assert!(number(line, "first_byte_us") >= 29_000 && number(line, "body_us") >= 19_000, "{line}");
        // What was before the head was whole is beside the duration.
        let within: u64 = PHASES[2..].iter().map(|phase| number(line, phase)).sum();
        assert!(within <= duration_us + 2_000 && within + 5_000 >= duration_us, "{within} of {line}");
        assert!(number(line, "accept_us") < 1_000_000 && number(line, "head_us") < 1_000_000, "{line}");
        assert!(is_first || number(line, "connect_us") < 10_000, "{line}");
    }
    let tries: u64 = ["/one", "/two"].iter().map(|path| number(&logged.lines(path, 1)[0], "tries")).sum();
    assert!(tries > 2, "one of them met the dead server first");
}

#[test]
fn a_line_tells_what_refused_a_request_or_why_nobody_answered() {
    let site = format!(
        "[middleware.fair]\nrate-limit = {{ requests = 1, per = \"1h\" }}\n\
         [upstream.pool]\nservers = [\"http://{}\"]\nretries = 0\n\
         [upstream.soft]\nservers = [\"http://{}\"]\nretries = 0\nfallback = {{ body = \"sorry\" }}\n\
         [[route]]\nname = \"limited\"\npath = \"/limited\"\nrespond = \"ok\"\nuse = \"fair\"\n\
         [[route]]\nname = \"small\"\npath = \"/small\"\nproxy = \"pool\"\nmax-body = \"3\"\n\
         [[route]]\nname = \"dead\"\npath = \"/dead\"\nproxy = \"pool\"\n\
         [[route]]\nname = \"soft\"\npath = \"/soft\"\nproxy = \"soft\"\n",
        nobody(),
        nobody()
    );
    let logged = Logged::start(&site);
    let gateway = &logged.gateway;
    assert_eq!(get(gateway, "/limited", "").status, 200);
    assert_eq!(get(gateway, "/limited", "").status, 429);
    let lines = logged.lines("/limited", 2);
    assert_eq!((&lines[0]["route"], lines[0].get("refused_by")), (&Value::from("limited"), None));
    assert_eq!(lines[1]["refused_by"], Value::from("fair"), "{}", lines[1]);

    let mut client = gateway.connect();
    client.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response().status, 413);
    assert_eq!(logged.lines("/small", 1)[0]["refused_by"], Value::from("max-body"));

    assert_eq!(get(gateway, "/dead", "").status, 502);
    let line = &logged.lines("/dead", 1)[0];
    assert_eq!(
        (&line["trouble"], &line["upstream"]),
        (&Value::from("unreachable"), &Value::from("pool")),
        "{line}"
    );
    assert_eq!(number(line, "tries"), 1, "{line}");
    assert_eq!(get(gateway, "/soft", "").status, 503);
    let line = &logged.lines("/soft", 1)[0];
    assert_eq!(
        (&line["trouble"], &line["fallback"]),
        (&Value::from("unreachable"), &Value::from("unreachable"))
    );
}

#[test]
fn time_that_led_to_nothing_is_in_the_line_too() {
    let fake =
        Fake::start(|talk| while talk.request().is_some() && !talk.is_let_go_in(super::common::PATIENCE) {});
    let more = "retries = 0\nfirst-byte-timeout = \"60ms\"";
    let site = upstream("pool", &fake, more) + "[[route]]\npath = \"/*\"\nproxy = \"pool\"\n";
    let logged = Logged::start(&site);
    assert_eq!(get(&logged.gateway, "/silent", "").status, 504);
    let line = &logged.lines("/silent", 1)[0];
    assert!(number(line, "first_byte_us") >= 59_000 && number(line, "body_us") == 0, "{line}");
    let within: u64 = PHASES[2..].iter().map(|phase| number(line, phase)).sum();
    assert!(within + 5_000 >= number(line, "duration_us"), "{within} of {line}");
}

#[test]
fn a_body_in_chunks_that_grows_too_large_is_told_of_as_one_with_a_length() {
    let fake = Fake::echoes();
    let route = "[[route]]\nname = \"small\"\npath = \"/*\"\nproxy = \"pool\"\nmax-body = \"3\"\n";
    let logged = Logged::start(&format!("{}{route}", upstream("pool", &fake, "")));
    let mut client = logged.gateway.connect();
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 413);
    assert_eq!(logged.lines("/x", 1)[0]["refused_by"], Value::from("max-body"));
}

#[test]
fn a_client_that_does_not_wait_and_a_server_that_breaks_off_are_told_of() {
    let fake = Fake::start(|talk| {
        let Some(seen) = talk.request() else { return };
        match seen.line().contains("/cut") {
            true => talk.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"),
            false => talk.is_let_go_in(super::common::PATIENCE),
        };
    });
    let site = upstream("pool", &fake, "") + "[[route]]\nname = \"all\"\npath = \"/*\"\nproxy = \"pool\"\n";
    let logged = Logged::start(&site);
    let mut client = logged.gateway.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is under way", || fake.seen().len() == 1);
    client.reset();
    let line = &logged.lines("/slow", 1)[0];
    assert_eq!((number(line, "status"), &line["upstream"]), (499, &Value::from("pool")), "{line}");
    assert_eq!((line["server"].as_str(), number(line, "tries")), (Some(&*fake.address().to_string()), 1));
    comes_to(&logged.gateway, "myriapod_route_requests_total{route=\"all\",class=\"none\"}", 1.0);

    let mut client = logged.gateway.connect();
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.try_response().is_err(), "half an answer is never whole");
    let line = &logged.lines("/cut", 1)[0];
    assert_eq!((number(line, "status"), &line["trouble"]), (200, &Value::from("broken")), "{line}");
    assert_eq!(line["server"], Value::from(fake.address().to_string()), "{line}");
}

#[test]
fn a_trace_goes_on_upstream_with_another_span_and_is_in_the_log() {
    let fake = named("hello");
    let site = format!(
        "[middleware.trace]\ntrace = true\n[middleware.id]\nrequest-id = true\n{}\
         [[route]]\npath = \"/*\"\nproxy = \"pool\"\nuse = [\"trace\", \"id\"]\n",
        upstream("pool", &fake, "")
    );
    let logged = Logged::start(&site);
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let fields = format!("traceparent: 00-{trace}-{span}-01\r\ntracestate: a=b\r\nX-Request-Id: mine-7\r\n");
    let response = get(&logged.gateway, "/go-on", &fields);
    assert_eq!(response.field("x-request-id"), Some("mine-7"));
    get(&logged.gateway, "/begin", "");
    let seen = fake.seen();
    let parts = |at: usize| {
        let values = seen[at].fields("traceparent");
        assert_eq!(values.len(), 1, "{}", seen[at].head);
        values[0].split('-').map(String::from).collect::<Vec<_>>()
    };
    let went_on = parts(0);
    assert_eq!((went_on[0].as_str(), went_on[1].as_str(), went_on[3].as_str()), ("00", trace, "01"));
    assert!(went_on[2] != span && went_on[2].len() == 16, "{went_on:?}");
    assert_eq!(seen[0].fields("tracestate"), ["a=b"]);
    assert_eq!(seen[0].fields("x-request-id"), ["mine-7"]);
    let begun = parts(1);
    assert!(begun[1].len() == 32 && begun[1] != trace, "{begun:?}");
    let line = &logged.lines("/go-on", 1)[0];
    assert_eq!(
        (&line["trace_id"], &line["request_id"]),
        (&Value::from(trace), &Value::from("mine-7")),
        "{line}"
    );
    assert_eq!(logged.lines("/begin", 1)[0]["trace_id"], Value::from(begun[1].as_str()));
}

#[test]
fn metrics_of_many_routes_keep_the_grammar_in_both_formats() {
    let fake = Fake::says(ok("hello"));
    let mut site = upstream("pool", &fake, "health = true");
    for number in 0..200 {
        site.push_str(&format!("[[route]]\npath = \"/r{number}/{{id}}\"\nproxy = \"pool\"\n"));
    }
    site.push_str("[[route]]\npath = '/say \"hi\"/{id}'\nrespond = \"hi\"\n");
    let gateway = Gateway::start(&site);
    assert_eq!(get(&gateway, "/r7/x", "").text(), "hello");
    assert_eq!(get(&gateway, "/say%20%22hi%22/x", "").text(), "hi");
    // An answer is counted when it is out.
    comes_to(&gateway, "myriapod_route_duration_seconds_count", 2.0);
    eventually("who probes has begun", || {
        page(&gateway, "*/*").contains("\nmyriapod_upstream_probes_total{")
    });
    let accepts = ["text/plain", "application/openmetrics-text; version=1.0.0"];
    for (accept, is_open) in accepts.into_iter().zip([false, true]) {
        let page = page(&gateway, accept);
        let names = check_grammar(&page, is_open);
        for line in [
            r#"myriapod_route_requests_total{route="/r7/{id}",class="2xx"} 1"#,
            r#"myriapod_route_requests_total{route="/say \"hi\"/{id}",class="2xx"} 1"#,
            r#"myriapod_route_duration_seconds_count{route="/r7/{id}"} 1"#,
            r#"myriapod_upstream_duration_seconds_count{upstream="pool"} 1"#,
        ] {
            assert!(page.lines().any(|other| other == line), "no {line}");
        }
        for name in README_NAMES {
            assert!(names.contains(*name), "{name}, which the manual tells of");
        }
    }
}

/// What the manual names.
const README_NAMES: &[&str] = &[
    "myriapod_route_requests_total",
    "myriapod_route_refusals_total",
    "myriapod_route_duration_seconds_bucket",
    "myriapod_upstream_requests_total",
    "myriapod_upstream_failures_total",
    "myriapod_upstream_changes_total",
    "myriapod_upstream_retries_total",
    "myriapod_upstream_retries_refused_total",
    "myriapod_upstream_stale_total",
    "myriapod_upstream_queued_total",
    "myriapod_upstream_tunnels_total",
    "myriapod_upstream_fallbacks_total",
    "myriapod_upstream_duration_seconds_bucket",
    "myriapod_upstream_connections",
    "myriapod_upstream_dialled_total",
    "myriapod_upstream_reused_total",
    "myriapod_upstream_available",
    "myriapod_upstream_breaker_state",
    "myriapod_upstream_probes_total",
];

/// Every line is one of the format; the names of all samples.
fn check_grammar(page: &str, is_open: bool) -> BTreeSet<String> {
    let (mut families, mut samples, mut names) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut family = (String::new(), String::new());
    assert_eq!(page.ends_with("\n# EOF\n"), is_open);
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.splitn(3, ' ');
            let (what, name, value) = (words.next(), words.next(), words.next());
            if what == Some("TYPE") {
                family = (name.expect(line).to_owned(), value.expect(line).to_owned());
                assert_eq!(families.insert(family.0.clone(), family.1.clone()), None, "{line} comes twice");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect(line);
        assert!(value.parse::<f64>().expect(line) >= 0.0, "{line}");
        assert!(samples.insert(series.to_owned()), "{line} comes twice");
        let name = series.split('{').next().expect(line);
        check_labels(&series[name.len()..]);
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
        let suffix =
            name.strip_prefix(&*family.0).unwrap_or_else(|| panic!("{line} stands below {family:?}"));
        let suffixes: &[&str] = match (&*family.1, is_open) {
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            ("counter", true) => &["_total"],
            ("info", true) => &["_info"],
            _ => &[""],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        names.insert(name.to_owned());
    }
    names
}

/// `{name="value",...}`, quotes and backslashes in values escaped.
fn check_labels(labels: &str) {
    let Some(inner) = labels.strip_prefix('{') else { return assert_eq!(labels, "") };
    let mut rest = inner;
    loop {
        let (name, value) = rest.split_once("=\"").expect(labels);
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{labels}");
        let mut is_escaped = false;
        let end = value.find(|letter| {
            let is_end = letter == '"' && !is_escaped;
            assert!(!is_escaped || matches!(letter, '"' | '\\' | 'n'), "{labels}");
            is_escaped = letter == '\\' && !is_escaped;
            is_end
        });
        rest = &value[end.expect(labels) + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(rest, "}", "{labels}"),
        }
    }
}
