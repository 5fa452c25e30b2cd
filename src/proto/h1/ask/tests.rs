//! What a client sent, and what its upstream reads.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::config::Limits;
use crate::http::HeadIndex;
use crate::proto::h1::head::{self, HeadScan};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// What is said about the client when nobody is trusted.
const CHAIN: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.example\r\n\
                     Forwarded: for=192.0.2.7;host=a.example;proto=http\r\n";

fn read(wire: &str) -> HeadIndex {
    let mut index = HeadIndex::default();
    let got = head::read(wire.as_bytes(), &mut HeadScan::default(), &mut index, &Limits::default());
    assert_eq!(got, Ok(Some(())), "{wire:?}");
    index
}

fn ask_of(request: Request<'_>) -> Ask<'_> {
    Ask {
        request,
        method: request.method_token(),
        target: request.raw_path(),
        host: b"up.example:9000",
        framing: request.framing(),
        forwarded: Forwarded { client: Some(CLIENT), keeps: false, proto: "http", host: request.host() },
        added: b"",
        upgrade: false,
        expects_continue: false,
    }
}

fn rewritten_by(wire: &str, change: impl Fn(&mut Ask<'_>), is_taken: impl Fn(&[u8]) -> bool) -> String {
    let index = read(wire);
    let request = Request::new(&index, wire.as_bytes());
    let mut ask = ask_of(request);
    change(&mut ask);
    let mut out = Vec::new();
    write(&mut out, &ask, is_taken);
    let text = String::from_utf8(out).unwrap();
    let back = read(&text);
    assert_eq!(usize::from(back.head_len), text.len(), "exactly one request: {text:?}");
    assert_eq!(back.framing, ask.framing, "{text:?}");
    text
}

/// The fields of a request with these, below the request line and `Host`.
fn fields_of(fields: &str) -> String {
    let text =
        rewritten_by(&format!("GET /x HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"), |_| {}, |_| false);
    let rest = text.strip_prefix("GET /x HTTP/1.1\r\nHost: up.example:9000\r\n").expect("the begin");
    rest.strip_suffix("\r\n").expect("the end").replace(CHAIN, "<chain>")
}

#[test]
fn fields_for_the_far_end_pass_as_we_would_write_them() {
    let got = fields_of("Accept:*/*\r\nUser-Agent:   x \t\r\nX-A: 1\r\nX-A: 2\r\nEmpty:\r\n");
    assert_eq!(got, "Accept: */*\r\nUser-Agent: x\r\nX-A: 1\r\nX-A: 2\r\nEmpty: \r\n<chain>");
}

#[test]
fn fields_for_this_connection_end_here() {
    let got = fields_of(
        "Connection: close, x-secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\
         Proxy-Authorization: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nTrailer: x\r\nProxy: x\r\nA: b\r\n",
    );
    assert_eq!(got, "A: b\r\n<chain>");
}

#[test]
fn what_everybody_needs_cannot_be_named_away() {
    let got = fields_of(
        "Connection: Host, Authorization, X-Forwarded-For, Cookie\r\nAuthorization: x\r\nCookie: y\r\n",
    );
    assert_eq!(got, "Authorization: x\r\nCookie: y\r\n<chain>");
}

#[test]
fn a_client_does_not_say_who_it_is() {
    let got = fields_of(
        "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\nX-Forwarded-Host: evil\r\n\
         X-Forwarded-Proto: https\r\nX_Forwarded_For: 10.0.0.1\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 10.0.0.1\r\n\
         X-Forwarded_Proto: https\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n",
    );
    assert_eq!(got, "<chain>");
}

#[test]
fn a_trusted_proxy_is_believed_and_added() {
    let wire = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n\
                X_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\
                Forwarded: for=10.0.0.1\r\n\r\n";
    let got = rewritten_by(wire, |ask| ask.forwarded.keeps = true, |_| false);
    let want = "GET / HTTP/1.1\r\nHost: up.example:9000\r\nX-Forwarded-Port: 443\r\n\
                X-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-Host: a.example\r\n\
                Forwarded: for=10.0.0.1, for=192.0.2.7;host=a.example;proto=http\r\n\r\n";
    assert_eq!(got, want);
}

#[test]
fn addresses_of_six_words_are_bracketed_and_quoted() {
    let wire = "GET / HTTP/1.1\r\nHost: a.example:81\r\n\r\n";
    let chain = |client: Option<&str>| {
        let client = client.map(|text| text.parse().unwrap());
        let text = rewritten_by(wire, |ask| ask.forwarded.client = client, |_| false);
        text.lines()
            .filter(|line| line.contains("orwarded"))
            .map(|line| format!("{line}|"))
            .collect::<String>()
    };
    let rest = "X-Forwarded-Proto: http|X-Forwarded-Host: a.example:81|";
    assert_eq!(
        chain(Some("2001:db8::1")),
        format!(
            "X-Forwarded-For: 2001:db8::1|{rest}Forwarded: for=\"[2001:db8::1]\";host=\"a.example:81\";proto=http|"
        )
    );
    let mapped = chain(Some("::ffff:192.0.2.1"));
    assert!(mapped.contains("Forwarded: for=192.0.2.1;"), "{mapped}");
    assert_eq!(chain(None), format!("{rest}Forwarded: for=unknown;host=\"a.example:81\";proto=http|"));
}

#[test]
fn framing_is_said_once_and_by_us() {
    let begin = "HTTP/1.1\r\nHost: a.example\r\n";
    let framing = |line: &str, fields: &str| {
        let text = rewritten_by(&format!("{line} {begin}{fields}\r\n"), |_| {}, |_| false);
        text.lines().filter(|line| line.contains("ength") || line.contains("ncoding")).collect::<String>()
    };
    assert_eq!(framing("GET /", ""), "");
    assert_eq!(framing("POST /", ""), "Content-Length: 0");
    assert_eq!(framing("POST /", "Content-Length: 007\r\n"), "Content-Length: 7");
    assert_eq!(framing("PUT /", "transfer-encoding: Chunked\r\n"), "Transfer-Encoding: chunked");
}

#[test]
fn trailers_are_announced_and_asked_for_where_the_client_did() {
    let wire = "PUT / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\
                TE: deflate, trailers\r\nConnection: TE\r\n\r\n";
    let got = rewritten_by(wire, |_| {}, |_| false).replace(CHAIN, "");
    let want = "PUT / HTTP/1.1\r\nHost: up.example:9000\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\
                TE: trailers\r\nConnection: TE\r\n\r\n";
    assert_eq!(got, want);
}

#[test]
fn expectations_and_upgrades_pass_only_when_told() {
    let wire = "GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    assert!(!rewritten_by(wire, |_| {}, |_| false).contains("pgrade"));
    let got = rewritten_by(wire, |ask| ask.upgrade = true, |_| false);
    assert!(got.ends_with("Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), "{got}");
    let wire = "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    assert!(!rewritten_by(wire, |_| {}, |_| false).contains("Expect"));
    assert!(
        rewritten_by(wire, |ask| ask.expects_continue = true, |_| false).contains("Expect: 100-continue\r\n")
    );
}

#[test]
fn only_websockets_are_switched_to() {
    let wants = |fields: &str| {
        let wire = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        wants_switch(&Request::new(&read(&wire), wire.as_bytes()))
    };
    assert!(wants("Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n"));
    assert!(!wants("Upgrade: websocket\r\n"));
    assert!(!wants("Upgrade: h2c\r\nConnection: upgrade\r\n"));
    assert!(!wants("Upgrade: websocket, h2c\r\nConnection: upgrade\r\n"));
    assert!(!wants("Upgrade: websocket\r\nUpgrade: h2c\r\nConnection: upgrade\r\n"));
    assert!(!wants("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 3\r\n"));
}

#[test]
fn what_the_gateway_takes_does_not_come_back_as_its_twin() {
    let wire = "GET / HTTP/1.1\r\nHost: a.example\r\nX-User: root\r\nX_User: root\r\nX_Other: 1\r\n\r\n";
    let got =
        rewritten_by(wire, |ask| ask.added = b"X-User: me\r\n", |name| name.eq_ignore_ascii_case(b"x-user"));
    assert_eq!(got.matches("root").count(), 0, "{got}");
    assert!(got.contains("X-User: me\r\n") && got.contains("X_Other: 1\r\n"), "{got}");
}

#[test]
fn a_target_cannot_end_its_line() {
    let wire = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let got = rewritten_by(wire, |ask| ask.target = b"/a b HTTP/1.1#\xc3\xa9", |_| false);
    assert!(got.starts_with("GET /a%20b%20HTTP/1.1%23%C3%A9 HTTP/1.1\r\n"), "{got}");
    let (index, mut out) = (read(wire), Vec::new());
    let request = Request::new(&index, wire.as_bytes());
    write_begin(&mut out, &Ask { target: b"/\r\nX: y", ..ask_of(request) });
    assert_eq!(out, b"GET /%0D%0AX:%20y HTTP/1.1\r\nHost: up.example:9000\r\n");
    let mut path = Vec::new();
    push_path(&mut path, "/a b%/?ü;x=1".as_bytes());
    assert_eq!(path, b"/a%20b%25/%3F%C3%BC;x=1");
}

/// Looking every field up among thousands of names would be an attack's multiplier.
#[test]
fn more_options_than_anybody_needs_name_everything() {
    let options: Vec<String> = (0..100).map(|number| format!("x{number}")).collect();
    let got = fields_of(&format!("Connection: {}\r\nA: b\r\nCookie: c\r\n", options.join(",")));
    assert_eq!(got, "Cookie: c\r\n<chain>");
}
