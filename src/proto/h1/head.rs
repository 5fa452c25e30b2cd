//! Reading a request head: where it ends, what its parts are, and how the body behind it is framed.
//!
//! The end of a head is the first CRLF CRLF, and only that: a lone LF is refused wherever it stands, so that
//! the resumable scan and the splitter cannot disagree. Every rule stands here by its number, in one pass
//! over the bytes.
//! However a head is cut, each byte is looked at a constant number of times.
//! Our own and not `httparse`, which accepts lone LF and leaves Host, framing and targets to a second
//! pass. With it a benchmark's head takes half the instructions of both, and a browser's about as many;
//! either comes in parts without being split anew (`benches/head.rs`). `fuzz/fuzz_targets/head.rs` holds
//! the two against each other.

use crate::config::Limits;
use crate::http::{FIELDS_MAX, FieldSpan, HEAD_BYTES_MAX, HeadIndex, Method, Span, Version};
use crate::proto::Violation;
use crate::proto::h1::fields::Facts;
use crate::proto::h1::lexis::{Stop, TOKEN, byte_at, is_blank, is_control, line_end, run_end, value_end};
use crate::proto::h1::target::read_target;

/// How far a head that came in parts was searched for its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    scanned: u32,
    /// Whether the request line was complete at the last look.
    has_line: bool,
}

impl HeadScan {
    /// Nothing was searched yet.
    pub const NEW: HeadScan = HeadScan { scanned: 0, has_line: false };
}

/// RFC 9112 section 2.2: an empty line before a request is ignored. The length of the one that `bytes` begin
/// with, 0 when there is none; `None` when only its first half has come.
///
/// # Errors
/// [`Violation::BareLineFeed`] for a line that ends in LF alone.
pub fn empty_line(bytes: &[u8]) -> Result<Option<usize>, Violation> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(Some(2)),
        [b'\r'] => Ok(None),
        [b'\n', ..] => Err(Violation::BareLineFeed),
        _ => Ok(Some(0)),
    }
}

/// Reads the head that `bytes` begin with into `index`. `None`: it is not complete yet.
///
/// # Errors
/// The rule that was broken, as soon as it is seen.
pub fn read(
    bytes: &[u8],
    scan: &mut HeadScan,
    index: &mut HeadIndex,
    limits: &Limits,
) -> Result<Option<()>, Violation> {
    // A head mostly comes whole, so the first look is the splitter's. A head in parts is searched first for
    // what the splitter waits for: splitting it again at each part would cost its square.
    if scan.scanned > 0 && !reaches_end(bytes, scan)? {
        return within_limit(bytes, limits).map(|()| None);
    }
    let stop = match split(bytes, index, limits) {
        Ok(()) => return Ok(Some(())),
        Err(Stop::BadLine) => blame_line(bytes),
        Err(stop) => stop,
    };
    if let Stop::Broken(violation) = stop {
        return Err(violation);
    }
    reaches_end(bytes, scan)?;
    within_limit(bytes, limits).map(|()| None)
}

/// Searches on from where the last look ended, for the end of the request line, then for the end of the head:
/// only there can the splitter come to another verdict than before.
fn reaches_end(bytes: &[u8], scan: &mut HeadScan) -> Result<bool, Violation> {
    let from = scan.scanned as usize;
    let had_line = scan.has_line;
    scan.scanned = bytes.len() as u32;
    for at in memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at) {
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(Violation::BareLineFeed);
        }
        scan.has_line = true;
        if bytes[..at].ends_with(b"\r\n\r") {
            return Ok(true);
        }
    }
    Ok(scan.has_line && !had_line)
}

/// What is too long, when the end of the head has not come within the limit.
fn within_limit(bytes: &[u8], limits: &Limits) -> Result<(), Violation> {
    if bytes.len() < limits.head_bytes_max as usize {
        return Ok(());
    }
    Err(too_long(bytes, limits))
}

/// What is over the limit, however much of the head has come: the request line alone, or all of it.
#[cold]
fn too_long(bytes: &[u8], limits: &Limits) -> Violation {
    let bytes = &bytes[..bytes.len().min(limits.head_bytes_max as usize)];
    let line_is_complete = memchr::memchr(b'\n', bytes).is_some();
    let has_target = memchr::memchr(b' ', bytes).is_some();
    match (line_is_complete, has_target) {
        (true, _) => Violation::HeadTooLong,
        (false, true) => Violation::TargetTooLong,
        (false, false) => Violation::BadRequestLine,
    }
}

