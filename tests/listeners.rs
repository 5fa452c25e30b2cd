//! Where clients come in, what they find there, and what is written down about them.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use common::{Client, Folder, Server, eventually};
use rustix::process::Signal;

fn lines_of(path: &str) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn a_unix_socket_is_served_and_its_file_goes_with_the_server() {
    let folder = Folder::new();
    let path = folder.join("http.sock");
    // Left behind by a process that was killed: a socket file that nobody listens on.
    drop(UnixListener::bind(&path).expect("bound"));
    let mut server = Server::start(&["--listen", &format!("unix:{path}"), "--listen", "127.0.0.1:0"]);
    assert_eq!(server.listen.len(), 2);
    let mut client = Client::connect(&format!("unix:{path}"));
    assert_eq!(client.ask("/plaintext").text(), "Hello, World!");
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().text(), "hi");
    assert_eq!(Client::get(&server.listen[1], "/plaintext").status, 200);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!fs::exists(&path).expect("looked"));
}

#[test]
fn a_unix_socket_that_somebody_serves_is_left_alone() {
    let folder = Folder::new();
    let path = format!("unix:{}", folder.join("http.sock"));
    let server = Server::start(&["--listen", &path]);
    let second = common::binary(&["--listen", &path]).output().expect("runs");
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(Client::get(&server.listen[0], "/plaintext").status, 200);
}

#[test]
fn a_file_in_the_place_of_a_unix_socket_is_left_alone() {
    let folder = Folder::new();
    let file = folder.write("precious", b"data");
    let refused = common::binary(&["--listen", &format!("unix:{}", file.display())]).output().expect("runs");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(fs::read(&file).expect("still there"), b"data");
}

#[test]
fn ipv6_is_served() {
    let server = Server::start(&["--listen", "[::1]:0", "--listen", "127.0.0.1:0"]);
    assert!(server.listen[0].starts_with("[::1]:"), "{:?}", server.listen);
    for address in &server.listen {
        assert_eq!(Client::get(address, "/plaintext").status, 200);
    }
}

#[test]
fn the_admin_listener_has_health_and_metrics_and_nothing_else() {
    let folder = Folder::new();
    folder.write("index.html", b"<p>");
    let server = Server::start(&["--root", folder.text()]);
    assert_eq!(Client::get(&server.admin, "/healthz").status, 200);
    assert_eq!(Client::get(&server.admin, "/readyz").status, 200);
    assert_eq!(Client::get(&server.admin, "/metrics").status, 200);
    assert_eq!(Client::get(&server.admin, "/").status, 404);
    assert_eq!(Client::get(&server.admin, "/plaintext").status, 404);
}

#[test]
fn endpoints_are_all_or_health_or_none() {
    let folder = Folder::new();
    folder.write("index.html", b"<p>");
    let root = folder.text();
    for (flags, served, missing) in [
        (vec!["--endpoints", "health"], vec!["/healthz", "/readyz"], vec!["/", "/plaintext", "/metrics"]),
        (vec!["--endpoints", "none"], vec![], vec!["/", "/healthz", "/plaintext", "/metrics"]),
        (vec![root], vec!["/", "/healthz"], vec!["/plaintext", "/metrics", "/echo"]),
        (vec![root, "--endpoints", "all"], vec!["/", "/plaintext", "/metrics"], vec!["/none"]),
    ] {
        let server = Server::start(&flags);
        for path in served {
            assert_eq!(Client::get(server.address(), path).status, 200, "{flags:?} {path}");
        }
        for path in missing {
            assert_eq!(Client::get(server.address(), path).status, 404, "{flags:?} {path}");
        }
    }
}

