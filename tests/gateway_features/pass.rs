//! What becomes of requests: passed on changed or unchanged, sent elsewhere, answered here.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use super::common::upstream::{Fake, Gateway};
use super::common::{Client, Folder};
use super::{get, named, ok, upstream};

#[test]
fn hosts_and_paths_choose_the_upstream() {
    let (api, web, any) = (named("api"), named("web"), named("any"));
    let route = |keys: &str| format!("[[route]]\n{keys}\n");
    let site = [
        upstream("api", &api, ""),
        upstream("web", &web, ""),
        upstream("any", &any, ""),
        route("path = \"/*\"\nproxy = \"any\""),
        route("host = \"api.test\"\nproxy = \"api\""),
        route("host = \"*.shop.test\"\npath = \"/*\"\nproxy = \"web\""),
        route("path = \"/v1/*\"\nmethods = [\"GET\"]\nproxy = \"web\""),
        route("path = \"/v1/*\"\nheaders = { x-canary = \"1\" }\nproxy = \"api\""),
    ];
    let gateway = Gateway::start(&site.concat());
    let mut client = gateway.connect();
    let mut ask = |host: &str, line: &str, more: &str| {
        client.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"));
        client.response().text()
    };
    assert_eq!(ask("api.test", "GET /", ""), "api");
    assert_eq!(ask("API.test:8080", "GET /deep/er", ""), "api");
    assert_eq!(ask("a.b.shop.test", "GET /", ""), "web");
    assert_eq!(ask("shop.test", "GET /", ""), "any", "not below itself");
    assert_eq!(ask("x.test", "GET /v1/a", ""), "web");
    assert_eq!(ask("x.test", "POST /v1/a", "X-Canary: 1\r\nContent-Length: 0\r\n"), "api");
    assert_eq!(ask("x.test", "GET /v1a", ""), "any");
}

#[test]
fn paths_are_stripped_or_rewritten() {
    let fake = named("hello");
    let site = [
        upstream("pool", &fake, ""),
        String::from("[[route]]\npath = \"/app/*\"\nproxy = \"pool\"\nstrip-prefix = \"/app\"\n"),
        String::from("[[route]]\npath = \"/users/{id}\"\nproxy = \"pool\"\nrewrite = \"/v2/people/{id}\"\n"),
        String::from("[[route]]\npath = \"/q\"\nproxy = \"pool\"\nrewrite = \"/find?by=name\"\n"),
        String::from("[[route]]\npath = \"/own\"\nproxy = \"pool\"\nhost-header = \"inner.test\"\n"),
        String::from("[[route]]\npath = \"/server\"\nproxy = \"pool\"\nhost-header = \"server\"\n"),
    ];
    let gateway = Gateway::start(&site.concat());
    for (asked, told, host) in [
        ("/app/a/b?x=1", "/a/b?x=1", "a"),
        ("/app", "/", "a"),
        ("/app/", "/", "a"),
        ("/app/../app/%C3%BC?%2f", "/%C3%BC?%2f", "a"),
        ("/users/7?full=1", "/v2/people/7?full=1", "a"),
        ("/users/a%20b", "/v2/people/a%20b", "a"),
        ("/q?x=1", "/find?by=name", "a"),
        ("/own", "/own", "inner.test"),
        ("/server", "/server", &fake.address().to_string()),
    ] {
        assert_eq!(get(&gateway, asked, "").status, 200, "{asked}");
        let seen = fake.seen().pop().expect("it came");
        assert_eq!(seen.line(), format!("GET {told} HTTP/1.1"), "{asked}");
        assert_eq!(seen.fields("host"), [host], "{asked}");
    }
}

#[test]
fn fields_are_changed_on_both_ways() {
    let fake = Fake::says("HTTP/1.1 200 OK\r\nServer: inner/1.0\r\nX-Old: 1\r\nContent-Length: 2\r\n\r\nok");
    let site = format!(
        "[middleware.tidy]\nheaders = {{ request = {{ remove = [\"x-debug\"], set = {{ x-from = \"{{client}}\", \
         x-path = \"{{path}}{{query}}\" }}, add = {{ x-tag = [\"1\", \"2\"] }} }}, \
         response = {{ set = {{ x-old = \"new\", x-host = \"{{host}}\" }} }} }}\n{}\
         [[route]]\npath = \"/*\"\nproxy = \"pool\"\nuse = \"tidy\"\n",
        upstream("pool", &fake, "")
    );
    let gateway = Gateway::start(&site);
    let response = get(&gateway, "/a?b", "X-Debug: 1\r\nX-From: me\r\nX-Tag: 0\r\n");
    assert_eq!(response.text(), "ok");
    assert_eq!(response.field("x-old"), Some("new"));
    assert_eq!(response.field("x-host"), Some("a"));
    assert_ne!(response.field("server"), Some("inner/1.0"));
    let seen = &fake.seen()[0];
    assert!(seen.fields("x-debug").is_empty());
    assert_eq!(seen.fields("x-from"), ["127.0.0.1"]);
    assert_eq!(seen.fields("x-path"), ["/a?b"]);
    assert_eq!(seen.fields("x-tag"), ["0", "1", "2"]);
}

