//! Any request a client may send, any way of asking an upstream for it: what was written is read back, by us and by
//! others, as exactly one request with the fields that were to pass.

use myriapod::config::Limits;
use myriapod::http::{Framing, HeadIndex, Request};
use myriapod::proto::h1::ask::{self, Ask, Forwarded};
use myriapod::proto::h1::head::{self, HeadScan};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// A client's request and what the gateway does with it.
#[derive(Debug)]
pub struct Asked {
    wire: String,
    keeps: bool,
    client: Option<std::net::IpAddr>,
    upgrade: bool,
    expects: bool,
    framing: Framing,
}

/// Fields that end here, whoever sends them; those behind the bar when nobody is trusted.
const ENDING: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const NAMES: [&str; 26] = [
    "A",
    "Accept",
    "Authorization",
    "Cookie",
    "X-User",
    "X_User",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "x-forwarded-proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded_Port",
    "Forwarded",
    "X-Real-IP",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authorization",
    "Proxy",
    "TE",
    "Trailer",
    "Upgrade",
    "HTTP2-Settings",
    "Transfer_Encoding",
    "Content_Length",
    "Gateway-Only",
];

const VALUES: [&str; 12] = [
    "",
    "1",
    "close",
    "keep-alive, A",
    "Host, Content-Length, X-User, Authorization, X-Forwarded-For",
    "trailers",
    "websocket",
    "chunked",
    "for=\"[::1]\";by=x",
    "10.0.0.1, 10.0.0.2",
    "a\tb \u{fc}",
    "x",
];

/// A line of a client's, more or less as we would write it.
fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => proptest::sample::select(&NAMES[..]).prop_map(String::from),
        1 => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}",
    ];
    let value =
        prop_oneof![3 => proptest::sample::select(&VALUES[..]).prop_map(String::from), 1 => "[ -~\t]{0,40}"];
    (
        name,
        prop_oneof![3 => Just(": "), 1 => Just(":"), 1 => Just(": \t ")],
        value,
        prop_oneof![Just(""), Just(" ")],
    )
        .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}\r\n"))
}

pub fn asked() -> impl Strategy<Value = Asked> {
    let begin = proptest::sample::select(
        &[
            "GET / ",
            "GET /a%20b?x=%00&y ",
            "POST /x ",
            "PUT http://other:81/y?z ",
            "OPTIONS * ",
            "PROPFIND /é ",
        ][..],
    );
    let lines = proptest::collection::vec(line(), 0..12);
    let client = proptest::option::of(any::<std::net::IpAddr>());
    let framing =
        prop_oneof![Just(Framing::None), (1..u64::MAX).prop_map(Framing::Length), Just(Framing::Chunked)];
    (begin, lines, any::<bool>(), client, any::<(bool, bool)>(), framing).prop_map(
        |(begin, lines, keeps, client, (upgrade, expects), framing)| Asked {
            wire: format!("{begin}HTTP/1.1\r\nHost: a.example:80\r\n{}\r\n", lines.concat()),
            keeps,
            client,
            upgrade,
            expects,
            framing,
        },
    )
}

fn read(wire: &[u8]) -> Option<HeadIndex> {
    let (mut index, limits) =
        (HeadIndex::default(), Limits { body_bytes_max: u64::MAX, ..Limits::default() });
    matches!(head::read(wire, &mut { HeadScan::NEW }, &mut index, &limits), Ok(Some(()))).then_some(index)
}

/// Whether a client's field passes as it is, said in other words than the code says it.
fn passes(name: &str, request: &Request<'_>, asked: &Asked) -> bool {
    let twin = name.to_ascii_lowercase().replace('_', "-");
    let is_forwarding = twin.starts_with("x-forwarded-");
    let is_chain =
        ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"].contains(&&twin[..]);
    let is_ours = ENDING.contains(&&twin[..]) || is_chain || is_forwarding || twin == "x-real-ip";
    if twin == "gateway-only" {
        return false;
    }
    if is_ours && name.contains('_') {
        return false;
    }
    if twin == "trailer" {
        return asked.framing == Framing::Chunked;
    }
    if ENDING.contains(&&twin[..]) || is_chain {
        return false;
    }
    if is_forwarding || twin == "x-real-ip" {
        return asked.keeps;
    }
    let is_named = request
        .fields_named("connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()));
    !is_named || ["authorization", "cookie"].contains(&&name.to_ascii_lowercase()[..])
}

/// Fields that we say ourselves, to be left out of the comparison.
const SAID: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "forwarded",
    "x-added",
    "expect",
];

type Field = (String, Vec<u8>);

fn strangers(fields: impl Iterator<Item = Field>) -> Vec<Field> {
    fields
        .filter(|(name, _)| !SAID.contains(&&name.to_ascii_lowercase()[..]))
        .filter(|(name, _)| !["connection", "te", "upgrade"].contains(&&name.to_ascii_lowercase()[..]))
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn check(asked: &Asked) -> Result<(), TestCaseError> {
    let Some(index) = read(asked.wire.as_bytes()) else { return Ok(()) };
    let request = Request::new(&index, asked.wire.as_bytes());
    let target =
        [request.raw_path(), if request.query().is_empty() { b"" } else { b"?" }, request.query()].concat();
    let ask = Ask {
        request,
        method: request.method_token(),
        target: &target,
        host: b"up.example:9000",
        framing: asked.framing,
        forwarded: Forwarded {
            client: asked.client,
            keeps: asked.keeps,
            proto: "http",
            host: request.host(),
        },
        added: b"X-Added: 1\r\n",
        upgrade: asked.upgrade,
        expects_continue: asked.expects,
    };
    let mut out = Vec::new();
    ask::write(&mut out, &ask, |name| name.eq_ignore_ascii_case(b"gateway-only"));
    let Some(back) = read(&out) else {
        return Err(TestCaseError::fail(format!("unreadable: {}", text(&out))));
    };
    prop_assert_eq!(usize::from(back.head_len), out.len());
    prop_assert_eq!(back.framing, asked.framing);
    let seen = Request::new(&back, &out);
    prop_assert_eq!(seen.method_token(), request.method_token());
    prop_assert_eq!((seen.raw_path(), seen.query()), (request.raw_path(), request.query()));
    prop_assert_eq!(seen.host(), b"up.example:9000");
    let sent = request.fields().map(|(name, value)| (text(name), value.to_vec()));
    let want = strangers(sent.filter(|(name, _)| passes(name, &request, asked)));
    let got: Vec<Field> = seen.fields().map(|(name, value)| (text(name), value.to_vec())).collect();
    prop_assert_eq!(&strangers(got.clone().into_iter()), &want, "{}", text(&out));
    for once in SAID {
        let count = got.iter().filter(|(name, _)| name.eq_ignore_ascii_case(once)).count();
        prop_assert!(count <= 1, "{once} {count} times: {}", text(&out));
    }
    others_see(&out, &got)
}

fn others_see(wire: &[u8], fields: &[Field]) -> Result<(), TestCaseError> {
    let mut space = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut space);
    prop_assert_eq!(request.parse(wire), Ok(httparse::Status::Complete(wire.len())));
    let seen: Vec<Field> = request
        .headers
        .iter()
        .map(|field| (field.name.to_owned(), field.value.trim_ascii().to_vec()))
        .collect();
    prop_assert_eq!(&seen[..], fields);
    Ok(())
}