#[test]
fn a_file_comes_before_a_built_in_endpoint() {
    let folder = Folder::new();
    folder.write("plaintext", b"mine");
    folder.write("sub/page.html", b"<b>page</b>");
    let large: Vec<u8> = (0..300_000).map(|at| (at % 251) as u8).collect();
    folder.write("large.bin", &large);
    let server = Server::start(&[folder.text(), "--endpoints", "all"]);
    let mut client = server.connect();
    assert_eq!(client.ask("/plaintext").text(), "mine");
    assert_eq!(client.ask("/json").status, 200);
    let page = client.ask("/sub/page.html");
    assert_eq!(
        (page.text().as_str(), page.field("content-type")),
        ("<b>page</b>", Some("text/html; charset=utf-8"))
    );
    let etag = page.field("etag").expect("a tag").to_owned();
    client.send(format!("GET /sub/page.html HTTP/1.1\r\nHost: a\r\nIf-None-Match: {etag}\r\n\r\n"));
    assert_eq!(client.response().status, 304);
    assert_eq!(client.ask("/sub").field("location"), Some("/sub/"));
    // Twice, with the next request right behind: by sendfile, then by reading a part.
    client.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2));
    client.send("GET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=-5\r\n\r\n");
    assert!(client.response().body == large);
    assert!(client.response().body == large);
    let part = client.response();
    assert_eq!((part.status, part.body.as_slice()), (206, &large[large.len() - 5..]));
    client.send("HEAD /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().field("content-length"), Some("300000"));
    assert_eq!(client.ask("/none").status, 404);
}

/// Fault 32: no way out of the root, whatever the path is dressed as.
#[test]
fn nothing_leads_out_of_the_root() {
    let folder = Folder::new();
    folder.write("secret", b"secret");
    folder.write("site/open", b"open");
    folder.write("site/.hidden", b"secret");
    folder.write("site/.git/config", b"secret");
    for (target, link) in
        [("../secret", "up"), (folder.text(), "away"), ("/etc", "etc"), ("open", "in"), ("loop", "loop")]
    {
        symlink(target, folder.join(&format!("site/{link}"))).expect("a link");
    }
    let server = Server::start(&[&folder.join("site")]);
    let base = server.base();
    assert_eq!(Client::get(server.address(), "/in").text(), "open", "a link that stays inside is followed");
    for path in [
        "/../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/%2E%2E%2Fsecret",
        "/%252e%252e/secret",
        "/x/../../secret",
        "/..\\secret",
        "/..%5csecret",
        "/%c0%ae%c0%ae/secret",
        "/%c0%afsecret",
        "/%u002e%u002e/secret",
        "/open%00",
        "/open%00.html",
        "//etc/passwd",
        "/./../secret",
        "/up",
        "/away/secret",
        "/etc/passwd",
        "/loop",
        "/.hidden",
        "/%2ehidden",
        "/.git/config",
        "/site/../.hidden",
        "/open/",
        "/open/../../secret",
        "/.well-known/../../secret",
        "/%2f%2fetc/passwd",
        "/proc/self/environ",
        "/~root/.profile",
        "/..;/secret",
        "/.%00./secret",
    ] {
        let response = Client::get(server.address(), path);
        assert!(matches!(response.status, 400 | 403 | 404), "{path}: {}", response.status);
        assert!(!response.text().contains("secret") && !response.text().contains("root:"), "{path}");
    }
    server.is_back_at(base);
}

#[test]
fn the_server_header_is_what_it_was_told_to_be() {
    for (flags, wanted) in [
        (vec![], Some("myriapod")),
        (vec!["--server-header", "off"], None),
        (vec!["--server-header", "shop/1"], Some("shop/1")),
    ] {
        let server = Server::start(&flags);
        assert_eq!(Client::get(server.address(), "/plaintext").field("server"), wanted);
        assert_eq!(Client::get(server.address(), "/none").field("server"), wanted);
    }
}

