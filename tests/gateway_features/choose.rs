//! Which server a request goes to, and what happens when servers fail: weights, hashes, fallbacks, breakers, ejection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::common::upstream::{Fake, Gateway, nobody, ok};
use super::{comes_to, eventually, get, named, upstream};

const TO_POOL: &str = "[[route]]\nname = \"all\"\npath = \"/*\"\nproxy = \"pool\"\n";

/// Requests that each of them got.
fn shares(fakes: &[Fake]) -> Vec<usize> {
    fakes.iter().map(|fake| fake.seen().len()).collect()
}

/// Answers 503 as long as it is told to be ill.
fn moody() -> (Fake, Arc<AtomicBool>) {
    let is_ill = Arc::new(AtomicBool::new(false));
    let mood = Arc::clone(&is_ill);
    let fake = Fake::start(move |talk| {
        while talk.request().is_some() {
            let answer = match mood.load(Ordering::Relaxed) {
                true => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nill".to_vec(),
                false => ok("well"),
            };
            if !talk.say(answer) {
                return;
            }
        }
    });
    (fake, is_ill)
}

#[test]
fn a_canary_gets_its_five_in_a_hundred() {
    let fakes = [named("stable"), named("canary")];
    let site = format!(
        "[upstream.pool]\nservers = [{{ url = {}, weight = 95 }}, {{ url = {}, weight = 5 }}]\n{TO_POOL}",
        fakes[0].url(),
        fakes[1].url()
    );
    let gateway = Gateway::start(&site);
    let mut client = gateway.connect();
    let mut longest_run = 0;
    let mut run = 0;
    for _ in 0..400 {
        run = if client.ask("/").text() == "stable" { run + 1 } else { 0 };
        longest_run = longest_run.max(run);
    }
    assert_eq!(shares(&fakes), [380, 20]);
    assert!(longest_run <= 20, "the canary's come in between, not at the end: {longest_run}");
    let of = |fake: &Fake| {
        let labels = format!("upstream=\"pool\",server=\"{}\",class=\"2xx\"", fake.address());
        gateway.metric(&format!("myriapod_upstream_requests_total{{{labels}}}"))
    };
    assert_eq!((of(&fakes[0]), of(&fakes[1])), (380.0, 20.0));
}

#[test]
fn a_cookie_stays_with_its_server_and_moves_only_when_that_is_gone() {
    let mut fakes: Vec<Fake> = ["0", "1", "2", "3"].iter().map(|name| named(name)).collect();
    let servers: Vec<String> = fakes.iter().map(Fake::url).collect();
    let site = format!(
        "[upstream.pool]\nservers = [{}]\nhash-by = \"cookie:session\"\n{TO_POOL}",
        servers.join(", ")
    );
    let gateway = Gateway::start(&site);
    let ask = |cookie: usize| get(&gateway, "/", &format!("Cookie: a=b; session=s{cookie}\r\n")).text();
    let homes: Vec<String> = (0..40).map(ask).collect();
    for (cookie, home) in homes.iter().enumerate() {
        assert_eq!(&ask(cookie), home, "s{cookie}");
    }
    let counts = homes.iter().fold(BTreeMap::new(), |mut counts: BTreeMap<&str, u32>, home| {
        *counts.entry(home).or_default() += 1;
        counts
    });
    assert_eq!(counts.len(), 4, "all are used: {counts:?}");
    drop(fakes.pop());
    for (cookie, home) in homes.iter().enumerate() {
        let now = ask(cookie);
        assert!(now == *home || home == "3", "s{cookie} moved from {home} to {now}");
        assert_ne!(now, "3");
    }
}

#[test]
fn a_backup_is_asked_when_all_others_are_out() {
    let fakes = [named("first"), named("backup")];
    let site = format!(
        "[upstream.pool]\nservers = [{}, {{ url = {}, backup = true }}]\n{TO_POOL}",
        fakes[0].url(),
        fakes[1].url()
    );
    let gateway = Gateway::start(&site);
    (0..5).for_each(|_| assert_eq!(get(&gateway, "/", "").text(), "first"));
    let [first, _backup] = fakes;
    drop(first);
    (0..5).for_each(|_| assert_eq!(get(&gateway, "/", "").text(), "backup"));
}

#[test]
fn a_fallback_answers_for_a_dead_upstream_and_says_why() {
    let other = named("other");
    let dead = |more: &str| format!("servers = [\"http://{}\"]\nretries = 0\n{more}\n", nobody());
    let site = format!(
        "[upstream.fixed]\n{}[upstream.file]\n{}[upstream.pool]\n{}[upstream.bare]\n{}{}\
         [[route]]\npath = \"/fixed\"\nproxy = \"fixed\"\n[[route]]\npath = \"/file\"\nproxy = \"file\"\n\
         [[route]]\npath = \"/pool\"\nproxy = \"pool\"\n[[route]]\npath = \"/bare\"\nproxy = \"bare\"\n",
        dead("fallback = { status = 200, body = \"{}\", content-type = \"application/json\" }"),
        dead(&format!("fallback = {{ file = \"{}\" }}", concat!(env!("CARGO_MANIFEST_DIR"), "/LICENSE-MIT"))),
        dead("fallback = { upstream = \"other\" }"),
        dead(""),
        upstream("other", &other, "")
    );
    let gateway = Gateway::start(&site);
    let fixed = get(&gateway, "/fixed", "");
    assert_eq!((fixed.status, fixed.text().as_str()), (200, "{}"));
    assert_eq!(fixed.field("content-type"), Some("application/json"));
    let file = get(&gateway, "/file", "");
    assert!(file.status == 503 && file.text().contains("Permission is hereby granted"), "{}", file.head);
    let pool = get(&gateway, "/pool", "");
    assert_eq!((pool.status, pool.text().as_str()), (200, "other"));
    for (name, response) in [("fixed", fixed), ("file", file), ("pool", pool)] {
        assert_eq!(response.field("x-fallback-cause"), Some("unreachable"), "{name}");
        let labels = format!("upstream=\"{name}\",cause=\"unreachable\"");
        comes_to(&gateway, &format!("myriapod_upstream_fallbacks_total{{{labels}}}"), 1.0);
    }
    let bare = get(&gateway, "/bare", "");
    assert_eq!((bare.status, bare.field("x-fallback-cause")), (502, None));
}

