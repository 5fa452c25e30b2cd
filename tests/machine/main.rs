//! However a connection's bytes are cut, the machine says the same: whole, byte by byte, cut at every place.
//!
//! Kills the bugs that live between two reads: a line end in two parts, a parser that forgets where it was, a head
//! that two readers end differently.

mod exchange;

use exchange::{End, agree, limits, run};
use proptest::prelude::*;

/// Requests that are accepted, each a whole exchange.
const GOOD: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\nGET /a%20b?q=1 HTTP/1.1\r\nhost:a:80\r\nX:\r\nY:  y \t\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
    b"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"PATCH / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
];

/// Requests that are accepted and end the connection.
const LAST: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
];

/// Requests that break a rule.
const BAD: &[&[u8]] = &[
    b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    b"GET / HTTP/1.1\r\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
    b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\r\n\r\n",
    b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    b"GET /.. HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: tea\r\n\r\nx",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX y\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\na: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\ne: 1\r\nf: 1\r\ng: 1\r\nh: 1\r\n\r\n",
];

/// Each request of the corpus between two good ones, so that state carried over shows.
fn streams() -> impl Iterator<Item = Vec<u8>> {
    let framed = |bytes: &&[u8]| [GOOD[0], bytes, GOOD[6]].concat();
    GOOD.iter().chain(LAST).chain(BAD).map(framed)
}

#[test]
fn verdicts_are_as_the_corpus_says() {
    let end = |bytes: &[u8]| run([bytes], &limits()).end;
    for bytes in GOOD {
        let outcome = run([*bytes], &limits());
        assert_eq!((outcome.requests, outcome.end), (1, End::Open), "{:?}", bytes.escape_ascii().to_string());
        assert!(outcome.sent.starts_with(b"HTTP/1.1 "));
    }
    for bytes in LAST {
        assert_eq!(end(bytes), End::Over, "{:?}", bytes.escape_ascii().to_string());
    }
    for bytes in BAD {
        assert!(matches!(end(bytes), End::Refused(_)), "{:?}", bytes.escape_ascii().to_string());
    }
}

#[test]
fn nothing_changes_byte_by_byte_or_cut_at_any_place() {
    let limits = limits();
    for bytes in streams() {
        let whole = run([&bytes[..]], &limits);
        let name = bytes.escape_ascii();
        if let Err(text) = agree(&whole, &run(bytes.chunks(1), &limits)) {
            panic!("{name} byte by byte: {text}");
        }
        for cut in 1..bytes.len() {
            if let Err(text) = agree(&whole, &run([&bytes[..cut], &bytes[cut..]], &limits)) {
                panic!("{name} cut at {cut}: {text}");
            }
        }
    }
}

#[test]
fn what_is_broken_is_refused_byte_by_byte_too() {
    let limits = limits();
    for bytes in BAD {
        let outcome = run(bytes.chunks(1), &limits);
        let name = bytes.escape_ascii();
        assert!(matches!(outcome.end, End::Refused(_)), "{name}: {outcome:?}");
        assert!(outcome.refusal.starts_with(b"HTTP/1.1 "), "{name}");
    }
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select([GOOD, GOOD, GOOD, LAST, BAD].concat()).prop_map(<[u8]>::to_vec);
    // A known request with one byte changed, dropped or doubled.
    let bent = (
        known.clone(),
        any::<prop::sample::Index>(),
        0..4u8,
        prop::sample::select(b"\r\n\0: \t;0fx%".to_vec()),
    );
    let bent = bent.prop_map(|(mut bytes, at, how, byte)| {
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => bytes.truncate(at),
            _ => drop(bytes.remove(at)),
        }
        bytes
    });
    prop_oneof![2 => known, 1 => bent]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_stream_of_requests_means_the_same_however_it_is_cut(
        requests in prop::collection::vec(any_request(), 1..6),
        sizes in prop::collection::vec(1usize..60, 1..8),
    ) {
        let (bytes, limits) = (requests.concat(), limits());
        let whole = run([&bytes[..]], &limits);
        let mut parts = Vec::new();
        let (mut rest, mut sizes) = (&bytes[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (part, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            parts.push(part);
            rest = after;
        }
        for cut in [run(parts, &limits), run(bytes.chunks(1), &limits)] {
            prop_assert_eq!(agree(&whole, &cut), Ok(()), "{}", bytes.escape_ascii());
        }
    }
}
