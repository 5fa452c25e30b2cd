//! The other side of HTTP/1: whatever an upstream answers, however it is cut, is read as a slow and simple reader
//! reads it; whatever is asked of one is exactly one request, for us and for others.

mod answer;
mod ask;

use myriapod::http::Method;
use proptest::prelude::*;

/// Lines of which heads are made, sound and not.
const LINES: &[&str] = &[
    "Content-Length: 5",
    "content-length: 5",
    "Content-Length: 0",
    "Content-Length: 05",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length:",
    "Transfer-Encoding: chunked",
    "Transfer-encoding:\tCHUNKED ",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Connection: close",
    "Connection: keep-alive, x",
    "Upgrade: websocket",
    "A: b",
    "A:",
    "A : b",
    " A: b",
    ": b",
    "A: b\0",
    "A: b\nC: d",
    "A: b\rC: d",
    "Long: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

const FIRST_LINES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200",
    "HTTP/1.1 200 ",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 404 Not\tFound",
    "HTTP/1.1 599 X",
    "HTTP/1.1 600 X",
    "HTTP/1.1 2000 X",
    "HTTP/1.1  200 X",
    "HTTP/1.2 200 OK",
    "HTTP/2 200",
    "ICY 200 OK",
    "",
];

const INTERIMS: &[&str] = &[
    "",
    "",
    "",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    "HTTP/1.1 102 X\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "HTTP/1.0 100 Continue\r\n\r\n",
];

const BODIES: &[&str] = &[
    "",
    "hello",
    "hello and more",
    "5\r\nhello\r\n0\r\n\r\n",
    "5;x=y\r\nhello\r\n00a\r\n0123456789\r\n0\r\nSum: 1\r\nB:2\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "fffffffffffffff\r\nhello",
    "0\r\nbad\r\n\r\n",
    "0\r\n",
];

fn some(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(from)
}

/// Answers that are sound more often than not, some of them with a byte changed.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![3 => some(&FIRST_LINES[..6]), 1 => some(FIRST_LINES)];
    let line = prop_oneof![3 => some(&LINES[..1]), 3 => some(&LINES[7..8]), 3 => some(&LINES[11..16]), 2 => some(LINES)];
    let interims = proptest::collection::vec(some(INTERIMS), 0..5);
    let lines = proptest::collection::vec(line, 0..4);
    let change = proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (interims, first, lines, some(BODIES), change).prop_map(|(interims, first, lines, body, change)| {
        let fields: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut wire = format!("{}{first}\r\n{fields}\r\n{body}", interims.concat()).into_bytes();
        if let Some((at, byte)) = change {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        wire
    })
}

fn parts<'a>(wire: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
    places.extend([0, wire.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_read_as_a_simple_reader_does(
        wire in answers(),
        is_head in any::<bool>(),
        upgrades in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let method = if is_head { Method::Head } else { Method::Get };
        let whole = answer::read([&wire[..]], method, upgrades);
        let simple = answer::simple(&wire, method, upgrades);
        prop_assert_eq!(whole.as_ref().ok(), simple.as_ref(), "{:?}", &whole);
        for cut in [answer::read(parts(&wire, &cuts), method, upgrades), answer::read(wire.chunks(1), method, upgrades)] {
            prop_assert_eq!(answer::agree(&whole, &cut), Ok(()));
        }
    }

    /// What we take, others take too, and see the same in it.
    #[test]
    fn accepted_heads_are_what_others_see(wire in answers()) {
        let Ok(told) = answer::read([&wire[..]], Method::Head, true) else { return Ok(()) };
        let mut rest = &wire[..];
        for (code, fields) in &told.heads {
            let mut space = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut space);
            let Ok(httparse::Status::Complete(len)) = response.parse(rest) else { panic!("{rest:?}") };
            rest = &rest[len..];
            prop_assert_eq!(response.code, Some(*code));
            let seen: Vec<(Vec<u8>, Vec<u8>)> = response
                .headers
                .iter()
                .map(|field| (field.name.as_bytes().to_vec(), field.value.trim_ascii().to_vec()))
                .collect();
            prop_assert_eq!(&seen, fields);
        }
    }

    #[test]
    fn whatever_is_asked_is_one_request(asked in ask::asked()) {
        ask::check(&asked)?;
    }
}