#[test]
fn when_all_have_failed_nobody_waits_for_another() {
    let servers = format!("servers = [\"http://{}\", \"http://{}\"]", nobody(), nobody());
    let gateway = Gateway::start(&format!("[upstream.pool]\n{servers}\nretry-backoff = \"1m\"\n{TO_POOL}"));
    assert_eq!(get(&gateway, "/", "").status, 502, "after both were asked, and not a minute later");
    comes_to(&gateway, "myriapod_upstream_retries_total{upstream=\"pool\"}", 1.0);
}

#[test]
fn a_breaker_opens_lets_one_through_and_closes_and_each_is_told() {
    let (fake, is_ill) = moody();
    let more = "retries = 0\neject = false\nbreaker = { failures = 3, open = \"100ms\" }";
    let gateway = Gateway::start(&format!("{}{TO_POOL}", upstream("pool", &fake, more)));
    let server = format!("upstream=\"pool\",server=\"{}\"", fake.address());
    let state = |state: &str, reason: &str| {
        format!("myriapod_upstream_breaker_state{{{server},state=\"{state}\",reason=\"{reason}\"}}")
    };
    let changes = |change: &str| {
        gateway.metric(&format!("myriapod_upstream_changes_total{{{server},change=\"{change}\"}}"))
    };
    assert_eq!(get(&gateway, "/", "").text(), "well");
    comes_to(&gateway, &state("closed", ""), 1.0);

    is_ill.store(true, Ordering::Relaxed);
    (0..3).for_each(|_| assert_eq!(get(&gateway, "/", "").text(), "ill", "passed on as it is"));
    let asked = fake.seen().len();
    let refused = get(&gateway, "/", "");
    // A slow machine may have let the time of the breaker pass: then it was asked, to see.
    if fake.seen().len() == asked {
        assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    }
    assert!(changes("breaker_opened") >= 1.0);
    let told = || gateway.told();
    let opened = format!("breaker_opened: {} of pool: failures_in_row", fake.address());
    eventually("the log tells that it opened", || told().contains(&opened));

    is_ill.store(false, Ordering::Relaxed);
    eventually("it is asked again", || get(&gateway, "/", "").text() == "well");
    let closed = format!("myriapod_upstream_breaker_state{{{server},state=\"closed\"");
    comes_to(&gateway, &closed, 1.0);
    assert!(changes("breaker_half_opened") >= 1.0, "{}", told());
    assert_eq!(changes("breaker_closed"), 1.0);
    for change in ["breaker_half_opened", "breaker_closed"] {
        let line = format!("{change}: {} of pool", fake.address());
        eventually("the log tells of the rest", || told().contains(&line));
    }
    comes_to(&gateway, &format!("myriapod_upstream_available{{{server}}}"), 1.0);
}

#[test]
fn a_server_that_fails_is_let_be_and_comes_back() {
    let ((ill, is_ill), well) = (moody(), named("well"));
    is_ill.store(true, Ordering::Relaxed);
    let more = "retries = 0\nbreaker = false\neject = { failures = 2, time = \"100ms\" }";
    let servers = format!("servers = [{}, {}]", ill.url(), well.url());
    let gateway = Gateway::start(&format!("[upstream.pool]\n{servers}\n{more}\n{TO_POOL}"));
    let changes = |change: &str| {
        let labels = format!("upstream=\"pool\",server=\"{}\",change=\"{change}\"", ill.address());
        gateway.metric(&format!("myriapod_upstream_changes_total{{{labels}}}"))
    };
    eventually("it is let be", || {
        get(&gateway, "/", "");
        changes("ejected") >= 1.0
    });
    is_ill.store(false, Ordering::Relaxed);
    let before = ill.seen().len();
    eventually("it comes back", || {
        assert_eq!(get(&gateway, "/", "").text(), "well");
        ill.seen().len() > before
    });
    assert!(changes("returned") >= 1.0);
}

#[test]
fn probes_that_fail_and_succeed_are_changes_too() {
    let (fake, is_ill) = moody();
    let more = "health = { path = \"/healthz\", interval = \"20ms\", rise = 1, fall = 1 }";
    let gateway = Gateway::start(&format!("{}{TO_POOL}", upstream("pool", &fake, more)));
    let server = format!("upstream=\"pool\",server=\"{}\"", fake.address());
    let changed = |change: &str| {
        comes_to(&gateway, &format!("myriapod_upstream_changes_total{{{server},change=\"{change}\"}}"), 1.0);
    };
    is_ill.store(true, Ordering::Relaxed);
    changed("unhealthy");
    comes_to(&gateway, &format!("myriapod_upstream_available{{{server}}}"), 0.0);
    is_ill.store(false, Ordering::Relaxed);
    changed("healthy");
    comes_to(&gateway, &format!("myriapod_upstream_available{{{server}}}"), 1.0);
}