/// Splits a head into lines, names and values.
#[inline]
fn split(bytes: &[u8], index: &mut HeadIndex, limits: &Limits) -> Result<(), Stop> {
    let mut facts = Facts::default();
    let mut at = split_request_line(bytes, index, &mut facts)?;
    let mut count = 0;
    while byte_at(bytes, at)? != b'\r' {
        if count == FIELDS_MAX || count == limits.fields_max as usize {
            return Err(Violation::TooManyFields.into());
        }
        let (field, end) = split_field_line(bytes, at)?;
        index.fields[count] = field;
        facts.note(field.name.of(bytes), field.value.of(bytes), field.value, &mut index.known_host)?;
        count += 1;
        at = end;
    }
    let head_len = line_end(bytes, at)?;
    if head_len > limits.head_bytes_max as usize {
        return Err(too_long(bytes, limits).into());
    }
    index.head_len = head_len as u16;
    index.field_count = count as u8;
    Ok(facts.settle(index, limits)?)
}

/// RFC 9112 section 3: `method SP request-target SP HTTP-version CRLF`, one space each. Tells the offset
/// behind it.
#[inline]
fn split_request_line(bytes: &[u8], index: &mut HeadIndex, facts: &mut Facts) -> Result<usize, Stop> {
    let method_end = read_method(bytes, index)?;
    let target_end = read_target(bytes, method_end + 1, index, facts)?;
    match bytes[target_end] {
        b' ' => {}
        b'\r' | b'\n' => return Err(Stop::BadLine),
        _ => return Err(Violation::BadTarget.into()),
    }
    let version = &bytes[target_end + 1..];
    let Some(line) = version.first_chunk::<VERSION_LINE_LEN>() else {
        let may_be_sound = b"HTTP/1.1\r\n".starts_with(version) || b"HTTP/1.0\r\n".starts_with(version);
        return Err(if may_be_sound { Stop::Partial } else { Stop::BadLine });
    };
    index.version = if line == b"HTTP/1.1\r\n" {
        Version::Http11
    } else if line == b"HTTP/1.0\r\n" {
        Version::Http10
    } else {
        return Err(Stop::BadLine);
    };
    let end = target_end + 1 + VERSION_LINE_LEN;
    index.line = Span::new(0, end - 2);
    Ok(end)
}

/// `HTTP/1.1` and its line end.
const VERSION_LINE_LEN: usize = 10;

/// Tells where the method ends; a space stands there.
#[inline]
fn read_method(bytes: &[u8], index: &mut HeadIndex) -> Result<usize, Stop> {
    if bytes.starts_with(b"GET ") {
        index.method = Method::Get;
        return Ok(3);
    }
    let end = run_end(bytes, 0, TOKEN)?;
    if end == 0 || bytes[end] != b' ' {
        return Err(Stop::BadLine);
    }
    index.method = Method::from_bytes(&bytes[..end]);
    // RFC 9110 section 9.3.6: only a proxy grants it, and what follows may be anything.
    if index.method == Method::Connect { Err(Violation::ConnectRefused.into()) } else { Ok(end) }
}

/// RFC 9112 section 5: `field-name ":" OWS field-value OWS CRLF`. No space before the colon (5.1), no folding
/// (5.2).
/// Tells the offset behind it as well.
#[inline]
pub(super) fn split_field_line(bytes: &[u8], at: usize) -> Result<(FieldSpan, usize), Stop> {
    let colon = run_end(bytes, at, TOKEN)?;
    match bytes[colon] {
        b':' if colon > at => {}
        b'\n' => return Err(Violation::BareLineFeed.into()),
        _ => return Err(Violation::BadField.into()),
    }
    // One space is what everybody sends.
    let mut start = colon + 1 + usize::from(bytes.get(colon + 1) == Some(&b' '));
    while is_blank(byte_at(bytes, start)?) {
        start += 1;
    }
    let value_end = value_end(bytes, start)?;
    let end = line_end(bytes, value_end)?;
    if end > HEAD_BYTES_MAX {
        return Err(Violation::HeadTooLong.into());
    }
    let mut trimmed = value_end;
    while trimmed > start && is_blank(bytes[trimmed - 1]) {
        trimmed -= 1;
    }
    let field = FieldSpan { name: Span::new(at, colon - at), value: Span::new(start, trimmed - start) };
    Ok((field, end))
}