#[test]
fn requests_are_logged_in_the_combined_format() {
    let folder = Folder::new();
    let log = folder.join("access.log");
    let server = Server::start(&["--access-log", &log]);
    let mut client = server.connect();
    client.send("GET /plaintext?q HTTP/1.1\r\nHost: a\r\nUser-Agent: test/1\r\nReferer: http://b/\r\n\r\n");
    client.response();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    client.response();
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.response().status, 400);
    eventually("three lines", || lines_of(&log).len() == 3);
    let lines = lines_of(&log);
    assert!(lines[0].starts_with("127.0.0.1 - - ["), "{}", lines[0]);
    assert!(
        lines[0].ends_with(r#"] "GET /plaintext?q HTTP/1.1" 200 13 "http://b/" "test/1""#),
        "{}",
        lines[0]
    );
    assert!(lines[1].ends_with(r#"] "POST /echo HTTP/1.1" 200 3 "-" "-""#), "{}", lines[1]);
    assert!(lines[2].contains(r#""nonsense" 400 "#), "{}", lines[2]);
}

/// Fault 30: whatever a client sends is one line, and valid JSON.
#[test]
fn nobody_writes_lines_of_his_own_into_the_log() {
    let evil: &[u8] = b"x\" 999 \\\t\xff\xc3\xa9 \\u0000 $(id) %0a<b>{}'";
    let folder = Folder::new();
    for format in ["json", "combined"] {
        let log = folder.join(format);
        let server =
            Server::start(&["--access-log", &log, "--access-log-format", format, "--log-level", "debug"]);
        let base = server.base();
        let mut client = server.connect();
        let head = |agent: &[u8]| {
            [b"GET /plaintext?\"\\%0a%1b=<b> HTTP/1.1\r\nHost: a\r\nUser-Agent: ", agent, b"\r\n\r\n"]
                .concat()
        };
        client.send(head(evil));
        assert_eq!(client.response().status, 200);
        let mut refused = server.connect();
        refused.send(head(b"a\x1b[31m\x07"));
        assert_eq!(refused.response().status, 400);
        refused = server.connect();
        refused.send(b"GET /a\nb\x1b HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused.response().status, 400);
        let count = |text: &str| lines_of(&log).iter().filter(|line| line.contains(text)).count();
        eventually("its lines", || count("400") == 2 && count("/plaintext") == 2);
        drop((client, refused));
        server.is_back_at(base);
        let bytes = fs::read(&log).expect("a log");
        assert!(
            bytes.iter().all(|byte| matches!(byte, b'\n' | b' '..=b'~')),
            "{}",
            String::from_utf8_lossy(&bytes)
        );
        for line in lines_of(&log) {
            if format == "json" {
                let entry: serde_json::Value = serde_json::from_str(&line).expect(&line);
                assert!(entry["status"].is_u64() && entry["request"].is_string(), "{line}");
                if line.contains("/plaintext") && entry["status"] == 200 {
                    let agent: String = evil.iter().map(|byte| char::from(*byte)).collect();
                    assert_eq!(entry["agent"], agent, "it can be undone");
                    assert_eq!(entry["request"], "GET /plaintext?\"\\%0a%1b=<b> HTTP/1.1");
                }
            }
        }
        assert!(format == "json" || count("\" 999 ") == 0, "a quote that ends its field");
        assert!(!server.told().contains('\x1b'));
    }
}

#[test]
fn a_rotated_log_is_opened_anew() {
    let folder = Folder::new();
    let (log, old) = (folder.join("access.log"), folder.join("access.log.1"));
    let server = Server::start(&["--access-log", &log]);
    Client::get(server.address(), "/plaintext");
    eventually("a line", || lines_of(&log).len() == 1);
    fs::rename(&log, &old).expect("renamed");
    server.signal(Signal::USR1);
    eventually("a new file", || fs::exists(&log).expect("looked"));
    Client::get(server.address(), "/json");
    eventually("a line in it", || lines_of(&log).len() == 1);
    assert!(lines_of(&log)[0].contains("/json") && lines_of(&old).len() == 1);
}