#[test]
fn what_needs_no_upstream_is_answered_here() {
    let folder = Folder::new();
    folder.write("public/page.txt", b"a page");
    let site = format!(
        "[[route]]\npath = \"/old/*\"\nredirect = \"https://new.test{{path}}{{query}}\"\nstatus = 301\n\
         [[route]]\npath = \"/go/{{id}}\"\nredirect = \"/to/{{id}}\"\n\
         [[route]]\npath = \"/gone\"\nrespond = {{ status = 451, body = \"not here\", content-type = \"text/x-note\" }}\n\
         [[route]]\npath = \"/only\"\nmethods = [\"GET\"]\nrespond = \"got\"\n\
         [[route]]\npath = \"/files/*\"\nfiles = \"{}\"\nstrip-prefix = \"/files\"\n",
        folder.join("public")
    );
    let gateway = Gateway::start(&site);
    let old = get(&gateway, "/old/a/b?c=d", "");
    assert_eq!((old.status, old.field("location")), (301, Some("https://new.test/old/a/b?c=d")));
    let go = get(&gateway, "/go/7", "");
    assert_eq!((go.status, go.field("location")), (308, Some("/to/7")));
    let gone = get(&gateway, "/gone", "");
    assert_eq!((gone.status, gone.field("content-type")), (451, Some("text/x-note")));
    assert_eq!(gone.text(), "not here");
    let page = get(&gateway, "/files/page.txt", "");
    assert_eq!((page.status, page.text().as_str()), (200, "a page"));
    assert!(page.field("etag").is_some(), "{}", page.head);
    assert_eq!(get(&gateway, "/files/none", "").status, 404);
    let mut client = gateway.connect();
    client.send("DELETE /only HTTP/1.1\r\nHost: a\r\n\r\n");
    let refused = client.response();
    assert_eq!(refused.status, 405);
    assert!(refused.field("allow").is_some_and(|methods| methods.contains("GET")), "{}", refused.head);
}

#[test]
fn an_upstream_may_be_a_unix_socket() {
    let folder = Folder::new();
    let listener = UnixListener::bind(folder.path().join("app.sock")).expect("a socket");
    let upstream = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("it speaks") == 1 {
            head.push(byte[0]);
        }
        stream.write_all(&ok("by a socket")).expect("it listens");
        String::from_utf8(head).expect("text")
    });
    let gateway =
        Gateway::start(&format!("[[route]]\npath = \"/*\"\nproxy = \"unix:{}\"\n", folder.join("app.sock")));
    assert_eq!(get(&gateway, "/x", "").text(), "by a socket");
    let head = upstream.join().expect("no panic");
    assert!(head.starts_with("GET /x HTTP/1.1\r\n") && head.contains("\r\nHost: a\r\n"), "{head}");
}

const SWITCH: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Switches when it is asked to, and then says everything back.
fn chat() -> Fake {
    Fake::start(|talk| {
        while let Some(seen) = talk.request() {
            if seen.fields("upgrade").is_empty() {
                talk.say(ok("no switch"));
                continue;
            }
            talk.say(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            while let Some(bytes) = talk.raw() {
                talk.say(bytes);
            }
        }
    })
}

#[test]
fn a_websocket_is_passed_through_where_upgrades_are_on() {
    let fake = chat();
    let gateway = Gateway::start(&super::common::upstream::pool(&[&fake], ""));
    let mut client = gateway.connect();
    client.send(SWITCH);
    let switched = client.response_to_head();
    assert_eq!(switched.status, 101);
    assert_eq!(switched.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(switched.field("upgrade"), Some("websocket"));
    for piece in [&b"\x81\x05hello"[..], b"\0\xff\r\n\r\n", &[7; 100_000]] {
        client.send(piece);
        assert_eq!(client.exactly(piece.len()).expect("it comes back"), piece);
    }
    assert_eq!(gateway.metric("myriapod_upstream_tunnels_total"), 1.0);
    client.end();
    client.is_closed();
}

#[test]
fn without_upgrades_the_wish_for_a_websocket_stays_here() {
    let fake = chat();
    let site = format!("{}[[route]]\npath = \"/*\"\nproxy = \"pool\"\n", upstream("pool", &fake, ""));
    let gateway = Gateway::start(&site);
    let mut client = gateway.connect();
    client.send(SWITCH);
    assert_eq!(client.response().text(), "no switch");
    assert_eq!(Client::get(gateway.address(), "/").text(), "no switch");
    assert!(fake.seen()[0].fields("upgrade").is_empty() && fake.seen()[0].fields("connection").is_empty());
}