/// What is wrong with a request line that cannot be split. The same whether all of it is here or part: a
/// control byte is nonsense at once, the rest is judged at its end; until then the line may grow.
#[cold]
fn blame_line(bytes: &[u8]) -> Stop {
    let line_len = memchr::memchr(b'\n', bytes);
    let line = &bytes[..line_len.unwrap_or(bytes.len())];
    // RFC 9112 section 2.2: a CR is the line's end or an error; it may still become the end.
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    if text.iter().any(|byte| is_control(*byte)) {
        return Violation::BadRequestLine.into();
    }
    match line_len {
        None => return Stop::Partial,
        Some(_) if text.len() == line.len() => return Violation::BareLineFeed.into(),
        Some(_) => {}
    }
    // RFC 9112 section 2.3: a well-formed version that is not one of ours is 505, not nonsense.
    let version = text.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let is_other = match version {
        b"HTTP/1.0" | b"HTTP/1.1" => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    };
    if is_other { Violation::BadVersion.into() } else { Violation::BadRequestLine.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Framing;

    fn verdict(head: &str) -> Result<HeadIndex, Violation> {
        let mut index = HeadIndex::default();
        let limits = Limits::default();
        read(head.as_bytes(), &mut HeadScan::default(), &mut index, &limits)?.expect("the head is complete");
        Ok(index)
    }

    fn with(fields: &str) -> Result<HeadIndex, Violation> {
        verdict(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    /// The same verdict, however the head is cut; and the same as when it comes whole, except that what can
    /// be refused early may be refused early.
    #[test]
    fn cutting_a_head_does_not_change_its_verdict() {
        let heads = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        ];
        for head in heads {
            let bytes = head.as_bytes();
            let whole = verdict(head).map(|index| index.head_len);
            for cut in 1..bytes.len() {
                let (mut scan, mut index) = (HeadScan::default(), HeadIndex::default());
                let first = read(&bytes[..cut], &mut scan, &mut index, &Limits::default());
                let then = first.and_then(|none| {
                    assert_eq!(none, None, "{head:?} complete at {cut}");
                    read(bytes, &mut scan, &mut index, &Limits::default())
                });
                assert_eq!(then.is_ok(), whole.is_ok(), "{head:?} cut at {cut}: {then:?}");
            }
        }
    }

    #[test]
    fn lone_line_feeds_are_refused_wherever_they_stand() {
        for head in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: z\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\n\n",
        ] {
            assert_eq!(verdict(head).unwrap_err(), Violation::BareLineFeed, "{head:?}");
        }
    }

    #[test]
    fn lengths_are_digits_once() {
        for bad in ["+5", "-5", "5, 5", "0x5", "5 5", "", "18446744073709551616", "5;", "\u{665}"] {
            assert_eq!(
                with(&format!("Content-Length: {bad}\r\n")).unwrap_err(),
                Violation::BadLength,
                "{bad:?}"
            );
        }
        assert_eq!(with("Content-Length: 5\r\nContent-Length: 5\r\n").unwrap_err(), Violation::LengthTwice);
        assert_eq!(with("Content-Length: 0005\r\n").unwrap().framing, Framing::Length(5));
        assert_eq!(with("Content-Length: 0\r\n").unwrap().framing, Framing::None);
    }

    #[test]
    fn codings_are_chunked_or_refused() {
        assert_eq!(with("Transfer-Encoding: Chunked\r\n").unwrap().framing, Framing::Chunked);
        for (coding, violation) in [
            ("gzip, chunked", Violation::UnknownCoding),
            ("identity", Violation::UnknownCoding),
            ("chunked, gzip", Violation::BadCoding),
            ("chunked, chunked", Violation::BadCoding),
            ("chunked,", Violation::BadCoding),
            ("", Violation::BadCoding),
            ("\u{b}chunked", Violation::BadField),
        ] {
            let got = with(&format!("Transfer-Encoding: {coding}\r\n")).unwrap_err();
            assert_eq!(got, violation, "{coding:?}");
        }
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
        assert_eq!(with(both).unwrap_err(), Violation::LengthAndCoding);
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(with(twice).unwrap_err(), Violation::BadCoding);
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(verdict(old).unwrap_err(), Violation::CodingInHttp10);
    }

    #[test]
    fn hosts_are_hosts() {
        for good in ["a", "a.b:80", "127.0.0.1:8080", "[::1]", "[::1]:80", "", "a:", "xn--a_b~c"] {
            assert!(verdict(&format!("GET / HTTP/1.1\r\nHost: {good}\r\n\r\n")).is_ok(), "{good:?}");
        }
        for bad in [
            "a b",
            "u@a",
            "a/x",
            "a:80:80",
            "a:b",
            "[::1",
            "a<b>",
            "\"a\"",
            "http://a/",
            "a#f",
            "a?q",
            "a\\b",
            "a:65536",
            "é",
        ] {
            let got = verdict(&format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n")).unwrap_err();
            assert_eq!(got, Violation::BadHost, "{bad:?}");
        }
        assert_eq!(verdict("GET / HTTP/1.1\r\n\r\n").unwrap_err(), Violation::HostMissing);
        assert!(verdict("GET / HTTP/1.0\r\n\r\n").is_ok());
    }

    #[test]
    fn targets_have_four_forms_and_three_are_served() {
        let head = |line: &str| verdict(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let absolute = head("GET http://b:1/x?y").unwrap();
        let bytes = b"GET http://b:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(
            (absolute.host.of(bytes), absolute.path.of(bytes), absolute.query.of(bytes)),
            (&b"b:1"[..], &b"/x"[..], &b"y"[..])
        );
        assert_eq!(head("GET HTTP://b").unwrap().plain_path.as_deref(), Some("/"));
        assert_eq!(head("GET http://b?q").unwrap().plain_path.as_deref(), Some("/"));
        assert!(head("OPTIONS *").is_ok());
        for bad in [
            "GET *",
            "GET a:80",
            "GET index.html",
            "GET ftp://a/",
            "GET http:///",
            "GET http://[::1/",
            "GET /a#b",
            "GET /?a#b",
        ] {
            assert_eq!(head(bad).unwrap_err(), Violation::BadTarget, "{bad:?}");
        }
        assert_eq!(head("CONNECT a:80").unwrap_err(), Violation::ConnectRefused);
    }

    #[test]
    fn versions_that_are_not_ours_are_told_apart_from_nonsense() {
        let line = |version: &str| verdict(&format!("GET / {version}\r\nHost: a\r\n\r\n")).unwrap_err();
        assert_eq!(line("HTTP/2.0"), Violation::BadVersion);
        assert_eq!(line("HTTP/1.2"), Violation::BadVersion);
        assert_eq!(line("HTTP/1.10"), Violation::BadRequestLine);
        assert_eq!(line("http/1.1"), Violation::BadRequestLine);
    }

    /// Half a version once was nonsense, and all of it another version.
    #[test]
    fn other_version_cut_in_two() {
        let bytes = b"GET / HTTP/3.0\r\nHost: a\r\n\r\n";
        for cut in 1..bytes.len() {
            let (mut scan, mut index) = (HeadScan::default(), HeadIndex::default());
            let mut look = |to: usize| read(&bytes[..to], &mut scan, &mut index, &Limits::default());
            let verdict = look(cut).and_then(|_| look(bytes.len()));
            assert_eq!(verdict, Err(Violation::BadVersion), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_too_long_is_named() {
        let long = "a".repeat(20_000);
        let none = |head: String| {
            read(head.as_bytes(), &mut HeadScan::default(), &mut HeadIndex::default(), &Limits::default())
                .unwrap_err()
        };
        assert_eq!(none(format!("GET /{long}")), Violation::TargetTooLong);
        assert_eq!(none(format!("GET / HTTP/1.1\r\nX: {long}")), Violation::HeadTooLong);
        assert_eq!(none(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")), Violation::HeadTooLong);
        assert_eq!(none(long), Violation::BadRequestLine);
        let many = "X: y\r\n".repeat(101);
        assert_eq!(none(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), Violation::TooManyFields);
    }

    #[test]
    fn persistence_follows_version_and_options() {
        let head = |version: &str, option: &str| {
            verdict(&format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {option}\r\n\r\n"))
                .unwrap()
                .persistent
        };
        assert!(head("1.1", "x"));
        assert!(!head("1.1", "keep-alive, Close"));
        assert!(!head("1.0", "x"));
        assert!(head("1.0", "Keep-Alive"));
    }

    #[test]
    fn expectations_are_known_or_refused() {
        assert!(with("Content-Length: 1\r\nExpect: 100-Continue\r\n").unwrap().expects_continue);
        assert!(!with("Expect: 100-continue\r\n").unwrap().expects_continue);
        assert_eq!(with("Expect: 200-maybe\r\n").unwrap_err(), Violation::UnknownExpectation);
        let both = "Content-Length: 1\r\nExpect: 200-maybe\r\nExpect: 100-continue\r\n";
        assert_eq!(with(both).unwrap_err(), Violation::UnknownExpectation);
        assert!(verdict("POST / HTTP/1.0\r\nExpect: 200-maybe\r\n\r\n").is_ok());
    }
}
